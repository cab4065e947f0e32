"""The layers that are measured, as data."""

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

__all__ = ["FAMILIES", "OPERATIONS", "Case", "Layer", "load_layers"]

FAMILIES = ("dense", "few channels", "grouped", "3-D", "dilated", "dtype", "tiny")
OPERATIONS = ("forward", "grad_input", "grad_weight")


@dataclass(frozen=True)
class Layer:
    """A transposed convolution, in PyTorch's convention."""

    name: str
    net: str
    family: str
    N: int
    C_in: int
    C_out: int
    spatial: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    out_spatial: tuple[int, ...]
    dtype: str = "float32"
    quick: bool = False

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> "Layer":
        """Read one row of ``layers.json``, or what `as_dict` made."""
        layer = cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in row.items()})
        size_rule = tuple(
            full - 2 * p + op
            for full, p, op in zip(layer.full, layer.padding, layer.output_padding, strict=True)
        )
        if layer.out_spatial != size_rule or layer.family not in FAMILIES:
            raise ValueError(f"{layer.name}: out_spatial must be {size_rule}, family one of {FAMILIES}")
        return layer

    def as_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads."""
        return asdict(self)

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.spatial)

    @property
    def extent(self) -> tuple[int, ...]:
        """The kernel's size with its dilation."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def full(self) -> tuple[int, ...]:
        """What scattering every input pixel through the kernel covers."""
        return tuple((n - 1) * s + e for n, s, e in zip(self.spatial, self.stride, self.extent, strict=True))

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Channels first."""
        return (self.N, self.C_in, *self.spatial)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Channels first."""
        return (self.N, self.C_out, *self.out_spatial)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(C_in, C_out // groups, *kernel)."""
        return (self.C_in, self.C_out // self.groups, *self.kernel)

    def lifted(self) -> "Layer":
        """Return a 1-D layer as a 2-D one with a first axis of size 1: some libraries have only these."""
        one, nought = (
            ("spatial", "kernel", "stride", "dilation", "out_spatial"),
            ("padding", "output_padding"),
        )
        axes = {name: (1, *getattr(self, name)) for name in one}
        return replace(self, **axes, **{name: (0, *getattr(self, name)) for name in nought})

    @property
    def depthwise(self) -> bool:
        """Whether every channel has a kernel of its own."""
        return self.groups == self.C_in == self.C_out > 1

    @property
    def dense(self) -> bool:
        """Whether the channels alone fill a register tile, in float32."""
        return self.groups == 1 and min(self.C_in, self.C_out) >= 64 and self.dtype == "float32"

    @cached_property
    def flop(self) -> int:
        """Operations of any of the passes: every tap counts, also those that land outside."""
        return 2 * prod(self.x_shape) * prod(self.weight_shape[1:])

    @cached_property
    def bytes(self) -> int:
        """What has to be moved at least: input, weight and output, once each."""
        itemsize = {"float64": 8, "float32": 4}.get(self.dtype, 2)
        return itemsize * (prod(self.x_shape) + prod(self.weight_shape) + prod(self.output_shape))


@dataclass(frozen=True)
class Case:
    """What is measured at one go, in one rotation of all libraries."""

    layer: Layer
    operation: str
    threads: int
    memory: str  # "fresh": the default allocator; "reused": outputs and freed blocks are used again


def load_layers() -> list[Layer]:
    """Read ``layers.json``."""
    rows = json.loads(Path(__file__).with_name("layers.json").read_text())["layers"]
    return [Layer.from_dict(row) for row in rows]
