"""What was promised: each target with what was measured, met or missed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks.analysis import Row, Spread, Table, geometric_mean
from benchmarks.layers import OPERATIONS
from benchmarks.libraries import OWN

__all__ = ["Target", "targets"]

Tables = dict[tuple[int, str], Table]


@dataclass(frozen=True)
class Target:
    """A promise; ``met`` is None where nothing was measured."""

    what: str
    wanted: str
    measured: str
    met: bool | None

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
        yield ratios(f"{operation} against PyTorch", of(plain, operation), than("torch"), mean=2)
    for operation, fraction in (("forward", 0.85), ("grad_input", 0.85), ("grad_weight", 0.80)):
        dense = [row for row in of(plain, operation) if row.layer.dense]
        yield ratios(
            f"dense rows, {operation}: fraction of the gemm rate", dense, fraction_of_gemm, worst=fraction
        )
    for what, few in (
        ("few channels", [row for row in plain if row.layer.family == "few channels"]),
        ("depthwise, grouped", [row for row in plain if row.layer.groups > 1]),
        (
            "3-D with odd kernels",
            [r for r in plain if r.layer.rank == 3 and all(k % 2 for k in r.layer.kernel)],
        ),
        ("dilation with stride", [r for r in plain if max(r.layer.dilation) > 1 and max(r.layer.stride) > 1]),
    ):
        yield ratios(f"{what}, all passes, against the best peer", few, than_best_peer, worst=2)
    for dtype, factor in (("float64", 5), ("float16", 8), ("bfloat16", 8)):
        narrow = [row for row in rows if row.layer.dtype == dtype]
        yield ratios(f"{dtype}, all passes, against PyTorch", narrow, than("torch"), worst=factor)

    yield Target("scratch memory", "threads * (L2/2 + L1) + 8 MB", "by a test, not here", None)
    tiny = [row.seconds(row.own).median * 1e6 for row in of(rows, "forward") if row.layer.family == "tiny"]
    slowest = max(tiny, default=None)
    text = f"{slowest:.1f} µs" if tiny else ""
    yield Target("tiny call, forward", "<= 10 µs", text, slowest <= 10 if tiny else None)
    yield Target("tiny call, forward, prepared weight", "<= 5 µs", "", None)  # there is no such operator yet
    yield ratios("layouts: slower over faster time, worst", plain, layout_gap, most=1.1)
    yield ratios("first over tenth call of a new shape, worst", plain, first_over_tenth, most=2)
    if threads == 1:
        for many, factor in ((2, 1.85), (4, 3.4)):
            yield scaling(tables, many, factor)


def of(rows: Iterable[Row], operation: str) -> list[Row]:
    """Return the rows of one pass."""
    return [row for row in rows if row.operation == operation]


def than_best_peer(row: Row) -> Spread | None:
    """Return how many times faster than the best peer."""
    return row.times_faster(row.best_peer)


def than(library: str) -> Callable[[Row], Spread | None]:
    """Return what gives how many times faster than a library in its better layout."""
    return lambda row: row.times_faster(row.best.get(library))


def fraction_of_gemm(row: Row) -> Spread:
    """Return the fraction of the gemm rate."""
    return row.of_gemm(row.own)


def layout_gap(row: Row) -> Spread | None:
    """Return the time in the slower layout over that in the faster one."""
    keys = sorted((key for key in row.timed if key.split()[0] == OWN), key=row.median_s)
    return row.times_faster(keys[1], keys[0]) if len(keys) == 2 else None


def first_over_tenth(row: Row) -> Spread | None:
    """Return the first call's time over that of the tenth, or the last one that was made to warm up."""
    calls_s = row.timed[row.own]["calls_s"]
    return Spread.of([calls_s[0] / calls_s[-1]])


def ratios(
    what: str,
    rows: list[Row],
    ratio: Callable[[Row], Spread | None],
    mean: float | None = None,
    worst: float | None = None,
    most: float | None = None,
) -> Target:
    """Judge the medians: their geometric mean, the least of them, or the largest."""
    found = {f"{row.layer.name} {row.operation}": s.median for row in rows if (s := ratio(row)) is not None}
    wanted = [f"geometric mean >= {mean}"] * (mean is not None)
    wanted += [f"every row >= {worst}"] * (worst is not None) + [f"every row <= {most}"] * (most is not None)
    if not found:
        return Target(what, ", ".join(wanted), "", None)
    average = geometric_mean(found.values())
    extreme = (min if most is None else max)(found, key=found.__getitem__)
    met = (
        (mean is None or average >= mean)
        and (worst is None or found[extreme] >= worst)
        and (most is None or found[extreme] <= most)
    )
    text = f"geometric mean {average:.2f}, worst {found[extreme]:.2f} ({extreme}), {len(found)} rows"
    return Target(what, ", ".join(wanted), text, met)


def scaling(tables: Tables, many: int, factor: float) -> Target:
    """Compare the dense rows with those of more threads; the two were not measured in turn."""
    table = tables.get((many, "fresh"))
    pairs = []
    for row in tables.get((1, "fresh"), ()) if table else ():
        if row.layer.dense and (other := table.get(row)):
            pairs.append(row.median_s(row.own) / other.median_s(other.own))
    text = (
        f"geometric mean {geometric_mean(pairs):.2f}, worst {min(pairs):.2f}, {len(pairs)} rows"
        if pairs
        else ""
    )
    met = geometric_mean(pairs) >= factor if pairs else None
    return Target(f"dense rows, {many} threads against 1", f"geometric mean >= {factor}", text, met)
