"""The Markdown report of one machine."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.analysis import Row, Spread, Table, geometric_mean, tables
from benchmarks.layers import OPERATIONS, load_layers
from benchmarks.libraries import LIBRARIES, OWN
from benchmarks.store import Store
from benchmarks.targets import Tables, targets

__all__ = ["write"]

PEERS = [library for library in LIBRARIES if library != OWN]

QUIET = 0.85  # how far the lower quartile of the gemm rate may be below the upper one

EXPLANATION = """\
*ms*: median time of a call in the better layout [quartiles]. *first/last*: time with channels first over
that with channels last. *vs X*: how many times faster pyx_deconv is than X in its best layout, with the
weight prepared where it can: the median over samples that were taken in turn on the same processors.
*gemm*: fraction of the rate of NumPy's matrix product just before and after, FLOP counted with every tap;
the true FMA peak is somewhat higher, so this can exceed 1. *roof*: fraction of the roofline of that rate
and the copy bandwidth. *reused*: the same with outputs and freed memory used again (`out=`, bound outputs,
glibc keeping what is freed): the ratio to the then best peer; *alloc*: time with the default allocator over
time with reused memory, of pyx_deconv and of the default allocator's best peer. The two were measured one
after the other, not in turn.
"""


def write(store: Store) -> Path:
    """Write the report beside the measurements and return its path."""
    found = tables(store, [layer.name for layer in load_layers()])
    path = store.path.with_suffix(".md")
    path.write_text("\n".join(lines(store, found)) + "\n")
    return path


def lines(store: Store, found: Tables) -> Iterator[str]:
    """Yield the report."""
    yield f"# pyx_deconv and its peers on {store.path.stem}\n"
    yield from provenance(store)
    for threads in sorted({threads for threads, _ in found}):
        plural = "s" * (threads > 1)
        yield f"\n## Targets on {threads} thread{plural}, default allocator\n"
        yield from markdown(
            ["what", "wanted", "measured", ""],
            [[t.what, t.wanted, t.measured, t.verdict] for t in targets(found, threads)],
        )
        yield from yardsticks(found, threads)
        fresh, reused = (found.get((threads, memory)) for memory in ("fresh", "reused"))
        table = fresh or reused
        assert table
        for operation in OPERATIONS:
            rows = [row for row in table if row.operation == operation]
            if rows:
                yield f"\n## {operation}, {threads} thread{plural}, {memory_name(table)}\n"
                yield from results(rows, reused if fresh else None)
    yield "\n" + EXPLANATION
    yield from left_out(store)


def provenance(store: Store) -> Iterator[str]:
    """Yield what was measured, with what, and when."""
    records = list(store.records.values())
    if not records:
        yield "Nothing has been measured yet."
        return
    versions: dict[str, set[str]] = {}
    for record in records:
        for library, version in record["versions"].items():
            versions.setdefault(library, set()).add(version)
    dates = sorted(record["date"] for record in records)
    yield f"{len(records)} cases, measured from {dates[0]} to {dates[-1]}:"
    names = [library for library in LIBRARIES if library in versions]
    yield ", ".join(f"{library} {' and '.join(sorted(versions[library]))}" for library in names) + "."


def yardsticks(found: Tables, threads: int) -> Iterator[str]:
    """Yield what the machine gave, and whether it was left alone."""
    for memory in ("fresh", "reused"):
        if table := found.get((threads, memory)):
            rates = [
                g
                for row in table
                if row.layer.dtype != "float64"
                for p in row.timed.values()
                for g in p["gemm"]
            ]
            copies = [rate for row in table for rate in row.record["copy"]]
            gemm, copy = Spread.of(rates or [float("nan")]), Spread.of(copies)
            noise = " **The machine was not quiet.**" if gemm.low < QUIET * gemm.high else ""
            yield f"\n{memory_name(table)}: gemm {giga(gemm)} GFLOP/s, copy {giga(copy)} GB/s.{noise}"


def results(rows: list[Row], reused: Table | None) -> Iterator[str]:
    """Yield the table of one pass."""
    peers = [peer for peer in PEERS if any(peer in row.best for row in rows)]
    head = ["layer", "ms", "first/last", *(f"vs {peer}" for peer in peers), "vs best peer", "gemm", "roof"]
    head += ["reused: vs best peer", "alloc: own", "alloc: best peer"] if reused else []
    body = []
    for row in rows:
        own = row.seconds(row.own)
        cells = [row.layer.name, milliseconds(own), ratio(row.times_faster(*layouts(row)))]
        cells += [ratio(row.times_faster(row.best.get(peer))) for peer in peers]
        cells += [best_peer(row), f"{row.of_gemm(row.own).median:.2f}", f"{row.of_roof(row.own):.2f}"]
        if reused:
            other = reused.get(row)
            cells += [best_peer(other) if other else "", allocation(row, other, row.own)]
            cells += [allocation(row, other, row.best_peer)]
        body.append(cells)
    mean = ["geometric mean", "", ""]
    for peer in peers:
        mean.append(mean_of(row.times_faster(row.best.get(peer)) for row in rows))
    mean.append(mean_of(row.times_faster(row.best_peer) for row in rows))
    mean += [
        mean_of(row.of_gemm(row.own) for row in rows),
        f"{geometric_mean(r.of_roof(r.own) for r in rows):.2f}",
    ]
    yield from markdown(head, [*body, mean + [""] * (len(head) - len(mean))])


def left_out(store: Store) -> Iterator[str]:
    """Yield what could not be timed, and why, once per library and reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in store.records.values():
        for key, reason in record["skipped"].items():
            where = f"{record['layer']['name']} {record['operation']}"
            places = reasons.setdefault((key.split()[0], reason), [])
            if where not in places:
                places.append(where)
    if reasons:
        yield "## What was not timed\n"
        for (library, reason), places in sorted(reasons.items()):
            shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
            yield f"- {library}: {reason} ({shown})"


