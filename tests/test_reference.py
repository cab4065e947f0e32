"""The oracle itself: worked by hand, against SciPy where they coincide, gradients from their definition."""

import itertools

import numpy as np
import pytest
import reference

MAP = np.array([[1, 2], [3, 4]])
KERNEL = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])


def single(function, x, weight, **settings):
    """One channel in, one channel out, no batch axis."""
    return function(x[np.newaxis], weight[np.newaxis, np.newaxis], **settings)[0]


def test_two_by_two_map_stride_one_by_hand():
    # Row 1, column 1: 1*5 + 2*4 + 3*2 + 4*1 = 23.
    by_hand = [
        [1, 4, 7, 6],
        [7, 23, 33, 24],
        [19, 53, 63, 42],
        [21, 52, 59, 36],
    ]
    np.testing.assert_array_equal(single(reference.conv_transpose, MAP, KERNEL), by_hand)


def test_two_by_two_map_stride_two_by_hand():
    # The four stamps overlap in the middle row and column only; the centre is 1*9 + 2*7 + 3*3 + 4*1 = 36.
    by_hand = [
        [1, 2, 3 + 2, 4, 6],
        [4, 5, 6 + 8, 10, 12],
        [7 + 3, 8 + 6, 9 + 14 + 9 + 4, 16 + 8, 18 + 12],
        [12, 15, 18 + 16, 20, 24],
        [21, 24, 27 + 28, 32, 36],
    ]
    np.testing.assert_array_equal(single(reference.conv_transpose, MAP, KERNEL, stride=2), by_hand)


def test_padding_and_output_padding_move_the_window_over_the_same_numbers():
    full = single(reference.conv_transpose, MAP, KERNEL, stride=2)
    beyond = np.pad(full, ((2, 2), (2, 2)))

    def window(**settings):
        return single(reference.conv_transpose, MAP, KERNEL, stride=2, **settings)

    np.testing.assert_array_equal(window(padding=1), full[1:4, 1:4])
    np.testing.assert_array_equal(window(padding=1, output_padding=1), full[1:5, 1:5])
    np.testing.assert_array_equal(window(padding="same"), full[:4, :4])
    np.testing.assert_array_equal(window(padding="same_lower"), full[1:, 1:])
    np.testing.assert_array_equal(window(padding="valid", output_padding=1), beyond[2:8, 2:8])
    np.testing.assert_array_equal(window(padding=((0, 2), (1, 0))), full[:3, 1:])
    np.testing.assert_array_equal(window(padding=((-1, -2), (0, -1))), beyond[1:9, 2:8])
    np.testing.assert_array_equal(window(padding=(1, 0), output_size=(4, 5)), full[1:5, :])
    np.testing.assert_array_equal(window(padding="same", output_size=(3, 2)), full[1:4, 1:3])


def test_convolution_by_hand():
    x = np.arange(1, 17).reshape(4, 4)
    # Corner: 1*1 + 2*2 + 3*3 + 5*4 + 6*5 + 7*6 + 9*7 + 10*8 + 11*9 = 348; 45 more for each step to the right.
    np.testing.assert_array_equal(single(reference.conv, x, KERNEL), [[348, 393], [528, 573]])
    same = [[348, 3 + 8 + 28 + 40 + 77 + 96], [9 + 20 + 33 + 52 + 70 + 90, 11 + 24 + 60 + 80]]
    np.testing.assert_array_equal(single(reference.conv, x, KERNEL, stride=2, padding="same"), same)
    lower = single(reference.conv, x, KERNEL, stride=2, padding="same_lower")
    assert lower[0, 0] == 1 * 5 + 2 * 6 + 5 * 8 + 6 * 9
    assert lower[1, 1] == 6 + 14 + 24 + 40 + 55 + 72 + 98 + 120 + 144


def naive_conv_transpose(x, weight, stride, dilation, begin, size, groups):
    """Seven nested loops over scalars, as the formula is written."""
    batch, a_channels = x.shape[:2]
    b_width = weight.shape[1]
    y = np.zeros((batch, b_width * groups, *size), np.result_type(x, weight))
    for n, a, b in itertools.product(range(batch), range(a_channels), range(b_width)):
        group = a // (a_channels // groups)
        for i in np.ndindex(*x.shape[2:]):
            for t in np.ndindex(*weight.shape[2:]):
                j = tuple(
                    p * s + q * d - o for p, s, q, d, o in zip(i, stride, t, dilation, begin, strict=True)
                )
                if all(0 <= p < m for p, m in zip(j, size, strict=True)):
                    y[(n, group * b_width + b, *j)] += x[(n, a, *i)] * weight[(a, b, *t)]
    return y


