"""Outputs in pairs where taps are dilated: partners are further apart, and phases share their weights."""

import numpy as np
import plans
import pytest
import reference

import pyx_deconv as pxd
from pyx_deconv.kernels import plan_few_channels, taps

# size, kernel, settings; along each axis the distance of partners, counted in outputs of the forward pass
LAYERS = [
    ((47,), (4,), {"dilation": 3, "padding": 2}, (3,)),
    ((61,), (7,), {"stride": 3, "dilation": 2}, (6,)),
    ((20, 13), (4, 2), {"dilation": (2, 3), "padding": (3, 0)}, (2, 3)),
    ((21, 18), (5, 4), {"stride": 2, "dilation": (4, 1)}, (4, 2)),
    ((12, 8, 12), (2, 4, 3), {"dilation": (2, 2, 1)}, (2, 2, 1)),
]


@pytest.fixture(scope="module", autouse=True)
def cheap_pairs():
    with plans.new_plans() as patch:
        plans.make_pairs_cheap(patch)
        patch.setattr(plan_few_channels, "fastest", lambda *shapes: "tiles")
        yield


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize(("size", "kernel", "settings", "distances"), LAYERS, ids=str)
def test_dilated_taps(size, kernel, settings, distances, data_format):
    rng = np.random.default_rng(len(size))
    weight, bias = rng.standard_normal((32, 32, *kernel)), rng.standard_normal(32)
    x = rng.standard_normal((2, 32, *size))
    y = reference.conv_transpose(x, weight, bias, **settings)
    grad_output = rng.standard_normal(y.shape)
    want = reference.conv_transpose_backward(grad_output, x, weight, needs=("x",), **settings).x
    x, grad_output, y, want = (
        np.ascontiguousarray(np.moveaxis(m, 1, -1)) if data_format == "channels_last" else m
        for m in (x, grad_output, y, want)
    )
    x, grad_output, weight, bias = (a.astype(np.float32) for a in (x, grad_output, weight, bias))
    settings = settings | {"data_format": data_format}
    with plans.new_plans() as patch:
        cuts = plans.watch_cuts(patch)
        got = pxd.conv_transpose(x, weight, bias, **settings)
        gradient = pxd.conv_transpose_backward(grad_output, x, weight, needs=("x",), **settings).x
    for cut in cuts:
        assert cut.paired[-len(size) :] == (1,) * len(size)
    assert cuts[0].target_step[-len(size) :] == distances
    np.testing.assert_allclose(got, y, rtol=0, atol=1e-5 * np.abs(y).max())
    np.testing.assert_allclose(gradient, want, rtol=0, atol=1e-5 * np.abs(want).max())
    # A block that is not finite is computed anew, tap by tap.
    x[0, ..., 4] = np.inf
    with np.errstate(invalid="ignore"):
        want = reference.conv_transpose(x.astype(float), weight.astype(float), bias.astype(float), **settings)
    np.testing.assert_array_equal(
        np.isfinite(pxd.conv_transpose(x, weight, bias, **settings)), np.isfinite(want)
    )


def test_short_lines_are_left_as_they_are():
    """Phases of a few outputs would read all weights for next to nothing."""
    x, weight = np.ones((1, 64, 20, 20), np.float32), np.ones((64, 64, 3, 3), np.float32)
    for least, step in ((10, 2), (11, 1)):
        with plans.new_plans() as patch:
            patch.setattr(taps, "APART", least)
            cuts = plans.watch_cuts(patch)
            pxd.conv_transpose(x, weight, dilation=2, padding=2)
        assert cuts[0].target_step == (1, 1, step, step)
