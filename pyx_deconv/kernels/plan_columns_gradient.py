"""How a weight gradient is cut into products with columns; ``columns_gradient.pxi`` computes it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from . import plan
from .plan import (
    Shape,
    apart,
    block_of_lanes,
    blocks_of,
    ceil_div,
    compact_block,
    even,
    pixel_block,
    round_up,
)
from .plan_weight_gradient import GradientFields, Shapes, cut_pixels, few_channels, single_channels


@dataclass(frozen=True)
class ColumnsGradientFields(GradientFields):
    """What ``engine.ColumnsGradientPlan`` copies."""

    dilation: Shape
    begin: Shape
    tap_block: Shape
    tap_blocks: Shape
    pitch: Shape  # from one coarse pixel to the next in the packed region of the fine map
    step: Shape  # of the batch and of each axis there
    channel_step: int
    lanes: int  # coarse channels of a panel
    offsets: tuple[int, int, int]  # in a workspace: a panel of the coarse map, the packed region, the sums
    coarse_in_place: bool  # whether panels are read from the coarse map, not from a copy
    swapped: bool  # whether the maps have changed places: coarse is the fine one, and so on
    streams: bool  # whether the weight is larger than the caches, and written once
    dots: bool  # whether products of two pixels are added at once


def columns_gradient(shapes: Shapes) -> ColumnsGradientFields | None:
    """Cut one weight gradient into products with columns, or say None where tap by tap is faster."""
    if shapes.parts > 1 or single_channels(shapes) or not columns_pay(shapes):
        return None
    swapped = changes_places(shapes)
    if swapped:
        shapes = other_way_round(shapes)
    tile, coarse_channels, fine_channels = shapes.tile, shapes.coarse_channels, shapes.fine_channels
    coarse_size, kernel, dilation = shapes.coarse_size, shapes.kernel, shapes.dilation
    sums, packed = 2 * plan.SUMS_BYTES // tile.itemsize, 7 * plan.PACKED_BYTES // 4 // tile.itemsize
    coarse_block = block_of_lanes(coarse_channels, 256, tile)
    most_columns = min(plan.COLUMNS, sums // coarse_block)
    # At least four channels: so many are transposed at a time.
    fine_block = even(fine_channels, max(min(4, fine_channels), most_columns // prod(kernel)))
    tap_block = pixel_block(kernel, most_columns // fine_block)
    # A panel of the coarse map stays in L1.
    lanes = round_up(ceil_div(coarse_block, ceil_div(coarse_block, tile.lanes)), tile.unit)
    most = plan.ROWS_BYTES // (tile.itemsize * lanes) * (1 + tile.dots)
    while True:
        block = compact_block(coarse_size, most, 128)
        while prod(block[:3]) > 64:
            most = max(1, most // 2)
            block = compact_block(coarse_size, most, 128)
        reach = tuple((taps - 1) * step + 1 for taps, step in zip(tap_block, dilation, strict=True))
        pitch = tuple(map(min, shapes.stride, reach))
        region = tuple(
            (pixels - 1) * step + reached for pixels, step, reached in zip(block, pitch, reach, strict=True)
        )
        step = tuple(prod(region[axis + 1 :]) for axis in range(4))
        channel_step = apart(prod(region), tile.itemsize)
        region_size = channel_step * fine_block
        if region_size <= packed or (most == 1 and fine_block == 1 and prod(tap_block) == 1):
            break
        if most > 32 or (fine_block == 1 and prod(tap_block) == 1):
            most //= 2
        elif fine_block > 1:
            fine_block = even(fine_channels, fine_block // 2)
        else:
            tap_block = pixel_block(kernel, prod(tap_block) // 2)
    blocks, tap_blocks = blocks_of(coarse_size, block), blocks_of(kernel, tap_block)
    coarse_blocks, fine_blocks = ceil_div(coarse_channels, coarse_block), ceil_div(fine_channels, fine_block)
    tasks = shapes.groups * prod(tap_blocks) * coarse_blocks * fine_blocks
    # A map that has left the caches is copied faster than it is waited for, pixel by pixel.
    cached = prod(coarse_size) * shapes.groups * coarse_channels * tile.itemsize <= plan.STREAMED_BYTES
    multiplications = prod(coarse_size) * prod(kernel) * shapes.groups * coarse_channels * fine_channels
    region_offset = prod(block) * lanes
    sums_offset = region_offset + round_up(region_size, 16)
    # What a chunk starts and ends with has its price.
    worth = min(multiplications // (8 * plan.MULTIPLICATIONS), prod(coarse_size) // 512)
    chunks, chunk_blocks = cut_pixels(shapes, tasks, prod(blocks), worth)
    sums = prod(tap_block) * fine_block * round_up(coarse_block, lanes)
    return ColumnsGradientFields(
        **shapes.copied(),
        sizes=(tasks * chunks, round_up(sums_offset + sums, 16)),
        dilation=dilation,
        begin=shapes.begin,
        block=block,
        blocks=blocks,
        chunks=(chunks, chunk_blocks),
        tap_block=tap_block,
        tap_blocks=tap_blocks,
        pitch=pitch,
        step=step,
        channel_step=channel_step,
        channel_blocks=(coarse_block, coarse_blocks, fine_block, fine_blocks),
        lanes=lanes,
        offsets=(0, region_offset, sums_offset),
        coarse_in_place=panels_in_place(shapes) and cached,
        swapped=swapped,
        streams=chunks == 1 and shapes.weight_bytes >= plan.STREAMED_BYTES,
        dots=tile.dots,
    )


def panels_in_place(shapes: Shapes) -> bool:
    """Whether the coarse map lies as panels do."""
    return shapes.in_place[0] and shapes.coarse_channels % shapes.tile.unit == 0


def other_way_round(shapes: Shapes) -> Shapes:
    """Return the shapes where each map is the other one: tap t of one is tap kernel - 1 - t of the other."""
    axes = tuple(
        axis._replace(
            coarse=axis.fine, fine=axis.coarse, begin=(axis.kernel - 1) * axis.dilation - axis.begin
        )
        for axis in shapes.axes
    )
    return shapes._replace(
        axes=axes,
        coarse_channels=shapes.fine_channels,
        fine_channels=shapes.coarse_channels,
        in_place=shapes.in_place[::-1],
    )


def packing_cost(shapes: Shapes) -> float:
    """How many lanes could be multiplied while the fine map is packed, for each tap of a coarse pixel.

    A pixel of either map takes as long as about 24.
    """
    return 24 * prod(
        min(axis.stride, (axis.kernel - 1) * axis.dilation + 1) / axis.kernel for axis in shapes.axes
    )


def columns_cost(shapes: Shapes) -> float:
    """How many lanes are multiplied for a tap of a coarse pixel, or could be while the fine map is packed."""
    lanes = round_up(shapes.coarse_channels, shapes.tile.unit)
    return shapes.fine_channels * (lanes + packing_cost(shapes))


def changes_places(shapes: Shapes) -> bool:
    """Whether columns are those of the coarse map: without strides, each map is the other's fine one."""
    other = other_way_round(shapes)

    def cost(shapes: Shapes) -> float:
        panels = 0 if panels_in_place(shapes) else 24 * shapes.coarse_channels / prod(shapes.kernel)
        return columns_cost(shapes) + panels

    return all(axis.stride == 1 for axis in shapes.axes) and 1.1 * cost(other) < cost(shapes)


def columns_pay(shapes: Shapes) -> bool:
    """Whether products with columns are faster than tap by tap, where a tenth more goes into calls."""
    if few_channels(shapes):
        return False
    tile, fine_channels = shapes.tile, shapes.fine_channels
    fine_in_place = shapes.in_place[1] and fine_channels % tile.unit == 0
    taps = round_up(fine_channels, tile.unit) * (
        round_up(shapes.coarse_channels, ceil_div(tile.rows, 2))
        + (0 if fine_in_place else packing_cost(shapes))
    )
    swapped = changes_places(shapes)
    columns = 1.1 * columns_cost(other_way_round(shapes)) if swapped else columns_cost(shapes)
    return columns <= 1.1 * taps
