"""Sizes and crops: every convention with numbers worked by hand, and the size rule forwards and backwards."""

import collections
import itertools

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import pyx_deconv as pxd
from pyx_deconv import geometry
from pyx_deconv.geometry import jax_crop, keras_crop, onnx_crop, pytorch_crop

# What each convention crops from the full result, of size full = (n - 1) * s + K, and the size that remains.
COLUMNS = ("crop", "n", "kernel", "stride", "begin", "end", "size")  # where kernel is the effective one
CONVENTIONS = {
    "pytorch": (pytorch_crop(1), 4, 3, 2, 1, 1, 7),  # full 9
    "pytorch, output_padding": (pytorch_crop(1, 1), 4, 3, 2, 1, 0, 8),
    "pytorch, zeros appended": (pytorch_crop(0, 1), 4, 5, 2, 0, -1, 12),  # full 11
    "keras valid, None": (keras_crop(5, 2), 4, 5, 2, 0, 0, 11),
    "keras valid, None, kernel < stride": (keras_crop(2, 3), 4, 2, 3, 0, -1, 12),  # full 11
    "keras valid, 0, kernel < stride": (keras_crop(2, 3, output_padding=0), 4, 2, 3, 0, 0, 11),
    "keras valid, 1": (keras_crop(5, 2, output_padding=1), 4, 5, 2, 0, -1, 12),
    "keras same, None": (keras_crop(5, 2, padding="same"), 4, 5, 2, 1, 2, 8),  # 3 of 11: 1 in front
    "keras same, None, stride 3": (keras_crop(5, 3, padding="same"), 4, 5, 3, 1, 1, 12),  # full 14
    "keras same, None, kernel < stride": (keras_crop(1, 3, padding="same"), 4, 1, 3, 0, -2, 12),  # full 10
    "keras same, None, dilated": (keras_crop(3, 2, dilation=2, padding="same"), 4, 5, 2, 1, 2, 8),  # K = 5
    "keras same, 0": (keras_crop(3, 2, padding="same", output_padding=0), 4, 3, 2, 1, 1, 7),
    "keras same, 1": (keras_crop(3, 2, padding="same", output_padding=1), 4, 3, 2, 0, 1, 8),  # 1 of 9
    "keras same, 1, even kernel": (keras_crop(4, 2, padding="same", output_padding=1), 4, 4, 2, 1, 2, 7),
    "onnx": (onnx_crop(4, 3, 2), 4, 3, 2, 0, 0, 9),
    "onnx pads": (onnx_crop(4, 3, 2, pads=(0, 2)), 4, 3, 2, 0, 2, 7),
    "onnx pads, output_padding": (onnx_crop(4, 3, 2, pads=(2, 0), output_padding=1), 4, 3, 2, 2, -1, 8),
    "onnx VALID": (onnx_crop(4, 3, 2, auto_pad="VALID", pads=(9, 9)), 4, 3, 2, 0, 0, 9),
    "onnx SAME_UPPER": (onnx_crop(4, 3, 2, auto_pad="SAME_UPPER"), 4, 3, 2, 0, 1, 8),  # T = 1
    "onnx SAME_LOWER": (onnx_crop(4, 3, 2, auto_pad="SAME_LOWER"), 4, 3, 2, 1, 0, 8),
    "onnx SAME_UPPER, output_padding": (
        onnx_crop(4, 3, 2, auto_pad="SAME_UPPER", output_padding=1), 4, 3, 2, 1, 0, 8,  # T = 2
    ),
    "onnx SAME_LOWER, kernel < stride": (
        onnx_crop(4, 1, 2, auto_pad="SAME_LOWER"), 4, 1, 2, 0, -1, 8,  # T = -1
    ),
    "onnx output_shape": (onnx_crop(4, 3, 2, output_shape=6), 4, 3, 2, 2, 1, 6),  # T = 3
    "onnx output_shape, SAME_UPPER": (
        onnx_crop(4, 3, 2, output_shape=6, auto_pad="SAME_UPPER"), 4, 3, 2, 1, 2, 6,
    ),
    "onnx output_shape, zeros appended": (onnx_crop(3, 3, 3, output_shape=10), 3, 3, 3, 0, -1, 10),
    "jax": (jax_crop(3, padding=(1, 1)), 4, 3, 2, 1, 1, 7),  # 6 + 2 - 3 + 2
    "jax, all of it": (jax_crop(3, padding=(2, 2)), 4, 3, 2, 0, 0, 9),
    "jax, unequal and dilated": (jax_crop(3, dilation=2, padding=(3, 5)), 4, 5, 2, 1, -1, 11),  # K = 5
}  # fmt: skip


