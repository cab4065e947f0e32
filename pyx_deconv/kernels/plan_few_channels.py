"""How a correlation with few channels is cut: along lines of pixels, or across groups.

``lines.pxi`` and ``groups.pxi`` compute them.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, prod

import numpy as np

from . import plan
from .plan import Shape, Tile, block_of_groups, blocks_of, ceil_div, even, pixel_block, round_up
from .plan_across import across_cost
from .plan_correlation import (
    CorrelationFields,
    correlation,
    outputs_of,
    packed_pixels,
    products,
    tiles_cost,
)
from .taps import ABSENT, Direction

SEGMENTS = 64  # MAX_SEGMENTS of engine.pyx
PHASES = 64  # MAX_PHASES
ROWS = 4  # of target channels whose sums stay in registers
LONGEST = 512  # pixels of a line
MOST = 8192  # pixels of a block
CHANNELS = 16  # packed at a time where all are too many
NEAR_BYTES = 96 * 1024  # of L2: what a task packs and sums
BAND_BYTES = 16 * 1024  # of L1: sums of some lines, before they are stored
FAR_BYTES = 256 * 1024  # where most of that would be packed by its neighbours as well


def lines_cost(
    directions: tuple[Direction, ...],
    batch: int,
    groups: int,
    source_channels: int,
    target_channels: int,
    in_place: bool,
    tile: Tile,
) -> float:
    """How many multiplications would take as long as one sample computed so; infinite where it cannot be."""
    taps = prod(direction.kernel for direction in directions)
    listed = taps * source_channels * (np.dtype(np.intp).itemsize + target_channels * tile.itemsize)
    z, y, x = [ABSENT] * (3 - len(directions)) + list(directions)
    offsets = [offset for phase in x.phases for _, offset in phase.taps]
    if listed > NEAR_BYTES or y.source_step * x.source_step > plan.REMAINDERS or not (offsets and y.phases):
        return inf
    # Lines of a band follow each other with what lies between them, up to a whole vector.
    line = even(x.outputs, LONGEST)
    pitch = line + (max(offsets) - min(offsets)) // x.source_step
    height = min(y.outputs, band_height(len(y.phases) * len(x.phases) * target_channels * pitch, tile))
    width = round_up((height - 1) * pitch + line, tile.lanes // 2) / height * ceil_div(x.outputs, line)
    bands = outputs_of((z,)) * sum(ceil_div(phase.outputs, height) for phase in y.phases) * len(x.phases)
    # Slower than the tile; fewer rows than there can be wait for the pixels that they share.
    rows = 1.12 * (target_channels + (target_channels % ROWS > 0))
    region = FAR_BYTES // (tile.itemsize * min(source_channels, CHANNELS))
    packed = packed_pixels(
        directions,
        batch * groups,
        source_channels * target_channels,
        lambda size, most: rows_and_line(size, most, LONGEST),
        MOST,
        region,
    )
    return (
        products((z, y)) * sum(len(phase.taps) for phase in x.phases) * width * source_channels * rows
        + (plan.PACKED if x.source_step == 1 else plan.SEPARATED) * packed * source_channels
        + plan.STORED_ACROSS[in_place] * outputs_of(directions) * target_channels
        + plan.BAND_OF_SUMS * bands * ceil_div(x.outputs, line) * ceil_div(target_channels, ROWS)
    )


def band_height(line: int, tile: Tile) -> int:
    """How many lines are summed before they are stored, of so many sums each."""
    return max(1, BAND_BYTES // (tile.itemsize * line))


def fastest(
    directions: tuple[Direction, ...],
    batch: int,
    groups: int,
    parts: int,
    source_channels: int,
    target_channels: int,
    in_place: tuple[bool, bool],
    possible: tuple[bool, bool],
    tile: Tile,
) -> str:
    """Name the fastest way: "lines", pixels "across" the tile, both only if ``possible``, or "tiles"."""
    channels = source_channels, target_channels
    shapes = directions, batch, groups, *channels, in_place[1], tile
    costs = {}
    if possible[0]:
        costs["lines"] = lines_cost(*shapes)
    if possible[1]:
        costs["across"] = across_cost(*shapes)
    least = min(costs.values(), default=inf)
    # With many channels there is nothing to compare, and planning is felt in a first call.
    if least == inf or least >= tiles_cost(directions, batch, *channels, in_place, parts > 1, tile):
        return "tiles"
    return min(costs, key=costs.__getitem__)


def small_groups(
    directions: tuple[Direction, ...], groups: int, source_channels: int, target_channels: int, tile: Tile
) -> bool:
    """Whether vectors across groups are better filled, where the channels of the target lie side by side."""
    return (
        source_channels == 1
        and groups > 1
        and 4 * target_channels <= tile.lanes
        and groups * target_channels >= tile.unit
        and largest(directions) <= SEGMENTS
    )


def largest(directions: tuple[Direction, ...]) -> int:
    """How many taps a phase has, at most."""
    return prod(max(len(phase.taps) for phase in direction.phases) for direction in directions)


def rows_and_line(size: Shape, most: int, line: int) -> Shape:
    """A block of at most ``most`` pixels: as much of a line as ``line``, then rows, planes, samples."""
    x = even(size[3], max(1, min(line, most)))
    return (*pixel_block((*size[:3], 1), max(1, most // x))[:3], x)


def along_lines(
    directions: tuple[Direction, ...],
    batch: int,
    groups: int,
    parts: int,
    source_channels: int,
    target_channels: int,
    tile: Tile,
) -> CorrelationFields:
    """Sums of lines of the source. Channels are a group's, counted in parts."""
    base = correlation(
        directions,
        batch,
        groups,
        parts,
        source_channels,
        target_channels,
        False,
        False,
        tile._replace(lanes=1, unit=1),
        side_by_side=False,
        in_pairs=False,
    )
    size, step, vector = base.target_size, base.source_step, tile.lanes // 2
    phases, x_phases = base.phases[0], base.phase_count[3]
    # Phases along x are stored together.
    phase_block = (
        x_phases * even(phases // x_phases, max(1, 16 // x_phases))
        if x_phases <= PHASES
        else even(x_phases, PHASES)
    )
    reach = tuple(high - low for low, high in zip(base.low, base.high, strict=True))

    def region(block: Shape) -> int:
        planes = (block[1] - 1) * step[1] + 1 + reach[1]
        y, x = (block[axis] + reach[axis] // step[axis] for axis in (2, 3))
        return block[0] * planes * step[2] * step[3] * y * x

    def band(block: Shape) -> tuple[int, int]:
        """Lines that are summed together, and what their sums take."""
        lines = min(phase_block // x_phases or 1, base.phase_count[2]) * min(phase_block, x_phases)
        pitch = block[3] + reach[3] // step[3]
        height = even(block[2], band_height(lines * target_channels * pitch, tile))
        return height, lines * target_channels * round_up(height * pitch, vector)

    def sums(block: Shape) -> int:
        """Sums of a band, or if not all channels can be packed at a time, of all bands."""
        height, size = band(block)
        bands = block[0] * block[1] * base.phase_count[1] * ceil_div(block[2], height)
        return size * (1 if depth == source_channels else bands)

    def fitting(size_bytes: int) -> Shape:
        most = MOST
        while True:
            block = rows_and_line(size, most, LONGEST if prod(size[1:3]) > 1 else 2048)
            if (region(block) * depth + sums(block)) * tile.itemsize <= size_bytes or most <= vector:
                return block
            most //= 2

    depth = source_channels
    block = fitting(NEAR_BYTES)
    if region(block) > 1.5 * prod(block) * prod(step):  # mostly what its neighbours pack as well
        block = fitting(FAR_BYTES)
    too_many = region(block) * depth * tile.itemsize > FAR_BYTES
    if depth > CHANNELS and (too_many or region(block) > 1.5 * prod(block) * prod(step)):
        depth = even(source_channels, CHANNELS, parts)
        block = fitting(FAR_BYTES)
    multiplications = prod(size) * phases * groups * source_channels * target_channels * largest(directions)
    enough = plan.enough_tasks(multiplications)
    phase_blocks = ceil_div(phases, phase_block)
    while prod(blocks_of(size, block)) * groups * phase_blocks < enough and prod(block) > 64:
        block = rows_and_line(size, prod(block) // 2, block[3])
    line = round_up(block[3] * min(x_phases, phase_block), 16)
    sums_offset = line + round_up(region(block) * depth + vector, 16)
    lists_offset = sums_offset + round_up(sums(block), 16)
    listed = base.sizes[3] * depth  # lines of the source: where they are, and what they are weighted with
    weights_offset = lists_offset + round_up(listed * np.dtype(np.intp).itemsize // tile.itemsize, 16)
    blocks = blocks_of(size, block)
    return replace(
        base,
        sizes=(
            *base.sizes[:4],
            prod(blocks) * groups * phase_blocks,
            weights_offset + round_up(listed * target_channels, 16),
        ),
        block=block,
        blocks=blocks,
        phases=(phases, phase_block, phase_blocks),
        channel_blocks=(1, 1, depth, 0),
        offsets=(line, sums_offset, lists_offset, weights_offset),
        sums_steps=(band(block)[0], 0, 0),
        along_lines=True,
    )


def across_groups(
    directions: tuple[Direction, ...],
    batch: int,
    groups: int,
    parts: int,
    source_channels: int,
    target_channels: int,
    in_place: bool,
    tile: Tile,
) -> CorrelationFields:
    """Products of pixels and weights, lane by lane of the groups. Channels are a group's."""
    lanes = groups * target_channels
    in_place = in_place and target_channels == 1
    channel_block = block_of_groups(lanes, in_place, tile)
    base = correlation(
        directions,
        batch,
        1,
        parts,
        source_channels,
        lanes,
        in_place,
        True,
        tile._replace(lanes=channel_block, unit=1),
        side_by_side=False,
        in_pairs=False,
    )
    size, step, phases = base.target_size, base.source_step, base.phases[0]

    def region(block: Shape) -> int:
        return block[0] * prod(
            (pixels - 1) * by + 1 + high - low
            for pixels, by, high, low in zip(block[1:], step[1:], base.high[1:], base.low[1:], strict=True)
        )

    channel_blocks = ceil_div(lanes, channel_block)
    multiplications = prod(size) * phases * lanes * largest(directions)
    enough = plan.enough_tasks(multiplications)
    most = 1024
    while True:
        block = rows_and_line(size, most, 128)
        packed = 0 if in_place else region(block) * channel_block
        few = prod(blocks_of(size, block)) * channel_blocks < enough
        if most <= 16 or not (few or packed * tile.itemsize > FAR_BYTES):
            break
        most //= 2
    sums_offset = round_up(packed, 16)
    blocks = blocks_of(size, block)
    result = prod(size) * phases * lanes * tile.itemsize
    return replace(
        base,
        # Reading and writing is all there is: a result that still has room in the last cache is faster there.
        streams=result >= 2 * plan.STREAMED_BYTES,
        sizes=(
            *base.sizes[:4],
            prod(blocks) * channel_blocks,
            sums_offset + round_up(block[3] * channel_block, 16),
        ),
        block=block,
        blocks=blocks,
        phases=(phases, phases, 1),
        channel_blocks=(channel_block, channel_blocks, 1, 0),
        offsets=(0, sums_offset, sums_offset, sums_offset),
        group_lanes=target_channels,
    )
