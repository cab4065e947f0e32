"""Whole ONNX graphs, from plain objects with the fields of ONNX' messages: no onnx is needed.

test_frameworks.py compares exported networks, and every operation, with ONNX Runtime.
"""

import gc
import itertools
import math
import sys
import threading
import weakref

import numpy as np
import pytest
import reference
from onnx_protos import model, node, tensor, value

from pyx_deconv.convert import load_onnx
from pyx_deconv.convert._onnx_operators import MAKERS

RNG = np.random.default_rng(5)
X = np.array([[-2.0, -0.5, 0.0, 0.5, 3.0]], np.float32)


def run(op_type, x, *inputs, opset=20, constant=True, outputs="y", **attributes):
    """The result of a graph with one node; further inputs are constants, or given with x."""
    names = [f"c{number}" if each is not None else "-" for number, each in enumerate(inputs)]
    given = {name: np.asarray(each) for name, each in zip(names, inputs, strict=True) if each is not None}
    made = node(op_type, " ".join(["x", *names]), outputs, **attributes)
    types = {"float32": 1, "int64": 7, "int32": 6, "float64": 11, "bool": 9, "float16": 10}
    x = np.asarray(x)
    values = [value("x", None, types[x.dtype.name])]
    if constant:
        return load_onnx(model([made], given, values, outputs, opset=opset))(x)
    values += [value(name, None, types[each.dtype.name]) for name, each in given.items()]
    return load_onnx(model([made], {}, values, outputs, opset=opset))(x, **given)


def gelu(x, approximate):
    if approximate == "tanh":
        return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))


SCALAR = [
    ("Relu", {}, lambda x: max(x, 0)),
    ("LeakyRelu", {}, lambda x: x if x > 0 else 0.01 * x),
    ("LeakyRelu", {"alpha": 0.2}, lambda x: x if x > 0 else 0.2 * x),
    ("Elu", {"alpha": 2.0}, lambda x: x if x > 0 else 2 * (math.exp(x) - 1)),
    (
        "Selu",
        {},
        lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (math.exp(x) - 1)),
    ),
    ("Selu", {"alpha": 2.0, "gamma": 3.0}, lambda x: 3 * (x if x > 0 else 2 * (math.exp(x) - 1))),
    ("Sigmoid", {}, lambda x: 1 / (1 + math.exp(-x))),
    ("HardSigmoid", {}, lambda x: min(max(0.2 * x + 0.5, 0), 1)),
    ("HardSigmoid", {"alpha": 0.5, "beta": 0.1}, lambda x: min(max(0.5 * x + 0.1, 0), 1)),
    ("Tanh", {}, math.tanh),
    ("Softplus", {}, lambda x: math.log(1 + math.exp(x))),
    ("Gelu", {}, lambda x: gelu(x, "none")),
    ("Gelu", {"approximate": "tanh"}, lambda x: gelu(x, "tanh")),
    ("Erf", {}, math.erf),
    ("Exp", {}, math.exp),
    ("Neg", {}, lambda x: -x),
    ("Sqrt", {}, lambda x: math.sqrt(x) if x >= 0 else math.nan),
    ("Identity", {}, lambda x: x),
]


@pytest.mark.parametrize(("op_type", "attributes", "formula"), SCALAR)
def test_functions_of_one_number(op_type, attributes, formula):
    y = run(op_type, X, **attributes)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, [[formula(float(x)) for x in X[0]]], rtol=1e-6, atol=1e-7)


def test_functions_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    np.testing.assert_allclose(run("Erf", X), [[math.erf(x) for x in X[0]]], rtol=1e-6)


def test_far_from_zero():
    """Nothing overflows, warns, or loses its digits."""
    far = np.array([[-1000.0, -90.0, 90.0, 1000.0]], np.float32)
    np.testing.assert_allclose(run("Sigmoid", far), [[0, math.exp(-90), 1, 1]], rtol=1e-6)
    np.testing.assert_allclose(run("Softplus", far), [[0, math.exp(-90), 90, 1000]], rtol=1e-6)
    np.testing.assert_allclose(run("Elu", far), [[-1, -1, 90, 1000]])
    np.testing.assert_array_equal(run("Exp", far)[0, 3], np.inf)
    np.testing.assert_allclose(run("Softmax", far), [[0, 0, 0, 1]], atol=1e-30)


