"""Whether the next task has other pixels or other weights: it follows from sizes and changes no bit."""

import numpy as np
import plans
import pytest

import pyx_deconv as pxd
from pyx_deconv.geometry import Axis
from pyx_deconv.kernels import plan, plan_correlation, plan_costs, taps
from pyx_deconv.kernels.plan import Tile

FLOAT32_AVX512 = Tile(rows=8, tall=12, lanes=32, unit=8, itemsize=4)


@pytest.mark.parametrize(
    ("channels", "size", "pixels_first"),
    [(256, 16, True), (64, 16, False), (512, 2, False)],
    ids=["large weight", "weight that stays in the caches", "one block of pixels"],
)
def test_which_comes_first(channels, size, pixels_first):
    axis = taps.scatter(Axis(size, 2 * size, 4, 2, 1, 1))
    batch = 4 if size > 2 else 1
    shapes = taps.Shapes((axis, axis), batch, 1, 1, channels, channels, FLOAT32_AVX512)
    fields = plan_correlation.correlation(plan_costs.tiling(shapes, (True, True)), True, True)
    assert fields.pixels_first == pixels_first


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize(("groups", "channels"), [(1, 160), (3, 99)])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_order_changes_no_bit(data_format, groups, channels, threads):
    rng = np.random.default_rng(channels)
    shape = (2, 23, 21, channels) if data_format == "channels_last" else (2, channels, 23, 21)
    x = rng.standard_normal(shape, np.float32)
    weight = rng.standard_normal((channels, channels // groups, 4, 4), np.float32)
    settings = {"stride": 2, "padding": (1, 0), "groups": groups, "data_format": data_format}
    bits = []
    for most in (0, 2**40):
        with plans.new_plans() as patch, pxd.num_threads(threads):
            cuts = plans.watch_cuts(patch)
            patch.setattr(plan, "WEIGHT_BYTES", most)
            y = pxd.conv_transpose(x, weight, **settings)
            grad = pxd.conv_transpose_backward(y, x, weight, needs=("x",), **settings)
        assert any(fields.pixels_first for fields in cuts) == (most == 0)
        bits.append((y.tobytes(), grad.x.tobytes()))
    assert bits[0] == bits[1]
