"""How a correlation with pixels in the lanes of the tile is cut; ``across.pxi`` computes it."""

from __future__ import annotations

from math import inf, lcm, prod

from . import plan
from .plan import Shape, Tile, apart, blocks_of, ceil_div, compact_block, even, round_up
from .plan_correlation import CorrelationFields, ordered
from .plan_costs import (
    LINE_ACROSS,
    PACKED,
    PIXEL_ACROSS,
    STORED_ACROSS,
    WEIGHT_ACROSS,
    outputs_of,
    packed_pixels,
    products,
)
from .taps import Shapes, fans

ROWS = 256  # of a task, in all its phases
SEGMENTS = 64  # MAX_SEGMENTS of engine.pyx


def rows_as_lanes(shapes: Shapes) -> Shapes:
    """The same where a row of the tile is a target channel; half of the rows will do."""
    tile = shapes.tile
    return shapes._replace(tile=tile._replace(lanes=tile.rows, unit=ceil_div(tile.rows, 2)))


def rows_taken(rows: int, most: int, tile: Tile) -> int:
    """How many are computed for these rows, in tiles of ``most`` and a last one of half a tile at least."""
    whole, rest = divmod(rows, most)
    return whole * most + (rest if rest > tile.rows else round_up(rest, ceil_div(tile.rows, 2)))


def rows_of_a_tile(rows: int, tile: Tile) -> int:
    """Where the fewest are computed, and then in the fewest tiles."""
    return min(range(tile.tall, tile.rows - 1, -1), key=lambda most: rows_taken(rows, most, tile))


