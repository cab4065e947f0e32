"""How a forward pass or an input gradient is cut: parts of the taps and of its pixels, borders, units."""

import contextlib

import drawing
import numpy as np
import plans
import pytest
import reference
from test_ways import BOTH, FLOAT, made, same_where_infinite

import pyx_deconv as pxd
from pyx_deconv import kernels
from pyx_deconv.kernels import plan, plan_few_channels

KIB = 1024


@contextlib.contextmanager
def small_blocks(packed=8 * KIB, taps=8 * KIB):
    """Little room for what is packed and for the weights of some taps; yields how each correlation is cut."""
    with plans.new_plans() as patch:
        cuts = plans.watch_cuts(patch)
        patch.setattr(plan, "PACKED_BYTES", packed)
        patch.setattr(plan, "TAPS_BYTES", taps)
        patch.setattr(plan, "ROWS_BYTES", 2 * KIB)
        patch.setattr(plan_few_channels, "fastest", lambda *_: "tiles")
        plans.make_pairs_cheap(patch)
        patch.setattr(plan, "LARGE_WEIGHT", 2**40)  # few pixels
        yield cuts


# coarse size, weight, settings; infinite weights are multiplied tap by tap, where outputs are in pairs too
LARGE = {
    "line": ((67,), (9, 20, 60), {"stride": 20, "padding": ((25, 13),)}),
    "line, dilated": ((67,), (9, 18, 40), {"stride": 20, "dilation": 3, "padding": 30}),
    "image": ((9, 21), (5, 17, 23, 20), {"stride": (11, 9), "padding": ((7, 9), (12, 3))}),
    "image, stride 1": ((13, 14), (7, 19, 11, 13), {"padding": (5, 6)}),
    "image, groups": ((8, 9), (6, 18, 16, 16), {"stride": 8, "padding": 4, "groups": 2}),
    "pairs": ((11, 8), (33, 36, 18, 20), {"stride": (9, 10), "padding": ((2, 0), (4, 3))}),
    "volume": ((4, 3, 7), (6, 18, 5, 7, 9), {"stride": (2, 3, 4), "padding": ((1, 2), (2, 0), (3, 4))}),
}
each_large = pytest.mark.parametrize(
    ("name", "data_format"), [(name, layout) for name in LARGE for layout in BOTH], ids=str
)


@each_large
def test_large_kernels_are_cut(name, data_format):
    """Otherwise what is asked of them below would be asked of whole blocks."""
    size, weight, settings = LARGE[name]
    call, _ = made(size, weight, settings | {"data_format": data_format}, transposed=False)
    with small_blocks() as cuts:
        call.forward(pxd)
    (cut,) = cuts
    assert np.prod(cut.tap_blocks) > 1
    assert any(cut.paired) == (name == "pairs")
    assert cut.in_place == (data_format == "channels_last")
    if not cut.in_place and "groups" not in settings:
        assert np.prod(cut.packed_block) < np.prod(cut.block), "several parts of a block"


@pytest.mark.parametrize("dtype", [FLOAT, np.dtype(np.float64), np.dtype(np.float16)], ids=str)
@each_large
def test_large_kernels(name, data_format, dtype):
    size, weight, settings = LARGE[name]
    call, _ = made(size, weight, settings | {"data_format": data_format}, dtype, transposed=False)
    with small_blocks():
        drawing.check_call(pxd, call)


@pytest.mark.parametrize("role", ["x", "weight"])
@each_large
def test_specials_of_large_kernels(name, data_format, role):
    """Zeros that stand in for pixels outside never meet an infinite weight."""
    size, weight, settings = LARGE[name]
    call, _ = made(size, weight, settings | {"data_format": data_format}, transposed=False)
    array = getattr(call, role)
    for place in (0, array.size // 2, array.size - 1):
        before, array.flat[place] = array.flat[place], np.inf
        with np.errstate(invalid="ignore"):
            want = call.forward(reference)
        with small_blocks():
            got = call.forward(pxd)
        finite = same_where_infinite(got, want, f"infinity at {place}")
        np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=1e-2)
        array.flat[place] = before


