"""ConvTranspose and Conv: what the functions compute, whatever an operator was called with before."""

import concurrent.futures
import copy
import itertools
import pickle

import drawing
import numpy as np
import pytest
import reference
from hypothesis import assume, given
from hypothesis import strategies as st

import pyx_deconv as pxd

CLASSES = {True: pxd.ConvTranspose, False: pxd.Conv}
REAL, COMPLEX = np.dtype(np.float32), np.dtype(np.complex64)


def operator(call):
    return CLASSES[call.transposed](call.weight, call.bias, **call.settings)


def check_equal(got, want, name):
    """The same numbers of the same dtype, from the same kernels."""
    assert got.dtype == want.dtype, name
    np.testing.assert_array_equal(got, want, err_msg=name)


def check_operator(op, call):
    """Both passes of one input, as those of the functions."""
    y = call.forward(pxd)
    check_equal(op(call.x), y, "result")
    if call.x.size:  # an empty batch has a test of its own
        assert op.output_shape(call.x.shape) == y.shape
    g = drawing.grad_output_for(call, y.shape)
    for name, got, want in zip(
        ("x", "weight", "bias"), op.backward(g, call.x), call.backward(pxd, g), strict=True
    ):
        check_equal(got, want, f"gradient of {name}")


def other_input(call, shape, dtype, seed=0):
    """The same call with another x."""
    x = drawing.values(np.random.default_rng(seed), shape, dtype)
    return drawing.Call(call.transposed, x, call.weight, call.bias, call.settings)


@drawing.examples(150)
@given(
    drawing.calls(drawing.COMPUTED + drawing.STORED + drawing.INTEGERS),
    st.sampled_from(drawing.COMPUTED + drawing.STORED + drawing.INTEGERS),
    st.data(),
)
def test_any_call(call, other_dtype, data):
    """An operator has no output_size; its inputs differ in size, batch and dtype, and the first returns."""
    rank, settings = call.weight.ndim - 2, call.settings
    settings.pop("output_size", None)
    window = reference.transpose_window if call.transposed else reference.conv_window
    where = {name: value for name, value in settings.items() if name not in ("groups", "data_format")}
    last = settings.get("data_format") == "channels_last"
    sizes = call.x.shape[-rank - 1 : -1] if last else call.x.shape[-rank:]
    channels = call.x.shape[-1] if last else call.x.shape[-rank - 1]
    assume(all(out >= 1 for _, out in window(sizes, call.weight.shape[2:], **where)))
    larger = tuple(n + data.draw(st.integers(1, 20)) for n in sizes)
    shape = (*larger, channels) if last else (channels, *larger)
    for dtype in (call.x.dtype, other_dtype):  # float16 and bfloat16 have no common dtype
        try:
            np.result_type(dtype, call.weight.dtype)
        except TypeError:
            assume(False)
    op = operator(call)
    for each in (
        call,
        other_input(call, shape, call.x.dtype),
        other_input(call, (2, *shape), other_dtype),
        other_input(call, call.x.shape, other_dtype),
        call,
    ):
        check_operator(op, each)


# Inputs that are computed in different ways with one weight: (weight, settings), sizes without channels
SHAPES = {
    "pairs, and few pixels": ((40, 36, 4, 4), {"stride": 2, "padding": 1}, [(2, 3), (21, 23), (1, 1)]),
    "pairs along one axis": ((33, 40, 3, 3), {"padding": 1}, [(9, 40), (1, 40), (40, 1), (3, 3)]),
    "phases side by side": ((24, 3, 4, 4), {"stride": 2, "padding": 1}, [(9, 8), (1, 9), (9, 1), (30, 41)]),
    "phases in pairs": ((40, 12, 4, 4), {"stride": 2}, [(17, 19), (2, 2), (1, 1)]),
    "lines": ((5, 1, 7), {"stride": 3}, [(3,), (200,), (1,)]),
    "groups": ((12, 2, 3, 4), {"stride": (1, 2), "groups": 3}, [(2, 2), (9, 70), (1, 1)]),
    "borders": ((8, 9, 5), {"stride": 2, "padding": ((4, 3),)}, [(4,), (40,), (3,)]),
    "volume": ((17, 5, 2, 2, 2), {"stride": 2}, [(2, 1, 3), (6, 5, 7), (1, 1, 1)]),
}


