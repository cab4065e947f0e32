"""Nearest, bilinear and bicubic interpolation, against plain loops and Pillow."""

import itertools

import numpy as np
import pytest

from pyx_deconv.upsampling import downsample, interpolate
from pyx_deconv.upsampling.interpolation import INTERPOLATIONS, REACH, Enlargement, taps

FACTORS = (1, 2, 3, 4, 5, 8)
DTYPES = (np.uint8, np.uint16, np.float16, np.float32, np.float64)


@pytest.fixture
def picture():
    """More rows than columns and uneven sizes, so that exchanged axes show."""
    return np.random.default_rng(1).uniform(0, 255, (11, 7, 3))


@pytest.fixture
def image():
    return pytest.importorskip("PIL.Image", reason="compares with Pillow, of the extra demo")


def resized(image, picture, height, width, method):
    """Resize with Pillow, channel by channel, in float32."""
    channels = [
        np.asarray(
            image.fromarray(np.ascontiguousarray(channel, np.float32)).resize(
                (width, height), image.Resampling[method.upper()]
            )
        )
        for channel in np.moveaxis(picture, -1, 0)
    ]
    return np.stack(channels, axis=-1)


# --- the kernels and what they do to a picture --------------------------------------------------------------


def test_known_taps():
    np.testing.assert_array_equal(taps("nearest", 3), [1, 1, 1])
    np.testing.assert_array_equal(taps("bilinear", 2) * 4, [1, 3, 3, 1])
    np.testing.assert_allclose(taps("bilinear", 3) * 3, [1, 2, 3, 2, 1], rtol=1e-15)
    np.testing.assert_array_equal(taps("bicubic", 2) * 128, [-3, -9, 29, 111, 111, 29, -9, -3])


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_taps_of_every_output_pixel_sum_to_one(method, factor):
    line = taps(method, factor)
    np.testing.assert_array_equal(line, line[::-1])
    for phase in range(factor):
        assert line[phase::factor].sum() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("method", INTERPOLATIONS)
def test_constant_picture_stays_constant_up_to_its_borders(method, factor):
    large = Enlargement.of(np.full((5, 4, 3), 200.0), method, factor)()
    assert large.shape == (5 * factor, 4 * factor, 3)
    np.testing.assert_allclose(large, 200, rtol=1e-14)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
def test_ramp_stays_a_ramp(method, factor):
    def ramp(rows, columns):
        return 3 * rows[:, None, None] - 7 * columns[:, None] + np.array([0, 100, 1000])

    height, width, border = 12, 9, 2
    large = Enlargement.of(ramp(np.arange(height), np.arange(width)).astype(float), method, factor)()
    places = [(np.arange(side * factor) + 0.5) / factor - 0.5 for side in (height, width)]
    inner = (slice(border * factor, -border * factor),) * 2
    np.testing.assert_allclose(large[inner], ramp(*places)[inner], rtol=1e-12, atol=1e-12)


def interpolated(line, factor, blend):
    """Along axis 0: `blend` four neighbours of each place, of the picture and its mirror images."""
    size = len(line)
    mirrored = np.concatenate([line, line[::-1]])
    place = (np.arange(size * factor) + 0.5) / factor - 0.5
    left = np.floor(place).astype(int)
    neighbours = [mirrored[(left + step) % (2 * size)] for step in (-1, 0, 1, 2)]
    return blend((place - left).reshape(-1, *[1] * (line.ndim - 1)), *neighbours)


def linear(t, _before, here, there, _after):
    return here + t * (there - here)


def catmull_rom(t, a, b, c, d):
    """The spline through b and c, which is cubic convolution with a parameter of -1/2."""
    return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(("method", "blend"), [("bilinear", linear), ("bicubic", catmull_rom)])
def test_same_as_interpolating_line_by_line(picture, method, blend, factor):
    expected = interpolated(picture, factor, blend)
    expected = np.swapaxes(interpolated(np.swapaxes(expected, 0, 1), factor, blend), 0, 1)
    np.testing.assert_allclose(Enlargement.of(picture, method, factor)(), expected, rtol=1e-12, atol=1e-11)


