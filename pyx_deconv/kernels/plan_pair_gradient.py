"""How a weight gradient is cut into pairs of taps; ``karatsuba_gradient.pxi`` computes it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from . import plan
from .plan import (
    Shape,
    Table,
    block_of_lanes,
    blocks_of,
    ceil_div,
    compact_block,
    even,
    round_up,
    table,
    three,
)
from .plan_weight_gradient import GradientFields, Shapes, cut_pixels
from .taps import ABSENT, Direction, gather, products_of, saved_by_pairs, slots


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


def pair_gradient(shapes: Shapes) -> PairGradientFields | None:
    """Cut one weight gradient into pairs of taps, or say None where that is not worth while."""
    tile, coarse_channels, fine_channels = shapes.tile, shapes.coarse_channels, shapes.fine_channels
    directions = (*(ABSENT,) * (3 - len(shapes.axes)), *map(gather, shapes.axes))
    if not all(direction.phases[0].taps for direction in directions):
        return None
    exact = tile.itemsize > 4 or tile.dots or shapes.parts > 1
    paired = pairs(directions, shapes.batch, fine_channels, coarse_channels, exact=exact)
    # Taps that reach nothing get no gradient here.
    if not any(paired) or any(len(d.phases[0].taps) < d.kernel for d in directions):
        return None
    in_place = (shapes.in_place[0], shapes.in_place[1] and fine_channels % tile.unit == 0)
    coarse_size = shapes.coarse_size
    made = [slots(direction, pair) for direction, pair in zip(directions, paired, strict=True)]
    paired = tuple(bool(each.sums) for each in made)  # not along an axis where no tap has a partner
    element_tables = [
        table(
            [
                (len(at), 1 + (len(at) == 3), ordered.taps[at[0]], ordered.taps[at[-1]], offset)
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
    tasks = shapes.groups * element_blocks * coarse_blocks * fine_blocks

    zeros = round_up(max(coarse_block, fine_block), 16)
    coarse_offset = zeros + round_up(
        pixels * max(0 if in_place[0] else coarse_block, 0 if in_place[1] else fine_block), 16
    )
    units_of_a_block = prod(map(ceil_div, block, unit))
    fine_offset = coarse_offset + round_up(points * units_of_a_block * coarse_block, 16)
    products_offset = fine_offset + round_up(points * units_of_a_block * fine_block, 16)
    work_size = round_up(products_offset + element_block * points * coarse_block * fine_block, 16)
    # What a chunk starts and ends with has its price.
    worth = prod(coarse_size) // 384
    chunks, chunk_blocks = cut_pixels(shapes, tasks, prod(blocks), worth)
    return PairGradientFields(
        **shapes.copied(),
        sizes=(tasks * chunks, work_size),
        paired=tuple(map(int, (False, *paired))),
        block=block,
        blocks=blocks,
        chunks=(chunks, chunk_blocks),
        element_count=element_count,
        elements=(elements, element_block, element_blocks),
        channel_blocks=(coarse_block, coarse_blocks, fine_block, fine_blocks),
        offsets=(zeros, coarse_offset, fine_offset, products_offset),
        in_place=in_place,
        element_tables=three(element_tables),
    )


def pairs(
    spatial: tuple[Direction, ...], batch: int, source_channels: int, target_channels: int, *, exact: bool
) -> tuple[bool, ...]:
    """Along which axes taps of a weight gradient are in pairs: where that saves more than it costs.

    Not where the sums are to be ``exact``: float64 and complex numbers are for those who count digits.
    """
    if exact or min(source_channels, target_channels) < 32:  # channels have to fill vectors
        return (False,) * len(spatial)
    chosen = saved_by_pairs(spatial)
    rest, growth, products, points = 1.0, 1.0, float(source_channels), 1.0
    for direction, pair in zip(spatial, chosen, strict=True):
        direct = products_of(direction, False)
        products *= direct / sum(phase.outputs for phase in direction.phases)
        if pair:
            rest *= products_of(direction, True) / direct
            growth *= slots(direction, True).size / direction.kernel
            points *= 3 / 2
    # Packing a weight costs about as much as multiplying it by 50 pixels.
    pixels = batch * prod(direction.outputs for direction in spatial)
    # Pairs cost a fifteenth of all products, and to add up the points of an output as much as some more.
    if (
        pixels * (1 - rest) < 50 * (growth - 1)
        or products * (1 - 1 / 15 - rest) < plan.POINT_PRODUCTS * points
    ):
        return (False,) * len(spatial)
    return chosen
