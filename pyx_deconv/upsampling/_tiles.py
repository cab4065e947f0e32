"""Enlarging an image of any size by a model, in bounded memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv.upsampling import _pixels
from pyx_deconv.upsampling.interpolation import REACH, Enlargement

__all__ = ["enlarged"]

Image = NDArray[Any]

TILE = 192  # low-resolution pixels along each side of what is enlarged at once: it stays in the cache


def enlarged(model: Any, padded: Image, reach: int) -> Image:
    """Enlarge (height + 2 * reach, width + 2 * reach, channels), tile by tile.

    All of it is convolutions without padding, and what lies between them looks at single pixels: a tile with
    its neighbours becomes what it is in the whole.
    """
    factor = model.factor
    height, width = (side - 2 * reach for side in padded.shape[:2])
    large = np.empty((height * factor, width * factor, padded.shape[2]), padded.dtype)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            bottom, right = min(top + TILE, height), min(left + TILE, width)
            tile = padded[top : bottom + 2 * reach, left : right + 2 * reach]
            large[top * factor : bottom * factor, left * factor : right * factor] = _tile(model, tile, reach)
    return large


def _tile(model: Any, tile: Image, reach: int) -> Image:
    """Enlarge a tile with its neighbours at once.

    In the literature luma goes by the model and chroma by bicubic. For each colour this is bicubic(colour) +
    model(luma) - bicubic(luma), as the conversion is linear and so is bicubic; and that is bicubic(colour -
    luma) + model(luma).
    """
    peak = np.float32(_pixels.peak(tile.dtype))
    values = tile.astype(np.float32) / peak
    luma = _pixels.luma(values)
    large = model.upsample(_pixels.inner(luma, reach - model.reach)[np.newaxis, np.newaxis])[0, 0]
    large = large[..., np.newaxis]
    channels = tile.shape[2]
    if channels > 1:
        colours = 1 if channels == 2 else 3
        values[..., :colours] -= luma[..., np.newaxis]
        around = _pixels.inner(values, reach - REACH["bicubic"])
        others = Enlargement.of(around, "bicubic", model.factor, padded=True)()
        others[..., :colours] += large
        large = others
    return _pixels.stored(large * peak, tile.dtype)
