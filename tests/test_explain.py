"""`explain`: its numbers against the oracle, and what it refuses."""

import re
import subprocess
import sys
from math import prod

import conventions
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import reference

import pyx_deconv as pxd
from pyx_deconv.explanation import _trace

NINE = np.arange(1, 10).reshape(3, 3)
CELLS = {1: 20, 2: 16}  # the most along an axis


@st.composite
def calls(draw, numbers=None):
    """An input, a kernel and settings that can be shown."""
    rank = draw(st.integers(1, 2))
    axes = []
    for _ in range(rank):
        n, k = draw(st.integers(1, 5)), draw(st.integers(1, 4))
        s, d = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        full = (n - 1) * s + (k - 1) * d + 1
        hypothesis.assume(max(full, n * s) <= CELLS[rank])
        begin = draw(st.integers(max(-2, full - CELLS[rank]), full - 1))
        end = draw(st.integers(max(-2, full - CELLS[rank] - min(begin, 0)), full - begin - 1))
        extra = draw(st.integers(0, max(s, d) - 1))
        hypothesis.assume(max(full, n * s, full - end + extra) - min(begin, 0) <= CELLS[rank])
        axes.append((n, k, s, d, (begin, end), extra))
    sizes, kernel, stride, dilation, padding, extra = zip(*axes, strict=True)
    settings = {"stride": stride, "dilation": dilation, "padding": padding, "output_padding": extra}
    entries = st.integers(-9, 9) if numbers is None else numbers
    arrays = [
        np.array(draw(st.lists(entries, min_size=prod(shape), max_size=prod(shape))), float)
        for shape in (sizes, kernel)
    ]
    return arrays[0].reshape(sizes), arrays[1].reshape(kernel), settings


def oracle(x, kernel, **settings):
    return reference.conv_transpose(x[np.newaxis], kernel[np.newaxis, np.newaxis], **settings)[0]


# --- the numbers --------------------------------------------------------------------------------------------


@hypothesis.given(calls())
def test_numbers(call):
    x, kernel, settings = call
    spread = {name: settings[name] for name in ("stride", "dilation")}
    shown = pxd.explain(x, kernel, **settings)
    np.testing.assert_array_equal(shown.x, x)
    np.testing.assert_array_equal(shown.kernel, kernel)
    np.testing.assert_array_equal(shown.y, oracle(x, kernel, **settings))
    np.testing.assert_array_equal(shown.full, oracle(x, kernel, **spread))
    ones = np.ones_like(x), np.ones_like(kernel)
    np.testing.assert_array_equal(shown.overlap, oracle(*ones, **settings))
    columns = [oracle(one.reshape(x.shape), kernel, **settings).ravel() for one in np.eye(x.size)]
    np.testing.assert_array_equal(shown.matrix, np.array(columns).T)
    window = reference.transpose_window(x.shape, kernel.shape, **settings)
    assert shown.window == tuple((begin, begin + size) for begin, size in window)
    assert (shown.stride, shown.dilation) == (settings["stride"], settings["dilation"])
    assert (shown.padding, shown.output_padding) == (settings["padding"], settings["output_padding"])


@hypothesis.given(calls())
def test_views(call):
    """Scatter, gather and sub-pixel, each against what it says of itself."""
    x, kernel, settings = call
    shown = pxd.explain(x, kernel, **settings)
    before = np.zeros_like(shown.full)
    for (pixel, painted, total), expected in zip(shown.steps, np.ndindex(x.shape), strict=True):
        assert pixel == expected
        before[painted] += x[pixel] * kernel
        np.testing.assert_array_equal(total, before)
    np.testing.assert_array_equal(before, shown.full)

    assert list(shown.terms) == list(np.ndindex(shown.y.shape))
    for cell, terms in shown.terms.items():
        assert len(terms) == len(set(terms)) == shown.overlap[cell]
        assert [term.pixel for term in terms] == sorted(term.pixel for term in terms)
        assert sum(x[pixel] * kernel[tap] for pixel, tap in terms) == shown.y[cell]

    assert list(shown.sub_kernels) == list(np.ndindex(shown.stride))
    for phase, small in shown.sub_kernels.items():
        places = shown.full[tuple(slice(a, None, s) for a, s in zip(phase, shown.stride, strict=True))]
        expected = oracle(x, small) if small.size else np.zeros_like(places)
        np.testing.assert_array_equal(places, expected)


