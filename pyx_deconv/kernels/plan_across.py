"""How a correlation with pixels in the lanes of the tile is cut; ``across.pxi`` computes it."""

from __future__ import annotations

from dataclasses import replace
from math import inf, lcm, prod

from . import plan
from .plan import Shape, Tile, apart, blocks_of, ceil_div, compact_block, even, round_up
from .plan_correlation import (
    CorrelationFields,
    correlation,
    outputs_of,
    packed_pixels,
    products,
)
from .taps import Direction, fans

ROWS = 256  # of a task, in all its phases


def rows_as_lanes(tile: Tile) -> Tile:
    """The tile where a row of it is a target channel; half of them will do."""
    return tile._replace(lanes=tile.rows, unit=ceil_div(tile.rows, 2))


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


def across_cost(
    directions: tuple[Direction, ...],
    batch: int,
    groups: int,
    source_channels: int,
    target_channels: int,
    in_place: bool,
    tile: Tile,
) -> float:
    """How many multiplications would take as long as one sample computed so; infinite where it cannot be."""
    # Every other pixel would have to be picked out of its line, as often as there are taps.
    if any(direction.source_step > 1 for direction in directions):
        return inf
    turned = rows_as_lanes(tile)
    spatial, fan = fans(directions, source_channels, target_channels, turned)
    rows = target_channels * prod(each.size for each in fan if each)
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
        spatial, batch * groups, source_channels * rows, compact_block, min(plan.PIXELS, sums), region
    )
    weights = prod(each.kernel for each in directions) * source_channels * target_channels
    return (
        products(spatial)
        / lanes_filled
        * (source_channels + 1)
        * rows_taken(rows, rows_of_a_tile(rows, tile), tile)
        + plan.PACKED * packed * source_channels
        + plan.STORED_ACROSS[in_place] * outputs_of(directions) * target_channels
        + plan.PIXEL_ACROSS * outputs_of(spatial)
        + plan.WEIGHT_ACROSS * weights / batch
    )


def across(
    directions: tuple[Direction, ...],
    batch: int,
    groups: int,
    source_channels: int,
    target_channels: int,
    tile: Tile,
) -> CorrelationFields:
    """Cut it: target channels, or phases side by side, are the rows of the tile. Channels are a group's."""
    turned = rows_as_lanes(tile)
    base = correlation(
        directions, batch, groups, 1, source_channels, target_channels, False, False, turned, in_pairs=False
    )
    size, step, rows = base.target_size, base.source_step, base.channels[3]
    lanes = rows_of_a_tile(rows, tile)
    reach = tuple(high - low for low, high in zip(base.low, base.high, strict=True))
    phases, x_phases = base.phases[0], base.phase_count[3]
    # Phases along x are stored together.
    phase_block = max(each for each in range(1, 9) if x_phases % each == 0)
    if phase_block == x_phases:
        y_phases = base.phase_count[2]
        phase_block *= max(each for each in range(1, 8 // x_phases + 1) if y_phases % each == 0)
    whole = lcm(lanes, base.fans[3])
    channel_block = min(rows, even(rows, max(whole, ROWS // phase_block), whole))
    most = min(plan.PIXELS, plan.SUMS_BYTES // (tile.itemsize * channel_block * phase_block))

    def region(block: Shape) -> int:
        """Elements of one channel of what a block meets."""
        size = prod(
            min(by, span + 1) * (pixels + span // by)
            for pixels, by, span in zip(block, step, reach, strict=True)
        )
        return apart(size, tile.itemsize)

    def tasks(block: Shape, phase_block: int) -> int:
        blocks = prod(blocks_of(size, block)) * ceil_div(phases, phase_block)
        return blocks * groups * ceil_div(rows, channel_block)

    multiplications = prod(size) * base.sizes[3] * groups * source_channels * rows
    enough = max(1, min(plan.TASKS, multiplications // (2 * plan.MULTIPLICATIONS)))
    budget = plan.PACKED_BYTES // tile.itemsize
    block = compact_block(size, max(1, most))
    while most > 64 and tasks(block, phase_block) < enough:
        most = most * 3 // 4
        block = compact_block(size, most)
    if tasks(block, phase_block) < enough:
        phase_block = 1
    while region(block) * min(source_channels, 16) > budget and prod(block) > tile.rows:
        block = compact_block(size, prod(block) // 2)
    taps = max(1, base.sizes[3] // phases)
    depth = max(16, plan.ROWS_BYTES // (tile.itemsize * lanes * taps))
    depth = even(source_channels, max(1, min(source_channels, depth, budget // region(block))))

    # Lines of whole tiles and a last one, or one behind the other with what is packed between them.
    line = min(block[3] + reach[3] // step[3], lanes_taken(block[3], tile))
    plane = round_up((block[2] - 1) * line + block[3], tile.unit)
    row = block[0] * block[1] * plane
    # The last panel of a region reads beyond it.
    sums_offset = base.offsets[0] + round_up(region(block) * depth + tile.lanes, 16)
    blocks = blocks_of(size, block)
    return replace(
        base,
        sizes=(
            ceil_div(rows, lanes),
            rows,
            lanes,
            base.sizes[3],
            tasks(block, phase_block),
            sums_offset + round_up(phase_block * channel_block * row, 16),
        ),
        block=block,
        blocks=blocks,
        phases=(phases, phase_block, ceil_div(phases, phase_block)),
        channel_blocks=(channel_block, ceil_div(rows, channel_block), depth, 0),
        offsets=(base.offsets[0], sums_offset, sums_offset, sums_offset),
        across=True,
        sums_steps=(line, plane, row),
    )
