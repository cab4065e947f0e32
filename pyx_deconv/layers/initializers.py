r"""What the weights of a layer are at first.

=========================================  =====================================================
name                                       object
=========================================  =====================================================
``zeros``, ``ones``, ``constant``          `Constant`
``random_normal``, ``truncated_normal``    `RandomNormal`, `TruncatedNormal`
``random_uniform``                         `RandomUniform`
``glorot_uniform``, ``glorot_normal``      `VarianceScaling`: scale 1, "fan_avg"
``he_uniform``, ``he_normal``              `VarianceScaling`: scale 2, "fan_in"
``lecun_uniform``, ``lecun_normal``        `VarianceScaling`: scale 1, "fan_in"
``bilinear``                               `Bilinear`: enlarges by interpolation
``icnr``                                   `ICNR`: random, without a checkerboard
=========================================  =====================================================

All but the last two are those of Keras 3. The kernel of a transposed layer has shape (*kernel_size, filters,
channels), that of a plain layer (*kernel_size, channels // groups, filters).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pyx_deconv import _arguments
from pyx_deconv._arguments import show
from pyx_deconv.layers import _checks
from pyx_deconv.layers._checks import Array, Sizes

__all__ = [
    "ICNR",
    "Bilinear",
    "Constant",
    "Initializer",
    "InitializerLike",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
]

Strides = tuple[int, ...] | None

# The standard deviation of a standard normal distribution that is cut off at -2 and 2
TRUNCATED = 0.87962566103423978

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


class Initializer(ABC):
    """What makes the numbers of a new weight. Initializers are equal if their settings are."""

    def __call__(self, shape: tuple[int, ...], dtype: DTypeLike = "float32") -> Array:
        """Return a new array of this shape and dtype."""
        drawn = self.draw(_arguments.sizes(shape, "shape"), np.random.default_rng())
        return drawn.astype(_checks.dtype(dtype))

    @abstractmethod
    def draw(self, shape: tuple[int, ...], rng: np.random.Generator, strides: Strides = None) -> Array:
        """Return a new float64 array, drawn from ``rng`` unless the initializer has a seed of its own.

        ``strides`` are those of a transposed layer without dilation; None for other layers.
        """

    def get_config(self) -> dict[str, Any]:
        """Return the settings, under Keras' names."""
        return {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]


InitializerLike = str | Initializer | Callable[[tuple[int, ...], Any], Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Constant(Initializer):
    """The same number everywhere.

    Parameters
    ----------
    value : float, default: 0.0
        The number.

    Examples
    --------
    >>> from pyx_deconv.layers import initializers
    >>> initializers.Constant(0.5)((3,))
    array([0.5, 0.5, 0.5], dtype=float32)
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        _checks.number(self.value, "value")

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator, strides: Strides = None) -> Array:
        """Return the number everywhere."""
        return np.full(shape, float(self.value))


@dataclass(frozen=True)
class RandomNormal(Initializer):
    """Numbers from a normal distribution.

    Parameters
    ----------
    mean, stddev : float, default: 0.0, 0.05
        Its mean and its standard deviation.
    seed : int, optional
        With a seed every draw gives the same numbers; None takes the generator of the layer.
    """

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        _checks.number(self.mean, "mean")
        _at_least_zero(self.stddev, "stddev")
        _arguments.optional(self.seed, "seed", 0)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator, strides: Strides = None) -> Array:
        """Return normally distributed numbers."""
        return self.mean + self.stddev * _generator(self.seed, rng).standard_normal(shape)


@dataclass(frozen=True)
class TruncatedNormal(RandomNormal):
    """As `RandomNormal`, but numbers more than two ``stddev`` from the mean are drawn again.

    What is left has a standard deviation of 0.8796 ``stddev``.
    """

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator, strides: Strides = None) -> Array:
        """Return normally distributed numbers within two ``stddev`` of the mean."""
        return self.mean + self.stddev * _truncated_normal(shape, _generator(self.seed, rng))


@dataclass(frozen=True)
class RandomUniform(Initializer):
    """Numbers from a uniform distribution.

    Parameters
    ----------
    minval, maxval : float, default: -0.05, 0.05
        Its ends.
    seed : int, optional
        As of `RandomNormal`.
    """

    minval: float = -0.05
    maxval: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        if _checks.number(self.minval, "minval") > _checks.number(self.maxval, "maxval"):
            raise ValueError(f"minval={self.minval} must not be larger than maxval={self.maxval}")
        _arguments.optional(self.seed, "seed", 0)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator, strides: Strides = None) -> Array:
        """Return uniformly distributed numbers."""
        return _generator(self.seed, rng).uniform(self.minval, self.maxval, shape)


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    r"""Random numbers whose variance is ``scale / n``, so that signals keep their size through many layers.

    As Keras counts them, whatever the layer:

    .. math:: \mathrm{fan\_in} = \mathrm{shape}[-2] \prod \mathrm{kernel\_size}, \qquad
              \mathrm{fan\_out} = \mathrm{shape}[-1] \prod \mathrm{kernel\_size}

    Parameters
    ----------
    scale : float, default: 1.0
        The variance times n.
    mode : {"fan_in", "fan_out", "fan_avg"}
        What n is: the fan, or the mean of both.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        The first is cut off at two standard deviations of the uncut distribution, and widened so that its
        variance is as said; the last reaches from -sqrt(3 scale / n) to sqrt(3 scale / n).
    seed : int, optional
        As of `RandomNormal`.

    Notes
    -----
    Glorot and Bengio 2010 (scale 1, "fan_avg"); He et al. 2015 (scale 2, "fan_in"); LeCun et al. 1998
    (scale 1, "fan_in").

    Examples
    --------
    >>> from pyx_deconv.layers import initializers
    >>> w = initializers.VarianceScaling(2.0, "fan_in", "uniform", seed=0)((3, 3, 4, 8))
    >>> bool((abs(w) <= (3 * 2 / (4 * 3 * 3)) ** 0.5).all())
    True
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: int | None = None

    def __post_init__(self) -> None:
        if _checks.number(self.scale, "scale") <= 0:
            raise ValueError(f"scale={self.scale} must be larger than 0")
        _checks.word(self.mode, "mode", MODES)
        _checks.word(self.distribution, "distribution", DISTRIBUTIONS)
        _arguments.optional(self.seed, "seed", 0)

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator, strides: Strides = None) -> Array:
        """Return random numbers of the variance that the shape asks for."""
        rng = _generator(self.seed, rng)
        fan_in, fan_out = fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / n
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return rng.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return math.sqrt(variance) * rng.standard_normal(shape)
        return math.sqrt(variance) / TRUNCATED * _truncated_normal(shape, rng)


