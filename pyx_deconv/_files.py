"""Files that are written whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

__all__ = ["npz", "replacing"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file or a folder to write; when that is done, it takes the place of ``path``."""
    partial = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        yield partial
        if partial.is_dir():
            _replace_folder(partial, path)
        else:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())  # otherwise a power cut may leave the new name with no content
            os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _replace_folder(partial: Path, path: Path) -> None:
    """Put a folder in the place of another, which is not done at once; if it fails, the old one stays."""
    if not path.exists():
        os.replace(partial, path)
        return
    before = partial.with_name(f"{partial.name}.before")
    os.replace(path, before)
    try:
        os.replace(partial, path)
    except BaseException:
        os.replace(before, path)
        raise
    shutil.rmtree(before, ignore_errors=True)


def npz(path: str | os.PathLike[str]) -> Path:
    """Check the name of an archive of arrays."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a string or a path, not {type(path).__name__}")
    found = Path(path)
    if found.suffix != ".npz":
        raise ValueError(f"path must end in .npz, not {str(path)!r}")
    return found
