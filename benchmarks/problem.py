"""The arrays of a case, the same in every process, and the right result, computed in float64.

The formula is written here once more, one product per tap, so that it shares nothing with what it checks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.layers import Layer

__all__ = ["NO_WEIGHT", "TOLERANCE", "Problem", "Unsupported", "relative_error", "truth"]

# Relative to the largest value of the result. The 16-bit rows allow for peers that accumulate in 16 bits.
TOLERANCE = {"float64": 1e-11, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}


NO_WEIGHT = "no weight to prepare"  # why a library has no prepared layout of a weight gradient


class Unsupported(Exception):
    """A library does not offer this case; the message says what is missing."""


@dataclass(frozen=True)
class Problem:
    """What a library is asked to compute, with arrays in the wanted layout."""

    layer: Layer
    operation: str
    layout: str
    reuse: bool
    x: np.ndarray
    weight: np.ndarray  # (C_in, C_out // groups, *kernel) in every layout
    grad_output: np.ndarray

    @classmethod
    def make(
        cls, layer: Layer, operation: str, layout: str = "channels_first", reuse: bool = False
    ) -> "Problem":
        """Draw the arrays: small random numbers, exact in the layer's dtype."""
        random = np.random.default_rng(0)
        dtype = numpy_dtype(layer.dtype)

        def draw(shape: tuple[int, ...]) -> np.ndarray:
            return (random.random(shape, dtype=np.float32) - np.float32(0.5)).astype(dtype)

        x, weight, grad_output = draw(layer.x_shape), draw(layer.weight_shape), draw(layer.output_shape)
        if layout == "channels_last":
            x, grad_output = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (x, grad_output))
        return cls(layer, operation, layout, reuse, x, weight, grad_output)

    def moved_last(self) -> "Problem":
        """Return the same problem with channels last."""
        return self.make(self.layer, self.operation, "channels_last", self.reuse)

    @property
    def source(self) -> np.ndarray:
        """The map that a forward or grad_input call reads."""
        return self.x if self.operation == "forward" else self.grad_output

    def channels_first(self, array: np.ndarray) -> np.ndarray:
        """Return a view of a map of this problem's layout with its channels first."""
        return np.moveaxis(array, -1, 1) if self.layout == "channels_last" else array

    def canonical(self, result: np.ndarray) -> np.ndarray:
        """Return a result in the order of PyTorch: maps with channels first, a weight as it is."""
        return result if self.operation == "grad_weight" else self.channels_first(result)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return a dtype by name; bfloat16 is not NumPy's own."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def truth(problem: Problem) -> np.ndarray:
    """Compute the result in float64, tap by tap: y[i*s + t*d - p] += x[i] * w[t]."""
    layer = problem.layer
    x = (
        problem.channels_first(problem.x)
        .astype(np.float64)
        .reshape(layer.N, layer.groups, -1, np.prod(layer.spatial))
    )
    weight = problem.weight.astype(np.float64).reshape(layer.groups, -1, *layer.weight_shape[1:])
    # All that the kernel may touch; the output is a window in it.
    reach = [max(f, o + p) for f, o, p in zip(layer.full, layer.out_spatial, layer.padding, strict=True)]
    canvas = np.zeros((layer.N, layer.groups, layer.C_out // layer.groups, *reach))
    window = (..., *(slice(p, p + o) for p, o in zip(layer.padding, layer.out_spatial, strict=True)))
    if problem.operation != "forward":
        canvas[window] = problem.channels_first(problem.grad_output).reshape(canvas[window].shape)
    grad_x, grad_weight = np.zeros_like(x), np.zeros_like(weight)

    for tap in np.ndindex(*layer.kernel):
        axes = zip(tap, layer.dilation, layer.spatial, layer.stride, strict=True)
        place = (..., *(slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in axes))
        matrix = weight[(..., *tap)]  # (groups, C_in // groups, C_out // groups)
        if problem.operation == "forward":
            canvas[place] += (matrix.swapaxes(-1, -2) @ x).reshape(canvas[place].shape)
            continue
        pixels = canvas[place].reshape(*canvas.shape[:3], -1)
        if problem.operation == "grad_input":
            grad_x += matrix @ pixels
        else:
            grad_weight[(..., *tap)] = (x @ pixels.swapaxes(-1, -2)).sum(axis=0)

    results: dict[str, Callable[[], np.ndarray]] = {
        "forward": lambda: canvas[window].reshape(layer.output_shape),
        "grad_input": lambda: grad_x.reshape(layer.x_shape),
        "grad_weight": lambda: grad_weight.reshape(layer.weight_shape),
    }
    return results[problem.operation]()


def relative_error(result: np.ndarray, right: np.ndarray) -> float:
    """Return the largest difference over the largest right value; infinite for wrong shapes or NaN."""
    if result.shape != right.shape:
        return float("inf")
    difference = float(np.abs(result.astype(np.float64) - right).max() / np.abs(right).max())
    return difference if np.isfinite(difference) else float("inf")
