"""The network: its values and gradients against the oracle, what it starts as, how it is fitted."""

import builtins

import numpy as np
import pytest
import reference

import pyx_deconv as pxd
from pyx_deconv.upsampling import _fsrcnn, _training, interpolate
from pyx_deconv.upsampling._curvature import Curvature
from pyx_deconv.upsampling._fsrcnn import Fsrcnn

NETWORKS = [(2, (4, 2), 1), (3, (3, 2), 2), (4, (2, 1), 0), (5, (3, 3), 1)]


def network_of(factor=2, channels=(4, 2), mapping_layers=1, seed=0, dtype=np.float64):
    """A network with random parameters, of which no slope is 1 and no bias 0."""
    random = np.random.default_rng(seed)
    shapes = Fsrcnn.shapes(factor, channels=channels, mapping_layers=mapping_layers)
    return Fsrcnn(
        factor, {name: random.normal(0, 0.4, shape).astype(dtype) for name, shape in shapes.items()}
    )


def pictures_of(network, batch=2, height=5, width=4, seed=1):
    random, reach, factor = np.random.default_rng(seed), network.reach, network.factor
    dtype = network.parameters["feature.bias"].dtype
    x = random.normal(size=(batch, 1, height + 2 * reach, width + 2 * reach)).astype(dtype)
    return x, random.normal(size=(batch, 1, height * factor, width * factor)).astype(dtype)


