"""Weights from and to the frameworks: what these answered, which is frozen in golden/, and there and back."""

import importlib
import subprocess
import sys

import conventions
import drawing
import numpy as np
import onnx_protos
import pytest
import reference
from golden import store
from hypothesis import assume, given
from hypothesis import strategies as st
from standins import Conv, ConvTranspose, SimpleNamespace, flax_operator, torch_module

import pyx_deconv as pxd
from pyx_deconv import convert


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
