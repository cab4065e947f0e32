"""`pyx_deconv.convert` with real modules of PyTorch, flax, Haiku and Keras: their values, there and back."""

import importlib.util
import itertools

import conventions
import numpy as np
import pytest
from frameworks import SEED, drawn_convolutions, exact_cases, integers, require, require_packages

import pyx_deconv as pxd
from pyx_deconv import convert

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]


def torch_module(torch, kind, weights, **settings):
    module = getattr(torch.nn, kind)(**settings)
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return module


def check_torch_module(torch, module, x):
    """The operator has the module's values, and so has the module that the operator is exported to."""
    want = module(torch.tensor(x)).detach().numpy()
    op = convert.from_torch(module)
    np.testing.assert_array_equal(op(x), want, err_msg=str(module))
    weights, settings = convert.to_torch(op)
    again = torch_module(torch, type(module).__name__, weights, **settings)
    np.testing.assert_array_equal(again(torch.tensor(x)).detach().numpy(), want, err_msg=str(module))


def test_torch_transposed_modules():
    require("pytorch")
    import torch

    for case in exact_cases("pytorch", 40, 40, 20):
        arrays = {name: array.astype(np.float32) for name, array in case.arrays.items()}
        x, groups, rank = arrays.pop("x"), case.settings["groups"], len(conventions.spatial_of(case))
        settings = case.settings | {
            "in_channels": x.shape[1],
            "out_channels": arrays["weight"].shape[1] * groups,
            "kernel_size": arrays["weight"].shape[2:],
            "bias": "bias" in arrays,
        }
        module = torch_module(torch, f"ConvTranspose{rank}d", arrays, **settings)
        check_torch_module(torch, module, x)


def test_torch_convolution_modules():
    require("pytorch")
    import torch

    for case in drawn_convolutions(90, ("numbers", "same", "valid")):
        padding = (
            tuple(begin for begin, _ in case["pads"]) if case["padding"] == "numbers" else case["padding"]
        )
        weights = {"weight": case["weight"]} | ({} if case["bias"] is None else {"bias": case["bias"]})
        module = torch_module(
            torch,
            f"Conv{case['rank']}d",
            weights,
            in_channels=case["x"].shape[1],
            out_channels=case["weight"].shape[0],
            kernel_size=case["kernel"],
            stride=1 if padding == "same" else case["stride"],
            padding=padding,
            dilation=case["dilation"],
            groups=case["groups"],
            bias=case["bias"] is not None,
        )
        check_torch_module(torch, module, case["x"])


