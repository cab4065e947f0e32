"""The real frameworks: the frozen vectors made anew, and freshly drawn calls compared live with this library.

Then `pyx_deconv.convert` with real modules, layers, nodes and exported networks.

Known faults of the frameworks are told from faults of the library by the adjoint identity (golden/make.py):
an answer that breaks <grad_x, x> == <grad_y, y - bias> is not used. TensorFlow 2.21 does so on a CPU in the
input gradient of Conv3DTranspose, where "same" meets an axis with a kernel smaller than the stride.
"""

import contextlib
import importlib.util
import io
import itertools
import os

import conventions
import numpy as np
import pytest
from golden import cases as requests
from golden import make, store

import pyx_deconv as pxd
from pyx_deconv import convert

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]

NEEDED = {
    "pytorch": ("torch",),
    "keras": ("keras", "tensorflow", "jax"),
    "onnx": ("onnx", "onnxruntime"),
    "jax": ("jax",),
}
# How many calls are drawn in 1-D, 2-D and 3-D.
DRAWN = {"pytorch": (150, 150, 100), "keras": (80, 80, 60), "onnx": (100, 100, 60), "jax": (80, 80, 40)}
SEED = 20


def require(framework):
    require_packages(*NEEDED[framework])


def require_packages(*packages):
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.mark.parametrize("framework", NEEDED)
def test_frozen_vectors_are_what_the_framework_answers(framework):
    require(framework)
    frozen, _ = store.load(framework)
    made, _ = make.generate(framework)
    assert [case.name for case in made] == [case.name for case in frozen]
    for new, old in zip(made, frozen, strict=True):
        assert new.settings == old.settings
        assert set(new.arrays) == set(old.arrays)
        for role, values in old.arrays.items():
            np.testing.assert_array_equal(new.arrays[role], values, err_msg=f"{old.name} {role}")


def drawn(framework):
    for rank, count in enumerate(DRAWN[framework], start=1):
        yield from requests.DRAWN[framework](rank, count, SEED, 10_000 * rank, exact=False)


@pytest.mark.parametrize("framework", NEEDED)
def test_drawn_calls(framework):
    """Normally distributed numbers, values and gradients, in float64 and float32, in both layouts."""
    require(framework)
    asked = list(drawn(framework))
    settled, _ = make.settle(framework, asked)
    assert len(settled) >= 0.95 * len(asked), "the framework refused too much"
    # ONNX answers in float32.
    close = 1e-5 if framework == "onnx" else 1e-12
    for case in settled:
        is_complex = case.arrays["x"].dtype.kind == "c"
        for layout in ("channels_first", "channels_last"):
            try:
                conventions.check(framework, case, np.complex128 if is_complex else np.float64, layout, close)
                conventions.check(framework, case, np.complex64 if is_complex else np.float32, layout, 1e-5)
            except AssertionError as error:
                raise AssertionError(f"{case.name} {case.settings} {layout}: {error}") from error


# ---------------------------------------------------------------- modules, layers and nodes as operators


def integers(rng, shape):
    """Small ones in float32: every framework's answer is exact."""
    return rng.integers(-4, 5, shape).astype(np.float32)


def exact_cases(framework, *counts):
    for rank, count in enumerate(counts, start=1):
        yield from requests.DRAWN[framework](rank, count, SEED, 20_000 * rank, exact=True)


