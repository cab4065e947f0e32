"""What layers refuse, and what the refusal says; before anything is drawn or replaced."""

import sys

import numpy as np
import pytest

from pyx_deconv.layers import Conv1D, Conv1DTranspose, Conv2D, Conv2DTranspose

LAYOUTS = ("channels_last", "channels_first")

OK = {"filters": 4, "kernel_size": 3}
HOSTILE = [
    *[("filters", value, TypeError, "filters must be an integer") for value in (3.0, True, None, "3", (3,))],
    *[("filters", value, ValueError, "filters=.*must be at least 1") for value in (0, -1)],
    ("filters", 2**40, ValueError, "at most 2147483647"),
    *[("kernel_size", value, TypeError, "kernel_size must be an integer or") for value in (2.0, "3", True)],
    *[("kernel_size", value, ValueError, "kernel_size=0 on axis") for value in (0, (1, 0), [0, 2])],
    ("kernel_size", (3,), ValueError, "kernel_size must have an integer for each of 2 spatial axes, not 1"),
    ("strides", (1, 2, 3), ValueError, "strides must have an integer for each of 2"),
    ("strides", 0, ValueError, "strides=0 on axis 0 must be at least 1"),
    ("strides", None, TypeError, "strides must be"),
    ("dilation_rate", -1, ValueError, "dilation_rate=-1 on axis 0"),
    ("dilation_rate", (1, 1.5), TypeError, r"dilation_rate\[1\]"),
    ("padding", "full", ValueError, "padding must be 'valid' or 'same', not 'full'"),
    ("padding", "causal", ValueError, "padding must be 'valid' or 'same', not 'causal'"),
    ("padding", 1, TypeError, "padding must be a string, not 1"),
    ("padding", ((0, 1), (0, 1)), TypeError, "padding must be a string"),
    ("data_format", "NHWC", ValueError, "data_format must be 'channels_last' or 'channels_first'"),
    ("data_format", 3, TypeError, "data_format must be a string"),
    ("activation", "rellu", ValueError, "activation must be 'linear', 'relu', .* or 'softmax', not 'rellu'"),
    ("activation", 3, TypeError, "activation must be a name"),
    ("activation", np.ones(2), TypeError, "activation must be a name"),
    ("activation", (np.sin,), TypeError, "activation must be"),
    ("activation", (np.sin, 1), TypeError, "activation must be"),
    ("use_bias", 1, TypeError, "use_bias must be True or False"),
    ("use_bias", None, TypeError, "use_bias"),
    ("kernel_initializer", "glorot", ValueError, "kernel_initializer must be 'zeros', .*, not 'glorot'"),
    ("kernel_initializer", 0.5, TypeError, "kernel_initializer must be a name"),
    ("kernel_initializer", None, TypeError, "kernel_initializer must be a name"),
    ("bias_initializer", {"class_name": "No"}, ValueError, "bias_initializer must be"),
    ("bias_initializer", {}, TypeError, "bias_initializer must be a string"),
    ("kernel_regularizer", "l2", ValueError, "kernel_regularizer must be None, .* not done here"),
    ("bias_regularizer", "l2", ValueError, "bias_regularizer must be None"),
    ("activity_regularizer", "l2", ValueError, "activity_regularizer must be None"),
    ("kernel_constraint", max, ValueError, "kernel_constraint must be None"),
    ("bias_constraint", max, ValueError, "bias_constraint must be None"),
    ("seed", 1.5, TypeError, "seed must be an integer"),
    ("seed", -1, ValueError, "seed=-1 must be at least 0"),
    ("dtype", "int8", ValueError, "dtype must be 'float16', 'bfloat16', 'float32' or 'float64', not int8"),
    ("dtype", "mixed_float16", TypeError, "dtype must be 'float16'"),
    ("dtype", complex, ValueError, "dtype must be"),
    ("dtype", 7, TypeError, "dtype must be"),
    ("name", 7, TypeError, "name must be a string"),
]  # fmt: skip
ONLY_TRANSPOSED = [
    ("output_padding", -1, ValueError, "output_padding=-1 on axis 0 must be at least 0"),
    ("output_padding", 1, ValueError, "output_padding=1 on axis 0 must be smaller than strides=1"),
    ("output_padding", (0, 0, 0), ValueError, "each of 2 spatial axes"),
    ("output_padding", 0.0, TypeError, "output_padding must be"),
]
ONLY_PLAIN = [
    ("groups", 0, ValueError, "groups=0 must be at least 1"),
    ("groups", 3, ValueError, "groups=3 must divide filters=4"),
    ("groups", 2.0, TypeError, "groups must be an integer"),
    ("groups", (2, 2), TypeError, "groups must be an integer"),
]


