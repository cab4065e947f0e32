"""TIFF and Zarr: read and written in pieces, of any kind and size."""

import subprocess
import sys

import numpy as np
import pytest
from images import noise, refused, repeated, require, smooth, upsample

require("tifffile", "imagecodecs", "zarr")
import tifffile  # noqa: E402
import zarr  # noqa: E402
from PIL import Image  # noqa: E402
from PIL.TiffImagePlugin import IFDRational  # noqa: E402

from pyx_deconv._images import _enlarged, _tiff  # noqa: E402


@pytest.fixture(params=["one tile", "many tiles"])
def tiles(request, monkeypatch):
    if request.param == "many tiles":
        monkeypatch.setattr(_enlarged, "TILE", 32)


@pytest.mark.parametrize("options", [
    {}, {"compression": "lzw", "predictor": True}, {"compression": "zlib", "rowsperstrip": 3},
    {"tile": (16, 32), "compression": "zstd"}, {"bigtiff": True}, {"byteorder": ">"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize(("shape", "dtype"), [
    ((41, 70), np.uint8), ((41, 70, 3), np.uint8), ((41, 70), np.uint16), ((41, 70, 3), np.uint16),
    ((41, 70), np.float32), ((41, 70, 3), np.float64), ((41, 70), np.float16),
], ids=str)  # fmt: skip
def test_tiff(shape, dtype, options, tiles, tmp_path):
    pixels = noise(shape, dtype)
    if "predictor" in options and np.dtype(dtype).kind == "f":
        options = {"compression": "lzw"}
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric=photometric, **options)
    assert upsample(tmp_path / "in.tif", tmp_path / "out.tif") == 0
    large = tifffile.imread(tmp_path / "out.tif")
    assert large.dtype == dtype
    np.testing.assert_array_equal(large, repeated(pixels))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.tif", "out.tif"]


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_same_as_pillow_across_tiles(factor, tmp_path, monkeypatch):
    monkeypatch.setattr(_enlarged, "TILE", 32)
    pixels = noise((37, 90))
    tifffile.imwrite(tmp_path / "in.tif", pixels, rowsperstrip=5, compression="zlib")
    assert upsample(tmp_path / "in.tif", tmp_path / "out.tif", "--factor", factor, model="bilinear") == 0
    expected = Image.fromarray(pixels).resize((90 * factor, 37 * factor), Image.Resampling.BILINEAR)
    assert np.abs(tifffile.imread(tmp_path / "out.tif").astype(int) - np.asarray(expected)).max() <= 1


def test_tiff_of_other_kinds(tiles, tmp_path):
    colours, grey, alpha = noise((41, 70, 3)), noise((41, 70)), noise((41, 70)) | 1
    four, indices, palette = np.dstack([colours, alpha]), grey % 16, noise((3, 256), np.uint16)
    kinds = {
        "planes": (np.moveaxis(colours, -1, 0), {"photometric": "rgb", "planarconfig": "separate"}, colours),
        "white is 0": (255 - grey, {"photometric": "miniswhite"}, grey),
        "two values": (grey > 128, {"photometric": "minisblack"}, 255 * (grey > 128)),
        "four bits": (indices, {"bitspersample": 4}, indices * 17),
        "palette": (grey, {"photometric": "palette", "colormap": palette}, (palette >> 8).T[grey]),
        "alpha": (four, {"photometric": "rgb", "extrasamples": ["unassalpha"]}, four),
        "ink": (four, {"photometric": "separated"}, four),
    }  # fmt: skip
    for name, (stored, options, expected) in kinds.items():
        source, target = tmp_path / f"{name}.tif", tmp_path / f"{name} x2.tif"
        tifffile.imwrite(source, stored, **options)
        assert upsample(source, target) == 0, name
        difference = np.abs(tifffile.imread(target).astype(int) - repeated(expected))
        # A colour that is hardly seen is hardly kept.
        assert ((0.5 + 128 / repeated(alpha).T if name == "alpha" else 0) >= difference.T).all(), name


def test_jpeg_in_tiff(tmp_path):
    Image.fromarray(smooth(48, 64)).save(tmp_path / "in.tif", compression="jpeg", quality=95)
    assert upsample(tmp_path / "in.tif", tmp_path / "out.tif") == 0
    with Image.open(tmp_path / "in.tif") as image:
        expected = repeated(image)
    assert np.abs(tifffile.imread(tmp_path / "out.tif").astype(int) - expected).max() <= 2
    assert np.abs(expected.astype(int) - repeated(smooth(48, 64))).mean() < 2


def test_alpha_that_colours_are_multiplied_by(tmp_path):
    straight = np.dstack(
        [np.full((8, 8), 200), np.full((8, 8), 100), np.full((8, 8), 40), noise((8, 8)) | 64]
    )
    multiplied = np.dstack([np.rint(straight[..., :3] * (straight[..., 3:] / 255)), straight[..., 3]]).astype(
        np.uint8
    )
    tifffile.imwrite(tmp_path / "in.tif", multiplied, photometric="rgb", extrasamples=["assocalpha"])
    assert upsample(tmp_path / "in.tif", tmp_path / "out.png") == 0
    with Image.open(tmp_path / "out.png") as large:
        assert np.abs(np.asarray(large, int) - repeated(straight)).max() <= 4


def test_alpha_of_floats(tmp_path):
    pixels = noise((8, 9, 4), np.float32)
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert upsample(tmp_path / "in.tif", tmp_path / "out.tif") == 0
    large = tifffile.imread(tmp_path / "out.tif")
    assert large.dtype == np.float32
    np.testing.assert_allclose(large, repeated(pixels), rtol=1e-5)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(41, 70), (41, 70, 3)])