def lanes_taken(pixels: int, tile: Tile) -> int:
    """How many are as good as computed for a line: half a vector takes as long as a whole one."""
    whole, rest = divmod(pixels, tile.lanes)
    return whole * tile.lanes + (max(tile.lanes // 2, round_up(rest, tile.unit)) if rest else 0)


def across_cost(shapes: Shapes, channels_last: bool, in_lines: bool) -> float:
    """How long one sample takes computed so; infinite where it cannot be.

    ``channels_last``: whether channels of the target lie side by side; ``in_lines``: pixels of the source.
    """
    # Every other pixel would have to be picked out of its line, as often as there are taps.
    if any(direction.source_step > 1 for direction in shapes.directions):
        return inf
    tile, source_channels = shapes.tile, shapes.source_channels
    merged, fan = fans(rows_as_lanes(shapes))
    spatial, rows = merged.spatial, merged.target_channels
    offsets = [offset for phase in spatial[-1].phases for _, offset in phase.taps]
    # Phases along x that are side by side stay in one task, whose sums would not fit a cache.
    if not offsets or (fan[-1] and min(rows, lcm(rows_of_a_tile(rows, tile), fan[-1].size)) > ROWS):
        return inf
    line = even(spatial[-1].outputs, plan.LINE)
    plane = prod(direction.outputs for direction in spatial[-2:])
    lanes_filled = min(
        line / min(round_up(line, tile.unit), line + max(offsets) - min(offsets)),
        plane / round_up(plane, tile.unit),
    )
    sums = plan.SUMS_BYTES // (tile.itemsize * min(rows, ROWS))
    region = plan.PACKED_BYTES // (tile.itemsize * min(source_channels, 16))
    packed = packed_pixels(
        spatial,
        shapes.batch * shapes.groups,
        source_channels * rows,
        compact_block,
        min(plan.PIXELS, sums),
        region,
    )
    weights = prod(each.kernel for each in shapes.directions) * source_channels * shapes.target_channels
    read = in_lines and all(
        0 <= offset <= each.source_size - each.outputs
        for each in spatial
        for phase in each.phases
        for _, offset in phase.taps
    )
    return (
        products(spatial)
        / lanes_filled
        * (source_channels + 1)
        * rows_taken(rows, rows_of_a_tile(rows, tile), tile)
        + (0 if read else PACKED) * packed * source_channels
        + STORED_ACROSS[channels_last] * outputs_of(shapes.directions) * shapes.target_channels
        + LINE_ACROSS[channels_last] * outputs_of(shapes.directions[:-1]) * shapes.target_channels
        + PIXEL_ACROSS * outputs_of(spatial)
        + WEIGHT_ACROSS * weights / shapes.batch
    )


def across(shapes: Shapes, in_lines: bool) -> CorrelationFields:
    """Cut it: target channels, or phases side by side, are the rows of the tile.

    ``in_lines``: whether pixels of the source lie side by side, to be read in place where nothing lies beside
    them.
    """
    merged, fan = fans(rows_as_lanes(shapes))
    rows, tile, source_channels = merged.target_channels, shapes.tile, shapes.source_channels
    lanes = rows_of_a_tile(rows, tile)
    order = ordered(merged._replace(tile=tile._replace(lanes=lanes, unit=1)), fan)
    size, step, reach = order.target_size, order.source_step, order.reach
    phases, x_phases, slots = prod(order.phase_count), order.phase_count[3], order.packed[3]
    # Phases along x are stored together.
    phase_block = max(each for each in range(1, 9) if x_phases % each == 0)
    if phase_block == x_phases:
        y_phases = order.phase_count[2]
        phase_block *= max(each for each in range(1, 8 // x_phases + 1) if y_phases % each == 0)
    whole = lcm(lanes, order.fans[3])
    channel_block = min(rows, even(rows, max(whole, ROWS // phase_block), whole))
    in_place = (
        in_lines
        and step == (1, 1, 1, 1)
        and all(low >= 0 for low in order.low)
        and all(a + b <= c for a, b, c in zip(order.high, size, order.source_size, strict=True))
        and prod(max(row[3] - row[2] for row in table) for table in order.phase_tables) <= SEGMENTS
    )
    most = plan.SUMS_BYTES // (tile.itemsize * channel_block * phase_block)
    most = min(4 * plan.PIXELS if in_place else plan.PIXELS, most)
    longest = most if in_place else plan.LINE

    def region(block: Shape) -> int:
        """Elements of one channel of what a block meets."""
        size = prod(
            min(by, span + 1) * (pixels + span // by)
            for pixels, by, span in zip(block, step, reach, strict=True)
        )
        return apart(size, tile.itemsize)

    def tasks(block: Shape, phase_block: int) -> int:
        blocks = prod(blocks_of(size, block)) * ceil_div(phases, phase_block)
        return blocks * shapes.groups * ceil_div(rows, channel_block)

    multiplications = prod(size) * slots * shapes.groups * source_channels * rows
    enough = max(1, min(plan.TASKS, multiplications // (2 * plan.MULTIPLICATIONS)))
    budget = plan.PACKED_BYTES // tile.itemsize
    block = compact_block(size, max(1, most), longest)
    while most > 64 and tasks(block, phase_block) < enough:
        most = most * 3 // 4
        block = compact_block(size, most, longest)
    if tasks(block, phase_block) < enough:
        phase_block = 1
    while not in_place and region(block) * min(source_channels, 16) > budget and prod(block) > tile.rows:
        block = compact_block(size, prod(block) // 2)
    taps = max(1, slots // phases)
    depth = max(16, plan.ROWS_BYTES // (tile.itemsize * lanes * taps))
    depth = even(source_channels, max(1, min(source_channels, depth, budget // region(block))))

    if in_place:
        depth = source_channels
        shortest = min(row[1] for row in order.phase_tables[2]) - (ceil_div(size[3], block[3]) - 1) * block[3]
        if shortest < tile.unit:  # a panel would reach beyond a line
            return across(shapes, False)

    # Lines of whole tiles and a last one, or one behind the other with what is packed between them.
    line = min(block[3] + reach[3] // step[3], lanes_taken(block[3], tile))
    plane = round_up((block[2] - 1) * line + block[3], tile.unit)
    row = block[0] * block[1] * plane
    # The last panel of a region reads beyond it.
    sums_offset = round_up(0 if in_place else region(block) * depth + tile.lanes, 16)
    blocks = blocks_of(size, block)
    return CorrelationFields(
        **vars(order),
        sizes=(
            tasks(block, phase_block),
            sums_offset + round_up(phase_block * channel_block * row, 16),
        ),
        block=block,
        blocks=blocks,
        phases=(phases, phase_block, ceil_div(phases, phase_block)),
        channel_blocks=(channel_block, ceil_div(rows, channel_block), depth, 0),
        offsets=(0, sums_offset, sums_offset, sums_offset),
        streams=order.outputs * tile.itemsize >= plan.STREAMED_BYTES,
        in_place=in_place,
        across=True,
        sums_steps=(line, plane, row),
    )
