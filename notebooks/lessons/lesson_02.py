"""The exercises of lesson 2: stride 2."""

from typing import Any

import numpy as np

import pyx_deconv as pxd
from lessons.exercises import Exercise
from lessons.lesson_01 import map_and_kernel

__all__ = ["multiplications", "phase", "window"]


def one_phase(rng: np.random.Generator) -> dict[str, Any]:
    """Return a map, a kernel larger than the stride of 2 or 3, and one phase."""
    arrays = map_and_kernel(rng)
    stride = int(rng.integers(2, 4))
    arrays["kernel"] = np.pad(arrays["kernel"], (0, stride), constant_values=2.0)
    a, b = (int(phase) for phase in rng.integers(stride, size=2))
    return {**arrays, "stride": stride, "a": a, "b": b}


def sizes(rng: np.random.Generator) -> dict[str, Any]:
    """Return sizes along one axis, the kernel at least as large as the stride."""
    stride = int(rng.integers(1, 5))
    n, more = (int(size) for size in rng.integers(1, 9, size=2))
    return {"n": n, "k": stride + more, "stride": stride}


def cells_of_phase(
    x: np.ndarray, kernel: np.ndarray, stride: int, a: int, b: int
) -> np.ndarray:
    """Return the cells of one phase, picked out of the whole result."""
    y = pxd.conv_transpose(x[None], kernel[None, None], stride=stride)[0]
    return y[a::stride, b::stride]


def kept_by_same(n: int, k: int, stride: int) -> tuple[int, int]:
    """Return what "same" crops, read off a result whose cells are their own indices."""
    numbers = np.arange(pxd.output_size(n, k, stride=stride), dtype=float)
    sole = np.zeros((1, n))
    sole[0, 0] = 1.0
    taps = numbers[None, None, :k] + 1.0
    y = pxd.conv_transpose(sole, taps, stride=stride, padding="same")[0]
    begin = int(y[0]) - 1
    return begin, numbers.size - y.size - begin


phase = Exercise(
    one_phase,
    cells_of_phase,
    (
        "the pixels reach this phase only through the taps kernel[a::stride, b::stride].",
        "so it is a transposed convolution of x with that small kernel, and stride 1.",
    ),
)

window = Exercise(
    sizes,
    kept_by_same,
    (
        "how large is the full result, and how much of it is too much for n * stride?",
        "halve what is too much; if it is odd, one more goes at the end.",
    ),
)

multiplications = Exercise(
    sizes,
    lambda n, k, stride: (
        n * n * k * k,
        pxd.output_size(n, k, stride=stride) ** 2 * k * k,
    ),
    (
        "painting: every pixel multiplies the whole kernel.",
        "inserting zeros: the whole kernel is laid on every cell of the full result.",
    ),
)
