"""How a correlation with few channels is cut: along lines of pixels, or across groups.

``lines.pxi`` and ``groups.pxi`` compute them.
"""

from __future__ import annotations

from math import inf, prod

import numpy as np

from . import plan
from .plan import Shape, Tile, block_of_groups, blocks_of, ceil_div, even, pixel_block, round_up
from .plan_across import across_cost
from .plan_across_taps import across_taps_cost
from .plan_correlation import CorrelationFields, ordered
from .plan_costs import BAND_OF_SUMS, PACKED, SEPARATED, STORED_ALONG, outputs_of, packed_pixels, products
from .taps import Direction, Shapes

SEGMENTS = 64  # MAX_SEGMENTS of engine.pyx
CACHE_LINE = 64  # bytes
PHASES = 64  # MAX_PHASES
ROWS = 4  # of target channels whose sums stay in registers
LONGEST = 512  # pixels of a line
MOST = 8192  # pixels of a block
CHANNELS = 16  # packed at a time where all are too many
NEAR_BYTES = 96 * 1024  # of L2: what a task packs and sums
BAND_BYTES = 16 * 1024  # of L1: sums of some lines, before they are stored
FAR_BYTES = 256 * 1024  # where most of that would be packed by its neighbours as well


def lines_cost(shapes: Shapes, channels_last: bool) -> float:
    """How long one sample takes computed along lines; infinite where it cannot be."""
    directions, tile = shapes.directions, shapes.tile
    source_channels, target_channels = shapes.source_channels, shapes.target_channels
    taps = prod(direction.kernel for direction in directions)
    listed = taps * source_channels * (np.dtype(np.intp).itemsize + target_channels * tile.itemsize)
    z, y, x = shapes.spatial
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
        shapes.spatial,
        shapes.batch * shapes.groups,
        source_channels * target_channels,
        lambda size, most: rows_and_line(size, most, LONGEST),
        MOST,
        region,
    )
    return (
        products((z, y)) * sum(len(phase.taps) for phase in x.phases) * width * source_channels * rows
        + (PACKED if x.source_step == 1 else SEPARATED) * packed * source_channels
        + STORED_ALONG[channels_last] * outputs_of(directions) * target_channels
        + BAND_OF_SUMS * bands * ceil_div(x.outputs, line) * ceil_div(target_channels, ROWS)
    )


