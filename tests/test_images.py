"""Image files that Pillow reads: what is in them is there afterwards, enlarged."""

import io

import numpy as np
import pytest
from images import noise, refused, repeated, require, smooth, upsample

require()
from PIL import Image, ImageOps, JpegImagePlugin  # noqa: E402
from PIL.PngImagePlugin import PngInfo  # noqa: E402

from pyx_deconv._images import _enlarged  # noqa: E402

EXIF, GPS = 0x8769, 0x8825
SHAPES = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}


def picture(mode, height=7, width=11):
    pixels = noise((height, width, *SHAPES[mode]))
    if mode in ("LA", "RGBA"):
        pixels[..., -1] |= 1  # the colour of what is not seen at all is not kept
    return Image.fromarray(pixels, "CMYK" if mode == "CMYK" else None)


def array(path):
    with Image.open(path) as image:
        return np.asarray(image)


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "suffix"), [
    ("L", "png"), ("LA", "png"), ("RGB", "png"), ("RGBA", "png"), ("L", "bmp"), ("RGB", "bmp"),
    ("RGB", "ppm"), ("RGBA", "tga"), ("LA", "jp2"), ("RGBA", "jp2"), ("L", "pgm"),
])  # fmt: skip
def test_pixels_are_kept(mode, suffix, tmp_path):
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    image = picture(mode)
    image.save(source)
    assert upsample(source, target) == 0
    with Image.open(target) as large:
        assert large.mode == mode
        np.testing.assert_array_equal(np.asarray(large), repeated(image))
    assert sorted(file.name for file in tmp_path.iterdir()) == [source.name, target.name]


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_same_as_pillow_across_tiles(mode, factor, tmp_path, monkeypatch):
    monkeypatch.setattr(_enlarged, "TILE", 32)
    image = picture(mode, 37, 90)
    if mode == "RGBA":
        image.putalpha(255)
    image.save(tmp_path / "in.png")
    assert upsample(tmp_path / "in.png", tmp_path / "out.png", "--factor", factor, model="bilinear") == 0
    expected = np.asarray(image.resize((90 * factor, 37 * factor), Image.Resampling.BILINEAR), int)
    assert np.abs(array(tmp_path / "out.png") - expected).max() <= 1


def test_two_values_become_grey(tmp_path):
    image = Image.fromarray(noise((5, 9)) > 128)
    assert image.mode == "1"
    image.save(tmp_path / "in.png")
    assert upsample(tmp_path / "in.png", tmp_path / "out.png") == 0
    np.testing.assert_array_equal(array(tmp_path / "out.png"), repeated(image) * 255)


@pytest.mark.parametrize("suffix", ["png", "gif"])
@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_become_colours(suffix, transparent, tmp_path):
    image = picture("RGB").quantize(9)
    image.save(tmp_path / f"in.{suffix}", **{"transparency": 4} if transparent else {})
    assert upsample(tmp_path / f"in.{suffix}", tmp_path / "out.png") == 0
    with Image.open(tmp_path / "out.png") as large:
        assert large.mode == ("RGBA" if transparent else "RGB")
        pixels = np.array(large)
    expected = np.array(image.convert("RGB"))
    if transparent:
        seen = np.asarray(image) != 4
        expected = np.dstack([expected * seen[..., None], seen * 255])
    np.testing.assert_array_equal(pixels, repeated(expected))


def test_a_colour_that_stands_for_transparent(tmp_path):
    image = Image.fromarray(np.array([[10, 20], [20, 30]], np.uint8))
    image.save(tmp_path / "in.png", transparency=20)
    assert upsample(tmp_path / "in.png", tmp_path / "out.png") == 0
    expected = [[[10, 255], [0, 0]], [[0, 0], [30, 255]]]
    np.testing.assert_array_equal(array(tmp_path / "out.png"), repeated(expected))


YELLOW = [250, 210, 30]


def disc(path):
    """Write a yellow disc on black that is not seen, as editors write it; return its alpha."""
    rows, columns = np.indices((24, 24)) - 11.5
    alpha = np.clip(255 * (9 - np.hypot(rows, columns)), 0, 255).astype(np.uint8)
    pixels = np.dstack([np.where(alpha[..., None] > 0, YELLOW, 0), alpha]).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return alpha


