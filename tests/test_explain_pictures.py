"""What `explain` writes and draws."""

import pathlib
import re
import xml.etree.ElementTree

import numpy as np
import pytest

import pyx_deconv as pxd
from pyx_deconv.explanation import _explanation

NINE = np.arange(1, 10).reshape(3, 3)
TWO = np.ones((3, 3))


# --- files --------------------------------------------------------------------------------------------------


def test_html(shown, tmp_path):
    shown.save(tmp_path / "shown.html")
    page = (tmp_path / "shown.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page), "nothing is fetched"
    assert page == shown._document()


def test_png(drawn, tmp_path):
    from PIL import Image

    drawn.save(str(tmp_path / "shown.PNG"))
    with Image.open(tmp_path / "shown.PNG") as picture:
        assert picture.format == "PNG"
        assert picture.width == 900
        assert picture.info["Description"] == repr(drawn)
        colours = np.asarray(picture.convert("RGB"))
    assert colours.std() > 20, "something is drawn"


def test_svg(drawn, tmp_path):
    drawn.save(tmp_path / "shown.svg")
    root = xml.etree.ElementTree.parse(tmp_path / "shown.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("width") == "540pt"
    first = (tmp_path / "shown.svg").read_bytes()
    drawn.save(tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == first


@pytest.mark.parametrize(("x", "kernel", "settings"), [
    ([[1, 2], [3, 4]], TWO, {"stride": 2, "padding": "same"}),
    ([1, 2, 3, 4], [1, 10], {"stride": 3, "padding": "same"}),
    ([0, 0, 0], [0], {"padding": [(-1, 0)]}),
    (np.arange(16).reshape(4, 4) * -17.125, np.ones((5, 5)), {"stride": 1}),
])  # fmt: skip
def test_gif(x, kernel, settings, tmp_path, pictures):
    """A frame before, one for each input pixel, and the result."""
    from PIL import Image

    shown = pxd.explain(x, kernel, **settings)
    shown.save(tmp_path / "shown.gif")
    with Image.open(tmp_path / "shown.gif") as picture:
        assert picture.format == "GIF"
        assert picture.n_frames == shown.x.size + 2
        assert picture.width == 750
        durations = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            durations.append(picture.info["duration"])
    assert durations[-1] == 2 * durations[0]


def test_suffixes_that_are_refused(shown, tmp_path):
    for name in ("shown.pdf", "shown", ".html"):
        with pytest.raises(ValueError, match=r"path must end in \.html, \.gif, \.png or \.svg.*not"):
            shown.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_where_writing_fails(shown, tmp_path, monkeypatch):
    def full(self, content):
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    file = tmp_path / "shown.html"
    file.write_text("earlier")
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            shown.save(file)
    assert file.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [file]
    shown.save(file)
    assert file.read_text() != "earlier"
    with pytest.raises(FileNotFoundError):
        shown.save(tmp_path / "missing" / "shown.html")


# --- pictures -----------------------------------------------------------------------------------------------

LAYOUTS = {
    "classic": ([[1, 2], [3, 4]], NINE, {"stride": 2}),
    "cropped": ([[1, 2], [3, 4]], NINE, {"stride": 2, "padding": 1}),
    "line": ([1, 2, 3, 4], [1, 10, 100], {"stride": 2, "padding": "same"}),
    "no tap": ([1, 2, 3, 4], [1, 10], {"stride": 3, "padding": "same"}),
    "dilated": (np.ones((2, 3)), TWO, {"stride": 2, "dilation": (2, 1)}),
    "zeros": (np.ones((2, 2)), TWO, {"padding": [(-2, 1), (0, -3)]}),
    "rounded": (np.sin(np.arange(9)).reshape(3, 3), np.cos(np.arange(16)).reshape(4, 4), {"stride": 2}),
    "large": (np.arange(36).reshape(6, 6), np.arange(36).reshape(6, 6), {"stride": 2}),
    "most pixels": (np.arange(64).reshape(8, 8) / 8, NINE, {"padding": "same"}),
    "long": (np.sin(np.arange(12)) * 1e3, np.cos(np.arange(9)), {}),
    "phases": ([[1, 2], [3, 4]], np.arange(49).reshape(7, 7), {"stride": 4}),
    "tiny": ([[5e-7]], [[-3e9]], {"stride": 1}),
    "PyTorch cannot": ([1, 2, 3], [1, 2], {}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_texts_can_be_read(name, pictures):
    """No text overlaps another or leaves the sheet, and none is smaller than 8 points."""
    x, kernel, settings = LAYOUTS[name]
    figure = pxd.explain(x, kernel, **settings).plot()
    figure.draw_without_rendering()
    (axes,) = figure.axes
    texts = [text for text in axes.texts if text.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= 8
    boxes = np.array([text.get_window_extent().extents for text in texts])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= figure.bbox.size).all()
    left, bottom, right, top = boxes.T[:, :, np.newaxis]
    meet = (left + 1 < right.T) & (right > left.T + 1) & (bottom + 1 < top.T) & (top > bottom.T + 1)
    np.fill_diagonal(meet, False)
    pairs = [(texts[a].get_text(), texts[b].get_text()) for a, b in np.argwhere(meet)]
    assert pairs == []


def test_plot(drawn):
    from matplotlib.figure import Figure

    figure = drawn.plot()
    assert isinstance(figure, Figure)
    written = [text.get_text() for text in figure.axes[0].texts]
    for text in ("kernel", "full[1:5]", "ONNX SAME_LOWER", "(0, 1)", "55"):
        assert text in written
    assert any("1·9 + 2·7 + 3·3 + 4·1" in text for text in written)
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["cropped", "line", "dilated", "zeros", "phases"])
def test_a_cell_has_the_colour_of_the_small_kernel_that_computes_it(name, pictures):
    from pyx_deconv.explanation import _figures

    x, kernel, settings = LAYOUTS[name]
    shown = pxd.explain(x, kernel, **settings)
    fills = _figures._phase_fills(shown)
    phases = list(shown.sub_kernels)
    assert fills.shape == shown.y.shape
    for cell, terms in shown.terms.items():
        for term in terms:
            taps = zip(term.tap, shown.dilation, shown.stride, strict=True)
            number = phases.index(tuple(t * d % s for t, d, s in taps))
            assert fills[cell] == _figures.PHASES[number % len(_figures.PHASES)]


def test_the_style_of_the_caller_changes_nothing(drawn):
    import matplotlib

    before = _explanation._picture(drawn, ".png")
    style = {"font.size": 30, "axes.facecolor": "black", "text.color": "white", "savefig.dpi": 30}
    with matplotlib.rc_context(style):
        assert _explanation._picture(drawn, ".png") == before


def test_notebook(drawn):
    bundle = drawn._repr_mimebundle_()
    assert bundle == {"text/plain": repr(drawn), "text/html": drawn._repr_html_()}
    assert "image/png;base64," in bundle["text/html"]
    assert len(bundle["text/html"]) < 300_000


def test_without_matplotlib(shown, tmp_path, without_matplotlib):
    shown.save(tmp_path / "shown.html")
    assert "image/png;base64," not in shown._repr_html_()
    needed = r'matplotlib and pillow: pip install "pyx_deconv\[explain\]"'
    with pytest.raises(ImportError, match=needed):
        shown.plot()
    for suffix in (".png", ".gif", ".svg"):
        with pytest.raises(ImportError, match=needed):
            shown.save(tmp_path / f"shown{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == ["shown.html"]
