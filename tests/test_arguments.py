"""What must be refused, and what the refusal says: hostile input as data, before any memory is touched."""

import collections
import inspect

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

import pyx_deconv as pxd

X = np.ones((1, 2, 4, 4))
TO_3, FROM_3 = np.ones((2, 3, 3, 3)), np.ones((3, 2, 3, 3))
FUNCTIONS = {
    "conv_transpose": (pxd.conv_transpose, {"x": X, "weight": TO_3, "bias": np.ones(3)}),
    "conv": (pxd.conv, {"x": X, "weight": FROM_3, "bias": np.ones(3)}),
    "conv_transpose_backward": (
        pxd.conv_transpose_backward, {"grad_output": np.ones((1, 3, 6, 6)), "x": X, "weight": TO_3},
    ),
    "conv_backward": (
        pxd.conv_backward, {"grad_output": np.ones((1, 3, 2, 2)), "x": X, "weight": FROM_3},
    ),
    "output_size": (pxd.output_size, {"input_size": (4, 4), "kernel_size": 3}),
}  # fmt: skip


HUGE = [2**31, 2**62, 2**64 + 2, 10**5000]
FLOATS = [1.0, np.float32(1), np.float64("nan"), float("inf"), 1j, np.longdouble(1)]
NOT_INTEGERS = [True, np.True_, np.array(True), *FLOATS, "1", b"1", None, {1}, {1: 1}, object(), int, print]
NOT_A_SIZE = [value for value in NOT_INTEGERS if value is not None]
NOT_A_PADDING = [value for value in NOT_INTEGERS if not isinstance(value, str)]
NOT_ONE_PER_AXIS = [(), [1], (1, 1, 1), np.ones(3, int), range(5)]
WITH_A_WRONG_ENTRY = [(1, True), (1, 1.0), [1, "1"], (None, 1), [(1, 1), (1, 1)], np.ones((2, 2), int)]


def rows(names, values, exception, *texts):
    return [(name, value, exception, texts) for name in names.split() for value in values]


