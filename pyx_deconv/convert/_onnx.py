"""ONNX: one node ConvTranspose or Conv with its initializers, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pyx_deconv import _arguments
from pyx_deconv._arguments import Pair
from pyx_deconv.convert._common import Described, Exported, array, attribute, describe, named, per_axis
from pyx_deconv.convert._tensor_proto import attributes, is_tensor, to_array
from pyx_deconv.geometry import onnx_crop
from pyx_deconv.operators import Conv, ConvTranspose

if TYPE_CHECKING:
    from pyx_deconv.convert._onnx_model import OnnxModel

__all__ = ["from_onnx", "load_onnx", "make_operator", "to_onnx"]

BOTH = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
KNOWN = {"Conv": BOTH, "ConvTranspose": (*BOTH, "output_padding", "output_shape")}
AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def from_onnx(
    node: Any, initializers: Any, *, input_size: int | Sequence[int] | None = None
) -> ConvTranspose | Conv:
    """Make an operator of an ONNX node.

    Parameters
    ----------
    node : onnx.NodeProto
        A ``ConvTranspose`` or ``Conv``, with any of its attributes.
    initializers : mapping or iterable
        Where the weight and the bias are found under the names in ``node.input``: a mapping to arrays or
        TensorProtos, or TensorProtos, as ``graph.initializer`` has them. bfloat16 needs ml_dtypes, and
        becomes float32 without it.
    input_size : int or sequence of int, optional
        The spatial size of the inputs, for a ConvTranspose with ``output_shape``: what it crops depends on
        that. For inputs of another size the operator still crops so.

    Returns
    -------
    ConvTranspose or Conv
        For inputs (N, C, *size), as the node takes them.

    Raises
    ------
    TypeError, ValueError
        If it is another node, its weight is computed in the graph, or attributes do not fit together.

    See Also
    --------
    to_onnx : The other way.
    load_onnx : A whole graph.

    Notes
    -----
    With auto_pad SAME the output size is input size * stride, as ONNX specifies it. Where the kernel is
    smaller than the stride, that needs zeros, which are appended; ONNX Runtime gives a smaller output there.

    Examples
    --------
    Any object with the attributes of a node serves:

    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> strides = SimpleNamespace(name="strides", type=7, ints=[2])
    >>> node = SimpleNamespace(op_type="ConvTranspose", input=["x", "W"], attribute=[strides])
    >>> op = pxd.convert.from_onnx(node, {"W": np.array([[[1.0, 10.0, 100.0]]])})
    >>> op(np.array([[1.0, 2.0]]))
    array([[  1.,  10., 102.,  20., 200.]])
    """
    what = "an ONNX node ConvTranspose or Conv"
    op_type = attribute(node, "op_type", what)
    if op_type not in KNOWN:
        raise ValueError(f"node must be {what}, not {_arguments.show(op_type)}")
    names, known = list(attribute(node, "input", what)), _initializer_arrays(initializers)
    found = []
    for name, role in zip(names[1:], ("weight", "bias"), strict=False):
        if name and name not in known:
            raise ValueError(
                f"the {role} {name!r} of the node must be among the initializers, which are "
                f"{_arguments.show(sorted(known))}: a {role} that the graph computes is no constant"
            )
        found.append(known[name] if name else None)
    if not found or found[0] is None:
        raise ValueError(f"node must have a weight, and has the inputs {_arguments.show(names)}")
    return make_operator(
        op_type, attributes(node), found[0], found[1] if len(found) > 1 else None, input_size
    )


def _initializer_arrays(initializers: Any) -> dict[str, NDArray[Any]]:
    """Return initializers, in any form that `from_onnx` takes, as arrays by name."""
    if isinstance(initializers, Mapping):
        named: Iterable[tuple[Any, Any]] = initializers.items()
    elif isinstance(initializers, Iterable) and not isinstance(initializers, (str, bytes)):
        named = [(attribute(each, "name", "a TensorProto"), each) for each in initializers]
    else:
        raise TypeError(
            "initializers must be a mapping from names to arrays or TensorProtos, or an iterable of "
            f"TensorProtos, not {_arguments.show(initializers)} ({type(initializers).__name__})"
        )
    return {
        str(name): to_array(value, f"initializer {name!r}")
        if is_tensor(value)
        else array(value, f"initializer {name!r}")
        for name, value in named
    }


def make_operator(
    op_type: str,
    given: Mapping[str, Any],
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    input_size: int | Sequence[int] | None = None,
) -> ConvTranspose | Conv:
    """Return the operator of a node with these attributes."""
    unknown = sorted(set(given) - set(KNOWN[op_type]))
    if unknown:
        raise ValueError(f"{op_type} has no attribute {unknown[0]!r}: there are {', '.join(KNOWN[op_type])}")
    if not 3 <= weight.ndim <= 5:
        raise ValueError(f"weight must have 3, 4 or 5 axes, not {weight.ndim}: its shape is {weight.shape}")
    rank = weight.ndim - 2
    auto_pad = given.get("auto_pad", "NOTSET")
    if auto_pad not in AUTO_PADS:
        raise ValueError(f"auto_pad must be one of {AUTO_PADS}, not {_arguments.show(auto_pad)}")
    kernel = given.get("kernel_shape", weight.shape[2:])
    if tuple(kernel) != weight.shape[2:]:
        raise ValueError(f"kernel_shape={kernel} must be that of the weight, {weight.shape[2:]}")
    arguments: dict[str, Any] = {
        "stride": per_axis(given.get("strides", 1), "strides", rank),
        "dilation": per_axis(given.get("dilations", 1), "dilations", rank),
        "groups": given.get("group", 1),
    }
    pads = _arguments.integers(given.get("pads", (0,) * 2 * rank), "pads")
    if isinstance(pads, int) or len(pads) != 2 * rank:
        raise ValueError(f"pads must have {2 * rank} entries, all begins and then all ends, not {pads}")
    pairs = tuple(zip(pads[:rank], pads[rank:], strict=True))
    if op_type == "Conv":
        word = {"VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}.get(auto_pad)
        return Conv(weight, bias, padding=pairs if word is None else word, **arguments)
    shape = given.get("output_shape")
    if shape is not None and input_size is None:
        raise ValueError(
            f"input_size must be given: with output_shape={shape} it depends on it what the node crops"
        )
    sizes = per_axis(1 if input_size is None else input_size, "input_size", rank)
    extra = per_axis(given.get("output_padding", 0), "output_padding", rank, 0)
    shapes = (None,) * rank if shape is None else per_axis(shape, "output_shape", rank)
    crops = tuple(
        onnx_crop(
            *(sizes[axis], weight.shape[2 + axis], arguments["stride"][axis], arguments["dilation"][axis]),
            pads=pairs[axis],
            output_padding=extra[axis],
            auto_pad=auto_pad,
            output_shape=shapes[axis],
        )
        for axis in range(rank)
    )
    return ConvTranspose(weight, bias, padding=crops, **arguments)


def load_onnx(source: Any) -> OnnxModel:
    """Load an ONNX model that runs on NumPy and this package alone.

    Convolutions and their transposes are computed here, with weights that are packed once; all other nodes by
    the evaluator of the package onnx, which knows every operator of ONNX. Activations and normalisations are
    a few passes over an array there; pooling and resizing are slow.

    Parameters
    ----------
    source : str, os.PathLike, bytes or onnx.ModelProto
        A file, its content, or a model.

    Returns
    -------
    OnnxModel
        Called with arrays in the order of its ``inputs``, or by their names.

    Raises
    ------
    ImportError
        If the package onnx is not installed.
    ValueError
        If it is no model, or has a node that the evaluator does not know; the message says which.

    See Also
    --------
    from_onnx : A single node, without onnx.

    Examples
    --------
    >>> import pyx_deconv as pxd
    >>> model = pxd.convert.load_onnx("generator.onnx")       # doctest: +SKIP
    >>> image = model(latent)                                 # doctest: +SKIP
    >>> image = model(z=latent)                               # doctest: +SKIP
    """
    try:
        from pyx_deconv.convert._onnx_model import OnnxModel
    except ImportError as error:
        raise ImportError("load_onnx needs the package onnx: pip install onnx") from error
    return OnnxModel(source)


def to_onnx(op: ConvTranspose | Conv) -> Exported:
    """Return the initializers and the attributes of the ONNX node that does the same.

    Parameters
    ----------
    op : ConvTranspose or Conv
        Whatever its data_format: the node takes (N, C, *size).

    Returns
    -------
    Exported
        ``weights``, a dict with "weight" and, if there is one, "bias", the second and third input of the
        node; ``settings``, its attributes. Its op_type is the name of the operator's class.

    Raises
    ------
    ValueError
        If there is no such node: ONNX knows no complex weights, no negative pads, and no output_padding as
        large as stride and dilation.

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> op = pxd.ConvTranspose(np.ones((1, 1, 3)), stride=2, padding=((1, 0),))
    >>> pxd.convert.to_onnx(op).settings["pads"]
    [1, 0]
    """
    described = describe(op)
    if op.weight.dtype.kind in "biuc":
        raise ValueError(
            f"weight is of dtype {op.weight.dtype}, and ONNX' {described.name} takes floating numbers only"
        )
    settings: dict[str, Any] = {
        "kernel_shape": list(described.kernel),
        "strides": list(described.stride),
        "dilations": list(described.dilation),
        "group": described.groups,
    }
    if described.crops is None:
        settings["auto_pad"] = (described.same or "same_upper").upper()
    else:
        settings |= _pads(described, described.crops)
    return Exported(named(op.weight, op.bias), settings)


def _pads(described: Described, crops: Sequence[Pair]) -> dict[str, Any]:
    """Pads, and output_padding where the window reaches beyond the end."""
    extra = [max(-end, 0) if described.transposed else 0 for _, end in crops]
    for axis, (begin, end) in enumerate(crops):
        largest = max(described.stride[axis], described.dilation[axis]) - 1
        if begin < 0 or end + extra[axis] < 0 or extra[axis] > largest:
            limit = f", and output_padding at most {largest} here" if described.transposed else ""
            raise ValueError(
                f"the padding {(begin, end)} on axis {axis} cannot be expressed: ONNX has pads >= 0{limit}"
            )
    ends = [end + more for (_, end), more in zip(crops, extra, strict=True)]
    settings: dict[str, Any] = {"pads": [begin for begin, _ in crops] + ends}
    if any(extra):
        settings["output_padding"] = extra
    return settings
