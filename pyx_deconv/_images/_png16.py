"""PNG with 16 bits for each of several channels: Pillow keeps 8 of them, imagecodecs all."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SIGNATURE", "encode", "has_16_bits", "read"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def has_16_bits(path: Path) -> bool:
    """Whether a file is PNG with 16 bits for a channel: its first chunk says so."""
    with path.open("rb") as file:
        head = file.read(33)
    return len(head) == 33 and head.startswith(SIGNATURE) and head[24] == 16


def read(path: Path) -> NDArray[np.uint16]:
    """Return the pixels."""
    import imagecodecs

    return np.asarray(imagecodecs.png_decode(path.read_bytes()), np.uint16)


def encode(pixels: NDArray[np.uint16], **metadata: Any) -> bytes:
    """Return a PNG file; ``metadata`` are options of Pillow's writer, which writes the chunks for them."""
    import imagecodecs
    from PIL import Image

    other = io.BytesIO()
    Image.new("RGB", (1, 1)).save(other, "PNG", **metadata)
    chunks = [chunk for name, chunk in _chunks(other.getvalue()) if name not in (b"IHDR", b"IDAT", b"IEND")]
    (_, header), *rest = _chunks(bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels))))
    return b"".join([SIGNATURE, header, *chunks, *(chunk for _, chunk in rest)])


def _chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and all bytes of every chunk: length, name, content, checksum."""
    place = len(SIGNATURE)
    while place < len(file):
        length, name = struct.unpack_from(">I4s", file, place)
        yield name, file[place : place + length + 12]
        place += length + 12
