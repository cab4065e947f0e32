"""`LearnedUpsampler`: its files."""

import contextlib
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from photographs import PHOTOGRAPHS, photograph

from pyx_deconv import LearnedUpsampler
from pyx_deconv.upsampling import (
    _estimator,
    _storage,
)


@pytest.fixture(scope="module")
def fitted():
    return {factor: LearnedUpsampler(factor).fit(PHOTOGRAPHS) for factor in (2, 3, 4)}


def test_what_was_saved_is_loaded(fitted, tmp_path):
    image = photograph(20, 21)
    for factor, upsampler in fitted.items():
        upsampler.save(tmp_path / "model.npz")
        assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]
        loaded = LearnedUpsampler.load(str(tmp_path / "model.npz"))
        assert type(loaded) is LearnedUpsampler
        assert loaded.get_params() == upsampler.get_params()
        assert (loaded.n_iter_, loaded.loss_) == (upsampler.n_iter_, upsampler.loss_)
        assert loaded.loss_curve_ == upsampler.loss_curve_
        np.testing.assert_array_equal(loaded.transform(image), upsampler.transform(image))
        assert loaded.transform(image).shape[0] == 20 * factor


def test_hyperparameters_of_numpy_are_saved(tmp_path):
    upsampler = LearnedUpsampler(np.int64(2), kernel_size=np.int32(6), channels=[np.int8(32), 5]).fit(
        PHOTOGRAPHS
    )
    upsampler.save(tmp_path / "model.npz")
    loaded = LearnedUpsampler.load(tmp_path / "model.npz")
    assert loaded.get_params() == {**LearnedUpsampler(2, kernel_size=6).get_params()}


def test_a_file_is_written_whole_or_not_at_all(fitted, tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    fitted[2].save(path)
    before = path.read_bytes()

    def fail(file, **_):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="No space"):
        fitted[3].save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def rewritten(path, change):
    """Save the same file with another head or other arrays."""
    with np.load(path) as archive:
        arrays = dict(archive)
    head = json.loads(str(arrays.pop("head")))
    change(head, arrays)
    np.savez(path, head=np.array(json.dumps(head)), **arrays)


WEIGHT = "parameters.weight"


@pytest.mark.parametrize(("change", "match"), [
    (lambda h, a: h.update(version=2), "is of version 2 of the format, and .* reads version 1"),
    (lambda h, a: h.update(format="other"), "must be a file that LearnedUpsampler.save wrote"),
    (lambda h, a: h.pop("version"), "must be a file that LearnedUpsampler.save wrote"),
    (lambda h, a: a.clear(), r"does not hold a model: .*\['weight'\], not \[\]"),
    (lambda h, a: a.update({WEIGHT: np.zeros((1, 1, 7, 7))}), "not hold .* kernel_size"),
    (lambda h, a: a.update({WEIGHT: np.zeros((14, 14))}), r"not hold .* not \(14, 14\)"),
    (lambda h, a: a.update({WEIGHT: np.full((1, 1, 14, 14), np.nan)}), "finite numbers"),
    (lambda h, a: a.update({WEIGHT: np.full((1, 1, 14, 14), "x")}), "finite numbers"),
    (lambda h, a: a.update({"parameters.bias": np.zeros(1)}), r"not \['bias', 'weight'\]"),
    (lambda h, a: h["hyperparameters"].update(stride=2), "does not hold a model: .*stride"),
    (lambda h, a: h["hyperparameters"].update(model="other"), "does not hold a model: model must be"),
    (lambda h, a: h["hyperparameters"].update(factor=0), "does not hold a model: factor"),
    (lambda h, a: h.update(hyperparameters=5), "does not hold a model"),
    (lambda h, a: h.pop("hyperparameters"), "must be a file that LearnedUpsampler.save wrote"),
    (lambda h, a: h.update(loss_curve=[]), "does not hold a model"),
])  # fmt: skip
def test_files_of_another_kind_are_refused(fitted, tmp_path, change, match):
    path = tmp_path / "model.npz"
    fitted[2].save(path)
    rewritten(path, change)
    with pytest.raises(ValueError, match=match) as caught:
        LearnedUpsampler.load(path)
    assert str(path) in str(caught.value)


def test_damaged_files_are_refused(fitted, tmp_path):
    path = tmp_path / "model.npz"
    fitted[2].save(path)
    whole = path.read_bytes()
    for number in range(0, len(whole), 97):
        path.write_bytes(whole[:number])
        with pytest.raises(ValueError, match=r"model\.npz (must be|is damaged)"):
            LearnedUpsampler.load(path)
    expected = fitted[2].parameters_["weight"]
    for number in range(0, len(whole), 41):
        flipped = bytearray(whole)
        flipped[number] ^= 0x55
        path.write_bytes(flipped)
        with contextlib.suppress(ValueError):  # unless it is a byte of a date, say
            np.testing.assert_array_equal(LearnedUpsampler.load(path).parameters_["weight"], expected)


def test_pickles_and_other_archives_are_refused(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, head=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="is damaged: Object arrays cannot be loaded"):
        LearnedUpsampler.load(path)
    np.savez(path, weight=np.zeros((1, 1, 14, 14)))
    with pytest.raises(
        ValueError, match=r"must be a file that LearnedUpsampler\.save wrote: it has no such head"
    ):
        LearnedUpsampler.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("head", b"text")
    with pytest.raises(ValueError, match=r"model\.npz"):
        LearnedUpsampler.load(path)
    path.write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(ValueError, match=r"must be a file that .* is none or is cut"):
        LearnedUpsampler.load(path)
    with pytest.raises(FileNotFoundError):
        LearnedUpsampler.load(tmp_path / "missing.npz")


@pytest.mark.parametrize("method", ["save", "load"])
def test_names_of_files(fitted, method, tmp_path):
    call = getattr(fitted[2], method)
    with pytest.raises(ValueError, match=r"path must end in \.npz, not 'model\.txt'"):
        call("model.txt")
    with pytest.raises(TypeError, match="path must be a string or a path, not BytesIO"):
        call(io.BytesIO())


def test_a_later_version_says_so(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(_storage, "VERSION", 7)
    fitted[2].save(tmp_path / "model.npz")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="version 7"):
        LearnedUpsampler.load(tmp_path / "model.npz")


def test_models_that_come_with_the_package(fitted, tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    for factor in (2, 3):
        fitted[factor].save(tmp_path / "models" / f"linear-x{factor}.npz")
    monkeypatch.setattr(_estimator.resources, "files", lambda package: tmp_path)
    image = photograph(9, 8)
    loaded = LearnedUpsampler.pretrained(3, model="linear")
    np.testing.assert_array_equal(loaded.transform(image), fitted[3].transform(image))
    with pytest.raises(ValueError, match="there is no pretrained fsrcnn-x5, only linear-x2, linear-x3"):
        LearnedUpsampler.pretrained(5)
