"""How a weight gradient of few channels is cut along lines of pixels; ``lines_gradient.pxi`` computes it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from . import plan
from .plan import Shape, blocks_of, pixel_block, round_up
from .plan_weight_gradient import GradientFields, Shapes, cut_pixels, few_channels, single_channels


@dataclass(frozen=True)
class LinesGradientFields(GradientFields):
    """What ``engine.LinesGradientPlan`` copies."""

    dilation: Shape
    begin: Shape
    tap_block: Shape
    tap_blocks: Shape
    offsets: tuple[int, int, int]  # in a workspace: the packed coarse map, the packed fine map, the sums


def lines_gradient(shapes: Shapes) -> LinesGradientFields | None:
    """Cut one weight gradient into products of lines, or say None where other ways are faster."""
    if single_channels(shapes) or not few_channels(shapes):
        return None
    tile, coarse_channels, fine_channels = shapes.tile, shapes.coarse_channels, shapes.fine_channels
    coarse_size, kernel, stride, dilation = shapes.coarse_size, shapes.kernel, shapes.stride, shapes.dilation
    vector, line = tile.lanes // 2, 64 // tile.itemsize  # of L1
    products = coarse_channels * fine_channels
    most_taps = plan.SUMS_BYTES // (vector * tile.itemsize * products)
    tap_block = pixel_block(kernel, max(1, min(plan.TAPS, most_taps)))
    most = prod(coarse_size)
    while True:
        block = pixel_block(coarse_size, most)
        reach = [(taps - 1) * step for taps, step in zip(tap_block, dilation, strict=True)]
        y = block[2] + reach[2] // stride[2]
        x = round_up(block[3] + (stride[3] - 1 + reach[3]) // stride[3], line)
        planes = (block[1] - 1) * stride[1] + 1 + reach[1]
        packed = (
            coarse_channels * prod(block[:3]) * x,
            fine_channels * block[0] * planes * stride[2] * stride[3] * y * x,
        )
        # Whole cache lines take more, but not more time.
        if 0.8 * sum(packed) * tile.itemsize <= plan.PACKED_BYTES or most == prod(tap_block) == 1:
            break
        if most > 64 or prod(tap_block) == 1:
            most //= 2
        else:
            tap_block = pixel_block(kernel, prod(tap_block) // 2)
    blocks, tap_blocks = blocks_of(coarse_size, block), blocks_of(kernel, tap_block)
    tasks = shapes.groups * prod(tap_blocks)
    chunks, chunk_blocks = cut_pixels(shapes, tasks, prod(blocks))
    # The last vector of a line reads on behind it; the first pixel of the fine map begins a cache line.
    fine_offset = round_up(packed[0] + vector, 16)
    sums_offset = fine_offset + round_up(packed[1] + vector + line, 16)
    return LinesGradientFields(
        **shapes.copied(),
        sizes=(tasks * chunks, sums_offset + round_up(products * prod(tap_block) * vector, 16)),
        dilation=dilation,
        begin=shapes.begin,
        block=block,
        blocks=blocks,
        chunks=(chunks, chunk_blocks),
        tap_block=tap_block,
        tap_blocks=tap_blocks,
        channel_blocks=(coarse_channels, 1, fine_channels, 1),
        offsets=(0, fine_offset, sums_offset),
    )
