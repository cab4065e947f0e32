"""What the commands share."""

import argparse
import json
import sys
from importlib import import_module
from shutil import get_terminal_size
from textwrap import fill
from typing import Any

__all__ = ["CommandError", "add_json", "new_parser", "note", "print_json", "require"]


class CommandError(Exception):
    """Something in the call that has to change; the message is one line."""


def new_parser(commands: Any, name: str, *, help: str, description: str, epilog: str) -> Any:
    """Add a command with its examples, which keep their lines."""
    return commands.add_parser(
        name,
        help=help,
        description=fill(description, get_terminal_size().columns - 2),  # as argparse wraps the rest
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option for scripts."""
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def print_json(data: object) -> None:
    """Print the result of a command for scripts; NaN and infinity, which JSON has not, become null."""
    plain = json.loads(json.dumps(data), parse_constant=lambda _: None)
    print(json.dumps(plain, indent=2))


def note(line: str) -> None:
    """Print what is neither a result nor the end."""
    print(f"pyx-deconv: {line}", file=sys.stderr)


def require(extra: str, *modules: str) -> None:
    """Raise a CommandError that says what to install, if one of the modules is missing."""
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            package = {"PIL": "pillow"}.get(module, module)
            raise CommandError(f'{package} is needed: pip install "pyx_deconv[{extra}]"') from error
