"""Nearest, bilinear and bicubic interpolation by an integer factor, as convolutions with fixed kernels.

Enlarging by a whole factor is one depthwise transposed convolution whose stride is the factor. An output
pixel is a sum of input pixels, each times a weight that depends on how far apart their centres are. Turned
round: every input pixel paints the same kernel, the formula of the interpolation sampled at the distances of
the output pixels around it, and the paintings lie ``factor`` pixels apart. This is what
`pyx_deconv.conv_transpose` computes. A learned upsampler differs from bicubic in where the kernel comes from.

Making a picture smaller without aliasing is the adjoint: `pyx_deconv.conv` with the same kernel, the same
stride, and a division by ``factor**2``, the sum of the kernel.

Centres of pixels lie at half-integers, so that the edges of the small and the large picture are at the same
place; the cubic has Keys' parameter -1/2. Pillow's ``resize`` and MATLAB's ``imresize`` have the same
geometry and the same kernels. Beyond its borders the picture is mirrored, as in MATLAB; Pillow leaves out the
taps that have no pixel and divides by the sum of the others.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

import pyx_deconv as pxd
from pyx_deconv import _arguments
from pyx_deconv.upsampling import _pixels

__all__ = ["INTERPOLATIONS", "REACH", "Enlargement", "bicubic", "downsample", "interpolate", "taps"]


def _nearest(distance: NDArray[Any]) -> NDArray[Any]:
    return np.where(distance < 0.5, 1.0, 0.0)


def _linear(distance: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.maximum(1 - distance, 0))


def _cubic(distance: NDArray[Any], a: float = -0.5) -> NDArray[Any]:
    """R. G. Keys, "Cubic convolution interpolation for digital image processing", 1981, equation 15."""
    d = distance
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d < 1, near, np.where(d < 2, far, 0))


class Interpolation(NamedTuple):
    """A formula over the distance from an input pixel, and the distance from which on it is 0."""

    support: float
    formula: Callable[[NDArray[Any]], NDArray[Any]]


INTERPOLATIONS = {
    "nearest": Interpolation(0.5, _nearest),
    "bilinear": Interpolation(1, _linear),
    "bicubic": Interpolation(2, _cubic),
}
# How many input pixels beyond a region its enlargement depends on, on every side.
REACH = {method: int(support) for method, (support, _) in INTERPOLATIONS.items()}
# Without aliasing, the kernel of nearest is the mean over the pixels that become one.
DOWNSAMPLINGS = {"box": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"}


def taps(method: str, factor: int) -> NDArray[np.float64]:
    """Sample an interpolation formula where the output pixels lie.

    Parameters
    ----------
    method : {"nearest", "bilinear", "bicubic"}
        The interpolation.
    factor : int
        The enlargement, which is the stride of the transposed convolution.

    Returns
    -------
    ndarray, (kernel_size,)
        The kernel along one axis. Pixel centres lie at half-integers: output pixel j lies over the place
        (j + 1/2) / factor - 1/2 of the input. The taps that meet at one output pixel, every factor-th of the
        kernel, sum to one.

    Examples
    --------
    >>> from pyx_deconv.upsampling.interpolation import taps
    >>> taps("bilinear", 2)
    array([0.25, 0.75, 0.75, 0.25])
    """
    support, formula = INTERPOLATIONS[method]
    covered = int(2 * support * factor)
    size = covered - (covered - factor) % 2  # odd or even as the factor, so that both ends are cropped alike
    return np.asarray(formula(np.abs(np.arange(size) - (size - 1) / 2) / factor), np.float64)


def bicubic(factor: int, size: int, begin: int) -> NDArray[np.float64]:
    """Return the bicubic kernel, cut to a size or with zeros around it, its phases summing to one.

    It paints input pixel i from output pixel ``i * factor - begin`` on.
    """
    line = taps("bicubic", factor)
    first = (len(line) - factor) // 2 - begin  # the tap that paints where the kernel begins
    line = np.pad(line, size)[size + first :][:size]
    for phase in range(factor):
        line[phase::factor] /= line[phase::factor].sum()
    return np.outer(line, line)


class Enlargement(NamedTuple):
    """One enlargement as the arguments of a depthwise `pyx_deconv.conv_transpose`.

    Beyond its borders the picture goes on as its mirror image. So the borders are interpolated as everything
    else is, where zeros would darken them; and with the pixels in x, not a division in the end, it
    stays a linear map of x, of which the gradients are checked.
    """

    x: NDArray[Any]  # (height + 2 * reach, width + 2 * reach, channels)
    weight: NDArray[Any]  # (channels, 1, kernel_size, kernel_size)
    settings: dict[str, Any]

    @classmethod
    def of(cls, picture: NDArray[Any], method: str, factor: int, padded: bool = False) -> "Enlargement":
        """Prepare a picture (height, width, channels); if ``padded``, it has its neighbours around it."""
        line = taps(method, factor).astype(picture.dtype)
        reach, channels = REACH[method], picture.shape[-1]
        return cls(
            picture
            if padded
            else np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric"),
            np.tile(np.outer(line, line), (channels, 1, 1, 1)),
            {
                "stride": factor,
                "padding": (len(line) - factor) // 2 + reach * factor,
                "groups": channels,
                "data_format": "channels_last",
            },
        )

    def __call__(self) -> NDArray[Any]:
        """Compute it."""
        return pxd.conv_transpose(self.x, self.weight, **self.settings)


def interpolate(image: ArrayLike, factor: int, method: str, *, padded: bool = False) -> NDArray[Any]:
    """Enlarge an image by an integer factor with a fixed kernel.

    Parameters
    ----------
    image : array_like, (H, W) or (H, W, channels)
        Of uint8, uint16, float16, float32 or float64.
    factor : int
        How many times as high and as wide the result is, 1 or more.
    method : {"nearest", "bilinear", "bicubic"}
        The interpolation.
    padded : bool, default: False
        Whether the image carries ``REACH[method]`` pixels more on every side, which are no part of what is
        enlarged. A tile with its neighbours becomes what it is in the enlarged image.

    Returns
    -------
    ndarray, (H * factor, W * factor) or (H * factor, W * factor, channels)
        Of the dtype of the image; integers are rounded, and clipped where a bicubic overshoots. With
        ``padded``, H and W are those without the neighbours.

    Raises
    ------
    TypeError, ValueError
        If the image has another dtype or shape, or the factor or the method is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.upsampling import interpolate
    >>> interpolate(np.array([[0.0, 1.0]]), 2, "bilinear")
    array([[0.  , 0.25, 0.75, 1.  ],
           [0.  , 0.25, 0.75, 1.  ]])
    """
    picture = _pixels.image(image, "image")
    factor = _arguments.at_least(_arguments.integer(factor, "factor"), "factor", 1)
    _pixels.one_of(method, "method", INTERPOLATIONS)
    if padded:
        _pixels.neighbours(picture, REACH[method])
    large = Enlargement.of(_pixels.computed(picture), method, factor, padded)()
    return _pixels.stored(large, picture.dtype).reshape(*large.shape[:2], *np.shape(image)[2:])


def downsample(image: ArrayLike, factor: int, method: str = "bicubic") -> NDArray[Any]:
    """Make an image smaller by an integer factor, without aliasing.

    Every output pixel is a mean over the input pixels around it, weighted by the kernel that enlarges by the
    same factor: the adjoint of `interpolate`, divided by ``factor**2``. Pillow's ``resize`` and MATLAB's
    ``imresize`` have the same weights.

    Parameters
    ----------
    image : array_like, (H, W) or (H, W, channels)
        Of uint8, uint16, float16, float32 or float64; H and W are multiples of the factor.
    factor : int
        How many times as high and as wide the image is as the result, 1 or more.
    method : {"bicubic", "bilinear", "box"}
        The kernel; "box" is the mean over the pixels that become one.

    Returns
    -------
    ndarray, (H // factor, W // factor) or (H // factor, W // factor, channels)
        Of the dtype of the image; integers are rounded and clipped.

    Raises
    ------
    TypeError, ValueError
        If the image has another dtype or shape, or the factor or the method is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.upsampling import downsample
    >>> downsample(np.array([[0.0, 2.0, 6.0, 8.0], [2.0, 4.0, 6.0, 4.0]]), 2, "box")
    array([[2., 6.]])
    """
    picture = _pixels.image(image, "image")
    factor = _arguments.at_least(_arguments.integer(factor, "factor"), "factor", 1)
    _pixels.one_of(method, "method", DOWNSAMPLINGS)
    height, width, channels = picture.shape
    if height % factor or width % factor:
        raise ValueError(f"image must have sides that are multiples of factor={factor}, not {height}x{width}")
    values = _pixels.computed(picture)
    line = taps(DOWNSAMPLINGS[method], factor).astype(values.dtype)
    line /= factor
    margin = (len(line) - factor) // 2
    small = pxd.conv(
        _pixels.surrounded(values, margin),
        np.tile(np.outer(line, line), (channels, 1, 1, 1)),
        stride=factor,
        groups=channels,
        data_format="channels_last",
    )
    return _pixels.stored(small, picture.dtype).reshape(*small.shape[:2], *np.shape(image)[2:])
