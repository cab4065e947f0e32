"""How a product of few pixels with a large weight is cut; ``columns.pxi`` computes it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from . import plan
from .plan import Shape, Tile, ceil_div, even, four, round_up
from .plan_costs import in_long_rows, tiling
from .taps import Shapes, gather, scatter

if TYPE_CHECKING:
    from ..geometry import Axis

DOT_PIXELS = 4  # of columns.h: so few that their sums stay in registers while the weight passes
# How many multiplications take as long as one here, and as something else, in a gather and a scatter:
SLOWER = 1.05
COPIED = (0, 6)  # to copy a weight into a panel
MOVED = (30, 70)  # to make an element of a column, to add one to what a fine pixel has
WEIGHT_OF_TILES = (22, 50)  # to pack a weight for tiles, from the caches or from memory
KEPT_WEIGHT = (4, 0)  # to read a packed one from memory


@dataclass(frozen=True)
class ColumnsFields:
    """What ``engine.ColumnsPlan`` copies."""

    channels: tuple[int, int, int]  # groups, coarse and fine channels of a group
    kernel: Shape
    coarse_size: Shape
    fine_size: Shape
    stride: Shape
    dilation: Shape
    begin: Shape
    product: tuple[int, int, int]  # lanes of a row of sums, of a panel, products summed at a time
    direct: bool  # whether vectors are read from the weight where it lies
    channel_blocks: tuple[int, int]  # target channels of a task, tasks of them in a group
    first_blocks: tuple[int, int]  # in a gather: fine channels whose columns are made at a time
    offsets: tuple[int, int]  # in the workspace of a scatter, after the sums: some weights, the fine map
    sizes: tuple[int, int, int]  # tasks, a thread's workspace, the columns of a gather or pixels of a scatter


def few_pixels(
    scatters: bool,
    axes: tuple[Axis, ...],
    batch: int,
    groups: int,
    coarse_channels: int,
    fine_channels: int,
    channels_last: tuple[bool, bool],
    kept: bool,
    tile: Tile,
) -> bool:
    """Whether to take the weight as it lies, or to pack it; packed, it may be ``kept`` for the next call.

    ``channels_last``: whether channels of the source, the target lie side by side.
    """
    taps = prod(axis.kernel for axis in axes)
    pixels, fine_pixels = (batch * prod(getattr(axis, side) for axis in axes) for side in ("coarse", "fine"))
    if min(coarse_channels, fine_channels * taps) < 32:
        return False
    # What a task needs has to stay in the cache for one channel at least.
    if max(fine_pixels, taps, pixels * taps // 4 if scatters else 0) * tile.itemsize > plan.PACKED_BYTES // 2:
        return False
    if not scatters and groups * pixels * fine_channels * taps * tile.itemsize > plan.PARTIAL_BYTES:
        return False
    directions = tuple(map(scatter if scatters else gather, axes))
    channels = (coarse_channels, fine_channels) if scatters else (fine_channels, coarse_channels)
    shapes = Shapes(directions, batch, groups, 1, *channels, tile)
    if not all(direction.phases for direction in directions):
        return False
    if scatters:  # rows of the tile are pixels, lanes channels and taps
        width = taps * scatter_block(pixels, fine_pixels, taps, groups, coarse_channels, fine_channels, tile)
        filled = pixels if pixels <= 2 * tile.rows else round_up(pixels, tile.rows)
        filled *= round_up(width, tile.unit) / width
    else:  # lanes are pixels
        filled = pixels if pixels <= DOT_PIXELS else round_up(pixels, tile.unit)
    weights, moved = coarse_channels * fine_channels * taps, pixels * fine_channels * taps
    cost = weights * (SLOWER * filled + COPIED[scatters]) + MOVED[scatters] * moved
    # Tiles with channels in their lanes multiply taps of which many lead beside small maps.
    in_place = channels_last[0] and in_long_rows(directions, groups, channels[0])
    tiles = batch * tiling(shapes, (in_place, channels_last[1])).cost
    far = groups * weights * tile.itemsize > plan.WEIGHT_BYTES
    for_weight = far * KEPT_WEIGHT[scatters] if kept else WEIGHT_OF_TILES[far]
    reached = prod(sum(len(phase.taps) for phase in direction.phases) for direction in directions)
    return cost < tiles + for_weight * coarse_channels * fine_channels * reached


def scatter_block(
    pixels: int,
    fine_pixels: int,
    taps: int,
    groups: int,
    coarse_channels: int,
    fine_channels: int,
    tile: Tile,
) -> int:
    """Of how many fine channels a task has the sums of all taps."""
    # Runs of the weight, eight at a time: where they lie 2**n apart, L1 keeps no more.
    runs = 32 if pixels <= 2 * tile.rows else 8
    most = min(runs * tile.lanes, 2 * plan.SUMS_BYTES // (tile.itemsize * pixels)) // taps
    most = min(most, plan.PACKED_BYTES // (tile.itemsize * fine_pixels))
    tasks = plan.enough_tasks(groups * coarse_channels * fine_channels * taps * pixels)
    most = min(most, max(ceil_div(2 * tile.lanes, taps), groups * fine_channels // tasks))
    return even(fine_channels, max(1, most))


def columns(
    scatters: bool,
    axes: tuple[Axis, ...],
    batch: int,
    groups: int,
    coarse_channels: int,
    fine_channels: int,
    tile: Tile,
) -> ColumnsFields:
    """Cut a scatter or a gather of few pixels. Channels are a group's."""
    coarse_size, fine_size, kernel = (
        four(batch, axes, "coarse"),
        four(batch, axes, "fine"),
        four(1, axes, "kernel"),
    )
    pixels, fine_pixels, taps = prod(coarse_size), prod(fine_size), prod(kernel)
    first_block = first_blocks = weights_offset = fine_offset = 0
    lanes = tile.lanes
    direct = pixels <= (2 * tile.rows if scatters else DOT_PIXELS)
    if scatters:
        channel_block = scatter_block(pixels, fine_pixels, taps, groups, coarse_channels, fine_channels, tile)
        width = round_up(channel_block * taps, tile.unit)
        depth = 8 if direct else plan.PACKED_BYTES // (tile.itemsize * max(8 * lanes, width))
        depth = even(coarse_channels, max(1, depth))
        channel_blocks = ceil_div(fine_channels, channel_block)
        weights_offset = round_up(pixels * width, 16)
        fine_offset = weights_offset + (0 if direct else round_up((depth + 1) * width, 16))
        work_size = fine_offset + channel_block * (fine_pixels + 1)
        columns_size = pixels * groups * coarse_channels + 1  # pack_pixels looks where it would go on
    else:
        width = pixels if direct else round_up(pixels, tile.unit)
        depth = fine_channels * taps if direct else plan.ROWS_BYTES // (tile.itemsize * min(lanes, width))
        channel_block = even(coarse_channels, 2 * tile.rows, tile.rows)
        channel_blocks = ceil_div(coarse_channels, channel_block)
        first_block = even(fine_channels, max(1, plan.PACKED_BYTES // (tile.itemsize * fine_pixels)))
        first_blocks = ceil_div(fine_channels, first_block)
        work_size = max(channel_block * width, first_block * (fine_pixels + 1))
        columns_size = groups * width * fine_channels * taps
    return ColumnsFields(
        channels=(groups, coarse_channels, fine_channels),
        kernel=kernel,
        coarse_size=coarse_size,
        fine_size=fine_size,
        stride=four(1, axes, "stride"),
        dilation=four(1, axes, "dilation"),
        begin=four(0, axes, "begin", 0),
        product=(width, lanes, depth),
        direct=direct,
        channel_blocks=(channel_block, channel_blocks),
        first_blocks=(first_block, first_blocks),
        offsets=(weights_offset, fine_offset),
        sizes=(groups * channel_blocks, round_up(work_size, 16), columns_size),
    )
