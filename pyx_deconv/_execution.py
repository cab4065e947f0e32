r"""From checked arguments to a result: plan from the shapes, allocate, call a kernel.

The kernels know a coarse map, a fine map and the weight between them:

================  =========================  =========================
\                 ``conv_transpose``         ``conv``
================  =========================  =========================
forward           scatter (coarse to fine)   gather (fine to coarse)
gradient of x     gather                     scatter
x is              the coarse map             the fine map
================  =========================  =========================

What follows from everything but the numbers is remembered for the next call of the same kind, where nothing
is left to check: whatever could be wrong about it is part of its kind.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _arguments, _memory, geometry, kernels
from pyx_deconv._arguments import Settings
from pyx_deconv.threads import get_num_threads

__all__ = ["Gradients", "Pass", "Plan", "backward", "compute", "forward", "make_plan", "remember"]

Array = NDArray[Any]

MOST_REMEMBERED = 1024  # kinds of calls of the functions, each


def remember(memory: dict[Any, Any], most: int, kind: object, made: object) -> None:
    """Keep what was made for calls of one kind. Several threads may do so at once."""
    if len(memory) >= most:
        memory.clear()
    memory[kind] = made


class Gradients(NamedTuple):
    """The gradients with respect to the arguments of the same names; None is what was not needed."""

    x: Array | None
    weight: Array | None
    bias: Array | None


class Plan(NamedTuple):
    """What follows from shapes and parameters alone; ``shape`` is that of the result."""

    transposed: bool
    axes: tuple[geometry.Axis, ...]
    groups: int
    shape: tuple[int, ...]
    batched: bool
    channels_last: bool
    empty: bool


@lru_cache(maxsize=1024)
def make_plan(
    transposed: bool,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    settings: Settings,
) -> Plan:
    """Check shapes, and the values of settings of the right types: a cache takes True and 1.0 for 1."""
    stride, padding, output_padding, output_size, dilation, groups, data_format = settings
    _arguments.shapes(x, weight, bias, groups, data_format, transposed)
    rank, channels_last = len(weight) - 2, data_format == "channels_last"
    batch = x[: len(x) - rank - 1]
    sizes = x[-rank - 1 : -1] if channels_last else x[-rank:]
    if transposed:
        axes = geometry.transposed_axes(
            sizes, weight[2:], stride, padding, output_padding, output_size, dilation
        )
        made = tuple(axis.fine for axis in axes)
        channels = weight[1] * groups
    else:
        axes = geometry.conv_axes(sizes, weight[2:], stride, padding, dilation)
        made = tuple(axis.coarse for axis in axes)
        channels = weight[0]
    shape = (*batch, *made, channels) if channels_last else (*batch, channels, *made)
    return Plan(transposed, axes, groups, shape, bool(batch), channels_last, batch == (0,))


class _SixAxes:
    """Views (batch, channels, z, y, x, part) of arrays of one shape and dtype."""

    __slots__ = ("_channels_last", "_shape", "_stored")

    def __init__(self, plan: Plan, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        batch, *others = shape if plan.batched else (1, *shape)
        before = 0 if plan.channels_last else 1  # the spatial axes
        absent = (1,) * (3 - len(plan.axes))
        self._shape = batch, *others[:before], *absent, *others[before:], 1
        self._channels_last = plan.channels_last
        stored = kernels.stored(dtype)
        self._stored = None if stored is dtype else stored

    def __call__(self, array: Array) -> Array:
        view = array.reshape(self._shape)  # not a copy, as no axes but those of size 1 are new
        if self._channels_last:
            view = view.transpose(0, 4, 1, 2, 3, 5)
        return view if self._stored is None else view.view(self._stored)


class Pass:
    """A forward pass or an input gradient for sources of one shape, layout and dtype, whatever the numbers.

    Several threads may use it at once: it keeps nothing that they write to.
    """

    __slots__ = ("_correlation", "_dtype", "_empty", "_shape", "_source", "_target")

    def __init__(
        self, plan: Plan, scatters: bool, source: Array, weight: Array, target: Array, *, keeps: bool
    ) -> None:
        self._shape, self._dtype = target.shape, target.dtype
        self._empty = np.empty if target.size < kernels.SMALL else _memory.empty  # it asks that for each
        self._source = _SixAxes(plan, source.shape, target.dtype)
        self._target = _SixAxes(plan, target.shape, target.dtype)
        # The kernels of the adjoint have the conjugate weight.
        conjugate = scatters != plan.transposed
        self._correlation = kernels.Correlation(
            scatters,
            self._source(source),
            weight,
            self._target(target),
            plan.axes,
            plan.groups,
            conjugate,
            keeps,
        )

    def compute(
        self,
        source: Array,
        weight: Array,
        bias: Array | None,
        target: Array,
        prepared: kernels.Prepared | None = None,
    ) -> None:
        """Fill the target; ``prepared`` keeps what is made of the weight for the next call."""
        self._correlation.compute(
            self._source(source), weight, bias, self._target(target), _threads(self._correlation), prepared
        )

    def weigh(self, weight: Array, bias: Array | None, prepared: kernels.Prepared) -> kernels.Weighed | None:
        """Return what ``compute_weighed`` takes; None where there is nothing to gain."""
        return self._correlation.keep(weight, bias, _threads(self._correlation), prepared)

    def compute_weighed(self, source: Array, weighed: kernels.Weighed, target: Array) -> None:
        """Fill the target."""
        weighed.compute(self._source(source), self._target(target), _threads(self._correlation))

    def target(self, out: Array | None, x: Array, weight: Array, bias: Array | None) -> Array | None:
        """Return a new array or the checked ``out``; None where that lies in memory as no new array does."""
        if out is None:
            return self._empty(self._shape, self._dtype)
        plain = _output(out, self._shape, self._dtype, x, weight, bias)
        return plain if plain.flags.c_contiguous else None


_forward: dict[Any, Pass] = {}


def forward(
    transposed: bool, x: Array, weight: Array, bias: Array | None, settings: Settings, out: Array | None
) -> Array:
    """Check the shapes and values of a call of a function, and compute its result."""
    shift = None if bias is None else (bias.shape, bias.dtype)
    kind = transposed, x.shape, x.strides, x.dtype, weight.shape, weight.dtype, shift, settings
    known = _forward.get(kind)
    if known is not None and _aligned(x, weight, bias):
        target = known.target(out, x, weight, bias)
        if target is not None:
            known.compute(x, weight, bias, target)
            return target if out is None else out
    plan = make_plan(transposed, x.shape, weight.shape, None if bias is None else bias.shape, settings)
    result, made = compute(plan, x, weight, bias, out)
    if made is not None:
        remember(_forward, MOST_REMEMBERED, kind, made)
    return result


def compute(
    plan: Plan,
    x: Array,
    weight: Array,
    bias: Array | None,
    out: Array | None,
    prepared: kernels.Prepared | None = None,
) -> tuple[Array, Pass | None]:
    """Compute the result of a plan; return also what does so for others, if arrays lie as it takes them."""
    dtype = _arguments.result_dtype(x.dtype, weight.dtype, weight.dtype if bias is None else bias.dtype)
    if out is None:
        result = _memory.empty(plan.shape, dtype)
    else:
        result = _output(out, plan.shape, dtype, x, weight, bias)
    out = result if out is None else out
    if plan.empty:
        return out, None
    source, kernel = _native(x, dtype), _native(weight, dtype)
    shift = None if bias is None else _native(bias, dtype)
    made = Pass(plan, plan.transposed, source, kernel, result, keeps=prepared is not None)
    made.compute(source, kernel, shift, result, prepared)
    alike = source is x and kernel is weight and shift is bias and result.flags.c_contiguous
    return out, made if alike else None


class _Backward:
    """The gradients for arrays of some shapes, layouts and dtype; each is planned when it is first needed."""

    __slots__ = ("_grad_output", "_input", "_weight", "_x", "dtype", "plan")

    def __init__(self, plan: Plan, x: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.plan, self.dtype = plan, dtype
        self._x, self._grad_output = _SixAxes(plan, x, dtype), _SixAxes(plan, plan.shape, dtype)
        self._input: Pass | None = None
        self._weight: kernels.WeightGradient | None = None

    def grad_x(
        self, grad_output: Array, shape: tuple[int, ...], weight: Array, prepared: kernels.Prepared | None
    ) -> Array:
        target = _memory.empty(shape, self.dtype)
        if not self.plan.empty:
            if self._input is None:
                scatters, keeps = not self.plan.transposed, prepared is not None
                self._input = Pass(self.plan, scatters, grad_output, weight, target, keeps=keeps)
            self._input.compute(grad_output, weight, None, target, prepared)
        return target

    def grad_weight(self, grad_output: Array, x: Array, shape: tuple[int, ...]) -> Array:
        target = _memory.empty(shape, self.dtype)
        if self.plan.empty:
            target.fill(0)
            return target
        maps = self._x(x), self._grad_output(grad_output)
        coarse, fine = maps if self.plan.transposed else maps[::-1]
        if self._weight is None:
            self._weight = kernels.WeightGradient(coarse, fine, self.plan.axes, self.plan.groups, self.dtype)
        self._weight.compute(coarse, fine, target, _threads(self._weight))
        # The kernel conjugates the coarse map; it is x that has to be conjugated.
        if not self.plan.transposed and self.dtype.kind == "c":
            np.conjugate(target, out=target)
        return target

    def grad_bias(self, grad_output: Array) -> Array:
        channels = len(self.plan.shape) - 1 if self.plan.channels_last else int(self.plan.batched)
        pixels = tuple(axis for axis in range(len(self.plan.shape)) if axis != channels)
        wide = np.complex128 if self.dtype.kind == "c" else np.float64
        # The kernels do not warn of infinities either.
        with np.errstate(all="ignore"):
            gradient: Array = grad_output.sum(axis=pixels, dtype=wide).astype(self.dtype)
        return gradient


_backward: dict[Any, _Backward] = {}


def backward(
    transposed: bool,
    grad_output: Array,
    x: Array,
    weight: Array,
    settings: Settings,
    needs: Collection[str],
    prepared: kernels.Prepared | None = None,
) -> Gradients:
    """Compute the gradients of what ``forward`` computes."""
    kind = (
        transposed,
        grad_output.shape,
        grad_output.strides,
        grad_output.dtype,
        x.shape,
        x.strides,
        x.dtype,
        weight.shape,
        weight.dtype,
        settings,
        prepared is None,
    )
    made = _backward.get(kind)
    if made is None or not _aligned(grad_output, x, weight):
        plan = make_plan(transposed, x.shape, weight.shape, None, settings)
        _arguments.grad_output_shape(grad_output.shape, plan.shape)
        dtype = _arguments.result_dtype(grad_output.dtype, x.dtype, weight.dtype)
        made = _Backward(plan, x.shape, dtype)
        if all(_is_native(array, dtype) for array in (grad_output, x, weight)):
            remember(_backward, MOST_REMEMBERED, kind, made)
        else:
            grad_output = _native(grad_output, dtype)
            x = _native(x, dtype) if "weight" in needs else x
            weight = _native(weight, dtype) if "x" in needs else weight
    return Gradients(
        made.grad_x(grad_output, x.shape, weight, prepared) if "x" in needs else None,
        made.grad_weight(grad_output, x, weight.shape) if "weight" in needs else None,
        made.grad_bias(grad_output) if "bias" in needs else None,
    )


def _output(
    out: Array, shape: tuple[int, ...], dtype: np.dtype[Any], x: Array, weight: Array, bias: Array | None
) -> Array:
    return _arguments.output(out, shape, dtype, (("x", x), ("weight", weight), ("bias", bias)))


def _threads(made: kernels.Correlation | kernels.WeightGradient) -> int:
    # Where one is enough, to ask how many there are would take time.
    return get_num_threads() if made.multiplications >= 2 * kernels.plan.MULTIPLICATIONS else 1


def _aligned(x: Array, weight: Array, other: Array | None) -> bool:
    return x.flags.aligned and weight.flags.aligned and (other is None or other.flags.aligned)


def _is_native(array: Array, dtype: np.dtype[Any]) -> bool:
    return array.dtype == dtype and array.flags.aligned


def _native(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return the array itself where a kernel can read it as this dtype, or a copy."""
    if _is_native(array, dtype):
        return array
    try:
        return array.astype(dtype)
    except (MemoryError, ValueError) as error:
        raise _memory.no_room(array.shape, dtype) from error