@pytest.mark.parametrize(
    ("model", "largest"), [("bicubic", 0), ("bilinear", 0), ("linear", 1), ("fsrcnn", 6)]
)
def test_no_fringe_where_alpha_ends(model, largest, tmp_path):
    alpha = Image.fromarray(disc(tmp_path / "in.png").astype(np.float32))  # to be rounded once
    assert upsample(tmp_path / "in.png", tmp_path / "out.png", model=model) == 0
    large = array(tmp_path / "out.png").astype(int)
    seen = large[..., 3] > 8
    assert 0.45 < seen.mean() < 0.55
    assert np.abs(large[seen][:, :3] - YELLOW).max() <= largest
    kind = Image.Resampling.BILINEAR if model == "bilinear" else Image.Resampling.BICUBIC
    expected = np.clip(np.asarray(alpha.resize((48, 48), kind)), 0, 255)
    assert np.abs(large[..., 3] - expected).max() <= 0.51


def test_fringes_are_what_the_test_finds(tmp_path):
    """If each channel goes its own way."""
    disc(tmp_path / "in.png")
    with Image.open(tmp_path / "in.png") as image:
        bands = [band.resize((48, 48), Image.Resampling.BICUBIC) for band in image.split()]
    large = np.asarray(Image.merge("RGBA", bands), int)
    assert np.abs(large[large[..., 3] > 8][:, :3] - YELLOW).max() > 100


