"""The Markdown report of one machine."""

from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from benchmarks.analysis import Row, Spread, Table, Tables, geometric_mean
from benchmarks.layers import OPERATIONS
from benchmarks.libraries import LIBRARIES, MACHINE, OWN
from benchmarks.store import Store
from benchmarks.targets import Target, targets

__all__ = ["write"]

PEERS = [library for library in LIBRARIES if library != OWN]

QUIET = 0.85  # how far the lower quartile of the FMA peak may be below the upper one
OURS = 0.75  # the least share of the processors' time: another busy thread takes half, waking ours a tenth
WORST = 5  # rows listed of a target that is missed

EXPLANATION = """\
*ms*: median time of a call in the better layout [quartiles]. *first/last*: time with channels first over
that with channels last. *vs X*: how many times faster pyx_deconv is than X in its best layout, with the
weight prepared where it can: the median over samples that were taken in turn on the same processors.
*peak*: fraction of the peak of fused multiply-adds just before and after, FLOP counted with every tap.
*roof*: fraction of the roofline of that peak and the copy bandwidth of the main memory: it exceeds 1 where
a cache holds the arrays. *reused*: the same with outputs and freed memory used again (`out=`, bound outputs,
glibc keeping what is freed): the ratio to the then best peer; *alloc*: time with the default allocator over
time with reused memory, of pyx_deconv and of the default allocator's best peer. The two were measured one
after the other, not in turn.

Targets count every row in float32 but the tiny one, unless they name others. PyTorch is the best of its two
layouts and of its prepared weight.
"""


def write(store: Store, found: Tables, path: Path, pictures: dict[int, list[Path]]) -> Path:
    """Write the report, which shows the pictures beside it, and return its path."""
    path.write_text("\n".join(lines(store, found, pictures)) + "\n")
    return path


def lines(store: Store, found: Tables, pictures: dict[int, list[Path]]) -> Iterator[str]:
    """Yield the report."""
    yield f"# pyx_deconv and its peers on {store.path.stem}\n"
    yield from provenance(store)
    for threads in sorted({threads for threads, _ in found}):
        plural = "s" * (threads > 1)
        yield f"\n## Targets on {threads} thread{plural}, default allocator\n"
        yield from judged(list(targets(found, threads)))
        yield from yardsticks(found, threads)
        fresh, reused = (found.get((threads, memory)) for memory in ("fresh", "reused"))
        table = fresh or reused
        assert table
        for operation in OPERATIONS:
            rows = [row for row in table if row.operation == operation]
            if rows:
                yield f"\n## {operation}, {threads} thread{plural}, {memory_name(table)}\n"
                yield from results(rows, reused if fresh else None)
        yield from (f"\n![{path.stem}]({path.name})" for path in pictures.get(threads, ()))
    yield "\n" + EXPLANATION
    yield from left_out(store)


def judged(found: list[Target]) -> Iterator[str]:
    """Yield the targets, and which rows miss them worst."""
    yield from markdown(
        ["what", "wanted", "measured", ""], [[t.what, t.wanted, t.measured, t.verdict] for t in found]
    )
    missed = [target for target in found if target.misses]
    if missed:
        yield "\nThe rows that miss worst:\n"
    for target in missed:
        shown = ", ".join(f"{row} {value:.2f}" for row, value in list(target.misses.items())[:WORST])
        more = len(target.misses) - WORST
        yield f"- {target.what} ({target.wanted}): {shown}" + (f", and {more} more" if more > 0 else "")


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
    yield f"The peak is that of {' and '.join(sorted(versions[MACHINE]))}."


def yardsticks(found: Tables, threads: int) -> Iterator[str]:
    """Yield what the machine gave, and whether it was left alone."""
    for memory in ("fresh", "reused"):
        if table := found.get((threads, memory)):
            rates = [
                g
                for row in table
                if row.layer.dtype != "float64"
                for p in row.timed.values()
                for g in p["peak"]
            ]
            copies = [rate for row in table for rate in row.record["copy"]]
            peak, copy = Spread.of(rates or [float("nan")]), Spread.of(copies)
            share = mean(share for row in table for share in row.record["share"])
            quiet = peak.low >= QUIET * peak.high and share >= OURS
            yield (
                f"\n{memory_name(table)}: peak {giga(peak)} GFLOP/s, copy {giga(copy)} GB/s; "
                f"{share:.0%} of the processors' time was ours."
                + " **The machine was not quiet.**"
                * (not quiet)
            )


def results(rows: list[Row], reused: Table | None) -> Iterator[str]:
    """Yield the table of one pass."""
    peers = [peer for peer in PEERS if any(peer in row.best for row in rows)]
    head = ["layer", "ms", "first/last", *(f"vs {peer}" for peer in peers), "vs best peer", "peak", "roof"]
    head += ["reused: vs best peer", "alloc: own", "alloc: best peer"] if reused else []
    body = []
    for row in rows:
        own = row.seconds(row.own)
        cells = [row.layer.name, milliseconds(own), ratio(row.times_faster(*layouts(row)))]
        cells += [ratio(row.times_faster(row.best.get(peer))) for peer in peers]
        cells += [best_peer(row), f"{row.of_peak(row.own).median:.2f}", f"{row.of_roof(row.own):.2f}"]
        if reused:
            other = reused.get(row)
            cells += [best_peer(other) if other else "", allocation(row, other, row.own)]
            cells += [allocation(row, other, row.best_peer)]
        body.append(cells)
    means = ["geometric mean", "", ""]
    for peer in peers:
        means.append(mean_of(row.times_faster(row.best.get(peer)) for row in rows))
    means.append(mean_of(row.times_faster(row.best_peer) for row in rows))
    means += [
        mean_of(row.of_peak(row.own) for row in rows),
        f"{geometric_mean(r.of_roof(r.own) for r in rows):.2f}",
    ]
    yield from markdown(head, [*body, means + [""] * (len(head) - len(means))])


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
