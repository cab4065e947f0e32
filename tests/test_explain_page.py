"""The interactive page of explain: what Python puts together, and that it computes what the kernels do."""

import itertools
import re

import numpy as np
import pytest
from explaining import KERNEL, X, browser, cells, png, settings, slide, texts

import pyx_deconv as pxd
from pyx_deconv import geometry
from pyx_deconv.explanation import _page

# --- what Python puts together ------------------------------------------------------------------------------


RED = png((255, 0, 0))


def test_document_is_complete_and_loads_nothing():
    page = _page.document(settings())
    assert "{{" not in page
    assert "<noscript>" in page
    assert not re.search(
        r"""(src|href)\s*=\s*["']?(?!["']?data:,)|@import|url\(|fetch\(|XMLHttp|https?://""", page
    )


def test_fragment_is_small_and_has_words_for_its_picture():
    largest = np.random.default_rng(0).normal(size=(8, 8)).tolist()
    fragment = _page.fragment(settings(largest, np.random.default_rng(1).normal(size=(7, 7)).tolist()), None)
    assert len(fragment.encode()) < 150_000, "half of what a notebook's picture and page may take together"
    fragment = _page.fragment(settings(), RED)
    assert 'sandbox="allow-scripts"' in fragment
    assert 'alt="A transposed convolution of an input of 2 × 2 with a kernel of 3 × 3: stride' in fragment
    assert "<noscript>" not in fragment.replace("&lt;", "<"), "it would be written over the picture"
    assert _page.fragment(settings(), None).count("<img") == 0


# --- every slider position ----------------------------------------------------------------------------------

SLIDERS = {
    "stride": range(1, 5),
    "dilation": range(1, 4),
    "kernel": range(1, 6),
    "padding": range(4),
}
# One position after the other by the sliders themselves; what the page then holds.
WALK = """positions => positions.map(position => {
    for (const [name, value] of Object.entries(position)) {
        const slider = document.getElementById(name);
        if (Number(slider.value) === value) continue;
        slider.value = value;
        slider.dispatchEvent(new Event("input", {bubbles: true}));
    }
    const [most] = [Number(document.getElementById("output_padding").max)];
    const axes = operationOf(state.given, state.settings).axes.slice(-state.rank);
    return {
        settings: state.settings, most, problem: state.problem,
        windows: axes.map(windowsOf),
        results: state.result && state.result.results,
        counts: state.result && state.result.counts,
        agreement: document.getElementById("agreement").textContent,
        text: document.getElementById("page").textContent,
    };
})"""


def positions():
    for values in itertools.product(*SLIDERS.values()):
        position = dict(zip(SLIDERS, values, strict=True))
        for output_padding in range(max(position["stride"], position["dilation"])):
            yield {**position, "output_padding": output_padding}


def expected(given, position):
    """The result, how many products reach each cell of it, or the refusal."""
    x, kernel = np.array(given["x"]), np.array(given["kernel"])
    # The first taps; beyond the given ones they are repeated.
    kernel = kernel[np.ix_(*(np.arange(position["kernel"]) % size for size in kernel.shape))]
    rest = {name: position[name] for name in ("stride", "padding", "output_padding", "dilation")}
    try:
        y = pxd.conv_transpose(x[None], kernel[None, None], **rest)[0]
    except ValueError as error:
        return error
    counts = pxd.conv_transpose(np.ones_like(x)[None], np.ones_like(kernel)[None, None], **rest)[0]
    return np.atleast_2d(y), np.atleast_2d(counts)


