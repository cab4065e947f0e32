"""Lesson 3: exercises about sizes, and about Keras and PyTorch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.exercises import Exercise

__all__ = ["port", "pytorch_settings", "size"]

Array = NDArray[np.float64]


# --- size -------------------------------------------------------------------------------


def _one_axis(rng: np.random.Generator) -> dict[str, int]:
    names = ("n", "kernel_size", "stride", "dilation", "begin", "end")
    drawn = rng.integers((3, 2, 1, 1, 0, -1), (9, 6, 4, 4, 2, 2))
    return dict(zip(names, map(int, drawn), strict=True))


def _size(
    n: int, kernel_size: int, stride: int, dilation: int, begin: int, end: int
) -> int:
    return (n - 1) * stride + (kernel_size - 1) * dilation + 1 - begin - end


size = Exercise(
    _one_axis,
    _size,
    (
        "How far does one painting reach? K = (kernel_size - 1) * dilation + 1.",
        "The last painting starts (n - 1) * stride cells after the first.",
        "What is kept is full[begin : full_size - end]; a negative end adds cells.",
    ),
)


# --- pytorch_settings -------------------------------------------------------------------


def _kernel_and_stride(rng: np.random.Generator) -> dict[str, int]:
    stride = int(rng.integers(1, 6))
    return {"kernel_size": stride + int(rng.integers(0, 6)), "stride": stride}


def _pytorch_settings(kernel_size: int, stride: int) -> tuple[int, int]:
    padding = (kernel_size - stride + 1) // 2
    return padding, 2 * padding - (kernel_size - stride)


pytorch_settings = Exercise(
    _kernel_and_stride,
    _pytorch_settings,
    (
        "How many cells does the full result have more than n * stride? "
        "(n - 1) * stride + kernel_size - n * stride = kernel_size - stride.",
        "So 2 * padding - output_padding must be kernel_size - stride.",
        "If that is odd, crop one cell too many (round up) and take it back with "
        "output_padding=1.",
    ),
)


# --- port -------------------------------------------------------------------------------


def _keras_kernel(rng: np.random.Generator) -> dict[str, Any]:
    stride = int(rng.integers(1, 4))
    shape = (stride + int(rng.integers(0, 4)), *rng.integers(1, 4, 2))
    return {"kernel": rng.normal(size=shape).round(2), "stride": stride}


def _port(kernel: Array, stride: int) -> tuple[Array, int]:
    weight = kernel.transpose(2, 1, 0)
    odd = (len(kernel) - stride) % 2
    return np.pad(weight, ((0, 0), (0, 0), (odd, 0))), (len(kernel) - stride + odd) // 2


port = Exercise(
    _keras_kernel,
    _port,
    (
        "First the order of the axes: Keras' (taps, filters, channels) becomes "
        "(channels, filters, taps).",
        "Keras crops taps - stride cells. If that is even, half of it is the padding.",
        "If it is odd, Keras crops the smaller half in front. A zero in front of the "
        "taps makes it even: np.pad(weight, ((0, 0), (0, 0), (1, 0))).",
    ),
)
