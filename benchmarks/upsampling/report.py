"""The Markdown report: a table per factor, what was promised, and the same figures for the other splits."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import pyx_deconv as pxd
from benchmarks.upsampling.experiment import Fit
from benchmarks.upsampling.optimisers import Way
from benchmarks.upsampling.photographs import PHOTOGRAPHS, SPLITS, split

__all__ = ["lines", "tables"]

TARGETS = {("linear", 2): (0.3, 20), ("fsrcnn", 2): (1.5, 300)}  # dB over bicubic, within seconds
RULE = (
    f"All figures are of photographs that were held out: every third file of {len(PHOTOGRAPHS)}, in the "
    "order of their names. PSNR in dB and SSIM of the luminance, after rounding to 8 bits, without as many "
    "pixels at the borders as the factor."
)


def lines(fits: list[Fit], ways: list[Way], command: str, pictures: list[Path]) -> Iterator[str]:
    """Yield the report."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "scipy"))
    yield "# Learned upsampling, measured\n"
    yield f"`{command}`: pyx_deconv {pxd.__version__}, {versions}, {pxd.get_num_threads()} threads.\n"
    yield RULE + "\n"
    yield from tables(fits)
    if len({each.first_held_out for each in fits}) > 1:
        yield "\n## Other splits\n"
        yield from splits(fits)
    if ways:
        yield "\n## Ways to minimise, x2\n"
        yield from comparison(ways)
    yield from (f"\n![{path.stem}]({path.name})" for path in pictures)


def tables(fits: list[Fit]) -> Iterator[str]:
    """Yield one table for each factor, and what was promised for it."""
    chosen = [each for each in fits if each.first_held_out == SPLITS[0]]
    for factor in sorted({each.factor for each in chosen}):
        found = {each.model: each for each in chosen if each.factor == factor}
        yield f"\n## x{factor}\n"
        yield "| held out | bicubic | linear | fsrcnn | linear, gain | fsrcnn, gain |"
        yield "|---|---|---|---|---|---|"
        columns = [found["linear"].bicubic, found["linear"].scores, found["fsrcnn"].scores]
        for name in columns[0]:
            scores = [column[name] for column in columns]
            yield row(name, [(score.psnr, score.ssim) for score in scores])
        means = [
            (
                float(np.mean([score.psnr for score in column.values()])),
                float(np.mean([score.ssim for score in column.values()])),
            )
            for column in columns
        ]
        yield row("**mean**", means)
        yield ""
        for model, fit in found.items():
            steps = f"{fit.upsampler.n_iter_} step" + "s" * (fit.upsampler.n_iter_ != 1)
            yield f"- {model}: {fit.gain:+.2f} dB, fitted in {fit.seconds:.1f} s, {steps}{judged(fit)}"


def row(name: str, scores: list[tuple[float, float]]) -> str:
    """Return a line of a table: bicubic first."""
    cells = [f"{psnr:.2f} / {ssim:.4f}" for psnr, ssim in scores]
    gains = [f"{psnr - scores[0][0]:+.2f}" for psnr, _ in scores[1:]]
    return f"| {' | '.join([name, *cells, *gains])} |"


def judged(fit: Fit) -> str:
    """Return whether what was promised is met."""
    if (fit.model, fit.factor) not in TARGETS:
        return ""
    least, most = TARGETS[fit.model, fit.factor]
    met = fit.gain >= least and fit.seconds <= most
    return f"; target {least:+.1f} dB within {most} s on two cores: **{'met' if met else 'missed'}**"


def splits(fits: list[Fit]) -> Iterator[str]:
    """Yield how the gain varies with the photographs that are held out."""
    yield "Gain in dB over bicubic, mean over the photographs held out. The first row is the split above.\n"
    kinds = sorted(
        {(each.factor, each.model) for each in fits}, key=lambda kind: (kind[0], kind[1] != "linear")
    )
    yield "| held out | " + " | ".join(f"{model} x{factor}" for factor, model in kinds) + " |"
    yield "|---" * (len(kinds) + 1) + "|"
    found = {(each.first_held_out, each.factor, each.model): each for each in fits}
    for first in SPLITS:
        names = ", ".join(each.name for each in split(first)[1])
        gains = [found.get((first, *kind)) for kind in kinds]
        yield (
            f"| {names} | " + " | ".join("" if each is None else f"{each.gain:+.2f}" for each in gains) + " |"
        )
    every = []
    for kind in kinds:
        chosen = [found[first, *kind] for first in SPLITS if (first, *kind) in found]
        single = [each.scores[name].psnr - each.bicubic[name].psnr for each in chosen for name in each.scores]
        every.append(f"{np.mean(single):+.2f} ± {np.std(single):.2f}" if len(chosen) == len(SPLITS) else "")
    yield f"| each file once: mean ± standard deviation over files | {' | '.join(every)} |"


def comparison(ways: list[Way]) -> Iterator[str]:
    """Yield what other ways to minimise came to."""
    times = sorted({seconds for way in ways for seconds in way.gains})
    yield "Gain in dB over bicubic on the photographs held out, after so many seconds of fitting.\n"
    yield (
        "| way | " + " | ".join(f"{seconds} s" for seconds in times) + " | steps | passes over all patches |"
    )
    yield "|---" * (len(times) + 3) + "|"
    for way in ways:
        gains = [f"{way.gains[seconds]:+.2f}" if seconds in way.gains else "" for seconds in times]
        yield f"| {way.name} | {' | '.join(gains)} | {way.steps} | {way.passes:.0f} |"
