"""Outputs and taps in pairs, with three products instead of four: accuracy, and where NaN and infinity go.

The layers below are computed in pairs because their shapes say so; small calls of every kind because the
decision is forced on. Only float32, float16 and bfloat16 are: the others are for those who count digits.

What a pair costs: y0 = d0*g0 + d1*g1 is computed as (d0 - d1)*g0 + d1*(g0 + g1), which rounds multiples of
d1*g0 that y0 does not have: they are terms of its partner y1 = d1*g0 + d2*g1. So there are two bounds:

- each element, of gradients of the weight too: relative to its sum |x||w| plus twice that of its partner,
  along each paired axis;
- the pixels of a result or of a gradient of x, the errors of all channels together: relative to the pixel's
  own sums alone, whatever lies beside it, because a block is computed anew, tap by tap, where a pixel is more
  than 16 times smaller than the parts that it was added up from.

The second is no theorem: parts that are small only because bright channels cancel in them are not noticed.
"""

import contextlib
import itertools

import drawing
import numpy as np
import plans
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import pyx_deconv as pxd
from pyx_deconv import kernels
from pyx_deconv.geometry import Axis
from pyx_deconv.kernels import plan, plan_costs, plan_few_channels, plan_pair_gradient, taps

FLOAT, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
IN_PAIRS = [FLOAT, *drawing.STORED]

# (batch, coarse channels, *size), weight, settings: odd sizes, so that some outputs have no partner
LAYERS = {
    "line": ((2, 36, 131), (36, 33, 4), {"stride": 2, "padding": 1}),
    "image": ((1, 34, 21, 23), (34, 32, 4, 4), {"stride": 2, "padding": 1}),
    "groups": ((1, 66, 21, 23), (66, 32, 3, 3), {"padding": ((1, 1), (0, 2)), "groups": 2}),
    "dilation": ((2, 32, 15, 14), (32, 37, 3, 2), {"stride": 2, "dilation": 2, "padding": (2, 0)}),
    "one axis": ((1, 32, 9, 41), (32, 33, 1, 5), {"stride": (1, 3)}),
    "other axis": ((1, 32, 41, 9), (32, 33, 5, 1), {"stride": (3, 1)}),
    "volume": ((1, 32, 9, 11, 9), (32, 33, 2, 2, 2), {}),
    "beside": ((9, 32, 4, 6), (32, 33, 6, 7), {"padding": ((1, 2), (4, 2))}),  # many taps meet nothing
}
BOTH = ("channels_first", "channels_last")


def layer(name, transposed=True, dtype=FLOAT, kind="normal", data_format=BOTH[0], batch=None):
    """One of the layers as a call, and a gradient of its result."""
    rng = np.random.default_rng(len(name))
    (samples, coarse, *size), weight, given = LAYERS[name]
    fine = weight[1] * given.get("groups", 1)
    where = {key: value for key, value in given.items() if key != "groups"}
    fine_size = [out for _, out in reference.transpose_window(size, weight[2:], **where)]
    maps = [(batch or samples, coarse, *size), (batch or samples, fine, *fine_size)]
    if data_format == "channels_last":
        maps = [(n, *spatial, channels) for n, channels, *spatial in maps]
    x, y = maps if transposed else maps[::-1]
    call = drawing.Call(
        transposed,
        *(drawing.values(rng, s, dtype, kind) for s in (x, weight, (fine if transposed else coarse,))),
        given | {"data_format": data_format},
    )
    return call, drawing.values(rng, y, dtype, kind)


def results(module, call, grad_output, changed=None):
    """The result and the gradients by name; or only those that depend on the changed argument."""
    with np.errstate(invalid="ignore", over="ignore"):  # the oracle's: the library does not warn
        made = {} if changed == "grad_output" else {"y": call.forward(module)}
        needs = [name for name in ("x", "weight") if name != changed]
        gradients = call.backward(module, grad_output, needs=needs)
        return made | {name: getattr(gradients, name) for name in needs}


def magnitudes(call, grad_output):
    return drawing.Call(
        call.transposed, *reference.magnitude(call.x, call.weight, call.bias), call.settings
    ), reference.magnitude(grad_output)[0]