def inputs(name, transposed, dtype, data_format="channels_first"):
    """Calls with one weight, each with a batch and without; a convolution starts from the large maps."""
    weight_shape, given, sizes = SHAPES[name]
    rng, settings = np.random.default_rng(len(name)), given | {"data_format": data_format}
    fine = weight_shape[1] * given.get("groups", 1)
    weight = drawing.values(rng, weight_shape, dtype)
    bias = drawing.values(rng, (fine if transposed else weight_shape[0],), dtype)
    where = {key: value for key, value in given.items() if key != "groups"}
    calls = []
    for size, batch in itertools.product(sizes, ((), (1,), (3,))):
        if transposed:
            spatial, channels = size, weight_shape[0]
        else:
            spatial = tuple(n for _, n in reference.transpose_window(size, weight_shape[2:], **where))
            channels = fine
        shape = (*spatial, channels) if data_format == "channels_last" else (channels, *spatial)
        x = drawing.values(rng, (*batch, *shape), dtype)
        calls.append(drawing.Call(transposed, x, weight, bias, settings))
    return calls


def check_with_reference(op, call, out=None):
    scales = drawing.Call(
        call.transposed, *reference.magnitude(call.x, call.weight, call.bias), call.settings
    )
    want = call.forward(reference)
    g = drawing.grad_output_for(call, want.shape)
    dtype = np.result_type(call.x, call.weight)
    allowed = scales.forward(reference)
    y = op(call.x, out=out)
    # A block of outputs in pairs has the errors of its neighbours.
    drawing.compare(y, want, np.broadcast_to(allowed.max(), allowed.shape), dtype, "result")
    wants, allowed = (
        each.backward(reference, array) for each, array in ((call, g), (scales, np.abs(g).astype(float)))
    )
    for name, got in op.backward(g, call.x)._asdict().items():
        scale = getattr(allowed, name)
        drawing.compare(
            got, getattr(wants, name), np.broadcast_to(scale.max(), scale.shape), dtype, f"gradient of {name}"
        )


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_packed_weights_are_not_confused_between_shapes(name, transposed, data_format, dtype):
    """Every input after every other, so that each finds what some other has left."""
    calls = inputs(name, transposed, dtype, data_format)
    op = operator(calls[0])
    for call in calls:
        check_with_reference(op, call)
    for first, second in itertools.permutations(calls[::3], 2):
        op = operator(first)
        for call in (first, second, first):
            check_operator(op, call)


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_packed_weights_are_not_confused_between_layouts_in_memory(name, transposed):
    """Results whose channels lie side by side are made of other packed weights than lines of pixels are."""
    for call in inputs(name, transposed, REAL)[1::3]:
        op, shape = operator(call), call.forward(pxd).shape
        for _ in range(2):
            check_with_reference(op, call)
            out = np.moveaxis(np.empty((shape[0], *shape[2:], shape[1]), REAL), -1, 1)
            check_with_reference(op, call, out)
            moved = np.moveaxis(np.ascontiguousarray(np.moveaxis(call.x, 1, -1)), -1, 1)
            assert moved.shape == call.x.shape
            check_with_reference(op, drawing.Call(transposed, moved, call.weight, call.bias, call.settings))


@pytest.mark.parametrize("transposed", [True, False])
def test_packed_weights_are_not_confused_between_dtypes(transposed):
    """The weight is float16, so that each of these dtypes can compute with it; none takes another's."""
    call = inputs("phases side by side", transposed, np.dtype(np.float16))[1]
    op = operator(call)
    names = ["float16", "float32", "complex64", "float64", "complex128", "int8", "bool", "int32"]
    for name in [*names, *names]:
        check_operator(op, other_input(call, call.x.shape, np.dtype(name)))


