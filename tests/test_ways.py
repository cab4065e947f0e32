"""The ways for few channels: phases side by side as if they were channels, columns of taps, single channels.

Forced on for the layers below and for small calls of every kind, because the best way depends on the width of
the vectors; that it is chosen has tests of its own.
"""

import contextlib
from math import prod

import drawing
import numpy as np
import plans
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import pyx_deconv as pxd
from pyx_deconv import kernels
from pyx_deconv.kernels import (
    plan,
    plan_columns_gradient,
    plan_costs,
    plan_few_channels,
    plan_pair_gradient,
    taps,
)

FLOAT = np.dtype(np.float32)
REAL = [FLOAT, np.dtype(np.float64), *drawing.STORED]
BOTH = ("channels_first", "channels_last")


def made(coarse, weight, settings, dtype=FLOAT, transposed=True, batch=2, kind="normal"):
    """A call from or to a coarse map of this size, and a gradient of its result."""
    rng = np.random.default_rng(sum(weight))
    groups, data_format = settings.get("groups", 1), settings.get("data_format", BOTH[0])
    where = {key: value for key, value in settings.items() if key not in ("groups", "data_format")}
    fine = [out for _, out in reference.transpose_window(coarse, weight[2:], **where)]
    maps = [(batch, weight[0], *coarse), (batch, weight[1] * groups, *fine)]
    channels = maps[transposed][1]
    if data_format == "channels_last":
        maps = [(n, *spatial, c) for n, c, *spatial in maps]
    x, y = maps if transposed else maps[::-1]
    call = drawing.Call(
        transposed,
        drawing.values(rng, x, dtype, kind),
        drawing.values(rng, weight, dtype, kind),
        drawing.values(rng, (channels,), dtype, kind),
        settings,
    )
    return call, drawing.values(rng, y, dtype, kind)


def same_where_infinite(got, want, name):
    """NaN and each infinity where the oracle has them; the rest is returned."""
    got, finite = got.astype(want.dtype), np.isfinite(want)
    np.testing.assert_array_equal(np.where(np.isfinite(got), 0, got), np.where(finite, 0, want), err_msg=name)
    return finite


# Phases side by side.

# coarse size, weight, settings without layout; odd sizes and borders, so that some phases have fewer outputs
FANS = {
    "line, 3 outputs": ((31,), (20, 3, 4), {"stride": 2, "padding": 1}),
    "line, 1 output": ((57,), (64, 1, 16), {"stride": 8, "padding": ((3, 4),)}),
    "line, 5 outputs": ((19,), (33, 5, 9), {"stride": 3, "padding": ((2, 0),)}),
    "line of one phase each": ((23,), (17, 3, 4), {"stride": 4, "padding": ((1, 2),)}),
    "image, 3 outputs": ((19, 21), (40, 3, 4, 4), {"stride": 2, "padding": 1}),
    "image, 1 output": ((7, 13), (24, 1, 4, 4), {"stride": 2, "padding": ((0, 1), (2, 1))}),
    "image, 5 outputs": ((8, 5), (19, 5, 6, 2), {"stride": (3, 2), "padding": ((1, 3), (0, 0))}),
    "image, one axis": ((8, 9), (18, 3, 3, 6), {"stride": (1, 3), "padding": ((1, 1), (0, 2))}),
    "image, other axis": ((9, 8), (18, 3, 6, 3), {"stride": (3, 1), "padding": ((1, 0), (0, 0))}),
    "groups": ((20, 17), (48, 3, 4, 4), {"stride": 2, "padding": 1, "groups": 3}),
    "more outputs than there are": ((6, 7), (16, 3, 4, 4), {"stride": 2, "output_padding": 1}),
    "deeper borders than the stride": ((9, 9), (16, 3, 4, 4), {"stride": 2, "padding": ((3, 4), (5, 2))}),
    "volume, 3 outputs": ((5, 4, 3), (40, 3, 2, 2, 2), {"stride": 2}),
    "volume, 1 output": ((3, 5, 4), (16, 1, 4, 2, 4), {"stride": 2, "padding": ((1, 2), (0, 0), (2, 1))}),
    "phases in pairs": ((17, 19), (40, 9, 4, 4), {"stride": 2, "padding": 1}),
}
each_fan = pytest.mark.parametrize(
    ("name", "data_format"), [(name, layout) for name in FANS for layout in BOTH], ids=str
)


