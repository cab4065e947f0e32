"""The operations of ONNX graphs that `load_onnx` runs: for each op_type a function that makes one.

A maker gets a `Node`, reads its attributes, and returns a function from arrays to an array, or to a tuple of
them; a missing optional input is None. What it cannot do it refuses then, when the graph is loaded. Where an
attribute became an input in a later version of the operators, both are read. The definitions are those of
https://onnx.ai/onnx/operators.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyx_deconv.convert._common import per_axis
from pyx_deconv.convert._onnx import AUTO_PADS, make_operator
from pyx_deconv.convert._tensor_proto import dtype_of
from pyx_deconv.geometry import effective_kernel, same_begin

__all__ = ["MAKERS", "Node"]

Array = NDArray[Any]
Function = Callable[..., Any]


class Node(NamedTuple):
    """A node of a graph: ``constants`` are the values known before any input is."""

    op_type: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    opset: int
    constants: Mapping[str, Array]

    def constant(self, index: int) -> Array | None:
        """The value of an input, if it is known already."""
        return self.constants.get(self.inputs[index]) if index < len(self.inputs) else None

    def settings(self, **defaults: Any) -> Any:
        """The attributes with their defaults; others are refused, because they would be passed over."""
        unknown = sorted(set(self.attributes) - set(defaults))
        if unknown:
            raise ValueError(f"attribute {unknown[0]!r} is not supported; supported: {', '.join(defaults)}")
        return SimpleNamespace(**defaults | dict(self.attributes))


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


# ---------------------------------------------------------------- convolutions and normalisation


def _convolution(node: Node) -> Function:
    weight, bias = node.constant(1), node.constant(2)
    _require(
        weight is not None and (bias is not None or node.inputs[2:] in ((), ("",))),
        "its weight and its bias must be initializers or constants, and are computed in the graph",
    )
    assert weight is not None
    if node.op_type == "ConvTranspose" and "output_shape" in node.attributes:

        @functools.lru_cache(maxsize=8)
        def for_size(size: tuple[int, ...]) -> Any:
            return make_operator(node.op_type, node.attributes, weight, bias, size)

        for_size((1,) * (weight.ndim - 2))  # says what is wrong now
        return lambda x, *_: for_size(x.shape[2:])(x)
    operator = make_operator(node.op_type, node.attributes, weight, bias)
    return lambda x, *_: operator(x)


def _batch_normalization(node: Node) -> Function:
    given = node.settings(epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1)
    _require(given.training_mode == 0, "training_mode=1 is not supported: only inference is")
    _require(given.spatial == 1, "spatial=0 is not supported")
    _require(sum(map(bool, node.outputs)) == 1, "more than one output is not supported: only inference is")

    def factors(scale: Array, offset: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
        # In float64: the mean may be large beside the deviation.
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + given.epsilon)
        return factor, offset.astype(np.float64) - mean.astype(np.float64) * factor

    known = [node.constant(index) for index in range(1, 5)]
    fixed = factors(*known) if all(each is not None for each in known) else None  # type: ignore[arg-type]

    def apply(x: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> Any:
        factor, shift = factors(scale, offset, mean, variance) if fixed is None else fixed
        channels = (-1, *(1,) * (x.ndim - 2))
        result = x * factor.astype(x.dtype).reshape(channels)
        result += shift.astype(x.dtype).reshape(channels)
        return result

    return apply


def _instance_normalization(node: Node) -> Function:
    epsilon = node.settings(epsilon=1e-5).epsilon

    def apply(x: Array, scale: Array, offset: Array) -> Any:
        axes, channels = tuple(range(2, x.ndim)), (-1, *(1,) * (x.ndim - 2))
        centred = x - x.mean(axes, keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(axes, keepdims=True) + x.dtype.type(epsilon))
        return centred / deviation * scale.reshape(channels) + offset.reshape(channels)

    return apply


# ---------------------------------------------------------------- one number at a time


def _elementwise(function: Callable[..., Array], **defaults: float) -> Callable[[Node], Function]:
    """A maker for a function of x and of attributes; the result is of the dtype of x."""

    def make(node: Node) -> Function:
        given = vars(node.settings(**defaults))
        return lambda x: np.asarray(function(x, **given)).astype(x.dtype, copy=False)

    return make


def _arithmetic(function: Callable[[Array, Array], Array]) -> Callable[[Node], Function]:
    """A maker for a function of two arrays; the result is of the dtype of the first."""

    def make(node: Node) -> Function:
        node.settings()
        return lambda x, y: np.asarray(function(x, y)).astype(x.dtype, copy=False)

    return make


def _elu(x: Array, alpha: float) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _selu(x: Array, alpha: float, gamma: float) -> Any:
    return gamma * _elu(x, alpha)


def _sigmoid(x: Array) -> Any:
    decayed = np.exp(-np.abs(x))  # never overflows
    return np.where(x >= 0, 1, decayed) / (1 + decayed)


def _gelu(node: Node) -> Function:
    approximate = node.settings(approximate="none").approximate
    _require(approximate in ("none", "tanh"), f"approximate must be 'none' or 'tanh', not {approximate!r}")

    def apply(x: Array) -> Any:
        if approximate == "tanh":
            cumulative = 1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
        else:
            cumulative = 1 + _erf(x / math.sqrt(2))
        return np.asarray(0.5 * x * cumulative).astype(x.dtype, copy=False)

    return apply


def _erf(x: Array) -> Any:
    try:
        from scipy.special import erf  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        erf = np.vectorize(math.erf, otypes=[np.float64])
    return erf(x)


def _divide(x: Array, y: Array) -> Any:
    if x.dtype.kind not in "iu":
        return np.divide(x, y)
    quotient = np.abs(x) // np.abs(y)  # towards zero, as in C
    return np.where((x < 0) != (y < 0), -quotient, quotient)


def _clip(node: Node) -> Function:
    given = node.settings(min=None, max=None)  # attributes until opset 11

    def apply(x: Array, low: Array | None = None, high: Array | None = None) -> Any:
        low, high = given.min if low is None else low, given.max if high is None else high
        result = x if low is None else np.maximum(x, low)
        result = result if high is None else np.minimum(result, high)
        return np.asarray(result).astype(x.dtype, copy=False)

    return apply


def _softmax(node: Node) -> Function:
    # Until opset 13 all axes from this one on counted as one.
    flat = node.opset < 13
    axis = node.settings(axis=1 if flat else -1).axis

    def apply(x: Array) -> Any:
        rows = x.reshape(math.prod(x.shape[: _axis(axis, x.ndim)]), -1) if flat else x
        along = -1 if flat else axis
        result = np.exp(rows - rows.max(along, keepdims=True))
        result /= result.sum(along, keepdims=True)
        return result.reshape(x.shape)

    return apply


def _dropout(node: Node) -> Function:
    node.settings(ratio=0.5, seed=0)
    mode = node.constant(2)
    _require(
        len(node.inputs) < 3 or not node.inputs[2] or (mode is not None and not mode.any()),
        "training_mode is not supported: only inference is",
    )
    if len(node.outputs) > 1:
        return lambda x, *_: (x, np.ones(x.shape, bool))
    return lambda x, *_: x


def _cast(node: Node) -> Function:
    given = node.settings(to=None, saturate=1, round_mode="up")
    dtype = dtype_of(given.to)
    _require(dtype is not None, f"to={given.to} is no data type that is supported")
    return lambda x: x.astype(dtype)


# ---------------------------------------------------------------- shapes


def _axis(axis: int, rank: int) -> int:
    _require(-rank <= axis <= rank, f"axis {axis} must be one of {rank}")
    return axis + rank if axis < 0 else axis


def _ints(value: Any) -> list[int]:
    return [int(each) for each in np.ravel(value)]


def _with_axes(function: Callable[[Array, list[int] | None], Array]) -> Callable[[Node], Function]:
    """A maker where the axes are an attribute until opset 13, and an input from then on."""

    def make(node: Node) -> Function:
        given = node.settings(axes=None).axes
        first = None if given is None else list(given)
        return lambda x, axes=None: function(x, first if axes is None else _ints(axes))

    return make


def _squeeze(x: Array, axes: list[int] | None) -> Array:
    return np.squeeze(x, None if axes is None else tuple(axes))


def _unsqueeze(x: Array, axes: list[int] | None) -> Array:
    _require(axes is not None, "axes are missing")
    return np.expand_dims(x, tuple(axes or ()))


def _reshape(node: Node) -> Function:
    allow_zero = node.settings(allowzero=0).allowzero

    def apply(x: Array, shape: Array) -> Any:
        wanted = _ints(shape)
        if not allow_zero:  # 0 stands for the size of this axis
            wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
        return x.reshape(wanted)

    return apply


def _flatten(node: Node) -> Function:
    axis = node.settings(axis=1).axis
    return lambda x: x.reshape(math.prod(x.shape[: _axis(axis, x.ndim)]), -1)


def _transpose(node: Node) -> Function:
    order = node.settings(perm=None).perm
    return lambda x: np.transpose(x, order)


def _concat(node: Node) -> Function:
    axis = node.settings(axis=1).axis
    return lambda *arrays: np.concatenate(arrays, axis)


def _gather(node: Node) -> Function:
    axis = node.settings(axis=0).axis
    return lambda x, indices: np.take(x, indices, axis)


def _shape(node: Node) -> Function:
    given = node.settings(start=0, end=None)
    return lambda x: np.array(x.shape[given.start : given.end], np.int64)


def _constant(node: Node) -> Function:
    given = node.settings(value=None, value_float=None, value_floats=None, value_int=None, value_ints=None)
    kinds = {"value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}
    values = [given.value] if given.value is not None else []
    values += [np.array(value, kinds[name]) for name, value in node.attributes.items() if name in kinds]
    _require(len(values) == 1, f"a constant has one value, not {len(values)}")
    return lambda: values[0]


def _constant_of_shape(node: Node) -> Function:
    value = node.settings(value=np.zeros(1, np.float32)).value
    return lambda shape: np.full(_ints(shape), value.ravel()[0])


def _slice(node: Node) -> Function:
    given = node.settings(starts=None, ends=None, axes=None)  # attributes until opset 10

    def apply(x: Array, *inputs: Array | None) -> Any:
        starts, ends, axes, steps = [*inputs, None, None, None, None][:4]
        first = _ints(given.starts if starts is None else starts)
        last = _ints(given.ends if ends is None else ends)
        axes = given.axes if axes is None else axes
        along = list(range(len(first))) if axes is None else _ints(axes)
        by = [1] * len(first) if steps is None else _ints(steps)
        index = [slice(None)] * x.ndim
        for axis, start, end, step in zip(along, first, last, by, strict=True):
            index[axis] = slice(start, end, step)
        return x[tuple(index)]

    return apply


PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def _pad(node: Node) -> Function:
    given = node.settings(mode="constant", pads=None, value=0.0)  # attributes until opset 11
    _require(given.mode in PAD_MODES, f"mode {given.mode!r} is not supported; supported: {list(PAD_MODES)}")

    def apply(
        x: Array, pads: Array | None = None, value: Array | None = None, axes: Array | None = None
    ) -> Any:
        amounts = _ints(given.pads if pads is None else pads)
        along = list(range(x.ndim)) if axes is None else _ints(axes)
        _require(len(amounts) == 2 * len(along), f"pads has {len(amounts)} entries for {len(along)} axes")
        pairs = [(0, 0)] * x.ndim
        for axis, begin, end in zip(along, amounts[: len(along)], amounts[len(along) :], strict=True):
            pairs[axis] = begin, end
        # Negative amounts take away.
        kept = tuple(
            slice(max(-begin, 0), size - max(-end, 0))
            for (begin, end), size in zip(pairs, x.shape, strict=True)
        )
        added = [(max(begin, 0), max(end, 0)) for begin, end in pairs]
        filled = given.value if value is None else value.item()
        options = {"constant_values": filled} if given.mode == "constant" else {}
        return np.pad(x[kept], added, given.mode, **options)

    return apply


# ---------------------------------------------------------------- pooling and resizing


def _pool(node: Node) -> Function:
    """MaxPool and AveragePool, tap after tap."""
    is_max = node.op_type == "MaxPool"
    given = node.settings(
        kernel_shape=None,
        strides=None,
        pads=None,
        dilations=None,
        auto_pad="NOTSET",
        ceil_mode=0,
        **{"storage_order": 0} if is_max else {"count_include_pad": 0},
    )
    _require(len(node.outputs) == 1, "the output of indices is not supported")
    _require(given.kernel_shape is not None, "attribute 'kernel_shape' is missing")
    _require(given.auto_pad in AUTO_PADS, f"auto_pad={given.auto_pad!r} is none of {AUTO_PADS}")
    rank = len(given.kernel_shape)
    kernel = per_axis(given.kernel_shape, "kernel_shape", rank)
    stride = per_axis(given.strides or 1, "strides", rank)
    dilation = per_axis(given.dilations or 1, "dilations", rank)
    pads = _ints(given.pads or (0,) * 2 * rank)
    _require(len(pads) == 2 * rank and min(pads) >= 0, f"pads must be {2 * rank} entries >= 0, not {pads}")
    reach = [effective_kernel(k, d) for k, d in zip(kernel, dilation, strict=True)]

    def windows(sizes: Sequence[int]) -> tuple[list[int], list[tuple[int, int]], list[tuple[int, int]]]:
        """Sizes of the result, padding that counts, and beyond it what a last window with ceil_mode needs."""
        out, padding, beyond = [], [], []
        for axis, size in enumerate(sizes):
            begin, end = pads[axis], pads[axis + rank]
            s, r = stride[axis], reach[axis]
            if given.auto_pad.startswith("SAME"):
                total = max((-(-size // s) - 1) * s + r - size, 0)
                begin = same_begin(total, "same_upper" if given.auto_pad == "SAME_UPPER" else "same_lower")
                end = total - begin
            elif given.auto_pad == "VALID":
                begin = end = 0
            room = size + begin + end - r
            _require(room >= 0, f"the kernel {kernel} must not exceed the padded input of size {sizes}")
            count = (-(-room // s) if given.ceil_mode else room // s) + 1
            if (count - 1) * s >= size + begin:  # a window may not begin behind the input
                count -= 1
            out.append(count)
            padding.append((begin, end))
            beyond.append((0, max((count - 1) * s + r - size - begin - end, 0)))
        return out, padding, beyond

    def total(x: Array, out: Sequence[int], combine: Callable[..., Any]) -> Any:
        result: Array | None = None
        for tap in itertools.product(*(range(k) for k in kernel)):
            index: Any = tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilation, out, stride, strict=True)
            )
            part = x[(..., *index)]
            result = part.copy() if result is None else combine(result, part, out=result)
        assert result is not None
        return result

    def apply(x: Array) -> Any:
        out, padding, beyond = windows(x.shape[2:])

        def padded(array: Array, amounts: list[tuple[int, int]], value: Any) -> Any:
            return np.pad(array, [(0, 0)] * (array.ndim - rank) + amounts, constant_values=value)

        if is_max:
            lowest = -np.inf if x.dtype.kind not in "biu" else np.iinfo(x.dtype).min
            return total(padded(padded(x, padding, lowest), beyond, lowest), out, np.maximum)
        counted = np.ones(x.shape[2:], x.dtype)
        counted = padded(padded(counted, padding, given.count_include_pad), beyond, 0)
        return total(padded(padded(x, padding, 0), beyond, 0), out, np.add) / total(counted, out, np.add)

    return apply


def _global_average_pool(x: Array) -> Any:
    return x.mean(tuple(range(2, x.ndim)), keepdims=True)


COORDINATES: dict[str, Callable[[Array, float, int, int], Array]] = {
    "asymmetric": lambda i, scale, n, out: i / scale,
    "half_pixel": lambda i, scale, n, out: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, scale, n, out: (i + 0.5) / scale - 0.5 if out > 1 else 0 * i,
    "align_corners": lambda i, scale, n, out: i * (n - 1) / (out - 1) if out > 1 else 0 * i,
}
NEAREST: dict[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}


def _resize(node: Node) -> Function:
    given = node.settings(
        mode="nearest",
        coordinate_transformation_mode="half_pixel",
        nearest_mode="round_prefer_floor",
        cubic_coeff_a=-0.75,
        exclude_outside=0,
        extrapolation_value=0.0,
    )
    _require(node.opset >= 11, "before opset 11 it is not supported")
    _require(given.mode == "nearest", f"mode {given.mode!r} is not supported; supported: 'nearest'")
    mode = given.coordinate_transformation_mode
    _require(mode in COORDINATES, f"{mode!r} is not supported; supported: {list(COORDINATES)}")
    nearest = given.nearest_mode
    _require(nearest in NEAREST, f"nearest_mode {nearest!r} is not supported; supported: {list(NEAREST)}")

    def apply(x: Array, roi: Any = None, scales: Array | None = None, sizes: Array | None = None) -> Any:
        if sizes is not None and sizes.size:
            wanted = _ints(sizes)
            ratios = [out / n for out, n in zip(wanted, x.shape, strict=True)]
        else:
            _require(scales is not None and scales.size == x.ndim, "scales or sizes are missing")
            ratios = [float(each) for each in np.ravel(scales)]  # type: ignore[arg-type]
            wanted = [int(n * ratio) for n, ratio in zip(x.shape, ratios, strict=True)]
        for axis, (n, out, ratio) in enumerate(zip(x.shape, wanted, ratios, strict=True)):
            if (n, ratio) != (out, 1):
                source = NEAREST[nearest](COORDINATES[mode](np.arange(out, dtype=float), ratio, n, out))
                x = np.take(x, np.clip(source, 0, n - 1).astype(np.intp), axis)
        return x

    return apply


MAKERS: dict[str, Callable[[Node], Function]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "BatchNormalization": _batch_normalization,
    "InstanceNormalization": _instance_normalization,
    "Relu": _elementwise(lambda x: np.maximum(x, 0)),
    "LeakyRelu": _elementwise(lambda x, alpha: np.where(x >= 0, x, alpha * x), alpha=0.01),
    "PRelu": _arithmetic(lambda x, slope: np.where(x >= 0, x, slope * x)),
    "Elu": _elementwise(_elu, alpha=1.0),
    "Selu": _elementwise(_selu, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875),
    "Sigmoid": _elementwise(_sigmoid),
    "HardSigmoid": _elementwise(lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), alpha=0.2, beta=0.5),
    "Tanh": _elementwise(np.tanh),
    "Softplus": _elementwise(lambda x: np.logaddexp(x, 0)),
    "Gelu": _gelu,
    "Erf": _elementwise(_erf),
    "Exp": _elementwise(np.exp),
    "Sqrt": _elementwise(np.sqrt),
    "Neg": _elementwise(np.negative),
    "Softmax": _softmax,
    "Clip": _clip,
    "Add": _arithmetic(np.add),
    "Sub": _arithmetic(np.subtract),
    "Mul": _arithmetic(np.multiply),
    "Div": _arithmetic(_divide),
    "Pow": _arithmetic(np.power),
    "Identity": _elementwise(lambda x: x),
    "Dropout": _dropout,
    "Cast": _cast,
    "Concat": _concat,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _with_axes(_squeeze),
    "Unsqueeze": _with_axes(_unsqueeze),
    "Transpose": _transpose,
    "Gather": _gather,
    "Shape": _shape,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Slice": _slice,
    "Pad": _pad,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _elementwise(_global_average_pool),
    "Resize": _resize,
}
