"""Lesson 4: exercises about the matrix and the gradients."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.exercises import Exercise

__all__ = ["grad_input", "grad_weight", "matrix"]

Array = NDArray[np.float64]


def _sizes(rng: np.random.Generator) -> tuple[int, int, int]:
    """Draw the number of pixels, of taps, and the stride."""
    n, taps, stride = map(int, rng.integers((2, 1, 1), (7, 6, 4)))
    return n, taps, stride


# --- matrix -----------------------------------------------------------------------------


def _matrix_case(rng: np.random.Generator) -> dict[str, Any]:
    n, taps, stride = _sizes(rng)
    return {"kernel": rng.normal(size=taps).round(1), "n": n, "stride": stride}


def _matrix(kernel: Array, n: int, stride: int) -> Array:
    made = np.zeros(((n - 1) * stride + len(kernel), n))
    for i in range(n):
        made[i * stride : i * stride + len(kernel), i] = kernel
    return made


matrix = Exercise(
    _matrix_case,
    _matrix,
    (
        "It has one row for each output cell, (n - 1) * stride + len(kernel) of them, "
        "and one column for each input pixel.",
        "Column i is what pixel i paints if its value is 1.",
        "Pixel i paints the kernel from row i * stride on.",
    ),
)


# --- grad_input -------------------------------------------------------------------------


def _grad_input_case(rng: np.random.Generator) -> dict[str, Any]:
    n, taps, stride = _sizes(rng)
    grad_output = rng.normal(size=(n - 1) * stride + taps).round(1)
    kernel = rng.normal(size=taps).round(1)
    return {"grad_output": grad_output, "kernel": kernel, "stride": stride}


def _grad_input(grad_output: Array, kernel: Array, stride: int) -> Array:
    taps = len(kernel)
    starts = range(0, len(grad_output) - taps + 1, stride)
    return np.array([grad_output[start : start + taps] @ kernel for start in starts])


grad_input = Exercise(
    _grad_input_case,
    _grad_input,
    (
        "Pixel i painted the cells i * stride, i * stride + 1, ... by the taps 0, 1, ...",
        "So its gradient is the sum of grad_output over these cells, each times its tap.",
        "That is a convolution with a stride. The kernel is not turned round.",
    ),
)


# --- grad_weight ------------------------------------------------------------------------


def _grad_weight_case(rng: np.random.Generator) -> dict[str, Any]:
    n, taps, stride = _sizes(rng)
    taken, made = map(int, rng.integers(1, 4, 2))
    return {
        "grad_output": rng.normal(size=(made, (n - 1) * stride + taps)).round(1),
        "x": rng.normal(size=(taken, n)).round(1),
        "stride": stride,
    }


def _grad_weight(grad_output: Array, x: Array, stride: int) -> Array:
    last = (x.shape[1] - 1) * stride + 1
    taps = grad_output.shape[1] - last + 1
    by_tap = [x @ grad_output[:, t : t + last : stride].T for t in range(taps)]
    return np.stack(by_tap, axis=-1)


grad_weight = Exercise(
    _grad_weight_case,
    _grad_weight,
    (
        "How many taps were there? As many as grad_output is longer than the last start: "
        "grad_output.shape[1] - (x.shape[1] - 1) * stride.",
        "Tap t carried x[a, i] to the cell i * stride + t of each channel b: these cells "
        "are grad_output[:, t : t + (n - 1) * stride + 1 : stride].",
        "The result is (channels in, channels out, taps); for one tap it is x @ cells.T.",
    ),
)