SETTINGS = [
    # x shape, weight shape, stride, padding, output_padding, dilation, groups
    ((2, 3, 5), (3, 2, 4), 2, 1, 1, 1, 1),
    ((1, 4, 6), (4, 1, 3), 3, (2,), 2, 3, 4),
    ((2, 4, 3, 4), (4, 2, 3, 2), (2, 3), ((0, 2), (1, 0)), (1, 0), (1, 2), 2),
    ((1, 2, 4, 3), (2, 3, 5, 4), (3, 1), "same", 0, (1, 2), 1),
    ((1, 2, 3, 3), (2, 3, 1, 2), 4, "same_lower", 0, 1, 1),
    ((1, 2, 2, 3, 2), (2, 1, 3, 2, 2), (2, 1, 3), ((1, 0), (-1, 1), (0, 0)), (1, 0, 2), (1, 3, 2), 2),
    ((1, 3, 1, 2, 3), (3, 2, 2, 4, 3), (1, 2, 2), "valid", 0, 1, 1),
]


def drawn(shape, seed, complex_values=False):
    rng = np.random.default_rng(seed)
    values = rng.integers(-9, 10, shape)
    return values + 1j * rng.integers(-9, 10, shape) if complex_values else values


def keywords(setting):
    return dict(zip(("stride", "padding", "output_padding", "dilation", "groups"), setting[2:], strict=True))


@pytest.mark.parametrize("setting", SETTINGS)
def test_scalar_loops_agree_exactly(setting):
    x, weight, options = drawn(setting[0], 1), drawn(setting[1], 2), keywords(setting)
    rank = x.ndim - 2
    groups = options.pop("groups")
    window = reference.transpose_window(x.shape[2:], weight.shape[2:], **options)
    want = naive_conv_transpose(
        x,
        weight,
        reference.per_axis(options["stride"], rank),
        reference.per_axis(options["dilation"], rank),
        *zip(*window, strict=True),
        groups,
    )
    np.testing.assert_array_equal(reference.conv_transpose(x, weight, **options, groups=groups), want)


@pytest.mark.parametrize("setting", SETTINGS)
def test_layouts_bias_and_missing_batch(setting):
    x, weight, options = drawn(setting[0], 1), drawn(setting[1], 2), keywords(setting)
    bias = np.arange(1, weight.shape[1] * options["groups"] + 1) * 1000
    plain = reference.conv_transpose(x, weight, **options)
    want = plain + bias.reshape(-1, *(1,) * (x.ndim - 2))
    np.testing.assert_array_equal(reference.conv_transpose(x, weight, bias, **options), want)
    np.testing.assert_array_equal(reference.conv_transpose(x[0], weight, bias, **options), want[0])
    last = reference.conv_transpose(
        np.moveaxis(x, 1, -1), weight, bias, **options, data_format="channels_last"
    )
    np.testing.assert_array_equal(last, np.moveaxis(want, 1, -1))


@pytest.mark.parametrize("complex_values", [False, True])
@pytest.mark.parametrize("setting", SETTINGS)
def test_gradients_of_conv_transpose_are_the_differences(setting, complex_values):
    x, weight = drawn(setting[0], 1, complex_values), drawn(setting[1], 2, complex_values)
    options = keywords(setting)
    bias = drawn((weight.shape[1] * options["groups"],), 3, complex_values)
    check_differences(reference.conv_transpose, reference.conv_transpose_backward, (x, weight, bias), options)


@pytest.mark.parametrize("complex_values", [False, True])
@pytest.mark.parametrize("setting", SETTINGS)
def test_gradients_of_conv_are_the_differences(setting, complex_values):
    options = keywords(setting)
    if not isinstance(options["padding"], str):
        options["padding"] = 2
    del options["output_padding"]
    weight = drawn(setting[1], 2, complex_values)
    x = drawn(
        (setting[0][0], weight.shape[1] * options["groups"], *(n + 5 for n in setting[0][2:])),
        1,
        complex_values,
    )
    bias = drawn(weight.shape[:1], 3, complex_values)
    check_differences(reference.conv, reference.conv_backward, (x, weight, bias), options)


