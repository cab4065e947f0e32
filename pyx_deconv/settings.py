"""The size rule read backwards: which settings of a transposed convolution take one size to another."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pyx_deconv import _arguments
from pyx_deconv._arguments import Pair, Same
from pyx_deconv.geometry import effective_kernel, full_size, same_begin

__all__ = ["Setting", "solve_settings"]

MOST_TRIED = 1_000_000
MOST_FOUND = 100_000


class Setting(NamedTuple):
    """One way to go from one size to another; `solve_settings` returns a list of these.

    ``conv_transpose(x, weight, **setting.arguments)`` uses it, for a weight with this ``kernel_size``.

    Attributes
    ----------
    kernel_size, stride, output_padding, dilation : int
        The same on every axis.
    padding : int or tuple of (int, int)
        The same at both ends of every axis, or a (begin, end) pair for each.
    """

    kernel_size: int
    stride: int
    padding: int | tuple[Pair, ...]
    output_padding: int
    dilation: int = 1

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments ``stride``, ``padding``, ``output_padding`` and ``dilation``."""
        return {name: value for name, value in self._asdict().items() if name != "kernel_size"}

    @property
    def words(self) -> tuple[str, ...]:
        """The padding words that crop the same: "valid" (nothing is cropped), "same", "same_lower"."""
        begin, end = (self.padding, self.padding) if isinstance(self.padding, int) else self.padding[0]
        words = ["valid"] if begin == end == 0 else []
        # Every "same" crops K - stride, whatever the input size, and differs in what it takes from the front.
        total = effective_kernel(self.kernel_size, self.dilation) - self.stride
        if begin + end - self.output_padding == total:
            words += ["same"] * (begin == same_begin(total, "same_upper"))
            words += ["same_lower"] * (begin == same_begin(total, "same_lower"))
        return tuple(words)

    @property
    def overlap(self) -> tuple[int, int]:
        """How many taps of the kernel reach an output pixel away from the borders: the fewest and the most.

        Tap t lands on phase ``t * dilation % stride`` of the output. With g = gcd(stride, dilation) only
        every g-th phase is reached, each by one tap in ``stride // g``.
        """
        common = math.gcd(self.stride, self.dilation)
        period = self.stride // common
        return self.kernel_size // period if common == 1 else 0, -(-self.kernel_size // period)

    @property
    def uneven(self) -> bool:
        """Whether some output pixels get more taps than others, a source of checkerboard patterns.

        Without dilation: whether ``kernel_size % stride != 0``.
        """
        fewest, most = self.overlap
        return fewest != most

    def __str__(self) -> str:
        fewest, most = self.overlap
        overlap = f"uneven overlap: {fewest} to {most}" if self.uneven else f"even overlap: {most}"
        dilation = f", dilation {self.dilation}" if self.dilation > 1 else ""
        words = f" ({', '.join(self.words)})" if self.words else ""
        return (
            f"kernel {self.kernel_size}, stride {self.stride}, padding {self.padding}, "
            f"output_padding {self.output_padding}{dilation}{words}; {overlap}"
        )

    def __repr__(self) -> str:
        return f"<Setting {self}>"