def every_fan(shapes):
    """Phases side by side along every axis that allows it."""
    found = [taps.fan_out(direction) for direction in shapes.spatial]
    whole = [each[0] if each else direction for each, direction in zip(found, shapes.spatial, strict=True)]
    fan = tuple(each[1] if each else None for each in found)
    channels = shapes.target_channels * prod(each.size for each in fan if each)
    return shapes._replace(directions=tuple(whole), target_channels=channels), fan


@contextlib.contextmanager
def forced_fans():
    """Phases side by side along every axis that allows it; yields how many, of each plan."""
    with plans.new_plans() as patch:
        patch.setattr(plan_costs, "fans", every_fan)
        patch.setattr(plan_few_channels, "fastest", lambda *_: "tiles")
        yield watch_fans(patch)


def watch_fans(patch):
    """A list that fills with the sizes of each fan that is made."""
    sizes, choose = [], plan_costs.fans

    def watched(shapes):
        found = choose(shapes)
        sizes.append([fan.size for fan in found[1] if fan])
        return found

    patch.setattr(plan_costs, "fans", watched)
    return sizes


CHOSEN = (
    "image, 3 outputs",
    "groups",
    "deeper borders than the stride",
    "volume, 3 outputs",
    "phases in pairs",
)


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("data_format", BOTH)
def test_phases_side_by_side_are_chosen(name, data_format):
    """Where vectors of any width are filled better, if it is channels that fill them."""
    size, weight, settings = FANS[name]
    with plans.new_plans() as patch:
        patch.setattr(plan_few_channels, "fastest", lambda *_: "tiles")
        sizes = watch_fans(patch)
        made(size, weight, settings | {"data_format": data_format})[0].forward(pxd)
    assert sizes[-1] == [settings["stride"]] * len(size)


@each_fan
def test_the_layers_have_phases_side_by_side(name, data_format):
    """Otherwise what is asked of them below would be asked of another path."""
    size, weight, settings = FANS[name]
    with forced_fans() as sizes:
        made(size, weight, settings | {"data_format": data_format})[0].forward(pxd)
    strides = reference.per_axis(settings["stride"], len(size))
    assert sizes[-1] == [stride for stride in strides if stride > 1]


@pytest.mark.parametrize("dtype", [*REAL, np.dtype(np.complex64)], ids=str)
@each_fan
def test_phases_side_by_side(name, data_format, dtype):
    """As a result and as a gradient of the convolution's x; complex numbers have no such way."""
    size, weight, settings = FANS[name]
    settings = settings | {"data_format": data_format}
    with forced_fans():
        drawing.check_call(pxd, made(size, weight, settings, dtype)[0])
        if "output_padding" not in settings:
            drawing.check_call(pxd, made(size, weight, settings, dtype, transposed=False)[0])


@each_fan
def test_results_of_phases_side_by_side_in_any_memory(name, data_format):
    """Where channels lie side by side the phases are ordered otherwise than where they do not."""
    size, weight, settings = FANS[name]
    call, _ = made(size, weight, settings | {"data_format": data_format}, kind="integers")
    want, rng = call.forward(reference), np.random.default_rng(0)
    outs = [
        drawing.lay_out(np.full(want.shape, np.nan, FLOAT), layout, rng)
        for layout in ("fortran", "transposed", "negative", "stepped")
    ]
    for out in (*outs, np.moveaxis(np.empty(np.moveaxis(want, 1, -1).shape, FLOAT), -1, 1)):
        with forced_fans():
            np.testing.assert_array_equal(call.forward(pxd, out=out), want, err_msg=str(out.strides))


@pytest.mark.parametrize("role", ["x", "weight"])
@each_fan
def test_specials_of_phases_side_by_side(name, data_format, role):
    size, weight, settings = FANS[name]
    call, _ = made(size, weight, settings | {"data_format": data_format})
    array = getattr(call, role)
    for place in (0, array.size // 2, array.size - 1):
        for special in (np.nan, np.inf, -np.inf):
            before, array.flat[place] = array.flat[place], special
            with np.errstate(invalid="ignore"):
                want = call.forward(reference)
            with forced_fans():
                got = call.forward(pxd)
            finite = same_where_infinite(got, want, f"{special} at {place}")
            np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=1e-3)
            array.flat[place] = before


@st.composite
def even_calls(draw, **given):
    """Calls with kernels that are multiples of the strides: there are as many taps in each phase."""
    call = draw(drawing.calls(**given))
    rank = call.weight.ndim - 2
    kernel = call.weight.shape[2:]
    divisors = [draw(st.sampled_from([d for d in range(1, k + 1) if k % d == 0])) for k in kernel]
    settings = call.settings | {"stride": tuple(divisors), "dilation": draw(st.sampled_from([1, 1, 1, 3]))}
    settings.pop("output_size", None)
    settings.pop("output_padding", None)
    last = settings.get("data_format") == "channels_last"
    sizes = call.x.shape[-rank - 1 : -1] if last else call.x.shape[-rank:]
    where = {key: value for key, value in settings.items() if key not in ("groups", "data_format")}
    window = reference.transpose_window if call.transposed else reference.conv_window
    if any(out < 1 for _, out in window(sizes, kernel, **where)):
        settings["padding"] = "same"
    return drawing.Call(call.transposed, call.x, call.weight, call.bias, settings)


