"""Lesson 5: exercises about a kernel that is learned."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.exercises import Exercise

__all__ = ["kernel_gradient", "phase_sums", "psnr"]

Array = NDArray[np.float64]


# --- psnr -------------------------------------------------------------------------------


def _two_pictures(rng: np.random.Generator) -> dict[str, Any]:
    truth = rng.random(rng.integers(5, 12, 2))
    noise = rng.normal(0, rng.uniform(0.01, 0.3), truth.shape)
    return {"picture": truth + noise, "truth": truth, "border": int(rng.integers(0, 3))}


def _psnr(picture: Array, truth: Array, border: int) -> float:
    rows, columns = truth.shape
    inside = slice(border, rows - border), slice(border, columns - border)
    return float(-10 * np.log10(np.mean((picture[inside] - truth[inside]) ** 2)))


psnr = Exercise(
    _two_pictures,
    _psnr,
    (
        "The mean squared error first: np.mean((picture - truth) ** 2).",
        "In decibels: -10 * np.log10(mean squared error), as white is 1.",
        "The border is left out at all four sides. Careful with border=0: a slice that "
        "ends at -0 is empty.",
    ),
)


# --- phase_sums -------------------------------------------------------------------------


def _kernel_and_stride(rng: np.random.Generator) -> dict[str, Any]:
    stride = int(rng.integers(2, 4))
    return {"kernel": rng.random(rng.integers(stride, 9, 2)), "stride": stride}


def _phase_sums(kernel: Array, stride: int) -> Array:
    sums = [
        [kernel[a::stride, b::stride].sum() for b in range(stride)] for a in range(stride)
    ]
    return np.array(sums)


phase_sums = Exercise(
    _kernel_and_stride,
    _phase_sums,
    (
        "The taps of phase (a, b) are kernel[a::stride, b::stride].",
        "There are stride * stride phases: the result has this shape, (stride, stride).",
    ),
)


# --- kernel_gradient --------------------------------------------------------------------


def _line_and_residual(rng: np.random.Generator) -> dict[str, Any]:
    n, taps, stride = (int(number) for number in rng.integers((2, 1, 1), (7, 6, 4)))
    residual = rng.normal(size=(n - 1) * stride + taps)
    return {
        "x": rng.normal(size=n),
        "residual": residual,
        "taps": taps,
        "stride": stride,
    }


def _kernel_gradient(x: Array, residual: Array, taps: int, stride: int) -> Array:
    last = (len(x) - 1) * stride + 1
    return np.array([2 * residual[t : t + last : stride] @ x for t in range(taps)])


kernel_gradient = Exercise(
    _line_and_residual,
    _kernel_gradient,
    (
        "x[i] reaches y[i * stride + t] through tap t, and nothing else does so.",
        "So the loss changes with tap t by the sum over i of "
        "2 * residual[i * stride + t] * x[i].",
        "The result has one number for each tap, `taps` of them.",
    ),
)
