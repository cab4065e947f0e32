"""Whole ONNX models: convolutions and their transposes are computed here, other nodes by ONNX' own evaluator.

Imported by `load_onnx` alone, as it needs the package onnx.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from pyx_deconv import _arguments
from pyx_deconv.convert._onnx import make_operator

__all__ = ["OnnxModel", "Value"]

Array = NDArray[Any]


class _Convolution(OpRun):  # type: ignore[misc, unused-ignore]
    """A node, and the operators made of its weight: one, or with output_shape one for each size of x."""

    op_domain = ""

    def _run(self, x: Array, weight: Array, bias: Array | None = None, **attributes: Any) -> tuple[Array]:
        given = {name: value for name, value in attributes.items() if value is not None}
        size = x.shape[2:] if "output_shape" in given else None
        operators = self.__dict__.setdefault("operators", {})
        held = operators.get(size)
        if held is None or not (_same(held[0], weight) and _same(held[1], bias)):
            held = weight, bias, make_operator(type(self).__name__, given, weight, bias, size)
            operators[size] = held
        return (held[2](x),)


def _same(one: Array | None, other: Array | None) -> bool:
    """Whether a weight is that of the last run; what was exported may copy it first."""
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


# The evaluator knows them by the names of their classes.


class Conv(_Convolution):
    """The convolution of ONNX."""


class ConvTranspose(_Convolution):
    """The transposed convolution of ONNX."""


class Value(NamedTuple):
    """An input or an output: an axis whose size is not fixed has a name, or None."""

    name: str
    shape: tuple[int | str | None, ...] | None
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        sizes = "..." if self.shape is None else ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.name}: {self.dtype} ({sizes})"


class OnnxModel:
    """A model that runs: what `pyx_deconv.convert.load_onnx` returns. Safe to call from several threads.

    Attributes
    ----------
    inputs, outputs : tuple of Value
        Each with ``name``, ``shape`` (an axis of any size has a name, or None) and ``dtype``.
    """

    def __init__(self, source: Any) -> None:
        model = _read(source)
        graph = model.graph
        constants = {each.name for each in graph.initializer}
        self.inputs = tuple(_value(each) for each in graph.input if each.name not in constants)
        self.outputs = tuple(_value(each) for each in graph.output)
        self._counts = Counter(node.op_type for node in graph.node)
        try:
            self._evaluator = ReferenceEvaluator(model, new_ops=[Conv, ConvTranspose])
        except Exception as error:
            raise ValueError(f"the model cannot be run: {error}") from error

    def __call__(self, *arrays: ArrayLike, **named: ArrayLike) -> Any:
        """Run the model.

        Parameters
        ----------
        *arrays : array_like
            The inputs, in the order of ``inputs``.
        **named : array_like
            Inputs by their names.

        Returns
        -------
        ndarray or dict of str to ndarray
            The output; if there are several, by their names.
        """
        given = self._given(arrays, named)
        with np.errstate(all="ignore"):  # infinity and NaN are results in ONNX, not worth a warning
            results: Any = self._evaluator.run(None, given)
        if len(results) == 1:
            return results[0]
        return {each.name: result for each, result in zip(self.outputs, results, strict=True)}

    def _given(self, arrays: tuple[ArrayLike, ...], named: Mapping[str, ArrayLike]) -> dict[str, Array]:
        names = [each.name for each in self.inputs]
        if len(arrays) > len(names):
            raise TypeError(f"the model takes {len(names)} inputs, {names}, not {len(arrays)}")
        values = dict(zip(names, arrays, strict=False))
        for name, array in named.items():
            if name not in names:
                raise TypeError(f"the model has no input {name!r}; it has {names}")
            if name in values:
                raise TypeError(f"the input {name!r} was given twice")
            values[name] = array
        missing = [name for name in names if name not in values]
        if missing:
            raise TypeError(f"the input {missing[0]!r} is missing; the model takes {names}")
        return {each.name: _fitting(values[each.name], each) for each in self.inputs}

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {op_type}" for op_type, count in self._counts.most_common())
        lines = [f"OnnxModel ({counts or 'no nodes'})"]
        lines += [f"  takes {each}" for each in self.inputs]
        return "\n".join(lines + [f"  gives {each}" for each in self.outputs])


def _read(source: Any) -> Any:
    if isinstance(source, onnx.ModelProto):
        return source
    if not isinstance(source, (str, os.PathLike, bytes, bytearray)):
        raise TypeError(
            f"source must be a path, bytes or an onnx.ModelProto, not {_arguments.show(source)} "
            f"({type(source).__name__})"
        )
    try:
        if isinstance(source, (bytes, bytearray)):
            model = onnx.load_model_from_string(bytes(source))
        else:
            model = onnx.load(os.fspath(source))
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"source is no ONNX model: {error}") from error
    if not model.opset_import:
        raise ValueError("source is no ONNX model: it imports no version of ONNX' operators")
    return model


def _value(info: Any) -> Value:
    tensor = info.type.tensor_type
    if not tensor.elem_type:
        raise ValueError(
            f"{info.name!r} must be a tensor: sequences, maps and optional values are not supported"
        )
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if not tensor.HasField("shape"):
        return Value(info.name, None, dtype)
    sizes = [
        each.dim_value if each.HasField("dim_value") else each.dim_param or None for each in tensor.shape.dim
    ]
    return Value(info.name, tuple(sizes), dtype)


def _fitting(value: ArrayLike, wanted: Value) -> Array:
    """Return an input as the model states it: numbers may lose digits, not their kind."""
    array = _arguments.array(value, wanted.name)
    if wanted.shape is not None:
        fixed = zip(wanted.shape, array.shape, strict=False)
        if len(wanted.shape) != array.ndim or any(isinstance(n, int) and n != size for n, size in fixed):
            raise ValueError(f"the input {wanted} was given an array of shape {array.shape}")
    if array.dtype == wanted.dtype:
        return array
    if not np.can_cast(array.dtype, wanted.dtype, "same_kind"):
        raise TypeError(f"the input {wanted} was given an array of dtype {array.dtype}")
    return array.astype(wanted.dtype)
