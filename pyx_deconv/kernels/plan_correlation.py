"""How a forward pass or an input gradient is cut; ``correlation.pxi`` and its siblings compute it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf, prod

import numpy as np

from . import plan
from .plan import (
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
from .taps import ABSENT, Direction, Fan, Slots, Tap, fans, inside, products_met, saved_by_pairs, slots


@dataclass  # frozen ones take 7 µs longer to fill
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
    packed_block: Shape  # pixels of a block whose source pixels are packed together
    phase_count: Shape
    phases: tuple[int, int, int]  # all, in a task, tasks of them
    # target channels of a task, tasks of them, source channels at a time, and of pairs of taps
    channel_blocks: tuple[int, int, int, int]
    # in a workspace: the packed source (zeros before it), the sums, the values and products of pairs
    offsets: tuple[int, int, int, int]
    in_place: bool
    along_lines: bool
    across: bool  # whether the tile has pixels in its lanes
    # there, from one line, plane, channel of sums to the next; along lines: how many are summed together
    sums_steps: tuple[int, int, int]
    pixels_first: bool  # whether the next task has other pixels, with the same weights
    streams: bool  # whether the target is larger than the caches
    direct: bool  # whether tiles are written to the target itself
    group_lanes: int  # target channels of a group where vectors run across groups, else 0
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
        return self.channels, self.sizes[1:3], last, tuple(each.tobytes() for each in tables)


def reach(pixels: int, step: int, taps: list[Tap], tap_block: int) -> int:
    """How many source pixels a block of target pixels reaches through a block of taps, at most."""
    blocks = (
        [offset for _, offset in taps[first : first + tap_block]] for first in range(0, len(taps), tap_block)
    )
    return (pixels - 1) * step + 1 + max(max(offsets) - min(offsets) for offsets in blocks) if taps else 0


def in_long_rows(directions: tuple[Direction, ...], groups: int, source_channels: int) -> bool:
    """Whether to read the source in place, where its channels lie side by side."""
    if source_channels > 16 or groups > 1:
        return source_channels > 16
    longest = [max(len(phase.taps) for phase in direction.phases) for direction in directions]
    short = source_channels > 1 and source_channels * prod(longest) <= plan.SHORT_ROWS
    return source_channels * longest[-1] >= plan.LONG_ROW or (short and inside(directions) >= plan.INSIDE)


def products(directions: tuple[Direction, ...]) -> int:
    """How many taps the outputs of one channel have."""
    return prod(sum(len(phase.taps) * phase.outputs for phase in each.phases) for each in directions)


def outputs_of(directions: tuple[Direction, ...]) -> int:
    """How many outputs one channel has."""
    return prod(sum(phase.outputs for phase in direction.phases) for direction in directions)


def packed_pixels(
    directions: tuple[Direction, ...],
    maps: int,
    channels: int,
    cut: Callable[[Shape, int], Shape],
    most: int,
    region: int,
) -> int:
    """How many source pixels of one channel are packed for blocks of at most ``most`` outputs of a map.

    Blocks meet no more pixels than ``region``, and there are enough of them for as many multiplications as
    so many pairs of ``channels`` make; what several of them meet counts as often.
    """
    spatial = (*(ABSENT,) * (3 - len(directions)), *directions)
    size = (1, *(direction.outputs for direction in spatial))
    offsets = [
        [offset for phase in direction.phases for _, offset in phase.taps] or [0] for direction in spatial
    ]
    enough = min(plan.TASKS, maps * products(directions) * channels // plan.MULTIPLICATIONS)
    most = max(64, min(most, maps * prod(size) // max(1, enough)))
    while True:
        block = cut(size, most)
        met = prod(
            (pixels - 1) * direction.source_step + 1 + max(each) - min(each)
            for pixels, direction, each in zip(block[1:], spatial, offsets, strict=True)
        )
        if met <= region or most <= 64:
            return met * prod(blocks_of(size, block))
        most //= 2


def tiles_cost(
    directions: tuple[Direction, ...],
    batch: int,
    source_channels: int,
    target_channels: int,
    in_place: tuple[bool, bool],
    exact: bool,
    tile: Tile,
) -> float:
    """How many multiplications would take as long as one sample with target channels in the tile's lanes."""
    spatial = (*(ABSENT,) * (3 - len(directions)), *directions)
    fan: tuple[Fan | None, ...] = (None,) * 3
    if not exact:
        spatial, fan = fans(spatial, source_channels, target_channels, tile)
    channels = target_channels * prod(each.size for each in fan if each)
    exact = exact or tile.itemsize > 4 or any(fan)
    shape = batch, source_channels, channels, in_place[0], tile
    stored = (plan.STORED_IN_TURN if any(fan) else plan.STORED)[in_place[1]]
    return (
        pairs_cost(spatial, pairs(spatial, *shape, exact), *shape)
        + stored * outputs_of(directions) * target_channels
    )


