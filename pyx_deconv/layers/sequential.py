"""A chain of layers, and all their weights as one vector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

from numpy.typing import ArrayLike

from pyx_deconv._arguments import show
from pyx_deconv.layers import _checks
from pyx_deconv.layers._checks import Array, Shape
from pyx_deconv.layers._layer import Layer

__all__ = ["Sequential"]


class Sequential(Layer):
    """Layers one after another: enough for a decoder, and to fit one with `scipy.optimize`.

    Parameters
    ----------
    layers : sequence of Layer
        The layers, first to last; one may be a `Sequential` itself. No layer may come twice.
    name : str, default: "sequential"
        What `summary` calls it.

    Attributes
    ----------
    layers : tuple of Layer
        The layers; they are also had by index and by iteration.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.layers import Activation, Conv2DTranspose, Sequential
    >>> decoder = Sequential(
    ...     [
    ...         Conv2DTranspose(16, 4, strides=2, padding="same", activation="relu", seed=0),
    ...         Conv2DTranspose(3, 4, strides=2, padding="same", seed=1),
    ...         Activation("sigmoid"),
    ...     ]
    ... )
    >>> decoder(np.ones((1, 8, 8, 32), np.float32)).shape
    (1, 32, 32, 3)
    >>> print(decoder.summary())
    sequential: Sequential
    layer                                 output shape        parameters
    --------------------------------------------------------------------
    0  conv2d_transpose  Conv2DTranspose  (None, 16, 16, 16)       8,208
    1  conv2d_transpose  Conv2DTranspose  (None, 32, 32, 3)          771
    2  activation        Activation       (None, 32, 32, 3)            0
    --------------------------------------------------------------------
    total                                                          8,979

    The weights as one vector, and the gradient of a loss with respect to it:

    >>> decoder.parameters.shape
    (8979,)
    >>> grad_x = decoder.backward(np.ones((1, 32, 32, 3)))
    >>> decoder.gradient.shape
    (8979,)
    """

    def __init__(self, layers: Iterable[Layer], name: str = "sequential") -> None:
        try:
            self._layers = tuple(layers)
        except TypeError:
            raise TypeError(
                f"layers must be a sequence of layers, not {show(layers)} ({type(layers).__name__})"
            ) from None
        for index, layer in enumerate(self._layers):
            if not isinstance(layer, Layer):
                raise TypeError(
                    f"layers[{index}] must be a layer, not {show(layer)} ({type(layer).__name__})"
                )
        if not self._layers:
            raise ValueError("layers must not be empty")
        every = list(_leaves(self._layers))
        for layer in every:
            if sum(other is layer for other in every) > 1:
                raise ValueError(f"layers must be different ones, and {layer!r} comes twice")
        self.name = _checks.text(name, "name")
        self._input_shape: Shape | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, first to last."""
        return self._layers

    @property
    def built(self) -> bool:
        """Whether every layer has its weights."""
        return all(layer.built for layer in self._layers)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Build every layer, for inputs of this shape; the first call does so.

        Parameters
        ----------
        input_shape : sequence of int or None
            The shape with the batch. The channels are needed; the others may be None.
        """
        shape = given = _checks.shape(input_shape)
        for layer in self._layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self._input_shape = given

    def __call__(self, x: ArrayLike, *, training: bool = True) -> Array:
        """Return what the last layer makes of what the layers before it make of x; see `Layer.__call__`."""
        y = _checks.real(x, "x")
        if self._input_shape is None:
            self.build(y.shape)
        for layer in self._layers:
            y = layer(y, training=training)
        return y

    def backward(self, grad_y: ArrayLike) -> Array:
        """Return the gradient with respect to x, and keep that of the weights; see `Layer.backward`."""
        gradient = _checks.real(grad_y, "grad_y")
        for layer in reversed(self._layers):
            gradient = layer.backward(gradient)
        return gradient

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Shape:
        """Return the shape of the output for an input of this shape; None stands for any size."""
        shape = _checks.shape(input_shape)
        for layer in self._layers:
            shape = layer.compute_output_shape(shape)
        return shape

    def summary(self) -> str:
        """Return a table of the layers: output shape, number of parameters, and their total.

        The shapes are those for inputs as the first one, with any batch; "?" before it is known.
        """
        rows: list[tuple[str, str, str, str]] = []
        shape = None if self._input_shape is None else (None, *self._input_shape[1:])
        for index, layer in enumerate(self._layers):
            shape = None if shape is None else layer.compute_output_shape(shape)
            what = f"{index}  {layer.name}", type(layer).__name__
            rows.append(
                (
                    *what,
                    "?" if shape is None else str(shape),
                    f"{layer.count_params():,}" if layer.built else "?",
                )
            )
        total = f"{self.count_params():,}" if self.built else "?"
        rows = [("layer", "", "output shape", "parameters"), *rows, ("total", "", "", total)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"{first:{a}}  {second:{b}}  {third:{c}}  {last:>{d}}"
            for (first, second, third, last), (a, b, c, d) in ((row, widths) for row in rows)
        ]
        rule = "-" * len(lines[0])
        return "\n".join([f"{self.name}: Sequential", lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        """Return a layer, or a `Sequential` of some of them, which shares them."""
        if isinstance(index, slice):
            return Sequential(self._layers[index])
        return self._layers[index]

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self._layers))
        return f"Sequential([{layers}]{'' if self.name == 'sequential' else f', name={self.name!r}'})"

    def _weights(self) -> dict[str, Array]:
        return {
            f"{index}.{name}": weight
            for index, layer in enumerate(self._layers)
            for name, weight in layer._weights().items()
        }

    def _replace(self, weights: Mapping[str, Array]) -> None:
        for index, layer in enumerate(self._layers):
            start = f"{index}."
            own = {
                name.removeprefix(start): weight for name, weight in weights.items() if name.startswith(start)
            }
            if own:
                layer._replace(own)

    def _gradients(self) -> dict[str, Array]:
        return {
            f"{index}.{name}": gradient
            for index, layer in enumerate(self._layers)
            for name, gradient in layer._gradients().items()
        }


def _leaves(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield every layer that has none inside."""
    for layer in layers:
        if isinstance(layer, Sequential):
            yield from _leaves(layer)
        else:
            yield layer
