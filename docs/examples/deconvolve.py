"""Undo a blur and a reduction to half the size: solve Conv(x) = y with lsqr, which asks for Conv and Conv.T.

``python deconvolve.py [PICTURE]`` prints how near each result is to the original, and writes the picture.
It needs scikit-image (for its photograph), SciPy and Pillow.
"""

import sys

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import zoom
from scipy.sparse.linalg import LinearOperator, lsqr
from skimage import data

import pyx_deconv as pxd

NOISE = 0.002  # standard deviation, where black is 0 and white is 1
SMOOTHNESS = 0.02  # how much a difference between neighbours counts, against one from the measurement
SHOWN, ENLARGED = (slice(60, 188), slice(170, 298)), 2


def solve(y: np.ndarray, camera: pxd.Conv, shape: tuple[int, ...]) -> np.ndarray:
    """Return the x that minimises |camera(x) - y|^2 + SMOOTHNESS^2 |differences(x)|^2."""
    kernels = np.zeros((2, 1, 2, 2))
    kernels[0, 0, 0] = kernels[1, 0, :, 0] = -1, 1  # to the right, and downwards
    differences = pxd.Conv(SMOOTHNESS * kernels)
    parts = [operator.as_linear_operator(shape) for operator in (camera, differences)]
    both = LinearOperator(
        (sum(part.shape[0] for part in parts), parts[0].shape[1]),
        matvec=lambda x: np.concatenate([part @ x for part in parts]),
        rmatvec=lambda y: sum(
            part.H @ piece for part, piece in zip(parts, np.split(y, [parts[0].shape[0]]), strict=True)
        ),
        dtype=float,
    )
    wanted = np.concatenate([y.ravel(), np.zeros(parts[1].shape[0])])
    return lsqr(both, wanted, atol=1e-4, btol=1e-4)[0].reshape(shape)


def psnr(x: np.ndarray, original: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, 20 pixels from the border on."""
    return -10 * np.log10(np.mean((x - original)[..., 20:-20, 20:-20] ** 2))


def main(path: str = "deconvolve.png") -> None:
    """Blur and halve a photograph, add noise, and find the way back."""
    original = data.camera()[np.newaxis] / 255
    distance = np.arange(-5.5, 6)  # an even kernel: a measured pixel lies in the middle of two by two
    bell = np.exp(-(distance**2) / (2 * 1.5**2))
    camera = pxd.Conv((np.outer(bell, bell) / bell.sum() ** 2)[np.newaxis, np.newaxis], stride=2, padding=5)
    y = camera(original)
    y += NOISE * np.random.default_rng(0).standard_normal(y.shape)

    found = {
        "measured": y.repeat(2, axis=1).repeat(2, axis=2),
        "enlarged, cubic": zoom(y, (1, 2, 2), order=3, grid_mode=True, mode="nearest"),
        "solved": solve(y, camera, original.shape),
        "original": original,
    }
    quality = {name: psnr(x, original) for name, x in found.items() if name != "original"}
    for name, decibels in quality.items():
        print(f"{name:16} {decibels:5.2f} dB")
    assert quality["solved"] > quality["enlarged, cubic"] + 1

    panels = [np.uint8(255 * np.clip(x[0][SHOWN], 0, 1)) for x in found.values()]
    side, room = ENLARGED * panels[0].shape[0], 22
    picture = Image.new("L", (len(panels) * (side + 4) - 4, side + room), 255)
    draw = ImageDraw.Draw(picture)
    for number, (name, panel) in enumerate(zip(found, panels, strict=True)):
        left = number * (side + 4)
        picture.paste(Image.fromarray(panel).resize((side, side), Image.Resampling.NEAREST), (left, room))
        text = f"{name}, {quality[name]:.1f} dB" if name in quality else name
        draw.text((left + 2, 2), text, fill=0, font_size=15)
    picture.quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
