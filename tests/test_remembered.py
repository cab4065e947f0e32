"""What is remembered of a call serves those that differ in numbers alone, and no others."""

import concurrent.futures
import gc
import itertools
import weakref

import drawing
import numpy as np
import pytest
import reference

import pyx_deconv as pxd
from pyx_deconv import _execution, kernels

SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
MEMORIES = _execution._forward, _execution._backward


@pytest.fixture(autouse=True)
def nothing_remembered():
    for memory in MEMORIES:
        memory.clear()


def call(transposed=True, x=(2, 6, 5, 4), weight=(6, 6, 3, 3), bias=True, dtype=SINGLE, **settings):
    """One call; without other arguments all of them have the same shapes."""
    rng = np.random.default_rng(0)
    arrays = [drawing.values(rng, shape, dtype, "integers") for shape in (x, weight)]
    groups = settings.get("groups", 1) if transposed else 1
    shift = drawing.values(rng, (weight[1] * groups if transposed else weight[0],), dtype, "integers")
    return drawing.Call(transposed, *arrays, shift if bias else None, settings)


def changed(base, **arrays):
    """The same call with other arrays."""
    new = {name: array(getattr(base, name)) for name, array in arrays.items()}
    each = (new.get(name, getattr(base, name)) for name in ("x", "weight", "bias"))
    return drawing.Call(base.transposed, *each, base.settings)


def big_endian(array):
    return array.astype(array.dtype.newbyteorder(">"))


def unaligned(array):
    return drawing.lay_out(array, "misaligned", None)


