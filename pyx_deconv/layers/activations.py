r"""Activation functions with their derivatives, and the layer that applies one.

With z for what comes in, as Keras 3 defines them:

==============  ==========================================================================
``linear``      z; also None
``relu``        max(z, 0)
``leaky_relu``  z where z > 0, else 0.2 z
``elu``         z where z > 0, else exp(z) - 1
``sigmoid``     1 / (1 + exp(-z))
``tanh``        tanh(z)
``softplus``    log(1 + exp(z))
``gelu``        z P(Z <= z) for Z ~ N(0, 1), exactly and not by tanh; needs SciPy
``silu``        z / (1 + exp(-z)); also ``swish``
``softmax``     exp(z) / sum(exp(z)) along the last axis, whatever the ``data_format``
==============  ==========================================================================

All are written so that no intermediate result overflows or cancels: where the formula has exp(z), the code
has exp(-abs(z)). At z = 0 the derivative of ``relu`` is 0 and that of ``leaky_relu`` 0.2.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from pyx_deconv import _arguments
from pyx_deconv._arguments import show
from pyx_deconv.layers import _checks
from pyx_deconv.layers._checks import Array, Shape
from pyx_deconv.layers._settings import ConfiguredLayer

__all__ = ["Activation", "ActivationLike"]

Floats = NDArray[np.floating[Any]]
Function = Callable[[Array], Array]
ActivationLike = str | Function | tuple[Function, Function] | None

SLOPE = 0.2  # of leaky_relu; Keras' default


def _relu(z: Floats) -> Floats:
    return np.maximum(z, 0)


def _relu_derivative(z: Floats) -> Floats:
    return (z > 0).astype(z.dtype)


def _leaky_relu(z: Floats) -> Floats:
    return np.where(z > 0, z, SLOPE * z)


def _leaky_relu_derivative(z: Floats) -> Floats:
    return np.where(z > 0, z.dtype.type(1), z.dtype.type(SLOPE))


def _elu(z: Floats) -> Floats:
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


def _elu_derivative(z: Floats) -> Floats:
    return np.exp(np.minimum(z, 0))


def _sigmoid(z: Floats) -> Floats:
    e: Floats = np.exp(-abs(z))
    return np.where(z > 0, 1, e) / (1 + e)


def _sigmoid_derivative(z: Floats) -> Floats:
    e: Floats = np.exp(-abs(z))
    return e / (1 + e) ** 2


def _tanh_derivative(z: Floats) -> Floats:
    return 4 * _sigmoid_derivative(2 * z)


def _softplus(z: Floats) -> Floats:
    return np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))


def _normal_cdf(z: Floats) -> Floats:
    try:
        from scipy.special import ndtr
    except ImportError:
        raise ImportError("activation='gelu' needs SciPy, for the error function") from None
    cdf: Floats = ndtr(z)
    return cdf


def _gelu(z: Floats) -> Floats:
    return z * _normal_cdf(z)


def _gelu_derivative(z: Floats) -> Floats:
    return _normal_cdf(z) + z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _silu(z: Floats) -> Floats:
    return z * _sigmoid(z)


def _silu_derivative(z: Floats) -> Floats:
    return _sigmoid(z) * (1 + z * _sigmoid(-z))


def _softmax(z: Floats) -> Floats:
    e: Floats = np.exp(z - z.max(axis=-1, keepdims=True))
    total: Floats = e.sum(axis=-1, keepdims=True)
    return e / total


def _softmax_backward(z: Floats, grad_y: Floats) -> Floats:
    y = _softmax(z)
    mean: Floats = (grad_y * y).sum(axis=-1, keepdims=True)
    return y * (grad_y - mean)


FUNCTIONS: dict[str, Function] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": _silu,
    "softmax": _softmax,
}
DERIVATIVES: dict[str, Function] = {
    "relu": _relu_derivative,
    "leaky_relu": _leaky_relu_derivative,
    "elu": _elu_derivative,
    "sigmoid": _sigmoid_derivative,
    "tanh": _tanh_derivative,
    "softplus": _sigmoid,
    "gelu": _gelu_derivative,
    "silu": _silu_derivative,
}
NAMES = ("linear", *FUNCTIONS)
ALIASES = {"swish": "silu"}


class Named:
    """A function of this module. float16 and bfloat16 are computed in float32; the dtype is kept."""

    def __init__(self, name: str) -> None:
        self.given: ActivationLike = name
        self._name = name

    def forward(self, z: Array) -> Array:
        # Infinities come out as they went in, without a word, as from the kernels.
        with np.errstate(all="ignore"):
            return FUNCTIONS[self._name](_computed(z)).astype(z.dtype, copy=False)

    def backward(self, z: Array, grad_y: Array) -> Array:
        wide, gradient = _computed(z), _computed(grad_y)
        with np.errstate(all="ignore"):
            if self._name == "softmax":  # the only one that mixes numbers
                result = _softmax_backward(wide, gradient)
            else:
                result = gradient * DERIVATIVES[self._name](wide)
            return result.astype(z.dtype, copy=False)


class Custom:
    """A function of the caller's, with or without its derivative."""

    def __init__(self, function: Function, derivative: Function | None = None) -> None:
        self.given: ActivationLike = function if derivative is None else (function, derivative)
        self._function, self._derivative = function, derivative

    def forward(self, z: Array) -> Array:
        return _returned(self._function(z), z, "activation")

    def backward(self, z: Array, grad_y: Array) -> Array:
        if self._derivative is None:
            raise ValueError(
                f"activation={show(self._function)} has no derivative, which backward needs: give the pair "
                "(function, derivative)"
            )
        return grad_y * _returned(self._derivative(z), z, "the derivative of activation")