@pytest.mark.parametrize(COLUMNS, CONVENTIONS.values(), ids=CONVENTIONS)
def test_crop_of_every_convention(crop, n, kernel, stride, begin, end, size):
    assert crop == (begin, end)
    assert geometry.full_size(n, kernel, stride) - begin - end == size
    assert pxd.output_size(n, kernel, stride=stride, padding=[crop]) == size


@pytest.mark.parametrize(COLUMNS, CONVENTIONS.values(), ids=CONVENTIONS)
def test_crop_keeps_the_window_of_the_full_result(crop, n, kernel, stride, begin, end, size):
    x = np.arange(1.0, n + 1).reshape(1, n)
    weight = 10.0 ** np.arange(kernel).reshape(1, 1, kernel)
    full = np.concatenate([pxd.conv_transpose(x, weight, stride=stride)[0], np.zeros(max(-end, 0))])
    got = pxd.conv_transpose(x, weight, stride=stride, padding=[crop])
    np.testing.assert_array_equal(got[0], full[begin : begin + size])


def test_keras_and_pytorch_are_one_pixel_apart():
    x, weight = np.array([[1.0, 2.0, 3.0]]), np.array([[[1.0, 10.0, 100.0]]])
    full = [1, 10, 102, 20, 203, 30, 300]
    assert pxd.conv_transpose(x, weight, stride=2)[0].tolist() == full
    keras = [keras_crop(3, 2, padding="same")]
    assert pxd.conv_transpose(x, weight, stride=2, padding=keras)[0].tolist() == full[0:6]
    assert pxd.conv_transpose(x, weight, stride=2, padding="same")[0].tolist() == full[0:6]
    torch = [pytorch_crop(1, 1)]
    assert pxd.conv_transpose(x, weight, stride=2, padding=torch)[0].tolist() == full[1:7]
    assert pxd.conv_transpose(x, weight, stride=2, padding=1, output_padding=1)[0].tolist() == full[1:7]


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"stride": 2, "padding": "same"}, 8),
        ({"stride": 2, "padding": "valid"}, 11),
        ({"stride": 2, "padding": "valid", "output_padding": 1}, 12),
        ({"stride": 3, "padding": "same"}, 12),
    ],
)
def test_the_example_everybody_copies(settings, size):
    """4x4x3 with kernel 5, stride 2, "same" is 8x8x3, not 12x12x3."""
    assert pxd.output_size(4, 5, **settings) == size
    assert pxd.output_size((4, 4), (5, 5), **settings) == (size, size)
    y = pxd.conv_transpose(np.ones((4, 4, 3)), np.ones((3, 3, 5, 5)), data_format="channels_last", **settings)
    assert y.shape == (size, size, 3)


def test_full_size_and_effective_kernel():
    assert geometry.effective_kernel(3) == 3
    assert geometry.effective_kernel(3, 4) == 9
    assert geometry.full_size(4, 5, 2) == 11
    assert geometry.full_size(4, 3, 2, 3) == 13


@pytest.mark.parametrize("begin", [-9, -3, 0, 2, 5])
@pytest.mark.parametrize("end", [-7, -1, 0, 3, 6])
def test_a_window_reaches_beyond_the_ends(begin, end):
    """Zeros on either side of the result of a scatter; pixels that a gather leaves out."""
    x, weight = np.array([[1.0, 2.0, 3.0]]), np.array([[[1.0, 10.0, 100.0]]])
    zeros = np.zeros(9)
    full = np.concatenate([zeros, [1, 10, 102, 20, 203, 30, 300], zeros])
    window = full[9 + begin : 16 - end]
    if not window.size:
        with pytest.raises(ValueError, match="leaves nothing of the full result, of size 7"):
            pxd.conv_transpose(x, weight, stride=2, padding=[(begin, end)])
        return
    got = pxd.conv_transpose(x, weight, stride=2, padding=[(begin, end)])
    np.testing.assert_array_equal(got, [window])
    back = pxd.conv(window[np.newaxis], weight, stride=2, padding=[(begin, end)])
    np.testing.assert_array_equal(
        back, pxd.conv_transpose_backward(got, x, weight, stride=2, padding=[(begin, end)], needs="x").x
    )
    inside = np.concatenate([zeros, window, zeros])[9 - begin : 9 + window.size + end]
    np.testing.assert_array_equal(back, pxd.conv(inside[np.newaxis], weight, stride=2))