def layouts(row: Row) -> tuple[str | None, str]:
    """Return the keys of pyx_deconv's two layouts, for `Row.times_faster`."""
    first, last = f"{OWN} channels_first", f"{OWN} channels_last"
    return (first if first in row.timed and last in row.timed else None), last


def best_peer(row: Row) -> str:
    """Return the ratio to the best peer, its quartiles and its name."""
    found = row.times_faster(row.best_peer)
    if found is None:
        return ""
    return f"**{found.median:.2f}** [{found.low:.2f}, {found.high:.2f}] {row.best_peer.split()[0]}"


def allocation(fresh: Row, reused: Row | None, key: str | None) -> str:
    """Return a library's time with fresh memory over that with reused memory."""
    if reused is None or key is None or key not in reused.timed:
        return ""
    return f"{fresh.median_s(key) / reused.median_s(key):.2f}"


def milliseconds(seconds: Spread) -> str:
    """Return a median and its quartiles."""
    return f"{seconds.median * 1e3:.3g} [{seconds.low * 1e3:.3g}, {seconds.high * 1e3:.3g}]"


def giga(rate: Spread) -> str:
    """Return a median and its quartiles."""
    return f"{rate.median / 1e9:.0f} [{rate.low / 1e9:.0f}, {rate.high / 1e9:.0f}]"


def ratio(found: Spread | None) -> str:
    """Return a median."""
    return "" if found is None else f"{found.median:.2f}"


def mean_of(found: Iterator[Spread | None]) -> str:
    """Return the geometric mean of the medians."""
    return f"{geometric_mean(spread.median for spread in found if spread):.2f}"


def memory_name(table: Table) -> str:
    """Say how memory was used."""
    return "default allocator" if table.memory == "fresh" else "reused memory"


def markdown(head: list[str], body: list[list[str]]) -> Iterator[str]:
    """Yield a table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for cells in body:
        yield "| " + " | ".join(cells) + " |"