# (argument, value, exception, what the message must contain); for every function that has the argument
HOSTILE = [
    *rows("stride dilation kernel_size input_size", [0, -1, -(2**62)], ValueError, "must be at least 1"),
    *rows("padding output_padding", [-1, -(2**62)], ValueError, "on axis 0 must be at least 0"),
    *rows("output_size", [0, -5], ValueError, "on axis 0 must be at least 1"),
    *rows("stride", [(1, 0), [2, -1]], ValueError, "on axis 1 must be at least 1"),
    *rows(
        "stride dilation padding output_padding output_size kernel_size input_size",
        [*HUGE, (1, 2**31)],
        ValueError,
        "at most 2147483647 (2**31 - 1)",
    ),
    *rows("stride dilation output_padding kernel_size groups input_size", NOT_INTEGERS, TypeError, "integer"),
    *rows("stride dilation output_padding output_size", NOT_ONE_PER_AXIS, ValueError, "of 2 spatial axes"),
    *rows("stride dilation output_padding output_size kernel_size", WITH_A_WRONG_ENTRY, TypeError, "integer"),
    *rows("output_size", NOT_A_SIZE, TypeError, "an integer or a sequence"),
    *rows("input_size", [()], ValueError, "at least one axis"),
    # padding
    *rows("padding", NOT_A_PADDING, TypeError, "padding", "'same_lower'"),
    *rows("padding", ["SAME", "sane", "", "1", "full", "valid "], ValueError, "'valid', 'same', "),
    *rows("padding", NOT_ONE_PER_AXIS, ValueError, "each of 2 spatial axes", "(begin, end) pair"),
    *rows("padding", [((0, 1),), [(0, 1)] * 3], ValueError, "(begin, end) pair for each of 2"),
    *rows("padding", [((0, 1, 2), 1), ((1,), 1), ((), ())], ValueError, "padding[0]", "(begin, end) pair"),
    *rows("padding", [(0, -1), ((0, 0), -1)], ValueError, "padding=-1 on axis 1"),
    *rows("padding", [((0, -(2**31)), 0), [(-(2**62), 0)] * 2], ValueError, "must be at least -2147483647"),
    *rows("padding", [(0, (0, 1.0)), (0, (True, 0)), (0, "same"), (0, None)], TypeError, "padding[1]"),
    *rows("padding", [(0, (0, 2**31)), (0, (10**5000, 0))], ValueError, "on axis 1 must be at most"),
    # groups
    *rows("groups", [0, -1], ValueError, "must be at least 1"),
    *rows("groups", HUGE, ValueError, "at most 2147483647"),
    *rows("groups", [(1,), [1, 1], np.ones(1, int)], TypeError, "groups must be an integer"),
    *rows("groups", [5, 2**31 - 1], ValueError, "must divide"),
    # words
    *rows("data_format", ["NCHW", "channels", ""], ValueError, "'channels_first' or 'channels_last'"),
    *rows("data_format", [None, 1, True, b"channels_first", ["channels_first"], X], TypeError, "a string"),
    *rows("needs", [(), [], "", "y", ("x", "y"), {"grad_output"}, "xw"], ValueError, "one or more of ('x'"),
    *rows("needs", [None, 1, True, b"x", (1,), ("x", 0), iter("x")], TypeError, "one or more of ('x'"),
    # arrays that are none
    *rows("x weight grad_output", [None], TypeError, "not object"),
    *rows("x weight bias grad_output", [object(), [None], "abc", b"abc", {1: 2}, 2**70], TypeError),
    *rows("x weight bias grad_output", [[[1.0, 2.0], [3.0]]], (ValueError, TypeError)),
    # shapes
    *rows("x", [X[0, 0, 0], X[0, 0], X[None], 1.0, np.ones(())], ValueError, "x must have 4 axes"),
    *rows("weight", [1.0, np.ones(3), np.ones((3, 3)), np.ones((1,) * 6)], ValueError, "3, 4 or 5 axes"),
    *rows("weight", [np.ones((2, 3, 3))], ValueError, "x must have 3 axes", "because weight has 3"),
    *rows("weight", [np.ones((2,) * 5)], ValueError, "x of shape (1, 2, 4, 4) has 1 channels", "takes 2"),
    *rows("bias", [1.0, np.ones(1), np.ones(2), np.ones((3, 1)), np.ones((1, 3)), []], ValueError, "(3,)"),
    *rows("grad_output", [1.0, np.ones((3, 6, 6)), np.ones((1, 3, 1, 1))], ValueError, "of the result"),
    *rows("x", [np.ones((1, 3, 4, 4)), np.ones((3, 4, 4))], ValueError, "has 3 channels", "takes 2"),
    *rows("x", [X[:, :0], X[:, :, :0], X[..., :0], X[0, :0]], ValueError, "size 0", "only the batch may"),
    *rows("weight", [TO_3[:0], TO_3[:, :0], TO_3[..., :0]], ValueError, "must not have size 0"),
]  # fmt: skip


CASES = [
    pytest.param(function, {**given, argument: value}, argument, *rest, id=f"{name}-{argument}-{row}")
    for row, (argument, value, *rest) in enumerate(HOSTILE)
    for name, (function, given) in FUNCTIONS.items()
    if argument in inspect.signature(function).parameters
]


@pytest.mark.filterwarnings("ignore")  # old NumPy warns of ragged lists before it refuses them
@pytest.mark.parametrize(("function", "arguments", "argument", "exception", "texts"), CASES)
def test_refused(function, arguments, argument, exception, texts):
    with pytest.raises(exception) as caught:
        function(**arguments)
    message = str(caught.value)
    assert argument in message
    for text in texts:
        assert text in message
    assert len(message) < 600


def test_every_argument_is_in_the_table():
    asked = collections.Counter(argument for argument, *_ in HOSTILE)
    for function, _ in FUNCTIONS.values():
        for name in inspect.signature(function).parameters:
            assert name == "out" or asked[name] >= 5, name  # out has a table of its own


