"""What the tests of the interactive page share: settings, and how to read what it writes."""

import struct
import zlib

import numpy as np
import pytest

X = [[1.0, 2.0], [3.0, 4.0]]
KERNEL = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]


def settings(x=X, kernel=KERNEL, stride=2, padding=0, output_padding=0, dilation=1):
    """As `explain` hands them over: one of each per axis."""
    rank = np.ndim(x)
    return {
        "x": x,
        "kernel": kernel,
        "stride": [stride] * rank,
        "padding": [[padding, padding]] * rank,
        "output_padding": [output_padding] * rank,
        "dilation": [dilation] * rank,
    }


def png(colour):
    """A picture of one colour, 8 x 8."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    rows = b"".join(b"\0" + bytes(colour) * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def browser(function):
    """Mark a test that needs Chromium: `pytest -m browser`."""
    return pytest.mark.browser(pytest.mark.filterwarnings("default")(function))


def cells(page, label):
    """The numbers written in a grid."""
    return [[float(text) for text in line] for line in texts(page, label)]


def texts(page, label):
    """What is written in a grid."""
    rows = page.locator(f"table[aria-label^='{label}']").evaluate(
        """table => [...table.tBodies[0].rows].map(row =>
            [...row.querySelectorAll("td")].map(cell => cell.querySelector(".value")?.textContent ?? ""))"""
    )
    return [[text.replace("−", "-") for text in line] for line in rows]


def slide(page, name, value):
    """Move a slider with the keyboard, as a reader does."""
    slider = page.locator(f"#{name}")
    slider.focus()
    for _ in range(10):
        now = int(slider.input_value())
        if now == value:
            return
        slider.press("ArrowRight" if now < value else "ArrowLeft")
    raise AssertionError(f"{name} does not reach {value}")
