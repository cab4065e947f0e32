"""Files and folders take the place of others whole, or the others stay."""

import os

import pytest

from pyx_deconv._files import replacing


def make(path, folder, content):
    if folder:
        path.mkdir()
        path = path / "inside"
    path.write_text(content)


def content(path):
    return (path / "inside" if path.is_dir() else path).read_text()


@pytest.fixture(params=[False, True], ids=["file", "folder"])
def folder(request):
    return request.param


@pytest.mark.parametrize("replaces", [False, True])
def test_takes_its_place(tmp_path, folder, replaces):
    path = tmp_path / "result"
    if replaces:
        make(path, folder, "old")
    with replacing(path) as partial:
        make(partial, folder, "new")
        assert path.exists() == replaces
    assert content(path) == "new"
    assert os.listdir(tmp_path) == ["result"]


def test_the_old_stays_if_writing_fails(tmp_path, folder):
    path = tmp_path / "result"
    make(path, folder, "old")

    def write():
        with replacing(path) as partial:
            make(partial, folder, "half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert content(path) == "old"
    assert os.listdir(tmp_path) == ["result"]


def test_the_old_stays_if_it_cannot_be_replaced(tmp_path, folder, monkeypatch):
    path = tmp_path / "result"
    make(path, folder, "old")
    replace = os.replace

    def fails(source, target):
        if target == path and content(source) == "new":
            raise OSError("no")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="no"), replacing(path) as partial:
        make(partial, folder, "new")
    assert content(path) == "old"
    assert os.listdir(tmp_path) == ["result"]


def test_several_at_once(tmp_path):
    """Two that write the same file do not meet; the last one stays."""
    path = tmp_path / "result"
    with replacing(path) as one, replacing(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert content(path) == "one"
    assert os.listdir(tmp_path) == ["result"]
