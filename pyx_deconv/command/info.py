"""``pyx-deconv info``: what was built, and what of it is used on this machine."""

import argparse
from typing import Any

import pyx_deconv as pxd
from pyx_deconv.command._common import add_json, new_parser, print_json

__all__ = ["add_parser", "run"]


def add_parser(commands: Any) -> None:
    """Add the command to those of the program."""
    parser = new_parser(
        commands,
        "info",
        help="version, instruction set, threads and OpenMP, for a bug report",
        description="Prints the version, the instruction set, the threads and where their number comes from, "
        "and the OpenMP runtime, as a bug report needs them.",
        epilog="examples:\n  pyx-deconv info\n  pyx-deconv info --json",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print it; return the exit code 0."""
    if options.json:
        print_json(pxd.show_config(mode="dicts"))
    else:
        pxd.show_config()
    return 0
