"""The demo, the command line, and the example at the top of the README."""

import ast
import contextlib
import errno
import io
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import pyx_deconv as pxd
from pyx_deconv import _demo_numbers, _demo_photograph, demo
from pyx_deconv.__main__ import main
from pyx_deconv._demo_photograph import DemoError, adjoint_errors
from pyx_deconv.upsampling.interpolation import INTERPOLATIONS, Enlargement

OPTIONAL = "the demo's pictures need the extra demo: pillow, scikit-image, tqdm"
PICTURES = ["photograph", "bilinear-x2", "bicubic-x2", "bilinear-x3", "bicubic-x3", "comparison"]


@pytest.fixture
def picture():
    """More rows than columns and uneven sizes, so that exchanged axes show."""
    return np.random.default_rng(1).uniform(0, 255, (11, 7, 3))


@pytest.fixture
def image():
    return pytest.importorskip("PIL.Image", reason=OPTIONAL)


@pytest.fixture
def photo_file(image, tmp_path):
    pytest.importorskip("tqdm", reason=OPTIONAL)
    values = np.random.default_rng(2).integers(0, 256, (9, 13, 3), np.uint8)
    image.fromarray(values).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "pyx_deconv", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


# --- pictures and gradients ---------------------------------------------------------------------------------


def test_rounding_to_bytes():
    values = _demo_photograph.to_bytes(np.array([-3.0, 0.4, 0.6, 254.6, 300.0]))
    assert values.dtype == np.uint8
    assert values.tolist() == [0, 0, 1, 255, 255]


@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_adjoint_identity(picture, method):
    _, *errors = adjoint_errors(Enlargement.of(picture, method, 3))
    assert max(errors) < 1e-14


def test_adjoint_identity_of_a_black_picture():
    assert adjoint_errors(Enlargement.of(np.zeros((4, 4, 3)), "bicubic", 2)) == (0, 0, 0)


# --- the numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_every_cell_written_out(stride):
    image, kernel = np.array([[1, 2], [3, 4]]), np.arange(1, 10).reshape(3, 3)
    y = pxd.conv_transpose(image[None], kernel[None, None], stride=stride)[0]
    for (row, column), value in np.ndenumerate(y):
        terms, total = _demo_numbers.cell_sum(image, kernel, stride, row, column).split(" = ")
        products = [ast.literal_eval(f"[{term.replace('*', ',')}]") for term in terms.split(" + ") if term]
        assert float(total) == sum(a * b for a, b in products) == value


def test_classic_examples_show_the_numbers():
    text = "\n".join(_demo_numbers.classic_examples())
    for expected in ("stride 1: 4x4", "stride 2: 5x5", "3 4  4 5 6    7 23 33 24     4  5 14 10 12"):
        assert expected in text
    assert "1*5 + 2*4 + 3*2 + 4*1 = 23" in text
    assert "1*9 + 2*7 + 3*3 + 4*1 = 36" in text


def test_copied_example_is_answered():
    text = "\n".join(_demo_numbers.copied_example())
    assert "No: 8x8x3." in text
    assert '"valid" would give 11x11x3' in text
    assert re.search(r"^ +5 +2 +0 +1 +uneven, 2 to 3 +valid +12x12x3$", text, re.MULTILINE)
    assert re.search(r'stride=2, padding="valid", output_padding=1: +12x12x3$', text, re.MULTILINE)
    assert re.search(r'stride=3, padding="same": +12x12x3$', text, re.MULTILINE)
    assert f"and {len(pxd.solve_settings(4, 12)) - 8} more" in text


# --- the command --------------------------------------------------------------------------------------------


