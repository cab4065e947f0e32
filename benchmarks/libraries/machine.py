"""What the machine gives while the libraries are timed: the yardsticks, and the right results."""

import ctypes
import os
import shlex
import subprocess
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.layers import Layer
from benchmarks.problem import Problem, truth

__all__ = ["Machine"]

VECTORS = (16, 32, 64)  # bytes: the fastest counts
CALL_S = 0.002
TIMES = 3
SIZE = 384  # of the matrices on one thread: where OpenBLAS comes nearest to the peak
COPIED = 128 << 20  # bytes: larger than most L3 caches


class Machine:
    """The FMA peak and the copy bandwidth, on as many threads as the libraries have."""

    layouts = ()

    def __init__(self, threads: int) -> None:
        self.threads = threads
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.pool = ThreadPoolExecutor(threads, initializer=pin, initargs=(cores,))
        source = np.ones(COPIED // 4, np.float32)
        self.halves = list(
            zip(*(np.array_split(a, threads) for a in (source, np.ones_like(source))), strict=True)
        )
        try:
            self.peaks = {"float32": self.compiled("float"), "float64": self.compiled("double")}
            self.yardstick = "fused multiply-adds in registers"
        except (OSError, subprocess.SubprocessError):
            self.peaks = {dtype: self.product(dtype) for dtype in ("float32", "float64")}
            self.yardstick = (
                "NumPy's matrix product, because no C compiler could build peak.c: the true one is higher"
            )

    def version(self) -> str:
        """Return what gives the peak, for the report."""
        return self.yardstick

    def peak(self, dtype: str) -> dict[str, float]:
        """Return the FMA peak in FLOP/s, and how much of their processors' time the threads got for it.

        16-bit types are accumulated in float32.
        """
        start, start_cpu = perf_counter(), process_time()
        flops = self.peaks["float64" if dtype == "float64" else "float32"]()
        elapsed = self.threads * (perf_counter() - start)
        return {"flops": flops, "share": (process_time() - start_cpu) / elapsed}

    def copy(self) -> dict[str, float]:
        """Return how many bytes per second are read and written in a copy that no cache holds."""

        def call() -> None:
            list(self.pool.map(lambda pair: np.copyto(pair[1], pair[0]), self.halves))

        return {"bytes_per_s": 2 * COPIED / fastest(call, 2)}

    def truth(self, layer: dict[str, Any], operation: str, path: str) -> dict[str, Any]:
        """Write the right result to a file."""
        np.save(path, truth(Problem.make(Layer.from_dict(layer), operation)))
        return {}

    def compiled(self, real: str) -> Callable[[], float]:
        """Compile ``peak.c`` for every width of vectors; return what measures the fastest."""
        rates = [partial(self.rate, *compile_peak(real, width)) for width in VECTORS]
        return max(rates, key=lambda rate: rate())

    def rate(self, multiply_add: Callable[..., float], flop_per_turn: int, turns: int) -> float:
        """Return the FLOP/s of all threads together."""

        def call(_: int) -> tuple[float, float]:
            start = perf_counter()
            multiply_add(turns, 0.5, 1.0)
            return start, perf_counter()

        best = 0.0
        for _ in range(TIMES):
            starts, ends = zip(*self.pool.map(call, range(self.threads)), strict=True)
            best = max(best, self.threads * turns * flop_per_turn / (max(ends) - min(starts)))
        return best

    def product(self, dtype: str) -> Callable[[], float]:
        """Return what measures the rate of a matrix product: what a tuned BLAS makes of the peak."""
        size = SIZE * ceil(self.threads**0.5)
        a, b, out = (np.ones((size, size), dtype) for _ in range(3))
        return lambda: 2 * size**3 / fastest(partial(np.matmul, a, b, out=out), TIMES)


def pin(cores: list[int]) -> None:
    """Keep this thread on a processor of its own: woken for 2 ms, threads mostly shared one when tried."""
    if cores:  # else the system cannot pin
        os.sched_setaffinity(0, {cores.pop()})


def compile_peak(real: str, width: int) -> tuple[Callable[..., float], int, int]:
    """Return the function, its operations per turn, and how many turns last `CALL_S`."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    source = Path(__file__).with_name("peak.c")
    flags = ["-O3", "-march=native", "-shared", "-fPIC", f"-DREAL={real}", f"-DBYTES={width}"]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "peak.so"
        subprocess.run([*compiler, *flags, "-o", path, source], check=True, stderr=subprocess.DEVNULL)
        library = ctypes.CDLL(str(path))
    library.multiply_add.argtypes = (ctypes.c_long, ctypes.c_double, ctypes.c_double)
    library.multiply_add.restype = ctypes.c_double
    library.flop_per_turn.restype = ctypes.c_long
    turns = 10_000
    once_s = fastest(lambda: library.multiply_add(turns, 0.5, 1.0), TIMES)
    return library.multiply_add, library.flop_per_turn(), ceil(turns * CALL_S / once_s)


def fastest(call: Callable[[], object], times: int) -> float:
    """Return the least time in s: a yardstick is what can be had."""
    best = float("inf")
    for _ in range(times):
        start = perf_counter()
        call()
        best = min(best, perf_counter() - start)
    return best
