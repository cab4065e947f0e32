"""The models that come with the package."""

from importlib import resources

import numpy as np
import pytest

from pyx_deconv import LearnedUpsampler
from pyx_deconv.upsampling import downsample, interpolate, luminance, psnr

MODELS = [(model, factor) for model in ("linear", "fsrcnn") for factor in (2, 3, 4)]
# In dB over bicubic interpolation, of photographs that no model has seen.
LEAST = {("linear", 2): 1.0, ("fsrcnn", 2): 1.5, ("linear", 3): 0.6, ("fsrcnn", 3): 1.0}


def test_all_are_there_and_small():
    files = list((resources.files("pyx_deconv.upsampling") / "models").iterdir())
    assert {each.name for each in files} == {f"{model}-x{factor}.npz" for model, factor in MODELS}
    assert sum(len(each.read_bytes()) for each in files) < 100_000


@pytest.mark.parametrize(("model", "factor"), MODELS)
def test_plain_areas_stay_plain(model, factor):
    upsampler = LearnedUpsampler.pretrained(factor, model)
    assert (upsampler.factor, upsampler.model) == (factor, model)
    for grey in range(0, 256, 15):
        large = upsampler.transform(np.full((9, 11), grey, np.uint8))
        np.testing.assert_allclose(large, np.full((9 * factor, 11 * factor), grey), rtol=0, atol=1)


@pytest.mark.parametrize(("model", "factor"), MODELS)
def test_better_than_bicubic(model, factor):
    data = pytest.importorskip("skimage.data", reason="the photographs are scikit-image's")
    upsampler = LearnedUpsampler.pretrained(factor, model)
    gains = []
    for photograph in (data.camera(), data.coffee(), data.stereo_motorcycle()[0]):
        rows, columns = (size // factor * factor for size in photograph.shape[:2])
        whole = photograph[:rows, :columns]
        bicubic = interpolate(downsample(whole, factor), factor, "bicubic")
        inner = np.s_[factor:-factor, factor:-factor]
        gains.append(upsampler.score(whole) - psnr(luminance(whole)[inner], luminance(bicubic)[inner]))
    assert min(gains) > 0.4
    assert np.mean(gains) > LEAST.get((model, factor), 0.5)
