"""Which reader and which writer a file gets, and what a format can hold."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyx_deconv._files import replacing
from pyx_deconv._images import _pillow, _tiff, _zarr
from pyx_deconv._images._picture import ImageError, Picture, decoding, missing, reason

__all__ = ["check", "reading", "settings", "write"]

TIFF = (".tif", ".tiff", ".btf", ".tf8")
SUGGESTED = (".png", ".tif", ".jpg", ".webp", ".avif", ".jp2", ".gif", ".zarr")


@contextmanager
def settings(allow_large: bool) -> Iterator[None]:
    """Make the packages silent about what is not wrong enough to stop; with large pictures, if allowed."""
    from PIL import Image

    most, logger = Image.MAX_IMAGE_PIXELS, logging.getLogger("tifffile")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            if allow_large:
                Image.MAX_IMAGE_PIXELS = None
            yield
        except KeyboardInterrupt:
            # Zarr leaves tasks behind, which would be complained of at the end.
            logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
            raise
        finally:
            Image.MAX_IMAGE_PIXELS = most
            logger.setLevel(level)


@contextmanager
def reading(path: Path) -> Iterator[list[Picture]]:
    """Give the picture of a file, its pages or its frames; TIFF and Zarr are read until the end of the block.

    Raises
    ------
    ImageError
        If it cannot be read; NoImage, if it is no image and not named as one.
    """
    if path.is_dir():
        yield _zarr.read(path)
        return
    with decoding(path), path.open("rb") as file:
        head = file.read(4)
    if head in _tiff.MAGIC and path.suffix.lower() in TIFF:
        with _tiff.reading(path) as pages:
            yield pages
        return
    if head in _tiff.MAGIC:
        raise ImageError(
            f"cannot read {path}: it is TIFF inside but not in name, as raw files of cameras are; "
            "those have to be developed first"
        )
    with decoding(path):
        pictures = _pillow.read(path)
    yield pictures


def check(path: Path, pictures: Sequence[Picture]) -> None:
    """Raise ImageError if the format that a name asks for is unknown or cannot hold these pictures."""
    if _format(path) is None:
        raise ImageError(f"{path} has to end in the name of a format, such as {', '.join(SUGGESTED)}")
    if lost := _lost(path, pictures):
        others = [suffix for suffix in SUGGESTED if not _lost(path.with_suffix(suffix), pictures)]
        raise ImageError(f"{path} cannot hold {lost}; {', '.join(others) or 'no format that is known'} can")
    if not path.absolute().parent.is_dir():
        raise ImageError(f"cannot write {path}: there is no folder {path.parent}")


def _format(path: Path) -> str | None:
    suffix = path.suffix.lower()
    return "TIFF" if suffix in TIFF else "Zarr" if suffix == ".zarr" else _pillow.format_of(path)


def _lost(path: Path, pictures: Sequence[Picture]) -> str | None:
    """Return what the format cannot hold, or None."""
    name, first = _format(path), pictures[0]
    if len(pictures) > 1 and first.duration is not None and name not in _pillow.ANIMATED:
        return f"the {len(pictures)} frames of an animation"
    if len(pictures) > 1 and first.duration is None and name != "TIFF":
        return f"{len(pictures)} pages"
    if name is None:  # an older Pillow
        return "anything"
    if name == "TIFF" or (name == "Zarr" and first.colours != 4):
        return None
    most = _pillow.LARGEST_SIDE.get(name)
    if most and max(first.pixels.shape[:2]) > most:
        return f"more than {most} pixels along a side"
    if name != "Zarr" and _pillow.holds(name, first):
        return None
    dtype = first.pixels.dtype
    of = " of floats" if dtype.kind == "f" else f" of {8 * dtype.itemsize} bits" if dtype.itemsize > 1 else ""
    return {1: "grey", 3: "RGB", 4: "CMYK"}[first.colours] + " with alpha" * first.alpha + of


def write(path: Path, pictures: Sequence[Picture]) -> None:
    """Write pictures that `check` let through, whole or not at all.

    Raises
    ------
    ImageError
        If the folder cannot be written to, or what is read while it is written is damaged.
    """
    try:
        name = _format(path)
        with replacing(path) as partial:
            if name == "Zarr":
                _zarr.write(partial, pictures[0])
            elif name == "TIFF":
                _tiff.write(partial, pictures)
            else:
                _pillow.write(partial, name, pictures)
    except ImportError as error:
        raise missing(path, error) from error
    except (OSError, ValueError) as error:  # such as metadata that are too long for a format
        raise ImageError(f"cannot write {path}: {reason(error)}") from error
