"""Who packs what, and how tasks are cut: from shapes alone, so that results never depend on the threads.

Arithmetic on Python integers and small tables; no data is touched. ``engine.pyx`` says what the two plans
compute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..geometry import Axis

Shape = tuple[int, ...]  # (batch, z, y, x), or (z, y, x)
Table = NDArray[np.intp]

SUMS_BYTES = 96 * 1024  # a task's running sums: with what it packs they stay in half of a small (512 KiB) L2
PACKED_BYTES = 128 * 1024
ROWS_BYTES = 24 * 1024  # the pixels of one row of tiles: most of L1
PARTIAL_BYTES = 8 * 1024 * 1024  # copies of a weight gradient that are summed at the end
TASKS = 32  # enough to keep many threads busy; more only adds overhead
MULTIPLICATIONS = 250_000  # of a task that is worth a thread: some 10 microseconds
PIXELS = 512  # a task has at most this many


class Tile(NamedTuple):
    """The register tile of one instruction set and dtype."""

    rows: int
    lanes: int
    itemsize: int


class Phase(NamedTuple):
    """Outputs first, first + step, ... of one axis, and the (index, offset) of each tap that reaches them."""

    first: int
    outputs: int
    taps: list[tuple[int, int]]


class Direction(NamedTuple):
    """One spatial axis of a correlation: target[first + step*u] sums source[source_step*u + offset]."""

    kernel: int
    source_size: int
    source_step: int
    step: int
    phases: list[Phase]
    gaps: bool  # whether there are outputs in no phase, because no tap reaches them


def scatter(axis: Axis) -> Direction:
    """Fine outputs j = first + stride*u from coarse inputs i = u + offset, for each output phase."""
    # A single input pixel is never a stride away from another; a stride of K leaves a phase at most one tap.
    stride = axis.stride if axis.coarse > 1 else (axis.kernel - 1) * axis.dilation + 1
    taps = defaultdict(list)
    for t in range(axis.kernel):
        taps[t * axis.dilation % stride].append(t)
    phases = []
    for phase, members in taps.items():  # a phase without taps is a gap: there can be 2**31 of them
        first = (phase - axis.begin) % stride
        outputs = ceil_div(axis.fine - first, stride)
        offsets = [(t, (first + axis.begin - t * axis.dilation) // stride) for t in members]
        reached = [(t, offset) for t, offset in offsets if offset < axis.coarse and offset + outputs > 0]
        if reached and outputs > 0:
            phases.append(Phase(first, outputs, reached))
    return Direction(
        axis.kernel, axis.coarse, 1, stride, sorted(phases), len(phases) < min(stride, axis.fine)
    )


def gather(axis: Axis) -> Direction:
    """Coarse outputs i from fine inputs j = stride*i + offset: one phase with every tap."""
    taps = [(t, t * axis.dilation - axis.begin) for t in range(axis.kernel)]
    last = (axis.coarse - 1) * axis.stride
    return Direction(
        axis.kernel,
        axis.fine,
        axis.stride,
        1,
        [Phase(0, axis.coarse, [(t, o) for t, o in taps if o < axis.fine and o + last >= 0])],
        False,
    )


ABSENT = Direction(1, 1, 1, 1, [Phase(0, 1, [(0, 0)])], False)  # an axis that a 1-D or 2-D map does not have


@dataclass(frozen=True)
class CorrelationFields:
    """What ``engine.CorrelationPlan`` copies."""

    channels: tuple[int, int, int, int]  # groups, parts, source and target channels of a group (in parts)
    sizes: tuple[int, int, int, int, int]  # panels of a group, lanes, taps, tasks, a thread's workspace
    kernel: Shape
    source_size: Shape
    target_size: Shape
    source_step: Shape
    target_step: Shape
    low: Shape  # least and greatest offset of any tap
    high: Shape
    tap_block: Shape  # taps whose source pixels are packed together, as rows of the tap tables
    tap_blocks: Shape
    block: Shape
    blocks: Shape
    phase_count: Shape
    phases: tuple[int, int, int]  # all, in a task, tasks of them
    channel_blocks: tuple[
        int, int, int
    ]  # target channels of a task, tasks of them, source channels at a time
    offsets: tuple[int, int]  # of the packed source (zeros before it) and of the sums in a workspace
    in_place: bool
    along_lines: bool
    phase_tables: tuple[Table, Table, Table]
    tap_tables: tuple[Table, Table, Table]


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


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    return ceil_div(a, b) * b


def even(total: int, most: int, multiple: int = 1) -> int:
    """A block size of at most about ``most`` (a multiple) that cuts total into equal blocks."""
    most = max(multiple, most // multiple * multiple)
    return min(round_up(ceil_div(total, ceil_div(total, most)), multiple), most)


def pixel_block(size: Shape, most: int) -> Shape:
    """A block of at most ``most`` pixels: whole lines first, then whole planes, then whole samples."""
    block = [1, 1, 1, 1]
    for axis in (3, 2, 1, 0):
        block[axis] = even(size[axis], max(1, most))
        most //= block[axis]
    return tuple(block)


def blocks_of(size: Shape, block: Shape) -> Shape:
    return tuple(map(ceil_div, size, block))


def reach(pixels: int, step: int, taps: list[tuple[int, int]], tap_block: int, size: int) -> int:
    """How many source pixels a block of target pixels reaches through a block of taps, at most."""
    blocks = (
        [offset for _, offset in taps[first : first + tap_block]] for first in range(0, len(taps), tap_block)
    )
    return (
        min(size, (pixels - 1) * step + 1 + max(max(offsets) - min(offsets) for offsets in blocks))
        if taps
        else 0
    )


def table(rows: Sequence[tuple[int, ...]], columns: int) -> Table:
    return np.array(rows, np.intp).reshape(-1, columns)


def phase_table(phases: list[Phase]) -> Table:
    rows, start = [], 0
    for phase in phases:
        rows.append((phase.first, phase.outputs, start, start + len(phase.taps)))
        start += len(phase.taps)
    return table(rows, 4)


def few_channels(directions: tuple[Direction, ...], target_channels: int, tile: Tile) -> bool:
    """Whether the target has so few channels that vectors along its lines are better filled."""
    line = max((phase.outputs for phase in directions[-1].phases), default=0)
    return 4 * target_channels <= tile.lanes and 2 * line >= tile.lanes


def packed_size(groups: int, taps: int, source_channels: int, target_channels: int, tile: Tile) -> int:
    """Elements of the packed weight: whole vectors of a group's target channels."""
    return groups * taps * source_channels * round_up(target_channels, tile.lanes)


