"""Weights from and to the frameworks, by stand-ins that have their attributes, and no framework.

What the frameworks answered is frozen in golden/; test_frameworks.py asks the real ones.
"""

import importlib
import subprocess
import sys
from types import SimpleNamespace

import conventions
import drawing
import numpy as np
import onnx_protos
import pytest
import reference
from golden import store
from hypothesis import assume, given
from hypothesis import strategies as st

import pyx_deconv as pxd
from pyx_deconv import convert

RNG = np.random.default_rng(3)
BFLOAT16 = drawing.BFLOAT16


class Tensor:
    """A tensor of PyTorch: no array before it is detached; of bfloat16, no array at all."""

    def __init__(self, array, dtype="torch.float32"):
        self.array, self.dtype = array, dtype

    def detach(self):
        return Detached(self.array, self.dtype)


class Detached(Tensor):
    def float(self):
        return Detached(self.array.astype(np.float32))

    def cpu(self):
        return self

    def numpy(self, force=False):
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array


Tensor.numpy = lambda self, force: self.detach().numpy()


def torch_module(transposed, weight, bias=None, **settings):
    """A torch.nn.ConvTranspose or Conv of any rank."""
    rank = weight.ndim - 2
    defaults = {"stride": (1,) * rank, "padding": (0,) * rank, "dilation": (1,) * rank, "groups": 1}
    if transposed:
        defaults["output_padding"] = (0,) * rank
    return (
        SimpleNamespace(
            transposed=transposed,
            padding_mode="zeros",
            weight=Tensor(weight),
            bias=None if bias is None else Tensor(bias),
        )
        | defaults
        | settings
    )


class SimpleNamespace(SimpleNamespace):
    """One to which attributes can be added with |."""

    def __or__(self, more):
        return type(self)(**vars(self) | more)


class Array:
    """An array of JAX or an nnx.Param: no ndarray, and an array when it is indexed."""

    def __init__(self, array):
        self.array = array

    def __getitem__(self, index):
        return self.array[index]


class Module:
    """A flax module: linen's has settings only, nnx' its parameters as well."""

    strides = 1
    padding = "SAME"
    kernel_dilation = 1
    mask = None

    def __init__(self, **settings):
        self.use_bias = "bias" not in settings or settings["bias"] is not None
        vars(self).update(settings)


class ConvTranspose(Module):
    strides = kernel_dilation = None
    transpose_kernel = False


class Conv(Module):
    input_dilation = 1
    feature_group_count = 1


def flax_operator(kind, kernel, bias=None, *, nnx=False, **settings):
    if nnx:
        held = {"kernel": Array(kernel), "bias": None if bias is None else Array(bias)}
        return convert.from_jax(kind(**held, **settings))
    params = {"kernel": Array(kernel)} | ({} if bias is None else {"bias": Array(bias)})
    return convert.from_jax(kind(use_bias=bias is not None, **settings), {"params": params})


# ---------------------------------------------------------------- what the frameworks answered


def golden_operator(framework, case):
    arrays, settings = case.arrays, dict(case.settings)
    weight, bias = arrays["weight"], arrays.get("bias")
    if framework == "pytorch":
        return convert.from_torch(torch_module(True, weight, bias, **settings))
    if framework == "onnx":
        node = onnx_protos.node("ConvTranspose", "x W" + " B" * (bias is not None), "y", **settings)
        known = {"W": weight} | ({} if bias is None else {"B": bias})
        size = conventions.spatial_of(case) if "output_shape" in settings else None
        return convert.from_onnx(node, known, input_size=size)
    settings["kernel_dilation"] = settings.pop("rhs_dilation")
    return flax_operator(ConvTranspose, weight, bias, **settings)


@pytest.mark.parametrize("framework", ["pytorch", "onnx", "jax"])
def test_golden(framework):
    """The frozen values and gradients, which are integers and so exact."""
    for case in store.load(framework)[0]:
        op = golden_operator(framework, case)
        x = case.arrays["x"]
        call = conventions.translate(framework, case)
        if framework == "onnx" and "pads" not in case.settings and min(map(sum, call.crops)) < 0:
            # Frozen is what the reference evaluator answers, with zeros in front as well (golden/README.md).
            crops = [(0, sum(crop)) if sum(crop) < 0 else crop for crop in call.crops]
            want = reference.conv_transpose(
                x, call.weight, case.arrays.get("bias"), **call.options, padding=crops
            )
            np.testing.assert_array_equal(op(x), want, err_msg=case.name)
            continue
        np.testing.assert_array_equal(op(x), case.arrays["y"], err_msg=case.name)
        if "grad_y" in case.arrays:
            gradients = op.backward(case.arrays["grad_y"], x)
            np.testing.assert_array_equal(gradients.x, case.arrays["grad_x"], err_msg=case.name)
            want = conventions.reorder(framework, case, case.arrays["grad_weight"])
            np.testing.assert_array_equal(gradients.weight, want, err_msg=case.name)


