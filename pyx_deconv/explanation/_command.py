"""``pyx-deconv explain``: what stands on the command line, as the arguments of ``explain``, into a file."""

import argparse
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from pyx_deconv.explanation._explanation import SUFFIXES, explain

__all__ = ["CommandError", "add_parser", "run"]

T = TypeVar("T")

EXAMPLES = """\
examples:
  pyx-deconv explain                                           the classic: 2x2, kernel 3x3, stride 2
  pyx-deconv explain --input 4 --kernel 1,10,100 --stride 2 --padding same -o shown.png
  pyx-deconv explain --input "1,2;3,4" --kernel 4x4 --stride 2 --padding 1 -o shown.gif
  pyx-deconv explain --kernel 3x3 --stride 2,1 --padding 1:0,0:1 --force
"""


class CommandError(Exception):
    """Something in the call that has to change; the message is one line."""


def add_parser(commands: Any) -> None:
    """Add the command to those of the program."""
    parser = commands.add_parser(
        "explain",
        help="one small transposed convolution with its numbers: a page, an animation or a picture",
        description="Shows one transposed convolution with the number of every cell, by four views: scatter, "
        "gather, matrix, sub-pixel.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
        "--stride", type=_integers, default="2", metavar="N", help="such as 2 or 2,1 (default: 2)"
    )
    parser.add_argument(
        "--padding", type=_padding, default="0", metavar="P",
        help=f"what is cropped of the full result: {what} (default: 0)",
    )  # fmt: skip
    parser.add_argument("--output-padding", type=_integers, default="0", metavar="N", help="(default: 0)")
    parser.add_argument("--dilation", type=_integers, default="1", metavar="N", help="(default: 1)")
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


# --- what a text on the command line means ------------------------------------------------------------------


def _array(text: str) -> ArrayLike:
    wanted = "a size such as 4 or 2x2, or numbers such as 1,2,3 or 1,2;3,4"
    if re.fullmatch(r"\d+(x\d+)*", text):
        sizes = _each(text, "x", int, wanted)
        if prod(sizes) > 10_000:  # less is refused with better words, once it is an array
            raise argparse.ArgumentTypeError(f"{text} is too large to be looked at")
        return np.arange(1.0, prod(sizes) + 1).reshape(sizes)
    rows = [_each(row, ",", float, wanted) for row in text.split(";")]
    if len(set(map(len, rows))) > 1:
        raise argparse.ArgumentTypeError(f"must have rows of one length, not {text!r}")
    return rows if len(rows) > 1 else rows[0]


def _integers(text: str) -> int | list[int]:
    entries = _each(text, ",", int, "an integer, or one for each axis, such as 2,1")
    return entries if len(entries) > 1 else entries[0]


def _padding(text: str) -> int | str | list[Any]:
    wanted = "an integer, 1,2 for each axis, 1:0,0:2 for begin and end, or valid, same, same_lower"
    if re.fullmatch("[a-z_]+", text):
        return text
    if ":" in text:
        return [_each(entry, ":", int, wanted) for entry in text.split(",")]
    entries = _each(text, ",", int, wanted)
    return entries if len(entries) > 1 else entries[0]


def _each(text: str, separator: str, kind: Callable[[str], T], wanted: str) -> list[T]:
    try:
        return [kind(entry) for entry in text.split(separator)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}") from None