def channels_side_by_side(array):
    """The same array, whose second axis is the one that moves fastest in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)


BASE = call(stride=2)
MANY = call(x=(2, 24, 5, 4), weight=(24, 24, 3, 3), stride=2)
GAPS = call(stride=4)
COLUMNS = call(False, x=(2, 6, 5, 6), stride=2)
# Each differs from the first one in one thing, if at all possible.
CALLS = {
    "first": BASE,
    "convolution": call(False, stride=2),
    "no bias": call(bias=False, stride=2),
    "another stride": call(stride=(2, 1)),
    "stride the other way round": call(stride=(1, 2)),
    "padding": call(stride=2, padding=1),
    "a word": call(stride=2, padding="same"),
    "another word": call(stride=2, padding="same_lower"),
    "pairs": call(stride=2, padding=((1, 1), (1, 0))),
    "pairs the other way round": call(stride=2, padding=((1, 1), (0, 1))),
    "output_padding": call(stride=2, output_padding=1),
    "output_size": call(stride=2, output_size=(11, 10)),
    "dilation": call(stride=2, dilation=2),
    "channels last": call(x=(2, 5, 4, 6), stride=2, data_format="channels_last"),
    "channels last, and nothing else": call(x=(2, 6, 5, 6), stride=2, data_format="channels_last"),
    "channels first of this shape": call(x=(2, 6, 5, 6), stride=2),
    "groups": call(weight=(6, 3, 3, 3), stride=2, groups=2),
    "no groups": call(weight=(6, 3, 3, 3), stride=2),
    "another batch": call(x=(3, 6, 5, 4), stride=2),
    "no batch": call(x=(6, 5, 4), stride=2),
    "another kernel": call(weight=(6, 6, 3, 2), stride=2),
    "a line": call(x=(2, 6, 20), weight=(6, 6, 9), stride=2),
    "no batch, and one axis more": call(x=(6, 2, 5, 4), weight=(6, 6, 3, 3, 1), stride=2),
    "float64": call(dtype=DOUBLE, stride=2),
    "complex": call(dtype=np.dtype(np.complex64), stride=2),
    "float16": call(dtype=np.dtype(np.float16), stride=2),
    "only the weight is float64": changed(BASE, weight=lambda array: array.astype(DOUBLE)),
    "only the bias is float64": changed(BASE, bias=lambda array: array.astype(DOUBLE)),
    "integers": changed(BASE, x=lambda array: array.astype(np.int32)),
    "big-endian": changed(BASE, x=big_endian),
    "a big-endian weight": changed(BASE, weight=big_endian),
    "unaligned": changed(BASE, x=unaligned),
    "an unaligned weight": changed(BASE, weight=unaligned),
    "an unaligned bias": changed(BASE, bias=unaligned),
    "Fortran order": changed(BASE, x=np.asfortranarray),
    "a weight in Fortran order": changed(BASE, weight=np.asfortranarray),
    "backwards": changed(BASE, x=lambda array: array[..., ::-1]),
    "channels side by side": changed(BASE, x=channels_side_by_side),
    "every other one": changed(BASE, x=lambda array: np.repeat(array, 2, 3)[..., ::2]),
    "many channels": MANY,
    "many channels side by side": changed(MANY, x=channels_side_by_side),
    "gaps": GAPS,
    "gaps, and a bias of float16": changed(GAPS, bias=lambda array: array.astype(np.float16)),
    "a result of the size of x": call(padding=1),
    "a result of the size of x, convolution": call(False, padding=1),
    "a convolution of six columns": COLUMNS,
    "a convolution of the first five": changed(COLUMNS, x=lambda array: array[..., :5]),
}


def results(made, module=pxd):
    """All results of a call, which are integers, also for gradients of other layouts and dtypes."""
    y = made.forward(module)
    found = [y]
    g = drawing.values(np.random.default_rng(1), y.shape, SINGLE, "integers")
    for each in (g, channels_side_by_side(g), g.astype(DOUBLE), g.astype(np.int32), g):
        found += made.backward(module, each)
    if module is pxd:
        for out in (np.zeros_like(y), channels_side_by_side(np.zeros_like(y)), np.zeros_like(y)):
            assert made.forward(pxd, out=out) is out
            np.testing.assert_array_equal(out, y)
    return found


def check_equal(got, want, name):
    for one, other in zip(got, want, strict=True):
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.fixture(scope="module")
def wanted():
    """What every call returns when nothing is remembered, checked with the reference."""
    found = {}
    for name, made in CALLS.items():
        for memory in MEMORIES:
            memory.clear()
        found[name] = results(made)
        for got, want in zip(found[name], results(made, reference), strict=True):
            np.testing.assert_array_equal(got, want, err_msg=name)
    return found


def test_calls_one_after_the_other(wanted):
    for first, second in itertools.permutations(CALLS, 2):
        for memory in MEMORIES:
            memory.clear()
        for name in (first, second, second):
            check_equal(results(CALLS[name]), wanted[name], f"{name} after {first}, {second}")


def test_calls_of_several_threads_and_more_than_are_remembered(wanted, monkeypatch):
    monkeypatch.setattr(_execution, "MOST_REMEMBERED", 5)

    def work(seed):
        rng = np.random.default_rng(seed)
        for name in rng.choice(list(CALLS), 300):
            check_equal(results(CALLS[name]), wanted[name], name)

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert all(0 < len(memory) < 5 + 6 for memory in MEMORIES)


@pytest.mark.parametrize("transposed", [True, False])
def test_nothing_is_planned_twice(transposed, monkeypatch):
    """Whatever the numbers are, and however the same settings are written."""
    made = call(transposed, stride=2, padding=1, dilation=1)
    y = made.forward(pxd)
    want = made.backward(pxd, y, needs="x"), made.backward(pxd, y)
    check_equal(want[0][:1], want[1][:1], "only one gradient")

    def refuse(*_):
        raise AssertionError("planned again")

    monkeypatch.setattr(_execution, "make_plan", refuse)
    for factor in (1, 2):
        other = changed(made, x=lambda array, by=factor: by * array, bias=lambda array, by=factor: by * array)
        for out in (None, np.empty_like(y)):
            np.testing.assert_array_equal(other.forward(pxd, out=out), factor * y)
        np.testing.assert_array_equal(other.backward(pxd, y).weight, factor * want[1].weight)
    made.settings = {"stride": np.int8(2), "padding": np.int64(1), "dilation": np.array(1)}
    np.testing.assert_array_equal(made.forward(pxd), y)
    check_equal(made.backward(pxd, y), want[1], "NumPy's integers")
    with pytest.raises(AssertionError, match="planned again"):
        call(transposed, stride=(1, 2)).forward(pxd)


# What is wrong with a call that follows a good one, which equals it if 1 == 1.0 == True
WRONG = {
    "stride": [1.0, True, np.True_, (1, True), (1.0, 1), [1, 1.0], np.ones(2), "1", None, (1,), 0, (1, 0)],
    "padding": [0.0, False, (0, False), ((0, 0), (0, False)), ((0, 0), (0, 0.0)), "none", (0,), -1, None],
    "output_padding": [0.0, False, (0, False), (0.0, 0), 1, None],
    "output_size": [7.0, (7, 6.0), (True, 6), (7,), 0],
    "dilation": [1.0, True, (1, True), [1, 1.0], 0],
    "groups": [1.0, True, (1,), 0, 4],
    "data_format": [b"channels_first", "NCHW", None, 1],
    "needs": [True, (), "y", ("x", 1), ["x", "y"]],
    "x": [None, "x", np.ones((2, 6, 5, 4), object), np.ma.ones((2, 6, 5, 4), SINGLE), np.ones((2, 6, 5))],
    "weight": [None, np.ones((6, 6, 3, 3), "datetime64[s]"), np.ones((6, 6)), np.ones((5, 6, 3, 3), SINGLE)],
    "bias": [1.0, np.ones(5, SINGLE), np.ones((6, 1), SINGLE), np.ma.ones(6, SINGLE)],
    "grad_output": [
        None,
        np.ones((2, 6, 7, 5), SINGLE),
        np.ones((2, 6, 7, 6), SINGLE)[..., :5],
        np.ones((3, 6, 7, 6), SINGLE),
        np.ma.ones((2, 6, 7, 6), SINGLE),
    ],
    "out": [
        [0.0],
        np.empty((2, 6, 7, 6)),
        np.empty((2, 6, 7, 5), SINGLE),
        np.broadcast_to(SINGLE.type(0), (2, 6, 7, 6)),
        unaligned(np.ones((2, 6, 7, 6), SINGLE)),
    ],
}
GOOD = {
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "output_size": None,
    "dilation": 1,
    "groups": 1,
    "data_format": "channels_first",
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_after_a_good_call(name):
    """The same as before it; and the good call works as before."""
    made = call()
    arrays = {"x": made.x, "weight": made.weight}
    g = np.ones((2, 6, 7, 6), SINGLE)

    def forward(**wrong):
        return pxd.conv_transpose(**(arrays | {"bias": made.bias} | GOOD | wrong))

    def backward(**wrong):
        return pxd.conv_transpose_backward(**(arrays | {"grad_output": g} | GOOD | wrong))

    functions = [forward] * (name not in ("needs", "grad_output")) + [backward] * (
        name not in ("bias", "out")
    )

    def errors():
        met = []
        for function, wrong in itertools.product(functions, WRONG[name]):
            with pytest.raises((TypeError, ValueError)) as caught:
                function(**{name: wrong})
            met.append((type(caught.value), str(caught.value)))
        return met

    before, want = errors(), [forward(), *backward()]
    for _ in range(2):
        assert errors() == before
        check_equal([forward(), *backward()], want, name)


@pytest.mark.parametrize("name", ["across groups", "across pixels", "tiles"])
def test_layouts_of_out(name):
    """Some plans are for results of one layout only."""
    made = {
        "across groups": call(x=(2, 32, 5, 4), weight=(32, 1, 3, 3), groups=32),
        "across pixels": call(x=(1, 16, 9, 64), weight=(16, 19, 3, 3), padding=1),
        "tiles": call(x=(1, 16, 9, 9), weight=(16, 33, 3, 3), stride=2),
    }[name]
    want = made.forward(reference)
    new = np.zeros_like(want, SINGLE)
    for order in itertools.permutations((None, new, channels_side_by_side(new), np.asfortranarray(new))):
        _execution._forward.clear()
        for out in order:
            np.testing.assert_array_equal(made.forward(pxd, out=out), want)


def test_out_after_calls_without():
    made = call(x=(2, 6, 5, 4), weight=(6, 6, 1, 1))
    want = made.forward(pxd)
    room = np.zeros((*want.shape, 2), SINGLE)
    assert made.forward(pxd, out=room[..., 1]).base is room
    np.testing.assert_array_equal(room, np.stack([np.zeros_like(want), want], -1))
    subclass = np.empty_like(want).view(np.recarray)
    assert made.forward(pxd, out=subclass) is subclass
    np.testing.assert_array_equal(subclass, want)
    for _ in range(2):
        with pytest.raises(ValueError, match="out must not overlap x"):
            made.forward(pxd, out=made.x)


def test_kernels_see_aligned_arrays(monkeypatch):
    arithmetic = kernels.ARITHMETIC["float32"]

    def watched(compute):
        def compute_aligned(*arguments):
            assert all(each.flags.aligned for each in arguments if isinstance(each, np.ndarray))
            return compute(*arguments)

        return compute_aligned

    names = (
        "correlate",
        "pack_weight",
        "pair_gradient",
        "lines_gradient",
        "columns_gradient",
        "weight_gradient",
    )
    patched = {name: watched(getattr(arithmetic, name)) for name in names}
    monkeypatch.setitem(kernels.ARITHMETIC, "float32", arithmetic._replace(**patched))
    for name in ("x", "weight", "bias"):
        for made in (BASE, changed(BASE, **{name: unaligned})):
            y = made.forward(pxd)
            for g in (y, unaligned(y)):
                made.backward(pxd, g)


def test_the_number_of_threads_is_that_of_the_call(monkeypatch):
    made = call(x=(1, 40, 32, 32), weight=(40, 40, 3, 3))
    used, arithmetic = [], kernels.ARITHMETIC["float32"]

    def watched(*arguments):
        used.append(arguments[-1])
        return arithmetic.correlate(*arguments)

    monkeypatch.setitem(kernels.ARITHMETIC, "float32", arithmetic._replace(correlate=watched))
    for threads in (1, 3, 2, 1):
        with pxd.num_threads(threads):
            made.forward(pxd)
            made.backward(pxd, np.ones((1, 40, 34, 34), SINGLE), needs="x")
            assert used[-2:] == [pxd.get_num_threads()] * 2


def test_no_array_is_kept():
    made = call(stride=2)
    arrays = [made.x, made.weight, made.bias, *results(made)]
    assert all(memory for memory in MEMORIES)
    references = [weakref.ref(array) for array in arrays]
    del made, arrays
    gc.collect()
    assert not any(reference() is not None for reference in references)
