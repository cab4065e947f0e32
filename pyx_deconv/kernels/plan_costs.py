"""What the ways to correlate cost: how many multiplications would take as long as one sample."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from . import plan
from .plan import Shape, blocks_of, ceil_div, round_up
from .taps import Direction, Fan, Shapes, fans, inside, products_met, regrouped, saved_by_pairs, slots

PAIRED_CHANNELS = 16  # at least, where outputs are in pairs: they have to fill vectors
PAIRED_MARGIN = (0.93, 1)  # of the other cost, up to which they are taken: below 32 channels, from 32 on
# How many multiplications take as long as something else, in a correlation:
PACKED = 16  # to pack a pixel
SEPARATED = 20  # with a stride
PACKED_AGAIN = 12  # what has been packed for another task, or for other taps of a pair
STORED = (12, 3)  # to store one whose channels have to be put in order, or not
STORED_ALONG = (15, 12)  # along lines
STORED_ACROSS = (8, 12)  # with pixels in the lanes
LINE_ACROSS = (400, 0)  # to begin with a line there
STORED_IN_TURN = (90, 80)  # one by one, where phases are side by side
PIXEL_OF_TILE = 270  # to look up what a row of the tile meets
PIXEL_ACROSS = 50
WEIGHT_ACROSS = 25  # to pack one, beyond what the other ways take
ADDED_TAP = 8  # to add a product with a tap to those of others, where taps are rows of the tile
BAND_OF_SUMS = 1000
VALUE_OF_PAIR = 7  # to make a difference of pixels
ADDED_TO_PAIR = 8  # to add a product to those of other taps
POINT = 12  # to add up one point of an output
SUM_OF_WEIGHTS = 20  # to add two and pack them


def in_long_rows(directions: tuple[Direction, ...], groups: int, source_channels: int) -> bool:
    """Whether to read the source in place, where its channels lie side by side."""
    wide = source_channels >= plan.IN_PLACE_CHANNELS
    met = inside(directions) >= plan.INSIDE[wide]
    longest = [max(len(phase.taps) for phase in direction.phases) for direction in directions]
    short = source_channels > 1 and source_channels * prod(longest) <= plan.SHORT_ROWS
    long = groups == 1 and source_channels * longest[-1] >= plan.LONG_ROW
    return source_channels > 16 or long or (met and (wide if groups > 1 else short))


def products(directions: tuple[Direction, ...]) -> int:
    """How many taps the outputs of one channel have."""
    return prod(sum(len(phase.taps) * phase.outputs for phase in each.phases) for each in directions)


def outputs_of(directions: tuple[Direction, ...]) -> int:
    """How many outputs one channel has."""
    return prod(sum(phase.outputs for phase in direction.phases) for direction in directions)


def packed_pixels(
    spatial: tuple[Direction, ...],
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
    size = (1, *(direction.outputs for direction in spatial))
    offsets = [
        [offset for phase in direction.phases for _, offset in phase.taps] or [0] for direction in spatial
    ]
    enough = min(plan.TASKS, maps * products(spatial) * channels // plan.MULTIPLICATIONS)
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


class Tiling(NamedTuple):
    """How tiles with target channels in their lanes compute it."""

    shapes: Shapes  # with phases side by side as channels, or regrouped for pairs
    fan: tuple[Fan | None, ...]  # these phases
    paired: tuple[bool, ...]  # axes along which outputs are computed in pairs
    cost: float


def tiling(shapes: Shapes, in_place: tuple[bool, bool]) -> Tiling:
    """Choose the fastest; ``in_place``: whether the source, the target has channels as the tile has them.

    No pairs where sums are to be exact. Float64 and complex numbers are for those who count digits, and where
    phases are side by side, a bright one would hide what a dim one loses.
    """
    merged, fan = fans(shapes) if shapes.parts == 1 else (shapes, (None,) * 3)
    exact = shapes.tile.itemsize > 4 or shapes.tile.dots or shapes.parts > 1 or any(fan)
    paired, cost = pairs(merged, in_place[0], exact=exact)
    merged = merged._replace(directions=for_pairs(merged.spatial, paired))
    stored = (STORED_IN_TURN if any(fan) else STORED)[in_place[1]]
    return Tiling(merged, fan, paired, cost + stored * outputs_of(shapes.spatial) * shapes.target_channels)


def pairs_cost(shapes: Shapes, paired: tuple[bool, ...], in_place: bool) -> float:
    """How long tiles take, but for storing, with outputs in pairs along some axes or none."""
    spatial, tile = shapes.spatial, shapes.tile
    source_channels, target_channels = shapes.source_channels, shapes.target_channels
    lanes = round_up(target_channels, tile.unit)
    if not any(paired):
        packed = 0 if in_place else PACKED * prod(each.source_size for each in spatial)
        multiplied = products(spatial) * lanes + packed
        return multiplied * source_channels + PIXEL_OF_TILE * outputs_of(spatial)
    apart = for_pairs(spatial, paired)
    made = list(map(slots, apart, paired))
    multiplied = prod(map(products_met, apart, paired))
    # Every element packs what its pairs meet.
    packed = 0 if in_place else PACKED_AGAIN if apart[-1].source_step == 1 else SEPARATED
    for each, order in zip(apart, made, strict=True):
        packed *= order.met(each)
    points = (3 / 2) ** sum(paired) * outputs_of(spatial)
    # Of some source channels at a time, products are added up: of the fewer, the more units a task has.
    values = plan.VALUES_BYTES // (tile.itemsize * 3 ** sum(paired))
    units = min(shapes.batch * outputs_of(spatial), plan.PIXELS) / 2 ** sum(paired)
    passes = ceil_div(source_channels, max(16, int(values / min(units, values / lanes))))
    sums = prod(order.size for order in made) - prod(each.kernel for each in spatial)
    return (
        multiplied * (source_channels * (lanes + VALUE_OF_PAIR) + ADDED_TO_PAIR * passes * lanes)
        + packed * source_channels
        + POINT * points * target_channels
        + SUM_OF_WEIGHTS * sums * source_channels * lanes / shapes.batch
    )


def for_pairs(spatial: tuple[Direction, ...], paired: tuple[bool, ...]) -> tuple[Direction, ...]:
    """Regroup the axes along which outputs are in pairs."""
    return tuple(regrouped(each) if pair else each for each, pair in zip(spatial, paired, strict=True))


def pairs(shapes: Shapes, in_place: bool, *, exact: bool) -> tuple[tuple[bool, ...], float]:
    """Along which axes outputs are computed in pairs, none if that is faster; and how long it takes."""
    none: tuple[bool, ...] = (False,) * 3
    direct = pairs_cost(shapes, none, in_place)
    channels = min(shapes.source_channels, shapes.target_channels)
    saved = none
    if not exact and channels >= PAIRED_CHANNELS:
        saved = saved_by_pairs(tuple(map(regrouped, shapes.spatial)))
    if any(saved):
        cost = pairs_cost(shapes, saved, in_place)
        if cost < PAIRED_MARGIN[channels >= 32] * direct:
            return saved, cost
    return none, direct
