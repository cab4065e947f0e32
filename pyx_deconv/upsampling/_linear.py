"""The linear model: one transposed convolution, and the kernel that is best for given pairs of pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pyx_deconv import conv_backward, conv_transpose, conv_transpose_backward
from pyx_deconv.upsampling.interpolation import bicubic

__all__ = ["Linear"]

Array = NDArray[Any]
Pairs = Sequence[tuple[Array, Array]]
TAPS = 7  # low-resolution pixels along each axis that one output pixel is mixed from
RIDGE = 1e-13  # relative; what it changes, the next step corrects
MOST_STEPS = 10
PIXELS = 2**15  # whose products are summed at once: 13 MB of 49 copies


class Linear:
    """One transposed convolution whose stride is the factor, from one channel to one.

    Parameters
    ----------
    factor : int
        How many times as high and wide the result is.
    parameters : mapping with "weight", (1, 1, kernel_size, kernel_size)
        The kernel; kernel_size - factor is even, and at least 0.
    """

    def __init__(self, factor: int, parameters: Mapping[str, Array]) -> None:
        if parameters.keys() != {"weight"}:
            raise ValueError(f"the parameters of a linear model are ['weight'], not {sorted(parameters)}")
        weight = parameters["weight"]
        if weight.ndim != 4 or weight.shape != (1, 1, *weight.shape[-1:] * 2):
            raise ValueError(f"weight must be (1, 1, kernel_size, kernel_size), not {weight.shape}")
        self.factor = factor
        self.parameters = dict(parameters)
        self.reach = self.reach_of(factor, weight.shape[-1])
        self.loss_curve: list[float] = []
        self._float32 = weight.astype(np.float32)
        self._settings = _settings(factor, weight.shape[-1])

    @staticmethod
    def checked_kernel_size(factor: int, kernel_size: int | None = None) -> int:
        """Return the kernel size, and refuse one that leaves gaps, or lies half a pixel off."""
        size = TAPS * factor if kernel_size is None else kernel_size
        if size < factor or (size - factor) % 2:
            raise ValueError(
                f"kernel_size must be {factor}, {factor + 2}, {factor + 4}, ... for factor={factor}, "
                f"so that it has a centre, not {size}"
            )
        return size

    @classmethod
    def reach_of(cls, factor: int, kernel_size: int | None = None) -> int:
        """Return how many pixels beyond a region its result depends on, on every side."""
        return -(-(cls.checked_kernel_size(factor, kernel_size) - factor) // (2 * factor))

    def upsample(self, x: Array) -> Array:
        """Enlarge (N, 1, h + 2 * reach, w + 2 * reach) to (N, 1, h * factor, w * factor), in float32."""
        return conv_transpose(x, self._float32, **self._settings)

    @classmethod
    def fitted(
        cls,
        pairs: Pairs,
        factor: int,
        *,
        kernel_size: int | None = None,
        max_iter: int | None = None,
        progress: bool = True,
        callback: Callable[[int, float, "Linear"], None] = lambda *_: None,
    ) -> "Linear":
        """Find the kernel with the smallest mean squared error, to rounding error.

        Parameters
        ----------
        pairs : sequence of (x, y)
            Pictures (h + 2 * reach, w + 2 * reach) and what they should become, (h * factor, w * factor).
        factor : int
            The enlargement.
        kernel_size : int, optional
            Of the kernel, along each axis.
        max_iter : int, optional
            The largest number of steps.
        progress : bool
            Not used: there is nothing to wait for.
        callback : callable
            Called with the number of the step, the loss and the model after every step. StopIteration ends
            the fit.

        Returns
        -------
        Linear
            With ``loss_curve``, the mean squared error after every step.

        Notes
        -----
        What is enlarged is linear in the kernel, so the loss is a quadratic function of it, and one step of
        Newton's method finds its minimum. The matrix of that step is small. An output pixel is a sum over a
        window of input pixels; every phase of the output has taps of its own, but all see the same windows.
        So they share one matrix, of the products of any two pixels of a window, summed over all windows: 49
        x 49 by default.

        Neighbouring pixels are nearly alike, and so that matrix is ill-conditioned. A minimisation that has
        to find its way takes long: on two photographs L-BFGS-B needs 1,300 passes, 19 s on one core, for taps
        that are right to 3e-7, where this takes 0.13 s. For the same reason the first step does not end at
        the optimum to rounding error. Gradients are computed from the residuals of the pictures, in float64,
        and not from the matrix; so the next step takes away what rounding has left, and the third or so is
        the last.

        The taps of every phase are kept at a sum of one, by which a plain area stays plain and exactly as
        bright as it was. Without this condition the sums come to 1 within 1e-4, and a held-out photograph
        gains less than 0.01 dB.
        """
        size = cls.checked_kernel_size(factor, kernel_size)
        reach, settings = cls.reach_of(factor, size), _settings(factor, size)
        solve = _newton_step(pairs, factor, size, reach)
        pixels = sum(y.size for _, y in pairs)

        def loss_and_gradient(weight: Array) -> tuple[float, Array]:
            loss, gradient = 0.0, np.zeros_like(weight)
            for x, y in _float64(pairs):
                residual = conv_transpose(x, weight, **settings) - y
                loss += float(np.vdot(residual, residual)) / pixels
                gradient += conv_transpose_backward(residual, x, weight, needs=("weight",), **settings).weight
            return loss, gradient

        weight, curve, left = bicubic(factor, size, (size - factor) // 2)[np.newaxis, np.newaxis], [], np.inf
        gradient = loss_and_gradient(weight)[1]
        for step in range(1, (max_iter or MOST_STEPS) + 1):
            change = solve(gradient)
            size_of_change = np.abs(change).max()
            if size_of_change > left / 4:  # nothing but rounding
                break
            weight, left = weight - change, size_of_change
            loss, gradient = loss_and_gradient(weight)
            curve.append(loss)
            model = cls(factor, {"weight": weight})
            model.loss_curve = curve
            try:
                callback(step, loss, model)
            except StopIteration:
                break
        return model


def _settings(factor: int, size: int) -> dict[str, Any]:
    crop = (size - factor) // 2 + Linear.reach_of(factor, size) * factor
    return {"stride": factor, "padding": crop}


def _float64(pairs: Pairs) -> Iterator[tuple[Array, Array]]:
    """Return the pictures one pair at a time as (1, 1, height, width)."""
    for pair in pairs:
        x, y = (np.asarray(picture, np.float64)[np.newaxis, np.newaxis] for picture in pair)
        yield x, y


def _newton_step(pairs: Pairs, factor: int, size: int, reach: int) -> Callable[[Array], Array]:
    """Return what takes a gradient of half the summed squares to the step to its zero."""
    window = 2 * reach + 1
    products = np.zeros((window**2, window**2))
    for x, _ in _float64(pairs):
        rows = max(PIXELS // x.shape[3], 1)
        for top in range(0, x.shape[2] - window + 1, rows):
            part = x[:, :, top : top + rows + window - 1]
            # Of a convolution from a picture to its own shifted copies, this is the gradient by the weight.
            copies = sliding_window_view(part[0, 0], (window, window)).transpose(2, 3, 0, 1)
            copies = copies.reshape(1, window**2, *copies.shape[2:])
            weight = np.empty((window**2, 1, window, window))
            gradient = conv_backward(copies, part, weight, needs="weight").weight
            products += np.asarray(gradient).reshape(products.shape)
    products += (RIDGE * np.trace(products) or 1.0) * np.eye(window**2)  # 1: all is black

    # Output pixel factor * m + a meets the input pixels m + i - reach, for i = 0, 1, ..., 2 * reach, by the
    # taps a + factor * (2 * reach - i) of a kernel as wide as the window: the last tap meets the first pixel.
    margin = (window * factor - size) // 2  # by which the kernel is narrower
    inverses: dict[bytes, Array] = {}

    def solve(gradient: Array) -> Array:
        step = np.zeros((window * factor, window * factor))
        wide = np.pad(gradient[0, 0], margin)
        inside = np.pad(np.ones(gradient.shape[2:], bool), margin)
        for a in range(factor):
            for b in range(factor):
                phase = np.s_[a::factor, b::factor]
                used = inside[phase][::-1, ::-1].ravel()
                key = used.tobytes()
                if key not in inverses:
                    inverses[key] = _projected_inverse(products[np.ix_(used, used)])
                part = np.zeros(window**2)
                part[used] = inverses[key] @ wide[phase][::-1, ::-1].ravel()[used]
                step[phase] = part.reshape(window, window)[::-1, ::-1]
        return step[margin : margin + size, margin : margin + size][np.newaxis, np.newaxis]

    return solve


def _projected_inverse(matrix: Array) -> Array:
    """Return the inverse on vectors whose entries sum to zero: these stay so."""
    inverse = np.linalg.inv(matrix)
    sums = inverse.sum(0)
    return np.asarray(inverse - np.outer(sums, sums) / sums.sum())
