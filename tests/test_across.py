"""Pixels in the lanes of the tile, and writing past the caches: forced on for calls of every kind."""

import contextlib
import dataclasses
from math import inf

import drawing
import numpy as np
import plans
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from test_ways import BOTH, every_fan, made, same_where_infinite

import pyx_deconv as pxd
from pyx_deconv.kernels import plan, plan_across, plan_few_channels

REAL = [np.dtype(np.float32), np.dtype(np.float64), *drawing.STORED]


@contextlib.contextmanager
def forced(streams=False, fans=False):
    """Pixels in the lanes wherever lines are contiguous; yields whether, streamed, in place of each plan."""
    chosen, cut = [], plan_across.across

    def watched(*arguments):
        fields = cut(*arguments)
        chosen.append((fields.across, fields.streams, fields.in_place))
        return fields

    with plans.new_plans() as patch:
        patch.setattr(plan_across, "across", watched)
        patch.setattr(plan_few_channels, "fastest", lambda *given: "across" if given[-2][1] else "tiles")
        patch.setattr(plan_few_channels, "small_groups", lambda *_: False)
        if streams:
            patch.setattr(plan, "STREAMED_BYTES", 0)
        if fans:
            patch.setattr(plan_across, "fans", every_fan)
        yield chosen


# coarse size, weight, settings: lines longer and shorter than a panel, more rows than a tile, borders, gaps
LAYERS = {
    "line": ((201,), (9, 11, 5), {"stride": 3, "padding": 2}),
    "long line": ((1500,), (5, 3, 4), {"stride": 2, "padding": 1}),
    "image": ((19, 37), (20, 13, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    "narrow image": ((17, 5), (12, 21, 4, 4), {"stride": 2, "padding": 1}),
    "wide image": ((7, 130), (8, 3, 5, 4), {"stride": (1, 2), "padding": (2, 1)}),
    "stride 1, dilated": ((23, 33), (16, 10, 3, 3), {"padding": 2, "dilation": 2}),
    "many channels": ((9, 40), (70, 75, 3, 3), {"stride": 2, "padding": 1}),
    "groups": ((21, 34), (12, 5, 4, 4), {"stride": 2, "padding": 1, "groups": 3}),
    "gaps": ((12, 15), (6, 9, 2, 2), {"stride": 3}),
    "deeper borders than the stride": ((9, 19), (16, 3, 4, 4), {"stride": 2, "padding": ((3, 4), (5, 2))}),
    "more outputs than there are": ((6, 17), (16, 3, 4, 4), {"stride": 2, "output_padding": 1}),
    "more taps than are listed": ((8, 40), (3, 4, 9, 11), {"padding": (4, 5)}),
    "one tap": ((19, 37), (20, 13, 1, 1), {}),
    "one tap for each output": ((7, 70), (16, 5, 2, 3), {"stride": (2, 3)}),
    "nothing beside the source": ((23, 33), (16, 10, 3, 3), {}),
    "volume": ((5, 4, 18), (10, 6, 3, 3, 3), {"stride": 2, "padding": 1}),
    "volume, few planes": ((3, 7, 9), (9, 8, 2, 3, 4), {"stride": (1, 2, 2), "padding": (0, 1, 1)}),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


@each_layer
def test_the_layers_are_computed_so(name):
    """Otherwise what is asked of them below would be asked of another path."""
    with forced(streams=True) as chosen:
        made(*LAYERS[name])[0].forward(pxd)
    assert chosen[-1][:2] == (True, True)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("fans", [False, True])
@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("data_format", BOTH)
@each_layer
def test_pixels_in_the_lanes(name, data_format, dtype, fans, streams):
    """As results and as gradients, of both operations."""
    size, weight, settings = LAYERS[name]
    settings = settings | {"data_format": data_format}
    with forced(streams, fans):
        drawing.check_call(pxd, made(size, weight, settings, dtype)[0])
        if "output_padding" not in settings:
            drawing.check_call(pxd, made(size, weight, settings, dtype, transposed=False)[0])


@pytest.mark.parametrize("rows", range(1, 38))
def test_every_number_of_rows(rows):
    """Tiles of eight to twelve rows, and what is left."""
    for data_format in BOTH:
        call, _ = made((5, 45), (10, rows, 3, 3), {"padding": 1, "data_format": data_format}, batch=1)
        with forced() as chosen:
            drawing.check_call(pxd, call)
        assert chosen[0][0]


@pytest.mark.parametrize("width", [*range(1, 19), *range(23, 26), *range(31, 34), 39, 40, 41, 48, 56, 72])
def test_every_width_of_lines(width):
    """In tiles of their own, or one behind the other; what lies between them is not stored."""
    layers = (
        ((5, 9, 3, 5), {"padding": (1, 2)}),
        ((5, 9, 4, 4), {"stride": 2, "padding": 1}),
        ((5, 9, 1, 1), {}),
        ((5, 9, 2, 2), {"stride": 2}),
    )
    for weight, settings in layers:
        call, _ = made((6, width), weight, settings, batch=2)
        with forced() as chosen:
            drawing.check_call(pxd, call)
        assert chosen[0][0]


IN_PLACE = {
    "one tap": ((6, 40), (20, 13, 1, 1), {}, True),
    "a line": ((70,), (20, 13, 1), {}, True),
    "one tap for each output": ((6, 40), (20, 5, 2, 2), {"stride": 2}, True),
    "no padding": ((4, 5, 31), (7, 20, 2, 3, 4), {}, False),
    "groups": ((6, 40), (24, 5, 1, 1), {"groups": 3}, True),
    "more tasks": ((64, 300), (24, 13, 1, 1), {}, True),
    "padding": ((6, 40), (20, 13, 1, 3), {"padding": (0, 1)}, None),
    "a stride": ((6, 40), (13, 20, 1, 1), {"stride": (1, 2)}, None),
    "lines of one pixel": ((9, 1), (20, 13, 1, 1), {}, None),
    "more taps than are listed": ((4, 30), (3, 8, 9, 9), {}, None),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", IN_PLACE)
def test_a_source_with_nothing_beside_it_is_read_in_place(name, dtype):
    """And what lies around it in memory is not met."""
    size, weight, settings, transposed = IN_PLACE[name]
    call, _ = made(size, weight, settings, np.dtype(dtype), transposed=bool(transposed))
    want = call.forward(reference)
    around = np.full([n + 2 for n in call.x.shape], np.nan, dtype)
    inner = around[(slice(1, -1),) * around.ndim]
    inner[...] = call.x
    for x in (call.x, inner):
        with forced() as chosen:
            got = dataclasses.replace(call, x=x).forward(pxd)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4)
        if transposed is None:
            assert not any(in_place for *_, in_place in chosen)
        else:
            assert chosen[-1][::2] == (True, True)


def test_lines_that_would_end_in_half_a_vector_follow_each_other():
    tile = plan.Tile(8, 12, 32, 8, 4)
    assert [plan_across.lanes_taken(pixels, tile) for pixels in (1, 8, 16, 24, 25, 32, 40, 56)] == [
        16, 16, 16, 24, 32, 32, 48, 56,
    ]  # fmt: skip


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", REAL, ids=str)
@each_layer
def test_streaming_changes_no_bit(name, dtype, data_format):
    """Whatever way is chosen, and wherever the output begins: at and beside the start of a cache line."""
    call, _ = made(*LAYERS[name][:2], LAYERS[name][2] | {"data_format": data_format}, dtype)
    with plans.new_plans():
        want = call.forward(pxd)
    with plans.new_plans() as patch:
        patch.setattr(plan, "STREAMED_BYTES", 0)
        for first in range(3):
            memory = np.full(want.size + first, np.nan, dtype)
            out = memory[first:].reshape(want.shape)
            np.testing.assert_array_equal(call.forward(pxd, out=out), want)


@pytest.mark.parametrize("role", ["x", "weight"])
@pytest.mark.parametrize("data_format", BOTH)
@each_layer
def test_specials(name, data_format, role):
    """Infinite weights meet no zeros, and what lies between two lines reaches no output."""
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


@drawing.examples(200)
@given(drawing.calls(dtypes=REAL), st.sampled_from(drawing.LAYOUTS), st.booleans(), st.booleans())
def test_any_call(call, layout, streams, fans):
    with forced(streams, fans):
        drawing.check_call(pxd, call, layout)


@pytest.mark.parametrize("across", [False, True])
def test_more_phases_side_by_side_than_are_streamed_at_a_time(across):
    """Such a task would need too many sums: it is not computed so, and nothing hangs if it is."""
    call, _ = made((9,), (64, 1, 4096), {"stride": 2048}, batch=1)
    want = call.forward(reference)
    with plans.new_plans() as patch:
        patch.setattr(plan, "STREAMED_BYTES", 0)
        chosen, choose = [], plan_few_channels.fastest
        patch.setattr(
            plan_few_channels,
            "fastest",
            lambda *a: chosen.append(choose(*a)) or ("across" if across else chosen[-1]),
        )
        np.testing.assert_allclose(call.forward(pxd), want, rtol=0, atol=1e-3)
    assert chosen in (["lines"], ["tiles"])


@pytest.mark.parametrize(
    ("size", "weight", "stride", "expected"),
    [
        ((64, 64), (32, 3, 4, 4), 2, True),
        ((90, 75), (56, 1, 9, 9), 3, True),
        ((128, 128), (24, 5, 4, 4), 2, True),
        ((48, 48), (64, 64, 4, 4), 2, False),
    ],
)
def test_it_is_chosen_for_few_target_channels(size, weight, stride, expected):
    """Channels-last too, where numbers are computed as they are stored, if it is only one."""
    for layout in BOTH:
        for dtype in (np.dtype(np.float32), np.dtype(np.float16)):
            with plans.new_plans() as patch:
                chosen, choose = [], plan_few_channels.fastest
                patch.setattr(
                    plan_few_channels, "fastest", lambda *a, c=chosen, f=choose: c.append(f(*a)) or c[-1]
                )
                patch.setattr(plan_few_channels, "lines_cost", lambda *_: inf)
                call, _ = made(size, weight, {"stride": stride, "data_format": layout}, dtype, batch=1)
                call.forward(pxd)
            possible = layout == "channels_first" or dtype == np.float32
            if layout == "channels_first" or weight[1] == 1 or not (expected and possible):
                assert (chosen == ["across"]) == (expected and possible)