def test_turned_tiff(shape, orientation, tiles, tmp_path):
    pixels = noise(shape)
    options = {
        "rowsperstrip": 7,
        "compression": "zlib",
        "photometric": "rgb" if len(shape) == 3 else "minisblack",
    }
    tifffile.imwrite(tmp_path / "in.tif", pixels, extratags=[(274, "H", 1, orientation, True)], **options)
    assert upsample(tmp_path / "in.tif", tmp_path / "out.tif") == 0
    turn = [
        lambda a: a, np.fliplr, lambda a: np.rot90(a, 2), np.flipud, lambda a: np.swapaxes(a, 0, 1),
        lambda a: np.rot90(a, -1), lambda a: np.rot90(np.swapaxes(a, 0, 1), 2), np.rot90,
    ][orientation - 1]  # fmt: skip
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), repeated(turn(pixels)))


def test_what_else_is_in_a_tiff(tmp_path):
    pixels = noise((20, 30, 3), np.uint16)
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, photometric="rgb", resolution=(240, 120), resolutionunit="centimeter",
        iccprofile=b"a profile", description="a scan", datetime="2026:01:02 03:04:05", software="a scanner",
        extratags=[(315, "s", 0, "me", True), (700, "B", 7, b"<mine/>", True)], metadata=None,
    )  # fmt: skip
    assert upsample(tmp_path / "in.tif", tmp_path / "out.tif") == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        tags = {tag.name: tag.value for tag in file.pages.first.tags}
    for name, expected in {
        "InterColorProfile": b"a profile", "ImageDescription": "a scan", "DateTime": "2026:01:02 03:04:05",
        "Software": "a scanner", "Artist": "me", "XMP": b"<mine/>", "ResolutionUnit": 2,
    }.items():  # fmt: skip
        assert tags[name] == expected
    dots = [tags[name][0] / tags[name][1] for name in ("XResolution", "YResolution")]
    assert dots == pytest.approx([240 * 2.54, 120 * 2.54])
    assert upsample(tmp_path / "in.tif", tmp_path / "out.png") == 0
    with Image.open(tmp_path / "out.png") as large:
        assert large.info["icc_profile"] == b"a profile"
        assert large.info["dpi"] == pytest.approx(dots, abs=0.1)