def with_partners(scale, axis, step):
    """A scale plus twice that of the partner, which is a step before or behind: the larger of both."""
    room = [(0, 0)] * scale.ndim
    room[axis] = (step, step)
    wide, count = np.pad(scale, room), scale.shape[axis]
    before, behind = (wide.take(range(first, first + count), axis) for first in (0, 2 * step))
    return scale + 2 * np.maximum(before, behind)


def pair_scales(call, grad_output):
    """The sums |x||w| of each result and of its partners, some of which lie beside the map."""
    absolute, g = magnitudes(call, grad_output)
    rank, given = call.weight.ndim - 2, dict(call.settings)
    groups, data_format = given.pop("groups", 1), given.pop("data_format", "channels_first")
    (x, alone), (g, _) = (reference.channels_first(m, rank, data_format, DOUBLE) for m in (absolute.x, g))
    window = reference.transpose_window if call.transposed else reference.conv_window
    begin = np.array([b for b, _ in window(x.shape[2:], call.weight.shape[2:], **given)])
    stride, dilation = (reference.per_axis(given.get(key, 1), rank) for key in ("stride", "dilation"))
    coarse, fine = (x, g) if call.transposed else (g, x)
    spread, step = {"stride": stride, "dilation": dilation, "groups": groups}, np.lcm(stride, dilation)
    beside = step // stride
    scattered = reference.scatter(
        coarse, absolute.weight, **spread, begin=begin - step, size=2 * step + fine.shape[2:]
    )
    gathered = reference.gather(
        fine, absolute.weight, **spread, begin=begin + step, size=2 * beside + coarse.shape[2:]
    )
    weight = reference.pair_up(coarse, fine, call.weight.shape[2:], **spread, begin=begin)
    for axis, s, d, far, near in zip(range(2, rank + 2), stride, dilation, step, beside, strict=True):
        scattered = with_partners(scattered, axis, far).take(range(far, scattered.shape[axis] - far), axis)
        gathered = with_partners(gathered, axis, near).take(range(near, gathered.shape[axis] - near), axis)
        weight = with_partners(weight, axis, s // d) if s % d == 0 else weight
    y, x = (scattered, gathered) if call.transposed else (gathered, scattered)
    if call.bias is not None:
        y = y + absolute.bias.reshape(-1, *(1,) * rank)
    y, x = (reference.restore(m, alone, data_format) for m in (y, x))
    return {"y": y, "x": x, "weight": weight}


def check(call, grad_output, scales):
    dtype = call.x.dtype.newbyteorder("=")
    want = results(reference, call, grad_output)
    for name, got in results(pxd, call, grad_output).items():
        drawing.compare(got, want[name], scales[name], dtype, name)


@contextlib.contextmanager
def forced(axes):
    """Pairs along these of the axes (z, y, x), whatever the shapes; but not where sums are to be exact."""
    with plans.new_plans() as patch:
        patch.setattr(plan_costs, "pairs", lambda *_, exact: ((False,) * 3 if exact else axes, 0.0))
        patch.setattr(plan_pair_gradient, "pairs", lambda *_, exact: (False,) * 3 if exact else axes)
        # They have a way of their own.
        patch.setattr(plan_few_channels, "fastest", lambda *shapes: "tiles")
        yield


def watch(patch, dtype=FLOAT):
    """A list that fills with (name, last argument, result) for each decision and each call of a kernel."""
    calls, arithmetic = [], kernels.ARITHMETIC[dtype.name]

    def watched(name, function):
        def call(*arguments):
            done = function(*arguments)
            calls.append((name, arguments[-1], done))
            return done

        return call

    def decided(choose):
        def chosen(*arguments, exact):
            found = choose(*arguments, exact=exact)
            paired = found if choose is of_gradient else found[0]
            calls.append(("pairs", exact, paired))
            return found

        return chosen

    of_gradient = plan_pair_gradient.pairs
    patch.setattr(plan_costs, "pairs", decided(plan_costs.pairs))
    patch.setattr(plan_pair_gradient, "pairs", decided(of_gradient))
    functions = {
        name: watched(name, getattr(arithmetic, name))
        for name in ("correlate", "weight_gradient", "pair_gradient", "columns_gradient", "lines_gradient")
    }
    patch.setitem(kernels.ARITHMETIC, dtype.name, arithmetic._replace(**functions))
    return calls


@pytest.fixture(scope="module", autouse=True)
def cheap_points():
    """Otherwise pairs would need more channels than the layers here have."""
    with plans.new_plans() as patch:
        plans.make_pairs_cheap(patch)
        patch.setattr(plan, "POINT_PRODUCTS", 0)
        patch.setattr(plan, "LEFT_BY_PAIRS", (9, 9))
        yield


some_axes = st.tuples(*[st.booleans()] * 3).filter(any)
each_layer = pytest.mark.parametrize(
    ("name", "transposed"), list(itertools.product(LAYERS, (True, False))), ids=str
)


@pytest.mark.parametrize("dtype", [*drawing.COMPUTED, *drawing.STORED], ids=str)
@each_layer
def test_the_layers_are_computed_in_pairs(name, transposed, dtype):
    """Otherwise what is asked of them below would be asked of another path."""
    with plans.new_plans() as patch:
        calls = watch(patch, dtype)
        results(pxd, *layer(name, transposed, dtype))
    kernel = LAYERS[name][1][2:]
    pairs = (*(False,) * (3 - len(kernel)), *(k > 1 and dtype in IN_PAIRS for k in kernel))
    decided = [done for what, _, done in calls if what == "pairs"]
    assert set(decided) == {pairs}
    if dtype in IN_PAIRS:
        assert len(decided) >= 3
        assert calls[-1][::2] == ("pair_gradient", True), "the gradient of the weight was not computed anew"
    else:
        assert "pair_gradient" not in [what for what, _, _ in calls]


@pytest.mark.parametrize(
    ("channels", "outputs", "gradient"),
    [((15, 40), False, False), ((40, 15), False, False), ((31, 40), True, False), ((32, 32), True, True)],
    ids=str,
)
def test_few_channels_are_not_computed_in_pairs(channels, outputs, gradient):
    shape, weight = (2, channels[0], 40, 40), (*channels, 4, 4)
    x, w = np.ones(shape, FLOAT), np.ones(weight, FLOAT)
    for needs, paired in (("x", outputs), ("weight", gradient)):
        with plans.new_plans() as patch:
            calls = watch(patch)
            # With a stride of one there are no phases that could be counted as channels.
            y = pxd.conv_transpose(x, w)
            calls = calls if needs == "x" else watch(patch)  # of the gradient alone
            pxd.conv_transpose_backward(y, x, w, needs=(needs,))
        decided = {done for what, _, done in calls if what == "pairs"}
        assert decided == {(False, paired, paired)}


@pytest.mark.parametrize(("channels", "chosen"), [(32, False), (256, True)])
def test_pairs_have_to_save_more_than_their_points_cost(channels, chosen):
    """With a stride of two and a kernel of three there are few products for each output."""
    direction = taps.scatter(Axis(24, 48, 3, 2, 1, 1))
    with plans.new_plans() as patch:
        patch.setattr(plan, "POINT_PRODUCTS", 30)
        assert plan_pair_gradient.pairs((direction,) * 3, 1, channels, channels, exact=False) == (chosen,) * 3


@pytest.mark.parametrize("kilobytes", [16, 24])
@pytest.mark.parametrize("dtype", IN_PAIRS, ids=str)
@pytest.mark.parametrize("data_format", BOTH)
@pytest.mark.parametrize(
    ("size", "weight", "stride"),
    [((90,), (34, 33, 16), 4), ((13, 15), (32, 35, 5, 5), 2), ((6, 5, 7), (32, 34, 3, 4, 2), 2)],
    ids=str,
)
def test_taps_of_several_tasks(size, weight, stride, data_format, dtype, kilobytes):
    """Fewer products at a time: not all taps of a task follow each other in the weight."""
    rng = np.random.default_rng(len(weight))
    fine = [out for _, out in reference.transpose_window(size, weight[2:], stride=stride)]
    maps = [(2, weight[0], *size), (2, weight[1], *fine)]
    if data_format == BOTH[1]:
        maps = [(n, *spatial, channels) for n, channels, *spatial in maps]
    x, w, g = (drawing.values(rng, shape, dtype, "normal") for shape in (maps[0], weight, maps[1]))
    call = drawing.Call(True, x, w, None, {"stride": stride, "data_format": data_format})
    cuts, make = [], kernels.CUTS["pair_gradient"]
    with plans.new_plans() as patch:
        patch.setattr(plan, "PRODUCTS_BYTES", kilobytes * 1024)
        patch.setitem(kernels.CUTS, "pair_gradient", lambda shapes: cuts.append(make(shapes)) or cuts[-1])
        got = results(pxd, call, g, "x")["weight"]
    assert cuts[-1].elements[2] > 1
    want = results(reference, call, g, "x")["weight"]
    drawing.compare(got, want, pair_scales(call, g)["weight"], dtype, "gradient of weight")


@pytest.mark.parametrize("dtype", [*drawing.COMPUTED, *drawing.STORED], ids=str)
@each_layer
def test_layers(name, transposed, dtype):
    """Numbers of one magnitude keep to the promise for every other path: relative to the output's own sum."""
    data_format = BOTH[(len(name) + dtype.itemsize) % 2]
    call, grad_output = layer(name, transposed, dtype, data_format=data_format)
    check(call, grad_output, results(reference, *magnitudes(call, grad_output)))


@each_layer
def test_layers_of_many_magnitudes(name, transposed):
    call, grad_output = layer(name, transposed)
    rng = np.random.default_rng(0)
    for array in (call.x, call.weight, grad_output):
        array *= 10.0 ** rng.integers(-5, 6, array.shape)
    check(call, grad_output, pair_scales(call, grad_output))


def check_pixels(call, grad_output, what):
    """The errors of all channels of a pixel together, relative to the sums |x||w| of this pixel alone."""
    channels = -1 if call.settings["data_format"] == "channels_last" else 1
    scales = results(reference, *magnitudes(call, grad_output), "weight")
    want = results(reference, call, grad_output, "weight")
    for name, got in results(pxd, call, grad_output, "weight").items():
        error = np.abs(got.astype(DOUBLE) - want[name]).sum(axis=channels)
        allowed = 1e-5 * scales[name].sum(axis=channels)
        assert (error <= allowed).all(), (
            f"{name}, {what}: {np.sum(error > allowed)} of {error.size} pixels, one of them off by "
            f"{np.max(error / np.maximum(allowed, np.finfo(float).tiny)):.3g} times what is allowed"
        )


@pytest.mark.parametrize("data_format", BOTH)
@each_layer
def test_a_bright_pixel_does_not_spoil_those_beside_it(name, transposed, data_format):
    """From 10 times as bright, below the ratio at which a block is computed anew, to 1e9 times."""
    call, g = layer(name, transposed)
    # Every other tap is so dim that what it leads to is about what it would be without the bright pixel.
    for number, exponent in enumerate((1, 2, 3, 5, 9)):
        weight = call.weight.copy()
        for axis in range(2, weight.ndim):
            if weight.shape[axis] > 1:
                steps = [slice(None)] * weight.ndim
                steps[axis] = slice(0, None, 2) if number % 2 else slice(1, None, 2)
                weight[tuple(steps)] *= FLOAT.type(10.0 ** -(exponent + 1))
        maps = []
        for array in (call.x, g):
            bright = array.copy()
            at = tuple(n // 2 + number % 2 for n in array.shape[2:])
            bright[(slice(None), slice(None), *at)] *= FLOAT.type(10.0**exponent)
            maps.append(bright)
        settings = call.settings | {"data_format": data_format}
        if data_format == "channels_last":
            maps = [np.ascontiguousarray(np.moveaxis(m, 1, -1)) for m in maps]
        check_pixels(drawing.Call(transposed, maps[0], weight, None, settings), maps[1], f"1e{exponent}")


@pytest.mark.parametrize("each", ["pixel", "element"])
@each_layer
def test_pixels_of_many_magnitudes(name, transposed, each):
    call, g = layer(name, transposed)
    call.bias = None
    rng = np.random.default_rng(0)
    for array in (call.x, g):
        shape = array.shape if each == "element" else (len(array), 1, *array.shape[2:])
        array *= 10.0 ** rng.integers(-5, 6, shape)
    check_pixels(call, g, each)


@pytest.mark.parametrize("fine", [32, 9], ids=["phase by phase", "phases side by side"])
@pytest.mark.parametrize("kernel", [2, 4])
def test_ones_beside_a_bright_pixel_are_exact(kernel, fine):
    """One of its taps is zero, so that what this leads to is what it would be without the bright pixel."""
    stride = kernel // 2
    x, weight = np.ones((1, 32, 24, 24), FLOAT), np.ones((32, fine, kernel, kernel), FLOAT)
    weight[:, :, stride] = weight[:, :, :, stride] = 0
    with plans.new_plans() as patch:
        calls = watch(patch)
        without = pxd.conv_transpose(x, weight, stride=stride)
        x[0, :, 12, 12] = 1e9
        y = pxd.conv_transpose(x, weight, stride=stride)
    paired = {done for what, _, done in calls if what == "pairs"} == {(False, True, True)}
    assert paired == (fine == 32), "a bright phase would hide what a dim one beside it loses"
    met = 12 * stride + np.delete(np.arange(kernel), stride)
    y[:, :, met[:, None], met] = without[:, :, met[:, None], met]
    np.testing.assert_array_equal(y, without)


@drawing.examples(250)
@given(drawing.calls(IN_PAIRS), st.sampled_from(drawing.LAYOUTS), some_axes)
def test_any_call_in_pairs(call, layout, axes):
    grad_output = drawing.grad_output_for(call, call.forward(reference).shape, layout)
    with forced(axes):
        check(call, grad_output, pair_scales(call, grad_output))


def check_equal(call, grad_output):
    want = results(reference, call, grad_output)
    for name, got in results(pxd, call, grad_output).items():
        np.testing.assert_array_equal(got, want[name], err_msg=name)


@each_layer
def test_integers_are_exact(name, transposed):
    check_equal(*layer(name, transposed, kind="integers"))


@drawing.examples(80)
@given(drawing.calls([FLOAT], kinds=("integers",)), some_axes)
def test_integers_of_any_call_are_exact(call, axes):
    if call.bias is not None:
        call.bias = np.rint(call.bias).astype(call.bias.dtype)
    g = drawing.values(np.random.default_rng(1), call.forward(reference).shape, call.x.dtype, "integers")
    with forced(axes):
        check_equal(call, g)


@each_layer
def test_subnormal_numbers_are_exact(name, transposed):
    """Integers of the smallest unit: what flushes them to zero anywhere loses all of them."""
    smallest = np.finfo(FLOAT).smallest_subnormal
    for role in ("x", "weight", "grad_output"):
        call, g = layer(name, transposed, kind="integers")
        call.bias = None
        array = g if role == "grad_output" else getattr(call, role)
        want = results(reference, call, g, role)
        array *= smallest
        for each, got in results(pxd, call, g, role).items():
            np.testing.assert_array_equal(
                got.astype(DOUBLE) / smallest, want[each], err_msg=f"{each} from {role}"
            )


@pytest.mark.parametrize("role", ["x", "grad_output"])
@each_layer
def test_an_impulse_reaches_what_its_taps_reach(name, transposed, role):
    """Everything else is positive, so that the zeros of the oracle are what nothing reaches."""
    call, g = layer(name, transposed)
    impulse, other = (call.x, g) if role == "x" else (g, call.x)
    for array in (call.weight, other):
        array[...] = np.abs(array) + 1
    call.bias = None
    for place in (0, impulse.size // 2, impulse.size - 1):
        impulse[...] = 0
        impulse.flat[place] = 1
        want = results(reference, call, g, role)
        for each, got in results(pxd, call, g, role).items():
            np.testing.assert_array_equal(got != 0, want[each] != 0, err_msg=f"{each} from {role}")


def check_specials(call, grad_output, changed, scales=None):
    """NaN and each infinity where the oracle has them; the numbers beside them as ever."""
    want = results(reference, call, grad_output, changed)
    for name, got in results(pxd, call, grad_output, changed).items():
        wide, role = got.astype(want[name].dtype), f"{name} from {changed}"
        finite = np.isfinite(want[name])
        np.testing.assert_array_equal(
            np.where(np.isfinite(wide), 0, wide), np.where(finite, 0, want[name]), err_msg=role
        )
        if scales is not None:
            drawing.compare(got[finite], want[name][finite], scales[name][finite], got.dtype, role)


SPECIAL = (np.nan, np.inf, -np.inf)


@pytest.mark.parametrize("role", ["x", "weight", "grad_output"])
@each_layer
def test_specials_go_where_the_taps_carry_them(name, transposed, role):
    call, g = layer(name, transposed)
    array = g if role == "grad_output" else getattr(call, role)
    rng = np.random.default_rng(len(role))
    # The first and the last of everything, the middle of the last line, and somewhere.
    places = [0, array.size - 1, array.size - 1 - array.shape[-1] // 2, *rng.integers(array.size, size=2)]
    for number, place in enumerate(places):
        before = array.flat[place]
        array.flat[place] = SPECIAL[(number + len(name)) % 3]
        with np.errstate(invalid="ignore"):
            scales = results(reference, *magnitudes(call, g), role)
        check_specials(call, g, role, scales)
        array.flat[place] = before


@pytest.mark.parametrize("role", ["x", "weight", "grad_output"])
@drawing.examples(80)
@given(drawing.calls(IN_PAIRS, kinds=("normal",)), some_axes, st.data())
def test_specials_of_any_call(role, call, axes, data):
    g = drawing.grad_output_for(call, call.forward(reference).shape)
    array = np.array(g if role == "grad_output" else getattr(call, role))
    if array.size:
        for place in data.draw(st.lists(st.integers(0, array.size - 1), min_size=1, max_size=2)):
            array.flat[place] = data.draw(st.sampled_from(SPECIAL))
    if role == "grad_output":
        g = array
    else:
        setattr(call, role, array)
    with forced(axes):
        check_specials(call, g, role)


@pytest.mark.parametrize("signs", ["same", "alternating", "random"])
@each_layer
def test_what_overflows_on_the_way_only(name, transposed, signs):
    """Numbers near the largest times small ones: sums and differences of two are infinite, no result is."""
    for role in ("x", "weight", "grad_output"):
        call, g = layer(name, transposed)
        arrays = {"x": call.x, "weight": call.weight, "grad_output": g}
        for array in arrays.values():
            array *= FLOAT.type(1e-6)
        big = arrays[role]
        sign = {
            "same": 1,
            "alternating": 1 - 2 * (np.indices(big.shape).sum(axis=0) % 2),
            "random": np.sign(big),
        }[signs]
        big[...] = sign * np.random.default_rng(0).uniform(2.5e38, 3.4e38, big.shape)
        want = results(reference, call, g, role)
        scales = results(reference, *magnitudes(call, g), role)
        for each, got in results(pxd, call, g, role).items():
            drawing.compare(got, want[each], scales[each], FLOAT, f"{each} from {role}")


@pytest.mark.parametrize("special", [None, np.nan, np.inf])
@each_layer
def test_any_number_of_threads_gives_the_same_bits(name, transposed, special):
    call, g = layer(name, transposed, batch=12)
    if special is not None:  # some blocks of pixels are computed anew, and the gradient of the weight
        call.x.flat[call.x.size // 2] = g.flat[g.size // 2] = special
    alone = None
    with pytest.MonkeyPatch.context() as patch:
        calls = watch(patch)
        for threads in (1, 2, 3, 4):
            calls.clear()
            with pxd.num_threads(threads):
                bits = {each: array.tobytes() for each, array in results(pxd, call, g).items()}
                most = pxd.get_num_threads()
            used = {count for what, count, _ in calls if what != "pairs"}
            assert max(used) == most
            assert min(used) >= min(most, 2), "every pass is one for more than one thread"
            assert alone in (None, bits), [each for each in bits if bits[each] != alone[each]]
            alone = bits
    gradients = [what for what, _, _ in calls if what.endswith("gradient")]
    # The way without products of what is not there is the last.
    assert gradients[0] == "pair_gradient"
    assert gradients[-1] == ("pair_gradient" if special is None else "weight_gradient")