def solve_settings(
    input_size: int | Sequence[int],
    output_size: int | Sequence[int],
    *,
    kernel_size: int | None = None,
    stride: int | None = None,
    padding: int | str | Pair | None = None,
    output_padding: int | None = None,
    dilation: int = 1,
    max_kernel_size: int | None = None,
    max_stride: int | None = None,
) -> list[Setting]:
    """Which settings of `conv_transpose` take one size to another? Every answer, the simplest first.

    Parameters
    ----------
    input_size, output_size : int or sequence of int
        The spatial sizes: ints for one axis, or one per axis. With several axes one setting has to fit them
        all.
    kernel_size, stride, output_padding : int, optional
        Only answers with this value. By default all are tried, within the bounds below.
    padding : int, str or (int, int), optional
        Only answers with this padding: the same at both ends, a word, or (begin, end). By default the padding
        is the same at both ends, with any output_padding; or, without output_padding, one end has one pixel
        more than the other. It is smaller than the effective kernel, so that no input pixel is cropped away
        altogether.
    dilation : int, default: 1
        The dilation of every answer.
    max_kernel_size : int, optional
        The largest kernel tried: by default twice the largest stride that is tried, and at least 7.
    max_stride : int, optional
        The largest stride tried: by default ceil(output_size / input_size), and at most 32.

    Returns
    -------
    list of Setting
        In this order: smallest output_padding; the same padding at both ends; no output pixel without taps;
        even overlap; smallest kernel, then stride, then padding in front. Empty if there is no answer within
        the bounds.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of the above, or the bounds are so wide that more than a million pairs of
        kernel and stride would be tried, or more than 100 000 answers found.

    See Also
    --------
    output_size : The rule read forwards.

    Examples
    --------
    >>> import pyx_deconv as pxd
    >>> for setting in pxd.solve_settings(4, 12)[:5]:
    ...     print(setting)
    kernel 3, stride 3, padding 0, output_padding 0 (valid, same, same_lower); even overlap: 1
    kernel 6, stride 2, padding 0, output_padding 0 (valid); even overlap: 3
    kernel 5, stride 3, padding 1, output_padding 0 (same, same_lower); uneven overlap: 1 to 2
    kernel 7, stride 3, padding 2, output_padding 0 (same, same_lower); uneven overlap: 2 to 3
    kernel 6, stride 3, padding ((1, 2),), output_padding 0 (same); even overlap: 2
    >>> pxd.solve_settings(4, 12, kernel_size=5, stride=2)
    [<Setting kernel 5, stride 2, padding 0, output_padding 1 (valid); uneven overlap: 2 to 3>]
    """
    befores = _arguments.sizes(input_size, "input_size")
    afters = _arguments.sizes(output_size, "output_size")
    if len(befores) != len(afters):
        raise ValueError(
            f"output_size must have as many axes as input_size, {len(befores)}, not {len(afters)}"
        )
    kernel_size = _arguments.optional(kernel_size, "kernel_size", 1)
    stride = _arguments.optional(stride, "stride", 1)
    output_padding = _arguments.optional(output_padding, "output_padding", 0)
    dilation = _arguments.at_least(_arguments.integer(dilation, "dilation"), "dilation", 1)
    pair = None if padding is None else _arguments.common_padding(padding)

    # A larger stride spreads the input over more than the output has room for.
    growth = max(-(-after // before) for before, after in zip(befores, afters, strict=True))
    strides = _candidates(stride, _arguments.optional(max_stride, "max_stride", 1) or min(growth, 32))
    largest_kernel = _arguments.optional(max_kernel_size, "max_kernel_size", 1) or max(7, 2 * strides[-1])
    kernels = _candidates(kernel_size, largest_kernel)
    if len(kernels) * len(strides) > MOST_TRIED:
        raise ValueError(
            f"kernel sizes up to {kernels[-1]} with strides up to {strides[-1]} are more than {MOST_TRIED} "
            "pairs to try: give kernel_size or stride, or a smaller max_kernel_size or max_stride"
        )

    settings: list[tuple[int, int, Setting]] = []
    for step in strides:
        for size in kernels:
            # What has to be cropped must be the same on every axis.
            surplus = {
                full_size(before, size, step, dilation) - after
                for before, after in zip(befores, afters, strict=True)
            }
            if len(surplus) > 1:
                continue
            for begin, end, extra in _crops(surplus.pop(), size, step, dilation, pair, output_padding):
                if len(settings) == MOST_FOUND:
                    raise ValueError(
                        f"more than {MOST_FOUND} settings take {befores} to {afters}: give kernel_size, "
                        "stride, padding or output_padding, or a smaller max_kernel_size or max_stride"
                    )
                both = begin if begin == end else ((begin, end),) * len(befores)
                settings.append((abs(begin - end), begin, Setting(size, step, both, extra, dilation)))
    return [setting for *_, setting in sorted(settings, key=_simplicity)]


def _candidates(given: int | None, largest: int) -> range:
    return range(1, largest + 1) if given is None else range(given, given + 1)


def _crops(
    surplus: int,
    kernel: int,
    stride: int,
    dilation: int,
    padding: Pair | Same | None,
    output_padding: int | None,
) -> Iterator[tuple[int, int, int]]:
    """Every (begin, end, output_padding) with ``begin + end - output_padding == surplus``."""
    last = max(stride, dilation) - 1
    least, most = (0, last) if output_padding is None else (output_padding, min(output_padding, last))
    if isinstance(padding, str):
        total = effective_kernel(kernel, dilation) - stride
        begin = same_begin(total, padding)
        if surplus == total and least <= max(-total, 0) <= most:
            yield begin, max(total, 0) - begin, max(-total, 0)
    elif padding is not None:
        if least <= sum(padding) - surplus <= most:
            yield *padding, sum(padding) - surplus
    else:
        largest = (kernel - 1) * dilation
        for both in range(max(-(-(surplus + least) // 2), 0), min((surplus + most) // 2, largest) + 1):
            yield both, both, 2 * both - surplus
        half = surplus // 2
        if surplus % 2 and 0 <= half < largest and least == 0:
            yield half, half + 1, 0
            yield half + 1, half, 0


def _simplicity(found: tuple[int, int, Setting]) -> tuple[int, ...]:
    asymmetry, begin, setting = found
    holes = setting.overlap[0] == 0
    return (
        setting.output_padding,
        asymmetry,
        holes,
        setting.uneven,
        setting.kernel_size,
        setting.stride,
        begin,
    )
