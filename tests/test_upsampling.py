"""`LearnedUpsampler`: what every estimator does, and fitting it."""

import copy
import inspect
import pickle
import subprocess
import sys

import numpy as np
import pytest
from photographs import PHOTOGRAPHS, photograph

from pyx_deconv import LearnedUpsampler
from pyx_deconv.upsampling import (
    NotFittedError,
    _tiles,
    downsample,
    interpolate,
    luminance,
    psnr,
)

OPTIONAL = "asks scikit-learn, which is not installed"


@pytest.fixture(scope="module")
def fitted():
    return {factor: LearnedUpsampler(factor).fit(PHOTOGRAPHS) for factor in (2, 3, 4)}


# --- what every estimator does ------------------------------------------------------------------------------


def test_parameters_are_those_of_the_signature():
    names = list(inspect.signature(LearnedUpsampler).parameters)
    assert list(LearnedUpsampler().get_params()) == names
    changed = {
        "factor": 3,
        "model": "fsrcnn",
        "kernel_size": 9,
        "channels": (8, 4),
        "mapping_layers": 2,
        "seed": 7,
    }
    assert list(changed) == names
    assert LearnedUpsampler(**changed).get_params(deep=False) == changed
    assert LearnedUpsampler().set_params(**changed).get_params() == changed


def test_a_wrong_name_changes_nothing():
    upsampler = LearnedUpsampler()
    with pytest.raises(ValueError, match=r"one of 'factor', 'model', .*'seed', not 'stride'"):
        upsampler.set_params(factor=4, stride=2)
    assert upsampler.factor == 2


def test_nothing_is_checked_before_fit():
    channels = [1.5]
    assert LearnedUpsampler("two", model=None, channels=channels).channels is channels


def test_shown_with_what_is_not_default():
    assert repr(LearnedUpsampler()) == "LearnedUpsampler()"
    assert repr(LearnedUpsampler(3, model="fsrcnn")) == "LearnedUpsampler(factor=3, model='fsrcnn')"


def use(upsampler, what, image):
    return {
        "transform": lambda: upsampler.transform(image),
        "transform_padded": lambda: upsampler.transform_padded(image),
        "score": lambda: upsampler.score(image),
        "save": lambda: upsampler.save("never.npz"),
        "parameters_": lambda: upsampler.parameters_,
        "reach_": lambda: upsampler.reach_,
    }[what]()


@pytest.mark.parametrize("what", ["transform", "transform_padded", "score", "save", "parameters_", "reach_"])
def test_not_fitted(what, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "sklearn.exceptions", raising=False)
    upsampler = LearnedUpsampler()
    with pytest.raises(NotFittedError, match="not fitted yet: call fit") as caught:
        use(upsampler, what, photograph(20, 20))
    assert isinstance(caught.value, (ValueError, AttributeError))
    assert not hasattr(upsampler, "parameters_")
    assert list(tmp_path.iterdir()) == []


def test_copies_are_fitted_too(fitted):
    image = photograph(9, 8)
    expected = fitted[2].transform(image)
    for other in (copy.deepcopy(fitted[2]), pickle.loads(pickle.dumps(fitted[2]))):
        np.testing.assert_array_equal(other.transform(image), expected)


def test_as_scikit_learns_estimators():
    base = pytest.importorskip("sklearn.base", reason=OPTIONAL)
    from sklearn.exceptions import NotFittedError as Theirs
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    from sklearn.utils import get_tags
    from sklearn.utils.validation import check_is_fitted

    upsampler = LearnedUpsampler(3, kernel_size=9)
    other = base.clone(upsampler)
    assert other is not upsampler
    assert other.get_params() == upsampler.get_params()
    assert not get_tags(upsampler).target_tags.required
    with pytest.raises(Theirs):
        check_is_fitted(upsampler)
    with pytest.raises(Theirs):
        upsampler.transform(PHOTOGRAPHS[0])
    check_is_fitted(upsampler.fit(PHOTOGRAPHS))

    scores = cross_val_score(upsampler, PHOTOGRAPHS, cv=3)
    for held_out, score in enumerate(scores):
        rest = [each for number, each in enumerate(PHOTOGRAPHS) if number != held_out]
        assert score == base.clone(upsampler).fit(rest).score(PHOTOGRAPHS[held_out])
    search = GridSearchCV(LearnedUpsampler(), {"kernel_size": [2, 10]}, cv=3).fit(PHOTOGRAPHS)
    assert search.best_params_ == {"kernel_size": 10}

    pipeline = make_pipeline(FunctionTransformer(lambda images: [each[:40] for each in images]), upsampler)
    pipeline.fit(PHOTOGRAPHS)
    assert [each.shape[:2] for each in pipeline.transform(PHOTOGRAPHS)] == [
        (120, 243),
        (120, 156),
        (120, 180),
    ]
    assert pipeline.score(PHOTOGRAPHS).ssim == upsampler.score([each[:40] for each in PHOTOGRAPHS]).ssim