def test_nearest_repeats_the_pixels(picture):
    expected = picture.repeat(3, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(Enlargement.of(picture, "nearest", 3)(), expected)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize(("method", "border"), [("bilinear", 0), ("bicubic", 2)])
def test_same_as_pillow(image, picture, method, border, factor):
    large = Enlargement.of(picture.astype(np.float32), method, factor)()
    expected = resized(image, picture, picture.shape[0] * factor, picture.shape[1] * factor, method)
    inner = (slice(border * factor, -border * factor or None),) * 2
    np.testing.assert_allclose(large[inner], expected[inner], atol=2e-4)


# --- interpolate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", INTERPOLATIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_and_number_of_channels(dtype, method):
    peak = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    values = (np.random.default_rng(3).random((9, 5, 4)) * peak).astype(dtype)
    expected = Enlargement.of(values.astype(np.float64), method, 3)()
    # What is an integer may be rounded to the other side where float32 comes near the half.
    near = 1 if np.dtype(dtype).kind == "u" else {2: 2e-3, 4: 1e-6, 8: 0}[np.dtype(dtype).itemsize]
    for channels in (1, 2, 3, 4):
        large = interpolate(values[..., :channels], 3, method)
        assert large.dtype == dtype
        shown = np.clip(np.rint(expected), 0, peak) if peak > 1 else expected
        np.testing.assert_allclose(large.astype(float), shown[..., :channels], rtol=0, atol=near)
        assert (large.astype(float) == shown[..., :channels]).mean() > (0.99 if peak > 1 else -1)
    np.testing.assert_array_equal(interpolate(values[..., 0], 3, method), large[..., 0])


def test_integers_are_rounded_and_clipped():
    step = np.array([[0, 0, 255, 255]], np.uint8)
    exact = Enlargement.of(step[..., None].astype(float), "bicubic", 2)()[0, :, 0]
    assert exact.min() < -5
    assert exact.max() > 260
    np.testing.assert_array_equal(interpolate(step, 2, "bicubic")[0], np.clip(np.rint(exact), 0, 255))


@pytest.mark.parametrize("layout", ["transposed", "reversed", "read-only", "big-endian", "list"])
def test_any_layout(picture, layout):
    expected = interpolate(picture, 2, "bicubic")
    given = {
        "transposed": np.asfortranarray(picture),
        "reversed": np.ascontiguousarray(picture[::-1, ::-1])[::-1, ::-1],
        "read-only": picture.copy(),
        "big-endian": picture.astype(">f8"),
        "list": picture.tolist(),
    }[layout]
    if layout == "read-only":
        given.flags.writeable = False
    large = interpolate(given, 2, "bicubic")
    assert large.dtype == np.float64
    assert large.dtype.isnative
    np.testing.assert_array_equal(large, expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (2, 1, 3)])
def test_pictures_smaller_than_the_kernel(shape):
    values = np.random.default_rng(4).random(shape)
    for method in INTERPOLATIONS:
        large = interpolate(values, 3, method)
        assert large.shape == (3 * shape[0], 3 * shape[1], *shape[2:])
        if shape == (1, 1):
            np.testing.assert_allclose(large, values[0, 0], rtol=1e-14)


