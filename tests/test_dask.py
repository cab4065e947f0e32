"""The operations on dask arrays: the numbers of NumPy from any chunks, and what is known before."""

import itertools
import math
import subprocess
import sys
import threading

import drawing
import numpy as np
import pytest
import reference
from hypothesis import assume, given
from hypothesis import strategies as st

import pyx_deconv as pxd

pytest.importorskip("dask.array", reason="dask is not installed")

import dask
import dask.array as da

import pyx_deconv.dask as pxd_dask

W = np.arange(1.0, 19).reshape(1, 2, 3, 3)


def drawn_chunks(data, size):
    """Cut an axis anywhere: chunks of one pixel, all in one, empty ones."""
    cuts = data.draw(st.lists(st.integers(0, size), max_size=4), label="cuts")
    ends = sorted([0, *cuts, size])
    return tuple(b - a for a, b in itertools.pairwise(ends))


def chunked(data, array):
    return da.from_array(array, chunks=tuple(drawn_chunks(data, n) for n in array.shape))


def in_chunks(data, call):
    """The same call of dask arrays; the weight and the bias are ones, too, now and then."""
    weight, bias = (
        da.from_array(array) if array is not None and data.draw(st.booleans()) else array
        for array in (call.weight, call.bias)
    )
    return drawing.Call(call.transposed, chunked(data, call.x), weight, bias, call.settings)


def computed(lazy):
    """The result, of which everything that was said before is true."""
    assert isinstance(lazy, da.Array)
    array = lazy.compute(scheduler="synchronous")
    assert (array.shape, array.dtype) == (lazy.shape, lazy.dtype)
    assert lazy._meta.dtype == array.dtype
    assert lazy._meta.ndim == array.ndim
    for index in np.ndindex(lazy.numblocks):
        block = lazy.blocks[index]
        assert block.compute(scheduler="synchronous").shape == block.shape
    return array


def same_bits(got, want):
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    # A sum of nothing but zeros has the sign of the zero that it began with.
    np.testing.assert_array_equal(got, want)


def products_of_a_sum(call):
    """How many products, of how many real channels and taps, an output sums at most."""
    groups = call.settings["groups"]
    channels = call.weight.shape[0] // groups if call.transposed else call.weight.shape[1]
    return channels * (1 + (call.x.dtype.kind == "c")), math.prod(call.weight.shape[2:])


@drawing.examples(100)
@given(drawing.calls([*drawing.COMPUTED, *drawing.STORED, *drawing.INTEGERS]), st.data())
def test_any_chunks(call, data):
    """The result bit for bit, as its sums are short; the gradients to rounding error."""
    channels, taps = products_of_a_sum(call)
    assert channels <= 15
    lazy = in_chunks(data, call)
    y = call.forward(pxd)
    got = computed(lazy.forward(pxd_dask))
    if taps <= 64 and channels * taps <= 256 and np.max(call.settings["dilation"]) == 1:
        same_bits(got, y)
    scale = drawing.Call(
        call.transposed, *reference.magnitude(call.x, call.weight, call.bias), call.settings
    ).forward(reference)
    drawing.compare(got, call.forward(reference), scale, y.dtype, call.name)


@drawing.examples(100)
@given(drawing.calls([*drawing.COMPUTED, *drawing.STORED, *drawing.INTEGERS]), st.data())
def test_gradients(call, data):
    lazy = in_chunks(data, call)
    shape = call.forward(reference).shape
    g = drawing.grad_output_for(call, shape)
    absolute = drawing.Call(call.transposed, *reference.magnitude(call.x, call.weight, None), call.settings)
    want = call.backward(reference, g)
    scales = absolute.backward(reference, reference.magnitude(g)[0])
    whole = call.backward(pxd, g)
    gradients = lazy.backward(pxd_dask, chunked(data, g))
    for name in ("x", "weight", "bias"):
        got = computed(getattr(gradients, name))
        drawing.compare(got, getattr(want, name), getattr(scales, name), getattr(whole, name).dtype, name)