@drawing.examples(200)
@given(even_calls(dtypes=REAL), st.sampled_from(drawing.LAYOUTS))
def test_any_call_with_phases_side_by_side(call, layout):
    with forced_fans():
        drawing.check_call(pxd, call, layout)


# Products with columns of taps.

COLUMNS = {
    "3 fine channels": ((13, 17), (40, 3, 4, 4), {"stride": 2, "padding": 1}),
    "1 fine channel": ((13, 17), (40, 1, 5, 3), {"stride": 2, "padding": (2, 1)}),
    "dilation": ((11, 12), (20, 5, 3, 3), {"stride": 1, "dilation": (2, 3), "padding": (2, 3)}),
    "stride and dilation": ((9, 8), (17, 3, 3, 2), {"stride": 3, "dilation": 2, "padding": ((0, 4), (2, 1))}),
    "borders": ((7, 6), (24, 3, 7, 7), {"stride": 2, "padding": ((6, 5), (4, 6))}),
    "larger strides than kernels": ((9, 8), (24, 3, 2, 1), {"stride": 4}),
    "line": ((61,), (24, 3, 9), {"stride": 4, "padding": ((3, 8),)}),
    "line of many taps": ((40,), (30, 1, 300), {"stride": 75, "padding": 100}),
    "volume": ((4, 5, 3), (18, 3, 3, 2, 4), {"stride": (2, 1, 2), "padding": ((1, 1), (1, 1), (2, 0))}),
    "groups": ((9, 10), (36, 2, 3, 3), {"stride": 2, "padding": 1, "groups": 3}),
    "many channels": ((6, 5), (300, 71, 3, 3), {"stride": 2, "padding": 1}),
    "one pixel": ((1, 1), (40, 3, 4, 4), {"stride": 2}),
    "many pixels": ((70, 90), (16, 3, 3, 3), {"padding": 1}),
    "nothing but padding": ((40, 9), (18, 3, 3, 2), {"padding": ((30, 9), (0, 0))}),
    "taps of several tasks": ((5, 6), (20, 3, 40, 40), {"stride": (16, 9), "padding": 3}),
    "uneven panels": ((9, 8), (83, 7, 3, 3), {"stride": 2}),
    "long lines": ((3, 400), (20, 3, 3, 5), {"stride": (1, 2), "padding": 2}),
    # The maps change places.
    "more fine channels": ((13, 17), (3, 40, 4, 4), {"padding": 1}),
    "more fine channels, dilation": (
        (9, 8),
        (3, 20, 3, 2),
        {"dilation": (2, 3), "padding": ((2, 5), (3, 0))},
    ),
    "more fine channels, line": ((61,), (3, 83, 9), {"padding": ((3, 8),)}),
    "more fine channels, volume": ((4, 5, 3), (3, 18, 3, 2, 4), {"padding": ((1, 1), (1, 1), (2, 0))}),
    "more fine channels, groups": ((9, 10), (9, 24, 3, 3), {"padding": 1, "groups": 3}),
    "more fine channels, many taps": ((5, 6), (3, 20, 40, 40), {"padding": 3}),
    "more fine channels, padding": ((40, 9), (1, 30, 3, 2), {"padding": ((30, 9), (0, 0))}),
}
each_column = pytest.mark.parametrize(
    ("name", "data_format"), [(name, layout) for name in COLUMNS for layout in BOTH], ids=str
)


def watch_gradients(patch, dtype=FLOAT):
    """A list that fills with (way, whether its result was finite) for each weight gradient."""
    calls, arithmetic = [], kernels.ARITHMETIC[dtype.name]

    def watched(name, function):
        def call(*arguments):
            done = function(*arguments)
            calls.append((name, bool(done)))
            return done

        return call

    ways = ("pair_gradient", "lines_gradient", "columns_gradient", "weight_gradient")
    functions = {way: watched(way, getattr(arithmetic, way)) for way in ways}
    patch.setitem(kernels.ARITHMETIC, dtype.name, arithmetic._replace(**functions))
    return calls