@pytest.mark.parametrize(
    ("layer_class", "name", "value", "error", "text"),
    [
        (layer_class, *row)
        for layer_class, rows in ((Conv2DTranspose, ONLY_TRANSPOSED), (Conv2D, ONLY_PLAIN))
        for row in HOSTILE + rows
    ],
)
def test_hostile_settings(layer_class, name, value, error, text):
    with pytest.raises(error, match=text):
        layer_class(**OK | {name: value})


def test_settings_that_keras_has_not():
    for name in ("groups", "rank"):
        with pytest.raises(TypeError, match=name):
            Conv2DTranspose(4, 3, **{name: 2})


def test_missing_ml_dtypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match="dtype='bfloat16' needs the package ml_dtypes"):
        Conv1D(1, 1, dtype="bfloat16")


X = np.ones((2, 6, 5, 4))
HOSTILE_X = [
    (X[0], ValueError, r"x must have 4 axes, \(batch, height, width, channels\), not 3.*x\[None\]"),
    (X[..., None], ValueError, r"x must have 4 axes"),
    (1.0, ValueError, "x must have 4 axes"),
    (X + 1j, TypeError, "x must be real, not complex128"),
    (X.astype(object), TypeError, "x must be of float16"),
    ("abc", TypeError, "x must be"),
    (None, TypeError, "x must be"),
    (np.ma.masked_array(X), TypeError, "masked"),
    (X[:, :0], ValueError, "must not"),
    (X[..., :0], ValueError, "must not"),
]


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("layer_class", [Conv2DTranspose, Conv2D])
@pytest.mark.parametrize(("x", "error", "text"), HOSTILE_X)
def test_hostile_inputs(layer_class, x, error, text, built):
    layer = layer_class(4, 3)
    if built:
        layer(X)
    with pytest.raises(error, match=text if not built or 0 not in np.shape(x)[3:] else "built for 4"):
        layer(x)
    assert layer.built == built, "nothing may have been drawn"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_channels(layout):
    shapes = {c: (2, 6, 5, c) if layout == "channels_last" else (2, c, 6, 5) for c in (3, 5)}
    layer = Conv2DTranspose(4, 3, data_format=layout)
    layer(np.ones(shapes[3]))
    with pytest.raises(
        ValueError, match=rf"has 5 channels \(axis ., {layout}\), but the layer was built for 3"
    ):
        layer(np.ones(shapes[5]))
    with pytest.raises(ValueError, match="built for 3"):
        layer.compute_output_shape(shapes[5])


SHAPES = [
    ((4, 4, 3), ValueError, r"input_shape must have 4 axes, \(batch, height, width, channels\), not 3"),
    (5, TypeError, "input_shape must be a sequence"),
    ("1443", TypeError, "input_shape must be a sequence"),
    (None, TypeError, "input_shape must be a sequence"),
    ((1, 4, 4.0, 3), TypeError, "input_shape must be an integer"),
    ((1, 4, True, 3), TypeError, "input_shape must be an integer"),
    ((1, -4, 4, 3), ValueError, "input_shape=-4 must be at least 0"),
    ((1, 0, 4, 3), ValueError, "input_shape axis 1 must not be 0"),
]


@pytest.mark.parametrize("method", ["build", "compute_output_shape"])
@pytest.mark.parametrize(("shape", "error", "text"), SHAPES)
def test_hostile_shapes(method, shape, error, text):
    layer = Conv2D(4, 3)
    with pytest.raises(error, match=text):
        getattr(layer, method)(shape)
    assert not layer.built


def test_shapes_that_cannot_be_built():
    with pytest.raises(ValueError, match=r"input_shape .* must say how many channels"):
        Conv2DTranspose(4, 3).build((1, 4, 4, None))
    with pytest.raises(ValueError, match="groups=2 must divide the 3 channels of input_shape"):
        Conv2D(4, 3, groups=2).build((1, 4, 4, 3))
    with pytest.raises(ValueError, match="the kernel on axis 1"):
        Conv2D(4, 3).build((1, 4, 2, 3))
    layer = Conv1DTranspose(1, 2, padding="same", output_padding=0)
    with pytest.raises(ValueError, match="leaves nothing of the full result"):
        layer(np.ones((1, 1, 1)))
    assert not layer.built


