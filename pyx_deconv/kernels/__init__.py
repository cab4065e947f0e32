"""The compiled kernels: ``scatter``, ``gather`` and ``weight_gradient`` on checked arrays.

plan.py                 how the work is cut, from shapes alone
engine.pyx              the loops, compiled once per instruction set (baseline, x86_64_v3, x86_64_v4):
  pixels.pxi              blocks of pixels, and packing them
  correlation.pxi         forward passes and input gradients
  weight_gradient.pxi     weight gradients
tile.h, tile_body.h     the register tile
storage.h               float16 and bfloat16
platform.h              what the processor and the build can do

The best instruction set that the processor has is chosen at import; the environment variable
PYX_DECONV_INSTRUCTION_SET names another.

Nothing is checked here. Arrays are aligned, native-endian and of one dtype, seen as (batch, channels,
*spatial) with any strides. ``coarse`` is the small side of the transposed convolution, ``fine`` the large
one, and per axis the coarse pixel i meets the fine pixel j = i*stride + t*dilation - begin through tap t of
the weight (coarse channels, fine channels // groups, *kernel).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from math import prod
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

try:
    from . import baseline, plan
except ImportError as error:
    raise ImportError(
        "the kernels are not compiled: install pyx_deconv (pip install .) and run it outside its sources"
    ) from error

if TYPE_CHECKING:
    from ..geometry import Axis

    Array = NDArray[Any]
    Axes = tuple[Axis, ...]

LEVELS = {"baseline": 0, "x86_64_v3": 3, "x86_64_v4": 4}  # the processor's level that each needs, least first


def available_instruction_sets() -> list[str]:
    """The instruction sets that were built and that this processor has, best last."""
    level = baseline.x86_64_level()
    names = [name for name, least in LEVELS.items() if least <= level or not least]
    return [name for name in names if _built(name)]


def _built(name: str) -> bool:
    try:
        import_module(f"{__name__}.{name}")
    except ModuleNotFoundError:
        return False
    return True


def _choose() -> str:
    available = available_instruction_sets()
    wanted = os.environ.get("PYX_DECONV_INSTRUCTION_SET") or available[-1]
    if wanted not in available:
        raise ImportError(
            f"PYX_DECONV_INSTRUCTION_SET={wanted!r} must be one of {', '.join(available)} on this machine"
        )
    return wanted


class Arithmetic(NamedTuple):
    """The compiled functions for one dtype, and how its numbers lie in memory."""

    real: np.dtype[Any]  # computed in
    stored: np.dtype[Any]  # one part of a number in memory, as the compiled functions see it
    parts: int  # 2 for complex
    tile: plan.Tile
    pack_weight: Callable[..., bool]
    correlate: Callable[..., None]
    weight_gradient: Callable[..., None]
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
        plan.Tile(engine.tile_rows, engine.tile_bytes // itemsize, itemsize),
        engine.pack_weight[f"{c_name}|{c_real}"],
        engine.correlate[f"{c_name}|{c_real}"],
        engine.weight_gradient[f"{c_name}|{c_real}"],
        engine.sum_chunks[f"{c_real}|{c_name}"],
    )


instruction_set = _choose()
engine = import_module(f"{__name__}.{instruction_set}")
ARITHMETIC = {name: _arithmetic(engine, name) for name in STORED}

# (batch, channels, *spatial) as (batch, channels, z, y, x, part)
_SIX = {rank: (slice(None), slice(None), *(None,) * (3 - rank), ..., None) for rank in (1, 2, 3)}


def _map(array: Array, stored: np.dtype[Any]) -> Array:
    return array[_SIX[array.ndim - 2]].view(stored)


def _weight(array: Array, groups: int, stored: np.dtype[Any]) -> Array:
    # (group, coarse, fine, z, y, x, part)
    shape = (groups, array.shape[0] // groups, array.shape[1], *(1,) * (5 - array.ndim), *array.shape[2:], 1)
    return array.reshape(shape).view(stored)


def _in_place(array: Array, arithmetic: Arithmetic) -> bool:
    """Whether the channels of a six-axis map lie side by side as the tile reads them."""
    return (
        arithmetic.real == arithmetic.stored
        and array.strides[1] == arithmetic.parts * arithmetic.real.itemsize
        and (arithmetic.parts == 1 or array.strides[5] == arithmetic.real.itemsize)
    )


def _worth(threads: int, tasks: int, multiplications: int) -> int:
    return max(1, min(threads, tasks, multiplications // plan.MULTIPLICATIONS))


@lru_cache(maxsize=1024)
def _correlation_plan(
    scatters: bool,
    axes: Axes,
    batch: int,
    groups: int,
    source_channels: int,
    target_channels: int,
    in_place: bool,
    dtype: str,
) -> tuple[Any, bool, int]:
    """Return the plan (None: no tap reaches any output), whether outputs lie outside it, multiplications."""
    arithmetic = ARITHMETIC[dtype]
    directions = tuple((plan.scatter if scatters else plan.gather)(axis) for axis in axes)
    if not all(direction.phases for direction in directions):
        return None, True, 0
    parts = arithmetic.parts
    fields = plan.correlation(
        directions,
        batch,
        groups,
        parts,
        source_channels // groups * parts,
        target_channels // groups * parts,
        in_place,
        arithmetic.tile,
    )
    return (
        engine.CorrelationPlan(fields),
        any(direction.gaps for direction in directions),
        _multiplications(axes, batch, groups, source_channels, target_channels, parts),
    )


def _multiplications(
    axes: Axes, batch: int, groups: int, source_channels: int, target_channels: int, parts: int
) -> int:
    return (
        batch
        * source_channels
        * target_channels
        // groups
        * parts
        * parts
        * prod(axis.coarse * axis.kernel for axis in axes)
    )


def _correlate(
    scatters: bool,
    source: Array,
    weight: Array,
    bias: Array | None,
    target: Array,
    axes: Axes,
    groups: int,
    threads: int,
    conjugate: bool,
) -> None:
    dtype = target.dtype.name
    arithmetic = ARITHMETIC[dtype]
    real, stored = arithmetic.real, arithmetic.stored
    parts = arithmetic.parts
    source_map = _map(source, stored)
    # First of all, so that a kernel too large to pack fails before its taps are counted out.
    packed = np.empty(
        plan.packed_size(
            groups,
            prod(weight.shape[2:]),
            source.shape[1] // groups * parts,
            target.shape[1] // groups * parts,
            arithmetic.tile,
        ),
        real,
    )
    cut, gaps, multiplications = _correlation_plan(
        scatters,
        axes,
        len(source),
        groups,
        source.shape[1],
        target.shape[1],
        _in_place(source_map, arithmetic),
        dtype,
    )
    if gaps:
        target[...] = 0 if bias is None else bias.reshape(-1, *(1,) * len(axes))
    if cut is None:
        return
    threads = _worth(threads, cut.tasks, multiplications)
    weights = _weight(
        weight, groups, stored
    )  # (group, coarse, fine, ...): a scatter's target is the fine map
    finite = arithmetic.pack_weight(
        cut, weights.swapaxes(1, 2) if scatters else weights, conjugate, packed, threads
    )
    work = np.empty((threads, cut.work_size), real)
    work[:, : cut.zeros] = 0
    shift = np.zeros(target.shape[1] * parts, real)
    if bias is not None:
        shift[:] = bias.astype(target.dtype if parts == 2 else real).view(real)
    arithmetic.correlate(cut, source_map, packed, finite, shift, _map(target, stored), work, threads)


def scatter(
    coarse: Array,
    weight: Array,
    bias: Array | None,
    fine: Array,
    axes: Axes,
    groups: int,
    threads: int,
    conjugate: bool = False,
) -> None:
    """Fill ``fine``: the transposed convolution of ``coarse``, by output phases."""
    _correlate(True, coarse, weight, bias, fine, axes, groups, threads, conjugate)


def gather(
    fine: Array,
    weight: Array,
    bias: Array | None,
    coarse: Array,
    axes: Axes,
    groups: int,
    threads: int,
    conjugate: bool = False,
) -> None:
    """Fill ``coarse``: the strided convolution of ``fine``."""
    _correlate(False, fine, weight, bias, coarse, axes, groups, threads, conjugate)


@lru_cache(maxsize=1024)
def _weight_gradient_plan(
    axes: Axes,
    batch: int,
    groups: int,
    coarse_channels: int,
    fine_channels: int,
    in_place: tuple[bool, bool],
    dtype: str,
) -> tuple[Any, int, int]:
    arithmetic = ARITHMETIC[dtype]
    parts = arithmetic.parts
    fields = plan.weight_gradient(
        axes,
        batch,
        groups,
        parts,
        coarse_channels // groups * parts,
        fine_channels // groups * parts,
        in_place,
        arithmetic.tile,
    )
    return (
        engine.WeightGradientPlan(fields),
        fields.chunks[0],
        _multiplications(axes, batch, groups, coarse_channels, fine_channels, parts),
    )


def weight_gradient(coarse: Array, fine: Array, weight: Array, axes: Axes, groups: int, threads: int) -> None:
    """Fill the C-contiguous ``weight`` with the sum over pixels of conj(coarse) * fine."""
    dtype = weight.dtype.name
    arithmetic = ARITHMETIC[dtype]
    real, stored = arithmetic.real, arithmetic.stored
    coarse_map, fine_map = _map(coarse, stored), _map(fine, stored)
    whole_vectors = fine.shape[1] // groups * arithmetic.parts % arithmetic.tile.lanes == 0
    cut, chunks, multiplications = _weight_gradient_plan(
        axes,
        len(coarse),
        groups,
        coarse.shape[1],
        fine.shape[1],
        (_in_place(coarse_map, arithmetic), whole_vectors and _in_place(fine_map, arithmetic)),
        dtype,
    )
    threads = _worth(threads, cut.tasks, multiplications)
    work = np.empty((threads, cut.work_size), real)
    flat = weight.reshape(-1).view(stored)
    alone = chunks == 1 and real == stored
    partial = flat[None] if alone else np.empty((chunks, flat.size), real)
    arithmetic.weight_gradient(cut, coarse_map, fine_map, partial, work, threads)
    if not alone:
        arithmetic.sum_chunks(partial, flat, threads)
