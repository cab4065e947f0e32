"""What layers keep: weights, copies, threads, files and configurations."""

import concurrent.futures
import copy
import json
import math
import pickle
import sys

import numpy as np
import pytest

from pyx_deconv.layers import (
    Activation,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    initializers,
)

EVERY = (Conv1DTranspose, Conv2DTranspose, Conv3DTranspose, Conv1D, Conv2D, Conv3D)


def normal(shape):
    return np.random.default_rng(math.prod(shape)).standard_normal(shape)


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("layer_class", EVERY)
def test_shapes_and_counts(layer_class):
    rank = int(layer_class.__name__[4])
    layer = layer_class(6, (4, 3, 2)[:rank])
    assert not layer.built
    assert layer.get_weights() == []
    layer.build((None,) * (rank + 1) + (5,))
    kernel = (*(4, 3, 2)[:rank], *((6, 5) if "Transpose" in layer_class.__name__ else (5, 6)))
    assert layer.built
    assert [weight.shape for weight in layer.get_weights()] == [kernel, (6,)]
    assert (layer.kernel.shape, layer.bias.shape) == (kernel, (6,))
    assert layer.count_params() == math.prod(kernel) + 6
    without = layer_class(6, (4, 3, 2)[:rank], use_bias=False)
    without.build((None,) * (rank + 1) + (5,))
    assert without.bias is None
    assert without.count_params() == math.prod(kernel)


