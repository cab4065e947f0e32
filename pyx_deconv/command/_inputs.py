"""Files and folders that are named on the command line."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pyx_deconv.command._common import CommandError

__all__ = ["is_folder", "walk"]


def is_folder(path: Path) -> bool:
    """Whether a path is a folder of files, and not one that Zarr keeps an array in."""
    return path.is_dir() and not any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup"))


def walk(inputs: Sequence[Path], without: Path | None = None) -> Iterator[tuple[Path, Path]]:
    """Yield every file with its place below the folder that was named, in order; hidden ones are left out.

    Raises
    ------
    CommandError
        If one of the inputs is not there.
    """
    for each in inputs:
        if not each.exists():
            raise CommandError(f"{each} is not there")
        if not is_folder(each):
            yield each, Path(each.name)
            continue
        for folder, folders, files in os.walk(each):
            here = Path(folder)
            arrays = [name for name in folders if not is_folder(here / name)]
            folders[:] = sorted(
                name
                for name in set(folders) - set(arrays)
                if not name.startswith(".")
                and (without is None or (here / name).resolve() != without.resolve())
            )
            for name in sorted(files + arrays):
                if not name.startswith("."):
                    yield here / name, (here / name).relative_to(each)
