"""TIFF, by tifffile: pages are read in pieces and written tile by tile."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv._images import _exif
from pyx_deconv._images._picture import ImageError, Picture, Region, Turned, decoding

__all__ = ["MAGIC", "reading", "write"]

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
LARGE = 2**32 - 2**25  # bytes: beyond it offsets have 64 bits, which makes it a BigTIFF
MINIS_WHITE, MINIS_BLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COLOURS = {MINIS_WHITE: 1, MINIS_BLACK: 1, RGB: 3, PALETTE: 3, CMYK: 4, YCBCR: 3}
JPEG = (6, 7)  # the compressions that decode YCbCr to RGB
ASSOCIATED, UNASSOCIATED = 1, 2
XMP, ICC = 700, 34675


@contextmanager
def reading(path: Path) -> Iterator[list[Picture]]:
    """Give the pages, which can be read until the end of the block; smaller copies of pages are left out."""
    import tifffile

    with decoding(path):
        file: Any = tifffile.TiffFile(path)
    with file:
        with decoding(path):
            pages = [page for page in file.pages if not page.is_reduced and not page.is_mask]
            pictures = [_picture(path, page) for page in pages]
        if not pictures:
            raise ImageError(f"cannot read {path}: there is no picture in it")
        yield pictures


def _picture(path: Path, page: Any) -> Picture:
    pixels = _Page(path, page)
    described = not (page.is_shaped or page.is_imagej or page.is_ome)
    orientation = _value(page, 274, 1)
    return Picture(
        Turned(pixels, orientation) if orientation in range(2, 9) else pixels,
        COLOURS[page.photometric],
        bool(page.extrasamples),
        icc=_value(page, ICC, None),
        exif=_exif.from_tiff(path, described) if page.index == 0 else None,
        xmp=_value(page, XMP, None),
        dpi=_dpi(page),
    )


def _value(page: Any, code: int, default: Any) -> Any:
    tag = page.tags.get(code)
    return default if tag is None else tag.value


def _dpi(page: Any) -> tuple[float, float] | None:
    """Return pixels per inch, where an inch or a centimetre is the unit and not something unknown."""
    per_inch = {2: 1.0, 3: 2.54}.get(int(_value(page, 296, 2)))
    sides = [_value(page, code, None) for code in (282, 283)]
    if per_inch is None or not all(side and side[1] for side in sides):
        return None
    across, down = (side[0] / side[1] * per_inch for side in sides)
    return across, down


def _stored(page: Any) -> Any:
    """Return what gives parts of a page without reading all of it; one compressed strip has no parts."""
    if page.is_memmappable:
        return page.asarray(out="memmap")
    if len(page.dataoffsets) == 1:
        return page.asarray()
    import zarr

    return zarr.open_array(page.aszarr(), mode="r")


class _Page:
    """The pixels of a page, decoded where they are asked for."""

    def __init__(self, path: Path, page: Any) -> None:
        self.path, self.photometric = path, page.photometric
        ycbcr = page.photometric == YCBCR and page.compression not in JPEG
        if page.photometric not in COLOURS or ycbcr or page.axes not in ("YX", "YXS", "SYX"):
            raise ImageError(f"{path} has pixels of a kind that is not enlarged: convert it to RGB first")
        if page.extrasamples not in ((), (ASSOCIATED,), (UNASSOCIATED,)) or (
            page.extrasamples and page.photometric == CMYK
        ):
            raise ImageError(f"{path} has channels beyond the colours and alpha: save it without them")
        if page.dtype.kind not in "buf" or page.dtype.itemsize > (8 if page.dtype.kind == "f" else 2):
            raise ImageError(f"{path} has pixels of {page.dtype}: 8 or 16 bits, or floats, can be enlarged")
        self.source = _stored(page)
        self.planar = page.axes == "SYX"
        self.associated = page.extrasamples == (ASSOCIATED,)
        # Fewer bits than those of the dtype, such as 1, 4 or 12, are brought to all of its range.
        self.most = 2**page.bitspersample - 1 if page.dtype.kind != "f" else 1
        self.dtype = np.dtype(np.uint8) if page.dtype.kind == "b" else page.dtype.newbyteorder("=")
        self.palette = None
        if page.photometric == PALETTE:
            self.palette = np.ascontiguousarray(page.colormap.T >> 8).astype(np.uint8)
            self.dtype = np.dtype(np.uint8)
        height, width = page.shape[1:] if self.planar else page.shape[:2]
        channels = COLOURS[page.photometric] + len(page.extrasamples)
        self.shape = (height, width) if channels == 1 else (height, width, channels)

    def __getitem__(self, region: Region) -> NDArray[Any]:
        with decoding(self.path):
            found = np.asarray(self.source[(slice(None), *region) if self.planar else region])
        if self.planar:
            found = np.moveaxis(found, 0, -1)
        found = found.reshape(*found.shape[:2], *self.shape[2:] if self.palette is None else ())
        if self.palette is not None:
            return np.asarray(self.palette[found])
        found = found.astype(self.dtype)
        top = np.iinfo(self.dtype).max if self.dtype.kind == "u" else 1
        if self.dtype.kind == "u" and self.most != top:
            found = (found.astype(np.uint32) * top // self.most).astype(self.dtype)
        if self.photometric == MINIS_WHITE:
            found = top - found
        if self.associated:
            alpha = found[..., -1:].astype(np.float64)
            colours = np.divide(
                found[..., :-1] * float(top),
                alpha,
                out=np.zeros_like(found[..., :-1], float),
                where=alpha > 0,
            )
            if self.dtype.kind == "u":
                colours = np.rint(colours.clip(0, top))
            found[..., :-1] = colours
        return found


# --- writing ------------------------------------------------------------------------------------------------


def write(path: Path, pictures: Sequence[Picture]) -> None:
    """Write pages; their tiles are computed as they are written, compressed without loss."""
    import tifffile

    size = sum(int(np.prod(page.pixels.shape)) * page.pixels.dtype.itemsize for page in pictures)
    with tifffile.TiffWriter(path, bigtiff=size > LARGE, byteorder="<") as file:
        for page in pictures:
            _write_page(file, page)
    if pictures[0].exif is not None:
        height, width = pictures[0].pixels.shape[:2]
        _append(path, _exif.resized(pictures[0].exif, height, width))


def _write_page(file: Any, page: Picture) -> None:
    pixels: Any = page.pixels
    channels = [each for each in pixels.shape[2:] if each > 1]
    extra: list[tuple[int, int, int, Any, bool]] = []
    if page.xmp is not None:
        extra.append((XMP, 1, len(page.xmp), page.xmp, True))
    options: dict[str, Any] = {}
    exif = _exif.load(page.exif)
    for code, name in ((270, "description"), (305, "software"), (306, "datetime")):
        if code in exif:
            text = _text(exif[code])
            options[name] = text.decode("latin-1") if name == "datetime" else text
    for code in (271, 272, 315, 33432):
        if code in exif:
            text = _text(exif[code]) + b"\0"
            extra.append((code, 2, len(text), text, True))
    for code in (_exif.EXIF, _exif.GPS):
        if code in exif:
            extra.append(
                (code - 1, 4, 1, 0, True)
            )  # its place is not known yet, and tifffile writes no other
    if page.dpi is not None:
        options |= {"resolution": page.dpi, "resolutionunit": 2}
    file.write(
        (np.ascontiguousarray(tile).reshape(*tile.shape[:2], *channels) for _, _, tile in pixels.tiles()),
        shape=(*pixels.shape[:2], *channels),
        dtype=pixels.dtype,
        tile=(pixels.tile, pixels.tile),
        photometric={1: MINIS_BLACK, 3: RGB, 4: CMYK}[page.colours],
        extrasamples=[UNASSOCIATED] if page.alpha else None,
        compression="adobe_deflate",
        predictor=True,
        iccprofile=page.icc,
        metadata=None,
        extratags=extra,
        maxworkers=1,  # more would ask for many tiles before they are written
        **options,
    )


def _text(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")  # as Pillow has read it


def _append(path: Path, block: bytes | None) -> None:
    """Append the directories of a camera and of places, and say in the first page where they are."""
    import tifffile
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    exif = _exif.load(block)
    with tifffile.TiffFile(path) as file:
        large = file.is_bigtiff
        places = {
            code: tag.offset
            for code in (_exif.EXIF, _exif.GPS)
            if (tag := file.pages.first.tags.get(code - 1))
        }
    head = b"II+\0\x08\0\0\0" + bytes(8) if large else b"II*\0" + bytes(4)
    with path.open("r+b") as out:
        for code, place in places.items():
            directory = ImageFileDirectory_v2(head, group=code)
            for tag, value in exif.get_ifd(code).items():
                directory[tag] = value
            end = out.seek(0, 2)
            end += out.write(bytes(end % 2))  # at an even place
            out.write(directory.tobytes(end))
            out.seek(place)
            out.write(
                struct.pack("<HHQQ", code, 16, 1, end) if large else struct.pack("<HHLL", code, 4, 1, end)
            )
