"""What every layer is: named weights that are read, replaced, saved and loaded."""

from __future__ import annotations

import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from pyx_deconv._files import npz, replacing
from pyx_deconv.layers import _checks
from pyx_deconv.layers._checks import Array, Shape

__all__ = ["Layer"]


class Layer(ABC):
    """What the layers have in common.

    A copy or a pickle holds the settings and the weights, not what the last call saw. Several threads may
    call one layer; `backward` belongs to the last call of any of them, so that threads that need gradients
    need a copy of the layer each.
    """

    name: str | None

    # What a layer computes.

    @abstractmethod
    def __call__(self, x: ArrayLike, *, training: bool = True) -> Array:
        """Return the output for x, and remember what `backward` needs.

        Parameters
        ----------
        x : array_like
            The input. It is not copied: do not write to it before `backward`.
        training : bool, default: True
            False: nothing is kept for `backward`, which saves the memory of x.

        Returns
        -------
        ndarray
            The output.
        """

    @abstractmethod
    def backward(self, grad_y: ArrayLike) -> Array:
        """Return the gradient with respect to the x of the last call, and keep those of the weights.

        Parameters
        ----------
        grad_y : array_like
            The gradient with respect to what the last call returned, and of its shape.

        Returns
        -------
        ndarray
            The gradient with respect to x.

        Raises
        ------
        ValueError
            If there was no call, or grad_y has another shape than what it returned.
        """

    @abstractmethod
    def compute_output_shape(self, input_shape: Sequence[int | None]) -> Shape:
        """Return the shape of the output for an input of this shape; None stands for any size."""

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of this shape; what is built already is left as it is."""
        self.compute_output_shape(input_shape)

    @property
    def built(self) -> bool:
        """Whether the weights have been made."""
        return True

    # What a layer with weights says of them.

    def _weights(self) -> dict[str, Array]:
        """Return all weights by name, in Keras' order."""
        return {}

    def _replace(self, weights: Mapping[str, Array]) -> None:
        """Take other weights, which are checked already."""
        assert not weights, "a layer with weights has a method of its own"

    def _gradients(self) -> dict[str, Array]:
        """Return the gradients of the weights under the same names, after ``backward``."""
        return {}

    # What follows from that.

    def get_weights(self) -> list[Array]:
        """Return copies of the weights in Keras' order: kernel, bias. Empty before the layer is built."""
        return [weight.copy() for weight in self._weights().values()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Replace all weights.

        Parameters
        ----------
        weights : sequence of array_like
            In the order and with the shapes of `get_weights`, which are those of Keras.

        Raises
        ------
        TypeError, ValueError
            If the layer is not built, or the number or a shape is wrong; then nothing is replaced.
        """
        names = list(self._known_weights())
        if isinstance(weights, (str, bytes, Mapping)) or not hasattr(weights, "__len__"):
            raise TypeError(f"weights must be a sequence of arrays, not {type(weights).__name__}")
        if len(weights) != len(names):
            raise ValueError(f"weights must have {len(names)} arrays, {names}, not {len(weights)}")
        self._take(dict(zip(names, weights, strict=True)))

    def count_params(self) -> int:
        """Return how many numbers the weights are."""
        return sum(weight.size for weight in self._known_weights().values())

    @property
    def parameters(self) -> Array:
        """All weights as one float64 vector, which holds every dtype of a layer; assigning replaces them."""
        return _flat(self._known_weights())

    @parameters.setter
    def parameters(self, value: ArrayLike) -> None:
        vector, weights = _checks.real(value, "parameters"), self._known_weights()
        if vector.shape != (self.count_params(),):
            raise ValueError(f"parameters must have shape ({self.count_params()},), not {vector.shape}")
        ends = np.cumsum([weight.size for weight in weights.values()])[:-1]
        parts = np.split(vector, ends) if weights else []
        self._take(
            {
                name: part.reshape(weight.shape)
                for (name, weight), part in zip(weights.items(), parts, strict=True)
            }
        )

    @property
    def gradient(self) -> Array:
        """What `backward` found for `parameters`, as a float64 vector in the same order."""
        missing = self._known_weights().keys() - self._gradients().keys()
        if missing:
            raise ValueError("there is no gradient yet: call the layer, and then backward")
        return _flat(self._gradients())

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Write the weights to an .npz file: all of them, or nothing if something fails.

        bfloat16, which the format does not know, is written as float32.

        Parameters
        ----------
        path : str or path
            The file, whose name ends in .npz; one that is there is replaced.
        """
        target, weights = npz(path), self._known_weights()
        with replacing(target) as partial, partial.open("xb") as file:
            # The stubs take every keyword for an option.
            np.savez(file, **{name: _storable(w) for name, w in weights.items()})  # type: ignore[arg-type]

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Read what `save_weights` wrote; nothing is replaced unless every name and every shape is right.

        Parameters
        ----------
        path : str or path
            The file, whose name ends in .npz.
        """
        source, weights = npz(path), self._known_weights()
        with source.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError(f"{source} must be an .npz file with weights, and is none")
        try:
            with np.load(source, allow_pickle=False) as archive:
                names = set(archive.files)
                found = {name: archive[name] for name in names & weights.keys()}
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{source} is damaged: {error}") from error
        if names != weights.keys():
            raise ValueError(f"{source} must hold {sorted(weights)}, and holds {sorted(names)}")
        self._take(found)

    # Details.

    def _known_weights(self) -> dict[str, Array]:
        if not self.built:
            raise ValueError(
                f"the layer {self.name!r} has no weights yet: call build(input_shape), or the layer, first"
            )
        return self._weights()

    def _take(self, weights: Mapping[str, ArrayLike]) -> None:
        known = self._weights()
        self._replace(
            {
                name: _checks.weight(value, name, known[name].shape, known[name].dtype)
                for name, value in weights.items()
            }
        )

    def _nothing_seen(self) -> ValueError:
        return ValueError(
            f"backward of the layer {self.name!r} needs what a call before it saw: call the layer first "
            "(and not with training=False)"
        )


def _flat(arrays: Mapping[str, Array]) -> Array:
    # The empty array makes it float64, and is what is left where there are no weights.
    return np.concatenate([np.empty(0), *(array.ravel() for array in arrays.values())])


def _storable(weight: Array) -> Array:
    return weight.astype(np.float32) if weight.dtype.name == "bfloat16" else weight
