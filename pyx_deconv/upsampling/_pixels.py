"""What an image may be, and how its pixels become numbers to compute with, and pixels again."""

import sys
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyx_deconv._arguments import show

__all__: list[str] = []

DTYPES = ("uint8", "uint16", "float16", "float32", "float64")
LUMA = 0.299, 0.587, 0.114  # ITU-R BT.601, of red, green and blue


def image(value: ArrayLike, name: str) -> NDArray[Any]:
    """Return an image as (height, width, channels), in native byte order; nothing is copied that fits."""
    array = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise TypeError(f"{name} must be of {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, not {array.dtype}")
    if array.ndim not in (2, 3):
        raise ValueError(
            f"{name} must be (height, width) or (height, width, channels), not of shape {array.shape}"
        )
    if 0 in array.shape:
        raise ValueError(f"{name} must have pixels, and is of shape {array.shape}")
    return array.reshape(*array.shape[:2], -1).astype(array.dtype.newbyteorder("="), copy=False)


def photograph(value: ArrayLike, name: str) -> NDArray[Any]:
    """Return an image whose channels are grey or red, green and blue, and perhaps alpha."""
    found = image(value, name)
    if found.shape[2] > 4:
        raise ValueError(
            f"{name} must have 1 to 4 channels, grey or red, green, blue, and perhaps alpha, in the last "
            f"axis, not {found.shape[2]} (shape {np.shape(value)}); several images are a list"
        )
    return found


def is_chunked(value: object) -> bool:
    """Whether this is a dask array; nobody has one who has not imported dask."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(value, module.Array)


def listed(images: Any, name: str) -> list[NDArray[Any]]:
    """Return a list of images; one array is one image."""
    if isinstance(images, np.ndarray) or is_chunked(images):
        return [images]
    if not isinstance(images, Sequence) or isinstance(images, (str, bytes)):
        raise TypeError(f"{name} must be a list of arrays, not {show(images)} ({type(images).__name__})")
    if not images:
        raise ValueError(f"{name} must have an image, and is empty")
    return list(images)


def neighbours(padded: NDArray[Any], reach: int) -> None:
    """Refuse what has nothing left without its neighbours."""
    if min(padded.shape[:2]) <= 2 * reach:
        raise ValueError(
            f"image must have more than {2 * reach} rows and columns, as {reach} on every side are "
            f"neighbours, not {padded.shape[0]}x{padded.shape[1]}"
        )


def one_of(value: Any, name: str, words: Collection[str]) -> None:
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, words))}, not {show(value)}")


def peak(dtype: np.dtype[Any]) -> int:
    """Return what white is: the largest integer, or 1."""
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else 1


def computed(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return the same numbers as float32, or float64 where they are that."""
    return pixels.astype(np.float64 if pixels.dtype == np.float64 else np.float32, copy=False)


def stored(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return numbers as pixels of this dtype, integers rounded and clipped."""
    if dtype.kind == "u":
        values = np.clip(np.rint(values), 0, peak(dtype))
    return values.astype(dtype, copy=False)


def luma(values: NDArray[Any]) -> NDArray[Any]:
    """Return (height, width): the grey channel, or the weighted mean of red, green and blue; no alpha."""
    if values.shape[2] < 3:
        return values[..., 0]
    red, green, blue = (weight * values[..., channel] for channel, weight in enumerate(LUMA))
    return np.asarray(red + green + blue)  # a matrix product would round by the size of the picture


def surrounded(picture: NDArray[Any], border: int) -> NDArray[Any]:
    """Return a picture with so many pixels more on every side, as if there were mirrors at its borders."""
    around = ((border, border),) * 2 + ((0, 0),) * (picture.ndim - 2)
    return np.pad(picture, around, mode="symmetric")


def inner(picture: NDArray[Any], border: int) -> NDArray[Any]:
    """Return a picture without so many pixels on every side."""
    height, width = picture.shape[:2]
    return picture[border : height - border, border : width - border]
