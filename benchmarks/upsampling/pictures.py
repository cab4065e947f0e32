"""Learning curves, crops side by side, and what the kernels look like."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")  # draws without a display
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image as pillow

from benchmarks.upsampling.experiment import Fit
from benchmarks.upsampling.photographs import SPLITS, Image, load, split
from pyx_deconv.upsampling import downsample, interpolate, luminance

__all__ = ["write"]

CROP, ZOOM = 64, 3  # pixels of the photograph along each side of a crop, and how many pixels show one
SHOWN = 3  # photographs in a picture of crops
DPI = 110
COLOURS = {"linear": "#0072B2", "fsrcnn": "#D55E00"}  # apart for colour-blind readers (Okabe and Ito)
STYLES = {2: "-", 3: "--", 4: ":"}


def write(fits: list[Fit], folder: Path) -> list[Path]:
    """Draw all pictures of the split of the report, and return their files."""
    chosen = [each for each in fits if each.first_held_out == SPLITS[0]]
    written = [curves(chosen, folder / "curves.png")]
    for factor in sorted({each.factor for each in chosen}):
        found = {each.model: each for each in chosen if each.factor == factor}
        written.append(crops(found, factor, folder / f"crops-x{factor}.png"))
        written.append(kernels(found, factor, folder / f"kernels-x{factor}.png"))
    return written


def curves(fits: list[Fit], path: Path) -> Path:
    """Draw the gain on photographs held out over the time of the fit; the linear optimum is one point."""
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for fit in fits:
        style = {"color": COLOURS[fit.model], "label": f"{fit.model} x{fit.factor}"}
        if fit.model == "linear":
            axes.plot(fit.seconds, fit.gain, "os^"[fit.factor - 2], **style)
        else:
            moments = [(moment.seconds, moment.gain) for moment in fit.curve] + [(fit.seconds, fit.gain)]
            axes.plot(*zip(*moments, strict=True), STYLES[fit.factor], **style)
    axes.set(xlabel="seconds of fitting", ylabel="dB over bicubic, held out", ylim=(0, None), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, ncols=2)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
    return path


def crops(found: dict[str, Fit], factor: int, path: Path) -> Path:
    """Show a place that is hard for bicubic: the photograph, bicubic, linear, fsrcnn."""
    rows = []
    for photograph in split(SPLITS[0])[1][-SHOWN:]:
        whole = load(photograph)
        whole = whole[: len(whole) // factor * factor, : whole.shape[1] // factor * factor]
        small = downsample(whole, factor)
        enlarged = [interpolate(small, factor, "bicubic")]
        enlarged += [found[model].upsampler.transform(small) for model in ("linear", "fsrcnn")]
        row, column = hard(luminance(whole) - luminance(enlarged[0]))
        rows.append([colour(each)[row : row + CROP, column : column + CROP] for each in (whole, *enlarged)])
    figure, all_axes = plt.subplots(
        len(rows),
        4,
        figsize=(4 * (CROP * ZOOM + 8) / DPI, (len(rows) * (CROP * ZOOM + 8) + 24) / DPI),
        gridspec_kw={"wspace": 0.03, "hspace": 0.03, "left": 0, "right": 1, "bottom": 0, "top": 0.96},
    )
    for axes, pictures in zip(all_axes, rows, strict=True):
        for each, picture in zip(axes, pictures, strict=True):
            each.imshow(picture, interpolation="nearest")
            each.axis("off")
    for each, title in zip(all_axes[0], ("photograph", "bicubic", "linear", "fsrcnn"), strict=True):
        each.set_title(f"{title}, x{factor}" if title == "bicubic" else title, fontsize=9, pad=3)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
    return smaller_file(path)


def hard(error: Image) -> tuple[int, int]:
    """Return the upper left corner of the crop, on a grid, that is harder than nine of ten others."""
    rows, columns = (size // CROP for size in error.shape)
    squares = np.square(error[: rows * CROP, : columns * CROP]).reshape(rows, CROP, columns, CROP).sum((1, 3))
    row, column = np.unravel_index(np.argsort(squares, axis=None)[int(0.9 * squares.size)], squares.shape)
    return int(row) * CROP, int(column) * CROP


def colour(picture: Image) -> Image:
    """Return the picture with three channels."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., np.newaxis], 3, axis=2)


def kernels(found: dict[str, Fit], factor: int, path: Path) -> Path:
    """Show the linear kernel, its phases, and what the channels of the network paint, largest first."""
    linear = found["linear"].upsampler.parameters_["weight"][0, 0]
    painted = found["fsrcnn"].upsampler.parameters_["painted.weight"][:, 0]
    painted = painted[np.argsort(-np.square(painted).sum((1, 2)))]
    figure = plt.figure(figsize=(9, 3.1), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1, 1, 2.2))
    draw(left.subplots(), linear)
    left.suptitle("linear: the kernel", fontsize=9)
    phases = [linear[row::factor, column::factor] for row in range(factor) for column in range(factor)]
    for axes, phase in zip(middle.subplots(factor, factor).flat, phases, strict=True):
        draw(axes, phase)
    middle.suptitle(f"its {factor * factor} phases", fontsize=9)
    for axes, kernel in zip(right.subplots(4, 8).flat, painted, strict=True):
        draw(axes, kernel)
    right.suptitle("fsrcnn: the transposed convolution, each kernel by its own scale", fontsize=9)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)
    return smaller_file(path)


def draw(axes: plt.Axes, kernel: Image) -> None:
    """Draw a kernel: red above zero, blue below."""
    most = np.abs(kernel).max()
    axes.imshow(kernel, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    axes.set(xticks=[], yticks=[])


def smaller_file(path: Path) -> Path:
    """Write a picture anew with 256 colours of its own."""
    with pillow.open(path) as picture:
        reduced = picture.convert("RGB").quantize(256, pillow.Quantize.MEDIANCUT, dither=pillow.Dither.NONE)
    reduced.save(path, optimize=True)
    return path
