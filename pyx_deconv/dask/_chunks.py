"""Which chunk is made of which: graphs, no data.

A block of a result is computed from a window of the source: its own chunk, and of those beside it what it
needs (`geometry.transposed_block`, `geometry.conv_block`). ``windows`` makes an array whose chunks are these
windows, one axis after the other. So a chunk sends its neighbours two edges along each axis, and the corners
go with them. That its chunks overlap is nothing that dask has to know: the next step makes one block of each.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Sequence
from itertools import accumulate, pairwise, product
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from pyx_deconv._arguments import Pair
from pyx_deconv.dask import _tasks

__all__ = ["Key", "followed", "from_layer", "key_of", "known", "parts", "sizes", "windows"]

Key = tuple[Hashable, ...]


def known(array: da.Array, name: str) -> None:
    """Refuse an array with a chunk whose size shows only when it is computed."""
    if any(np.isnan(array.shape)):
        raise ValueError(
            f"{name} must have chunks of known sizes, and its shape is {array.shape}: "
            "see dask.array.Array.compute_chunk_sizes"
        )


def parts(chunks: Iterable[int]) -> list[Pair]:
    """Return where chunks begin and end, without empty ones, but for one if they are all empty."""
    ends = sorted({0, *accumulate(chunks)})
    return list(pairwise(ends)) or [(0, 0)]


def sizes(bounds: Iterable[Pair]) -> tuple[int, ...]:
    """Return the sizes of these parts."""
    return tuple(stop - start for start, stop in bounds)


def followed(source: Sequence[Pair], up: int, down: int, size: int) -> list[Pair]:
    """Cut an axis of this size where ``up / down`` times its source is cut.

    What there is beyond the source's end is cut as well, so that no chunk is larger than the largest that
    comes from a chunk: Zarr wants them so.
    """
    if len(source) == 1:
        return [(0, size)]
    natural = [-(-stop * up // down) for _, stop in source]
    most = max(stop - start for start, stop in pairwise([0, *natural]))
    ends = sorted({0, *(end for end in natural[:-1] if 0 < end < size)})
    return list(pairwise([*ends, *range(ends[-1] + most, size, most), size]))


def from_layer(
    name: str, layer: dict[Key, Any], chunks: Sequence[Sequence[int]], dtype: Any, *sources: Any
) -> da.Array:
    """Return the array of a layer of tasks."""
    graph = HighLevelGraph.from_collections(name, layer, dependencies=sources)
    return da.Array(graph, name, tuple(map(tuple, chunks)), meta=np.empty((0,) * len(chunks), dtype))


def key_of(array: da.Array, index: tuple[int, ...]) -> Key:
    """Return the key of a chunk."""
    return (array.name, *index)


def windows(array: da.Array, axis: int, bounds: Sequence[Pair]) -> da.Array:
    """Return an array whose chunks along one axis are these parts of it; none is empty if the axis is not."""
    held = array.chunks[axis]
    ends = list(accumulate(held))
    if list(bounds) == list(pairwise([0, *ends])):
        return array

    def pieces(start: int, stop: int) -> list[tuple[int, slice | None]]:
        """The chunks that a window meets, and which part of each; None is all of it."""
        found: list[tuple[int, slice | None]] = []
        for chunk in range(bisect_right(ends, start), bisect_left(ends, stop) + 1):
            origin = ends[chunk] - held[chunk]
            first, last = max(start - origin, 0), min(stop - origin, held[chunk])
            whole = (first, last) == (0, held[chunk])
            if last > first:
                found.append((chunk, None if whole else slice(first, last)))
        return found

    token = tokenize(array.name, axis, bounds)
    window, edge = f"window-{token}", f"edge-{token}"
    everything = (slice(None),) * axis
    met = [pieces(*each) for each in bounds]
    layer: dict[Key, Any] = {}
    for before in product(*map(range, array.numblocks[:axis])):
        for after in product(*map(range, array.numblocks[axis + 1 :])):
            for number, each in enumerate(met):
                keys = []
                for piece, (chunk, part) in enumerate(each):
                    key: Key = (array.name, *before, chunk, *after)
                    if part is not None:
                        whole, key = key, (edge, *before, number, *after, piece)
                        layer[key] = (_tasks.edge, whole, (*everything, part))
                    keys.append(key)
                layer[(window, *before, number, *after)] = (
                    keys[0] if len(keys) == 1 else (np.concatenate, keys, axis)
                )
    chunks = [*array.chunks]
    chunks[axis] = sizes(bounds)
    return from_layer(window, layer, chunks, array.dtype, array)
