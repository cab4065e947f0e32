"""Sizes and crops of the transposed convolution: integer arithmetic, one axis at a time.

For an input of size n, a kernel of size k, a stride s and a dilation d::

    K    = (k - 1) * d + 1          effective kernel
    full = (n - 1) * s + K          what scattering every input pixel through the kernel covers

and the output is the window ``full[begin : full - end]``; negative ones add zeros there. Frameworks differ in
how they choose ``(begin, end)``: `pytorch_crop`, `keras_crop`, `onnx_crop` and `jax_crop` say how. A list of
these pairs, one per spatial axis, is a ``padding`` of `pyx_deconv.conv_transpose`.

Everything is computed in Python integers, so that nothing overflows.
"""

from collections.abc import Sequence
from typing import NamedTuple, overload

from pyx_deconv import _arguments
from pyx_deconv._arguments import Integers, Paddings, Pair, Same

__all__ = [
    "Axis",
    "conv_axes",
    "conv_axis",
    "effective_kernel",
    "full_size",
    "jax_crop",
    "keras_crop",
    "onnx_crop",
    "output_size",
    "pytorch_crop",
    "same_begin",
    "transposed_axes",
    "transposed_axis",
]


class Axis(NamedTuple):
    """One spatial axis of a convolution or of its transpose.

    Coarse index i, tap t and fine index j belong together where ``j = i * stride + t * dilation - begin`` and
    ``0 <= j < fine``. The transposed convolution goes from coarse to fine, the convolution from fine to
    coarse.
    """

    coarse: int
    fine: int
    kernel: int
    stride: int
    dilation: int
    begin: int


def effective_kernel(kernel_size: int, dilation: int = 1) -> int:
    """Return how far a dilated kernel reaches: ``(kernel_size - 1) * dilation + 1``."""
    return (kernel_size - 1) * dilation + 1


def full_size(input_size: int, kernel_size: int, stride: int = 1, dilation: int = 1) -> int:
    """Return what the kernels of all inputs cover: ``(input_size - 1) * stride + effective_kernel``."""
    return (input_size - 1) * stride + effective_kernel(kernel_size, dilation)


def same_begin(total: int, padding: Same) -> int:
    """Return what "same" crops in front out of ``total``: the smaller half, with "same_lower" the larger."""
    return max(total + (padding == "same_lower"), 0) // 2


# The two directions: from checked arguments to an Axis.


def transposed_axis(
    size: int,
    kernel: int,
    stride: int,
    dilation: int,
    padding: Pair | Same,
    output_padding: int = 0,
    output_size: int | None = None,
    axis: int = 0,
) -> Axis:
    """Resolve one axis of a transposed convolution; ``axis`` is its number in error messages."""
    full = full_size(size, kernel, stride, dilation)
    if output_padding and output_size is not None:
        raise ValueError(
            f"output_padding={output_padding} on axis {axis} must be 0 when output_size={output_size} is "
            "given, which says the same thing directly"
        )
    if isinstance(padding, str):
        if output_padding:
            raise ValueError(
                f"output_padding={output_padding} on axis {axis} must be 0 with padding='same', which fixes "
                f"the output size to input size * stride = {size * stride}; use output_size for another"
            )
        # The sizes whose ceil(size / stride), the size of a "same" convolution, is the input size.
        smallest, largest = (size - 1) * stride + 1, size * stride
        fine = largest if output_size is None else output_size
        begin = same_begin(full - fine, padding)
    else:
        if output_padding >= max(stride, dilation):
            raise ValueError(
                f"output_padding={output_padding} on axis {axis} must be smaller than stride={stride} or "
                f"dilation={dilation}: it chooses among the output sizes that a convolution takes to one "
                "input size. To keep more of the result, give padding as (begin, end) with a smaller end"
            )
        smallest = full - sum(padding)
        largest = smallest + max(stride, dilation) - 1
        fine = smallest + output_padding if output_size is None else output_size
        begin = padding[0]
    where = f"on axis {axis} (input size {size}, kernel {kernel}, stride {stride}, dilation {dilation}"
    if fine < 1:
        raise ValueError(
            f"padding={padding} {where}, output_padding {output_padding}) leaves nothing of the full result, "
            f"of size {full}: the output size would be {fine}"
        )
    if not smallest <= fine <= largest:
        possible = f"from {max(smallest, 1)} to {largest}" if smallest < largest else f"{largest}, no other"
        if largest < 1:
            possible = "none: padding leaves nothing of the full result"
        raise ValueError(
            f"output_size={fine} {where}, padding {padding}) is impossible; possible: {possible}"
        )
    return Axis(size, fine, kernel, stride, dilation, begin)


