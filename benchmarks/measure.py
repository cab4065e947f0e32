"""One case: every library in turn, again and again, with the machine's yardsticks between them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.layers import Case
from benchmarks.processes import Pool

__all__ = ["Effort", "measure"]


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int
    sample_s: float


# What is so much slower than the fastest library decides nothing: it is sampled in the first rounds only.
HOPELESS = 10.0
HOPELESS_S = 0.2
FEWER_ROUNDS = 2


def measure(case: Case, pool: Pool, effort: Effort, progress: Callable[[str], object]) -> dict[str, Any]:
    """Check all values, then sample.

    Returns
    -------
    dict
        ``timed``: "library layout" -> what was measured, with one time and one FMA peak per round;
        ``skipped``: library -> why; ``copy``: bytes per second, one per round; ``share``: how much of the
        processors' time was ours, each time that the peak was measured.
    """
    timed: dict[str, dict[str, Any]] = {}
    skipped = dict(pool.missing)
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "truth.npy")
        progress("truth")
        request = {"layer": case.layer.as_dict(), "operation": case.operation}
        answer = pool.machine.ask("truth", path=path, **request)
        if "failed" in answer:
            raise RuntimeError(f"{case.layer.name}: no right result: {answer['failed']}")
        for library, process in pool.libraries.items():
            for layout in pool.layouts[library]:
                progress(f"check {library}")
                answer = process.ask("prepare", layout=layout, reuse=pool.reuse, truth=path, **request)
                if "calls_s" in answer:
                    timed[f"{library} {layout}"] = answer | {"seconds": [], "peak": []}
                else:
                    reason = answer.get("unsupported") or answer["failed"]
                    skipped[f"{library} {layout}"] = reason

    fastest = min((min(row["calls_s"][1:]) for row in timed.values()), default=0.0)
    copies, shares = [], []
    for turn in range(effort.rounds):
        progress(f"round {turn + 1} of {effort.rounds}")
        copies.append(pool.machine.ask("copy")["bytes_per_s"])
        before = pool.machine.ask("peak", dtype=case.layer.dtype)["flops"]
        for key in rotated(list(timed), turn):
            row = timed[key]
            warm = min(row["calls_s"][1:])
            if turn >= FEWER_ROUNDS and warm > max(HOPELESS * fastest, HOPELESS_S):
                continue
            library, layout = key.split()
            answer = pool.libraries[library].ask("sample", layout=layout, at_least_s=effort.sample_s)
            yardstick = pool.machine.ask("peak", dtype=case.layer.dtype)
            after = yardstick["flops"]
            shares.append(yardstick["share"])
            if "seconds" not in answer:
                skipped[key] = answer["failed"]
                del timed[key]
                continue
            row["seconds"].append(answer["seconds"])
            row["peak"].append((before + after) / 2)
            before = after
    for process in pool.libraries.values():
        process.ask("release")
    return {
        "layer": case.layer.as_dict(),
        "operation": case.operation,
        "threads": case.threads,
        "memory": case.memory,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": pool.versions,
        "timed": timed,
        "skipped": skipped,
        "copy": copies,
        "share": shares,
    }


def rotated(keys: list[str], turn: int) -> list[str]:
    """Begin with another library in every round, so that none is always the first."""
    start = turn % max(1, len(keys))
    return keys[start:] + keys[:start]
