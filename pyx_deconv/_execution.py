r"""From checked arguments to a result: plan from the shapes, allocate, call a kernel.

The kernels know a coarse map, a fine map and the weight between them:

================  =========================  =========================
\                 ``conv_transpose``         ``conv``
================  =========================  =========================
forward           scatter (coarse to fine)   gather (fine to coarse)
gradient of x     gather                     scatter
x is              the coarse map             the fine map
================  =========================  =========================
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _arguments, _memory, geometry, kernels
from pyx_deconv._arguments import Integers, Paddings
from pyx_deconv.threads import get_num_threads

__all__ = ["Gradients", "Kept", "Plan", "backward", "forward", "keep", "make_plan"]


class Gradients(NamedTuple):
    """The gradients with respect to the arguments of the same names; None is what was not needed."""

    x: NDArray[Any] | None
    weight: NDArray[Any] | None
    bias: NDArray[Any] | None


class Plan(NamedTuple):
    """What follows from shapes and parameters alone.

    ``shape`` is that of the result in the caller's layout; ``order`` takes this layout to N, C, *spatial.
    """

    transposed: bool
    axes: tuple[geometry.Axis, ...]
    groups: int
    shape: tuple[int, ...]
    order: tuple[int, ...]
    batched: bool
    empty: bool


def make_plan(
    transposed: bool,
    x: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    stride: object,
    padding: object,
    output_padding: object,
    output_size: object,
    dilation: object,
    groups: object,
    data_format: object,
) -> Plan:
    """Check everything but the arrays' contents. The types come first: a cache takes True and 1.0 for 1."""
    return _cached_plan(
        transposed,
        x.shape,
        weight.shape,
        None if bias is None else bias.shape,
        _arguments.integers(stride, "stride"),
        _arguments.paddings(padding),
        _arguments.integers(output_padding, "output_padding"),
        None if output_size is None else _arguments.integers(output_size, "output_size"),
        _arguments.integers(dilation, "dilation"),
        _arguments.integer(groups, "groups"),
        _arguments.data_format(data_format),
    )


@lru_cache(maxsize=1024)
def _cached_plan(
    transposed: bool,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: Integers,
    padding: Paddings,
    output_padding: Integers,
    output_size: Integers | None,
    dilation: Integers,
    groups: int,
    data_format: str,
) -> Plan:
    _arguments.shapes(x, weight, bias, groups, data_format, transposed)
    rank = len(weight) - 2
    batch = x[: len(x) - rank - 1]
    if data_format == "channels_first":
        sizes = x[-rank:]
        order = tuple(range(rank + 2))
    else:
        sizes = x[-rank - 1 : -1]
        order = (0, rank + 1, *range(1, rank + 1))
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
    shape = (*batch, channels, *made) if data_format == "channels_first" else (*batch, *made, channels)
    return Plan(transposed, axes, groups, shape, order, bool(batch), batch == (0,))


