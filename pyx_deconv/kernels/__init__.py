"""The compiled kernels: ``scatter``, ``gather`` and ``weight_gradient`` on checked arrays.

dispatch.py             which compiled variant is used, and its functions for each dtype
plan.py                 how the work is cut, from shapes alone: sizes and helpers
  taps.py                  which output meets which pixel through which tap; the order of weights
  plan_costs.py            what the ways to a forward pass or an input gradient cost
  plan_correlation.py      such a pass with target channels in the lanes of the tile
  plan_across.py           the same with pixels in the lanes of the tile
  plan_across_taps.py      and taps in its rows
  plan_columns.py          the same for few pixels
  plan_few_channels.py     the same with few channels
  plan_weight_gradient.py  a weight gradient, tap by tap
  plan_pair_gradient.py    the same with taps in pairs
  plan_columns_gradient.py the same as one product of all taps
  plan_lines_gradient.py   the same along lines of pixels, for few channels
engine.pyx              the loops, compiled once per instruction set (portable, x86_64_v2, _v3, _v4):
  pixels.pxi              blocks of pixels, and packing them
  correlation_plan.pxi    how a forward pass or an input gradient is cut
  packed_weight.pxi       its weights
  storing.pxi             from its sums to the result
  correlation.pxi         computed across target channels, with the register tile
  dots.pxi                two products of bfloat16 at a time there, and in columns_gradient.pxi
  karatsuba.pxi           the same with outputs in pairs: three products for four
  across.pxi              computed with pixels in the lanes of the tile, for few target channels
  across_taps.pxi         and with taps in its rows
  lines.pxi               the same along lines of pixels, for few target channels
  groups.pxi              the same across groups, for few channels in each
  columns.pxi             the same for few pixels, whose weight is taken as it lies
  karatsuba_gradient.pxi  weight gradients with taps in pairs
  columns_gradient.pxi    weight gradients as one product of all taps
  lines_gradient.pxi      the same along lines of pixels, for few channels
  weight_gradient.pxi     weight gradients tap by tap: complex numbers, channels across groups, infinities
tile.h, tile_body.h     the register tile
karatsuba.h, _body.h    what pairs need beside it
lines.h, _body.h        weighted sums of lines, or of pixels
padded.h, _body.h       lines with zeros beside them
stream.h                writing past the caches, and fetching into them
transpose.h, _body.h    channels side by side from lines of pixels, and back
columns.h, _body.h      what few pixels need beside it
storage.h               float16 and bfloat16
dots.h                  two of bfloat16 side by side
platform.h              what the processor and the build can do
typed.h                 one name for a function of floats and one of doubles

The best instruction set that the processor has is chosen at import; the environment variable
PYX_DECONV_INSTRUCTION_SET names another. x86_64_v4_bf16 is x86_64_v4 with products of bfloat16 added two at
a time by AVX512_BF16, which takes numbers below 2**-126 for zeros.

Nothing is checked here. Arrays are aligned, native-endian and of one dtype, seen as (batch, channels,
*spatial) with any strides. ``coarse`` is the small side of the transposed convolution, ``fine`` the large
one, and per axis the coarse pixel i meets the fine pixel j = i*stride + t*dilation - begin through tap t of
the weight (coarse channels, fine channels // groups, *kernel).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain, islice
from math import prod
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import (
    plan,
    plan_across,
    plan_across_taps,
    plan_columns,
    plan_columns_gradient,
    plan_correlation,
    plan_costs,
    plan_few_channels,
    plan_lines_gradient,
    plan_pair_gradient,
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
    "Correlation",
    "Weighed",
    "WeightGradient",
    "aligned",
    "available_instruction_sets",
    "engine",
    "instruction_set",
    "stored",
]


SMALL = 4096  # elements of memory whose address takes longer to look up than it gains

# numpy.dtype.name is made anew each time it is asked for, which takes as long as a small kernel.
_name = lru_cache(maxsize=64)(attrgetter("name"))


def stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the parts of numbers, as the compiled functions see them."""
    return ARITHMETIC[_name(dtype)].stored


def _side_by_side(array: Array, arithmetic: Arithmetic) -> bool:
    """Whether the parts of the channels of a six-axis map follow each other (with dots also in twos)."""
    steps = array.strides[0], *array.strides[2:5]
    return (
        array.strides[1] == arithmetic.parts * arithmetic.stored.itemsize
        and (arithmetic.parts == 1 or array.strides[5] == arithmetic.stored.itemsize)
        and not (arithmetic.tile.dots and any(step % 4 for step in steps))
    )


