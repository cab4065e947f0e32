"""What a caller may pass: every argument is checked, and every error about one is worded, here.

Two steps, because results that depend on hashable arguments alone are cached, and a cache takes ``1``,
``1.0`` and ``True`` for the same key:

- ``integer``, ``integers``, ``paddings``, ... look at types and return plain, hashable Python values;
- ``at_least``, ``per_axis``, ``padding_per_axis``, ``shapes``, ... look at values, and may be cached.
"""

import operator
import reprlib
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__: list[str] = []

Integers = int | tuple[int, ...]
Pair = tuple[int, int]
Same = Literal["same_upper", "same_lower"]
Paddings = int | str | tuple[int | Pair, ...]
# stride, padding, output_padding, output_size, dilation, groups, data_format
Settings = tuple[Integers, Paddings, Integers, Integers | None, Integers, int, str]

LARGEST = 2**31 - 1
COMPUTED = frozenset((np.float16, np.float32, np.float64, np.complex64, np.complex128))
EFFORT: Any = 10_000  # steps; the stubs of NumPy know only its two special values
GRADIENTS = ("x", "weight", "bias")
ONLY_INTEGERS = frozenset((int,))  # the types in a sequence that needs no conversion
WORDS: dict[str, Pair | Same] = {
    "valid": (0, 0),
    "same": "same_upper",
    "same_upper": "same_upper",
    "same_lower": "same_lower",
}


class _Shown(reprlib.Repr):
    """Short representations that do not fail on an integer of 5000 digits, as ``repr`` does."""

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() <= 128 else f"<an integer of {x.bit_length()} bits>"


show = _Shown().repr


# Types: TypeError, or plain Python values that are safe as keys of a cache.


def integer(value: Any, name: str) -> int:
    if type(value) is int:
        return value
    # operator.index takes bool, and old NumPy lets numpy.bool_ through with no more than a warning.
    if not isinstance(value, (bool, np.bool_)):
        try:
            return int(operator.index(value))
        except TypeError:
            pass
    raise TypeError(f"{name} must be an integer, not {show(value)} ({type(value).__name__})")


def integers(value: Any, name: str) -> Integers:
    """Return an integer, or a tuple of integers from a list, a tuple or a one-dimensional array."""
    if type(value) is int:
        return value
    if type(value) in (tuple, list) and ONLY_INTEGERS.issuperset(map(type, value)):
        return tuple(value)
    if _is_sequence(value):
        return tuple(integer(entry, f"{name}[{index}]") for index, entry in enumerate(value))
    try:
        return integer(value, name)
    except TypeError:
        raise TypeError(
            f"{name} must be an integer or a sequence with one integer per axis, "
            f"not {show(value)} ({type(value).__name__})"
        ) from None


def paddings(value: Any) -> Paddings:
    """Return an integer, a word, or a tuple with an integer or a (begin, end) tuple for every axis."""
    if type(value) is int:
        return value
    if type(value) in (tuple, list) and ONLY_INTEGERS.issuperset(map(type, value)):
        return tuple(value)
    if isinstance(value, str):
        return str(value)
    if _is_sequence(value):
        return tuple(
            pair(entry, f"padding[{index}]") if _is_sequence(entry) else integer(entry, f"padding[{index}]")
            for index, entry in enumerate(value)
        )
    try:
        return integer(value, "padding")
    except TypeError:
        raise TypeError(
            "padding must be an integer, a sequence with an integer or a (begin, end) pair per axis, "
            f"or one of {_words()}, not {show(value)} ({type(value).__name__})"
        ) from None


def pair(value: Any, name: str) -> Pair:
    """Return a (begin, end) tuple."""
    if not _is_sequence(value):
        raise TypeError(f"{name} must be a (begin, end) pair, not {show(value)} ({type(value).__name__})")
    if len(value) != 2:
        raise ValueError(f"{name} must be a (begin, end) pair, not {len(value)} entries")
    return integer(value[0], f"{name}[0]"), integer(value[1], f"{name}[1]")


def _is_sequence(value: object) -> bool:
    if isinstance(value, (tuple, list)):  # and not by way of the abstract class, which takes its time
        return True
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview))


def data_format(value: Any) -> str:
    """Return ``value`` if it names a layout."""
    if not isinstance(value, str):
        raise TypeError(f"data_format must be a string, not {show(value)} ({type(value).__name__})")
    if value not in ("channels_first", "channels_last"):
        raise ValueError(f"data_format must be 'channels_first' or 'channels_last', not {show(value)}")
    return str(value)


def settings(
    stride: Any,
    padding: Any,
    output_padding: Any,
    output_size: Any,
    dilation: Any,
    groups: Any,
    layout: Any,
) -> Settings:
    """Return the parameters of an operation, all of the right types."""
    return (
        integers(stride, "stride"),
        paddings(padding),
        integers(output_padding, "output_padding"),
        None if output_size is None else integers(output_size, "output_size"),
        integers(dilation, "dilation"),
        integer(groups, "groups"),
        data_format(layout),
    )


