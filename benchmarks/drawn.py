"""Layers drawn at random: what is fitted to the listed ones must hold for these as well."""

from math import prod
from random import Random

from benchmarks.layers import Layer

__all__ = ["drawn_layers"]

RANKS = (2, 2, 2, 1, 3)
CHANNELS = (1, 3, 8, 12, 16, 20, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 512)
WIDEST = {1: 16, 2: 7, 3: 4}  # kernels
FLOP = (3e7, 2e9)  # of a layer: a millisecond or more on one thread
LONGEST = {1: 16384, 2: 256, 3: 48}  # maps
ELEMENTS = 2**24  # of the output: 64 MB


def drawn_layers(seed: int, count: int = 24) -> list[Layer]:
    """Return layers with channels, kernels and maps of the sizes that networks have; a seed names them."""
    rng = Random(seed)
    found: dict[str, Layer] = {}
    while len(found) < count:
        layer = draw(rng)
        if layer and layer.name not in found:
            found[layer.name] = layer
    return list(found.values())


def draw(rng: Random) -> Layer | None:
    """Draw one layer, or one that is refused: too small, too large, or less than nothing left of it."""
    rank = rng.choice(RANKS)
    kernel = (rng.randint(2, WIDEST[rank]),) * rank
    stride = (rng.randint(1, min(kernel[0], 8 if rank == 1 else 3)),) * rank
    dilation = (2 if rng.random() < 0.1 else 1,) * rank
    c_in, c_out, groups = rng.choice(CHANNELS), rng.choice(CHANNELS), 1
    kind = rng.random()
    if kind < 0.1:
        groups = c_out = c_in
    elif kind < 0.2:
        groups = rng.choice((2, 4, 8))
        c_in, c_out = (-(-channels // groups) * groups for channels in (c_in, c_out))
    extent = (kernel[0] - 1) * dilation[0] + 1
    padding = (rng.choice((0, (extent - stride[0]) // 2, (extent - 1) // 2)),) * rank
    output_padding = (rng.choice((0, stride[0] - 1)),) * rank
    side = round(LONGEST[rank] ** rng.uniform(0.3, 1))
    spatial = tuple(max(1, round(side * rng.uniform(0.8, 1.25))) for _ in range(rank))
    samples = rng.choice((1, 1, 2, 4, 16))
    out = tuple(
        (n - 1) * s + extent - 2 * p + op
        for n, s, p, op in zip(spatial, stride, padding, output_padding, strict=True)
    )
    flop = 2 * samples * c_in * c_out // groups * prod(kernel) * prod(spatial)
    elements = prod(out) * c_out * samples
    if min(padding) < 0 or min(out) < 1 or not FLOP[0] <= flop <= FLOP[1] or elements > ELEMENTS:
        return None
    kinds = {
        "3-D": rank == 3,
        "grouped": groups > 1,
        "dilated": dilation[0] > 1,
        "few channels": min(c_in, c_out) < 32,
        "dense": True,
    }
    family = next(kind for kind, applies in kinds.items() if applies)
    parts = {"k": kernel[0], "s": stride[0], "d": dilation[0], "g": groups, "b": samples}
    words = "_".join(key + str(value) for key, value in parts.items() if value > 1)
    name = f"{c_in}_{c_out}_{'x'.join(map(str, spatial))}_{words}"
    sizes = spatial, kernel, stride, padding, output_padding, dilation
    return Layer(name, "drawn", family, samples, c_in, c_out, *sizes, groups, out)
