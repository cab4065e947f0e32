"""Chains of layers: values and gradients, one vector of parameters, files, summaries."""

import concurrent.futures
import copy
import pickle

import numpy as np
import pytest

from pyx_deconv.layers import Activation, Conv1D, Conv1DTranspose, Conv2D, Conv2DTranspose, Sequential


def decoder(dtype="float64"):
    return Sequential(
        [
            Conv2D(5, 3, padding="same", activation="silu", dtype=dtype, seed=0),
            Conv2DTranspose(4, 4, 2, "same", activation="leaky_relu", dtype=dtype, seed=1),
            Activation("tanh"),
            Conv2DTranspose(2, 3, 2, use_bias=False, dtype=dtype, seed=2),
            Activation("sigmoid"),
        ]
    )


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def test_call_is_one_layer_after_another():
    model, x = decoder(), normal(2, 3, 4, 6)
    y = model(x)
    want = x
    for layer in decoder():
        want = layer(want)
    np.testing.assert_array_equal(y, want)
    assert model.compute_output_shape(x.shape) == y.shape == (2, 13, 17, 2)
    assert model.compute_output_shape((None, 3, None, 6)) == (None, 13, None, 2)


def test_backward_is_one_layer_after_another_in_reverse():
    model, x = decoder(), normal(2, 3, 4, 6)
    grad_y = normal(2, 13, 17, 2)
    model(x)
    grad_x = model.backward(grad_y)
    layers = list(decoder())
    for layer in layers:
        x = layer(x)
    gradient = grad_y
    for layer in reversed(layers):
        gradient = layer.backward(gradient)
    np.testing.assert_array_equal(grad_x, gradient)
    wanted = [
        part.ravel()
        for layer in layers
        if not isinstance(layer, Activation)
        for part in (layer.grad_kernel, layer.grad_bias)
        if part is not None
    ]
    np.testing.assert_array_equal(model.gradient, np.concatenate(wanted))