@hypothesis.given(calls(st.floats(-1e3, 1e3)))
def test_numbers_that_are_rounded(call):
    """No view is called different because it sums in another order."""
    x, kernel, settings = call
    y = pxd.explain(x, kernel, **settings).y
    np.testing.assert_allclose(y, oracle(x, kernel, **settings), rtol=0, atol=1e-8)


@pytest.mark.parametrize("scale", [0.0, 1e-200, 1e150])
def test_numbers_of_any_size(scale):
    y = pxd.explain(np.array([0.1, 0.7, -0.3]) * scale, [3.0, 0.1, 0.2]).y
    np.testing.assert_allclose(y, oracle(np.array([0.1, 0.7, -0.3]) * scale, np.array([3.0, 0.1, 0.2])))


@pytest.mark.parametrize(("view", "name"), [
    ("scatter", "scatter"), ("sum_terms", "gather"), ("matrix", "matrix"), ("interleave", "sub-pixel"),
])  # fmt: skip
def test_a_view_that_differs_is_found(view, name, monkeypatch):
    right = getattr(_trace, view)

    def wrong(*args):
        made = right(*args)
        last = made[-1].total if view == "scatter" else made
        last.flat[0] += 1e-9
        return made

    monkeypatch.setattr(_trace, view, wrong)
    with pytest.raises(AssertionError, match=f"'conv_transpose' and '{name}' differ"):
        pxd.explain([1.0, 2.0], [1.0, 2.0, 3.0], stride=2)


@pytest.mark.parametrize("padding", ["valid", "same", "same_upper", "same_lower", 0, 1, (1,), [(1, 0)]])
@pytest.mark.parametrize(("k", "s", "d"), [(3, 2, 1), (4, 2, 1), (5, 3, 1), (2, 3, 1), (3, 2, 2), (3, 1, 1)])
def test_paddings(padding, k, s, d):
    x, kernel = np.arange(1.0, 5), 10.0 ** np.arange(k)
    shown = pxd.explain(x, kernel, stride=s, dilation=d, padding=padding)
    np.testing.assert_array_equal(shown.y, oracle(x, kernel, stride=s, dilation=d, padding=padding))
    # The pairs say the same as the word.
    again = pxd.explain(
        x, kernel, stride=s, dilation=d, padding=shown.padding, output_padding=shown.output_padding
    )
    np.testing.assert_array_equal(again.y, shown.y)


def test_conventions():
    """Where each framework places the window, by formulas of the tests; PyTorch's by trying all paddings."""
    for n, k, s, d in np.ndindex(5, 7, 4, 3):
        n, k, s, d = n + 1, k + 1, s + 1, d + 1
        reach = (k - 1) * d + 1
        full = (n - 1) * s + reach
        if max(full, n * s) > CELLS[1]:
            continue
        ends = {"padding": "same", "output_padding": None}
        begin, size = conventions.keras_window(ends, 0, n, s, reach, full)
        wanted = {'Keras padding="same"': (begin, begin + size)}
        for word in ("SAME_UPPER", "SAME_LOWER"):
            begin, size = conventions.onnx_window({"auto_pad": word}, 0, n, s, reach, full)
            begin = max(begin, 0)  # what is missing at the end is appended there
            wanted[f"ONNX {word}"] = (begin, begin + size)
        (found,) = pxd.explain(np.ones(n), np.ones(k), stride=s, dilation=d).conventions
        possible = {}
        for p, op in np.ndindex(full, max(s, d)):
            begin, size = conventions.pytorch_window(
                {"padding": [p], "output_padding": [op]}, 0, n, s, reach, full
            )
            if size == n * s:
                possible[f"PyTorch padding={p}, output_padding={op}"] = (begin, begin + size)
        name = next(iter(found)) if len(found) == 4 else None
        assert (name in possible) if possible else name is None
        if possible:
            assert name == next(iter(possible)), "the least padding"
            wanted = {name: possible[name]} | wanted
        assert found == wanted


