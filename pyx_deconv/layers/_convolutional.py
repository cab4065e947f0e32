"""What the six convolutional layers have in common: settings, weights, both passes."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pyx_deconv import _arguments
from pyx_deconv.layers import _checks, activations, initializers
from pyx_deconv.layers._checks import Array, Shape, Sizes
from pyx_deconv.layers._settings import ConfiguredLayer
from pyx_deconv.operators import Conv, ConvTranspose

__all__ = ["ConvolutionalLayer"]

NOT_HERE = (
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
)

# Not one for each layer: locks can be neither copied nor pickled. An initializer may build a layer itself.
_building = threading.RLock()


class Weights:
    """A kernel and a bias that belong together, and what was prepared from them.

    They are replaced together, so that no thread finds an operator of other weights; and so that `backward`
    takes the kernel that the call before it had.
    """

    def __init__(self, kernel: Array, bias: Array | None) -> None:
        self.kernel, self.bias = kernel, bias
        self.operator: Conv | ConvTranspose | None = None
        # Neither a copy nor a pickle of an array keeps this.
        for each in (kernel, bias):
            if each is not None:
                each.flags.writeable = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Weights, (self.kernel, self.bias)


class Seen(NamedTuple):
    """What `backward` needs of a call: z is what went into the activation, if there is one."""

    x: Array
    z: Array | None
    shape: tuple[int, ...]
    weights: Weights


class ConvolutionalLayer(ConfiguredLayer):
    """A convolution or a transposed convolution with a bias and an activation."""

    _rank: ClassVar[int]
    _words: ClassVar[tuple[str, ...]] = ("valid", "same")  # of padding

    # The settings, which the layers declare in Keras' order
    filters: int
    kernel_size: Sizes
    strides: Sizes
    padding: str
    data_format: str | None
    dilation_rate: Sizes
    activation: activations.ActivationLike
    use_bias: bool
    kernel_initializer: initializers.InitializerLike
    bias_initializer: initializers.InitializerLike
    kernel_regularizer: None
    bias_regularizer: None
    activity_regularizer: None
    kernel_constraint: None
    bias_constraint: None
    seed: int | None
    dtype: DTypeLike | None

    grad_kernel: Array | None
    grad_bias: Array | None

    def __post_init__(self) -> None:
        self.filters = _arguments.at_least(_arguments.integer(self.filters, "filters"), "filters", 1)
        kernel_size = self.kernel_size = self._per_axis(self.kernel_size, "kernel_size", 1)
        strides = self.strides = self._per_axis(self.strides, "strides", 1)
        dilation = self.dilation_rate = self._per_axis(self.dilation_rate, "dilation_rate", 1)
        self._axes = tuple(zip(kernel_size, strides, dilation, strict=True))
        self.padding = _checks.word(self.padding, "padding", self._words)
        given = "channels_last" if self.data_format is None else self.data_format
        self._data_format = _checks.word(given, "data_format", ("channels_last", "channels_first"))
        self.data_format = self._data_format
        self._activation = activations.get(self.activation)
        self.activation = "linear" if self._activation is None else self._activation.given
        self.use_bias = _checks.boolean(self.use_bias, "use_bias")
        self.kernel_initializer = initializers.get(self.kernel_initializer, "kernel_initializer")
        self.bias_initializer = initializers.get(self.bias_initializer, "bias_initializer")
        for name in NOT_HERE:
            _checks.nothing(getattr(self, name), name)
        self.seed = _arguments.optional(self.seed, "seed", 0)
        self._dtype = _checks.dtype("float32" if self.dtype is None else self.dtype)
        self.dtype = self._dtype
        self._check_own_settings()
        self._held: Weights | None = None
        self._channels: int | None = None
        self._seen: Seen | None = None
        self.grad_kernel = self.grad_bias = None
        super().__post_init__()

    # What the two kinds differ in.

    @abstractmethod
    def _check_own_settings(self) -> None:
        """Check the settings that only one kind has, after the others."""

    @abstractmethod
    def _kernel_shape(self, channels: int) -> tuple[int, ...]:
        """Return Keras' shape of the kernel."""

    @abstractmethod
    def _output_size(self, axis: int, size: int) -> int:
        """Return the size of the output along a spatial axis."""

    @abstractmethod
    def _operator(self, weight: Array, bias: Array | None) -> Conv | ConvTranspose:
        """Return the operator with this weight, which is in its own order."""

    _groups: int = 1
    _initial_strides: tuple[int, ...] | None = None  # what initializers are told

    # What a user calls.

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Draw the weights for inputs of this shape; the first call of the layer does so.

        Parameters
        ----------
        input_shape : sequence of int or None
            The shape with the batch. Only the channels matter; the others may be None. A layer that is built
            already keeps its weights.
        """
        self.compute_output_shape(input_shape)  # refuses what leaves no output
        shape = self._checked(input_shape)
        channels = _checks.input_channels(shape, self._rank, self._data_format, self._groups)
        with _building:
            if self._held is None:
                rng = np.random.default_rng(self.seed)
                kernel = self._drawn("kernel", self._kernel_shape(channels), rng)
                bias = self._drawn("bias", (self.filters,), rng) if self.use_bias else None
                self._channels, self._held = channels, Weights(kernel, bias)

    def __call__(self, x: ArrayLike, *, training: bool = True) -> Array:
        """Return ``activation(convolution of x + bias)``, and remember what `backward` needs.

        Parameters
        ----------
        x : array_like, (batch, *size, channels)
            The input, or (batch, channels, *size) with channels_first. It is cast to the dtype of the layer;
            where that is its own it is not copied: do not write to it before `backward`.
        training : bool, default: True
            False: nothing is kept for `backward`, which saves the memory of what lies between the layers.

        Returns
        -------
        ndarray, (batch, *new_size, filters)
            The output, in the dtype of the layer; with channels_first (batch, filters, *new_size).

        Raises
        ------
        TypeError, ValueError
            If x is not real, has another number of axes or of channels, or is too small.
        """
        x = _checks.real(x, "x")
        _checks.x_shape(x.shape, self._rank, self._data_format, self._channels)
        if self._held is None:
            self.build(x.shape)
            _checks.x_shape(x.shape, self._rank, self._data_format, self._channels)
        weights = self._known()
        x = _checks.cast(x, self._dtype)
        z = self._prepared(weights)(x)
        y = z if self._activation is None else self._activation.forward(z)
        kept = None if self._activation is None else z
        self._seen = Seen(x, kept, z.shape, weights) if training else None
        return y

    def backward(self, grad_y: ArrayLike) -> Array:
        """Return the gradient with respect to the x of the last call; keep those of the weights.

        They are in ``grad_kernel`` and ``grad_bias`` afterwards, in place of earlier ones.

        Parameters
        ----------
        grad_y : array_like
            The gradient with respect to what the last call returned, and of its shape.

        Returns
        -------
        ndarray
            The gradient with respect to x, of its shape and of the dtype of the layer.

        Raises
        ------
        ValueError
            If there was no call, or grad_y has another shape than what it returned, or the activation was
            given without its derivative.
        """
        if self._seen is None:
            raise self._nothing_seen()
        x, z, shape, weights = self._seen
        gradient = _checks.grad_y(grad_y, shape, self._dtype)
        if self._activation is not None and z is not None:
            gradient = self._activation.backward(z, gradient)
        needs = ("x", "weight", "bias") if self.use_bias else ("x", "weight")
        found = self._prepared(weights).backward(gradient, x, needs=needs)
        assert found.x is not None
        assert found.weight is not None
        self.grad_kernel, self.grad_bias = np.moveaxis(found.weight, (0, 1), (-1, -2)), found.bias
        return found.x

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Shape:
        """Return the shape of the output.

        Parameters
        ----------
        input_shape : sequence of int or None
            The shape of the input, with the batch. None stands for any size.

        Returns
        -------
        tuple of int or None
            The shape of the output, with None where the input has it.
        """
        batch, *others = self._checked(input_shape)
        first = self._data_format == "channels_first"
        sizes = others[1:] if first else others[:-1]
        made = [None if n is None else self._output_size(axis, n) for axis, n in enumerate(sizes)]
        return (batch, self.filters, *made) if first else (batch, *made, self.filters)

    @property
    def kernel(self) -> Array:
        """The kernel in Keras' order, read-only; assigning copies another one of its shape."""
        return self._known().kernel

    @kernel.setter
    def kernel(self, value: ArrayLike) -> None:
        self._known()
        self._take({"kernel": value})

    @property
    def bias(self) -> Array | None:
        """The bias, read-only, or None without one; assigning copies another one of its shape."""
        return self._known().bias

    @bias.setter
    def bias(self, value: ArrayLike) -> None:
        if self._known().bias is None:
            raise ValueError("bias cannot be set: the layer has use_bias=False")
        self._take({"bias": value})

    @property
    def built(self) -> bool:
        """Whether the weights have been made."""
        return self._held is not None

    def get_config(self) -> dict[str, Any]:
        """Return the settings under Keras' names, as `from_config` and Keras take them.

        All of them can be written as JSON, except functions of the caller's.
        """
        config = super().get_config()
        for name in ("kernel_initializer", "bias_initializer"):
            config[name] = initializers.config_of(config[name])
        if self.seed is None:  # which Keras does not know
            del config["seed"]
        return config

    # What a layer says of its weights.

    def _weights(self) -> dict[str, Array]:
        held = self._held
        if held is None:
            return {}
        return {"kernel": held.kernel} | ({} if held.bias is None else {"bias": held.bias})

    def _replace(self, weights: Mapping[str, Array]) -> None:
        every = self._weights() | dict(weights)
        self._held = Weights(every["kernel"], every.get("bias"))

    def _gradients(self) -> dict[str, Array]:
        found = {"kernel": self.grad_kernel, "bias": self.grad_bias}
        return {name: gradient for name, gradient in found.items() if gradient is not None}

    # Details.

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"grad_kernel": None, "grad_bias": None}

    def _known(self) -> Weights:
        self._known_weights()
        assert self._held is not None
        return self._held

    def _prepared(self, weights: Weights) -> Conv | ConvTranspose:
        if weights.operator is None:  # two threads may make two that are equal
            # Of both kinds the last two axes of Keras' kernel come first here, in reverse order.
            weight = np.moveaxis(weights.kernel, (-1, -2), (0, 1))
            weights.operator = self._operator(weight, weights.bias)
        return weights.operator

    def _drawn(self, name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        initializer = getattr(self, f"{name}_initializer")
        drawn = initializers.draw(initializer, shape, self._dtype, rng, self._initial_strides)
        return _checks.weight(drawn, f"what {name}_initializer returns", shape, self._dtype)

    def _checked(self, input_shape: Sequence[int | None]) -> Shape:
        return _checks.input_shape(input_shape, self._rank, self._data_format, self._channels)

    def _per_axis(self, value: Any, name: str, minimum: int) -> tuple[int, ...]:
        return _arguments.per_axis(_arguments.integers(value, name), name, self._rank, minimum)
