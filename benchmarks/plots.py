"""The pictures of one machine: a bar chart per family, and the roofline."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")  # draws without a display
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from benchmarks.analysis import Row, Table, Tables
from benchmarks.layers import FAMILIES, OPERATIONS
from benchmarks.libraries import LIBRARIES, OWN

__all__ = ["write"]

# Colours that stay apart for colour-blind readers (Okabe and Ito); pyx_deconv's is the strongest.
COLOURS = dict(
    zip(
        LIBRARIES,
        ("#D55E00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#444444"),
        strict=True,
    )
)
PEER = "0.55"  # grey
LABEL = {"textcoords": "offset points", "va": "center", "fontsize": 7}
LEGEND = {"frameon": False, "columnspacing": 1.2, "handlelength": 1.2}
ABOVE = 1.1  # where text stands over a line of the roof
DPI = 120
SHADES = 48
MARKERS = dict(zip(OPERATIONS, "o^s", strict=True))


def write(tables: Tables, stem: Path) -> dict[int, list[Path]]:
    """Draw what is measured with the default allocator; return the files by number of threads."""
    pictures: dict[int, list[Path]] = {}
    for (threads, memory), table in tables.items():
        if memory != "fresh":
            continue
        figures = {
            family: bars(family, threads, rows)
            for family in FAMILIES
            if (rows := [row for row in table if row.layer.family == family])
        }
        pictures[threads] = [
            save(figure, stem.with_name(f"{stem.name}-{threads}-{name.replace(' ', '-')}.png"))
            for name, figure in (figures | {"roofline": roofline(table)}).items()
        ]
    return pictures


def save(figure: plt.Figure, path: Path) -> Path:
    """Write a figure in few colours, which makes it small enough to be committed, and forget it."""
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    picture.quantize(SHADES, dither=Image.Dither.NONE).save(path, optimize=True)
    plt.close(figure)
    return path


def bars(family: str, threads: int, rows: list[Row]) -> plt.Figure:
    """Draw every library's rate as a fraction of the FMA peak in the same seconds; a panel per pass."""
    names = list(dict.fromkeys(row.layer.name for row in rows))
    libraries = [library for library in LIBRARIES if any(library in row.best for row in rows)]
    operations = [operation for operation in OPERATIONS if any(row.operation == operation for row in rows)]
    figure, panels = plt.subplots(
        1,
        len(operations),
        figsize=(2.7 * len(operations) + 2.0, 1.6 + 0.11 * len(names) * (len(libraries) + 1.5)),
        dpi=DPI,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    height = 0.82 / len(libraries)
    longest = max(row.of_peak(key).high for row in rows for key in row.best.values())
    for panel, operation in zip(panels[0], operations, strict=True):
        for row in (row for row in rows if row.operation == operation):
            centre = names.index(row.layer.name)
            for library, key in row.best.items():
                place = centre + (libraries.index(library) - (len(libraries) - 1) / 2) * height
                rate = row.of_peak(key)
                spread = [[rate.median - rate.low], [rate.high - rate.median]]
                panel.barh(place, rate.median, 0.92 * height, color=COLOURS[library])
                panel.errorbar(rate.median, place, xerr=spread, color="black", linewidth=0.8)
                if library == OWN and row.best_peer:
                    label = f"{row.times_faster(row.best_peer).median:.2f}×"
                    panel.annotate(label, (rate.high, place), (3, 0), **LABEL)
        panel.set_title(operation)
        panel.set_xlabel("fraction of the FMA peak")
        panel.axvline(1, color="black", linewidth=0.8, linestyle=":")
        panel.grid(axis="x", alpha=0.3)
        panel.set_axisbelow(True)
        # Room for the labels; and the peak itself, unless all are far below it.
        panel.set_xlim(0, max(1.05 if longest > 0.3 else 0, 1.2 * longest))
        panel.locator_params(axis="x", nbins=5)  # labels of small fractions are wide
        panel.tick_params(axis="y", length=0)
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].set_ylim(len(names) - 0.5, -0.5)
    compared = "; ×: times faster than the best peer" if any(row.best_peer for row in rows) else ""
    figure.suptitle(f"{family}, {threads} thread{'s' * (threads > 1)}{compared}")
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[library]) for library in libraries]
    figure.legend(handles, libraries, loc="outside lower center", ncols=len(libraries), **LEGEND)
    return figure


def roofline(table: Table) -> plt.Figure:
    """Draw pyx_deconv's rate in the better layout over the FLOP per byte that have to be moved."""
    rows = [row for row in table if row.layer.dtype == "float32" and row.layer.family != "tiny"]
    rows = rows or list(table)
    peak, copy = (float(np.median([getattr(row, name) for row in rows])) for name in ("peak", "copy"))
    figure, axes = plt.subplots(figsize=(8, 5.5), dpi=DPI, layout="constrained")
    axes.set_xscale("log")
    axes.set_yscale("log")
    intensities = [row.layer.flop / row.layer.bytes for row in rows]
    x = np.geomspace(min(*intensities, peak / copy) / 2, max(*intensities, peak / copy) * 2, 200)
    axes.plot(x, np.minimum(peak, copy * x) / 1e9, color="black")
    # From its corner on, where there are fewer points than at its end.
    axes.text(peak / copy, peak / 1e9 * ABOVE, f"FMA peak {peak / 1e9:.0f} GFLOP/s")
    # The text turns with the line, whatever the axes make of its slope there.
    angle = np.degrees(np.arctan(ABOVE * copy / 1e9))
    along = {"rotation": angle, "rotation_mode": "anchor", "transform_rotates_text": True}
    axes.text(x[0], ABOVE * copy * x[0] / 1e9, f"copy {copy / 1e9:.0f} GB/s", **along)
    for operation, marker in MARKERS.items():
        chosen = [row for row in rows if row.operation == operation]
        beaten = [row for row in chosen if row.best_peer]
        for some, key, style in (
            (beaten, "best_peer", {"s": 18, "color": PEER}),
            (chosen, "own", {"s": 32, "color": COLOURS[OWN], "alpha": 0.8, "label": operation}),
        ):
            at = [row.layer.flop / row.layer.bytes for row in some]
            axes.scatter(at, [row.flops(getattr(row, key)) / 1e9 for row in some], marker=marker, **style)
    axes.scatter([], [], s=18, color=PEER, label="the best peer, likewise")
    axes.set_ylim(top=2 * peak / 1e9)  # pairs save up to 7 of 16 multiplications, which are counted
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("FLOP per byte of input, weight and output")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"{OWN}, float32, {table.threads} thread{'s' * (table.threads > 1)}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=4, **LEGEND)
    return figure
