"""How a scatter to few target channels is cut, into products with all taps; ``across_taps.pxi`` has them."""

from __future__ import annotations

from math import inf, prod

from . import plan
from .plan import Shape, apart, blocks_of, compact_block, even, round_up, table, three
from .plan_across import rows_of_a_tile, rows_taken
from .plan_correlation import CorrelationFields, Order, ordered
from .plan_costs import ADDED_TAP, PACKED, STORED_ACROSS, outputs_of
from .taps import Direction, Fan, Phase, Shapes

LEAST = 16  # source channels: fewer are added up in the same order in all ways, whatever the map's size
ROWS = 256  # of taps and target channels, at most
PIXELS = 1024  # of a task, at most
PRODUCTS_BYTES = 256 * 1024  # with their sums, but for what lies beside a block
WORK_BYTES = 384 * 1024  # with what is packed as well


def rows_of(shapes: Shapes) -> int:
    """How many products a source pixel has."""
    return prod(direction.kernel for direction in shapes.directions) * shapes.target_channels


def sums_of(shapes: Shapes) -> int:
    """How many sums there are for all phases of a pixel."""
    return prod(direction.step for direction in shapes.directions) * shapes.target_channels


def offsets_of(shapes: Shapes) -> list[list[int]]:
    """Those of all taps along each axis; a gather can have none."""
    return [[offset for phase in each.phases for _, offset in phase.taps] for each in shapes.spatial]


def order_of_taps(shapes: Shapes) -> Order:
    """Order the weights as if all taps were phases side by side."""
    directions = [
        Direction(1, each.source_size, 1, each.step, [Phase(0, each.outputs, [(0, 0)])], each.gaps)
        for each in shapes.spatial
    ]
    fan = tuple(Fan(0, each.kernel, [(0, tap) for tap in range(each.kernel)]) for each in shapes.spatial)
    rows = rows_of(shapes)
    tile = shapes.tile._replace(lanes=rows_of_a_tile(rows, shapes.tile), unit=1)
    order = ordered(shapes._replace(directions=tuple(directions), target_channels=rows, tile=tile), fan)
    steps = tuple(each.step for each in shapes.spatial)
    offsets = offsets_of(shapes)
    order.channels = (*order.channels[:3], sums_of(shapes))
    order.fans = (prod(steps), *steps)
    order.low = (0, *map(min, offsets))
    order.high = (0, *map(max, offsets))
    order.tap_tables = three(map(places, shapes.spatial))
    return order


def places(direction: Direction) -> plan.Table:
    """Rows of (offset, first output) of each tap of the kernel; there is no output -1."""
    found = {tap: (offset, phase.first) for phase in direction.phases for tap, offset in phase.taps}
    least = min(offset for offset, _ in found.values())
    return table([found.get(tap, (least, -1)) for tap in range(direction.kernel)], 2)


def taps_block(shapes: Shapes, size: Shape, span: Shape) -> Shape:
    """Cut the outputs of tasks, in pixels: few tasks, for what lies beside a block is computed again."""
    rows, tile = rows_of(shapes), shapes.tile
    multiplications = prod(size) * shapes.groups * shapes.source_channels * rows
    enough = max(1, min(plan.TASKS // 2, multiplications // (8 * plan.MULTIPLICATIONS)))
    numbers = rows + sums_of(shapes)
    most = min(PIXELS, PRODUCTS_BYTES // (tile.itemsize * numbers), prod(size) * shapes.groups // enough)
    block = compact_block(size, max(64, most))
    while region_of(block, span) * tile.itemsize > plan.PACKED_BYTES // 16 and prod(block) > 1:
        block = compact_block(size, prod(block) // 2)
    return block


def region_of(block: Shape, span: Shape) -> int:
    """How many pixels a block meets."""
    return prod(pixels + more for pixels, more in zip(block, span, strict=True))


def across_taps_cost(shapes: Shapes, channels_last: bool) -> float:
    """How long one sample takes computed so; infinite where it cannot be."""
    rows, tile = rows_of(shapes), shapes.tile
    if shapes.source_channels < LEAST or any(each.source_step > 1 for each in shapes.directions):
        return inf
    offsets = offsets_of(shapes)
    if not (1 < rows <= ROWS and sums_of(shapes) <= ROWS and all(offsets)):
        return inf
    size = (shapes.batch, *(direction.outputs for direction in shapes.spatial))
    span = (0, *(max(each) - min(each) for each in offsets))
    block = taps_block(shapes, size, span)
    region = round_up(region_of(block, span), tile.unit) * prod(blocks_of(size, block)) / shapes.batch
    multiplied = rows_taken(rows, rows_of_a_tile(rows, tile), tile)
    return (
        region * ((multiplied + PACKED) * shapes.source_channels + ADDED_TAP * rows)
        + STORED_ACROSS[channels_last] * outputs_of(shapes.directions) * shapes.target_channels
    )


def across_taps(shapes: Shapes) -> CorrelationFields:
    """Cut it: a task has all taps and target channels of a group."""
    tile, source_channels = shapes.tile, shapes.source_channels
    order = order_of_taps(shapes)
    size, span, target_channels = order.target_size, order.reach, order.channels[3]
    block = taps_block(shapes, size, span)
    region, rows = apart(region_of(block, span), tile.itemsize), order.packed[1]
    # Lines and planes of sums are as far apart as in what is packed; vectors reach beyond the last ones.
    line = block[3] + span[3]
    plane = (block[2] + span[2]) * line
    row = round_up(block[0] * block[1] * plane + tile.lanes, 16)
    depth = max(16, (WORK_BYTES // tile.itemsize - rows * region - target_channels * row) // region)
    depth = even(source_channels, min(source_channels, depth))
    products_offset = round_up(region * depth + tile.lanes, 16)
    sums_offset = products_offset + rows * region
    blocks = blocks_of(size, block)
    return CorrelationFields(
        **vars(order),
        sizes=(
            prod(blocks) * shapes.groups,
            round_up(sums_offset + target_channels * row + tile.lanes, 16),
        ),
        block=block,
        blocks=blocks,
        phases=(1, 1, 1),
        channel_blocks=(target_channels, 1, depth, 0),
        offsets=(0, sums_offset, sums_offset, products_offset),
        streams=order.outputs * tile.itemsize >= plan.STREAMED_BYTES,
        across=True,
        by_taps=True,
        sums_steps=(line, plane, row),
    )
