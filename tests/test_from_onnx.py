"""`convert.from_onnx`, by stand-ins; test_frameworks_onnx.py asks the real nodes."""

import sys

import drawing
import numpy as np
import onnx_protos
import pytest
import reference
from standins import SimpleNamespace

from pyx_deconv import convert

RNG = np.random.default_rng(3)
BFLOAT16 = drawing.BFLOAT16


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
        (("Conv", "x W", {"strides": [1.5]}), None, ValueError, "'strides' of Conv is of type 6"),
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
