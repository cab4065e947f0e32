"""Lesson 8: exercises about what is computed, and in which order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.exercises import Exercise

__all__ = ["col2im", "phase", "products"]

Array = NDArray[np.float64]


# --- products ---------------------------------------------------------------------------


def _layer(rng: np.random.Generator) -> dict[str, Any]:
    names = "rows", "columns", "kernel", "stride", "channels_in", "channels_out"
    return {name: int(rng.integers(1, 9)) for name in names}


def _products(
    rows: int,
    columns: int,
    kernel: int,
    stride: int,
    channels_in: int,
    channels_out: int,
) -> tuple[int, int]:
    each = channels_in * channels_out * kernel**2
    high, wide = (rows - 1) * stride + kernel, (columns - 1) * stride + kernel
    return each * rows * columns, each * high * wide


products = Exercise(
    _layer,
    _products,
    (
        "Scatter: each pixel of each input channel meets every tap of every output "
        "channel.",
        "Zero insertion: each pixel of each *output* channel meets every tap of every "
        "input channel.",
        "The output has (rows - 1) * stride + kernel rows.",
    ),
)


# --- col2im -----------------------------------------------------------------------------


def _columns(rng: np.random.Generator) -> dict[str, Any]:
    taps, pixels, stride = (int(number) for number in rng.integers((1, 1, 1), (6, 7, 5)))
    return {"columns": rng.normal(size=(taps, pixels)), "stride": stride}


def _col2im(columns: Array, stride: int) -> Array:
    taps, pixels = columns.shape
    y = np.zeros((pixels - 1) * stride + taps)
    for t in range(taps):
        for i in range(pixels):
            y[i * stride + t] += columns[t, i]
    return y


col2im = Exercise(
    _columns,
    _col2im,
    (
        "The product of tap t and pixel i belongs to y[i * stride + t].",
        "All products of one tap go to y[t], y[t + stride], y[t + 2 * stride], ...: one "
        "slice for each tap.",
    ),
)


# --- phase ------------------------------------------------------------------------------


def _phase_of_a_line(rng: np.random.Generator) -> dict[str, Any]:
    stride = int(rng.integers(1, 5))
    return {
        "x": rng.normal(size=int(rng.integers(1, 7))),
        "kernel": rng.normal(size=int(rng.integers(stride, 9))),
        "stride": stride,
        "remainder": int(rng.integers(0, stride)),
    }


def _phase(x: Array, kernel: Array, stride: int, remainder: int) -> Array:
    y = np.zeros((len(x) - 1) * stride + len(kernel))
    for i, value in enumerate(x):
        y[i * stride : i * stride + len(kernel)] += value * kernel
    return y[remainder::stride]


phase = Exercise(
    _phase_of_a_line,
    _phase,
    (
        "Tap t of pixel i reaches y[i * stride + t]: which t have the right remainder?",
        "They are kernel[remainder::stride], and each phase alone has stride 1.",
        "np.convolve(x, taps) is a transposed convolution with stride 1.",
    ),
)