def test_gradient_by_central_differences():
    """Along a random direction of all parameters, and of x."""
    model, x = decoder(), normal(1, 3, 4, 6)
    y = model(x)
    weights = normal(*y.shape)
    grad_x = model.backward(weights)
    gradient, start = model.gradient, model.parameters
    direction, towards = normal(start.size), normal(*x.shape)

    def loss(step, other):
        model.parameters = start + step * direction
        return float((model(x + other * towards) * weights).sum())

    h = 1e-5
    assert (loss(h, 0) - loss(-h, 0)) / (2 * h) == pytest.approx(float(gradient @ direction), rel=1e-6)
    assert (loss(0, h) - loss(0, -h)) / (2 * h) == pytest.approx(float((grad_x * towards).sum()), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_parameters_are_float64_and_lose_nothing(dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    model = decoder(dtype)
    model.build((None, 3, 4, 6))
    before, vector = model.get_weights(), model.parameters
    assert vector.dtype == np.float64
    assert vector.shape == (model.count_params(),) == (9 * 6 * 5 + 5 + 16 * 5 * 4 + 4 + 9 * 4 * 2,)
    np.testing.assert_array_equal(vector, np.concatenate([w.ravel() for w in before]))
    model.parameters = vector[::-1]
    np.testing.assert_array_equal(model.parameters, vector[::-1])
    assert not np.array_equal(model.get_weights()[0], before[0])
    model.parameters = vector
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
        assert one.dtype == two.dtype
    vector[...] = 0
    assert model.parameters.any(), "the vector is a copy"


def test_fitting_an_upsampling():
    """scipy.optimize finds the kernel that made the data: the loss is a parabola in it."""
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    small = rng.standard_normal((8, 6, 6, 1))
    teacher = Sequential([Conv2DTranspose(1, 4, 2, "same", kernel_initializer="bilinear", dtype="float64")])
    large = teacher(small)
    model = Sequential([Conv2DTranspose(1, 4, 2, "same", dtype="float64", seed=1)])
    model.build(small.shape)

    def fun(parameters):
        model.parameters = parameters
        difference = model(small) - large
        model.backward(2 * difference / difference.size)
        return (difference**2).mean(), model.gradient

    start = fun(model.parameters)[0]
    found = optimize.minimize(fun, x0=model.parameters, jac=True)
    assert found.fun < 1e-9 * start
    model.parameters = found.x
    np.testing.assert_allclose(model[0].kernel, teacher[0].kernel, atol=1e-3)
    assert optimize.check_grad(
        lambda p: fun(p)[0], lambda p: fun(p)[1], model.parameters + 0.1, seed=0
    ) < 1e-5 * np.linalg.norm(fun(model.parameters + 0.1)[1])


def test_weights_and_files(tmp_path):
    model, other, x = decoder(), decoder(), normal(1, 3, 4, 6)
    y = model(x)
    model.parameters = model.parameters + 1
    other.build(x.shape)
    np.testing.assert_array_equal(other(x), y)
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(other(x), model(x))
    assert len(model.get_weights()) == 5
    third = decoder("float32")
    third.build(x.shape)
    model.save_weights(tmp_path / "w.npz")
    third.load_weights(tmp_path / "w.npz")
    np.testing.assert_array_equal(third.parameters, model.parameters.astype(np.float32))
    with np.load(tmp_path / "w.npz") as archive:
        assert archive.files == ["0.kernel", "0.bias", "1.kernel", "1.bias", "3.kernel"]
    shorter = decoder()[:3]
    shorter.build(x.shape)
    before = shorter.parameters
    with pytest.raises(ValueError, match="must hold"):
        shorter.load_weights(tmp_path / "w.npz")
    with pytest.raises(ValueError, match="4 arrays"):
        shorter.set_weights(model.get_weights())
    bad = shorter.get_weights()
    bad[0], bad[3] = bad[0] + 1, np.ones(9)
    with pytest.raises(ValueError, match=r"1\.bias must have shape \(4,\), not \(9,\)"):
        shorter.set_weights(bad)
    np.testing.assert_array_equal(shorter.parameters, before)


def test_more_than_ten_layers():
    """Names are not told apart by their first characters."""
    model = Sequential([Conv1D(1, 1, kernel_initializer="ones", dtype="float64") for _ in range(12)])
    model.build((None, None, 1))
    values = np.arange(24.0)
    model.parameters = values
    for index, layer in enumerate(model):
        assert (layer.kernel.item(), layer.bias.item()) == (2 * index, 2 * index + 1)
    np.testing.assert_array_equal(model.parameters, values)


def test_nesting():
    inner = Sequential([Conv1DTranspose(2, 2, 2, dtype="float64", seed=0), Activation("relu")], name="up")
    model = Sequential([inner, Conv1D(1, 3, dtype="float64", seed=1)])
    flat = Sequential(
        [
            Conv1DTranspose(2, 2, 2, dtype="float64", seed=0),
            Activation("relu"),
            Conv1D(1, 3, dtype="float64", seed=1),
        ]
    )
    x = normal(1, 5, 3)
    np.testing.assert_array_equal(model(x), flat(x))
    np.testing.assert_array_equal(model.backward(normal(1, 8, 1)), flat.backward(normal(1, 8, 1)))
    np.testing.assert_array_equal(model.gradient, flat.gradient)
    model.parameters = flat.parameters + 1
    assert (inner.parameters == flat.parameters[: inner.count_params()] + 1).all()
    assert "0  up" in model.summary()


def test_summary():
    model = Sequential(
        [Conv2DTranspose(100, 3, strides=2, name="up", activation="relu"), Activation("sigmoid")],
        name="decoder",
    )
    assert model.summary() == (
        "decoder: Sequential\n"
        "layer                           output shape  parameters\n"
        "--------------------------------------------------------\n"
        "0  up          Conv2DTranspose  ?                      ?\n"
        "1  activation  Activation       ?                      0\n"
        "--------------------------------------------------------\n"
        "total                                                  ?"
    )
    model(np.ones((7, 4, 5, 3)))
    assert model.summary() == (
        "decoder: Sequential\n"
        "layer                           output shape        parameters\n"
        "--------------------------------------------------------------\n"
        "0  up          Conv2DTranspose  (None, 9, 11, 100)       2,800\n"
        "1  activation  Activation       (None, 9, 11, 100)           0\n"
        "--------------------------------------------------------------\n"
        "total                                                    2,800"
    )


def test_as_a_sequence():
    layers = [Conv1D(2, 3), Activation("relu"), Conv1D(1, 3)]
    model = Sequential(layers)
    assert len(model) == 3
    assert list(model) == layers == list(model.layers)
    assert model[0] is layers[0]
    assert model[-1] is layers[2]
    assert list(model[1:]) == layers[1:]
    assert isinstance(model[:2], Sequential)
    with pytest.raises(IndexError):
        model[3]
    with pytest.raises(AttributeError):
        model.layers = []
    assert repr(model) == (
        "Sequential([Conv1D(filters=2, kernel_size=(3,)), Activation(activation='relu'), "
        "Conv1D(filters=1, kernel_size=(3,))])"
    )
    assert repr(Sequential(layers, name="m")).endswith("], name='m')")
    assert len(Sequential(each for each in layers)) == 3


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies(how):
    model, x = decoder(), normal(1, 3, 4, 6)
    y = model(x)
    other = how(model)
    np.testing.assert_array_equal(other(x), y)
    assert other.summary() == model.summary()
    other.parameters = other.parameters * 2
    np.testing.assert_array_equal(model(x), y)


def test_threads():
    want, xs = decoder(), [normal(1, 3 + n % 2, 5, 6) for n in range(24)]
    expected = [want(x) for x in xs]
    model = decoder()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for got, wanted in zip(pool.map(model, xs), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_without_training():
    model, x = decoder(), normal(1, 3, 4, 6)
    y = model(x)
    np.testing.assert_array_equal(model(x, training=False), y)
    with pytest.raises(ValueError, match="training=False"):
        model.backward(y)


CONV = Conv1D(1, 1)


@pytest.mark.parametrize(
    ("layers", "error", "text"),
    [
        ([], ValueError, "layers must not be empty"),
        (3, TypeError, "layers must be a sequence of layers, not 3"),
        ([Conv1D(1, 1), "relu"], TypeError, r"layers\[1\] must be a layer, not 'relu' \(str\)"),
        ([Conv1D], TypeError, r"layers\[0\] must be a layer"),
        ("ab", TypeError, r"layers\[0\] must be a layer, not 'a'"),
        ([CONV, CONV], ValueError, "comes twice"),
        ([Sequential([CONV]), CONV], ValueError, "comes twice"),
    ],
)
def test_hostile_layers(layers, error, text):
    with pytest.raises(error, match=text):
        Sequential(layers)


def test_out_of_order():
    model = decoder()
    for ask in (
        model.count_params,
        lambda: model.parameters,
        lambda: setattr(model, "parameters", [1]),
        lambda: model.set_weights([]),
    ):
        with pytest.raises(ValueError, match="'sequential' has no weights yet"):
            ask()
    assert not model.built
    with pytest.raises(ValueError, match="needs what a call"):
        model.backward(np.ones((1, 13, 17, 2)))
    model(normal(1, 3, 4, 6))
    with pytest.raises(ValueError, match="no gradient yet"):
        _ = model.gradient
    with pytest.raises(ValueError, match="grad_y must have the shape"):
        model.backward(np.ones((1, 13, 17, 3)))
    with pytest.raises(ValueError, match="parameters must have shape"):
        model.parameters = np.ones(3)
    with pytest.raises(TypeError, match="name must be a string"):
        Sequential([Conv1D(1, 1)], name=3)
    with pytest.raises(TypeError, match="input_shape must be a sequence"):
        model.build(4)
    with pytest.raises(TypeError, match="x must be"):
        decoder()("photo.png")
