"""`LearnedUpsampler` on dask arrays: the numbers of NumPy arrays, from any chunks."""

import itertools

import drawing
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyx_deconv import LearnedUpsampler

pytest.importorskip("dask.array", reason="dask is not installed")

import dask
import dask.array as da

from pyx_deconv.upsampling import _chunked

RINGS = 0.5 + 0.4 * np.sin(sum(n**2 for n in np.indices((120, 97))) / 600)
FITTED = {
    "linear": LearnedUpsampler(2).fit([RINGS]),
    "wide": LearnedUpsampler(3, kernel_size=23).fit([RINGS]),
}
RNG = np.random.default_rng(0)


def cuts(data, size):
    ends = sorted([0, *data.draw(st.lists(st.integers(0, size), max_size=4)), size])
    return tuple(b - a for a, b in itertools.pairwise(ends))


@drawing.examples(40)
@given(
    st.sampled_from(sorted(FITTED)),
    st.integers(1, 30),
    st.integers(1, 30),
    st.sampled_from([None, 1, 2, 3, 4]),
    st.sampled_from(["uint8", "uint16", "float32", "float64"]),
    st.data(),
)
def test_transform(model, height, width, channels, dtype, data):
    """Mirrored borders, chunks smaller than what a pixel depends on, images smaller than that."""
    shape = (height, width) if channels is None else (height, width, channels)
    numbers = RNG.random(shape)
    image = (numbers * np.iinfo(dtype).max if dtype[0] == "u" else numbers).astype(dtype)
    lazy = da.from_array(image, chunks=tuple(cuts(data, n) for n in shape))
    upsampler = FITTED[model]
    large = upsampler.transform(lazy)
    assert isinstance(large, da.Array)
    assert large.dtype == image.dtype
    assert large.shape == (height * upsampler.factor, width * upsampler.factor, *shape[2:])
    got = large.compute(scheduler="synchronous")
    assert got.shape == large.shape
    np.testing.assert_array_equal(got, upsampler.transform(image))


def test_transform_of_a_list():
    lazy = da.from_array(RINGS, chunks=50)
    one, other = FITTED["linear"].transform([lazy, RINGS])
    assert isinstance(one, da.Array)
    np.testing.assert_array_equal(one, other)


def test_transform_is_lazy():
    def fail(block):
        raise AssertionError("computed")

    lazy = da.ones((40, 40), chunks=10).map_blocks(fail, dtype=float, meta=np.empty((0, 0)))
    large = FITTED["linear"].transform(lazy)
    assert large.chunks == ((20,) * 4,) * 2
    with pytest.raises(AssertionError, match="computed"):
        large.compute()


def test_errors_are_those_of_arrays():
    for image in (np.ones((3, 3, 5)), np.ones((3, 3), complex), np.ones(3), np.ones((0, 3))):
        with pytest.raises((TypeError, ValueError)) as want:
            FITTED["linear"].transform(image)
        with pytest.raises(want.type) as got:
            FITTED["linear"].transform(da.from_array(image))
        assert str(got.value) == str(want.value)
    with pytest.raises(ValueError, match="not fitted"):
        LearnedUpsampler().transform(da.ones((3, 3)))
    unknown = da.ones((9, 9), chunks=3)
    with pytest.raises(ValueError, match=r"^image must have chunks of known sizes"):
        FITTED["linear"].transform(unknown[unknown[0] > 0])
    with pytest.raises(ValueError, match=r"^images\[1\] must be 2x2 pixels or more, not 1x2$"):
        LearnedUpsampler().fit([RINGS, da.ones((1, 300))])
    with pytest.raises(ValueError, match=r"^images\[0\] must be between 0 and 1"):
        LearnedUpsampler().fit(da.full((60, 60), 200.0))


def noisy(shape, dtype=np.float64):
    image = 0.5 + 0.2 * RNG.standard_normal(shape)
    return np.clip(np.rint(image * 255), 0, 255).astype(dtype) if dtype == np.uint8 else image


