"""Lesson 7: exercises about the uses of one operation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lessons.exercises import Exercise

__all__ = ["between", "overlap_add", "stamp"]

Array = NDArray[np.float64]


# --- between ----------------------------------------------------------------------------


def _line(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "x": rng.normal(size=int(rng.integers(1, 7))),
        "factor": int(rng.integers(1, 6)),
    }


def _between(x: Array, factor: int) -> Array:
    places = np.arange((len(x) - 1) * factor + 1) / factor
    return np.interp(places, np.arange(len(x)), x)


between = Exercise(
    _line,
    _between,
    (
        "The kernel is a triangle of 2 * factor - 1 taps with 1 in the middle.",
        "Its taps: 1 - abs(t) / factor for t from -(factor - 1) to factor - 1.",
        "The triangle of the first number begins factor - 1 places before it: crop that "
        "much at both ends.",
    ),
)


# --- overlap_add ------------------------------------------------------------------------


def _frames(rng: np.random.Generator) -> dict[str, Any]:
    count, length = (int(number) for number in rng.integers((1, 2), (6, 9)))
    return {
        "frames": rng.normal(size=(count, length)),
        "hop": int(rng.integers(1, length + 1)),
    }


def _overlap_add(frames: Array, hop: int) -> Array:
    count, length = frames.shape
    total = np.zeros((count - 1) * hop + length)
    for number, frame in enumerate(frames):
        total[number * hop : number * hop + length] += frame
    return total


overlap_add = Exercise(
    _frames,
    _overlap_add,
    (
        "Frame number i begins at place i * hop; overlapping places add up.",
        "With conv_transpose: the stride is hop, the samples of a frame are channels, "
        "frames.T is the input.",
        "The kernel of channel t is 1 at place t and 0 elsewhere: the weight is "
        "np.eye(length)[:, None].",
    ),
)


# --- stamp ------------------------------------------------------------------------------


def _stars(rng: np.random.Generator) -> dict[str, Any]:
    cells, stride, stars = (int(number) for number in rng.integers((2, 2, 1), (6, 5, 5)))
    return {
        "positions": rng.integers(0, cells * stride, stars),
        "fluxes": rng.uniform(1, 9, stars),
        "profile": rng.random(int(rng.integers(1, 6))),
        "cells": cells,
        "stride": stride,
    }


def _stamp(
    positions: NDArray[np.int64], fluxes: Array, profile: Array, cells: int, stride: int
) -> Array:
    line = np.zeros(cells * stride + len(profile) - 1)
    for position, flux in zip(positions, fluxes, strict=True):
        line[position : position + len(profile)] += flux * profile
    return line


stamp = Exercise(
    _stars,
    _stamp,
    (
        "A position is stride * cell + offset: divmod(position, stride).",
        "Two stars may have the same position: their light adds up.",
        "With conv_transpose: offset o is a channel, whose kernel is o zeros, the "
        "profile, and stride - 1 - o zeros. A loop over the stars is right as well.",
    ),
)
