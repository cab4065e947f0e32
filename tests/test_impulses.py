"""Values for every kernel, stride, padding, dilation and output_padding of a grid; where NaN and infinity go.

The weight has a different prime at every tap and the inputs are powers of ten, so that each output pixel
tells which taps and which inputs reached it: a window one pixel off, or a kernel turned round, cannot pass.
"""

import itertools

import drawing
import numpy as np
import pytest
import reference
from hypothesis import given

import pyx_deconv as pxd

PRIMES = np.array([2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53])


def telling(shape, base=100.0):
    """Powers of the base: the decimal digits of a sum tell its terms."""
    return base ** np.arange(np.prod(shape)).reshape(shape)


def one_dimension():
    for k, s, d in itertools.product(range(1, 6), range(1, 5), range(1, 4)):
        reach = (k - 1) * d + 1
        for p in range(reach + 1):
            for op in range(max(s, d)):
                yield k, s, d, p, op


def check_both(x, weight, settings, op):
    """Both directions and all gradients, exactly. Returns whether there was anything to compute."""
    window = reference.transpose_window(x.shape[2:], weight.shape[2:], **settings, output_padding=op)
    if any(out < 1 for _, out in window):
        return False
    options = settings | {"output_padding": op}
    y = reference.conv_transpose(x, weight, **options)
    np.testing.assert_array_equal(pxd.conv_transpose(x, weight, **options), y)
    g = np.random.default_rng(y.size).integers(1, 10**6, y.shape).astype(float)
    got, want = (m.conv_transpose_backward(g, x, weight, **options) for m in (pxd, reference))
    np.testing.assert_array_equal(got.x, want.x)
    np.testing.assert_array_equal(got.weight, want.weight)

    # The convolution of a map of y's size, whatever size that leads to.
    coarse = reference.conv(g, weight, **settings)
    np.testing.assert_array_equal(pxd.conv(g, weight, **settings), coarse)
    g_coarse = telling(coarse.shape, 7.0)
    got, want = (m.conv_backward(g_coarse, g, weight, **settings) for m in (pxd, reference))
    np.testing.assert_array_equal(got.x, want.x)
    np.testing.assert_array_equal(got.weight, want.weight)
    return True


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("kernel", range(1, 6))
def test_one_dimension(kernel, size):
    x, weight = telling((1, 1, size)), PRIMES[:kernel].astype(float).reshape(1, 1, kernel)
    computed = sum(
        check_both(x, weight, {"stride": s, "dilation": d, "padding": p}, op)
        for k, s, d, p, op in one_dimension()
        if k == kernel
    )
    assert computed >= 15


def test_two_dimensions():
    computed = 0
    for k, s, d in itertools.product(
        ((1, 2), (3, 2), (2, 3), (4, 1)), ((1, 2), (2, 1), (3, 2)), ((1, 1), (2, 1), (1, 3))
    ):
        for begin, end in itertools.product(((0, 0), (1, 0), (0, 1), (1, 2)), repeat=2):
            for op in itertools.product(*(range(max(pair)) for pair in zip(s, d, strict=True))):
                weight = PRIMES[: np.prod(k)].astype(float).reshape(1, 1, *k)
                pairs = tuple(zip(begin, end, strict=True))
                computed += check_both(
                    telling((1, 1, 2, 3), 10.0), weight, {"stride": s, "dilation": d, "padding": pairs}, op
                )
    assert computed > 1000


@pytest.mark.parametrize("word", ["same", "same_upper", "same_lower", "valid"])
def test_words(word):
    for k, s, d, n in itertools.product(range(1, 6), range(1, 6), range(1, 4), range(1, 5)):
        x, weight = telling((1, 1, n)), PRIMES[:k].astype(float).reshape(1, 1, k)
        settings = {"stride": s, "dilation": d, "padding": word}
        for asked in [None, *(range((n - 1) * s + 1, n * s + 1) if word != "valid" else ())]:
            y = reference.conv_transpose(x, weight, **settings, output_size=asked)
            np.testing.assert_array_equal(pxd.conv_transpose(x, weight, **settings, output_size=asked), y)
            if word != "valid":
                np.testing.assert_array_equal(
                    pxd.conv(y, weight, **settings), reference.conv(y, weight, **settings)
                )