@pytest.mark.parametrize("transposed", [True, False])
def test_backward_takes_the_conjugate_weight(transposed):
    """A map of one pixel and a kernel of one: both passes pack the same numbers, but for their sign."""
    weight, x, g = np.array([[[1j]]]), np.array([[1.0 + 0j]]), np.array([[2.0 + 0j]])
    op = CLASSES[transposed](weight)
    for _ in range(2):
        assert op(x) == 1j
        assert op.backward(g, x, needs="x").x == -2j


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize(
    "dtypes", [("int8", "int8"), ("bool", "bool"), ("float16", "int8"), ("int8", "float16")]
)
@pytest.mark.parametrize("bias", ["float32", "float16", "float64", "complex64", "int32"])
def test_dtype_of_the_result_with_a_bias(transposed, dtypes, bias):
    """As of the function: what x and the weight alone would be computed in does not count."""
    x, weight = (np.ones(shape, dtype) for shape, dtype in zip(((1, 2, 5), (2, 2, 3)), dtypes, strict=True))
    call = drawing.Call(transposed, x, weight, np.ones(2, bias), {})
    check_operator(operator(call), call)


@pytest.mark.parametrize("transposed", [True, False])
def test_out(transposed):
    call = inputs("groups", transposed, REAL)[1]
    op, want = operator(call), call.forward(pxd)
    out = np.full(want.shape, np.nan, REAL)
    assert op(call.x, out=out) is out
    check_equal(out, want, "out")
    for wrong, error, text in (
        (np.empty(want.shape), TypeError, "out must have the dtype"),
        (np.empty(want.shape[1:], REAL), ValueError, "out must have the shape"),
        (np.broadcast_to(out, want.shape), ValueError, "out must be writeable"),
        ([1.0], TypeError, "out must be a numpy.ndarray"),
    ):
        with pytest.raises(error, match=text):
            op(call.x, out=wrong)
    same = CLASSES[transposed](np.ones((1, 1, 1)))
    x = np.ones((1, 4))
    with pytest.raises(ValueError, match="out must not overlap x"):
        same(x, out=x)


@pytest.mark.parametrize("needs", ["x", "weight", "bias", ("x", "bias"), ["weight", "x"]])
def test_only_the_gradients_that_are_needed(needs):
    call = inputs("borders", True, REAL)[1]
    g = drawing.grad_output_for(call, call.forward(pxd).shape)
    got = operator(call).backward(g, call.x, needs=needs)
    for name, want in call.backward(pxd, g)._asdict().items():
        if name in needs:
            check_equal(getattr(got, name), want, name)
        else:
            assert getattr(got, name) is None


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_output_shape(transposed, data_format):
    call = inputs("volume", transposed, REAL, data_format)[1]
    op = operator(call)
    for x in (call.x, call.x[0]):
        assert op.output_shape(x.shape) == op.output_shape(list(x.shape)) == op(x).shape
    with pytest.raises(ValueError, match="channels"):
        op.output_shape((1,) * call.x.ndim)
    with pytest.raises(TypeError, match="input_shape"):
        op.output_shape((1.5, 2))
    with pytest.raises(ValueError, match="input_shape"):
        op.output_shape((1, -1, 4, 4, 4))


@pytest.mark.parametrize("transposed", [True, False])
def test_output_shape_of_an_empty_batch(transposed):
    op = CLASSES[transposed](np.ones((2, 2, 3)))
    assert op.output_shape((0, 2, 5)) == op(np.ones((0, 2, 5))).shape


def test_output_shape_needs_no_memory():
    op = pxd.ConvTranspose(np.ones((1, 1, 2, 2)), stride=2)
    assert op.output_shape((1, 1, 2**30, 2**20)) == (1, 1, 2**31, 2**21)


def test_repr():
    weight = np.ones((4, 2, 3, 5), REAL)
    assert repr(pxd.Conv(weight)) == "Conv(<weight (4, 2, 3, 5) float32>)"
    assert repr(
        pxd.ConvTranspose(
            weight,
            np.ones(4),
            stride=[2, 1],
            padding=((1, 2), (0, 0)),
            output_padding=1,
            dilation=3,
            groups=2,
            data_format="channels_last",
        )
    ) == (
        "ConvTranspose(<weight (4, 2, 3, 5) float32>, <bias>, stride=(2, 1), padding=((1, 2), (0, 0)), "
        "output_padding=1, dilation=3, groups=2, data_format='channels_last')"
    )
    assert repr(pxd.Conv(weight, padding="same")) == "Conv(<weight (4, 2, 3, 5) float32>, padding='same')"


