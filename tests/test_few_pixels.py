"""Few pixels with a large weight, which is taken as it lies: forced here for layers of any size."""

import contextlib

import drawing
import numpy as np
import plans
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from test_ways import BOTH, FLOAT, made, same_where_infinite

import pyx_deconv as pxd
from pyx_deconv import kernels
from pyx_deconv.geometry import Axis
from pyx_deconv.kernels import plan, plan_columns

REAL = [FLOAT, np.dtype(np.float64)]
# coarse size, weight, settings without layout: blocks of channels, pixels and taps with and without a rest
LAYERS = {
    "image": ((2, 2), (40, 19, 4, 4), {"stride": 2, "padding": 1}),
    "one pixel": ((1, 1), (33, 20, 4, 4), {"stride": 2}),
    "rows and panels with a rest": ((3, 5), (37, 11, 3, 3), {"stride": 2, "padding": ((1, 0), (0, 1))}),
    "more pixels than a panel has": ((7, 9), (35, 9, 3, 2), {"stride": (2, 1), "output_padding": (1, 0)}),
    "taps outside": ((3, 4), (20, 7, 5, 5), {"stride": 2, "padding": ((4, 3), (3, 4))}),
    "gaps": ((3, 2), (34, 8, 1, 2), {"stride": 4}),
    "dilation": ((4, 3), (16, 10, 3, 3), {"dilation": (3, 2), "padding": (2, 1)}),
    "line of many taps": ((5,), (9, 3, 300), {"stride": 75, "padding": 100}),
    "single taps": ((17,), (270, 300, 1), {}),
    "volume": ((2, 3, 2), (18, 5, 2, 3, 2), {"stride": 2, "padding": ((0, 1), (1, 1), (0, 0))}),
    "groups": ((2, 3), (39, 7, 3, 3), {"stride": 2, "groups": 3}),
}
each_layer = pytest.mark.parametrize(
    ("name", "data_format"), [(name, layout) for name in LAYERS for layout in BOTH], ids=str
)


@contextlib.contextmanager
def forced():
    """Every real layer is one with few pixels; yields (scatters, whether it was done) of each call."""
    calls, correlate = [], kernels._correlate_columns

    def watched(scatters, *arguments):
        done = correlate(scatters, *arguments)
        calls.append((scatters, bool(done)))
        return done

    with plans.new_plans() as patch:
        patch.setattr(plan, "LARGE_WEIGHT", 0)
        patch.setattr(plan_columns, "few_pixels", lambda *_: True)
        patch.setattr(kernels, "_correlate_columns", watched)
        yield calls


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("transposed", [True, False])
@each_layer
def test_layers(name, data_format, transposed, dtype, threads):
    size, weight, settings = LAYERS[name]
    if not transposed:
        settings = {key: value for key, value in settings.items() if key != "output_padding"}
    call, _ = made(size, weight, settings | {"data_format": data_format}, dtype, transposed)
    with forced() as calls, pxd.num_threads(threads):
        drawing.check_call(pxd, call)
    assert (True, True) in calls
    assert (False, True) in calls


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("data_format", BOTH)
@pytest.mark.parametrize("pixels", range(1, 18))
def test_every_number_of_pixels(pixels, data_format, dtype):
    """Some have loops of their own; rows, and products of a row, with a rest."""
    settings = {"stride": 3, "padding": 1, "data_format": data_format}
    call, _ = made((pixels,), (37, 15, 5), settings, dtype, batch=1)
    with forced() as calls:
        drawing.check_call(pxd, call)
    assert all(done for _, done in calls)


@each_layer
def test_same_bits_on_any_number_of_threads_and_in_any_memory(name, data_format):
    size, weight, settings = LAYERS[name]
    call, g = made(size, weight, settings | {"data_format": data_format}, batch=3)
    rng, results = np.random.default_rng(0), []
    with forced():
        for threads, layout in ((1, "C"), (2, "fortran"), (5, "negative"), (1, "stepped"), (3, "transposed")):
            with pxd.num_threads(threads), pytest.MonkeyPatch.context() as patch:
                patch.setattr(plan, "MULTIPLICATIONS", 1)
                if layout != "C":
                    call.x, call.weight, g = (
                        drawing.lay_out(each, layout, rng) for each in (call.x, call.weight, g)
                    )
                results.append((call.forward(pxd), call.backward(pxd, g, needs="x").x))
    for y, grad_x in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        np.testing.assert_array_equal(grad_x, results[0][1])


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("role", ["x", "weight"])
@each_layer
def test_specials(name, data_format, role, transposed):
    """Infinite weights whose taps land outside reach nothing; the zeros there must not make NaN of them."""
    size, weight, settings = LAYERS[name]
    if not transposed:
        settings = {key: value for key, value in settings.items() if key != "output_padding"}
    call, _ = made(size, weight, settings | {"data_format": data_format}, transposed=transposed)
    array = getattr(call, role)
    for place in (0, array.size // 2, array.size - 1):
        for special in (np.nan, np.inf, -np.inf):
            before, array.flat[place] = array.flat[place], special
            with np.errstate(invalid="ignore"):
                want = call.forward(reference)
            with forced() as calls:
                got = call.forward(pxd)
            assert calls, "computed in another way"
            finite = same_where_infinite(got, want, f"{special} at {place}")
            np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=1e-3)
            array.flat[place] = before


@drawing.examples(200)
@given(drawing.calls(REAL), st.sampled_from(drawing.LAYOUTS))
def test_any_call(call, layout):
    with forced():
        drawing.check_call(pxd, call, layout)


# batch, coarse and fine channels, size, kernel, stride
CHOSEN = {
    "pix2pix": (1, 512, 512, (2, 2), (4, 4), 2),
    "DCGAN": (8, 1024, 512, (4, 4), (4, 4), 2),
    "HiFi-GAN": (1, 512, 256, (64,), (16,), 8),
    "1-D": (1, 512, 96, (24,), (12,), 6),
    "taps outside": (4, 320, 256, (3, 3), (5, 5), 1),
}
# With a packed weight: where tiles would multiply more taps outside, or four pixels with a weight from memory
KEPT = {True: ("DCGAN", "taps outside"), False: ("pix2pix",)}
OTHER = {
    "many pixels": (16, 256, 128, (16, 16), (4, 4), 2),
    "small weight": (1, 16, 16, (2, 2), (4, 4), 2),
    "large map": (1, 512, 16, (2, 2), (3, 3), 1000),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scatters", [True, False])
@pytest.mark.parametrize("name", [*CHOSEN, *OTHER])
def test_where_it_is_chosen(name, scatters, dtype):
    """And what a thread needs stays in its cache; a packed weight that serves again is mostly better."""
    batch, coarse, fine, size, kernel, stride = (CHOSEN | OTHER)[name]
    axes = tuple(Axis(n, (n - 1) * stride + k, k, stride, 1, 0) for n, k in zip(size, kernel, strict=True))
    tile = kernels.ARITHMETIC[dtype].tile
    product = plan_columns.Product(scatters, axes, batch, 1, coarse, fine, tile)
    large = coarse * fine * np.prod(kernel) >= plan.LARGE_WEIGHT
    for layout in ((True, True), (False, False)):
        assert (large and plan_columns.few_pixels(product, layout, False)) == (name in CHOSEN)
        assert plan_columns.few_pixels(product, layout, True) == (name in KEPT[scatters])
    if name in CHOSEN:
        fields = plan_columns.columns(product)
        tasks, work_size, columns_size = fields.sizes
        assert tasks >= 8
        assert work_size * tile.itemsize <= 512 * 1024
        assert columns_size <= coarse * fine * np.prod(kernel)
