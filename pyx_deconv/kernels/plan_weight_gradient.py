"""How a weight gradient is cut; ``weight_gradient.pxi`` computes it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from . import plan
from .plan import (
    Shape,
    Table,
    Tile,
    apart,
    block_of_groups,
    block_of_lanes,
    blocks_of,
    ceil_div,
    compact_block,
    even,
    four,
    pixel_block,
    round_up,
    table,
)
from .taps import ABSENT, gather, pairs, slots

if TYPE_CHECKING:
    from ..geometry import Axis


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


def cut_pixels(tasks: int, blocks: int, weight_bytes: int, most: int) -> tuple[int, int]:
    """Return into how many chunks pixels are cut, at most so many, and how many blocks each has.

    That is for too few blocks of channels and taps to keep many threads busy. Each has sums of its own.
    """
    chunks = min(ceil_div(plan.TASKS, tasks), blocks, plan.PARTIAL_BYTES // weight_bytes, most)
    chunk_blocks = ceil_div(blocks, max(1, chunks))
    return ceil_div(blocks, chunk_blocks), chunk_blocks


def few_channels(
    axes: tuple[Axis, ...], parts: int, coarse_channels: int, fine_channels: int, tile: Tile
) -> bool:
    """Whether products of lines of pixels are faster than tiles that are nearly empty."""
    tiles = round_up(coarse_channels, ceil_div(tile.rows, 2)) * round_up(fine_channels, tile.unit)
    if parts == 1:
        tiles = min(tiles, fine_channels * round_up(coarse_channels, tile.unit))
    products = coarse_channels * fine_channels
    line = prod(axis.coarse for axis in axes[-2:])  # lines of a plane follow each other
    remainders = prod(axis.stride for axis in axes[-2:])
    return (
        (products == 1 or 4 * products <= tiles) and 4 * line >= tile.lanes and remainders <= plan.REMAINDERS
    )


def single_channels(
    groups: int, coarse_channels: int, fine_channels: int, in_place: tuple[bool, bool], tile: Tile
) -> bool:
    """Whether each channel is a group of its own, and groups lie side by side: vectors run across them."""
    return coarse_channels == fine_channels == 1 and all(in_place) and groups >= tile.unit


def columns_pay(
    axes: tuple[Axis, ...], coarse_channels: int, fine_channels: int, fine_in_place: bool, tile: Tile
) -> bool:
    """Whether products with columns are faster than tap by tap.

    What is compared are the lanes that are multiplied for a tap of a coarse pixel. Packing a pixel of the
    fine map takes as long as about 24, and tap by tap a tenth more goes into calls.
    """
    packing = 24 * prod(
        min(axis.stride, (axis.kernel - 1) * axis.dilation + 1) / axis.kernel for axis in axes
    )
    columns = fine_channels * (round_up(coarse_channels, tile.unit) + packing)
    taps = round_up(fine_channels, tile.unit) * (
        round_up(coarse_channels, ceil_div(tile.rows, 2)) + (0 if fine_in_place else packing)
    )
    return columns <= 1.1 * taps and not few_channels(axes, 1, coarse_channels, fine_channels, tile)


def weight_gradient(
    axes: tuple[Axis, ...],
    batch: int,
    groups: int,
    parts: int,
    coarse_channels: int,
    fine_channels: int,
    in_place: tuple[bool, bool],
    tile: Tile,
) -> WeightGradientFields:
    """Cut one weight gradient. Channels are those of a group, counted in parts."""
    axes = tuple(axis if axis.coarse > 1 else axis._replace(stride=1) for axis in axes)
    coarse_size, fine_size = four(batch, axes, "coarse"), four(batch, axes, "fine")
    stride, kernel, dilations = (four(1, axes, name) for name in ("stride", "kernel", "dilation"))
    tables = [table([(0, 0, 1)], 3)] * (3 - len(axes))
    for axis in axes:
        offsets = [t * axis.dilation - axis.begin for t in range(axis.kernel)]
        tables.append(
            table(
                [
                    (
                        offset,
                        max(0, ceil_div(-offset, axis.stride)),
                        min(axis.coarse, (axis.fine - 1 - offset) // axis.stride + 1),
                    )
                    for offset in offsets
                ],
                3,
            )
        )

    across_groups = single_channels(groups, coarse_channels, fine_channels, in_place, tile)
    if across_groups:
        groups, fine_channels, tile = 1, groups, tile._replace(rows=1)
    in_place = (in_place[0], in_place[1] and (across_groups or fine_channels % tile.unit == 0))
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
        offsets = [(taps - 1) * dilation for taps, dilation in zip(tap_block, dilations, strict=True)]
        reached = [
            min(size, (pixels - 1) * step + 1 + offset)
            for size, pixels, step, offset in zip(fine_size, block, stride, offsets, strict=True)
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

    tasks = groups * prod(tap_blocks) * coarse_blocks * fine_blocks
    weight_bytes = groups * coarse_channels * fine_channels * prod(kernel) * tile.itemsize // parts

    fine_offset = round_up(packed[0], 16)
    sums_offset = fine_offset + round_up(packed[1], 16)
    chunks, chunk_blocks = cut_pixels(tasks, prod(blocks), max(1, weight_bytes), plan.TASKS)
    return WeightGradientFields(
        channels=(groups, parts, coarse_channels, fine_channels),
        sizes=(tasks * chunks, round_up(sums_offset + prod(tap_block) * coarse_block * row_size, 16)),
        kernel=kernel,
        coarse_size=coarse_size,
        fine_size=fine_size,
        stride=stride,
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
        tap_tables=(tables[0], tables[1], tables[2]),
    )


@dataclass(frozen=True)
class PairGradientFields(GradientFields):
    """What ``engine.PairGradientPlan`` copies."""

    paired: Shape
    element_count: Shape
    elements: tuple[int, int, int]  # all, of a task, tasks of them
    # in a workspace: what is packed (zeros before it), the values of both maps, the products
    offsets: tuple[int, int, int, int]
    in_place: tuple[bool, bool]
    element_tables: tuple[Table, Table, Table]  # rows (pixels, taps, first tap, second tap, offset)


def pair_gradient(
    axes: tuple[Axis, ...],
    batch: int,
    groups: int,
    parts: int,
    coarse_channels: int,
    fine_channels: int,
    in_place: tuple[bool, bool],
    tile: Tile,
) -> PairGradientFields | None:
    """Cut one weight gradient into pairs of taps, or say None where that is not worth while."""
    directions = (*(ABSENT,) * (3 - len(axes)), *map(gather, axes))
    if not all(direction.phases[0].taps for direction in directions):
        return None
    exact = tile.itemsize > 4 or parts > 1
    paired = pairs(directions, batch, fine_channels, coarse_channels, exact)
    # Taps that reach nothing get no gradient here.
    if not any(paired) or any(len(d.phases[0].taps) < d.kernel for d in directions):
        return None
    in_place = (in_place[0], in_place[1] and fine_channels % tile.unit == 0)
    coarse_size = (batch, *(direction.outputs for direction in directions))
    fine_size = (batch, *(direction.source_size for direction in directions))
    made = [slots(direction, pair) for direction, pair in zip(directions, paired, strict=True)]
    element_tables = [
        table(
            [
                (len(at), 1 + (len(at) == 3), ordered.taps[at[0]][0], ordered.taps[at[-1]][0], offset)
                for at, offset in ordered.elements[0]
            ],
            5,
        )
        for ordered in made
    ]
    # What is left of the products, against columns of taps. Values are made from the maps in place, or from
    # packed copies, which take longer than columns do.
    left = prod(
        int(rows[:, 0].sum()) / (direction.kernel * (1 + pair))
        for rows, direction, pair in zip(element_tables, directions, paired, strict=True)
    )
    tiles = round_up(coarse_channels, ceil_div(tile.rows, 2)) * round_up(fine_channels, tile.lanes // 2)
    columns = fine_channels * round_up(coarse_channels, tile.unit)
    if left * tiles > columns * plan.LEFT_BY_PAIRS[all(in_place)]:
        return None
    element_count = (1, *map(len, element_tables))
    elements = prod(element_count)
    unit = tuple(1 + pair for pair in (False, *paired))
    points = prod(1 + 2 * pair for pair in paired)

    products = plan.PRODUCTS_BYTES // tile.itemsize
    coarse_block = even(round_up(coarse_channels, tile.rows), 64, tile.rows)
    fine_block = block_of_lanes(fine_channels, 64, tile)
    # Taps of one task are stored together: rather all taps of fewer channels.
    while fine_block > tile.lanes and elements * points * coarse_block * fine_block > products:
        fine_block = block_of_lanes(fine_channels, fine_block // 2, tile)
    while coarse_block > tile.rows and points * coarse_block * fine_block > products:
        coarse_block = even(coarse_block, coarse_block // 2, tile.rows)
    element_block = even(elements, min(products // (points * coarse_block * fine_block), plan.TAPS // 8))
    units = tuple(map(ceil_div, coarse_size, unit))
    most = max(1, plan.VALUES_BYTES // (tile.itemsize * points * (coarse_block + fine_block)))
    block = tuple(a * b for a, b in zip(compact_block(units, most), unit, strict=True))
    pixels = prod(a + b - 1 for a, b in zip(block, unit, strict=True))
    blocks = blocks_of(coarse_size, block)
    element_blocks = ceil_div(elements, element_block)
    coarse_blocks, fine_blocks = ceil_div(coarse_channels, coarse_block), ceil_div(fine_channels, fine_block)
    tasks = groups * element_blocks * coarse_blocks * fine_blocks
    kernel = (1, *(direction.kernel for direction in directions))
    weight_bytes = groups * coarse_channels * fine_channels * prod(kernel) * tile.itemsize // parts

    zeros = round_up(max(coarse_block, fine_block), 16)
    coarse_offset = zeros + round_up(
        pixels * max(0 if in_place[0] else coarse_block, 0 if in_place[1] else fine_block), 16
    )
    units_of_a_block = prod(map(ceil_div, block, unit))
    fine_offset = coarse_offset + round_up(points * units_of_a_block * coarse_block, 16)
    products_offset = fine_offset + round_up(points * units_of_a_block * fine_block, 16)
    work_size = round_up(products_offset + element_block * points * coarse_block * fine_block, 16)
    # What a chunk starts and ends with has its price.
    worth = prod(coarse_size) // 256
    chunks, chunk_blocks = cut_pixels(tasks, prod(blocks), max(1, weight_bytes), worth)
    return PairGradientFields(
        channels=(groups, parts, coarse_channels, fine_channels),
        sizes=(tasks * chunks, work_size),
        kernel=kernel,
        coarse_size=coarse_size,
        fine_size=fine_size,
        stride=(1, *(direction.source_step for direction in directions)),
        paired=tuple(map(int, (False, *paired))),
        block=block,
        blocks=blocks,
        chunks=(chunks, chunk_blocks),
        element_count=element_count,
        elements=(elements, element_block, element_blocks),
        channel_blocks=(coarse_block, coarse_blocks, fine_block, fine_blocks),
        offsets=(zeros, coarse_offset, fine_offset, products_offset),
        in_place=in_place,
        element_tables=(element_tables[0], element_tables[1], element_tables[2]),
    )


@dataclass(frozen=True)
class LinesGradientFields(GradientFields):
    """What ``engine.LinesGradientPlan`` copies."""

    dilation: Shape
    begin: Shape
    tap_block: Shape
    tap_blocks: Shape
    offsets: tuple[int, int, int]  # in a workspace: the packed coarse map, the packed fine map, the sums


def lines_gradient(
    axes: tuple[Axis, ...],
    batch: int,
    groups: int,
    parts: int,
    coarse_channels: int,
    fine_channels: int,
    in_place: tuple[bool, bool],
    tile: Tile,
) -> LinesGradientFields | None:
    """Cut one weight gradient into products of lines, or say None where other ways are faster."""
    if single_channels(groups, coarse_channels, fine_channels, in_place, tile) or not few_channels(
        axes, parts, coarse_channels, fine_channels, tile
    ):
        return None
    stride, dilation, kernel = (four(1, axes, name) for name in ("stride", "dilation", "kernel"))
    begin, coarse_size, fine_size = (
        four(0, axes, "begin", 0),
        four(batch, axes, "coarse"),
        four(batch, axes, "fine"),
    )
    vector = tile.lanes // 2
    products = coarse_channels * fine_channels
    most_taps = plan.SUMS_BYTES // (vector * tile.itemsize * products)
    tap_block = pixel_block(kernel, max(1, min(plan.TAPS, most_taps)))
    most = prod(coarse_size)
    while True:
        block = pixel_block(coarse_size, most)
        reach = [(taps - 1) * step for taps, step in zip(tap_block, dilation, strict=True)]
        y, x = (block[axis] + reach[axis] // stride[axis] for axis in (2, 3))
        planes = (block[1] - 1) * stride[1] + 1 + reach[1]
        packed = (
            coarse_channels * prod(block[:3]) * x,
            fine_channels * block[0] * planes * stride[2] * stride[3] * y * x,
        )
        if sum(packed) * tile.itemsize <= plan.PACKED_BYTES or most == prod(tap_block) == 1:
            break
        if most > 64 or prod(tap_block) == 1:
            most //= 2
        else:
            tap_block = pixel_block(kernel, prod(tap_block) // 2)
    blocks, tap_blocks = blocks_of(coarse_size, block), blocks_of(kernel, tap_block)
    tasks = groups * prod(tap_blocks)
    weight_bytes = groups * products * prod(kernel) * tile.itemsize // parts
    chunks, chunk_blocks = cut_pixels(tasks, prod(blocks), max(1, weight_bytes), plan.TASKS)
    # The last vector of a line reads on behind it.
    fine_offset = round_up(packed[0] + vector, 16)
    sums_offset = fine_offset + round_up(packed[1] + vector, 16)
    return LinesGradientFields(
        channels=(groups, parts, coarse_channels, fine_channels),
        sizes=(tasks * chunks, sums_offset + round_up(products * prod(tap_block) * vector, 16)),
        kernel=kernel,
        coarse_size=coarse_size,
        fine_size=fine_size,
        stride=stride,
        dilation=dilation,
        begin=begin,
        block=block,
        blocks=blocks,
        chunks=(chunks, chunk_blocks),
        tap_block=tap_block,
        tap_blocks=tap_blocks,
        channel_blocks=(coarse_channels, 1, fine_channels, 1),
        offsets=(0, fine_offset, sums_offset),
    )


@dataclass(frozen=True)
class ColumnsGradientFields(GradientFields):
    """What ``engine.ColumnsGradientPlan`` copies."""

    dilation: Shape
    begin: Shape
    tap_block: Shape
    tap_blocks: Shape
    pitch: Shape  # from one coarse pixel to the next in the packed region of the fine map
    step: Shape  # of the batch and of each axis there
    channel_step: int
    lanes: int  # coarse channels of a panel
    offsets: tuple[int, int, int]  # in a workspace: a panel of the coarse map, the packed region, the sums
    streams: bool  # whether the weight is larger than the caches, and written once


def columns_gradient(
    axes: tuple[Axis, ...],
    batch: int,
    groups: int,
    parts: int,
    coarse_channels: int,
    fine_channels: int,
    in_place: tuple[bool, bool],
    tile: Tile,
) -> ColumnsGradientFields | None:
    """Cut one weight gradient into products with columns, or say None where tap by tap is faster."""
    if parts > 1 or single_channels(groups, coarse_channels, fine_channels, in_place, tile):
        return None
    fine_in_place = in_place[1] and fine_channels % tile.unit == 0
    if not columns_pay(axes, coarse_channels, fine_channels, fine_in_place, tile):
        return None
    stride, dilation, kernel = (four(1, axes, name) for name in ("stride", "dilation", "kernel"))
    begin, coarse_size, fine_size = (
        four(0, axes, "begin", 0),
        four(batch, axes, "coarse"),
        four(batch, axes, "fine"),
    )
    sums, packed = 2 * plan.SUMS_BYTES // tile.itemsize, 7 * plan.PACKED_BYTES // 4 // tile.itemsize
    coarse_block = block_of_lanes(coarse_channels, 256, tile)
    most_columns = min(plan.COLUMNS, sums // coarse_block)
    # At least four channels: so many are transposed at a time.
    fine_block = even(fine_channels, max(min(4, fine_channels), most_columns // prod(kernel)))
    tap_block = pixel_block(kernel, most_columns // fine_block)
    # A panel of the coarse map stays in L1.
    lanes = round_up(ceil_div(coarse_block, ceil_div(coarse_block, tile.lanes)), tile.unit)
    most = plan.ROWS_BYTES // (tile.itemsize * lanes)
    while True:
        block = compact_block(coarse_size, most, 128)
        while prod(block[:3]) > 64:
            most = max(1, most // 2)
            block = compact_block(coarse_size, most, 128)
        reach = tuple((taps - 1) * step + 1 for taps, step in zip(tap_block, dilation, strict=True))
        pitch = tuple(map(min, stride, reach))
        region = tuple(
            (pixels - 1) * step + reached for pixels, step, reached in zip(block, pitch, reach, strict=True)
        )
        step = tuple(prod(region[axis + 1 :]) for axis in range(4))
        channel_step = apart(prod(region), tile.itemsize)
        region_size = channel_step * fine_block
        if region_size <= packed or (most == 1 and fine_block == 1 and prod(tap_block) == 1):
            break
        if most > 32 or (fine_block == 1 and prod(tap_block) == 1):
            most //= 2
        elif fine_block > 1:
            fine_block = even(fine_channels, fine_block // 2)
        else:
            tap_block = pixel_block(kernel, prod(tap_block) // 2)
    blocks, tap_blocks = blocks_of(coarse_size, block), blocks_of(kernel, tap_block)
    coarse_blocks, fine_blocks = ceil_div(coarse_channels, coarse_block), ceil_div(fine_channels, fine_block)
    tasks = groups * prod(tap_blocks) * coarse_blocks * fine_blocks
    weight_bytes = groups * coarse_channels * fine_channels * prod(kernel) * tile.itemsize
    multiplications = prod(coarse_size) * coarse_channels * fine_channels * prod(kernel) * groups
    region_offset = prod(block) * lanes
    sums_offset = region_offset + round_up(region_size, 16)
    # What a chunk starts and ends with has its price.
    worth = min(multiplications // (8 * plan.MULTIPLICATIONS), prod(coarse_size) // 512)
    chunks, chunk_blocks = cut_pixels(tasks, prod(blocks), max(1, weight_bytes), worth)
    sums = prod(tap_block) * fine_block * round_up(coarse_block, lanes)
    return ColumnsGradientFields(
        channels=(groups, parts, coarse_channels, fine_channels),
        sizes=(tasks * chunks, round_up(sums_offset + sums, 16)),
        kernel=kernel,
        coarse_size=coarse_size,
        fine_size=fine_size,
        stride=stride,
        dilation=dilation,
        begin=begin,
        block=block,
        blocks=blocks,
        chunks=(chunks, chunk_blocks),
        tap_block=tap_block,
        tap_blocks=tap_blocks,
        pitch=pitch,
        step=step,
        channel_step=channel_step,
        channel_blocks=(coarse_block, coarse_blocks, fine_block, fine_blocks),
        lanes=lanes,
        offsets=(0, region_offset, sums_offset),
        streams=chunks == 1 and weight_bytes >= plan.STREAMED_BYTES,
    )
