"""The part of the demo that enlarges a photograph: the kernels, the gradients, the files.

Pillow and scikit-image are imported where they are used, and never by ``import pyx_deconv``.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pyx_deconv as pxd
from pyx_deconv._files import replacing
from pyx_deconv.upsampling.interpolation import INTERPOLATIONS, Enlargement

__all__ = [
    "EYE",
    "DemoError",
    "adjoint_errors",
    "comparison",
    "load",
    "make_folder",
    "resized_by_pillow",
    "save",
    "to_bytes",
]

LONGEST_SIDE = 2000  # of a larger photograph the middle is used
DETAIL, ZOOM = 64, 8  # the comparison shows a square of so many pixels, so many times as large
EYE = (115, 172)  # row and column of what is shown of scikit-image's cat


class DemoError(Exception):
    """Something that whoever called the demo can mend; the message is one line."""


def adjoint_errors(enlargement: Enlargement, seed: int = 0) -> tuple[float, float, float]:
    """Check that ``<conv_transpose(x, weight), g>`` equals ``<x, grad_x>`` and ``<weight, grad_weight>``.

    Parameters
    ----------
    enlargement : Enlargement
        What to differentiate, in float64.
    seed : int, default: 0
        Of the random g, between 0 and 1.

    Returns
    -------
    product, error_x, error_weight : float
        The first of the three products, and the relative distance of the others from it.
    """
    y = enlargement()
    g = np.random.default_rng(seed).random(y.shape)
    x, weight, settings = enlargement
    gradients = pxd.conv_transpose_backward(g, x, weight, needs=("x", "weight"), **settings)
    product = float(np.vdot(y, g))
    others = float(np.vdot(x, gradients.x)), float(np.vdot(weight, gradients.weight))
    error_x, error_weight = (abs(other - product) / (abs(product) or 1.0) for other in others)
    return product, error_x, error_weight


# --- files --------------------------------------------------------------------------------------------------


def load(path: Path | None) -> tuple[NDArray[np.uint8], str]:
    """Read a photograph as (height, width, 3) and name it; without a path, scikit-image's cat."""
    from PIL import Image, ImageOps

    if path is None:
        from skimage import data

        return np.asarray(data.chelsea(), np.uint8), "scikit-image's cat"
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DemoError(
                    f"{path} has more than 8 bits per channel (mode {image.mode}): save it with 8"
                )
            photo = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DemoError(f"cannot read {path}: {_reason(error)}") from error
    top, left = (max(side - LONGEST_SIDE, 0) // 2 for side in photo.shape[:2])
    name = f"the middle of {path.name}" if top or left else path.name
    return photo[top : top + LONGEST_SIDE, left : left + LONGEST_SIDE], name


def make_folder(folder: Path) -> None:
    """Make the folder of the pictures, if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"cannot make the folder {folder}: {_reason(error)}") from error


def save(picture: NDArray[np.uint8], path: Path) -> None:
    """Write a PNG file whole or not at all."""
    from PIL import Image

    try:
        with replacing(path) as partial:
            Image.fromarray(picture).save(partial, format="PNG")
    except OSError as error:
        raise DemoError(f"cannot write {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]


# --- pictures -----------------------------------------------------------------------------------------------


def to_bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Round to 0..255; a cubic overshoots at sharp edges."""
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def resized_by_pillow(picture: NDArray[Any], factor: int, method: str) -> NDArray[Any]:
    """Enlarge with Pillow's own resize, in float32.

    Its bicubic has the same parameter, a = -1/2. Near the borders it leaves out the taps beyond them and
    divides by the sum of the others, so there its bicubic, but not its bilinear, differs from `Enlargement`.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    channels = [
        Image.fromarray(np.ascontiguousarray(channel, np.float32)).resize(
            (width * factor, height * factor), Image.Resampling[method.upper()]
        )
        for channel in np.moveaxis(picture, -1, 0)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def comparison(photo: NDArray[np.uint8], centre: tuple[int, int]) -> NDArray[np.uint8]:
    """Show a detail of a photograph enlarged by every interpolation, side by side, with labels."""
    from PIL import Image, ImageDraw, ImageFont

    rows, columns = (
        slice(start := max(min(middle - DETAIL // 2, side - DETAIL), 0), start + DETAIL)
        for middle, side in zip(centre, photo.shape[:2], strict=True)
    )
    detail = photo[rows, columns].astype(np.float32)
    gap, label = 8, 36
    height, width = (ZOOM * side for side in detail.shape[:2])
    sheet = Image.new("RGB", (gap + len(INTERPOLATIONS) * (width + gap), label + height + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for number, method in enumerate(INTERPOLATIONS):
        left = gap + number * (width + gap)
        sheet.paste(Image.fromarray(to_bytes(Enlargement.of(detail, method, ZOOM)())), (left, label))
        name = f"{method} x{ZOOM}" + (": the pixels of the original" if method == "nearest" else "")
        draw.text((left, label // 2), name, fill="black", font=ImageFont.load_default(20), anchor="lm")
    return np.asarray(sheet)