def drawn_convolutions(count, words):
    """Settings of a convolution under names of their own, an input and weights, channels first."""
    rng = np.random.default_rng(SEED)
    for number in range(count):
        rank = 1 + number % 3
        kernel, stride, dilation = (tuple(rng.integers(1, 4, rank).tolist()) for _ in range(3))
        groups, inside, outside = (int(n) for n in rng.integers(1, 4, 3))
        sizes = [(k - 1) * d + 1 + int(rng.integers(0, 4)) for k, d in zip(kernel, dilation, strict=True)]
        yield {
            "rank": rank,
            "kernel": kernel,
            "stride": stride,
            "dilation": dilation,
            "groups": groups,
            "padding": words[number // 3 % len(words)],
            "pads": tuple(tuple(rng.integers(0, 3, 2).tolist()) for _ in range(rank)),
            "x": integers(rng, (2, inside * groups, *sizes)),
            "weight": integers(rng, (outside * groups, inside, *kernel)),
            "bias": integers(rng, outside * groups) if rng.integers(2) else None,
        }


def torch_module(torch, kind, weights, **settings):
    module = getattr(torch.nn, kind)(**settings)
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return module


def check_torch_module(torch, module, x):
    """The operator has the module's values, and so has the module that the operator is exported to."""
    want = module(torch.tensor(x)).detach().numpy()
    op = convert.from_torch(module)
    np.testing.assert_array_equal(op(x), want, err_msg=str(module))
    weights, settings = convert.to_torch(op)
    again = torch_module(torch, type(module).__name__, weights, **settings)
    np.testing.assert_array_equal(again(torch.tensor(x)).detach().numpy(), want, err_msg=str(module))


def test_torch_transposed_modules():
    require("pytorch")
    import torch

    for case in exact_cases("pytorch", 40, 40, 20):
        arrays = {name: array.astype(np.float32) for name, array in case.arrays.items()}
        x, groups, rank = arrays.pop("x"), case.settings["groups"], len(conventions.spatial_of(case))
        settings = case.settings | {
            "in_channels": x.shape[1],
            "out_channels": arrays["weight"].shape[1] * groups,
            "kernel_size": arrays["weight"].shape[2:],
            "bias": "bias" in arrays,
        }
        module = torch_module(torch, f"ConvTranspose{rank}d", arrays, **settings)
        check_torch_module(torch, module, x)


def test_torch_convolution_modules():
    require("pytorch")
    import torch

    for case in drawn_convolutions(90, ("numbers", "same", "valid")):
        padding = (
            tuple(begin for begin, _ in case["pads"]) if case["padding"] == "numbers" else case["padding"]
        )
        weights = {"weight": case["weight"]} | ({} if case["bias"] is None else {"bias": case["bias"]})
        module = torch_module(
            torch,
            f"Conv{case['rank']}d",
            weights,
            in_channels=case["x"].shape[1],
            out_channels=case["weight"].shape[0],
            kernel_size=case["kernel"],
            stride=1 if padding == "same" else case["stride"],
            padding=padding,
            dilation=case["dilation"],
            groups=case["groups"],
            bias=case["bias"] is not None,
        )
        check_torch_module(torch, module, case["x"])


def test_torch_modules_that_are_special():
    require("pytorch")
    import torch

    module = torch.nn.ConvTranspose1d(2, 3, 4)
    for dtype, name in (
        (torch.bfloat16, "bfloat16"),
        (torch.float16, "float16"),
        (torch.complex64, "complex64"),
    ):
        op = convert.from_torch(module.to(dtype))
        if importlib.util.find_spec("ml_dtypes") is None and name == "bfloat16":
            name = "float32"
        assert op.weight.dtype.name == name
        want = module.weight.detach().to(torch.complex64).numpy()
        np.testing.assert_array_equal(op.weight.astype(np.complex64), want)
    with pytest.raises(ValueError, match="remove_weight_norm"):
        convert.from_torch(torch.nn.utils.weight_norm(torch.nn.ConvTranspose1d(2, 3, 4)))
    with pytest.raises(ValueError, match="no weights yet"):
        convert.from_torch(torch.nn.LazyConvTranspose1d(3, 4))
    with pytest.raises(ValueError, match="padding_mode='reflect'"):
        convert.from_torch(torch.nn.Conv1d(2, 3, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(TypeError, match=r"Linear is not a torch\.nn"):
        convert.from_torch(torch.nn.Linear(2, 3))
    # The parametrization of today computes its weight whenever it is read.
    normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(2, 3, 4))
    op = convert.from_torch(normed)
    np.testing.assert_array_equal(op.weight, normed.weight.detach().numpy())


@pytest.mark.parametrize("api", ["linen", "nnx"])
def test_flax_transposed_modules(api):
    require_packages("jax", "flax")
    for case in exact_cases("jax", 12, 12, 6):
        x, kernel = (case.arrays[name].astype(np.float32) for name in ("x", "weight"))
        out_first = case.settings["transpose_kernel"]
        settings = {name: value for name, value in case.settings.items() if name != "rhs_dilation"}
        if not isinstance(settings["padding"], str):
            settings["padding"] = [tuple(pair) for pair in settings["padding"]]
        settings |= {
            "kernel_dilation": case.settings["rhs_dilation"],
            "features": kernel.shape[-2 if out_first else -1],
            "kernel_size": kernel.shape[:-2],
        }
        weights = {"kernel": kernel, "bias": integers(np.random.default_rng(case.seed), settings["features"])}
        check_flax_module("ConvTranspose", api, x, weights, settings)


@pytest.mark.parametrize("api", ["linen", "nnx"])
def test_flax_convolution_modules(api):
    require_packages("jax", "flax")
    for case in drawn_convolutions(30, ("pairs", "SAME", "VALID", "number", "SAME_LOWER")):
        named = {"pairs": case["pads"], "number": 1}
        padding = "CAUSAL" if case["rank"] == 1 and case["padding"] == "VALID" else case["padding"]
        weights = {"kernel": np.moveaxis(case["weight"], (0, 1), (-1, -2))}
        weights |= {} if case["bias"] is None else {"bias": case["bias"]}
        settings = {
            "features": case["weight"].shape[0],
            "kernel_size": case["kernel"],
            "strides": case["stride"],
            "padding": named.get(padding, padding),
            "kernel_dilation": case["dilation"],
            "feature_group_count": case["groups"],
            "use_bias": case["bias"] is not None,
        }
        check_flax_module("Conv", api, np.moveaxis(case["x"], 1, -1), weights, settings)


def check_flax_module(kind, api, x, weights, settings):
    import flax
    from flax import nnx

    def make(weights, settings):
        """(the module, its parameters apart, its answer)."""
        if api == "linen":
            module = getattr(flax.linen, kind)(**settings)
            return (module, {"params": weights}), np.asarray(module.apply({"params": weights}, x))
        settings = dict(settings)
        channels, zeros = (x.shape[-1], settings.pop("features")), nnx.initializers.zeros
        module = getattr(nnx, kind)(*channels, **settings, kernel_init=zeros, rngs=nnx.Rngs(0))
        module.kernel[...] = weights["kernel"]
        if "bias" in weights:
            module.bias[...] = weights["bias"]
        return (module,), np.asarray(module(x))

    module, want = make(weights, settings)
    op = convert.from_jax(*module)
    np.testing.assert_array_equal(op(x), want, err_msg=str(settings))
    for transpose_kernel in (False, True):
        exported = convert.to_jax(op, transpose_kernel=transpose_kernel)
        np.testing.assert_array_equal(make(*exported)[1], want, err_msg=str(settings))


def test_haiku_modules():
    require_packages("jax", "haiku")
    import haiku

    rng = np.random.default_rng(SEED)
    kinds = itertools.product((True, False), (1, 2, 3), ("SAME", "VALID", "pairs", "output_shape"), (0, 1))
    for transposed, rank, padding, last in kinds:
        kernel, stride = (tuple(rng.integers(1, 4, rank).tolist()) for _ in range(2))
        sizes = [(k - 1) * 2 + 1 + int(rng.integers(0, 4)) for k in kernel]
        formats = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
        settings = {"stride": stride, "data_format": formats[rank][last]}
        if padding == "pairs":
            settings["padding"] = tuple(tuple(rng.integers(0, 3, 2).tolist()) for _ in range(rank))
        elif padding != "output_shape":
            settings["padding"] = padding
        elif transposed:
            settings["padding"] = ("SAME", "VALID")[last]
            settings["output_shape"] = tuple(
                n * s - int(rng.integers(0, s)) if last == 0 else (n - 1) * s + k + int(rng.integers(0, s))
                for n, s, k in zip(sizes, stride, kernel, strict=True)
            )
        if not transposed:
            settings |= {"rate": tuple(rng.integers(1, 3, rank).tolist()), "feature_group_count": 2}
        x = integers(rng, (2, *sizes, 4) if last else (2, 4, *sizes))

        def forward(x, kind=f"Conv{rank}D{'Transpose' * transposed}", kernel=kernel, settings=settings):
            return getattr(haiku, kind)(6, kernel, **settings, name="layer")(x)

        params = {
            "w": integers(rng, (*kernel, 6, 4) if transposed else (*kernel, 2, 6)),
            "b": integers(rng, 6 if last else (6, *(1,) * rank)),
        }
        want = np.asarray(haiku.transform(forward).apply({"layer": params}, None, x))
        op = convert.from_jax(params, transposed=transposed, **settings)
        np.testing.assert_array_equal(op(x), want, err_msg=f"{transposed} {settings}")


def keras_module():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    return keras


def keras_layer(keras, x, weights, **settings):
    layer = getattr(keras.layers, f"Conv{x.ndim - 2}DTranspose")(**settings)
    layer.build(x.shape)
    layer.set_weights(weights)
    return layer


def test_to_keras():
    require("keras")
    keras = keras_module()
    for case in exact_cases("keras", 20, 20, 10):
        call = conventions.translate("keras", case)
        op = pxd.ConvTranspose(
            call.weight.astype(np.float32),
            case.arrays["bias"].astype(np.float32) if "bias" in case.arrays else None,
            **call.options,
            padding=[(int(begin), int(end)) for begin, end in call.crops],
        )
        x = case.arrays["x"].astype(np.float32)
        weights, settings = convert.to_keras(op)
        layer = keras_layer(keras, x, weights, **settings)
        np.testing.assert_array_equal(np.asarray(layer(x)), op(x), err_msg=f"{case.settings} {settings}")


def test_from_keras():
    require("keras")
    pytest.importorskip("pyx_deconv.layers", reason="pyx_deconv.layers is not there yet")
    keras = keras_module()
    for case in exact_cases("keras", 20, 20, 10):
        x, kernel = case.arrays["x"].astype(np.float32), case.arrays["weight"]
        weights = [case.arrays[name] for name in ("weight", "bias") if name in case.arrays]
        settings = case.settings | {"activation": ("linear", "relu", "tanh")[case.seed % 3]}
        settings |= {
            "filters": kernel.shape[-2],
            "kernel_size": kernel.shape[:-2],
            "use_bias": len(weights) > 1,
        }
        layer = keras_layer(keras, x, weights, **settings)
        want = np.asarray(layer(x))
        np.testing.assert_allclose(convert.from_keras(layer)(x), want, rtol=1e-6, err_msg=str(case.settings))
    model = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Conv2DTranspose(3, 4, strides=2, padding="same"),
            keras.layers.Activation("sigmoid"),
        ]
    )
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 3)).astype(np.float32)
    want = np.asarray(model(x))
    np.testing.assert_allclose(convert.from_keras(model)(x), want, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="Dense"):
        convert.from_keras(keras.Sequential([keras.layers.Dense(3)]))