def test_calls_out_of_order():
    layer = Conv1DTranspose(2, 3)
    with pytest.raises(ValueError, match="backward of the layer 'conv1d_transpose' needs what a call"):
        layer.backward(np.ones((1, 4, 2)))
    for ask in (
        layer.count_params,
        lambda: layer.kernel,
        lambda: layer.bias,
        lambda: layer.parameters,
        lambda: layer.gradient,
        lambda: layer.set_weights([]),
        lambda: setattr(layer, "kernel", np.ones((3, 2, 1))),
        lambda: setattr(layer, "bias", np.ones(2)),
    ):
        with pytest.raises(ValueError, match="has no weights yet: call build"):
            ask()
    layer(np.ones((1, 4, 1)))
    with pytest.raises(ValueError, match="no gradient yet"):
        _ = layer.gradient
    for wrong in (np.ones((1, 6, 3)), np.ones((6, 2)), np.ones((2, 6, 2)), 1.0):
        with pytest.raises(ValueError, match=r"grad_y must have the shape .*\(1, 6, 2\), not"):
            layer.backward(wrong)
    with pytest.raises(TypeError, match="grad_y must be real"):
        layer.backward(np.ones((1, 6, 2), complex))


WEIGHTS = [
    ([np.ones((3, 2, 4))], ValueError, r"weights must have 2 arrays, \['kernel', 'bias'\], not 1"),
    ([np.ones((3, 2, 4)), np.ones(2), 1], ValueError, "not 3"),
    ([np.ones((3, 4, 2)), np.ones(2)], ValueError, r"kernel must have shape \(3, 2, 4\), not \(3, 4, 2\)"),
    ([np.ones((3, 2, 4)), np.ones(4)], ValueError, r"bias must have shape \(2,\), not \(4,\)"),
    ([np.ones((3, 2, 4)), 1j * np.ones(2)], TypeError, "bias must be real"),
    ([np.ones((3, 2, 4)), ["a", "b"]], TypeError, "bias must be of float16"),
    ("kb", TypeError, "weights must be a sequence"),
    (None, TypeError, "weights must be a sequence"),
    ({"kernel": 1, "bias": 2}, TypeError, "weights must be a sequence"),
]


@pytest.mark.parametrize(("weights", "error", "text"), WEIGHTS)
def test_hostile_weights(weights, error, text):
    """All are checked before one is replaced."""
    layer = Conv1DTranspose(2, 3, seed=0)
    layer.build((1, 5, 4))
    before = layer.get_weights()
    with pytest.raises(error, match=text):
        layer.set_weights(weights)
    for one, two in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_hostile_assignments():
    layer = Conv1DTranspose(2, 3, use_bias=False)
    layer.build((1, 5, 4))
    with pytest.raises(ValueError, match=r"kernel must have shape \(3, 2, 4\), not \(\)"):
        layer.kernel = 1
    with pytest.raises(ValueError, match="use_bias=False"):
        layer.bias = np.ones(2)
    for wrong in (np.ones(23), np.ones((24, 1)), np.ones(25)):
        with pytest.raises(ValueError, match=r"parameters must have shape \(24,\), not"):
            layer.parameters = wrong


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (lambda shape, dtype: np.ones(3), ValueError, "kernel_initializer returns must have shape"),
        (lambda shape, dtype: np.ones(shape, complex), TypeError, "initializer returns must be real"),
        (lambda shape, dtype: None, TypeError, "initializer returns must be"),
    ],
)
def test_hostile_initializers(function, error, text):
    layer = Conv1D(2, 3, kernel_initializer=function)
    with pytest.raises(error, match=text):
        layer.build((1, 5, 4))
    assert not layer.built


def test_hostile_configs():
    with pytest.raises(TypeError, match="config must be a dictionary"):
        Conv1D.from_config([1])
    with pytest.raises(TypeError, match="wheels"):
        Conv1D.from_config({"filters": 1, "kernel_size": 1, "wheels": 4})
