"""How near an enlarged photograph comes to the original, as papers on super-resolution measure it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import pyx_deconv as pxd
from pyx_deconv.upsampling import _pixels
from pyx_deconv.upsampling._pairs import Downsample, original, smaller
from pyx_deconv.upsampling.interpolation import INTERPOLATIONS, interpolate

__all__ = ["Score", "luminance", "psnr", "score", "ssim"]

WINDOW, SIGMA = 11, 1.5  # of SSIM: pixels, and the standard deviation of the Gaussian
K1, K2 = 0.01, 0.03


class Score(float):
    """PSNR in dB, as a number; and SSIM beside it.

    Attributes
    ----------
    psnr : float
        The peak signal-to-noise ratio in decibels, the number itself.
    ssim : float
        The structural similarity, 1 for equal pictures.
    """

    ssim: float

    def __new__(cls, psnr: float, ssim: float) -> "Score":
        """Make the number."""
        score = super().__new__(cls, psnr)
        score.ssim = ssim
        return score

    def __getnewargs__(self) -> tuple[float, float]:  # type: ignore[override]  # of float: one
        return float(self), self.ssim

    @property
    def psnr(self) -> float:
        """The peak signal-to-noise ratio in decibels."""
        return float(self)

    def __repr__(self) -> str:
        return f"Score(psnr={float(self):.4g}, ssim={self.ssim:.4g})"


def luminance(image: ArrayLike) -> NDArray[np.float64]:
    """Return the luminance on which papers compare colour images.

    Parameters
    ----------
    image : array_like, (H, W) or (H, W, channels)
        Of uint8, uint16, or of floats between 0 and 1. One or two channels are grey, three or four are red,
        green and blue; the second or fourth is alpha and left out.

    Returns
    -------
    ndarray, (H, W)
        Of colours the Y of ITU-R BT.601, as MATLAB's ``rgb2ycbcr`` has it, (16 + 65.481 red + 128.553 green +
        24.966 blue) / 255 and not rounded; of grey the grey itself. Between 0 and 1.

    Examples
    --------
    >>> from pyx_deconv.upsampling import luminance
    >>> round(float(luminance([[[1.0, 1.0, 1.0]]])[0, 0] * 255), 9)
    235.0
    """
    pixels = _pixels.photograph(image, "image")
    full = _pixels.luma(pixels.astype(np.float64) / _pixels.peak(pixels.dtype))
    return full if pixels.shape[2] < 3 else np.asarray((16 + 219 * full) / 255)


def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the peak signal-to-noise ratio in decibels of two pictures between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.upsampling import psnr
    >>> round(psnr(np.zeros((2, 2)), np.full((2, 2), 0.1)), 9)
    20.0
    """
    error = float(np.mean(np.square(one - other)))
    return -10 * float(np.log10(error)) if error else np.inf


def ssim(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the structural similarity of two pictures between 0 and 1.

    Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, "Image quality assessment: from error visibility
    to structural similarity", 2004: a Gaussian window of 11 x 11 pixels with a standard deviation of 1.5,
    wherever all of it lies in the picture; the mean over these places.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.upsampling import ssim
    >>> ssim(np.eye(16), np.eye(16))
    1.0
    """
    if min(one.shape) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW} rows and columns or more, not {one.shape[0]}x{one.shape[1]}")
    line = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    line /= line.sum()

    def local_mean(picture: NDArray[Any]) -> NDArray[Any]:
        down = pxd.conv(picture[np.newaxis], line.reshape(1, 1, -1, 1))
        mean: NDArray[Any] = pxd.conv(down, line.reshape(1, 1, 1, -1))[0]
        return mean

    mean_one, mean_other = local_mean(one), local_mean(other)
    squares, product = mean_one**2 + mean_other**2, mean_one * mean_other
    variances = local_mean(one**2 + other**2) - squares
    covariance = local_mean(one * other) - product
    alike = (2 * product + K1**2) * (2 * covariance + K2**2)
    return float(np.mean(alike / ((squares + K1**2) * (variances + K2**2))))


def score(
    image: ArrayLike,
    factor: int,
    enlarge: str | Callable[[NDArray[Any]], ArrayLike] = "bicubic",
    *,
    downsample: Downsample = "bicubic",
) -> Score:
    """Make an image smaller, enlarge it again, and compare.

    As the literature does: the sides are cropped to multiples of the factor, what is made smaller and what
    is enlarged are rounded to the dtype of the image, ``factor`` pixels at the borders are left out, and
    luminance is compared.

    Parameters
    ----------
    image : array_like, (H, W) or (H, W, channels)
        As in `luminance`.
    factor : int
        How many times as high and wide the image is as the small one.
    enlarge : {"bicubic", "bilinear", "nearest"} or callable
        How it is enlarged: as `interpolate`, or a function that takes the small image and returns the large
        one.
    downsample : {"bicubic", "bilinear", "box"} or callable
        How it becomes small: as `downsample`, or a function that takes an image, whose sides are multiples of
        the factor, and returns the small one.

    Returns
    -------
    Score
        The peak signal-to-noise ratio in dB, a float, with the structural similarity as ``.ssim``.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of the above, or the image too small.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.upsampling import score
    >>> ramp = np.linspace(0, 1, 32) * np.ones((32, 1))
    >>> score(ramp, 2, "bicubic") > score(ramp, 2, "nearest")
    True
    """
    if not callable(enlarge):
        _pixels.one_of(enlarge, "enlarge", INTERPOLATIONS)
    whole = original(image, "image", factor)
    small = smaller(whole, factor, downsample)
    large = np.asarray(enlarge(small)) if callable(enlarge) else interpolate(small, factor, enlarge)
    if large.shape != whole.shape:
        raise ValueError(f"enlarge must return an image of shape {whole.shape}, not {large.shape}")
    one, other = (_pixels.inner(luminance(each), factor) for each in (whole, large))
    return Score(psnr(one, other), ssim(one, other))
