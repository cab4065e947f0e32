"""Numbers and sizes as they are written in every view."""

from collections.abc import Sequence

__all__ = ["common", "factor", "number", "sizes_text"]


def number(value: float, digits: int = 4) -> str:
    """Write a number as short as it can be read."""
    return f"{value + 0.0:.{digits}g}"  # -0.0 + 0.0 is 0.0


def factor(value: float) -> str:
    """Write a number in a product."""
    text = number(value)
    return f"({text})" if text.startswith("-") else text


def sizes_text(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes))


def common(entries: Sequence[object]) -> str:
    """Write what all axes have, or what each of them has."""
    return str(entries[0] if len(set(entries)) == 1 else tuple(entries))
