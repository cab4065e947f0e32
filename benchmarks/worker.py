"""What runs in a library's own process: a request per line comes in, an answer per line goes out, as JSON."""

import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from math import ceil
from time import perf_counter
from typing import Any, TextIO

__all__ = ["main"]

WARM_UP = 9  # calls after the first one, so that the first can be compared with the tenth ...
WARM_UP_S = 0.5  # ... unless they take longer than this together
PR_SET_PDEATHSIG = 1  # of sys/prctl.h
SLOW_S = 0.1  # a call that takes longer than this does not depend on what was in the caches before


class Timed:
    """A library whose calls are checked and timed."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.calls: dict[str, Callable[[], object]] = {}
        self.warm_s: dict[str, float] = {}

    def prepare(
        self, layer: dict[str, Any], operation: str, layout: str, reuse: bool, truth: str
    ) -> dict[str, Any]:
        """Get one layout of a case ready: preparation and first call timed, the values checked, warmed up."""
        import numpy as np

        from benchmarks.layers import Layer
        from benchmarks.problem import TOLERANCE, Problem, relative_error

        problem = Problem.make(Layer.from_dict(layer), operation, layout, reuse)
        start = perf_counter()
        call = self.library.prepare(problem)
        prepare_s = perf_counter() - start
        start = perf_counter()
        result = call()
        calls_s = [perf_counter() - start]
        error = relative_error(self.library.fetch(result, problem), np.load(truth))
        del result
        if not error <= TOLERANCE[problem.layer.dtype]:
            return {"failed": f"wrong values: relative error {error:.1g}"}
        while len(calls_s) <= WARM_UP and sum(calls_s[1:]) < WARM_UP_S:
            start = perf_counter()
            call()
            calls_s.append(perf_counter() - start)
        self.calls[layout], self.warm_s[layout] = call, min(calls_s[1:])
        return {"prepare_s": prepare_s, "calls_s": calls_s, "error": error}

    def sample(self, layout: str, at_least_s: float) -> dict[str, Any]:
        """Time a row of calls, after one that brings the data back into the caches."""
        call = self.calls[layout]
        number = max(1, ceil(at_least_s / self.warm_s[layout]))
        if self.warm_s[layout] < SLOW_S:
            call()
        gc.disable()
        start = perf_counter()
        for _ in range(number):
            call()
        seconds = (perf_counter() - start) / number
        gc.enable()
        return {"seconds": seconds}

    def release(self) -> dict[str, Any]:
        """Forget the arrays of the last case."""
        self.calls.clear()
        gc.collect()
        return {}


def main() -> None:
    """Serve one library until its input ends. Arguments: library, number of threads, processors."""
    name, threads, cores = (
        sys.argv[1],
        int(sys.argv[2]),
        [int(core) for core in sys.argv[3].split(",") if core],
    )
    if sys.platform == "linux":  # a process that is stopped does not see that its input has ended
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Before the import: some libraries count the processors there and then.
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    # What a library prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    from benchmarks.libraries import MACHINE, load
    from benchmarks.problem import Unsupported

    try:
        library = load(name, threads)
    except ImportError as error:
        say(answers, {"missing": str(error)})
        return
    served = library if name == MACHINE else Timed(library)
    say(answers, {"version": library.version(), "layouts": library.layouts})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(served, request.pop("do"))(**request)
        except Unsupported as reason:
            answer = {"unsupported": str(reason)}
        except Exception as error:  # whatever a library raises, the others go on
            answer = {"failed": f"{type(error).__name__}: {(str(error) or '?').splitlines()[0][:200]}"}
        say(answers, answer)


def say(answers: TextIO, answer: dict[str, Any]) -> None:
    """Write one line."""
    print(json.dumps(answer), file=answers, flush=True)