def mode(value: Any) -> str:
    """Return ``value`` if it says what becomes of a report."""
    if not isinstance(value, str):
        raise TypeError(f"mode must be a string, not {show(value)} ({type(value).__name__})")
    if value not in ("stdout", "dicts"):
        raise ValueError(f"mode must be 'stdout' or 'dicts', not {show(value)}")
    return str(value)


def needs(value: Any) -> Collection[str]:
    """Return the gradients that are asked for."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"needs must be one or more of {GRADIENTS}, not {show(value)} ({type(value).__name__})"
        )
    unknown = [name for name in names if name not in GRADIENTS]
    if unknown or not names:
        raise ValueError(
            f"needs must be one or more of {GRADIENTS}, not {show(unknown[0] if unknown else value)}"
        )
    return tuple(names)


# Values: ValueError.


def at_least(value: int, name: str, minimum: int, axis: int | None = None) -> int:
    """Return ``value`` if it lies between ``minimum`` and the largest integer taken."""
    if minimum <= value <= LARGEST:
        return value
    where = "" if axis is None else f" on axis {axis}"
    limit = f"at least {minimum}" if value < minimum else f"at most {LARGEST} (2**31 - 1)"
    raise ValueError(f"{name}={show(value)}{where} must be {limit}")


def optional(value: Any, name: str, minimum: int) -> int | None:
    """Check an integer that may be None."""
    return None if value is None else at_least(integer(value, name), name, minimum)


def per_axis(value: Integers, name: str, rank: int, minimum: int) -> tuple[int, ...]:
    """Return one checked integer for every spatial axis."""
    if isinstance(value, int):
        value = (value,) * rank
    _one_each(value, name, "an integer", rank)
    return tuple(at_least(entry, name, minimum, axis) for axis, entry in enumerate(value))


def shape(value: Any, name: str) -> tuple[int, ...]:
    """Return the checked shape of a map."""
    if not _is_sequence(value):
        raise TypeError(f"{name} must be a sequence of integers, not {show(value)} ({type(value).__name__})")
    entries = [integer(entry, f"{name}[{axis}]") for axis, entry in enumerate(value)]
    return tuple(at_least(entry, name, 0, axis) for axis, entry in enumerate(entries))


def sizes(value: Any, name: str) -> tuple[int, ...]:
    """Return the checked sizes of one axis, given as an integer, or of several."""
    checked = integers(value, name)
    if checked == ():
        raise ValueError(f"{name} must have at least one axis")
    return per_axis(checked, name, 1 if isinstance(checked, int) else len(checked), 1)


def padding_per_axis(value: Paddings, rank: int) -> tuple[Pair | Same, ...]:
    """Return a checked (begin, end) pair, or "same_upper" or "same_lower", for every spatial axis."""
    if isinstance(value, str):
        if value not in WORDS:
            raise ValueError(
                f"padding must be one of {_words()}, an integer or pairs of integers, not {show(value)}"
            )
        return (WORDS[value],) * rank
    if isinstance(value, int):
        value = (value,) * rank
    _one_each(value, "padding", "an integer or a (begin, end) pair", rank)
    pairs: list[Pair] = []
    for axis, entry in enumerate(value):
        # A pair is a window, which may reach beyond the ends.
        least, ends = (0, (entry, entry)) if isinstance(entry, int) else (-LARGEST, entry)
        begin, end = (at_least(amount, "padding", least, axis) for amount in ends)
        pairs.append((begin, end))
    return tuple(pairs)


def common_padding(value: Any) -> Pair | Same:
    """Return one checked padding for all axes alike, from an integer, a word or a (begin, end) pair."""
    checked = paddings(value)
    match checked:
        case (int(begin), int(end)):
            checked = ((begin, end),)
        case tuple():
            raise ValueError(f"padding must be one integer, word or (begin, end) pair, not {show(value)}")
    return padding_per_axis(checked, 1)[0]


def _one_each(value: Sequence[object], name: str, what: str, rank: int) -> None:
    if len(value) == rank:
        return
    axes = "1 spatial axis" if rank == 1 else f"{rank} spatial axes"
    hint = "; for one axis a pair is written ((begin, end),)" if name == "padding" and rank == 1 else ""
    raise ValueError(
        f"{name} must have {what} for each of {axes}, not {len(value)} entries: {show(value)}{hint}"
    )


def _words() -> str:
    return ", ".join(repr(word) for word in WORDS)


def shapes(
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    groups: int,
    data_format: str,
    transposed: bool,
) -> None:
    """Check that the shapes of x, weight and bias belong together."""
    layout = "(C_in, C_out // groups, *kernel)" if transposed else "(C_out, C_in // groups, *kernel)"
    rank = len(weight) - 2
    if not 1 <= rank <= 3:
        raise ValueError(
            f"weight must have 3, 4 or 5 axes, {layout}, not {len(weight)}: its shape is {weight}"
        )
    for axis, size in enumerate(weight):
        if size < 1:
            raise ValueError(f"weight axis {axis} must not have size 0: its shape is {weight}")
    for axis, size in enumerate(weight[2:]):
        at_least(size, "kernel size", 1, axis)

    single = ", ".join(
        ("C", *"DHW"[3 - rank :]) if data_format == "channels_first" else (*"DHW"[3 - rank :], "C")
    )
    if len(x) not in (rank + 1, rank + 2):
        raise ValueError(
            f"x must have {rank + 2} axes, (N, {single}), or {rank + 1} for one sample without batch, "
            f"({single}), because weight has {rank + 2}; x has {len(x)}: its shape is {x}"
        )
    batched = len(x) == rank + 2
    for axis, size in enumerate(x):
        if size < 1 and not (batched and axis == 0):
            raise ValueError(f"x axis {axis} must not have size 0, only the batch may: its shape is {x}")

    channels_axis = len(x) - 1 if data_format == "channels_last" else int(batched)
    channels = x[channels_axis]
    at_least(groups, "groups", 1)
    if weight[0] % groups:
        raise ValueError(
            f"groups={groups} must divide the {'input' if transposed else 'output'} channels, "
            f"axis 0 of weight {layout}: its shape is {weight}"
        )
    taken, made = (weight[0], weight[1] * groups) if transposed else (weight[1] * groups, weight[0])
    if channels != taken:
        raise ValueError(
            f"x of shape {x} has {channels} channels (axis {channels_axis}, {data_format}), but "
            f"weight {layout} of shape {weight} with groups={groups} takes {taken}"
        )
    if bias is not None and bias != (made,):
        raise ValueError(f"bias must have shape ({made},), one number per output channel, not {bias}")


def grad_output_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Check that a gradient has the shape of the result that it belongs to."""
    if shape != expected:
        raise ValueError(f"grad_output must have the shape of the result, {expected}, not {shape}")


