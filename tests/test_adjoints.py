"""`.T`, `.H`, `as_linear_operator` and `as_matrix`, against the loops of the oracle."""

import copy
import pickle
import subprocess
import sys

import drawing
import numpy as np
import pytest
import reference
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.linalg import cg, lsqr, svds

import pyx_deconv as pxd

DOUBLE = [np.dtype(np.float64), np.dtype(np.complex128)]
CLASSES = {True: pxd.ConvTranspose, False: pxd.Conv}
W = np.arange(1.0, 55).reshape(2, 3, 3, 3)


def close(got, want):
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * max(reference.largest(want), 1))


def drawn(call):
    """The operator of a call, and for both directions the keywords that its call takes."""
    size = call.settings.pop("output_size", None)
    op = CLASSES[call.transposed](call.weight, call.bias, **call.settings)
    rank = call.weight.ndim - 2
    last = call.settings.get("data_format") == "channels_last"
    spatial = call.x.shape[-rank - 1 : -1] if last else call.x.shape[-rank:]
    there = {} if size is None else {"output_size": size}
    return op, there, {} if call.transposed else {"output_size": spatial}


@drawing.examples(300)
@given(drawing.calls(DOUBLE), st.integers(0, 99))
def test_adjoint(call, seed):
    """The adjoint is the gradient with respect to x, which the oracle computes from the formula."""
    op, there, back = drawn(call)
    call.settings |= there
    y = op(call.x, **there)
    close(y, call.forward(reference))
    g = drawing.grad_output_for(call, y.shape, seed=seed)
    want = call.backward(reference, g, needs="x").x
    close(op.backward(g, call.x, needs="x", **there).x, want)
    if not there:  # a size that was asked for is not one of the operator's settings
        close(op.H(g, **back), want)
        close(op.T(g.conj(), **back), want.conj())
    assert type(op.T) is CLASSES[not call.transposed]
    assert op.T is op.T, "kept with what it has packed"
    assert op.T.bias is None


@drawing.examples(150)
@given(drawing.calls(DOUBLE))
def test_twice_transposed(call):
    op, there, _ = drawn(call)
    assume(not there)
    linear = CLASSES[call.transposed](call.weight, **call.settings)
    for twice in (op.T.T, op.H.H):
        assert type(twice) is type(op)
        np.testing.assert_array_equal(twice(call.x), linear(call.x))


@drawing.examples(200)
@given(drawing.calls(DOUBLE))
def test_matrix_and_linear_operator(call):
    """Of the linear part, for one vector, for several, and for the adjoint."""
    op, there, _ = drawn(call)
    assume(not there)
    call.bias = None
    shape = call.x.shape
    y = call.forward(reference)
    matrix, operator = op.as_matrix(shape), op.as_linear_operator(shape)
    assert isinstance(matrix, csr_array)
    assert matrix.dtype == operator.dtype == call.weight.dtype.newbyteorder("=")
    assert matrix.shape == operator.shape == (y.size, call.x.size)
    assert matrix.has_canonical_format, "sorted, nothing twice"
    ones = drawing.Call(call.transposed, np.ones(shape), np.ones(call.weight.shape), None, call.settings)
    assert matrix.nnz == ones.forward(reference).sum(), "one entry for every pair that a tap connects"
    x = call.x.ravel()
    g = drawing.grad_output_for(call, y.shape).ravel()
    want = call.backward(reference, g.reshape(y.shape), needs="x").x.ravel()
    for product in (matrix @ x, operator @ x, operator.matvec(x)):
        close(product, y.ravel())
    for product in (matrix.conj().T @ g, operator.H @ g, operator.rmatvec(g)):
        close(product, want)
    close(operator.T @ g.conj(), want.conj())
    several = np.stack([x, 2 * x, 0 * x], axis=1)
    close(operator @ several, np.stack([y.ravel(), 2 * y.ravel(), 0 * y.ravel()], axis=1))
    close(operator.H @ np.stack([g, -g], axis=1), np.stack([want, -want], axis=1))


@pytest.mark.parametrize("batch", [(), (2,), (0,)])
@pytest.mark.parametrize("dtype", drawing.COMPUTED + drawing.STORED + drawing.INTEGERS, ids=str)
def test_dtypes(dtype, batch):
    rng = np.random.default_rng(5)
    op = pxd.ConvTranspose(drawing.values(rng, (2, 3, 3), dtype), stride=2)
    shape = (*batch, 2, 4)
    computed = {"float16": "float32", "bfloat16": "float32", "float32": "float32"}
    want = np.dtype(dtype if dtype.kind == "c" else computed.get(dtype.name, "float64"))
    matrix, operator = op.as_matrix(shape), op.as_linear_operator(shape)
    assert matrix.dtype == operator.dtype == want
    x = rng.standard_normal(shape).astype(np.float32)
    y = pxd.conv_transpose(x, op.weight.astype(want), stride=2).ravel()
    assert (operator @ x.ravel()).dtype == y.dtype
    for product in (operator @ x.ravel(), matrix @ x.ravel()):
        np.testing.assert_allclose(product, y, rtol=0, atol=1e-5)


def test_the_textbooks_matrix():
    op = pxd.ConvTranspose(np.array([[[1.0, 2.0, 3.0]]]), stride=2, padding=1, output_padding=1)
    np.testing.assert_array_equal(op.as_matrix((1, 2)).toarray(), [[2, 0], [3, 1], [0, 2], [0, 3]])
    np.testing.assert_array_equal(op.T.as_matrix((1, 4)).toarray(), op.as_matrix((1, 2)).toarray().T)


