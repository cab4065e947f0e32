"""``pyx-deconv demo``: the parser; what is shown is in `pyx_deconv.demo`."""

import argparse
from pathlib import Path
from typing import Any

from pyx_deconv import demo
from pyx_deconv.command._common import CommandError

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to those of the program."""
    parser = commands.add_parser(
        "demo",
        help="the classic examples by numbers, a photograph enlarged, its gradients checked",
        description="Computes the classic examples, answers the one that is often copied wrong, enlarges a "
        "colour photograph x2 and x3 by a depthwise transposed convolution and checks the gradients on it.",
        epilog="example: pyx-deconv demo --photo cat.jpg --output pictures",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("demo-output"), metavar="DIR",
        help="the folder for the pictures, made if it is missing (default: ./demo-output)",
    )  # fmt: skip
    parser.add_argument(
        "--photo", type=Path, metavar="FILE", help="a photograph of yours instead of scikit-image's cat"
    )
    parser.add_argument("--quiet", action="store_true", help="print only the names of the files and errors")


def run(options: argparse.Namespace) -> int:
    """Run the demo; return 0, or 1 if the pictures or the gradients are wrong."""
    try:
        return demo.run(options.output, options.photo, options.quiet)
    except demo.DemoError as error:
        raise CommandError(str(error)) from error
