"""Initializers: bounds that are exact, statistics of many numbers, structure, and what is refused."""

import math

import numpy as np
import pytest

from pyx_deconv.layers import Conv1DTranspose, Conv2D, Conv2DTranspose, Conv3DTranspose, initializers

SHAPE = (5, 4, 60, 80)  # 96,000 numbers
FAN_IN, FAN_OUT = 5 * 4 * 60, 5 * 4 * 80  # as Keras counts: the last axis but one, and the last
# Standard normal, cut off at -2 and 2: its variance is 1 - 4 phi(2) / (2 Phi(2) - 1).
CUT = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


def drawn(initializer, shape=SHAPE, seed=0):
    return initializers.get(initializer, "kernel_initializer").draw(shape, np.random.default_rng(seed))


def check_moments(values, mean, stddev, kurtosis):
    """Within five standard errors; the kurtosis tells the distributions apart."""
    n = values.size
    assert abs(values.mean() - mean) <= 5 * stddev / math.sqrt(n)
    assert abs(values.var() / stddev**2 - 1) <= 5 * math.sqrt((kurtosis - 1) / n)
    fourth = (((values - mean) / stddev) ** 4).mean()
    assert abs(fourth - kurtosis) <= 0.1


UNIFORM, NORMAL = 9 / 5, 3.0
# E z^4 of the cut distribution, by parts: 3 E z^2 - 2^3 * 2 phi(2) / (2 Phi(2) - 1)
TRUNCATED = (3 * CUT**2 - 8 * 2 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))) / CUT**4


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot", 2 / (FAN_IN + FAN_OUT)),
        ("he", 2 / FAN_IN),
        ("lecun", 1 / FAN_IN),
    ],
)
def test_scaled(name, variance):
    stddev = math.sqrt(variance)
    values = drawn(f"{name}_uniform")
    limit = math.sqrt(3 * variance)
    assert abs(values).max() <= limit
    assert abs(values).max() >= 0.999 * limit
    check_moments(values, 0, stddev, UNIFORM)
    values = drawn(f"{name}_normal")
    assert abs(values).max() <= 2 * stddev / CUT
    assert abs(values).max() >= 0.99 * 2 * stddev / CUT
    check_moments(values, 0, stddev, TRUNCATED)


@pytest.mark.parametrize(
    ("mode", "n"), [("fan_in", FAN_IN), ("fan_out", FAN_OUT), ("fan_avg", (FAN_IN + FAN_OUT) / 2)]
)
def test_variance_scaling(mode, n):
    values = drawn(initializers.VarianceScaling(5.0, mode, "untruncated_normal"))
    check_moments(values, 0, math.sqrt(5 / n), NORMAL)
    assert abs(values).max() > 3 * math.sqrt(5 / n)


def test_truncation_constant():
    assert pytest.approx(CUT, rel=1e-14) == initializers.TRUNCATED


def test_simple_distributions():
    check_moments(drawn("random_normal"), 0, 0.05, NORMAL)
    check_moments(drawn(initializers.RandomNormal(3.0, 0.5)), 3, 0.5, NORMAL)
    check_moments(drawn("random_uniform"), 0, 0.1 / math.sqrt(12), UNIFORM)
    values = drawn(initializers.RandomUniform(2, 3))
    check_moments(values, 2.5, 1 / math.sqrt(12), UNIFORM)
    assert 2 <= values.min() < 2.001 < 2.999 < values.max() < 3
    values = drawn(initializers.TruncatedNormal(1.0, 0.5))
    check_moments(values, 1, 0.5 * CUT, TRUNCATED)
    assert 0 <= values.min() < 0.01
    assert 1.99 < values.max() <= 2
    assert (drawn(initializers.RandomNormal(2.0, 0.0)) == 2).all()


def test_constants():
    assert not drawn("zeros").any()
    assert (drawn("ones") == 1).all()
    assert not drawn("constant").any()
    assert (drawn(initializers.Constant(0.25)) == 0.25).all()


def test_fans():
    assert initializers.fans((7,)) == (7, 7)
    assert initializers.fans((3, 5, 7)) == (15, 21)
    assert initializers.fans(SHAPE) == (FAN_IN, FAN_OUT)


def test_fans_of_a_layer():
    """Keras takes the last axis but one for the input, which in a transposed layer are the filters."""
    for layer_class in (Conv2DTranspose, Conv2D):
        layer = layer_class(400, 3, kernel_initializer="lecun_uniform", seed=0)
        layer.build((1, 8, 8, 25))
        fan = 9 * (400 if layer_class is Conv2DTranspose else 25)
        assert abs(layer.kernel).max() == pytest.approx(math.sqrt(3 / fan), rel=1e-3)