def get(value: Any) -> Named | Custom | None:
    """Return what computes an activation; None where there is nothing to compute."""
    if value is None:
        return None
    if isinstance(value, str):
        name = ALIASES.get(value, value)
        if name not in NAMES:
            raise ValueError(f"activation must be {_checks.listed(NAMES)}, not {show(value)}")
        return None if name == "linear" else Named(name)
    if callable(value):
        return Custom(value)
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(map(callable, value)):
        return Custom(*value)
    raise TypeError(
        "activation must be a name, a function, a pair (function, derivative) or None, "
        f"not {show(value)} ({type(value).__name__})"
    )


def _computed(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def _returned(value: Any, z: Array, name: str) -> Array:
    """Check what a function of the caller's made of z."""
    array = _checks.real(value, f"what {name} returns")
    if array.shape != z.shape:
        raise ValueError(
            f"{name} must return an array of the shape it is given, {z.shape}, not {array.shape}"
        )
    return _checks.cast(array, z.dtype)


@dataclass(eq=False, repr=False)
class Activation(ConfiguredLayer):
    """A layer that applies an activation function, and has no weights.

    Parameters
    ----------
    activation : str, callable or (callable, callable)
        A name, as listed in `pyx_deconv.layers.activations`; or a function of the caller's with its
        derivative, each of which takes an array and returns one of its shape. A function alone has no
        `backward`.
    dtype : {None, "float16", "bfloat16", "float32", "float64"}
        What inputs are cast to; None keeps a floating dtype and makes float64 of integers. (Keras casts to
        float32, which between layers of float64 would cut off digits.)
    name : str, optional
        What `Sequential.summary` calls it.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.layers import Activation
    >>> layer = Activation("relu")
    >>> layer(np.array([-1.0, 2.0]))
    array([0., 2.])
    >>> layer.backward(np.array([10.0, 10.0]))
    array([ 0., 10.])
    """

    activation: ActivationLike
    dtype: DTypeLike | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self._function = get(self.activation)
        self.activation = "linear" if self._function is None else self._function.given
        self._dtype = None if self.dtype is None else _checks.dtype(self.dtype)
        self.dtype = self._dtype
        self._seen: Array | None = None
        super().__post_init__()

    def __call__(self, x: ArrayLike, *, training: bool = True) -> Array:
        """Apply the function to an array of any shape; see `Layer.__call__`."""
        z = _checks.real(x, "x")
        z = _checks.cast(z, _arguments.result_dtype(z.dtype) if self._dtype is None else self._dtype)
        y = z if self._function is None else self._function.forward(z)
        self._seen = z if training else None
        return y

    def backward(self, grad_y: ArrayLike) -> Array:
        """Return the gradient with respect to x; see `Layer.backward`."""
        if self._seen is None:
            raise self._nothing_seen()
        z = self._seen
        gradient = _checks.grad_y(grad_y, z.shape, z.dtype)
        return gradient if self._function is None else self._function.backward(z, gradient)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Shape:
        """Return the shape itself."""
        return _checks.shape(input_shape)
