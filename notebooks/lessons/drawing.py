"""Arrays as squares with their numbers."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

__all__ = ["COLOURS", "bricks", "draw", "row"]

# One for each pixel of a 2 × 2 map; colour-blind readers can tell them apart too.
COLOURS = np.array([["#E69F00", "#44BB99"], ["#DDCC77", "#8C96C6"]])


def row(*columns: int, rows: int, gap: float = 1.2) -> list[Axes]:
    """Make room for pictures side by side, of so many columns each."""
    width = sum(columns) + gap * len(columns)
    square = min(0.45, 8.8 / width)
    figure = plt.figure(figsize=(square * width, square * rows))
    starts = np.cumsum([0, *columns[:-1]]) + gap * np.arange(len(columns))
    return [
        figure.add_axes((a / width, 0, c / width, 1))
        for a, c in zip(starts, columns, strict=True)
    ]


def draw(
    ax: Axes,
    numbers: ArrayLike,
    title: str,
    colours: ArrayLike = "white",
    frame: Sequence[float] | None = None,
) -> None:
    """Draw an array; NaN is an empty square, frame=(row, column, rows, columns)."""
    numbers = np.asarray(numbers, dtype=float)
    for (r, c), colour in np.ndenumerate(np.broadcast_to(colours, numbers.shape)):
        empty = np.isnan(numbers[r, c])
        fill = "white" if empty else colour
        corner = (c - 0.5, r - 0.5)
        ax.add_patch(Rectangle(corner, 1, 1, facecolor=fill, edgecolor="0.6"))
        text = "" if empty else f"{numbers[r, c]:g}"
        ax.text(c, r, text, ha="center", va="center_baseline")
    if frame is not None:
        r, c, height, width = frame
        corner = (c - 0.5, r - 0.5)
        ax.add_patch(Rectangle(corner, width, height, fill=False, linewidth=3, zorder=3))
    rows, columns = numbers.shape
    ax.set(title=title, aspect="equal")
    ax.set(xlim=(-0.55, columns - 0.45), ylim=(rows - 0.45, -0.55))
    ax.set(xticks=range(columns), yticks=range(rows))
    ax.tick_params(length=0, labelcolor="0.4", labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)


def bricks(ax: Axes, n: int, kernel_size: int, stride: int, dilation: int = 1) -> None:
    """Draw which cells each of n input pixels paints along one axis, by which tap."""
    full = (n - 1) * stride + (kernel_size - 1) * dilation + 1
    taps = np.full((n, full), np.nan)
    for i in range(n):
        for tap in range(kernel_size):
            taps[i, i * stride + tap * dilation] = tap
    draw(ax, taps, f"{n} pixels: {full} cells", COLOURS.ravel()[:n, np.newaxis])
    ax.set_yticks(range(n), [f"pixel {i}" for i in range(n)])