@pytest.mark.parametrize("layout", drawing.LAYOUTS)
def test_weight_and_bias_are_copies_that_nobody_can_change(layout):
    rng = np.random.default_rng(0)
    weight, bias = (
        drawing.lay_out(drawing.values(rng, shape, REAL), layout, rng) for shape in ((2, 3, 4), (3,))
    )
    op = pxd.ConvTranspose(weight, bias, stride=2)
    x = drawing.values(rng, (1, 2, 5), REAL)
    want = pxd.conv_transpose(x, weight, bias, stride=2)
    np.testing.assert_array_equal(op.weight, weight)
    np.testing.assert_array_equal(op.bias, bias)
    for array, kept in ((weight, op.weight), (bias, op.bias)):
        assert not np.shares_memory(array, kept)
        with pytest.raises(ValueError, match="read-only"):
            kept[...] = 0
        if array.flags.writeable:
            array[...] = np.nan
    check_equal(op(x), want, "result")


def test_lists_and_no_bias():
    op = pxd.Conv([[[1, 2]]])
    assert op.bias is None
    np.testing.assert_array_equal(op([[1, 2, 3]]), [[5, 8]])
    gradients = op.backward([[1, 1]], [[1, 2, 3]])
    for got, want in zip(gradients, ([[1, 3, 2]], [[[3, 5]]], [2]), strict=True):
        np.testing.assert_array_equal(got, want)


W = np.ones((2, 4, 3, 3))
HOSTILE = [
    ("weight", None, TypeError),
    ("weight", np.ones((2, 4, 3, 3), object), TypeError),
    ("weight", [[1.0], [1.0, 2.0]], (TypeError, ValueError)),
    ("weight", np.ones((2, 4)), ValueError),
    ("weight", W[:0], ValueError),
    ("bias", "abc", TypeError),
    ("bias", np.ones(3), ValueError),
    ("bias", np.ones((4, 1)), ValueError),
    ("stride", 0, ValueError),
    ("stride", 1.5, TypeError),
    ("stride", (1,), ValueError),
    ("padding", -1, ValueError),
    ("padding", "sane", ValueError),
    ("padding", None, TypeError),
    ("output_padding", -1, ValueError),
    ("output_padding", "1", TypeError),
    ("dilation", 2**31, ValueError),
    ("dilation", True, TypeError),
    ("groups", 0, ValueError),
    ("groups", 3, ValueError),
    ("groups", (1,), TypeError),
    ("data_format", "NCHW", ValueError),
    ("data_format", None, TypeError),
]


@pytest.mark.filterwarnings("ignore")  # old NumPy warns of ragged lists before it refuses them
@pytest.mark.parametrize(("name", "value", "error"), HOSTILE)
def test_errors_name_the_argument(name, value, error):
    """At the latest when the operator is called, as some depends on the input."""
    for cls in CLASSES.values():
        if cls is pxd.Conv and name == "output_padding":
            continue
        with pytest.raises(error) as caught:
            cls(**({"weight": W} | {name: value}))(np.ones((1, 2 if cls is pxd.ConvTranspose else 4, 5, 5)))
        assert name in str(caught.value)


def test_errors_of_calls_name_the_argument():
    op = pxd.ConvTranspose(W)
    x, g = np.ones((1, 2, 5, 5)), np.ones((1, 4, 7, 7))
    for error, text, call in (
        (TypeError, "^x must", lambda: op(None)),
        (ValueError, "^x must have 4 axes", lambda: op(np.ones(3))),
        (ValueError, "^x of shape .* has 3 channels", lambda: op(np.ones((1, 3, 5, 5)))),
        (TypeError, "^grad_output must", lambda: op.backward(None, x)),
        (ValueError, "^grad_output must have the shape", lambda: op.backward(x, x)),
        (TypeError, "^x must", lambda: op.backward(g, None)),
        (ValueError, "^needs", lambda: op.backward(g, x, needs="y")),
    ):
        with pytest.raises(error, match=text):
            call()


def everything(op, calls):
    made = []
    for call in calls:
        y = op(call.x)
        made += [y, *op.backward(drawing.grad_output_for(call, y.shape), call.x)]
    return [array.tobytes() for array in made]


