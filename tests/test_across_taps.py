"""Taps in the rows of the tile, whose products are added up afterwards: forced on wherever it can be."""

import contextlib
from math import inf

import drawing
import numpy as np
import plans
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from test_across import LAYERS as MORE_LAYERS
from test_across import REAL
from test_ways import BOTH, made, same_where_infinite

import pyx_deconv as pxd
from pyx_deconv.kernels import plan, plan_across_taps, plan_few_channels

# coarse size, weight, settings: phases with different numbers of taps, some with none; many blocks
LAYERS = {
    "line": ((201,), (9, 1, 13), {"stride": 4, "padding": 2}),
    "many channels": ((9, 40), (170, 3, 3, 3), {"stride": 2, "padding": 1}),
    "many blocks": ((45, 91), (64, 1, 5, 5), {"stride": 2, "padding": 2, "output_padding": 1}),
    "long kernel": ((50,), (40, 2, 101), {"stride": 3, "padding": 20}),
    "image": ((19, 37), (20, 3, 5, 5), {"stride": 3, "padding": 1, "output_padding": 1}),
    "narrow image": ((17, 5), (12, 8, 3, 3), {"stride": 2, "padding": 1}),
    "wide image": ((7, 130), (8, 3, 5, 4), {"stride": (1, 2), "padding": (2, 1)}),
    "single tap": ((9, 12), (20, 3, 1, 1), {"stride": 2}),
    "stride 1, dilated": ((23, 33), (16, 1, 3, 3), {"padding": 2, "dilation": 2}),
    "dilated": ((13, 21), (16, 2, 5, 3), {"stride": (2, 3), "padding": 3, "dilation": (3, 2)}),
    "dilated, gaps": ((13, 21), (16, 2, 3, 3), {"stride": 2, "dilation": 2, "output_padding": 1}),
    "groups": ((21, 34), (12, 2, 5, 5), {"stride": 2, "padding": 1, "groups": 3}),
    "gaps": ((12, 15), (6, 4, 2, 2), {"stride": 3}),
    "a single line": ((1, 30), (16, 3, 5, 5), {"stride": 2, "padding": (2, 0)}),
    "deeper borders than the stride": ((9, 19), (16, 3, 5, 5), {"stride": 2, "padding": ((3, 4), (5, 2))}),
    "taps that reach nothing": ((3, 5), (16, 3, 7, 7), {"stride": 2, "padding": ((8, 0), (0, 9))}),
    "volume": ((5, 4, 18), (10, 2, 3, 3, 3), {"stride": 2, "padding": 1}),
    "volume, few planes": ((3, 7, 9), (9, 3, 2, 3, 5), {"stride": (1, 2, 2), "padding": (0, 1, 1)}),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


@contextlib.contextmanager
def forced(streams=False):
    """Products with all taps wherever they can be; yields whether, of each plan."""
    chosen = []

    def choose(shapes, channels_last, _, possible, __):
        taken = possible[1] and plan_across_taps.across_taps_cost(shapes, channels_last) < inf
        chosen.append(taken)
        return "taps" if taken else "tiles"

    with plans.new_plans() as patch:
        patch.setattr(plan_few_channels, "fastest", choose)
        patch.setattr(plan_across_taps, "LEAST", 1)
        patch.setattr(plan_few_channels, "small_groups", lambda *_: False)
        if streams:
            patch.setattr(plan, "STREAMED_BYTES", 0)
        yield chosen


@each_layer
def test_the_layers_are_computed_so(name):
    """Otherwise what is asked of them below would be asked of another path."""
    with forced() as chosen:
        made(*LAYERS[name])[0].forward(pxd)
    assert chosen[0]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("data_format", BOTH)
@each_layer
def test_products_with_all_taps(name, data_format, dtype, streams):
    """As results and, without a stride, as gradients."""
    size, weight, settings = LAYERS[name]
    settings = settings | {"data_format": data_format}
    with forced(streams):
        drawing.check_call(pxd, made(size, weight, settings, dtype)[0])
        if "output_padding" not in settings:
            drawing.check_call(pxd, made(size, weight, settings, dtype, transposed=False)[0])


@pytest.mark.parametrize("name", MORE_LAYERS)
def test_the_layers_of_pixels_across(name):
    for data_format in BOTH:
        size, weight, settings = MORE_LAYERS[name]
        with forced():
            drawing.check_call(pxd, made(size, weight, settings | {"data_format": data_format})[0])


@pytest.mark.parametrize("rows", range(2, 38))
def test_every_number_of_taps(rows):
    for data_format in BOTH:
        call, _ = made((5, 45), (10, 1, 1, rows), {"stride": (1, 3), "data_format": data_format}, batch=1)
        with forced() as chosen:
            drawing.check_call(pxd, call)
        assert chosen[0]


@pytest.mark.parametrize("width", [*range(1, 35), 39, 40, 41, 63, 64, 65])
def test_every_width_of_lines(width):
    call, _ = made((6, width), (5, 2, 3, 5), {"stride": 2, "padding": (1, 2)}, batch=3)
    with forced() as chosen:
        drawing.check_call(pxd, call)
    assert chosen[0]


@pytest.mark.parametrize("role", ["x", "weight"])
@pytest.mark.parametrize("data_format", BOTH)
@each_layer
def test_specials(name, data_format, role):
    """Infinite weights meet no zeros, and no product reaches an output that it does not belong to."""
    call, _ = made(*LAYERS[name][:2], LAYERS[name][2] | {"data_format": data_format})
    array = getattr(call, role)
    for place in (0, array.size // 2, array.size - 1):
        for special in (np.nan, np.inf):
            before, array.flat[place] = array.flat[place], special
            with np.errstate(invalid="ignore"):
                want = call.forward(reference)
            with forced():
                got = call.forward(pxd)
            finite = same_where_infinite(got, want, f"{special} at {place}")
            np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=1e-3)
            array.flat[place] = before


@pytest.mark.parametrize("data_format", BOTH)
@each_layer
def test_threads_change_no_bit(name, data_format):
    call, _ = made(*LAYERS[name][:2], LAYERS[name][2] | {"data_format": data_format})
    with forced(streams=True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "MULTIPLICATIONS", 1)  # worth a thread
        with pxd.num_threads(1):
            want = call.forward(pxd)
        with pxd.num_threads(3):
            np.testing.assert_array_equal(call.forward(pxd), want)


def test_a_gather_that_no_tap_leads_into_its_source_is_left_to_others():
    call = drawing.Call(
        False,
        np.ones((1, 1), np.float32),
        np.ones((1, 1, 2), np.float32),
        None,
        {"stride": (1,), "dilation": (2,), "padding": "same", "groups": 1},
    )
    with forced() as chosen:
        drawing.check_call(pxd, call)
    assert chosen == [False]


@drawing.examples(200)
@given(drawing.calls(dtypes=REAL), st.sampled_from(drawing.LAYOUTS), st.booleans())
def test_any_call(call, layout, streams):
    with forced(streams):
        drawing.check_call(pxd, call, layout)


@pytest.mark.parametrize(
    ("size", "weight", "stride", "expected"),
    [
        ((6065,), (512, 1, 13), 4, True),
        ((64, 64), (64, 1, 3, 3), 2, True),
        ((60, 60), (64, 1, 5, 5), 2, True),
        ((64, 64), (64, 3, 4, 4), 2, False),  # phases side by side
        ((40, 40), (32, 8, 5, 5), 2, False),
        ((20, 20), (20, 20, 4, 4), 2, False),  # more rows than a task has
    ],
)
def test_it_is_chosen_for_phases_with_different_numbers_of_taps(size, weight, stride, expected):
    for data_format in BOTH:
        chosen = []
        with plans.new_plans() as patch:
            choose = plan_few_channels.fastest
            patch.setattr(
                plan_few_channels,
                "fastest",
                lambda *given, c=chosen, f=choose: c.append(f(*given)) or c[-1],
            )
            call, _ = made(size, weight, {"stride": stride, "data_format": data_format}, batch=1)
            call.forward(pxd)
        assert (chosen == ["taps"]) == expected
