"""Arrays (H, W) or (H, W, channels) in Zarr, read and written in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pyx_deconv._images._picture import ImageError, Picture, decoding

__all__ = ["read", "write"]

MEANING = {(): (1, False), (1,): (1, False), (2,): (1, True), (3,): (3, False), (4,): (3, True)}


def read(path: Path) -> list[Picture]:
    """Return the array of a folder as a picture, with 1 to 4 channels: grey, RGB, and perhaps alpha."""
    import zarr

    with decoding(path):
        array = zarr.open(str(path), mode="r")
    if not isinstance(array, zarr.Array):
        names = ", ".join(sorted(name for name, _ in array.arrays())) or "none"
        raise ImageError(f"{path} is a group of arrays: name one of them as {path}/NAME; there are {names}")
    meaning = MEANING.get(array.shape[2:]) if array.ndim in (2, 3) else None
    if meaning is None or array.dtype.name not in ("uint8", "uint16", "float16", "float32", "float64"):
        raise ImageError(
            f"{path} is of shape {array.shape} and dtype {array.dtype}: (H, W) or (H, W, channels) with "
            "1 to 4 channels, of uint8, uint16 or floats, can be enlarged"
        )
    return [Picture(array, *meaning)]


def write(path: Path, picture: Picture) -> None:
    """Write the array tile by tile, each tile a chunk."""
    import zarr

    pixels: Any = picture.pixels
    chunks = (pixels.tile, pixels.tile, *pixels.shape[2:])
    array = zarr.create_array(
        str(path),
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=tuple(map(min, zip(chunks, pixels.shape, strict=True))),
    )
    for top, left, tile in pixels.tiles():
        array[top : top + tile.shape[0], left : left + tile.shape[1]] = np.ascontiguousarray(tile)
