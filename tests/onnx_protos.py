"""Plain objects with the fields that ONNX' messages have, so that reading them is tested without onnx."""

from types import SimpleNamespace

import numpy as np

DATA_TYPES = {
    "float32": 1,
    "uint8": 2,
    "int8": 3,
    "int32": 6,
    "int64": 7,
    "bool": 9,
    "float16": 10,
    "float64": 11,
    "complex64": 14,
    "complex128": 15,
}
FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def tensor(name, array):
    """A TensorProto."""
    array = np.asarray(array)
    fields = dict.fromkeys(FIELDS, ()) | {"raw_data": array.tobytes()}
    return SimpleNamespace(
        name=name, dims=array.shape, data_type=DATA_TYPES[array.dtype.name], data_location=0, **fields
    )


def attribute(name, value):
    """An AttributeProto."""
    if isinstance(value, np.ndarray):
        return SimpleNamespace(name=name, type=4, t=tensor("", value))
    if isinstance(value, str):
        return SimpleNamespace(name=name, type=3, s=value.encode())
    several = isinstance(value, (list, tuple))
    if isinstance(value[0] if several else value, float):
        return SimpleNamespace(
            name=name, **({"type": 6, "floats": value} if several else {"type": 1, "f": value})
        )
    return SimpleNamespace(name=name, **({"type": 7, "ints": value} if several else {"type": 2, "i": value}))


def node(op_type, inputs, outputs, *, name="", domain="", **attributes):
    """A NodeProto; inputs and outputs are names with blanks between them, "-" for one left out."""
    return SimpleNamespace(
        op_type=op_type,
        name=name,
        domain=domain,
        input=["" if each == "-" else each for each in inputs.split()],
        output=outputs.split(),
        attribute=[attribute(each, value) for each, value in attributes.items() if value is not None],
    )


class _Message(SimpleNamespace):
    def HasField(self, name):
        return name in vars(self)


def value(name, shape=None, elem_type=1):
    """A ValueInfoProto; an axis is a size, a name, or None."""
    tensor_type = _Message(elem_type=elem_type)
    if shape is not None:
        sizes = [_Message(dim_value=n) if isinstance(n, int) else _Message(dim_param=n or "") for n in shape]
        tensor_type.shape = SimpleNamespace(dim=sizes)
    return SimpleNamespace(name=name, type=SimpleNamespace(tensor_type=tensor_type))


def model(nodes, constants=None, inputs="x", outputs="y", *, opset=20, functions=()):
    """A ModelProto; inputs are names or values."""
    values = [value(each) for each in inputs.split()] if isinstance(inputs, str) else inputs
    graph = SimpleNamespace(
        node=nodes,
        initializer=[tensor(name, array) for name, array in (constants or {}).items()],
        sparse_initializer=[],
        input=values,
        output=[value(each) for each in outputs.split()] if isinstance(outputs, str) else outputs,
    )
    imports = [SimpleNamespace(domain="", version=opset)]
    return SimpleNamespace(graph=graph, opset_import=imports, functions=functions)