# ---------------------------------------------------------------- ONNX


def onnx_model(nodes, inputs, constants, functions=(), opset=22):
    """A model with the output y; inputs and constants are arrays, functions of the domain "mine"."""
    import onnx
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    versions = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, opset_imports=versions, functions=functions)
    model.ir_version = 10
    return onnx.shape_inference.infer_shapes(model)


def by_onnxruntime(model, inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    content = model if isinstance(model, (bytes, str)) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def appends_zeros(case):
    """Whether SAME would have to append zeros, where ONNX Runtime's size is not the specified one."""
    if "output_shape" in case.settings or not case.settings.get("auto_pad", "").startswith("SAME"):
        return False
    return any(sum(crop) < 0 for crop in conventions.translate("onnx", case).crops)


def test_onnx_nodes():
    require("onnx")
    from onnx import helper

    compared = 0
    for case in exact_cases("onnx", 60, 60, 30):
        extra, strides = case.settings["output_padding"], case.settings["strides"]
        if appends_zeros(case) or any(op >= s for op, s in zip(extra, strides, strict=True)):
            continue  # ONNX Runtime also refuses an output_padding smaller than the dilation only
        arrays = {name: array.astype(np.float32) for name, array in case.arrays.items()}
        x = arrays.pop("x")
        node = helper.make_node("ConvTranspose", ["x", *arrays], ["y"], **case.settings)
        model = onnx_model([node], {"x": x}, arrays)
        (want,) = by_onnxruntime(model, {"x": x})
        op = convert.from_onnx(node, model.graph.initializer, input_size=x.shape[2:])
        np.testing.assert_array_equal(op(x), want, err_msg=str(case.settings))
        np.testing.assert_array_equal(convert.load_onnx(model)(x), want, err_msg=str(case.settings))
        check_to_onnx(op, x, want)
        compared += 1
    assert compared > 100


def test_onnx_convolution_nodes():
    require("onnx")
    from onnx import helper

    for case in drawn_convolutions(90, ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")):
        settings = {
            "strides": case["stride"],
            # ONNX Runtime refuses a dilation with SAME.
            "dilations": [1 if case["padding"].startswith("SAME") else d for d in case["dilation"]],
            "group": case["groups"],
            "auto_pad": case["padding"],
        }
        if case["padding"] == "NOTSET":
            settings["pads"] = [pair[end] for end in (0, 1) for pair in case["pads"]]
        arrays = {"w": case["weight"]} | ({} if case["bias"] is None else {"b": case["bias"]})
        node = helper.make_node("Conv", ["x", *arrays], ["y"], **settings)
        (want,) = by_onnxruntime(onnx_model([node], {"x": case["x"]}, arrays), {"x": case["x"]})
        op = convert.from_onnx(node, arrays)
        np.testing.assert_array_equal(op(case["x"]), want, err_msg=str(settings))
        check_to_onnx(op, case["x"], want)


def check_to_onnx(op, x, want):
    from onnx import helper

    weights, settings = convert.to_onnx(op)
    node = helper.make_node(type(op).__name__, ["x", *weights], ["y"], **settings)
    (again,) = by_onnxruntime(onnx_model([node], {"x": x}, weights), {"x": x})
    np.testing.assert_array_equal(again, want, err_msg=str(settings))


IMAGE = np.random.default_rng(SEED).standard_normal((2, 3, 7, 6)).astype(np.float32)
POOL = {"kernel_shape": [3, 2]}
STATISTICS = [np.random.default_rng(number).random(3).astype(np.float32) for number in range(4)]
OPERATIONS = [
    *((name, [], {}) for name in ("Relu", "Sigmoid", "Tanh", "Softplus", "Erf", "Exp", "Neg", "Identity")),
    *((name, [], {"alpha": 0.3}) for name in ("LeakyRelu", "Elu")),
    *((name, [], {}) for name in ("LeakyRelu", "Elu", "Selu", "HardSigmoid", "Gelu", "GlobalAveragePool")),
    ("Selu", [], {"alpha": 1.5, "gamma": 0.5}),
    ("HardSigmoid", [], {"alpha": 0.3, "beta": 0.4}),
    ("Gelu", [], {"approximate": "tanh"}),
    ("PRelu", [np.array([0.1, 0.2, 0.3], np.float32).reshape(3, 1, 1)], {}),
    *((name, [IMAGE[:, :1]], {}) for name in ("Add", "Sub", "Mul", "Div")),
    ("Div", [np.array([3, -2, 5, -7, 1, 4])], {}),
    *(("Softmax", [], {"axis": axis}) for axis in (-1, 0, 1)),
    ("Clip", [np.float32(-0.5), np.float32(0.7)], {}),
    ("Clip", [None, np.float32(0.7)], {}),
    ("BatchNormalization", STATISTICS, {"epsilon": 0.01}),
    ("InstanceNormalization", STATISTICS[:2], {"epsilon": 0.01}),
    *(
        (name, [], POOL | settings)
        for name in ("MaxPool", "AveragePool")
        for settings in (
            {},
            {"strides": [2, 2]},
            {"strides": [2, 3], "ceil_mode": 1},
            {"strides": [2, 2], "pads": [1, 1, 2, 0]},
            {"strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
            {"dilations": [2, 3]},
            {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
            {"auto_pad": "SAME_LOWER", "strides": [3, 1]},
            {"auto_pad": "VALID", "strides": [3, 1]},
        )
    ),
    ("AveragePool", [], POOL | {"pads": [1, 1, 2, 0], "count_include_pad": 1}),
    (
        "AveragePool",
        [],
        POOL | {"pads": [1, 0, 1, 0], "count_include_pad": 1, "ceil_mode": 1, "strides": [3, 4]},
    ),
    *(
        (
            "Resize",
            [None, None, np.array([2, 3, 11, 4])]
            if by_size
            else [None, np.array([1, 1, 2, 1.5], np.float32)],
            {"coordinate_transformation_mode": mode, "nearest_mode": nearest},
        )
        for by_size in (True, False)
        for mode in ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners")
        for nearest in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    ),
    *(
        ("Pad", [np.array([0, 0, 1, 2, 0, 0, 3, 0])], {"mode": mode})
        for mode in ("constant", "edge", "reflect")
    ),
    ("Pad", [np.array([1, -2]), np.float32(4), np.array([3])], {}),
    ("Slice", [np.array([5, 0]), np.array([-100, 2**40]), np.array([2, -1]), np.array([-2, 3])], {}),
    ("Reshape", [np.array([0, -1, 6])], {}),
    ("Flatten", [], {"axis": 2}),
    ("Transpose", [], {"perm": [0, 2, 3, 1]}),
    ("Gather", [np.array([[0, -1]])], {"axis": 1}),
    ("Unsqueeze", [np.array([0, -1])], {}),
    ("Shape", [], {"start": 1, "end": 3}),
    ("Cast", [], {"to": 7}),
    ("Cast", [], {"to": 10}),
    ("Concat", [IMAGE], {"axis": 2}),
]


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
def test_onnx_operations(number):
    require("onnx")
    from onnx import helper

    op_type, inputs, settings = OPERATIONS[number]
    x = np.arange(-9, 9).reshape(3, 6) if op_type == "Div" and inputs[0].dtype == np.int64 else IMAGE
    constants = {f"c{index}": np.asarray(each) for index, each in enumerate(inputs) if each is not None}
    names = ["" if each is None else f"c{index}" for index, each in enumerate(inputs)]
    model = onnx_model([helper.make_node(op_type, ["x", *names], ["y"], **settings)], {"x": x}, constants)
    (want,) = by_onnxruntime(model, {"x": x})
    got = convert.load_onnx(model)(x)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_onnx_files(tmp_path):
    """By path, as bytes, with the weights in a file of their own; and what is no model."""
    require("onnx")
    import onnx
    from onnx import helper

    weight = integers(np.random.default_rng(0), (16, 16, 9))
    x = integers(np.random.default_rng(1), (1, 16, 5))
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2])
    model = onnx_model([node], {"x": x}, {"w": weight})
    want = pxd.conv_transpose(x, weight, stride=2)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), model):
        loaded = convert.load_onnx(source)
        np.testing.assert_array_equal(loaded(x=x), want)
        assert loaded.inputs[0].shape == (1, 16, 5)
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert (tmp_path / "weights").exists()
    np.testing.assert_array_equal(convert.load_onnx(path)(x), want)
    with pytest.raises(ValueError, match="'w' lies in a file of its own"):
        convert.load_onnx(path.read_bytes())
    for nothing in (b"nothing", b""):
        with pytest.raises(ValueError, match=r"is no ONNX model|one version of ONNX' operators"):
            convert.load_onnx(nothing)
    with pytest.raises(FileNotFoundError):
        convert.load_onnx(tmp_path / "none.onnx")


