"""How work is cut, from shapes alone, so that results never depend on the threads: sizes and small helpers.

Arithmetic on Python integers and small tables; no data is touched. ``plan_correlation`` and
``plan_weight_gradient`` make the two plans; ``engine.pyx`` says what they compute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..geometry import Axis

Shape = tuple[int, ...]  # (batch, z, y, x), or (z, y, x)
Table = NDArray[np.intp]

SUMS_BYTES = 128 * 1024  # a task's running sums: with what it packs they stay in L2
PACKED_BYTES = 128 * 1024
VALUES_BYTES = 144 * 1024  # what a task multiplies for pairs of taps, and again what it sums
PRODUCTS_BYTES = 296 * 1024  # of a weight gradient, for pairs of taps
STREAMED_BYTES = 8 * 1024 * 1024  # a result that is larger will have left the caches when it is read
WEIGHT_BYTES = 6 * 1024 * 1024  # a larger weight leaves the caches from one block of pixels to the next
ROWS_BYTES = 24 * 1024  # the pixels of one row of tiles: most of L1
TAPS_BYTES = 192 * 1024  # the weights of a block of taps, which many pixels meet: they stay in L2
UNITS = 16  # of outputs in pairs at least, which a weight that is fetched multiplies
PARTIAL_BYTES = 8 * 1024 * 1024  # copies of a weight gradient that are summed at the end
POINT_PRODUCTS = 30  # that take as long as adding up one point of a weight gradient, where taps are in pairs
LEFT_BY_PAIRS = (0.7, 0.8)  # most products of a weight gradient that pairs may leave: maps packed, in place
TASKS = 16  # enough to keep several threads busy; more pack more, and leave more rests of tiles
MULTIPLICATIONS = 250_000  # of a task that is worth a thread: some 10 microseconds
LARGE_WEIGHT = 32 * 1024  # elements: to pack so many takes longer than to think about it
COLUMNS = 1024  # taps and channels of a task, for weight gradients as one product
LONG_ROW = 256  # elements that a tile reads side by side: read in place, at borders element by element
SHORT_ROWS = 512  # elements of all that one output meets, at most: read in place as well, where at least
INSIDE = (0.95, 0.75)  # of the outputs meet nothing outside: below, and from so many channels on
IN_PLACE_CHANNELS = 12
REMAINDERS = 1024  # of lines and pixels modulo the stride, whose lines are packed one after the other
TAPS = 512  # of a task, for weight gradients by pairs of taps
PIXELS = 512  # a task has at most this many
LINE = 64  # pixels of a block along x, where there are other axes


class Tile(NamedTuple):
    """The register tile of one instruction set and dtype."""

    rows: int
    tall: int  # most rows, where they lie side by side
    lanes: int  # of a whole panel
    unit: int  # the last panel has a multiple of this many
    itemsize: int
    dots: bool = False  # whether it adds two products of bfloat16 at a time


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    return ceil_div(a, b) * b


def even(total: int, most: int, multiple: int = 1) -> int:
    """A block size of at most about ``most`` (a multiple) that cuts total into equal blocks."""
    most = max(multiple, most // multiple * multiple)
    return min(round_up(ceil_div(total, ceil_div(total, most)), multiple), most)


def block_of_lanes(channels: int, most: int, tile: Tile) -> int:
    """A block of channels in whole panels, or all of them, where the last panel is as narrow as it can be."""
    return min(round_up(channels, tile.unit), even(channels, most, tile.lanes))


def block_of_groups(lanes: int, in_place: bool, tile: Tile) -> int:
    """A block of the channels of all groups: whole vectors, the last of which is at least half of one.

    What is read in place is read in long runs, what is packed stays near.
    """
    vector = tile.lanes // 2
    block = even(lanes, 256 if in_place else 128, vector)
    while 0 < lanes % block < tile.unit:
        block = block - vector if block > vector else lanes
    return block


def apart(size: int, itemsize: int) -> int:
    """Return a distance of rows: an odd number of cache lines, so that rows share no set of L1."""
    line = 64 // itemsize
    return (ceil_div(size, line) | 1) * line


def enough_tasks(multiplications: int) -> int:
    """How many keep several threads busy, or one where there is little to share."""
    return TASKS if multiplications > 2 * TASKS * MULTIPLICATIONS else 1


def pixel_block(size: Shape, most: int) -> Shape:
    """A block of at most ``most`` pixels: whole lines first, then whole planes, then whole samples."""
    block = [1, 1, 1, 1]
    for axis in (3, 2, 1, 0):
        block[axis] = even(size[axis], max(1, most))
        most //= block[axis]
    return tuple(block)


def compact_block(size: Shape, most: int, longest: int = LINE) -> Shape:
    """A block of at most ``most`` pixels that is no longer than wide, so that it reaches few others."""
    longest = longest if prod(size[1:3]) > 1 else most
    *rest, line = size
    x = even(line, min(most, longest))
    return (*pixel_block((1, *rest), most // x)[1:], x)


def four(first: int, axes: tuple[Axis, ...], name: str, absent: int = 1) -> Shape:
    """What ``name`` is on the axes of a map, behind what it is on the batch."""
    return (first, *(absent,) * (3 - len(axes)), *(getattr(axis, name) for axis in axes))


def blocks_of(size: Shape, block: Shape) -> Shape:
    return tuple(map(ceil_div, size, block))


def table(rows: Sequence[tuple[int, ...]], columns: int) -> Table:
    return np.array(rows, np.intp).reshape(-1, columns)


def three(tables: Iterable[Table]) -> tuple[Table, Table, Table]:
    z, y, x = tables
    return z, y, x
