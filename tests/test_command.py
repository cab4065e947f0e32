"""The command line: what all commands share, and ``solve``, ``bench`` and ``info``."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import pyx_deconv as pxd
from pyx_deconv.__main__ import COMMANDS, main
from pyx_deconv.command import bench


def refused(capsys, *arguments):
    """Return the one line that says why not."""
    assert main([*arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pyx-deconv: error: ")
    assert err.count("\n") == 1
    return err


# --- all commands -------------------------------------------------------------------------------------------


def test_commands_in_the_help(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert list(COMMANDS) == ["demo", "upsample", "fit", "explain", "solve", "bench", "info"]
    for command in COMMANDS:
        assert re.search(rf"^    {command} +\w", text, re.MULTILINE)
        assert f"\n  pyx-deconv {command}" in text
    assert "exit codes: 0 done, 1" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert re.search(rf"^(examples?:\n? +)?pyx-deconv {command}|^  pyx-deconv {command}", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 110


def test_the_command_in_a_shell():
    done = subprocess.run(
        [sys.executable, "-m", "pyx_deconv", "solve", "4", "12x12"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "pyx-deconv: error: output_size must have as many axes as input_size, 1, not 2\n"


def test_starting_imports_nothing_heavy():
    heavy = {"PIL", "matplotlib", "scipy", "skimage", "tifffile", "tqdm", "zarr"}
    code = f"import pyx_deconv.__main__, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- solve --------------------------------------------------------------------------------------------------


def test_solve(capsys):
    assert main(["solve", "4", "12", "--kernel", "5"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "Settings that take 4 to 12, the simplest first:",
        "",
        "kernel stride padding output_padding taps per output pixel padding word",
        "5 3 1 0 uneven, 1 to 2 same, same_lower",
        "5 2 0 1 uneven, 2 to 3 valid",
        "5 3 2 2 uneven, 1 to 2",
    ]


@pytest.mark.parametrize(("arguments", "sizes", "given"), [
    (["4", "12"], (4, 12), {}),
    (["4x6", "12x18", "--padding", "same"], ((4, 6), (12, 18)), {"padding": "same"}),
    (["7", "14", "--padding", "1:2", "--stride", "2"], (7, 14), {"padding": (1, 2), "stride": 2}),
    (["7", "14", "--padding", "1", "--output-padding", "1"], (7, 14), {"padding": 1, "output_padding": 1}),
    (["5", "13", "--dilation", "2", "--max-kernel", "4", "--max-stride", "2"], (5, 13),
     {"dilation": 2, "max_kernel_size": 4, "max_stride": 2}),
])  # fmt: skip
def test_solve_for_scripts(arguments, sizes, given, capsys):
    assert main(["solve", *arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    answers = pxd.solve_settings(*sizes, **given)
    assert len(told) == len(answers) > 0
    for row, answer in zip(told, answers, strict=True):
        padding = row["padding"]
        row["padding"] = padding if isinstance(padding, int) else tuple(map(tuple, padding))
        assert pxd.Setting(*(row[name] for name in pxd.Setting._fields)) == answer
        assert tuple(row["padding_words"]) == answer.words
        assert (
            row["taps_per_output_pixel"]["fewest"],
            row["taps_per_output_pixel"]["most"],
        ) == answer.overlap


def test_solve_shows_the_first_answers(capsys):
    answers = pxd.solve_settings(4, 12)
    assert main(["solve", "4", "12"]) == 0
    text = capsys.readouterr().out
    assert text.endswith(f"  and {len(answers) - 12} more: --all\n")
    assert main(["solve", "4", "12", "--all"]) == 0
    every = capsys.readouterr().out.splitlines()
    assert len(every) == 3 + len(answers)
    assert text.splitlines()[:-1] == every[: 3 + 12]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_solve_without_an_answer(options, capsys):
    assert main(["solve", "4", "12", "--kernel", "2", "--stride", "2", *options]) == 1
    out, err = capsys.readouterr()
    assert out == ("[]\n" if options else "No settings within the bounds take 4 to 12; see the options of "
                   "pyx-deconv solve --help.\n")  # fmt: skip
    assert err == ""


@pytest.mark.parametrize(("arguments", "message"), [
    (["0", "12"], "input_size=0"),
    (["4", "12x12"], "as many axes"),
    (["4", "12", "--padding", "sam"], "'valid', 'same'"),
    (["4", "12", "--kernel", "0"], "kernel_size=0"),
])  # fmt: skip
def test_solve_refuses(arguments, message, capsys):
    assert message in refused(capsys, "solve", *arguments)


@pytest.mark.parametrize(("arguments", "message"), [
    (["4"], "OUTPUT"),
    (["4", "x"], "argument OUTPUT: must be a size such as 4 or 4x6, not 'x'"),
    (["4", "12", "--padding", "1:b"], "argument --padding: must be an integer, 1:2 for begin and end"),
    (["4", "12", "--kernel", "five"], "--kernel"),
])  # fmt: skip
def test_solve_misunderstood(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["solve", *arguments])
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


# --- bench --------------------------------------------------------------------------------------------------

MINE = [
    "--input",
    "2x6x5x4",
    "--weight",
    "6x2x3x2",
    "--stride",
    "2,1",
    "--groups",
    "2",
    "--padding",
    "1:0,0:1",
]


def test_layers_of_bench():
    found = {
        layer.name: pxd.ConvTranspose(np.zeros(layer.weight), **layer.settings).output_shape(layer.x)
        for layer in bench.LAYERS
    }
    assert found == {
        "DCGAN generator, 256 to 128": (1, 128, 32, 32),
        "U-Net, 128 to 64": (1, 64, 224, 224),
        "FSRCNN, x2": (1, 1, 256, 256),
        "HiFi-GAN vocoder, 256 to 128": (1, 128, 2048),
        "3-D U-Net, 64 to 32": (1, 32, 32, 32, 32),
        "bilinear x2, depthwise": (1, 9, 512, 512),
    }


def test_bench(capsys, monkeypatch):
    small = [layer._replace(x=(*layer.x[:2], *[3] * len(layer.x[2:]))) for layer in bench.LAYERS]
    monkeypatch.setattr(bench, "LAYERS", small)
    assert main(["bench", "--quick"]) == 0
    out = capsys.readouterr().out
    for layer in bench.LAYERS:
        assert layer.name in out
    for name in ("forward", "gradient of x", "gradient of weight"):
        assert len(re.findall(rf"{name} +[\d.e+]+ ms +\d+ GFLOP/s", out)) == len(bench.LAYERS)


def test_bench_of_ones_own_for_scripts(capsys, monkeypatch):
    called = []
    right = pxd.ConvTranspose.__call__
    monkeypatch.setattr(
        pxd.ConvTranspose, "__call__", lambda self, x: called.append(x.shape) or right(self, x)
    )
    assert main(["bench", "--quick", "--json", "--dtype", "float64", *MINE]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threads"] == pxd.get_num_threads()
    assert told["instruction_set"] == pxd.kernels.instruction_set
    assert [row["pass"] for row in told["passes"]] == ["forward", "gradient of x", "gradient of weight"]
    assert set(called) == {(2, 6, 5, 4)}
    row = told["passes"][0]
    assert len(called) == row["calls"] + 1
    assert row["settings"] == {
        "stride": [2, 1], "padding": [[1, 0], [0, 1]], "output_padding": 0, "dilation": 1, "groups": 2
    }  # fmt: skip
    # 2 operations for each of 2 * 6 * 20 inputs, 2 channels of its group and 6 taps
    assert row["GFLOP/s"] * row["ms"] == pytest.approx(2 * 240 * 2 * 6 / 1e6)
    assert 0 < row["ms_fastest"] <= row["ms"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--input", "1x2x3x3"], "--input and --weight belong together"),
    (["--input", "1x3x3x3", "--weight", "2x2x3x3"], "has 3 channels"),
    (["--input", "3", "--weight", "2"], "weight"),
    ([*MINE, "--output-padding", "5"], "output_padding=5"),
])  # fmt: skip
def test_bench_refuses(arguments, message, capsys):
    assert message in refused(capsys, "bench", "--quick", *arguments)


# --- info ---------------------------------------------------------------------------------------------------


def test_info_for_scripts(capsys):
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == pxd.show_config(mode="dicts")
