"""Luminance, PSNR and SSIM, against plain loops and scikit-image."""

import math
import pickle

import numpy as np
import pytest

from pyx_deconv.upsampling import Score, downsample, interpolate, luminance, psnr, score, ssim

OPTIONAL = "compares with scikit-image, of the extra demo"


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    one = rng.random((23, 17))
    return one, np.clip(one + rng.normal(scale=0.1, size=one.shape), 0, 1)


def test_luminance_of_known_colours():
    """As MATLAB's rgb2ycbcr gives them: of 255, black 16, white 235, and the primaries."""
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    expected = np.array([[16, 235, 81.481, 144.553, 40.966]])
    np.testing.assert_allclose(luminance(colours) * 255, expected, rtol=1e-12)
    np.testing.assert_allclose(luminance(colours / 255) * 255, expected, rtol=1e-12)
    np.testing.assert_allclose(luminance(colours.astype(np.uint16) * 257) * 255, expected, rtol=1e-12)
    alpha = np.full((1, 5, 1), 77, np.uint8)
    np.testing.assert_allclose(luminance(np.dstack([colours, alpha])) * 255, expected, rtol=1e-12)


def test_grey_is_its_own_luminance():
    grey = np.array([[0, 51, 255]], np.uint8)
    for image in (grey, grey[..., None], np.dstack([grey, grey[:, ::-1]])):
        np.testing.assert_allclose(luminance(image), [[0, 0.2, 1]])


def test_luminance_as_scikit_image():
    color = pytest.importorskip("skimage.color", reason=OPTIONAL)
    image = np.random.default_rng(1).random((5, 6, 3))
    np.testing.assert_allclose(luminance(image) * 255, color.rgb2ycbcr(image)[..., 0], rtol=1e-12)


def test_psnr(pictures):
    one, other = pictures
    squares = [(a - b) ** 2 for a, b in zip(one.ravel(), other.ravel(), strict=True)]
    assert psnr(one, other) == pytest.approx(10 * math.log10(len(squares) / sum(squares)), rel=1e-13)
    assert psnr(one, one) == math.inf


def test_ssim_by_loops(pictures):
    """Wang's formula, window by window, with weighted means and covariances about them."""
    one, other = pictures
    weights = [[math.exp(-(r * r + c * c) / 4.5) for c in range(-5, 6)] for r in range(-5, 6)]
    weights = np.array(weights) / np.sum(weights)
    values = []
    for row in range(one.shape[0] - 10):
        for column in range(one.shape[1] - 10):
            a, b = (picture[row : row + 11, column : column + 11] for picture in pictures)
            mean_a, mean_b = np.sum(weights * a), np.sum(weights * b)
            var_a, var_b = np.sum(weights * (a - mean_a) ** 2), np.sum(weights * (b - mean_b) ** 2)
            both = np.sum(weights * (a - mean_a) * (b - mean_b))
            values.append(
                (2 * mean_a * mean_b + 1e-4) * (2 * both + 9e-4)
                / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
            )  # fmt: skip
    assert ssim(one, other) == pytest.approx(np.mean(values), rel=1e-12)


def test_ssim_as_scikit_image(pictures):
    metrics = pytest.importorskip("skimage.metrics", reason=OPTIONAL)
    _, places = metrics.structural_similarity(
        *pictures, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert ssim(*pictures) == pytest.approx(places[5:-5, 5:-5].mean(), rel=1e-12)


def test_ssim_of_what_is_too_small():
    assert ssim(np.ones((11, 11)), np.ones((11, 11))) == 1
    with pytest.raises(ValueError, match="SSIM needs 11 rows and columns or more, not 10x20"):
        ssim(np.ones((10, 20)), np.ones((10, 20)))


def test_a_score_is_a_number():
    score = Score(30.25, 0.875)
    assert (score, score.psnr, score.ssim) == (30.25, 30.25, 0.875)
    assert score > Score(30, 0.9)
    assert repr(score) == "Score(psnr=30.25, ssim=0.875)"
    assert f"{score:.1f}" == "30.2"
    copy = pickle.loads(pickle.dumps(score))
    assert (type(copy), copy, copy.ssim) == (Score, score, score.ssim)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("factor", [2, 3])
def test_score_of_an_interpolation(factor, method):
    image = np.random.default_rng(2).integers(0, 256, (43, 51, 3), np.uint8)
    whole = image[: 43 // factor * factor, : 51 // factor * factor]
    large = interpolate(downsample(whole, factor), factor, method)
    inner = np.s_[factor:-factor, factor:-factor]
    one, other = luminance(whole)[inner], luminance(large)[inner]
    got = score(image, factor, method)
    assert (got.psnr, got.ssim) == (psnr(one, other), ssim(one, other))
    assert score(image, factor, lambda small: interpolate(small, factor, method)) == got


def test_score_of_what_knows_the_original():
    image = np.random.default_rng(3).random((32, 32))
    assert score(image, 2, lambda _: image) == math.inf
    assert score(image, 2, lambda small: small.repeat(2, 0).repeat(2, 1), downsample="box") < 20


def test_what_enlarges_must_return_the_size():
    with pytest.raises(ValueError, match=r"enlarge must return an image of shape \(32, 32\), not \(16, 16\)"):
        score(np.zeros((32, 32)), 2, lambda small: small)
    with pytest.raises(ValueError, match="enlarge must be one of 'nearest', 'bilinear', 'bicubic', not"):
        score(np.zeros((32, 32)), 2, "cubic")
