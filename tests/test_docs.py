"""What the documentation shows runs, and says what it says."""

import ast
import contextlib
import io
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from frameworks import require_packages

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FRAMEWORKS = {"flax", "haiku", "jax", "keras", "onnxruntime", "tensorflow", "torch"}

# A block of code, and what it prints if a block of text follows at once.
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)


def blocks(page):
    """Yield code, what it prints or None, the line it begins at, and what it imports."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        code, printed = found.groups()
        imports = set()
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                imports |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imports.add(node.module.partition(".")[0])
        yield code, printed, text.count("\n", 0, found.start(1)), imports


def run(page, kept, folder, monkeypatch):
    """Run the blocks one after another in one namespace, as a reader would, and compare what they print."""
    monkeypatch.chdir(folder)
    namespace = {"__name__": "__main__"}
    for code, printed, line, _ in kept:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            # The lines before it, so that an error names the line of the page.
            exec(compile("\n" * line + code, str(page), "exec"), namespace)
        if printed is not None:
            assert out.getvalue() == printed, f"what the block at {page.name}:{line} prints"


def named(pages):
    return [pytest.param(page, id=str(page.relative_to(DOCS))) for page in pages]


@pytest.mark.parametrize("page", named(page for page in PAGES if any(blocks(page))))
def test_code_blocks(page, tmp_path, monkeypatch):
    kept = [block for block in blocks(page) if not block[3] & FRAMEWORKS]
    for name in sorted(set().union(*(imports for *_, imports in kept))):
        pytest.importorskip(name, reason=f"{page.name} imports {name}")
    run(page, kept, tmp_path, monkeypatch)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "page", named(page for page in PAGES if any(block[3] & FRAMEWORKS for block in blocks(page)))
)
def test_code_blocks_with_frameworks(page, tmp_path, monkeypatch):
    require_packages(*sorted(set().union(*(imports for *_, imports in blocks(page)))))
    run(page, list(blocks(page)), tmp_path, monkeypatch)


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


def test_links_of_the_readme():
    """They lead to files of the project; those of the other pages are looked up when the pages are built."""
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (DOCS.parent / "README.md").read_text())
    missing = [link for link in links if "://" not in link and not (DOCS.parent / link).exists()]
    assert len(links) > 10
    assert not missing