# ---------------------------------------------------------------- there and back


@st.composite
def operators(draw):
    """An operator with settings of every kind, an input for it, and the crops of its axes by the oracle."""
    call = draw(drawing.calls(dtypes=[np.dtype(np.float64)], layouts=["plain"], kinds=["integers"]))
    settings = {name: value for name, value in call.settings.items() if name != "output_size"}
    rank = call.weight.ndim - 2
    channels_last = settings.get("data_format") == "channels_last"
    sizes = call.x.shape[-rank - 1 : -1] if channels_last else call.x.shape[-rank:]
    where = {name: settings[name] for name in settings.keys() - {"groups", "data_format"}}
    window = reference.transpose_window if call.transposed else reference.conv_window
    windows = window(sizes, call.weight.shape[2:], **where)
    assume(all(out >= 1 for _, out in windows))
    op = (pxd.ConvTranspose if call.transposed else pxd.Conv)(call.weight, call.bias, **settings)
    return op, call.x, sizes, windows


def in_layout(op, x, layout):
    """An input of an operator as one of the same operator in another layout takes it, and with a batch."""
    rank = op.weight.ndim - 2
    x = x if x.ndim == rank + 2 else x[np.newaxis]
    return conventions.swap(x, op._settings[-1], layout)


def same_values(op, other, x, layout):
    got = other(in_layout(op, x, layout))
    np.testing.assert_array_equal(got, in_layout(op, op(x), layout))


def axes(op, sizes, windows):
    """(n, k, s, d, begin, out) of every axis."""
    rank = op.weight.ndim - 2
    stride, dilation = (reference.per_axis(op._settings[i], rank) for i in (0, 4))
    return [
        (*axis[:-1], *axis[-1])
        for axis in zip(sizes, op.weight.shape[2:], stride, dilation, windows, strict=True)
    ]


def full(n, k, s, d):
    return (n - 1) * s + (k - 1) * d + 1


@given(operators())
@drawing.examples(300)
def test_torch_there_and_back(drawn):
    op, x, sizes, windows = drawn
    transposed = isinstance(op, pxd.ConvTranspose)
    try:
        weights, settings = convert.to_torch(op)
    except ValueError:
        # No padding of PyTorch's gives this window, or it depends on the size of the input.
        if transposed:
            assert not all(
                any(full(n, k, s, d) - 2 * begin + extra == out and begin >= 0 for extra in range(max(s, d)))
                for n, k, s, d, begin, out in axes(op, sizes, windows)
            )
        elif isinstance(op._settings[1], str):
            assert op._settings[1] == "same_lower" or max(s for _, _, s, *_ in axes(op, sizes, windows)) > 1
        else:
            assert any(np.ndim(pair) and (pair[0] != pair[1] or min(pair) < 0) for pair in op._settings[1])
        return
    assert (
        settings.pop("in_channels") == x.shape[-1 if op._settings[-1] == "channels_last" else -1 - len(sizes)]
    )
    assert settings.pop("kernel_size") == op.weight.shape[2:]
    assert settings.pop("bias") == ("bias" in weights) == (op.bias is not None)
    made = settings.pop("out_channels")
    assert op.output_shape(x.shape)[-1 if op._settings[-1] == "channels_last" else -1 - len(sizes)] == made
    module = torch_module(transposed, weights["weight"], weights.get("bias"), **settings)
    same_values(op, convert.from_torch(module), x, "channels_first")


@given(operators())
@drawing.examples(300)
def test_onnx_there_and_back(drawn):
    op, x, sizes, windows = drawn
    name = type(op).__name__
    try:
        weights, settings = convert.to_onnx(op)
    except ValueError:
        if name == "Conv":
            assert any(min(pair) < 0 for pair in op._settings[1])
        else:
            assert any(
                begin < 0 or out - full(n, k, s, d) + begin >= max(s, d)
                for n, k, s, d, begin, out in axes(op, sizes, windows)
            )
        return
    node = onnx_protos.node(name, "x weight" + " bias" * ("bias" in weights), "y", **settings)
    assert min(settings.get("pads", [0])) >= 0
    assert all(
        extra < max(s, d)
        for extra, s, d in zip(
            settings.get("output_padding", [0] * len(sizes)),
            settings["strides"],
            settings["dilations"],
            strict=True,
        )
    )
    same_values(op, convert.from_onnx(node, weights), x, "channels_first")


