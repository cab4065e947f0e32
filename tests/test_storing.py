"""How a task's sums reach the target: phases of unequal length interleaved, channels and lines in blocks."""

import drawing
import numpy as np
import plans
import pytest
import reference
from test_ways import BOTH, FLOAT, made, same_where_infinite

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


# target channels that leave no lane of a tile empty; phases do not share cache lines
DIRECT = {
    "one phase": ((9, 13), (5, 40, 3, 3), {"padding": (1, 0)}),
    "two panels, groups": ((7, 9), (6, 80, 3, 2), {"padding": 1, "groups": 2}),
    "phases": ((5, 11), (9, 32, 3, 5), {"stride": (2, 3), "padding": (1, 2)}),
    "beside the source": ((3, 2), (7, 16, 5, 6), {"padding": (3, 2)}),
    "volume": ((3, 5, 4), (6, 16, 2, 3, 2), {"stride": 2, "padding": (0, 1, 0)}),
}
each_direct = pytest.mark.parametrize("name", DIRECT)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("data_format", BOTH)
@each_direct
def test_tiles_are_written_to_the_target(name, data_format, dtype):
    """Where channels lie side by side; nothing else is written, on any number of threads."""
    size, weight, settings = DIRECT[name]
    call, _ = made(size, weight, settings | {"data_format": data_format}, dtype)
    with plans.new_plans() as patch:
        cuts = plans.watch_cuts(patch)
        patch.setattr(plan_few_channels, "fastest", lambda *_: "tiles")
        patch.setattr(plan, "MULTIPLICATIONS", 1)
        want = call.forward(pxd)
        assert [cut.direct for cut in cuts] == [data_format == BOTH[1] and dtype in (FLOAT, DTYPES[1])]
        drawing.check_call(pxd, call)
        memory = np.full((*want.shape[:-1], want.shape[-1] + 3), 7, dtype)
        with pxd.num_threads(3):
            np.testing.assert_array_equal(call.forward(pxd, out=memory[..., :-3]), want)
        assert (memory[..., -3:] == 7).all()


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@each_direct
def test_infinite_weights_meet_no_zeros(name, special):
    size, weight, settings = DIRECT[name]
    call, _ = made(size, weight, settings | {"data_format": BOTH[1]})
    with plans.new_plans() as patch:
        patch.setattr(plan_few_channels, "fastest", lambda *_: "tiles")
        for place in (0, call.weight.size // 2, call.weight.size - 1):
            before, call.weight.flat[place] = call.weight.flat[place], special
            with np.errstate(invalid="ignore"):
                want = call.forward(reference)
            got = call.forward(pxd)
            finite = same_where_infinite(got, want, f"{special} at {place}")
            np.testing.assert_allclose(got[finite], want[finite], rtol=1e-4, atol=1e-4)
            call.weight.flat[place] = before
