"""What a camera wrote down, as the block that stands in JPEG, PNG and WebP files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["from_tiff", "load", "resized", "to_bytes"]

ORIENTATION, EXIF, GPS = 0x0112, 0x8769, 0x8825
WIDTH, HEIGHT = 0xA002, 0xA003  # in the EXIF directory
# Description, make, model, software, date, artist, copyright and the two directories: what is not about how
# the pixels of a TIFF file are stored.
DESCRIPTION = 270
DESCRIPTIVE = (DESCRIPTION, 271, 272, 305, 306, 315, 33432, EXIF, GPS)


def load(block: bytes | None) -> Any:
    """Return Pillow's object for a block; it is empty without one."""
    from PIL import Image

    exif = Image.Exif()
    if block is not None:
        exif.load(block)
    return exif


def to_bytes(exif: Any) -> bytes | None:
    """Return the block, or None if there is nothing in it or nothing that can be written again."""
    with suppress(Exception):  # a damaged block is no reason to refuse the picture
        exif.pop(ORIENTATION, None)
        for directory in (exif, exif.get_ifd(EXIF), exif.get_ifd(GPS)):
            for tag, value in dict(directory).items():
                # Pillow reads texts as latin-1, whatever they are, and would write question marks.
                if isinstance(value, str) and not value.isascii():
                    directory[tag] = value.encode("latin-1")
        if exif:
            return bytes(exif.tobytes())
    return None


def resized(block: bytes | None, height: int, width: int) -> bytes | None:
    """Return the block with another size in it."""
    if block is None:
        return None
    exif = load(block)
    directory = exif.get_ifd(EXIF)
    if WIDTH in directory or HEIGHT in directory:
        directory[WIDTH], directory[HEIGHT] = width, height
    return to_bytes(exif)


def from_tiff(path: Path, described: bool) -> bytes | None:
    """Return the block with what stands in the first directory of a TIFF file.

    ``described``: whether its description is one, and not a note of a program about its arrays.
    """
    from PIL import Image

    found = Image.Exif()
    with suppress(Exception), path.open("rb") as file:  # damaged, or a BigTIFF file
        found.load_from_fp(file)
        kept = Image.Exif()
        for tag in DESCRIPTIVE:
            if tag in found and (described or tag != DESCRIPTION):
                kept[tag] = found.get_ifd(tag) if tag in (EXIF, GPS) else found[tag]
        return to_bytes(kept)
    return None
