"""bfloat16 two products at a time, where the processor can do so: every pass against the oracle.

Forced on for the layers below and for small calls of every kind; that it is chosen has tests of its own.
"""

import contextlib
import dataclasses

import drawing
import numpy as np
import plans
import pytest
import reference
import test_ways
from hypothesis import given

import pyx_deconv as pxd
from pyx_deconv import kernels
from pyx_deconv.kernels import plan_columns_gradient, plan_few_channels

pytestmark = pytest.mark.skipif(
    not drawing.BFLOAT16 or not kernels.ARITHMETIC["bfloat16"].tile.dots,
    reason="needs ml_dtypes, a processor with AVX512_BF16, and the instruction set x86_64_v4_bf16",
)

# coarse size, weight, settings: odd channels of a group and odd pixels of a line have zeros beside them
LAYERS = {
    "image": ((9, 17), (33, 37, 4, 4), {"stride": 2, "padding": 1}),
    "thirds": ((7, 10), (18, 16, 5, 7), {"stride": 3, "padding": ((2, 1), (0, 4))}),
    "groups": ((6, 5), (51, 19, 3, 3), {"padding": 1, "groups": 3}),
    "larger strides than kernels": ((6, 9), (17, 20, 2, 2), {"stride": (5, 4)}),
    "stride and dilation": ((8, 7), (19, 16, 3, 2), {"stride": (2, 3), "dilation": (3, 2), "padding": 2}),
    "only borders": ((5, 5), (18, 17, 9, 9), {"padding": 6}),
    "one pixel": ((1, 1), (67, 33, 4, 4), {}),
    "line": ((301,), (16, 24, 16), {"stride": 8, "padding": 4}),
    "volume": ((5, 4, 3), (20, 17, 3, 2, 4), {"stride": (1, 2, 2), "padding": ((1, 0), (0, 1), (2, 1))}),
    "many channels": ((5, 6), (260, 300, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "one channel": ((11, 13), (1, 1, 5, 5), {"stride": 2, "padding": 2}),
    "three to one": ((15, 14), (3, 1, 4, 4), {"stride": 2, "padding": 1}),
    "phases side by side": ((19, 21), (40, 3, 4, 4), {"stride": 2, "padding": 1}),
    "read in place": ((9, 11), (66, 36, 3, 5), {"stride": 2, "padding": 2}),
}
each_layer = pytest.mark.parametrize(
    ("name", "data_format"), [(name, layout) for name in LAYERS for layout in test_ways.BOTH], ids=str
)


def layer(name, data_format, transposed=True, dtype=None):
    size, weight, settings = LAYERS[name]
    if not transposed:
        settings = {key: value for key, value in settings.items() if key != "output_padding"}
    dtype = dtype or drawing.BFLOAT16[0]
    return test_ways.made(size, weight, settings | {"data_format": data_format}, dtype, transposed)


@contextlib.contextmanager
def new_plans():
    with plans.new_plans() as patch:
        patch.undo()
        patch.setattr(plan_few_channels, "small_groups", lambda *shapes: False)
        patch.setattr(plan_few_channels, "fastest", lambda *shapes: "tiles")
        patch.setattr(plan_columns_gradient, "columns_pay", lambda shapes: True)
        yield patch


@pytest.fixture
def only_dots():
    with new_plans() as patch:
        yield patch


@pytest.fixture
def as_users_have_it():
    """New plans, and what has been made of them: of correlations, and of weight gradients by columns."""
    with plans.new_plans() as patch:
        patch.undo()
        cuts, made = plans.watch_cuts(patch), kernels.CUTS["columns_gradient"]
        patch.setitem(kernels.CUTS, "columns_gradient", lambda shapes: cuts.append(made(shapes)) or cuts[-1])
        yield cuts


@pytest.mark.parametrize("transposed", [True, False])
@each_layer
def test_dots(name, data_format, transposed, only_dots):
    cuts = plans.watch_cuts(only_dots)
    drawing.check_call(pxd, layer(name, data_format, transposed)[0])
    assert [cut.dots for cut in cuts] == [True, True]


@pytest.mark.parametrize("extra", [(0, 1), (1, 0), (1, 1), (2, 0)])
@pytest.mark.parametrize("channels", [64, 63])
def test_read_where_it_lies(channels, extra, only_dots):
    """Channels side by side are read in place where they are whole twos, wherever the first one begins."""
    call, _ = test_ways.made(
        (9, 12),
        (channels, 40, 4, 4),
        {"stride": 2, "padding": 1, "data_format": "channels_last"},
        drawing.BFLOAT16[0],
    )
    room = np.full((*call.x.shape[:3], channels + sum(extra)), np.nan, call.x.dtype)
    view = room[..., extra[0] : extra[0] + channels]
    view[...] = call.x
    cuts = plans.watch_cuts(only_dots)
    drawing.check_call(pxd, drawing.Call(call.transposed, view, *dataclasses.astuple(call)[2:]))
    assert cuts[0].in_place == (channels % 2 == sum(extra) % 2 == 0)


@given(drawing.calls(dtypes=drawing.BFLOAT16 or [None]))
@drawing.examples(150)
def test_any_call(call):
    with new_plans():
        drawing.check_call(pxd, call)


@pytest.mark.parametrize("data_format", test_ways.BOTH)
@pytest.mark.parametrize("name", ["image", "groups", "line", "volume"])
def test_chosen(name, data_format, as_users_have_it):
    for dtype, dots in ((None, True), (test_ways.FLOAT, False), (np.dtype(np.float16), False)):
        call, g = layer(name, data_format, dtype=dtype)
        as_users_have_it.clear()
        call.forward(pxd)
        call.backward(pxd, g)
        assert {cut.dots for cut in as_users_have_it if cut} <= {dots}
        assert not dots or len(as_users_have_it) == 3


def test_not_chosen_where_lines_are_faster(as_users_have_it):
    layer("one channel", "channels_first")[0].forward(pxd)
    assert not as_users_have_it


@pytest.mark.parametrize("which", ["x", "weight", "g"])
@pytest.mark.parametrize(
    "name", ["image", "thirds", "groups", "line", "volume", "three to one", "read in place"]
)
def test_specials(name, which, only_dots):
    """Beside the map, an odd last channel or pixel, infinity times zero is NaN, which nobody must see."""
    call, g = layer(name, "channels_last")
    array = {"x": call.x, "weight": call.weight, "g": g}[which]
    for place in (0, 1, array.size // 2, array.size - 1):
        for special in (np.inf, -np.inf, np.nan):
            before, array.flat[place] = array.flat[place], special
            with np.errstate(invalid="ignore"):
                want = call.forward(reference), *call.backward(reference, g)
            for got, wanted in zip((call.forward(pxd), *call.backward(pxd, g)), want, strict=True):
                test_ways.same_where_infinite(got, wanted, f"{special} at {place}")
            array.flat[place] = before


@each_layer
def test_same_bits_with_any_threads(name, data_format, only_dots):
    call, g = layer(name, data_format)
    results = []
    for threads in (1, 2, 5):
        with pxd.num_threads(threads):
            results.append([each.tobytes() for each in (call.forward(pxd), *call.backward(pxd, g))])
    assert results[0] == results[1] == results[2]


def test_a_kept_weight(only_dots):
    """What is packed for one layout is not taken for another, nor what a new weight replaces."""
    call, _ = layer("image", "channels_first")
    op = pxd.ConvTranspose(call.weight, call.bias, **call.settings)
    for _ in range(2):
        np.testing.assert_array_equal(op(call.x), call.forward(pxd))