def band_height(line: int, tile: Tile) -> int:
    """How many lines are summed before they are stored, of so many sums each."""
    return max(1, BAND_BYTES // (tile.itemsize * line))


def fastest(
    shapes: Shapes, channels_last: bool, tiles_cost: float, possible: tuple[bool, bool], in_lines: bool
) -> str:
    """Name the fastest way: "lines", pixels "across" the tile, with "taps" in its rows, or "tiles".

    ``possible``: whether the first, and whether the next two. ``channels_last``: whether channels of the
    target lie side by side; ``in_lines``: pixels of the source.
    """
    costs = {"tiles": tiles_cost}
    if possible[0]:
        costs["lines"] = lines_cost(shapes, channels_last)
        # Their sums are added up in another order: it must not depend on the size of the map.
        if single_channel(shapes) and costs["lines"] < inf:
            return "lines"
    if possible[1]:
        costs["across"] = across_cost(shapes, channels_last, in_lines)
        costs["taps"] = across_taps_cost(shapes, channels_last)
    return min(costs, key=costs.__getitem__)


def single_channel(shapes: Shapes) -> bool:
    """Whether one channel makes another."""
    return shapes.source_channels == shapes.target_channels == 1


def small_groups(shapes: Shapes) -> bool:
    """Whether vectors across groups are better filled, where the channels of the target lie side by side."""
    return (
        shapes.source_channels == 1
        and shapes.groups > 1
        and 4 * shapes.target_channels <= shapes.tile.lanes
        and shapes.groups * shapes.target_channels >= shapes.tile.unit
        and largest(shapes.directions) <= SEGMENTS
    )


def largest(directions: tuple[Direction, ...]) -> int:
    """How many taps a phase has, at most."""
    return prod(max(len(phase.taps) for phase in direction.phases) for direction in directions)


def rows_and_line(size: Shape, most: int, line: int) -> Shape:
    """A block of at most ``most`` pixels: as much of a line as ``line``, then rows, planes, samples."""
    x = even(size[3], max(1, min(line, most)))
    return (*pixel_block((*size[:3], 1), max(1, most // x))[:3], x)


def along_lines(shapes: Shapes, contiguous: bool) -> CorrelationFields:
    """Cut it into sums of lines of the source.

    ``contiguous``: whether lines of the target lie in memory as they are computed.
    """
    tile, source_channels, target_channels = shapes.tile, shapes.source_channels, shapes.target_channels
    order = ordered(shapes._replace(tile=tile._replace(lanes=1, unit=1)))
    size, step, vector = order.target_size, order.source_step, tile.lanes // 2
    phases, x_phases = prod(order.phase_count), order.phase_count[3]
    # Phases along x are stored together.
    phase_block = (
        x_phases * even(phases // x_phases, max(1, 16 // x_phases))
        if x_phases <= PHASES
        else even(x_phases, PHASES)
    )

    # A pixel of each remainder in turn.
    order.low = (*order.low[:3], order.low[3] // step[3] * step[3])
    reach = order.reach
    # Reading and writing is nearly all there is: a result that has room in the last cache is faster there.
    streams = order.outputs * tile.itemsize >= 2 * plan.STREAMED_BYTES
    firsts = [phase.first for phase in shapes.directions[-1].phases]
    direct = (
        contiguous
        and single_channel(shapes)
        and len(firsts) == order.target_step[3] <= 2
        and firsts[-1] - firsts[0] == len(firsts) - 1
        and order.slot_count[1] <= SEGMENTS
    )

    def region(block: Shape) -> int:
        planes = (block[1] - 1) * step[1] + 1 + reach[1]
        y, x = (block[axis] + reach[axis] // step[axis] for axis in (2, 3))
        if direct:
            x = round_up(x, CACHE_LINE // tile.itemsize)
        return block[0] * planes * step[2] * step[3] * y * x

    def band(block: Shape) -> tuple[int, int]:
        """Lines that are summed together, and what their sums take."""
        lines = min(phase_block // x_phases or 1, order.phase_count[2]) * min(phase_block, x_phases)
        pitch = block[3] + reach[3] // step[3]
        height = even(block[2], band_height(lines * target_channels * pitch, tile))
        return height, lines * target_channels * round_up(height * pitch, vector)

    def sums(block: Shape) -> int:
        """Sums of a band, or if not all channels can be packed at a time, of all bands."""
        if direct:
            return 0
        height, size = band(block)
        bands = block[0] * block[1] * order.phase_count[1] * ceil_div(block[2], height)
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
        depth = even(source_channels, CHANNELS, shapes.parts)
        block = fitting(FAR_BYTES)
    multiplications = order.outputs * source_channels * largest(shapes.directions)
    enough = plan.enough_tasks(multiplications)
    phase_blocks = ceil_div(phases, phase_block)
    while prod(blocks_of(size, block)) * shapes.groups * phase_blocks < enough and prod(block) > 64:
        block = rows_and_line(size, prod(block) // 2, block[3])
    # Room for what is assembled before it is stored or streamed.
    line = round_up(block[3] * min(x_phases, phase_block), 16) * (8 if direct and streams else 1)
    sums_offset = line + round_up(region(block) * depth + vector + 16, 16)
    lists_offset = sums_offset + round_up(sums(block), 16)
    listed = order.packed[3] * depth  # lines of the source: where they are, and what they are weighted with
    weights_offset = lists_offset + round_up(listed * np.dtype(np.intp).itemsize // tile.itemsize, 16)
    blocks = blocks_of(size, block)
    return CorrelationFields(
        **vars(order),
        sizes=(
            prod(blocks) * shapes.groups * phase_blocks,
            weights_offset + round_up(listed * target_channels, 16),
        ),
        block=block,
        blocks=blocks,
        phases=(phases, phase_block, phase_blocks),
        channel_blocks=(1, 1, depth, 0),
        offsets=(line, sums_offset, lists_offset, weights_offset),
        streams=streams,
        direct=direct,
        along_lines=True,
        sums_steps=(band(block)[0], 0, 0),
    )


def across_groups(shapes: Shapes, in_place: bool) -> CorrelationFields:
    """Cut it into products of pixels and weights, lane by lane of the groups."""
    tile, target_channels = shapes.tile, shapes.target_channels
    lanes = shapes.groups * target_channels
    in_place = in_place and target_channels == 1
    channel_block = block_of_groups(lanes, in_place, tile)
    order = ordered(
        shapes._replace(groups=1, target_channels=lanes, tile=tile._replace(lanes=channel_block, unit=1)),
        channels_last=True,
    )
    size, step, phases = order.target_size, order.source_step, prod(order.phase_count)

    def region(block: Shape) -> int:
        return block[0] * prod(
            (pixels - 1) * by + 1 + reach
            for pixels, by, reach in zip(block[1:], step[1:], order.reach[1:], strict=True)
        )

    channel_blocks = ceil_div(lanes, channel_block)
    enough = plan.enough_tasks(order.outputs * largest(shapes.directions))
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
    return CorrelationFields(
        **vars(order),
        sizes=(prod(blocks) * channel_blocks, sums_offset + round_up(block[3] * channel_block, 16)),
        block=block,
        blocks=blocks,
        phases=(phases, phases, 1),
        channel_blocks=(channel_block, channel_blocks, 1, 0),
        offsets=(0, sums_offset, sums_offset, sums_offset),
        # Reading and writing is all there is: a result that still has room in the last cache is faster there.
        streams=order.outputs * tile.itemsize >= 2 * plan.STREAMED_BYTES,
        in_place=in_place,
        group_lanes=target_channels,
    )
