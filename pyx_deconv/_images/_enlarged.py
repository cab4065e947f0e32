"""Pixels that are enlarged while they are written: a band of the source and one tile are in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv._images._picture import Picture
from pyx_deconv.upsampling import _pixels

__all__ = ["Enlarged", "Upsampler"]

TILE = 512  # about so many pixels along a side of what is computed at once
GRAIN = 16  # TIFF wants the sides of its tiles to be multiples of it


@dataclass(frozen=True)
class Upsampler:
    """A way to enlarge.

    Attributes
    ----------
    factor : int
        How many times as high and wide the result is.
    reach : int
        How many pixels beyond a region its result needs, on every side.
    padded : callable
        Enlarges (H + 2 * reach, W + 2 * reach[, channels]), without what is on the sides.
    base : callable
        The interpolation that this adds detail to, called as ``padded``; a fixed kernel is its own.
    learned : bool
        Whether it adds detail, and knows only floats between 0 and 1.
    """

    factor: int
    reach: int
    padded: Callable[[NDArray[Any]], NDArray[Any]]
    base: Callable[[NDArray[Any]], NDArray[Any]]
    learned: bool


class Enlarged:
    """The pixels of an enlarged picture.

    Attributes
    ----------
    shape, dtype
        Of the result.
    tile : int
        The side of a tile of the result; those at the end may be smaller.
    step : callable
        Called when a tile has been written.
    """

    def __init__(self, picture: Picture, upsampler: Upsampler) -> None:
        height, width, *channels = picture.pixels.shape
        self.factor, self.reach = upsampler.factor, upsampler.reach
        self.shape = (height * self.factor, width * self.factor, *channels)
        self.dtype = picture.pixels.dtype
        self.source = picture.pixels
        self.side = GRAIN * max(1, round(TILE / GRAIN / self.factor))
        self.tile = self.side * self.factor
        self.step: Callable[[], object] = lambda: None
        self.padded = _with_meaning(picture, upsampler, _within(upsampler, picture))

    def __len__(self) -> int:
        """Return the number of tiles."""
        height, width = self.source.shape[:2]
        return int(-(-height // self.side) * -(-width // self.side))

    def tiles(self) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """Yield the first row and column of every tile, and the tile: row by row."""
        height, width = self.source.shape[:2]
        for top in range(0, height, self.side):
            band = self._band(top, min(top + self.side, height))
            for left in range(0, width, self.side):
                right = min(left + self.side, width)
                yield (
                    top * self.factor,
                    left * self.factor,
                    self.padded(band[:, left : right + 2 * self.reach]),
                )
                self.step()

    def array(self) -> NDArray[Any]:
        """Return the whole result."""
        result = np.empty(self.shape, self.dtype)
        for top, left, tile in self.tiles():
            result[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        return result

    def _band(self, top: int, bottom: int) -> NDArray[Any]:
        """Read rows with their neighbours; beyond its borders the picture is mirrored."""
        height, width = self.source.shape[:2]
        first, last = max(top - self.reach, 0), min(bottom + self.reach, height)
        found = self.source[slice(first, last), slice(0, width)]
        above, below = self.reach - (top - first), self.reach - (last - bottom)
        sides = [(above, below), (self.reach, self.reach), *[(0, 0)] * (found.ndim - 2)]
        return np.pad(found, sides, mode="symmetric")


def _with_meaning(
    picture: Picture, upsampler: Upsampler, padded: Callable[[NDArray[Any]], NDArray[Any]]
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Enlarge what is seen: as much of a colour as alpha lets show, of an ink the light that it leaves."""
    dtype, top = picture.pixels.dtype, picture.pixels.dtype.type(picture.top)

    def opaque(tile: NDArray[Any]) -> NDArray[Any]:
        # The colour of what is transparent is arbitrary, often black. Unless it is weighted with nothing, it
        # comes forth at the edges.
        values = tile.astype(np.result_type(dtype, np.float32)) / np.float32(top)
        values[..., :-1] *= values[..., -1:]
        base = upsampler.base(values)
        colours, alpha = base[..., :-1], base[..., -1:]
        straight = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
        if upsampler.learned:
            # A model sharpens, and so it sharpens the edge of alpha in the colours, while alpha itself stays
            # smooth. What it does to alpha, times the luma, is taken off again.
            detail = padded(values)[..., :-1] - colours
            edge = padded(values[..., -1])[..., np.newaxis] - alpha
            luma = _pixels.luma(straight)[..., np.newaxis]
            straight += detail - luma * edge
        alpha = alpha.clip(0, 1)
        if dtype.kind == "f":
            return np.concatenate([straight, alpha], axis=-1).astype(dtype)
        large = np.concatenate([straight.clip(0, 1), alpha], axis=-1)
        return np.rint(large * np.float32(top)).astype(dtype)

    def inks(tile: NDArray[Any]) -> NDArray[Any]:
        light = np.moveaxis(top - tile, -1, 0)
        seen = np.stack([padded(np.ascontiguousarray(ink)) for ink in light], axis=-1)
        return np.asarray(top - seen)

    return opaque if picture.alpha else inks if picture.colours == 4 else padded


def _within(upsampler: Upsampler, picture: Picture) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Bring floats of any range to 0..1 and back, for a model that knows no others."""
    pixels = picture.pixels
    if not upsampler.learned or pixels.dtype.kind != "f":
        return upsampler.padded
    height, width = pixels.shape[:2]
    low, high = 0.0, 1.0
    for top in range(0, height, TILE):
        band = pixels[slice(top, top + TILE), slice(0, width)]
        finite = band[np.isfinite(band)]
        low, high = float(finite.min(initial=low)), float(finite.max(initial=high))
    if (low, high) == (0, 1):
        return upsampler.padded

    def scaled(tile: NDArray[Any]) -> NDArray[Any]:
        large = upsampler.padded((tile.astype(np.float64) - low) / (high - low))
        return np.asarray(large * (high - low) + low, pixels.dtype)

    return scaled
