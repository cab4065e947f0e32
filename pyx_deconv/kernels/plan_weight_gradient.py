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
    block_of_lanes,
    blocks_of,
    ceil_div,
    compact_block,
    even,
    pixel_block,
    round_up,
    table,
)
from .taps import ABSENT, gather, pairs, slots

if TYPE_CHECKING:
    from ..geometry import Axis


@dataclass(frozen=True)
class WeightGradientFields:
    """What ``engine.WeightGradientPlan`` copies."""

    channels: tuple[int, int, int, int]  # groups, parts, coarse and fine channels of a group (in parts)
    sizes: tuple[int, int]  # tasks, elements of a thread's workspace
    kernel: Shape
    coarse_size: Shape
    fine_size: Shape
    stride: Shape
    block: Shape
    blocks: Shape
    chunks: tuple[int, int]  # sums of pixels kept apart, blocks of each
    tap_block: Shape  # taps of a task
    tap_blocks: Shape
    channel_blocks: tuple[
        int, int, int, int
    ]  # coarse channels of a task, tasks of them, fine channels of a task, tasks of them
    offsets: tuple[int, int, int]  # of the packed coarse map, the packed fine map and the sums in a workspace
    in_place: tuple[bool, bool]
    along_lines: bool  # few channels: a sum is a product of lines of pixels
    by_tap: bool  # pack the fine map for each tap on its own
    tap_tables: tuple[Table, Table, Table]


