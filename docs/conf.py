"""The documentation, of which the notebooks are a part: ``make docs``.

The source folder is that of the project, so that every link between pages leads to the same place here, on a
code host and in JupyterLab.
"""

import re

import numpy as np
from docutils.nodes import SkipNode
from math_core import LatexToMathML

import pyx_deconv as pxd

project = "pyx_deconv"
author = "the pyx_deconv developers"
version = release = pxd.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinxcontrib.programoutput"]
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb", "notebooks/README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = ["docs/_*"]

# The committed outputs are shown: notebooks are executed by `tox -e notebooks`, pages by tests/test_docs.py.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# Single backticks in docstrings are names of this package; types stand in the text, not in signatures.
default_role = "py:obj"
nitpick_ignore_regex = [("py:.*", r"(numpy|scipy)\..*")]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"pyx_deconv {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_copy_source = False
html_show_copyright = False
html_math_renderer = "mathml"
templates_path = ["_templates"]
html_additional_pages = {"index": "to-first-page.html"}  # the site is entered at build/docs/index.html


def setup(app):
    """Add what Sphinx does not have."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("autodoc-process-docstring", escape_stars, priority=400)  # numpydoc has 500
    app.connect("build-finished", write_explainer)


def escape_stars(app, what, name, obj, options, lines):
    """Let (N, C, *size) stand in docstrings as in Python, where a star would begin an emphasis."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            lines[number] = re.sub(r"(``.*?``)|(?<![\w*`])\*(?=\w)", lambda m: m[1] or r"\*", line)


def write_formula(page, node):
    """Write a formula as MathML, which needs neither scripts nor a network."""
    text, alone = node.astext(), node.tagname == "math_block"
    if alone and r"\\" in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    # Without a font for mathematics a bar over several symbols is drawn over one of them.
    formulas = LatexToMathML(macros={"overline": "{#1}^{*}"})
    page.body.append(formulas.convert_with_local_state(text, displaystyle=alone))
    raise SkipNode


def write_explainer(app, error):
    """Write the explainer that docs/index.md shows."""
    if error is None and app.builder.format == "html":
        x, kernel = np.arange(1.0, 5.0).reshape(2, 2), np.arange(1.0, 10.0).reshape(3, 3)
        pxd.explain(x, kernel, stride=2).save(app.outdir / "docs" / "explainer.html")
