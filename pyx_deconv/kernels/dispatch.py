"""Which compiled variant is used, and its functions for each dtype."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

try:
    from . import plan, portable
except ImportError as error:
    raise ImportError(
        "the kernels are not compiled: install pyx_deconv (pip install .) and run it outside its sources"
    ) from error

# The processor's level that each needs, least first; CONTRIBUTING.md says what else a new one takes.
LEVELS = {"portable": 0, "x86_64_v2": 2, "x86_64_v3": 3, "x86_64_v4": 4, "x86_64_v4_bf16": 5}
DOTS = "_bf16"
VARIABLE = "PYX_DECONV_INSTRUCTION_SET"


def available_instruction_sets() -> list[str]:
    """The instruction sets that were built and that this processor has, best last."""
    level = portable.x86_64_level()
    return [name for name, least in LEVELS.items() if least <= level and find_spec(variant(name))]


def variant(name: str) -> str:
    """The compiled module of an instruction set: that for AVX-512 can also multiply bfloat16 in twos."""
    return f"{__package__}.{name.removesuffix(DOTS)}"


def _choose() -> str:
    available = available_instruction_sets()
    wanted = asked or available[-1]
    if wanted not in available:
        raise ImportError(f"{VARIABLE}={wanted!r} must be one of {', '.join(available)} on this machine")
    return wanted


class Arithmetic(NamedTuple):
    """The compiled functions for one dtype, and how its numbers lie in memory."""

    real: np.dtype[Any]  # computed in
    stored: np.dtype[Any]  # one part of a number in memory, as the compiled functions see it
    parts: int  # 2 for complex
    tile: plan.Tile
    pack_weight: Callable[..., bool]
    correlate: Callable[..., None]
    scatter_columns: Callable[..., None]
    gather_columns: Callable[..., bool]
    weight_gradient: Callable[..., None]
    pair_gradient: Callable[..., bool]
    columns_gradient: Callable[..., bool]
    lines_gradient: Callable[..., bool]
    sum_chunks: Callable[..., None]


# dtype: (number type in memory, computed in, parts); float16 and bfloat16 are seen through their bits
STORED = {
    "float32": ("float", np.float32, 1),
    "float64": ("double", np.float64, 1),
    "complex64": ("float", np.float32, 2),
    "complex128": ("double", np.float64, 2),
    "float16": ("half", np.uint16, 1),
    "bfloat16": ("bfloat", np.int16, 1),
}


def _arithmetic(engine: ModuleType, name: str) -> Arithmetic:
    c_name, stored, parts = STORED[name]
    real, c_real = (np.float64, "double") if c_name == "double" else (np.float32, "float")
    itemsize = np.dtype(real).itemsize
    return Arithmetic(
        np.dtype(real),
        np.dtype(stored),
        parts,
        plan.Tile(
            engine.tile_rows,
            engine.tall_rows,
            engine.tile_bytes // itemsize,
            engine.tile_unit // itemsize,
            itemsize,
            name == "bfloat16" and instruction_set.endswith(DOTS) and engine.in_twos,
        ),
        engine.pack_weight[f"{c_name}|{c_real}"],
        engine.correlate[f"{c_name}|{c_real}"],
        engine.scatter_columns[c_real],
        engine.gather_columns[c_real],
        engine.weight_gradient[f"{c_name}|{c_real}"],
        engine.pair_gradient[f"{c_name}|{c_real}"],
        engine.columns_gradient[f"{c_name}|{c_real}"],
        engine.lines_gradient[f"{c_name}|{c_real}"],
        engine.sum_chunks[f"{c_real}|{c_name}"],
    )


asked = os.environ.get(VARIABLE)
instruction_set = _choose()
engine = import_module(variant(instruction_set))
ARITHMETIC = {name: _arithmetic(engine, name) for name in STORED}