def pairs_cost(
    spatial: tuple[Direction, ...],
    paired: tuple[bool, ...],
    batch: int,
    source_channels: int,
    target_channels: int,
    in_place: bool,
    tile: Tile,
) -> float:
    """What `tiles_cost` says, but for storing, with outputs in pairs along some axes or none."""
    lanes = round_up(target_channels, tile.unit)
    if not any(paired):
        packed = 0 if in_place else plan.PACKED * prod(each.source_size for each in spatial)
        multiplied = products(spatial) * lanes + packed
        return multiplied * source_channels + plan.PIXEL_OF_TILE * outputs_of(spatial)
    made = list(map(slots, spatial, paired))
    multiplied = prod(map(products_met, spatial, paired))
    # Every element packs what its pairs meet.
    packed = 0 if in_place else plan.PACKED_AGAIN if spatial[-1].source_step == 1 else plan.SEPARATED
    for each, pair, order in zip(spatial, paired, made, strict=True):
        packed *= sum(
            len(elements) * round_up(phase.outputs, 1 + pair)
            for elements, phase in zip(order.elements, each.phases, strict=True)
        )
    points = (3 / 2) ** sum(paired) * outputs_of(spatial)
    # Of some source channels at a time, products are added up: of the fewer, the more units a task has.
    values = plan.VALUES_BYTES // (tile.itemsize * 3 ** sum(paired))
    units = min(batch * outputs_of(spatial), plan.PIXELS) / 2 ** sum(paired)
    passes = ceil_div(source_channels, max(16, int(values / min(units, values / lanes))))
    sums = prod(order.size for order in made) - prod(each.kernel for each in spatial)
    return (
        multiplied * (source_channels * (lanes + plan.VALUE_OF_PAIR) + plan.ADDED_TO_PAIR * passes * lanes)
        + packed * source_channels
        + plan.POINT * points * target_channels
        + plan.SUM_OF_WEIGHTS * sums * source_channels * lanes / batch
    )


def pairs(
    spatial: tuple[Direction, ...],
    batch: int,
    source_channels: int,
    target_channels: int,
    in_place: bool,
    tile: Tile,
    exact: bool,
) -> tuple[bool, ...]:
    """Along which axes outputs are computed in pairs, or none of them if that is faster.

    Not where the sums are to be ``exact``: float64 and complex numbers are for those who count digits.
    """
    direct, shape = (False,) * len(spatial), (batch, source_channels, target_channels, in_place, tile)
    if exact or min(source_channels, target_channels) < plan.PAIRED_CHANNELS:
        return direct
    saved = saved_by_pairs(spatial)
    most = plan.PAIRED_MARGIN[min(source_channels, target_channels) >= 32]
    if any(saved) and pairs_cost(spatial, saved, *shape) < most * pairs_cost(spatial, direct, *shape):
        return saved
    return direct