def refused(exception, text, function, *positional, **arguments):
    with pytest.raises(exception, match=text):
        function(*positional, **arguments)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "output_size"])
def test_dtypes_are_refused(name):
    function, arguments = FUNCTIONS[name]
    wrong = [object, "U3", "S3", "M8[s]", "m8[s]", "V8", [("a", "f8"), ("b", "i4")]]
    wrong += [np.longdouble, np.clongdouble] if np.dtype(np.longdouble) != np.dtype(np.float64) else []
    for dtype in wrong:
        for argument in arguments:
            bad = np.zeros(arguments[argument].shape, dtype)
            text = f"{argument} must be of float16, .*complex128"
            refused(TypeError, text, function, **{**arguments, argument: bad})
    for argument in arguments:
        masked = np.ma.masked_array(arguments[argument], mask=True)
        text = f"{argument} must not be a masked array"
        refused(TypeError, text, function, **{**arguments, argument: masked})


def test_small_floats_are_refused():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for name in {"float8_e4m3fn", "float8_e5m2", "int4"} & set(dir(ml_dtypes)):
        bad = X.astype(getattr(ml_dtypes, name))
        refused(TypeError, f"x must be of .* not {name}", pxd.conv_transpose, bad, TO_3)
    bad = TO_3.astype(ml_dtypes.bfloat16)
    refused(TypeError, "no common dtype for float16, bfloat16", pxd.conv_transpose, X.astype(np.float16), bad)


def test_a_cached_plan_does_not_let_wrong_types_through():
    """1, 1.0 and True are one key of a cache, also within tuples."""
    for padding, wrong in [(1, True), (1, 1.0), ((1, 1), (1, True)), (((1, 0), 1), ((1.0, 0), 1))]:
        pxd.conv_transpose(X, TO_3, padding=padding)
        refused(TypeError, "padding", pxd.conv_transpose, X, TO_3, padding=wrong)
    pxd.conv_transpose(X, TO_3, stride=(1, 1), groups=1)
    refused(TypeError, "stride", pxd.conv_transpose, X, TO_3, stride=(1, 1.0), groups=1)
    refused(TypeError, "groups", pxd.conv_transpose, X, TO_3, stride=(1, 1), groups=True)


# What only makes sense together.

TOGETHER = [
    ({"output_padding": 2, "stride": 2}, "=2 on axis 0 must be smaller than stride=2 or dilation=1"),
    ({"output_padding": (0, 3), "stride": 2, "dilation": 3}, "smaller than stride=2 or dilation=3"),
    ({"output_padding": 1}, r"give padding as \(begin, end\)"),
    ({"output_padding": 1, "stride": 2, "padding": "same"}, "must be 0 with padding='same', .* = 8"),
    ({"output_padding": 1, "stride": 2, "output_size": 9}, "must be 0 when output_size=9 is given"),
    ({"output_size": 8, "stride": 2}, "output_size=8 on axis 0 .* possible: from 9 to 10"),
    ({"output_size": (10, 11), "stride": 2}, "output_size=11 on axis 1 .* possible: from 9 to 10"),
    ({"output_size": 7}, "output_size=7 .* possible: 6, no other"),
    ({"output_size": 9, "stride": 2, "padding": "same"}, "output_size=9 .* possible: from 7 to 8"),
    ({"output_size": 6, "stride": 2, "padding": "same_lower"}, "possible: from 7 to 8"),
    ({"output_size": 2, "stride": 4, "padding": 10}, "possible: none"),  # full 15
    ({"output_size": 3, "stride": 4, "padding": 8}, "possible: from 1 to 2"),
    ({"padding": 3}, r"padding=\(3, 3\) on axis 0 .* leaves nothing .* of size 6: .* would be 0"),
    ({"padding": (0, (2**31 - 1, 1))}, "on axis 1 .* leaves nothing"),
    ({"padding": 5, "stride": 2, "output_padding": 1}, "the output size would be 0"),
    ({"groups": 3}, "groups=3 must divide the input channels"),
    ({"groups": 2}, r"bias must have shape \(6,\)"),
    ({"data_format": "channels_last"}, r"has 4 channels \(axis 3, channels_last\).* takes 2"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), TOGETHER)
