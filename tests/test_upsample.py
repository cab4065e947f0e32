"""The command ``pyx-deconv upsample``: models, folders, jobs, interruptions, and what a script gets."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from images import noise, refused, repeated, require, smooth, upsample

require()
from PIL import Image  # noqa: E402

import pyx_deconv as pxd  # noqa: E402
from pyx_deconv.__main__ import main  # noqa: E402
from pyx_deconv._images import _enlarged  # noqa: E402
from pyx_deconv.command import upsample as command  # noqa: E402
from pyx_deconv.upsampling import LearnedUpsampler, interpolate  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "mine.npz"
    LearnedUpsampler(3).fit([smooth(90, 120), noise((90, 90))], progress=False).save(path)
    return path


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(noise((19, 27, 3))).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def array(path):
    with Image.open(path) as image:
        return np.asarray(image)


# --- models -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
def test_fixed_kernels(method, factor, photo, tmp_path, capsys):
    assert upsample(photo, tmp_path / "out.png", "--factor", factor, model=method) == 0
    expected = interpolate(array(photo), factor, method)
    np.testing.assert_array_equal(array(tmp_path / "out.png"), expected)
    size = f"{27 * factor}x{19 * factor}"
    assert re.fullmatch(rf".*out\.png, {size}, \d+\.\d s\n", capsys.readouterr().out)


def test_a_model_of_ones_own(model, photo, tmp_path):
    assert upsample(photo, tmp_path / "out.png", model=model) == 0
    expected = LearnedUpsampler.load(model).transform(array(photo))
    np.testing.assert_array_equal(array(tmp_path / "out.png"), expected)


@pytest.mark.parametrize("shape", [(37, 100), (37, 100, 3), (2, 1, 3)])
def test_tiles_change_no_bit(shape, model, tmp_path, monkeypatch):
    monkeypatch.setattr(_enlarged, "TILE", 48)
    Image.fromarray(noise(shape)).save(tmp_path / "photo.png")
    assert upsample(tmp_path / "photo.png", tmp_path / "out.png", model=model) == 0
    expected = LearnedUpsampler.load(model).transform(noise(shape))
    np.testing.assert_array_equal(array(tmp_path / "out.png"), expected)


@pytest.mark.parametrize("name", ["linear", "fsrcnn"])
def test_models_that_come_with_the_package(name, photo, tmp_path):
    expected = LearnedUpsampler.pretrained(2, name).transform(array(photo))
    assert upsample(photo, tmp_path / "out.png", model=name) == 0
    np.testing.assert_array_equal(array(tmp_path / "out.png"), expected)
    if name == "fsrcnn":
        assert main(["upsample", str(photo), str(tmp_path / "default.png")]) == 0
        np.testing.assert_array_equal(array(tmp_path / "default.png"), expected)


@pytest.mark.parametrize(("options", "message"), [
    (["--model", "lanczos"], "--model must be one of linear, fsrcnn, nearest, bilinear, bicubic, or a file"),
    (["--model", "missing.npz"], "cannot read missing.npz: No such file"),
    (["--model", "linear", "--factor", "13"], "nearest, bilinear, bicubic take any factor"),
    (["--factor", "0"], "--factor must be 1 or more, not 0"),
    (["--jobs", "0"], "--jobs must be 1 or more, not 0"),
])  # fmt: skip
def test_options_that_do_not_go(options, message, photo, tmp_path, capsys):
    assert message in refused(capsys, photo, tmp_path / "out.png", *options)


def test_models_that_do_not_fit(model, photo, tmp_path, capsys):
    assert "enlarges by 3" in refused(capsys, photo, tmp_path / "out.png", "--factor", "2", model=model)
    (tmp_path / "other.npz").write_bytes(b"no model")
    assert "other.npz" in refused(capsys, photo, tmp_path / "out.png", model=tmp_path / "other.npz")


# --- one file -----------------------------------------------------------------------------------------------


def test_nothing_is_replaced_unasked(photo, tmp_path, capsys):
    (tmp_path / "out.png").write_text("mine")
    assert "is there already; --force replaces it" in refused(capsys, photo, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_text() == "mine"
    assert upsample(photo, tmp_path / "out.png", "--force") == 0
    np.testing.assert_array_equal(array(tmp_path / "out.png"), repeated(array(photo)))


def test_a_file_may_become_itself(photo):
    before = array(photo)
    assert upsample(photo, photo, "--force") == 0
    np.testing.assert_array_equal(array(photo), repeated(before))


def test_what_a_script_gets(photo, tmp_path, capsys):
    target = tmp_path / "out.png"
    assert upsample(photo, target, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["written"][0].pop("seconds") >= 0
    row = {"input": str(photo), "output": str(target), "width": 54, "height": 38, "pictures": 1}
    assert told == {"written": [row], "skipped": [], "failed": []}


@pytest.mark.parametrize("module", ["PIL", "tqdm"])
def test_missing_packages_are_named(module, photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert 'pip install "pyx_deconv[images]"' in refused(capsys, photo, tmp_path / "out.png")


@pytest.mark.parametrize("module", ["tifffile", "zarr"])
def test_missing_packages_for_some_files(module, photo, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    target = tmp_path / {"tifffile": "out.tif", "zarr": "out.zarr"}[module]
    message = refused(capsys, photo, target)
    assert module in message
    assert 'pip install "pyx_deconv[images]"' in message
    assert upsample(photo, tmp_path / "out.png") == 0


def test_missing_packages_for_16_bits(tmp_path, capsys, monkeypatch):
    codecs = pytest.importorskip("imagecodecs", reason="the extra images")
    (tmp_path / "deep.png").write_bytes(codecs.png_encode(noise((4, 6, 3), np.uint16)))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    message = refused(capsys, tmp_path / "deep.png", tmp_path / "out.png")
    assert 'deep.png needs imagecodecs: pip install "pyx_deconv[images]"' in message


def test_a_full_disk_leaves_nothing(photo, tmp_path, capsys, monkeypatch):
    def full(self, path, *arguments, **options):
        if not hasattr(path, "write_bytes"):
            return right(self, path, *arguments, **options)
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    right = Image.Image.save

    monkeypatch.setattr(Image.Image, "save", full)
    assert "No space left" in refused(capsys, photo, tmp_path / "out.tga")


# --- folders ------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    photos = tmp_path / "photos"
    (photos / "inside" / "deeper").mkdir(parents=True)
    (photos / ".hidden").mkdir()
    for number, name in enumerate(
        ["a.png", "inside/b.bmp", "inside/deeper/c.png", ".hidden/d.png", ".e.png"]
    ):
        Image.fromarray(noise((5 + number, 8, 3), seed=number)).save(photos / name)
    (photos / "notes.txt").write_text("no image")
    return photos


def files(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("jobs", [1, 3])
def test_folders(jobs, folder, tmp_path, capsys):
    target = tmp_path / "large"
    assert upsample(folder, target, "--jobs", jobs) == 0
    out, err = capsys.readouterr()
    assert out == f"3 enlarged into {target}, 1 skipped, 0 failed\n"
    assert err == f"pyx-deconv: skipped {folder / 'notes.txt'}: no image\n"
    assert files(target) == ["a.png", "inside/b.bmp", "inside/deeper/c.png"]
    for name in files(target):
        np.testing.assert_array_equal(array(target / name), repeated(array(folder / name)))


def test_an_output_inside_the_folder_is_no_input(folder, capsys):
    assert upsample(folder, folder / "large") == 0
    assert upsample(folder, folder / "large", "--force") == 0
    assert files(folder / "large") == ["a.png", "inside/b.bmp", "inside/deeper/c.png"]


def test_errors_of_single_files_come_at_the_end(folder, tmp_path, capsys):
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "fake.jpg").write_text("no image")
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "a.png").write_text("mine")
    assert upsample(folder, tmp_path / "large", "--json") == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [row["input"] for row in told["written"]] == [
        str(folder / "inside" / "b.bmp"), str(folder / "inside" / "deeper" / "c.png")
    ]  # fmt: skip
    assert told["skipped"] == [{"input": str(folder / "notes.txt")}]
    errors = [row["error"] for row in told["failed"]]
    for error, expected in zip(errors, ["is there already", "cannot read", "named as an image"], strict=True):
        assert expected in error
    assert files(tmp_path / "large") == ["a.png", "inside/b.bmp", "inside/deeper/c.png"]

    assert upsample(folder, tmp_path / "large") == 1
    out, err = capsys.readouterr()
    assert "0 enlarged" in out
    assert err.count("pyx-deconv: error: ") == 5


def test_several_files_and_folders(folder, tmp_path, capsys):
    Image.fromarray(noise((4, 4))).save(tmp_path / "one.png")
    arguments = ["upsample", str(tmp_path / "one.png"), str(folder / "inside"), str(tmp_path / "large")]
    assert main([*arguments, "--model", "nearest"]) == 0
    assert files(tmp_path / "large") == ["b.bmp", "deeper/c.png", "one.png"]
    twice = ["upsample", str(folder / "a.png"), str(folder), str(tmp_path / "other"), "--model", "nearest"]
    assert main(twice) == 2
    assert "several files would become" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_file_into_a_folder(photo, tmp_path):
    (tmp_path / "large").mkdir()
    assert upsample(photo, tmp_path / "large") == 0
    assert files(tmp_path / "large") == ["photo.png"]


def test_folders_with_nothing_in_them(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "there are no files in" in refused(capsys, tmp_path / "empty", tmp_path / "large")
    assert main(["upsample", str(tmp_path / "missing"), str(tmp_path), "--model", "nearest"]) == 2
    assert "missing is not there" in capsys.readouterr().err


def test_jobs_share_the_threads(folder, tmp_path, monkeypatch):
    seen = []
    right = command._enlarge

    def watched(*arguments):
        seen.append(pxd.get_num_threads())
        return right(*arguments)

    monkeypatch.setattr(command, "_enlarge", watched)
    with pxd.num_threads(4):
        most = pxd.get_num_threads()  # 1 in a build without OpenMP
        assert upsample(folder, tmp_path / "large", "--jobs", 3) == 0
    assert seen == [max(1, most // 3)] * 4


# --- interruptions ------------------------------------------------------------------------------------------


@pytest.fixture
def interruptible():
    """What a shell starts in the background ignores Ctrl-C, and so would this process and its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_while_it_computes(folder, tmp_path, monkeypatch, capsys):
    """In the main thread and in others: what is half-written goes."""

    def interrupt(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return right(self)

    right = command.images.Enlarged.array
    monkeypatch.setattr(command.images.Enlarged, "array", interrupt)
    for source, target in [(folder / "a.png", tmp_path / "out.png"), (folder, tmp_path / "large")]:
        assert upsample(source, target) == 130
        assert capsys.readouterr().err.endswith("pyx-deconv: interrupted\n")
    assert not (tmp_path / "out.png").exists()
    hidden = [file for file in tmp_path.rglob(".*") if file.is_file() and folder not in file.parents]
    assert hidden == []


@pytest.mark.usefixtures("interruptible")
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c(tmp_path):
    Image.fromarray(smooth(2000, 2000)).save(tmp_path / "in.png")
    arguments = ["-m", "pyx_deconv", "upsample", "in.png", "out.tif", "--model", "bicubic", "--factor", "8"]
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        # Not at once: while codecs are imported, an interruption may be taken for one that is missing.
        while process.poll() is None and not any(
            file.stat().st_size > 100_000 for file in tmp_path.glob(".out.tif*")
        ):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == "pyx-deconv: interrupted\n"
    assert [file.name for file in tmp_path.iterdir()] == ["in.png"]
