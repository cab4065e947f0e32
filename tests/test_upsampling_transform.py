"""`LearnedUpsampler`: what it enlarges, and its score."""

import itertools

import numpy as np
import pytest
from photographs import PHOTOGRAPHS, photograph

import pyx_deconv as pxd
from pyx_deconv import LearnedUpsampler
from pyx_deconv.upsampling import (
    _tiles,
    downsample,
    interpolate,
    luminance,
    psnr,
    ssim,
)

DTYPES = (np.uint8, np.uint16, np.float16, np.float32, np.float64)


@pytest.fixture(scope="module")
def fitted():
    return {factor: LearnedUpsampler(factor).fit(PHOTOGRAPHS) for factor in (2, 3, 4)}


# --- transform ----------------------------------------------------------------------------------------------


def by_channels(upsampler, values):
    """As papers put it: luma by the model, everything else by bicubic, here in YCbCr and in float64."""
    model = upsampler._fitted
    reach = model.reach
    weight = upsampler.parameters_["weight"].astype(float)

    def enlarged(plane):
        padded = np.pad(plane, reach, mode="symmetric")[None, None]
        crop = (weight.shape[-1] - model.factor) // 2 + reach * model.factor
        return pxd.conv_transpose(padded, weight, stride=model.factor, padding=crop)[0, 0]

    def bicubic(plane):
        return interpolate(plane, model.factor, "bicubic")

    channels = values.shape[2]
    alpha = [bicubic(values[..., -1])] if channels in (2, 4) else []
    if channels < 3:
        return np.dstack([enlarged(values[..., 0]), *alpha])
    red, green, blue = np.moveaxis(values[..., :3], -1, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    y_large, cb, cr = enlarged(y), bicubic((blue - y) / 1.772), bicubic((red - y) / 1.402)
    large_red, large_blue = y_large + 1.402 * cr, y_large + 1.772 * cb
    large_green = (y_large - 0.299 * large_red - 0.114 * large_blue) / 0.587
    return np.dstack([large_red, large_green, large_blue, *alpha])


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_luma_by_the_model_and_the_rest_by_bicubic(fitted, dtype, channels, factor):
    image = photograph(13, 11, channels, dtype, seed=3)
    large = fitted[factor].transform(image)
    assert large.dtype == dtype
    peak = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    expected = by_channels(fitted[factor], image.astype(float) / peak)
    if peak > 1:
        exact = np.clip(expected * peak, 0, peak)
        assert np.abs(large - exact).max() < 0.5 + peak * 1e-6
    else:
        np.testing.assert_allclose(large, expected, rtol=0, atol=1e-3 if dtype == np.float16 else 2e-6)


def test_grey_images_have_two_axes_or_a_channel(fitted):
    image = photograph(10, 8, 1)
    large = fitted[2].transform(image)
    assert large.shape == (20, 16, 1)
    np.testing.assert_array_equal(fitted[2].transform(image[..., 0]), large[..., 0])
    three = fitted[2].transform(image.repeat(3, axis=2))
    assert np.abs(three.astype(int) - large).max() <= 1


@pytest.mark.parametrize("value", [0, 1, 77, 254, 255])
def test_plain_areas_stay_plain(fitted, value):
    for upsampler, channels in itertools.product(fitted.values(), (1, 3, 4)):
        assert np.all(upsampler.transform(np.full((9, 8, channels), value, np.uint8)) == value)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 1, 3), (3, 3, 4)])
