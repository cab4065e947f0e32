"""What the frameworks are asked: a grid over every setting of one axis, and drawn settings in 2-D and 3-D.

Each list is a function of a seed and a count, so that the frozen vectors and the live comparison
draw from the same distribution.
"""

import itertools
import math

import numpy as np
from golden.store import Case, draw


def fits(size, limit=6000):
    """Whether every output size is positive and the map small enough."""
    return all(n > 0 for n in size) and math.prod(size) <= limit


def make_case(name, settings, shapes, seed, *, dtype=np.float64, exact=True):
    """A case with drawn inputs; a shape of None leaves the array out."""
    arrays = {
        role: draw(shape, dtype, (seed, number), exact)
        for number, (role, shape) in enumerate(shapes.items())
        if shape is not None
    }
    return Case(name, settings, arrays, seed=seed, exact=exact)


# ---------------------------------------------------------------- PyTorch


def pytorch_sizes(spatial, kernel, settings):
    return [
        (n - 1) * s - 2 * p + d * (k - 1) + op + 1
        for n, k, s, p, op, d in zip(
            spatial,
            kernel,
            *(settings[name] for name in ("stride", "padding", "output_padding", "dilation")),
            strict=True,
        )
    ]


def pytorch_case(number, spatial, kernel, settings, channels, *, bias=True, **options):
    group_in, group_out = channels
    groups = settings["groups"]
    shapes = {
        "x": (1 + number % 2, group_in * groups, *spatial),
        "weight": (group_in * groups, group_out, *kernel),
        "bias": (group_out * groups,) if bias else None,
    }
    return make_case(f"conv_transpose{len(spatial)}d-{number}", settings, shapes, number, **options)


def pytorch_grid():
    number = 0
    for k, s, p, d in itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1, 2), (1, 2, 3)):
        for op in range(max(s, d)):
            n = 1 + number % 4
            settings = {
                "stride": [s],
                "padding": [p],
                "output_padding": [op],
                "dilation": [d],
                "groups": 1 + number % 5 % 2,
            }
            if fits(pytorch_sizes([n], [k], settings)):
                number += 1
                yield pytorch_case(number, [n], [k], settings, (1, 1 + number % 2), bias=number % 3 > 0)


def pytorch_drawn(rank, count, seed, first=0, **options):
    rng = np.random.default_rng((rank, seed))
    largest = {1: 12, 2: 5, 3: 3}[rank]
    found = 0
    while found < count:
        spatial = rng.integers(1, largest + 1, rank).tolist()
        kernel = rng.integers(1, 5 if rank < 3 else 4, rank).tolist()
        stride, dilation = rng.integers(1, 5, rank).tolist(), rng.integers(1, 4, rank).tolist()
        settings = {
            "stride": stride,
            "padding": rng.integers(0, 4, rank).tolist(),
            "output_padding": [
                int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True)
            ],
            "dilation": dilation,
            "groups": int(rng.choice([1, 1, 2, 3])),
        }
        channels = tuple(int(c) for c in rng.integers(1, 4 if rank < 3 else 3, 2))
        if fits(pytorch_sizes(spatial, kernel, settings), limit=1500):
            found += 1
            yield pytorch_case(
                first + found, spatial, kernel, settings, channels, bias=bool(rng.integers(2)), **options
            )


def pytorch():
    yield from pytorch_grid()
    yield from pytorch_drawn(2, 60, 0, 1000)
    yield from pytorch_drawn(3, 40, 0, 2000)
    for rank in (1, 2, 3):
        yield from pytorch_drawn(rank, 12, 1, 3000 + 100 * rank, dtype=np.complex128)


# ---------------------------------------------------------------- Keras