@drawing.examples(100)
@given(
    st.sampled_from([np.dtype(name) for name in ("float32", "float64", "complex64", "float16")]),
    st.booleans(),
    st.data(),
)
def test_bits_of_larger_maps(dtype, transposed, data):
    """Here the kernels cut their work into tasks, pack parts of it, and choose among their ways."""
    rank = data.draw(st.integers(1, 3))
    most = (400, 60, 16)[rank - 1]

    def each(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(rank))

    kernel, stride, size = each(1, (64, 8, 4)[rank - 1]), each(1, 3), each(7, most)
    parts = 1 + (dtype.kind == "c")
    channels = data.draw(st.integers(1, min(15, 256 // math.prod(kernel)) // parts))
    others = data.draw(st.sampled_from([1, 2, 3, 8, 16, 33, 64]))
    groups = data.draw(st.sampled_from([1, 1, 2, 4]))
    weight = (channels * groups, others, *kernel) if transposed else (others * groups, channels, *kernel)
    last = data.draw(st.booleans())
    shape = (2, *size, channels * groups) if last else (2, channels * groups, *size)
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    call = drawing.Call(
        transposed,
        drawing.values(rng, shape, dtype),
        drawing.values(rng, weight, dtype),
        None,
        {
            "stride": stride,
            "padding": "same",
            "groups": groups,
            "data_format": "channels_last" if last else "channels_first",
        },
    )
    assume(math.prod(weight) < 2**15)
    same_bits(computed(in_chunks(data, call).forward(pxd_dask)), call.forward(pxd))


def test_only_the_gradients_that_are_needed():
    x = da.ones((1, 1, 8, 8), chunks=4)
    alone = pxd_dask.conv_transpose_backward(pxd_dask.conv_transpose(x, W), x, W, needs="bias")
    assert alone.x is None
    assert alone.weight is None
    np.testing.assert_array_equal(alone.bias, [64 * 45, 64 * 126])


def test_nothing_is_computed_before_it_is_asked_for():
    def fail(block):
        raise AssertionError("computed")

    x = da.ones((1, 1, 8, 8), chunks=(1, 1, 4, 4)).map_blocks(fail, dtype=float, meta=np.empty((0,) * 4))
    y = pxd_dask.conv_transpose(x, W, stride=2)
    pxd_dask.conv_transpose_backward(y, x, W, stride=2)
    with pytest.raises(AssertionError, match="computed"):
        y.compute()


def test_only_what_is_needed_is_computed():
    read, lock = [], threading.Lock()

    def note(block, block_info=None):
        with lock:
            read.append(block_info[0]["chunk-location"][2:])
        return block

    x = da.ones((1, 1, 40, 40), chunks=(1, 1, 4, 4)).map_blocks(note, dtype=float, meta=np.empty((0,) * 4))
    # The pixels from 16 to 23 come from the inputs 8 to 12, of the third chunk and the fourth.
    pxd_dask.conv_transpose(x, W, stride=2, padding=1)[..., 17:23, 17:23].compute()
    assert sorted(read) == [(2, 2), (2, 3), (3, 2), (3, 3)]


@pytest.mark.parametrize(
    ("chunks", "settings", "want"),
    [
        ((4, 4, 4), {"stride": 2, "padding": "same"}, (8, 8, 8)),
        ((4, 4, 4), {"stride": 2, "padding": 1}, (8, 8, 7)),
        ((4, 4, 4), {"stride": 2}, (8, 8, 8, 1)),
        ((4, 4, 3), {"stride": 2}, (8, 8, 7)),
        ((4, 0, 4, 4), {"stride": 2, "padding": "same"}, (8, 8, 8)),
        ((1, 11), {"stride": 3}, (3, 33)),
        ((1, 11), {"stride": 1}, (1, 11, 2)),
        ((12,), {"stride": 2}, (25,)),
        ((4, 4, 4), {"stride": 2, "padding": 11}, (3,)),
        ((1, 1, 1), {"padding": [(-2, -3)]}, (1,) * 10),
    ],
)
def test_chunks_of_the_result(chunks, settings, want):
    """Those of the source times the stride; none at the end that would be too large for Zarr."""
    x = da.ones((1, sum(chunks)), chunks=((1,), chunks))
    y = pxd_dask.conv_transpose(x, np.ones((1, 1, 3)), **settings)
    assert y.chunks == ((1,), want)
    np.testing.assert_array_equal(y, pxd.conv_transpose(x.compute(), np.ones((1, 1, 3)), **settings))


def test_chunks_of_a_convolution():
    x = da.ones((1, 24), chunks=8)
    assert pxd_dask.conv(x, np.ones((1, 1, 3)), stride=2, padding="same").chunks == ((1,), (4, 4, 4))
    assert pxd_dask.conv(x, np.ones((1, 1, 3)), stride=2).chunks == ((1,), (4, 4, 3))
    assert pxd_dask.conv(x, np.ones((1, 1, 3)), stride=5).chunks == ((1,), (2, 2, 1))


def test_the_gradient_of_x_is_chunked_as_x():
    x = da.ones((3, 1, 9, 9), chunks=((1, 2), 1, (2, 7), (3, 3, 3)))
    gradients = pxd_dask.conv_transpose_backward(pxd_dask.conv_transpose(x, W), x, W)
    assert gradients.x.chunks == x.chunks
    assert gradients.weight.numblocks == (1,) * 4


def test_a_large_graph_is_small():
    """Ten thousand chunks: the tasks are pickled without the weight, which is there once."""
    x = da.zeros((1, 1, 800, 800), chunks=(1, 1, 8, 8), dtype=np.float32)
    weight = np.ones((1, 64, 16, 16), np.float32)
    y = pxd_dask.conv_transpose(x, weight, stride=2, padding="same")
    assert y.npartitions == 10_000
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle comes with dask")
    assert len(cloudpickle.dumps(y.dask)) < 10e6 + weight.nbytes
    held = [value for layer in y.dask.layers.values() for value in dict(layer).values()]
    assert sum(isinstance(value, np.ndarray) and value.nbytes == weight.nbytes for value in held) == 1


def test_names_say_what_is_computed():
    x = da.ones((1, 1, 8, 8), chunks=4)
    names = {
        pxd_dask.conv_transpose(x, W).name,
        pxd_dask.conv_transpose(x, W.copy()).name,
        pxd_dask.conv_transpose(x, W + 1).name,
        pxd_dask.conv_transpose(x, W, stride=2).name,
        pxd_dask.conv_transpose(x + 1, W).name,
        pxd_dask.conv_transpose(x, W, [1, 2]).name,
        pxd_dask.conv(x, W.reshape(2, 1, 3, 3)).name,
    }
    assert len(names) == 6
    single = x.astype(np.float32)
    names = {
        pxd_dask.conv_transpose_backward(single, single, weight).weight.name
        for weight in (np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1), np.float32))
    }
    assert len(names) == 2, "computed in another dtype"


def test_the_weight_is_that_of_the_call():
    x, weight = da.ones((1, 1, 4, 4), chunks=2), W.copy()
    y = pxd_dask.conv_transpose(x, weight)
    weight[...] = 0
    np.testing.assert_array_equal(y, pxd.conv_transpose(np.ones((1, 1, 4, 4)), W))


def test_nan_and_infinity_go_where_taps_carry_them():
    x = np.ones((1, 1, 9, 9))
    x[0, 0, 4, 4], x[0, 0, 0, 0] = np.nan, np.inf
    lazy = da.from_array(x, chunks=(1, 1, 2, 3))
    np.testing.assert_array_equal(
        pxd_dask.conv_transpose(lazy, W, stride=2), pxd.conv_transpose(x, W, stride=2)
    )


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
@pytest.mark.filterwarnings("ignore:.*leaked.*:ResourceWarning")
def test_every_scheduler_gives_the_same_bits(scheduler):
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((3, 1, 40, 40), np.float32), rng.standard_normal((3, 2, 80, 80), np.float32)
    settings = {"stride": 2, "padding": 1, "output_padding": 1}
    weight = W.astype(np.float32)

    def results(**options):
        lazy = da.from_array(x, chunks=(1, 1, 11, 7))
        y = pxd_dask.conv_transpose(lazy, weight, **settings)
        lazy_g = da.from_array(g, chunks=(2, 1, 16, 16))
        gradients = pxd_dask.conv_transpose_backward(lazy_g, lazy, weight, **settings)
        return [array.tobytes() for array in dask.compute(y, *gradients, **options)]

    got = results(scheduler=scheduler, num_workers=3)
    assert got == results(scheduler="synchronous")
    assert got[0] == pxd.conv_transpose(x, weight, **settings).tobytes()


def test_tasks_use_one_thread(monkeypatch):
    used = []
    forward = pxd._execution.forward
    monkeypatch.setattr(
        pxd._execution,
        "forward",
        lambda *arguments: (used.append(pxd.get_num_threads()), forward(*arguments))[1],
    )
    before = pxd.get_num_threads()
    x = da.ones((1, 1, 8, 8), chunks=4)
    pxd_dask.conv_transpose(x, W).compute(scheduler="threads", num_workers=2)
    assert used == [1] * len(used)
    assert len(used) >= 4
    assert pxd.get_num_threads() == before


X = da.ones((1, 1, 8, 8), chunks=4)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, r"^x must be a dask array, not ndarray; NumPy", lambda: pxd_dask.conv_transpose(W, W)),
        (TypeError, "^x must be a dask array, not list", lambda: pxd_dask.conv([1.0], W)),
        (
            TypeError,
            "^grad_output must be a dask array",
            lambda: pxd_dask.conv_transpose_backward(np.ones((1, 2, 10, 10)), X, W),
        ),
        (
            ValueError,
            "^x must have chunks of known sizes",
            lambda: pxd_dask.conv_transpose(X[:, :, X[0, 0, 0] > 0], W),
        ),
        (TypeError, "^x must be of float16", lambda: pxd_dask.conv_transpose(X.astype("M8[s]"), W)),
        (TypeError, "^weight must be of float16", lambda: pxd_dask.conv_transpose(X, W.astype("U"))),
        (TypeError, "masked", lambda: pxd_dask.conv_transpose(da.ma.masked_array(X), W)),
        (
            ValueError,
            "^grad_output must have the shape of the result",
            lambda: pxd_dask.conv_transpose_backward(X, X, W),
        ),
        (ValueError, "^needs must be", lambda: pxd_dask.conv_transpose_backward(X, X, W, needs="y")),
        (TypeError, "out", lambda: pxd_dask.conv_transpose(X, W, out=np.empty((1, 2, 10, 10)))),
    ],
)
def test_errors(error, message, call):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("x", "weight", "bias", "settings"),
    [
        ((1, 1, 8, 8), (1, 2, 3, 3), None, {"stride": 0}),
        ((1, 1, 8, 8), (1, 2, 3, 3), None, {"stride": 1.5}),
        ((1, 1, 8, 8), (1, 2, 3, 3), None, {"padding": 5}),
        ((1, 1, 8, 8), (1, 2, 3, 3), None, {"padding": "full"}),
        ((1, 1, 8, 8), (1, 2, 3, 3), None, {"output_padding": 3}),
        ((1, 1, 8, 8), (1, 2, 3, 3), None, {"output_size": 99}),
        ((1, 1, 8, 8), (1, 2, 3, 3), None, {"groups": 2}),
        ((1, 1, 8, 8), (1, 2, 3, 3), None, {"data_format": "NCHW"}),
        ((1, 3, 8, 8), (1, 2, 3, 3), None, {}),
        ((1, 1, 8, 8), (1, 2, 3, 3), (3,), {}),
        ((1, 1, 0, 8), (1, 2, 3, 3), None, {}),
        ((8, 8), (1, 2, 3, 3), None, {}),
        ((1, 1, 8, 8), (1, 2), None, {}),
    ],
)
def test_errors_are_those_of_arrays(x, weight, bias, settings):
    arrays = np.ones(x), np.ones(weight), None if bias is None else np.ones(bias)
    with pytest.raises((TypeError, ValueError)) as want:
        pxd.conv_transpose(*arrays, **settings)
    with pytest.raises(want.type) as got:
        pxd_dask.conv_transpose(da.from_array(arrays[0], chunks=-1), *arrays[1:], **settings)
    assert str(got.value) == str(want.value)


def test_dask_is_imported_only_where_it_is_asked_for():
    code = "import pyx_deconv, sys; assert 'dask' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    code = "import sys; sys.modules['dask'] = None; import pyx_deconv.dask"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last == 'ImportError: pyx_deconv.dask needs dask: pip install "pyx_deconv[dask]"'
