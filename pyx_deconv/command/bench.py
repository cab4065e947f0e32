"""``pyx-deconv bench``: how fast the passes of some layers are on this machine."""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

import pyx_deconv as pxd
from pyx_deconv import kernels
from pyx_deconv._demo_numbers import size_text, table
from pyx_deconv.command._common import CommandError, add_json, new_parser, print_json
from pyx_deconv.command._values import integers, padding, sizes

__all__ = ["add_parser", "run"]

EXAMPLES = """\
examples:
  pyx-deconv bench --quick
  pyx-deconv bench --input 1x64x32x32 --weight 64x32x4x4 --stride 2 --padding 1
  OMP_NUM_THREADS=1 pyx-deconv bench --json

GFLOP/s counts two operations for each product of an input value and a tap, whether computed by fewer or not.
To compare with PyTorch, ONNX Runtime, OpenVINO, TensorFlow and JAX: make bench, in the cloned folder.
"""


class Layer(NamedTuple):
    """The shapes and settings that are timed; the weight is (C_in, C_out // groups, *kernel)."""

    name: str
    x: tuple[int, ...]
    weight: tuple[int, ...]
    settings: dict[str, Any]
    dtype: str = "float32"

    @property
    def operations(self) -> int:
        """Floating-point operations of one pass: a product and a sum for each input value and tap."""
        return 2 * prod(self.x) * prod(self.weight[1:])


LAYERS = [
    Layer("DCGAN generator, 256 to 128", (1, 256, 16, 16), (256, 128, 4, 4), {"stride": 2, "padding": 1}),
    Layer("U-Net, 128 to 64", (1, 128, 112, 112), (128, 64, 2, 2), {"stride": 2}),
    Layer("FSRCNN, x2", (1, 56, 128, 128), (56, 1, 9, 9), {"stride": 2, "padding": 4, "output_padding": 1}),
    Layer("HiFi-GAN vocoder, 256 to 128", (1, 256, 256), (256, 128, 16), {"stride": 8, "padding": 4}),
    Layer("3-D U-Net, 64 to 32", (1, 64, 16, 16, 16), (64, 32, 2, 2, 2), {"stride": 2}),
    Layer("bilinear x2, depthwise", (1, 9, 256, 256), (9, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 9}),
]  # fmt: skip


def add_parser(commands: Any) -> None:
    """Add the command to those of the program."""
    parser = new_parser(
        commands,
        "bench",
        help="how fast some layers are on this machine: every pass, milliseconds and GFLOP/s",
        description="Times the forward pass and both gradients of a few layers of well-known networks, or "
        "of one that you describe, with random numbers. It takes less than a minute.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds, and less exact")
    parser.add_argument(
        "--input", type=sizes, metavar="SHAPE", help="(batch, channels, *sizes) of x, such as 1x64x32x32"
    )
    parser.add_argument(
        "--weight", type=sizes, metavar="SHAPE",
        help="(channels in, channels out / groups, *kernel), such as 64x32x4x4",
    )  # fmt: skip
    parser.add_argument(
        "--stride", type=integers, default=1, metavar="N", help="such as 2 or 2,1 (default: 1)"
    )
    parser.add_argument("--padding", type=padding, default=0, metavar="P", help="as for explain (default: 0)")
    parser.add_argument("--output-padding", type=integers, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--dilation", type=integers, default=1, metavar="N", help="(default: 1)")
    parser.add_argument("--groups", type=int, default=1, metavar="N", help="(default: 1)")
    parser.add_argument(
        "--dtype", choices=["float32", "float64", "float16"], default="float32", help="(default: float32)"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Time the passes and print a table; return the exit code 0."""
    if (options.input is None) != (options.weight is None):
        raise CommandError("--input and --weight belong together: give both or neither")
    layers = LAYERS
    if options.input:
        names = ("stride", "padding", "output_padding", "dilation", "groups")
        settings = {name: getattr(options, name) for name in names}
        layers = [Layer("yours", options.input, options.weight, settings, options.dtype)]
    try:
        rows = [row for layer in layers for row in _timed(layer, 0.05 if options.quick else 1.0)]
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
    threads = pxd.get_num_threads()
    if options.json:
        machine = {
            "pyx_deconv": pxd.__version__,
            "instruction_set": kernels.instruction_set,
            "threads": threads,
        }
        print_json(machine | {"passes": rows})
        return 0
    on = f"on {threads} thread{'s' * (threads > 1)}, instruction set {kernels.instruction_set}"
    print(f"pyx_deconv {pxd.__version__} {on}\n")
    cells = [
        [
            row["layer"] if row["pass"] == "forward" else "",
            size_text(row["input"]) if row["pass"] == "forward" else "",
            row["pass"],
            f"{row['ms']:.3g} ms",
            f"{row['GFLOP/s']:.0f} GFLOP/s",
        ]
        for row in rows
    ]
    print(*table("<<<>>", [["layer", "input", "pass", "median time", "speed"], *cells]), sep="\n")
    return 0


def _timed(layer: Layer, seconds: float) -> Iterator[dict[str, Any]]:
    """Time every pass for about so many seconds."""
    for name, call in _passes(layer).items():
        call()  # the plan is made, memory is found
        times: list[float] = []
        while len(times) < 3 or sum(times) < seconds:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        median = statistics.median(times)
        yield {
            "layer": layer.name, "input": layer.x, "weight": layer.weight, "settings": layer.settings,
            "dtype": layer.dtype, "pass": name, "calls": len(times), "ms": median * 1e3,
            "ms_fastest": min(times) * 1e3, "GFLOP/s": layer.operations / median / 1e9,
        }  # fmt: skip


def _passes(layer: Layer) -> dict[str, Callable[[], object]]:
    random = np.random.default_rng(0)
    x, weight = (
        random.random(shape, np.float32).astype(layer.dtype) - 0.5 for shape in (layer.x, layer.weight)
    )
    operator = pxd.ConvTranspose(weight, **layer.settings)
    grad_output = random.random(operator.output_shape(x.shape), np.float32).astype(layer.dtype)

    def gradient(of: str) -> Callable[[], object]:
        return lambda: operator.backward(grad_output, x, needs=(of,))

    return {
        "forward": lambda: operator(x),
        "gradient of x": gradient("x"),
        "gradient of weight": gradient("weight"),
    }
