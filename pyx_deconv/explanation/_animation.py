"""The animation of an explanation: the input pixels paint the kernel one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import matplotlib.style
import numpy as np
from matplotlib.animation import PillowWriter
from numpy.typing import ArrayLike

from pyx_deconv.explanation import _trace
from pyx_deconv.explanation._figures import (
    CROPPED,
    PAINT,
    STYLE,
    example,
    extended,
    frame_of,
    indices,
    shortened,
)
from pyx_deconv.explanation._layout import (
    FAINT,
    GAP,
    INK,
    WIDTH,
    Frame,
    Grid,
    Panel,
    Picture,
    flow,
    lines_of,
    say,
)
from pyx_deconv.explanation._text import number
from pyx_deconv.explanation._trace import Array, Cell

if TYPE_CHECKING:
    from pyx_deconv.explanation._explanation import Explanation

__all__ = ["content"]

DPI = 100
REACHED, EMPTY = "white", "#F7F7F7"
LINE = 0.2  # inches


class _Frames:
    """What the frames have in common: the numbers of all of them, and the cell that is written out."""

    def __init__(self, shown: Explanation) -> None:
        self.shown = shown
        self.room = WIDTH - 2 * GAP
        self.last, self.first = extended(shown)
        self.paintings = [shown.x[step.pixel] * shown.kernel for step in shown.steps]
        axes = [
            axis._replace(begin=begin, fine=size)
            for axis, begin, size in zip(shown.axes, self.first, self.last.shape, strict=True)
        ]
        self.totals = [_trace.windowed(step.total, axes) for step in shown.steps]
        self.painted = []  # which cells each step paints
        for step in shown.steps:
            mask = np.zeros(shown.full.shape)
            mask[step.painted] = 1
            self.painted.append(_trace.windowed(mask, axes) > 0)
        self.cell = example(shown)
        self.terms = shown.terms[self.cell]

    def count(self) -> int:
        """Before, one for each input pixel, and the result."""
        return len(self.shown.steps) + 2

    def panels(self, frame: int) -> list[Panel]:
        """Draw the input, what is painted, and the sum so far."""
        shown, done = self.shown, min(frame, len(self.shown.steps))
        painting = 0 < frame <= len(shown.steps)
        fills = np.full(shown.x.shape, "white", "U7")
        fills.flat[:done] = CROPPED
        frames = []
        kernel, title = shown.kernel, "kernel"
        if painting:
            pixel = shown.steps[frame - 1].pixel
            fills[pixel] = PAINT
            frames = [frame_of([(i, i + 1) for i in pixel])]
            kernel = self.paintings[frame - 1]
            title = f"{number(float(shown.x[pixel]))} · kernel"
        source = Grid(shown.x, self.room, fills, *indices(shown.x.shape), frames=frames)
        fill, corner = PAINT if painting else "white", (0,) * kernel.ndim
        brush = self._grid([shown.kernel, *self.paintings], kernel, fill, corner)
        return [source.panel("input x"), brush.panel(title), self._total(frame)]

    def _total(self, frame: int) -> Panel:
        shown = self.shown
        reached = np.any(self.painted[:frame], axis=0) if frame else np.zeros(self.last.shape, bool)
        chosen = [frame_of([
            (j + begin - first, j + begin - first + 1)
            for j, (begin, _), first in zip(self.cell, shown.window, self.first, strict=True)
        ])]  # fmt: skip
        if frame == self.count() - 1:
            ends = [(begin - a, stop - a) for (begin, stop), a in zip(shown.window, self.first, strict=True)]
            kept = np.zeros(self.last.shape, bool)
            kept[tuple(slice(*pair) for pair in ends)] = True
            fills, values = np.where(kept, REACHED, CROPPED), self.last
            colours = np.where(kept, INK, FAINT)
            return self._grid(self.totals, values, fills, self.first, colours, [frame_of(ends)]).panel(
                "the window that is kept"
            )
        fills = np.where(reached, REACHED, EMPTY)
        values = np.full(self.last.shape, np.nan)
        if frame:
            fills = np.where(self.painted[frame - 1], PAINT, fills)
            values = np.where(reached, self.totals[frame - 1], np.nan)
        return self._grid(self.totals, values, fills, self.first, INK, chosen).panel("the sum so far")

    def _grid(
        self,
        all_values: Sequence[Array],
        values: Array,
        fills: ArrayLike,
        first: Cell,
        colours: ArrayLike = INK,
        frames: Sequence[Frame] = (),
    ) -> Grid:
        """Make a grid whose cells hold the numbers of every frame."""
        labels = indices(values.shape, first)
        every = [Grid(each, self.room, "white", *labels) for each in all_values]
        cell = max(grid.width for grid in every), max(grid.height for grid in every)
        turned = any(grid.turned for grid in every)
        return Grid(
            values, self.room, fills, *labels, colours=colours, frames=frames, cell=cell, turned=turned
        )

    def formula(self, frame: int) -> list[str]:
        """Write out the framed cell, as far as its products have been painted."""
        shown = self.shown
        if frame == self.count() - 1:
            return lines_of(shortened(shown.formula(*self.cell)), self.room)
        done = {step.pixel for step in shown.steps[:frame]}
        so_far = [term for term in self.terms if term.pixel in done]
        place = ", ".join(str(j + begin) for j, (begin, _) in zip(self.cell, shown.window, strict=True))
        return lines_of(shortened(f"full[{place}] = {shown.sum_text(so_far)}"), self.room)

    def caption(self, frame: int) -> str:
        """Say what this frame shows."""
        shown, steps = self.shown, len(self.shown.steps)
        if frame == 0:
            return f"Scatter: every input pixel paints the kernel ({shown.settings_text()})"
        if frame > steps:
            kept = ", ".join(f"{begin}:{stop}" for begin, stop in shown.window)
            return f"The result is y = full[{kept}]"
        pixel = shown.steps[frame - 1].pixel
        value, place = number(float(shown.x[pixel])), ", ".join(map(str, pixel))
        return f"{frame} of {steps}: x[{place}] = {value} paints {value} times the kernel"


def content(shown: Explanation) -> bytes:
    """Return the animation as a GIF file."""
    frames = _Frames(shown)
    _, height = flow(frames.panels(0), frames.room)
    lines = max(len(frames.formula(frame)) for frame in range(frames.count()))
    top = GAP + 0.4
    with TemporaryDirectory() as folder, matplotlib.style.context(STYLE):
        figure, ax = Picture.sheet(top + height + GAP + lines * LINE + GAP, dpi=DPI)
        writer = PillowWriter(fps=1 if frames.count() <= 12 else 2)
        file = Path(folder) / "steps.gif"
        with writer.saving(figure, str(file), DPI):
            for frame in range(frames.count()):
                for artist in [*ax.texts, *ax.patches, *ax.collections]:
                    artist.remove()
                say(ax, GAP, GAP, frames.caption(frame), 11, weight="bold")
                for panel, x, y in flow(frames.panels(frame), frames.room)[0]:
                    panel.place(ax, GAP + x, top + y)
                for row, line in enumerate(frames.formula(frame)):
                    say(ax, GAP, top + height + GAP + row * LINE, line, 10)
                writer.grab_frame()
            writer.grab_frame()  # the same again: the result stays longer
        return file.read_bytes()
