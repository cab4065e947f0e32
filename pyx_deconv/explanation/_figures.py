"""The picture of an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from pyx_deconv.explanation import _trace
from pyx_deconv.explanation._layout import (
    CELL,
    DPI,
    FAINT,
    GAP,
    INDEX,
    INK,
    SMALL,
    TITLE,
    WIDTH,
    Frame,
    Grid,
    Panel,
    Picture,
    flow,
    lines_of,
    say,
    text_width,
)
from pyx_deconv.explanation._text import number, sizes_text
from pyx_deconv.explanation._trace import Array, Cell

if TYPE_CHECKING:
    from pyx_deconv.explanation._explanation import Explanation

__all__ = [
    "CROPPED",
    "KEPT",
    "PAINT",
    "PRODUCTS",
    "STYLE",
    "content",
    "example",
    "extended",
    "frame_of",
    "indices",
    "overview",
    "shortened",
]

# Paul Tol's "light" colours, https://personal.sron.nl/~pault: black is readable on each. The first four are
# those that colour-blind readers tell apart best. Whatever they say is written beside them too.
PHASES = (
    "#77AADD", "#EE8866", "#BBCC33", "#FFAABB", "#99DDFF", "#EEDD88", "#44BB99", "#AAAA00", "#DDDDDD",
)  # fmt: skip
PAINT, KEPT, CROPPED = "#D5C3EA", "#DCE9F5", "#EEEEEE"
COUNTS = ("#FFFFFF", "#DEEBF7", "#C6DBEF", "#9ECAE1", "#6BAED6", "#3182BD", "#08519C")  # ColorBrewer's Blues
STYLE: list[Any] = ["default", {"svg.hashsalt": "pyx_deconv", "svg.fonttype": "path"}]
PRODUCTS = 12  # of a formula, before the rest is only counted


def content(shown: Explanation, kind: str) -> bytes:
    """Return the picture as a "png" or "svg" file."""
    metadata: dict[str, str | None] = {"Title": "A transposed convolution", "Description": repr(shown)}
    metadata |= {"Date": None} if kind == "svg" else {}  # the same picture gives the same file
    drawn = BytesIO()
    figure = overview(shown)
    with matplotlib.style.context(STYLE):
        figure.savefig(drawn, format=kind, metadata=metadata)
    if kind == "svg":
        return drawn.getvalue()
    # A palette makes the file, which goes into notebooks, less than half as large.
    file, text = BytesIO(), PngImagePlugin.PngInfo()
    for name, value in metadata.items():
        text.add_itxt(name, value or "")
    with Image.open(drawn) as picture:
        few = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
        few.save(file, "PNG", optimize=True, pnginfo=text, dpi=(DPI, DPI))
    return file.getvalue()


def overview(shown: Explanation) -> Picture:
    """Draw all views on one sheet."""
    head = _head(shown)
    inner = WIDTH - 2 * GAP
    matrix = _matrix(shown, 9.0, 2.4)
    beside = inner - matrix.size[0] - 1.5 * GAP
    # The matrix stands at the right, as high as the others, unless it leaves too little room for numbers.
    column = shown.x.ndim == 2 and _full(shown, inner).size[0] <= beside
    parts = _parts(shown, beside if column else inner)
    if column:
        room = beside - parts[-1].size[0] - 1.4 * GAP
        parts.append(_formula(shown, room if room > 2.2 else beside))
    placed, height = flow(parts, beside if column else inner)
    strips = [_strip(shown, axis, inner) for axis in _different_axes(shown)]
    if column:
        matrix = _matrix(shown, height, 2.4)
        placed.append((matrix, inner - matrix.size[0], 0))
        height = max(height, matrix.size[1])
    else:
        matrix = _matrix(shown, 8.0, inner - 0.6)
        room = inner - matrix.size[0] - 1.4 * GAP
        strips = [matrix, _formula(shown, room if room > 2.2 else inner), *strips]
    more, added = flow(strips, inner)
    placed += [(panel, x, y + height + GAP) for panel, x, y in more]
    height += GAP + added
    top = head.height + 1.5 * GAP
    with matplotlib.style.context(STYLE):
        figure, ax = Picture.sheet(top + height + GAP)
        head.place(ax, GAP, GAP)
        for panel, x, y in placed:
            panel.place(ax, GAP + x, top + y)
    return figure


# --- the parts of the sheet ---------------------------------------------------------------------------------


def _parts(shown: Explanation, width: float) -> list[Panel]:
    return [
        Grid(shown.x, width, PAINT, *indices(shown.x.shape)).panel("input x"),
        Grid(shown.kernel, width, "white", *indices(shown.kernel.shape)).panel("kernel"),
        _full(shown, width),
        _gather(shown, width),
        _overlap(shown, width),
        _sub_kernels(shown, width),
    ]


def _head(shown: Explanation) -> Panel:
    window = ", ".join(f"{first}:{stop}" for first, stop in shown.window)
    sizes = (
        f"input {sizes_text(shown.x.shape)}, kernel {sizes_text(shown.kernel.shape)}: the full result is "
        f"{sizes_text(shown.full.shape)}, of which full[{window}] is kept: {sizes_text(shown.y.shape)}"
    )
    titles = lines_of(f"Transposed convolution with {shown.settings_text()}", WIDTH - 2 * GAP, 12)
    lines = [(line, 11.0, "bold") for line in titles]
    lines += [(line, 9.0, "normal") for line in lines_of(sizes, WIDTH - 2 * GAP)]

    def draw(ax: Axes, left: float, top: float) -> None:
        for text, size, weight in lines:
            say(ax, left, top, text, size, weight=weight)
            top += size * 1.5 / 72

    return Panel("", WIDTH - 2 * GAP, sum(size * 1.5 / 72 for _, size, _ in lines), draw)


def _full(shown: Explanation, available: float) -> Panel:
    """The full result; zeros that the window adds are cells with indices beyond it."""
    values, first = extended(shown)
    frame = frame_of([(begin - a, stop - a) for (begin, stop), a in zip(shown.window, first, strict=True)])
    row, column, rows, columns = (int(edge) for edge in frame)
    grid_values = np.atleast_2d(values)
    inside = np.zeros(grid_values.shape, bool)
    inside[row : row + rows, column : column + columns] = True
    labels = indices(values.shape, first)
    fills, colours = np.where(inside, "white", CROPPED), np.where(inside, INK, FAINT)
    added = "" if values.shape == shown.full.shape else " and added zeros"
    grid = Grid(values, available, fills, *labels, colours=colours, frames=[frame])
    return grid.panel(f"full result{added}; framed: kept")


def _gather(shown: Explanation, available: float) -> Panel:
    phases = [
        [str((first + j) % stride) for j in range(size)]
        for (first, _), size, stride in zip(shown.window, shown.y.shape, shown.stride, strict=True)
    ]
    rows = phases[0] if shown.y.ndim == 2 else None
    grid = Grid(
        shown.y, available, _phase_fills(shown), *indices(shown.y.shape), rows, phases[-1],
        frames=[frame_of([(j, j + 1) for j in example(shown)])],
    )  # fmt: skip
    return grid.panel("gather: y, coloured by phase")


def _overlap(shown: Explanation, available: float) -> Panel:
    most = max(int(shown.overlap.max()), 3)
    shades = np.ceil(shown.overlap / most * (len(COUNTS) - 1)).astype(int)
    colours = np.where(shades >= 5, "white", INK)
    grid = Grid(shown.overlap, available, np.array(COUNTS)[shades], *indices(shown.y.shape), colours=colours)
    return grid.panel("overlap: products per cell")


def _sub_kernels(shown: Explanation, available: float) -> Panel:
    """Small grids, laid out as their phases are."""
    axes = shown.axes
    taps = _trace.sub_kernels(np.ones(shown.kernel.shape, bool), axes)
    arranged = (1, *shown.stride) if shown.x.ndim == 1 else shown.stride
    widest = max(np.atleast_2d(kernel).shape[-1] for kernel in shown.sub_kernels.values())
    room = (available - GAP * arranged[1]) / arranged[1]
    grids: list[tuple[Cell, Grid | None]] = []
    for place, (phase, kernel) in enumerate(shown.sub_kernels.items()):
        values = np.where(taps[phase], kernel, np.nan)
        fills = np.where(taps[phase], PHASES[place % len(PHASES)], "white")
        grids.append((phase, Grid(values, room, fills) if taps[phase].any() else None))
    cell = min([CELL * 3, *(grid.width for _, grid in grids if grid is not None)])
    wide = max(widest * cell, text_width("no tap", SMALL)) + GAP
    heights = [
        max(
            CELL,
            *(g.extent[1] for _, g in grids[r * arranged[1] : (r + 1) * arranged[1]] if g is not None),
            0,
        )
        for r in range(arranged[0])
    ]

    def draw(ax: Axes, left: float, top: float) -> None:
        for index, (phase, grid) in enumerate(grids):
            row, column = divmod(index, arranged[1])
            x, y = left + column * wide, top + sum(heights[:row]) + row * (INDEX + 0.08)
            label = f"phase {phase[0]}" if len(phase) == 1 else f"({phase[0]}, {phase[1]})"
            say(ax, x, y + 0.02, label, SMALL)
            if grid is None:
                say(ax, x, y + INDEX + 0.08, "no tap", SMALL, FAINT)
            else:
                Grid(grid.values, fills=grid.fills, cell=(cell, CELL)).draw(ax, x, y + INDEX)

    height = sum(heights) + arranged[0] * INDEX + (arranged[0] - 1) * 0.08
    return Panel("sub-pixel: a kernel per phase", wide * arranged[1] - GAP, height, draw)


def _formula(shown: Explanation, available: float) -> Panel:
    """How the framed cell is computed, and what the colours mean."""
    cell = example(shown)
    places = zip(shown.window, cell, shown.stride, strict=True)
    phase = ", ".join(str((first + j) % stride) for (first, _), j, stride in places)
    phase = f"({phase})" if shown.x.ndim == 2 else phase
    lines = lines_of(shortened(shown.formula(*cell)), available * 1.12)  # it has many spaces
    where = "right of and below" if shown.x.ndim == 2 else "below"
    colours = "its taps and its colour" + (" (they repeat)" if prod(shown.stride) > len(PHASES) else "")
    note = (
        f"Its phase is {phase}: the place on the full result modulo stride, written {where} y. Each phase "
        f"has {colours}; the framed row of the matrix has the same."
    )
    notes = lines_of(note, available, SMALL + 0.5)

    def draw(ax: Axes, left: float, top: float) -> None:
        for line in lines:
            say(ax, left, top, line)
            top += 0.2
        top += 0.04
        for line in notes:
            say(ax, left, top, line, SMALL + 0.5, FAINT)
            top += 0.17

    return Panel("the framed cell of y", available, 0.2 * len(lines) + 0.04 + 0.17 * len(notes), draw)


def _matrix(shown: Explanation, room: float, widest: float) -> Panel:
    """C^T with a row for each output cell, in the colour of its phase, so high and wide at most."""
    rows, columns = shown.matrix.shape
    taps = _trace.matrix(np.ones(shown.kernel.shape), shown.axes) != 0
    values = np.where(taps, shown.matrix, np.nan)
    longest = max(len(number(float(value), 3)) for value in shown.kernel.flat)
    high = min(0.22, max((room - TITLE - INDEX) / rows, 0.03))
    wide = max(0.24, longest * 0.075 + 0.06)
    wide = min(wide if columns * wide <= widest and high > 0.145 else 0.24, widest / columns)
    fills = np.where(taps, _phase_fills(shown).reshape(rows, 1), "white")
    place = np.ravel_multi_index(example(shown), shown.y.shape)
    cells = [",".join(map(str, cell)) for cell in np.ndindex(shown.y.shape)]
    if high < 0.13:  # there is room for the first cell of each row only
        each = max(shown.y.shape[-1], int(np.ceil(0.13 / high)))
        cells = [cell if index % each == 0 else "" for index, cell in enumerate(cells)]
    pixels = [",".join(map(str, pixel)) for pixel in np.ndindex(shown.x.shape)]
    if wide < 0.235:
        each = max(shown.x.shape[-1], int(np.ceil(0.3 / wide)))
        pixels = [pixel if index % each == 0 else "" for index, pixel in enumerate(pixels)]
    grid = Grid(
        values, fills=fills, rows=cells, columns=pixels, cell=(wide, high),
        frames=[(float(place), 0, 1, columns)],
    )  # fmt: skip
    return grid.panel("matrix Cᵀ: y = Cᵀ x" if grid.digits else "matrix Cᵀ")


def _strip(shown: Explanation, axis: int, available: float) -> Panel:
    """The full result along one axis, and what of it each framework keeps."""
    resolved = shown.axes[axis]
    size, wanted = shown.full.shape[axis], resolved.coarse * resolved.stride
    windows = {"this call": shown.window[axis], **shown.conventions[axis]}
    if not any(name.startswith("PyTorch") for name in windows):
        windows["PyTorch: no padding gives this size"] = (0, 0)
    first = min(0, *(begin for begin, _ in windows.values()))
    last = max(size, *(stop for _, stop in windows.values()))
    label = max(text_width(name, SMALL + 0.5) for name in windows) * 1.02 + 0.1
    right = text_width("full[-0:00]", SMALL + 0.5) + 0.1
    wide = min(CELL, (available - label - right) / (last - first))
    high = 0.21
    indices = np.arange(first, last)
    numbers: NDArray[np.float64] = indices.astype(float)
    if shown.x.ndim == 1:
        values = _trace.windowed(shown.full, [resolved._replace(begin=first, fine=last - first)])
        numbers = numbers if Grid(values, cell=(wide, high)).digits is None else values

    def draw(ax: Axes, left: float, top: float) -> None:
        for row, (name, (begin, stop)) in enumerate(windows.items()):
            y = top + row * (high + 0.09)
            kept = (begin <= indices) & (indices < stop)
            values = np.where(kept | (indices >= 0) & (indices < size), numbers, np.nan)
            frame = [(0.0, float(begin - first), 1.0, float(stop - begin))] if stop > begin else []
            strip = Grid(
                values, fills=np.where(kept, KEPT, "white"), colours=np.where(kept, INK, "#767676"),
                frames=frame, cell=(wide, high),
            )  # fmt: skip
            weight = "normal" if row else "bold"
            say(ax, left, y + high / 2, name, SMALL + 0.5, va="center_baseline", weight=weight)
            strip.draw(ax, left + label, y)
            if stop > begin:
                x = left + label + (last - first) * wide + 0.1
                say(ax, x, y + high / 2, f"full[{begin}:{stop}]", SMALL + 0.5, va="center_baseline")

    axes = "both axes" if len(_different_axes(shown)) < shown.x.ndim else ("rows", "columns")[axis]
    where = "" if shown.x.ndim == 1 else f" ({axes})"
    product = f"{resolved.coarse} · {resolved.stride} = {wanted}"
    title = f"this call, and {product} cells as each framework keeps them{where}"
    return Panel(title, available, len(windows) * (high + 0.09), draw)


# --- what they share ----------------------------------------------------------------------------------------


def indices(shape: Cell, first: Sequence[int] | None = None) -> tuple[list[str] | None, list[str]]:
    """Return the labels of rows and columns; a single row has none."""
    labels = [
        [str(start + j) for j in range(size)]
        for size, start in zip(shape, first or (0,) * len(shape), strict=True)
    ]
    return (labels[0] if len(shape) == 2 else None), labels[-1]


def frame_of(ends: Sequence[tuple[int, int]]) -> Frame:
    if len(ends) == 1:
        ends = [(0, 1), *ends]
    (top, bottom), (left, right) = ends
    return top, left, bottom - top, right - left


def _phase_fills(shown: Explanation) -> NDArray[Any]:
    """Return the colour of every output cell."""
    places = np.indices(shown.y.shape).reshape(shown.y.ndim, -1)
    phases = [
        (place + first) % stride
        for place, (first, _), stride in zip(places, shown.window, shown.stride, strict=True)
    ]
    numbers = np.ravel_multi_index(phases, shown.stride) % len(PHASES)
    return np.array(PHASES)[numbers].reshape(shown.y.shape)


def example(shown: Explanation) -> Cell:
    """Choose an output cell that most products reach, near the middle."""
    cells = np.argwhere(shown.overlap == shown.overlap.max())
    distances = np.abs(cells - (np.array(shown.y.shape) - 1) / 2).sum(axis=1)
    return tuple(int(j) for j in cells[distances.argmin()])


def extended(shown: Explanation) -> tuple[Array, tuple[int, ...]]:
    """Return the full result, with the zeros that the window adds, and the indices it begins at."""
    first = tuple(min(begin, 0) for begin, _ in shown.window)
    axes = [
        axis._replace(begin=begin, fine=max(stop, size) - begin)
        for axis, begin, (_, stop), size in zip(
            shown.axes, first, shown.window, shown.full.shape, strict=True
        )
    ]
    return _trace.windowed(shown.full, axes), first


def _different_axes(shown: Explanation) -> list[int]:
    same = len(set(shown.axes)) == 1
    return [0] if same else list(range(shown.x.ndim))


def shortened(formula: str) -> str:
    """Write at most so many products, and keep the sum with its sign of equality."""
    head, _, value = formula.rpartition(" = ")
    products = head.split(" + ")
    if len(products) > PRODUCTS:
        head = f"{' + '.join(products[:PRODUCTS])} + … ({len(products)} products)"
    return f"{head} =\N{NO-BREAK SPACE}{value}"