def test_refused_together(arguments, text):
    refused(ValueError, text, pxd.conv_transpose, X, TO_3, np.ones(3), **arguments)
    if "bias" not in text:
        refused(ValueError, text, pxd.conv_transpose_backward, np.ones((1, 3, 6, 6)), X, TO_3, **arguments)


def test_conv_refused_together():
    refused(ValueError, "groups=2 must divide the output channels", pxd.conv, X, FROM_3, groups=2)
    refused(ValueError, "has 2 channels .* groups=3 takes 6", pxd.conv, X, FROM_3, groups=3)
    text = "kernel on axis 0 .* reaches over 5 pixels .* size 4"
    refused(ValueError, text, pxd.conv, X, FROM_3, dilation=2)
    text, settings = "kernel on axis 1 .* padded input of size 3", {"padding": (0, 1), "dilation": (1, 2)}
    refused(ValueError, text, pxd.conv, X[..., :1], FROM_3, **settings)
    text = r"for one axis a pair is written \(\(begin, end\),\)"
    refused(ValueError, text, pxd.conv, X[0, :, 0], FROM_3[:, :, 0], padding=(1, 2))


def test_grad_output_of_another_shape_names_both():
    text = r"grad_output must have the shape of the result, \(1, 3, 6, 6\), not \(1, 3, 6, 5\)"
    refused(ValueError, text, pxd.conv_transpose_backward, np.ones((1, 3, 6, 5)), X, TO_3)
    text = r"\(3, 2, 2\), not \(1, 3, 2, 2\)"
    refused(ValueError, text, pxd.conv_backward, np.ones((1, 3, 2, 2)), X[0], FROM_3)


def test_a_kernel_too_long_to_count_is_refused():
    weight = np.broadcast_to(1.0, (1, 1, 2**31))
    text = "kernel size=2147483648 on axis 0 must be at most"
    refused(ValueError, text, pxd.conv_transpose, np.ones((1, 2)), weight)


# More memory than there is.


@pytest.mark.parametrize("channels", [2**20, 2**45], ids=["16 PiB", "more than NumPy can count"])
def test_results_too_large_are_a_memory_error(channels):
    x, weight = np.ones((1, 1, 2)), np.broadcast_to(1.0, (1, channels, 1))
    shape = rf"\(1, {channels}, {2**31}\) and dtype float64: .* GiB"
    refused(MemoryError, shape, pxd.conv_transpose, x, weight, stride=2**31 - 1)
    empty = np.ones((0, 1, 2))
    if channels == 2**45:  # NumPy cannot count this even where the batch is 0
        refused(MemoryError, "GiB", pxd.conv_transpose, empty, weight, stride=2**31 - 1)


def test_conversions_too_large_are_a_memory_error():
    x = np.broadcast_to(np.int8(1), (1, 1, 2**30, 2**30))
    text = rf"\(1, 1, {2**30}, {2**30}\) and dtype float64: 8.59e\+09 GiB"
    refused(MemoryError, text, pxd.conv, x, np.ones((1, 1, 1, 1)), stride=2**31 - 1)


def test_sizes_do_not_overflow_where_little_remains():
    """The full result has 2**62 pixels, of which three are asked for."""
    x, weight = np.array([[[3.0, 5.0]]]), np.array([[[7.0, 11.0]]])
    step = 2**31 - 1
    y = pxd.conv_transpose(x, weight, dilation=step, padding=((step - 1, 0),))
    assert y.tolist() == [[[0.0, 33.0, 55.0]]]
    assert pxd.conv(x, weight, dilation=step, padding=((step, 0),)).tolist() == [[[33.0, 55.0]]]
    assert pxd.conv(x, weight, stride=step, dilation=step, padding=((0, step - 1),)).tolist() == [[[21.0]]]