def test_demo_on_the_sample_photograph(image, tmp_path):
    pytest.importorskip("tqdm", reason=OPTIONAL)
    data = pytest.importorskip("skimage.data", reason=OPTIONAL)
    done = command("demo", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "demo-output"
    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{name}.png" for name in PICTURES)
    for text in ("stride 2: 5x5", "No: 8x8x3", "900x1353x3", str(folder), *PICTURES):
        assert text in done.stdout

    original = data.chelsea()
    with image.open(folder / "photograph.png") as saved:
        np.testing.assert_array_equal(np.asarray(saved), original)
    for method in ("bilinear", "bicubic"):
        for factor in (2, 3):
            with image.open(folder / f"{method}-x{factor}.png") as saved:
                assert saved.size == (451 * factor, 300 * factor)
                values = np.asarray(saved).astype(int)
            # The picture is where it was, channel by channel, and its borders are not darker.
            boxes = values.reshape(300, factor, 451, factor, 3).mean((1, 3))
            assert np.abs(boxes - original).mean() < 1.5
            border = np.r_[0, -1]
            assert np.abs(boxes[border].mean((1, 2)) - original[border].mean((1, 2))).max() < 1


def test_demo_on_a_photograph(image, photo_file, tmp_path, capsys):
    folder = tmp_path / "new" / "folder"
    assert main(["demo", "--photo", str(photo_file), "--output", str(folder), "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(folder / f"{name}.png") for name in PICTURES]
    with image.open(folder / "bicubic-x3.png") as saved:
        expected = Enlargement.of(np.asarray(image.open(photo_file), np.float32), "bicubic", 3)()
        np.testing.assert_array_equal(np.asarray(saved), np.clip(np.rint(expected), 0, 255))
    with image.open(folder / "comparison.png") as saved:
        sheet = np.asarray(saved)
    assert sheet.shape == (36 + 9 * 8 + 8, 8 + 3 * (13 * 8 + 8), 3)
    np.testing.assert_array_equal(sheet[36:-8:8, 8 : 8 + 13 * 8 : 8], np.asarray(image.open(photo_file)))


def test_a_photograph_of_one_pixel(image, photo_file, tmp_path):
    image.new("RGB", (1, 1), (10, 20, 30)).save(photo_file)
    assert main(["demo", "--photo", str(photo_file), "--output", str(tmp_path), "--quiet"]) == 0
    with image.open(tmp_path / "bicubic-x3.png") as saved:
        assert (np.asarray(saved) == [10, 20, 30]).all()


def test_a_second_run_replaces_the_pictures(photo_file, tmp_path, capsys):
    arguments = ["demo", "--photo", str(photo_file), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith(f"pyx_deconv {pxd.__version__}")
    (tmp_path / "out" / "bicubic-x2.png").write_bytes(b"of an earlier demo")
    assert main(arguments) == 0
    assert (tmp_path / "out" / "bicubic-x2.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("factor", [1 + 1e-9, np.nan])
@pytest.mark.parametrize("name", ["x", "weight"])
def test_wrong_gradients_are_found(photo_file, tmp_path, capsys, monkeypatch, name, factor):
    right = pxd.conv_transpose_backward

    def wrong(*args, **kwargs):
        gradients = right(*args, **kwargs)
        return gradients._replace(**{name: getattr(gradients, name) * factor})

    monkeypatch.setattr(pxd, "conv_transpose_backward", wrong)
    assert main(["demo", "--photo", str(photo_file), "--output", str(tmp_path), "--quiet"]) == 1
    assert capsys.readouterr().err.startswith("The gradients are wrong")


def test_wrong_pictures_are_found(photo_file, tmp_path, capsys, monkeypatch):
    right = pxd.conv_transpose
    monkeypatch.setattr(pxd, "conv_transpose", lambda *args, **kwargs: right(*args, **kwargs) * 1.001)
    assert main(["demo", "--photo", str(photo_file), "--output", str(tmp_path), "--quiet"]) == 1
    assert capsys.readouterr().err.startswith("The pictures are wrong")


def test_info():
    done = command("info", cwd=None)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line[:16].strip() for line in done.stdout.splitlines()] == [
        "pyx_deconv", "instruction set", "threads", "OpenMP", "bounds checks", "NumPy", "Python",
    ]  # fmt: skip
    assert pxd.__version__ in done.stdout
    assert pxd.kernels.instruction_set in done.stdout


def test_info_is_what_show_config_prints(capsys):
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    pxd.show_config()
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(("arguments", "expected"), [
    ([], "{demo,upsample,fit,explain,solve,bench,info}"),
    (["dmo"], "dmo"),
    (["demo", "--out"], "--out"),
    (["demo", "--output"], "--output"),
    (["info", "--photo", "x"], "--photo"),
])  # fmt: skip
def test_misunderstood_commands(arguments, expected, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert expected in err
    assert "--help" in err


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_help_has_an_example(arguments, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(arguments)
    assert "pyx-deconv demo --photo cat.jpg --output pictures" in capsys.readouterr().out


def assert_refused(capsys, arguments, *expected):
    assert main(["demo", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pyx-deconv: error: ")
    assert err.count("\n") == 1
    for text in expected:
        assert text in err


def test_unusable_folders(photo_file, tmp_path, capsys):
    for folder in (photo_file, photo_file / "inside"):
        assert_refused(capsys, ["--photo", photo_file, "--output", folder], "cannot make", str(folder))
    blocked = tmp_path / "out"
    (blocked / "photograph.png").mkdir(parents=True)
    assert_refused(capsys, ["--photo", photo_file, "--output", blocked], "cannot write", "photograph.png")
    assert [file.name for file in blocked.iterdir()] == ["photograph.png"]


def test_unusable_photographs(image, photo_file, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(photo_file.read_bytes()[:200])
    image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    for name, reason in {
        "missing.png": "No such file", "text.png": "cannot read", "cut.png": "cannot read",
        "deep.png": "8 bits", "folder": "cannot read",
    }.items():  # fmt: skip
        assert_refused(capsys, ["--photo", tmp_path / name, "--output", tmp_path / "out"], name, reason)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("module", ["PIL", "tqdm", "skimage"])
def test_missing_packages_are_named(module, photo_file, tmp_path, capsys, monkeypatch):
    pytest.importorskip("skimage", reason=OPTIONAL)
    monkeypatch.setitem(sys.modules, module, None)
    package = {"PIL": "pillow", "skimage": "scikit-image"}.get(module, module)
    assert_refused(capsys, ["--output", tmp_path / "out"], package, 'pip install "pyx_deconv[demo]"')
    assert not (tmp_path / "out").exists()
    if module == "skimage":
        assert main(["demo", "--photo", str(photo_file), "--output", str(tmp_path), "--quiet"]) == 0


def test_a_full_disk_leaves_what_was_there(image, tmp_path, monkeypatch):
    def full(self, path, **_):
        pathlib.Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "picture.png"
    file.write_bytes(b"earlier")
    monkeypatch.setattr(image.Image, "save", full)
    with pytest.raises(DemoError, match=r"cannot write .*picture\.png: No space left"):
        _demo_photograph.save(np.zeros((2, 2, 3), np.uint8), file)
    assert file.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [file]


def test_photographs_of_other_kinds(image, tmp_path, monkeypatch):
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    file = tmp_path / "photo.png"
    image.fromarray(grey).save(file)
    photo, name = _demo_photograph.load(file)
    assert name == "photo.png"
    np.testing.assert_array_equal(photo, np.stack([grey] * 3, axis=-1))

    exif = image.Exif()
    exif[0x0112] = 6  # the camera was turned: row 0 is the right-hand side
    image.fromarray(grey).save(file, exif=exif)
    np.testing.assert_array_equal(_demo_photograph.load(file)[0][..., 0], np.rot90(grey, -1))

    monkeypatch.setattr(_demo_photograph, "LONGEST_SIDE", 1)
    image.fromarray(grey).save(file)
    photo, name = _demo_photograph.load(file)
    assert photo.tolist() == [[[40] * 3]]
    assert name == "the middle of photo.png"


@pytest.mark.parametrize(("error", "code", "line"), [
    (KeyboardInterrupt(), 130, "interrupted"),
    (MemoryError(), 1, "not enough memory"),
    (MemoryError("no room for 5 GiB"), 1, "no room for 5 GiB"),
])  # fmt: skip
def test_other_ends(error, code, line, capsys, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(demo, "run", fail)
    assert main(["demo"]) == code
    assert capsys.readouterr().err.endswith(f"{line}\n")


def test_a_reader_that_goes_away():
    with subprocess.Popen(
        [sys.executable, "-m", "pyx_deconv", "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_importing_the_library_imports_no_packages_of_the_demo():
    heavy = {"PIL", "skimage", "tqdm", "scipy", "matplotlib", "pyx_deconv.demo", "pyx_deconv.explanation"}
    code = f"import pyx_deconv, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the README ---------------------------------------------------------------------------------------------


def test_the_example_in_the_readme():
    readme = pathlib.Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    code, shown = re.search(r"```python\n(.*?)```\s*```text\n(.*?)```", readme, re.DOTALL).groups()
    assert len([line for line in code.splitlines() if line.strip()]) == 5
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == shown


def test_the_settings_in_the_readme():
    readme = pathlib.Path(__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    call, shown = re.search(r">>> pxd\.(.*)\n(    \[.*?\]\n)", readme, re.DOTALL).groups()
    assert call == "solve_settings(4, 12, kernel_size=5)"
    assert " ".join(shown.split()) == repr(pxd.solve_settings(4, 12, kernel_size=5))