@given(operators(), st.booleans(), st.booleans())
@drawing.examples(300)
def test_jax_there_and_back(drawn, transpose_kernel, nnx):
    op, x, _, _ = drawn
    kind = ConvTranspose if isinstance(op, pxd.ConvTranspose) else Conv
    if kind is ConvTranspose and op._settings[5] > 1:
        with pytest.raises(ValueError, match="groups"):
            convert.to_jax(op)
        return
    weights, settings = convert.to_jax(op, transpose_kernel=transpose_kernel)
    del settings["features"], settings["kernel_size"]
    assert settings.pop("use_bias") == (op.bias is not None)
    other = flax_operator(kind, weights["kernel"], weights.get("bias"), nnx=nnx, **settings)
    same_values(op, other, x, "channels_last")


@given(operators())
@drawing.examples(300)
def test_to_keras(drawn):
    """What Keras makes of these settings, by conventions.py, is the operator's window."""
    op, x, sizes, windows = drawn
    transposed = isinstance(op, pxd.ConvTranspose)
    layout = op._settings[-1]
    per_axis = axes(op, sizes, windows)
    wanted = [(begin, out) for *_, begin, out in per_axis]
    both = max(s for _, _, s, *_ in per_axis) > 1 and max(axis[3] for axis in per_axis) > 1

    def keras_windows(settings):
        return [
            conventions.keras_window(settings, axis, n, s, (k - 1) * d + 1, full(n, k, s, d))
            for axis, (n, k, s, d, *_) in enumerate(per_axis)
        ]

    try:
        weights, settings = convert.to_keras(op)
    except ValueError:
        if both or (transposed and op._settings[5] > 1):
            return
        if transposed:
            for padding in ("valid", "same"):
                assert keras_windows({"padding": padding, "output_padding": None}) != wanted
            for axis, (_, _, s, *_) in enumerate(per_axis):
                per_word = {
                    padding: any(
                        keras_windows({"padding": padding, "output_padding": [extra] * len(sizes)})[axis]
                        == wanted[axis]
                        for extra in range(s)
                    )
                    for padding in ("valid", "same")
                }
                if not any(per_word.values()):
                    return
            # Every axis has an output_padding, but not all of them with the same word.
            assert len(sizes) > 1
        else:
            assert op._settings[1] not in ("valid", "same", "same_upper", 0)
        return
    assert not both
    kernel = weights[0]
    assert kernel.shape[:-2] == settings["kernel_size"]
    assert settings["use_bias"] == (len(weights) == 2)
    x = in_layout(op, x, layout)
    if transposed:
        assert keras_windows(settings) == wanted
        y = reference.conv_transpose(
            x,
            np.moveaxis(kernel, (-1, -2), (0, 1)),
            op.bias,
            stride=settings["strides"],
            dilation=settings["dilation_rate"],
            padding=[
                (begin, full(*axis[:4]) - begin - out) for axis in per_axis for begin, out in [axis[4:]]
            ],
            data_format=settings["data_format"],
        )
    else:
        padding = settings["padding"]
        if padding == "causal":
            padding = (((kernel.shape[0] - 1) * settings["dilation_rate"][0], 0),)
        y = reference.conv(
            x,
            np.moveaxis(kernel, (-1, -2), (0, 1)),
            op.bias,
            stride=settings["strides"],
            dilation=settings["dilation_rate"],
            padding=padding,
            groups=settings["groups"],
            data_format=settings["data_format"],
        )
    np.testing.assert_array_equal(op(x), y)


@pytest.mark.parametrize(
    ("crop", "padding", "output_padding"),
    [((0, 0), "valid", None), ((0, -1), "valid", (1,)), ((0, 1), "same", None), ((1, 1), "same", (0,))],
)
def test_keras_output_padding(crop, padding, output_padding):
    """Kernel 3 and stride 2: the full result has one pixel more than Keras' size for "same"."""
    settings = convert.to_keras(pxd.ConvTranspose(np.ones((1, 1, 3)), stride=2, padding=(crop,))).settings
    assert (settings["padding"], settings["output_padding"]) == (padding, output_padding)


@pytest.mark.parametrize(
    ("padding", "stride", "word"),
    [("valid", 2, "valid"), ("same", 2, "same"), (((1, 2),), 1, "same"), (((3, 0),), 1, "causal")],
)
def test_keras_padding(padding, stride, word):
    op = pxd.Conv(np.ones((1, 1, 4)), stride=stride, padding=padding)
    assert convert.to_keras(op).settings["padding"] == word