@dataclass(frozen=True)
class Bilinear(Initializer):
    r"""The kernel of (bi-, tri-)linear interpolation: a transposed layer that enlarges by its strides s.

    Filter c takes channel c alone; all other pairs of them are 0. Along each axis, with a kernel of size k,

    .. math:: h[t] = \max\left(0, 1 - \frac{|t - (k - 1) / 2|}{s}\right), \qquad
              w[t] = \frac{h[t]}{\sum_{u \equiv t \,(s)} h[u]}

    and the kernel is the product over the axes. The taps of each phase modulo s add up to 1, so that a
    constant stays the same constant wherever the kernels of all neighbours reach; for k >= 2 s - 1 they do so
    without the division. With k = 2 s - s % 2 it is what fully convolutional networks begin with (Long,
    Shelhamer and Darrell 2015); with k = s pixels are repeated.

    Parameters
    ----------
    factor : int or tuple of int, optional
        The distances s; None takes the strides of the layer.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.layers import Conv1DTranspose
    >>> layer = Conv1DTranspose(1, 4, strides=2, padding="same", kernel_initializer="bilinear")
    >>> layer(np.array([[[0.0], [4.0], [4.0], [4.0]]])).ravel()
    array([0., 1., 3., 4., 4., 4., 4., 3.], dtype=float32)
    """

    factor: Sizes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", _checked_factor(self.factor))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator, strides: Strides = None) -> Array:
        """Return the interpolating kernel."""
        window = np.ones(())
        for k, s in zip(shape[:-2], _factor(self, shape, strides), strict=True):
            h = np.maximum(0, 1 - abs(np.arange(k) - (k - 1) / 2) / s)
            total = np.array([h[t % s :: s].sum() for t in range(k)])
            window = np.multiply.outer(window, h / total)  # every phase has a tap nearer than s to the middle
        return np.multiply.outer(window, np.eye(shape[-2], shape[-1]))


