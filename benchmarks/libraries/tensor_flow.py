"""TensorFlow: channels last, the only layout of its CPU kernels; the weight is a constant of the graph."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from benchmarks.layers import Layer
from benchmarks.problem import Problem, Unsupported

__all__ = ["Arguments", "TensorFlow", "arguments", "compute", "fetch"]


@dataclass(frozen=True)
class Arguments:
    """A problem in TensorFlow's words."""

    layer: Layer  # 1-D layers with an axis of size 1 in front
    padding: str | list[list[int]]
    mirrored: tuple[int, ...]  # the spatial axes, counted from the end, that run backwards
    x: np.ndarray
    weight: np.ndarray  # (*kernel, C_out, C_in), or (*kernel, C, 1) for depthwise
    grad_output: np.ndarray


def arguments(problem: Problem) -> Arguments:
    """Translate. A transposed convolution and its adjoint have the same weight here as well."""
    layer = problem.layer
    if layer.groups > 1 and not layer.depthwise:
        raise Unsupported("no groups")
    x, weight, grad_output = problem.x, problem.weight, problem.grad_output
    if layer.rank == 1:
        layer = layer.lifted()
        x, weight, grad_output = x[:, np.newaxis], weight[:, :, np.newaxis], grad_output[:, np.newaxis]
    if layer.depthwise and layer.rank != 2:
        raise Unsupported("depthwise only in 1-D and 2-D")
    padding, mirrored = padding_of(layer)
    order = (0, 1) if layer.depthwise else (1, 0)
    weight = np.moveaxis(weight, order, (-2, -1))
    # Mirrored maps and a mirrored kernel give a mirrored result, with the crop's begin and end exchanged.
    maps = tuple(axis - 1 for axis in mirrored)
    x, grad_output = (np.ascontiguousarray(np.flip(a, maps)) for a in (x, grad_output))
    weight = np.ascontiguousarray(np.flip(weight, tuple(axis - 2 for axis in mirrored)))
    return Arguments(layer, padding, mirrored, x, weight, grad_output)


def padding_of(layer: Layer) -> tuple[str | list[list[int]], tuple[int, ...]]:
    """Return TensorFlow's padding, and the axes to be mirrored for it."""
    crops = [(p, p - op) for p, op in zip(layer.padding, layer.output_padding, strict=True)]
    if all(begin == 0 and end <= 0 for begin, end in crops):
        return "VALID", ()
    mirrored = []
    for axis, (full, out, crop) in enumerate(zip(layer.full, layer.out_spatial, crops, strict=True)):
        total = full - out
        same = (total // 2, total - total // 2)
        if out != layer.spatial[axis] * layer.stride[axis] or crop not in (same, same[::-1]):
            if layer.rank == 3:
                raise Unsupported("3-D with paddings other than SAME and VALID")
            return [[0, 0], *([p, p] for p in layer.padding), [0, 0]], ()
        if crop != same:
            mirrored.append(axis - layer.rank)
    return "SAME", tuple(mirrored)


def compute(
    a: Arguments, operation: str, x: tf.Tensor, weight: tf.Tensor, grad_output: tf.Tensor
) -> tf.Tensor:
    """Compute one pass, inside a graph. TensorFlow's input is our output: its conv is the adjoint."""
    layer = a.layer
    strides, dilations = [1, *layer.stride, 1], [1, *layer.dilation, 1]
    fine, coarse, filters = a.grad_output.shape, x, a.weight.shape
    if layer.depthwise:
        spread = {"strides": strides, "padding": a.padding, "dilations": layer.dilation}
        if operation == "forward":
            return tf.nn.depthwise_conv2d_backprop_input(fine, weight, coarse, **spread)
        if operation == "grad_input":
            return tf.nn.depthwise_conv2d(grad_output, weight, **spread)
        return tf.nn.depthwise_conv2d_backprop_filter(grad_output, filters, coarse, **spread)
    if operation == "forward":
        return tf.nn.conv_transpose(coarse, weight, fine, strides, a.padding, dilations=dilations)
    if operation == "grad_input":
        convolution = tf.nn.conv2d if layer.rank == 2 else tf.nn.conv3d
        return convolution(grad_output, weight, strides, a.padding, dilations=dilations)
    common = {"filter_sizes": filters, "out_backprop": coarse, "strides": strides, "dilations": dilations}
    if layer.rank == 3:
        return tf.raw_ops.Conv3DBackpropFilterV2(input=grad_output, padding=a.padding, **common)
    if isinstance(a.padding, str):
        return tf.raw_ops.Conv2DBackpropFilter(input=grad_output, padding=a.padding, **common)
    pads = [p for pair in a.padding for p in pair]
    return tf.raw_ops.Conv2DBackpropFilter(
        input=grad_output, padding="EXPLICIT", explicit_paddings=pads, **common
    )


def fetch(result: np.ndarray, problem: Problem, mirrored: tuple[int, ...]) -> np.ndarray:
    """Undo the translation of a result."""
    layer = problem.layer
    if problem.operation == "grad_weight":
        result = np.flip(result, tuple(axis - 2 for axis in mirrored))
        result = np.moveaxis(result, (-2, -1), (0, 1) if layer.depthwise else (1, 0))
        return result.reshape(layer.weight_shape)
    result = np.moveaxis(np.flip(result, tuple(axis - 1 for axis in mirrored)), -1, 1)
    return result.reshape(layer.output_shape if problem.operation == "forward" else layer.x_shape)


class TensorFlow:
    """tensorflow."""

    layouts = ("channels_last",)

    def __init__(self, threads: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        self.mirrored: tuple[int, ...] = ()

    def version(self) -> str:
        """Return the version."""
        return tf.__version__

    def prepare(self, problem: Problem) -> Callable[[], tf.Tensor]:
        """Trace a graph."""
        a = arguments(problem)
        self.mirrored = a.mirrored
        constant = tf.constant(a.weight)
        x, grad_output = tf.constant(a.x), tf.constant(a.grad_output)
        graph = tf.function(lambda x, grad: compute(a, problem.operation, x, constant, grad))
        concrete = graph.get_concrete_function(x, grad_output)
        return lambda: concrete(x, grad_output)

    def fetch(self, result: tf.Tensor, problem: Problem) -> np.ndarray:
        """Return the result in PyTorch's order."""
        return fetch(result.numpy(), problem, self.mirrored)
