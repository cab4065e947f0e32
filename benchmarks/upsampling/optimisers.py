"""The same network fitted by other ways of `scipy.optimize`, to see which one converges best.

Each way begins where `_training.fit` does, or at random, and has the same patches and the same time.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import minimize

import pyx_deconv as pxd
from benchmarks.upsampling.experiment import gain
from benchmarks.upsampling.photographs import load, load_at_scales, split
from pyx_deconv.upsampling import LearnedUpsampler, _training, score
from pyx_deconv.upsampling._curvature import Curvature
from pyx_deconv.upsampling._fsrcnn import Fsrcnn, Parameters
from pyx_deconv.upsampling._pairs import original, pair

__all__ = ["Way", "compare"]

FACTOR, CHANNELS, MAPPING_LAYERS = 2, (32, 5), 1
LOOKS = (10, 20, 40)  # seconds


class _Parameters:
    """The parameters as they are for variables."""

    def __init__(self, *_: Any) -> None:
        pass

    def parameters(self, given: Parameters) -> Parameters:
        """Return them."""
        return given

    gradient = parameters


class _OutOfTime(Exception):
    """The time of a way is over."""


@dataclass
class Way:
    """A way to minimise, and what it came to."""

    name: str
    method: str = "L-BFGS-B"
    variables: Any = Curvature
    initial: Callable[..., Fsrcnn] = Fsrcnn.initial
    rounds: Callable[[int], int] = lambda number: 10**6  # patches of a round
    round_steps: int = _training.ROUND
    shuffled: bool = False  # other patches in each round
    steps: int = 0
    passes: float = 0
    gains: dict[int, float] = field(default_factory=dict)


def ways() -> list[Way]:
    """Return what is compared."""

    def growing(number: int) -> int:
        return _training.FIRST_PATCHES * _training.GROWTH**number

    def few(_: int) -> int:
        return _training.FIRST_PATCHES

    return [
        Way("growing batch, as fit does", rounds=growing),
        Way("full batch"),
        Way("batches of 64 patches, another one every 20 steps", rounds=few, round_steps=20, shuffled=True),
        Way("full batch, parameters as variables", variables=_Parameters),
        Way("growing batch, conjugate gradients (CG)", method="CG", rounds=growing),
        Way("growing batch, truncated Newton (TNC)", method="TNC", rounds=growing),
        Way("growing batch, from random parameters", rounds=growing, initial=at_random),
        Way("full batch, from random parameters as variables", variables=_Parameters, initial=at_random),
    ]


def at_random(factor: int, *, channels: tuple[int, int], mapping_layers: int, seed: int) -> Fsrcnn:
    """Return a network with the parameters that its paper starts with."""
    random = np.random.default_rng(seed)
    made: Parameters = {}
    for name, shape in Fsrcnn.shapes(factor, channels=channels, mapping_layers=mapping_layers).items():
        if name.endswith("weight"):
            deviation = 0.001 if name.startswith("painted") else np.sqrt(2 / np.prod(shape[1:]))
            made[name] = random.standard_normal(shape) * deviation
        else:
            made[name] = np.full(shape, 0.25 if name.endswith("slope") else 0.0)
    return Fsrcnn(factor, made)


def compare(first_held_out: int, seconds: float = LOOKS[-1] + 1) -> list[Way]:
    """Fit by every way for so long, and look at the photographs held out now and then."""
    fitted_to, held_out = split(first_held_out)
    pictures = [load(each) for each in held_out]
    reference = {each.name: score(load(each), FACTOR, "bicubic") for each in held_out}
    reach = Fsrcnn.reach_of(FACTOR, channels=CHANNELS, mapping_layers=MAPPING_LAYERS)
    pairs = [
        pair(original(each, "picture", FACTOR), FACTOR, reach, "bicubic")
        for each in load_at_scales(fitted_to)
    ]
    upsampler = LearnedUpsampler(FACTOR, model="fsrcnn")

    def look(network: Fsrcnn) -> float:
        upsampler._fitted = network
        names = [each.name for each in held_out]
        return gain(dict(zip(names, map(upsampler.score, pictures), strict=True)), reference)

    found = ways()
    for way in found:
        run(way, pairs, seconds, look)
    return found


def run(way: Way, pairs: list[Any], seconds: float, look: Callable[[Fsrcnn], float]) -> None:
    """Fit by one way."""
    random = np.random.default_rng(0)
    network = way.initial(FACTOR, channels=CHANNELS, mapping_layers=MAPPING_LAYERS, seed=0)
    start, looking = time.perf_counter(), 0.0
    bicubic_like = Fsrcnn.initial(FACTOR, channels=CHANNELS, mapping_layers=MAPPING_LAYERS, seed=0)
    x, y = _training._patches(pairs, network, random)
    importance = _training._importance(bicubic_like, x, y)
    with ThreadPoolExecutor(pxd.get_num_threads()) as pool:
        number = -1
        while time.perf_counter() - start - looking < seconds:
            number += 1
            order = random.permutation(len(x)) if way.shuffled else np.arange(len(x))
            chosen = order[: way.rounds(number)]
            samples = x[: _training.CURVATURE_PATCHES]
            variables = way.variables(_training._rounded(network), samples, random)
            loss = _training._Loss(network, variables, x[chosen], y[chosen], importance[chosen], pool)

            def timed(at: Any, loss: Any = loss, share: float = len(chosen) / len(x)) -> Any:
                way.passes += share
                return loss(at)

            def callback(at: Any, loss: Any = loss) -> None:
                nonlocal network, looking
                way.steps += 1
                network = Fsrcnn(FACTOR, loss.parameters(np.asarray(at)))
                now = time.perf_counter()
                due = [each for each in LOOKS if each <= now - start - looking and each not in way.gains]
                for each in due:
                    way.gains[each] = look(_training._rounded(network))
                looking += time.perf_counter() - now
                if now - start - looking > seconds:
                    raise _OutOfTime

            limit = {"TNC": "maxfun"}.get(way.method, "maxiter")
            try:
                minimize(
                    timed,
                    np.zeros(sum(each.size for each in network.parameters.values())),
                    jac=True,
                    method=way.method,
                    callback=callback,
                    options={limit: way.round_steps, "gtol": 0},
                )
            except _OutOfTime:
                return
