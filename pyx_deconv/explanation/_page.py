"""The interactive page: what Python knows, put into the page's own files.

The page needs nothing from anywhere: its style and its scripts are written into it, and it forbids itself
every request.
"""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["document", "fragment"]

# In the order in which they need each other.
STYLES = ("colours", "cells", "page")
SCRIPTS = (
    "text",
    "geometry",
    "arithmetic",
    "settings",
    "dom",
    "view_scatter",
    "view_gather",
    "view_matrix",
    "view_phases",
    "view_windows",
    "controls",
    "main",
)
NOSCRIPT = "<noscript><p>This page needs JavaScript, and nothing from any network.</p></noscript>"
FRAME_HEIGHT = 900  # pixels; what is longer scrolls inside


@cache
def _template() -> str:
    """The page without its data."""
    folder = files("pyx_deconv.explanation") / "page"

    def text(name: str) -> str:
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        return "\n".join(line.strip() for line in lines)  # a notebook holds many pages

    style = "\n".join(text(f"{name}.css") for name in STYLES)
    script = "\n".join(text(f"{name}.js") for name in SCRIPTS)
    return text("page.html").replace("{{style}}", style).replace("{{script}}", script)


def document(settings: Mapping[str, Any]) -> str:
    """Return the page as one HTML document.

    Parameters
    ----------
    settings : mapping
        "x" and "kernel": nested lists of floats, of rank 1 or 2; "stride", "output_padding", "dilation": one
        integer per axis; "padding": one [begin, end] per axis. What is too large to be read was refused.
    """
    return _filled(settings, NOSCRIPT)


def fragment(settings: Mapping[str, Any], picture: bytes | None) -> str:
    """Return the page in a sandboxed frame, for notebooks and other pages.

    The frame lies over ``picture``, a PNG, which is seen where frames or scripts are taken out: without its
    script the frame shows nothing and hides nothing.
    """
    # In single quotes, of which the page has few: &quot; is long.
    page = html.escape(_filled(settings, noscript=""), quote=False).replace("'", "&#x27;")
    frame = (
        'sandbox="allow-scripts" loading="lazy" title="A transposed convolution, step by step" '
        f"srcdoc='{page}'"
    )
    if picture is None:
        style = f"width: 100%; height: {FRAME_HEIGHT}px; border: 0"
        return f'<iframe {frame} style="{style}"></iframe>'
    data = base64.b64encode(picture).decode("ascii")
    return (
        f'<div style="position: relative; height: {FRAME_HEIGHT}px; overflow: hidden">'
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(_alternative(settings))}" '
        'style="display: block; max-width: 100%; max-height: 100%">'
        f'<iframe {frame} style="position: absolute; left: 0; top: 0; width: 100%; height: 100%; border: 0">'
        "</iframe></div>"
    )


def _filled(settings: Mapping[str, Any], noscript: str) -> str:
    """The page with its data."""
    given = json.dumps(settings, allow_nan=False, separators=(",", ":"))
    page = _template().replace("{{noscript}}", noscript)
    return page.replace("{{given}}", given.replace("<", "\\u003c"))


def _alternative(settings: Mapping[str, Any]) -> str:
    """The picture in words."""
    sizes = " × ".join(map(str, _shape(settings["x"])))
    kernel = " × ".join(map(str, _shape(settings["kernel"])))
    names = ("stride", "padding", "output_padding", "dilation")
    rest = ", ".join(f"{name} {settings[name]}" for name in names)
    return (
        f"A transposed convolution of an input of {sizes} with a kernel of {kernel}: {rest}. Every input "
        "pixel paints the kernel, times its value; where paintings overlap, they add up."
    )


def _shape(values: Any) -> list[int]:
    """The shape of a nested list."""
    return [len(values), *_shape(values[0])] if isinstance(values, Sequence) else []