def test_torch_modules_that_are_special():
    require("pytorch")
    import torch

    module = torch.nn.ConvTranspose1d(2, 3, 4)
    for dtype, name in (
        (torch.bfloat16, "bfloat16"),
        (torch.float16, "float16"),
        (torch.complex64, "complex64"),
    ):
        op = convert.from_torch(module.to(dtype))
        if importlib.util.find_spec("ml_dtypes") is None and name == "bfloat16":
            name = "float32"
        assert op.weight.dtype.name == name
        want = module.weight.detach().to(torch.complex64).numpy()
        np.testing.assert_array_equal(op.weight.astype(np.complex64), want)
    with pytest.raises(ValueError, match="remove_weight_norm"):
        convert.from_torch(torch.nn.utils.weight_norm(torch.nn.ConvTranspose1d(2, 3, 4)))
    with pytest.raises(ValueError, match="no weights yet"):
        convert.from_torch(torch.nn.LazyConvTranspose1d(3, 4))
    with pytest.raises(ValueError, match="padding_mode='reflect'"):
        convert.from_torch(torch.nn.Conv1d(2, 3, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(TypeError, match=r"Linear is not a torch\.nn"):
        convert.from_torch(torch.nn.Linear(2, 3))
    # The parametrization of today computes its weight whenever it is read.
    normed = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(2, 3, 4))
    op = convert.from_torch(normed)
    np.testing.assert_array_equal(op.weight, normed.weight.detach().numpy())


@pytest.mark.parametrize("api", ["linen", "nnx"])
def test_flax_transposed_modules(api):
    require_packages("jax", "flax")
    for case in exact_cases("jax", 12, 12, 6):
        x, kernel = (case.arrays[name].astype(np.float32) for name in ("x", "weight"))
        out_first = case.settings["transpose_kernel"]
        settings = {name: value for name, value in case.settings.items() if name != "rhs_dilation"}
        if not isinstance(settings["padding"], str):
            settings["padding"] = [tuple(pair) for pair in settings["padding"]]
        settings |= {
            "kernel_dilation": case.settings["rhs_dilation"],
            "features": kernel.shape[-2 if out_first else -1],
            "kernel_size": kernel.shape[:-2],
        }
        weights = {"kernel": kernel, "bias": integers(np.random.default_rng(case.seed), settings["features"])}
        check_flax_module("ConvTranspose", api, x, weights, settings)


@pytest.mark.parametrize("api", ["linen", "nnx"])
def test_flax_convolution_modules(api):
    require_packages("jax", "flax")
    for case in drawn_convolutions(30, ("pairs", "SAME", "VALID", "number", "SAME_LOWER")):
        named = {"pairs": case["pads"], "number": 1}
        padding = "CAUSAL" if case["rank"] == 1 and case["padding"] == "VALID" else case["padding"]
        weights = {"kernel": np.moveaxis(case["weight"], (0, 1), (-1, -2))}
        weights |= {} if case["bias"] is None else {"bias": case["bias"]}
        settings = {
            "features": case["weight"].shape[0],
            "kernel_size": case["kernel"],
            "strides": case["stride"],
            "padding": named.get(padding, padding),
            "kernel_dilation": case["dilation"],
            "feature_group_count": case["groups"],
            "use_bias": case["bias"] is not None,
        }
        check_flax_module("Conv", api, np.moveaxis(case["x"], 1, -1), weights, settings)


def check_flax_module(kind, api, x, weights, settings):
    import flax
    from flax import nnx

    def make(weights, settings):
        """(the module, its parameters apart, its answer)."""
        if api == "linen":
            module = getattr(flax.linen, kind)(**settings)
            return (module, {"params": weights}), np.asarray(module.apply({"params": weights}, x))
        settings = dict(settings)
        channels, zeros = (x.shape[-1], settings.pop("features")), nnx.initializers.zeros
        module = getattr(nnx, kind)(*channels, **settings, kernel_init=zeros, rngs=nnx.Rngs(0))
        module.kernel[...] = weights["kernel"]
        if "bias" in weights:
            module.bias[...] = weights["bias"]
        return (module,), np.asarray(module(x))

    module, want = make(weights, settings)
    op = convert.from_jax(*module)
    np.testing.assert_array_equal(op(x), want, err_msg=str(settings))
    for transpose_kernel in (False, True):
        exported = convert.to_jax(op, transpose_kernel=transpose_kernel)
        np.testing.assert_array_equal(make(*exported)[1], want, err_msg=str(settings))


def test_haiku_modules():
    require_packages("jax", "haiku")
    import haiku

    rng = np.random.default_rng(SEED)
    kinds = itertools.product((True, False), (1, 2, 3), ("SAME", "VALID", "pairs", "output_shape"), (0, 1))
    for transposed, rank, padding, last in kinds:
        kernel, stride = (tuple(rng.integers(1, 4, rank).tolist()) for _ in range(2))
        sizes = [(k - 1) * 2 + 1 + int(rng.integers(0, 4)) for k in kernel]
        formats = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
        settings = {"stride": stride, "data_format": formats[rank][last]}
        if padding == "pairs":
            settings["padding"] = tuple(tuple(rng.integers(0, 3, 2).tolist()) for _ in range(rank))
        elif padding != "output_shape":
            settings["padding"] = padding
        elif transposed:
            settings["padding"] = ("SAME", "VALID")[last]
            settings["output_shape"] = tuple(
                n * s - int(rng.integers(0, s)) if last == 0 else (n - 1) * s + k + int(rng.integers(0, s))
                for n, s, k in zip(sizes, stride, kernel, strict=True)
            )
        if not transposed:
            settings |= {"rate": tuple(rng.integers(1, 3, rank).tolist()), "feature_group_count": 2}
        x = integers(rng, (2, *sizes, 4) if last else (2, 4, *sizes))

        def forward(x, kind=f"Conv{rank}D{'Transpose' * transposed}", kernel=kernel, settings=settings):
            return getattr(haiku, kind)(6, kernel, **settings, name="layer")(x)

        params = {
            "w": integers(rng, (*kernel, 6, 4) if transposed else (*kernel, 2, 6)),
            "b": integers(rng, 6 if last else (6, *(1,) * rank)),
        }
        want = np.asarray(haiku.transform(forward).apply({"layer": params}, None, x))
        op = convert.from_jax(params, transposed=transposed, **settings)
        np.testing.assert_array_equal(op(x), want, err_msg=f"{transposed} {settings}")


def keras_layer(x, weights, **settings):
    import keras

    layer = getattr(keras.layers, f"Conv{x.ndim - 2}DTranspose")(**settings)
    layer.build(x.shape)
    layer.set_weights(weights)
    return layer


def test_to_keras():
    require("keras")

    for case in exact_cases("keras", 20, 20, 10):
        call = conventions.translate("keras", case)
        op = pxd.ConvTranspose(
            call.weight.astype(np.float32),
            case.arrays["bias"].astype(np.float32) if "bias" in case.arrays else None,
            **call.options,
            padding=[(int(begin), int(end)) for begin, end in call.crops],
        )
        x = case.arrays["x"].astype(np.float32)
        weights, settings = convert.to_keras(op)
        layer = keras_layer(x, weights, **settings)
        np.testing.assert_array_equal(np.asarray(layer(x)), op(x), err_msg=f"{case.settings} {settings}")


def test_from_keras():
    require("keras")
    import keras

    for case in exact_cases("keras", 20, 20, 10):
        x, kernel = case.arrays["x"].astype(np.float32), case.arrays["weight"]
        weights = [case.arrays[name] for name in ("weight", "bias") if name in case.arrays]
        settings = case.settings | {"activation": ("linear", "relu", "tanh")[case.seed % 3]}
        settings |= {
            "filters": kernel.shape[-2],
            "kernel_size": kernel.shape[:-2],
            "use_bias": len(weights) > 1,
        }
        layer = keras_layer(x, weights, **settings)
        want = np.asarray(layer(x))
        np.testing.assert_allclose(convert.from_keras(layer)(x), want, rtol=1e-6, err_msg=str(case.settings))
    model = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Conv2DTranspose(3, 4, strides=2, padding="same"),
            keras.layers.Activation("sigmoid"),
        ]
    )
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 3)).astype(np.float32)
    want = np.asarray(model(x))
    np.testing.assert_allclose(convert.from_keras(model)(x), want, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="Dense"):
        convert.from_keras(keras.Sequential([keras.layers.Dense(3)]))