@pytest.mark.parametrize("name", ["random_normal", "truncated_normal", "random_uniform", "he_normal"])
def test_seeds(name):
    """An initializer's own seed repeats; without one the numbers come from the generator of the layer."""
    free = initializers.get(name, "kernel_initializer")
    rng = np.random.default_rng(1)
    assert not np.array_equal(free.draw((3, 4, 5), rng), free.draw((3, 4, 5), rng))
    np.testing.assert_array_equal(drawn(name, seed=3), drawn(name, seed=3))
    bound = initializers.get({"class_name": name, "config": {"seed": 7}}, "kernel_initializer")
    np.testing.assert_array_equal(drawn(bound, seed=1), drawn(bound, seed=2))
    assert not np.array_equal(drawn(bound), drawn(free))


def test_calling_one():
    """As in Keras: shape and dtype."""
    values = initializers.VarianceScaling(seed=1)((3, 4, 5), "float16")
    assert (values.shape, values.dtype) == ((3, 4, 5), np.float16)
    assert initializers.Constant(2)((3,)).dtype == np.float32
    with pytest.raises(ValueError, match="shape=0"):
        initializers.Constant(2)((3, 0))
    with pytest.raises(ValueError, match="dtype"):
        initializers.Constant(2)((3,), int)


def test_equality_and_repr():
    assert initializers.RandomNormal(0.0, 0.1) == initializers.RandomNormal(0.0, 0.1)
    assert initializers.RandomNormal(0.0, 0.1) != initializers.TruncatedNormal(0.0, 0.1)
    assert repr(initializers.RandomNormal(0.0, 0.1)) == "RandomNormal(mean=0.0, stddev=0.1, seed=None)"
    with pytest.raises(AttributeError):
        initializers.Constant(1).value = 2


@pytest.mark.parametrize("name", initializers.NAMED)
def test_names_and_configs(name):
    """Names, names in Keras' capitals, and dictionaries as in Keras' configuration give the same."""
    one = initializers.get(name, "kernel_initializer")
    capitals = "ICNR" if name == "icnr" else "".join(part.capitalize() for part in name.split("_"))
    assert initializers.get(capitals, "kernel_initializer") == one
    keras = {"module": "keras.initializers", "class_name": capitals, "config": {}, "registered_name": None}
    assert initializers.get(keras, "kernel_initializer") == one
    shown = initializers.config_of(one)
    assert isinstance(shown, str)
    assert initializers.get(shown, "kernel_initializer") == one
    full = {"class_name": type(one).__name__, "config": one.get_config()}
    assert initializers.get(full, "kernel_initializer") == one


def test_class_for_an_object():
    assert initializers.get(initializers.Bilinear, "kernel_initializer") == initializers.Bilinear()


# ---------------------------------------------------------------- bilinear


def triangle(k, s):
    """The formula of the documentation, tap by tap."""
    h = [max(0.0, 1 - abs(t - (k - 1) / 2) / s) for t in range(k)]
    return [h[t] / sum(h[u] for u in range(k) if u % s == t % s) for t in range(k)]


