"""The compiled kernels: ``scatter``, ``gather`` and ``weight_gradient`` on checked arrays.

dispatch.py             which compiled variant is used, and its functions for each dtype
plan.py                 how the work is cut, from shapes alone: sizes and helpers
  taps.py                 which output meets which pixel through which tap; the order of weights
  plan_correlation.py     a forward pass or an input gradient
  plan_across.py          the same with pixels in the lanes of the tile
  plan_columns.py         the same for few pixels
  plan_few_channels.py    the same with few channels
  plan_weight_gradient.py a weight gradient
engine.pyx              the loops, compiled once per instruction set (portable, x86_64_v2, _v3, _v4):
  pixels.pxi              blocks of pixels, and packing them
  correlation_plan.pxi    how a forward pass or an input gradient is cut
  packed_weight.pxi       its weights
  storing.pxi             from its sums to the result
  correlation.pxi         computed across target channels, with the register tile
  karatsuba.pxi           the same with outputs in pairs: three products for four
  across.pxi              computed with pixels in the lanes of the tile, for few target channels
  lines.pxi               the same along lines of pixels, for few target channels
  groups.pxi              the same across groups, for few channels in each
  columns.pxi             the same for few pixels, whose weight is taken as it lies
  karatsuba_gradient.pxi  weight gradients with taps in pairs
  columns_gradient.pxi    weight gradients as one product of all taps
  weight_gradient.pxi     weight gradients tap by tap: complex numbers, few or single channels, infinities
tile.h, tile_body.h     the register tile
karatsuba.h, _body.h    what pairs need beside it
lines.h, _body.h        weighted sums of lines, or of pixels
padded.h, _body.h       lines with zeros beside them
stream.h                writing past the caches
transpose.h, _body.h    channels side by side from lines of pixels, and back
columns.h, _body.h      what few pixels need beside it
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
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import (
    plan,
    plan_across,
    plan_columns,
    plan_correlation,
    plan_few_channels,
    plan_weight_gradient,
    taps,
)
from .dispatch import ARITHMETIC, Arithmetic, available_instruction_sets, engine, instruction_set

if TYPE_CHECKING:
    from ..geometry import Axis

    Array = NDArray[Any]
    Axes = tuple[Axis, ...]
    # Packed weights of one array, and whether they are finite, by how they are packed
    Prepared = dict[tuple[object, bool, str], tuple[Array, bool]]

__all__ = [
    "ARITHMETIC",
    "aligned",
    "available_instruction_sets",
    "engine",
    "gather",
    "instruction_set",
    "keep",
    "scatter",
    "six_axes",
    "weight_gradient",
]

# (batch, channels, *spatial) as (batch, channels, z, y, x, part)
_SIX = {rank: (slice(None), slice(None), *(None,) * (3 - rank), ..., None) for rank in (1, 2, 3)}


# numpy.dtype.name is made anew each time it is asked for, which takes as long as a small kernel.
_name = lru_cache(maxsize=64)(attrgetter("name"))


def six_axes(array: Array) -> Array:
    """Return (batch, channels, *spatial) as the kernels see it."""
    return _map(array, ARITHMETIC[_name(array.dtype)].stored)


def _map(array: Array, stored: np.dtype[Any]) -> Array:
    seen = array[_SIX[array.ndim - 2]]
    return seen if seen.dtype is stored else seen.view(stored)  # which takes as long as the kernel itself may


def _weight(array: Array, groups: int, stored: np.dtype[Any]) -> Array:
    # (group, coarse, fine, z, y, x, part)
    shape = (groups, array.shape[0] // groups, array.shape[1], *(1,) * (5 - array.ndim), *array.shape[2:], 1)
    seen = array.reshape(shape)
    return seen if seen.dtype is stored else seen.view(stored)


def _side_by_side(array: Array, arithmetic: Arithmetic) -> bool:
    """Whether the parts of the channels of a six-axis map follow each other."""
    return array.strides[1] == arithmetic.parts * arithmetic.stored.itemsize and (
        arithmetic.parts == 1 or array.strides[5] == arithmetic.stored.itemsize
    )


def _in_place(array: Array, arithmetic: Arithmetic) -> bool:
    """Whether the channels of a six-axis map lie side by side as the tile reads them."""
    return arithmetic.real == arithmetic.stored and _side_by_side(array, arithmetic)


def aligned(size: int, dtype: np.dtype[Any]) -> Array:
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
    lines_contiguous: tuple[bool, bool],
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
    elif (
        finite
        and parts == 1
        and all(map(max, lines_contiguous, (in_memory and each for each in side_by_side)))
        and plan_across.across_pixels(
            directions, batch, *channels, lines_contiguous.count(False), arithmetic.tile
        )
    ):
        fields = plan_across.across(directions, batch, groups, *channels, arithmetic.tile)
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


@lru_cache(maxsize=1024)
def _columns_plan(
    scatters: bool,
    axes: Axes,
    batch: int,
    groups: int,
    coarse_channels: int,
    fine_channels: int,
    in_place: bool,
    kept: bool,
    dtype: str,
) -> tuple[Any, int] | None:
    """Return the plan for few pixels and how many multiplications it has, or None if they are not so few."""
    arithmetic = ARITHMETIC[dtype]
    shape = axes, batch, groups, coarse_channels // groups, fine_channels // groups
    if (
        arithmetic.real != arithmetic.stored
        or arithmetic.parts > 1
        or not plan_columns.few_pixels(scatters, *shape, in_place, kept, arithmetic.tile)
    ):
        return None
    fields = plan_columns.columns(scatters, *shape, arithmetic.tile)
    multiplications = _multiplications(axes, batch, groups, coarse_channels, fine_channels, parts=1)
    return engine.ColumnsPlan(fields), multiplications


def _few_pixels(
    scatters: bool, source: Array, weight: Array, target: Array, axes: Axes, groups: int, kept: bool
) -> tuple[Any, int] | None:
    """Return the plan of maps with few pixels, or None. A ``kept`` weight is packed for later calls too."""
    if weight.size < plan.LARGE_WEIGHT:
        return None
    channels = (source.shape[1], target.shape[1]) if scatters else (target.shape[1], source.shape[1])
    in_place = source.strides[1] == source.itemsize
    return _columns_plan(scatters, axes, len(source), groups, *channels, in_place, kept, _name(weight.dtype))


def _correlate_columns(
    scatters: bool,
    cut: Any,
    multiplications: int,
    source: Array,
    weight: Array,
    bias: Array | None,
    target: Array,
    threads: int,
) -> bool:
    """Fill the target, a map of six axes; return whether that could be done."""
    arithmetic = ARITHMETIC[_name(weight.dtype)]
    real = arithmetic.real
    used = _worth(threads, cut.tasks, multiplications)
    work = aligned(used * cut.work_size, real).reshape(used, -1)
    shift = _no_bias(target.shape[1], real) if bias is None else np.ascontiguousarray(bias)
    flat = np.ascontiguousarray(weight).reshape(-1)
    if scatters:
        in_place = np.moveaxis(source, 1, -1).flags.c_contiguous
        packed = aligned(1 if in_place else cut.columns_size, real)
        arithmetic.scatter_columns(cut, source, in_place, flat, shift, target, packed, work, used)
        return True
    columns = aligned(cut.columns_size, real)
    return arithmetic.gather_columns(cut, source, flat, shift, target, columns, work, used)


class Correlation(NamedTuple):
    """A forward pass or an input gradient with everything but its maps."""

    cut: Any  # None: no tap reaches any output
    multiplications: int
    packed: Array | None
    finite: bool
    fill: Array | int | None  # what is in the gaps, or None where there are none
    shift: Array | None
    arithmetic: Arithmetic

    @property
    def parallel(self) -> bool:
        """Whether more than one thread may be worth it."""
        return self.multiplications >= 2 * plan.MULTIPLICATIONS

    def compute(self, source: Array, target: Array, threads: int) -> None:
        """Fill the target: maps of six axes, of the shapes and layouts that this was made for."""
        cut, multiplications, packed, finite, fill, shift, arithmetic = self
        if fill is not None:
            target[...] = fill
        if cut is not None:
            used = threads if threads == 1 else _worth(threads, cut.tasks, multiplications)
            work = aligned(used * cut.work_size, arithmetic.real).reshape(used, -1)
            arithmetic.correlate(cut, source, packed, finite, shift, target, work, used)


def _correlation(
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
) -> Correlation:
    """Plan for maps like these, of six axes, and pack the weight, if that is not among the prepared ones."""
    dtype = _name(weight.dtype)
    arithmetic = ARITHMETIC[dtype]
    real, stored, parts = arithmetic.real, arithmetic.stored, arithmetic.parts
    channels, channels_out = source.shape[1], target.shape[1]
    shapes = (
        scatters,
        axes,
        len(source),
        groups,
        channels,
        channels_out,
        (_side_by_side(source, arithmetic), _side_by_side(target, arithmetic)),
        (source.strides[4] == stored.itemsize, target.strides[4] == stored.itemsize),
    )
    cut, packing, gaps, multiplications = _correlation_plan(*shapes, True, dtype)
    if bias is None:
        shift = _no_bias(channels_out * parts, real)
    else:
        shift = np.ascontiguousarray(bias, weight.dtype if parts == 2 else real).view(real)
    fill: Array | int | None = None
    if gaps:
        fill = 0 if bias is None else np.ascontiguousarray(bias).view(stored).reshape(-1, 1, 1, 1, parts)
    if cut is None:
        return Correlation(None, 0, None, True, fill, None, arithmetic)

    def pack(cut: Any, packing: object) -> tuple[Array, bool]:
        found = None if prepared is None else prepared.get((packing, conjugate, dtype))
        if found is None:
            # (group, coarse, fine, ...): the target of a scatter is the fine map
            weights = _weight(weight, groups, stored)
            weights = weights.swapaxes(1, 2) if scatters else weights
            if cut.group_lanes:  # the target channels of all groups, one after the other
                weights = weights.reshape(1, -1, *weights.shape[2:])
            packed = aligned(cut.packed_size, real)
            finite = arithmetic.pack_weight(
                cut, weights, conjugate, packed, _worth(threads, cut.tasks, multiplications)
            )
            found = packed, finite
            if prepared is not None:
                prepared[packing, conjugate, dtype] = found
        return found

    packed, finite = pack(cut, packing)
    if (cut.along_lines or cut.across) and not finite:  # which packing shows: only channels in lanes will do
        cut, packing, _, _ = _correlation_plan(*shapes, False, dtype)
        packed, _ = pack(cut, packing)
    return Correlation(cut, multiplications, packed, finite, fill, shift, arithmetic)


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
    stored = ARITHMETIC[_name(target.dtype)].stored
    source, target = _map(source, stored), _map(target, stored)
    found = _few_pixels(scatters, source, weight, target, axes, groups, prepared is not None)
    if found is None or not _correlate_columns(scatters, *found, source, weight, bias, target, threads):
        made = _correlation(
            scatters, source, weight, bias, target, axes, groups, threads, conjugate, prepared
        )
        made.compute(source, target, threads)


def keep(
    scatters: bool,
    source: Array,
    weight: Array,
    bias: Array | None,
    target: Array,
    axes: Axes,
    groups: int,
    threads: int,
    prepared: Prepared,
) -> Correlation | None:
    """Return what computes one map of six axes after the other, all like these; None with few pixels."""
    if _few_pixels(scatters, source, weight, target, axes, groups, True):
        return None
    return _correlation(scatters, source, weight, bias, target, axes, groups, threads, False, prepared)


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
    in_place = (_in_place(coarse_map, arithmetic), _in_place(fine_map, arithmetic))
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
        work = aligned(used * cut.work_size, real).reshape(used, -1)
        alone = chunks == 1 and real == stored
        partial = flat[None] if alone else np.empty((chunks, flat.size), real)
        if getattr(arithmetic, way)(cut, coarse_map, fine_map, partial, work, used):
            if not alone:
                arithmetic.sum_chunks(partial, flat, used)
            return