@pytest.mark.parametrize(("shape", "dtype"), [((97, 120), np.float64), ((90, 61, 3), np.uint8)])
@pytest.mark.parametrize("chunks", [(97, 120, 3), (31, 50, 1), (26, 14, 2)])
@pytest.mark.parametrize("pixels", [10_000, 2_000])
def test_fit(shape, dtype, chunks, pixels, monkeypatch):
    """The same pixels, in the same sums but for their order."""
    monkeypatch.setattr(_chunked, "BLOCK", pixels * np.dtype(dtype).itemsize)
    image = noisy(shape, dtype)
    want = LearnedUpsampler(2).fit(image)
    got = LearnedUpsampler(2).fit(da.from_array(image, chunks=chunks[: len(shape)]))
    assert got.loss_ == pytest.approx(want.loss_, rel=1e-6)
    np.testing.assert_allclose(got.parameters_["weight"], want.parameters_["weight"], rtol=0, atol=1e-5)


def test_fit_of_arrays_of_both_kinds():
    one, other = noisy((60, 50)), noisy((64, 80))
    want = LearnedUpsampler(3).fit([one, other], downsample="box")
    got = LearnedUpsampler(3).fit([da.from_array(one, chunks=20), other], downsample="box")
    np.testing.assert_allclose(got.parameters_["weight"], want.parameters_["weight"], rtol=0, atol=1e-5)


def test_fit_with_a_function():
    def every_other(image):
        return image[::2, ::2]

    image = noisy((80, 80))
    want = LearnedUpsampler(2).fit(image, downsample=every_other)
    got = LearnedUpsampler(2).fit(da.from_array(image, chunks=33), downsample=every_other)
    np.testing.assert_allclose(got.parameters_["weight"], want.parameters_["weight"], rtol=0, atol=1e-5)


def test_a_pair_takes_a_block_and_what_is_around_it(monkeypatch):
    """So that an image which is larger than memory can be learned from."""
    monkeypatch.setattr(_chunked, "BLOCK", 40 * 40 * 8)
    made = []

    def part(block_info=None):
        made.append(block_info[None]["chunk-location"])
        return np.full([stop - start for start, stop in block_info[None]["array-location"]], 0.5)

    image = da.map_blocks(part, chunks=((40,) * 20, (40,) * 20), dtype=float, meta=np.empty((0, 0)))
    found = _chunked.pairs([image], 2, 3, "bicubic")
    assert len(found) == 400
    x, y = dask.compute(*found[21])  # the second row of chunks, the second chunk
    assert x.shape == (26, 26)
    assert y.shape == (40, 40)
    assert sorted(made) == [(row, column) for row in (0, 1, 2) for column in (0, 1, 2)]


def test_fit_of_the_network():
    image = noisy((150, 140))
    one, other = (
        LearnedUpsampler(2, model="fsrcnn", channels=(4, 2), mapping_layers=1).fit(each, max_iter=3)
        for each in (image, da.from_array(image, chunks=(90, 60)))
    )
    assert other.loss_ == pytest.approx(one.loss_, rel=0.2), "of other patches"
    small = image[:70, :60].astype(np.float32)
    for upsampler in (one, LearnedUpsampler(2, model="fsrcnn").fit(image, max_iter=1)):
        got = upsampler.transform(da.from_array(small, chunks=(17, 23))).compute()
        np.testing.assert_allclose(got, upsampler.transform(small), rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("default")  # what distributed says of ports
def test_on_worker_processes():
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    image = noisy((90, 110))
    lazy = da.from_array(image, chunks=40)
    want = LearnedUpsampler(2).fit(image)
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=":0"):
        got = LearnedUpsampler(2).fit(lazy)
        large = got.transform(lazy).compute()
    np.testing.assert_allclose(got.parameters_["weight"], want.parameters_["weight"], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(large, got.transform(image))