@dataclass(frozen=True)
class ICNR(Initializer):
    """A random kernel that gives no checkerboard: at first every output pixel sees the same numbers.

    The kernel falls into one part for each phase modulo the strides; all of them are equal, each with the
    same numbers, drawn for the shape of a part. So the output is that of a small convolution whose pixels are
    repeated, until training makes the parts differ. The kernel size must be a multiple of the strides.

    Parameters
    ----------
    initializer : str or Initializer, default: "glorot_uniform"
        What a part is drawn by.
    factor : int or tuple of int, optional
        Into how many parts each axis falls; None takes the strides of the layer.

    Notes
    -----
    From Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution", where the parts are the
    channels of a sub-pixel convolution.

    Examples
    --------
    >>> from pyx_deconv.layers import initializers
    >>> kernel = initializers.ICNR("random_normal", factor=2)((4, 1, 1))
    >>> bool(kernel[0] == kernel[1] and kernel[2] == kernel[3])
    True
    """

    initializer: InitializerLike = "glorot_uniform"
    factor: Sizes | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "initializer", get(self.initializer, "initializer"))
        object.__setattr__(self, "factor", _checked_factor(self.factor))

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator, strides: Strides = None) -> Array:
        """Return a kernel of equal parts."""
        factor = _factor(self, shape, strides)
        for axis, (k, s) in enumerate(zip(shape[:-2], factor, strict=True)):
            if k % s:
                raise ValueError(
                    f"the kernel size {k} on axis {axis} must be a multiple of the strides, {s}, for ICNR: "
                    "otherwise some output pixels get more taps than others"
                )
        part = (*(k // s for k, s in zip(shape[:-2], factor, strict=True)), *shape[-2:])
        kernel = draw(self.initializer, part, np.dtype(np.float64), rng)
        for axis, s in enumerate(factor):
            kernel = kernel.repeat(s, axis=axis)
        return kernel

    def get_config(self) -> dict[str, Any]:
        """Return the settings; the inner initializer as its own."""
        return {"initializer": config_of(self.initializer), "factor": self.factor}


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (fan_in, fan_out) as Keras counts them; for a bias both are its length."""
    if len(shape) == 1:
        return shape[0], shape[0]
    taps = math.prod(shape[:-2])
    return shape[-2] * taps, shape[-1] * taps


def _generator(seed: int | None, rng: np.random.Generator) -> np.random.Generator:
    return rng if seed is None else np.random.default_rng(seed)


def _truncated_normal(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    drawn = rng.standard_normal(shape)
    while (outside := abs(drawn) > 2).any():
        drawn[outside] = rng.standard_normal(np.count_nonzero(outside))
    return drawn


def _at_least_zero(value: Any, name: str) -> None:
    if _checks.number(value, name) < 0:
        raise ValueError(f"{name}={value} must be at least 0")


def _checked_factor(factor: Any) -> Sizes | None:
    if factor is None:
        return None
    checked = _arguments.sizes(factor, "factor")
    return checked[0] if isinstance(factor, int) else checked


def _factor(initializer: Bilinear | ICNR, shape: tuple[int, ...], strides: Strides) -> tuple[int, ...]:
    """Return one factor for each spatial axis of a kernel."""
    name, rank = type(initializer).__name__, len(shape) - 2
    if rank < 1:
        raise ValueError(f"{name} is for kernels, and not for a weight of shape {shape}")
    factor = strides if initializer.factor is None else initializer.factor
    if factor is None:
        raise ValueError(
            f"factor of {name} must be given: None stands for the strides of a transposed layer without "
            "dilation"
        )
    return _arguments.per_axis(_arguments.integers(factor, "factor"), "factor", rank, 1)


def get(value: Any, name: str) -> Any:
    """Return an initializer, or the caller's function; from a name, or from what `config_of` returns."""
    if isinstance(value, str):
        return _named(value, name)
    if isinstance(value, Mapping):
        # Keras writes settings that do not apply to kernels as None.
        settings = {key: entry for key, entry in dict(value.get("config", {})).items() if entry is not None}
        return replace(_named(value.get("class_name"), name), **settings)  # type: ignore[type-var]
    if isinstance(value, type) and issubclass(value, Initializer):
        return value()
    if callable(value):
        return value
    raise TypeError(
        f"{name} must be a name, an initializer or a function (shape, dtype) -> array, "
        f"not {show(value)} ({type(value).__name__})"
    )


def _named(value: Any, name: str) -> Initializer:
    key = _checks.snake_case(_checks.text(value, name))
    if key not in NAMED:
        raise ValueError(f"{name} must be {_checks.listed(tuple(NAMED))}, not {show(value)}")
    return NAMED[key]


def config_of(initializer: Any) -> Any:
    """Return a name, or a dictionary as Keras has it; a function of the caller's as it is."""
    if not isinstance(initializer, Initializer):
        return initializer
    for name, each in NAMED.items():
        if initializer == each:
            return name
    return {"class_name": type(initializer).__name__, "config": initializer.get_config()}


def draw(
    initializer: Any,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    rng: np.random.Generator,
    strides: Strides = None,
) -> Array:
    """Return what an initializer, or a function of the caller's, gives for a weight."""
    if isinstance(initializer, Initializer):
        return initializer.draw(shape, rng, strides)
    return _checks.real(initializer(shape, dtype), "what the initializer returns")


# Initializers by name; of equal ones a configuration shows the first name.
NAMED: dict[str, Initializer] = {
    "zeros": Constant(0.0),
    "ones": Constant(1.0),
    "constant": Constant(),
    "random_normal": RandomNormal(),
    "random_uniform": RandomUniform(),
    "truncated_normal": TruncatedNormal(),
    "glorot_uniform": VarianceScaling(1.0, "fan_avg", "uniform"),
    "glorot_normal": VarianceScaling(1.0, "fan_avg"),
    "he_uniform": VarianceScaling(2.0, "fan_in", "uniform"),
    "he_normal": VarianceScaling(2.0, "fan_in"),
    "lecun_uniform": VarianceScaling(1.0, "fan_in", "uniform"),
    "lecun_normal": VarianceScaling(1.0, "fan_in"),
    "variance_scaling": VarianceScaling(),
    "bilinear": Bilinear(),
}
NAMED["icnr"] = ICNR("glorot_uniform")
