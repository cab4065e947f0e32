"""What the converters share: reading what a framework hands over, and an operator's settings in full."""

import importlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _arguments
from pyx_deconv._arguments import Pair, Same
from pyx_deconv.geometry import effective_kernel, same_begin
from pyx_deconv.operators import Conv, ConvTranspose

__all__ = [
    "Described",
    "Exported",
    "array",
    "attribute",
    "class_names",
    "describe",
    "named",
    "per_axis",
]


class Exported(NamedTuple):
    """What another framework needs to do the same.

    Attributes
    ----------
    weights : dict of str to ndarray, or list of ndarray
        In the order and under the names of the other side.
    settings : dict
        The arguments of the other side's layer, or the attributes of its node.
    """

    weights: Any
    settings: dict[str, Any]


def attribute(thing: Any, name: str, what: str) -> Any:
    """Return an attribute that ``what``, the thing that was asked for, has."""
    try:
        return getattr(thing, name)
    except AttributeError:
        raise TypeError(f"{type(thing).__name__} is not {what}: it has no attribute {name!r}") from None


def class_names(thing: object) -> tuple[str, ...]:
    """Return the name of the class of an object, and of all that it is derived from."""
    return tuple(each.__name__ for each in type(thing).__mro__)


def array(value: Any, name: str) -> NDArray[Any]:
    """Return an array or a tensor of any framework as a NumPy array."""
    if isinstance(value, (np.ndarray, list, tuple)):
        return _arguments.array(value, name)
    try:
        if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # which PyTorch does not hand to NumPy
            return narrow(value.detach().float().cpu().numpy())
        # PyTorch's tensors need leave to be copied from where they are; nnx.Param hides an array in [...].
        made = value.numpy(force=True) if hasattr(value, "detach") else np.asarray(value[...])
    except Exception as error:  # every framework has exceptions of its own
        raise TypeError(
            f"{name} must be a tensor or an array, and {type(value).__name__} cannot be made one: {error}"
        ) from error
    return _arguments.array(made, name)


def bfloat16() -> np.dtype[Any] | None:
    """Return the dtype, which NumPy itself does not have, if ml_dtypes is installed."""
    try:
        found: Any = importlib.import_module("ml_dtypes")
    except ImportError:
        return None
    dtype: np.dtype[Any] = np.dtype(found.bfloat16)
    return dtype


def narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return float32 numbers that came from bfloat16 as bfloat16, or as they are where there is none."""
    dtype = bfloat16()
    return values if dtype is None else values.astype(dtype)


def named(weight: NDArray[Any], bias: NDArray[Any] | None, name: str = "weight") -> dict[str, NDArray[Any]]:
    """Return copies of the weights by name, the bias only if there is one."""
    return {name: weight.copy()} | ({} if bias is None else {"bias": bias.copy()})


def per_axis(value: Any, name: str, rank: int, minimum: int = 1) -> tuple[int, ...]:
    """Return one checked integer for every spatial axis."""
    return _arguments.per_axis(_arguments.integers(value, name), name, rank, minimum)


class Described(NamedTuple):
    """An operator with one entry for every axis.

    ``crops`` are the (begin, end) of each axis, output_padding included; None for a `Conv` with "same" and a
    stride, whose padding depends on the size of the input. ``same`` is the word, if one was given.
    """

    transposed: bool
    taken: int
    made: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    crops: tuple[Pair, ...] | None
    same: Same | None
    data_format: str

    @property
    def name(self) -> str:
        """The name of the operation."""
        return "ConvTranspose" if self.transposed else "Conv"


def describe(op: ConvTranspose | Conv) -> Described:
    """Return the settings of an operator, one for every axis."""
    if not isinstance(op, (ConvTranspose, Conv)):
        raise TypeError(
            f"op must be a pyx_deconv.ConvTranspose or pyx_deconv.Conv, not {_arguments.show(op)} "
            f"({type(op).__name__})"
        )
    transposed = isinstance(op, ConvTranspose)
    stride, padding, output_padding, _, dilation, groups, data_format = op._settings
    shape = op.weight.shape
    rank = len(shape) - 2
    strides, dilations = per_axis(stride, "stride", rank), per_axis(dilation, "dilation", rank)
    extra = per_axis(output_padding, "output_padding", rank, 0)
    given = _arguments.padding_per_axis(padding, rank)
    crops = [
        _crop(transposed, *settings)
        for settings in zip(shape[2:], strides, dilations, given, extra, strict=True)
    ]
    known = [crop for crop in crops if crop is not None]
    first, second = shape[0], shape[1] * groups
    taken, made = (first, second) if transposed else (second, first)
    same = given[0] if isinstance(given[0], str) else None
    return Described(
        transposed,
        taken,
        made,
        shape[2:],
        strides,
        dilations,
        groups,
        tuple(known) if len(known) == rank else None,
        same,
        data_format,
    )


def _crop(
    transposed: bool, kernel: int, stride: int, dilation: int, padding: Pair | Same, output_padding: int
) -> Pair | None:
    if not isinstance(padding, str):
        return padding[0], padding[1] - output_padding
    # Of the transpose full - n * s, and of a convolution without stride, does not depend on the size n.
    if not transposed and stride > 1:
        return None
    total = effective_kernel(kernel, dilation) - (stride if transposed else 1)
    begin = same_begin(total, padding)
    return begin, total - begin