def check_windows(windows, n, k, s, d, p, op):
    """Each window is the one that `geometry` gives the framework."""
    full = geometry.full_size(n, k, s, d)
    names = {window["name"] for window in windows}
    assert {'Keras padding="valid"', 'Keras padding="same"', "ONNX SAME_UPPER", "ONNX SAME_LOWER"} < names
    for window in windows:
        name = window["name"]
        if name == "this page, now":
            crop = (p, p - op)
        elif name.startswith("PyTorch"):
            padding, output_padding = map(int, re.findall(r"\d+", name))
            assert output_padding < max(s, d)
            crop = geometry.pytorch_crop(padding, output_padding)
        elif name.startswith("Keras"):
            crop = geometry.keras_crop(k, s, d, name.split('"')[1])
        else:
            crop = geometry.onnx_crop(n, k, s, d, auto_pad=name.removeprefix("ONNX "))
        assert (window["begin"], window["end"]) == crop, name
        assert window["size"] == full - sum(crop), name
    asked = f"PyTorch padding={p}, output_padding={op}"
    assert asked in names


@browser
@pytest.mark.parametrize(
    "given",
    [
        settings([[3.0, -1.0, 2.0], [5.0, 4.0, -2.0]], [[1.0, 2.0], [3.0, -4.0], [5.0, 6.0]]),
        settings([2.0, -3.0, 5.0, 7.0], [1.0, 10.0, 100.0]),
    ],
    ids=["2-D", "1-D"],
)
def test_every_slider_position(show, given):
    page = show(_page.document(given))
    walked = list(positions())
    found = page.evaluate(WALK, walked)
    possible = 0
    for position, answer in zip(walked, found, strict=True):
        where = str(position)
        stride, dilation, kernel, padding, output_padding = position.values()
        rank = np.ndim(given["x"])
        assert answer["settings"]["output_padding"] == [output_padding] * rank, where
        assert answer["settings"]["kernel"] == [kernel] * rank, where
        assert answer["most"] == max(stride, dilation) - 1, where
        for windows, size in zip(answer["windows"], np.shape(given["x"]), strict=True):
            check_windows(windows, size, kernel, stride, dilation, padding, output_padding)
        assert not re.search(r"NaN|undefined|null|Infinity|∞", answer["text"]), where
        wanted = expected(given, position)
        if isinstance(wanted, ValueError):
            assert answer["problem"].startswith("Nothing is left"), where
            assert answer["problem"] in answer["text"]
            assert answer["results"] is None
            continue
        possible += 1
        assert answer["problem"] is None, where
        assert answer["agreement"] == "✓ all four views agree", where
        assert list(answer["results"]) == ["scatter", "gather", "matrix", "sub-pixel"]
        for view, result in answer["results"].items():
            np.testing.assert_array_equal(result, wanted[0], f"{view} {where}")
        np.testing.assert_array_equal(answer["counts"], wanted[1], where)
    assert 300 < possible < len(walked), "both kinds were asked"


@browser
@pytest.mark.parametrize(
    "position",
    [
        {"stride": 1, "dilation": 1, "kernel": 3, "padding": 0, "output_padding": 0},
        {"stride": 2, "dilation": 1, "kernel": 3, "padding": 1, "output_padding": 1},
        {"stride": 3, "dilation": 2, "kernel": 2, "padding": 2, "output_padding": 1},
        {"stride": 4, "dilation": 1, "kernel": 5, "padding": 3, "output_padding": 3},
        {"stride": 2, "dilation": 3, "kernel": 4, "padding": 0, "output_padding": 2},
        {"stride": 4, "dilation": 3, "kernel": 1, "padding": 0, "output_padding": 0},
    ],
    ids=lambda position: "-".join(map(str, position.values())),
)
def test_what_is_written_in_the_cells(show, position):
    given = settings(X, KERNEL)
    page = show(_page.document(given))
    for name, value in position.items():
        slide(page, name, value)
    y, counts = expected(given, position)
    assert cells(page, "output y, coloured by phase") == y.tolist()
    assert cells(page, "output y, interleaved") == y.tolist()
    assert cells(page, "how many paintings reach each cell of y") == counts.tolist()
    # The small kernels' cells, put back into their places.
    stride, begin = position["stride"], position["padding"]
    rebuilt = np.zeros_like(y)  # where a phase has no tap
    for index, phase in enumerate(np.ndindex(stride, stride)):
        rows, columns = (np.flatnonzero((np.arange(len(y)) + begin) % stride == of) for of in phase)
        label = f"cells of y in phase {chr(97 + index)}"
        if page.locator(f"table[aria-label='{label}']").count():
            rebuilt[np.ix_(rows, columns)] = cells(page, label)
    np.testing.assert_array_equal(rebuilt, y)
    # The sum of the paintings: the page is at the first pixel, and one step back is the last.
    page.click("#back")
    full, reached = expected(given, {**position, "padding": 0, "output_padding": 0})
    sums = [line[: len(full)] for line in texts(page, "sum of the paintings")[: len(full)]]
    assert sums == [
        [f"{full[r, c]:g}" if reached[r, c] else "" for c in range(len(full))] for r in range(len(full))
    ]


