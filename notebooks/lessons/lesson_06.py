"""Lesson 6: exercises about checkerboards."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.exercises import Exercise

__all__ = ["mend", "overlap", "pattern", "resize_kernel"]

Array = NDArray[np.float64]


# --- overlap ----------------------------------------------------------------------------


def _sizes(rng: np.random.Generator) -> dict[str, int]:
    kernel_size, stride = map(int, rng.integers((1, 1), (12, 6)))
    return {"kernel_size": kernel_size, "stride": stride}


def _overlap(kernel_size: int, stride: int) -> tuple[int, int]:
    return kernel_size // stride, -(-kernel_size // stride)


overlap = Exercise(
    _sizes,
    _overlap,
    (
        "Phase a gets the taps a, a + stride, a + 2 * stride, ... How many are there?",
        "The last phase gets the fewest: kernel_size // stride.",
        "Phase 0 gets the most: kernel_size / stride, rounded up.",
    ),
)


# --- pattern ----------------------------------------------------------------------------


def _kernel_2d(rng: np.random.Generator) -> dict[str, Any]:
    stride = int(rng.integers(1, 4))
    size = rng.integers(stride, stride + 5, 2)
    return {"kernel": rng.normal(size=size).round(1), "stride": stride}


def _pattern(kernel: Array, stride: int) -> float:
    phases = range(stride)
    return float(
        np.std([[kernel[a::stride, b::stride].sum() for b in phases] for a in phases])
    )


pattern = Exercise(
    _kernel_2d,
    _pattern,
    (
        "Away from the border, a picture of ones becomes the sums of the taps, "
        "phase by phase.",
        "The taps of phase (a, b) are kernel[a::stride, b::stride].",
        "np.std of these stride * stride sums.",
    ),
)


# --- mend -------------------------------------------------------------------------------


def _kernel_1d(rng: np.random.Generator) -> dict[str, Any]:
    stride, times = map(int, rng.integers((2, 1), (5, 5)))
    return {"kernel": rng.normal(size=stride * times).round(1), "stride": stride}


def _mend(kernel: Array, stride: int) -> Array:
    phases = kernel.reshape(-1, stride)
    means = phases.mean(axis=0)
    mended: Array = phases - means + means.mean()
    return mended.ravel()


mend = Exercise(
    _kernel_1d,
    _mend,
    (
        "kernel.reshape(-1, stride) has one phase in each column.",
        "To change the sum of some numbers while moving them as little as possible, add "
        "the same to each of them.",
        "All phases have equally many taps. So take the mean of each phase off, and add "
        "the mean of all.",
    ),
)


# --- resize_kernel ----------------------------------------------------------------------


def _taps(rng: np.random.Generator) -> dict[str, Any]:
    taps = rng.normal(size=int(rng.integers(1, 6))).round(1)
    return {"taps": taps, "stride": int(rng.integers(1, 5))}


def _resize_kernel(taps: Array, stride: int) -> Array:
    return np.convolve(np.ones(stride), taps[::-1])


resize_kernel = Exercise(
    _taps,
    _resize_kernel,
    (
        "Repeating every pixel is a transposed convolution with `stride` ones as kernel.",
        "A convolution that slides its taps over a line is a transposed convolution with "
        "stride 1 and the taps turned round: taps[::-1].",
        "Send a single 1 through both: np.convolve(np.ones(stride), taps[::-1]).",
    ),
)
