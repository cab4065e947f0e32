"""The convolutional layers: Keras' signatures, values, gradients, dtypes and shapes."""

import inspect
import itertools
import math
import subprocess
import sys

import conventions
import numpy as np
import pytest
import reference
from golden import store

import pyx_deconv as pxd
from pyx_deconv.layers import (
    Activation,
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    Layer,
)

TRANSPOSED = {1: Conv1DTranspose, 2: Conv2DTranspose, 3: Conv3DTranspose}
PLAIN = {1: Conv1D, 2: Conv2D, 3: Conv3D}
EVERY = [*TRANSPOSED.values(), *PLAIN.values()]
LAYOUTS = ("channels_last", "channels_first")
CASES = store.load("keras")[0]
RNG = np.random.default_rng(0)


def rank_of(layer_class):
    return int(layer_class.__name__[4])


def shape_for(layer_class, *, channels=4, batch=2, layout="channels_last"):
    sizes = (6, 5, 4)[: rank_of(layer_class)]
    return (batch, *sizes, channels) if layout == "channels_last" else (batch, channels, *sizes)


def normal(shape):
    return np.random.default_rng(math.prod(shape)).standard_normal(shape)


# ---------------------------------------------------------------- signatures

# inspect.signature of the layers of Keras 3.15.1
TAIL = {
    "activation": None,
    "use_bias": True,
    "kernel_initializer": "glorot_uniform",
    "bias_initializer": "zeros",
    "kernel_regularizer": None,
    "bias_regularizer": None,
    "activity_regularizer": None,
    "kernel_constraint": None,
    "bias_constraint": None,
}
REQUIRED = {"filters": inspect.Parameter.empty, "kernel_size": inspect.Parameter.empty}


def frozen_signature(strides, *between):
    given = {"output_padding": None, "data_format": None, "dilation_rate": strides, "groups": 1}
    middle = {name: given[name] for name in between}
    return REQUIRED | {"strides": strides, "padding": "valid"} | middle | TAIL


SIGNATURES = {
    Conv1DTranspose: frozen_signature(1, "output_padding", "data_format", "dilation_rate"),
    Conv2DTranspose: frozen_signature((1, 1), "output_padding", "data_format", "dilation_rate"),
    Conv3DTranspose: frozen_signature((1, 1, 1), "data_format", "output_padding", "dilation_rate"),
    Conv1D: frozen_signature(1, "data_format", "dilation_rate", "groups"),
    Conv2D: frozen_signature((1, 1), "data_format", "dilation_rate", "groups"),
    Conv3D: frozen_signature((1, 1, 1), "data_format", "dilation_rate", "groups"),
}


@pytest.mark.parametrize("layer_class", EVERY)
def test_signature(layer_class):
    """The order, the names and the defaults of what may be given by position are Keras'."""
    parameters = inspect.signature(layer_class).parameters.values()
    positional = [(p.name, p.default) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == list(SIGNATURES[layer_class].items())
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} == {"seed", "dtype", "name"}


def test_defaults_are_given_meaning():
    layer = Conv2DTranspose(3, 5)
    assert (layer.kernel_size, layer.strides, layer.dilation_rate) == ((5, 5), (1, 1), (1, 1))
    assert layer.data_format == "channels_last"
    assert layer.dtype == np.float32
    assert layer.name == "conv2d_transpose"
    assert layer.activation == "linear"


def test_as_in_the_tutorials():
    x = np.ones((1, 4, 4, 3))
    output = Conv2DTranspose(filters=3, kernel_size=(5, 5), strides=2, padding="same")(x)
    assert output.shape == (1, 8, 8, 3)
    assert output.dtype == np.float32


# ---------------------------------------------------------------- values


def case_layer(case, layout, **options):
    """The layer of a frozen case in a layout; the settings are lists, as from JSON."""
    weight = case.arrays["weight"]
    settings = case.settings | {"data_format": layout, "dtype": "float64", "use_bias": "bias" in case.arrays}
    layer = TRANSPOSED[weight.ndim - 2](weight.shape[-2], weight.shape[:-2], **settings | options)
    x = conventions.swap(case.arrays["x"], case.settings["data_format"], layout)
    layer.build(x.shape)
    layer.set_weights([case.arrays[name] for name in ("weight", "bias") if name in case.arrays])
    return layer, x


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_frozen_case(case, layout):
    """Every value and every gradient, which are integers; in float32 as well."""

    def there(role):
        return conventions.swap(case.arrays[role], case.settings["data_format"], layout)

    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        layer, x = case_layer(case, layout, dtype=dtype)
        y = layer(x)
        grad_x = layer.backward(there("grad_y"))
        got = {"y": y, "grad_x": grad_x, "grad_weight": layer.grad_kernel, "grad_bias": layer.grad_bias}
        want = {"y": there("y"), "grad_x": there("grad_x"), "grad_weight": case.arrays["grad_weight"]}
        want["grad_bias"] = case.arrays.get("grad_bias")
        assert layer.compute_output_shape(x.shape) == y.shape
        for role, value in got.items():
            if want[role] is None:
                assert value is None
                continue
            assert value.dtype == dtype
            assert value.shape == want[role].shape
            scale = max(reference.largest(want[role]), 1)
            np.testing.assert_allclose(value, want[role], rtol=0, atol=tolerance * scale, err_msg=role)


