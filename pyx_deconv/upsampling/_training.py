"""Fitting a network with `scipy.optimize`: which pixels, in which order, along which variables."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from typing import Any

import numpy as np

from pyx_deconv.threads import get_num_threads, num_threads
from pyx_deconv.upsampling._curvature import Curvature
from pyx_deconv.upsampling._fsrcnn import Array, Fsrcnn, Parameters

__all__ = ["fit"]

PATCH = 48  # small pixels along each side
LEAST_PATCH = 8  # if all pictures are small
PIXELS_AT_ONCE = 4 * PATCH**2  # in one pass: so much stays in the cache
MOST_PATCHES = 400  # of all pictures: so that the time is bounded
FIRST_PATCHES, GROWTH = 64, 2
ROUND = 60  # steps with the same patches along the same variables
MOST_STEPS = 360
CURVATURE_PATCHES = 12  # from which the variables are made
TOO_FAR = 10  # times the loss: what is said where it overflows, so that the line search turns back
LEAST_GAIN = 0.004  # of a round with all patches: after a smaller one it ends
EASIEST = 0.3  # of the median error: what is easier than that counts no more


def fit(
    network: Fsrcnn,
    pairs: Sequence[tuple[Array, Array]],
    *,
    seed: int,
    max_iter: int | None,
    progress: bool,
    callback: Callable[[int, float, Fsrcnn], None],
) -> Fsrcnn:
    """Minimise the error of a network over pairs of pictures.

    The pictures are cut into patches and shuffled. A round is so many steps of L-BFGS-B with the first of
    them, in variables that are made anew for each round (`Curvature`); the next has twice as many patches,
    until it is all of them. Passes are computed in float32, parameters, sums and steps in float64. The result
    depends on the seed and on the instruction set, not on the number of threads.

    What is minimised is the mean of the squared errors of the patches, each divided by what it is at the
    beginning, when the network is about bicubic interpolation: the PSNR of a picture is the logarithm of its
    error, and grass at 23 dB would count sixteen times as much as a cat at 35 dB.

    Parameters
    ----------
    network : Fsrcnn
        Where to begin, in float64.
    pairs : sequence of (x, y)
        Pictures (h + 2 * reach, w + 2 * reach) and what they should become, (h * factor, w * factor).
    seed : int
        Of the order of the patches.
    max_iter : int, optional
        The largest number of steps.
    progress : bool
        Whether to show a bar, on a terminal, if tqdm is there.
    callback : callable
        Called after every step with its number, the loss, and the network as it is. StopIteration ends the
        fit.

    Returns
    -------
    Fsrcnn
        In float32, with ``loss_curve``: the mean squared error of the round's patches after each step.
    """
    try:
        import scipy.optimize  # noqa: F401
    except ImportError as error:
        raise ImportError('fitting a network needs SciPy: pip install "pyx_deconv[upsampling]"') from error
    random = np.random.default_rng(seed)
    x, y = _patches(pairs, network, random)
    importance = _importance(network, x, y)
    steps = max_iter or MOST_STEPS
    curve: list[float] = []
    ended = False
    with ThreadPoolExecutor(get_num_threads()) as pool, _bar(steps, progress) as bar, suppress(StopIteration):

        def after_step(loss: float, parameters: Parameters) -> None:
            nonlocal network, ended
            network = Fsrcnn(network.factor, parameters)
            curve.append(loss)
            if bar is not None:
                bar.set_postfix_str(f"PSNR {-10 * np.log10(max(loss, 1e-20)):.2f} dB", refresh=False)
                bar.update()
            try:
                callback(len(curve), loss, _rounded(network, curve))
            except StopIteration:  # SciPy 1.11 and later take it for their own, earlier ones let it through
                ended = True
                raise

        patches = FIRST_PATCHES
        while len(curve) < steps and not ended:
            done = len(curve)
            curvature = Curvature(_rounded(network), x[:CURVATURE_PATCHES], random)
            loss = _Loss(network, curvature, x[:patches], y[:patches], importance[:patches], pool)
            loss.minimise(min(ROUND, steps - done), after_step)
            if not curve:  # no step was found: it is as good as it gets
                curve.append(loss.mean_squared_error(np.zeros(sum(a.size for a in loss.start.values()))))
                break
            gained = curve[done:]
            if not gained or (patches >= len(x) and gained[0] - gained[-1] < LEAST_GAIN * gained[0]):
                break
            patches *= GROWTH
    return _rounded(network, curve)


class _Loss:
    """The error over patches, as a function of the variables of a round."""

    def __init__(
        self, network: Fsrcnn, curvature: Curvature, x: Array, y: Array, importance: Array, pool: Executor
    ) -> None:
        self.start, self.factor = network.parameters, network.factor
        self.curvature, self.pool, self.pixels = curvature, pool, y.size
        at_once = max(1, PIXELS_AT_ONCE * network.factor**2 // y[0].size)
        cuts = [slice(i, i + at_once) for i in range(0, len(x), at_once)]
        self.parts = [(x[cut], y[cut], importance[cut]) for cut in cuts]
        self.latest: tuple[Array, float] | None = None
        self.far = 0.0

    def parameters(self, variables: Array) -> Parameters:
        """Return the parameters at a point."""
        change = self.curvature.parameters(_shaped(variables, self.start))
        return {name: self.start[name] + change[name] for name in self.start}

    def __call__(self, variables: Array) -> tuple[float, Array]:
        """Return what is minimised, and its gradient by the variables."""
        network = _rounded(Fsrcnn(self.factor, self.parameters(variables)))

        def of_part(part: tuple[Array, Array, Array]) -> tuple[float, float, Array]:
            with num_threads(1), np.errstate(over="ignore", invalid="ignore"):
                errors, gradient = network.errors_and_gradient(*part)
            return float(errors.sum()), float((errors * part[2]).sum()), _flat(gradient)

        error, weighed, gradient = 0.0, 0.0, np.zeros_like(variables)
        for part_error, part_weighed, part_gradient in self.pool.map(of_part, self.parts):  # in their order
            error += part_error
            weighed += part_weighed
            gradient += part_gradient
        self.latest = variables.copy(), error / self.pixels
        if not (np.isfinite(weighed) and np.isfinite(gradient).all()):  # the first step may go much too far
            return self.far, np.zeros_like(variables)
        self.far = max(self.far, TOO_FAR * weighed / self.pixels)
        by_variables = self.curvature.gradient(_shaped(2 * gradient / self.pixels, self.start))
        return weighed / self.pixels, _flat(by_variables)

    def mean_squared_error(self, variables: Array) -> float:
        """Return the error at a point, which is there if the point is where the loss was asked for last."""
        if self.latest is None or not np.array_equal(self.latest[0], variables):
            self(variables)
        assert self.latest is not None
        return self.latest[1]

    def minimise(self, steps: int, after_step: Callable[[float, Parameters], None]) -> None:
        """Take steps from where the variables are zero."""
        from scipy.optimize import minimize

        def callback(variables: Array) -> None:
            after_step(self.mean_squared_error(variables), self.parameters(variables))

        minimize(
            self,
            np.zeros(sum(each.size for each in self.start.values())),
            jac=True,
            method="L-BFGS-B",
            callback=callback,
            options={"maxiter": steps, "maxfun": 20 * steps, "ftol": 0, "gtol": 0},
        )


def _patches(
    pairs: Sequence[tuple[Array, Array]], network: Fsrcnn, random: np.random.Generator
) -> tuple[Array, Array]:
    """Cut pictures into squares, and return a random choice of them, turned and mirrored at random."""
    around, factor = 2 * network.reach, network.factor
    side = min(PATCH, max(min(x.shape) - around for x, _ in pairs))
    if side < LEAST_PATCH:
        least = LEAST_PATCH * factor
        raise ValueError(f"one of the images must be {least}x{least} pixels or more to fit a network")
    corners = [
        (number, row, column)
        for number, (x, _) in enumerate(pairs)
        for height, width in [(x.shape[0] - around, x.shape[1] - around)]
        for row in range(height % side // 2, height - side + 1, side)
        for column in range(width % side // 2, width - side + 1, side)
    ]
    xs, ys = [], []
    for chosen in random.permutation(len(corners))[:MOST_PATCHES]:
        number, row, column = corners[chosen]
        turns = int(random.integers(4)), int(random.integers(2))
        x, y = pairs[number]
        xs.append(_turned(x[row : row + side + around, column : column + side + around], *turns))
        row, column = row * factor, column * factor
        ys.append(_turned(y[row : row + side * factor, column : column + side * factor], *turns))
    return np.stack(xs)[:, np.newaxis], np.stack(ys)[:, np.newaxis]


def _turned(picture: Array, quarters: int, mirrored: int) -> Array:
    turned = np.rot90(np.asarray(picture, np.float32), quarters)
    return turned[:, ::-1] if mirrored else turned


def _importance(network: Fsrcnn, x: Array, y: Array) -> Array:
    """Return the inverse of the mean squared error of every patch, but not more than for the easiest."""
    first = _rounded(network)
    errors = np.array([np.square(first.upsample(x[i : i + 1]) - y[i]).mean() for i in range(len(x))])
    return np.asarray(1 / (errors + EASIEST * np.median(errors) + np.finfo(np.float32).eps ** 2))


def _rounded(network: Fsrcnn, curve: Sequence[float] = ()) -> Fsrcnn:
    """Return the network in float32, with a loss curve."""
    rounded = Fsrcnn(network.factor, {name: a.astype(np.float32) for name, a in network.parameters.items()})
    rounded.loss_curve = list(curve)
    return rounded


def _flat(parameters: Parameters) -> Array:
    return np.concatenate([each.ravel() for each in parameters.values()])


def _shaped(vector: Array, like: Parameters) -> Parameters:
    parts = np.split(vector, np.cumsum([each.size for each in like.values()])[:-1])
    return {name: part.reshape(like[name].shape) for name, part in zip(like, parts, strict=True)}


def _bar(steps: int, progress: bool) -> Any:
    """Return a bar, which shows itself on a terminal only, or None in a context of its own."""
    if progress:
        with suppress(ImportError):
            from tqdm import tqdm

            return tqdm(total=steps, desc="fsrcnn", unit=" steps", leave=False, disable=None)
    return nullcontext()
