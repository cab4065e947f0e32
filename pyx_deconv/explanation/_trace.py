"""The same transposed convolution by four ways, with every number on the way kept to be shown.

===============  =====================================================================================
``scatter``      every input pixel paints the kernel; the sum after each of them
``gather``       for every output cell the products that reach it
``matrix``       C^T, the transpose of the convolution's matrix: output cells x input cells
``sub_kernels``  one small kernel for each phase of the stride, whose results are interleaved
===============  =====================================================================================

They share no code beyond the sizes of the axes, so that their equality says something: ``check_equal``.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pyx_deconv.geometry import Axis, effective_kernel, full_size, keras_crop, onnx_crop, pytorch_crop

__all__ = [
    "Array",
    "Cell",
    "Step",
    "Term",
    "check_equal",
    "conventions",
    "gather",
    "interleave",
    "matrix",
    "scatter",
    "spread",
    "sub_kernels",
    "sum_terms",
    "windowed",
]

Array = NDArray[np.float64]
Cell = tuple[int, ...]


class Step(NamedTuple):
    """One input pixel paints the kernel onto the full result."""

    pixel: Cell
    painted: tuple[slice, ...]
    total: Array  # the full result after it


class Term(NamedTuple):
    """One product that reaches an output cell."""

    pixel: Cell
    tap: Cell


def full_sizes(axes: Sequence[Axis]) -> Cell:
    return tuple(full_size(axis.coarse, axis.kernel, axis.stride, axis.dilation) for axis in axes)


def scatter(x: Array, kernel: Array, axes: Sequence[Axis]) -> list[Step]:
    """Paint with one pixel after the other."""
    total = np.zeros(full_sizes(axes))
    steps = []
    for pixel in np.ndindex(x.shape):
        painted = tuple(
            slice(start := i * axis.stride, start + (axis.kernel - 1) * axis.dilation + 1, axis.dilation)
            for i, axis in zip(pixel, axes, strict=True)
        )
        total = total.copy()
        total[painted] += x[pixel] * kernel
        steps.append(Step(pixel, painted, total))
    return steps


def windowed(full: Array, axes: Sequence[Axis]) -> Array:
    """Cut the output out of the full result; beyond its ends there are zeros."""
    y = np.zeros([axis.fine for axis in axes])
    source, target = [], []
    for axis, size in zip(axes, full.shape, strict=True):
        first, stop = max(axis.begin, 0), min(axis.begin + axis.fine, size)
        source.append(slice(first, max(stop, first)))
        target.append(slice(first - axis.begin, max(stop, first) - axis.begin))
    y[tuple(target)] = full[tuple(source)]
    return y


def gather(axes: Sequence[Axis]) -> dict[Cell, list[Term]]:
    """Find for every output cell what reaches it, from the first input pixel to the last."""
    reaching = [[_reaching(axis, j) for j in range(axis.fine)] for axis in axes]
    terms = {}
    for cell in np.ndindex(*(axis.fine for axis in axes)):
        along = (pairs[j] for pairs, j in zip(reaching, cell, strict=True))
        met = (zip(*pairs, strict=True) for pairs in product(*along))
        terms[cell] = [Term(tuple(pixel), tuple(tap)) for pixel, tap in met]
    return terms


def _reaching(axis: Axis, j: int) -> list[tuple[int, int]]:
    """Solve ``i * stride + t * dilation - begin == j`` for the input index i and the tap t."""
    solutions = []
    for t in reversed(range(axis.kernel)):
        i, rest = divmod(j + axis.begin - t * axis.dilation, axis.stride)
        if rest == 0 and 0 <= i < axis.coarse:
            solutions.append((i, t))
    return solutions


def sum_terms(x: Array, kernel: Array, axes: Sequence[Axis], terms: Mapping[Cell, list[Term]]) -> Array:
    """Add up what reaches each output cell."""
    y = np.zeros([axis.fine for axis in axes])
    for cell, reaching in terms.items():
        y[cell] = sum(x[pixel] * kernel[tap] for pixel, tap in reaching)
    return y


def matrix(kernel: Array, axes: Sequence[Axis]) -> Array:
    """Make C^T: for every tap a matrix that moves pixels, which for two axes is a Kronecker product."""
    moves = []
    for axis in axes:
        t, j, i = np.ogrid[: axis.kernel, : axis.fine, : axis.coarse]
        moves.append((j + axis.begin == i * axis.stride + t * axis.dilation).astype(np.float64))
    parts = (
        tap * reduce(np.kron, [move[k] for move, k in zip(moves, t, strict=True)])
        for t, tap in np.ndenumerate(kernel)
    )
    return np.asarray(sum(parts))


def spread(kernel: NDArray[Any], axes: Sequence[Axis]) -> NDArray[Any]:
    """Put zeros between the taps of a dilated kernel."""
    wide = np.zeros([effective_kernel(axis.kernel, axis.dilation) for axis in axes], kernel.dtype)
    wide[tuple(slice(None, None, axis.dilation) for axis in axes)] = kernel
    return wide


def sub_kernels(kernel: NDArray[Any], axes: Sequence[Axis]) -> dict[Cell, NDArray[Any]]:
    """Take every stride-th tap, once from each of the first places: the kernel of one phase."""
    wide = spread(kernel, axes)
    return {
        phase: wide[tuple(slice(a, None, axis.stride) for a, axis in zip(phase, axes, strict=True))]
        for phase in np.ndindex(*(axis.stride for axis in axes))
    }


def interleave(x: Array, kernels: Mapping[Cell, Array], axes: Sequence[Axis]) -> Array:
    """Convolve with each small kernel at stride 1, and lay the results between one another."""
    full = np.zeros(full_sizes(axes))
    for phase, kernel in kernels.items():
        if kernel.size:
            margins = [(size - 1, size - 1) for size in kernel.shape]
            windows = sliding_window_view(np.pad(x, margins), kernel.shape)
            places = tuple(slice(a, None, axis.stride) for a, axis in zip(phase, axes, strict=True))
            full[places] = np.tensordot(windows, np.flip(kernel), axes=x.ndim)
    return full


def check_equal(views: Mapping[str, Array], x: Array, kernel: Array) -> None:
    """Raise AssertionError unless all views have the same numbers, up to the rounding of their sums."""
    most = max(abs(x).max(), 1e-300) * max(abs(kernel).max(), 1e-300) * kernel.size
    (first, truth), *others = views.items()
    for name, view in others:
        if view.shape != truth.shape or not np.allclose(view, truth, rtol=0, atol=1e-14 * most):
            raise AssertionError(f"the views {first!r} and {name!r} differ; this is a defect of pyx_deconv")


def conventions(axis: Axis) -> dict[str, tuple[int, int]]:
    """Place the window of size ``input size * stride`` as each framework does: first and last + 1.

    PyTorch is missing where none of its paddings leaves that size.
    """
    n, k, s, d = axis.coarse, axis.kernel, axis.stride, axis.dilation
    full = full_size(n, k, s, d)
    crops = {}
    padding = max(full - n * s + 1, 0) // 2
    output_padding = n * s - full + 2 * padding
    if output_padding < max(s, d):
        crops[f"PyTorch {padding=}, {output_padding=}"] = pytorch_crop(padding, output_padding)
    crops['Keras padding="same"'] = keras_crop(k, s, d, "same")
    for word in ("SAME_UPPER", "SAME_LOWER"):
        crops[f"ONNX {word}"] = onnx_crop(n, k, s, d, auto_pad=word)
    return {name: (begin, full - end) for name, (begin, end) in crops.items()}
