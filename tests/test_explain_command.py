"""The command ``pyx-deconv explain``."""

import re

import numpy as np
import pytest

import pyx_deconv as pxd
from pyx_deconv.__main__ import main

NINE = np.arange(1, 10).reshape(3, 3)


def run(*arguments):
    return main(["explain", *map(str, arguments)])


def test_command_by_default(tmp_path, monkeypatch, capsys, shown):
    monkeypatch.chdir(tmp_path)
    assert run() == 0
    assert (tmp_path / "explain.html").read_text(encoding="utf-8") == shown._document()
    first, second = capsys.readouterr().out.splitlines()
    assert first == repr(shown)
    assert re.fullmatch(r"explain\.html, \d+ kB", second)


@pytest.mark.parametrize(("arguments", "x", "kernel", "settings"), [
    (["--input", "4", "--kernel", "1,10,100", "--padding", "same"],
     [1, 2, 3, 4], [1, 10, 100], {"padding": "same"}),
    (["--input", "1,2;3,-4", "--kernel", "2x3", "--stride", "2,1"],
     [[1, 2], [3, -4]], [[1, 2, 3], [4, 5, 6]], {"stride": (2, 1)}),
    (["--input=-0.5,1e-3", "--kernel", "2", "--padding", "1", "--output-padding", "1"],
     [-0.5, 1e-3], [1, 2], {"padding": 1, "output_padding": 1}),
    (["--padding", "1:0,0:-2"], [[1, 2], [3, 4]], NINE, {"padding": ((1, 0), (0, -2))}),
    (["--padding=0,1", "--dilation", "2"], [[1, 2], [3, 4]], NINE, {"padding": (0, 1), "dilation": 2}),
])  # fmt: skip
def test_command(arguments, x, kernel, settings, tmp_path):
    assert run(*arguments, "-o", tmp_path / "shown.html") == 0
    expected = pxd.explain(x, kernel, **({"stride": 2} | settings))
    assert (tmp_path / "shown.html").read_text(encoding="utf-8") == expected._document()


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".gif", b"GIF8"), (".svg", b"<?xml")])
def test_command_for_pictures(suffix, start, tmp_path, drawn):
    assert run("-o", tmp_path / f"shown{suffix}") == 0
    assert (tmp_path / f"shown{suffix}").read_bytes().startswith(start)


def test_command_replaces_nothing_unasked(tmp_path, capsys):
    file = tmp_path / "shown.html"
    file.write_text("mine")
    assert run("-o", file) == 2
    assert capsys.readouterr().err == f"pyx-deconv: error: {file} is there already; --force replaces it\n"
    assert file.read_text() == "mine"
    assert run("-o", file, "--force") == 0
    assert file.read_text() != "mine"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--input", "9x2"], "x must have from 1 to 8 entries along each of 2 axes"),
    (["--input", "0x2"], "not 0 on axis 0"),
    (["--kernel", "3"], "kernel must have as many axes as x"),
    (["--padding", "sam"], "padding must be one of 'valid', 'same'"),
    (["--padding", "1:2"], "padding must have an integer or a (begin, end) pair for each of 2 spatial axes"),
    (["--output-padding", "2"], "output_padding=2 on axis 0 must be smaller than stride=2"),
    (["-o", "shown.pdf"], "path must end in .html"),
    (["-o", "missing/shown.html"], "cannot write missing/shown.html: No such file or directory"),
])  # fmt: skip
def test_command_refuses(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pyx-deconv: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "message"), [
    (["--input", "2xx"], "argument --input: must be a size such as 4 or 2x2, or numbers such as 1,2,3"),
    (["--input", "9999999x9999999"], "argument --input: 9999999x9999999 is too large to be looked at"),
    (["--input", "1,2;3"], "argument --input: must have rows of one length, not '1,2;3'"),
    (["--kernel", ""], "argument --kernel: must be a size"),
    (["--stride", "1.5"], "argument --stride: must be an integer, or one for each axis, such as 2,1, not"),
    (["--padding", "1:x"], "argument --padding: must be an integer"),
    (["--colour"], "--colour"),
])  # fmt: skip
def test_command_misunderstood(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(*arguments)
    err = capsys.readouterr().err
    assert err.startswith("pyx-deconv")
    assert message in err
    assert err.count("\n") == 1


def test_command_without_matplotlib(tmp_path, capsys, without_matplotlib):
    assert run("-o", tmp_path / "shown.png") == 2
    assert 'pip install "pyx_deconv[explain]"' in capsys.readouterr().err
    assert run("-o", tmp_path / "shown.html") == 0


def test_the_examples_of_the_help_run(tmp_path, monkeypatch, capsys, pictures):
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    examples = re.findall(r"^  pyx-deconv explain(.*?)(?:   .*)?$", capsys.readouterr().out, re.MULTILINE)
    assert len(examples) == 4
    monkeypatch.chdir(tmp_path)
    for example in examples:
        assert run(*example.replace('"', "").split()) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["explain.html", "shown.gif", "shown.png"]