@pytest.mark.parametrize("dtype", [REAL, COMPLEX], ids=str)
@pytest.mark.parametrize("name", ["pairs, and few pixels", "phases side by side", "lines", "groups"])
def test_concurrent_calls_give_the_same_bits(name, dtype):
    """Four threads meet an operator that has packed nothing yet, each with the inputs in another order."""
    calls = inputs(name, True, dtype)
    want = {number: everything(operator(calls[0]), [call]) for number, call in enumerate(calls)}
    for _ in range(3):
        op = operator(calls[0])

        def work(first, op=op):
            with pxd.num_threads(1 + first % 2):
                return {
                    number % len(calls): everything(op, [calls[number % len(calls)]])
                    for number in range(first, first + len(calls))
                }

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert list(pool.map(work, range(4))) == [want] * 4


@pytest.mark.parametrize("transposed", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_infinite_weights(name, transposed):
    """That a weight is infinite is kept with it: a later call must not multiply what is not there."""
    for special in (np.inf, -np.inf, np.nan):
        calls = inputs(name, transposed, REAL)[::3]
        calls[0].weight.flat[calls[0].weight.size - 1] = special  # all of them have this weight
        op, met = operator(calls[0]), 0
        for call in (*calls, calls[0]):
            with np.errstate(invalid="ignore"):
                want = call.forward(reference)
                g = drawing.grad_output_for(call, want.shape)
                want_x = call.backward(reference, g, needs="x").x
            for got, true in ((op(call.x), want), (op.backward(g, call.x, needs="x").x, want_x)):
                finite = np.isfinite(true)
                met += not finite.all()
                np.testing.assert_array_equal(
                    np.where(np.isfinite(got), 0, got), np.where(finite, 0, true), err_msg=str(call.x.shape)
                )
                np.testing.assert_allclose(got[finite], true[finite], rtol=0, atol=1e-2)
        assert met >= 2, "the largest maps meet the last tap"


# What an operator remembers of the inputs that it has seen


def unaligned(array):
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    moved = memory.view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", drawing.COMPUTED + drawing.STORED + drawing.INTEGERS, ids=str)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("transposed", [True, False])
def test_an_input_like_an_earlier_one(transposed, rank, dtype, data_format, batched):
    """With gaps, in every memory that differs from that of the first call, in any order."""
    rng = np.random.default_rng(rank)
    spatial, channels = (4, 5, 6)[:rank], 3
    shape = (*spatial, channels) if data_format == "channels_last" else (channels, *spatial)
    settings = {"stride": 4, "padding": 1, "data_format": data_format}
    x = drawing.values(rng, (*((2,) if batched else ()), *shape), dtype)
    weight, bias = (drawing.values(rng, size, dtype) for size in ((3, 3, *(3,) * rank), (3,)))
    call = drawing.Call(transposed, x, weight, bias, settings)
    op, want = operator(call), call.forward(pxd)
    inputs = [x, unaligned(x), np.asfortranarray(x), x.byteswap().view(x.dtype.newbyteorder()), x[::-1][::-1]]
    if dtype in drawing.STORED:
        del inputs[3]  # ml_dtypes has one byte order
    for each in (*inputs, *inputs[::-1]):
        got = op(each)
        check_equal(got, want, "result")
        out = np.full_like(want, -1)
        assert op(each, out=out) is out
        check_equal(out, want, "out")
        got[...] = 0  # nobody else's memory
    for copied in (copy.copy(op), copy.deepcopy(op), pickle.loads(pickle.dumps(op))):
        check_equal(copied(x), want, "a copy's result")
        check_equal(copied(x), want, "a copy's second result")


def test_bad_inputs_after_good_ones():
    op = pxd.ConvTranspose(np.ones((2, 3, 3), np.float32), stride=2)
    x = np.ones((2, 5), np.float32)
    op(x), op(x)
    for bad, error in (
        (np.ma.masked_array(x), TypeError),
        (x.astype(object), TypeError),
        (np.ones((3, 5), np.float32), ValueError),
        (np.ones((2, 0), np.float32), ValueError),
    ):
        with pytest.raises(error):
            op(bad)
    with pytest.raises(ValueError, match="out"):
        op(x, out=np.empty((3, 2), np.float32))


def test_more_kinds_of_inputs_than_are_remembered():
    op = pxd.Conv(np.ones((1, 1, 1)))
    for _ in range(2):
        for size in range(1, 2 * pxd.operators.MOST_KEPT):
            np.testing.assert_array_equal(op(np.ones((1, size))), np.ones((1, size)))