def cut_pixels(
    tasks: int, blocks: int, weight_bytes: int, multiplications: int | None = None
) -> tuple[int, int]:
    """Return into how many chunks pixels are cut, each with sums of its own, and how many blocks each has.

    That is for too few blocks of channels and taps to keep many threads busy. What a chunk starts and ends
    with has its price.
    """
    chunks = min(ceil_div(plan.TASKS, tasks), blocks, plan.PARTIAL_BYTES // weight_bytes)
    if multiplications is not None:
        chunks = min(chunks, multiplications // (8 * plan.MULTIPLICATIONS))
    chunk_blocks = ceil_div(blocks, max(1, chunks))
    return ceil_div(blocks, chunk_blocks), chunk_blocks


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
    absent = 3 - len(axes)
    ones = (1,) * absent
    coarse_size = (batch, *ones, *(axis.coarse for axis in axes))
    fine_size = (batch, *ones, *(axis.fine for axis in axes))
    stride = (1, *ones, *(axis.stride if axis.coarse > 1 else 1 for axis in axes))
    kernel = (1, *ones, *(axis.kernel for axis in axes))
    dilations = (1, *ones, *(axis.dilation for axis in axes))
    tables = [table([(0, 0, 1)], 3)] * absent
    for axis, step in zip(axes, stride[1 + absent :], strict=True):
        offsets = [t * axis.dilation - axis.begin for t in range(axis.kernel)]
        tables.append(
            table(
                [
                    (
                        offset,
                        max(0, ceil_div(-offset, step)),
                        min(axis.coarse, (axis.fine - 1 - offset) // step + 1),
                    )
                    for offset in offsets
                ],
                3,
            )
        )

    whole = round_up(coarse_channels, tile.rows) * round_up(fine_channels, tile.unit)
    along_lines = 3 * coarse_channels * fine_channels <= whole and 2 * coarse_size[3] >= tile.lanes
    if along_lines:
        in_place, tile = (False, False), tile._replace(rows=parts, lanes=parts, unit=parts)
    # Channels that a thread sums over all its pixels, for as many taps as fit beside each other.
    coarse_block = even(round_up(coarse_channels, tile.rows), 64, tile.rows)
    fine_block = block_of_lanes(fine_channels, 64, tile)
    tap_block = pixel_block(kernel, max(1, plan.SUMS_BYTES // (tile.itemsize * coarse_block * fine_block)))

    budget = plan.PACKED_BYTES // tile.itemsize
    block = pixel_block(coarse_size, plan.PIXELS)
    while True:
        offsets = [(taps - 1) * dilation for taps, dilation in zip(tap_block, dilations, strict=True)]
        reached = [
            min(size, (pixels - 1) * step + 1 + offset)
            for size, pixels, step, offset in zip(fine_size, block, stride, offsets, strict=True)
        ]
        if along_lines:  # with what lies beside the fine map
            reached[3] = stride[3] * (block[3] + offsets[3] // stride[3])
        region = prod(reached)
        # Large strides: most of what lies between the pixels of a tap is not needed.
        by_tap = not in_place[1] and not along_lines and prod(block) * prod(tap_block) < region
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
    chunks, chunk_blocks = cut_pixels(tasks, prod(blocks), max(1, weight_bytes))
    return WeightGradientFields(
        channels=(groups, parts, coarse_channels, fine_channels),
        sizes=(tasks * chunks, round_up(sums_offset + prod(tap_block) * coarse_block * fine_block, 16)),
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
        along_lines=along_lines,
        by_tap=by_tap,
        tap_tables=(tables[0], tables[1], tables[2]),
    )


@dataclass(frozen=True)
class PairGradientFields:
    """What ``engine.PairGradientPlan`` copies."""

    channels: tuple[int, int, int, int]  # groups, parts, coarse and fine channels of a group (in parts)
    sizes: tuple[int, int]  # tasks, elements of a thread's workspace
    kernel: Shape
    coarse_size: Shape
    fine_size: Shape
    stride: Shape
    paired: Shape
    block: Shape
    blocks: Shape
    chunks: tuple[int, int]  # sums of pixels kept apart, blocks of each
    element_count: Shape
    elements: tuple[int, int, int]  # all, of a task, tasks of them
    channel_blocks: tuple[int, int, int, int]
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
    element_count = (1, *map(len, element_tables))
    elements = prod(element_count)
    unit = tuple(1 + pair for pair in (False, *paired))
    points = prod(1 + 2 * pair for pair in paired)

    products = plan.PRODUCTS_BYTES // tile.itemsize
    coarse_block = even(round_up(coarse_channels, tile.rows), 64, tile.rows)
    fine_block = block_of_lanes(fine_channels, 64, tile)
    while fine_block > tile.lanes and min(elements, 2) * points * coarse_block * fine_block > products:
        fine_block = block_of_lanes(fine_channels, fine_block // 2, tile)
    while coarse_block > tile.rows and points * coarse_block * fine_block > products:
        coarse_block = even(coarse_block, coarse_block // 2, tile.rows)
    element_block = even(elements, products // (points * coarse_block * fine_block))
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
    chunks, chunk_blocks = cut_pixels(tasks, prod(blocks), max(1, weight_bytes))
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
class ColumnsGradientFields:
    """What ``engine.ColumnsGradientPlan`` copies."""

    channels: tuple[int, int, int]  # groups, coarse and fine channels of a group
    sizes: tuple[int, int]  # tasks, elements of a thread's workspace
    kernel: Shape
    coarse_size: Shape
    fine_size: Shape
    stride: Shape
    dilation: Shape
    begin: Shape
    block: Shape
    blocks: Shape
    chunks: tuple[int, int]  # sums of pixels kept apart, blocks of each
    tap_block: Shape
    tap_blocks: Shape
    channel_blocks: tuple[int, int, int, int]
    widths: tuple[int, int]  # from one pixel to the next: of the packed coarse map and the columns
    # in a workspace: the packed coarse map, the packed region of the fine map, the columns, the sums
    offsets: tuple[int, int, int, int]
    fine_in_place: bool


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
    """Cut one weight gradient into products with columns, or say None where tap by tap is faster.

    Columns cost a copy of the fine map for each tap, but fill the panels whatever the number of channels, and
    let a task have so many coarse channels that large maps are read seldom.
    """
    pixels, taps = batch * prod(axis.coarse for axis in axes), prod(axis.kernel for axis in axes)
    few = fine_channels < tile.lanes // 2
    uneven = fine_channels % tile.unit > 0 and (coarse_channels > 2 * tile.lanes or taps >= 64)
    large = coarse_channels * fine_channels >= 32 * 64 * 64 and pixels >= 256
    lines = few and 3 * coarse_channels < 2 * tile.rows and axes[-1].coarse >= tile.unit
    if parts > 1 or lines or not (few or uneven or large):
        return None
    absent = (1,) * (3 - len(axes))
    stride, dilation, kernel = (
        (1, *absent, *(getattr(axis, name) for axis in axes)) for name in ("stride", "dilation", "kernel")
    )
    begin = (0, *(0,) * len(absent), *(axis.begin for axis in axes))
    coarse_size = (batch, *absent, *(axis.coarse for axis in axes))
    fine_size = (batch, *absent, *(axis.fine for axis in axes))
    sums, packed = 2 * plan.SUMS_BYTES // tile.itemsize, plan.PACKED_BYTES // tile.itemsize
    coarse_block = even(round_up(coarse_channels, tile.rows), 256, tile.rows)
    fine_block = block_of_lanes(fine_channels, 64, tile) if fine_channels > 64 else fine_channels
    tap_block = pixel_block(kernel, max(1, sums // (coarse_block * fine_block)))
    # Many channels, so that the maps are read seldom; a panel of columns and the coarse map stay in L1.
    most = 2 * plan.ROWS_BYTES // (tile.itemsize * (coarse_block + tile.lanes))
    while True:
        width = apart(prod(tap_block) * fine_block, tile.itemsize)
        most = min(most, max(1, packed // width))
        block = compact_block(coarse_size, most)
        region = 0
        if not in_place[1]:
            region = block[0] * prod(
                min(size + 2, (pixels - 1) * step + (taps - 1) * distance + 1)
                for size, pixels, step, taps, distance in zip(
                    fine_size[1:], block[1:], stride[1:], tap_block[1:], dilation[1:], strict=True
                )
            )
        if region * fine_block <= packed or prod(block) * prod(tap_block) == 1:
            break
        if prod(block) > 32 or prod(tap_block) == 1:
            most = prod(block) // 2
        else:
            tap_block = pixel_block(kernel, prod(tap_block) // 2)
    blocks, tap_blocks = blocks_of(coarse_size, block), blocks_of(kernel, tap_block)
    coarse_blocks, fine_blocks = ceil_div(coarse_channels, coarse_block), ceil_div(fine_channels, fine_block)
    tasks = groups * prod(tap_blocks) * coarse_blocks * fine_blocks
    weight_bytes = groups * coarse_channels * fine_channels * prod(kernel) * tile.itemsize
    multiplications = prod(coarse_size) * coarse_channels * fine_channels * prod(kernel) * groups
    coarse_width = apart(coarse_block, tile.itemsize)
    region_offset = prod(block) * coarse_width
    columns_offset = region_offset + round_up(region * fine_block, 16)
    sums_offset = columns_offset + prod(block) * width
    chunks, chunk_blocks = cut_pixels(tasks, prod(blocks), max(1, weight_bytes), multiplications)
    return ColumnsGradientFields(
        channels=(groups, coarse_channels, fine_channels),
        sizes=(tasks * chunks, round_up(sums_offset + coarse_block * width, 16)),
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
        channel_blocks=(coarse_block, coarse_blocks, fine_block, fine_blocks),
        widths=(coarse_width, width),
        offsets=(0, region_offset, columns_offset, sums_offset),
        fine_in_place=in_place[1],
    )