def keras_sizes(spatial, kernel, settings):
    sizes = []
    for axis, (n, k) in enumerate(zip(spatial, kernel, strict=True)):
        s, d = settings["strides"][axis], settings["dilation_rate"][axis]
        reach = (k - 1) * d + 1
        op = None if settings["output_padding"] is None else settings["output_padding"][axis]
        if settings["padding"] == "valid":
            sizes.append((n - 1) * s + max(reach, s) if op is None else (n - 1) * s + reach + op)
        else:
            sizes.append(n * s if op is None else (n - 1) * s + reach % 2 + op)
    return sizes


def keras_case(number, spatial, kernel, settings, channels, *, bias=True, **options):
    filters, given = channels
    batch = 1 + number % 2
    last = settings["data_format"] == "channels_last"
    shapes = {
        "x": (batch, *spatial, given) if last else (batch, given, *spatial),
        "weight": (*kernel, filters, given),
        "bias": (filters,) if bias else None,
    }
    return make_case(f"Conv{len(spatial)}DTranspose-{number}", settings, shapes, number, **options)


def keras_grid():
    number = 0
    for padding, k, s, d in itertools.product(("valid", "same"), (1, 2, 3, 4, 5), (1, 2, 3, 4), (1, 2)):
        if s > 1 and d > 1:
            continue
        for op in (None, *range(s)):
            n = 1 + number % 4
            settings = {
                "strides": [s],
                "padding": padding,
                "output_padding": None if op is None else [op],
                "dilation_rate": [d],
                "data_format": ("channels_last", "channels_first")[number % 2],
            }
            if fits(keras_sizes([n], [k], settings)):
                number += 1
                yield keras_case(
                    number, [n], [k], settings, (1 + number % 2, 1 + number % 3), bias=number % 4 > 0
                )


def keras_drawn(rank, count, seed, first=0, **options):
    rng = np.random.default_rng((rank, seed))
    largest = {1: 10, 2: 5, 3: 3}[rank]
    found = 0
    while found < count:
        spatial = rng.integers(1, largest + 1, rank).tolist()
        kernel = rng.integers(1, 6 if rank < 3 else 4, rank).tolist()
        dilated = rng.integers(4) == 0
        strides = [1] * rank if dilated else rng.integers(1, 5 if rank < 3 else 4, rank).tolist()
        settings = {
            "strides": strides,
            "padding": str(rng.choice(["valid", "same"])),
            "output_padding": None if rng.integers(2) else [int(rng.integers(0, s)) for s in strides],
            "dilation_rate": rng.integers(1, 4, rank).tolist() if dilated else [1] * rank,
            "data_format": str(rng.choice(["channels_last", "channels_first"])),
        }
        channels = tuple(int(c) for c in rng.integers(1, 4 if rank < 3 else 3, 2))
        if fits(keras_sizes(spatial, kernel, settings), limit=1500):
            found += 1
            yield keras_case(
                first + found, spatial, kernel, settings, channels, bias=bool(rng.integers(2)), **options
            )


def keras():
    yield from keras_grid()
    yield from keras_drawn(2, 60, 0, 1000)
    yield from keras_drawn(3, 40, 0, 2000)


# ---------------------------------------------------------------- ONNX


def onnx_full(spatial, kernel, settings):
    return [
        (n - 1) * s + (k - 1) * d + 1 + op
        for n, k, s, d, op in zip(
            spatial,
            kernel,
            settings["strides"],
            settings["dilations"],
            settings["output_padding"],
            strict=True,
        )
    ]


