"""Single channels along lines: taps one below the other share their pixels, straight into the target."""

import drawing
import numpy as np
import plans
import pytest
import test_ways

import pyx_deconv as pxd
from pyx_deconv.kernels import plan_few_channels

# coarse size, weight, settings: heights and widths around what is summed at a time, stacks of 1 to 4 taps
LAYERS = {
    "one above two taps": ((9, 17), (5, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 5}),
    "as many outputs of either phase": (
        (8, 16),
        (3, 1, 3, 3),
        {"stride": 2, "padding": 1, "output_padding": 1, "groups": 3},
    ),
    "four taps and three": ((21, 40), (2, 1, 7, 7), {"padding": 3, "groups": 2}),
    "three taps three times": ((13, 5), (4, 1, 9, 2), {"padding": (4, 0), "groups": 4}),
    "five remainders": ((7, 19), (3, 1, 11, 4), {"stride": (5, 2), "padding": (2, 1), "groups": 3}),
    "dilated lines": ((12, 33), (3, 1, 4, 3), {"dilation": (2, 3), "padding": 3, "groups": 3}),
    "stride and dilation": ((11, 15), (3, 1, 5, 3), {"stride": 2, "dilation": 3, "padding": 2, "groups": 3}),
    "two lines": ((2, 31), (3, 1, 3, 4), {"stride": (1, 2), "padding": (1, 0), "groups": 3}),
    "one line": ((1, 70), (2, 1, 3, 5), {"padding": (1, 2), "groups": 2}),
    "line": ((150,), (2, 1, 8), {"stride": 2, "padding": 3, "groups": 2}),
    "narrow": ((10, 3), (4, 1, 3, 3), {"padding": 1, "groups": 4}),
    "blocks along the line": ((3, 1100), (1, 1, 3, 3), {"stride": 2, "padding": 1}),
    "nothing but padding": ((40, 9), (2, 1, 3, 2), {"padding": ((30, 9), (0, 3)), "groups": 2}),
    "volume": ((3, 5, 18), (4, 1, 3, 4, 4), {"stride": (2, 1, 2), "padding": 1, "groups": 4}),
}


def layer(name, transposed, dtype, kind="normal"):
    size, weight, settings = LAYERS[name]
    if not transposed:
        settings = {key: value for key, value in settings.items() if key != "output_padding"}
    return test_ways.made(size, weight, settings, dtype, transposed, kind=kind)[0]


@pytest.fixture
def only_lines():
    """This way for every layer; a list that fills with the plans."""
    with plans.new_plans() as patch:
        cuts, made = [], plan_few_channels.along_lines
        patch.setattr(plan_few_channels, "fastest", lambda *_: "lines")
        patch.setattr(
            plan_few_channels, "along_lines", lambda *shapes: cuts.append(made(*shapes)) or cuts[-1]
        )
        yield cuts


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_stacks(name, transposed, dtype, only_lines):
    drawing.check_call(pxd, layer(name, transposed, dtype))
    assert only_lines[-1].direct


@pytest.mark.parametrize("name", LAYERS)
def test_each_tap_meets_its_pixel(name, only_lines):
    """With integers nothing is rounded, so that the order of sums does not hide a wrong tap."""
    call = layer(name, True, test_ways.FLOAT, kind="integers")
    got = call.forward(pxd)
    assert only_lines[-1].direct
    call.settings = call.settings | {"data_format": "channels_last"}
    call.x = np.moveaxis(call.x, 1, -1).copy()
    np.testing.assert_array_equal(np.moveaxis(call.forward(pxd), -1, 1), got)
    # Of one channel, lines are as contiguous; with more, these may be found along lines or across groups.
    assert all(cut.direct == (got.shape[1] == 1) for cut in only_lines[1:])


@pytest.mark.parametrize("layout", ["fortran", "negative", "stepped"])
def test_targets_whose_lines_are_no_runs(layout, only_lines):
    call = layer("one above two taps", True, test_ways.FLOAT, kind="integers")
    want = call.forward(pxd)
    out = drawing.lay_out(np.full(want.shape, np.nan, test_ways.FLOAT), layout, np.random.default_rng(0))
    np.testing.assert_array_equal(call.forward(pxd, out=out), want)
    assert [cut.direct for cut in only_lines] == [True, False]
