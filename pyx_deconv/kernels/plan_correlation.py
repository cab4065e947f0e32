"""How a forward pass or an input gradient is cut; ``correlation.pxi`` and its siblings compute it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, prod
from typing import NamedTuple

import numpy as np

from . import plan
from .plan import (
    Shape,
    Table,
    block_of_lanes,
    blocks_of,
    ceil_div,
    compact_block,
    even,
    pixel_block,
    round_up,
    table,
    three,
)
from .plan_costs import Tiling
from .taps import Direction, Fan, Shapes, Slots, slots


@dataclass  # frozen ones take 7 µs longer to fill
class Order:
    """What is computed, and in which order its weights are packed, however it is cut into tasks."""

    # groups, parts, source and target channels of a group (in parts); phases of a fan count as channels
    channels: tuple[int, int, int, int]
    fans: Shape  # how many phases are computed side by side: in all, along each axis
    fan_bases: Shape
    channels_last: bool  # the phases of a fan follow each other: channels within, or as channels
    packed: tuple[int, int, int, int]  # panels of a group, lanes of all of them, of one, slots
    slot_count: Shape
    source_size: Shape
    target_size: Shape
    source_step: Shape
    target_step: Shape
    low: Shape  # least and greatest offset of any tap
    high: Shape
    phase_count: Shape
    paired: Shape  # 1 for an axis whose outputs are computed in pairs
    # first output, outputs, first tap, last + 1, first element, last + 1
    phase_tables: tuple[Table, Table, Table]
    tap_tables: tuple[Table, Table, Table]  # offset and slot of each tap of a phase
    element_tables: tuple[Table, Table, Table]  # number of slots, the slots, offset
    tap_slots: Table  # of each tap of the kernel, the packed slot
    fan_taps: Table  # the taps of each slot, in the order of the fan
    sum_tables: tuple[Table, Table, Table]  # the slot of a sum, and the two that it adds

    @property
    def taps(self) -> Shape:
        """How many taps all phases have along each axis."""
        return (1, *map(len, self.tap_tables))

    @property
    def unit(self) -> Shape:
        """Outputs that are computed together: two along axes where they are in pairs."""
        return tuple(1 + pair for pair in self.paired)

    @property
    def points(self) -> int:
        """Products of a unit for each element: three for two outputs."""
        return prod(1 + 2 * pair for pair in self.paired)

    @property
    def reach(self) -> Shape:
        """How far apart the pixels are that one output meets, at most."""
        return tuple(high - low for low, high in zip(self.low, self.high, strict=True))

    @property
    def outputs(self) -> int:
        """How many there are, as if each phase had as many as the largest."""
        return prod(self.target_size) * prod(self.phase_count) * self.channels[0] * self.channels[3]


@dataclass
class CorrelationFields(Order):
    """What ``engine.CorrelationPlan`` copies."""

    sizes: tuple[int, int]  # tasks, elements of a thread's workspace
    block: Shape
    blocks: Shape
    phases: tuple[int, int, int]  # all, in a task, tasks of them
    # target channels of a task, tasks of them, source channels at a time, and of pairs of taps
    channel_blocks: tuple[int, int, int, int]
    # in a workspace: the packed source (zeros before it), the sums, the values and products of pairs
    offsets: tuple[int, int, int, int]
    streams: bool  # whether the target is larger than the caches
    in_place: bool = False
    along_lines: bool = False
    across: bool = False  # whether the tile has pixels in its lanes
    by_taps: bool = False  # and taps of target channels in its rows
    group_lanes: int = 0  # target channels of a group where vectors run across groups, else 0
    # across, from one line, plane, channel of sums to the next; along lines: how many are summed together
    sums_steps: tuple[int, int, int] = (0, 0, 0)
    tap_block: Shape = (1, 1, 1, 1)  # taps whose source pixels are packed together, as rows of the tap tables
    tap_blocks: Shape = (1, 1, 1, 1)
    packed_block: Shape = (1, 1, 1, 1)  # pixels of a block whose source pixels are packed together
    pixels_first: bool = False  # whether the next task has other pixels, with the same weights
    direct: bool = False  # whether tiles, or sums along lines, are written to the target itself
    merges: bool = False  # whether the taps of a phase along x meet neighbours in the source
    dots: bool = False  # whether each source channel is two of bfloat16

    def packing(self) -> object:
        """Tell apart the ways to pack a weight: equal where packed weights may be exchanged."""
        tables = (self.tap_slots, self.fan_taps, *self.sum_tables)
        last = self.channels_last and self.fans[0] > 1
        return self.channels, self.packed[1:3], last, self.dots, tuple(each.tobytes() for each in tables)


def ordered(
    shapes: Shapes,
    fan: tuple[Fan | None, ...] = (None,) * 3,
    paired: tuple[bool, ...] = (False,) * 3,
    channels_last: bool = False,
) -> Order:
    """Order the weights: panel by panel as wide as the tile, in each of them phase by phase, tap by tap."""
    spatial, tile = shapes.spatial, shapes.tile
    z, y, x = spatial
    made = list(map(slots, spatial, paired))
    taps_of = [each.rows for each in made]
    slot_count = tuple(each.size for each in made)
    fan_sizes = tuple(each.size if each else 1 for each in fan)
    tap_slots = fan_taps = tap_table(
        [tap_places(*each, 0) for each in zip(made, fan, strict=True)], slot_count
    )
    if any(fan):
        fan_of_tap = tap_table([tap_places(*each, 1) for each in zip(made, fan, strict=True)], fan_sizes)
        fan_taps = tap_slots * prod(fan_sizes) + fan_of_tap
    lanes = round_up(shapes.target_channels, tile.unit)
    return Order(
        channels=(shapes.groups, shapes.parts, shapes.source_channels, shapes.target_channels),
        fans=(prod(fan_sizes), *fan_sizes),
        fan_bases=tuple(each.base if each else 0 for each in fan),
        channels_last=channels_last,
        packed=(ceil_div(lanes, tile.lanes), lanes, tile.lanes, prod(slot_count)),
        slot_count=slot_count,
        source_size=(shapes.batch, *(direction.source_size for direction in spatial)),
        target_size=(shapes.batch, *(direction.outputs for direction in spatial)),
        source_step=(1, *(direction.source_step for direction in spatial)),
        target_step=(1, z.step, y.step, x.step),
        low=(0, *(min((offset for _, offset in taps), default=0) for taps in taps_of)),
        high=(0, *(max((offset for _, offset in taps), default=0) for taps in taps_of)),
        phase_count=(1, len(z.phases), len(y.phases), len(x.phases)),
        paired=(0, *(int(bool(each.sums)) for each in made)),
        phase_tables=three(map(phase_table, spatial, made)),
        tap_tables=three(table([(offset, slot) for slot, offset in taps], 2) for taps in taps_of),
        element_tables=three(map(element_table, made)),
        tap_slots=tap_slots,
        fan_taps=np.argsort(fan_taps).reshape(-1, prod(fan_sizes)),
        sum_tables=three(
            table([(len(each.taps) + i, *pair) for i, pair in enumerate(each.sums)], 3) for each in made
        ),
    )


def correlation(tiling: Tiling, in_place: bool, channels_last: bool) -> CorrelationFields:
    """Cut one correlation with target channels in the lanes of the tile.

    ``in_place``: whether the source is read where it lies. ``channels_last``: whether the channels of the
    target lie side by side.
    """
    shapes, tile = tiling.shapes, tiling.shapes.tile
    order = ordered(shapes, tiling.fan, tiling.paired, channels_last)
    task = task_of(shapes, order, in_place)
    packing = packing_of(shapes, order, task, in_place)
    block, tap_block, depth = packing.block, packing.tap_block, packing.depth
    phases, points, unit = prod(order.phase_count), order.points, order.unit
    _, lanes, _, slot_count = order.packed

    pair_depth = pair_region = pair_values = pair_products = 0
    if points > 1:
        units_of_a_task = prod(map(ceil_div, block, unit))
        values = plan.VALUES_BYTES // tile.itemsize
        pair_depth = even(shapes.source_channels, max(16, values // (points * units_of_a_task)), shapes.parts)
        if not in_place:
            pair_region = round_up(prod(a + b - 1 for a, b in zip(block, unit, strict=True)) * pair_depth, 16)
        pair_values = points * units_of_a_task * round_up(pair_depth, 16)
        pair_products = points * units_of_a_task * task.channel_block

    blocks, tap_blocks = blocks_of(order.target_size, block), blocks_of(order.taps, tap_block)
    phase_blocks, channel_blocks = ceil_div(phases, task.phase_block), ceil_div(lanes, task.channel_block)
    # Either the weights are read anew for each block of pixels, or the source for each block of weights.
    weight_size = slot_count * shapes.groups * shapes.source_channels * lanes
    source_size = prod(order.source_size) * shapes.groups * shapes.source_channels
    pixels_first = weight_size * tile.itemsize > plan.WEIGHT_BYTES and weight_size * (
        prod(blocks) - 1
    ) > source_size * (phase_blocks * channel_blocks - 1)
    along_x = [[offset for _, offset in phase.taps] for phase in shapes.spatial[-1].phases]
    merges = all(b - a == 1 for offsets in along_x for a, b in pairwise(offsets))
    longest = max(map(len, along_x)) if merges else 1
    zeros = round_up(max(depth * longest, pair_depth), 16)  # they stand for pixels outside the source
    sums_offset = zeros + round_up(max(packing.region * depth, pair_region), 16)
    values_offset = sums_offset + round_up(task.phase_block * prod(block) * task.channel_block, 16)
    products_offset = values_offset + round_up(pair_values, 16)
    streams = order.outputs * tile.itemsize >= plan.STREAMED_BYTES
    # Where there are no other sums to add to, a tile has no empty lanes, and phases share no cache lines.
    direct = (
        channels_last
        and max(shapes.parts, points, order.fans[0], prod(tap_blocks)) == 1
        and depth == shapes.source_channels
        and shapes.target_channels % tile.unit == 0
        and (order.phase_count[3] == 1 or shapes.target_channels * tile.itemsize % 64 == 0)
        and all(phase.taps for each in shapes.spatial for phase in each.phases)
        and not streams
    )
    return CorrelationFields(
        **vars(order),
        sizes=(
            prod(blocks) * shapes.groups * phase_blocks * channel_blocks,
            round_up(products_offset + pair_products, 16),
        ),
        block=block,
        blocks=blocks,
        phases=(phases, task.phase_block, phase_blocks),
        channel_blocks=(task.channel_block, channel_blocks, depth, pair_depth),
        offsets=(zeros, sums_offset, values_offset, products_offset),
        streams=streams,
        in_place=in_place,
        tap_block=tap_block,
        tap_blocks=tap_blocks,
        packed_block=packing.packed_block,
        pixels_first=pixels_first,
        direct=direct,
        merges=merges,
        dots=tile.dots,
    )


class Task(NamedTuple):
    """What a task computes."""

    block: Shape  # pixels
    phase_block: int
    channel_block: int


def task_of(shapes: Shapes, order: Order, in_place: bool) -> Task:
    """Cut pixels, phases and target channels: the sums of a task stay in L2, and there are enough tasks."""
    tile = shapes.tile
    unit, points, phases = order.unit, order.points, prod(order.phase_count)
    lanes = order.packed[1]
    channels = shapes.groups * shapes.source_channels * shapes.target_channels
    enough = plan.enough_tasks(prod(order.target_size) * prod(order.taps) * channels)
    values = plan.VALUES_BYTES // tile.itemsize
    # What is packed should serve many products, and the phases along x are stored side by side.
    phase_block = 1
    if not in_place:
        _, _, y_phases, x_phases = order.phase_count
        phase_block = max(size for size in range(1, 9) if x_phases % size == 0)
        if points == 1 and phase_block == x_phases:
            phase_block *= max(size for size in range(1, 8 // phase_block + 1) if y_phases % size == 0)
    # All target channels of a task share the source pixels that are fetched, packed or subtracted for it.
    most_lanes = 128
    if points > 1:
        most_lanes = values // (points * plan.UNITS)
    elif not in_place and order.fans[0] == 1:
        most_lanes = max(64, 512 // phase_block)
    if lanes <= 1.25 * most_lanes:  # rather than to pack everything once more for a few
        most_lanes = round_up(lanes, tile.lanes)
    units = tuple(map(ceil_div, order.target_size, unit))
    while True:
        channel_block = block_of_lanes(lanes, most_lanes, tile)
        sums = plan.SUMS_BYTES // (tile.itemsize * channel_block * phase_block)
        most = min(plan.PIXELS, sums) // prod(unit)
        if points > 1:
            most = min(most, values // (points * channel_block))
        # Whole lines can leave a block with less than that.
        wanted = 0 if points == 1 or channel_block <= tile.lanes else 0.75 * min(plan.UNITS, prod(units))
        if prod(compact_block(units, max(1, most))) >= wanted:
            break
        most_lanes = channel_block // 2

    def too_few() -> bool:
        return enough > 1 and (
            prod(blocks_of(units, compact_block(units, most)))
            * shapes.groups
            * ceil_div(phases, phase_block)
            * ceil_div(lanes, channel_block)
            < enough
        )

    while too_few() and most * prod(unit) > 128:
        most //= 2
    while too_few() and channel_block > tile.lanes and channel_block >= 64:
        channel_block = block_of_lanes(lanes, channel_block // 2, tile)
    while too_few() and most * prod(unit) > 64:
        most //= 2
    while too_few() and phase_block > 1:
        phase_block = 1
    return Task(block_of_units(units, most, unit), phase_block, channel_block)


def block_of_units(units: Shape, most: int, unit: Shape) -> Shape:
    """Return the pixels of a block of at most so many units."""
    return tuple(a * b for a, b in zip(compact_block(units, max(1, most)), unit, strict=True))


class Packing(NamedTuple):
    """What a task packs at a time, or reads in place."""

    block: Shape  # pixels of the task: fewer where these would be too many
    packed_block: Shape  # those of them for which source pixels are packed together
    tap_block: Shape
    region: int  # source pixels
    depth: int  # source channels


def packing_of(shapes: Shapes, order: Order, task: Task, in_place: bool) -> Packing:
    """Take as many source channels at a time as a row of tiles holds in L1, over all the taps of a phase."""
    tile, block, source_channels = shapes.tile, task.block, shapes.source_channels
    phases, kernel = prod(order.phase_count), order.taps
    taps_of_a_phase = max(1, prod(kernel) // phases)
    line = max(([offset for _, offset in phase.taps] for phase in shapes.spatial[-1].phases), key=len)
    columns = max(1, len(line))
    met = min(tile.rows * columns, max(1, reach(tile.rows, order.source_step[3], line, columns)))
    row_bytes = tile.itemsize * met * max(1, taps_of_a_phase // columns)  # for one channel
    depth = min(source_channels, max(32, plan.ROWS_BYTES // row_bytes))
    tap_block = tuple(max(1, taps) for taps in kernel)
    if in_place:
        # Where even few channels are too many: as many taps at a time as have their weights in L2.
        if phases == 1 and depth * row_bytes > plan.ROWS_BYTES:
            lanes = min(order.packed[1], task.channel_block)
            most_taps = plan.TAPS_BYTES // (tile.itemsize * depth * lanes)
            tap_block = pixel_block(tap_block, max(1, most_taps))
        return Packing(block, block, tap_block, 0, even(source_channels, depth, shapes.parts))
    # Smaller blocks, then (in a gather) parts of them and of the taps, then fewer channels.
    budget, unit = plan.PACKED_BYTES // tile.itemsize, order.unit
    offsets = [column[:, 0].tolist() for column in order.tap_tables]

    def region_of(pixels: Shape, taps: Shape) -> int:
        return pixels[0] * prod(map(reach, pixels[1:], order.source_step[1:], offsets, taps[1:]))

    units = tuple(map(ceil_div, order.target_size, unit))
    least = prod(unit) * tile.rows if phases > 1 else 64
    while region_of(block, tap_block) * min(depth, 16) > budget and prod(block) > least:
        block = block_of_units(units, prod(block) // prod(unit) // 2, unit)
    packed_block = block
    if phases == 1 and region_of(block, tap_block) * min(depth, 16) > budget:
        packed_block, tap_block = least_packing(block, kernel, region_of, budget // min(depth, 32))
    region = region_of(packed_block, tap_block)
    depth = min(depth, budget // max(1, region))
    return Packing(block, packed_block, tap_block, region, even(source_channels, depth, shapes.parts))


def reach(pixels: int, step: int, offsets: Sequence[int], tap_block: int) -> int:
    """How many source pixels a block of target pixels reaches through a block of taps, at most."""
    if not offsets:
        return 0
    blocks = (offsets[first : first + tap_block] for first in range(0, len(offsets), tap_block))
    return (pixels - 1) * step + 1 + max(max(block) - min(block) for block in blocks)


def least_packing(
    block: Shape, kernel: Shape, region_of: Callable[[Shape, Shape], int], most: int
) -> tuple[Shape, Shape]:
    """Cut the pixels of a block, and the taps, so that least is packed, and at most this at a time."""
    chosen: tuple[Shape, Shape] = (1, 1, 1, 1), (1, 1, 1, 1)
    least = inf
    for taps in (pixel_block(kernel, 1 << i) for i in range(prod(kernel).bit_length())):
        for pixels in (pixel_block(block, 1 << i) for i in range(prod(block).bit_length())):
            region = region_of(pixels, taps)
            packed = region * prod(blocks_of(kernel, taps)) * prod(blocks_of(block, pixels))
            if region <= most and packed <= least:  # of equal ones the largest
                chosen, least = (pixels, taps), packed
    return chosen


def phase_table(direction: Direction, made: Slots) -> Table:
    """Rows of (first output, outputs, first tap, last tap + 1, first element, last element + 1)."""
    rows, start = [], 0
    for phase, first, members in zip(direction.phases, made.firsts, made.elements, strict=False):
        rows.append((phase.first, phase.outputs, first, first + len(phase.taps), start, start + len(members)))
        start += len(members)
    return table(rows, 6)


def element_table(made: Slots) -> Table:
    """Rows of (number of slots, three slots, offset), phase by phase."""
    return table(
        [
            (len(members), *members, *(0,) * (3 - len(members)), offset)
            for elements in made.elements
            for members, offset in elements
        ],
        5,
    )


def tap_places(made: Slots, fan: Fan | None, which: int) -> list[int]:
    """Of each tap along one axis its slot (which = 0), or its place in a fan (1)."""
    if fan is not None:
        return [place[which] for place in fan.places]
    places = [0] * len(made.taps)
    for slot, tap in enumerate(made.taps):
        places[tap] = (slot, 0)[which]
    return places


def tap_table(places: list[list[int]], sizes: tuple[int, ...]) -> Table:
    """Combine places along the axes into one place for each tap of the kernel, all in C order."""
    z, y, x = (np.array(axis, np.intp) for axis in places)
    return ((z[:, None] * sizes[1] + y).reshape(-1, 1) * sizes[2] + x).reshape(-1)