def test_exported_arrays_are_copies():
    op = pxd.ConvTranspose(np.ones((1, 1, 3)), np.ones(1))
    for export in (convert.to_torch, convert.to_onnx, convert.to_jax):
        for array in export(op).weights.values():
            array[...] = 7
    for array in convert.to_keras(op).weights:
        array[...] = 7
    assert op.weight.max() == op.bias.max() == 1


def test_to_keras_takes_layers():
    layer = SimpleNamespace(get_weights=lambda: [np.ones((3, 1, 1))], get_config=lambda: {"filters": 1})
    weights, settings = convert.to_keras(layer)
    assert weights[0].shape == (3, 1, 1)
    assert settings == {"filters": 1}


@pytest.mark.parametrize("export", [convert.to_torch, convert.to_onnx, convert.to_jax, convert.to_keras])
def test_only_operators_are_exported(export):
    with pytest.raises(TypeError, match=r"op must be a pyx_deconv\.ConvTranspose or .* not 3 \(int\)"):
        export(3)


@pytest.mark.parametrize(
    ("export", "op", "words"),
    [
        (convert.to_torch, pxd.ConvTranspose(np.ones((1, 1, 3)), padding=((0, 1),)), r"\(0, 1\) on axis 0"),
        (convert.to_torch, pxd.ConvTranspose(np.ones((1, 1, 3)), padding=((-1, -1),)), r"padding >= 0"),
        (convert.to_torch, pxd.Conv(np.ones((1, 1, 3)), padding=((2, 0),)), "both ends of an axis alike"),
        (convert.to_torch, pxd.Conv(np.ones((1, 1, 3)), padding=((-1, -1),)), "both ends of an axis alike"),
        (convert.to_torch, pxd.Conv(np.ones((1, 1, 4)), padding="same_lower"), "both ends of an axis alike"),
        (convert.to_torch, pxd.Conv(np.ones((1, 1, 3)), stride=2, padding="same"), "stride 1 only"),
        (convert.to_onnx, pxd.ConvTranspose(np.ones((1, 1, 3)), padding=((0, -1),)), "pads >= 0"),
        (convert.to_onnx, pxd.Conv(np.ones((1, 1, 3)), padding=((-1, 0),)), "pads >= 0"),
        (convert.to_onnx, pxd.Conv(np.ones((1, 1, 3)), stride=2, padding=((0, -1),)), "pads >= 0"),
        (convert.to_onnx, pxd.Conv(np.ones((1, 1, 3), complex)), "complex128"),
        (convert.to_onnx, pxd.Conv(np.ones((1, 1, 3), int)), "floating"),
        (convert.to_jax, pxd.ConvTranspose(np.ones((2, 1, 3)), groups=2), "groups=2"),
        (convert.to_keras, pxd.ConvTranspose(np.ones((2, 1, 3)), groups=2), "groups=2"),
        (convert.to_keras, pxd.ConvTranspose(np.ones((1, 1, 3)), stride=2, dilation=2), "both above 1"),
        (
            convert.to_keras,
            pxd.ConvTranspose(np.ones((1, 1, 5)), stride=2, padding=((3, 0),)),
            "none of them",
        ),
        (convert.to_keras, pxd.Conv(np.ones((1, 1, 3)), padding=((0, 1),)), "'causal'"),
        (convert.to_keras, pxd.Conv(np.ones((1, 1, 4)), padding="same_lower"), "'causal'"),
        (convert.to_keras, pxd.Conv(np.ones((1, 1, 3)), stride=2, padding="same_lower"), "'causal'"),
    ],
)
def test_what_cannot_be_expressed(export, op, words):
    with pytest.raises(ValueError, match=words):
        export(op)


# ---------------------------------------------------------------- from_torch


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_torch_dtypes(dtype):
    weight = RNG.standard_normal((2, 3, 4)).astype(dtype)
    op = convert.from_torch(torch_module(True, weight))
    assert op.weight.dtype == dtype
    np.testing.assert_array_equal(op.weight, weight)


@pytest.mark.parametrize("installed", [True, False])
def test_torch_bfloat16(installed, monkeypatch):
    if installed and not BFLOAT16:
        pytest.skip("ml_dtypes is not installed")
    if not installed:
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    module = torch_module(True, np.zeros((1, 1, 2)))
    module.weight = Tensor(np.array([[[1.5, -3.0]]]), "torch.bfloat16")
    op = convert.from_torch(module)
    assert op.weight.dtype.name == ("bfloat16" if installed else "float32")
    np.testing.assert_array_equal(op.weight.astype(float), [[[1.5, -3.0]]])


