"""Decoding of ONNX' TensorProto and AttributeProto by their fields, without the onnx package."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _arguments
from pyx_deconv.convert._common import narrow

__all__ = ["attributes", "is_tensor", "to_array"]

FLOAT16, BFLOAT16 = 10, 16
# TensorProto.DataType: the NumPy dtype, and the field of the values where raw_data has none.
TYPES = {
    1: ("float32", "float_data"),
    2: ("uint8", "int32_data"),
    3: ("int8", "int32_data"),
    4: ("uint16", "int32_data"),
    5: ("int16", "int32_data"),
    6: ("int32", "int32_data"),
    7: ("int64", "int64_data"),
    9: ("bool", "int32_data"),
    FLOAT16: ("float16", "int32_data"),
    11: ("float64", "double_data"),
    12: ("uint32", "uint64_data"),
    13: ("uint64", "uint64_data"),
    14: ("complex64", "float_data"),
    15: ("complex128", "double_data"),
    BFLOAT16: ("bfloat16", "int32_data"),
}
# AttributeProto.AttributeType: of those that convolutions have, the field of the value.
FIELDS = {2: "i", 3: "s", 7: "ints"}


def is_tensor(value: Any) -> bool:
    """Whether it is a TensorProto, and not an array."""
    return hasattr(value, "data_type") and hasattr(value, "dims")


def to_array(tensor: Any, name: str) -> NDArray[Any]:
    """Return the values of a TensorProto; bfloat16 as float32 where ml_dtypes is not installed."""
    data_type = tensor.data_type
    if data_type not in TYPES:
        known = ", ".join(each for each, _ in TYPES.values())
        raise ValueError(f"{name} has the data_type {data_type}, which is none of {known}")
    if getattr(tensor, "data_location", 0) == 1:
        raise ValueError(f"{name} lies in a file of its own: load the model with onnx.load, which reads it")
    shape = tuple(int(size) for size in tensor.dims)
    kind, field = TYPES[data_type]
    stored = np.dtype("uint16" if data_type in (FLOAT16, BFLOAT16) else kind)
    if tensor.raw_data:
        if len(tensor.raw_data) % stored.itemsize:
            raise ValueError(f"{name} has {len(tensor.raw_data)} bytes, which are no {kind} numbers")
        values = np.frombuffer(tensor.raw_data, stored.newbyteorder("<")).astype(stored)
    elif stored.kind == "c":
        parts = np.array(getattr(tensor, field), f"f{stored.itemsize // 2}")  # real, imaginary, real, ...
        values = parts[: parts.size // 2 * 2].view(stored)
    else:
        values = np.array(getattr(tensor, field), np.int64 if field == "int32_data" else stored).astype(
            stored
        )
    if min(shape, default=0) < 0 or math.prod(shape) != values.size:
        raise ValueError(f"{name} of shape {_arguments.show(shape)} has {values.size} values")
    if data_type == FLOAT16:
        values = values.view(np.float16)
    elif data_type == BFLOAT16:
        values = narrow((values.astype(np.uint32) << 16).view(np.float32))
    return values.reshape(shape)


def attributes(node: Any) -> dict[str, Any]:
    """Return the attributes of a convolution's NodeProto: integers, strings and tuples of integers."""
    found: dict[str, Any] = {}
    for each in node.attribute:
        if each.type not in FIELDS:
            raise ValueError(
                f"attribute {each.name!r} of {node.op_type} is of type {each.type}, "
                "and must be an integer (2), a string (3) or integers (7)"
            )
        value = getattr(each, FIELDS[each.type])
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        found[each.name] = value if isinstance(value, int | str) else tuple(value)
    return found