def test_weights_are_copies_that_nobody_can_change():
    layer = Conv2DTranspose(2, 3, seed=0)
    layer.build((None, None, None, 3))
    for array in (layer.kernel, layer.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    kernel = np.ones((3, 3, 2, 3), order="F")
    layer.kernel = kernel
    kernel[...] = 5
    assert (layer.kernel == 1).all()
    got = layer.get_weights()
    got[0][...] = 7
    assert (layer.kernel == 1).all()


def test_new_weights_are_used_at_once():
    """No call finds an operator of weights that were replaced, whichever way that was done."""
    layer = Conv1DTranspose(1, 2, kernel_initializer="ones", dtype="float64")
    x = np.ones((1, 1, 1))
    assert layer(x).ravel().tolist() == [1, 1]
    layer.kernel = [[[2]], [[3]]]
    assert layer(x).ravel().tolist() == [2, 3]
    layer.bias = [10]
    assert layer(x).ravel().tolist() == [12, 13]
    layer.set_weights([[[[4]], [[5]]], [0]])
    assert layer(x).ravel().tolist() == [4, 5]
    layer.parameters = [6, 7, 1]
    assert layer(x).ravel().tolist() == [7, 8]


def test_backward_belongs_to_the_last_call():
    """It takes the x and the kernel of the last call, even if the kernel was replaced since then."""
    layer = Conv1DTranspose(1, 1, dtype="float64", kernel_initializer="ones")
    layer(np.full((1, 1, 1), 3.0))
    layer(np.full((1, 1, 1), 5.0))
    layer.kernel = [[[100]]]
    assert layer.backward([[[2.0]]]).item() == 2
    assert layer.grad_kernel.item() == 10
    layer.backward([[[4.0]]])
    assert layer.grad_kernel.item() == 20
    layer(np.ones((1, 1, 1)), training=False)
    with pytest.raises(ValueError, match="training=False"):
        layer.backward([[[2.0]]])


def test_nothing_is_kept_without_training():
    layer = Conv1DTranspose(1, 1, activation="relu")
    x = np.ones((1, 4, 1), np.float32)
    before = sys.getrefcount(x)
    layer(x, training=False)
    assert sys.getrefcount(x) == before
    layer(x)
    assert sys.getrefcount(x) > before


def test_building_twice():
    """The first weights stay."""
    layer = Conv2D(2, 3)
    layer.build((None, 8, 8, 3))
    kernel = layer.kernel
    layer.build((1, None, None, 3))
    assert layer.kernel is kernel
    with pytest.raises(ValueError, match="built for 3"):
        layer.build((1, 8, 8, 4))


def test_seed():
    """One generator gives the kernel, then the bias; None gives others each time."""

    def weights(**options):
        layer = Conv2DTranspose(4, 3, bias_initializer="random_normal", **options)
        layer.build((1, 5, 5, 6))
        return layer.get_weights()

    for one, two in zip(weights(seed=5), weights(seed=5), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(weights(seed=5)[0], weights(seed=6)[0])
    assert not np.array_equal(weights()[0], weights()[0])
    rng = np.random.default_rng(5)
    kernel = initializers.VarianceScaling(1.0, "fan_avg", "uniform").draw((3, 3, 4, 6), rng)
    np.testing.assert_array_equal(weights(seed=5)[0], kernel.astype(np.float32))
    np.testing.assert_array_equal(weights(seed=5)[1], (0.05 * rng.standard_normal(4)).astype(np.float32))


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies(how):
    """A copy has the weights, nothing of the last call, and a life of its own."""
    layer = Conv2DTranspose(3, 3, 2, activation="gelu", seed=0, name="up")
    x = normal((1, 4, 4, 2))
    y = layer(x)
    layer.backward(y)
    other = how(layer)
    assert other.get_config() == layer.get_config()
    with pytest.raises(ValueError, match="call the layer first"):
        other.backward(y)
    assert other.grad_kernel is None
    np.testing.assert_array_equal(other(x), y)
    with pytest.raises(ValueError, match="read-only"):
        other.kernel[...] = 0
    other.kernel = np.zeros(other.kernel.shape)
    np.testing.assert_array_equal(layer(x), y)
    assert not np.array_equal(other(x), y)
    with pytest.raises(AttributeError, match="strides"):
        other.strides = 3
    unbuilt = how(Conv1D(2, 3))
    assert not unbuilt.built


def test_pickles_are_small():
    """They hold no packed weights, no inputs and no results."""
    layer = Conv2DTranspose(8, 3)
    layer.build((None, None, None, 8))
    before = len(pickle.dumps(layer))
    layer(np.ones((4, 32, 32, 8)))
    layer.backward(np.ones((4, 34, 34, 8)))
    assert len(pickle.dumps(layer)) < before + 100


def test_threads():
    """The first call builds and prepares; all threads get what one alone would."""
    want = Conv2DTranspose(8, 4, 2, "same", activation="relu", seed=0)
    xs = [normal((1, 7 + n % 3, 9, 5)) for n in range(40)]
    expected = [want(x) for x in xs]
    for _ in range(5):
        layer = Conv2DTranspose(8, 4, 2, "same", activation="relu", seed=0)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for got, wanted in zip(pool.map(layer, xs), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_threads_build_once():
    """Whoever comes first draws the weights; with no seed all others would have drawn different ones."""
    for _ in range(10):
        layer, x = Conv1D(4, 3), normal((1, 30, 40))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            results = list(pool.map(layer, [x] * 8))
        for result in results:
            np.testing.assert_array_equal(result, results[0])


def test_threads_never_use_replaced_weights():
    """What is returned belongs to one of the kernels; the last one set is the one used afterwards."""
    layer = Conv1DTranspose(1, 1, use_bias=False)
    x = np.ones((1, 1, 1))
    layer(x)

    def replace(value):
        layer.kernel = [[[value]]]
        return layer(x).item()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(replace, range(400))) <= set(range(400))
    for value in range(20):
        assert replace(value) == value


# ---------------------------------------------------------------- files


def test_saving_and_loading(tmp_path):
    path = tmp_path / "weights.npz"
    layer = Conv2DTranspose(3, 3, seed=0, bias_initializer="random_normal")
    layer.build((1, 4, 4, 2))
    layer.save_weights(path)
    other = Conv2DTranspose(3, 3, dtype="float64")
    other.build((1, 4, 4, 2))
    other.load_weights(str(path))
    for one, two in zip(layer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
        assert two.dtype == np.float64
    with np.load(path) as archive:
        assert archive.files == ["kernel", "bias"]
    assert [each.name for each in tmp_path.iterdir()] == ["weights.npz"]


def test_saving_bfloat16(tmp_path):
    pytest.importorskip("ml_dtypes")
    layer, other = Conv1D(3, 3, dtype="bfloat16", seed=0), Conv1D(3, 3, dtype="bfloat16")
    for each in (layer, other):
        each.build((1, 4, 2))
    layer.save_weights(tmp_path / "w.npz")
    other.load_weights(tmp_path / "w.npz")
    np.testing.assert_array_equal(layer.kernel, other.kernel)


def test_saving_is_all_or_nothing(tmp_path, monkeypatch):
    """A full disk leaves the file that was there, and nothing else."""
    path = tmp_path / "weights.npz"
    layer = Conv1D(3, 3, seed=0)
    layer.build((1, 4, 2))
    layer.save_weights(path)
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half of it")
        raise OSError("no space left")

    with path.open("rb") as reader:
        layer.kernel = layer.kernel + 1
        layer.save_weights(path)
        assert reader.read() == before, "who reads the old file is not given half of the new one"
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left"):
        layer.save_weights(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["weights.npz"]


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"kernel": np.ones((3, 2, 3))}, "must hold \\['bias', 'kernel'\\], and holds \\['kernel'\\]"),
        ({"kernel": np.ones((3, 2, 3)), "bias": np.ones(3), "more": np.ones(1)}, "more"),
        ({"kernel": np.ones((3, 2, 3)), "bias": np.ones(4)}, "bias must have shape \\(3,\\), not \\(4,\\)"),
        ({"kernel": np.ones((3, 3, 2)), "bias": np.ones(3)}, "kernel must have shape"),
        ({"kernel": np.ones((3, 2, 3)), "bias": np.ones(3, complex)}, "bias must be real"),
        ({"kernel": np.ones((3, 2, 3)), "bias": np.full(3, None)}, "Object arrays|allow_pickle"),
    ],
)
def test_wrong_files_change_nothing(arrays, text, tmp_path):
    layer = Conv1D(3, 3, seed=0)
    layer.build((1, 4, 2))
    before = layer.get_weights()
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises((TypeError, ValueError), match=text):
        layer.load_weights(tmp_path / "w.npz")
    for one, two in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_no_files(tmp_path):
    layer = Conv1D(3, 3)
    with pytest.raises(ValueError, match="build"):
        layer.save_weights(tmp_path / "w.npz")
    layer.build((1, 4, 2))
    with pytest.raises(ValueError, match=r"must end in \.npz"):
        layer.save_weights(tmp_path / "w.h5")
    with pytest.raises(TypeError, match="path"):
        layer.save_weights(3)
    with pytest.raises(FileNotFoundError):
        layer.load_weights(tmp_path / "w.npz")
    (tmp_path / "w.npz").write_bytes(b"PK no archive")
    with pytest.raises(ValueError, match=r"w\.npz must be an \.npz file"):
        layer.load_weights(tmp_path / "w.npz")
    layer.save_weights(tmp_path / "w.npz")
    whole = (tmp_path / "w.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 255
    (tmp_path / "w.npz").write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged"):
        layer.load_weights(tmp_path / "w.npz")


# ---------------------------------------------------------------- configuration


def draw_layers():
    yield Conv2DTranspose(3, (5, 4), (2, 3), "same", (1, 0), "channels_first", name="up", use_bias=False)
    yield Conv3DTranspose(2, 3, padding="SAME", kernel_initializer="ICNR", dtype="float16", seed=4)
    yield Conv1D(4, 3, padding="Causal", dilation_rate=2, groups=2, activation="swish")
    yield Conv1DTranspose(4, 3, kernel_initializer=initializers.RandomNormal(0.0, 0.1, seed=2))
    yield Conv2D(4, 3, bias_initializer=initializers.Constant(0.5), data_format="Channels_First")
    yield Conv2DTranspose(1, 4, 2, kernel_initializer=initializers.Bilinear((2, 2)), activation="softmax")
    yield Conv2DTranspose(1, 4, 2, kernel_initializer=initializers.ICNR("he_normal", 2))
    yield Activation("gelu", dtype="float32", name="last")
    yield Activation(None)


@pytest.mark.parametrize("layer", list(draw_layers()), ids=repr)
def test_config_round_trip(layer):
    """Also by way of JSON; the repr is a program that makes the layer."""
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
    through = json.loads(json.dumps(config))
    assert type(layer).from_config(through).get_config() == config
    names = {"ICNR": initializers.ICNR, "Bilinear": initializers.Bilinear}
    again = eval(repr(layer), {type(layer).__name__: type(layer)} | names)
    assert again.get_config() == config


def test_config_of_functions():
    layer = Conv1D(2, 3, activation=(np.sin, np.cos), kernel_initializer=np.ones)
    config = layer.get_config()
    assert config["activation"] == (np.sin, np.cos)
    assert config["kernel_initializer"] is np.ones
    other = Conv1D.from_config(config)
    assert other.get_config() == config
    assert (other(np.ones((1, 3, 1))) == np.float32(np.sin(3))).all()


# What Keras 3.15.1 gives for Conv2DTranspose(3, 5, strides=2, padding="same", activation="relu")
KERAS_CONFIG = {
    "name": "conv2d_transpose",
    "trainable": True,
    "dtype": {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "float32"},
        "registered_name": None,
    },
    "filters": 3,
    "kernel_size": (5, 5),
    "strides": (2, 2),
    "padding": "same",
    "output_padding": None,
    "data_format": "channels_last",
    "dilation_rate": (1, 1),
    "activation": "relu",
    "use_bias": True,
    "kernel_initializer": {
        "module": "keras.initializers",
        "class_name": "GlorotUniform",
        "config": {"seed": None, "input_axes": None, "output_axes": None},
        "registered_name": None,
    },
    "bias_initializer": {
        "module": "keras.initializers",
        "class_name": "Zeros",
        "config": {},
        "registered_name": None,
    },
    "kernel_regularizer": None,
    "bias_regularizer": None,
    "activity_regularizer": None,
    "kernel_constraint": None,
    "bias_constraint": None,
}


