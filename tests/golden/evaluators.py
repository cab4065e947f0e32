"""What each framework answers to a case. Every function imports its framework itself, in its own process."""

import dataclasses
import importlib
import importlib.metadata
import os
import re

import numpy as np
from golden.store import Case, draw

# XLA's algebraic simplifier ends the process on weight gradients of kernels larger than the map (JAX 0.10.2).
WITHOUT_SIMPLIFIER = "--xla_disable_hlo_passes=algsimp"


def cotangent(case, y):
    return draw(y.shape, y.dtype, (case.seed, 99), case.exact)


def pytorch():
    import torch

    torch.set_num_threads(1)

    def evaluate(case):
        names = [name for name in ("x", "weight", "bias") if name in case.arrays]
        tensors = {name: torch.tensor(case.arrays[name], requires_grad=True) for name in names}
        rank = case.arrays["weight"].ndim - 2
        function = getattr(torch.nn.functional, f"conv_transpose{rank}d")
        y = function(
            **{"input" if name == "x" else name: tensor for name, tensor in tensors.items()}, **case.settings
        )
        grad_y = cotangent(case, y.detach().numpy())
        gradients = torch.autograd.grad(y, list(tensors.values()), torch.tensor(grad_y))
        answer = {f"grad_{name}": g.resolve_conj().numpy() for name, g in zip(names, gradients, strict=True)}
        return {"y": y.detach().numpy(), "grad_y": grad_y} | answer

    return evaluate, ["torch"]


def keras(backend):
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if backend == "jax":
        os.environ["XLA_FLAGS"] = WITHOUT_SIMPLIFIER
    import keras

    if backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    else:
        import tensorflow as tf

    def build(case):
        rank = case.arrays["x"].ndim - 2
        layer_class = getattr(keras.layers, f"Conv{rank}DTranspose")
        kernel = case.arrays["weight"].shape
        layer = layer_class(
            kernel[-2], kernel[:-2], **case.settings, use_bias="bias" in case.arrays, dtype="float64"
        )
        layer.build(case.arrays["x"].shape)
        layer.set_weights([case.arrays[name] for name in ("weight", "bias") if name in case.arrays])
        return layer

    def named(gradients):
        names = ["grad_x", "grad_weight", "grad_bias"]
        return {name: np.asarray(g) for name, g in zip(names, gradients, strict=False)}

    def with_jax(case):
        layer = build(case)

        def forward(x, variables):
            return layer.stateless_call(variables, [], x)[0]

        y, pull_back = jax.vjp(
            forward, jax.numpy.asarray(case.arrays["x"]), [v.value for v in layer.trainable_variables]
        )
        y = np.asarray(y)
        grad_y = cotangent(case, y)
        grad_x, grad_variables = pull_back(jax.numpy.asarray(grad_y))
        return {"y": y, "grad_y": grad_y} | named([grad_x, *grad_variables])

    def with_tensorflow(case):
        # TensorFlow has no channels_first kernels for a CPU: it is asked in its own layout.
        first = case.settings["data_format"] == "channels_first"
        to_last, to_first = (0, *range(2, case.arrays["x"].ndim), 1), (0, case.arrays["x"].ndim - 1)
        to_first += tuple(range(1, case.arrays["x"].ndim - 1))
        given = tf.constant(case.arrays["x"])
        asked = case
        if first:
            asked = dataclasses.replace(
                case,
                settings=case.settings | {"data_format": "channels_last"},
                arrays=case.arrays | {"x": case.arrays["x"].transpose(to_last)},
            )
        layer = build(asked)
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = layer(tf.transpose(given, to_last) if first else given)
            y = tf.transpose(y, to_first) if first else y
        grad_y = cotangent(case, y.numpy())
        gradients = tape.gradient(
            y, [given, *(v.value for v in layer.trainable_variables)], tf.constant(grad_y)
        )
        return {"y": y.numpy(), "grad_y": grad_y} | named(g.numpy() for g in gradients)

    if backend == "jax":
        return with_jax, ["keras", "jax"]
    return with_tensorflow, ["keras", "tensorflow"]


