"""Layers that cross the boundaries at which a fast kernel changes its ways, checked against the oracle.

Run as a program it checks all of them in its own process (an instruction set is chosen once, at import).
"""

import itertools

import drawing
import numpy as np

import pyx_deconv as pxd

# (x without batch and layout, weight, settings, groups); the weight's order is that of conv_transpose.
SHAPES = {
    "130 channels": ((130, 3, 4), (130, 70, 3, 3), {"stride": 2, "padding": 1}),
    "70 to 1": ((70, 9, 8), (70, 1, 4, 4), {"stride": 2, "padding": 1}),
    "1 to 70": ((1, 11, 5), (1, 70, 3, 2), {"stride": (1, 3)}),
    "300 channels, one pixel": ((300, 1, 1), (300, 9, 4, 4), {}),
    "9 to 300 channels": ((9, 2, 3), (9, 300, 2, 2), {"stride": 2}),
    "map of 40x40": ((3, 40, 40), (3, 5, 5, 5), {"stride": 2, "padding": "same"}),
    "long line": ((4, 1500), (4, 3, 7), {"stride": 3, "padding": ((2, 1),)}),
    "line longer than a block": ((2, 5000), (2, 2, 3), {}),
    "kernel larger than the map": ((5, 3, 2), (5, 6, 9, 8), {"padding": (4, 3)}),
    "kernel of 33": ((6, 20), (6, 5, 33), {"stride": 4, "padding": 16, "output_padding": 3}),
    "stride of 17": ((3, 6, 5), (3, 4, 5, 3), {"stride": (17, 2), "output_padding": (16, 1)}),
    "stride larger than the kernel": ((7, 8, 8), (7, 3, 2, 1), {"stride": 3, "padding": "same"}),
    "stride and dilation with a common divisor": ((8, 9, 7), (8, 4, 3, 4), {"stride": 4, "dilation": (2, 6)}),
    "dilation of 9": ((4, 12, 12), (4, 4, 3, 3), {"dilation": 9, "padding": 9}),
    "only borders are left": ((4, 5, 5), (4, 5, 9, 9), {"stride": 1, "padding": 6}),
    "depthwise": ((40, 7, 9), (40, 1, 4, 5), {"stride": 2, "padding": 2, "groups": 40}),
    "depthwise with three outputs": ((21, 7), (21, 3, 6), {"stride": 2, "groups": 21}),
    "17 channels in each group": ((68, 5, 4), (68, 33, 3, 3), {"groups": 4, "padding": 1}),
    "volume": ((9, 5, 6, 7), (9, 10, 3, 2, 4), {"stride": (1, 2, 2), "padding": ((1, 0), (0, 1), (2, 1))}),
    "thin volume": ((33, 1, 9, 1), (33, 17, 3, 1, 5), {"stride": (2, 1, 4), "dilation": (1, 1, 2)}),
}
DTYPES = ("float64", "float32", "complex64")


LAYOUTS = ("channels_first", "channels_last")


def check(name, dtype, layouts=LAYOUTS):
    """Both layouts, with and without batch, as a transposed convolution and as the convolution back."""
    shape, weight_shape, given = SHAPES[name]
    rank, rng = len(weight_shape) - 2, np.random.default_rng(len(name))
    groups = given.get("groups", 1)
    for transposed, layout in itertools.product([True, False], layouts):
        settings = given | {"data_format": layout}
        channels, spatial = shape[0], shape[1:]
        if not transposed:
            settings.pop("output_padding", None)
            channels = weight_shape[1] * groups
            spatial = [
                min(max(2 * n, k), 60) if rank == 1 else n + k
                for n, k in zip(spatial, weight_shape[2:], strict=True)
            ]
            spatial = [
                n * (2 if settings.get("dilation", 1) != 1 else 1) + 16 * (settings.get("dilation") == 9)
                for n in spatial
            ]
        batch = 3 if layout == "channels_last" else 1
        x_shape = (batch, *spatial, channels) if layout == "channels_last" else (channels, *spatial)
        made = weight_shape[1] * groups if transposed else weight_shape[0]
        call = drawing.Call(
            transposed,
            *(drawing.values(rng, s, np.dtype(dtype)) for s in (x_shape, weight_shape, (made,))),
            settings,
        )
        drawing.check_call(pxd, call)


if __name__ == "__main__":
    for number, each in enumerate(SHAPES):
        check(each, DTYPES[number % 2], [LAYOUTS[number // 2 % 2]])
    print(len(SHAPES), "layers", pxd.kernels.instruction_set)