def onnx_drawn(rank, count, seed, first=0, **options):
    rng = np.random.default_rng((rank, seed))
    largest = {1: 8, 2: 4, 3: 3}[rank]
    found = 0
    while found < count:
        spatial = rng.integers(1, largest + 1, rank).tolist()
        kernel = rng.integers(1, 5 if rank < 3 else 4, rank).tolist()
        strides, dilations = rng.integers(1, 4, rank).tolist(), rng.integers(1, 3, rank).tolist()
        settings = {
            "strides": strides,
            "dilations": dilations,
            "group": int(rng.choice([1, 1, 2, 3])),
            "output_padding": [
                int(rng.integers(0, max(s, d))) if rng.integers(3) == 0 else 0
                for s, d in zip(strides, dilations, strict=True)
            ],
        }
        full = onnx_full(spatial, kernel, settings)
        kind = str(rng.choice(["pads", "SAME_UPPER", "SAME_LOWER", "VALID", "output_shape"]))
        if kind == "pads":
            pads = rng.integers(0, 3, 2 * rank).tolist()
            settings["pads"] = pads
            sizes = [f - b - e for f, b, e in zip(full, pads[:rank], pads[rank:], strict=True)]
        elif kind == "output_shape":
            # The specification's formula for the pads leaves no doubt only while it gives none below zero.
            sizes = [int(rng.integers(max(1, f - 4), f + 1)) for f in full]
            settings["output_shape"] = sizes
            settings["auto_pad"] = str(rng.choice(["NOTSET", "SAME_UPPER", "SAME_LOWER"]))
        else:
            settings["auto_pad"] = kind
            sizes = full if kind == "VALID" else [n * s for n, s in zip(spatial, strides, strict=True)]
        if not fits(sizes, limit=1500) or not fits(full):
            continue
        found += 1
        group_in, group_out = (int(c) for c in rng.integers(1, 3, 2))
        group = settings["group"]
        shapes = {
            "x": (int(rng.integers(1, 3)), group_in * group, *spatial),
            "weight": (group_in * group, group_out, *kernel),
            "bias": (group_out * group,) if rng.integers(2) else None,
        }
        yield make_case(
            f"ConvTranspose-{rank}d-{first + found}",
            settings,
            shapes,
            first + found,
            dtype=np.float32,
            **options,
        )


def onnx():
    yield from onnx_drawn(1, 60, 0, 0)
    yield from onnx_drawn(2, 60, 0, 1000)
    yield from onnx_drawn(3, 30, 0, 2000)


# ---------------------------------------------------------------- JAX


def jax_drawn(rank, count, seed, first=0, **options):
    rng = np.random.default_rng((rank, seed))
    largest = {1: 10, 2: 5, 3: 3}[rank]
    found = 0
    while found < count:
        spatial = rng.integers(1, largest + 1, rank).tolist()
        kernel = rng.integers(1, 6 if rank < 3 else 4, rank).tolist()
        strides, dilation = rng.integers(1, 4, rank).tolist(), rng.integers(1, 3, rank).tolist()
        kind = str(rng.choice(["SAME", "VALID", "pairs"]))
        pairs = rng.integers(0, 6, (rank, 2)).tolist()
        settings = {
            "strides": strides,
            "padding": pairs if kind == "pairs" else kind,
            "rhs_dilation": dilation,
            "transpose_kernel": bool(rng.integers(2)),
        }
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        sizes = [n * s for n, s in zip(spatial, strides, strict=True)]
        if kind == "pairs":
            sizes = [
                (n - 1) * s + 2 - r + lo + hi
                for n, s, r, (lo, hi) in zip(spatial, strides, reach, pairs, strict=True)
            ]
        if not fits(sizes, limit=1500):
            continue
        found += 1
        given, filters = (int(c) for c in rng.integers(1, 4 if rank < 3 else 3, 2))
        order = (filters, given) if settings["transpose_kernel"] else (given, filters)
        shapes = {"x": (int(rng.integers(1, 3)), *spatial, given), "weight": (*kernel, *order)}
        yield make_case(f"conv_transpose-{rank}d-{first + found}", settings, shapes, first + found, **options)


def jax():
    yield from jax_drawn(1, 80, 0, 0)
    yield from jax_drawn(2, 60, 0, 1000)
    yield from jax_drawn(3, 30, 0, 2000)


FROZEN = {"pytorch": pytorch, "keras": keras, "onnx": onnx, "jax": jax}
DRAWN = {"pytorch": pytorch_drawn, "keras": keras_drawn, "onnx": onnx_drawn, "jax": jax_drawn}
