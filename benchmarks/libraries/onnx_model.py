"""A layer as an ONNX model of one node, its weight a constant, so that a runtime can prepare it."""

import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.problem import Problem, Unsupported

__all__ = ["onnx_model"]

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}


def onnx_model(problem: Problem) -> bytes:
    """Return ConvTranspose for forward, and Conv, which is the same, for grad_input."""
    layer = problem.layer
    if problem.operation == "grad_weight":
        raise Unsupported("no operator for weight gradients")
    if layer.dtype not in TYPES:
        raise Unsupported(f"no {layer.dtype}")
    settings = {
        "kernel_shape": layer.kernel,
        "strides": layer.stride,
        "pads": layer.padding * 2,
        "dilations": layer.dilation,
        "group": layer.groups,
    }
    if problem.operation == "forward":
        node = helper.make_node(
            "ConvTranspose", ["x", "weight"], ["y"], output_padding=layer.output_padding, **settings
        )
        shapes = layer.x_shape, layer.output_shape
    else:
        node = helper.make_node("Conv", ["x", "weight"], ["y"], **settings)
        shapes = layer.output_shape, layer.x_shape
    x, y = (
        helper.make_tensor_value_info(name, TYPES[layer.dtype], shape)
        for name, shape in zip("xy", shapes, strict=True)
    )
    graph = helper.make_graph([node], "layer", [x], [y], [numpy_helper.from_array(problem.weight, "weight")])
    # Old enough versions for every runtime that is in use.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()