@pytest.mark.parametrize("model", ["bicubic", "linear", "fsrcnn"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_alpha_that_hides_nothing_changes_nothing(mode, model, tmp_path):
    image = picture(mode, 30, 40)
    image.save(tmp_path / "in.png")
    image.putalpha(255)
    image.save(tmp_path / "in with alpha.png")
    for name in ("in", "in with alpha"):
        assert upsample(tmp_path / f"{name}.png", tmp_path / f"{name} x2.png", model=model) == 0
    with Image.open(tmp_path / "in with alpha x2.png") as large:
        assert np.asarray(large)[..., -1].min() == 255
        difference = np.asarray(large.convert(mode), int) - array(tmp_path / "in x2.png")
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("shape", [(7, 11), (7, 11, 2), (7, 11, 3), (7, 11, 4)])
def test_png_of_16_bits(shape, tmp_path):
    codecs = pytest.importorskip("imagecodecs", reason="the extra images")
    pixels = noise(shape, np.uint16)
    if shape[2:] in ((2,), (4,)):
        pixels[..., -1] |= 1
    (tmp_path / "in.png").write_bytes(codecs.png_encode(pixels))
    assert upsample(tmp_path / "in.png", tmp_path / "out.png") == 0
    large = codecs.png_decode((tmp_path / "out.png").read_bytes())
    assert large.dtype == np.uint16
    # With alpha the colours are multiplied by it and divided again, in 24 bits.
    seen = repeated(pixels)[..., -1:] > 1000 if shape[2:] in ((2,), (4,)) else np.array(True)
    difference = np.abs(large.astype(int) - repeated(pixels)) * seen
    assert difference.max() <= (1 if shape[2:] in ((2,), (4,)) else 0)
    with Image.open(tmp_path / "out.png") as image:
        image.load()  # the file is whole


def test_pgm_of_16_bits(tmp_path):
    pixels = noise((3, 5), np.uint16)
    (tmp_path / "in.pgm").write_bytes(b"P5 5 3 65535\n" + pixels.astype(">u2").tobytes())
    assert upsample(tmp_path / "in.pgm", tmp_path / "out.png") == 0
    np.testing.assert_array_equal(array(tmp_path / "out.png"), repeated(pixels))


def test_pfm_of_floats(tmp_path):
    pixels = noise((3, 5), np.float32)
    Image.fromarray(pixels).save(tmp_path / "in.pfm")
    assert upsample(tmp_path / "in.pfm", tmp_path / "out.pfm") == 0
    np.testing.assert_array_equal(array(tmp_path / "out.pfm"), repeated(pixels))


def test_cmyk_stays_cmyk(tmp_path):
    source = tmp_path / "in.jpg"
    image = Image.fromarray(np.dstack([smooth(32, 48), np.full((32, 48), 20, np.uint8)]), "CMYK")
    image.save(source, quality=95, icc_profile=b"a profile", subsampling=0)
    assert upsample(source, tmp_path / "out.tif") == 0
    assert upsample(source, tmp_path / "out.jpg") == 0
    expected = repeated(array(source)).astype(int)
    with Image.open(tmp_path / "out.tif") as large:
        assert (large.mode, large.info["icc_profile"]) == ("CMYK", b"a profile")
        np.testing.assert_array_equal(np.asarray(large), expected)
    with Image.open(tmp_path / "out.jpg") as large:
        assert (large.mode, large.info["icc_profile"]) == ("CMYK", b"a profile")
        assert np.abs(np.asarray(large) - expected).mean() < 2


# --- what else is in a file ---------------------------------------------------------------------------------


def photograph(path, orientation=1, **options):
    exif = Image.Exif()
    exif[0x0112], exif[0x0110], exif[0x013B] = orientation, "a camera", "Zoë".encode()
    exif.get_ifd(EXIF)[0x9003] = "2026:01:02 03:04:05"
    exif.get_ifd(EXIF)[0xA002], exif.get_ifd(EXIF)[0xA003] = 48, 32
    exif.get_ifd(GPS)[1], exif.get_ifd(GPS)[2] = "N", (52.0, 30.0, 10.0)
    Image.fromarray(smooth(32, 48)).save(
        path,
        quality=95,
        subsampling=2,
        exif=exif.tobytes(),
        icc_profile=b"a profile",
        dpi=(300, 200),
        **options,
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned(orientation, tmp_path):
    photograph(tmp_path / "in.jpg", orientation)
    assert upsample(tmp_path / "in.jpg", tmp_path / "out.png") == 0
    with Image.open(tmp_path / "in.jpg") as image, Image.open(tmp_path / "out.png") as large:
        np.testing.assert_array_equal(np.asarray(large), repeated(ImageOps.exif_transpose(image)))
        assert 0x0112 not in large.getexif()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_what_the_camera_wrote_is_kept(suffix, tmp_path):
    photograph(tmp_path / "in.jpg", 6, xmp=b'<x:xmpmeta tiff:Orientation="6" mine="yes"/>')
    assert upsample(tmp_path / "in.jpg", tmp_path / f"out.{suffix}") == 0
    with Image.open(tmp_path / f"out.{suffix}") as large:
        exif = large.getexif()
        assert large.size == (64, 96)
        assert large.info["icc_profile"] == b"a profile"
        assert 0x0112 not in exif
        assert exif[0x0110] == "a camera"
        assert exif[0x013B].encode("latin-1") == "Zoë".encode()
        assert dict(exif.get_ifd(EXIF)) == {0x9003: "2026:01:02 03:04:05", 0xA002: 64, 0xA003: 96}
        assert dict(exif.get_ifd(GPS)) == {1: "N", 2: (52.0, 30.0, 10.0)}
        xmp = large.info.get("xmp") or large.info["XML:com.adobe.xmp"]
        assert b'mine="yes"' in (xmp if isinstance(xmp, bytes) else xmp.encode())
        assert b"Orientation" not in (xmp if isinstance(xmp, bytes) else xmp.encode())
        if suffix != "webp":  # which has no place for it
            assert large.info["dpi"] == pytest.approx((300, 200), abs=0.1)


def test_16_bits_keep_their_profile(tmp_path):
    codecs = pytest.importorskip("imagecodecs", reason="the extra images")
    head = io.BytesIO()
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "<mine/>")
    Image.new("RGB", (1, 1)).save(head, "PNG", icc_profile=b"a profile", dpi=(300, 300), pnginfo=info)
    with Image.open(head) as image:
        chunks = head.getvalue()[33 : head.getvalue().index(b"IDAT") - 4]
        assert image.info["icc_profile"] == b"a profile"
    deep = codecs.png_encode(noise((4, 6, 3), np.uint16))
    (tmp_path / "in.png").write_bytes(deep[:33] + chunks + deep[33:])
    assert upsample(tmp_path / "in.png", tmp_path / "out.png") == 0
    with Image.open(tmp_path / "out.png") as large:
        assert large.info["icc_profile"] == b"a profile"
        assert large.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert large.info["XML:com.adobe.xmp"] == "<mine/>"


@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_jpeg_to_jpeg(sampling, tmp_path):
    Image.fromarray(smooth(32, 48)).save(tmp_path / "in.jpg", quality=90, subsampling=sampling)
    assert upsample(tmp_path / "in.jpg", tmp_path / "out.jpg") == 0
    with Image.open(tmp_path / "out.jpg") as large:
        assert JpegImagePlugin.get_sampling(large) == sampling
        assert np.abs(np.asarray(large, int) - repeated(array(tmp_path / "in.jpg"))).mean() < 1.5


def test_the_first_of_several_in_a_jpeg(tmp_path):
    pictures = [Image.fromarray(pixels) for pixels in (smooth(32, 48), noise((32, 48, 3)))]
    options = {"save_all": True, "append_images": pictures[1:], "quality": 95, "subsampling": 2}
    pictures[0].save(tmp_path / "in.jpg", "MPO", **options)
    assert upsample(tmp_path / "in.jpg", tmp_path / "out.jpg") == 0
    with Image.open(tmp_path / "out.jpg") as large:
        assert (large.format, JpegImagePlugin.get_sampling(large)) == ("JPEG", 2)
        assert np.abs(np.asarray(large, int) - repeated(smooth(32, 48))).mean() < 2


# --- animations ---------------------------------------------------------------------------------------------

TIMES = [40, 70, 100, 130]


def animation(path, loop, **options):
    frames = []
    for step in range(4):
        pixels = np.zeros((12, 20, 4), np.uint8)
        pixels[3:9, 3 * step : 3 * step + 6] = (200, 60 * step, 10, 255)
        pixels[3, 3 * step] = 0  # no rectangle: libwebp would forget that there is alpha around it
        frames.append(Image.fromarray(pixels))
    rest = {} if loop is None else {"loop": loop}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=TIMES, **rest, **options)
    return frames


def frames_of(path):
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            found.append((np.asarray(image.convert("RGBA")), image.info["duration"]))
        return found, image.info.get("loop")


@pytest.mark.parametrize("source", ["in.gif", "in.png", "in.webp"])
@pytest.mark.parametrize("target", ["out.gif", "out.png", "out.webp"])
def test_animations_stay_animated(source, target, tmp_path):
    options = {"in.gif": {"disposal": 2}, "in.webp": {"lossless": True}}.get(source, {})
    frames = animation(tmp_path / source, 3, **options)
    assert upsample(tmp_path / source, tmp_path / target) == 0
    found, loop = frames_of(tmp_path / target)
    assert loop == 3
    assert [time for _, time in found] == TIMES
    for (pixels, _), frame in zip(found, frames, strict=True):
        seen = repeated(frame)[..., 3] == 255
        np.testing.assert_array_equal(pixels[..., 3] == 255, seen)
        difference = np.abs(pixels[seen].astype(int) - repeated(frame)[seen])
        assert difference.mean() < 3 if target == "out.webp" else difference.max() == 0


def test_a_gif_that_plays_once_plays_once(tmp_path):
    animation(tmp_path / "in.gif", None, disposal=2)
    assert upsample(tmp_path / "in.gif", tmp_path / "out.gif") == 0
    assert frames_of(tmp_path / "out.gif")[1] is None


def test_a_gif_keeps_small_spots_of_colour(tmp_path):
    rows, columns = np.indices((60, 60))
    pixels = np.dstack([128 + rows, 100 + columns, 90 + (rows + columns) // 2]).astype(np.uint8)
    pixels[20:24, 20:24] = (20, 200, 20)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    assert upsample(tmp_path / "in.png", tmp_path / "out.gif") == 0
    with Image.open(tmp_path / "out.gif") as large:
        found = np.asarray(large.convert("RGB"), int)
    assert np.abs(found[40:48, 40:48] - (20, 200, 20)).max() < 16
    assert np.abs(found - repeated(pixels)).mean() < 3


# --- what cannot be read or written -------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "content", "message"), [
    ("empty.jpg", b"", "empty.jpg: it is named as an image, and is none"),
    ("text.png", b"hello", "text.png: it is named as an image, and is none"),
    ("notes.txt", b"hello", "notes.txt: it is no image that Pillow knows"),
    ("raw.nef", b"II*\0" + bytes(40), "raw files of cameras"),
    ("bad.tif", b"II*\0" + bytes(40), "cannot read"),
])  # fmt: skip
def test_files_that_are_no_images(name, content, message, tmp_path, capsys):
    (tmp_path / name).write_bytes(content)
    assert message in refused(capsys, tmp_path / name, tmp_path / "out.png")


@pytest.mark.filterwarnings("ignore:IM image format is deprecated")
def test_pixels_of_other_kinds(tmp_path, capsys):
    Image.new("I", (4, 4)).save(tmp_path / "in.im")
    assert "kind (I) that is not enlarged" in refused(capsys, tmp_path / "in.im", tmp_path / "out.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp"])
