"""Convolutions as the matrices and linear operators of SciPy."""

from __future__ import annotations

import sys
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _arguments, _memory
from pyx_deconv._execution import Plan
from pyx_deconv.geometry import Axis

try:
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import LinearOperator
except ImportError as error:
    raise ImportError("as_linear_operator and as_matrix need SciPy: pip install scipy") from error

__all__ = ["ConvolutionOperator", "as_matrix"]

Index = NDArray[np.int64]


class ConvolutionOperator(LinearOperator):  # type: ignore[misc]
    """A `Conv` or `ConvTranspose` between raveled maps; ``plan`` is that of an input of this shape."""

    def __init__(self, operator: Any, input_shape: tuple[int, ...], plan: Plan) -> None:
        self._adjoint_operator = operator.H
        self._linear = operator if operator.bias is None else operator.H.H
        self._shapes = input_shape[int(plan.batched) :], plan.shape[int(plan.batched) :]
        # Several sizes of the input of a convolution lead to one of its result.
        self._sizes = {} if plan.transposed else {"output_size": tuple(axis.fine for axis in plan.axes)}
        super().__init__(_dtype(operator.weight), (prod(plan.shape), prod(input_shape)))

    def _matmat(self, vectors: NDArray[Any]) -> NDArray[Any]:
        return self._product(self._linear, vectors, self._shapes[0], self.shape[0])

    def _rmatmat(self, vectors: NDArray[Any]) -> NDArray[Any]:
        return self._product(self._adjoint_operator, vectors, self._shapes[1], self.shape[1], **self._sizes)

    def _product(
        self,
        operator: Any,
        vectors: NDArray[Any],
        sample: tuple[int, ...],
        length: int,
        **sizes: tuple[int, ...],
    ) -> NDArray[Any]:
        # Several vectors are a batch.
        maps = vectors.T.astype(np.result_type(vectors.dtype, self.dtype), copy=False)
        product: NDArray[Any] = operator(maps.reshape(-1, *sample), **sizes)
        return product.reshape(vectors.shape[1], length).T

    def _matvec(self, vector: NDArray[Any]) -> NDArray[Any]:
        return self._matmat(vector.reshape(-1, 1))

    def _rmatvec(self, vector: NDArray[Any]) -> NDArray[Any]:
        return self._rmatmat(vector.reshape(-1, 1))


def as_matrix(weight: NDArray[Any], input_shape: tuple[int, ...], plan: Plan) -> csr_array:
    """Return the matrix of a convolution or its transpose; ``plan`` is that of an input of this shape.

    Its entries are those of an array with the axes sample, group, coarse channel of the group, fine channel
    of the group, and for each spatial axis the connected triples of tap, coarse and fine index.
    """
    batch = input_shape[0] if plan.batched else 1
    coarse, fine = weight.shape[0] // plan.groups, weight.shape[1]
    outer = batch, plan.groups, coarse, fine
    dtype = _dtype(weight)
    most = prod(outer) * prod(axis.coarse * axis.kernel for axis in plan.axes)
    if most * 16 > sys.maxsize:  # more than NumPy can count
        raise _memory.no_room((most,), dtype)
    connected = [_connected(axis) for axis in plan.axes]
    entries = *outer, *(triples.shape[1] for triples in connected)
    sample, group, *channel = (_along(k, np.arange(size), entries) for k, size in enumerate(outer))
    taps, coarse_places, fine_places = (
        [_along(4 + axis, triples[role], entries) for axis, triples in enumerate(connected)]
        for role in range(3)
    )
    values = np.broadcast_to(weight[group * coarse + channel[0], channel[1], *taps], entries)
    coarse_shape, fine_shape = (input_shape, plan.shape) if plan.transposed else (plan.shape, input_shape)
    coarse_index = _positions(coarse_shape, plan, sample, group * coarse + channel[0], coarse_places)
    fine_index = _positions(fine_shape, plan, sample, group * fine + channel[1], fine_places)
    places = (fine_index, coarse_index) if plan.transposed else (coarse_index, fine_index)
    shape = prod(plan.shape), prod(input_shape)
    narrow = np.int32 if max(*shape, values.size) < 2**31 else np.int64
    where = [np.broadcast_to(place.astype(narrow), entries).ravel() for place in places]
    return csr_array((values.ravel().astype(dtype, copy=False), where), shape=shape)


def _connected(axis: Axis) -> Index:
    """Return tap, coarse and fine index of all connections along one axis."""
    coarse, tap = np.meshgrid(np.arange(axis.coarse), np.arange(axis.kernel), indexing="ij")
    fine = coarse * axis.stride + tap * axis.dilation - axis.begin
    inside = (fine >= 0) & (fine < axis.fine)
    found: Index = np.stack([tap[inside], coarse[inside], fine[inside]])
    return found


def _along(axis: int, values: Index, entries: tuple[int, ...]) -> Index:
    """Return the values along one of the axes of the entries."""
    return values.reshape([-1 if k == axis else 1 for k in range(len(entries))])


def _positions(
    shape: tuple[int, ...], plan: Plan, sample: Index, channel: Index, places: list[Index]
) -> Index:
    """Return where these pixels are in a raveled map."""
    index = [*places, channel] if plan.channels_last else [channel, *places]
    position = sample
    for size, each in zip(shape[int(plan.batched) :], index, strict=True):
        position = position * size + each
    return position


def _dtype(weight: NDArray[Any]) -> np.dtype[Any]:
    """Return what SciPy computes a weight of this dtype in: it knows no float16."""
    dtype = _arguments.result_dtype(weight.dtype)
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype
