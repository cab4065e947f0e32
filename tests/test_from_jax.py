"""`convert.from_jax`, by stand-ins; test_frameworks_convert.py asks the real modules."""

import numpy as np
import pytest
import reference
from standins import Conv, ConvTranspose, flax_operator

from pyx_deconv import convert

RNG = np.random.default_rng(3)


def spread(x, stride):
    """The input with stride - 1 zeros between its pixels."""
    out = np.zeros((x.shape[0], (x.shape[1] - 1) * stride + 1, *x.shape[2:]), x.dtype)
    out[:, ::stride] = x
    return out


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["SAME", "VALID", [(2, 1)]])
def test_haiku_transposed(stride, padding):
    """`lax.conv_transpose` as its own documents have it: a convolution of the spread-out input."""
    k, taken, made = 3, 2, 3
    w, b = RNG.integers(-9, 9, (k, made, taken)), RNG.integers(-9, 9, made)
    x = RNG.integers(-9, 9, (2, 4, taken))
    low, total = {
        "SAME": (k - 1 if stride > k - 1 else -(-(k + stride - 2) // 2), k + stride - 2),
        "VALID": (k - 1, k + stride - 2 + max(k - stride, 0)),
    }.get(str(padding), (2, 3))
    padded = np.pad(spread(x, stride), ((0, 0), (low, total - low), (0, 0)))
    want = reference.conv(padded, np.moveaxis(w, (-2, -1), (0, 1)), b, data_format="channels_last")
    op = convert.from_jax({"w": w, "b": b}, transposed=True, stride=stride, padding=padding)
    np.testing.assert_array_equal(op(x), want)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("output", [7, 8])
def test_haiku_output_shape(padding, output):
    """Haiku asks the size of the convolution back, of which it is the transpose."""
    w = RNG.integers(-9, 9, (3, 1, 1))
    size = -(-output // 2) if padding == "SAME" else (output - 3) // 2 + 1
    x = RNG.integers(-9, 9, (1, size, 1))
    flipped = np.moveaxis(w[::-1], (-1, -2), (0, 1))
    want = reference.conv_transpose(
        x, flipped, stride=2, padding=padding.lower(), output_size=output, data_format="channels_last"
    )
    op = convert.from_jax({"w": w}, transposed=True, stride=2, padding=padding, output_shape=output)
    np.testing.assert_array_equal(op(x), want)


@pytest.mark.parametrize(
    ("data_format", "layout"),
    [("NHWC", "last"), ("NCHW", "first"), ("N...C", "last"), ("NC...", "first"), ("channels_first", "first")],
)
def test_haiku_conv(data_format, layout):
    w, b = RNG.integers(-9, 9, (3, 2, 1, 4)), RNG.integers(-9, 9, 4)
    x = RNG.integers(-9, 9, (1, 5, 6, 2) if layout == "last" else (1, 2, 5, 6))
    want = reference.conv(
        x,
        np.moveaxis(w, (-1, -2), (0, 1)),
        b,
        stride=(1, 2),
        dilation=(2, 1),
        padding="same",
        groups=2,
        data_format=f"channels_{layout}",
    )
    op = convert.from_jax(
        {"w": w, "b": b if layout == "last" else b.reshape(4, 1, 1)},
        transposed=False,
        stride=(1, 2),
        rate=(2, 1),
        feature_group_count=2,
        data_format=data_format,
    )
    np.testing.assert_array_equal(op(x), want)


def test_flax_bias_that_is_not_used():
    op = convert.from_jax(Conv(use_bias=False), {"kernel": np.ones((3, 1, 1)), "bias": np.ones(1)})
    assert op.bias is None


def test_masks():
    kernel, mask = (
        RNG.integers(1, 9, (3, 1, 2)),
        np.array([1, 0, 1]).reshape(3, 1, 1) * np.ones((3, 1, 2), int),
    )
    op = flax_operator(ConvTranspose, kernel, mask=mask)
    np.testing.assert_array_equal(op.weight[0, :, ::-1].T, (kernel * mask)[:, 0])
    op = convert.from_jax({"w": kernel}, transposed=False, mask=mask)
    np.testing.assert_array_equal(op.weight[:, 0].T, (kernel * mask)[:, 0])
    with pytest.raises(ValueError, match=r"mask must have the shape of kernel, \(3, 1, 2\), not \(3,\)"):
        flax_operator(ConvTranspose, kernel, mask=np.ones(3))


@pytest.mark.parametrize(
    ("padding", "pairs"), [(1, (1, 1)), ([2], (2, 2)), (((3, 0),), (3, 0)), ("CAUSAL", (4, 0))]
)
@pytest.mark.parametrize("nnx", [False, True])
def test_flax_conv(padding, pairs, nnx):
    kernel, bias, x = RNG.integers(-9, 9, (3, 2, 4)), RNG.integers(-9, 9, 4), RNG.integers(-9, 9, (1, 9, 2))
    op = flax_operator(Conv, kernel, bias, nnx=nnx, padding=padding, kernel_dilation=2, strides=None)
    want = reference.conv(
        x,
        np.moveaxis(kernel, (-1, -2), (0, 1)),
        bias,
        dilation=2,
        padding=(pairs,),
        data_format="channels_last",
    )
    np.testing.assert_array_equal(op(x), want)


KERNEL = np.ones((3, 1, 1))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: convert.from_jax(3), TypeError, "module must be a ConvTranspose or Conv of flax"),
        (lambda: convert.from_jax(Conv()), TypeError, "params must be the parameters"),
        (
            lambda: convert.from_jax(Conv(), {"bias": 1}),
            ValueError,
            r"params must have 'kernel', and has \['bias'\]",
        ),
        (lambda: convert.from_jax(Conv(), {"kernel": KERNEL}), ValueError, "params must have 'bias'"),
        (
            lambda: convert.from_jax(Conv(kernel=KERNEL, bias=None), {}),
            TypeError,
            "must not be given with a flax.nnx",
        ),
        (lambda: convert.from_jax(Conv(), {}, stride=2), TypeError, r"settings \(stride\) are for Haiku"),
        (
            lambda: flax_operator(Conv, KERNEL, padding="CIRCULAR"),
            ValueError,
            "'CIRCULAR': it continues .* periodic",
        ),
        (lambda: flax_operator(Conv, KERNEL, padding="REFLECT"), ValueError, "'REFLECT': it mirrors"),
        (lambda: flax_operator(Conv, np.ones((3, 3, 1, 1)), padding="CAUSAL"), ValueError, "not 'CAUSAL'"),
        (
            lambda: flax_operator(ConvTranspose, KERNEL, padding="CIRCULAR"),
            ValueError,
            "for a ConvTranspose, not",
        ),
        (lambda: flax_operator(ConvTranspose, KERNEL, padding="CAUSAL"), ValueError, "not 'CAUSAL'"),
        (lambda: flax_operator(Conv, KERNEL, input_dilation=2), ValueError, "input_dilation=2"),
        (lambda: flax_operator(Conv, KERNEL, padding=[(1, 2), (1, 2)]), ValueError, "padding must have"),
        (lambda: flax_operator(Conv, KERNEL, padding=1.5), TypeError, "padding must be an integer"),
        (lambda: flax_operator(Conv, np.ones(3)), ValueError, "kernel must have 3, 4 or 5 axes"),
        (lambda: flax_operator(Conv, KERNEL, strides=0), ValueError, "strides=0"),
        (lambda: convert.from_jax({"w": KERNEL}), TypeError, "transposed must be True"),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=1),
            TypeError,
            "transposed must be True .* not 1",
        ),
        (lambda: convert.from_jax({"w": KERNEL}, {}, transposed=True), TypeError, "params must not be given"),
        (
            lambda: convert.from_jax({"v": KERNEL}, transposed=True),
            ValueError,
            r"must have 'w', and have \['v'\]",
        ),
        (lambda: convert.from_jax({"w": KERNEL}, transposed=True, rate=2), TypeError, "rate is a setting"),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=False, strides=2),
            TypeError,
            "'strides' is no setting",
        ),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=False, output_shape=2),
            TypeError,
            "output_shape is",
        ),
        (lambda: convert.from_jax({"w": KERNEL}, transposed=False, padding=len), ValueError, "haiku.pad"),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=True, data_format="NHW"),
            ValueError,
            "data_format",
        ),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=True, output_shape=4, padding=1),
            ValueError,
            "'VALID' or 'SAME' with output_shape",
        ),
    ],
)
def test_jax_refusals(make, error, words):
    with pytest.raises(error, match=words):
        make()