def window(n, k, s, d, padding):
    """TensorFlow's "SAME", "VALID" and Keras' "causal" of a convolution, from their documentation."""
    reach = (k - 1) * d + 1
    if padding == "valid":
        return 0, 0
    if padding == "causal":
        return reach - 1, 0
    total = max((-(-n // s) - 1) * s + reach - n, 0)
    return total // 2, total - total // 2


PLAIN_SETTINGS = [
    (rank, k, s, d, padding)
    for rank, k, s, d in itertools.product((1, 2, 3), (1, 2, 3, 4), (1, 2, 3), (1, 2))
    for padding in (("valid", "same", "causal") if rank == 1 else ("valid", "same"))
    if rank == 1 or (k + s + d) % 2
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("rank", "k", "s", "d", "padding"), PLAIN_SETTINGS)
def test_plain_layers(rank, k, s, d, padding, layout):
    """Values and gradients against the oracle, with groups, from Keras' order of the kernel."""
    groups, channels, filters = 2, 4, 6
    sizes = (9, 8, 7)[:rank]
    x = normal((2, *sizes, channels) if layout == "channels_last" else (2, channels, *sizes))
    layer = PLAIN[rank](filters, k, s, padding, layout, d, groups, dtype="float64", seed=1)
    layer.build(x.shape)
    kernel, bias = normal((k,) * rank + (channels // groups, filters)), normal((filters,))
    layer.set_weights([kernel, bias])
    # conv's "same" of the oracle is not used: the window comes from the formula above.
    pairs = [window(n, k, s, d, padding) for n in sizes]
    settings = {"stride": s, "padding": pairs, "dilation": d, "groups": groups, "data_format": layout}
    weight = np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))
    want = reference.conv(x, weight, bias, **settings)
    y = layer(x)
    np.testing.assert_allclose(y, want, rtol=0, atol=1e-12)
    assert layer.compute_output_shape(x.shape) == y.shape
    grad_y = normal(y.shape)
    grad_x = layer.backward(grad_y)
    wants = reference.conv_backward(grad_y, x, weight, **settings)
    np.testing.assert_allclose(grad_x, wants.x, rtol=0, atol=1e-11)
    np.testing.assert_allclose(
        layer.grad_kernel, np.moveaxis(wants.weight, (0, 1), (-1, -2)), rtol=0, atol=1e-11
    )
    np.testing.assert_allclose(layer.grad_bias, wants.bias, rtol=0, atol=1e-11)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_strides_with_dilation(padding):
    """What Keras refuses follows the same formulas, with the effective kernel."""
    x, kernel = normal((1, 4, 3, 2)), normal((3, 2, 3, 2))
    layer = Conv2DTranspose(3, (3, 2), (2, 3), padding, dilation_rate=(2, 3), dtype="float64", use_bias=False)
    layer.build(x.shape)
    layer.kernel = kernel
    reach, sizes = (5, 4), (4, 3)
    if padding == "valid":
        out = [n * s + max(r - s, 0) for n, s, r in zip(sizes, (2, 3), reach, strict=True)]
    else:
        out = [n * s for n, s in zip(sizes, (2, 3), strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(sizes, (2, 3), reach, strict=True)]
    begin = [0 if padding == "valid" else (f - o) // 2 for f, o in zip(full, out, strict=True)]
    pairs = [(b, f - o - b) for b, f, o in zip(begin, full, out, strict=True)]
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))
    want = reference.conv_transpose(
        x, weight, None, stride=(2, 3), padding=pairs, dilation=(2, 3), data_format="channels_last"
    )
    np.testing.assert_allclose(layer(x), want, atol=1e-12)


@pytest.mark.parametrize("layer_class", EVERY)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_are_those_of_the_values(layer_class, layout):
    """Central differences of a loss in float64, with an activation; x, kernel and bias along a direction."""
    layer = layer_class(
        4, 3, 2, "same", data_format=layout, activation="tanh", dtype="float64", seed=3,
        bias_initializer="random_normal",
    )  # fmt: skip
    x = normal(shape_for(layer_class, layout=layout))
    y = layer(x)
    grad_y = normal(y.shape)
    grad_x = layer.backward(grad_y)
    kernel, bias = layer.get_weights()
    directions = [normal(array.shape) for array in (x, kernel, bias)]
    for number, gradient in enumerate((grad_x, layer.grad_kernel, layer.grad_bias)):

        def loss(step, moved=number):
            at = [
                array + step * direction * (moved == index)
                for index, (array, direction) in enumerate(zip((x, kernel, bias), directions, strict=True))
            ]
            layer.set_weights(at[1:])
            return float((layer(at[0]) * grad_y).sum())

        slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
        assert slope == pytest.approx(float((gradient * directions[number]).sum()), rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("given", ["float64", "float32", "int32", "bool", ">f4", "float16"])
def test_dtype(dtype, given):
    """Inputs of any dtype are cast to the layer's; so are gradients and weights."""
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    layer = Conv1DTranspose(2, 3, strides=2, dtype=dtype, seed=0, activation="silu")
    x = (normal((2, 5, 3)) * 3).astype(given)
    y = layer(x)
    # Computed in float64 from the rounded numbers; a layer of 16 bits accumulates in 32.
    exact = Conv1DTranspose(2, 3, strides=2, dtype="float64", activation="silu")
    exact.build(x.shape)
    exact.set_weights([np.asarray(weight, np.float64) for weight in layer.get_weights()])
    seen = x.astype(layer.dtype).astype(np.float64)
    grad_y = normal(y.shape).astype(np.float16)
    pairs = [(y, exact(seen)), (layer.backward(grad_y), exact.backward(grad_y))]
    pairs += [(layer.grad_kernel, exact.grad_kernel), (layer.grad_bias, exact.grad_bias)]
    allowed = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "float64": 1e-14}[dtype]
    for got, want in pairs:
        assert got.dtype == layer.dtype == layer.kernel.dtype
        assert abs(got.astype(np.float64) - want).max() <= allowed * max(1, abs(want).max())


def test_too_large_for_the_dtype_becomes_infinite():
    layer = Conv1DTranspose(1, 1, kernel_initializer="ones")
    assert layer(np.array([[[1e300], [1.0]]])).ravel().tolist() == [math.inf, 1.0]


def test_empty_batch():
    layer = Conv2DTranspose(2, 3, 2, activation="softmax", seed=0)
    assert layer(np.ones((0, 3, 4, 5))).shape == (0, 7, 9, 2)
    assert layer.backward(np.ones((0, 7, 9, 2))).shape == (0, 3, 4, 5)
    assert not layer.grad_kernel.any()


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize("layer_class", EVERY)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_output_shape_with_unknown_sizes(layer_class, layout):
    layer = layer_class(7, 3, 2, "same", data_format=layout)
    known = shape_for(layer_class, layout=layout)
    want = layer.compute_output_shape(known)
    for axis in range(len(known)):
        given = list(known)
        given[axis] = None
        channels = axis == (len(known) - 1 if layout == "channels_last" else 1)
        expected = tuple(None if not channels and a == axis else size for a, size in enumerate(want))
        assert layer.compute_output_shape(given) == expected
    assert layer(np.ones(known)).shape == want


def test_output_shape_needs_no_memory():
    assert Conv2DTranspose(3, 2, 2).compute_output_shape((1, 2**30, 2**20, 4)) == (1, 2**31, 2**21, 3)


# ---------------------------------------------------------------- the package


def test_imports():
    """The package does not import the layers, and these import neither SciPy nor a framework."""
    code = (
        "import sys, pyx_deconv\n"
        "assert 'pyx_deconv.layers' not in sys.modules\n"
        "from pyx_deconv.layers import Conv2DTranspose\n"
        "layer = Conv2DTranspose(1, 2, activation='silu')\n"
        "layer.backward(layer([[[[1.0]]]]))\n"
        "heavy = {'scipy', 'keras', 'torch', 'jax', 'tensorflow', 'ml_dtypes'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("layer_class", [*EVERY, Activation])
def test_documentation(layer_class):
    assert issubclass(layer_class, Layer)
    assert ">>>" in layer_class.__doc__
    if layer_class in (Conv2DTranspose, Activation):
        for name in inspect.signature(layer_class).parameters:
            assert name in layer_class.__doc__, name


def test_same_numbers_as_the_operator():
    """Nothing stands between the layer and the operation: the same bits."""
    layer = Conv2DTranspose(5, 4, 2, "same", seed=0)
    x = normal((2, 9, 7, 6)).astype(np.float32)
    y = layer(x)
    weight = np.moveaxis(layer.kernel, (-1, -2), (0, 1))
    op = pxd.ConvTranspose(weight, layer.bias, stride=2, padding="same", data_format="channels_last")
    np.testing.assert_array_equal(y, op(x))
