"""The operations on dask arrays: checked when they are called, computed when that is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any, cast

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import ArrayLike

from pyx_deconv import _arguments
from pyx_deconv._arguments import Pair, Settings
from pyx_deconv._execution import Gradients, Plan, make_plan
from pyx_deconv.dask import _tasks
from pyx_deconv.dask._chunks import followed, from_layer, key_of, known, parts, sizes, windows
from pyx_deconv.geometry import Axis, Block, conv_block, transposed_block

__all__ = ["conv", "conv_backward", "conv_transpose", "conv_transpose_backward"]


def conv_transpose(
    x: da.Array,
    weight: da.Array | ArrayLike,
    bias: da.Array | ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    output_size: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "channels_first",
) -> da.Array:
    """Transposed convolution of a dask array, chunk by chunk: `pyx_deconv.conv_transpose`.

    Parameters
    ----------
    x : dask.array.Array, (N, C_in, *size) or (C_in, *size)
        The input, in chunks of any sizes; with channels_last (N, *size, C_in) or (*size, C_in). Chunks of
        channels are merged.
    weight : array_like or dask.array.Array, (C_in, C_out // groups, *kernel)
        The kernels. They become one chunk, of which every worker gets a copy.
    bias : array_like or dask.array.Array, (C_out,), optional
        Added to every pixel of an output channel.
    stride, padding, output_padding, output_size, dilation, groups, data_format
        As for `pyx_deconv.conv_transpose`.

    Returns
    -------
    dask.array.Array, (N, C_out, *output_size) or laid out as x is
        Nothing has been computed yet. A chunk of n pixels becomes one of n * stride; what lies beyond them
        at the end of an axis is in a chunk of its own where it would make the last one larger than the
        largest.

    Raises
    ------
    TypeError
        If an argument is of the wrong type or an array of a dtype that is not computed.
    ValueError
        If shapes or values do not fit together, or the size of a chunk is not known.

    Notes
    -----
    Each block is computed from its own chunk and just the pixels of others that reach it. Where a sum has at
    most 256 products, of at most 15 channels of a group (7 of complex numbers, which count twice) and 64
    taps, without dilation and with a weight of less than 2**15 numbers, the result is that of the NumPy
    array, bit for bit, however it is chunked. Longer sums may be cut elsewhere in a map of another size;
    they agree to rounding error.

    A task computes on one thread, as many of them run at a time; on a worker of ``distributed``, on its
    share of the worker's OpenMP threads.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import pyx_deconv.dask
    >>> x = da.from_array(np.arange(1.0, 7).reshape(1, 6), chunks=(1, 3))   # one channel, six pixels
    >>> y = pyx_deconv.dask.conv_transpose(x, np.array([[[1.0, 10.0, 100.0]]]), stride=2, padding="same")
    >>> y.chunks
    ((1,), (6, 6))
    >>> y.compute()
    array([[  1.,  10., 102.,  20., 203.,  30., 304.,  40., 405.,  50., 506.,  60.]])
    """
    settings = _arguments.settings(
        stride, padding, output_padding, output_size, dilation, groups, data_format
    )
    return _forward(True, x, weight, bias, settings)


def conv(
    x: da.Array,
    weight: da.Array | ArrayLike,
    bias: da.Array | ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "channels_first",
) -> da.Array:
    """Convolution of a dask array, chunk by chunk: `pyx_deconv.conv`.

    Parameters
    ----------
    x : dask.array.Array, (N, C_in, *size) or (C_in, *size)
        The input, in chunks of any sizes; with channels_last (N, *size, C_in) or (*size, C_in). Chunks of
        channels are merged.
    weight : array_like or dask.array.Array, (C_out, C_in // groups, *kernel)
        The kernels. They become one chunk, of which every worker gets a copy.
    bias : array_like or dask.array.Array, (C_out,), optional
        Added to every pixel of an output channel.
    stride, padding, dilation, groups, data_format
        As for `pyx_deconv.conv`.

    Returns
    -------
    dask.array.Array, (N, C_out, *output_size) or laid out as x is
        Nothing has been computed yet. A chunk of n pixels becomes one of n / stride.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose`, whose notes apply.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import pyx_deconv.dask
    >>> x = da.from_array(np.arange(1.0, 7).reshape(1, 6), chunks=(1, 3))
    >>> pyx_deconv.dask.conv(x, np.array([[[1.0, 10.0, 100.0]]])).compute()
    array([[321., 432., 543., 654.]])
    """
    settings = _arguments.settings(stride, padding, 0, None, dilation, groups, data_format)
    return _forward(False, x, weight, bias, settings)


def conv_transpose_backward(
    grad_output: da.Array,
    x: da.Array,
    weight: da.Array | ArrayLike,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    output_size: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "channels_first",
    needs: str | Collection[str] = _arguments.GRADIENTS,
) -> Gradients:
    """Gradients of `conv_transpose`, chunk by chunk: `pyx_deconv.conv_transpose_backward`.

    Parameters
    ----------
    grad_output : dask.array.Array
        The gradient with respect to the result of ``conv_transpose(x, weight, ...)``, of its shape and in
        any chunks.
    x, weight
        What the result was computed from.
    stride, padding, output_padding, output_size, dilation, groups, data_format
        What the result was computed with.
    needs : str or collection of str, default: ("x", "weight", "bias")
        The gradients to compute.

    Returns
    -------
    Gradients
        The named tuple (x, weight, bias) of dask arrays, with None for what is not needed: that of x in the
        chunks of x, those of weight and bias in one. Nothing has been computed yet.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose`; also if grad_output does not have the shape of the result.

    Notes
    -----
    The gradients of weight and bias are sums over chunks, in float64, in an order that the chunks fix and
    neither the scheduler nor the number of workers: the same bits again, and those of the NumPy array to
    rounding error. The gradient of x is what `conv_transpose` says of its result.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import pyx_deconv.dask
    >>> x = da.from_array(np.array([[1.0, 2.0]]), chunks=1)
    >>> weight = np.array([[[1.0, 10.0, 100.0]]])
    >>> ones = da.ones((1, 5), chunks=3)
    >>> gradients = pyx_deconv.dask.conv_transpose_backward(ones, x, weight, stride=2)
    >>> [gradient.compute().tolist() for gradient in gradients]
    [[[111.0, 111.0]], [[[3.0, 3.0, 3.0]]], [5.0]]
    """
    settings = _arguments.settings(
        stride, padding, output_padding, output_size, dilation, groups, data_format
    )
    return _backward(True, grad_output, x, weight, settings, _arguments.needs(needs))


def conv_backward(
    grad_output: da.Array,
    x: da.Array,
    weight: da.Array | ArrayLike,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "channels_first",
    needs: str | Collection[str] = _arguments.GRADIENTS,
) -> Gradients:
    """Gradients of `conv`, chunk by chunk: `pyx_deconv.conv_backward`.

    Parameters
    ----------
    grad_output : dask.array.Array
        The gradient with respect to the result of ``conv(x, weight, ...)``, of its shape and in any chunks.
    x, weight
        What the result was computed from.
    stride, padding, dilation, groups, data_format
        What the result was computed with.
    needs : str or collection of str, default: ("x", "weight", "bias")
        The gradients to compute.

    Returns
    -------
    Gradients
        As `conv_transpose_backward`, whose notes apply.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose`; also if grad_output does not have the shape of the result.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> import pyx_deconv.dask
    >>> x = da.from_array(np.array([[1.0, 2.0, 3.0, 4.0]]), chunks=2)
    >>> ones = da.ones((1, 2), chunks=1)
    >>> gradients = pyx_deconv.dask.conv_backward(ones, x, np.array([[[1.0, 10.0, 100.0]]]))
    >>> [gradient.compute().tolist() for gradient in gradients]
    [[[1.0, 11.0, 110.0, 100.0]], [[[3.0, 5.0, 7.0]]], [2.0]]
    """
    settings = _arguments.settings(stride, padding, 0, None, dilation, groups, data_format)
    return _backward(False, grad_output, x, weight, settings, _arguments.needs(needs))


def _chunked(value: Any, name: str) -> da.Array:
    """Return a dask array of a dtype that is computed, in chunks of known sizes."""
    if not isinstance(value, da.Array):
        raise TypeError(
            f"{name} must be a dask array, not {type(value).__name__}; NumPy arrays are what "
            "the functions of pyx_deconv itself take"
        )
    _arguments.array(value._meta, name)
    known(value, name)
    return value


def _whole(value: Any, name: str) -> da.Array:
    """Return a dask array of one chunk."""
    if isinstance(value, da.Array):
        return _chunked(value, name).rechunk(-1)
    return da.from_array(_arguments.array(value, name), chunks=-1)


def _spatial(plan: Plan) -> int:
    """Return the first spatial axis of the maps of a plan."""
    return int(plan.batched) + (not plan.channels_last)


def _channels(plan: Plan) -> int:
    """Return the axis of the channels."""
    return len(plan.shape) - 1 if plan.channels_last else int(plan.batched)


def _maps(plan: Plan, *maps: da.Array) -> list[da.Array]:
    """Merge the chunks of channels, and cut all batches as the first, without empty chunks."""
    chunks: dict[int, Any] = {_channels(plan): -1}
    if plan.batched:
        chunks[0] = sizes(parts(maps[0].chunks[0]))
    return [array.rechunk(chunks) for array in maps]


def _blocks(fine: bool, axes: tuple[Axis, ...], bounds: Sequence[Sequence[Pair]]) -> list[list[Block]]:
    """Return for each part of each axis, of the fine map or of the coarse one, what it is computed from."""
    block = transposed_block if fine else conv_block
    return [[block(axis, *each) for each in part] for axis, part in zip(axes, bounds, strict=True)]


def _windows(plan: Plan, source: da.Array, blocks: list[list[Block]]) -> da.Array:
    for axis, each in enumerate(blocks, _spatial(plan)):
        source = windows(source, axis, [(block.start, block.stop) for block in each])
    return source


def _cut(plan: Plan, array: da.Array, bounds: list[list[Pair]]) -> list[tuple[int, ...]]:
    """Return the chunks of a map whose spatial axes are cut so."""
    chunks, first = list(array.chunks), _spatial(plan)
    chunks[first : first + len(bounds)] = map(sizes, bounds)
    return chunks


def _each(
    plan: Plan, settings: Settings, array: da.Array, blocks: list[list[Block]]
) -> Iterator[tuple[tuple[int, ...], Settings]]:
    """Return for each chunk where it is and its settings, which are those of the call but for the padding."""
    stride, dilation = (tuple(getattr(axis, name) for axis in plan.axes) for name in ("stride", "dilation"))
    first = _spatial(plan)
    for index in product(*map(range, array.numblocks)):
        padding = tuple(each[i].padding for each, i in zip(blocks, index[first:], strict=False))
        yield index, (stride, padding, 0, None, dilation, *settings[5:])


def _forward(transposed: bool, x: Any, weight: Any, bias: Any, settings: Settings) -> da.Array:
    x, weight = _chunked(x, "x"), _whole(weight, "weight")
    bias = None if bias is None else _whole(bias, "bias")
    plan = make_plan(transposed, x.shape, weight.shape, None if bias is None else bias.shape, settings)
    dtype = _arguments.result_dtype(x.dtype, weight.dtype, weight.dtype if bias is None else bias.dtype)
    (x,) = _maps(plan, x)
    first, rank = _spatial(plan), len(plan.axes)
    bounds = [
        followed(
            parts(chunks),
            *((axis.stride, 1, axis.fine) if transposed else (1, axis.stride, axis.coarse)),
        )
        for chunks, axis in zip(x.chunks[first : first + rank], plan.axes, strict=True)
    ]
    blocks = _blocks(transposed, plan.axes, bounds)
    source = _windows(plan, x, blocks)
    wholes = [weight] if bias is None else [weight, bias]
    keys = [key_of(whole, (0,) * whole.ndim) for whole in wholes]
    name = f"{'conv_transpose' if transposed else 'conv'}-" + tokenize(
        transposed, x.name, *(whole.name for whole in wholes), settings
    )
    layer = {
        (name, *index): (partial(_tasks.forward, transposed, own), key_of(source, index), *keys)
        for index, own in _each(plan, settings, source, blocks)
    }
    chunks = _cut(plan, source, bounds)
    chunks[_channels(plan)] = (plan.shape[_channels(plan)],)
    return from_layer(name, layer, chunks, dtype, source, *wholes)


def _backward(
    transposed: bool, grad_output: Any, x: Any, weight: Any, settings: Settings, needs: Collection[str]
) -> Gradients:
    grad_output, x = _chunked(grad_output, "grad_output"), _chunked(x, "x")
    weight = _whole(weight, "weight")
    plan = make_plan(transposed, x.shape, weight.shape, None, settings)
    _arguments.grad_output_shape(grad_output.shape, plan.shape)
    dtype = _arguments.result_dtype(grad_output.dtype, x.dtype, weight.dtype)
    x, grad_output = _maps(plan, x, grad_output)
    return Gradients(
        _grad_x(plan, grad_output, x, weight, settings, dtype) if "x" in needs else None,
        _grad_weight(plan, grad_output, x, weight, settings, dtype) if "weight" in needs else None,
        _grad_bias(plan, grad_output, dtype) if "bias" in needs else None,
    )


def _grad_x(
    plan: Plan, grad_output: da.Array, x: da.Array, weight: da.Array, settings: Settings, dtype: np.dtype[Any]
) -> Any:
    first, rank = _spatial(plan), len(plan.axes)
    bounds = [parts(chunks) for chunks in x.chunks[first : first + rank]]
    blocks = _blocks(not plan.transposed, plan.axes, bounds)
    source = _windows(plan, grad_output, blocks)
    key = key_of(weight, (0,) * weight.ndim)
    name = "grad_x-" + tokenize(plan.transposed, grad_output.name, x.chunks, x.dtype, weight.name, settings)
    chunks = _cut(plan, x, bounds)
    layer = {}
    for index, own in _each(plan, settings, source, blocks):
        shape = tuple(sizes[i] for sizes, i in zip(chunks, index, strict=True))
        task = partial(_tasks.grad_x, plan.transposed, own, shape, x.dtype)
        layer[(name, *index)] = (task, key_of(source, index), key)
    return from_layer(name, layer, chunks, dtype, source, weight)


def _grad_weight(
    plan: Plan, grad_output: da.Array, x: da.Array, weight: da.Array, settings: Settings, dtype: np.dtype[Any]
) -> Any:
    """Sum what the chunks of the coarse map contribute, each with the part of the fine map that it meets."""
    first, rank = _spatial(plan), len(plan.axes)
    coarse, fine = (x, grad_output) if plan.transposed else (grad_output, x)
    bounds = [parts(chunks) for chunks in coarse.chunks[first : first + rank]]
    blocks = _blocks(False, plan.axes, bounds)
    coarse = coarse.rechunk(tuple(_cut(plan, coarse, bounds)))
    fine = _windows(plan, fine, blocks)
    maps = (fine, coarse) if plan.transposed else (coarse, fine)  # grad_output, x
    # Stored numbers are not rounded before they are summed.
    computed = np.result_type(dtype, np.float32)
    names = (each.name for each in maps)
    name = "grad_weight-" + tokenize(plan.transposed, *names, weight.shape, computed, settings)
    layer = {}
    for number, (index, own) in enumerate(_each(plan, settings, coarse, blocks)):
        task = partial(_tasks.grad_weight, plan.transposed, own, weight.shape, computed)
        layer[(name, number, *(0,) * weight.ndim)] = (task, *(key_of(each, index) for each in maps))
    chunks = [(1,) * len(layer), *((size,) for size in weight.shape)]
    return _sum(from_layer(name, layer, chunks, computed, *maps), (0,), dtype)


def _grad_bias(plan: Plan, grad_output: da.Array, dtype: np.dtype[Any]) -> Any:
    axes = tuple(axis for axis in range(grad_output.ndim) if axis != _channels(plan))
    return _sum(grad_output, axes, dtype)


def _sum(array: da.Array, axes: tuple[int, ...], dtype: np.dtype[Any]) -> da.Array:
    """Sum over chunks, in a tree of eights, and round once."""
    wide = np.complex128 if dtype.kind == "c" else np.float64
    return cast(da.Array, array.sum(axis=axes, dtype=wide, split_every=8).astype(dtype))
