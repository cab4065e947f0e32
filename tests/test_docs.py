"""What the documentation shows runs, and says what it says."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.parametrize("page", ["conventions.md", "deconvolve.md"])
def test_code_blocks(page):
    """One after another, in one namespace."""
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {})


def test_deconvolve(tmp_path, capsys):
    """The photograph is found again better than it is enlarged, by what the page says."""
    skimage = pytest.importorskip("skimage", reason="the example needs scikit-image's photograph")
    Image = pytest.importorskip("PIL.Image", reason="the example writes a picture with Pillow")
    assert skimage
    picture = tmp_path / "deconvolve.png"
    runpy.run_path(str(DOCS / "examples" / "deconvolve.py"))["main"](str(picture))
    decibels = [float(line.split()[-2]) for line in capsys.readouterr().out.splitlines()]
    measured, enlarged, solved = decibels
    assert measured < enlarged < solved - 2.5
    made, committed = (
        np.asarray(Image.open(path).convert("L"), int) for path in (picture, DOCS / "deconvolve.png")
    )
    assert made.shape == committed.shape
    assert np.abs(made - committed)[30:].mean() < 2, "the committed picture is what the example makes"


def test_conventions():
    """The tables are those that the geometry gives now."""
    written = (DOCS / "conventions.md").read_text()
    assert runpy.run_path(str(DOCS / "examples" / "conventions.py"))["page"](written) == written