def conv_axis(
    size: int, kernel: int, stride: int, dilation: int, padding: Pair | Same, axis: int = 0
) -> Axis:
    """Resolve one axis of a convolution; ``axis`` is its number in error messages."""
    reach = effective_kernel(kernel, dilation)
    if isinstance(padding, str):
        coarse = -(-size // stride)
        begin = same_begin((coarse - 1) * stride + reach - size, padding)
        return Axis(coarse, size, kernel, stride, dilation, begin)
    padded = size + sum(padding)
    if padded < reach:
        raise ValueError(
            f"the kernel on axis {axis} (size {kernel}, dilation {dilation}) reaches over {reach} pixels and "
            f"must not exceed the padded input of size {padded} (input size {size}, padding {padding})"
        )
    return Axis((padded - reach) // stride + 1, size, kernel, stride, dilation, padding[0])


def transposed_axes(
    sizes: Sequence[int],
    kernel: Sequence[int],
    stride: Integers,
    padding: Paddings,
    output_padding: Integers,
    output_size: Integers | None,
    dilation: Integers,
) -> tuple[Axis, ...]:
    """Resolve all axes of a transposed convolution, from arguments of the right types."""
    rank = len(sizes)
    settings = zip(
        sizes,
        kernel,
        _arguments.per_axis(stride, "stride", rank, 1),
        _arguments.per_axis(dilation, "dilation", rank, 1),
        _arguments.padding_per_axis(padding, rank),
        _arguments.per_axis(output_padding, "output_padding", rank, 0),
        (None,) * rank if output_size is None else _arguments.per_axis(output_size, "output_size", rank, 1),
        range(rank),
        strict=True,
    )
    return tuple(transposed_axis(*setting) for setting in settings)


def conv_axes(
    sizes: Sequence[int], kernel: Sequence[int], stride: Integers, padding: Paddings, dilation: Integers
) -> tuple[Axis, ...]:
    """Resolve all axes of a convolution, from arguments of the right types."""
    rank = len(sizes)
    settings = zip(
        sizes,
        kernel,
        _arguments.per_axis(stride, "stride", rank, 1),
        _arguments.per_axis(dilation, "dilation", rank, 1),
        _arguments.padding_per_axis(padding, rank),
        range(rank),
        strict=True,
    )
    return tuple(conv_axis(*setting) for setting in settings)


# Blocks: part of a result from the part of the source that it needs.


class Block(NamedTuple):
    """A part of the source along one axis, and the padding with which it gives one part of the result.

    ``source[start:stop]`` is all that the part is computed from: the pixels that it needs, or where no pixel
    reaches it a single one, as no source is empty.
    """

    start: int
    stop: int
    padding: Pair


def transposed_block(axis: Axis, start: int, stop: int) -> Block:
    """Return what ``fine[start:stop]`` is the transposed convolution of.

    Coarse pixel i covers the fine pixels from ``i * stride - begin`` to ``i * stride - begin + K - 1``.
    """
    reach = effective_kernel(axis.kernel, axis.dilation)
    first = -((reach - 1 - start - axis.begin) // axis.stride)
    last = (stop - 1 + axis.begin) // axis.stride
    first, end = _within(first, last + 1, axis.coarse)
    begin = start + axis.begin - first * axis.stride
    full = full_size(end - first, axis.kernel, axis.stride, axis.dilation)
    return Block(first, end, (begin, full - begin - (stop - start)))


def conv_block(axis: Axis, start: int, stop: int) -> Block:
    """Return what ``coarse[start:stop]`` is the convolution of.

    Coarse pixel i meets the fine pixels from ``i * stride - begin`` to ``i * stride - begin + K - 1``. The
    coarse block is to this part of the fine map, with this padding, what the whole is to the whole: that
    serves gradients as well.
    """
    full = full_size(stop - start, axis.kernel, axis.stride, axis.dilation)
    origin = start * axis.stride - axis.begin
    first, end = _within(origin, origin + full, axis.fine)
    begin = first - origin
    return Block(first, end, (begin, full - begin - (end - first)))


def _within(start: int, stop: int, size: int) -> Pair:
    """Return the part of a range that lies in an axis, or where there is none the pixel beside it."""
    start = min(max(start, 0), size - 1)
    return start, max(min(stop, size), start + 1)


# The conventions: how each framework chooses (begin, end) on one axis.


def pytorch_crop(padding: int = 0, output_padding: int = 0) -> Pair:
    """(begin, end) of PyTorch's ``conv_transpose``: size full - 2 * padding + output_padding."""
    return padding, padding - output_padding


def keras_crop(
    kernel_size: int,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "valid",
    output_padding: int | None = None,
) -> Pair:
    """(begin, end) of Keras' ``ConvTranspose`` layers.

    With ``output_padding=None`` also of TensorFlow, and of JAX' padding words.

    ==========================  =====================================================
    padding, output_padding     output size
    ==========================  =====================================================
    "valid", None               n * s + max(K - s, 0)
    "valid", given              full + output_padding
    "same", None                n * s
    "same", given               (n - 1) * s + K + output_padding - 2 * (K // 2)
    ==========================  =====================================================

    None is not 0: "same" crops K - s pixels with None, and 2 * (K // 2) with 0.
    """
    reach = effective_kernel(kernel_size, dilation)
    if padding == "valid":
        return 0, min(reach - stride, 0) if output_padding is None else -output_padding
    if padding != "same":
        raise ValueError(f"padding must be 'valid' or 'same', not {_arguments.show(padding)}")
    total = reach - stride if output_padding is None else 2 * (reach // 2) - output_padding
    begin = same_begin(total, "same_upper")
    return begin, total - begin


def onnx_crop(
    input_size: int,
    kernel_size: int,
    stride: int = 1,
    dilation: int = 1,
    *,
    pads: Pair = (0, 0),
    output_padding: int = 0,
    auto_pad: str = "NOTSET",
    output_shape: int | None = None,
) -> Pair:
    """(begin, end) of ONNX' ``ConvTranspose``.

    The output size is

    - ``output_shape`` where it is given,
    - n * s with auto_pad "SAME_UPPER" or "SAME_LOWER",
    - full + output_padding - sum(pads) otherwise.

    In the first two cases ``pads`` is not used, and T = full + output_padding - size is cropped: floor(T / 2)
    of it in front with "SAME_UPPER", ceil(T / 2) otherwise. Where T is negative, zeros are appended, as ONNX
    Runtime does.
    """
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        shown = _arguments.show(auto_pad)
        raise ValueError(f"auto_pad must be 'NOTSET', 'VALID', 'SAME_UPPER' or 'SAME_LOWER', not {shown}")
    full = full_size(input_size, kernel_size, stride, dilation)
    size = input_size * stride if output_shape is None and auto_pad.startswith("SAME") else output_shape
    if size is None:
        begin, end = (0, 0) if auto_pad == "VALID" else pads
        return begin, end - output_padding
    begin = same_begin(
        full + output_padding - size, "same_upper" if auto_pad == "SAME_UPPER" else "same_lower"
    )
    return begin, full - size - begin


def jax_crop(kernel_size: int, dilation: int = 1, padding: Pair = (0, 0)) -> Pair:
    """(begin, end) of ``jax.lax.conv_transpose`` with a pair (lo, hi).

    The pair pads the input spread out with zeros. The output size is (n - 1) * s + 2 - K + lo + hi. For JAX'
    words "VALID" and "SAME" see `keras_crop`. JAX flips the kernel unless ``transpose_kernel=True``.
    """
    low, high = padding
    reach = effective_kernel(kernel_size, dilation)
    return reach - 1 - low, reach - 1 - high


# Questions about sizes.


@overload
def output_size(
    input_size: int,
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> int: ...


@overload
def output_size(
    input_size: Sequence[int],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> tuple[int, ...]: ...


def output_size(
    input_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> int | tuple[int, ...]:
    """Compute the spatial size of the result of `pyx_deconv.conv_transpose`.

    Per axis ``(input_size - 1) * stride + (kernel_size - 1) * dilation + 1 - begin - end + output_padding``;
    with padding "same" ``input_size * stride``.

    Parameters
    ----------
    input_size : int or sequence of int
        The spatial size of the input: an int for one axis, or one per axis (any number of axes).
    kernel_size, stride, output_padding, dilation : int or sequence of int
        For all axes, or one per axis.
    padding : int, str, or sequence of int or (int, int)
        As in `pyx_deconv.conv_transpose`.

    Returns
    -------
    int or tuple of int
        As ``input_size``.

    Raises
    ------
    TypeError, ValueError
        As `pyx_deconv.conv_transpose` for the same arguments.

    Examples
    --------
    >>> import pyx_deconv as pxd
    >>> pxd.output_size(4, 5, stride=2, padding="same")
    8
    >>> pxd.output_size((4, 4), 5, stride=2, padding="valid", output_padding=1)
    (12, 12)
    """
    given = _arguments.integers(input_size, "input_size")
    sizes = _arguments.sizes(given, "input_size")
    axes = transposed_axes(
        sizes,
        _arguments.per_axis(_arguments.integers(kernel_size, "kernel_size"), "kernel_size", len(sizes), 1),
        _arguments.integers(stride, "stride"),
        _arguments.paddings(padding),
        _arguments.integers(output_padding, "output_padding"),
        None,
        _arguments.integers(dilation, "dilation"),
    )
    fine = tuple(axis.fine for axis in axes)
    return fine[0] if isinstance(given, int) else fine