@contextlib.contextmanager
def without_pairs():
    with plans.new_plans() as patch:
        patch.setattr(plan_pair_gradient, "pairs", lambda *_, exact: (False,) * 3)
        yield patch


@contextlib.contextmanager
def only_columns():
    with without_pairs() as patch:
        patch.setattr(plan_columns_gradient, "columns_pay", lambda shapes: True)
        yield patch


def weight_gradient(module, call, g):
    with np.errstate(invalid="ignore"):
        return call.backward(module, g, needs="weight").weight


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("transposed", [True, False])
@each_column
def test_columns(name, data_format, transposed, dtype, threads):
    size, weight, settings = COLUMNS[name]
    call, g = made(size, weight, settings | {"data_format": data_format}, dtype, transposed)
    with only_columns() as patch, pxd.num_threads(threads):
        calls = watch_gradients(patch, dtype)
        got = weight_gradient(pxd, call, g)
    assert calls == [("columns_gradient", True)]
    absolute = drawing.Call(transposed, *reference.magnitude(call.x, call.weight, None), call.settings)
    scale = weight_gradient(reference, absolute, reference.magnitude(g)[0])
    drawing.compare(got, weight_gradient(reference, call, g), scale, dtype, "gradient of weight")


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", REAL, ids=str)
@each_column
def test_columns_of_weights_that_are_streamed(name, data_format, dtype, threads):
    """Past the caches, with runs of the weight that begin and end within cache lines."""
    size, weight, settings = COLUMNS[name]
    call, g = made(size, weight, settings | {"data_format": data_format}, dtype)
    cuts, make = [], kernels.CUTS["columns_gradient"]
    with only_columns() as patch, pxd.num_threads(threads):
        patch.setattr(plan, "STREAMED_BYTES", 0)
        patch.setattr(plan, "TASKS", 1)  # in one chunk
        patch.setitem(kernels.CUTS, "columns_gradient", lambda shapes: cuts.append(make(shapes)) or cuts[-1])
        got = weight_gradient(pxd, call, g)
    assert cuts[-1].streams
    assert cuts[-1].swapped == name.startswith("more fine channels")
    absolute = drawing.Call(True, *reference.magnitude(call.x, call.weight, None), call.settings)
    scale = weight_gradient(reference, absolute, reference.magnitude(g)[0])
    drawing.compare(got, weight_gradient(reference, call, g), scale, dtype, "gradient of weight")


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("which", ["coarse", "fine"])
@each_column
def test_columns_with_specials(name, data_format, which, transposed):
    """Corners have taps that lie outside: there infinity times zero is NaN, which nobody must see."""
    size, weight, settings = COLUMNS[name]
    call, g = made(size, weight, settings | {"data_format": data_format}, transposed=transposed)
    coarse, fine = (call.x, g) if transposed else (g, call.x)
    array = coarse if which == "coarse" else fine
    for place in (0, array.size // 2, array.size - 1):
        for special in (np.inf, np.nan):
            before, array.flat[place] = array.flat[place], special
            with only_columns() as patch:
                calls = watch_gradients(patch)
                got = weight_gradient(pxd, call, g)
            want = weight_gradient(reference, call, g)
            finite = same_where_infinite(got, want, f"{special} at {place}")
            np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=1e-2)
            if not finite.all():
                assert calls[0] == ("columns_gradient", False)
                assert calls[1][0] == "weight_gradient"
            array.flat[place] = before


def test_an_infinite_pixel_whose_taps_all_lie_outside():
    """Its products with zeros are NaN, and then the way is another: no tap carries it anywhere."""
    settings = {"padding": ((3, 0),)}
    call, g = made((20,), (24, 3, 3), settings)
    call.x[:, :, 0] = np.inf
    with only_columns() as patch:
        calls = watch_gradients(patch)
        got = weight_gradient(pxd, call, g)
    assert [way for way, _ in calls] == ["columns_gradient", "weight_gradient"]
    np.testing.assert_allclose(got, weight_gradient(reference, call, g), rtol=0, atol=1e-3)


@drawing.examples(150)
@given(drawing.calls(REAL), st.sampled_from(drawing.LAYOUTS))
def test_any_call_with_columns(call, layout):
    """Of the calls that are drawn most have so few pixels in a line that this is their way, or it is none."""
    with only_columns():
        drawing.check_call(pxd, call, layout)


