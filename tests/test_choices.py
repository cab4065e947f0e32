"""Which way is the fastest, by its cost in multiplications: outputs in pairs, lines, pixels across, tiles."""

import pytest

from pyx_deconv.geometry import Axis
from pyx_deconv.kernels import plan, plan_across, plan_costs, plan_few_channels, taps


def tiles():
    """Vectors of 16, 32 and 64 bytes."""
    return [plan.Tile(8, 8, lanes, lanes // 4, 4) for lanes in (8, 16, 32)]


@pytest.mark.parametrize(
    ("axis", "channels", "chosen"),
    [
        (Axis(40, 40, 3, 1, 1, 1), (64, 64), True),
        (Axis(40, 40, 3, 1, 1, 1), (15, 64), False),  # vectors would not be filled
        (Axis(4, 4, 3, 1, 1, 1), (256, 256), False),  # sums of weights would meet few pixels
        (Axis(40, 80, 3, 2, 1, 1), (24, 24), False),  # phases with one tap save nothing
        (Axis(40, 80, 3, 2, 1, 1), (256, 256), True),
    ],
    ids=str,
)
def test_outputs_are_in_pairs_where_that_is_faster(axis, channels, chosen):
    """Not where sums are to be exact."""
    for tile in tiles():
        shapes = taps.Shapes((taps.scatter(axis),) * 2, 1, 1, 1, *channels, tile)
        assert plan_costs.pairs(shapes, True, exact=False)[0] == (False, chosen, chosen)
        assert plan_costs.pairs(shapes, True, exact=True)[0] == (False,) * 3


def test_what_pairs_pack_counts():
    """An input gradient with a stride packs it for each element, unless it is read in place."""
    directions = (taps.gather(Axis(20, 40, 6, 2, 1, 2)),) * 2
    for tile in tiles():
        shapes = taps.Shapes(directions, 1, 1, 1, 48, 32, tile)
        in_place, packed = (
            plan_costs.pairs_cost(shapes, (False, True, True), where) for where in (True, False)
        )
        # Along an axis two pairs of taps and two single ones, for 20 pixels each.
        assert packed - in_place == (4 * 20) ** 2 * 48 * plan_costs.SEPARATED


@pytest.mark.parametrize(
    ("axis", "channels", "fastest"),
    [
        (Axis(64, 64, 3, 1, 1, 1), (2, 2), "lines"),
        (Axis(64, 128, 4, 2, 1, 1), (64, 3), "across"),
        (Axis(64, 128, 4, 2, 1, 1), (64, 64), "tiles"),
    ],
    ids=str,
)
def test_the_fastest_of_the_possible_ways(axis, channels, fastest):
    for tile in tiles():
        shapes = taps.Shapes((taps.scatter(axis),) * 2, 1, 1, 1, *channels, tile)
        given = shapes, False, plan_costs.tiling(shapes, (False, False)).cost
        assert plan_few_channels.fastest(*given, (True, True), False) == fastest
        assert plan_few_channels.fastest(*given, (False, False), False) == "tiles"
        for possible, way in (((True, False), "lines"), ((False, True), "across")):
            assert plan_few_channels.fastest(*given, possible, False) in (way, "tiles")


@pytest.mark.parametrize(
    ("axis", "saved"),
    [
        (Axis(64, 64, 1, 1, 1, 0), 64),
        (Axis(64, 128, 2, 2, 1, 0), 64),
        (Axis(64, 62, 3, 1, 1, 2), 64),
        (Axis(64, 64, 3, 1, 1, 1), 0),  # borders
    ],
    ids=str,
)
def test_what_is_read_in_place_is_not_packed(axis, saved):
    for tile in tiles():
        shapes = taps.Shapes((taps.scatter(axis),), 1, 1, 1, 20, 8, tile)
        packed, read = (plan_across.across_cost(shapes, False, read) for read in (False, True))
        assert packed - read == pytest.approx(saved * 20 * plan_costs.PACKED)


@pytest.mark.parametrize(
    ("axis", "share"),
    [
        (Axis(40, 160, 4, 4, 1, 0), 1),  # a stride of the kernel's size
        (Axis(40, 160, 7, 4, 1, 3), 39 / 40),
        (Axis(40, 79, 3, 2, 1, 1), 38 / 40),
        (Axis(4, 8, 9, 2, 1, 4), 0),
    ],
    ids=str,
)
def test_which_part_of_the_outputs_meets_nothing_outside(axis, share):
    gathered = taps.gather(axis)
    step, size, offsets = gathered.source_step, gathered.source_size, [o for _, o in gathered.phases[0].taps]
    met = [all(0 <= u * step + offset < size for offset in offsets) for u in range(axis.coarse)]
    assert sum(met) / len(met) == pytest.approx(share)
    assert taps.inside((gathered,)) == pytest.approx(share)
    assert taps.inside((gathered,) * 2) == pytest.approx(share**2)
    assert taps.inside((taps.scatter(Axis(40, 160, 4, 4, 1, 0)),)) == 0


@pytest.mark.parametrize(
    ("axis", "channels", "groups", "read"),
    [
        (Axis(400, 1600, 7, 4, 1, 3), 12, 1, True),
        (Axis(400, 1600, 7, 4, 1, 3), 12, 2, True),
        (Axis(400, 1600, 7, 4, 1, 3), 11, 2, False),  # short runs of memory
        (Axis(20, 40, 7, 2, 1, 3), 12, 1, True),  # some borders
        (Axis(20, 40, 7, 2, 1, 3), 11, 1, False),
        (Axis(20, 40, 7, 2, 1, 3), 16, 4, True),
        (Axis(8, 16, 7, 2, 1, 3), 16, 4, False),  # mostly borders
        (Axis(400, 1600, 50, 4, 1, 20), 12, 1, True),  # a long row
        (Axis(400, 402, 3, 1, 1, 0), 12, 1, False),
        (Axis(400, 1600, 4, 4, 1, 0), 1, 1, False),  # lines of pixels are faster
        (Axis(7, 14, 6, 2, 1, 2), 12, 1, False),  # borders
        (Axis(3, 2, 1, 2, 1, 100), 12, 1, False),  # no tap meets anything
        (Axis(7, 14, 6, 2, 1, 2), 17, 1, True),
    ],
    ids=str,
)
def test_where_few_channels_are_read_in_place(axis, channels, groups, read):
    assert plan_costs.in_long_rows((taps.gather(axis),), groups, channels) == read
