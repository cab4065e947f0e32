"""`convert.from_keras`, by stand-ins; test_frameworks_convert.py asks the real layers."""

import numpy as np
import pytest
import reference

from pyx_deconv import convert

RNG = np.random.default_rng(3)


class KerasLayer:
    def __init__(self, weights, **config):
        self.weights, self.config = weights, config

    def get_weights(self):
        return self.weights

    def get_config(self):
        return {"name": "given", "trainable": True, "kernel_regularizer": None} | self.config


class Conv2DTranspose(KerasLayer):
    pass


class Activation(KerasLayer):
    pass


class ReLU(KerasLayer):
    pass


class Dropout(KerasLayer):
    pass


class Sequential:
    def __init__(self, layers):
        self.layers = layers


KERAS = {
    "filters": 3,
    "kernel_size": (3, 4),
    "strides": (2, 1),
    "padding": "same",
    "output_padding": None,
    "data_format": "channels_last",
    "dilation_rate": (1, 1),
    "activation": "linear",
    "use_bias": True,
}
KERAS_WEIGHTS = [RNG.integers(-9, 9, (3, 4, 3, 2)).astype(np.float32), np.array([1, 2, 3], np.float32)]


def layers():
    return pytest.importorskip("pyx_deconv.layers", reason="pyx_deconv.layers is not there yet")


def test_keras_layer():
    kind = layers().Conv2DTranspose
    layer = convert.from_keras(Conv2DTranspose(KERAS_WEIGHTS, **KERAS))
    assert type(layer) is kind
    x = RNG.integers(-9, 9, (1, 4, 5, 2)).astype(np.float32)
    want = reference.conv_transpose(
        x,
        np.moveaxis(KERAS_WEIGHTS[0], (-1, -2), (0, 1)),
        KERAS_WEIGHTS[1],
        stride=(2, 1),
        padding="same",
        data_format="channels_last",
    )
    np.testing.assert_array_equal(layer(x), want)
    weights, settings = convert.to_keras(layer)
    for got, given_ in zip(weights, KERAS_WEIGHTS, strict=True):
        np.testing.assert_array_equal(got, given_)
    assert settings["padding"] == "same"


def test_keras_sequential():
    layers()
    plain = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
    parts = [
        Conv2DTranspose(KERAS_WEIGHTS, **KERAS),
        Dropout([]),
        ReLU([], **plain),
        Activation([], activation="tanh"),
    ]
    model = convert.from_keras(Sequential(parts))
    x = RNG.integers(-9, 9, (1, 4, 5, 2)).astype(np.float32)
    alone = convert.from_keras(parts[0])(x)
    np.testing.assert_allclose(model(x), np.tanh(np.maximum(alone, 0)), rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "error", "words"),
    [
        (3, TypeError, "layer must be a Keras Conv1DTranspose, .* not 3"),
        (Dropout([]), TypeError, "layer must be a Keras"),
        (Conv2DTranspose([], **KERAS), ValueError, "no weights yet"),
        (
            Conv2DTranspose(KERAS_WEIGHTS, **KERAS | {"activation": {"class_name": "x"}}),
            ValueError,
            "by its name",
        ),
        (ReLU([], max_value=6.0), ValueError, r"ReLU with \{'max_value': 6.0\}"),
        (Sequential([Dropout([]), 3]), TypeError, "layer must be a Keras"),
    ],
)
def test_keras_refusals(layer, error, words):
    layers()
    with pytest.raises(error, match=words):
        convert.from_keras(layer)


def test_keras_lora():
    layers()
    layer = Conv2DTranspose(KERAS_WEIGHTS, **KERAS)
    layer.lora_enabled = True
    with pytest.raises(ValueError, match="LoRA"):
        convert.from_keras(layer)
