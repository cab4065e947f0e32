"""Images as dask arrays: enlarged chunk by chunk, and learned from block by block."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import delayed
from numpy.typing import NDArray

from pyx_deconv._arguments import Pair
from pyx_deconv.dask import _chunks, _tasks
from pyx_deconv.threads import num_threads
from pyx_deconv.upsampling import _pixels
from pyx_deconv.upsampling._pairs import Downsample, original, pair

__all__ = ["pairs", "transformed"]

Image = NDArray[Any]

BLOCK = 4 * 2**20  # bytes of an image that are learned from at once
MARGIN = 8  # small pixels around a block, so that what makes it smaller meets no border that is not there


def _like(image: da.Array, most: int | None = None) -> Image:
    """Return zeros that look like the image, or like a corner of it; they take no memory."""
    _chunks.known(image, "image")
    shape = tuple(size if most is None else min(size, most) for size in image.shape[:2])
    return np.broadcast_to(np.zeros((), image.dtype), (*shape, *image.shape[2:]))


def _around(bounds: Sequence[Pair], reach: int, size: int) -> list[tuple[Pair, Pair]]:
    """Return parts of an axis with their neighbours, and how many of these are beyond its ends."""
    return [
        (
            (max(start - reach, 0), min(stop + reach, size)),
            (max(reach - start, 0), max(stop + reach - size, 0)),
        )
        for start, stop in bounds
    ]


def _enlarge(missing: Sequence[Pair], upsampler: Any, image: Image) -> Image:
    """Enlarge a block that carries its neighbours, but for those beyond the borders of the image."""
    widths = [*missing, *((0, 0),) * (image.ndim - 2)]
    with num_threads(_tasks.share()):
        large: Image = upsampler.transform_padded(np.pad(image, widths, mode="symmetric"))
    return large


def transformed(upsampler: Any, image: da.Array) -> da.Array:
    """Enlarge an image: `LearnedUpsampler.transform`, to rounding error; the linear model bit for bit."""
    pixels = _pixels.photograph(_like(image), "image")
    factor, reach = upsampler._model.factor, upsampler.reach_
    image = image.rechunk(dict.fromkeys(range(2, image.ndim), -1))
    bounds = [_chunks.parts(chunks) for chunks in image.chunks[:2]]
    around = [_around(each, reach, size) for each, size in zip(bounds, image.shape, strict=False)]
    source = image
    for axis, each in enumerate(around):
        source = _chunks.windows(source, axis, [window for window, _ in each])
    token = tokenize(source.name, factor, upsampler.parameters_)
    held = delayed(upsampler, name=f"upsampler-{token}", traverse=False)
    name = f"upsampled-{token}"
    layer = {}
    for index in product(*map(range, source.numblocks)):
        missing = [each[i][1] for each, i in zip(around, index, strict=False)]
        layer[(name, *index)] = (partial(_enlarge, missing), held.key, _chunks.key_of(source, index))
    chunks = [tuple(factor * size for size in _chunks.sizes(each)) for each in bounds]
    return _chunks.from_layer(name, layer, [*chunks, *source.chunks[2:]], pixels.dtype, source, held)


def pairs(
    images: Sequence[Any], factor: int, reach: int, downsample: Downsample
) -> list[tuple[da.Array, da.Array]]:
    """Return what `_pairs.pair` makes of images, but a pair for each block, computed when it is asked for.

    A loss over pairs is a sum over their pixels, each of which is in just one of them. So no more than a
    block and what is around it is in memory, and the images are read for every pass over the pairs.
    """
    found = []
    for number, each in enumerate(images):
        name = f"images[{number}]"
        image = each if isinstance(each, da.Array) else da.from_array(_pixels.photograph(each, name))
        original(_like(image, factor), name, factor)
        by_axis = dict.fromkeys(range(2), "auto") | dict.fromkeys(range(2, image.ndim), -1)
        image = image.rechunk(by_axis, block_size_limit=BLOCK)
        small = [size // factor for size in image.shape[:2]]
        bounds = [
            _chunks.followed(_chunks.parts(chunks), 1, factor, size)
            for chunks, size in zip(image.chunks[:2], small, strict=False)
        ]
        for block in product(*bounds):
            around = [
                _around([part], reach + MARGIN, size)[0][0] for part, size in zip(block, small, strict=True)
            ]
            window = image[tuple(slice(start * factor, stop * factor) for start, stop in around)]
            pair_of = delayed(partial(_pair, name, block, around, small, factor, reach, downsample), nout=2)
            x, y = pair_of(window)
            height, width = _chunks.sizes(block)
            found.append(
                (
                    da.from_delayed(x, (height + 2 * reach, width + 2 * reach), np.float32),
                    da.from_delayed(y, (height * factor, width * factor), np.float32),
                )
            )
    return found


def _pair(
    name: str,
    block: Sequence[Pair],
    around: Sequence[Pair],
    size: Sequence[int],
    factor: int,
    reach: int,
    downsample: Downsample,
    window: Image,
) -> tuple[Image, Image]:
    """Return the pair of a block of the small image, from a window of the large one that is larger."""
    with num_threads(_tasks.share()):
        small, large = pair(original(window, name, factor), factor, 0, downsample)
    for axis in range(2):
        (start, stop), (origin, _) = block[axis], around[axis]
        (((first, last), missing),) = _around([(start, stop)], reach, size[axis])
        small = small.take(range(first - origin, last - origin), axis)
        small = np.pad(small, [missing if a == axis else (0, 0) for a in range(2)], mode="symmetric")
        large = large.take(range((start - origin) * factor, (stop - origin) * factor), axis)
    return small, large