@pytest.mark.parametrize("dtype", DOUBLE, ids=str)
def test_solvers(dtype):
    rng = np.random.default_rng(1)
    op = pxd.Conv(drawing.values(rng, (3, 2, 3, 3), dtype), stride=2, padding=1)
    shape, x = (2, 6, 7), drawing.values(rng, (2, 6, 7), dtype)
    operator, dense = op.as_linear_operator(shape), op.as_matrix(shape).toarray()
    y = operator @ x.ravel()
    shortest = np.linalg.lstsq(dense, y, rcond=None)[0]
    close(lsqr(operator, y, atol=1e-15, btol=1e-15)[0].round(9), shortest.round(9))
    normal = operator.H @ operator
    found, failed = cg(normal, operator.H @ y, rtol=1e-14, maxiter=5000)
    assert not failed
    np.testing.assert_allclose(found, shortest, rtol=0, atol=1e-6)
    largest = svds(operator, k=3, return_singular_vectors=False)
    np.testing.assert_allclose(np.sort(largest), np.linalg.svd(dense)[1][2::-1], rtol=1e-9)


def test_size_at_the_call():
    op = pxd.Conv(W, stride=2)
    y = np.ones((2, 3, 3))
    for size in ((7, 8), [7, 8], np.array([7, 8])):
        assert op.T(y, output_size=size).shape == (3, 7, 8)
    assert op.T(y).shape == (3, 7, 7), "the smallest"
    assert op.T.output_shape((5, 2, 3, 3), output_size=8) == (5, 3, 8, 8)
    assert pxd.Conv(W, stride=2, padding="same").T(y).shape == (3, 6, 6), "the largest"
    for repeated in range(2):
        out = np.empty((3, 8, 8))
        assert op.T(y, output_size=8, out=out) is out, repeated
        np.testing.assert_array_equal(out, pxd.conv_transpose(y, W, stride=2, output_size=8))
    g = np.ones((3, 8, 8))
    got = op.T.backward(g, y, output_size=8)
    for each, want in zip(got, pxd.conv_transpose_backward(g, y, W, stride=2, output_size=8), strict=True):
        np.testing.assert_array_equal(each, want)
    for wrong, error in ((9, ValueError), (True, TypeError), (7.0, TypeError), ((7,), ValueError)):
        with pytest.raises(error, match="output_size"):
            op.T(y, output_size=wrong)
    with pytest.raises(ValueError, match="output_padding=1 on axis 0 must be 0 when output_size=8"):
        pxd.ConvTranspose(W, stride=2, output_padding=1)(y, output_size=8)


@pytest.mark.parametrize("word", ["same", "same_upper", "same_lower", "valid"])
def test_words(word):
    op = pxd.ConvTranspose(W, stride=2, padding=word)
    assert repr(op.T) == f"Conv(<weight (2, 3, 3, 3) float64>, stride=2, padding={word!r})"
    assert op.T.weight is op.weight


def test_output_padding_beyond_the_result():
    """The pixels that it appends are met by no tap: the transpose leaves them out."""
    op = pxd.ConvTranspose(W, stride=3, dilation=2, padding=1, output_padding=(0, 2))
    assert repr(op.T).endswith("stride=3, padding=((1, 1), (1, -1)), dilation=2)")
    y = op(np.ones((2, 4, 4)))
    assert op.T(y).shape == (2, 4, 4)


def test_copies():
    op = pxd.ConvTranspose(W + 1j, np.ones(3), stride=2, padding=1, output_padding=1)
    y = np.ones((3, 8, 8))
    want = op.H(y), op.T(y)
    for copied in (copy.copy(op), copy.deepcopy(op), pickle.loads(pickle.dumps(op))):
        np.testing.assert_array_equal(copied.H(y), want[0])
        np.testing.assert_array_equal(copied.T(y), want[1])
    assert not op.H.weight.flags.writeable


@pytest.mark.parametrize("method", ["as_matrix", "as_linear_operator", "output_shape"])
@pytest.mark.parametrize(
    ("shape", "error", "text"),
    [
        (4, TypeError, "input_shape must be a sequence"),
        ("24", TypeError, "input_shape must be a sequence"),
        ((2, 4.0, 4), TypeError, r"input_shape\[1\] must be an integer"),
        ((2, 4, True), TypeError, r"input_shape\[2\] must be an integer"),
        ((2, -4, 4), ValueError, "input_shape=-4 on axis 1"),
        ((2, 4, 2**31), ValueError, "input_shape=2147483648 on axis 2"),
        ((3, 4, 4), ValueError, "has 3 channels"),
        ((2, 4), ValueError, "must have 4 axes"),
        ((2, 0, 4), ValueError, "must not have size 0"),
    ],
)
def test_bad_shapes(method, shape, error, text):
    with pytest.raises(error, match=text):
        getattr(pxd.ConvTranspose(W), method)(shape)


def test_a_matrix_without_room():
    op = pxd.ConvTranspose(np.ones((1, 1, 1, 1, 1)))
    with pytest.raises(MemoryError, match="GiB"):
        op.as_matrix((1, 2**31 - 1, 2**31 - 1, 2**31 - 1))


def test_without_scipy():
    """It is imported when it is needed, and named when it is not there."""
    lines = (
        "import sys, pyx_deconv as pxd",
        "assert 'scipy' not in sys.modules",
        "sys.modules['scipy.sparse'] = None",
        "op = pxd.Conv([[[1.0]]])",
        "op.as_matrix((1, 2))",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = "ImportError: as_linear_operator and as_matrix need SciPy: pip install scipy"
    assert done.stderr.splitlines()[-1] == said