def check_differences(forward, backward, arguments, options):
    """Every partial derivative of loss = sum(real(conj(g) * y)) as a difference.

    y is linear in each argument, so a difference over a step of one is exact, in integers as well.
    """
    y = forward(*arguments, **options)
    g = drawn(y.shape, 4, y.dtype.kind == "c")
    gradients = backward(g, *arguments[:2], **options)
    loss = np.sum((g.conj() * y).real)
    for position, gradient in enumerate(gradients):
        assert gradient.shape == arguments[position].shape
        steps = (1, 1j) if gradient.dtype.kind == "c" else (1,)
        for place in np.ndindex(gradient.shape):
            derivative = 0
            for step in steps:
                moved = list(arguments)
                moved[position] = moved[position].copy()
                moved[position][place] += step
                derivative += step * (np.sum((g.conj() * forward(*moved, **options)).real) - loss)
            assert gradient[place] == derivative, (position, place)


def test_complex_step_gives_the_weight_gradient():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 2, 4)), rng.standard_normal((2, 3, 3))
    options = {"stride": 2, "padding": 1, "output_padding": 1}
    y = reference.conv_transpose(x, weight, **options)
    got = reference.conv_transpose_backward(np.cos(y), x, weight, **options).weight
    for place in np.ndindex(weight.shape):
        moved = weight.astype(complex)
        moved[place] += 1e-30j
        slope = np.sum(np.sin(reference.conv_transpose(x, moved, **options))).imag / 1e-30
        assert got[place] == pytest.approx(slope, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("kernel", [1, 3, 4, 9])
def test_upfirdn_is_the_full_map_in_one_dimension(stride, kernel):
    signal = pytest.importorskip("scipy.signal", reason="needs SciPy")
    rng = np.random.default_rng(kernel)
    x, taps = rng.standard_normal(7), rng.standard_normal(kernel)
    got = reference.conv_transpose(x[np.newaxis], taps[np.newaxis, np.newaxis], stride=stride)[0]
    np.testing.assert_allclose(got, signal.upfirdn(taps, x, up=stride), rtol=0, atol=1e-13)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_stride_one_is_full_convolution(rank):
    signal = pytest.importorskip("scipy.signal", reason="needs SciPy")
    rng = np.random.default_rng(rank)
    x, weight = rng.standard_normal((6, 5, 4)[:rank]), rng.standard_normal((2, 3, 7)[:rank])
    full = single(reference.conv_transpose, x, weight)
    np.testing.assert_allclose(full, signal.oaconvolve(x, weight, mode="full"), rtol=0, atol=1e-12)
    big = rng.standard_normal((9, 8, 10)[:rank])
    got = single(reference.conv, big, weight)
    np.testing.assert_allclose(got, signal.correlate(big, weight, mode="valid"), rtol=0, atol=1e-12)


def test_special_values_reach_only_what_a_tap_connects():
    x = np.array([[1.0, np.nan, 2.0, 3.0]])
    weight = np.array([[[1.0, np.inf, 1.0]]])
    got = reference.conv_transpose(x, weight, stride=3, padding=((2, 0),))[0]
    # full is [1 inf 1 | nan nan nan | 2 inf 2 | 3 inf 3]; the window drops its first two cells.
    np.testing.assert_array_equal(got, [1, np.nan, np.nan, np.nan, 2, np.inf, 2, 3, np.inf, 3])


def test_conventions_agree_on_size_and_differ_by_one_pixel():
    # Kernel 3, stride 2: "same" keeps full[0:2n], padding=1 with output_padding=1 keeps full[1:2n+1].
    assert reference.transpose_window((4,), (3,), stride=2, padding="same") == [(0, 8)]
    assert reference.transpose_window((4,), (3,), stride=2, padding=1, output_padding=1) == [(1, 8)]
    # The example that everybody copies: 4x4, kernel 5, stride 2.
    assert reference.transpose_window((4, 4), (5, 5), stride=2, padding="same") == [(1, 8)] * 2
    assert reference.transpose_window((4, 4), (5, 5), stride=2, padding="valid") == [(0, 11)] * 2
    assert (
        reference.transpose_window((4, 4), (5, 5), stride=2, padding="valid", output_padding=1)
        == [(0, 12)] * 2
    )
    assert reference.transpose_window((4, 4), (5, 5), stride=3, padding="same") == [(1, 12)] * 2
    # A kernel smaller than the stride leaves nothing to crop.
    assert reference.transpose_window((4,), (1,), stride=3, padding="same_lower") == [(0, 12)]
    assert reference.conv_window((7,), (4,), stride=2, padding="same") == [(1, 4)]
    assert reference.conv_window((7,), (4,), stride=2, padding="same_lower") == [(2, 4)]