@pytest.mark.parametrize("large", [False, True])
def test_camera_tags_in_tiff(large, tmp_path, monkeypatch):
    monkeypatch.setattr(_tiff, "LARGE", 0 if large else 2**32)
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0x829A] = IFDRational(1, 250)
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 10.0)
    Image.fromarray(smooth(32, 48)).save(tmp_path / "in.jpg", exif=exif.tobytes())
    assert upsample(tmp_path / "in.jpg", tmp_path / "out.tif") == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.is_bigtiff == large
        tags = {tag.name: tag.value for tag in file.pages.first.tags}
        np.testing.assert_array_equal(file.asarray(), repeated(np.asarray(Image.open(tmp_path / "in.jpg"))))
    assert tags["Make"] == "a maker"
    assert tags["ExifTag"] == {"ExposureTime": (1, 250)}
    assert tags["GPSTag"] == {"GPSLatitude": (52, 1, 30, 1, 10, 1)}


def test_pages(tmp_path, capsys):
    pages = [noise((9, 12)), noise((20, 7, 3), np.uint16)]
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(pages[0], photometric="minisblack")
        file.write(pages[0][::2, ::2], photometric="minisblack", subfiletype=1)  # a preview
        file.write(pages[1], photometric="rgb", iccprofile=b"a profile")
    assert upsample(tmp_path / "in.tif", tmp_path / "out.tif") == 0
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        for page, expected in zip(file.pages, pages, strict=True):
            np.testing.assert_array_equal(page.asarray(), repeated(expected))
        assert file.pages[1].iccprofile == b"a profile"
    assert "out.png cannot hold 2 pages; .tif can" in refused(
        capsys, tmp_path / "in.tif", tmp_path / "out.png"
    )


@pytest.mark.parametrize(("pixels", "options", "message"), [
    (noise((4, 6), np.uint32), {}, "uint32: 8 or 16 bits, or floats"),
    (noise((4, 6)).astype(np.int16), {}, "int16: 8 or 16 bits, or floats"),
    (noise((4, 6, 5)), {"photometric": "rgb", "planarconfig": "contig"}, "channels beyond the colours"),
    (noise((5, 4, 6)), {"photometric": "minisblack", "volumetric": True}, "pixels of a kind that is not"),
    (noise((4, 6, 3)), {"photometric": "cielab"}, "convert it to RGB"),
])  # fmt: skip
def test_tiff_that_is_refused(pixels, options, message, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "in.tif", pixels, **options)
    assert message in refused(capsys, tmp_path / "in.tif", tmp_path / "out.tif")


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_tiff_that_is_cut(compression, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "in.tif", noise((200, 300)), compression=compression, rowsperstrip=20)
    whole = (tmp_path / "in.tif").read_bytes()
    (tmp_path / "in.tif").write_bytes(whole[: len(whole) // 2])
    assert "cannot read" in refused(capsys, tmp_path / "in.tif", tmp_path / "out.tif")
    assert "cannot read" in refused(capsys, tmp_path / "in.tif", tmp_path / "out.zarr")


def test_floats_of_any_range(tmp_path):
    from pyx_deconv.upsampling import LearnedUpsampler

    LearnedUpsampler(2).fit([noise((80, 80))], progress=False).save(tmp_path / "model.npz")
    pixels = noise((30, 40), np.float32)
    tifffile.imwrite(tmp_path / "unit.tif", pixels)
    tifffile.imwrite(tmp_path / "any.tif", (pixels - pixels.min()) / np.ptp(pixels) * 5000 - 1000)
    tifffile.imwrite(tmp_path / "same.tif", (pixels - pixels.min()) / np.ptp(pixels))
    results = {}
    for name in ("unit", "any", "same"):
        assert (
            upsample(tmp_path / f"{name}.tif", tmp_path / f"{name} x2.tif", model=tmp_path / "model.npz") == 0
        )
        results[name] = tifffile.imread(tmp_path / f"{name} x2.tif")
    np.testing.assert_allclose(results["any"], results["same"] * 5000 - 1000, rtol=0, atol=0.01)
    np.testing.assert_array_equal(
        results["unit"], LearnedUpsampler.load(tmp_path / "model.npz").transform(pixels)
    )


# --- Zarr ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((41, 70), np.uint16), ((41, 70, 3), np.uint8), ((41, 70, 1), float)]
)
def test_zarr(shape, dtype, zarr_format, tiles, tmp_path):
    pixels = noise(shape, dtype)
    chunks = (13, 20, *shape[2:])
    zarr.create_array(tmp_path / "in.zarr", data=pixels, chunks=chunks, zarr_format=zarr_format)
    assert upsample(tmp_path / "in.zarr", tmp_path / "out.zarr") == 0
    large = zarr.open_array(tmp_path / "out.zarr", mode="r")
    assert large.dtype == dtype
    np.testing.assert_array_equal(large[:], repeated(pixels))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.zarr", "out.zarr"]


def test_zarr_and_other_files(tmp_path):
    pixels = noise((41, 70, 3))
    Image.fromarray(pixels).save(tmp_path / "in.png")
    assert upsample(tmp_path / "in.png", tmp_path / "x2.zarr") == 0
    assert upsample(tmp_path / "x2.zarr", tmp_path / "x4.tif") == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x4.tif"), repeated(pixels, 4))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_zarr_with_an_axis_of_one_channel(dtype, tmp_path):
    pixels = noise((9, 12, 1), dtype)
    zarr.create_array(tmp_path / "in.zarr", data=pixels)
    suffixes = ["tif", "pfm"] if dtype == np.float32 else ["tif", "png"]
    for suffix in suffixes:
        assert upsample(tmp_path / "in.zarr", tmp_path / f"out.{suffix}") == 0
        with Image.open(tmp_path / f"out.{suffix}") as large:
            np.testing.assert_array_equal(np.asarray(large), repeated(pixels)[..., 0])


def test_zarr_that_is_there(tmp_path, capsys):
    zarr.create_array(tmp_path / "in.zarr", data=noise((4, 6)))
    zarr.create_array(tmp_path / "out.zarr", data=np.zeros(3))
    message = refused(capsys, tmp_path / "in.zarr", tmp_path / "out.zarr")
    assert "is there already; --force replaces it" in message
    assert upsample(tmp_path / "in.zarr", tmp_path / "out.zarr", "--force") == 0
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "out.zarr", mode="r")[:], repeated(noise((4, 6)))
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.zarr", "out.zarr"]


