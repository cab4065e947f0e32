"""What is accepted: dtypes, layouts of memory, out=, empty batches, partial gradients; compared by value."""

import inspect
import itertools

import numpy as np
import pytest
import reference

import pyx_deconv as pxd

SETTINGS = {"stride": (2, 1), "padding": ((1, 0), (1, 1)), "dilation": (1, 2)}
SHAPES = {  # of x, weight, bias and grad_output
    "conv_transpose": ((2, 4, 3, 5), (4, 3, 3, 2), (6,), (2, 6, 6, 5)),
    "conv": ((2, 6, 6, 5), (4, 3, 3, 2), (4,), (2, 4, 3, 5)),
}
NAMES = ("x", "weight", "bias", "grad_output")


def integers(shape, seed=0, dtype=np.float64):
    """Numbers whose sums of products are exact in every dtype tested, float16 and bfloat16 included."""
    values = np.random.default_rng([seed, *shape]).integers(-2, 3, shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * integers(shape, seed + 1)
    return np.asarray(values).astype(dtype)


def arrays_of(name, dtype=np.float64):
    shapes = zip(NAMES, SHAPES[name], strict=True)
    return {n: integers(shape, seed, dtype) for seed, (n, shape) in enumerate(shapes)}


def run(module, name, arrays, **options):
    """Everything the operation and its backward say about these arrays."""
    options = {**SETTINGS, "groups": 2, **options}
    y = getattr(module, name)(arrays["x"], arrays["weight"], arrays["bias"], **options)
    backward = getattr(module, f"{name}_backward")
    return [y, *backward(arrays["grad_output"], arrays["x"], arrays["weight"], **options)]


def assert_equal(got, want, dtype=np.float64):
    for g, w in zip(got, want, strict=True):
        assert type(g) is np.ndarray
        assert g.dtype == dtype
        assert g.shape == w.shape
        assert g.flags.c_contiguous
        np.testing.assert_array_equal(g, w)


both = pytest.mark.parametrize("name", SHAPES)


# Dtypes.


def dtypes():
    names = ["float32", "float64", "complex64", "complex128", "float16"]
    try:
        import ml_dtypes
    except ImportError:
        return [np.dtype(name) for name in names]
    return [np.dtype(name) for name in [*names, ml_dtypes.bfloat16]]


@both
@pytest.mark.parametrize("dtype", dtypes(), ids=str)
def test_dtypes_are_kept(name, dtype):
    assert_equal(run(pxd, name, arrays_of(name, dtype)), run(reference, name, arrays_of(name, dtype)), dtype)


@pytest.mark.skipif(len(dtypes()) < 6, reason="ml_dtypes is not installed")
def test_bfloat16_is_promoted_like_numpy_does():
    bfloat16 = dtypes()[-1]
    for other, result in [(np.float32, np.float32), (np.float64, np.float64), (np.complex64, np.complex64)]:
        y = pxd.conv_transpose(integers((2, 5), dtype=bfloat16), integers((2, 3, 3), dtype=other))
        assert y.dtype == result
        want = reference.conv_transpose(integers((2, 5)), integers((2, 3, 3), dtype=other))
        np.testing.assert_array_equal(y, want)


PROMOTIONS = [  # of x, weight and bias
    ("?", "?", "?", "f8"),
    ("i1", "i1", "i1", "f8"),
    ("i8", "u8", "i4", "f8"),
    ("u1", "f4", "f4", "f4"),
    ("i4", "f4", "f4", "f8"),
    ("f2", "f2", "f4", "f4"),
    ("f2", "i1", "f2", "f2"),
    ("f4", "f8", "f4", "f8"),
    ("f4", "f4", "c8", "c8"),
    ("f8", "c8", "f4", "c16"),
    ("c8", "f4", "i2", "c8"),
    (">f4", "<f4", ">f4", "f4"),
    (">i2", ">c16", ">f8", "c16"),
]


@both
@pytest.mark.parametrize(("x", "weight", "bias", "result"), PROMOTIONS)
def test_promotion(name, x, weight, bias, result):
    arrays = arrays_of(name)
    for argument, dtype in zip(NAMES, (x, weight, bias), strict=False):
        arrays[argument] = np.abs(arrays[argument]).astype(dtype)
    arrays["grad_output"] = arrays["grad_output"].astype(result)
    got, want = run(pxd, name, arrays), run(reference, name, arrays)
    assert got[0].dtype.isnative
    assert_equal(got[:1], want[:1], np.dtype(result))
    gradients = np.result_type(np.dtype(result), np.dtype(x), np.dtype(weight)).newbyteorder("=")
    assert_equal(got[1:], want[1:], gradients)


@both
def test_python_numbers_and_lists(name):
    arrays = arrays_of(name)
    want = run(pxd, name, arrays)
    assert_equal(run(pxd, name, {n: a.tolist() for n, a in arrays.items()}), want)
    integer = {n: a.astype(int).tolist() for n, a in arrays.items()}
    assert_equal(run(pxd, name, integer), want)


# How the arrays lie in memory: every one of these is the same array.


def strided(a):
    wide = np.full([3 * n for n in a.shape], np.nan)
    wide[tuple(slice(1, None, 3) for _ in a.shape)] = a
    return wide[tuple(slice(1, None, 3) for _ in a.shape)]


def reversed_in_memory(a):
    return np.ascontiguousarray(np.flip(a))[tuple(slice(None, None, -1) for _ in a.shape)]


def misaligned(a):
    memory = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    memory[...] = a
    assert not memory.flags.aligned
    return memory


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def field(a):
    """Make a field of a structured array, whose strides are no multiple of its itemsize."""
    record = np.zeros(a.shape, [("flag", "u1"), ("value", a.dtype)])
    record["value"] = a
    return record["value"]


class Subclass(np.ndarray):
    def __array_finalize__(self, other):
        pass


class Convertible:
    def __init__(self, a):
        self.a = a

    def __array__(self, dtype=None, copy=None):
        return self.a


LAYOUTS = {
    "strided": strided,
    "reversed": reversed_in_memory,
    "misaligned": misaligned,
    "read-only": read_only,
    "field": field,
    "fortran": np.asfortranarray,
    "axes exchanged": lambda a: np.ascontiguousarray(a.T).T,
    "channels last in memory": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 0, -1)), -1, 0),
    "big-endian": lambda a: a.astype(">f8"),
    "little-endian": lambda a: a.astype("<f8"),
    "subclass": lambda a: a.view(Subclass),
    "convertible": Convertible,
}


