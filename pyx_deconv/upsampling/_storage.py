"""Fitted models in .npz files: hyperparameters as JSON beside the arrays, and never a pickle."""

import json
import os
import zipfile
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyx_deconv._files import npz, replacing

__all__ = ["Stored", "read", "write"]

FORMAT, VERSION = "pyx_deconv.upsampling", 1
PREFIX = "parameters."
# What NumPy and zipfile raise where bytes have changed.
DAMAGED = ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error


class Stored(NamedTuple):
    """What a file holds."""

    hyperparameters: dict[str, Any]
    parameters: dict[str, NDArray[Any]]
    loss_curve: list[float]


def write(path: str | os.PathLike[str], stored: Stored) -> None:
    """Write the file whole or not at all."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "hyperparameters": stored.hyperparameters,
        "loss_curve": stored.loss_curve,
    }
    arrays: dict[str, Any] = {PREFIX + name: array for name, array in stored.parameters.items()}
    with replacing(npz(path)) as partial, partial.open("xb") as file:
        np.savez_compressed(file, head=np.array(json.dumps(head, default=int)), **arrays)


def read(path: str | os.PathLike[str]) -> Stored:
    """Read a file, and refuse one that is not whole or not of this kind."""
    source = npz(path)
    with source.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(
                f"{source} must be a file that LearnedUpsampler.save wrote, and is none or is cut"
            )
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except DAMAGED as error:
            raise ValueError(f"{source} is damaged: {error}") from error
    try:
        head = json.loads(str(arrays.pop("head")))
        kind, version = head["format"], head["version"]
        hyperparameters, loss_curve = head["hyperparameters"], head["loss_curve"]
    except (KeyError, TypeError, json.JSONDecodeError):
        kind = None
    if kind != FORMAT:
        raise ValueError(f"{source} must be a file that LearnedUpsampler.save wrote: it has no such head")
    if version != VERSION:
        raise ValueError(
            f"{source} is of version {version} of the format, and this pyx_deconv reads version {VERSION}"
        )
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{source} must hold finite numbers, and {name} does not")
    parameters = {name.removeprefix(PREFIX): array for name, array in arrays.items()}
    return Stored(hyperparameters, parameters, loss_curve)
