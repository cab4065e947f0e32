"""``pyx-deconv explain``: what stands on the command line, as the arguments of ``explain``, into a file."""

import argparse
import re
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pyx_deconv.command._common import CommandError, new_parser
from pyx_deconv.command._values import each, integers, padding
from pyx_deconv.explanation._explanation import SUFFIXES, explain

__all__ = ["add_parser", "run"]

EXAMPLES = """\
examples:
  pyx-deconv explain                                           the classic: 2x2, kernel 3x3, stride 2
  pyx-deconv explain --input 4 --kernel 1,10,100 --stride 2 --padding same -o shown.png
  pyx-deconv explain --input "1,2;3,4" --kernel 4x4 --stride 2 --padding 1 -o shown.gif
  pyx-deconv explain --kernel 3x3 --stride 2,1 --padding 1:0,0:1 --force
"""


def add_parser(commands: Any) -> None:
    """Add the command to those of the program."""
    parser = new_parser(
        commands,
        "explain",
        help="one small transposed convolution with its numbers: a page, an animation or a picture",
        description="Shows one transposed convolution with the number of every cell, by four views: scatter, "
        "gather, matrix, sub-pixel.",
        epilog=EXAMPLES,
    )
    array = "a size, such as 4 or 2x2, filled with 1, 2, 3, ...; or its numbers, as 1,2,3 or 1,2;3,4"
    what = "such as 1; 1,2 for each axis; 1:0,0:2 for begin and end; valid, same, same_lower"
    parser.add_argument(
        "--input", type=_array, default="2x2", metavar="X", help=f"the input x: {array} (default: 2x2)"
    )
    parser.add_argument(
        "--kernel",
        type=_array,
        default="3x3",
        metavar="W",
        help="the same for the kernel (default: 3x3)",
    )
    parser.add_argument(
        "--stride", type=integers, default="2", metavar="N", help="such as 2 or 2,1 (default: 2)"
    )
    parser.add_argument(
        "--padding", type=padding, default="0", metavar="P",
        help=f"what is cropped of the full result: {what} (default: 0)",
    )  # fmt: skip
    parser.add_argument("--output-padding", type=integers, default="0", metavar="N", help="(default: 0)")
    parser.add_argument("--dilation", type=integers, default="1", metavar="N", help="(default: 1)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("explain.html"), metavar="FILE",
        help=f"what to write: {', '.join(SUFFIXES)} (default: ./explain.html)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def run(options: argparse.Namespace) -> int:
    """Write the file that the options ask for; return the exit code 0."""
    path: Path = options.output
    if not options.force and path.exists():
        raise CommandError(f"{path} is there already; --force replaces it")
    try:
        shown = explain(
            options.input,
            options.kernel,
            stride=options.stride,
            padding=options.padding,
            output_padding=options.output_padding,
            dilation=options.dilation,
        )
        shown.save(path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}") from error
    except (ImportError, TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
    print(shown, f"{path}, {path.stat().st_size / 1e3:.0f} kB", sep="\n")
    return 0


def _array(text: str) -> ArrayLike:
    wanted = "a size such as 4 or 2x2, or numbers such as 1,2,3 or 1,2;3,4"
    if re.fullmatch(r"\d+(x\d+)*", text):
        sizes = each(text, "x", int, wanted)
        if prod(sizes) > 10_000:  # less is refused with better words, once it is an array
            raise argparse.ArgumentTypeError(f"{text} is too large to be looked at")
        return np.arange(1.0, prod(sizes) + 1).reshape(sizes)
    rows = [each(row, ",", float, wanted) for row in text.split(";")]
    if len(set(map(len, rows))) > 1:
        raise argparse.ArgumentTypeError(f"must have rows of one length, not {text!r}")
    return rows if len(rows) > 1 else rows[0]