@both
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_of_memory(name, layout):
    arrays = arrays_of(name)
    want = run(reference, name, arrays)
    for which in [(n,) for n in NAMES] + [NAMES]:
        given = {n: LAYOUTS[layout](a) if n in which else a for n, a in arrays.items()}
        assert_equal(run(pxd, name, given), want)


@both
def test_complex_fields_with_odd_strides(name):
    arrays = arrays_of(name, np.complex128)
    want = run(reference, name, arrays)
    given = {}
    for n, a in arrays.items():
        record = np.zeros(a.shape, [("value", "c16"), ("rest", "f8")])  # aligned, with a stride of 24 bytes
        record["value"] = a
        given[n] = record["value"]
    assert_equal(run(pxd, name, given), want, np.complex128)
    out = np.zeros(want[0].shape, [("value", "c16"), ("rest", "f8")])
    getattr(pxd, name)(given["x"], given["weight"], given["bias"], **SETTINGS, groups=2, out=out["value"])
    np.testing.assert_array_equal(out["value"], want[0])
    assert not out["rest"].any()


@both
def test_broadcast_arrays(name):
    arrays = {n: np.broadcast_to(a[..., :1], a.shape) for n, a in arrays_of(name).items()}
    assert_equal(run(pxd, name, arrays), run(reference, name, {n: a.copy() for n, a in arrays.items()}))
    arrays = {n: np.broadcast_to(2.0, a.shape) for n, a in arrays.items()}
    assert_equal(run(pxd, name, arrays), run(reference, name, {n: a.copy() for n, a in arrays.items()}))


@both
def test_memory_mapped_files(name, tmp_path):
    arrays, mapped = arrays_of(name), {}
    for n, a in arrays.items():
        np.save(tmp_path / f"{n}.npy", a)
        mapped[n] = np.load(tmp_path / f"{n}.npy", mmap_mode="r")
        assert type(mapped[n]) is np.memmap
    want = run(reference, name, arrays)
    assert_equal(run(pxd, name, mapped), want)
    out = np.lib.format.open_memmap(tmp_path / "y.npy", "w+", np.float64, want[0].shape)
    y = getattr(pxd, name)(mapped["x"], mapped["weight"], mapped["bias"], **SETTINGS, groups=2, out=out)
    assert y is out
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), want[0])