def test_files_that_are_cut(suffix, tmp_path, capsys):
    Image.fromarray(noise((40, 60, 3))).save(tmp_path / f"whole.{suffix}")
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    assert f"cannot read {tmp_path / 'cut'}" in refused(
        capsys, tmp_path / f"cut.{suffix}", tmp_path / "out.png"
    )


def test_files_that_are_not_there(tmp_path, capsys):
    assert "No such file" in refused(capsys, tmp_path / "in.png", tmp_path / "out.png")
    picture("L").save(tmp_path / "in.png")
    assert "no folder" in refused(capsys, tmp_path / "in.png", tmp_path / "missing" / "out.png")
    (tmp_path / "here").mkdir()
    (tmp_path / "here.png").mkdir()
    assert "no files" in refused(capsys, tmp_path / "here", tmp_path / "here.png")


@pytest.mark.parametrize(("mode", "target", "message"), [
    ("RGBA", "out.jpg", "out.jpg cannot hold RGB with alpha; .png, .tif, .webp"),
    ("LA", "out.jpg", "out.jpg cannot hold grey with alpha; .png"),
    ("CMYK", "out.png", "out.png cannot hold CMYK; .tif, .jpg"),
    ("CMYK", "out.zarr", "out.zarr cannot hold CMYK"),
    ("I;16", "out.jpg", "out.jpg cannot hold grey of 16 bits; .png, .tif"),
    ("I;16", "out.webp", "out.webp cannot hold grey of 16 bits"),
    ("F", "out.png", "out.png cannot hold grey of floats; .tif"),
    ("RGB", "out.xyz", "out.xyz has to end in the name of a format"),
    ("RGB", "out", "has to end in the name of a format"),
    ("RGB", "out.psd", "has to end in the name of a format"),
    ("RGB", "out.ico", "has to end in the name of a format"),
])  # fmt: skip
def test_formats_that_cannot_hold_it(mode, target, message, tmp_path, capsys):
    source = tmp_path / "in.tif"
    if mode in SHAPES:
        picture(mode).save(source)
    else:
        Image.fromarray(noise((4, 6), np.uint16 if mode == "I;16" else np.float32)).save(source)
    assert message in refused(capsys, source, tmp_path / target)


