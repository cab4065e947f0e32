"""Which source pixel an output meets through which tap; how weights are ordered and combined for that.

A scatter or a gather along one axis is a `Direction`. Its phases may be computed side by side (`fans`), its
outputs in pairs (`saved_by_pairs`); `slots` says in which order the weights are packed.
"""

from __future__ import annotations

from collections import defaultdict
from math import gcd, prod
from typing import TYPE_CHECKING, NamedTuple

from .plan import Tile, ceil_div, round_up

if TYPE_CHECKING:
    from ..geometry import Axis

Tap = tuple[int, int]  # index, offset

APART = 12  # outputs of a phase at least, where dilated taps make phases of every so many


class Phase(NamedTuple):
    """Outputs first, first + step, ... of one axis, and the taps that reach them, by ascending offset."""

    first: int
    outputs: int
    taps: list[Tap]


class Direction(NamedTuple):
    """One spatial axis of a correlation: target[first + step*u] sums source[source_step*u + offset]."""

    kernel: int
    source_size: int
    source_step: int
    step: int
    phases: list[Phase]
    gaps: bool  # whether there are outputs in no phase, because no tap reaches them

    @property
    def outputs(self) -> int:
        """Outputs of the largest phase."""
        return max(phase.outputs for phase in self.phases)


def scatter(axis: Axis) -> Direction:
    """Fine outputs j = first + stride*u from coarse inputs i = u + offset, for each output phase."""
    # A single input pixel is never a stride away from another; a stride of K leaves a phase at most one tap.
    stride = axis.stride if axis.coarse > 1 else (axis.kernel - 1) * axis.dilation + 1
    taps = defaultdict(list)
    for t in reversed(range(axis.kernel)):
        taps[t * axis.dilation % stride].append(t)
    phases = []
    for phase, members in taps.items():  # a phase without taps is a gap: there can be 2**31 of them
        first = (phase - axis.begin) % stride
        outputs = ceil_div(axis.fine - first, stride)
        offsets = [(t, (first + axis.begin - t * axis.dilation) // stride) for t in members]
        reached = [(t, offset) for t, offset in offsets if offset < axis.coarse and offset + outputs > 0]
        if reached and outputs > 0:
            phases.append(Phase(first, outputs, reached))
    return Direction(
        axis.kernel, axis.coarse, 1, stride, sorted(phases), len(phases) < min(stride, axis.fine)
    )


def gather(axis: Axis) -> Direction:
    """Coarse outputs i from fine inputs j = stride*i + offset: one phase with every tap."""
    taps = [(t, t * axis.dilation - axis.begin) for t in range(axis.kernel)]
    last = (axis.coarse - 1) * axis.stride
    return Direction(
        axis.kernel,
        axis.fine,
        axis.stride,
        1,
        [Phase(0, axis.coarse, [(t, o) for t, o in taps if o < axis.fine and o + last >= 0])],
        False,
    )


ABSENT = Direction(1, 1, 1, 1, [Phase(0, 1, [(0, 0)])], False)  # an axis that a 1-D or 2-D map does not have


class Shapes(NamedTuple):
    """What is correlated. Channels are those of a group, counted in parts."""

    directions: tuple[Direction, ...]
    batch: int
    groups: int
    parts: int
    source_channels: int
    target_channels: int
    tile: Tile

    @property
    def spatial(self) -> tuple[Direction, Direction, Direction]:
        """Three axes, whether the maps have them or not."""
        z, y, x = [ABSENT] * (3 - len(self.directions)) + list(self.directions)
        return z, y, x


def inside(directions: tuple[Direction, ...]) -> float:
    """Which part of the outputs of a gather with a stride all taps lead into the source; else nothing."""
    share = 1.0
    for direction in directions:
        step, (_, outputs, taps) = direction.source_step, direction.phases[0]
        if step == 1 or not taps:
            return 0
        first, last = ceil_div(-taps[0][1], step), (direction.source_size - 1 - taps[-1][1]) // step
        share *= max(0, min(last + 1, outputs) - max(first, 0)) / outputs
    return share


def regrouped(direction: Direction) -> Direction:
    """The same with outputs grouped so that taps of a phase meet neighbours among its pixels, as pairs need.

    Dilated taps meet pixels that are further apart than those of neighbouring outputs.
    """
    step = direction.source_step
    distance = gcd(*(offset - phase.taps[0][1] for phase in direction.phases for _, offset in phase.taps))
    each = distance // gcd(distance, step)
    if each < 2 or direction.outputs < APART * each:
        return direction
    phases = [
        Phase(
            phase.first + i * direction.step,
            ceil_div(phase.outputs - i, each),
            [(tap, offset + i * step) for tap, offset in phase.taps],
        )
        for phase in direction.phases
        for i in range(each)
    ]
    return direction._replace(source_step=each * step, step=each * direction.step, phases=sorted(phases))


class Fan(NamedTuple):
    """Phases of one axis that are computed side by side: their outputs base + step*q + f, f < step."""

    base: int
    size: int
    places: list[tuple[int, int]]  # of each tap of the kernel: its slot, and f


def fan_out(direction: Direction) -> tuple[Direction, Fan] | None:
    """All phases of one axis as one, where each has taps at the same distances.

    Outputs u of a phase whose first offset is o meet the pixels u + o, u + o + 1, ...: counted from q = u + o
    (less the smallest of them), the taps of all phases have the same offsets.
    """
    if direction.step == 1 or len(direction.phases) < direction.step:
        return None
    taps = len(direction.phases[0].taps)
    offsets = [[offset for _, offset in phase.taps] for phase in direction.phases]
    distances = {tuple(offset - each[0] for offset in each) for each in offsets}
    if len(distances) > 1:
        return None
    if taps * direction.step != direction.kernel:  # taps that no output meets
        return None
    low = min(each[0] for each in offsets)
    firsts = [phase.first - direction.step * (phase.taps[0][1] - low) for phase in direction.phases]
    base = min(firsts)
    if max(firsts) - base >= direction.step:  # dilated: they do not follow each other
        return None
    places = [(0, 0)] * direction.kernel
    for phase, first in zip(direction.phases, firsts, strict=True):
        for slot, (tap, _) in enumerate(phase.taps):
            places[tap] = (slot, first - base)
    positions = max(phase.outputs + phase.taps[0][1] - low for phase in direction.phases)
    common = [(slot, offset + low - offsets[0][0]) for slot, offset in enumerate(offsets[0])]
    whole = Direction(
        taps, direction.source_size, 1, direction.step, [Phase(0, positions, common)], direction.gaps
    )
    return whole, Fan(base, direction.step, places)


def fans(shapes: Shapes) -> tuple[Shapes, tuple[Fan | None, ...]]:
    """Compute phases side by side, as if they were channels, where this fills the panels better."""
    spatial, channels, unit = shapes.spatial, shapes.target_channels, shapes.tile.unit
    merged = [fan_out(direction) for direction in spatial]
    if not any(merged):
        return shapes, (None,) * 3
    chosen = tuple(found[0] if found else direction for found, direction in zip(merged, spatial, strict=True))
    size = prod(found[1].size for found in merged if found)

    def cost(directions: tuple[Direction, ...], channels: int) -> int:
        outputs = prod(sum(phase.outputs for phase in direction.phases) for direction in directions)
        return outputs * round_up(channels, unit)

    depth = shapes.source_channels * prod(len(direction.phases[0].taps) for direction in spatial)
    if (
        size == 1
        or min(depth, size * channels) < unit
        or cost(chosen, channels * size) > 0.9 * cost(spatial, channels)
    ):
        return shapes, (None,) * 3
    fan = tuple(found[1] if found else None for found in merged)
    return shapes._replace(directions=chosen, target_channels=channels * size), fan


def unit_of(elements: list[tuple[tuple[int, ...], int]]) -> int:
    """How many outputs of a phase are computed together: two where they are in pairs."""
    return min(2, max((len(members) for members, _ in elements), default=1))


class Slots(NamedTuple):
    """The weights of one axis in the order in which they are packed: taps phase by phase, then sums of two.

    An element is what is multiplied together: (slots, offset of the first pixel). One slot is a tap; the same
    one twice a tap that serves both outputs of a pair; three are a tap, the sum of two taps, the other tap.
    A phase without the last of these is not computed in pairs.
    """

    taps: list[int]  # of each slot that is a tap: those that no output meets come last
    sums: list[tuple[int, int]]  # the two slots of each slot that is a sum
    rows: list[Tap]  # slot and offset of the taps, phase by phase
    firsts: list[int]  # the first row of each phase, and the end of the last
    elements: list[list[tuple[tuple[int, ...], int]]]  # of each phase

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.taps) + len(self.sums)

    def met(self, direction: Direction) -> int:
        """How many source pixels its elements meet, in whole units of outputs."""
        return sum(
            len(elements) * round_up(phase.outputs, unit_of(elements))
            for elements, phase in zip(self.elements, direction.phases, strict=True)
        )


def slots(direction: Direction, paired: bool) -> Slots:
    """Order the weights of one axis, for outputs one by one or in pairs."""
    met = dict.fromkeys(t for phase in direction.phases for t, _ in phase.taps)
    every = [*met, *(t for t in range(direction.kernel) if t not in met)]
    slot_of = {t: slot for slot, t in enumerate(every)}
    sums: dict[tuple[int, int], int] = {}
    rows: list[Tap] = []
    firsts, elements = [0], []
    for phase in direction.phases:
        rows += [(slot_of[t], offset) for t, offset in phase.taps]
        left = {offset: slot for slot, offset in rows[firsts[-1] :]}
        firsts.append(len(rows))
        members: list[tuple[tuple[int, ...], int]] = []
        joins = paired and any(offset + direction.source_step in left for offset in left)
        while left:
            offset, slot = next(iter(left.items()))
            del left[offset]
            other = left.pop(offset + direction.source_step, None) if joins else None
            if other is not None:
                between = sums.setdefault((slot, other), len(every) + len(sums))
                members.append(((slot, between, other), offset))
            else:
                members.append(((slot, slot) if joins else (slot,), offset))
        elements.append(members)
    return Slots(every, list(sums), rows, firsts, elements)


def products_of(direction: Direction, paired: bool) -> int:
    """How many products the outputs of one channel have along one axis."""
    return sum(
        sum(len(members) for members, _ in elements) * ceil_div(phase.outputs, unit_of(elements))
        for elements, phase in zip(slots(direction, paired).elements, direction.phases, strict=True)
    )


def products_met(direction: Direction, paired: bool) -> int:
    """The same without those that pairs leave out: with pixels beside the source, or of no output."""
    step, count = direction.source_step, 0
    for elements, phase in zip(slots(direction, paired).elements, direction.phases, strict=True):
        unit = unit_of(elements)
        for members, offset in elements:
            # Pixels of the source are those from low to high, in steps from the first output's.
            low, high = ceil_div(-offset, step), (direction.source_size - 1 - offset) // step + 1
            for point in range(len(members)):
                first = min(point, 1)
                last = first + (len(members) == 3 and point != 1)
                units = ceil_div(phase.outputs, unit)
                if unit > 1 and point == len(members) - 1:
                    units = phase.outputs // 2
                begin = max(0, ceil_div(low - last, unit))
                count += max(0, min(units, ceil_div(high - first, unit)) - begin)
    return count


def saved_by_pairs(spatial: tuple[Direction, ...]) -> tuple[bool, ...]:
    """Along which axes there are a tenth fewer products with outputs in pairs."""
    return tuple(products_of(each, True) < 0.9 * products_of(each, False) for each in spatial)
