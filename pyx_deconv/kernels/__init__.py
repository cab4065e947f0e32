"""The compiled kernels: ``scatter``, ``gather`` and ``weight_gradient`` on checked arrays.

dispatch.py             which compiled variant is used, and its functions for each dtype
plan.py                 how the work is cut, from shapes alone: sizes and helpers
  taps.py                 which output meets which pixel through which tap; the order of weights
  plan_correlation.py     a forward pass or an input gradient
  plan_few_channels.py    the same with few channels
  plan_weight_gradient.py a weight gradient
engine.pyx              the loops, compiled once per instruction set (portable, x86_64_v2, _v3, _v4):
  pixels.pxi              blocks of pixels, and packing them
  correlation_plan.pxi    how a forward pass or an input gradient is cut
  packed_weight.pxi       its weights
  correlation.pxi         computed across target channels, with the register tile
  karatsuba.pxi           the same with outputs in pairs: three products for four
  lines.pxi               the same along lines of pixels, for few target channels
  groups.pxi              the same across groups, for few channels in each
  karatsuba_gradient.pxi  weight gradients with taps in pairs
  columns_gradient.pxi    weight gradients as products with columns of taps
  weight_gradient.pxi     weight gradients tap by tap: complex numbers, single channels, infinities
tile.h, tile_body.h     the register tile
karatsuba.h, _body.h    what pairs need beside it
lines.h, _body.h        weighted sums of lines, or of pixels
transpose.h, _body.h    channels side by side from lines of pixels, and back
storage.h               float16 and bfloat16
platform.h              what the processor and the build can do

The best instruction set that the processor has is chosen at import; the environment variable
PYX_DECONV_INSTRUCTION_SET names another.

Nothing is checked here. Arrays are aligned, native-endian and of one dtype, seen as (batch, channels,
*spatial) with any strides. ``coarse`` is the small side of the transposed convolution, ``fine`` the large
one, and per axis the coarse pixel i meets the fine pixel j = i*stride + t*dilation - begin through tap t of
the weight (coarse channels, fine channels // groups, *kernel).
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import plan, plan_correlation, plan_few_channels, plan_weight_gradient, taps
from .dispatch import ARITHMETIC, Arithmetic, available_instruction_sets, engine, instruction_set

if TYPE_CHECKING:
    from ..geometry import Axis

    Array = NDArray[Any]
    Axes = tuple[Axis, ...]
    # Packed weights of one array, and whether they are finite, by how they are packed
    Prepared = dict[tuple[object, bool, str], tuple[Array, bool]]

__all__ = [
    "ARITHMETIC",
    "available_instruction_sets",
    "engine",
    "gather",
    "instruction_set",
    "scatter",
    "weight_gradient",
]

# (batch, channels, *spatial) as (batch, channels, z, y, x, part)
_SIX = {rank: (slice(None), slice(None), *(None,) * (3 - rank), ..., None) for rank in (1, 2, 3)}


# numpy.dtype.name is made anew each time it is asked for, which takes as long as a small kernel.
_name = lru_cache(maxsize=64)(attrgetter("name"))


def _map(array: Array, stored: np.dtype[Any]) -> Array:
    return array[_SIX[array.ndim - 2]].view(stored)


def _weight(array: Array, groups: int, stored: np.dtype[Any]) -> Array:
    # (group, coarse, fine, z, y, x, part)
    shape = (groups, array.shape[0] // groups, array.shape[1], *(1,) * (5 - array.ndim), *array.shape[2:], 1)
    return array.reshape(shape).view(stored)


def _side_by_side(array: Array, arithmetic: Arithmetic) -> bool:
    """Whether the parts of the channels of a six-axis map follow each other."""
    return array.strides[1] == arithmetic.parts * arithmetic.stored.itemsize and (
        arithmetic.parts == 1 or array.strides[5] == arithmetic.stored.itemsize
    )


def _in_place(array: Array, arithmetic: Arithmetic) -> bool:
    """Whether the channels of a six-axis map lie side by side as the tile reads them."""
    return arithmetic.real == arithmetic.stored and _side_by_side(array, arithmetic)


def _scratch(size: int, dtype: np.dtype[Any]) -> Array:
    """Uninitialised memory that begins with a cache line, so that vectors do not straddle two."""
    if size < 4096:  # to look the address up takes longer
        return np.empty(size, dtype)
    line = 64 // dtype.itemsize
    memory = np.empty(size + line, dtype)
    first = -memory.ctypes.data // dtype.itemsize % line
    return memory[first : first + size]


@lru_cache(maxsize=64)
def _no_bias(size: int, dtype: np.dtype[Any]) -> Array:
    return np.zeros(size, dtype)


def _worth(threads: int, tasks: int, multiplications: int) -> int:
    return max(1, min(threads, tasks, multiplications // plan.MULTIPLICATIONS))


@lru_cache(maxsize=1024)
def _correlation_plan(
    scatters: bool,
    axes: Axes,
    batch: int,
    groups: int,
    source_channels: int,
    target_channels: int,
    side_by_side: tuple[bool, bool],
    finite: bool,
    dtype: str,
) -> tuple[Any, object, bool, int]:
    """Return the plan (None: no tap reaches any output), how it packs the weight, gaps, multiplications."""
    arithmetic = ARITHMETIC[dtype]
    directions = tuple((taps.scatter if scatters else taps.gather)(axis) for axis in axes)
    if not all(direction.phases for direction in directions):
        return None, None, True, 0
    parts = arithmetic.parts
    channels = source_channels // groups * parts, target_channels // groups * parts
    shapes = directions, batch, groups, parts, *channels
    in_memory = arithmetic.real == arithmetic.stored
    if side_by_side[1] and plan_few_channels.small_groups(directions, groups, *channels, arithmetic.tile):
        fields = plan_few_channels.across_groups(*shapes, in_memory and side_by_side[0], arithmetic.tile)
    elif finite and plan_few_channels.few_channels(directions, *channels, arithmetic.tile):
        fields = plan_few_channels.along_lines(*shapes, arithmetic.tile)
    else:
        fields = plan_correlation.correlation(
            *shapes,
            in_memory and side_by_side[0] and source_channels // groups > 16,
            in_memory and side_by_side[1],
            arithmetic.tile,
        )
    return (
        engine.CorrelationPlan(fields),
        fields.packing(),
        any(direction.gaps for direction in directions),
        _multiplications(axes, batch, groups, source_channels, target_channels, parts),
    )


def _multiplications(
    axes: Axes, batch: int, groups: int, source_channels: int, target_channels: int, parts: int
) -> int:
    return (
        batch
        * source_channels
        * target_channels
        // groups
        * parts
        * parts
        * prod(axis.coarse * axis.kernel for axis in axes)
    )


def _correlate(
    scatters: bool,
    source: Array,
    weight: Array,
    bias: Array | None,
    target: Array,
    axes: Axes,
    groups: int,
    threads: int,
    conjugate: bool,
    prepared: Prepared | None,
) -> None:
    dtype = _name(target.dtype)
    arithmetic = ARITHMETIC[dtype]
    real, stored = arithmetic.real, arithmetic.stored
    parts = arithmetic.parts
    source_map, target_map = _map(source, stored), _map(target, stored)
    shapes = (
        scatters,
        axes,
        len(source),
        groups,
        source.shape[1],
        target.shape[1],
        (_side_by_side(source_map, arithmetic), _side_by_side(target_map, arithmetic)),
    )

    def pack(finite: bool) -> tuple[Any, int, Array, bool]:
        cut, packing, _, multiplications = _correlation_plan(*shapes, finite, dtype)
        threads_used = _worth(threads, cut.tasks, multiplications)
        found = None if prepared is None else prepared.get((packing, conjugate, dtype))
        if found is None:
            # (group, coarse, fine, ...): the target of a scatter is the fine map
            weights = _weight(weight, groups, stored)
            weights = weights.swapaxes(1, 2) if scatters else weights
            if cut.group_lanes:  # the target channels of all groups, one after the other
                weights = weights.reshape(1, -1, *weights.shape[2:])
            packed = _scratch(cut.packed_size, real)
            found = packed, arithmetic.pack_weight(cut, weights, conjugate, packed, threads_used)
            if prepared is not None:
                prepared[packing, conjugate, dtype] = found
        return cut, threads_used, *found

    cut, _, gaps, _ = _correlation_plan(*shapes, True, dtype)
    if gaps:
        target[...] = 0 if bias is None else bias.reshape(-1, *(1,) * len(axes))
    if cut is None:
        return
    cut, threads_used, packed, finite = pack(True)
    if cut.along_lines and not finite:  # which is seen while packing, and only tiles can compute
        cut, threads_used, packed, _ = pack(False)
    work = _scratch(threads_used * cut.work_size, real).reshape(threads_used, -1)
    if bias is None:
        shift = _no_bias(target.shape[1] * parts, real)
    else:
        shift = np.ascontiguousarray(bias, target.dtype if parts == 2 else real).view(real)
    arithmetic.correlate(cut, source_map, packed, finite, shift, target_map, work, threads_used)


def scatter(
    coarse: Array,
    weight: Array,
    bias: Array | None,
    fine: Array,
    axes: Axes,
    groups: int,
    threads: int,
    conjugate: bool = False,
    prepared: Prepared | None = None,
) -> None:
    """Fill ``fine``: the transposed convolution of ``coarse``, by output phases."""
    _correlate(True, coarse, weight, bias, fine, axes, groups, threads, conjugate, prepared)


def gather(
    fine: Array,
    weight: Array,
    bias: Array | None,
    coarse: Array,
    axes: Axes,
    groups: int,
    threads: int,
    conjugate: bool = False,
    prepared: Prepared | None = None,
) -> None:
    """Fill ``coarse``: the strided convolution of ``fine``."""
    _correlate(False, fine, weight, bias, coarse, axes, groups, threads, conjugate, prepared)


@lru_cache(maxsize=1024)
def _weight_gradient_plan(
    axes: Axes,
    batch: int,
    groups: int,
    coarse_channels: int,
    fine_channels: int,
    in_place: tuple[bool, bool],
    dtype: str,
    way: str,
) -> tuple[Any, int, int] | None:
    """Return the plan of one way to compute it, chunks, multiplications; None if it is not for this layer."""
    arithmetic = ARITHMETIC[dtype]
    parts = arithmetic.parts
    fields = getattr(plan_weight_gradient, way)(
        axes,
        batch,
        groups,
        parts,
        coarse_channels // groups * parts,
        fine_channels // groups * parts,
        in_place,
        arithmetic.tile,
    )
    if fields is None:
        return None
    cut = getattr(engine, type(fields).__name__.replace("Fields", "Plan"))(fields)
    return cut, fields.chunks[0], _multiplications(axes, batch, groups, coarse_channels, fine_channels, parts)


def weight_gradient(coarse: Array, fine: Array, weight: Array, axes: Axes, groups: int, threads: int) -> None:
    """Fill the C-contiguous ``weight`` with the sum over pixels of conj(coarse) * fine."""
    dtype = _name(weight.dtype)
    arithmetic = ARITHMETIC[dtype]
    real, stored = arithmetic.real, arithmetic.stored
    coarse_map, fine_map = _map(coarse, stored), _map(fine, stored)
    whole_vectors = fine.shape[1] // groups * arithmetic.parts % arithmetic.tile.unit == 0
    in_place = (_in_place(coarse_map, arithmetic), whole_vectors and _in_place(fine_map, arithmetic))
    flat = weight.reshape(-1).view(stored)
    # The fastest first; the last one does not multiply what is not there, and so can do with infinities.
    for way in ("pair_gradient", "columns_gradient", "weight_gradient"):
        found = _weight_gradient_plan(
            axes, len(coarse), groups, coarse.shape[1], fine.shape[1], in_place, dtype, way
        )
        if found is None:
            continue
        cut, chunks, multiplications = found
        used = _worth(threads, cut.tasks, multiplications)
        work = _scratch(used * cut.work_size, real).reshape(used, -1)
        alone = chunks == 1 and real == stored
        partial = flat[None] if alone else np.empty((chunks, flat.size), real)
        if getattr(arithmetic, way)(cut, coarse_map, fine_map, partial, work, used):
            if not alone:
                arithmetic.sum_chunks(partial, flat, used)
            return
