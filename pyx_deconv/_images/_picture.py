"""One picture between a reader and a writer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageError", "NoImage", "Picture", "Pixels", "Region", "Turned", "decoding", "missing", "reason"]

Region = tuple[slice, slice]


class ImageError(Exception):
    """A file that cannot be read or written as asked; the message is one line."""


class NoImage(ImageError):
    """A file that nobody took for an image."""


class Pixels(Protocol):
    """Pixels (H, W) or (H, W, channels), in memory or read when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, region: Region) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Picture:
    """Pixels, what they mean, and what else a file says about them.

    Attributes
    ----------
    pixels : Pixels or Enlarged
        uint8, uint16 or floats; grey without alpha is (H, W), all else (H, W, channels).
    colours : int
        1 grey, 3 RGB, 4 CMYK.
    alpha : bool
        Whether one more channel says how opaque a pixel is; colours are not multiplied by it.
    icc, exif, xmp : bytes, optional
        Blocks as they stand in files; EXIF without an orientation, since the pixels are turned.
    dpi : (float, float), optional
        Pixels per inch.
    sampling : int, optional
        How a JPEG file held its colours: Pillow's number.
    duration : float, optional
        Milliseconds, if this is a frame of an animation.
    loop : int, optional
        How often the animation is shown, 0 for ever.
    """

    pixels: Any
    colours: int
    alpha: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    sampling: int | None = None
    duration: float | None = None
    loop: int | None = None

    @property
    def top(self) -> float:
        """The value of white."""
        dtype = self.pixels.dtype
        return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


class Turned:
    """Pixels turned as EXIF and TIFF number it: 6 is a quarter to the right, 8 to the left."""

    def __init__(self, pixels: Pixels, orientation: int) -> None:
        self.pixels = pixels
        self.dtype = pixels.dtype
        self.flipped = orientation in (3, 4, 6, 7), orientation in (2, 3, 7, 8)
        self.transposed = orientation in (5, 6, 7, 8)
        height, width, *rest = pixels.shape
        self.shape = (width, height, *rest) if self.transposed else (height, width, *rest)

    def __getitem__(self, region: Region) -> NDArray[Any]:
        stored = region[::-1] if self.transposed else region
        wanted = []
        for part, length, flipped in zip(stored, self.pixels.shape, self.flipped, strict=False):
            start, stop, _ = part.indices(length)
            wanted.append(slice(length - stop, length - start) if flipped else slice(start, stop))
        found = self.pixels[wanted[0], wanted[1]]
        found = found[tuple(slice(None, None, -1 if flipped else 1) for flipped in self.flipped)]
        return np.swapaxes(found, 0, 1) if self.transposed else found


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder says of a damaged file, and there is no end of that, into one line."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except ImportError as error:
        raise missing(path, error) from error
    except Exception as error:
        raise ImageError(f"cannot read {path}: {reason(error)}") from error


def missing(path: Path, error: ImportError) -> ImageError:
    """Return the error that says what to install."""
    return ImageError(f'{path} needs {error.name}: pip install "pyx_deconv[images]"')


def reason(error: Exception) -> str:
    """Return the first line of what an error says."""
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
