"""Write the tables of docs/conventions.md, from the geometry of the library: ``python conventions.py``."""

from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

import pyx_deconv as pxd
from pyx_deconv import convert
from pyx_deconv.geometry import (
    effective_kernel,
    full_size,
    jax_crop,
    keras_crop,
    onnx_crop,
    pytorch_crop,
)

PAGE = Path(__file__).resolve().parent.parent / "conventions.md"
MARKS = "<!-- from here on written by examples/conventions.py -->\n", "<!-- up to here -->\n"

N = 4  # input pixels of the worked numbers
WORKED = [(3, 2, 1), (4, 2, 1), (5, 2, 1), (5, 3, 1), (2, 3, 1), (3, 2, 2)]  # kernel, stride, dilation

Crop = tuple[int, int]
CONVENTIONS: dict[str, Callable[[int, int, int], Crop]] = {
    "PyTorch `padding=0`": lambda k, s, d: pytorch_crop(),
    "PyTorch `padding=0, output_padding=1`": lambda k, s, d: pytorch_crop(0, 1),
    "PyTorch `padding=K//2`": lambda k, s, d: pytorch_crop(effective_kernel(k, d) // 2),
    "PyTorch `padding=K//2, output_padding=1`": lambda k, s, d: pytorch_crop(effective_kernel(k, d) // 2, 1),
    'Keras, TensorFlow `"valid"`': lambda k, s, d: keras_crop(k, s, d, "valid"),
    'Keras `"valid", output_padding=0`': lambda k, s, d: keras_crop(k, s, d, "valid", 0),
    'Keras `"valid", output_padding=1`': lambda k, s, d: keras_crop(k, s, d, "valid", 1),
    'Keras, TensorFlow `"same"`': lambda k, s, d: keras_crop(k, s, d, "same"),
    'Keras `"same", output_padding=0`': lambda k, s, d: keras_crop(k, s, d, "same", 0),
    'Keras `"same", output_padding=1`': lambda k, s, d: keras_crop(k, s, d, "same", 1),
    "ONNX `pads=[1, 1]`": lambda k, s, d: onnx_crop(N, k, s, d, pads=(1, 1)),
    'ONNX `"SAME_UPPER"`': lambda k, s, d: onnx_crop(N, k, s, d, auto_pad="SAME_UPPER"),
    'ONNX `"SAME_LOWER"`': lambda k, s, d: onnx_crop(N, k, s, d, auto_pad="SAME_LOWER"),
    'JAX `"VALID"`': lambda k, s, d: keras_crop(k, s, d, "valid"),
    'JAX `"SAME"`': lambda k, s, d: keras_crop(k, s, d, "same"),
    "JAX `[(1, 1)]`": lambda k, s, d: jax_crop(k, d, (1, 1)),
}


def worked() -> Iterator[str]:
    """Yield a table for each kernel: what is kept of the full result, and the numbers."""
    x = np.arange(1.0, N + 1)[np.newaxis]
    for k, s, d in WORKED:
        reach, full = effective_kernel(k, d), full_size(N, k, s, d)
        weight = 10.0 ** np.arange(k)[np.newaxis, np.newaxis]
        dilated = f", dilation {d}, which reaches over K = {reach}" if d > 1 else f" (K = {reach})"
        yield f"\n### Kernel {k}, stride {s}{dilated}: {N} pixels become {full}, of which are kept\n"
        whole = pxd.conv_transpose(x, weight, stride=s, dilation=d)[0]
        yield f"x = {numbers(x[0])} with w = {numbers(weight[0, 0])}, not turned round: `{numbers(whole)}`.\n"
        yield "| convention | (begin, end) | size | the result |"
        yield "|---|---|---|---|"
        kept = {name: crop(k, s, d) for name, crop in CONVENTIONS.items()}
        for crop in sorted(set(kept.values())):
            names = "; ".join(name for name, each in kept.items() if each == crop)
            size = full - sum(crop)
            if size < 1:
                continue
            y = pxd.conv_transpose(x, weight, stride=s, dilation=d, padding=[crop])[0]
            yield f"| {names} | {crop} | {size} | `{numbers(y)}` |"


OURS: list[dict[str, Any]] = [
    {},
    {"stride": 2},
    {"stride": 2, "padding": 1},
    {"stride": 2, "padding": 1, "output_padding": 1},
    {"stride": 2, "output_padding": 1},
    {"stride": 2, "padding": ((1, 0),)},
    {"stride": 2, "padding": ((0, 1),)},
    {"stride": 2, "padding": "same"},
    {"stride": 2, "padding": "same_lower"},
    {"stride": 4, "padding": "same"},
    {"dilation": 2},
    {"groups": 2},
]
THEIRS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "PyTorch": (convert.to_torch, ("stride", "padding", "output_padding", "dilation", "groups")),
    "Keras": (convert.to_keras, ("strides", "padding", "output_padding", "dilation_rate")),
    "ONNX": (convert.to_onnx, ("strides", "pads", "output_padding", "dilations", "group")),
    "flax": (convert.to_jax, ("strides", "padding", "kernel_dilation")),
}


def parameters() -> Iterator[str]:
    """Yield what the converters make of operators with a kernel of 3 taps, without what is at its default."""
    yield f"| pyx_deconv | {' | '.join(THEIRS)} |"
    yield "|---" * (1 + len(THEIRS)) + "|"
    weight = np.ones((2, 2, 3))
    usual = {name: export(pxd.ConvTranspose(weight))[1] for name, (export, _) in THEIRS.items()}
    for ours in OURS:
        cells = [
            f"`{', '.join(f'{name}={value!r}' for name, value in ours.items())}`" if ours else "defaults"
        ]
        op = pxd.ConvTranspose(weight, **ours)
        for name, (export, shown) in THEIRS.items():
            try:
                settings = export(op)[1]
            except ValueError:
                cells.append("*no*")
                continue
            always = ("padding",) if name in ("Keras", "flax") else ()
            changed = ", ".join(
                f"{key}={plain(settings[key])}"
                for key in shown
                if key in settings and (key in always or settings[key] != usual[name].get(key))
            )
            cells.append(f"`{changed}`" if changed else "defaults")
        yield "| " + " | ".join(cells) + " |"


def plain(value: Any) -> str:
    """Write a setting of one axis without the sequence around it."""
    if isinstance(value, (tuple, list)) and len(value) == 1 and isinstance(value[0], int):
        value = value[0]
    return repr(value)


def numbers(values: np.ndarray) -> str:
    """Write integers one after another."""
    return " ".join(f"{value:g}" for value in values)


PAIRS = {
    ('Keras `"same"`', "PyTorch `padding, output_padding` of the same size"): lambda k, s: (
        keras_crop(k, s, padding="same"),
        next((pytorch_crop(p, 2 * p - k + s) for p in range(k) if 0 <= 2 * p - k + s < s), None),
    ),
    ('ONNX `"SAME_UPPER"`', 'ONNX `"SAME_LOWER"`'): lambda k, s: (
        onnx_crop(N, k, s, auto_pad="SAME_UPPER"),
        onnx_crop(N, k, s, auto_pad="SAME_LOWER"),
    ),
    ('Keras `"same"`', 'ONNX `"SAME_UPPER"`'): lambda k, s: (
        keras_crop(k, s, padding="same"),
        onnx_crop(N, k, s, auto_pad="SAME_UPPER"),
    ),
    ('Keras `"same"`', 'Keras `"same", output_padding` of the same size'): lambda k, s: (
        keras_crop(k, s, padding="same"),
        next(
            (crop for op in range(s) if sum(crop := keras_crop(k, s, 1, "same", op)) == k - s),
            None,
        ),
    ),
}


def differences() -> Iterator[str]:
    """Yield by how many pixels results of the same size lie apart, for kernels 1 to 7 and strides 1 to 4."""
    yield "| this | and this | same size, other pixels |"
    yield "|---|---|---|"
    for (one, other), crops in PAIRS.items():
        apart = []
        for k in range(1, 8):
            for s in range(1, 5):
                first, second = crops(k, s)
                if second is not None and sum(first) == sum(second) and first != second:
                    apart.append((s, k, second[0] - first[0]))
        by_stride = (
            f"stride {s}: " + ", ".join(f"k={k} {shift:+d}" for _, k, shift in each)
            for s, each in groupby(sorted(apart), key=lambda found: found[0])
        )
        yield f"| {one} | {other} | {'; '.join(by_stride) or 'none'} |"


def page(text: str) -> str:
    """Return the page with its tables made anew."""
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    lines = [
        "## The same operator\n",
        "What `pyx_deconv.convert` makes of a kernel of 3 taps in one dimension; *no* where the framework has"
        " no such layer.\nflax' kernels are turned round as well.\n",
        *parameters(),
        "\n## Where two conventions differ\n",
        "By how many pixels the second begins later (+) or earlier (-) than the first, for kernels 1 to 7 and"
        " strides 1 to 4;\nwhere a pair is not listed, both keep the same pixels or have no such size.\n",
        *differences(),
        "\n## Worked numbers",
        *worked(),
    ]
    return before + MARKS[0] + "\n" + "\n".join(lines) + "\n\n" + MARKS[1] + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
