"""Memory for results, which begins with a cache line; large blocks are used again.

From 32 MiB on the C library asks the system for every block and gives it back afterwards, so that each
result is written to pages that have to be found and cleared first: where there is little to compute this
takes longer than to compute it. Here such a block outlives its array, and the next result of about its size
gets it.
"""

from __future__ import annotations

import math
import mmap
from collections import deque
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import kernels

__all__ = ["empty"]

LARGE = 32 * 2**20  # bytes of a result that gets a block
MOST_KEPT = 256 * 2**20  # bytes of all blocks that no array uses
PAGE = 2 * 2**20  # blocks are whole huge pages
SLACK = 5 / 4  # of a block that is used again, to what is asked for

# Not shared with a forked child
_PRIVATE: int = getattr(mmap, "MAP_PRIVATE", 0) | getattr(mmap, "MAP_ANONYMOUS", 0)

# No other thread interrupts the methods of a deque. A lock could be asked for while it is held, by an array
# that dies.
_unused: deque[mmap.mmap] = deque()


class _Lease:
    """A block while an array uses it."""

    def __init__(self, block: mmap.mmap) -> None:
        self.block = block
        address = np.frombuffer(block, np.uint8).ctypes.data
        self.__array_interface__ = {
            "shape": (len(block),),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }

    def __del__(self) -> None:
        _unused.append(self.block)
        with suppress(IndexError):  # another thread was faster
            while sum(map(len, _unused.copy())) > MOST_KEPT:
                _unused.popleft()


def _block(size: int) -> mmap.mmap:
    """Return a block that was used before or a new one, of at least ``size`` bytes."""
    for _ in range(len(_unused)):
        try:
            found = _unused.popleft()
        except IndexError:  # another thread took it
            break
        if size <= len(found) <= SLACK * size + PAGE:
            return found
        _unused.append(found)
    made = mmap.mmap(-1, -(-size // PAGE) * PAGE, flags=_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a system without huge pages
            made.madvise(mmap.MADV_HUGEPAGE)
    return made


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an uninitialised C-contiguous array; a MemoryError says that there is no room for it."""
    size = math.prod(shape) * dtype.itemsize
    try:
        if size < LARGE or not _PRIVATE:
            return kernels.aligned(shape, dtype)
        return np.asarray(_Lease(_block(size)))[:size].view(dtype).reshape(shape)
    except (MemoryError, ValueError, OverflowError, OSError) as error:  # more than can be had, or counted
        raise no_room(shape, dtype) from error


def no_room(shape: tuple[int, ...], dtype: np.dtype[Any]) -> MemoryError:
    """Return the error that says so."""
    size = math.prod(max(length, 1) for length in shape) * dtype.itemsize
    return MemoryError(f"no room for an array of shape {shape} and dtype {dtype}: {size / 2**30:.4g} GiB")
