"""What was promised: each target with what was measured, met or missed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks.analysis import Row, Spread, Table, Tables, geometric_mean
from benchmarks.layers import OPERATIONS
from benchmarks.libraries import OWN

__all__ = ["Target", "targets"]

Ratio = Callable[[Row], Spread | None]


@dataclass(frozen=True)
class Target:
    """A promise; ``met`` is None where nothing was measured."""

    what: str
    wanted: str
    measured: str = ""
    met: bool | None = None
    misses: dict[str, float] = field(default_factory=dict)  # row: its figure, the worst first

    @property
    def verdict(self) -> str:
        """In a word."""
        return {True: "met", False: "**missed**", None: "not measured"}[self.met]


def targets(tables: Tables, threads: int) -> Iterator[Target]:
    """Yield every target for one number of threads, with the default allocator."""
    rows = list(tables.get((threads, "fresh"), ()))
    plain = [row for row in rows if row.layer.dtype == "float32" and row.layer.family != "tiny"]

    for operation, mean, worst in (
        ("grad_weight", 1.6, 1.1),
        ("forward", 1.25, 0.95),
        ("grad_input", 1.1, 0.95),
    ):
        yield ratios(
            f"{operation} against the best peer", of(plain, operation), than_best_peer, mean=mean, worst=worst
        )
    for operation in OPERATIONS:
        yield ratios(f"{operation} against PyTorch's better layout", of(plain, operation), than_torch, mean=2)
    for operation, fraction in (("forward", 0.85), ("grad_input", 0.85), ("grad_weight", 0.80)):
        dense = [row for row in of(plain, operation) if row.layer.dense]
        yield ratios(
            f"dense rows, {operation}: fraction of the FMA peak", dense, fraction_of_peak, worst=fraction
        )
    for what, chosen in (
        ("few channels", lambda layer: layer.family == "few channels"),
        ("depthwise, grouped", lambda layer: layer.groups > 1),
        ("3-D with odd kernels", lambda layer: layer.rank == 3 and all(k % 2 for k in layer.kernel)),
        ("dilation with stride", lambda layer: max(layer.dilation) > 1 and max(layer.stride) > 1),
    ):
        some = [row for row in plain if chosen(row.layer)]
        yield ratios(f"{what}, all passes, against the best peer", some, than_best_peer, worst=2)
    for dtype, factor in (("float64", 5), ("float16", 8), ("bfloat16", 8)):
        narrow = [row for row in rows if row.layer.dtype == dtype]
        yield ratios(
            f"{dtype}, all passes, against PyTorch's better layout", narrow, than_torch, worst=factor
        )

    tiny = [row for row in of(rows, "forward") if row.layer.family == "tiny"]
    yield ratios("tiny call, forward, in µs", tiny, microseconds, most=10)
    yield ratios("tiny call, forward, prepared weight, in µs", tiny, prepared_microseconds, most=5)
    yield ratios("a new shape: first call over the later ones", rows, first_over_later, most=2)
    yield ratios("time in the slower layout over that in the faster one", rows, layout_gap, most=1.1)
    if threads == 1:
        for many, factor in ((2, 1.85), (4, 3.4)):
            dense = [row for row in plain if row.layer.dense]
            # The two numbers of threads were not measured in turn.
            yield ratios(
                f"dense rows, {many} threads against 1",
                dense,
                than_one(tables.get((many, "fresh"))),
                mean=factor,
            )
    yield Target("scratch memory", "threads * (L2/2 + L1) + 8 MB", "by a test, not here")


def of(rows: Iterable[Row], operation: str) -> list[Row]:
    """Return the rows of one pass."""
    return [row for row in rows if row.operation == operation]


def than_best_peer(row: Row) -> Spread | None:
    """Return how many times faster than the best peer."""
    return row.times_faster(row.best_peer)


def than_torch(row: Row) -> Spread | None:
    """Return how many times faster than PyTorch at its best, which may be with a prepared weight."""
    return row.times_faster(row.best.get("torch"))


def fraction_of_peak(row: Row) -> Spread:
    """Return the fraction of the FMA peak."""
    return row.of_peak(row.own)


def microseconds(row: Row) -> Spread | None:
    """Return the time of a call of the function in µs."""
    return Spread.of(1e6 * seconds for seconds in row.timed[min(functions(row), key=row.median_s)]["seconds"])


def prepared_microseconds(row: Row) -> Spread | None:
    """Return the time of a call of the operator in µs."""
    timed = row.timed.get(f"{OWN} prepared")
    return Spread.of(1e6 * seconds for seconds in timed["seconds"]) if timed else None


def functions(row: Row) -> list[str]:
    """Return the keys of pyx_deconv's functions, in both layouts."""
    return [key for key in row.timed if key.split()[0] == OWN and key.split()[1] != "prepared"]


def layout_gap(row: Row) -> Spread | None:
    """Return the time in the slower layout over that in the faster one."""
    keys = sorted(functions(row), key=row.median_s)
    return row.times_faster(keys[1], keys[0]) if len(keys) == 2 else None


def first_over_later(row: Row) -> Spread:
    """Return the first call's time over the median of the next nine, in the layout where it is larger."""
    calls = [row.timed[key]["calls_s"] for key in functions(row)]
    return Spread.of([max(first / np.median(later) for first, *later in calls)])


def than_one(table: Table | None) -> Ratio:
    """Return what gives how many times faster the threads of a table are than one."""

    def ratio(row: Row) -> Spread | None:
        other = table.get(row) if table else None
        return Spread.of([row.median_s(row.own) / other.median_s(other.own)]) if other else None

    return ratio


def ratios(
    what: str,
    rows: list[Row],
    ratio: Ratio,
    mean: float | None = None,
    worst: float | None = None,
    most: float | None = None,
) -> Target:
    """Judge the medians: their geometric mean, the least of them, or the largest."""
    measured = {f"{row.layer.name} {row.operation}": s.median for row in rows if (s := ratio(row))}
    wanted = [f"geometric mean >= {mean}"] * (mean is not None)
    wanted += [f"every row >= {worst}"] * (worst is not None) + [f"every row <= {most}"] * (most is not None)
    if not measured:
        return Target(what, ", ".join(wanted))
    found = dict(sorted(measured.items(), key=lambda item: item[1], reverse=most is not None))
    average = geometric_mean(found.values())
    low, high = worst or 0.0, most or float("inf")
    misses = {row: value for row, value in found.items() if not low <= value <= high}
    if mean is not None and average < mean:
        misses = {row: value for row, value in found.items() if value < mean}
    extreme = next(iter(found))
    text = f"geometric mean {average:.2f}, worst {found[extreme]:.2f} ({extreme}), {len(found)} rows"
    return Target(what, ", ".join(wanted), text, not misses, misses)