def forward(
    plan: Plan,
    x: NDArray[Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    out: NDArray[Any] | None,
    prepared: kernels.Prepared | None = None,
) -> NDArray[Any]:
    """Compute the result of a plan; ``prepared`` keeps what is made of the weight for the next call."""
    dtype = _arguments.result_dtype(x.dtype, weight.dtype, weight.dtype if bias is None else bias.dtype)
    if out is None:
        result = out = _memory.empty(plan.shape, dtype)
    else:
        result = _arguments.output(out, plan.shape, dtype, (("x", x), ("weight", weight), ("bias", bias)))
    if not plan.empty:
        compute = kernels.scatter if plan.transposed else kernels.gather
        compute(
            _channels_first(_native(x, dtype), plan),
            _native(weight, dtype),
            None if bias is None else _native(bias, dtype),
            _channels_first(result, plan),
            plan.axes,
            plan.groups,
            get_num_threads(),
            prepared=prepared,
        )
    return out


# To any array as many axes are appended as it lacks.
_SIX = [(..., *(None,) * (6 - ndim)) for ndim in range(6)]


class Kept:
    """``forward`` for inputs of one shape, layout and dtype, as far as it does not depend on their numbers.

    Several threads may call it at once: it keeps nothing that a call writes to.
    """

    __slots__ = ("_correlation", "_dtype", "_order", "_shape")

    def __init__(self, plan: Plan, correlation: kernels.Correlation, dtype: np.dtype[Any]) -> None:
        self._shape, self._correlation, self._dtype = plan.shape, correlation, dtype
        # (batch, channels, z, y, x, part) as axes of an array to which those that it lacks are appended
        given = len(plan.shape)
        batch, *others = plan.order if plan.batched else (given, *(axis - 1 for axis in plan.order[1:]))
        absent = range(given + (not plan.batched), 6)
        self._order = batch, others[0], *absent[1:], *others[1:], absent[0]

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Compute the result for an aligned x."""
        out = _memory.empty(self._shape, self._dtype)
        threads = get_num_threads() if self._correlation.parallel else 1
        self._correlation.compute(self._six_axes(x), self._six_axes(out), threads)
        return out

    def _six_axes(self, array: NDArray[Any]) -> NDArray[Any]:
        view = array[_SIX[array.ndim]].transpose(self._order)
        stored = self._correlation.arithmetic.stored
        return view if stored is self._dtype else view.view(stored)


def keep(
    plan: Plan, x: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any] | None, prepared: kernels.Prepared
) -> Kept | None:
    """Return ``forward`` for inputs like x; None where there is nothing to gain."""
    dtype = _arguments.result_dtype(x.dtype, weight.dtype, weight.dtype if bias is None else bias.dtype)
    if plan.empty or not _is_native(x, dtype):
        return None
    made = kernels.keep(
        plan.transposed,
        _six_axes(x, plan),
        _native(weight, dtype),
        None if bias is None else _native(bias, dtype),
        _six_axes(_memory.empty(plan.shape, dtype), plan),
        plan.axes,
        plan.groups,
        get_num_threads(),
        prepared,
    )
    return None if made is None else Kept(plan, made, dtype)


def backward(
    plan: Plan,
    grad_output: NDArray[Any],
    x: NDArray[Any],
    weight: NDArray[Any],
    needs: Collection[str],
    prepared: kernels.Prepared | None = None,
) -> Gradients:
    """Compute the gradients of what ``forward`` computes."""
    _arguments.grad_output_shape(grad_output.shape, plan.shape)
    dtype = _arguments.result_dtype(grad_output.dtype, x.dtype, weight.dtype)
    gradients = _native(grad_output, dtype)
    threads = get_num_threads()
    grad_x = grad_weight = grad_bias = None
    if "x" in needs:
        grad_x = _memory.empty(x.shape, dtype)
        if not plan.empty:
            # The kernels of the adjoint have the conjugate weight.
            compute = kernels.gather if plan.transposed else kernels.scatter
            compute(
                _channels_first(gradients, plan),
                _native(weight, dtype),
                None,
                _channels_first(grad_x, plan),
                plan.axes,
                plan.groups,
                threads,
                conjugate=True,
                prepared=prepared,
            )
    if "weight" in needs:
        grad_weight = _memory.empty(weight.shape, dtype)
        if plan.empty:
            grad_weight.fill(0)
        else:
            maps = _channels_first(_native(x, dtype), plan), _channels_first(gradients, plan)
            coarse, fine = maps if plan.transposed else maps[::-1]
            kernels.weight_gradient(coarse, fine, grad_weight, plan.axes, plan.groups, threads)
            # The kernel conjugates the coarse map; it is x that has to be conjugated.
            if not plan.transposed and dtype.kind == "c":
                np.conjugate(grad_weight, out=grad_weight)
    if "bias" in needs:
        first = _channels_first(gradients, plan)
        wide = np.complex128 if dtype.kind == "c" else np.float64
        # The kernels do not warn of infinities either.
        with np.errstate(all="ignore"):
            grad_bias = first.sum(axis=(0, *range(2, first.ndim)), dtype=wide).astype(dtype)
    return Gradients(grad_x, grad_weight, grad_bias)


def _channels_first(array: NDArray[Any], plan: Plan) -> NDArray[Any]:
    """Return a view with axes N, C, *spatial."""
    if plan.batched and plan.order[1] == 1:
        return array
    return (array if plan.batched else array[np.newaxis]).transpose(plan.order)


def _six_axes(array: NDArray[Any], plan: Plan) -> NDArray[Any]:
    return kernels.six_axes(_channels_first(array, plan))


def _is_native(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    return array.dtype == dtype and array.flags.aligned


def _native(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the array itself where a kernel can read it as this dtype, or a copy."""
    if _is_native(array, dtype):
        return array
    try:
        return array.astype(dtype)
    except (MemoryError, ValueError) as error:
        raise _memory.no_room(array.shape, dtype) from error