def cut_sums(size: Shape, phases: int, lanes: int, groups: int, tile: Tile) -> tuple[Shape, int, int]:
    """Pixels, phases and target channels of a task: its running sums fit, and there are enough tasks."""
    budget = SUMS_BYTES // tile.itemsize
    channel_block = even(lanes, 256, tile.lanes)
    phase_block = even(phases, 16)
    block = pixel_block(size, min(PIXELS, budget // (channel_block * phase_block)))
    if block == size:  # few pixels: there is room for more phases
        phase_block = even(phases, budget // (channel_block * prod(size)))

    def too_few() -> bool:
        return (
            prod(blocks_of(size, block))
            * groups
            * ceil_div(phases, phase_block)
            * ceil_div(lanes, channel_block)
            < TASKS
        )

    while too_few() and prod(block) > 8 * tile.rows:
        block = pixel_block(size, prod(block) // 2)
    while too_few() and phase_block > 1:
        phase_block = even(phases, phase_block // 2)
    while too_few() and channel_block > 2 * tile.lanes:
        channel_block = even(lanes, channel_block // 2, tile.lanes)
    return block, phase_block, channel_block


def correlation(
    directions: tuple[Direction, ...],
    batch: int,
    groups: int,
    parts: int,
    source_channels: int,
    target_channels: int,
    in_place: bool,
    along_lines: bool,
    tile: Tile,
) -> CorrelationFields:
    """Cut one correlation with a phase or more along each axis. Channels are a group's, counted in parts."""
    if along_lines:  # one target channel at a time
        in_place, tile = False, tile._replace(lanes=1)
    z, y, x = spatial = (*(ABSENT,) * (3 - len(directions)), *directions)
    taps_of = [[tap for phase in direction.phases for tap in phase.taps] for direction in spatial]
    low = (0, *(min((offset for _, offset in taps), default=0) for taps in taps_of))
    high = (0, *(max((offset for _, offset in taps), default=0) for taps in taps_of))
    source_size = (batch, *(direction.source_size for direction in spatial))
    source_step = (1, *(direction.source_step for direction in spatial))
    target_size = (batch, *(max(phase.outputs for phase in direction.phases) for direction in spatial))
    phases = prod(len(direction.phases) for direction in spatial)
    taps_of_a_phase = max(1, prod(map(len, taps_of)) // phases)
    taps = prod(direction.kernel for direction in spatial)

    lanes = round_up(target_channels, tile.lanes)
    multiplications = prod(target_size) * prod(map(len, taps_of)) * groups * source_channels * target_channels
    block, phase_block, channel_block = cut_sums(
        target_size, phases, lanes, groups if multiplications > TASKS * MULTIPLICATIONS else TASKS, tile
    )

    # As many source channels at a time as a row of tiles holds in L1, over all the taps of a phase.
    depth = min(source_channels, max(16, ROWS_BYTES // (tile.itemsize * tile.rows * taps_of_a_phase)))
    kernel = (1, *map(len, taps_of))
    tap_block = tuple(max(1, taps) for taps in kernel)
    region = 0
    if not in_place:  # smaller blocks of pixels and (in a gather) of taps, then fewer channels, until it fits
        budget = PACKED_BYTES // tile.itemsize
        while True:
            spans = list(map(reach, block[1:], source_step[1:], taps_of, tap_block[1:], source_size[1:]))
            if along_lines:  # with what lies beside the source
                spans[2] = x.source_step * (block[3] + (high[3] - low[3]) // x.source_step)
            region = block[0] * prod(spans)
            if region * min(depth, 16) <= budget or prod(block) <= tile.rows:
                break
            if phases == 1 and not along_lines and prod(block) <= 64 and prod(tap_block) > 16:
                tap_block = pixel_block(kernel, prod(tap_block) // 2)
            else:
                block = pixel_block(target_size, prod(block) // 2)
        depth = min(depth, budget // max(1, region))
    depth = even(source_channels, depth, parts)

    blocks = blocks_of(target_size, block)
    phase_blocks, channel_blocks = ceil_div(phases, phase_block), ceil_div(lanes, channel_block)
    tasks = prod(blocks) * groups * phase_blocks * channel_blocks
    zeros = round_up(depth, 16)  # after the zeros that stand for pixels outside the source
    sums_offset = zeros + round_up(region * depth, 16)
    return CorrelationFields(
        channels=(groups, parts, source_channels, target_channels),
        sizes=(
            lanes // tile.lanes,
            tile.lanes,
            taps,
            tasks,
            sums_offset + phase_block * prod(block) * channel_block,
        ),
        kernel=(z.kernel, y.kernel, x.kernel),
        source_size=source_size,
        target_size=target_size,
        source_step=source_step,
        target_step=(1, z.step, y.step, x.step),
        low=low,
        high=high,
        tap_block=tap_block,
        tap_blocks=blocks_of(kernel, tap_block),
        block=block,
        blocks=blocks,
        phase_count=(1, len(z.phases), len(y.phases), len(x.phases)),
        phases=(phases, phase_block, phase_blocks),
        channel_blocks=(channel_block, channel_blocks, depth),
        offsets=(zeros, sums_offset),
        in_place=in_place,
        along_lines=along_lines,
        phase_tables=(phase_table(z.phases), phase_table(y.phases), phase_table(x.phases)),
        tap_tables=(table(taps_of[0], 2), table(taps_of[1], 2), table(taps_of[2], 2)),
    )


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

    whole = round_up(coarse_channels, tile.rows) * round_up(fine_channels, tile.lanes)
    along_lines = 3 * coarse_channels * fine_channels <= whole and 2 * coarse_size[3] >= tile.lanes
    if along_lines:
        in_place, tile = (False, False), tile._replace(rows=parts, lanes=parts)
    # Channels that a thread sums over all its pixels, for as many taps as fit beside each other.
    coarse_block = even(round_up(coarse_channels, tile.rows), 64, tile.rows)
    fine_block = even(round_up(fine_channels, tile.lanes), 64, tile.lanes)
    tap_block = pixel_block(kernel, max(1, SUMS_BYTES // (tile.itemsize * coarse_block * fine_block)))

    budget = PACKED_BYTES // tile.itemsize
    block = pixel_block(coarse_size, PIXELS)
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

    # Too few blocks of channels and taps for many threads: sum chunks of the pixels apart.
    tasks = groups * prod(tap_blocks) * coarse_blocks * fine_blocks
    weight_bytes = groups * coarse_channels * fine_channels * prod(kernel) * tile.itemsize // parts
    chunks = max(1, min(ceil_div(TASKS, tasks), prod(blocks), PARTIAL_BYTES // max(1, weight_bytes)))
    chunk_blocks = ceil_div(prod(blocks), chunks)
    chunks = ceil_div(prod(blocks), chunk_blocks)

    fine_offset = round_up(packed[0], 16)
    sums_offset = fine_offset + round_up(packed[1], 16)
    return WeightGradientFields(
        channels=(groups, parts, coarse_channels, fine_channels),
        sizes=(tasks * chunks, sums_offset + prod(tap_block) * coarse_block * fine_block),
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