# out


def misaligned(shape, dtype):
    return np.zeros(np.prod(shape) * np.dtype(dtype).itemsize + 1, np.uint8)[1:].view(dtype).reshape(shape)


OUTS = [
    (lambda: np.zeros((1, 3, 6, 5)), ValueError, r"shape of the result, \(1, 3, 6, 6\), not \(1, 3, 6, 5\)"),
    (lambda: np.zeros((3, 6, 6)), ValueError, "shape of the result"),
    (lambda: np.zeros((1, 3, 6, 6), np.float32), TypeError, "dtype of the result, float64 .* not float32"),
    (lambda: np.zeros((1, 3, 6, 6), complex), TypeError, "not complex128"),
    (lambda: np.zeros((1, 3, 6, 6), np.dtype("f8").newbyteorder()), TypeError, "native byte order"),
    (lambda: np.zeros((1, 3, 6, 6), object), TypeError, "not object"),
    (lambda: np.broadcast_to(0.0, (1, 3, 6, 6)), ValueError, "writeable"),
    (lambda: misaligned((1, 3, 6, 6), "f8"), ValueError, "aligned"),
    (lambda: as_strided(np.zeros(9), (1, 3, 6, 6), (0, 0, 0, 8)), ValueError, "overlap itself"),
    (lambda: as_strided(np.zeros(99), (1, 3, 6, 6), (0, 88, 8, 8)), ValueError, "overlap itself"),
    (lambda: np.ma.zeros((1, 3, 6, 6)), TypeError, "numpy.ndarray, not MaskedArray"),
    (lambda: [[[[0.0] * 6] * 6] * 3], TypeError, "numpy.ndarray, not list"),
    (lambda: (np.zeros((1, 3, 6, 6)),), TypeError, "numpy.ndarray, not tuple"),
    (lambda: memoryview(np.zeros((1, 3, 6, 6))), TypeError, "not memoryview"),
    (lambda: 0.0, TypeError, "not float"),
    (lambda: True, TypeError, "not bool"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "exception", "text"), OUTS)
def test_out_is_refused(make, exception, text):
    out = make()
    before = np.array(out, copy=True)
    refused(exception, f"out must .*{text}", pxd.conv_transpose, X, TO_3, out=out)
    refused(exception, f"out must .*{text}", pxd.conv, X, FROM_3, padding=2, out=out)
    np.testing.assert_array_equal(np.array(out), before)


def test_out_must_not_overlap_an_input():
    memory = np.ones(2000)
    out = memory[:108].reshape(1, 3, 6, 6)
    x, weight, bias = memory[107:139].reshape(1, 2, 4, 4), memory[50:104].reshape(2, 3, 3, 3), memory[:3]
    refused(ValueError, "out must not overlap x", pxd.conv_transpose, x, TO_3, out=out)
    refused(ValueError, "out must not overlap weight", pxd.conv_transpose, X, weight, out=out)
    refused(ValueError, "out must not overlap bias", pxd.conv_transpose, X, TO_3, bias, out=out)
    refused(ValueError, "out must not overlap x", pxd.conv, x, np.ones((2, 2, 1, 1)), out=x)
    assert (memory == 1).all()


# threads


@pytest.mark.parametrize("value", [0, -1, *HUGE[:3]])
def test_threads_refuse_values(value):
    refused(ValueError, "must be at least 1", pxd.set_num_threads, value)
    with pytest.raises(ValueError, match="must be at least 1"), pxd.num_threads(value):
        pass


@pytest.mark.parametrize("value", [True, np.True_, 1.0, np.float64(1), "1", None, (1,), 1j])
def test_threads_refuse_types(value):
    before = pxd.get_num_threads()
    refused(TypeError, "must be an integer", pxd.set_num_threads, value)
    with pytest.raises(TypeError, match="must be an integer"), pxd.num_threads(value):
        pass
    assert pxd.get_num_threads() == before
