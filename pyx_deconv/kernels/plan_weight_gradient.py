"""How a weight gradient is cut: what all ways share, and tap by tap. ``weight_gradient.pxi`` computes it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from . import plan
from .plan import (
    Shape,
    Table,
    Tile,
    block_of_groups,
    block_of_lanes,
    blocks_of,
    ceil_div,
    even,
    four,
    pixel_block,
    round_up,
    table,
    three,
)

if TYPE_CHECKING:
    from ..geometry import Axis


class Shapes(NamedTuple):
    """What a weight gradient is cut for. Channels are those of a group, counted in parts."""

    axes: tuple[Axis, ...]
    batch: int
    groups: int
    parts: int
    coarse_channels: int
    fine_channels: int
    in_place: tuple[bool, bool]  # whether the channels of the coarse and of the fine map lie side by side
    tile: Tile

    @property
    def coarse_size(self) -> Shape:
        """Samples and pixels of the coarse map."""
        return four(self.batch, self.axes, "coarse")

    @property
    def fine_size(self) -> Shape:
        """Samples and pixels of the fine map."""
        return four(self.batch, self.axes, "fine")

    @property
    def kernel(self) -> Shape:
        """Taps along each axis."""
        return four(1, self.axes, "kernel")

    @property
    def stride(self) -> Shape:
        """Fine pixels from one coarse pixel to the next."""
        return four(1, self.axes, "stride")

    @property
    def dilation(self) -> Shape:
        """Fine pixels from one tap to the next."""
        return four(1, self.axes, "dilation")

    @property
    def begin(self) -> Shape:
        """How far the first tap of the first coarse pixel lies before the fine map."""
        return four(0, self.axes, "begin", 0)

    @property
    def weight_bytes(self) -> int:
        """The size of the gradient, as it is computed."""
        channels = self.groups * self.coarse_channels * self.fine_channels
        return channels * prod(self.kernel) * self.tile.itemsize // self.parts

    def copied(self) -> dict[str, Any]:
        """Return the fields of any way that say what is computed, not how."""
        return {
            "channels": (self.groups, self.parts, self.coarse_channels, self.fine_channels),
            "kernel": self.kernel,
            "coarse_size": self.coarse_size,
            "fine_size": self.fine_size,
            "stride": self.stride,
        }


@dataclass(frozen=True)
class GradientFields:
    """What the plans of all ways copy."""

    channels: tuple[int, int, int, int]  # groups, parts, coarse and fine channels of a group (in parts)
    sizes: tuple[int, int]  # tasks, elements of a thread's workspace
    kernel: Shape
    coarse_size: Shape
    fine_size: Shape
    stride: Shape
    block: Shape  # coarse pixels at a time
    blocks: Shape
    chunks: tuple[int, int]  # sums of pixels kept apart, blocks of each
    # coarse channels of a task, tasks of them, fine channels of a task, tasks of them
    channel_blocks: tuple[int, int, int, int]


@dataclass(frozen=True)
class WeightGradientFields(GradientFields):
    """What ``engine.WeightGradientPlan`` copies."""

    tap_block: Shape  # taps of a task
    tap_blocks: Shape
    offsets: tuple[int, int, int]  # of the packed coarse map, the packed fine map and the sums in a workspace
    in_place: tuple[bool, bool]
    across_groups: bool  # one channel each: seen as the fine channels of one group, they meet only themselves
    by_tap: bool  # pack the fine map for each tap on its own
    tap_tables: tuple[Table, Table, Table]


def cut_pixels(shapes: Shapes, tasks: int, blocks: int, most: int = plan.TASKS) -> tuple[int, int]:
    """Return into how many chunks pixels are cut, at most so many, and how many blocks each has.

    That is for too few blocks of channels and taps to keep many threads busy. Each has sums of its own.
    """
    copies = plan.PARTIAL_BYTES // max(1, shapes.weight_bytes)
    chunks = min(ceil_div(plan.TASKS, tasks), blocks, copies, most)
    chunk_blocks = ceil_div(blocks, max(1, chunks))
    return ceil_div(blocks, chunk_blocks), chunk_blocks


def few_channels(shapes: Shapes) -> bool:
    """Whether products of lines of pixels are faster than tiles that are nearly empty."""
    axes, tile, coarse_channels, fine_channels = (
        shapes.axes,
        shapes.tile,
        shapes.coarse_channels,
        shapes.fine_channels,
    )
    tiles = round_up(coarse_channels, ceil_div(tile.rows, 2)) * round_up(fine_channels, tile.unit)
    if shapes.parts == 1:
        tiles = min(tiles, fine_channels * round_up(coarse_channels, tile.unit))
        if all(axis.stride == 1 for axis in axes):  # the maps may change places
            tiles = min(tiles, 3 * coarse_channels * round_up(fine_channels, tile.unit))
    products = coarse_channels * fine_channels
    line = prod(axis.coarse for axis in axes[-2:])  # lines of a plane follow each other
    remainders = prod(axis.stride for axis in axes[-2:])
    return (
        (products == 1 or 4 * products <= tiles) and 4 * line >= tile.lanes and remainders <= plan.REMAINDERS
    )


def single_channels(shapes: Shapes) -> bool:
    """Whether each channel is a group of its own, and groups lie side by side: vectors run across them."""
    single = shapes.coarse_channels == shapes.fine_channels == 1
    return single and all(shapes.in_place) and shapes.groups >= shapes.tile.unit


def weight_gradient(shapes: Shapes) -> WeightGradientFields:
    """Cut one weight gradient tap by tap."""
    axes = tuple(axis if axis.coarse > 1 else axis._replace(stride=1) for axis in shapes.axes)
    across_groups = single_channels(shapes)
    if across_groups:  # the channels of all groups, one after the other
        tile = shapes.tile._replace(rows=1)
        shapes = shapes._replace(groups=1, fine_channels=shapes.groups, tile=tile)
    shapes = shapes._replace(axes=axes)
    tile, coarse_channels, fine_channels = shapes.tile, shapes.coarse_channels, shapes.fine_channels
    coarse_size, fine_size, kernel = shapes.coarse_size, shapes.fine_size, shapes.kernel
    aligned = across_groups or fine_channels % tile.unit == 0
    in_place = (shapes.in_place[0], shapes.in_place[1] and aligned)
    # Channels that a thread sums over all its pixels, for as many taps as fit beside each other.
    coarse_block = even(round_up(coarse_channels, tile.rows), 64, tile.rows)
    row_size = fine_block = block_of_lanes(fine_channels, 64, tile)
    if across_groups:
        fine_block = block_of_groups(fine_channels, True, tile)
        row_size = round_up(fine_block, tile.lanes // 2)  # each vector has sums of its own
    most_taps = min(plan.TAPS, plan.SUMS_BYTES // (tile.itemsize * coarse_block * row_size))
    tap_block = pixel_block(kernel, max(1, most_taps))

    budget = plan.PACKED_BYTES // tile.itemsize
    block = pixel_block(coarse_size, plan.PIXELS)
    while True:
        offsets = [(taps - 1) * step for taps, step in zip(tap_block, shapes.dilation, strict=True)]
        reached = [
            min(size, (pixels - 1) * step + 1 + offset)
            for size, pixels, step, offset in zip(fine_size, block, shapes.stride, offsets, strict=True)
        ]
        region = prod(reached)
        # Large strides: most of what lies between the pixels of a tap is not needed.
        by_tap = not in_place[1] and prod(block) * prod(tap_block) < region
        if by_tap:
            region = prod(block)
        packed = (0 if in_place[0] else prod(block) * coarse_block, 0 if in_place[1] else region * fine_block)
        if sum(packed) <= budget or prod(block) * prod(tap_block) == 1:
            break
        if prod(block) > 64 or prod(tap_block) == 1:
            block = pixel_block(coarse_size, prod(block) // 2)
        else:
            tap_block = pixel_block(kernel, prod(tap_block) // 2)
    blocks, tap_blocks = blocks_of(coarse_size, block), blocks_of(kernel, tap_block)
    coarse_blocks, fine_blocks = ceil_div(coarse_channels, coarse_block), ceil_div(fine_channels, fine_block)
    tasks = shapes.groups * prod(tap_blocks) * coarse_blocks * fine_blocks
    fine_offset = round_up(packed[0], 16)
    sums_offset = fine_offset + round_up(packed[1], 16)
    chunks, chunk_blocks = cut_pixels(shapes, tasks, prod(blocks))
    return WeightGradientFields(
        **shapes.copied(),
        sizes=(tasks * chunks, round_up(sums_offset + prod(tap_block) * coarse_block * row_size, 16)),
        block=block,
        blocks=blocks,
        chunks=(chunks, chunk_blocks),
        tap_block=tap_block,
        tap_blocks=tap_blocks,
        channel_blocks=(coarse_block, coarse_blocks, fine_block, fine_blocks),
        offsets=(0, fine_offset, sums_offset),
        in_place=in_place,
        across_groups=across_groups,
        by_tap=by_tap,
        tap_tables=three([table([(0, 0, 1)], 3)] * (3 - len(axes)) + list(map(tap_table, axes))),
    )


def tap_table(axis: Axis) -> Table:
    """Rows of (offset in the fine map, first coarse pixel that meets it, last + 1), tap by tap."""
    rows = []
    for tap in range(axis.kernel):
        offset = tap * axis.dilation - axis.begin
        first, last = ceil_div(-offset, axis.stride), (axis.fine - 1 - offset) // axis.stride
        rows.append((offset, max(0, first), min(axis.coarse, last + 1)))
    return table(rows, 3)