def test_the_shift_of_one_pixel(shown):
    for windows in shown.conventions:
        assert windows == {
            "PyTorch padding=1, output_padding=1": (1, 5),
            'Keras padding="same"': (0, 4),
            "ONNX SAME_UPPER": (0, 4),
            "ONNX SAME_LOWER": (1, 5),
        }


def test_formulas(shown):
    assert shown.formula(2, 2) == shown.formula(-3, -3) == "y[2, 2] = 1·9 + 2·7 + 3·3 + 4·1 = 36"
    negative = pxd.explain([-1, 2], [3, -0.5], padding=[(0, -1)])
    assert [negative.formula(j) for j in range(4)] == [
        "y[0] = (-1)·3 = -3", "y[1] = (-1)·(-0.5) + 2·3 = 6.5", "y[2] = 2·(-0.5) = -1", "y[3] = 0",
    ]  # fmt: skip
    with pytest.raises(IndexError, match=r"cell\[1\]=5 must be from -5 to 4"):
        shown.formula(0, 5)
    with pytest.raises(ValueError, match="cell must have 2 indices, not 1: "):
        shown.formula(0)
    with pytest.raises(TypeError, match=r"cell\[0\] must be an integer, not 0.5"):
        shown.formula(0.5, 0)


@hypothesis.given(calls())
def test_formulas_are_right(call):
    x, kernel, settings = call
    shown = pxd.explain(x, kernel, **settings)
    for cell in np.ndindex(shown.y.shape):
        _, *products, value = re.split(" = ", shown.formula(*cell))
        assert eval(products[0].replace("·", "*") if products else "0") == float(value) == shown.y[cell]


def test_what_is_shown_does_not_change(shown):
    x = np.array([1.0, 2.0])
    mine = pxd.explain(x, [1.0])
    x[0] = 7
    assert mine.x.tolist() == [1, 2]
    for array in (shown.x, shown.kernel, shown.full, shown.y, shown.overlap, shown.matrix):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_text(shown):
    assert repr(shown) == "<Explanation: input 2 × 2, kernel 3 × 3, stride 2: full 5 × 5, output 5 × 5>"
    settings = {"stride": (2, 1), "padding": ((1, 0), (0, 1)), "output_padding": (0, 1), "dilation": (1, 2)}
    assert repr(pxd.explain(np.ones((2, 2)), np.ones((3, 3)), **settings)) == (
        "<Explanation: input 2 × 2, kernel 3 × 3, stride (2, 1), padding ((1, 0), (0, 1)), "
        "output_padding (0, 1), dilation (1, 2): full 5 × 6, output 4 × 6>"
    )


# --- what is refused ----------------------------------------------------------------------------------------

ONE, TWO = np.ones(3), np.ones((3, 3))


