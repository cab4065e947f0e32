"""How a task's sums reach the target: phases of unequal length interleaved, channels and lines in blocks."""

import drawing
import numpy as np
import plans
import pytest
from test_ways import BOTH, FLOAT, made

import pyx_deconv as pxd
from pyx_deconv.kernels import plan, plan_few_channels

# coarse size, weight, settings: lines of more than 32 pixels and no multiple of four, more than 32 channels
LAYERS = {
    "as many outputs of each phase": ((5, 37), (5, 35, 4, 4), {"stride": 2, "padding": 1}),
    "one more of the first": ((5, 33), (5, 41, 3, 3), {"stride": 2, "padding": 1}),
    "a line that ends in one pixel": ((3, 33), (6, 34, 3, 5), {"stride": (2, 3), "padding": (1, 0)}),
    "one phase, groups": ((4, 70), (10, 38, 3, 3), {"padding": 1, "groups": 2}),
    "phases without taps": ((3, 35), (6, 33, 2, 2), {"stride": 4}),
    "three pixels": ((3, 3), (6, 17, 2, 2), {"stride": 1}),
}
DTYPES = [FLOAT, *map(np.dtype, (np.float64, np.float16, np.complex64))]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("data_format", BOTH)
@pytest.mark.parametrize("name", LAYERS)
def test_sums_reach_the_target(name, data_format, dtype, streams):
    """Forward and backward, with a bias, and nothing else is written."""
    size, weight, settings = LAYERS[name]
    call, _ = made(size, weight, settings | {"data_format": data_format}, dtype)
    with plans.new_plans() as patch:
        patch.setattr(plan_few_channels, "fastest", lambda *_: "tiles")
        patch.setattr(plan, "STREAMED_BYTES", 0 if streams else 2**40)
        drawing.check_call(pxd, call)
        want = call.forward(pxd)
        memory = np.full((2, *want.shape, 2), 7, dtype)
        for out in (memory[0, ..., 0], memory[1].reshape(-1)[: want.size].reshape(want.shape)):
            np.testing.assert_array_equal(call.forward(pxd, out=out), want)
        assert (memory[0, ..., 1] == 7).all()
        assert (memory[1].reshape(-1)[want.size :] == 7).all()
