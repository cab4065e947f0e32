"""The truth of the tests: transposed convolution, convolution and their gradients as plain loops.

Written from the formula alone, one line for each operation::

    y[n, b, i*s + t*d - begin] += x[n, a, i] * w[a, b, t]

and importing nothing of the package under test. Only a tap that lands inside the map is ever touched, so NaN
and infinity go exactly where the formula carries them. Everything is computed in float64 or complex128;
integers and booleans are computed exactly in int64.

A weight is (A, B // groups, *kernel). The coarse map has A channels, the fine map B. The transposed
convolution goes from coarse to fine and the convolution from fine to coarse.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np


class Gradients(NamedTuple):
    x: np.ndarray | None
    weight: np.ndarray | None
    bias: np.ndarray | None


def per_axis(value, rank):
    """One integer for every spatial axis, or a sequence that has one already."""
    if np.ndim(value) == 0:
        return (int(value),) * rank
    assert len(value) == rank, (value, rank)
    return tuple(int(v) for v in value)


def pad_pairs(padding, rank):
    """Numeric padding as a (begin, end) pair for every axis."""
    if np.ndim(padding) == 0:
        return ((int(padding), int(padding)),) * rank
    assert len(padding) == rank, (padding, rank)
    return tuple((int(p), int(p)) if np.ndim(p) == 0 else (int(p[0]), int(p[1])) for p in padding)


def split_padding(padding, overlap):
    """Take from the front the smaller half of what is too much, or with "same_lower" the larger."""
    overlap = max(overlap, 0)
    return overlap // 2 if padding in ("same", "same_upper") else overlap - overlap // 2


def transpose_window(sizes, kernel, *, stride=1, padding=0, output_padding=0, output_size=None, dilation=1):
    """(begin, out) of conv_transpose for every axis; `sizes` and `kernel` are the spatial sizes."""
    rank = len(sizes)
    stride, dilation = per_axis(stride, rank), per_axis(dilation, rank)
    extra = per_axis(output_padding, rank)
    asked = (None,) * rank if output_size is None else per_axis(output_size, rank)
    windows = []
    for axis in range(rank):
        full = (sizes[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        if isinstance(padding, str) and padding != "valid":
            assert padding in ("same", "same_upper", "same_lower"), padding
            out = sizes[axis] * stride[axis] if asked[axis] is None else asked[axis]
            begin = split_padding(padding, full - out)
        else:
            begin, end = pad_pairs(0 if isinstance(padding, str) else padding, rank)[axis]
            out = full - begin - end + extra[axis] if asked[axis] is None else asked[axis]
        windows.append((begin, out))
    return windows


def conv_window(sizes, kernel, *, stride=1, padding=0, dilation=1):
    """(begin, out) of conv for every axis."""
    rank = len(sizes)
    stride, dilation = per_axis(stride, rank), per_axis(dilation, rank)
    windows = []
    for axis in range(rank):
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        if isinstance(padding, str) and padding != "valid":
            assert padding in ("same", "same_upper", "same_lower"), padding
            out = -(-sizes[axis] // stride[axis])
            begin = split_padding(padding, (out - 1) * stride[axis] + reach - sizes[axis])
        else:
            begin, end = pad_pairs(0 if isinstance(padding, str) else padding, rank)[axis]
            out = (sizes[axis] + begin + end - reach) // stride[axis] + 1
        windows.append((begin, out))
    return windows


def taps(kernel, coarse, fine, stride, dilation, begin):
    """Yield for every tap its index t and the positions i (coarse) and j (fine) that it connects, as indices.

    For one tap, different i have different j, so that ``fine[..., j] += ...`` loses nothing.
    """
    for t in itertools.product(*(range(k) for k in kernel)):
        coarse_index, fine_index = [], []
        for axis, tap in enumerate(t):
            connected = []
            for i in range(coarse[axis]):
                j = i * stride[axis] + tap * dilation[axis] - begin[axis]
                if 0 <= j < fine[axis]:
                    connected.append((i, j))
            coarse_index.append([i for i, _ in connected])
            fine_index.append([j for _, j in connected])
        if all(coarse_index):
            yield t, np.ix_(*coarse_index), np.ix_(*fine_index)


def widest(*arrays):
    """Return the type everything is computed in: int64, float64 or complex128."""
    arrays = [np.asarray(a) for a in arrays if a is not None]
    if any(a.dtype.kind == "c" for a in arrays):
        return np.dtype(np.complex128)
    return np.dtype(np.int64) if all(a.dtype.kind in "iub" for a in arrays) else np.dtype(np.float64)


def channels_first(array, rank, data_format, dtype):
    """(N, C, *spatial) from any of the accepted layouts, and whether a batch axis had to be added."""
    array = np.asarray(array).astype(dtype)
    alone = array.ndim == rank + 1
    if alone:
        array = array[np.newaxis]
    assert array.ndim == rank + 2, (array.shape, rank)
    if data_format == "channels_last":
        array = np.moveaxis(array, -1, 1)
    else:
        assert data_format == "channels_first", data_format
    return array, alone


def restore(array, alone, data_format):
    """Undo channels_first."""
    if data_format == "channels_last":
        array = np.moveaxis(array, 1, -1)
    return array[0] if alone else array


def blocks(channels, groups):
    """Return the channels of each group."""
    assert channels % groups == 0, (channels, groups)
    width = channels // groups
    return [slice(g * width, (g + 1) * width) for g in range(groups)]


def scatter(coarse, weight, *, stride, dilation, begin, size, groups=1):
    """fine[n, b, j] = sum of coarse[n, a, i] * weight[a, b, t] over j = i*s + t*d - begin."""
    fine = np.zeros((coarse.shape[0], weight.shape[1] * groups, *size), np.result_type(coarse, weight))
    for t, i, j in taps(weight.shape[2:], coarse.shape[2:], size, stride, dilation, begin):
        for a, b in zip(blocks(coarse.shape[1], groups), blocks(fine.shape[1], groups), strict=True):
            w = weight[(a, slice(None), *t)]
            fine[:, b][(..., *j)] += np.einsum("na...,ab->nb...", coarse[:, a][(..., *i)], w)
    return fine


def gather(fine, weight, *, stride, dilation, begin, size, groups=1):
    """coarse[n, a, i] = sum of fine[n, b, j] * weight[a, b, t] over j = i*s + t*d - begin."""
    coarse = np.zeros((fine.shape[0], weight.shape[0], *size), np.result_type(fine, weight))
    for t, i, j in taps(weight.shape[2:], size, fine.shape[2:], stride, dilation, begin):
        for a, b in zip(blocks(coarse.shape[1], groups), blocks(fine.shape[1], groups), strict=True):
            w = weight[(a, slice(None), *t)]
            coarse[:, a][(..., *i)] += np.einsum("nb...,ab->na...", fine[:, b][(..., *j)], w)
    return coarse


def pair_up(coarse, fine, kernel, *, stride, dilation, begin, groups=1):
    """weight[a, b, t] = sum over n and i of coarse[n, a, i] * fine[n, b, j] over j = i*s + t*d - begin."""
    shape = (coarse.shape[1], fine.shape[1] // groups, *kernel)
    weight = np.zeros(shape, np.result_type(coarse, fine))
    for t, i, j in taps(kernel, coarse.shape[2:], fine.shape[2:], stride, dilation, begin):
        for a, b in zip(blocks(coarse.shape[1], groups), blocks(fine.shape[1], groups), strict=True):
            met = coarse[:, a][(..., *i)], fine[:, b][(..., *j)]
            flat = [m.reshape(*m.shape[:2], math.prod(m.shape[2:])) for m in met]
            weight[(a, slice(None), *t)] = np.einsum("nap,nbp->ab", *flat)
    return weight


def _prepare(weight, bias, data_format, *maps):
    """Bring everything to one type and the maps to (N, C, *spatial); the last result says if that added N."""
    dtype = widest(weight, bias, *maps)
    weight = np.asarray(weight).astype(dtype)
    maps = [channels_first(m, weight.ndim - 2, data_format, dtype) for m in maps]
    return weight, *(m for m, _ in maps), maps[0][1]


def _geometry(window, x, weight, settings):
    """Return what scatter, gather and pair_up take, and the sizes of the result."""
    rank = weight.ndim - 2
    begin, size = zip(*window(x.shape[2:], weight.shape[2:], **settings), strict=True)
    spread = {name: per_axis(settings.get(name, 1), rank) for name in ("stride", "dilation")}
    return spread | {"begin": begin}, size


def _finish(y, bias, alone, data_format):
    if bias is not None:
        y = y + np.asarray(bias).astype(y.dtype).reshape(1, -1, *(1,) * (y.ndim - 2))
    return restore(y, alone, data_format)


def conv_transpose(x, weight, bias=None, *, groups=1, data_format="channels_first", **settings):
    """Compute the transposed convolution; further settings are those of transpose_window."""
    weight, x, alone = _prepare(weight, bias, data_format, x)
    where, size = _geometry(transpose_window, x, weight, settings)
    return _finish(scatter(x, weight, **where, size=size, groups=groups), bias, alone, data_format)


def conv(x, weight, bias=None, *, groups=1, data_format="channels_first", **settings):
    """Compute the convolution; further settings are those of conv_window."""
    weight, x, alone = _prepare(weight, bias, data_format, x)
    where, size = _geometry(conv_window, x, weight, settings)
    return _finish(gather(x, weight, **where, size=size, groups=groups), bias, alone, data_format)


ALL = ("x", "weight", "bias")


def conv_transpose_backward(
    grad_output, x, weight, *, groups=1, data_format="channels_first", needs=ALL, **settings
):
    """Compute the gradients of sum(real(conj(grad_output) * y)); factors are conjugated, as in PyTorch."""
    weight, gy, x, alone = _prepare(weight, None, data_format, grad_output, x)
    where, size = _geometry(transpose_window, x, weight, settings)
    assert gy.shape[2:] == size, (gy.shape, size)
    grad_x = gather(gy, weight.conj(), **where, size=x.shape[2:], groups=groups)
    grad_weight = pair_up(x.conj(), gy, weight.shape[2:], **where, groups=groups)
    return _select(restore(grad_x, alone, data_format), grad_weight, gy, needs)


def conv_backward(grad_output, x, weight, *, groups=1, data_format="channels_first", needs=ALL, **settings):
    """Compute the same gradients for `conv`."""
    weight, gy, x, alone = _prepare(weight, None, data_format, grad_output, x)
    where, size = _geometry(conv_window, x, weight, settings)
    assert gy.shape[2:] == size, (gy.shape, size)
    grad_x = scatter(gy, weight.conj(), **where, size=x.shape[2:], groups=groups)
    grad_weight = pair_up(gy, x.conj(), weight.shape[2:], **where, groups=groups)
    return _select(restore(grad_x, alone, data_format), grad_weight, gy, needs)


def _select(grad_x, grad_weight, gy, needs):
    gradients = Gradients(grad_x, grad_weight, gy.sum(axis=(0, *range(2, gy.ndim))))
    return Gradients(*(g if name in needs else None for name, g in zip(ALL, gradients, strict=True)))


def magnitude(*arrays):
    """Take absolute values in float64: the same sum over these bounds the rounding error of any summation."""
    return [None if a is None else np.abs(np.asarray(a).astype(widest(a, np.float64(0)))) for a in arrays]


def largest(array):
    """Return the largest absolute value, 0 for an empty array."""
    return float(np.max(np.abs(array), initial=0.0))
