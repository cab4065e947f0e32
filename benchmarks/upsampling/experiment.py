"""One fit: how long it took, how it went, and how well it enlarges photographs that it has not seen."""

import sys
import time
from dataclasses import dataclass, field

import numpy as np

from benchmarks.upsampling.photographs import load, load_at_scales, split
from pyx_deconv.upsampling import LearnedUpsampler, Score, score

__all__ = ["Fit", "Moment", "fit", "gain"]

EVERY = 20  # steps between two looks at the photographs held out; the clock stands still meanwhile


@dataclass
class Moment:
    """How a fit stands after some steps."""

    step: int
    seconds: float
    loss: float
    gain: float  # mean over the photographs held out, in dB over bicubic


@dataclass
class Fit:
    """What one fit gave."""

    factor: int
    model: str
    first_held_out: int
    upsampler: LearnedUpsampler
    seconds: float
    scores: dict[str, Score]
    bicubic: dict[str, Score]
    curve: list[Moment] = field(default_factory=list)

    @property
    def gain(self) -> float:
        """The mean over the photographs held out, in dB over bicubic."""
        return gain(self.scores, self.bicubic)


def fit(factor: int, model: str, first_held_out: int, max_iter: int | None = None) -> Fit:
    """Fit a model to the photographs of a split, and score it on the others."""
    fitted_to, held_out = split(first_held_out)
    pictures = load_at_scales(fitted_to)
    by_bicubic = {each.name: score(load(each), factor, "bicubic") for each in held_out}
    curve: list[Moment] = []
    looking = 0.0  # seconds

    def scores(upsampler: LearnedUpsampler) -> dict[str, Score]:
        return {each.name: upsampler.score(load(each)) for each in held_out}

    def look(step: int, loss: float, upsampler: LearnedUpsampler) -> None:
        nonlocal looking
        if step % EVERY == 0:
            now = time.perf_counter()
            curve.append(Moment(step, now - start - looking, loss, gain(scores(upsampler), by_bicubic)))
            looking += time.perf_counter() - now

    upsampler = LearnedUpsampler(factor, model=model)
    start = time.perf_counter()
    upsampler.fit(pictures, max_iter=max_iter, callback=look, progress=sys.stderr.isatty())
    seconds = time.perf_counter() - start - looking
    return Fit(factor, model, first_held_out, upsampler, seconds, scores(upsampler), by_bicubic, curve)


def gain(scores: dict[str, Score], reference: dict[str, Score]) -> float:
    """Return by how many dB the first is better, on average."""
    return float(np.mean([scores[name].psnr - reference[name].psnr for name in scores]))