# Arrays.


def array(value: ArrayLike, name: str) -> NDArray[Any]:
    """Return ``value`` as a plain array of a dtype that can be computed or promoted."""
    if type(value) is not np.ndarray:
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(
                f"{name} must not be a masked array: the mask would be lost; fill it first (.filled())"
            )
        try:
            value = np.asarray(value)
        except ValueError as error:  # ragged lists
            raise ValueError(f"{name} cannot be made an array: {error}") from error
    dtype = value.dtype
    # bfloat16 is known by its name alone: whoever made the array has imported ml_dtypes already.
    if dtype.type not in COMPUTED and dtype.kind not in "biu" and dtype.name != "bfloat16":
        raise TypeError(
            f"{name} must be of float16, bfloat16, float32, float64, complex64, complex128, an integer dtype "
            f"or bool, not {dtype}"
        )
    return value


@lru_cache(maxsize=256)
def result_dtype(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """Return the native dtype that arrays of these dtypes are computed in."""
    try:
        dtype = np.result_type(*dtypes)
    except TypeError as error:
        names = ", ".join(str(dtype) for dtype in dtypes)
        raise TypeError(f"there is no common dtype for {names}: convert the arrays to one dtype") from error
    return np.dtype(np.float64 if dtype.kind in "biu" else dtype.type)


def output(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Iterable[tuple[str, NDArray[Any] | None]]
) -> NDArray[Any]:
    """Return ``out`` as a plain array, if a result of this shape and dtype may be written to it."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out must be a numpy.ndarray, not {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out must have the shape of the result, {shape}, not {out.shape}")
    if out.dtype != dtype:
        raise TypeError(
            f"out must have the dtype of the result, {dtype} in native byte order, not {out.dtype}"
        )
    if not out.flags.writeable:
        raise ValueError("out must be writeable, and is read-only")
    plain = np.asarray(out)
    if not plain.flags.aligned:
        raise ValueError("out must be aligned in memory")
    if _overlaps_itself(plain):
        raise ValueError(f"out must not overlap itself: shape {out.shape} with strides {out.strides}")
    for name, array in inputs:
        # The exact answer can take exponential time; given up after max_work steps, NumPy answers True.
        if array is not None and np.may_share_memory(plain, array, max_work=EFFORT):
            raise ValueError(
                f"out must not overlap {name}: what is written would change what is still to be read"
            )
    return plain


def _overlaps_itself(array: NDArray[Any]) -> bool:
    """Whether elements may share memory; exact for slices, transposes and diagonals of ordinary arrays."""
    reach = array.itemsize
    axes = [(abs(stride), size) for stride, size in zip(array.strides, array.shape, strict=True) if size > 1]
    for stride, size in sorted(axes):
        if stride < reach:
            return array.size > 0
        reach += stride * (size - 1)
    return False
