"""How a product of few pixels with a large weight is cut; ``columns.pxi`` computes it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple

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


class Product(NamedTuple):
    """A scatter or a gather that few pixels with a large weight may be. Channels are those of a group."""

    scatters: bool
    axes: tuple[Axis, ...]
    batch: int
    groups: int
    coarse_channels: int
    fine_channels: int
    tile: Tile

    @property
    def taps(self) -> int:
        """Taps of a channel."""
        return prod(axis.kernel for axis in self.axes)

    @property
    def pixels(self) -> int:
        """Pixels of the coarse map."""
        return self.batch * prod(axis.coarse for axis in self.axes)

    @property
    def fine_pixels(self) -> int:
        """Pixels of the fine map."""
        return self.batch * prod(axis.fine for axis in self.axes)

    @property
    def direct(self) -> bool:
        """Whether vectors are read from the weight where it lies."""
        return self.pixels <= (2 * self.tile.rows if self.scatters else DOT_PIXELS)


def few_pixels(product: Product, channels_last: tuple[bool, bool], kept: bool) -> bool:
    """Whether to take the weight as it lies, or to pack it; packed, it may be ``kept`` for the next call.

    ``channels_last``: whether channels of the source, the target lie side by side.
    """
    scatters, axes, batch, groups, coarse_channels, fine_channels, tile = product
    taps, pixels, columns_size = product.taps, product.pixels, product.pixels * fine_channels * product.taps
    if min(coarse_channels, fine_channels * taps) < 32:
        return False
    # What a task needs has to stay in the cache for one channel at least.
    needed = max(product.fine_pixels, taps, pixels * taps // 4 if scatters else 0)
    if needed * tile.itemsize > plan.PACKED_BYTES // 2:
        return False
    if not scatters and groups * columns_size * tile.itemsize > plan.PARTIAL_BYTES:
        return False
    directions = tuple(map(scatter if scatters else gather, axes))
    if not all(direction.phases for direction in directions):
        return False
    weights = coarse_channels * fine_channels * taps
    cost = weights * (SLOWER * lanes_multiplied(product) + COPIED[scatters]) + MOVED[scatters] * columns_size
    # Tiles with channels in their lanes multiply taps of which many lead beside small maps.
    channels = (coarse_channels, fine_channels) if scatters else (fine_channels, coarse_channels)
    in_place = channels_last[0] and in_long_rows(directions, groups, channels[0])
    shapes = Shapes(directions, batch, groups, 1, *channels, tile)
    tiles = batch * tiling(shapes, (in_place, channels_last[1])).cost
    far = groups * weights * tile.itemsize > plan.WEIGHT_BYTES
    for_weight = far * KEPT_WEIGHT[scatters] if kept else WEIGHT_OF_TILES[far]
    reached = prod(sum(len(phase.taps) for phase in direction.phases) for direction in directions)
    return cost < tiles + for_weight * coarse_channels * fine_channels * reached


def lanes_multiplied(product: Product) -> float:
    """How many numbers each weight is multiplied by, those counted that fill the tile."""
    pixels, tile = product.pixels, product.tile
    if not product.scatters:  # lanes are pixels
        return pixels if product.direct else round_up(pixels, tile.unit)
    # Rows are pixels, lanes channels and taps.
    width = product.taps * scatter_block(product)
    rows = pixels if product.direct else round_up(pixels, tile.rows)
    return rows * round_up(width, tile.unit) / width


def scatter_block(product: Product) -> int:
    """Of how many fine channels a task has the sums of all taps."""
    _, _, _, groups, coarse_channels, fine_channels, tile = product
    taps, pixels = product.taps, product.pixels
    # Runs of the weight, eight at a time: where they lie 2**n apart, L1 keeps no more.
    runs = 32 if product.direct else 8
    most = min(runs * tile.lanes, 2 * plan.SUMS_BYTES // (tile.itemsize * pixels)) // taps
    most = min(most, plan.PACKED_BYTES // (tile.itemsize * product.fine_pixels))
    tasks = plan.enough_tasks(groups * coarse_channels * fine_channels * taps * pixels)
    most = min(most, max(ceil_div(2 * tile.lanes, taps), groups * fine_channels // tasks))
    return even(fine_channels, max(1, most))


def columns(product: Product) -> ColumnsFields:
    """Cut a scatter or a gather of few pixels."""
    scatters, axes, batch, groups, coarse_channels, fine_channels, tile = product
    pixels, fine_pixels, taps, direct = product.pixels, product.fine_pixels, product.taps, product.direct
    first_block = first_blocks = weights_offset = fine_offset = 0
    lanes = tile.lanes
    if scatters:
        channel_block = scatter_block(product)
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
        kernel=four(1, axes, "kernel"),
        coarse_size=four(batch, axes, "coarse"),
        fine_size=four(batch, axes, "fine"),
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