def onnx_model(case):
    import onnx

    names = [name for name in ("x", "weight", "bias") if name in case.arrays]
    kind = onnx.helper.np_dtype_to_tensor_dtype(case.arrays["x"].dtype)
    node = onnx.helper.make_node("ConvTranspose", names, ["y"], **case.settings)
    inputs = [onnx.helper.make_tensor_value_info(name, kind, case.arrays[name].shape) for name in names]
    output = onnx.helper.make_tensor_value_info("y", kind, [None] * case.arrays["x"].ndim)
    graph = onnx.helper.make_graph([node], "case", inputs, [output])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)


def onnx_reference():
    from onnx.reference import ReferenceEvaluator

    def evaluate(case):
        return {"y": ReferenceEvaluator(onnx_model(case)).run(None, case.arrays)[0]}

    return evaluate, ["onnx"]


def onnx_reference_by_group():
    """Ask the reference evaluator for one group at a time: its own loop over groups is wrong (onnx#8446)."""
    evaluate, packages = onnx_reference()

    def by_group(case):
        count = case.settings.get("group", 1)
        settings = {name: value for name, value in case.settings.items() if name != "group"}
        split = {role: np.split(a, count, axis=1 if role == "x" else 0) for role, a in case.arrays.items()}
        parts = [Case(case.name, settings, {role: a[g] for role, a in split.items()}) for g in range(count)]
        return {"y": np.concatenate([evaluate(part)["y"] for part in parts], axis=1)}

    return by_group, packages


def onnxruntime():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1

    def evaluate(case):
        model = onnx_model(case).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return {"y": session.run(None, case.arrays)[0]}

    return evaluate, ["onnxruntime", "onnx"]


def onnx_node_tests():
    """The cases that the onnx package gives to every backend, with their expected outputs."""
    from onnx.backend.test.case.node import collect_testcases
    from onnx.helper import get_attribute_value

    cases = []
    for test in collect_testcases("ConvTranspose"):
        node = test.model.graph.node[0]
        if node.op_type != "ConvTranspose":
            continue
        settings = {a.name: get_attribute_value(a) for a in node.attribute}
        settings = {
            name: v.decode() if isinstance(v, bytes) else v if isinstance(v, int) else list(v)
            for name, v in settings.items()
        }
        ((inputs, outputs),) = test.data_sets
        arrays = dict(zip(("x", "weight", "bias"), inputs, strict=False))
        cases.append(Case(test.name, settings, arrays | {"y": outputs[0]}))
    return cases


def jax():
    os.environ["XLA_FLAGS"] = WITHOUT_SIMPLIFIER
    import jax

    jax.config.update("jax_enable_x64", True)

    def evaluate(case):
        settings = dict(case.settings)
        if not isinstance(settings["padding"], str):
            settings["padding"] = [tuple(pair) for pair in settings["padding"]]
        x, weight = (jax.numpy.asarray(case.arrays[name]) for name in ("x", "weight"))
        y, pull_back = jax.vjp(lambda *arrays: jax.lax.conv_transpose(*arrays, **settings), x, weight)
        y = np.asarray(y)
        grad_y = cotangent(case, y)
        grad_x, grad_weight = (np.asarray(g) for g in pull_back(jax.numpy.asarray(grad_y)))
        return {"y": y, "grad_y": grad_y, "grad_x": grad_x, "grad_weight": grad_weight}

    return evaluate, ["jax", "jaxlib"]


EVALUATORS = {
    "pytorch": pytorch,
    "keras-tensorflow": lambda: keras("tensorflow"),
    "keras-jax": lambda: keras("jax"),
    "onnxruntime": onnxruntime,
    "onnx-reference": onnx_reference,
    "onnx-reference-by-group": onnx_reference_by_group,
    "jax": jax,
}


def answers(evaluator, cases):
    """Yield the versions, then for each case its arrays, or as a text the exception that refused it."""
    evaluate, packages = EVALUATORS[evaluator]()
    yield {name: importlib.metadata.version(name) for name in [*packages, "numpy"]}
    for number, case in enumerate(cases):
        if "jax" in packages and number % 25 == 24:
            # Every shape is compiled anew; hundreds of programs exhaust the memory maps of a process.
            importlib.import_module("jax").clear_caches()
        try:
            yield evaluate(case)
        except Exception as refusal:  # every framework has exceptions of its own
            words = re.sub(r"Exception encountered when calling \S+|\{\{.*?\}\}", "", str(refusal)).split()
            yield f"{type(refusal).__name__}: {' '.join(words)[:150]}"