def _in_place(array: Array, arithmetic: Arithmetic) -> bool:
    """Whether the channels of a six-axis map lie side by side as the tile reads them."""
    return arithmetic.real == arithmetic.stored and _side_by_side(array, arithmetic)


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Uninitialised memory that begins with a cache line, so that vectors do not straddle two."""
    size = prod(shape)
    if size < SMALL:
        return np.empty(shape, dtype)
    line = 64 // dtype.itemsize
    memory = np.empty(size + line, dtype)
    first = -memory.ctypes.data // dtype.itemsize % line
    return memory[first : first + size].reshape(shape)


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
    shapes = taps.Shapes(directions, batch, groups, parts, *channels, arithmetic.tile)
    in_memory = arithmetic.real == arithmetic.stored
    readable = in_memory and (side_by_side[0] or (source_channels == 1 and lines_contiguous[0]))
    in_place = (
        readable and plan_costs.in_long_rows(directions, groups, source_channels // groups),
        in_memory and side_by_side[1],
    )
    # Whether lines of pixels can be loaded and stored whole, or transposed.
    across = (
        finite
        and parts == 1
        and all(
            lines or (in_memory and last) for lines, last in zip(lines_contiguous, side_by_side, strict=True)
        )
    )
    if side_by_side[1] and plan_few_channels.small_groups(shapes):
        fields = plan_few_channels.across_groups(shapes, in_memory and side_by_side[0])
    else:
        tiles, reads = shapes, in_place[0]
        if arithmetic.tile.dots:  # two source channels are one
            tiles = shapes._replace(source_channels=plan.ceil_div(channels[0], 2))
            reads = side_by_side[0] and channels[0] % 2 == 0
            reads = reads and plan_costs.in_long_rows(directions, groups, tiles.source_channels)
        tiling = plan_costs.tiling(tiles, (reads, in_place[1]))
        in_lines = in_memory and lines_contiguous[0]
        way = plan_few_channels.fastest(shapes, in_place[1], tiling.cost, (finite, across), in_lines)
        if way == "lines":
            fields = plan_few_channels.along_lines(shapes, in_memory and lines_contiguous[1])
        elif way == "across":
            fields = plan_across.across(shapes, in_lines)
        elif way == "taps":
            fields = plan_across_taps.across_taps(shapes)
        else:
            fields = plan_correlation.correlation(tiling, reads, in_place[1])
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
    side_by_side: tuple[bool, bool],
    kept: bool,
    dtype: str,
) -> tuple[Any, int] | None:
    """Return the plan for few pixels and how many multiplications it has, or None if they are not so few."""
    arithmetic = ARITHMETIC[dtype]
    channels = coarse_channels // groups, fine_channels // groups
    product = plan_columns.Product(scatters, axes, batch, groups, *channels, arithmetic.tile)
    if (
        arithmetic.real != arithmetic.stored
        or arithmetic.parts > 1
        or not plan_columns.few_pixels(product, side_by_side, kept)
    ):
        return None
    fields = plan_columns.columns(product)
    multiplications = _multiplications(axes, batch, groups, coarse_channels, fine_channels, parts=1)
    return engine.ColumnsPlan(fields), multiplications


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
    work = aligned((used, cut.work_size), real)
    shift = _no_bias(target.shape[1], real) if bias is None else np.ascontiguousarray(bias)
    flat = np.ascontiguousarray(weight).reshape(-1)
    if scatters:
        in_place = np.moveaxis(source, 1, -1).flags.c_contiguous
        packed = aligned((1 if in_place else cut.columns_size,), real)
        arithmetic.scatter_columns(cut, source, in_place, flat, shift, target, packed, work, used)
        return True
    columns = aligned((cut.columns_size,), real)
    return arithmetic.gather_columns(cut, source, flat, shift, target, columns, work, used)


class Weighed(NamedTuple):
    """A `Correlation` with a weight and a bias: everything but its maps."""

    cut: Any  # None: no tap reaches any output
    multiplications: int
    packed: Array | None
    finite: bool
    fill: Array | int | None  # what is in the gaps, or None where there are none
    shift: Array | None
    dtype: str

    def compute(self, source: Array, target: Array, threads: int) -> None:
        """Fill the target: maps of six axes, of the shapes and layouts that this was made for."""
        cut, multiplications, packed, finite, fill, shift, dtype = self
        if fill is not None:
            target[...] = fill
        if cut is not None:
            arithmetic = ARITHMETIC[dtype]
            used = threads if threads == 1 else _worth(threads, cut.tasks, multiplications)
            work = aligned((used, cut.work_size), arithmetic.real)
            arithmetic.correlate(cut, source, packed, finite, shift, target, work, used)


class Correlation:
    """A forward pass or an input gradient of maps like these, whatever the numbers in them and in the weight.

    A scatter fills a fine map, the transposed convolution of a coarse one; a gather fills a coarse map, the
    convolution of a fine one. Maps have six axes. ``keeps``: whether a packed weight is for later calls too.
    """

    __slots__ = (
        "_columns",
        "_conjugate",
        "_dtype",
        "_no_bias",
        "_plan",
        "_shapes",
        "_weight_shape",
        "multiplications",
    )

    def __init__(
        self,
        scatters: bool,
        source: Array,
        weight: Array,
        target: Array,
        axes: Axes,
        groups: int,
        conjugate: bool,
        keeps: bool,
    ) -> None:
        dtype = _name(weight.dtype)
        arithmetic = ARITHMETIC[dtype]
        shape, channels, stored = weight.shape, (source.shape[1], target.shape[1]), arithmetic.stored
        side_by_side = _side_by_side(source, arithmetic), _side_by_side(target, arithmetic)
        contiguous = source.strides[4] == stored.itemsize, target.strides[4] == stored.itemsize
        self._shapes = scatters, axes, len(source), groups, *channels, side_by_side, contiguous
        self._conjugate, self._dtype = conjugate, dtype
        self._no_bias = _no_bias(channels[1] * arithmetic.parts, arithmetic.real)
        # (group, coarse, fine, z, y, x, part)
        self._weight_shape = groups, shape[0] // groups, shape[1], *(1,) * (5 - len(shape)), *shape[2:], 1
        self.multiplications = _multiplications(axes, len(source), groups, *channels, arithmetic.parts)
        self._columns = None
        if weight.size >= plan.LARGE_WEIGHT:
            coarse, fine = channels if scatters else channels[::-1]
            self._columns = _columns_plan(
                scatters, axes, len(source), groups, coarse, fine, side_by_side, keeps, dtype
            )
        self._plan = None if self._columns else _correlation_plan(*self._shapes, True, dtype)

    def weigh(
        self, weight: Array, bias: Array | None, threads: int, prepared: Prepared | None = None
    ) -> Weighed:
        """Pack the weight, if that is not among the prepared ones."""
        dtype = self._dtype
        cut, packing, gaps, multiplications = self._plan or _correlation_plan(*self._shapes, True, dtype)
        fill: Array | int | None = 0 if gaps else None
        shift = self._no_bias
        if bias is not None:
            arithmetic = ARITHMETIC[dtype]
            real, stored, parts = arithmetic.real, arithmetic.stored, arithmetic.parts
            shift = np.ascontiguousarray(bias, weight.dtype if parts == 2 else real).view(real)
            if gaps:
                fill = np.ascontiguousarray(bias).view(stored).reshape(-1, 1, 1, 1, parts)
        if cut is None:
            return Weighed(None, 0, None, True, fill, None, dtype)
        used = threads if threads == 1 else _worth(threads, cut.tasks, multiplications)
        packed, finite = self._packed(cut, packing, weight, used, prepared)
        if not finite and (cut.along_lines or cut.across):  # only channels in lanes will do
            cut, packing, _, _ = _correlation_plan(*self._shapes, False, dtype)
            packed, _ = self._packed(cut, packing, weight, used, prepared)
        return Weighed(cut, multiplications, packed, finite, fill, shift, dtype)

    def _packed(
        self, cut: Any, packing: object, weight: Array, threads: int, prepared: Prepared | None
    ) -> tuple[Array, bool]:
        """Return the packed weight, and whether it is finite."""
        if prepared is not None:
            kind = packing, self._conjugate, self._dtype
            if kind in prepared:
                return prepared[kind]
        arithmetic = ARITHMETIC[self._dtype]
        weights = weight.reshape(self._weight_shape)
        if weights.dtype is not arithmetic.stored:
            weights = weights.view(arithmetic.stored)
        finite = True
        if cut.dots:
            arithmetic = ARITHMETIC["float32"]  # of two channels
            weights, finite = self._in_twos(weights, threads)
        if self._shapes[0]:  # (group, coarse, fine, ...): the target of a scatter is the fine map
            weights = weights.swapaxes(1, 2)
        if cut.group_lanes:  # the target channels of all groups, one after the other
            weights = weights.reshape(1, -1, *weights.shape[2:])
        packed = aligned((cut.packed_size,), arithmetic.real)
        made = packed, arithmetic.pack_weight(cut, weights, self._conjugate, packed, threads) and finite
        if prepared is not None:
            prepared[kind] = made
        return made

    def _in_twos(self, weights: Array, threads: int) -> tuple[Array, bool]:
        """Return weights with two source channels in a float32 each, and whether all are finite."""
        axis = 1 if self._shapes[0] else 2
        shape = list(weights.shape)
        shape[axis] = plan.ceil_div(shape[axis], 2)
        twos = np.empty(shape, np.float32)
        flat = prod(shape[:axis]), -1, prod(shape[axis + 1 :])
        weights = np.ascontiguousarray(weights).reshape(flat)
        finite = engine.weight_in_twos(weights, twos.reshape(flat), threads)
        return twos, finite

    def compute(
        self,
        source: Array,
        weight: Array,
        bias: Array | None,
        target: Array,
        threads: int,
        prepared: Prepared | None = None,
    ) -> None:
        """Fill the target."""
        if self._columns is None or not _correlate_columns(
            self._shapes[0], *self._columns, source, weight, bias, target, threads
        ):
            self.weigh(weight, bias, threads, prepared).compute(source, target, threads)

    def keep(
        self, weight: Array, bias: Array | None, threads: int, prepared: Prepared | None
    ) -> Weighed | None:
        """Return what all maps have in common; None with few pixels: the weight is taken as it lies."""
        return None if self._columns else self.weigh(weight, bias, threads, prepared)


# Ways to a weight gradient, fastest first. The last can do with infinities: it multiplies only what is there.
CUTS: dict[str, Callable[[plan_weight_gradient.Shapes], plan_weight_gradient.GradientFields | None]] = {
    "pair_gradient": plan_pair_gradient.pair_gradient,
    "lines_gradient": plan_lines_gradient.lines_gradient,
    "columns_gradient": plan_columns_gradient.columns_gradient,
    "weight_gradient": plan_weight_gradient.weight_gradient,
}


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
    channels = coarse_channels // groups * parts, fine_channels // groups * parts
    shapes = plan_weight_gradient.Shapes(axes, batch, groups, parts, *channels, in_place, arithmetic.tile)
    fields = CUTS[way](shapes)
    if fields is None:
        return None
    cut = getattr(engine, type(fields).__name__.replace("Fields", "Plan"))(fields)
    return cut, fields.chunks[0], _multiplications(axes, batch, groups, coarse_channels, fine_channels, parts)


class WeightGradient:
    """A weight gradient of maps like these, of six axes, whatever the numbers in them."""

    __slots__ = ("_dtype", "_fastest", "_shapes", "multiplications")

    def __init__(self, coarse: Array, fine: Array, axes: Axes, groups: int, dtype: np.dtype[Any]) -> None:
        self._dtype = _name(dtype)
        arithmetic = ARITHMETIC[self._dtype]
        in_place = _in_place(coarse, arithmetic), _in_place(fine, arithmetic)
        channels = coarse.shape[1], fine.shape[1]
        self._shapes = axes, len(coarse), groups, *channels, in_place, self._dtype
        self.multiplications = _multiplications(axes, len(coarse), groups, *channels, arithmetic.parts)
        self._fastest = next(self._ways())

    def _ways(self) -> Iterator[tuple[str, tuple[Any, int, int]]]:
        for way in CUTS:
            found = _weight_gradient_plan(*self._shapes, way)
            if found is not None:
                yield way, found

    def compute(self, coarse: Array, fine: Array, weight: Array, threads: int) -> None:
        """Fill the C-contiguous ``weight`` with the sum over pixels of conj(coarse) * fine."""
        arithmetic = ARITHMETIC[self._dtype]
        real, stored = arithmetic.real, arithmetic.stored
        flat = weight.reshape(-1).view(stored)
        for way, (cut, chunks, multiplications) in chain((self._fastest,), islice(self._ways(), 1, None)):
            used = _worth(threads, cut.tasks, multiplications)
            work = aligned((used, cut.work_size), real)
            alone = chunks == 1 and real == stored
            partial = flat[None] if alone else np.empty((chunks, flat.size), real)
            maps = (fine, coarse) if cut.swapped else (coarse, fine)
            if getattr(arithmetic, way)(cut, *maps, partial, work, used):
                if not alone:
                    arithmetic.sum_chunks(partial, flat, used)
                return