@pytest.mark.parametrize(
    ("weight", "groups", "data_format", "way"),
    [
        ((128, 3, 4, 4), 1, BOTH[0], "columns_gradient"),
        ((16, 19, 3, 3), 1, BOTH[1], "columns_gradient"),
        ((64, 64, 2, 2), 1, BOTH[0], "columns_gradient"),
        ((2, 64, 4, 4), 1, BOTH[1], "weight_gradient"),
        ((1, 1, 5, 5), 1, BOTH[0], "lines_gradient"),
        ((64, 1, 4, 4), 64, BOTH[0], "lines_gradient"),
        ((64, 1, 4, 4), 64, BOTH[1], "weight_gradient"),
    ],
)
def test_the_way_that_is_chosen(weight, groups, data_format, way):
    """Where vectors of any width are filled better."""
    call, g = made((32, 40), weight, {"stride": 2, "groups": groups, "data_format": data_format})
    with without_pairs() as patch:
        calls = watch_gradients(patch)
        weight_gradient(pxd, call, g)
    assert calls == [(way, True)]


@pytest.mark.parametrize("data_format", BOTH)
def test_one_coarse_channel_without_strides(data_format):
    """Lanes are the many channels of the fine map, for vectors of any width."""
    call, g = made((32, 40), (1, 32, 5, 5), {"data_format": data_format})
    with plans.new_plans() as patch:
        calls = watch_gradients(patch)
        weight_gradient(pxd, call, g)
    assert calls == [("columns_gradient", True)]


@pytest.mark.parametrize(
    ("size", "weight", "stride", "chosen"),
    [
        ((20, 20), (64, 64, 4, 4), 2, {*BOTH}),  # 9 products of 16 are left
        ((400,), (64, 64, 4), 2, {BOTH[1]}),  # 3 of 4
        ((400,), (65, 65, 7), 3, set()),  # 11 of 14, and panels that are not full
    ],
)
def test_pairs_are_chosen_where_columns_are_slower(size, weight, stride, chosen):
    found = set()
    for data_format in BOTH:
        call, g = made(size, weight, {"stride": stride, "data_format": data_format}, batch=1)
        with plans.new_plans() as patch:
            calls = watch_gradients(patch)
            weight_gradient(pxd, call, g)
        if calls == [("pair_gradient", True)]:
            found.add(data_format)
    assert found == chosen


# Groups of one channel, which lie side by side.

GROUPS = {
    "image": ((9, 11), (64, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 64}),
    "more than a block, a rest": ((6, 5), (299, 1, 3, 2), {"stride": (1, 3), "padding": 1, "groups": 299}),
    "half a vector": ((4, 70), (9, 1, 2, 5), {"stride": (1, 2), "padding": (0, 2), "groups": 9}),
    "more taps than pixels": ((5, 6), (18, 1, 7, 7), {"padding": 3, "groups": 18}),
    "taps of several tasks": ((3, 9), (8, 1, 15, 40), {"stride": (7, 9), "padding": 3, "groups": 8}),
    "line": ((40,), (20, 1, 7), {"stride": 3, "padding": ((2, 0),), "groups": 20}),
    "volume": ((3, 4, 5), (17, 1, 2, 3, 3), {"dilation": 2, "padding": 1, "groups": 17}),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [FLOAT, np.dtype(np.float64)], ids=str)
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("name", GROUPS)
def test_groups_of_one_channel(name, transposed, dtype, threads):
    size, weight, settings = GROUPS[name]
    call, g = made(size, weight, settings | {"data_format": BOTH[1]}, dtype, transposed)
    cuts, make = [], kernels.CUTS["weight_gradient"]

    def watched(*shapes):
        cuts.append(make(*shapes))
        return cuts[-1]

    with plans.new_plans() as patch, pxd.num_threads(threads):
        patch.setitem(kernels.CUTS, "weight_gradient", watched)
        got = weight_gradient(pxd, call, g)
    assert cuts[-1].across_groups
    absolute = drawing.Call(transposed, *reference.magnitude(call.x, call.weight, None), call.settings)
    scale = weight_gradient(reference, absolute, reference.magnitude(g)[0])
    drawing.compare(got, weight_gradient(reference, call, g), scale, dtype, "gradient of weight")


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("which", ["coarse", "fine"])
def test_groups_of_one_channel_with_specials(name, which):
    size, weight, settings = GROUPS[name]
    call, g = made(size, weight, settings | {"data_format": BOTH[1]})
    array = call.x if which == "coarse" else g
    for place in (0, array.size // 2, array.size - 1):
        before, array.flat[place] = array.flat[place], np.inf
        got, want = weight_gradient(pxd, call, g), weight_gradient(reference, call, g)
        finite = same_where_infinite(got, want, f"infinity at {place}")
        np.testing.assert_allclose(got[finite], want[finite], rtol=0, atol=1e-3)
        array.flat[place] = before