def test_images_smaller_than_the_reach(fitted, shape):
    image = np.random.default_rng(4).random(shape)
    for factor, upsampler in fitted.items():
        large = upsampler.transform(image)
        assert large.shape == (factor * shape[0], factor * shape[1], *shape[2:])
        expected = by_channels(upsampler, image.reshape(*shape[:2], -1)).reshape(large.shape)
        np.testing.assert_allclose(large, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_tiling_gives_the_same_bits(fitted, monkeypatch, channels, dtype):
    image = photograph(53, 47, channels, dtype, seed=5)
    for upsampler in fitted.values():
        monkeypatch.setattr(_tiles, "TILE", 100)
        whole = upsampler.transform(image)
        for tile in (1, 5, 8, 16, 31):
            monkeypatch.setattr(_tiles, "TILE", tile)
            part = image[:12, :13] if tile == 1 else image
            expected = whole
            if tile == 1:  # of a smaller image, as there are many
                monkeypatch.setattr(_tiles, "TILE", 100)
                expected = upsampler.transform(part)
                monkeypatch.setattr(_tiles, "TILE", 1)
            np.testing.assert_array_equal(upsampler.transform(part), expected)


def test_a_part_with_its_neighbours_is_what_it_is_in_the_whole(fitted):
    image = photograph(31, 26, seed=6)
    for factor, upsampler in fitted.items():
        reach, whole = upsampler.reach_, upsampler.transform(image)
        part = upsampler.transform_padded(image[5 - reach : 19 + reach, 8 - reach : 15 + reach])
        np.testing.assert_array_equal(part, whole[5 * factor : 19 * factor, 8 * factor : 15 * factor])
        grey = upsampler.transform_padded(image[..., 0])
        np.testing.assert_array_equal(
            grey,
            upsampler.transform(image[..., 0])[
                reach * factor : -reach * factor, reach * factor : -reach * factor
            ],
        )
        with pytest.raises(ValueError, match=f"more than {2 * reach} rows and columns"):
            upsampler.transform_padded(image[: 2 * reach])


def test_lists_and_layouts(fitted):
    image = photograph(12, 9, seed=7)
    expected = fitted[2].transform(image)
    views = [
        np.asfortranarray(image),
        np.ascontiguousarray(image[::-1, ::-1])[::-1, ::-1],
        image.astype(">u2").astype(np.uint8),
        np.dstack([image, image])[..., :3],
    ]
    for large in fitted[2].transform(views):
        np.testing.assert_array_equal(large, expected)
    large = fitted[2].transform(image.astype(">f4") / np.float32(255))
    assert large.dtype == np.float32
    assert fitted[2].transform((image,))[0].shape == expected.shape


@pytest.mark.parametrize(("image", "error", "match"), [
    (np.zeros((4, 4), np.int16), TypeError, "image must be of uint8, uint16, .* not int16"),
    (np.zeros(4), ValueError, r"image must be \(height, width\)"),
    (np.zeros((4, 4, 5)), ValueError, "image must have 1 to 4 channels"),
    (np.zeros((0, 4)), ValueError, "image must have pixels"),
    ([], ValueError, "image must have an image, and is empty"),
    (None, TypeError, "image must be of uint8, .* not object"),
])  # fmt: skip
def test_what_cannot_be_enlarged(fitted, image, error, match):
    with pytest.raises(error, match=match):
        fitted[2].transform(image)


def test_not_a_number_stays_where_the_taps_carry_it(fitted):
    image = photograph(30, 30, 1, np.float32)
    image[15, 15] = np.nan
    large = fitted[2].transform(image)
    touched = np.isnan(large).any(axis=2)
    assert touched[30:32, 30:32].all()
    touched[30 - 8 : 32 + 8, 30 - 8 : 32 + 8] = False
    assert not touched.any()


def test_other_parameters_count_from_the_next_fit():
    upsampler = LearnedUpsampler(2).fit(PHOTOGRAPHS)
    assert upsampler.set_params(factor=3).transform(PHOTOGRAPHS[0]).shape == (128, 162, 3)
    assert upsampler.fit(PHOTOGRAPHS).transform(PHOTOGRAPHS[0]).shape == (192, 243, 3)


# --- score --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_score_as_papers_have_it(fitted, factor):
    image = photograph(71, 65, seed=8)
    whole = image[: 71 // factor * factor, : 65 // factor * factor]
    large = fitted[factor].transform(downsample(whole, factor))
    assert large.dtype == np.uint8
    one, other = (luminance(each)[factor:-factor, factor:-factor] for each in (whole, large))
    score = fitted[factor].score(image)
    assert score == score.psnr == psnr(one, other)
    assert score.ssim == ssim(one, other)


def test_score_of_a_list_is_the_mean(fitted):
    scores = [fitted[2].score(each) for each in PHOTOGRAPHS]
    score = fitted[2].score(PHOTOGRAPHS, None)
    assert score == pytest.approx(np.mean(scores), rel=1e-14)
    assert score.ssim == pytest.approx(np.mean([each.ssim for each in scores]), rel=1e-14)


def test_score_of_what_is_too_small(fitted):
    with pytest.raises(ValueError, match="SSIM needs 11 rows"):
        fitted[2].score(photograph(14, 30))
    with pytest.raises(ValueError, match="image must be 4x4 pixels or more"):
        fitted[4].score(photograph(3, 30))