def correlation(
    directions: tuple[Direction, ...],
    batch: int,
    groups: int,
    parts: int,
    source_channels: int,
    target_channels: int,
    in_place: bool,
    channels_last: bool,
    tile: Tile,
    side_by_side: bool = True,
    in_pairs: bool = True,
) -> CorrelationFields:
    """Cut one correlation with a phase or more along each axis. Channels are a group's, counted in parts.

    ``side_by_side`` and ``in_pairs``: whether phases and outputs may be computed so.
    """
    spatial = (*(ABSENT,) * (3 - len(directions)), *directions)
    fan: tuple[Fan | None, ...] = (None,) * 3
    if side_by_side and parts == 1:
        spatial, fan = fans(spatial, source_channels, target_channels, tile)
    z, y, x = spatial
    fan_sizes = tuple(each.size if each else 1 for each in fan)
    target_channels *= prod(fan_sizes)
    # Where phases are side by side, a bright one would hide what a dim one loses.
    exact = tile.itemsize > 4 or parts > 1 or prod(fan_sizes) > 1
    paired: tuple[bool, ...] = (False,) * 3
    if in_pairs:
        paired = pairs(spatial, batch, source_channels, target_channels, in_place, tile, exact)
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
    enough = plan.enough_tasks(multiplications)
    values = plan.VALUES_BYTES // tile.itemsize
    # What is packed should serve many products, and the phases along x are stored side by side.
    phase_block = 1
    if not in_place:
        phase_block = max(size for size in range(1, 9) if len(x.phases) % size == 0)
        if points == 1 and phase_block == len(x.phases):
            phase_block *= max(size for size in range(1, 8 // phase_block + 1) if len(y.phases) % size == 0)
    # All target channels of a task share the source pixels that are fetched, packed or subtracted for it.
    most_lanes = 128
    if points > 1:
        most_lanes = values // (points * plan.UNITS)
    elif not in_place and prod(fan_sizes) == 1:
        most_lanes = max(64, 512 // phase_block)
    if lanes <= 1.25 * most_lanes:  # rather than to pack everything once more for a few
        most_lanes = round_up(lanes, tile.lanes)
    units = tuple(map(ceil_div, target_size, unit))
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
            * groups
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
    block = tuple(a * b for a, b in zip(compact_block(units, max(1, most)), unit, strict=True))

    # As many source channels at a time as a row of tiles holds in L1, over all the taps of a phase.
    line = max(x.phases, key=lambda phase: len(phase.taps)).taps
    columns = max(1, len(line))
    met = min(tile.rows * columns, max(1, reach(tile.rows, x.source_step, line, columns)))
    row_bytes = tile.itemsize * met * max(1, taps_of_a_phase // columns)  # for one channel
    depth = min(source_channels, max(32, plan.ROWS_BYTES // row_bytes))
    kernel = (1, *map(len, taps_of))
    tap_block = tuple(max(1, taps) for taps in kernel)
    packed_block = block
    region = 0
    if in_place:
        # Where even few channels are too many: as many taps at a time as have their weights in L2.
        if phases == 1 and depth * row_bytes > plan.ROWS_BYTES:
            most_taps = plan.TAPS_BYTES // (tile.itemsize * depth * min(lanes, channel_block))
            tap_block = pixel_block(tap_block, max(1, most_taps))
    else:  # smaller blocks, then (in a gather) parts of them and of the taps, then fewer channels
        budget = plan.PACKED_BYTES // tile.itemsize

        def region_of(pixels: Shape, taps: Shape) -> int:
            return pixels[0] * prod(map(reach, pixels[1:], source_step[1:], taps_of, taps[1:]))

        least = prod(unit) * tile.rows if phases > 1 else 64
        while region_of(block, tap_block) * min(depth, 16) > budget and prod(block) > least:
            most = prod(block) // prod(unit) // 2
            block = tuple(a * b for a, b in zip(compact_block(units, most), unit, strict=True))
        packed_block = block
        if phases == 1 and region_of(block, tap_block) * min(depth, 16) > budget:
            packed_block, tap_block = least_packing(block, kernel, region_of, budget // min(depth, 32))
        region = region_of(packed_block, tap_block)
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
    # Either the weights are read anew for each block of pixels, or the source for each block of weights.
    weight_size = prod(slot_count) * groups * source_channels * lanes
    source_reads = prod(source_size) * groups * source_channels * (phase_blocks * channel_blocks - 1)
    pixels_first = (
        weight_size * tile.itemsize > plan.WEIGHT_BYTES and weight_size * (prod(blocks) - 1) > source_reads
    )
    merges = all(
        b[1] - a[1] == 1 for phase in x.phases for a, b in zip(phase.taps, phase.taps[1:], strict=False)
    )
    longest = max(len(phase.taps) for phase in x.phases) if merges else 1
    zeros = round_up(max(depth * longest, pair_depth), 16)  # they stand for pixels outside the source
    sums_offset = zeros + round_up(max(region * depth, pair_region), 16)
    values_offset = sums_offset + round_up(phase_block * prod(block) * channel_block, 16)
    products_offset = values_offset + round_up(pair_values, 16)
    slot_of_tap = tap_table([tap_places(*each, 0) for each in zip(ordered, fan, strict=True)], slot_count)
    fan_taps = slot_of_tap
    if any(fan):
        fan_of_tap = tap_table([tap_places(*each, 1) for each in zip(ordered, fan, strict=True)], fan_sizes)
        fan_taps = slot_of_tap * prod(fan_sizes) + fan_of_tap
    streams = prod(target_size) * phases * groups * target_channels * tile.itemsize >= plan.STREAMED_BYTES
    # Where there are no other sums to add to, a tile has no empty lanes, and phases share no cache lines.
    direct = (
        channels_last
        and max(parts, points, prod(fan_sizes), prod(blocks_of(kernel, tap_block))) == 1
        and depth == source_channels
        and target_channels % tile.unit == 0
        and (len(x.phases) == 1 or target_channels * tile.itemsize % 64 == 0)
        and all(phase.taps for each in spatial for phase in each.phases)
        and not streams
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
        packed_block=packed_block,
        phase_count=(1, len(z.phases), len(y.phases), len(x.phases)),
        phases=(phases, phase_block, phase_blocks),
        channel_blocks=(channel_block, channel_blocks, depth, pair_depth),
        offsets=(zeros, sums_offset, values_offset, products_offset),
        in_place=in_place,
        along_lines=False,
        across=False,
        sums_steps=(0, 0, 0),
        pixels_first=pixels_first,
        streams=streams,
        direct=direct,
        group_lanes=0,
        merges=merges,
        paired=tuple(map(int, (False, *paired))),
        phase_tables=three(map(phase_table, spatial, ordered)),
        tap_tables=three(table([(offset,) for _, offset in taps], 1) for taps in taps_of),
        element_tables=three(map(element_table, ordered)),
        tap_slots=slot_of_tap,
        fan_taps=np.argsort(fan_taps).reshape(-1, prod(fan_sizes)),
        sum_tables=three(
            table([(len(made.taps) + i, *pair) for i, pair in enumerate(made.sums)], 3) for made in ordered
        ),
    )


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
    z, y, x = (np.array(axis, np.intp) for axis in places)
    return ((z[:, None] * sizes[1] + y).reshape(-1, 1) * sizes[2] + x).reshape(-1)
