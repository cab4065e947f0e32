"""What the machine gives while the libraries are timed: the yardsticks, and the right results."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.layers import Layer
from benchmarks.problem import Problem, truth

__all__ = ["Machine"]

SIZE = 384  # of the matrices on one thread: where OpenBLAS comes nearest to the peak
TIMES = 6
COPIED = 128 << 20  # bytes: larger than most L3 caches


class Machine:
    """NumPy's matrix product and copy, on as many threads as the libraries have."""

    layouts = ()

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads)
        self.matrices: dict[str, tuple[np.ndarray, ...]] = {}
        source = np.ones(COPIED // 4, np.float32)
        self.halves = list(
            zip(*(np.array_split(a, threads) for a in (source, np.ones_like(source))), strict=True)
        )

    def version(self) -> str:
        """Return NumPy's version, and that of its BLAS."""
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"numpy {np.__version__} with {blas['name']} {blas['version']}"

    def gemm(self, dtype: str) -> dict[str, float]:
        """Return the rate of a matrix product: not the FMA peak, but what a tuned BLAS makes of it."""
        dtype = "float64" if dtype == "float64" else "float32"  # 16-bit types are accumulated in float32
        size = SIZE * ceil(self.threads**0.5)
        if dtype not in self.matrices:
            self.matrices[dtype] = tuple(np.ones((size, size), dtype) for _ in range(3))
        a, b, out = self.matrices[dtype]
        return {"flops": 2 * size**3 / fastest(partial(np.matmul, a, b, out=out), TIMES)}

    def copy(self) -> dict[str, float]:
        """Return how many bytes per second are read and written in a copy that no cache holds."""

        def call() -> None:
            list(self.pool.map(lambda pair: np.copyto(pair[1], pair[0]), self.halves))

        return {"bytes_per_s": 2 * COPIED / fastest(call, 2)}

    def truth(self, layer: dict[str, Any], operation: str, path: str) -> dict[str, Any]:
        """Write the right result to a file."""
        np.save(path, truth(Problem.make(Layer.from_dict(layer), operation)))
        return {}


def fastest(call: Callable[[], object], times: int) -> float:
    """Return the least time in s: a yardstick is what can be had."""
    best = float("inf")
    for _ in range(times):
        start = perf_counter()
        call()
        best = min(best, perf_counter() - start)
    return best
