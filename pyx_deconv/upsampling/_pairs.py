"""Pairs to learn from: a photograph made smaller, and what it should become again."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyx_deconv.upsampling import _pixels
from pyx_deconv.upsampling.interpolation import DOWNSAMPLINGS, downsample

__all__ = ["Downsample", "original", "pair", "smaller"]

Image = NDArray[np.generic]
Downsample = str | Callable[[Image], ArrayLike]

MOST_OUTSIDE = 1.5  # from the middle of 0..1: what overshoots passes, 0..255 does not


def original(image: ArrayLike, name: str, factor: int) -> Image:
    """Return an image cropped to multiples of the factor, as (height, width) or with channels."""
    pixels = _pixels.photograph(image, name)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError(f"{name} must be finite, and has NaN or infinity")
    if pixels.dtype.kind == "f" and np.abs(pixels - 0.5).max() > MOST_OUTSIDE:
        raise ValueError(
            f"{name} must be between 0 and 1, as floats are, not {pixels.min():g} to {pixels.max():g}"
        )
    height, width = pixels.shape[:2]
    if min(height, width) < factor:
        raise ValueError(f"{name} must be {factor}x{factor} pixels or more, not {height}x{width}")
    cropped = pixels[: height // factor * factor, : width // factor * factor]
    return cropped.reshape(*cropped.shape[:2], *np.shape(image)[2:])


def smaller(whole: Image, factor: int, method: Downsample) -> Image:
    if not callable(method):
        _pixels.one_of(method, "downsample", DOWNSAMPLINGS)
        return downsample(whole, factor, method)
    small = np.asarray(method(whole))
    expected = (whole.shape[0] // factor, whole.shape[1] // factor, *whole.shape[2:])
    if small.shape != expected:
        raise ValueError(f"downsample must return an image of shape {expected}, not {small.shape}")
    return small


def pair(whole: Image, factor: int, reach: int, method: Downsample) -> tuple[Image, Image]:
    """Return the luma of the small image with ``reach`` pixels around it, and of what it should become.

    At the borders the model learns from the mirrored pixels that `transform` will give it.
    """
    small, large = (
        _pixels.luma(pixels.astype(np.float32) / np.float32(_pixels.peak(pixels.dtype)))
        for pixels in (
            _pixels.photograph(smaller(whole, factor, method), "what downsample returned"),
            _pixels.photograph(whole, "image"),
        )
    )
    return _pixels.surrounded(small, reach), large