def test_formats_without_frames(tmp_path, capsys):
    animation(tmp_path / "in.gif", 0)
    for target in ("out.jpg", "out.tif", "out.zarr"):
        message = refused(capsys, tmp_path / "in.gif", tmp_path / target)
        assert f"{target} cannot hold the 4 frames of an animation; .png, .webp" in message


def test_sides_that_are_too_long(tmp_path, capsys):
    Image.new("L", (40_000, 1)).save(tmp_path / "in.png")
    assert "more than 65500 pixels" in refused(capsys, tmp_path / "in.png", tmp_path / "out.jpg")
    assert "more than 16383 pixels" in refused(capsys, tmp_path / "in.png", tmp_path / "out.webp")


def test_pictures_that_would_fill_the_memory(tmp_path, capsys, monkeypatch):
    picture("RGB", 50, 60).save(tmp_path / "in.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "--allow-large" in refused(capsys, tmp_path / "in.png", tmp_path / "out.png")
    assert upsample(tmp_path / "in.png", tmp_path / "out.png", "--allow-large") == 0
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # Pillow only warns of up to twice as many
    assert upsample(tmp_path / "in.png", tmp_path / "out2.png") == 0
    assert capsys.readouterr().err == ""


def test_metadata_that_are_too_long(tmp_path, capsys):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "<mine/>" * 10_000)
    picture("RGB").save(tmp_path / "in.png", pnginfo=info)
    assert "out.jpg: XMP data is too long" in refused(capsys, tmp_path / "in.png", tmp_path / "out.jpg")
    assert upsample(tmp_path / "in.png", tmp_path / "out.png") == 0


@pytest.mark.parametrize("dpi", [(0, 0), (300, 0)])
def test_resolutions_that_are_none(dpi, tmp_path):
    picture("RGB").save(tmp_path / "in.png", dpi=dpi)
    assert upsample(tmp_path / "in.png", tmp_path / "out.jpg") == 0
    with Image.open(tmp_path / "out.jpg") as large:
        assert "dpi" not in large.info


def test_damaged_exif_is_no_reason_to_stop(tmp_path):
    Image.fromarray(smooth(8, 8)).save(
        tmp_path / "in.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(9)
    )
    assert upsample(tmp_path / "in.jpg", tmp_path / "out.png") == 0
    assert array(tmp_path / "out.png").shape == (16, 16, 3)