@both
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_data_format_and_batch(name, data_format, batched, rank):
    kernel, size = (3, 2, 1)[:rank], (4, 3, 5)[:rank]
    a, b = (4, 3) if name == "conv_transpose" else (6, 4)
    weight = integers((4, 3, *kernel))
    x = integers((2, a, *size) if batched else (a, *size))
    if data_format == "channels_last":
        x = np.ascontiguousarray(np.moveaxis(x, -rank - 1, -1))
    options = {"groups": 2, "data_format": data_format, "stride": 2, "padding": "same"}
    bias = integers((6 if name == "conv_transpose" else b,))
    want = getattr(reference, name)(x, weight, bias, **options)
    y = getattr(pxd, name)(x, weight, bias, **options)
    assert_equal([y], [want])
    out = np.full(want.shape, np.nan)
    assert getattr(pxd, name)(x, weight, bias, **options, out=out) is out
    np.testing.assert_array_equal(out, want)
    g = integers(y.shape, 7)
    backward = f"{name}_backward"
    gradients = getattr(pxd, backward)(g, x, weight, **options)
    assert_equal(gradients, getattr(reference, backward)(g, x, weight, **options))


# out


def views():
    """List views of larger arrays, each of shape (2, 6, 6, 5), that are written through."""
    yield "contiguous", (2, 6, 6, 5), lambda a: a
    yield "every third", (6, 18, 18, 15), lambda a: a[1::3, 2::3, ::3, 1::3]
    yield "backwards", (2, 6, 6, 5), lambda a: a[::-1, ::-1, ::-1, ::-1]
    yield "transposed", (5, 6, 6, 2), lambda a: a.T
    yield "inside", (4, 8, 8, 7), lambda a: a[1:-1, 1:-1, 1:-1, 1:-1]
    yield "channels last", (2, 6, 5, 6), lambda a: np.moveaxis(a, -1, 1)
    yield (
        "diagonal",
        (2, 6, 6, 5, 5),
        lambda a: np.lib.stride_tricks.as_strided(
            a, (2, 6, 6, 5), (*a.strides[:3], a.strides[3] + a.strides[4])
        ),
    )


@pytest.mark.parametrize(("shape", "view"), [v[1:] for v in views()], ids=[v[0] for v in views()])
def test_out_views_are_written_and_nothing_else(shape, view):
    arrays = arrays_of("conv_transpose")
    want = run(reference, "conv_transpose", arrays)[0]
    memory = np.full(shape, -77.5)
    out = view(memory)
    outside = np.ones(shape, bool)
    view(outside)[...] = False
    y = pxd.conv_transpose(arrays["x"], arrays["weight"], arrays["bias"], **SETTINGS, groups=2, out=out)
    assert y is out
    np.testing.assert_array_equal(out, want)
    assert (memory[outside] == -77.5).all()


def test_out_of_a_subclass_is_returned_itself():
    out = np.zeros((1, 5)).view(Subclass)
    assert pxd.conv_transpose([[1.0, 2.0]], [[[1.0, 10.0, 100.0]]], stride=2, out=out) is out
    assert out.tolist() == [[1, 10, 102, 20, 200]]


def test_out_may_lie_between_the_elements_of_an_input():
    memory = np.zeros((1, 1, 10))
    memory[..., ::2] = 1, 2, 3, 4, 5
    y = pxd.conv_transpose(memory[..., ::2], [[[3.0]]], out=memory[..., 1::2])
    assert y.tolist() == [[[3, 6, 9, 12, 15]]]
    assert memory.tolist() == [[[1, 3, 2, 6, 3, 9, 4, 12, 5, 15]]]


# Empty batches, needs=, gradients.


@both
@pytest.mark.parametrize("dtype", dtypes(), ids=str)
def test_empty_batch(name, dtype):
    arrays = arrays_of(name, dtype)
    arrays["x"], arrays["grad_output"] = arrays["x"][:0], arrays["grad_output"][:0]
    y, *gradients = run(pxd, name, arrays)
    assert y.shape == (0, *SHAPES[name][3][1:])
    assert y.dtype == dtype
    shapes = (0, *SHAPES[name][0][1:]), *SHAPES[name][1:3]
    assert_equal(gradients, [np.zeros(shape) for shape in shapes], dtype)
    out = np.empty_like(y)
    assert getattr(pxd, name)(arrays["x"], arrays["weight"], **SETTINGS, groups=2, out=out) is out