# Read in place: tiles that span the ends of lines, planes and samples; taps that reach nothing.
BORDERS = {
    "line": ((5,), (20, 18, 5), {"stride": 2, "padding": ((4, 3),)}),
    "image": ((5, 3), (20, 18, 5, 4), {"stride": (1, 2), "padding": ((4, 4), (3, 3))}),
    "image, dilated": ((6, 5), (9, 18, 3, 3), {"stride": 2, "dilation": 3, "padding": 5}),
    "volume": ((3, 5, 3), (20, 18, 3, 5, 3), {"stride": 2, "padding": ((2, 1), (4, 2), (1, 2))}),
    "groups": ((4, 7), (6, 18, 4, 4), {"stride": 2, "padding": 3, "groups": 2}),
    "groups of few channels": ((22, 23), (6, 12, 4, 4), {"stride": 2, "padding": 1, "groups": 2}),
    "more taps than are listed": ((7, 6), (9, 18, 9, 8), {"padding": (6, 5)}),
    "much more inside": ((18, 29), (20, 18, 5, 4), {"padding": ((2, 1), (1, 3))}),
    "line, much more inside": ((90,), (20, 18, 7), {"stride": 3, "padding": 8}),
    "volume, much more inside": ((9, 8, 10), (20, 18, 3, 3, 2), {"padding": 1}),
    "beside and beyond the source": ((40,), (20, 18, 2), {"stride": 2, "padding": 6, "dilation": 30}),
}


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("name", BORDERS)
def test_borders_in_place(name, transposed):
    size, weight, settings = BORDERS[name]
    call, _ = made(size, weight, settings | {"data_format": BOTH[1]}, transposed=transposed, kind="integers")
    with small_blocks(packed=plan.PACKED_BYTES, taps=plan.TAPS_BYTES) as cuts:
        np.testing.assert_array_equal(call.forward(pxd), call.forward(reference))
    assert transposed or cuts[0].in_place


@pytest.mark.parametrize("data_format", BOTH)
@pytest.mark.parametrize("padding", [0, 200])
def test_long_rows_of_one_channel_are_read_in_place(padding, data_format):
    """In either layout they lie one behind the other: the taps of a pixel are one row."""
    settings = {"stride": 90, "padding": padding, "data_format": data_format}
    call, _ = made((31,), (40, 1, 400), settings, transposed=False)
    with small_blocks(packed=plan.PACKED_BYTES) as cuts:
        drawing.check_call(pxd, call)
    assert cuts[0].in_place


def gather_cut(layer, in_place):
    """How the input gradient of a layer with stride 2 is cut."""
    batch, coarse, fine, size, kernel = layer
    with plans.new_plans() as patch:
        cuts = plans.watch_cuts(patch)
        axes = tuple(
            pxd.geometry.Axis(n, (n - 1) * 2 + k, k, 2, 1, 0) for n, k in zip(size, kernel, strict=True)
        )
        layout = (in_place, in_place), (False, False)
        kernels._correlation_plan(False, axes, batch, 1, fine, coarse, *layout, True, "float32")
    return cuts[0]


@pytest.mark.parametrize("in_place", [False, True])
def test_pairs_share_their_differences_and_their_weights(in_place):
    """All channels of a task use what is subtracted for it, and enough units each weight that is fetched."""
    cut = gather_cut((16, 256, 128, (16, 16), (4, 4)), in_place)
    assert cut.paired == (0, 0, 1, 1)
    assert cut.channel_blocks[:2] == (256, 1)
    units = np.prod(cut.block) // 4
    assert 0.75 * plan.UNITS <= units <= 2 * plan.UNITS


@pytest.mark.parametrize("in_place", [True, False])
def test_the_last_block_of_groups_has_half_a_vector_or_more(in_place):
    """Of channels that are at least so many."""
    tile = plan.Tile(12, 14, 32, 8, 4)
    blocks = {lanes: plan.block_of_groups(lanes, in_place, tile) for lanes in range(8, 9000)}
    assert all(lanes % block == 0 or lanes % block >= 8 for lanes, block in blocks.items())
    assert all(block % 16 == 0 or block == lanes for lanes, block in blocks.items())
    assert blocks[4097] == (240 if in_place else 112)  # 256 would leave 1