@pytest.mark.parametrize(
    "convention",
    [
        lambda: keras_crop(3, padding="SAME"),
        lambda: keras_crop(3, padding="full"),
        lambda: onnx_crop(4, 3, auto_pad="SAME"),
        lambda: onnx_crop(4, 3, auto_pad="same_upper"),
    ],
)
def test_unknown_words_are_refused(convention):
    with pytest.raises(ValueError, match="must be"):
        convention()


# The size rule.

PADDINGS = [0, 1, 2, ((0, 2),), ((2, 1),), "valid", "same", "same_upper", "same_lower"]


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_output_size_agrees_with_the_oracle(padding):
    for n, k, s, d in itertools.product(range(1, 6), range(1, 5), range(1, 4), range(1, 4)):
        for op in range(1 if isinstance(padding, str) and padding != "valid" else max(s, d)):
            ((_, size),) = reference.transpose_window(
                (n,), (k,), stride=s, padding=padding, output_padding=op, dilation=d
            )
            settings = {"stride": s, "padding": padding, "output_padding": op, "dilation": d}
            if size < 1:
                with pytest.raises(ValueError, match="leaves nothing"):
                    pxd.output_size(n, k, **settings)
            else:
                assert pxd.output_size(n, k, **settings) == size, (n, k, settings)


def test_output_size_follows_its_input():
    assert pxd.output_size(3, 3) == 5
    assert pxd.output_size((3,), 3) == (5,)
    assert pxd.output_size([3, 4], (1, 2), stride=(1, 2), padding=((0, 1), 0), dilation=[1, 3]) == (2, 10)
    assert pxd.output_size(np.array([3, 4]), np.int8(3), stride=np.uint8(2)) == (7, 9)
    assert type(pxd.output_size(np.int16(3), 3)) is int


def test_output_size_does_not_overflow():
    largest = 2**31 - 1
    size = pxd.output_size(largest, largest, stride=largest, dilation=largest)
    assert size == (largest - 1) * largest * 2 + 1


def test_output_size_chooses_among_all_that_conv_takes_back():
    """The sizes that output_size= may ask for are those whose convolution has the size of x."""
    weight = np.ones((1, 1, 3))
    for n, s, padding in itertools.product(range(1, 5), range(1, 5), [0, 1, ((0, 2),), "same", "same_lower"]):
        x, possible = np.ones((1, n)), []
        for size in range(1, 25):
            try:
                y = pxd.conv_transpose(x, weight, stride=s, padding=padding, output_size=size)
            except ValueError:
                continue
            assert y.shape == (1, size)
            possible.append(size)
        taken_back = []
        for size in range(1, 25):
            if isinstance(padding, str) or size + sum(np.broadcast_to(padding, (1, 2))[0]) >= 3:
                back = pxd.conv(np.ones((1, size)), weight, stride=s, padding=padding)
                taken_back += [size] * (back.shape == (1, n))
        assert possible == taken_back, (n, s, padding)


# The size rule backwards.


def enumerate_settings(n, size, dilation, max_kernel_size, max_stride):
    found = set()
    for k, s in itertools.product(range(1, max_kernel_size + 1), range(1, max_stride + 1)):
        reach = (k - 1) * dilation + 1
        for begin, end, op in itertools.product(range(reach), range(reach), range(max(s, dilation))):
            if abs(begin - end) > (op == 0):
                continue
            ((_, out),) = reference.transpose_window(
                (n,), (k,), stride=s, padding=((begin, end),), output_padding=op, dilation=dilation
            )
            if out == size:
                found.add((k, s, begin if begin == end else ((begin, end),), op, dilation))
    return found


def taps_per_phase(k, s, d):
    counts = collections.Counter(t * d % s for t in range(k))
    return [counts[phase] for phase in range(s)]


@pytest.mark.parametrize(("n", "size"), [(4, 12), (4, 11), (1, 4), (1, 1), (3, 7), (5, 5), (6, 3), (2, 9)])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_solve_settings_finds_every_answer(n, size, dilation):
    found = pxd.solve_settings(n, size, dilation=dilation, max_kernel_size=7, max_stride=4)
    assert len(set(found)) == len(found)
    assert {tuple(setting) for setting in found} == enumerate_settings(n, size, dilation, 7, 4)
    order = []
    for setting in found:
        counts = taps_per_phase(setting.kernel_size, setting.stride, dilation)
        assert setting.overlap == (min(counts), max(counts))
        assert setting.uneven == (len(set(counts)) > 1)
        assert pxd.output_size(n, setting.kernel_size, **setting.arguments) == size
        begin, end = (setting.padding,) * 2 if isinstance(setting.padding, int) else setting.padding[0]
        order.append(
            (setting.output_padding, begin != end, 0 in counts, len(set(counts)) > 1, *setting[:2], begin)
        )
    assert order == sorted(order)