def test_onnx_functions_are_inlined():
    require("onnx")
    from onnx import helper

    inner = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 20)],
    )
    node = helper.make_node("Twice", ["x"], ["y"], domain="mine")
    model = onnx_model([node], {"x": IMAGE}, {}, [inner], opset=20)
    np.testing.assert_array_equal(convert.load_onnx(model.SerializeToString())(IMAGE), 2 * IMAGE)


# ---------------------------------------------------------------- exported networks


def networks():
    """(name, network, an input, the axes of it that may have any size)."""
    import torch
    from torch import nn

    def generator(latent, features):
        widths = [latent, *(features * 2**n for n in (3, 2, 1, 0))]
        parts = []
        for number, (before, after) in enumerate(itertools.pairwise(widths)):
            stride, padding = (1, 0) if number == 0 else (2, 1)
            parts += [nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False)]
            parts += [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        return nn.Sequential(*parts, nn.ConvTranspose2d(features, 3, 4, 2, 1, bias=False), nn.Tanh())

    def double(before, after):
        return nn.Sequential(
            *(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)),
            *(nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)),
        )

    class UNet(nn.Module):
        """Two levels; what comes up is padded to the size of the skip, as usual, if `fit`."""

        def __init__(self, width, fit, **up):
            super().__init__()
            self.fit, self.pool, self.drop = fit, nn.MaxPool2d(2), nn.Dropout2d(0.3)
            self.down = nn.ModuleList(
                [double(3, width), double(width, 2 * width), double(2 * width, 4 * width)]
            )
            self.up = nn.ModuleList([nn.ConvTranspose2d(n * width, n * width // 2, **up) for n in (4, 2)])
            self.merge = nn.ModuleList([double(n * width, n * width // 2) for n in (4, 2)])
            self.last = nn.Conv2d(width, 2, 1)

        def forward(self, x):
            skips = []
            for block in self.down[:-1]:
                skips.append(block(x if not skips else self.pool(skips[-1])))
            y = self.drop(self.down[-1](self.pool(skips[-1])))
            for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
                y = up(y)
                if self.fit:
                    rows, columns = skip.shape[2] - y.shape[2], skip.shape[3] - y.shape[3]
                    around = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
                    y = nn.functional.pad(y, around)
                y = merge(torch.cat([skip, y], 1))
            return torch.softmax(self.last(y), 1)

    yield "dcgan", generator(100, 16), torch.randn(2, 100, 1, 1), {0: "batch"}
    sizes = {0: "batch", 2: "height", 3: "width"}
    yield "unet k2 s2", UNet(8, True, kernel_size=2, stride=2), torch.randn(2, 3, 25, 38), sizes
    yield "unet k4 s2 p1", UNet(8, False, kernel_size=4, stride=2, padding=1), torch.randn(2, 3, 24, 36), {}
    up = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}
    yield "unet k3 s2 p1 op1", UNet(8, False, **up), torch.randn(2, 3, 24, 36), {}


def exported(network, x, dynamo, free):
    """The content of the file that PyTorch exports; its exporter is not silent."""
    import torch

    shapes = {"dynamic_shapes": (free,)} if dynamo else {"dynamic_axes": {"x": free}}
    file = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            network,
            (x,),
            file,
            input_names=["x"],
            output_names=["y"],
            dynamo=dynamo,
            verbose=False,
            **(shapes if free else {}),
        )
    return file.getvalue()


@pytest.mark.parametrize("dynamo", [False, True])
def test_exported_networks(dynamo):
    """Batch statistics are not 0 and 1, and where sizes are free, others than the exported ones are tried."""
    require_packages("torch", "onnx", "onnxruntime", "onnxscript")
    import torch

    torch.manual_seed(SEED)
    for name, network, x, free in networks():
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.uniform_(-1, 1)
                part.running_var.uniform_(0.5, 2)
                torch.nn.init.uniform_(part.weight, 0.5, 2)
                torch.nn.init.uniform_(part.bias, -1, 1)
        network.eval()
        for axes in ({}, free) if free else ({},):
            content = exported(network, x, dynamo, axes)
            model = convert.load_onnx(content)
            assert [each.name for each in model.inputs] == ["x"]
            inputs = [x.numpy()]
            if 0 in axes:
                inputs.append(np.repeat(inputs[0], 2, 0))
            if 2 in axes:
                inputs.append(np.ascontiguousarray(inputs[0][:, :, :21, :30]))
            for given in inputs:
                (want,) = by_onnxruntime(content, {"x": given})
                got = model(given)
                assert got.dtype == np.float32
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5, err_msg=f"{name} {axes}")
