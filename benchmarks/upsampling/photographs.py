"""Photographs that come with scikit-image, scikit-learn and matplotlib, and how they are split."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PHOTOGRAPHS", "SPLITS", "Photograph", "load", "load_at_scales", "split"]

Image = NDArray[np.uint8]


class Photograph(NamedTuple):
    """One photograph, where it comes from, and whose it is."""

    name: str
    package: str
    credit: str


# All photographs of things as one sees them, in the order of their names. Left out are pictures through a
# telescope or a microscope (hubble_deep_field, moon, cell, retina, ...), scanned pages and drawings, what is
# blurred on purpose (clock_motion), and the right one of the stereo pair.
PHOTOGRAPHS = (
    Photograph("astronaut", "scikit-image", "NASA, public domain"),
    Photograph("brick", "scikit-image", "CC0Textures, CC0"),
    Photograph("camera", "scikit-image", "Lav Varshney, CC0"),
    Photograph("chelsea", "scikit-image", "Stefan van der Walt, CC0"),
    Photograph("china", "scikit-learn", "danielbuechele on Flickr, CC BY 2.0"),
    Photograph("coffee", "scikit-image", "Rachel Michetti, CC0"),
    Photograph("coins", "scikit-image", "Brooklyn Museum, no known copyright restrictions"),
    Photograph("flower", "scikit-learn", "vultilion on Flickr, CC BY 2.0"),
    Photograph("grace_hopper", "matplotlib", "James S. Davis, US Navy, public domain"),
    Photograph("grass", "scikit-image", "linolafett on DeviantArt, CC0"),
    Photograph("gravel", "scikit-image", "CC0Textures, CC0"),
    Photograph("motorcycle_left", "scikit-image", "Middlebury stereo datasets 2014, D. Scharstein et al."),
    Photograph("rocket", "scikit-image", "SpaceX, public domain"),
)

# Every third file is held out: the third, sixth, ... of the list. That is the split of the report and of the
# models that ship. The two others start at the first and the second, so that each file is held out once.
SPLITS = (2, 0, 1)

# What is fitted to comes in these sizes as well, as the authors of FSRCNN do it: that is how few photographs
# show lines and edges of many kinds.
SCALES = (0.7, 0.5)


def split(first: int) -> tuple[list[Photograph], list[Photograph]]:
    """Return what is fitted to, and what is held out: every third from this place on."""
    held_out = PHOTOGRAPHS[first::3]
    return [each for each in PHOTOGRAPHS if each not in held_out], list(held_out)


def load(photograph: Photograph) -> Image:
    """Return the pixels, (height, width) or (height, width, 3)."""
    return LOADERS[photograph.package](photograph.name)


def load_at_scales(photographs: list[Photograph]) -> list[Image]:
    """Return the pixels of photographs, and smaller copies of them."""
    from PIL import Image as pillow

    pictures = [load(each) for each in photographs]
    for scale in SCALES:
        for whole in pictures[: len(photographs)]:
            size = (int(whole.shape[1] * scale), int(whole.shape[0] * scale))
            pictures.append(np.asarray(pillow.fromarray(whole).resize(size, pillow.Resampling.BICUBIC)))
    return pictures


@cache
def _scikit_image(name: str) -> Image:
    from skimage import data

    found: Any = data.stereo_motorcycle()[0] if name == "motorcycle_left" else getattr(data, name)()
    return np.asarray(found)


@cache
def _scikit_learn(name: str) -> Image:
    from sklearn.datasets import load_sample_image

    return np.asarray(load_sample_image(f"{name}.jpg"))


@cache
def _matplotlib(name: str) -> Image:
    from matplotlib.cbook import get_sample_data
    from PIL import Image as pillow

    with get_sample_data(f"{name}.jpg") as file:
        return np.asarray(pillow.open(file))


LOADERS: dict[str, Callable[[str], Image]] = {
    "scikit-image": _scikit_image,
    "scikit-learn": _scikit_learn,
    "matplotlib": _matplotlib,
}