def test_solve_settings_4_to_12():
    found = pxd.solve_settings(4, 12)
    assert found[0] == (3, 3, 0, 0, 1)
    assert found[0].words == ("valid", "same", "same_lower")
    assert not found[0].uneven
    same = [s for s in found if s.stride == 3 and "same" in s.words]
    assert {s.kernel_size for s in same} == {1, 2, 3, 4, 5, 6, 7}
    assert (5, 2, 0, 1, 1) in found
    (copied,) = pxd.solve_settings(4, 12, kernel_size=5, stride=2, padding=0)
    assert copied.output_padding == 1
    assert copied.words == ("valid",)
    assert copied.uneven
    assert copied.overlap == (2, 3)
    assert str(copied) == "kernel 5, stride 2, padding 0, output_padding 1 (valid); uneven overlap: 2 to 3"
    assert repr([copied]) == f"[<Setting {copied}>]"
    y = pxd.conv_transpose(np.ones((3, 4)), np.ones((3, 3, 5)), **copied.arguments)
    assert y.shape == (3, 12)


def test_words_crop_as_they_say():
    """A setting that claims a word has the very window of that word, not just its size."""
    x = np.arange(1.0, 6.0).reshape(1, 5)
    claimed = collections.Counter()
    for size, dilation in itertools.product((5, 10, 15), (1, 2)):
        for setting in pxd.solve_settings(5, size, dilation=dilation, max_kernel_size=6, max_stride=4):
            weight = 10.0 ** np.arange(setting.kernel_size).reshape(1, 1, -1)
            got = pxd.conv_transpose(x, weight, **setting.arguments)
            for word in ("valid", "same", "same_lower"):
                options = dict(setting.arguments, padding=word)
                if word != "valid":
                    del options["output_padding"]
                want = pxd.conv_transpose(x, weight, **options)
                equal = want.shape == got.shape and np.array_equal(want, got)
                assert equal == (word in setting.words), (setting, word)
                claimed[word] += equal
    assert min(claimed[word] for word in ("valid", "same", "same_lower")) > 10


@pytest.mark.parametrize(
    ("wanted", "holds"),
    [
        ({"kernel_size": 4}, lambda s: s.kernel_size == 4),
        ({"stride": 2}, lambda s: s.stride == 2),
        ({"output_padding": 1}, lambda s: s.output_padding == 1),
        ({"output_padding": 0}, lambda s: s.output_padding == 0),
        ({"padding": 1}, lambda s: s.padding == 1),
        ({"padding": (1, 0)}, lambda s: s.padding == ((1, 0),) and s.output_padding == 0),
        ({"padding": "valid"}, lambda s: "valid" in s.words),
    ],
)
def test_solve_settings_keeps_to_what_is_given(wanted, holds):
    everything = pxd.solve_settings(4, 12, max_kernel_size=8, max_stride=4)
    found = pxd.solve_settings(4, 12, max_kernel_size=8, max_stride=4, **wanted)
    if wanted.get("padding") == (1, 0):  # a given pair may have an output_padding too
        assert any(setting.output_padding for setting in found)
        found = [setting for setting in found if setting.output_padding == 0]
    if "padding" in wanted:  # and a given padding may crop whole pixels
        found = [setting for setting in found if setting.kernel_size > 1 or setting.padding == 0]
    assert found == [setting for setting in everything if holds(setting)]
    assert found


@pytest.mark.parametrize("word", ["same", "same_upper", "same_lower"])
def test_solve_settings_with_same(word):
    found = pxd.solve_settings(4, 12, padding=word)
    assert sorted(s[:2] for s in found) == [(k, 3) for k in range(1, 8)]
    assert all(word.replace("_upper", "") in s.words for s in found)
    assert pxd.solve_settings(4, 13, padding=word) == []
    assert all(s.kernel_size >= 3 for s in pxd.solve_settings(4, 12, padding=word, output_padding=0))