def oracle(parameters, x, factor, reach):
    """The network by the formula, for complex numbers too, where a PReLU looks at the real part."""
    names = [name.removesuffix(".slope") for name in parameters if name.endswith(".slope")]
    for name in names:
        x = reference.conv(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
        x = np.where(x.real < 0, x * parameters[f"{name}.slope"][:, None, None], x)
    margin = reach - sum(parameters[f"{name}.weight"].shape[-1] // 2 for name in names)
    full = reference.conv_transpose(
        x, parameters["painted.weight"], parameters["painted.bias"], stride=factor
    )
    # An input pixel paints around its own centre; where that lies between two taps, at the second.
    kernel = parameters["painted.weight"].shape[-1]
    first = margin * factor + (kernel - factor + 1) // 2
    rows, columns = ((size - 2 * margin) * factor for size in x.shape[2:])
    return full[:, :, first : first + rows, first : first + columns]


@pytest.mark.parametrize(("factor", "channels", "mapping_layers"), NETWORKS)
def test_values(factor, channels, mapping_layers):
    network = network_of(factor, channels, mapping_layers)
    x, y = pictures_of(network)
    want = oracle(network.parameters, x, factor, network.reach)
    assert want.shape == y.shape
    np.testing.assert_allclose(network.upsample(x.copy()), want, rtol=1e-12, atol=1e-12)
    single = network_of(factor, channels, mapping_layers, dtype=np.float32)
    got = single.upsample(x.astype(np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(("factor", "channels", "mapping_layers"), NETWORKS)
def test_gradients_against_complex_steps(factor, channels, mapping_layers):
    """A derivative is the imaginary part that a tiny imaginary step makes: nothing cancels."""
    network = network_of(factor, channels, mapping_layers)
    x, y = pictures_of(network, height=3, width=2)
    importance = np.array([0.5, 2.0])
    errors, gradient = network.errors_and_gradient(x, y, importance)
    assert errors.dtype == np.float64
    assert list(gradient) == list(network.parameters)

    def loss(parameters):
        residual = oracle(parameters, x, factor, network.reach) - y
        return (importance * (residual**2).sum((1, 2, 3))).sum() / 2

    np.testing.assert_allclose((importance * errors).sum() / 2, loss(network.parameters), rtol=1e-12)
    random, step = np.random.default_rng(2), 1e-30
    for name, array in network.parameters.items():
        flat = np.arange(array.size)
        for i in random.permutation(flat)[:12]:
            stepped = array.astype(complex)
            stepped.flat[i] += 1j * step
            want = loss({**network.parameters, name: stepped}).imag / step
            np.testing.assert_allclose(gradient[name].flat[i], want, rtol=1e-10, atol=1e-10, err_msg=name)


def test_number_of_parameters():
    shapes = Fsrcnn.shapes(2, channels=(32, 5), mapping_layers=1)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 4086


@pytest.mark.parametrize(("factor", "channels", "mapping_layers"), NETWORKS)
def test_reach(factor, channels, mapping_layers):
    """What lies within the reach of a pixel changes it on some side, what lies beyond never does."""
    network = network_of(factor, channels, mapping_layers)
    reach, factor = network.reach, network.factor
    x, _ = pictures_of(network, batch=1, height=5, width=1)
    block = np.s_[0, 0, 2 * factor : 3 * factor]  # what is painted over the middle one of five pixels
    changed = {}
    for distance in (-reach - 1, -reach, reach, reach + 1):
        other = x.copy()
        other[0, 0, reach + 2 + distance] += 100
        changed[distance] = (network.upsample(other)[block] != network.upsample(x.copy())[block]).any()
    assert not changed[-reach - 1]
    assert not changed[reach + 1]
    assert changed[-reach] or changed[reach]


def test_a_part_is_what_the_whole_has_there():
    network = network_of(dtype=np.float32)
    x, _ = pictures_of(network, batch=1, height=20, width=30)
    whole = network.upsample(x.copy())
    around = 2 * network.reach
    part = network.upsample(x[:, :, 3 : 3 + 8 + around, 7 : 7 + 9 + around].copy())
    np.testing.assert_allclose(part, whole[:, :, 6 : 6 + 16, 14 : 14 + 18], rtol=0, atol=1e-5)


def test_begins_as_bicubic_interpolation(monkeypatch):
    monkeypatch.setattr(_fsrcnn, "PAINTED_DEVIATION", 0.0)
    picture = np.random.default_rng(0).random((40, 30))
    for factor in (2, 3):
        network = Fsrcnn.initial(factor, channels=(6, 3), mapping_layers=2, seed=0)
        reach = network.reach
        got = network.upsample(np.pad(picture, reach, mode="symmetric")[None, None])[0, 0]
        want = interpolate(picture, factor, "bicubic")
        # With factor 3, bicubic's kernel has 11 taps, and its outermost, which are small, find no place.
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 if factor == 2 else 0.08)
    for factor in (2, 3, 4, 5, 8):
        network = Fsrcnn.initial(factor, channels=(4, 2), mapping_layers=1, seed=0)
        plain = np.full((1, 1, 3 + 2 * network.reach, 3 + 2 * network.reach), 0.4)
        np.testing.assert_allclose(network.upsample(plain), 0.4, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("feature.weight"), "feature and shrink"),
        (lambda p: p.pop("expand.bias"), "parameters of a network are"),
        (lambda p: p.update(more=np.zeros(1)), "parameters of a network are"),
        (
            lambda p: p.update({"shrink.bias": np.zeros(3)}),
            r"shrink.bias must be of shape \(2,\), not \(3,\)",
        ),
        (lambda p: p.update({"painted.weight": np.zeros((4, 1, 7, 7))}), r"\(4, 1, 9, 9\)"),
    ],
)
def test_parameters_that_do_not_fit(change, message):
    parameters = dict(network_of().parameters)
    change(parameters)
    with pytest.raises(ValueError, match=message):
        Fsrcnn(2, parameters)


def edges(seed, side=96):
    """A picture of discs with sharp edges, and its half by averages."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices((2 * side, 2 * side))
    large = np.full((2 * side, 2 * side), 0.5)
    for row, column, radius, grey in random.uniform([0, 0, 10, 0], [2 * side, 2 * side, 50, 1], (25, 4)):
        large[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = grey
    return large.reshape(side, 2, side, 2).mean((1, 3)).astype(np.float32), large.astype(np.float32)


def pairs_of_edges(seeds, channels=(8, 3)):
    reach = Fsrcnn.reach_of(2, channels=channels, mapping_layers=1)
    return [(np.pad(small, reach, mode="symmetric"), large) for small, large in map(edges, seeds)]


def fitted(pairs, **kwargs):
    return Fsrcnn.fitted(pairs, 2, **{"channels": (8, 3), "progress": False, "max_iter": 4, **kwargs})


def error(network, pairs):
    return np.mean([(network.upsample(x[None, None].copy())[0, 0] - y) ** 2 for x, y in pairs])


def test_learns_edges():
    fit, held_out = pairs_of_edges(range(4)), pairs_of_edges(range(4, 7))
    first = Fsrcnn.initial(2, channels=(8, 3), mapping_layers=1, seed=0)
    network = fitted(fit, max_iter=80)
    assert network.parameters["feature.weight"].dtype == np.float32
    assert len(network.loss_curve) == 80
    np.testing.assert_allclose(network.loss_curve[-1], error(network, fit), rtol=0.1)  # those are turned
    assert error(network, held_out) < 0.8 * error(first, held_out)


def test_same_seed_same_bits_on_any_number_of_threads():
    pairs = pairs_of_edges(range(4))
    found = []
    for threads, seed in ((1, 0), (2, 0), (3, 0), (2, 1)):
        with pxd.num_threads(threads):
            found.append(fitted(pairs, seed=seed))
    for name in found[0].parameters:
        for other in found[1:3]:
            np.testing.assert_array_equal(other.parameters[name], found[0].parameters[name], err_msg=name)
    assert found[0].loss_curve == found[1].loss_curve == found[2].loss_curve
    assert found[0].loss_curve != found[3].loss_curve


def test_callback_sees_every_step_and_may_end_the_fit():
    pairs, seen = pairs_of_edges([0]), []

    def callback(number, loss, network):
        seen.append((number, loss, error(network, pairs)))
        if number == 3:
            raise StopIteration

    network = fitted(pairs, callback=callback, max_iter=10)
    assert [number for number, _, _ in seen] == [1, 2, 3]
    assert network.loss_curve == [loss for _, loss, _ in seen]
    assert error(network, pairs) == seen[-1][2]
    assert seen[0][1] > seen[1][1] > seen[2][1]


def test_other_errors_of_the_callback_come_through():
    def callback(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fitted(pairs_of_edges([0]), callback=callback)


def test_ends_when_nothing_is_gained(monkeypatch):
    monkeypatch.setattr(_training, "LEAST_GAIN", 1.0)
    monkeypatch.setattr(_training, "FIRST_PATCHES", 2)
    monkeypatch.setattr(_training, "ROUND", 3)
    # 2, 4 and 8 patches; the last round has all.
    assert len(fitted(pairs_of_edges(range(2)), max_iter=100).loss_curve) == 9


@pytest.mark.parametrize("scale", [1e4, 1e9])
def test_a_step_much_too_far_is_taken_back(monkeypatch, scale):
    """Variables that are so much too long overflow in float32 at the first step."""
    pairs = pairs_of_edges([0])
    changed = Curvature._changed

    def scaled(self, given, forward):
        return {name: scale * each for name, each in changed(self, given, forward).items()}

    monkeypatch.setattr(Curvature, "_changed", scaled)
    network = fitted(pairs, max_iter=6)
    assert network.loss_curve
    assert np.isfinite(network.loss_curve).all()
    first = Fsrcnn.initial(2, channels=(8, 3), mapping_layers=1, seed=0)
    assert error(network, pairs) < 1.01 * error(first, pairs)


def test_nothing_to_learn_ends_well():
    plain = np.full((60, 60), 0.5, np.float32)
    network = fitted([(plain, np.full((100, 100), 0.5, np.float32))])
    assert network.loss_curve[-1] < 1e-9
    np.testing.assert_allclose(network.upsample(plain[None, None]), 0.5, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3])
def test_patches(factor):
    """They are turned with what they should become; small pictures give none where there are larger ones."""
    network = network_of(factor)
    random = np.random.default_rng(0)
    inner = [random.random(shape, np.float32) for shape in ((100, 150), (20, 200), (48, 48))]
    pairs = [(np.pad(each, network.reach), np.kron(each, np.ones((factor, factor)))) for each in inner]
    x, y = _training._patches(pairs, network, random)
    assert x.shape == (7, 1, 48 + 2 * network.reach, 48 + 2 * network.reach)
    inside = x[:, :, network.reach : -network.reach, network.reach : -network.reach]
    np.testing.assert_array_equal(y, np.kron(inside, np.ones((factor, factor))))
    assert len({each.tobytes() for each in inside}) == 7
    only_small, _ = _training._patches(pairs[1:2], network, random)
    assert only_small.shape == (10, 1, 20 + 2 * network.reach, 20 + 2 * network.reach)


def test_smallest_pictures():
    reach = Fsrcnn.reach_of(2, channels=(8, 3), mapping_layers=1)
    random = np.random.default_rng(0)
    pairs = [
        (
            random.random((side + 2 * reach, 20 + 2 * reach), np.float32),
            random.random((2 * side, 40), np.float32),
        )
        for side in (8, 7)
    ]
    assert np.isfinite(fitted(pairs).loss_curve).all()
    with pytest.raises(ValueError, match="16x16 pixels or more"):
        fitted(pairs[1:])


def test_easy_patches_count_more_but_not_without_limit():
    network = Fsrcnn.initial(2, channels=(4, 2), mapping_layers=1, seed=0)
    x = np.full((3, 1, 8 + 2 * network.reach, 8 + 2 * network.reach), 0.5, np.float32)
    y = np.full((3, 1, 16, 16), 0.5, np.float32) + np.float32([0, 0.1, 0.2])[:, None, None, None]
    want = 1 / (np.array([0, 0.01, 0.04]) + _training.EASIEST * 0.01)
    np.testing.assert_allclose(_training._importance(network, x, y), want, rtol=1e-4)


def curvature_of(network, seed=0):
    x, _ = pictures_of(network, batch=3, height=20, width=20, seed=seed)
    return Curvature(network, x, np.random.default_rng(seed))


def test_change_of_variables_and_its_gradient_are_adjoint():
    network = network_of(3, (4, 3), 2)
    curvature, random = curvature_of(network), np.random.default_rng(1)
    one, other = (
        {name: random.normal(size=array.shape) for name, array in network.parameters.items()}
        for _ in range(2)
    )
    forward, backward = curvature.parameters(one), curvature.gradient(other)
    left = [np.vdot(forward[name], other[name]) for name in one]
    right = [np.vdot(one[name], backward[name]) for name in one]
    np.testing.assert_allclose(sum(left), sum(right), rtol=1e-12)


def test_variables_are_equally_curved():
    """Each changes the result by about as much as any other, unlike the parameters."""
    network = Fsrcnn.initial(2, channels=(6, 3), mapping_layers=1, seed=0)
    x = pairs_of_edges([0], channels=(6, 3))[0][0][None, None].astype(float)
    curvature = Curvature(network, x, np.random.default_rng(0))
    result, step = network.upsample(x.copy()), 1e-5
    by_parameter, by_variable = [], []
    for name, array in network.parameters.items():
        for i in range(0, array.size, 7):
            unit = {other: np.zeros(each.shape) for other, each in network.parameters.items()}
            unit[name].flat[i] = step
            for change, found in ((unit, by_parameter), (curvature.parameters(unit), by_variable)):
                moved = Fsrcnn(2, {n: network.parameters[n] + change[n] for n in change})
                found.append(np.sqrt(np.mean((moved.upsample(x.copy()) - result) ** 2)) / step)
    spread = [np.subtract(*np.log10(np.percentile(found, (90, 10)))) for found in (by_parameter, by_variable)]
    assert spread[1] < spread[0] / 2


def test_without_scipy(monkeypatch):
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("scipy"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "pyx_deconv\[upsampling\]"'):
        fitted(pairs_of_edges([0]))


def test_bar(monkeypatch, capsys):
    """There is none where standard error is no terminal."""
    fitted(pairs_of_edges([0]), progress=True, max_iter=2)
    assert capsys.readouterr().err == ""