BINARY = [
    ("Add", lambda x, y: x + y),
    ("Sub", lambda x, y: x - y),
    ("Mul", lambda x, y: x * y),
    ("Div", lambda x, y: x / y),
    ("Pow", lambda x, y: x**y),
]


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("op_type", "formula"), BINARY)
def test_arithmetic_broadcasts(op_type, formula, constant):
    x, y = RNG.random((2, 3, 1)).astype(np.float32), RNG.random((3, 4)).astype(np.float32)
    np.testing.assert_allclose(run(op_type, x, y, constant=constant), formula(x, y), rtol=1e-6)


def test_integers_are_divided_towards_zero():
    got = run("Div", np.array([7, -7, 7, -7]), np.array([2, 2, -2, -2]))
    np.testing.assert_array_equal(got, [3, -3, -3, 3])
    assert got.dtype == np.int64


def test_prelu():
    x, slope = np.array([[[-1.0, 2.0], [-3.0, 4.0]]], np.float32), np.array([[10.0], [100.0]], np.float32)
    np.testing.assert_array_equal(run("PRelu", x, slope), [[[-10, 2], [-300, 4]]])


@pytest.mark.parametrize("inputs", [(-1.0, 1.0), (None, 1.0), (-1.0, None), ()])
def test_clip(inputs):
    low, high = (*inputs, None, None)[:2]
    want = np.clip(X, -math.inf if low is None else low, math.inf if high is None else high)
    arrays = [None if each is None else np.float32(each) for each in inputs]
    np.testing.assert_array_equal(run("Clip", X, *arrays), want)
    np.testing.assert_array_equal(run("Clip", X, opset=10, min=low, max=high), want)


@pytest.mark.parametrize(("opset", "axis"), [(13, None), (13, 1), (13, 0), (12, None), (12, 2), (12, 0)])
def test_softmax(opset, axis):
    x = RNG.standard_normal((2, 3, 4)).astype(np.float32)
    attributes = {} if axis is None else {"axis": axis}
    raised = np.exp(x)
    if opset == 13:
        along = -1 if axis is None else axis
    else:  # all axes from this one on together
        along = tuple(range(1 if axis is None else axis, 3))
    want = raised / raised.sum(along, keepdims=True)
    np.testing.assert_allclose(run("Softmax", x, opset=opset, **attributes), want, rtol=1e-5)


@pytest.mark.parametrize("constant", [True, False])
def test_batch_normalization(constant):
    x = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    scale, offset, mean, variance = RNG.random((4, 3)).astype(np.float32)
    column = (slice(None), None, None)
    want = (x - mean[column]) / np.sqrt(variance[column] + 0.1) * scale[column] + offset[column]
    y = run("BatchNormalization", x, scale, offset, mean, variance, constant=constant, epsilon=0.1)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)


def test_instance_normalization():
    x = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
    scale, offset = RNG.random((2, 3)).astype(np.float32)
    column = (slice(None), None, None)
    mean, variance = x.mean((2, 3), keepdims=True), x.var((2, 3), keepdims=True)
    want = (x - mean) / np.sqrt(variance + 1e-5) * scale[column] + offset[column]
    np.testing.assert_allclose(run("InstanceNormalization", x, scale, offset), want, rtol=1e-4, atol=1e-5)


def test_dropout_passes_all():
    for inputs in ((), (np.float32(0.5),), (np.float32(0.5), np.array(False))):
        np.testing.assert_array_equal(run("Dropout", X, *inputs), X)
    both = run("Dropout", X, outputs="y mask")
    np.testing.assert_array_equal(both["y"], X)
    assert both["mask"].dtype == bool
    assert both["mask"].all()


# ---------------------------------------------------------------- shapes

