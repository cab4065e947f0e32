"""How a forward pass or an input gradient is cut; ``correlation.pxi`` and its siblings compute it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import lcm, prod

import numpy as np

from . import plan
from .plan import (
    LINE,
    Shape,
    Table,
    Tile,
    block_of_lanes,
    blocks_of,
    ceil_div,
    compact_block,
    even,
    pixel_block,
    round_up,
    table,
)
from .taps import ABSENT, Direction, Fan, Slots, Tap, fans, pairs, slots


@dataclass(frozen=True)
class CorrelationFields:
    """What ``engine.CorrelationPlan`` copies."""

    # groups, parts, source and target channels of a group (in parts); phases of a fan count as channels
    channels: tuple[int, int, int, int]
    fans: Shape  # how many phases are computed side by side: in all, along each axis
    fan_bases: Shape
    channels_last: bool  # the phases of a fan follow each other: channels within, or as channels
    # panels of a group, lanes of all of them, of one, slots, tasks, a thread's workspace
    sizes: tuple[int, int, int, int, int, int]
    slot_count: Shape
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
    # target channels of a task, tasks of them, source channels at a time, and of pairs of taps
    channel_blocks: tuple[int, int, int, int]
    # in a workspace: the packed source (zeros before it), the sums, the values and products of pairs
    offsets: tuple[int, int, int, int]
    in_place: bool
    along_lines: bool
    across: bool  # whether the tile has pixels in its lanes
    sums_steps: tuple[int, int, int]  # there, from one line, plane, channel of sums to the next
    streams: bool
    merges: bool  # whether the taps of a phase along x meet neighbours in the source
    paired: Shape  # 1 for an axis whose outputs are computed in pairs
    phase_tables: tuple[
        Table, Table, Table
    ]  # first output, outputs, first slot, last + 1, first element, last + 1
    tap_tables: tuple[Table, Table, Table]  # offset of each slot that some output meets
    element_tables: tuple[Table, Table, Table]  # number of slots, the slots, offset
    tap_slots: Table  # of each tap of the kernel, the packed slot
    fan_taps: Table  # the taps of each slot, in the order of the fan
    sum_tables: tuple[Table, Table, Table]  # the slot of a sum, and the two that it adds

    def packing(self) -> object:
        """Tell apart the ways to pack a weight: equal where packed weights may be exchanged."""
        tables = (self.tap_slots, self.fan_taps, *self.sum_tables)
        last = self.channels_last and self.fans[0] > 1
        return self.channels, self.sizes[2], last, tuple(each.tobytes() for each in tables)


def reach(pixels: int, step: int, taps: list[Tap], tap_block: int) -> int:
    """How many source pixels a block of target pixels reaches through a block of taps, at most."""
    blocks = (
        [offset for _, offset in taps[first : first + tap_block]] for first in range(0, len(taps), tap_block)
    )
    return (pixels - 1) * step + 1 + max(max(offsets) - min(offsets) for offsets in blocks) if taps else 0


def few_channels(
    directions: tuple[Direction, ...], source_channels: int, target_channels: int, tile: Tile
) -> bool:
    """Whether the target has so few channels that vectors along its lines are better filled."""
    line = max((phase.outputs for phase in directions[-1].phases), default=0)
    if 4 * target_channels > tile.lanes or 2 * line < tile.lanes:
        return False
    return not any(fans(directions, source_channels, target_channels, tile)[1])


def lines_fill(block: int, span: int, step: int, unit: int) -> float:
    """Share of the lanes that hold pixels: line by line, or across the ends of lines."""
    return block / min(round_up(block, unit), block + span // step)


def across_pixels(
    directions: tuple[Direction, ...], batch: int, source_channels: int, target_channels: int, tile: Tile
) -> bool:
    """Whether a tile with pixels in its lanes is better filled, for maps whose lines are contiguous."""
    halves = tile._replace(unit=ceil_div(tile.rows, 2))
    chosen, fan = fans(directions, source_channels, target_channels, halves)
    rows = target_channels * prod(each.size for each in fan if each)
    line = even(chosen[-1].outputs, LINE)
    offsets = [offset for phase in chosen[-1].phases for _, offset in phase.taps]
    # Every other pixel would have to be picked out of its line, as often as there are taps.
    strided = any(direction.source_step > 1 for direction in chosen)
    if strided or source_channels < tile.unit or not offsets:
        return False
    if any(pairs(chosen, batch, source_channels, target_channels, tile.itemsize > 4)):
        return False
    filled = lines_fill(line, max(offsets) - min(offsets), chosen[-1].source_step, tile.unit)
    filled *= rows / round_up(rows, halves.unit)
    _, fan = fans(directions, source_channels, target_channels, tile)
    lanes = target_channels * prod(each.size for each in fan if each)
    # Channels that are no multiple of four are transposed one by one.
    odd = source_channels % 4 or target_channels % 4
    return filled > (0.85 if odd else 1.0) * 1.02 * lanes / round_up(lanes, tile.unit)


def correlation(
    directions: tuple[Direction, ...],
    batch: int,
    groups: int,
    parts: int,
    source_channels: int,
    target_channels: int,
    in_place: bool,
    channels_last: bool,
    along_lines: bool,
    across: bool,
    tile: Tile,
) -> CorrelationFields:
    """Cut one correlation with a phase or more along each axis. Channels are a group's, counted in parts."""
    if along_lines:  # one target channel at a time
        in_place, tile = False, tile._replace(lanes=1, unit=1)
    pixel_unit = tile.unit
    if across:  # a row of tiles at a time, the phases of a fan one after the other
        channels_last = False
        in_place, tile = False, tile._replace(lanes=tile.rows, unit=ceil_div(tile.rows, 2))
    spatial = (*(ABSENT,) * (3 - len(directions)), *directions)
    fan: tuple[Fan | None, ...] = (None,) * 3
    if not along_lines and parts == 1:
        spatial, fan = fans(spatial, source_channels, target_channels, tile)
    if across:
        tile = tile._replace(unit=1)
    z, y, x = spatial
    fan_sizes = tuple(each.size if each else 1 for each in fan)
    target_channels *= prod(fan_sizes)
    # Where phases are side by side, a bright one would hide what a dim one loses.
    exact = tile.itemsize > 4 or parts > 1 or prod(fan_sizes) > 1
    paired = (False,) * 3 if along_lines or across else pairs(spatial, batch, source_channels, target_channels, exact)
    ordered = list(map(slots, spatial, paired))
    taps_of = [made.taps[: made.firsts[-1]] for made in ordered]
    low = (0, *(min((offset for _, offset in taps), default=0) for taps in taps_of))
    high = (0, *(max((offset for _, offset in taps), default=0) for taps in taps_of))
    source_size = (batch, *(direction.source_size for direction in spatial))
    source_step = (1, *(direction.source_step for direction in spatial))
    target_size = (batch, *(direction.outputs for direction in spatial))
    phases = prod(len(direction.phases) for direction in spatial)
    taps_of_a_phase = max(1, prod(map(len, taps_of)) // phases)
    slot_count = tuple(made.size for made in ordered)

    # Outputs are computed in units: single ones, or pairs along some axes.
    unit = tuple(1 + pair for pair in (False, *paired))
    points = prod(1 + 2 * pair for pair in paired)
    lanes = round_up(target_channels, tile.unit)
    multiplications = prod(target_size) * prod(map(len, taps_of)) * groups * source_channels * target_channels
    enough = plan.TASKS if multiplications > plan.TASKS * plan.MULTIPLICATIONS else 1
    values = plan.VALUES_BYTES // tile.itemsize
    # What is packed should serve many products, and the phases along x are stored side by side.
    phase_block = 1
    if along_lines:
        phase_block = even(phases, 16)
    elif not in_place:
        phase_block = max(size for size in range(1, 9) if len(x.phases) % size == 0)
        if points == 1 and phase_block == len(x.phases):
            phase_block *= max(size for size in range(1, 8 // phase_block + 1) if len(y.phases) % size == 0)
    most_lanes = (
        max(lcm(tile.rows, fan_sizes[2]), 256 // phase_block)
        if across
        else 128
        if prod(fan_sizes) > 1
        else 64
        if in_place
        else max(64, 512 // phase_block)
        if points == 1
        else 128
    )
    if lanes <= 1.25 * most_lanes:  # rather than to pack everything once more for a few
        most_lanes = round_up(lanes, tile.lanes)
    channel_block = block_of_lanes(lanes, most_lanes, tile)
    most = min(plan.PIXELS, plan.SUMS_BYTES // (tile.itemsize * channel_block * phase_block)) // prod(unit)
    if points > 1:
        most = min(most, values // (points * channel_block))
    units = tuple(map(ceil_div, target_size, unit))
    cut_pixels = pixel_block if along_lines else compact_block

    def too_few() -> bool:
        return (
            prod(blocks_of(units, cut_pixels(units, most)))
            * groups
            * ceil_div(phases, phase_block)
            * ceil_div(lanes, channel_block)
            < enough
        )

    if across:
        rows = lcm(tile.rows, fan_sizes[2])
        channel_block = min(target_channels, even(target_channels, most_lanes, rows))
    while too_few() and not across and channel_block > tile.lanes and channel_block > 32:
        channel_block = block_of_lanes(lanes, channel_block // 2, tile)
    while too_few() and most * prod(unit) > 64:
        most //= 2
    while too_few() and phase_block > 1:
        phase_block = 1
    block = tuple(a * b for a, b in zip(cut_pixels(units, max(1, most)), unit, strict=True))

    # As many source channels at a time as a row of tiles holds in L1, over all the taps of a phase.
    depth = min(source_channels, max(16, plan.ROWS_BYTES // (tile.itemsize * tile.rows * taps_of_a_phase)))
    kernel = (1, *map(len, taps_of))
    tap_block = tuple(max(1, taps) for taps in kernel)
    region = 0
    if not in_place:  # smaller blocks of pixels and (in a gather) of taps, then fewer channels, until it fits
        budget = plan.PACKED_BYTES // tile.itemsize
        while True:
            spans = list(map(reach, block[1:], source_step[1:], taps_of, tap_block[1:]))
            if along_lines:  # with what lies beside the source
                spans[2] = x.source_step * (block[3] + (high[3] - low[3]) // x.source_step)
            if across:
                spans = [
                    min(step, b - a + 1) * (pixels + (b - a) // step)
                    for step, a, b, pixels in zip(
                        source_step[1:], low[1:], high[1:], block[1:], strict=True
                    )
                ]
            region = block[0] * prod(spans)
            if across:
                region = plan.apart(region, tile.itemsize)
            if region * min(depth, 16) <= budget or prod(block) <= tile.rows * prod(unit):
                break
            if phases == 1 and not along_lines and not across and prod(block) <= 64 and prod(tap_block) > 16:
                tap_block = pixel_block(kernel, prod(tap_block) // 2)
            else:
                most = prod(block) // prod(unit) // 2
                block = tuple(a * b for a, b in zip(cut_pixels(units, most), unit, strict=True))
        depth = min(depth, budget // max(1, region))
    depth = even(source_channels, depth, parts)

    pair_depth = pair_region = pair_values = pair_products = 0
    if points > 1:
        units_of_a_task = prod(map(ceil_div, block, unit))
        pair_depth = even(source_channels, max(16, values // (points * units_of_a_task)), parts)
        if not in_place:
            pair_region = round_up(prod(a + b - 1 for a, b in zip(block, unit, strict=True)) * pair_depth, 16)
        pair_values = points * units_of_a_task * round_up(pair_depth, 16)
        pair_products = points * units_of_a_task * channel_block

    blocks = blocks_of(target_size, block)
    phase_blocks, channel_blocks = ceil_div(phases, phase_block), ceil_div(lanes, channel_block)
    tasks = prod(blocks) * groups * phase_blocks * channel_blocks
    merges = all(
        b[1] - a[1] == 1 for phase in x.phases for a, b in zip(phase.taps, phase.taps[1:], strict=False)
    )
    longest = max(len(phase.taps) for phase in x.phases) if merges else 1
    zeros = round_up(max(depth * longest, pair_depth), 16)  # they stand for pixels outside the source
    sums_offset = zeros + round_up(max(region * depth, pair_region), 16)
    sums_steps = (0, 0, 0)
    sums_size = prod(block)
    if across:
        sums_offset += 16 * pixel_unit  # the last panel reads beyond what is packed
        packed_line = block[3] + (high[3] - low[3]) // source_step[3]
        line = min(packed_line, round_up(block[3], pixel_unit))
        plane = round_up((block[2] - 1) * line + block[3], pixel_unit)
        sums_size = block[0] * block[1] * plane
        sums_steps = line, plane, sums_size
    values_offset = sums_offset + round_up(phase_block * sums_size * channel_block, 16)
    products_offset = values_offset + round_up(pair_values, 16)
    slot_of_tap, fan_of_tap = (
        tap_table([tap_places(*each, which) for each in zip(ordered, fan, strict=True)], sizes)
        for which, sizes in ((0, slot_count), (1, fan_sizes))
    )
    return CorrelationFields(
        channels=(groups, parts, source_channels, target_channels),
        fans=(prod(fan_sizes), *fan_sizes),
        fan_bases=tuple(each.base if each else 0 for each in fan),
        channels_last=channels_last,
        sizes=(
            ceil_div(lanes, tile.lanes),
            lanes,
            tile.lanes,
            prod(slot_count),
            tasks,
            round_up(products_offset + pair_products, 16),
        ),
        slot_count=slot_count,
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
        channel_blocks=(channel_block, channel_blocks, depth, pair_depth),
        offsets=(zeros, sums_offset, values_offset, products_offset),
        in_place=in_place,
        along_lines=along_lines,
        across=across,
        sums_steps=sums_steps,
        streams=prod(target_size) * phases * groups * target_channels * tile.itemsize >= plan.STREAMED_BYTES,
        merges=merges,
        paired=tuple(map(int, (False, *paired))),
        phase_tables=three(map(phase_table, spatial, ordered)),
        tap_tables=three(table([(offset,) for _, offset in taps], 1) for taps in taps_of),
        element_tables=three(map(element_table, ordered)),
        tap_slots=slot_of_tap,
        fan_taps=np.argsort(slot_of_tap * prod(fan_sizes) + fan_of_tap).reshape(-1, prod(fan_sizes)),
        sum_tables=three(
            table([(len(made.taps) + i, *pair) for i, pair in enumerate(made.sums)], 3) for made in ordered
        ),
    )


def three(tables: Iterable[Table]) -> tuple[Table, Table, Table]:
    z, y, x = tables
    return z, y, x


def phase_table(direction: Direction, made: Slots) -> Table:
    """Rows of (first output, outputs, first slot, last slot + 1, first element, last element + 1)."""
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
    for slot, (tap, _) in enumerate(made.taps):
        places[tap] = (slot, 0)[which]
    return places


def tap_table(places: list[list[int]], sizes: tuple[int, ...]) -> Table:
    """Combine places along the axes into one place for each tap of the kernel, all in C order."""
    z, y, x = (table([(place,) for place in axis], 1)[:, 0] for axis in places)
    return np.ascontiguousarray(((z[:, None, None] * sizes[1] + y[:, None]) * sizes[2] + x).reshape(-1))