@pytest.mark.parametrize(
    ("k", "s", "want"),
    [
        (4, 2, [0.25, 0.75, 0.75, 0.25]),
        (3, 2, [0.5, 1, 0.5]),
        (2, 2, [1, 1]),
        (5, 3, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
        (1, 1, [1]),
        (3, 1, [0, 1, 0]),
    ],
)
def test_bilinear_of_one_axis(k, s, want):
    np.testing.assert_allclose(triangle(k, s), want)
    kernel = initializers.Bilinear(s).draw((k, 1, 1), None)
    np.testing.assert_allclose(kernel.ravel(), want)


def test_bilinear_structure():
    """A product over the axes on the pairs of equal channels, zero on all others."""
    kernel = initializers.Bilinear((2, 3)).draw((4, 5, 3, 2), None)
    plane = np.outer(triangle(4, 2), triangle(5, 3))
    for out in range(3):
        for given in range(2):
            np.testing.assert_allclose(kernel[:, :, out, given], plane * (out == given), atol=1e-15)


@pytest.mark.parametrize("layer_class", [Conv1DTranspose, Conv2DTranspose, Conv3DTranspose])
@pytest.mark.parametrize(("k", "s"), [(4, 2), (3, 2), (2, 2), (6, 3), (5, 3), (4, 3), (8, 4), (5, 2), (9, 2)])
def test_bilinear_keeps_a_constant(layer_class, k, s):
    """Inside, where the kernels of all neighbours reach; at the ends what lies outside counts as 0."""
    rank = int(layer_class.__name__[4])
    layer = layer_class(2, k, s, kernel_initializer="bilinear", dtype="float64")
    y = layer(np.full((1, *(9,) * rank, 2), 7.0))
    inside = y[(slice(None), *(slice(k, -k),) * rank)]
    assert inside.size
    np.testing.assert_allclose(inside, 7, rtol=1e-14)


@pytest.mark.parametrize(("k", "s"), [(4, 2), (6, 3), (3, 2), (5, 3)])
def test_bilinear_keeps_a_line(k, s):
    """With the sizes of linear interpolation, k = 2 s or 2 s - 1, a ramp stays a ramp."""
    layer = Conv1DTranspose(1, k, s, kernel_initializer="bilinear", dtype="float64")
    y = layer(np.arange(9.0).reshape(1, 9, 1)).ravel()[k:-k]
    np.testing.assert_allclose(np.diff(y), 1 / s, rtol=1e-12)


# ---------------------------------------------------------------- ICNR


@pytest.mark.parametrize(("k", "s"), [(2, 2), (4, 2), (6, 3), (6, 2), (3, 3), (4, 4)])
@pytest.mark.parametrize("layer_class", [Conv1DTranspose, Conv2DTranspose])
def test_icnr_gives_no_checkerboard(layer_class, k, s):
    """All phases of the kernel are equal, and so are all pixels of a block of the output."""
    rank = int(layer_class.__name__[4])
    layer = layer_class(3, k, s, kernel_initializer="icnr", dtype="float64", seed=0)
    y = layer(np.random.default_rng(0).standard_normal((1, *(5,) * rank, 4)))
    for axis in range(rank):
        parts = [layer.kernel.take(range(phase, k, s), axis=axis) for phase in range(s)]
        for part in parts:
            np.testing.assert_array_equal(part, parts[0])
        moved = np.moveaxis(y, 1 + axis, 0)
        # The same sums in another order, as the kernels see fit
        blocks = moved.reshape(-1, s, *moved.shape[1:])
        np.testing.assert_allclose(blocks, np.broadcast_to(blocks[:, :1], blocks.shape), atol=1e-13)
    assert len(np.unique(layer.kernel)) == (k // s) ** rank * 12, "the parts themselves are random"


def test_icnr_draws_a_part():
    """By the initializer that it is given, with the fans of a part."""
    kernel = initializers.ICNR("he_uniform", (2, 3)).draw((4, 3, 30, 40), np.random.default_rng(0))
    assert abs(kernel).max() == pytest.approx(math.sqrt(6 / (2 * 1 * 30)), rel=1e-2)
    part = initializers.get("he_uniform", "").draw((2, 1, 30, 40), np.random.default_rng(0))
    np.testing.assert_array_equal(kernel[::2, ::3], part)
    of_function = initializers.ICNR(lambda shape, dtype: np.arange(4.0).reshape(shape), 2)
    kernel = of_function.draw((8, 1, 1), np.random.default_rng(0))
    assert kernel.ravel().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: initializers.Constant("1"), TypeError, "value must be a number, not '1'"),
        (lambda: initializers.Constant(math.nan), ValueError, "value must be finite"),
        (lambda: initializers.Constant(True), TypeError, "value must be a number"),
        (lambda: initializers.RandomNormal(1j), TypeError, "mean must be a number"),
        (lambda: initializers.RandomNormal(0, -1), ValueError, "stddev=-1 must be at least 0"),
        (lambda: initializers.RandomNormal(seed=-1), ValueError, "seed=-1"),
        (lambda: initializers.TruncatedNormal(stddev=math.inf), ValueError, "stddev must be finite"),
        (lambda: initializers.RandomUniform(2, 1), ValueError, "minval=2 must not be larger than maxval=1"),
        (lambda: initializers.VarianceScaling(0), ValueError, "scale=0 must be larger than 0"),
        (lambda: initializers.VarianceScaling(1, "fan"), ValueError, "mode must be 'fan_in', 'fan_out' or"),
        (lambda: initializers.VarianceScaling(1, "fan_in", "normal"), ValueError, "distribution must be"),
        (lambda: initializers.VarianceScaling(seed=1.5), TypeError, "seed must be an integer"),
        (lambda: initializers.Bilinear(0), ValueError, "factor=0"),
        (lambda: initializers.Bilinear("2"), TypeError, "factor must be an integer"),
        (lambda: initializers.ICNR("no"), ValueError, "initializer must be 'zeros'"),
        (lambda: initializers.ICNR("zeros", (2, 0)), ValueError, "factor=0"),
    ],
)
def test_hostile_settings(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_what_does_not_fit_a_layer():
    def build(layer_class, **options):
        layer_class(4, **{"kernel_size": 4, "strides": 2} | options).build((1, 12, 12, 4))

    with pytest.raises(ValueError, match="kernel size 3 on axis 0 must be a multiple of the strides, 2, for"):
        build(Conv2DTranspose, kernel_size=3, kernel_initializer="icnr")
    with pytest.raises(ValueError, match="factor of Bilinear must be given"):
        build(Conv2D, kernel_initializer="bilinear")
    with pytest.raises(ValueError, match="factor of ICNR must be given"):
        build(Conv2DTranspose, dilation_rate=2, kernel_initializer="icnr")
    with pytest.raises(ValueError, match=r"Bilinear is for kernels, and not for a weight of shape \(4,\)"):
        build(Conv2DTranspose, bias_initializer="bilinear")
    with pytest.raises(ValueError, match="factor must have an integer for each of 2 spatial axes"):
        build(Conv2DTranspose, kernel_initializer=initializers.Bilinear((2, 2, 2)))
    build(Conv2D, kernel_initializer=initializers.Bilinear(2))
