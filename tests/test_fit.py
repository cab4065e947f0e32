"""The command ``pyx-deconv fit``."""

import json
import os
import re
import signal

import numpy as np
import pytest
from images import noise, require, smooth

require()
pytest.importorskip("scipy", reason="models are fitted by scipy.optimize")
from PIL import Image  # noqa: E402

from pyx_deconv.__main__ import main  # noqa: E402
from pyx_deconv.upsampling import LearnedUpsampler  # noqa: E402


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        pixels = smooth(70 + number, 80).astype(int) + noise((70 + number, 80, 3), seed=number) // 8
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def fit(*arguments):
    return main(["fit", *map(str, arguments)])


def loaded(folder, names):
    return [np.asarray(Image.open(folder / f"{name}.png")) for name in names]


def test_fit(photos, tmp_path, capsys):
    assert fit(photos, "-o", tmp_path / "model.npz", "--factor", 3) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r".*model\.npz: 4 photographs, \d+ steps, loss [\d.e-]+, \d+\.\d s\n", out)
    expected = LearnedUpsampler(3).fit(loaded(photos, range(4)), progress=False)
    found = LearnedUpsampler.load(tmp_path / "model.npz")
    assert found.get_params() == expected.get_params()
    for name, values in expected.parameters_.items():
        np.testing.assert_array_equal(found.parameters_[name], values)


def test_held_out(photos, tmp_path, capsys):
    arguments = [photos, "-o", tmp_path / "model.npz", "--hold-out", "0.5", "--seed", "3"]
    assert fit(*arguments, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    held, used = ({os.path.basename(name) for name in names} for names in (
        [row["file"] for row in told["held_out"]], told["files"]
    ))  # fmt: skip
    assert held | used == {f"{number}.png" for number in range(4)}
    assert len(held) == len(used) == 2
    model = LearnedUpsampler.load(tmp_path / "model.npz")
    for row in told["held_out"]:
        pixels = np.asarray(Image.open(row["file"]))
        score = model.score(pixels)
        assert (row["psnr"], row["ssim"]) == (score.psnr, score.ssim)
        # Pillow's own bicubic, whose borders are others
        height, width = (side // 2 for side in pixels.shape[:2])
        small = Image.fromarray(pixels[: 2 * height, : 2 * width]).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        large = np.asarray(small.resize((2 * width, 2 * height), Image.Resampling.BICUBIC), float)
        difference = (pixels[: 2 * height, : 2 * width] - large) @ [65.481, 128.553, 24.966] / 255
        psnr = -10 * np.log10((difference[4:-4, 4:-4] ** 2).mean() / 255**2)
        assert row["bicubic_psnr"] == pytest.approx(psnr, abs=0.1)
    assert {key: told[key] for key in ("output", "interrupted", "skipped")} == {
        "output": str(tmp_path / "model.npz"), "interrupted": False, "skipped": []
    }  # fmt: skip
    assert told["loss"] == model.loss_
    assert fit(*arguments, "--force") == 0
    out = capsys.readouterr().out
    gain = np.mean([row["psnr"] - row["bicubic_psnr"] for row in told["held_out"]])
    assert f"held out, not fitted to: {gain:+.2f} dB from bicubic on average" in out


def test_interrupted_fits_are_kept(photos, tmp_path, capsys, monkeypatch):
    """The first Ctrl-C ends the fit after its step."""
    right = LearnedUpsampler.fit

    def interrupted(self, images, *, callback, **options):
        def after_step(number, loss, model):
            if number == 1:
                os.kill(os.getpid(), signal.SIGINT)
            callback(number, loss, model)

        return right(self, images, callback=after_step, **options)

    monkeypatch.setattr(LearnedUpsampler, "fit", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert fit(photos, "-o", tmp_path / "model.npz") == 130
    assert ", 1 step, " in capsys.readouterr().out
    assert LearnedUpsampler.load(tmp_path / "model.npz").n_iter_ == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_no_photograph_is_skipped(photos, tmp_path, capsys):
    (photos / "notes.txt").write_text("no image")
    (photos / "cut.png").write_bytes((photos / "0.png").read_bytes()[:500])
    Image.new("CMYK", (80, 80)).save(photos / "ink.jpg")
    assert fit(photos, "-o", tmp_path / "model.npz", "--json") == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert [os.path.basename(row["input"]) for row in told["skipped"]] == ["cut.png", "ink.jpg", "notes.txt"]
    assert len(told["files"]) == 4
    assert err.count("pyx-deconv: skipped: ") == err.count("\n") == 3


@pytest.mark.parametrize(("arguments", "message"), [
    (["photos", "-o", "model.txt"], "-o must name a file that ends in .npz, not model.txt"),
    (["photos", "-o", "there.npz"], "there.npz is there already; --force replaces it"),
    (["photos", "-o", "missing/model.npz"], "there is no folder missing"),
    (["missing", "-o", "model.npz"], "missing is not there"),
    (["photos", "-o", "model.npz", "--hold-out", "1"], "--hold-out must be at least 0 and less than 1"),
    (["photos", "-o", "model.npz", "--hold-out", "0.9"], "of 4 photographs 4 are held out"),
    (["photos", "-o", "model.npz", "--factor", "1"], "factor"),
    (["photos", "-o", "model.npz", "--max-iter", "0"], "max_iter"),
    (["photos", "small.png", "-o", "model.npz"], "small.png must be"),
    (["text.txt", "-o", "model.npz"], "there are no photographs in text.txt"),
])  # fmt: skip
def test_fit_refuses(arguments, message, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.npz").write_text("mine")
    (tmp_path / "text.txt").write_text("no image")
    Image.new("L", (1, 5)).save(tmp_path / "small.png")
    before = sorted(tmp_path.iterdir())
    assert fit(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.splitlines()[-1]
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.npz").read_text() == "mine"
