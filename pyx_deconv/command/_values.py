"""What a text on the command line means."""

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["each", "integers", "padding", "sizes"]

T = TypeVar("T")


def each(text: str, separator: str, kind: Callable[[str], T], wanted: str) -> list[T]:
    """Return the entries of a list; what is none is refused in the words ``wanted``."""
    try:
        return [kind(entry) for entry in text.split(separator)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}") from None


def sizes(text: str) -> tuple[int, ...]:
    """Return sizes such as 4 or 4x6."""
    return tuple(each(text, "x", int, "a size such as 4 or 4x6"))


def integers(text: str) -> int | list[int]:
    """Return an integer, or one for each axis."""
    entries = each(text, ",", int, "an integer, or one for each axis, such as 2,1")
    return entries if len(entries) > 1 else entries[0]


def padding(text: str) -> int | str | list[Any]:
    """Return a padding as the functions take it: a number, numbers, (begin, end) pairs or a word."""
    wanted = "an integer, 1,2 for each axis, 1:0,0:2 for begin and end, or valid, same, same_lower"
    if text.replace("_", "").isalpha():
        return text
    if ":" in text:
        return [each(entry, ":", int, wanted) for entry in text.split(",")]
    entries = each(text, ",", int, wanted)
    return entries if len(entries) > 1 else entries[0]
