"""The part of the demo that is text: the classic examples by numbers, and the one that is copied wrong."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pyx_deconv as pxd

__all__ = ["cell_sum", "classic_examples", "copied_example", "settings_table", "size_text", "table"]


def table(alignment: str, rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of aligned columns; ``alignment`` has one of < > for each."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  " + "  ".join(f"{c:{a}{w}}" for c, a, w in zip(row, alignment, widths, strict=True)).rstrip()
        for row in cells
    ]


def size_text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _integers(array: NDArray[Any]) -> list[str]:
    width = max(len(f"{value:.0f}") for value in array.flat)
    return [" ".join(f"{value:{width}.0f}" for value in row) for row in array]


def cell_sum(image: NDArray[Any], kernel: NDArray[Any], stride: int, row: int, column: int) -> str:
    """Write out what is added up in one output cell: every input value times the tap that lands there."""
    products = [
        (value, kernel[row - i * stride, column - j * stride])
        for (i, j), value in np.ndenumerate(image)
        if 0 <= row - i * stride < kernel.shape[0] and 0 <= column - j * stride < kernel.shape[1]
    ]
    written = " + ".join(f"{value}*{tap}" for value, tap in products)
    return f"{written} = {sum(value * tap for value, tap in products)}"


def classic_examples() -> list[str]:
    """Describe a 2x2 map and a 3x3 kernel at strides 1 and 2."""
    image, kernel = np.array([[1, 2], [3, 4]]), np.arange(1, 10).reshape(3, 3)
    blocks = {"map": image, "kernel": kernel}
    for stride in (1, 2):
        y = pxd.conv_transpose(image[None], kernel[None, None], stride=stride)[0]
        blocks[f"stride {stride}: {size_text(y.shape)}"] = y
    columns = [[title, *_integers(block)] for title, block in blocks.items()]
    height = max(map(len, columns))
    rows = zip(*(column + [""] * (height - len(column)) for column in columns), strict=True)
    return [
        "1. A 2x2 map and a 3x3 kernel: every value of the map paints the kernel, stride pixels apart",
        "",
        *table("<<<<", rows),
        "",
        "  One cell written out: each value of the map times the value of the kernel that lands there.",
        f"  stride 1, row 1, column 1:  {cell_sum(image, kernel, 1, 1, 1)}",
        f"  stride 2, row 2, column 2:  {cell_sum(image, kernel, 2, 2, 2)}",
    ]


def settings_table(settings: Iterable[pxd.Setting], results: Iterable[str] | None = None) -> list[str]:
    """Lines of a table of settings, beside what was computed with each, if that is given."""
    head: list[object] = [
        "kernel",
        "stride",
        "padding",
        "output_padding",
        "taps per output pixel",
        "padding word",
    ]
    rows: list[list[object]] = []
    for setting in settings:
        kernel, stride, padding, output_padding, _ = setting
        fewest, most = setting.overlap
        ends = padding if isinstance(padding, int) else str(padding[0])
        overlap = f"uneven, {fewest} to {most}" if setting.uneven else f"even, {most}"
        rows.append([kernel, stride, ends, output_padding, overlap, ", ".join(setting.words[:2])])
    if results is None:
        return table(">>>><<", [head, *rows])
    computed = zip([head, *rows], ["result", *results], strict=True)
    return table(">>>><<<", [[*row, result] for row, result in computed])


def copied_example() -> list[str]:
    """Answer the example that is often copied: 4x4x3, kernel 5, stride 2, "same", said to give 12x12x3."""
    x, weight = np.ones((4, 4, 3)), np.ones((3, 3, 5, 5))

    def result(**settings: Any) -> str:
        return size_text(pxd.conv_transpose(x, weight, data_format="channels_last", **settings).shape)

    answers, shown = pxd.solve_settings(4, 12), 8
    fitting = [setting for setting in answers if setting.kernel_size == 5]
    return [
        '2. The example everybody copies: 4x4x3, kernel 5, stride 2, "same". Does it give 12x12x3?',
        "",
        f'  No: {result(stride=2, padding="same")}. "same" means input size x stride.'
        f' "valid" would give {result(stride=2, padding="valid")}.',
        "  These settings do take 4 to 12, the simplest first:",
        "",
        *settings_table(answers[:shown]),
        f"  and {len(answers) - shown} more",
        "",
        "  Those with kernel 5, computed:",
        "",
        *settings_table(fitting, [result(**setting.arguments) for setting in fitting]),
        "",
        "  As a framework's user would write them:",
        f'  stride=2, padding="valid", output_padding=1:  '
        f"{result(stride=2, padding='valid', output_padding=1)}",
        f'  stride=3, padding="same":                     {result(stride=3, padding="same")}',
    ]
