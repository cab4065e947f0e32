"""Activation functions against formulas of their own, their gradients by complex steps; and the layer."""

import copy
import math
import pickle
import sys
import warnings

import numpy as np
import pytest

from pyx_deconv.layers import Activation, Conv1DTranspose, Conv2DTranspose, activations

special = pytest.importorskip("scipy.special")

STEP = 1e-30j

# The textbook's formulas, in complex numbers: f(z + ih).imag / h is the derivative to rounding error.
FORMULAS = {
    "linear": lambda z: z,
    "relu": lambda z: np.where(z.real > 0, z, 0),
    "leaky_relu": lambda z: np.where(z.real > 0, z, z / 5),
    "elu": lambda z: np.where(z.real > 0, z, np.exp(z) - 1),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "gelu": lambda z: 0.5 * z * (1 + special.erf(z / math.sqrt(2))),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True),
}
DTYPES = ["float16", "float32", "float64"]
LARGE = [3e38, 1e30, 1e10, 1e4, 200.0, 90.0, 40.0, 20.0, 10.0]


def inputs(dtype="float64"):
    return np.random.default_rng(0).uniform(-6, 6, (3, 5, 7)).astype(dtype)


def test_every_name_is_tested():
    assert set(activations.NAMES) == set(FORMULAS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_values(name, dtype):
    z = inputs(dtype)
    y = Activation(name)(z)
    assert y.dtype == dtype
    assert y.shape == z.shape
    want = FORMULAS[name](z.astype(complex)).real
    np.testing.assert_allclose(y, want, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_gradients(name, dtype):
    """Of a weighted sum, so that softmax, which mixes numbers, is tested as the others are."""
    z = inputs(dtype)
    grad_y = np.random.default_rng(1).standard_normal(z.shape).astype(dtype)
    want = np.empty(z.shape)
    for index in np.ndindex(z.shape):
        moved = z.astype(complex)
        moved[index] += STEP
        want[index] = (FORMULAS[name](moved) * grad_y).sum().imag / STEP.imag
    layer = Activation(name)
    layer(z)
    grad_x = layer.backward(grad_y)
    assert grad_x.dtype == dtype
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(grad_x, want, rtol=8 * eps, atol=16 * eps)


def exact(name, z):
    """(value, derivative) of a large float, from what is left of the formulas there."""
    tail = math.exp(-abs(z)) if abs(z) < 700 else 0.0
    density = math.exp(-min(z * z, 1500) / 2) / math.sqrt(2 * math.pi)
    below = math.erfc(-z / math.sqrt(2)) / 2
    positive = {
        "linear": (z, 1),
        "relu": (z, 1),
        "leaky_relu": (z, 1),
        "elu": (z, 1),
        "sigmoid": (1 / (1 + tail), tail / (1 + tail) ** 2),
        "tanh": (math.tanh(z), 4 * tail**2 / (1 + tail**2) ** 2),
        "softplus": (z + math.log1p(tail), 1 / (1 + tail)),
        "gelu": (z * below, below + z * density),
        "silu": (z / (1 + tail), (1 + tail + z * tail) / (1 + tail) ** 2),
    }
    negative = {
        "linear": (z, 1),
        "relu": (0, 0),
        "leaky_relu": (0.2 * z, 0.2),
        "elu": (math.expm1(min(z, 0)), math.exp(min(z, 0))),
        "sigmoid": (tail / (1 + tail), tail / (1 + tail) ** 2),
        "tanh": (math.tanh(z), 4 * tail**2 / (1 + tail**2) ** 2),
        "softplus": (math.log1p(tail), tail / (1 + tail)),
        "gelu": (z * below, below + z * density),
        "silu": (z * tail / (1 + tail), (tail**2 + tail + z * tail) / (1 + tail) ** 2),
    }
    return (positive if z > 0 else negative)[name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "softmax"])
def test_large_inputs(name, dtype):
    """No overflow, no cancellation, no warning: the relative error is that of rounding."""
    z = np.array([sign * value for value in LARGE for sign in (1, -1)], dtype)
    layer = Activation(name)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        got = np.stack([layer(z), layer.backward(np.ones_like(z))])
    want = np.array([exact(name, float(value)) for value in z]).T
    tiny = float(np.finfo(dtype).tiny)
    # exp and erfc of large arguments amplify the rounding of the argument, z * z of gelu most of all.
    rounding = {"float32": 2e-4, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(got, want, rtol=rounding, atol=tiny)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_large_inputs(dtype):
    largest = np.finfo(dtype).max / 2
    layer = Activation("softmax")
    with np.errstate(all="raise"):
        y = layer(np.array([[largest, largest, -largest], [1, 1, -largest], [-largest] * 3], dtype))
        gradient = layer.backward(np.array([[1, 2, 3]] * 3, dtype))
    np.testing.assert_allclose(y, [[0.5, 0.5, 0], [0.5, 0.5, 0], [1 / 3] * 3], rtol=1e-3)
    np.testing.assert_allclose(gradient, [[-0.25, 0.25, 0]] * 2 + [[-1 / 3, 0, 1 / 3]], atol=1e-3)


@pytest.mark.parametrize("name", FORMULAS)
def test_special_numbers(name):
    """NaN stays NaN; what has a limit in plus infinity takes it."""
    y = Activation(name)(np.array([[np.nan, 1.0]]))
    assert np.isnan(y[0, 0])
    if name != "softmax":
        assert Activation(name)(np.array([np.inf])) == (1 if name in ("sigmoid", "tanh") else np.inf)


def test_kinks():
    """At 0: relu 0, leaky_relu its slope, elu 1; the frameworks agree but for JAX's leaky_relu."""
    for name, slope in (("relu", 0), ("leaky_relu", 0.2), ("elu", 1), ("linear", 1)):
        layer = Activation(name)
        assert layer(np.zeros(1)) == 0
        assert layer.backward(np.ones(1)) == slope


@pytest.mark.parametrize("name", FORMULAS)
def test_bfloat16(name):
    """Computed in float32, and rounded once."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    z = inputs().astype(ml_dtypes.bfloat16)
    narrow, wide = Activation(name), Activation(name)
    y, want = narrow(z), wide(z.astype(np.float32))
    assert y.dtype == z.dtype
    np.testing.assert_array_equal(y, want.astype(z.dtype))
    got, want = narrow.backward(z), wide.backward(z.astype(np.float32))
    assert got.dtype == z.dtype
    np.testing.assert_array_equal(got, want.astype(z.dtype))


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_softmax_takes_the_last_axis(layout):
    """As in Keras, even where that is not the channels."""
    layer = Conv2DTranspose(3, 2, data_format=layout, activation="softmax", seed=0, dtype="float64")
    y = layer(np.random.default_rng(0).standard_normal((2, 4, 5, 6)))
    np.testing.assert_allclose(y.sum(axis=-1), 1)
    assert not np.allclose(y.sum(axis=1), 1)


def square(z):
    return z * z


def twice(z):
    return 2 * z


def test_pairs():
    """Of the caller's own functions; a list is what JSON makes of a tuple."""
    z = inputs()
    for pair in ((square, twice), [square, twice]):
        layer = Activation(pair)
        np.testing.assert_array_equal(layer(z), z * z)
        np.testing.assert_array_equal(layer.backward(z), 2 * z * z)
        for other in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
            np.testing.assert_array_equal(other(z), z * z)
    layer = Conv1DTranspose(1, 1, activation=(square, twice), kernel_initializer="ones", dtype="float64")
    x = np.full((1, 1, 1), 3.0)
    assert layer(x) == 9
    assert layer.backward(x) == 18
    assert layer.grad_kernel == 54


def test_function_alone():
    layer = Conv1DTranspose(1, 1, activation=np.square, kernel_initializer="ones")
    assert layer(np.full((1, 1, 1), 3.0)) == 9
    with pytest.raises(ValueError, match=r"activation=<ufunc 'square'> has no derivative.*the pair \(func"):
        layer.backward(np.ones((1, 1, 1)))
    assert layer.grad_kernel is None


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (np.sum, ValueError, r"activation must return an array of the shape it is given, \(3,\), not \(\)"),
        (lambda z: z[:1], ValueError, r"not \(1,\)"),
        (lambda z: z * 1j, TypeError, "what activation returns must be real"),
        (lambda z: None, TypeError, "what activation returns must be of"),
    ],
)
def test_hostile_functions(function, error, text):
    z = np.ones(3)
    with pytest.raises(error, match=text):
        Activation(function)(z)
    layer = Activation((np.sin, function))
    layer(z)
    with pytest.raises(error, match=text.replace("activation", "the derivative of activation")):
        layer.backward(z)


