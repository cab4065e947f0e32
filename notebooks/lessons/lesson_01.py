"""The exercises of lesson 1: stride 1."""

from typing import Any

import numpy as np

import pyx_deconv as pxd
from lessons.exercises import Exercise

__all__ = ["cell", "pixels"]


def map_and_kernel(rng: np.random.Generator) -> dict[str, Any]:
    """Return a map and a kernel of whole numbers, neither of them square."""
    x = rng.integers(-9, 10, size=rng.integers(1, 5, size=2)).astype(float)
    kernel = rng.integers(-9, 10, size=rng.integers(1, 5, size=2)).astype(float)
    return {"x": x, "kernel": kernel}


def one_cell(rng: np.random.Generator) -> dict[str, Any]:
    """Return a map, a kernel and a cell of their output."""
    arrays = map_and_kernel(rng)
    rows, columns = pxd.output_size(arrays["x"].shape, arrays["kernel"].shape)
    return {**arrays, "r": int(rng.integers(rows)), "c": int(rng.integers(columns))}


def one_axis(rng: np.random.Generator) -> dict[str, Any]:
    """Return sizes along one axis, and a cell of the output."""
    n, k = (int(size) for size in rng.integers(1, 9, size=2))
    return {"n": n, "k": k, "r": int(rng.integers(n - 1 + k))}


cell = Exercise(
    one_cell,
    lambda x, kernel, r, c: pxd.conv_transpose(x[None], kernel[None, None])[0, r, c],
    (
        "go over all pixels x[i, j]; which tap does each of them bring to y[r, c]?",
        "the tap is kernel[r - i, c - j]; leave a pixel out if there is no such tap: "
        "a negative index would be taken from the other end.",
    ),
)

pixels = Exercise(
    one_axis,
    lambda n, k, r: np.convolve(np.ones(n), np.ones(k))[r],
    (
        "pixel i paints the cells from i to i + k - 1.",
        "so cell r is painted by the pixels from r - k + 1 to r, as far as they exist: "
        "from 0 to n - 1.",
    ),
)
