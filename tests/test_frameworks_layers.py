"""The layers compared with Keras' on JAX, which alone of its backends computes all settings on a CPU."""

import itertools

import numpy as np
import pytest
from frameworks import SEED, require_packages

from pyx_deconv import layers

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def keras():
    require_packages("keras", "jax")
    import keras

    assert keras.backend.backend() == "jax"
    return keras


LAYERS_DRAWN = 40
# Of their configurations; the two call a dtype and an initializer by different names.
OTHERWISE = {"name", "dtype", "kernel_initializer", "bias_initializer"}


def drawn_layers():
    """Yield (class name, settings, input); the activations come in turn."""
    rng = np.random.default_rng(SEED)
    names = itertools.cycle(layers.activations.NAMES)
    for activation in itertools.islice(names, LAYERS_DRAWN):
        rank, transposed = int(rng.integers(1, 4)), bool(rng.integers(2))
        dilated = rng.integers(3) == 0
        strides = [1] * rank if dilated else rng.integers(1, 4, rank).tolist()
        layout = str(rng.choice(["channels_last", "channels_first"]))
        settings = {
            "filters": 2 * int(rng.integers(1, 3)),
            "kernel_size": rng.integers(1, 5, rank).tolist(),
            "strides": strides,
            "padding": str(rng.choice(["valid", "same"])),
            "data_format": layout,
            "dilation_rate": rng.integers(1, 4, rank).tolist() if dilated else [1] * rank,
            "activation": activation,
            "use_bias": bool(rng.integers(4)),
            "bias_initializer": "random_normal",
            "dtype": "float64",
        }
        if transposed:
            # Large enough for "same" to leave something
            sizes = rng.integers(5, 7, rank).tolist()
            if rng.integers(2):
                settings["output_padding"] = [int(rng.integers(0, s)) for s in strides]
        else:
            sizes = rng.integers(10, 13, rank).tolist()
            settings["groups"] = int(rng.integers(1, 3))
            if rank == 1 and rng.integers(2):
                settings["padding"] = "causal"
        shape = (2, *sizes, 4) if layout == "channels_last" else (2, 4, *sizes)
        yield f"Conv{rank}D{'Transpose' * transposed}", settings, rng.standard_normal(shape)


@pytest.mark.parametrize(
    ("name", "settings", "x"),
    [pytest.param(*each, id=f"{number}-{each[0]}") for number, each in enumerate(drawn_layers())],
)
def test_layers(keras, name, settings, x):
    """Weights by set_weights, outputs, gradients, shapes; and either reads the other's configuration."""
    import jax

    theirs, ours = (getattr(module, name)(**settings) for module in (keras.layers, layers))
    theirs.build(x.shape)
    ours.build(x.shape)
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in theirs.get_weights()]
    assert ours.count_params() == theirs.count_params()
    ours.set_weights(theirs.get_weights())

    def forward(given, variables):
        return theirs.stateless_call(variables, [], given)[0]

    variables = [variable.value for variable in theirs.trainable_variables]
    want, pull_back = jax.vjp(forward, jax.numpy.asarray(x), variables)
    # Some activations of Keras on JAX give float32 whatever they are given.
    close = 1e-12 if want.dtype == np.float64 else 1e-6
    grad_y = np.random.default_rng(0).standard_normal(want.shape).astype(want.dtype)
    grad_x, grad_weights = pull_back(jax.numpy.asarray(grad_y))
    got = [ours(x), ours.backward(grad_y), *ours._gradients().values()]
    for value, wanted in zip(got, [want, grad_x, *grad_weights], strict=True):
        wanted = np.asarray(wanted)
        assert value.shape == wanted.shape
        scale = max(1, abs(wanted).max())
        np.testing.assert_allclose(value, wanted, rtol=0, atol=close * scale)

    for shape in (x.shape, (None, *x.shape[1:])):
        assert ours.compute_output_shape(shape) == tuple(theirs.compute_output_shape(shape))
    config, theirs_config = ours.get_config(), theirs.get_config()
    assert config.keys() == theirs_config.keys() - {"trainable"}
    for setting in config.keys() - OTHERWISE:
        assert config[setting] == theirs_config[setting], setting
    assert type(ours).from_config(theirs_config).get_config() == config | {"name": theirs_config["name"]}
    again = type(theirs).from_config(config)
    assert again.get_config() == theirs_config | {"name": again.name}


@pytest.mark.parametrize("name", sorted(set(layers.initializers.NAMED) - {"bilinear", "icnr", "constant"}))
def test_initializers(keras, name):
    """The same range, mean and variance as Keras', of a kernel of 72,000 numbers."""
    shape = (3, 3, 80, 100)
    keras.utils.set_random_seed(0)
    theirs = np.asarray(keras.initializers.get(name)(shape), np.float64)
    ours = layers.initializers.NAMED[name].draw(shape, np.random.default_rng(0))
    for statistic in (np.min, np.max, np.std):
        assert statistic(ours) == pytest.approx(statistic(theirs), rel=0.2 if "random_n" in name else 0.02)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.03 * ours.std())