SPECIAL = [np.nan, np.inf, -np.inf]
REAL = [np.dtype(np.float64), np.dtype(np.float32), *drawing.STORED]


def sprinkle(array, rng):
    """Put NaN, infinities and zeros at a few places of a copy."""
    array = np.array(array)
    for _ in range(rng.integers(1, 4)):
        if array.size:
            array.flat[rng.integers(array.size)] = rng.choice([*SPECIAL, 0.0])
    return array


def same_specials(got, want, name):
    """NaN, infinities and finite numbers at the same places."""
    got = got.astype(want.dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=f"NaN in {name}")
    if want.dtype.kind != "c":
        for sign in (np.isposinf, np.isneginf):
            np.testing.assert_array_equal(sign(got), sign(want), err_msg=f"infinities in {name}")


@pytest.mark.parametrize("where", ["x", "weight", "bias", "x and weight", "grad_output"])
@drawing.examples(60)
@given(drawing.calls(REAL, kinds=("normal", "ramp")))
def test_specials_go_where_the_taps_carry_them(where, call):
    """The oracle multiplies only what a tap connects: an infinite tap beyond the border poisons nothing."""
    rng = np.random.default_rng(call.x.size + call.weight.size)
    for name in ("x", "weight", "bias"):
        if name in where and getattr(call, name) is not None:
            setattr(call, name, sprinkle(getattr(call, name), rng))
    with np.errstate(invalid="ignore"):
        y = call.forward(reference)
        g = drawing.grad_output_for(call, y.shape)
        g = sprinkle(g, rng) if where == "grad_output" else g
        gradients = call.backward(reference, g)
    same_specials(call.forward(pxd), y, call.name)
    for name, got, want in zip(("x", "weight", "bias"), call.backward(pxd, g), gradients, strict=True):
        same_specials(got, want, f"gradient of {name}")


@drawing.examples(40)
@given(drawing.calls([np.dtype(np.complex128), np.dtype(np.complex64)], kinds=("normal",)))
def test_nan_in_complex_numbers(call):
    rng = np.random.default_rng(call.x.size)
    for name in ("x", "weight"):
        array = np.array(getattr(call, name))
        if array.size:
            array.flat[rng.integers(array.size)] = complex(np.nan, 1)
        setattr(call, name, array)
    with np.errstate(invalid="ignore"):
        y = call.forward(reference)
        g = drawing.grad_output_for(call, y.shape)
        gradients = call.backward(reference, g)
    same_specials(call.forward(pxd), y, call.name)
    for name, got, want in zip(("x", "weight", "bias"), call.backward(pxd, g), gradients, strict=True):
        same_specials(got, want, f"gradient of {name}")


@pytest.mark.parametrize("special", SPECIAL)
@pytest.mark.parametrize("channels", [1, 3, 16, 40])
def test_a_special_tap_meets_the_border(special, channels):
    """The last tap of a padded kernel: written out by hand, with enough channels for every code path."""
    x, weight = np.ones((1, channels, 6)), np.ones((channels, channels, 3))
    weight[:, :, 2] = special
    y = pxd.conv_transpose(x, weight, stride=3, padding=0)
    np.testing.assert_array_equal(y[0], np.tile([channels, channels, special], (channels, 6)))
    # The window ends before the last stamp's last tap, and begins with the first one's.
    y = pxd.conv_transpose(x, weight, stride=1, padding=((0, 2),))
    np.testing.assert_array_equal(y[0], np.tile([channels, 2.0 * channels, *[special] * 4], (channels, 1)))
    z = pxd.conv(x, weight, padding=((0, 2),))
    np.testing.assert_array_equal(z[0], np.tile([*[special] * 4, 2.0 * channels, channels], (channels, 1)))
