"""The linear model: its optimum against other ways to find it."""

import numpy as np
import pytest

import pyx_deconv as pxd
from pyx_deconv.upsampling import _linear, interpolate
from pyx_deconv.upsampling._linear import Linear

CASES = [(2, 2), (2, 6), (2, 8), (2, 14), (3, 3), (3, 5), (3, 9), (3, 11), (4, 4), (4, 6), (4, 12), (5, 9)]


def pairs_of(factor, kernel_size, sizes=((9, 11), (13, 8)), seed=0):
    """Random pictures, and random ones that they should become."""
    rng, reach = np.random.default_rng(seed), Linear.reach_of(factor, kernel_size)
    return [
        (
            rng.normal(size=(height + 2 * reach, width + 2 * reach)),
            rng.normal(size=(height * factor, width * factor)),
        )
        for height, width in sizes
    ]


def smooth_pairs(factor, kernel_size, sides=(60, 75)):
    """Pictures as smooth as photographs are, whose pixels are nearly alike from one to the next."""
    rng, reach = np.random.default_rng(1), Linear.reach_of(factor, kernel_size)
    frequency = np.hypot(*(np.fft.fftfreq(side * factor)[axis] for side, axis in zip(
        sides, (np.s_[:, None], np.s_[None]), strict=True)))  # fmt: skip
    spectrum = np.fft.fft2(rng.normal(size=frequency.shape)) / np.maximum(frequency, 1e-3) ** 1.2
    large = np.fft.ifft2(spectrum).real
    large = 0.5 + (large - large.mean()) / large.std() / 5
    small = large.reshape(sides[0], factor, sides[1], factor).mean((1, 3))
    return [(small, large[reach * factor : -reach * factor, reach * factor : -reach * factor])]


def settings(factor, kernel_size):
    return (kernel_size - factor) // 2 + Linear.reach_of(factor, kernel_size) * factor


def gradient_of(weight, pairs, factor):
    """Of half the squares, from `conv_transpose_backward`."""
    stride, padding = factor, settings(factor, weight.shape[-1])
    total = np.zeros_like(weight)
    for x, y in pairs:
        x = x[None, None]
        residual = pxd.conv_transpose(x, weight, stride=stride, padding=padding) - y
        total += pxd.conv_transpose_backward(
            residual, x, weight, stride=stride, padding=padding, needs=("weight",)
        ).weight
    return total[0, 0]


def without_phase_means(kernel, factor):
    """Project onto the kernels whose phases sum to zero: along these the gradient has to vanish."""
    projected = kernel.copy()
    for a in range(factor):
        for b in range(factor):
            projected[a::factor, b::factor] -= kernel[a::factor, b::factor].mean()
    return projected


@pytest.mark.parametrize(("factor", "kernel_size"), CASES)
def test_same_optimum_as_lsqr(factor, kernel_size):
    """What is enlarged is linear in the kernel too: it is the kernel, painted through the pixels.

    So the operator in the unknown kernel is a transposed convolution as well, whose weight is the picture and
    whose dilation is the factor.
    """
    linalg = pytest.importorskip("scipy.sparse.linalg", reason="compares with SciPy")
    from scipy.linalg import null_space

    pairs = pairs_of(factor, kernel_size)
    operators = [
        pxd.ConvTranspose(x[None, None], dilation=factor, padding=settings(factor, kernel_size))
        .as_matrix((1, kernel_size, kernel_size))
        for x, _ in pairs
    ]  # fmt: skip
    phases = np.zeros((factor, factor, kernel_size, kernel_size))
    for a, b in np.ndindex(factor, factor):
        phases[a, b, a::factor, b::factor] = 1
    phases = phases.reshape(factor**2, -1)
    free = null_space(phases)  # directions in which the sums of the phases stay as they are
    start = np.linalg.lstsq(phases, np.ones(factor**2), rcond=None)[0]
    expected = start
    if free.size:
        columns = np.concatenate([matrix @ free for matrix in operators])
        wanted = np.concatenate([
            y.ravel() - matrix @ start for matrix, (_, y) in zip(operators, pairs, strict=True)
        ])  # fmt: skip
        found = linalg.lsqr(columns, wanted, atol=1e-15, btol=1e-15, iter_lim=5000)[0]
        expected = start + free @ found

    fitted = Linear.fitted(pairs, factor, kernel_size=kernel_size)
    np.testing.assert_allclose(fitted.parameters["weight"].ravel(), expected, atol=1e-12)


@pytest.mark.parametrize(("factor", "kernel_size"), [(2, 8), (2, 14), (3, 11), (4, 12)])
def test_no_gradient_is_left_on_smooth_pictures(factor, kernel_size):
    pairs = smooth_pairs(factor, kernel_size)
    fitted = Linear.fitted(pairs, factor, kernel_size=kernel_size)
    weight = fitted.parameters["weight"]
    left = without_phase_means(gradient_of(weight, pairs, factor), factor)
    products = sum(np.abs(x).sum() * np.abs(y).max() for x, y in pairs)
    assert np.abs(left).max() < 1e-13 * products

    # Not because it is insensitive: near the optimum there is a gradient in every direction.
    moved = np.random.default_rng(2).normal(size=weight.shape[2:])
    moved = weight + 1e-6 * without_phase_means(moved, factor)
    assert np.abs(without_phase_means(gradient_of(moved, pairs, factor), factor)).max() > 1e-9 * products
    for a, b in np.ndindex(factor, factor):
        assert weight[0, 0, a::factor, b::factor].sum() == pytest.approx(1, abs=1e-13)


