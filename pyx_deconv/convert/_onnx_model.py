"""Running a whole ONNX graph: a generator or a decoder that some framework has exported."""

import collections
import importlib
import inspect
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _arguments
from pyx_deconv.convert._common import attribute
from pyx_deconv.convert._onnx import initializer_arrays
from pyx_deconv.convert._onnx_operators import MAKERS, Function, Node
from pyx_deconv.convert._tensor_proto import attributes, dtype_of

__all__ = ["OnnxModel", "load_onnx"]

OLDEST = 7  # the opset in which operations came to broadcast as NumPy does


class Value(NamedTuple):
    """An input or an output: an axis whose size is not fixed has a name, or None."""

    name: str
    shape: tuple[int | str | None, ...] | None
    dtype: np.dtype[Any] | None

    def __str__(self) -> str:
        sizes = "..." if self.shape is None else ", ".join("?" if n is None else str(n) for n in self.shape)
        return f"{self.name}: {self.dtype or 'of unknown dtype'} ({sizes})"


class Step(NamedTuple):
    """One node ready to run, and the values that nobody needs after it."""

    label: str
    function: Function
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    last: tuple[str, ...]


def load_onnx(source: Any) -> "OnnxModel":
    """Load an ONNX model that runs on NumPy and this package alone.

    Everything is checked and every weight prepared here. What the graph may contain: convolutions and their
    transposes, batch normalisation, the common activations, arithmetic, and the operations on shapes and
    pooling that generators (DCGAN) and decoders (U-Net) have when they are exported for inference.

    Parameters
    ----------
    source : str, os.PathLike, bytes or onnx.ModelProto
        A file, its content, or a model. The package onnx is needed to read the first two.

    Returns
    -------
    OnnxModel
        Called with arrays in the order of its ``inputs``, or by their names.

    Raises
    ------
    ImportError
        If onnx is needed and not installed.
    ValueError
        If the graph has an operation that is not supported; the message names the node.

    See Also
    --------
    from_onnx : A single node.

    Examples
    --------
    >>> import pyx_deconv as pxd
    >>> model = pxd.convert.load_onnx("generator.onnx")       # doctest: +SKIP
    >>> image = model(latent)                                 # doctest: +SKIP
    >>> image = model(z=latent)                               # doctest: +SKIP
    """
    if isinstance(source, (str, os.PathLike, bytes, bytearray)):
        try:
            onnx: Any = importlib.import_module("onnx")
        except ImportError as error:
            raise ImportError(
                "load_onnx needs the package onnx to read a file: pip install onnx; from_onnx takes a node "
                "and arrays without it"
            ) from error
        try:
            if isinstance(source, (bytes, bytearray)):
                source = onnx.load_model_from_string(bytes(source))
            else:
                source = onnx.load(os.fspath(source))
        except Exception as error:
            if isinstance(error, OSError):
                raise
            raise ValueError(f"source is no ONNX model: {error}") from error
        if source.functions:
            source = importlib.import_module("onnx.inliner").inline_local_functions(source)
    return OnnxModel(source)


class OnnxModel:
    """A graph that runs: what `load_onnx` returns.

    Attributes
    ----------
    inputs, outputs : tuple of Value
        Each with ``name``, ``shape`` (an axis of any size has a name, or None) and ``dtype``.

    Notes
    -----
    Nodes run one after the other; each convolution uses all threads. Results that no later node needs are
    freed. Safe to call from several threads.
    """

    def __init__(self, model: Any) -> None:
        graph = attribute(model, "graph", "an ONNX model")
        opset = _opset(model)
        if len(getattr(graph, "sparse_initializer", ())):
            raise ValueError("the graph has sparse initializers, which are not supported")
        constants = initializer_arrays(graph.initializer)
        self.inputs = tuple(_value(each) for each in graph.input if each.name not in constants)
        self.outputs = tuple(_value(each) for each in graph.output)
        nodes = _sorted(graph.node, {each.name for each in self.inputs} | constants.keys())
        self._counts = collections.Counter(node.op_type for node in nodes)
        made = [(node, _function(node, opset, constants)) for node in nodes]
        running = [(node, function) for node, function in made if function is not None]
        known = {each.name for each in self.inputs} | constants.keys()
        known |= {name for node in nodes for name in node.output}
        for each in self.outputs:
            if each.name not in known:
                raise ValueError(f"the output {each.name!r} of the graph is computed by none of its nodes")
        self._steps = _freeing(running, {each.name for each in self.outputs})
        used = {name for step in self._steps for name in step.inputs} | {each.name for each in self.outputs}
        self._constants = {name: array for name, array in constants.items() if name in used}

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        """Run the graph.

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
        values: dict[str, NDArray[Any] | None] = {"": None, **self._constants, **given}
        for step in self._steps:
            try:
                with np.errstate(all="ignore"):  # infinity and NaN are results in ONNX, not worth a warning
                    results = step.function(*(values[name] for name in step.inputs))
            except Exception as error:
                error.add_note(f"in {step.label}")
                raise
            if not isinstance(results, tuple):
                results = (results,)
            values.update(zip(step.outputs, results, strict=False))
            for name in step.last:
                del values[name]
        outputs = {each.name: self._owned(values[each.name], given) for each in self.outputs}
        return outputs if len(outputs) != 1 else next(iter(outputs.values()))

    def _given(self, arrays: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
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

    def _owned(self, value: Any, given: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """A result that the caller may write to: neither a constant nor an input."""
        shared = any(
            np.may_share_memory(value, array) for array in (*self._constants.values(), *given.values())
        )
        return np.array(value) if shared or not value.flags.writeable else value

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {op_type}" for op_type, count in self._counts.most_common())
        lines = [f"OnnxModel ({counts or 'no nodes'})"]
        lines += [f"  takes {each}" for each in self.inputs]
        return "\n".join(lines + [f"  gives {each}" for each in self.outputs])


def _opset(model: Any) -> int:
    """The version of ONNX' own operators that the model is written for."""
    versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if len(versions) != 1:
        raise ValueError(f"the model must import one version of ONNX' operators, not {versions}")
    if versions[0] < OLDEST:
        raise ValueError(
            f"the model is written for opset {versions[0]}, and must be for {OLDEST} or later: convert it "
            "with onnx.version_converter"
        )
    return int(versions[0])