@pytest.mark.parametrize("method", INTERPOLATIONS)
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_tiles_with_their_neighbours_are_the_whole_to_the_bit(method, factor, dtype):
    rng, reach = np.random.default_rng(5), REACH[method]
    values = (rng.random((37, 29, 3)) * (200 if np.dtype(dtype).kind == "u" else 1)).astype(dtype)
    whole = interpolate(values, factor, method)
    padded = np.pad(values, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    for height, width in ((37, 29), (16, 8), (5, 7), (1, 1)):
        for top, left in itertools.product(range(0, 37, height), range(0, 29, width)):
            tile = padded[top : top + height + 2 * reach, left : left + width + 2 * reach]
            large = interpolate(tile, factor, method, padded=True)
            expected = whole[top * factor :, left * factor :][: large.shape[0], : large.shape[1]]
            assert large.shape[:2] == (min(height, 37 - top) * factor, min(width, 29 - left) * factor)
            np.testing.assert_array_equal(large, expected)


# --- downsample ---------------------------------------------------------------------------------------------


def weighted_mean(values, factor, weight):
    """Along axis 0: the mean of the pixels around each place, of the picture and its mirror images."""
    size = len(values)
    mirrored = np.concatenate([values, values[::-1]])
    means = []
    for small in range(size // factor):
        centre = (small + 0.5) * factor - 0.5
        total, weights = 0.0, 0.0
        for pixel in range(int(centre) - 3 * factor, int(centre) + 3 * factor + 1):
            share = weight(abs(pixel - centre) / factor)
            total, weights = total + share * mirrored[pixel % (2 * size)], weights + share
        means.append(total / weights)
    return np.array(means)


def cubic(distance):
    """Keys' kernel with a = -1/2, in Horner's form."""
    if distance < 1:
        return 1 + distance**2 * (1.5 * distance - 2.5)
    return 2 + distance * (-4 + distance * (2.5 - 0.5 * distance)) if distance < 2 else 0.0


WEIGHTS = {"box": lambda d: float(d < 0.5), "bilinear": lambda d: max(1 - d, 0.0), "bicubic": cubic}


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("method", WEIGHTS)
def test_downsampling_is_the_weighted_mean(method, factor):
    values = np.random.default_rng(6).random((5 * factor, 3 * factor, 2))
    expected = weighted_mean(values, factor, WEIGHTS[method])
    expected = weighted_mean(expected.swapaxes(0, 1), factor, WEIGHTS[method]).swapaxes(0, 1)
    np.testing.assert_allclose(downsample(values, factor, method), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("method", WEIGHTS)
def test_downsampling_as_pillow(image, method, factor):
    values = np.random.default_rng(7).uniform(0, 255, (11 * factor, 8 * factor, 2))
    expected = resized(image, values, 11, 8, method)
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(
        downsample(values.astype(np.float32), factor, method)[inner], expected[inner], atol=2e-4
    )


@pytest.mark.parametrize(
    ("up", "down"), [("nearest", "box"), ("bilinear", "bilinear"), ("bicubic", "bicubic")]
)
@pytest.mark.parametrize("factor", [2, 3])
def test_downsampling_is_the_adjoint_of_enlarging(up, down, factor):
    """Away from the borders, which are mirrored in both: <enlarged x, y> is factor**2 <x, smaller y>."""
    rng, margin = np.random.default_rng(8), 4
    x, y = np.zeros((15, 14)), np.zeros((15 * factor, 14 * factor))
    x[margin:-margin, margin:-margin] = rng.random((7, 6))
    fine = margin * factor
    y[fine:-fine, fine:-fine] = rng.random((7 * factor, 6 * factor))
    product = np.vdot(interpolate(x, factor, up), y)
    assert factor**2 * np.vdot(x, downsample(y, factor, down)) == pytest.approx(product, rel=1e-13)


def test_downsampling_keeps_the_dtype(picture):
    for dtype in DTYPES:
        small = downsample(np.full((6, 4), 1, dtype), 2)
        assert small.dtype == dtype
        np.testing.assert_allclose(small.astype(float), np.ones((3, 2)), rtol=1e-3)
    bytes_ = np.rint(picture[:10, :6]).astype(np.uint8)
    exact = downsample(bytes_.astype(float), 2)
    np.testing.assert_array_equal(downsample(bytes_, 2), np.clip(np.rint(exact), 0, 255))


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [interpolate, downsample])
@pytest.mark.parametrize(("image_", "factor", "method", "error", "match"), [
    (np.zeros((4, 4), np.int32), 2, "bicubic", TypeError, "image must be of uint8, .* not int32"),
    (np.zeros((4, 4), bool), 2, "bicubic", TypeError, "not bool"),
    (np.zeros(4), 2, "bicubic", ValueError, r"image must be \(height, width\) .* not of shape \(4,\)"),
    (np.zeros((1, 2, 2, 2)), 2, "bicubic", ValueError, "not of shape"),
    (np.zeros((0, 4)), 2, "bicubic", ValueError, r"must have pixels, and is of shape \(0, 4\)"),
    (np.zeros((4, 4)), 0, "bicubic", ValueError, "factor=0 must be at least 1"),
    (np.zeros((4, 4)), 2.0, "bicubic", TypeError, r"factor must be an integer, not 2\.0"),
    (np.zeros((4, 4)), 2, "cubic", ValueError, "method must be one of .*'bicubic'.* not 'cubic'"),
    (np.zeros((4, 4)), 2, ["bicubic"], ValueError, r"method must be one of .* not \['bicubic'\]"),
])  # fmt: skip
def test_refused(function, image_, factor, method, error, match):
    with pytest.raises(error, match=match):
        function(image_, factor, method)


def test_sides_that_are_no_multiples_are_refused():
    with pytest.raises(ValueError, match=r"image must have sides that are multiples of factor=3, not 6x4"):
        downsample(np.zeros((6, 4)), 3)


def test_nothing_but_neighbours_is_refused():
    with pytest.raises(ValueError, match=r"image must have more than 4 rows and columns, .* not 4x9"):
        interpolate(np.zeros((4, 9)), 2, "bicubic", padded=True)


def test_nothing_is_computed_in_place(picture):
    before = picture.copy()
    interpolate(picture, 2, "nearest")[:] = 0
    interpolate(picture, 1, "nearest")[:] = 0
    downsample(picture[:10, :6], 1, "box")[:] = 0
    np.testing.assert_array_equal(picture, before)
