"""Grids of numbers on a sheet that is measured in inches, from its upper left corner."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from pyx_deconv.explanation._text import number

__all__ = ["DPI", "GAP", "WIDTH", "Frame", "Grid", "Panel", "Picture", "flow", "lines_of", "text_width"]

WIDTH, GAP, DPI = 7.5, 0.22, 120  # inches; 900 pixels, as wide as a notebook
CELL, TITLE, INDEX = 0.34, 0.24, 0.18  # inches: a cell, a title, a line of indices
SMALL, NORMAL = 8.0, 9.0  # points
DIGIT = 0.64 / 72  # the width of a digit, in inches for each point of the size
LETTER = 0.58 / 72  # of other text, on average
INK, FAINT, LINE = "#1b1b1b", "#555555", "#9a9a9a"

Frame = tuple[float, float, float, float]  # row, column, rows, columns


class Picture(Figure):  # type: ignore[misc]
    """A figure that a notebook shows by itself, also where pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()

    @classmethod
    def sheet(cls, height: float, width: float = WIDTH, dpi: int = DPI) -> tuple["Picture", Axes]:
        """Make a figure whose only axes have inches for units, down and to the right."""
        figure = cls(figsize=(width, height), dpi=dpi, facecolor="white")
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, width), ylim=(height, 0))
        ax.set_axis_off()
        return figure, ax


def text_width(text: str, size: float = NORMAL) -> float:
    return len(text) * size * LETTER


def lines_of(text: str, width: float, size: float = NORMAL) -> list[str]:
    """Break a text into lines of so many inches."""
    return textwrap.wrap(text, max(int(width / (size * LETTER)), 12))


def say(
    ax: Axes, left: float, top: float, text: str, size: float = NORMAL, colour: str = INK, **how: Any
) -> None:
    """Write a line whose upper left corner is given."""
    ax.text(left, top, text, fontsize=size, color=colour, **({"va": "top", "ha": "left"} | how))


@dataclass
class Panel:
    """A part of the sheet with a title: its size in inches, and what draws it at a place."""

    title: str
    width: float
    height: float
    draw: Callable[[Axes, float, float], None]

    def place(self, ax: Axes, left: float, top: float) -> None:
        if self.title:
            say(ax, left, top, self.title, weight="bold")
        self.draw(ax, left, top + (TITLE if self.title else 0))

    @property
    def size(self) -> tuple[float, float]:
        """The width and the height with the title."""
        title = TITLE if self.title else 0
        return max(self.width, text_width(self.title) * 1.1), self.height + title