@browser
def test_floats_agree_and_rounding_is_marked(show):
    rng = np.random.default_rng(5)
    given = settings(rng.normal(size=(3, 4)).tolist(), rng.normal(size=(3, 3)).tolist(), 2, 1, 1)
    page = show(_page.document(given))
    found = page.evaluate("state.result.results")
    wanted = pxd.conv_transpose(
        np.array(given["x"])[None],
        np.array(given["kernel"])[None, None],
        stride=2,
        padding=1,
        output_padding=1,
    )[0]
    for view, result in found.items():
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-12, err_msg=view)
    assert page.inner_text("#agreement").startswith("✓")
    assert "≈" in page.inner_text("#formula")


@browser
def test_settings_per_axis_and_pairs_are_kept(show):
    given = settings([[1.0, 2.0, 3.0]], [[1.0, 2.0]])
    given.update(stride=[1, 3], padding=[[0, 0], [1, 0]], output_padding=[0, 2], dilation=[1, 2])
    page = show(_page.document(given))
    wanted = pxd.conv_transpose(
        np.array([[[1.0, 2.0, 3.0]]]),
        np.array([[[[1.0, 2.0]]]]),
        stride=(1, 3),
        padding=[(0, 0), (1, 0)],
        output_padding=(0, 2),
        dilation=(1, 2),
    )[0]
    assert page.evaluate("state.result.y") == wanted.tolist()
    assert page.inner_text("#stride-value") == "(1, 3)"
    call = page.inner_text("#call")
    assert "stride=(1, 3), padding=[(0, 0), (1, 0)], output_padding=(0, 2), dilation=(1, 2)" in call
    assert page.inner_text("#padding-value") == "(0, (1, 0))"
    assert "the slider sets both" in page.inner_text("#padding-what")
    slide(page, "stride", 2)
    assert page.evaluate("state.settings.stride") == [2, 2]
    slide(page, "padding", 1)
    assert page.evaluate("state.settings.padding") == [[1, 1], [1, 1]]
    assert page.inner_text("#padding-what") == "cells cropped at each end"
    page.click("#reset")
    assert page.evaluate("state.result.y") == wanted.tolist()
    assert page.locator("#reset").is_disabled()


@browser
@pytest.mark.parametrize(
    ("fault", "view"),
    [
        ("const right = gather; gather = operation => (y => (y[1][2] += 1, y))(right(operation))", "gather"),
        ("const right = tapsOfPhase; tapsOfPhase = (axis, phase) => right(axis, 0)", "sub-pixel"),
        ("const right = multiply; multiply = (m, o) => right(m.map(r => r.map(() => 1)), o)", "matrix"),
    ],
    ids=["gather", "sub-pixel", "matrix"],
)
def test_a_view_that_is_wrong_is_seen(show, fault, view):
    page = show(_page.document(settings()))
    page.evaluate(f"() => {{ {fault}; reset(); }}")
    mark = page.locator("#agreement.wrong")
    assert mark.inner_text().startswith("✗ The views disagree: y[")
    assert f"by {view}." in mark.inner_text()
