"""``pyx-deconv solve``: which settings take one size to another."""

import argparse
from typing import Any

import pyx_deconv as pxd
from pyx_deconv._demo_numbers import settings_table, size_text
from pyx_deconv.command._common import CommandError, add_json, new_parser, print_json
from pyx_deconv.command._values import each, sizes

__all__ = ["add_parser", "run"]

EXAMPLES = """\
examples:
  pyx-deconv solve 4 12                           every answer, the simplest first
  pyx-deconv solve 4 12 --kernel 5 --stride 2     only those with this kernel and stride
  pyx-deconv solve 4x6 12x18 --padding same       the same settings for both axes
  pyx-deconv solve 7 224 --all --json             for a script
exit code 1: no settings do that
"""
SHOWN = 12
OPTIONS = {  # option -> parameter of solve_settings, and what the help says
    "kernel": ("kernel_size", "only answers with this kernel size"),
    "stride": ("stride", "only answers with this stride"),
    "output-padding": ("output_padding", "only answers with this output_padding"),
    "dilation": ("dilation", "the dilation of every answer (default: 1)"),
    "max-kernel": ("max_kernel_size", "the largest kernel tried (default: 2 * max-stride, at least 7)"),
    "max-stride": ("max_stride", "the largest stride tried (default: output / input, at most 32)"),
}  # fmt: skip


def add_parser(commands: Any) -> None:
    """Add the command to those of the program."""
    parser = new_parser(
        commands,
        "solve",
        help="which kernel, stride and padding take one size to another",
        description="Finds the settings of a transposed convolution that take one size to another, the "
        "simplest first: no output_padding, both ends cropped alike, as many taps for every output pixel.",
        epilog=EXAMPLES,
    )
    parser.add_argument("input", type=sizes, metavar="INPUT", help="the input's size, such as 4 or 4x6")
    parser.add_argument("output", type=sizes, metavar="OUTPUT", help="the output's size, such as 12 or 12x18")
    for option, (name, text) in OPTIONS.items():
        parser.add_argument(f"--{option}", type=int, dest=name, metavar="N", help=text)
    parser.add_argument(
        "--padding", type=_padding, metavar="P",
        help="only answers with this padding: such as 1; 1:2 for begin and end; valid, same, same_lower",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help=f"print more than the first {SHOWN}")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the answers; return 0, or 1 if there are none."""
    names = ["padding", *(name for name, _ in OPTIONS.values())]
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        answers = pxd.solve_settings(options.input, options.output, **given)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from error
    if options.json:
        print_json([_data(answer) for answer in answers])
        return 0 if answers else 1
    asked = f"{size_text(options.input)} to {size_text(options.output)}"
    if not answers:
        print(f"No settings within the bounds take {asked}; see the options of pyx-deconv solve --help.")
        return 1
    shown = answers if options.all else answers[:SHOWN]
    print(f"Settings that take {asked}, the simplest first:", "", *settings_table(shown), sep="\n")
    if len(shown) < len(answers):
        print(f"  and {len(answers) - len(shown)} more: --all")
    return 0


def _data(answer: pxd.Setting) -> dict[str, Any]:
    fewest, most = answer.overlap
    taps = {"fewest": fewest, "most": most}
    return answer._asdict() | {"padding_words": answer.words, "taps_per_output_pixel": taps}


def _padding(text: str) -> int | str | tuple[int, ...]:
    if text.replace("_", "").isalpha():
        return text
    entries = each(text, ":", int, "an integer, 1:2 for begin and end, or valid, same, same_lower")
    return tuple(entries) if len(entries) > 1 else entries[0]