@pytest.mark.parametrize(("x", "kernel", "settings", "error", "message"), [
    (np.ones((2, 2, 2)), TWO, {}, ValueError, "x must have 1 or 2 axes to be looked at, not 3"),
    (np.float64(1), ONE, {}, ValueError, "x must have 1 or 2 axes to be looked at, not 0"),
    (ONE, TWO, {}, ValueError, "kernel must have as many axes as x, 1, not 2: its shape is"),
    (np.ones(17), ONE, {}, ValueError, "x must have from 1 to 16 entries along its axis .* not 17"),
    (np.ones((3, 9)), TWO, {}, ValueError, "x must have from 1 to 8 entries along each of 2 axes .* 9"),
    (ONE, np.ones(10), {}, ValueError, "kernel must have from 1 to 9 entries"),
    (TWO, np.ones((8, 1)), {}, ValueError, "kernel must have from 1 to 7 entries .* not 8 on axis 0"),
    (np.ones(0), ONE, {}, ValueError, "x must have from 1 to 16 entries along its axis .* not 0"),
    (np.broadcast_to(1.0, (10**9, 10**9)), TWO, {}, ValueError, "not 1000000000 on axis 0"),
    (ONE + 1j, ONE, {}, TypeError, "x must have real numbers to be shown, not complex128"),
    (ONE, [1, np.nan], {}, ValueError, "kernel must have finite numbers to be shown, not NaN or infinity"),
    (ONE * 1e200, ONE * 1e200, {}, ValueError, "x and kernel must be smaller"),
    (["a"], ONE, {}, TypeError, "x must be of float16"),
    (ONE, ONE, {"stride": 9}, ValueError, "stride=9 on axis 0 must be at most 8 to be looked at"),
    (TWO, TWO, {"stride": (1, 5)}, ValueError, "stride=5 on axis 1 must be at most 4 to be looked at"),
    (np.ones(6), ONE, {"stride": 4}, ValueError, "at most 20 cells .* not 24 on axis 0: the full .* 23"),
    (ONE, ONE, {"dilation": 10}, ValueError, "at most 20 cells .* dilation 10"),
    (TWO, TWO, {"padding": [(-12, 0), (0, 0)]}, ValueError, "not 17 on axis 0: .* and -12 to 5 are kept"),
    (TWO, TWO, {"padding": [(0, 0), (0, -12)]}, ValueError, "not 17 on axis 1: .* and 0 to 17 are kept"),
    (ONE, ONE, {"padding": [(10**6, -(10**6))]}, ValueError, "at most 20 cells"),
    (ONE, ONE, {"stride": 0}, ValueError, "stride=0 on axis 0 must be at least 1"),
    (ONE, ONE, {"stride": 1.5}, TypeError, "stride must be an integer or a sequence"),
    (ONE, ONE, {"stride": (1, 1)}, ValueError, "stride must have an integer for each of 1 spatial axis"),
    (ONE, ONE, {"padding": "sane"}, ValueError, "padding must be one of 'valid', 'same'"),
    (ONE, ONE, {"padding": 3}, ValueError, "padding=.* leaves nothing of the full result"),
    (ONE, ONE, {"output_padding": 1}, ValueError, "output_padding=1 on axis 0 must be smaller than stride=1"),
    (ONE, ONE, {"padding": "same", "output_padding": 1}, ValueError, "must be 0 with padding='same'"),
    (ONE, ONE, {"dilation": True}, TypeError, "dilation must be an integer"),
])  # fmt: skip
def test_refusals(x, kernel, settings, error, message):
    with pytest.raises(error, match=message):
        pxd.explain(x, kernel, **settings)


def test_the_largest_of_each_is_shown():
    assert pxd.explain(np.ones(16), np.ones(5)).y.shape == (20,)
    assert pxd.explain(np.ones((8, 8)), np.ones((2, 2)), stride=2).y.shape == (16, 16)
    assert pxd.explain(np.ones(2), np.ones(9), stride=8).y.shape == (17,)


def test_the_name_is_always_the_function():
    """Also when what is below has been imported; and no plotting library before it is used."""
    code = (
        "import sys, pyx_deconv as pxd; import pyx_deconv.explanation._trace; pxd.explain([1], [1]);"
        "from pyx_deconv import explain, Explanation; assert type(explain([1], [2])) is Explanation;"
        "print(sorted({'matplotlib', 'PIL', 'pyx_deconv.layers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