CUBE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes", "want"),
    [
        ("Reshape", ([6, -1],), {}, CUBE.reshape(6, 4)),
        ("Reshape", ([0, 12],), {}, CUBE.reshape(2, 12)),
        ("Flatten", (), {}, CUBE.reshape(2, 12)),
        ("Flatten", (), {"axis": 2}, CUBE.reshape(6, 4)),
        ("Flatten", (), {"axis": 0}, CUBE.reshape(1, 24)),
        ("Flatten", (), {"axis": -1}, CUBE.reshape(6, 4)),
        ("Unsqueeze", ([0, -1],), {}, CUBE[None, ..., None]),
        ("Unsqueeze", (), {"axes": [1], "opset": 11}, CUBE[:, None]),
        ("Transpose", (), {}, CUBE.T),
        ("Transpose", (), {"perm": [1, 0, 2]}, CUBE.swapaxes(0, 1)),
        ("Gather", ([1, -1],), {"axis": 2}, CUBE[:, :, [1, 3]]),
        ("Gather", (1,), {}, CUBE[1]),
        ("Shape", (), {}, np.array([2, 3, 4])),
        ("Shape", (), {"start": 1}, np.array([3, 4])),
        ("Shape", (), {"start": -2, "end": -1}, np.array([3])),
        ("Cast", (), {"to": 7}, CUBE.astype(np.int64)),
        ("Slice", ([1], [3]), {}, CUBE[1:3]),
        ("Slice", ([0, 1], [2**62, -1], [-1, 1], [2, 1]), {}, CUBE[:, 1:-1, ::2]),
        ("Slice", ([-1], [-(2**62)], [2], [-1]), {}, CUBE[:, :, ::-1]),
        ("Slice", ([3], [0], [2], [-2]), {}, CUBE[:, :, 3:0:-2]),
        ("Slice", (), {"starts": [1], "ends": [3], "axes": [1], "opset": 9}, CUBE[:, 1:3]),
        ("Pad", ([0, 1, 0, 0, 0, 2],), {}, np.pad(CUBE, [(0, 0), (1, 0), (0, 2)])),
        ("Pad", ([1, 2], np.float32(7), [-1]), {}, np.pad(CUBE, [(0, 0)] * 2 + [(1, 2)], constant_values=7)),
        ("Pad", ([-1, 1], None, [2]), {}, np.pad(CUBE[:, :, 1:], [(0, 0)] * 2 + [(0, 1)])),
        ("Pad", ([1, 2], None, [2]), {"mode": "reflect"}, np.pad(CUBE, [(0, 0)] * 2 + [(1, 2)], "reflect")),
        ("Pad", ([1, 2], None, [2]), {"mode": "edge"}, np.pad(CUBE, [(0, 0)] * 2 + [(1, 2)], "edge")),
        ("Pad", (), {"pads": [0, 0, 1, 0, 0, 0], "value": 5.0, "opset": 10},
         np.pad(CUBE, [(0, 0)] * 2 + [(1, 0)], constant_values=5)),
        ("Concat", (CUBE,), {"axis": -1}, np.concatenate([CUBE, CUBE], 2)),
    ],
)  # fmt: skip
def test_shapes(op_type, inputs, attributes, want):
    inputs = [np.array(each) if isinstance(each, (list, int)) else each for each in inputs]
    got = run(op_type, CUBE, *inputs, **attributes)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_squeeze():
    x = CUBE.reshape(2, 1, 12, 1)
    assert run("Squeeze", x).shape == (2, 12)
    assert run("Squeeze", x, np.array([-1])).shape == (2, 1, 12)
    assert run("Squeeze", x, opset=11, axes=[1]).shape == (2, 12, 1)


def test_constants():
    """Of every kind; ConstantOfShape is float32 zero where nothing is said."""
    nodes = [
        node("Constant", "", "a", value=np.array([1.5, 2.5])),
        node("Constant", "", "b", value_float=0.5),
        node("Constant", "", "c", value_floats=[1.0, 2.0]),
        node("Constant", "", "d", value_int=3),
        node("Constant", "", "e", value_ints=[4, 5]),
        node("ConstantOfShape", "e", "f"),
        node("ConstantOfShape", "e", "g", value=np.array([7])),
    ]
    got = load_onnx(model(nodes, inputs="", outputs="a b c d e f g"))()
    want = {
        "a": np.array([1.5, 2.5]),
        "b": np.array(0.5, "f4"),
        "c": np.array([1, 2], "f4"),
        "d": np.array(3),
        "e": np.array([4, 5]),
        "f": np.zeros((4, 5), "f4"),
        "g": np.full((4, 5), 7),
    }
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)
    got["a"][...] = 0  # what a caller gets is his own