def test_solve_settings_on_several_axes():
    found = pxd.solve_settings((4, 7), (8, 14))
    assert found
    assert {s.stride for s in found} == {2}  # 4 to 8 and 7 to 14 have no other in common
    for setting in found:
        y = pxd.conv_transpose(
            np.ones((1, 4, 7)), np.ones((1, 1, setting.kernel_size, setting.kernel_size)), **setting.arguments
        )
        assert y.shape == (1, 8, 14)
    assert any(setting.padding == ((0, 1), (0, 1)) for setting in found)
    assert pxd.solve_settings((4, 7), (8, 13)) == []


def test_solve_settings_bounds():
    assert max(s.kernel_size for s in pxd.solve_settings(4, 12)) == 7
    assert max(s.stride for s in pxd.solve_settings(1, 100, kernel_size=100)) == 32
    assert {s.kernel_size for s in pxd.solve_settings(2, 30, max_stride=20)} >= {10, 40}
    assert pxd.solve_settings(4, 100, max_stride=2, max_kernel_size=3) == []
    with pytest.raises(ValueError, match="pairs to try"):
        pxd.solve_settings(4, 12, max_stride=2**31 - 1)
    with pytest.raises(ValueError, match="more than 100000 settings"):
        pxd.solve_settings(1, 5, kernel_size=2, stride=2**31 - 1, dilation=2**31 - 1)


@pytest.mark.parametrize("name", ["input_size", "output_size", "kernel_size", "stride", "max_stride"])
@pytest.mark.parametrize("value", [0, -1, 2**31, 2**62, 2**64 + 2])
def test_solve_settings_refuses_values(name, value):
    with pytest.raises(ValueError, match=f"{name}=.* must be at"):
        pxd.solve_settings(**{"input_size": 4, "output_size": 12, name: value})


@pytest.mark.parametrize("name", ["input_size", "output_size", "kernel_size", "stride", "max_kernel_size"])
@pytest.mark.parametrize("value", [True, 2.0, "2", np.float64(2), 1j])
def test_solve_settings_refuses_types(name, value):
    with pytest.raises(TypeError, match=f"{name} must be an integer"):
        pxd.solve_settings(**{"input_size": 4, "output_size": 12, name: value})


@pytest.mark.parametrize(
    ("arguments", "exception", "complaint"),
    [
        ({"padding": (1, 2, 3)}, ValueError, r"one integer, word or \(begin, end\) pair"),
        ({"padding": ((0, 1),)}, ValueError, r"one integer, word or \(begin, end\) pair"),
        ({"padding": -1}, ValueError, "at least 0"),
        ({"padding": "SAME"}, ValueError, "'same_lower'"),
        ({"padding": 1.0}, TypeError, "padding"),
        ({"output_padding": -1}, ValueError, "at least 0"),
        ({"dilation": None}, TypeError, "dilation must be an integer"),
        ({"dilation": 0}, ValueError, "dilation=0 must be at least 1"),
        ({"output_size": (12, 12)}, ValueError, "as many axes"),
        ({"input_size": ()}, ValueError, "at least one axis"),
    ],
)
def test_solve_settings_refuses(arguments, exception, complaint):
    with pytest.raises(exception, match=complaint):
        pxd.solve_settings(**{"input_size": 4, "output_size": 12, **arguments})


@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(-4, 6),
    st.integers(1, 40),
)
def test_blocks_of_one_axis(coarse, kernel, stride, dilation, begin, fine):
    """Each part names just the pixels that reach it, by trying all of them."""
    axis = geometry.Axis(coarse, fine, kernel, stride, dilation, begin)
    pairs = [
        (i, i * stride + t * dilation - begin)
        for i in range(coarse)
        for t in range(kernel)
        if 0 <= i * stride + t * dilation - begin < fine
    ]
    for start in range(fine):
        for stop in range(start + 1, fine + 1):
            block = geometry.transposed_block(axis, start, stop)
            met = [i for i, j in pairs if start <= j < stop]
            assert 0 <= block.start < block.stop <= coarse
            assert not met or (block.start <= min(met) and max(met) < block.stop)
            n = geometry.full_size(block.stop - block.start, kernel, stride, dilation)
            assert n - sum(block.padding) == stop - start
            reach = geometry.effective_kernel(kernel, dilation)
            assert block.stop - block.start <= max(1, (stop - start + reach - 2) // stride + 1)
    for start in range(coarse):
        for stop in range(start + 1, coarse + 1):
            block = geometry.conv_block(axis, start, stop)
            met = [j for i, j in pairs if start <= i < stop]
            assert 0 <= block.start < block.stop <= fine
            assert not met or (block.start <= min(met) and max(met) < block.stop)
            assert block.stop - block.start <= (stop - start - 1) * stride + reach
