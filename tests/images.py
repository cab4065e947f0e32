"""Image files for the tests, and how they are enlarged from a shell."""

import numpy as np
import pytest

from pyx_deconv.__main__ import main

OPTIONAL = "image files need the extra images: pillow, tqdm, tifffile, imagecodecs, zarr"


def require(*modules):
    for module in ("PIL", "tqdm", *modules):
        pytest.importorskip(module, reason=OPTIONAL)


def noise(shape, dtype=np.uint8, seed=0):
    """Uneven sides and random values, so that exchanged axes and lost bits show."""
    random = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return random.random(shape).astype(dtype)
    return random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def repeated(pixels, factor=2):
    """Enlarged by "nearest", and by nothing of the package."""
    return np.asarray(pixels).repeat(factor, axis=0).repeat(factor, axis=1)


def smooth(height, width):
    """A picture without noise, of which JPEG changes little."""
    rows, columns = np.indices((height, width))
    return np.stack([255 * rows / height, 255 * columns / width, 128 + 60 * np.sin(rows / 9)], -1).astype(
        np.uint8
    )


def upsample(source, target, *options, model="nearest"):
    return main(["upsample", str(source), str(target), "--model", *map(str, (model, *options))])


def refused(capsys, source, target, *options, model="nearest"):
    """Return the one line that says why not; nothing is written."""
    capsys.readouterr()
    there = sorted(target.parent.iterdir()) if target.parent.is_dir() else None
    assert upsample(source, target, *options, model=model) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pyx-deconv: error: ")
    assert err.count("\n") == 1
    assert there is None or sorted(target.parent.iterdir()) == there
    return err
