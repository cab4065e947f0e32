"""What a caller may pass to a layer, beyond what `pyx_deconv._arguments` checks."""

import math
import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyx_deconv import _arguments
from pyx_deconv._arguments import show

__all__: list[str] = []

Array = NDArray[Any]
Sizes = int | Sequence[int]
Shape = tuple[int | None, ...]  # None: any size

DTYPES = ("float16", "bfloat16", "float32", "float64")
AXES = {1: ("steps",), 2: ("height", "width"), 3: ("depth", "height", "width")}


def snake_case(name: str) -> str:
    """Return Keras' name for an object of a class: Conv2DTranspose is conv2d_transpose."""
    parted = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", parted).lower()


def word(value: Any, name: str, words: Sequence[str]) -> str:
    """Return one of ``words``; as in Keras, capitals do not matter."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {show(value)} ({type(value).__name__})")
    if value.lower() not in words:
        raise ValueError(f"{name} must be {listed(words)}, not {show(value)}")
    return value.lower()


def listed(words: Sequence[str]) -> str:
    shown = [repr(each) for each in words]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def boolean(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {show(value)} ({type(value).__name__})")
    return bool(value)


def number(value: Any, name: str) -> float:
    """Return a finite real number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {show(value)} ({type(value).__name__})")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {show(value)}")
    return float(value)


def text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {show(value)} ({type(value).__name__})")
    return str(value)


def nothing(value: object, name: str) -> None:
    """Refuse what belongs to training."""
    if value is not None:
        raise ValueError(
            f"{name} must be None, not {show(value)}: regularizers and constraints belong to training, "
            "which is not done here"
        )


def dtype(value: Any, name: str = "dtype") -> np.dtype[Any]:
    """Return a dtype of layers, in native byte order; Keras' configurations describe it by a dictionary."""
    if isinstance(value, Mapping):
        value = value.get("config", {}).get("name")
    if isinstance(value, str) and value == "bfloat16":
        try:
            from ml_dtypes import bfloat16
        except ImportError:
            raise ImportError(f"{name}='bfloat16' needs the package ml_dtypes") from None
        value = bfloat16
    try:
        found = None if value is None else np.dtype(value)
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"{name} must be {listed(DTYPES)}, not {show(value)} ({type(value).__name__})")
    if found.name not in DTYPES:
        raise ValueError(f"{name} must be {listed(DTYPES)}, not {found}")
    native: np.dtype[Any] = np.dtype(found.type)
    return native


def real(value: ArrayLike, name: str) -> Array:
    """Return an array of real numbers."""
    array = _arguments.array(value, name)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real, not {array.dtype}: layers are, as in Keras")
    return array


def cast(array: Array, target: np.dtype[Any]) -> Array:
    """Return the array itself or a copy in another dtype; what is too large becomes infinite, as in Keras."""
    if array.dtype == target:
        return array
    with np.errstate(over="ignore"):
        return array.astype(target)


def weight(value: ArrayLike, name: str, shape: tuple[int, ...], target: np.dtype[Any]) -> Array:
    """Return a copy of a weight that nobody can change."""
    array = real(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
    copy = np.array(array, dtype=target, order="C")
    copy.flags.writeable = False
    return copy


def shape(value: Any) -> Shape:
    """Return the shape of an input, with None for any size."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TypeError(
            f"input_shape must be a sequence of integers and None, not {show(value)} ({type(value).__name__})"
        )
    return tuple(
        None
        if size is None
        else _arguments.at_least(_arguments.integer(size, "input_shape"), "input_shape", 0)
        for size in value
    )


def input_shape(value: Any, rank: int, data_format: str, channels: int | None) -> Shape:
    """Return the shape of an input of a convolutional layer."""
    sizes = shape(value)
    if len(sizes) != rank + 2:
        axes = layout(rank, data_format)
        raise ValueError(f"input_shape must have {rank + 2} axes, {axes}, not {len(value)}: {show(value)}")
    for axis, size in enumerate(sizes[1:], start=1):
        if size == 0:
            raise ValueError(f"input_shape axis {axis} must not be 0, only the batch may: {show(value)}")
    given = sizes[channel_axis(rank, data_format)]
    if channels is not None and given not in (None, channels):
        raise ValueError(
            f"input_shape {show(value)} has {given} channels ({data_format}), but the layer was built for "
            f"{channels}"
        )
    return sizes


def input_channels(sizes: Shape, rank: int, data_format: str, groups: int) -> int:
    """Return the number of channels, without which there are no weights."""
    channels = sizes[channel_axis(rank, data_format)]
    if channels is None:
        raise ValueError(
            f"input_shape {sizes} must say how many channels there are, axis "
            f"{channel_axis(rank, data_format)} with {data_format}: the weights depend on it"
        )
    if channels % groups:
        raise ValueError(f"groups={groups} must divide the {channels} channels of input_shape {sizes}")
    return channels


def x_shape(sizes: tuple[int, ...], rank: int, data_format: str, channels: int | None) -> None:
    """Check the shape of an input, and its channels where the layer has been built."""
    if len(sizes) != rank + 2:
        hint = "; x[None] is a batch of one" if len(sizes) == rank + 1 else ""
        axes = layout(rank, data_format)
        raise ValueError(f"x must have {rank + 2} axes, {axes}, not {len(sizes)}: its shape is {sizes}{hint}")
    axis = channel_axis(rank, data_format)
    if channels is not None and sizes[axis] != channels:
        raise ValueError(
            f"x of shape {sizes} has {sizes[axis]} channels (axis {axis}, {data_format}), but the layer was "
            f"built for {channels}"
        )


def channel_axis(rank: int, data_format: str) -> int:
    return rank + 1 if data_format == "channels_last" else 1


def layout(rank: int, data_format: str) -> str:
    axes = ("channels", *AXES[rank]) if data_format == "channels_first" else (*AXES[rank], "channels")
    return f"(batch, {', '.join(axes)})"


def grad_y(value: ArrayLike, shape: tuple[int, ...], target: np.dtype[Any]) -> Array:
    """Return a gradient with respect to what a layer returned last."""
    array = real(value, "grad_y")
    if array.shape != shape:
        raise ValueError(
            f"grad_y must have the shape of what the last call returned, {shape}, not {array.shape}"
        )
    return cast(array, target)