@both
def test_needs(name):
    arrays = arrays_of(name)
    want = pxd.Gradients(*run(pxd, name, arrays)[1:])
    backward = getattr(pxd, f"{name}_backward")
    assert inspect.signature(backward).parameters["needs"].default == ("x", "weight", "bias")
    subsets = [s for n in (1, 2, 3) for s in itertools.permutations(("x", "weight", "bias"), n)]
    for needs in ["x", "weight", "bias", {"x", "bias"}, ["x", "x"], *subsets]:
        options = {**SETTINGS, "groups": 2, "needs": needs}
        got = backward(arrays["grad_output"], arrays["x"], arrays["weight"], **options)
        assert type(got) is pxd.Gradients
        asked = (needs,) if isinstance(needs, str) else needs
        for field_name in pxd.Gradients._fields:
            if field_name in asked:
                np.testing.assert_array_equal(getattr(got, field_name), getattr(want, field_name))
            else:
                assert getattr(got, field_name) is None


@both
def test_the_gradient_is_the_complex_adjoint(name):
    arrays = arrays_of(name, np.complex128)
    arrays["bias"] = None
    y, grad_x, grad_weight, _ = run(pxd, name, arrays)
    assert np.vdot(y, arrays["grad_output"]) == np.vdot(arrays["x"], grad_x)
    assert np.vdot(y, arrays["grad_output"]) == np.vdot(arrays["weight"], grad_weight)
    assert np.abs(grad_weight.imag).max() > 0


@pytest.mark.parametrize(
    "output", [{}, {"output_padding": 1}, {"output_size": 8}, {"output_padding": (0, 1)}], ids=str
)
def test_gradients_with_output_padding(output):
    options = {"stride": 2, "padding": 1, **output}
    x, weight = integers((1, 2, 4, 4)), integers((2, 3, 3, 3))
    y = pxd.conv_transpose(x, weight, **options)
    g = integers(y.shape, 5)
    got = pxd.conv_transpose_backward(g, x, weight, **options)
    assert_equal(got, reference.conv_transpose_backward(g, x, weight, **options))
    assert np.vdot(y, g) == np.vdot(x, got.x)


def test_the_gradient_of_the_bias_is_summed_in_float64():
    g = np.ones((1, 1, 2**13 + 1), np.float16)  # in float16 the sum would stop at 2048
    gradients = pxd.conv_backward(g, g, np.ones((1, 1, 1), np.float16), needs="bias")
    assert gradients.bias.tolist() == [8192]
    g = np.array([[[1e8, 1.0, -1e8, 1.0]]], np.float32)  # in float32 the first 1 would be lost
    assert pxd.conv_backward(g, g, np.ones((1, 1, 1), np.float32), needs="bias").bias.tolist() == [2]
    g = np.full((1, 1, 2), 60000, np.float16)  # more than float16 holds, without a warning
    assert pxd.conv_backward(g, g, np.ones((1, 1, 1), np.float16), needs="bias").bias.tolist() == [np.inf]


def test_nan_and_infinity_go_where_the_taps_carry_them():
    x = np.array([[1.0, np.nan, 1.0, np.inf]])
    y = pxd.conv_transpose(x, np.ones((1, 1, 2)), stride=3, padding=((0, 0),), output_padding=1)
    np.testing.assert_array_equal(y, [[1, 1, 0, np.nan, np.nan, 0, 1, 1, 0, np.inf, np.inf, 0]])
    y = pxd.conv(x, np.ones((1, 1, 2)), stride=2, padding=1)
    np.testing.assert_array_equal(y, [[1, np.nan, np.inf]])


def test_public_names():
    assert sorted(pxd.__all__) == [
        "Conv", "ConvTranspose", "Explanation", "Gradients", "LearnedUpsampler", "Setting", "conv",
        "conv_backward", "conv_transpose", "conv_transpose_backward", "convert", "explain", "geometry",
        "get_num_threads", "layers", "num_threads", "output_size", "set_num_threads", "show_config",
        "solve_settings", "upsampling",
    ]  # fmt: skip
    assert all(getattr(pxd, name).__doc__ for name in pxd.__all__)
    assert pxd.__version__.count(".") == 2