@pytest.mark.parametrize("padding", [1, (1,), "same", "valid"])
def test_torch_conv_padding(padding):
    weight, x = RNG.integers(-9, 9, (2, 1, 4)), RNG.integers(-9, 9, (1, 1, 7))
    op = convert.from_torch(torch_module(False, weight, padding=padding))
    np.testing.assert_array_equal(op(x), reference.conv(x, weight, padding=padding))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"padding_mode": "circular"}, ValueError, "padding_mode='circular' cannot be expressed: .* zeros"),
        ({"padding": "circular"}, ValueError, "padding must be one of"),
        ({"stride": 0}, ValueError, "stride=0"),
        ({"stride": "2"}, TypeError, "stride must be an integer"),
        ({"groups": True}, TypeError, "groups must be an integer"),
        ({"output_padding": (1,)}, ValueError, None),  # smaller than the stride of 1
        ({"weight": object()}, TypeError, "weight must be a tensor or an array, and object"),
        ({"weight": Tensor(np.zeros(3))}, ValueError, "weight must have 3, 4 or 5 axes"),
        ({"weight": type("UninitializedParameter", (), {})()}, ValueError, "no weights yet"),
        ({"weight_v": 1}, ValueError, "remove_weight_norm"),
        ({"weight_mask": 1, "weight_orig": 1}, ValueError, "prune.remove"),
    ],
)
def test_torch_refusals(change, error, words):
    with pytest.raises(error, match=words):
        convert.from_torch(torch_module(True, np.ones((1, 1, 3))) | change)(np.ones((1, 1, 4)))


@pytest.mark.parametrize("module", [None, 3, np.ones(3), SimpleNamespace(weight=1, bias=2)])
def test_torch_takes_its_modules_only(module):
    with pytest.raises(TypeError, match=r"is not a torch\.nn\.ConvTranspose1d/2d/3d or Conv1d/2d/3d"):
        convert.from_torch(module)


# ---------------------------------------------------------------- from_onnx


def test_onnx_conv():
    """Every auto_pad of Conv; with a stride, SAME_UPPER and SAME_LOWER differ."""
    weight, x = RNG.integers(-9, 9, (4, 1, 3, 2)), RNG.integers(-9, 9, (2, 2, 6, 5))
    words = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
    for auto_pad, padding in {**words, "NOTSET": ((1, 2), (0, 3))}.items():
        # Also with VALID and SAME the pads are passed over.
        node = onnx_protos.node(
            "Conv",
            "x W",
            "y",
            auto_pad=auto_pad,
            pads=[1, 0, 2, 3],
            strides=[2, 3],
            group=2,
            kernel_shape=[3, 2],
        )
        op = convert.from_onnx(node, [onnx_protos.tensor("W", weight)])
        want = reference.conv(x, weight, stride=(2, 3), padding=padding, groups=2)
        np.testing.assert_array_equal(op(x), want)


def tensor_proto(data_type, shape=(2,), **fields):
    empty = dict.fromkeys(onnx_protos.FIELDS, ()) | {"raw_data": b""}
    return SimpleNamespace(name="W", dims=shape, data_type=data_type, **empty | fields)


@pytest.mark.parametrize(
    ("data_type", "raw", "fields", "want"),
    [
        (1, "<f4", {"float_data": [1.5, -2.0]}, np.array([1.5, -2.0], "f4")),
        (11, "<f8", {"double_data": [1.5, -2.0]}, np.array([1.5, -2.0])),
        (10, "<f2", {"int32_data": [0x3E00, 0xC000]}, np.array([1.5, -2.0], "f2")),
        (14, "<c8", {"float_data": [1.0, 2.0, 3.0, 4.0]}, np.array([1 + 2j, 3 + 4j], "c8")),
        (15, "<c16", {"double_data": [1.0, 2.0, 3.0, 4.0]}, np.array([1 + 2j, 3 + 4j])),
        (2, "u1", {"int32_data": [1, 255]}, np.array([1, 255], "u1")),
        (3, "i1", {"int32_data": [1, -2]}, np.array([1, -2], "i1")),
        (6, "<i4", {"int32_data": [1, -2]}, np.array([1, -2], "i4")),
        (7, "<i8", {"int64_data": [1, -(2**62)]}, np.array([1, -(2**62)])),
        (9, "?", {"int32_data": [1, 0]}, np.array([True, False])),
        (13, "<u8", {"uint64_data": [1, 2**64 - 1]}, np.array([1, 2**64 - 1], "u8")),
    ],
)
def test_tensor_protos(data_type, raw, fields, want):
    for proto in (
        tensor_proto(data_type, **fields),
        tensor_proto(data_type, raw_data=want.astype(raw).tobytes()),
    ):
        array = convert._tensor_proto.to_array(proto, "W")
        assert array.dtype == want.dtype
        np.testing.assert_array_equal(array, want)


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("fields", [{"int32_data": [0x3FC0, 0xC000]}, {"raw_data": b"\xc0\x3f\x00\xc0"}])
def test_bfloat16_tensor_proto(fields, installed, monkeypatch):
    if installed and not BFLOAT16:
        pytest.skip("ml_dtypes is not installed")
    if not installed:
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    array = convert._tensor_proto.to_array(tensor_proto(16, **fields), "W")
    assert array.dtype.name == ("bfloat16" if installed else "float32")
    np.testing.assert_array_equal(array.astype(float), [1.5, -2.0])


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (tensor_proto(8), "'W' has the data_type 8, which is none of float32"),
        (tensor_proto(1, float_data=[1.0]), r"'W' of shape \(2,\) has 1 values"),
        (tensor_proto(1, (2**40, 2**40)), "has 0 values"),
        (tensor_proto(1, (-1, -1), float_data=[1.0]), r"'W' of shape \(-1, -1\)"),
        (tensor_proto(1, raw_data=b"123"), "'W' has 3 bytes, which are no float32"),
        (tensor_proto(1, data_location=1), "file of its own"),
    ],
)
def test_broken_tensor_protos(proto, words):
    node = onnx_protos.node("Conv", "x W", "y")
    with pytest.raises(ValueError, match=words):
        convert.from_onnx(node, [proto])


