"""Few channels: along lines of pixels, and across groups where channels lie side by side."""

import drawing
import numpy as np
import plans
import pytest
import test_ways

import pyx_deconv as pxd
from pyx_deconv import kernels
from pyx_deconv.kernels import plan_few_channels

DTYPES = [*test_ways.REAL, np.dtype(np.complex64)]

# coarse size, weight, settings without layout: odd sizes and borders, so that some phases have fewer outputs
LAYERS = {
    "depthwise": ((9, 17), (37, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 37}),
    "depthwise, phases of 1 and 2 taps": (
        (7, 19),
        (18, 1, 5, 5),
        {"stride": 3, "padding": ((2, 1), (0, 4)), "groups": 18},
    ),
    "depthwise, larger strides than kernels": ((6, 18), (17, 1, 2, 2), {"stride": 3, "groups": 17}),
    "depthwise, dilated": ((11, 21), (16, 1, 3, 3), {"dilation": (2, 3), "padding": (2, 5), "groups": 16}),
    "depthwise, stride and dilation": ((8, 17), (19, 1, 3, 2), {"stride": 2, "dilation": 3, "groups": 19}),
    "depthwise, wide borders": ((5, 18), (16, 1, 3, 3), {"padding": ((2, 0), (2, 1)), "groups": 16}),
    "depthwise, more outputs than taps reach": (
        (4, 17),
        (16, 1, 3, 3),
        {"stride": 2, "output_padding": 1, "groups": 16},
    ),
    "depthwise, rows of four and three taps": (
        (9, 21),
        (18, 1, 5, 7),
        {"padding": (2, 3), "groups": 18},
    ),
    "depthwise, rows of three taps, every second": (
        (6, 19),
        (21, 1, 2, 9),
        {"stride": (1, 2), "padding": (0, 4), "groups": 21},
    ),
    "depthwise line": ((70,), (20, 1, 8), {"stride": 4, "padding": ((3, 2),), "groups": 20}),
    "depthwise volume": (
        (3, 4, 17),
        (16, 1, 4, 2, 3),
        {"stride": (2, 1, 2), "padding": (1, 0, 1), "groups": 16},
    ),
    "many groups": ((3, 4), (273, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 273}),
    "two outputs of each channel": ((7, 17), (13, 2, 4, 4), {"stride": 2, "padding": 1, "groups": 13}),
    "pairs of channels": ((7, 18), (24, 2, 3, 3), {"stride": 2, "padding": 1, "groups": 12}),
    "one channel": ((19, 35), (1, 1, 5, 5), {"stride": 2, "padding": 2}),
    "one channel, 70 phases": ((33,), (1, 1, 140), {"stride": 70, "padding": 3}),
    "many channels to one": ((19, 35), (150, 1, 3, 3), {"padding": 1}),
}
ACROSS = [name for name in LAYERS if name.startswith(("depthwise", "many groups"))]
SPECIAL = ("depthwise", "depthwise, wide borders", "two outputs of each channel", "one channel")
each_layer = pytest.mark.parametrize(
    ("name", "data_format"), [(name, layout) for name in LAYERS for layout in test_ways.BOTH], ids=str
)


def layer(name, data_format, dtype=test_ways.FLOAT, transposed=True, kind="normal"):
    size, weight, settings = LAYERS[name]
    settings = settings | {"data_format": data_format}
    return test_ways.made(size, weight, settings, dtype, transposed, kind=kind)[0]


def ways(call):
    """Which of the ways for few channels a call goes."""
    with plans.new_plans() as patch:
        gone = []
        for way in ("along_lines", "across_groups"):
            made = getattr(plan_few_channels, way)
            patch.setattr(
                plan_few_channels, way, lambda *shapes, way=way, made=made: gone.append(way) or made(*shapes)
            )
        call.forward(pxd)
    return gone


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("name", ACROSS)
def test_across_groups_is_chosen(name, transposed):
    """Vectors of any width are filled, as a result and as a gradient."""
    if transposed or "output_padding" not in LAYERS[name][2]:
        assert ways(layer(name, "channels_last", transposed=transposed)) == ["across_groups"]


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize(
    ("size", "weight", "settings"),
    [
        ((19, 200), (1, 1, 5, 5), {"stride": 2, "padding": 2}),
        ((40, 40), (4, 1, 3, 3), {"padding": 1, "groups": 4}),
        ((64, 64), (3, 3, 3, 3), {"padding": 1}),
        ((200,), (2, 2, 6), {"stride": 2}),
    ],
)
def test_along_lines_is_chosen(size, weight, settings, transposed):
    assert ways(test_ways.made(size, weight, settings, transposed=transposed)[0]) == ["along_lines"]


@pytest.mark.parametrize(
    ("size", "weight", "settings"),
    [
        ((60, 60), (32, 1, 6, 6), {"stride": 2, "padding": 2}),
        ((40, 40), (64, 64, 3, 3), {"padding": 1}),
        ((16,), (1, 16, 256), {"stride": 64}),
        ((16,), (4, 16, 512), {"stride": 64}),
    ],
)
def test_along_lines_is_not_chosen(size, weight, settings):
    """Where products are many the tile is faster, and a task cannot list any number of lines."""
    for data_format in test_ways.BOTH:
        assert ways(test_ways.made(size, weight, settings | {"data_format": data_format})[0]) == []


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("transposed", [True, False])
@each_layer
def test_few_channels(name, data_format, transposed, dtype):
    if transposed or "output_padding" not in LAYERS[name][2]:
        drawing.check_call(pxd, layer(name, data_format, dtype, transposed))


@each_layer
def test_few_channels_in_any_memory(name, data_format):
    """Source and target may differ in how they lie."""
    call = layer(name, data_format, kind="integers")
    with plans.new_plans():
        want, rng = call.forward(pxd), np.random.default_rng(0)
    for layout in ("fortran", "transposed", "negative", "stepped"):
        out = drawing.lay_out(np.full(want.shape, np.nan, test_ways.FLOAT), layout, rng)
        np.testing.assert_array_equal(call.forward(pxd, out=out), want, err_msg=layout)
        call.x = drawing.lay_out(call.x, layout, rng)
        np.testing.assert_array_equal(call.forward(pxd), want, err_msg=layout)


@pytest.mark.parametrize("role", ["x", "weight"])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("data_format", test_ways.BOTH)
def test_specials(name, data_format, transposed, role):
    """Nothing outside the source is multiplied by an infinite weight."""
    call = layer(name, data_format, transposed=transposed)
    array = getattr(call, role)
    for place in (0, array.size // 2, array.size - 1):
        for special in (np.nan, np.inf, -np.inf):
            before, array.flat[place] = array.flat[place], special
            with np.errstate(invalid="ignore"):
                want = call.forward(test_ways.reference)
            got = call.forward(pxd)
            finite = test_ways.same_where_infinite(got, want, f"{special} at {place}")
            np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=1e-3)
            array.flat[place] = before


@pytest.mark.parametrize("data_format", test_ways.BOTH)
@pytest.mark.parametrize("name", ["depthwise", "depthwise volume", "one channel"])
def test_every_number_of_threads(name, data_format, monkeypatch):
    """The same bits, although each thread has other scratch."""
    monkeypatch.setattr(kernels.plan, "MULTIPLICATIONS", 1)
    call = layer(name, data_format)
    with plans.new_plans():
        results = []
        for threads in (1, 2, 5):
            with pxd.num_threads(threads):
                results.append(call.forward(pxd))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
