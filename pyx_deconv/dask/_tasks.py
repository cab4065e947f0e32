"""What a worker does with the data of a chunk: the operations of NumPy arrays, on the share of its task.

Whatever runs tasks runs several at a time, one for each of its threads: tasks that used all processors would
wait for each other. So each computes on one thread, and as many chunks at a time use the processors. Only
where a worker of ``distributed`` was given more OpenMP threads than it runs tasks, a task uses its share.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _execution
from pyx_deconv._arguments import Settings
from pyx_deconv.threads import get_num_threads, num_threads

__all__ = ["edge", "forward", "grad_weight", "grad_x"]

Array = NDArray[Any]


def share() -> int:
    """How many threads a task computes on."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            tasks: int = distributed.get_worker().state.nthreads
            return max(1, get_num_threads() // tasks)
        except ValueError:  # this is no worker
            pass
    return 1


def edge(chunk: Array, part: tuple[slice, ...]) -> Array:
    """Return a part of a chunk that does not keep the rest of it in memory."""
    return np.array(chunk[part])


def forward(
    transposed: bool, settings: Settings, x: Array, weight: Array, bias: Array | None = None
) -> Array:
    """Return a block of the result."""
    with num_threads(share()):
        return _execution.forward(transposed, x, weight, bias, settings, None)


def grad_x(
    transposed: bool,
    settings: Settings,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    grad_output: Array,
    weight: Array,
) -> Array:
    """Return a block of the gradient of x, of which no more than the block's shape and dtype matter."""
    x = np.broadcast_to(np.zeros((), dtype), shape)
    with num_threads(share()):
        gradients = _execution.backward(transposed, grad_output, x, weight, settings, ("x",))
    assert gradients.x is not None
    return gradients.x


def grad_weight(
    transposed: bool,
    settings: Settings,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    grad_output: Array,
    x: Array,
) -> Array:
    """Return what a block contributes to the gradient of a weight of this shape and dtype."""
    weight = np.broadcast_to(np.zeros((), dtype), shape)
    with num_threads(share()):
        gradients = _execution.backward(transposed, grad_output, x, weight, settings, ("weight",))
    assert gradients.weight is not None
    return gradients.weight[np.newaxis]