def test_onnx_output_shape_needs_the_size():
    weight, x = np.arange(1.0, 5).reshape(1, 1, 4), np.arange(1.0, 4).reshape(1, 1, 3)
    node = onnx_protos.node("ConvTranspose", "x W", "y", output_shape=[5], strides=[2])
    with pytest.raises(ValueError, match=r"input_size must be given: with output_shape=\(5,\)"):
        convert.from_onnx(node, {"W": weight})
    op = convert.from_onnx(node, {"W": weight}, input_size=3)
    # full is 8; of the 3 that are cropped the larger half in front
    want = reference.conv_transpose(x, weight, stride=2, padding=((2, 1),))
    np.testing.assert_array_equal(op(x), want)


@pytest.mark.parametrize(
    ("node", "known", "error", "words"),
    [
        (("Gemm", "x W", {}), {"W": 1}, ValueError, "ConvTranspose or Conv, not 'Gemm'"),
        (("Conv", "x V", {}), {"W": np.ones((1, 1, 3))}, ValueError, r"the weight 'V' .* \['W'\]"),
        (("Conv", "x W B", {}), {"W": np.ones((1, 1, 3))}, ValueError, "the bias 'B' of the node"),
        (("Conv", "x", {}), {}, ValueError, "must have a weight"),
        (("Conv", "x -", {}), {}, ValueError, "must have a weight"),
        (("Conv", "x W", {"auto_pad": "SAME"}), None, ValueError, "auto_pad must be one of"),
        (("Conv", "x W", {"pads": [1]}), None, ValueError, "pads must have 2 entries"),
        (("Conv", "x W", {"kernel_shape": [4]}), None, ValueError, r"kernel_shape=\(4,\)"),
        (("Conv", "x W", {"output_padding": [1]}), None, ValueError, "no attribute 'output_padding'"),
        (("Conv", "x W", {"strides": [0]}), None, ValueError, "strides=0 on axis 0"),
        (("Conv", "x W", {"strides": [1.5]}), None, TypeError, r"strides\[0\] must be an integer"),
        (("Conv", "x W", {"strides": [1, 1]}), None, ValueError, "strides must have"),
        (("Conv", "x W", {"group": 2}), None, ValueError, "groups=2 must divide"),
        (("ConvTranspose", "x W", {"dilations": [2**40]}), None, ValueError, "dilations"),
        (("ConvTranspose", "x W", {"output_shape": [3, 3]}), None, ValueError, "input_size"),
        (("ConvTranspose", "x W", {}), {"W": np.ones((3, 3))}, ValueError, "3, 4 or 5 axes"),
        (("ConvTranspose", "x W", {}), 3, TypeError, "initializers must be a mapping"),
        (("ConvTranspose", "x W", {}), [3], TypeError, "int is not a TensorProto"),
        (
            ("ConvTranspose", "x W", {}),
            {"W": None},
            TypeError,
            "initializer 'W' must be a tensor or an array",
        ),
    ],
)
def test_onnx_refusals(node, known, error, words):
    op_type, inputs, attributes = node
    known = {"W": np.ones((1, 1, 3))} if known is None else known
    if op_type == "Gemm":
        known = {"W": np.ones((1, 1, 3))}
    with pytest.raises(error, match=words):
        convert.from_onnx(onnx_protos.node(op_type, inputs, "y", **attributes), known)


