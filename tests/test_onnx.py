"""`convert.load_onnx` of models made here; for exported networks see test_frameworks_onnx.py."""

import concurrent.futures
import sys

import numpy as np
import pytest
import reference

from pyx_deconv import convert

onnx = pytest.importorskip("onnx", reason="load_onnx needs the package onnx")

RNG = np.random.default_rng(3)
X = RNG.integers(-4, 5, (2, 4, 5, 6)).astype(np.float32)
UP = RNG.integers(-3, 4, (4, 6, 3, 3)).astype(np.float32)
DOWN = RNG.integers(-3, 4, (2, 6, 2, 2)).astype(np.float32)
BIAS = RNG.integers(-3, 4, 6).astype(np.float32)


def node(op_type, inputs, outputs, **settings):
    return onnx.helper.make_node(op_type, inputs.split(), outputs.split(), **settings)


def model(nodes, constants=None, inputs=None, outputs=("y",), opset=20):
    """Inputs are (name, shape) of float32."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "graph",
        [value(name, onnx.TensorProto.FLOAT, shape) for name, shape in (inputs or [("x", X.shape)])],
        [value(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    made.ir_version = 10
    return made


def decoder(inputs=None):
    nodes = [
        node("ConvTranspose", "x w b", "up", strides=[2, 2], pads=[1, 0, 0, 1]),
        node("Relu", "up", "positive"),
        node("Conv", "positive v", "y", strides=[2, 1]),
    ]
    return model(nodes, {"w": UP, "b": BIAS, "v": DOWN}, inputs)


def decoded(x):
    up = reference.conv_transpose(x, UP, BIAS, stride=2, padding=((1, 0), (0, 1)))
    return reference.conv(np.maximum(up, 0), DOWN, stride=(2, 1))


def test_values_and_operators_made_once():
    loaded = convert.load_onnx(decoder([("x", ("batch", 4, None, None))]))
    for x in (X, X[:1], X[:, :, 1:, :3], X + 1):
        got = loaded(x)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, decoded(x))
    made = [vars(each)["operators"] for each in loaded._evaluator.rt_nodes_ if "Conv" in type(each).__name__]
    assert [list(each) for each in made] == [[None], [None]]
    kept = [each[None][2] for each in made]
    loaded(X)
    assert all(each[None][2] is one for each, one in zip(made, kept, strict=True))


def test_computed_weights():
    """Those of one run are not taken for those of the next."""
    nodes = [node("Mul", "w s", "scaled"), node("ConvTranspose", "x scaled", "y", strides=[3, 2])]
    loaded = convert.load_onnx(model(nodes, {"w": UP}, [("x", X.shape), ("s", (1,))]))
    for scale in (1, 2, 2, -1):
        want = scale * reference.conv_transpose(X, UP, stride=(3, 2))
        np.testing.assert_array_equal(loaded(X, s=[np.float32(scale)]), want)


def test_output_shape_follows_the_input():
    nodes = [node("ConvTranspose", "x w", "y", strides=[2, 2], output_shape=[9, 11], auto_pad="SAME_UPPER")]
    loaded = convert.load_onnx(model(nodes, {"w": UP}, [("x", (None, 4, None, None))]))
    for rows in (5, 4, 5):
        x = X[:, :, :rows]
        full = reference.conv_transpose(x, UP, stride=2)  # 2 rows + 1 by 13
        before, left = (full.shape[2] - 9) // 2, (full.shape[3] - 11) // 2
        np.testing.assert_array_equal(loaded(x), full[:, :, before : before + 9, left : left + 11])


def test_inputs_and_outputs():
    nodes = [node("Add", "x z", "sum"), node("ConvTranspose", "sum w", "y"), node("Neg", "z", "minus")]
    loaded = convert.load_onnx(
        model(nodes, {"w": UP}, [("x", X.shape), ("z", ("n", 4, 5, 6))], ("y", "minus"))
    )
    assert [(each.name, each.shape, each.dtype) for each in loaded.inputs] == [
        ("x", X.shape, np.float32),
        ("z", ("n", 4, 5, 6), np.float32),
    ]
    want = reference.conv_transpose(2 * X, UP)
    for got in (loaded(X, X), loaded(X, z=X), loaded(z=X.astype(np.float64), x=X.tolist())):
        assert list(got) == ["y", "minus"]
        np.testing.assert_array_equal(got["y"], want)
        np.testing.assert_array_equal(got["minus"], -X)
    assert str(loaded).splitlines() == [
        "OnnxModel (1 Add, 1 ConvTranspose, 1 Neg)",
        "  takes x: float32 (2, 4, 5, 6)",
        "  takes z: float32 (n, 4, 5, 6)",
        "  gives y: float32 (...)",
        "  gives minus: float32 (...)",
    ]
    for arrays, named, error, words in (
        ((), {}, TypeError, "the input 'x' is missing"),
        ((X,), {}, TypeError, "the input 'z' is missing"),
        ((X, X, X), {}, TypeError, "takes 2 inputs, .*, not 3"),
        ((X, X), {"x": X}, TypeError, "the input 'x' was given twice"),
        ((X, X), {"q": X}, TypeError, "the model has no input 'q'"),
        ((X[:1], X), {}, ValueError, r"the input x: .* was given an array of shape \(1, 4, 5, 6\)"),
        ((X, X[0]), {}, ValueError, "the input z: "),
        ((X + 1j, X), {}, TypeError, "was given an array of dtype complex"),
        (("x", X), {}, TypeError, "^x must be of float16"),
    ):
        with pytest.raises(error, match=words):
            loaded(*arrays, **named)


def test_threads_share_a_model():
    loaded = convert.load_onnx(decoder([("x", ("n", 4, 5, 6))]))
    inputs = [X[:1], X, np.concatenate([X, X])]
    want = [decoded(x) for x in inputs]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for number, got in enumerate(pool.map(loaded, inputs * 8)):
            np.testing.assert_array_equal(got, want[number % 3])


def test_sources(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(decoder(), path)
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), decoder()):
        np.testing.assert_array_equal(convert.load_onnx(source)(X), decoded(X))
    onnx.save(decoder(), path, save_as_external_data=True, location="weights", size_threshold=0)
    np.testing.assert_array_equal(convert.load_onnx(path)(X), decoded(X))
    with pytest.raises(ValueError, match="the model cannot be run"):  # it needs the file beside it
        convert.load_onnx(path.read_bytes())
    for nothing in (b"nothing", b""):
        with pytest.raises(ValueError, match="source is no ONNX model"):
            convert.load_onnx(nothing)
    for nothing in (None, 3, X):
        with pytest.raises(TypeError, match="source must be a path, bytes or an onnx"):
            convert.load_onnx(nothing)
    with pytest.raises(FileNotFoundError):
        convert.load_onnx(tmp_path / "none.onnx")


def test_what_cannot_be_run():
    with pytest.raises(ValueError, match="'Nothing'"):
        convert.load_onnx(model([node("Nothing", "x", "y")]))
    sequence = model([node("SequenceConstruct", "x", "y")])
    sequence.graph.output[0].type.sequence_type.elem_type.tensor_type.elem_type = 1
    with pytest.raises(ValueError, match="'y' must be a tensor"):
        convert.load_onnx(sequence)


def test_without_onnx(monkeypatch):
    monkeypatch.delitem(sys.modules, "pyx_deconv.convert._onnx_model", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="load_onnx needs the package onnx: pip install onnx"):
        convert.load_onnx("model.onnx")