@pytest.mark.parametrize("given", ["float32", ">f4", "float64", ">f8", "int8", "?"])
@pytest.mark.parametrize("name", ["linear", "relu"])
def test_dtype_of_the_layer(name, given):
    """Floating dtypes are kept, in native byte order; float64 is made of the rest."""
    y = Activation(name)(np.ones(2, given))
    assert y.dtype == (np.float32 if given in ("float32", ">f4") else np.float64)


def test_given_dtype():
    layer = Activation("relu", dtype="float32")
    assert layer(np.ones(2)).dtype == np.float32
    assert layer.backward(np.ones(2)).dtype == np.float32
    assert Activation("linear", dtype="float16")([1, 2]).dtype == np.float16


def test_layer_without_weights():
    layer = Activation("relu", name="last")
    assert layer.built
    assert layer.count_params() == 0
    assert layer.get_weights() == []
    layer.set_weights([])
    assert layer.parameters.shape == layer.gradient.shape == (0,)
    layer.parameters = []
    layer.build((None, 3))
    assert layer.compute_output_shape((None, 3)) == (None, 3)
    with pytest.raises(ValueError, match="weights must have 0 arrays"):
        layer.set_weights([1])


def test_out_of_order():
    layer = Activation("relu")
    with pytest.raises(ValueError, match="backward of the layer 'activation' needs what a call"):
        layer.backward(np.ones(3))
    layer(np.ones(3))
    with pytest.raises(ValueError, match=r"grad_y must have the shape .*\(3,\), not \(4,\)"):
        layer.backward(np.ones(4))
    layer(np.ones(3), training=False)
    with pytest.raises(ValueError, match="training=False"):
        layer.backward(np.ones(3))
    with pytest.raises(TypeError, match="x must be real"):
        layer(1j)
    with pytest.raises(TypeError, match="activation"):
        Activation()


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(ImportError, match="activation='gelu' needs SciPy"):
        Activation("gelu")(np.ones(2))