@dataclass
class Grid:
    """An array as squares with its numbers; NaN is an empty square, a line is a row."""

    values: ArrayLike
    available: float = WIDTH - 2 * GAP
    fills: ArrayLike = "white"
    rows: Sequence[str] | None = None  # labels on the left
    columns: Sequence[str] | None = None  # labels above
    after_rows: Sequence[str] | None = None  # labels on the right
    after_columns: Sequence[str] | None = None  # labels below
    colours: ArrayLike = INK  # of the numbers
    frames: Sequence[Frame] = ()
    cell: tuple[float, float] | None = None
    turned: bool = False  # so are the numbers of a long line where they are long too
    size: float = field(init=False, default=NORMAL)
    digits: int | None = field(init=False, default=4)  # None: there is no room for numbers

    def __post_init__(self) -> None:
        self.values = np.atleast_2d(np.asarray(self.values, float))
        self.array: NDArray[np.float64] = self.values
        rows, columns = self.array.shape
        if self.cell is None:
            square = CELL if max(rows, columns) <= 10 else 0.3
            natural = max(square, self._needed(NORMAL, 4) + 0.1)
            self.cell = min(natural, (self.available - self.before - self.after) / columns), square
            room = self.cell[0] - 0.03
            if rows == 1 and min(self._needed(SMALL, digits) for digits in (3, 4)) > room:
                self.turned = True
                self.cell = self.cell[0], self._needed(SMALL, 4) + 0.12
        self.width, self.height = self.cell
        if self.turned:
            self.size = SMALL
        elif self._needed(NORMAL, 4) + 0.06 > self.width:
            self.size = SMALL
            fitting = [digits for digits in (4, 3, 2) if self._needed(SMALL, digits) + 0.03 <= self.width]
            self.digits = fitting[0] if fitting else None
        if self.height < 0.145:
            self.digits = None

    def _needed(self, size: float, digits: int) -> float:
        texts = (number(float(value), digits) for value in self.array.flat if not np.isnan(value))
        return max(map(len, texts), default=1) * size * DIGIT

    @property
    def before(self) -> float:
        """What the labels on the left take."""
        return 0.06 + max(map(len, self.rows)) * SMALL * DIGIT if self.rows else 0.0

    @property
    def after(self) -> float:
        """What the labels on the right take."""
        return 0.06 + max(map(len, self.after_rows)) * SMALL * DIGIT if self.after_rows else 0.0

    @property
    def extent(self) -> tuple[float, float]:
        """The width and the height with all labels."""
        rows, columns = self.array.shape
        labels = INDEX * ((self.columns is not None) + (self.after_columns is not None))
        return self.before + columns * self.width + self.after, rows * self.height + labels

    def panel(self, title: str) -> Panel:
        left_out = "" if self.digits is not None or np.isnan(self.array).all() else " (colours only)"
        return Panel(title + left_out, *self.extent, self.draw)

    def draw(self, ax: Axes, left: float, top: float) -> None:
        rows, columns = self.array.shape
        left += self.before
        bottom, right = top + rows * self.height, left + columns * self.width
        if self.columns is not None:
            self._label_columns(ax, left, top + INDEX * 0.5, self.columns)
            top, bottom = top + INDEX, bottom + INDEX
        if self.after_columns is not None:
            self._label_columns(ax, left, bottom + INDEX * 0.55, self.after_columns, INK)
        for labels, edge, side, colour in (
            (self.rows, left - 0.05, "right", FAINT),
            (self.after_rows, right + 0.05, "left", INK),
        ):
            for row, label in enumerate(labels or ()):
                middle = top + (row + 0.5) * self.height
                say(ax, edge, middle, label, SMALL, colour, ha=side, va="center_baseline")
        fills = np.broadcast_to(np.asarray(self.fills), self.array.shape)
        colours = np.broadcast_to(np.asarray(self.colours), self.array.shape)
        thin = 0.8 if min(self.width, self.height) > 0.12 else 0.25
        cell = np.array([self.width, self.height])
        corners = np.array([(0, 0), (0, 1), (1, 1), (1, 0)]) * cell
        places = np.indices(self.array.shape)[::-1].reshape(2, -1).T * cell + (left, top)
        squares = places[:, np.newaxis] + corners
        ax.add_collection(
            PolyCollection(
                list(squares), facecolors=fills.ravel().tolist(), edgecolors=LINE, linewidths=thin
            ),
            autolim=False,
        )
        how: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": self.size}
        how |= {"rotation": 90, "va": "center"} if self.turned else {}
        for place, value, colour in zip(places, self.array.flat, colours.flat, strict=True):
            if self.digits is not None and not np.isnan(value):
                x, y = place + cell / 2
                ax.text(x, y, number(float(value), self.digits), color=colour, **how)
        thick = min(2.4, self.height * 72 / 3)  # points: of a low row something is to be seen
        for down, across, high, wide in self.frames:
            corner = left + across * self.width, top + down * self.height
            size = wide * self.width, high * self.height
            ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor=INK, lw=thick, zorder=3))

    def _label_columns(
        self, ax: Axes, left: float, middle: float, labels: Sequence[str], colour: str = FAINT
    ) -> None:
        for column, label in enumerate(labels):
            centre = left + (column + 0.5) * self.width
            say(ax, centre, middle, label, SMALL, colour, ha="center", va="center_baseline")


def flow(panels: Sequence[Panel], width: float) -> tuple[list[tuple[Panel, float, float]], float]:
    """Lay panels side by side while there is room, then in the next line; return also the height of all."""
    placed: list[tuple[Panel, float, float]] = []
    left = top = tallest = 0.0
    for panel in panels:
        wide, high = panel.size
        if left and left + wide > width:
            left, top, tallest = 0.0, top + tallest + GAP, 0.0
        placed.append((panel, left, top))
        left, tallest = left + wide + 1.3 * GAP, max(tallest, high)
    return placed, top + tallest