def test_zarr_that_is_refused(tmp_path, capsys):
    group = zarr.create_group(tmp_path / "group.zarr")
    group.create_array("photos", data=noise((4, 6)))
    assert "a group of arrays" in refused(capsys, tmp_path / "group.zarr", tmp_path / "out.zarr")
    assert upsample(tmp_path / "group.zarr" / "photos", tmp_path / "out.png") == 0
    for pixels in (noise((4, 6, 7)), noise((4,)), noise((4, 6)).astype(int)):
        zarr.create_array(tmp_path / "in.zarr", data=pixels, overwrite=True)
        assert "can be enlarged" in refused(capsys, tmp_path / "in.zarr", tmp_path / "out.zarr")


# --- memory -------------------------------------------------------------------------------------------------

PEAK = """
import resource, sys
from pyx_deconv.__main__ import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # KiB on Linux
sys.exit(code)
"""


def peak(*arguments):
    """MiB of a child process."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return int(done.stdout.split()[-1]) / 2**10


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_memory_does_not_grow_with_the_picture(suffix, tmp_path):
    peaks = []
    for side in (512, 3072):
        source = tmp_path / f"{side}.{suffix}"
        if suffix == "tif":
            tile = noise((256, 256, 3))
            tiles = (tile for _ in range((side // 256) ** 2))
            options = {"tile": (256, 256), "compression": "zlib", "photometric": "rgb", "maxworkers": 1}
            tifffile.imwrite(source, tiles, shape=(side, side, 3), dtype=np.uint8, **options)
        else:
            zarr.create_array(
                source, shape=(side, side, 3), dtype=np.uint8, chunks=(256, 256, 3), fill_value=7
            )
        peaks.append(peak("upsample", source, tmp_path / f"{side} x2.{suffix}", "--model", "bilinear"))
    result = 3 * (2 * 3072) ** 2 / 2**20  # 108 MiB
    assert peaks[1] - peaks[0] < result / 4
