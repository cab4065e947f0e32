"""Weight gradients of few channels: products of lines of pixels, several taps at a time."""

import drawing
import numpy as np
import plans
import pytest
import reference
import test_ways
from hypothesis import given
from hypothesis import strategies as st

import pyx_deconv as pxd
from pyx_deconv import kernels
from pyx_deconv.kernels import (
    plan,
    plan_columns_gradient,
    plan_lines_gradient,
    plan_pair_gradient,
    plan_weight_gradient,
)

DTYPES = [*test_ways.REAL, np.dtype(np.complex64)]

# coarse size, weight, settings: lines of many widths, taps of all remainders and beside the fine map
LAYERS = {
    "depthwise": ((9, 17), (37, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 37}),
    "narrow": ((7, 7), (5, 1, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 5}),
    "one tap": ((6, 35), (3, 1, 1, 1), {"groups": 3}),
    "thirds": ((7, 19), (8, 1, 5, 7), {"stride": 3, "padding": ((2, 1), (0, 4)), "groups": 8}),
    "larger strides than kernels": ((6, 18), (7, 1, 2, 2), {"stride": (5, 9), "groups": 7}),
    "stride and dilation": ((8, 17), (9, 1, 3, 2), {"stride": (2, 3), "dilation": (3, 2), "groups": 9}),
    "nothing but padding": ((40, 9), (2, 1, 3, 2), {"padding": ((30, 9), (0, 0)), "groups": 2}),
    "line": ((700,), (2, 1, 8), {"stride": 4, "padding": ((3, 2),), "groups": 2}),
    "volume": ((3, 4, 17), (6, 1, 4, 2, 3), {"stride": (2, 1, 2), "padding": (1, 0, 1), "groups": 6}),
    "taps of several tasks": ((5, 20), (1, 1, 30, 40), {"stride": (16, 9), "padding": 3}),
    "two outputs of each channel": ((7, 17), (13, 2, 4, 4), {"stride": 2, "padding": 1, "groups": 13}),
    "pairs of channels": ((7, 18), (24, 2, 3, 3), {"stride": 2, "padding": 1, "groups": 12}),
}
each_layer = pytest.mark.parametrize(
    ("name", "data_format"), [(name, layout) for name in LAYERS for layout in test_ways.BOTH], ids=str
)


def take_lines(patch):
    """Lines wherever vectors do not run across groups."""
    for module in (plan_lines_gradient, plan_columns_gradient):
        patch.setattr(module, "few_channels", lambda shapes: True)


@pytest.fixture(params=["one block", "many blocks"])
def only_lines(request):
    """This way for every layer, with all of a map at a time or with blocks of at most 64 pixels."""
    with plans.new_plans() as patch:
        patch.setattr(plan_pair_gradient, "pairs", lambda *_, exact: (False,) * 3)
        for module in (plan_lines_gradient, plan_columns_gradient, plan_weight_gradient):
            patch.setattr(module, "single_channels", lambda shapes: False)
        take_lines(patch)
        if request.param == "many blocks":
            patch.setattr(plan, "PACKED_BYTES", 1)
        yield patch


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("transposed", [True, False])
@each_layer
def test_lines(name, data_format, transposed, dtype, only_lines):
    size, weight, settings = LAYERS[name]
    if not transposed:
        settings = {key: value for key, value in settings.items() if key != "output_padding"}
    call, g = test_ways.made(size, weight, settings | {"data_format": data_format}, dtype, transposed)
    calls = test_ways.watch_gradients(only_lines, dtype)
    got = test_ways.weight_gradient(pxd, call, g)
    assert calls == [("lines_gradient", True)]
    absolute = drawing.Call(transposed, *reference.magnitude(call.x, call.weight, None), call.settings)
    scale = test_ways.weight_gradient(reference, absolute, reference.magnitude(g)[0])
    want = test_ways.weight_gradient(reference, call, g)
    drawing.compare(got, want, scale, dtype, "gradient of weight")


@pytest.mark.parametrize("which", ["coarse", "fine"])
@pytest.mark.parametrize("name", ["depthwise", "narrow", "thirds", "line", "volume", "pairs of channels"])
def test_specials(name, which, only_lines):
    """Between lines infinity times zero is NaN, which nobody must see."""
    size, weight, settings = LAYERS[name]
    call, g = test_ways.made(size, weight, settings)
    array = call.x if which == "coarse" else g
    calls = test_ways.watch_gradients(only_lines)
    for place in (0, array.size // 2, array.size - 1):
        for special in (np.inf, np.nan):
            before, array.flat[place] = array.flat[place], special
            got = test_ways.weight_gradient(pxd, call, g)
            want = test_ways.weight_gradient(reference, call, g)
            finite = test_ways.same_where_infinite(got, want, f"{special} at {place}")
            np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=1e-2)
            if not finite.all():
                assert [way for way, _ in calls] == ["lines_gradient", "weight_gradient"]
            calls.clear()
            array.flat[place] = before


@drawing.examples(150)
@given(drawing.calls(DTYPES), st.sampled_from(drawing.LAYOUTS))
def test_any_call(call, layout):
    with plans.new_plans() as patch:
        take_lines(patch)
        drawing.check_call(pxd, call, layout)


@pytest.mark.parametrize("name", ["depthwise", "volume", "line"])
def test_every_number_of_threads(name, monkeypatch):
    """The same bits, although each thread has other scratch."""
    monkeypatch.setattr(kernels.plan, "MULTIPLICATIONS", 1)
    size, weight, settings = LAYERS[name]
    call, g = test_ways.made(size, weight, settings)
    results = []
    with plans.new_plans():
        for threads in (1, 2, 5):
            with pxd.num_threads(threads):
                results.append(test_ways.weight_gradient(pxd, call, g))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