def test_config_of_keras():
    """It is read, and ours has its names and its values."""
    layer = Conv2DTranspose.from_config(KERAS_CONFIG)
    config = layer.get_config()
    assert config == Conv2DTranspose(3, 5, strides=2, padding="same", activation="relu").get_config()
    assert config.keys() == KERAS_CONFIG.keys() - {"trainable"}
    assert config["dtype"] == "float32"
    assert config["kernel_initializer"] == "glorot_uniform"
    assert config["bias_initializer"] == "zeros"
    for name in config.keys() - {"dtype", "kernel_initializer", "bias_initializer"}:
        assert config[name] == KERAS_CONFIG[name], name


def test_repr():
    assert repr(Conv2DTranspose(3, 5, strides=2, padding="same")) == (
        "Conv2DTranspose(filters=3, kernel_size=(5, 5), strides=(2, 2), padding='same')"
    )
    assert repr(Conv1D(3, 5, padding="causal", kernel_initializer="he_normal", dtype="float64")) == (
        "Conv1D(filters=3, kernel_size=(5,), padding='causal', kernel_initializer='he_normal', "
        "dtype='float64')"
    )
    assert repr(Activation("relu")) == "Activation(activation='relu')"


def test_settings_cannot_be_changed():
    layer = Conv2DTranspose(3, 5)
    for name in ("filters", "strides", "activation", "dtype", "name", "seed", "output_padding"):
        with pytest.raises(AttributeError, match=f"{name} is a setting"):
            setattr(layer, name, 2)
    layer.note = "attributes of the user's own are not settings"