def _value(info: Any) -> Value:
    tensor = info.type.tensor_type
    if not tensor.elem_type:
        raise ValueError(
            f"{info.name!r} must be a tensor: sequences, maps and optional values are not supported"
        )
    dtype = dtype_of(tensor.elem_type)
    if not tensor.HasField("shape"):
        return Value(info.name, None, dtype)
    sizes = [
        each.dim_value if each.HasField("dim_value") else each.dim_param or None for each in tensor.shape.dim
    ]
    return Value(info.name, tuple(sizes), dtype)


def _fitting(array: Any, value: Value) -> NDArray[Any]:
    """An input as the graph states it: numbers may lose digits, not their kind."""
    given = _arguments.array(array, value.name)
    if value.shape is not None:
        fixed = zip(value.shape, given.shape, strict=False)
        if len(value.shape) != given.ndim or any(isinstance(n, int) and n != size for n, size in fixed):
            raise ValueError(f"the input {value} was given an array of shape {given.shape}")
    if value.dtype is None or given.dtype == value.dtype:
        return given
    if not np.can_cast(given.dtype, value.dtype, "same_kind"):
        raise TypeError(f"the input {value} was given an array of dtype {given.dtype}")
    return given.astype(value.dtype)


def _label(node: Any) -> str:
    who = repr(node.name) if node.name else "-> " + ", ".join(map(repr, node.output))
    return f"node {who} ({node.op_type})"


def _sorted(nodes: Any, known: set[str]) -> list[Any]:
    """Nodes in an order in which everything is computed before it is needed; most graphs are so already."""
    computed, waiting = {"", *known}, list(nodes)
    order: list[Any] = []
    for node in waiting:
        for name in node.output:
            if name and name in computed:
                raise ValueError(f"{_label(node)} computes {name!r}, which is there already")
    seen = collections.Counter(name for node in waiting for name in node.output if name)
    twice = [name for name, count in seen.items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} is computed by more than one node")
    while waiting:
        blocked = []
        for node in waiting:
            if computed.issuperset(node.input):
                order.append(node)
                computed.update(node.output)
            else:
                blocked.append(node)
        if len(blocked) == len(waiting):
            node = blocked[0]
            missing = [name for name in node.input if name not in computed]
            raise ValueError(f"{_label(node)} needs {missing[0]!r}, which nothing computes before it")
        waiting = blocked
    return order


def _function(node: Any, opset: int, constants: dict[str, NDArray[Any]]) -> Function | None:
    """What a node does; None if all it needs is known, and what it gives is among the constants now."""
    label = _label(node)
    if node.domain not in ("", "ai.onnx") or node.op_type not in MAKERS:
        domain = f" of {node.domain}" if node.domain else ""
        raise ValueError(f"{label}{domain} is not supported; supported: {', '.join(sorted(MAKERS))}")
    try:
        described = Node(
            node.op_type, label, tuple(node.input), tuple(node.output), attributes(node), opset, constants
        )
        function = MAKERS[node.op_type](described)
        _check_inputs(function, described.inputs)
        if not all(name in constants or not name for name in node.input):
            return function
        with np.errstate(all="ignore"):
            results = function(*(constants.get(name) for name in node.input))
    except (IndexError, TypeError, ValueError) as error:
        raise type(error)(f"{label}: {error}") from error
    for name, result in zip(node.output, results if isinstance(results, tuple) else (results,), strict=False):
        constants[name] = result
    return None


def _check_inputs(function: Function, names: tuple[str, ...]) -> None:
    """Refuse too few and too many inputs, and a required one that is left out."""
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*names)
    except TypeError as error:
        raise ValueError(f"it has {len(names)} inputs: {error}") from None
    for name, given in bound.arguments.items():
        if given == "" and signature.parameters[name].default is inspect.Parameter.empty:
            raise ValueError(f"its input {name!r} is left out, and required")


def _freeing(running: list[tuple[Any, Function]], outputs: set[str]) -> tuple[Step, ...]:
    """Steps, each with the names whose last use it is, its own results that nobody uses among them."""

    def backwards() -> Iterator[Step]:
        needed = {*outputs, ""}
        computed = {name for node, _ in running for name in node.output}
        for node, function in reversed(running):
            inputs, results = tuple(node.input), tuple(node.output)
            last = {name for name in (*inputs, *results) if name in computed and name not in needed}
            needed.update(inputs)
            yield Step(_label(node), function, inputs, results, tuple(sorted(last)))

    return tuple(reversed(list(backwards())))