# ---------------------------------------------------------------- pooling and resizing


def pooled(x, kernel, stride, dilation, pads, out, combine, count_all=True):
    """Window by window; pads hold NaN, which `combine` passes over."""
    padded = np.pad(x, [(0, 0)] * 2 + pads, constant_values=np.nan)
    y = np.empty((*x.shape[:2], *out))
    for i in range(out[0]):
        for j in range(out[1]):
            rows = [i * stride[0] + t * dilation[0] for t in range(kernel[0])]
            columns = [j * stride[1] + t * dilation[1] for t in range(kernel[1])]
            rows = [r for r in rows if r < padded.shape[2]]
            columns = [c for c in columns if c < padded.shape[3]]
            y[:, :, i, j] = combine(padded[:, :, rows][..., columns], axis=(2, 3))
    return y


@pytest.mark.parametrize(
    ("attributes", "dilation", "pads", "out"),
    [
        ({"kernel_shape": [2, 2], "strides": [2, 2]}, (1, 1), [(0, 0), (0, 0)], (3, 3)),
        ({"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, (1, 1), [(0, 0), (0, 0)], (4, 3)),
        ({"kernel_shape": [3, 2], "pads": [1, 0, 2, 1]}, (1, 1), [(1, 2), (0, 1)], (8, 6)),
        (
            {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [0, 1, 0, 1]},
            (2, 3),
            [(0, 0), (1, 1)],
            (3, 5),
        ),
        (
            {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
            (1, 1),
            [(1, 1), (0, 0)],
            (4, 3),
        ),
        (
            {"kernel_shape": [2, 3], "strides": [2, 1], "auto_pad": "SAME_LOWER"},
            (1, 1),
            [(1, 0), (1, 1)],
            (4, 6),
        ),
        (
            {"kernel_shape": [2, 3], "strides": [1, 2], "auto_pad": "VALID", "pads": [1] * 4},
            (1, 1),
            [(0, 0)] * 2,
            (6, 2),
        ),
        # With ceil_mode a fifth window would begin in the padding behind the input.
        (
            {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
            (1, 1),
            [(1, 1), (1, 1)],
            (4, 4),
        ),
    ],
)
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_pooling(op_type, attributes, dilation, pads, out):
    x = RNG.standard_normal((2, 3, 7, 6)).astype(np.float32)
    stride = attributes.get("strides", (1, 1))
    combine = np.nanmax if op_type == "MaxPool" else np.nanmean
    want = pooled(x, attributes["kernel_shape"], stride, dilation, pads, out, combine)
    got = run(op_type, x, **attributes)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_average_pool_counts_the_padding():
    x = np.ones((1, 1, 3), np.float32)
    got = run("AveragePool", x, kernel_shape=[2], pads=[1, 1], count_include_pad=1)
    np.testing.assert_array_equal(got, [[[0.5, 1, 1, 0.5]]])
    # A last window that reaches beyond the padding counts what is within it.
    got = run("AveragePool", x, kernel_shape=[3], strides=[3], pads=[1, 0], count_include_pad=1, ceil_mode=1)
    np.testing.assert_allclose(got, [[[2 / 3, 1]]], rtol=1e-6)


def test_max_pool_of_integers():
    got = run("MaxPool", np.array([[[-5, -3, -9]]]), kernel_shape=[2], pads=[1, 1])
    np.testing.assert_array_equal(got, [[[-5, -3, -3, -9]]])


def test_global_average_pool():
    np.testing.assert_allclose(run("GlobalAveragePool", CUBE), CUBE.mean(2, keepdims=True))


@pytest.mark.parametrize(
    ("inputs", "attributes", "index"),
    [
        ((None, [1.0, 1.0, 2.0]), {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
         [0, 0, 1, 1, 2, 2, 3, 3]),
        ((None, None, [2, 3, 6]), {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
         [0, 0, 1, 2, 2, 3]),
        ((None, [1.0, 1.0, 1.5]), {}, [0, 0, 1, 2, 2, 3]),
        ((None, None, [2, 3, 7]), {"coordinate_transformation_mode": "align_corners"}, [0, 0, 1, 1, 2, 2, 3]),
        ((None, None, [2, 3, 7]), {"coordinate_transformation_mode": "align_corners",
                                   "nearest_mode": "round_prefer_ceil"}, [0, 1, 1, 2, 2, 3, 3]),
        ((None, None, [2, 3, 1]), {"coordinate_transformation_mode": "pytorch_half_pixel"}, [0]),
        ((None, None, [2, 3, 2]), {"nearest_mode": "ceil"}, [1, 3]),
    ],
)  # fmt: skip
def test_resize(inputs, attributes, index):
    types = [None, np.float32, np.int64]
    arrays = [None if each is None else np.array(each, types[i]) for i, each in enumerate(inputs)]
    np.testing.assert_array_equal(run("Resize", CUBE, *arrays, **attributes), CUBE[:, :, index])


# ---------------------------------------------------------------- convolutions


def test_convolutions():
    x = RNG.integers(-9, 9, (2, 2, 5)).astype(np.float32)
    weight, bias = RNG.integers(-9, 9, (2, 3, 4)).astype(np.float32), np.array([1, 2, 3], np.float32)
    got = run("ConvTranspose", x, weight, bias, strides=[2], pads=[1, 1], output_padding=[1])
    want = reference.conv_transpose(x, weight, bias, stride=2, padding=1, output_padding=1)
    np.testing.assert_array_equal(got, want)
    back = RNG.integers(-9, 9, (4, 2, 3)).astype(np.float32)
    got = run("Conv", x, back, None, auto_pad="SAME_LOWER", strides=[2])
    np.testing.assert_array_equal(got, reference.conv(x, back, stride=2, padding="same_lower"))


def test_output_shape_follows_the_input():
    """What is cropped depends on the size; with auto_pad NOTSET the larger half in front."""
    weight = RNG.integers(-9, 9, (1, 1, 4)).astype(np.float32)
    graph = model([node("ConvTranspose", "x w", "y", output_shape=[8], strides=[2])], {"w": weight})
    loaded = load_onnx(graph)
    for size, crop in ((4, (1, 1)), (5, (2, 2))):
        x = RNG.integers(-9, 9, (1, 1, size)).astype(np.float32)
        want = reference.conv_transpose(x, weight, stride=2, padding=(crop,))
        np.testing.assert_array_equal(loaded(x), want)


def test_weights_may_be_made_of_constants():
    """A weight that nodes make of constants is one."""
    weight = RNG.integers(-9, 9, (1, 1, 3)).astype(np.float32)
    nodes = [
        node("Mul", "w two", "doubled"),
        node("Constant", "", "two", value_float=2.0),
        node("ConvTranspose", "x doubled", "y"),
    ]
    x = RNG.integers(-9, 9, (1, 1, 4)).astype(np.float32)
    got = load_onnx(model(nodes, {"w": weight}))(x)
    np.testing.assert_array_equal(got, reference.conv_transpose(x, 2 * weight))


# ---------------------------------------------------------------- the model


def small():
    weight = np.array([[[1.0, 10.0, 100.0]]], np.float32)
    nodes = [
        node("Relu", "up", "y", name="act"),
        node("ConvTranspose", "x w", "up", name="first", strides=[2]),
    ]
    return model(nodes, {"w": weight, "unused": weight}, [value("x", ["batch", 1, None])], [value("y", None)])


def test_nodes_run_in_the_order_that_they_need():
    np.testing.assert_array_equal(load_onnx(small())(np.array([[[1.0, -2.0]]])), [[[1, 10, 98, 0, 0]]])


def test_inputs_by_position_and_name():
    inputs = [value("a", [1]), value("b", [1])]
    loaded = load_onnx(model([node("Sub", "a b", "y")], inputs=inputs))
    five, two = np.array([5.0]), np.array([2.0])
    for y in (loaded(five, two), loaded(five, b=two), loaded(b=two, a=five), loaded([5], np.float16([2]))):
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, [3])


@pytest.mark.parametrize(
    ("arrays", "named", "error", "words"),
    [
        ((1, 2), {}, TypeError, r"the model takes 1 inputs, \['x'\], not 2"),
        ((), {}, TypeError, "the input 'x' is missing"),
        ((np.ones((1, 1, 2)),), {"x": 1}, TypeError, "'x' was given twice"),
        ((), {"z": 1}, TypeError, "no input 'z'; it has"),
        (
            (np.ones((1, 2, 2)),),
            {},
            ValueError,
            r"the input x: float32 \(batch, 1, \?\) was given .* \(1, 2, 2\)",
        ),
        ((np.ones((1, 2)),), {}, ValueError, r"shape \(1, 2\)"),
        ((np.ones((1, 1, 2), complex),), {}, TypeError, "dtype complex128"),
        (("x",), {}, TypeError, "x must be of float16"),
    ],
)
def test_calls_are_checked(arrays, named, error, words):
    with pytest.raises(error, match=words):
        load_onnx(small())(*arrays, **named)


def test_what_it_says_of_itself():
    loaded = load_onnx(small())
    assert repr(loaded) == (
        "OnnxModel (1 ConvTranspose, 1 Relu)\n  takes x: float32 (batch, 1, ?)\n  gives y: float32 (...)"
    )
    assert loaded.inputs[0].name == "x"
    assert loaded.inputs[0].shape == ("batch", 1, None)
    assert loaded.outputs[0].shape is None


def test_an_error_in_a_node_names_it():
    loaded = load_onnx(model([node("Add", "x c", "y", name="sum")], {"c": np.ones(3, np.float32)}))
    with pytest.raises(ValueError, match="broadcast") as caught:
        loaded(np.ones(2))
    assert caught.value.__notes__ == ["in node 'sum' (Add)"]


def test_results_belong_to_the_caller():
    """Neither an input nor a constant can be changed by way of a result."""
    nodes = [node("Identity", "x", "y"), node("Identity", "c", "z"), node("Reshape", "x n", "w")]
    constants = {"c": np.zeros(2, np.float32), "n": np.array([2])}
    loaded = load_onnx(model(nodes, constants, outputs="y z w"))
    x = np.zeros(2, np.float32)
    for result in loaded(x).values():
        result += 1
    np.testing.assert_array_equal(x, 0)
    np.testing.assert_array_equal(loaded(x)["z"], 0)


def test_intermediate_results_are_freed(monkeypatch):
    """When a node runs, what only earlier ones needed is gone."""
    made, most = [], []

    class Watched(np.ndarray):
        pass

    def watching(_):
        def apply(x):
            gc.collect()
            most.append(sum(each() is not None for each in made))
            result = (x + 1).view(Watched)
            made.append(weakref.ref(result))
            return result

        return apply

    monkeypatch.setitem(MAKERS, "Relu", watching)
    names = ["x", *(f"t{number}" for number in range(6)), "y"]
    nodes = [node("Relu", a, b) for a, b in itertools.pairwise(names)]
    np.testing.assert_array_equal(load_onnx(model(nodes))(np.zeros(2)), 7)
    assert max(most) == 1


def test_threads_share_a_model():
    loaded, results = load_onnx(small()), []
    inputs = [np.full((1, 1, 3), float(n)) for n in range(8)]
    threads = [threading.Thread(target=lambda x=x: results.append((x, loaded(x)))) for x in inputs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for x, y in results:
        np.testing.assert_array_equal(y, loaded(x))


# ---------------------------------------------------------------- what is refused

ONE = np.ones((1, 1, 3), np.float32)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (
            model([node("Loop", "x", "y", name="n")]),
            r"node 'n' \(Loop\) is not supported; supported: Add, .*Unsqueeze",
        ),
        (model([node("Loop", "x", "y")]), r"node -> 'y' \(Loop\) is not supported"),
        (model([node("Conv", "x w", "y", domain="my")], {"w": ONE}), r"\(Conv\) of my is not supported"),
        (model([node("Relu", "z", "y")]), "needs 'z', which nothing computes"),
        (model([node("Relu", "b", "a"), node("Relu", "a", "b")], outputs="a"), "which nothing computes"),
        (model([node("Relu", "x", "z")]), "the output 'y' of the graph is computed by none"),
        (model([node("Relu", "x", "x")], outputs="x"), "computes 'x', which is there already"),
        (model([node("Relu", "x", "y"), node("Tanh", "x", "y")]), "'y' is computed by more than one node"),
        (model([node("Relu", "x", "y")], opset=6), "for opset 6, and must be for 7"),
        (model([node("Conv", "x x", "y")]), r"\(Conv\): its weight and its bias must be initializers"),
        (model([node("Conv", "x w x", "y")], {"w": ONE}), "its weight and its bias must be"),
        (model([node("Conv", "x w", "y", pads=[1])], {"w": ONE}), r"\(Conv\): pads must have 2 entries"),
        (
            model([node("ConvTranspose", "x w", "y", output_shape=[1, 1])], {"w": ONE}),
            "output_shape must have",
        ),
        (model([node("Add", "x", "y")]), r"\(Add\): it has 1 inputs: missing a required argument: 'y'"),
        (model([node("Relu", "x x", "y")]), r"\(Relu\): it has 2 inputs: too many"),
        (model([node("Reshape", "x -", "y")]), r"\(Reshape\): its input 'shape' is left out"),
        (model([node("Relu", "x", "y", slope=1.0)]), "attribute 'slope' is not supported"),
        (
            model([node("BatchNormalization", "x w w w w", "y", training_mode=1)], {"w": ONE}),
            "training_mode=1",
        ),
        (model([node("BatchNormalization", "x w w w w", "y m v")], {"w": ONE}), "more than one output"),
        (model([node("BatchNormalization", "x w w w w", "y", spatial=0)], {"w": ONE}, opset=8), "spatial=0"),
        (model([node("Dropout", "x - t", "y")], {"t": np.array(True)}), "training_mode is not supported"),
        (model([node("Dropout", "x - x", "y")]), "training_mode is not supported"),
        (model([node("MaxPool", "x", "y i", kernel_shape=[2])]), "output of indices"),
        (model([node("MaxPool", "x", "y")]), "'kernel_shape' is missing"),
        (model([node("MaxPool", "x", "y", kernel_shape=[2], pads=[-1, 0])]), "pads must be 2 entries"),
        (model([node("MaxPool", "x", "y", kernel_shape=[2], auto_pad="SAME")]), "auto_pad='SAME' is none of"),
        (model([node("Pad", "x", "y", mode="weird")]), "mode 'weird' is not supported"),
        (model([node("Resize", "x", "y", mode="cubic")]), "mode 'cubic' is not supported"),
        (
            model([node("Resize", "x", "y", coordinate_transformation_mode="tf_crop_and_resize")]),
            "tf_crop_and",
        ),
        (model([node("Resize", "x", "y", nearest_mode="up")]), "nearest_mode 'up' is not supported"),
        (model([node("Resize", "x", "y")], opset=10), "before opset 11"),
        (model([node("Cast", "x", "y", to=8)]), "to=8 is no data type"),
        (model([node("Cast", "x", "y")]), "to=None is no data type"),
        (model([node("Gelu", "x", "y", approximate="some")]), "approximate must be 'none' or 'tanh'"),
        (model([node("Constant", "", "y")], inputs=""), "a constant has one value, not 0"),
        (model([node("Relu", "x", "y")], inputs=[value("x", None, 0)]), "'x' must be a tensor"),
        (
            model([node("Reshape", "c n", "y")], {"c": ONE, "n": np.array([2])}),
            r"\(Reshape\): cannot reshape",
        ),
    ],
)
def test_graphs_that_are_refused(graph, words):
    with pytest.raises(ValueError, match=words):
        load_onnx(graph)


def test_a_model_has_one_version():
    graph = model([node("Relu", "x", "y")])
    graph.opset_import *= 2
    with pytest.raises(ValueError, match=r"one version of ONNX' operators, not \[20, 20\]"):
        load_onnx(graph)
    graph = model([node("Relu", "x", "y")])
    graph.graph.sparse_initializer.append(tensor("w", ONE))
    with pytest.raises(ValueError, match="sparse initializers"):
        load_onnx(graph)


@pytest.mark.parametrize("source", [3, None, np.ones(3)])
def test_models_only(source):
    with pytest.raises(TypeError, match="is not an ONNX model: it has no attribute 'graph'"):
        load_onnx(source)


def test_files_need_onnx(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for source in ("model.onnx", tmp_path / "model.onnx", b"", bytearray()):
        with pytest.raises(ImportError, match=r"needs the package onnx .* pip install onnx"):
            load_onnx(source)


def test_every_operation_is_tried_here():
    """A new operation has to come with a test: its name stands in this file."""
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    assert [name for name in MAKERS if f'"{name}"' not in text] == []
