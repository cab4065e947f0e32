"""The pictures of one machine: a bar chart per family, and the roofline."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib

matplotlib.use("svg")  # draws without a display
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.analysis import Row, Table, tables
from benchmarks.layers import FAMILIES, OPERATIONS, load_layers
from benchmarks.libraries import LIBRARIES, OWN
from benchmarks.store import Store

__all__ = ["write"]

# Colours that stay apart for colour-blind readers (Okabe and Ito); pyx_deconv's is the strongest.
COLOURS = dict(
    zip(
        LIBRARIES,
        ("#D55E00", "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#F0E442", "#999999"),
        strict=True,
    )
)
MARKERS = dict(zip(OPERATIONS, "o^s", strict=True))


def write(store: Store) -> Iterator[Path]:
    """Draw what is measured with the default allocator, for every number of threads; yield the files."""
    for (threads, memory), table in tables(store, [layer.name for layer in load_layers()]).items():
        if memory != "fresh":
            continue
        stem = f"{store.path.stem}-{threads}-thread{'s' * (threads > 1)}"
        for family in FAMILIES:
            rows = [row for row in table if row.layer.family == family]
            if rows:
                yield save(
                    bars(family, threads, rows), store.path.with_name(f"{stem}-{family.replace(' ', '-')}")
                )
        yield save(roofline(table), store.path.with_name(f"{stem}-roofline"))


def save(figure: plt.Figure, path: Path) -> Path:
    """Write a figure and forget it."""
    path = path.with_name(path.name + ".png")
    figure.savefig(path, dpi=144)
    plt.close(figure)
    return path


def bars(family: str, threads: int, rows: list[Row]) -> plt.Figure:
    """Draw every library's rate as a fraction of the gemm rate in the same seconds; a panel per pass."""
    names = list(dict.fromkeys(row.layer.name for row in rows))
    libraries = [library for library in LIBRARIES if any(library in row.best for row in rows)]
    operations = [operation for operation in OPERATIONS if any(row.operation == operation for row in rows)]
    figure, panels = plt.subplots(
        1,
        len(operations),
        figsize=(4.2 * len(operations) + 1.8, 1.9 + 0.13 * len(names) * len(libraries)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    height = 0.82 / len(libraries)
    values = [row.of_gemm(key).median for row in rows for key in row.best.values()]
    for panel, operation in zip(panels[0], operations, strict=True):
        for row in (row for row in rows if row.operation == operation):
            centre = names.index(row.layer.name)
            for library, key in row.best.items():
                place = centre + (libraries.index(library) - (len(libraries) - 1) / 2) * height
                rate = row.of_gemm(key)
                spread = [[rate.median - rate.low], [rate.high - rate.median]]
                panel.barh(place, rate.median, 0.92 * height, color=COLOURS[library])
                panel.errorbar(rate.median, place, xerr=spread, color="black", linewidth=0.8)
                if library == OWN and row.best_peer:
                    faster = row.times_faster(row.best_peer).median
                    label = f"  {faster:.2g}× {row.best_peer.split()[0]}"
                    panel.text(rate.high, place, label, va="center", fontsize=7)
        panel.set_title(operation)
        panel.set_xlabel("fraction of the gemm rate")
        panel.axvline(1, color="black", linewidth=0.8, linestyle=":")
        panel.grid(axis="x", alpha=0.3)
        panel.set_axisbelow(True)
        # Room for the labels; and the gemm rate itself, unless all are far below it.
        panel.set_xlim(0, max(1.05 if max(values) > 0.3 else 0, 1.45 * max(values)))
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].set_ylim(len(names) - 0.5, -0.5)
    figure.suptitle(
        f"{family}: {threads} thread{'s' * (threads > 1)}; label: times faster than the best peer"
    )
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[library]) for library in libraries]
    figure.legend(handles, libraries, loc="outside lower center", ncols=len(libraries), frameon=False)
    return figure


def roofline(table: Table) -> plt.Figure:
    """Draw pyx_deconv's rate in the better layout over the FLOP per byte that have to be moved."""
    rows = [row for row in table if row.layer.dtype == "float32"] or list(table)
    gemm, copy = (float(np.median([getattr(row, name) for row in rows])) for name in ("gemm", "copy"))
    figure, axes = plt.subplots(figsize=(8, 5.5), layout="constrained")
    intensities = [row.layer.flop / row.layer.bytes for row in rows]
    x = np.geomspace(min(*intensities, gemm / copy) / 2, max(*intensities, gemm / copy) * 2, 200)
    axes.plot(x, np.minimum(gemm, copy * x) / 1e9, color="black")
    axes.text(x[-1], gemm / 1e9 * 1.06, f"gemm {gemm / 1e9:.0f} GFLOP/s", ha="right")
    slope = np.degrees(np.arctan(copy / 1e9))  # of the line, before the axes become logarithmic
    along = {"rotation": slope, "rotation_mode": "anchor", "transform_rotates_text": True}
    axes.text(x[0], copy * x[0] / 1e9 * 1.1, f"copy {copy / 1e9:.0f} GB/s", **along)
    peers = ("best peer", "0.6", 18)
    for operation, marker in MARKERS.items():
        chosen = [row for row in rows if row.operation == operation]
        at = [row.layer.flop / row.layer.bytes for row in chosen]
        behind = [
            (i, row.flops(row.best_peer) / 1e9) for i, row in zip(at, chosen, strict=True) if row.best_peer
        ]
        if behind:
            axes.scatter(*zip(*behind, strict=True), s=peers[2], color=peers[1], marker=marker)
        if chosen:
            rates = [row.flops(row.own) / 1e9 for row in chosen]
            axes.scatter(at, rates, s=32, color=COLOURS[OWN], marker=marker, label=operation, alpha=0.8)
    axes.scatter([], [], s=peers[2], color=peers[1], label=peers[0])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("FLOP per byte of input, weight and output")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"{OWN}, float32, {table.threads} thread{'s' * (table.threads > 1)}")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure
