"""The formats of Pillow: whole pictures of 8 bits, and grey ones of 16 or floats; animations."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv._images import _exif, _png16
from pyx_deconv._images._picture import ImageError, NoImage, Picture, Turned

__all__ = ["ANIMATED", "LARGEST_SIDE", "format_of", "holds", "read", "write"]

ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
ICONS = ("ICO", "ICNS")  # these writers make other sizes of a picture
LARGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "GIF": 65535, "AVIF": 65535}
MODES = {"L": (1, False), "LA": (1, True), "RGB": (3, False), "RGBA": (3, True), "CMYK": (4, False)}
# As what others are read. Where a colour stands for transparent, an alpha channel comes with it.
READ_AS = {"1": "L", "P": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
QUALITY = 95  # of JPEG, WebP and AVIF: beyond it files grow and nothing is to be seen


def read(path: Path) -> list[Picture]:
    """Return the picture of a file, or the frames of an animation."""
    from PIL import Image, UnidentifiedImageError

    try:
        file = Image.open(path)
    except UnidentifiedImageError as error:
        if path.suffix.lower() in Image.registered_extensions():
            raise ImageError(f"cannot read {path}: it is named as an image, and is none") from error
        raise NoImage(f"cannot read {path}: it is no image that Pillow knows") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} is so large that it may be meant to fill the memory: --allow-large reads it"
        ) from error
    with file as image:
        if image.format in ANIMATED and getattr(image, "n_frames", 1) > 1:
            return _frames(path, image)
        image.load()
        return [_picture(path, image)]


def _picture(path: Path, image: Any) -> Picture:
    from PIL import JpegImagePlugin

    if (image.mode == "I" and image.format == "PPM") or image.mode.startswith("I;16"):
        pixels, meaning = np.asarray(image).astype(np.uint16), (1, False)
    elif image.mode == "F":
        pixels, meaning = np.asarray(image), (1, False)
    elif _png16.has_16_bits(path):
        pixels = _png16.read(path)
        meaning = {2: (1, True), 3: (3, False), 4: (3, True)}[pixels.shape[2]]
    else:
        image = _plain(path, image)
        pixels, meaning = np.asarray(image), MODES[image.mode]
    exif = image.getexif()
    orientation = exif.get(_exif.ORIENTATION, 1)
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    jpeg = image.format in ("JPEG", "MPO") and image.mode == "RGB"
    sampling = JpegImagePlugin.get_sampling(image) if jpeg else -1
    return Picture(
        Turned(pixels, orientation) if orientation in range(2, 9) else pixels,
        *meaning,
        icc=image.info.get("icc_profile") or None,
        exif=_exif.to_bytes(exif),
        xmp=xmp and _unturned(xmp),
        dpi=_dpi(image.info.get("dpi", ())),
        sampling=None if sampling < 0 else sampling,
    )


def _dpi(stored: Any) -> tuple[float, float] | None:
    sides = tuple(map(float, stored))
    return (sides[0], sides[1]) if len(sides) == 2 and all(0 < side < np.inf for side in sides) else None


def _plain(path: Path, image: Any) -> Any:
    mode = READ_AS.get(image.mode, image.mode)
    if mode not in MODES:
        raise ImageError(
            f"{path} has pixels of a kind ({mode}) that is not enlarged: convert it to RGB first"
        )
    if image.has_transparency_data and mode in ("L", "RGB"):
        mode += "A"
    return image if mode == image.mode else image.convert(mode)


def _unturned(xmp: str | bytes) -> bytes:
    """Return XMP without an orientation: the pixels are turned."""
    block = xmp.encode() if isinstance(xmp, str) else xmp
    return re.sub(rb'tiff:Orientation="\d"|<tiff:Orientation>\d</tiff:Orientation>', b"", block)


def _frames(path: Path, image: Any) -> list[Picture]:
    """Return every frame as it is seen; the picture that an animated PNG has for others is none of them."""
    info, frames, durations = dict(image.info), [], []
    for number in range(int(bool(info.get("default_image"))), image.n_frames):
        image.seek(number)
        image.load()
        frames.append(_plain(path, image.copy()))
        durations.append(float(image.info.get("duration", 0)))
    mode = "RGBA" if any(frame.mode in ("LA", "RGBA") for frame in frames) else "RGB"
    return [
        Picture(
            np.asarray(frame.convert(mode)),
            *MODES[mode],
            icc=info.get("icc_profile") or None,
            duration=duration,
            loop=info.get("loop"),
        )
        for frame, duration in zip(frames, durations, strict=True)
    ]


# --- writing ------------------------------------------------------------------------------------------------


def format_of(path: Path) -> str | None:
    """Return Pillow's name of the format that a file's name asks for, if it can write and read it."""
    from PIL import Image

    name = Image.registered_extensions().get(path.suffix.lower())
    return name if name in Image.SAVE and name in Image.OPEN and name not in ICONS else None


def holds(name: str, picture: Picture) -> bool:
    """Whether a format holds pixels of this kind: tried with a small, transparent picture."""
    from PIL import Image

    dtype = picture.pixels.dtype
    if name == "PNG" and dtype == np.uint16 and picture.colours != 4:
        return True
    deep = dtype != np.uint8
    if deep and (picture.colours > 1 or picture.alpha or dtype not in (np.uint16, np.float32)):
        return False
    mode = ("I;16" if dtype == np.uint16 else "F") if deep else _mode(picture)
    file = io.BytesIO()
    try:
        Image.new("RGBA" if mode == "LA" and name == "GIF" else mode, (16, 16)).save(file, name)
        with Image.open(file) as again:
            again.load()
    except (OSError, ValueError):
        return False
    return bool(
        (again.has_transparency_data or not picture.alpha)
        and (again.mode == "CMYK" or picture.colours != 4)
        and (again.mode[0] == mode[0] or not deep)
    )


def _mode(picture: Picture) -> str:
    return next(mode for mode, meaning in MODES.items() if meaning == (picture.colours, picture.alpha))


def write(path: Path, name: str | None, pictures: Sequence[Picture]) -> None:
    """Write a picture, or an animation, in the format of this name."""
    from PIL import Image

    first = pictures[0]
    height, width = first.pixels.shape[:2]
    options: dict[str, Any] = {
        "icc_profile": first.icc,
        "exif": _exif.resized(first.exif, height, width),
        "dpi": first.dpi,
    }
    options = {option: value for option, value in options.items() if value is not None}
    if first.xmp and name == "PNG":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", first.xmp.decode(errors="replace"))
    elif first.xmp:
        options["xmp"] = first.xmp
    if name in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = QUALITY
    if name == "JPEG":
        options["subsampling"] = 0 if first.sampling is None else first.sampling
    arrays = (_whole(picture) for picture in pictures)
    if first.duration is not None:
        options |= {"save_all": True, "duration": [picture.duration for picture in pictures]}
        options |= {"disposal": 2} if name == "GIF" else {"disposal": 0, "blend": 0} if name == "PNG" else {}
        if first.loop is not None:
            options["loop"] = first.loop
    elif name == "PNG" and first.pixels.dtype == np.uint16:
        path.write_bytes(_png16.encode(next(arrays), **options))
        return
    mode = "CMYK" if first.colours == 4 else None  # the others can be told by their shapes
    images = [_for_gif(array) if name == "GIF" else Image.fromarray(array, mode) for array in arrays]
    images[0].save(path, name, **options | ({"append_images": images[1:]} if len(images) > 1 else {}))


def _whole(picture: Picture) -> NDArray[Any]:
    pixels: Any = picture.pixels
    array: NDArray[Any] = pixels.array()
    return array[..., 0] if array.shape[2:] == (1,) else array  # an array in Zarr may have it so


def _for_gif(array: NDArray[np.uint8]) -> Any:
    """Choose 255 colours; one more means that a pixel is not seen, which is all that GIF knows of alpha."""
    from PIL import Image

    has_alpha = array.ndim == 3 and array.shape[2] in (2, 4)
    colours = array[..., :-1] if has_alpha else array.reshape(*array.shape[:2], -1)
    rgb = Image.fromarray(np.ascontiguousarray(np.broadcast_to(colours, (*array.shape[:2], 3))))
    # Of Pillow's ways the one that keeps small spots of a colour of their own.
    image = rgb.quantize(255, method=Image.Quantize.MAXCOVERAGE, kmeans=4)
    if has_alpha:
        palette: Any = image.getpalette()
        image = Image.fromarray(np.where(array[..., -1] >= 128, np.asarray(image), 255).astype(np.uint8), "P")
        image.putpalette(palette)
        image.info["transparency"] = 255
    return image