@pytest.mark.parametrize(("factor", "kernel_size"), CASES)
def test_finds_the_kernel_that_made_the_data(factor, kernel_size):
    rng = np.random.default_rng(3)
    kernel = rng.normal(size=(kernel_size, kernel_size))
    for a, b in np.ndindex(factor, factor):
        phase = kernel[a::factor, b::factor]
        phase += (1 - phase.sum()) / phase.size
    made = [
        (
            x,
            pxd.conv_transpose(
                x[None, None], kernel[None, None], stride=factor, padding=settings(factor, kernel_size)
            )[0, 0],
        )
        for x, _ in pairs_of(factor, kernel_size)
    ]
    fitted = Linear.fitted(made, factor, kernel_size=kernel_size)
    np.testing.assert_allclose(fitted.parameters["weight"][0, 0], kernel, atol=1e-13)
    assert fitted.loss_curve[-1] < 1e-26


def test_loss_is_the_mean_squared_error_of_what_it_enlarges():
    pairs = smooth_pairs(2, 14)
    fitted = Linear.fitted(pairs, 2)
    [(x, y)] = pairs
    large = fitted.upsample(x.astype(np.float32)[None, None])[0, 0]
    assert large.dtype == np.float32
    assert np.mean((large - y) ** 2) == pytest.approx(fitted.loss_curve[-1], rel=1e-4)
    assert len(fitted.loss_curve) <= 4


def test_better_than_bicubic_on_what_it_was_fitted_to():
    pairs = smooth_pairs(3, 21)
    [(x, y)] = pairs
    reach = Linear.reach_of(3)
    bicubic = interpolate(x, 3, "bicubic")[3 * reach : -3 * reach, 3 * reach : -3 * reach]
    assert Linear.fitted(pairs, 3).loss_curve[-1] < np.mean((bicubic - y) ** 2)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_where_the_data_say_nothing_it_is_bicubic(value):
    plain = [(np.full((12, 13), value), np.full((12, 14), value))]
    fitted = Linear.fitted(plain, 2, kernel_size=14)
    x = np.random.default_rng(4).random((9, 10)).astype(np.float32)
    large = fitted.upsample(x[None, None])[0, 0]
    np.testing.assert_allclose(large, interpolate(x, 2, "bicubic")[6:-6, 6:-6], atol=1e-6)


def test_windows_in_several_pieces(monkeypatch):
    pairs = pairs_of(2, 8)
    whole = Linear.fitted(pairs, 2, kernel_size=8).parameters["weight"]
    monkeypatch.setattr(_linear, "PIXELS", 1)
    pieces = Linear.fitted(pairs, 2, kernel_size=8).parameters["weight"]
    np.testing.assert_allclose(pieces, whole, atol=1e-14)


def test_same_bits_on_any_number_of_threads():
    pairs, found = smooth_pairs(2, 14, sides=(150, 200)), []
    for threads in (1, 2, 5):
        with pxd.num_threads(threads):
            found.append(Linear.fitted(pairs, 2).parameters["weight"])
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_callback_and_max_iter():
    pairs, calls = pairs_of(2, 8), []
    fitted = Linear.fitted(pairs, 2, kernel_size=8, callback=lambda *call: calls.append(call))
    assert [step for step, _, _ in calls] == list(range(1, len(fitted.loss_curve) + 1))
    assert [loss for _, loss, _ in calls] == fitted.loss_curve
    assert calls[-1][2].parameters["weight"] is fitted.parameters["weight"]

    def stop(*_):
        raise StopIteration

    for early in (
        Linear.fitted(pairs, 2, kernel_size=8, callback=stop),
        Linear.fitted(pairs, 2, kernel_size=8, max_iter=1),
    ):
        assert early.loss_curve == fitted.loss_curve[:1]


@pytest.mark.parametrize(("factor", "kernel_size"), [(2, 7), (3, 8), (4, 3), (2, 0)])
def test_kernels_without_a_centre_are_refused(factor, kernel_size):
    with pytest.raises(
        ValueError, match=rf"kernel_size must be {factor}, {factor + 2}, .* not {kernel_size}"
    ):
        Linear.fitted([], factor, kernel_size=kernel_size)


@pytest.mark.parametrize(("parameters", "match"), [
    ({}, r"\['weight'\], not \[\]"),
    ({"weight": np.zeros((1, 1, 4, 4)), "bias": np.zeros(1)}, r"not \['bias', 'weight'\]"),
    ({"weight": np.zeros((4, 4))}, r"weight must be .* not \(4, 4\)"),
    ({"weight": np.zeros((1, 1, 4, 6))}, r"weight must be .* not \(1, 1, 4, 6\)"),
    ({"weight": np.zeros((1, 1, 5, 5))}, "kernel_size"),
])  # fmt: skip
def test_parameters_that_fit_nothing_are_refused(parameters, match):
    with pytest.raises(ValueError, match=match):
        Linear(2, parameters)