def test_onnx_takes_nodes_only():
    with pytest.raises(TypeError, match="int is not an ONNX node"):
        convert.from_onnx(3, {})
    graph = SimpleNamespace(name="body", type=5, g=None)
    node = onnx_protos.node("Conv", "x W", "y")
    node.attribute.append(graph)
    with pytest.raises(ValueError, match="attribute 'body' of Conv is of type 5"):
        convert.from_onnx(node, {"W": np.ones((1, 1, 3))})


# ---------------------------------------------------------------- from_jax


def spread(x, stride):
    """The input with stride - 1 zeros between its pixels."""
    out = np.zeros((x.shape[0], (x.shape[1] - 1) * stride + 1, *x.shape[2:]), x.dtype)
    out[:, ::stride] = x
    return out


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["SAME", "VALID", [(2, 1)]])
def test_haiku_transposed(stride, padding):
    """`lax.conv_transpose` as its own documents have it: a convolution of the spread-out input."""
    k, taken, made = 3, 2, 3
    w, b = RNG.integers(-9, 9, (k, made, taken)), RNG.integers(-9, 9, made)
    x = RNG.integers(-9, 9, (2, 4, taken))
    low, total = {
        "SAME": (k - 1 if stride > k - 1 else -(-(k + stride - 2) // 2), k + stride - 2),
        "VALID": (k - 1, k + stride - 2 + max(k - stride, 0)),
    }.get(str(padding), (2, 3))
    padded = np.pad(spread(x, stride), ((0, 0), (low, total - low), (0, 0)))
    want = reference.conv(padded, np.moveaxis(w, (-2, -1), (0, 1)), b, data_format="channels_last")
    op = convert.from_jax({"w": w, "b": b}, transposed=True, stride=stride, padding=padding)
    np.testing.assert_array_equal(op(x), want)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("output", [7, 8])
def test_haiku_output_shape(padding, output):
    """Haiku asks the size of the convolution back, of which it is the transpose."""
    w = RNG.integers(-9, 9, (3, 1, 1))
    size = -(-output // 2) if padding == "SAME" else (output - 3) // 2 + 1
    x = RNG.integers(-9, 9, (1, size, 1))
    flipped = np.moveaxis(w[::-1], (-1, -2), (0, 1))
    want = reference.conv_transpose(
        x, flipped, stride=2, padding=padding.lower(), output_size=output, data_format="channels_last"
    )
    op = convert.from_jax({"w": w}, transposed=True, stride=2, padding=padding, output_shape=output)
    np.testing.assert_array_equal(op(x), want)


@pytest.mark.parametrize(
    ("data_format", "layout"),
    [("NHWC", "last"), ("NCHW", "first"), ("N...C", "last"), ("NC...", "first"), ("channels_first", "first")],
)
def test_haiku_conv(data_format, layout):
    w, b = RNG.integers(-9, 9, (3, 2, 1, 4)), RNG.integers(-9, 9, 4)
    x = RNG.integers(-9, 9, (1, 5, 6, 2) if layout == "last" else (1, 2, 5, 6))
    want = reference.conv(
        x,
        np.moveaxis(w, (-1, -2), (0, 1)),
        b,
        stride=(1, 2),
        dilation=(2, 1),
        padding="same",
        groups=2,
        data_format=f"channels_{layout}",
    )
    op = convert.from_jax(
        {"w": w, "b": b if layout == "last" else b.reshape(4, 1, 1)},
        transposed=False,
        stride=(1, 2),
        rate=(2, 1),
        feature_group_count=2,
        data_format=data_format,
    )
    np.testing.assert_array_equal(op(x), want)


def test_flax_bias_that_is_not_used():
    op = convert.from_jax(Conv(use_bias=False), {"kernel": np.ones((3, 1, 1)), "bias": np.ones(1)})
    assert op.bias is None


def test_masks():
    kernel, mask = (
        RNG.integers(1, 9, (3, 1, 2)),
        np.array([1, 0, 1]).reshape(3, 1, 1) * np.ones((3, 1, 2), int),
    )
    op = flax_operator(ConvTranspose, kernel, mask=mask)
    np.testing.assert_array_equal(op.weight[0, :, ::-1].T, (kernel * mask)[:, 0])
    op = convert.from_jax({"w": kernel}, transposed=False, mask=mask)
    np.testing.assert_array_equal(op.weight[:, 0].T, (kernel * mask)[:, 0])
    with pytest.raises(ValueError, match=r"mask must have the shape of kernel, \(3, 1, 2\), not \(3,\)"):
        flax_operator(ConvTranspose, kernel, mask=np.ones(3))


@pytest.mark.parametrize(
    ("padding", "pairs"), [(1, (1, 1)), ([2], (2, 2)), (((3, 0),), (3, 0)), ("CAUSAL", (4, 0))]
)
@pytest.mark.parametrize("nnx", [False, True])
def test_flax_conv(padding, pairs, nnx):
    kernel, bias, x = RNG.integers(-9, 9, (3, 2, 4)), RNG.integers(-9, 9, 4), RNG.integers(-9, 9, (1, 9, 2))
    op = flax_operator(Conv, kernel, bias, nnx=nnx, padding=padding, kernel_dilation=2, strides=None)
    want = reference.conv(
        x,
        np.moveaxis(kernel, (-1, -2), (0, 1)),
        bias,
        dilation=2,
        padding=(pairs,),
        data_format="channels_last",
    )
    np.testing.assert_array_equal(op(x), want)


KERNEL = np.ones((3, 1, 1))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: convert.from_jax(3), TypeError, "module must be a ConvTranspose or Conv of flax"),
        (lambda: convert.from_jax(Conv()), TypeError, "params must be the parameters"),
        (
            lambda: convert.from_jax(Conv(), {"bias": 1}),
            ValueError,
            r"params must have 'kernel', and has \['bias'\]",
        ),
        (lambda: convert.from_jax(Conv(), {"kernel": KERNEL}), ValueError, "params must have 'bias'"),
        (
            lambda: convert.from_jax(Conv(kernel=KERNEL, bias=None), {}),
            TypeError,
            "must not be given with a flax.nnx",
        ),
        (lambda: convert.from_jax(Conv(), {}, stride=2), TypeError, r"settings \(stride\) are for Haiku"),
        (
            lambda: flax_operator(Conv, KERNEL, padding="CIRCULAR"),
            ValueError,
            "'CIRCULAR': it continues .* periodic",
        ),
        (lambda: flax_operator(Conv, KERNEL, padding="REFLECT"), ValueError, "'REFLECT': it mirrors"),
        (lambda: flax_operator(Conv, np.ones((3, 3, 1, 1)), padding="CAUSAL"), ValueError, "not 'CAUSAL'"),
        (
            lambda: flax_operator(ConvTranspose, KERNEL, padding="CIRCULAR"),
            ValueError,
            "for a ConvTranspose, not",
        ),
        (lambda: flax_operator(ConvTranspose, KERNEL, padding="CAUSAL"), ValueError, "not 'CAUSAL'"),
        (lambda: flax_operator(Conv, KERNEL, input_dilation=2), ValueError, "input_dilation=2"),
        (lambda: flax_operator(Conv, KERNEL, padding=[(1, 2), (1, 2)]), ValueError, "padding must have"),
        (lambda: flax_operator(Conv, KERNEL, padding=1.5), TypeError, "padding must be an integer"),
        (lambda: flax_operator(Conv, np.ones(3)), ValueError, "kernel must have 3, 4 or 5 axes"),
        (lambda: flax_operator(Conv, KERNEL, strides=0), ValueError, "strides=0"),
        (lambda: convert.from_jax({"w": KERNEL}), TypeError, "transposed must be True"),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=1),
            TypeError,
            "transposed must be True .* not 1",
        ),
        (lambda: convert.from_jax({"w": KERNEL}, {}, transposed=True), TypeError, "params must not be given"),
        (
            lambda: convert.from_jax({"v": KERNEL}, transposed=True),
            ValueError,
            r"must have 'w', and have \['v'\]",
        ),
        (lambda: convert.from_jax({"w": KERNEL}, transposed=True, rate=2), TypeError, "rate is a setting"),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=False, strides=2),
            TypeError,
            "'strides' is no setting",
        ),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=False, output_shape=2),
            TypeError,
            "output_shape is",
        ),
        (lambda: convert.from_jax({"w": KERNEL}, transposed=False, padding=len), ValueError, "haiku.pad"),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=True, data_format="NHW"),
            ValueError,
            "data_format",
        ),
        (
            lambda: convert.from_jax({"w": KERNEL}, transposed=True, output_shape=4, padding=1),
            ValueError,
            "'VALID' or 'SAME' with output_shape",
        ),
    ],
)
def test_jax_refusals(make, error, words):
    with pytest.raises(error, match=words):
        make()


# ---------------------------------------------------------------- from_keras


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


# ---------------------------------------------------------------- the package


def test_convert_is_imported_when_it_is_used():
    code = """
import sys, pyx_deconv
assert "pyx_deconv.convert" not in sys.modules
pyx_deconv.convert.from_torch
assert not {"torch", "keras", "jax", "flax", "onnx", "scipy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert pxd.convert is importlib.import_module("pyx_deconv.convert")
    with pytest.raises(AttributeError, match="has no attribute 'converted'"):
        _ = pxd.converted