def test_importing_it_imports_neither_scipy_nor_scikit_learn():
    heavy = {"scipy", "sklearn", "tqdm", "PIL"}
    code = (
        "import sys, numpy, pyx_deconv; assert 'pyx_deconv.upsampling' not in sys.modules\n"
        "pyx_deconv.LearnedUpsampler().fit([numpy.eye(64)]).transform(numpy.eye(5))\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- fit ----------------------------------------------------------------------------------------------------


def test_what_fit_leaves():
    upsampler = LearnedUpsampler(3)
    assert upsampler.fit(PHOTOGRAPHS, None) is upsampler
    assert upsampler.parameters_.keys() == {"weight"}
    assert upsampler.parameters_["weight"].shape == (1, 1, 21, 21)
    assert upsampler.reach_ == 3
    assert upsampler.n_iter_ == len(upsampler.loss_curve_) >= 1
    assert upsampler.loss_ == upsampler.loss_curve_[-1]


def luma(picture):
    values = picture / np.iinfo(picture.dtype).max
    return values if values.ndim == 2 else values[..., :3] @ [0.299, 0.587, 0.114]


@pytest.mark.parametrize("factor", [2, 3])
def test_loss_is_that_of_whole_pictures(factor):
    upsampler, squares = LearnedUpsampler(factor).fit(PHOTOGRAPHS), []
    for image in PHOTOGRAPHS:
        whole = image[: image.shape[0] // factor * factor, : image.shape[1] // factor * factor]
        large = upsampler.transform(luma(downsample(whole, factor)))
        squares.append(np.square(large - luma(whole)).ravel())
    assert upsampler.loss_ == pytest.approx(np.mean(np.concatenate(squares)), rel=1e-4)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_better_than_bicubic_on_another_photograph(factor):
    upsampler = LearnedUpsampler(factor).fit([photograph(240, 260, seed=seed) for seed in range(3)])
    other = photograph(240, 192, seed=9)
    large = interpolate(downsample(other, factor), factor, "bicubic")
    inner = np.s_[factor:-factor, factor:-factor]
    bicubic = psnr(luminance(other)[inner], luminance(large)[inner])
    assert upsampler.score(other) > bicubic + 0.3


@pytest.mark.parametrize("method", ["box", "bilinear"])
def test_downsampling_by_name_or_function(method):
    by_name = LearnedUpsampler(2).fit(PHOTOGRAPHS, downsample=method)
    by_function = LearnedUpsampler(2).fit(PHOTOGRAPHS, downsample=lambda image: downsample(image, 2, method))
    np.testing.assert_array_equal(by_name.parameters_["weight"], by_function.parameters_["weight"])
    bicubic = LearnedUpsampler(2).fit(PHOTOGRAPHS)
    assert np.abs(by_name.parameters_["weight"] - bicubic.parameters_["weight"]).max() > 0.01
    assert by_name.score(PHOTOGRAPHS, downsample=method) > bicubic.score(PHOTOGRAPHS, downsample=method)


def test_a_function_sees_images_with_sides_of_whole_multiples():
    seen = []

    def smaller(image):
        seen.append((image.shape, image.dtype))
        return downsample(image, 3)

    images = [photograph(46, 50), photograph(48, 47)[..., 0], photograph(45, 45, 2, np.uint16)]
    LearnedUpsampler(3, kernel_size=9).fit(images, downsample=smaller)
    assert seen == [((45, 48, 3), np.uint8), ((48, 45), np.uint8), ((45, 45, 2), np.uint16)]


def test_one_array_is_one_image():
    one, listed = (LearnedUpsampler().fit(images) for images in (PHOTOGRAPHS[0], PHOTOGRAPHS[:1]))
    np.testing.assert_array_equal(one.parameters_["weight"], listed.parameters_["weight"])


def test_callback_sees_the_estimator_and_may_stop():
    calls = []

    def callback(n_iter, loss, upsampler):
        calls.append((n_iter, loss, upsampler.score(PHOTOGRAPHS[0])))
        if n_iter == 2:
            raise StopIteration

    upsampler = LearnedUpsampler().fit(PHOTOGRAPHS, callback=callback)
    assert [n_iter for n_iter, _, _ in calls] == [1, 2]
    assert upsampler.n_iter_ == 2
    assert upsampler.loss_curve_ == [loss for _, loss, _ in calls]
    assert upsampler.score(PHOTOGRAPHS[0]) == calls[-1][2]
    assert LearnedUpsampler().fit(PHOTOGRAPHS, max_iter=1).n_iter_ == 1


@pytest.mark.parametrize(("hyperparameters", "error", "match"), [
    ({"factor": 1}, ValueError, "factor=1 must be at least 2"),
    ({"factor": 2.0}, TypeError, r"factor must be an integer, not 2\.0"),
    ({"factor": 40}, ValueError, "factor must be at most 16, not 40"),
    ({"model": "cubic"}, ValueError, "model must be one of 'linear', 'fsrcnn', not 'cubic'"),
    ({"kernel_size": 7}, ValueError, r"kernel_size must be 2, 4, 6, \.\.\. for factor=2"),
    ({"kernel_size": "7"}, TypeError, "kernel_size must be an integer"),
    ({"seed": -1}, ValueError, "seed=-1 must be at least 0"),
    ({"model": "fsrcnn", "kernel_size": 9}, ValueError, "kernel_size must be None for fsrcnn, not 9"),
    ({"model": "fsrcnn", "channels": 5}, ValueError, "channels must be two numbers, not 5"),
    ({"model": "fsrcnn", "channels": (5, 0)}, ValueError, "channels=0 must be at least 1"),
    ({"model": "fsrcnn", "mapping_layers": -1}, ValueError, "mapping_layers=-1 must be at least 0"),
])  # fmt: skip
def test_hyperparameters_are_checked_by_fit(hyperparameters, error, match):
    with pytest.raises(error, match=match):
        LearnedUpsampler(**hyperparameters).fit(PHOTOGRAPHS)


@pytest.mark.parametrize(("images", "error", "match"), [
    ([], ValueError, "images must have an image, and is empty"),
    ("photo.png", TypeError, r"images must be a list of arrays, not 'photo\.png'"),
    (5, TypeError, "images must be a list of arrays"),
    ([np.zeros((40, 40), np.int64)], TypeError, r"images\[0\] must be of uint8, .* not int64"),
    ([np.eye(40), np.zeros((3, 40, 40))], ValueError, r"images\[1\] must have 1 to 4 channels.* not 40 "),
    (np.zeros((5, 40, 40)), ValueError, r"images\[0\] must have 1 to 4 channels.* several images are a list"),
    ([np.full((40, 40), np.nan)], ValueError, r"images\[0\] must be finite"),
    ([np.full((40, 40), np.inf)], ValueError, r"images\[0\] must be finite"),
    ([np.eye(40) * 255], ValueError, r"images\[0\] must be between 0 and 1, as floats are, not 0 to 255"),
    ([np.eye(40), np.zeros((1, 40))], ValueError, r"images\[1\] must be 2x2 pixels or more, not 1x40"),
])  # fmt: skip
def test_images_are_checked_and_what_was_fitted_stays(images, error, match):
    upsampler = LearnedUpsampler().fit(PHOTOGRAPHS)
    before = upsampler.parameters_["weight"]
    with pytest.raises(error, match=match):
        upsampler.fit(images)
    assert upsampler.parameters_["weight"] is before


@pytest.mark.parametrize(("options", "error", "match"), [
    ({"downsample": "cubic"}, ValueError, "downsample must be one of 'box', .*'bicubic', not 'cubic'"),
    ({"downsample": lambda image: image[::3, ::2]}, ValueError, r"must return .* shape \(32, 40, 3\), not"),
    ({"downsample": lambda image: image[::2, ::2] * 1j}, TypeError, "what downsample returned must be of"),
    ({"max_iter": 0}, ValueError, "max_iter=0 must be at least 1"),
])  # fmt: skip
def test_options_of_fit_are_checked(options, error, match):
    with pytest.raises(error, match=match):
        LearnedUpsampler().fit(PHOTOGRAPHS, **options)


# --- the network --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    pytest.importorskip("scipy.optimize", reason="the network is fitted by SciPy")
    upsampler = LearnedUpsampler(3, model="fsrcnn", channels=(6, 3), mapping_layers=1)
    return upsampler.fit(PHOTOGRAPHS, max_iter=3, progress=False)


def test_the_network_is_an_estimator_too(network, tmp_path, monkeypatch):
    assert network.n_iter_ == len(network.loss_curve_) == 3
    assert network.loss_ == network.loss_curve_[-1] < network.loss_curve_[0]
    image = photograph(41, 37, seed=4)
    large = network.transform(image)
    assert (large.shape, large.dtype) == ((123, 111, 3), np.uint8)
    network.save(tmp_path / "network.npz")
    loaded = LearnedUpsampler.load(tmp_path / "network.npz")
    assert repr(loaded) == repr(network)
    np.testing.assert_array_equal(loaded.transform(image), large)

    values = image[..., 0] / 255
    whole, reach = network.transform(values), network.reach_
    part = network.transform_padded(values[20 - reach : 26 + reach, 15 - reach : 24 + reach])
    np.testing.assert_allclose(part, whole[60:78, 45:72], atol=1e-5)
    monkeypatch.setattr(_tiles, "TILE", 9)
    np.testing.assert_allclose(network.transform(values), whole, atol=1e-5)


def test_callback_may_stop_the_network():
    pytest.importorskip("scipy.optimize", reason="the network is fitted by SciPy")
    calls = []

    def callback(n_iter, loss, upsampler):
        calls.append((n_iter, loss, upsampler.transform(PHOTOGRAPHS[1])))
        if n_iter == 2:
            raise StopIteration

    upsampler = LearnedUpsampler(model="fsrcnn", channels=(4, 2)).fit(
        PHOTOGRAPHS, callback=callback, progress=False
    )
    assert [n_iter for n_iter, _, _ in calls] == [1, 2]
    assert upsampler.loss_curve_ == [loss for _, loss, _ in calls]
    np.testing.assert_array_equal(upsampler.transform(PHOTOGRAPHS[1]), calls[-1][2])
