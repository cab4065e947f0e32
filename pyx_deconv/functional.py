"""The operations: the transposed convolution, the convolution it is adjoint to, and their gradients."""

from collections.abc import Collection, Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

from pyx_deconv import _arguments
from pyx_deconv._execution import Gradients, backward, forward

__all__ = ["Gradients", "conv", "conv_backward", "conv_transpose", "conv_transpose_backward"]


def conv_transpose(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    output_size: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "channels_first",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    r"""Transposed convolution in 1, 2 or 3 dimensions.

    Every input pixel paints the kernel, scaled by its value, onto the output, ``stride`` pixels apart:

    .. math:: y[n, b, i s + t d - p] \mathrel{+}= x[n, a, i] \, w[a, b, t]

    along every spatial axis, with stride s, dilation d and padding p in front; what falls outside the output
    is dropped. The kernel is not flipped. It is the adjoint of `conv` with the same weight.

    Parameters
    ----------
    x : array_like, (N, C_in, *size) or (C_in, *size)
        The input, with one to three spatial axes; with channels_last (N, *size, C_in) or (*size, C_in).
    weight : array_like, (C_in, C_out // groups, *kernel)
        The kernels, in the order of PyTorch and ONNX whatever the ``data_format``.
    bias : array_like, (C_out,), optional
        Added to every pixel of an output channel.
    stride : int or sequence of int, default: 1
        Distance of the painted kernels; this and what follows for all spatial axes, or one entry per axis.
    padding : int, str, or sequence of int or (int, int), default: 0
        What is cropped from the full result: the same number at both ends, a (begin, end) pair per axis,
        where negative numbers add zeros, or

        - "valid": nothing, as 0;
        - "same" or "same_upper": so much that the output size is input size * stride, the smaller half in
          front;
        - "same_lower": likewise, with the larger half in front.
    output_padding : int or sequence of int, default: 0
        How many pixels more to keep at the end, or to append zeros beyond the full result: at least 0 and
        smaller than stride or dilation. It picks one of the sizes that `conv` takes to the size of x. Not
        with "same".
    output_size : int or sequence of int, optional
        The spatial size of the output, instead of ``output_padding``. With "same" it is any size whose
        ceil(size / stride) is the input size, and the crop is that of `conv` for this size.
    dilation : int or sequence of int, default: 1
        Distance of the taps of a kernel.
    groups : int, default: 1
        Into how many blocks the channels are divided, each with kernels of its own; C_in for depthwise
        kernels.
    data_format : {"channels_first", "channels_last"}
        The layout of x and of the result. Both are computed as they lie.
    out : ndarray, optional
        Where to write the result: of its shape and dtype, with any strides, and sharing no memory with the
        inputs.

    Returns
    -------
    ndarray, (N, C_out, *output_size) or laid out as x is
        Per axis, without "same" and output_size, of size ``(size - 1) * stride + (kernel - 1) * dilation + 1
        - begin - end + output_padding``. It is ``out`` if that was given.

        The dtype is ``numpy.result_type`` of the inputs, where integers and booleans become float64. float32,
        float64, complex64 and complex128 are computed in this precision, float16 and bfloat16 accumulated in
        float32.

    Raises
    ------
    TypeError
        If an argument is of the wrong type or an array of a dtype that is not computed.
    ValueError
        If shapes or values do not fit together. Nothing has been computed or written then.
    MemoryError
        If there is no room for the result; the message names its size.

    See Also
    --------
    conv : The convolution that this transposes.
    conv_transpose_backward : The gradients.
    output_size : The size of the result without computing it.
    solve_settings : Which settings lead from one size to another.

    Notes
    -----
    The result is the same, bit for bit, with any number of threads. A batch of size zero gives an empty
    result.

    float64 and complex numbers are summed product by product. In float32, float16 and bfloat16, where 32
    channels or more meet 32 or more, outputs are computed in pairs, with three products instead of four
    (Karatsuba's identity): the rounding error of a number is then relative to the sums of ``abs(x) *
    abs(weight)`` over all channels of its pixel and the neighbouring one. NaN and infinity go only where the
    taps carry them.

    References
    ----------
    .. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
       arXiv:1603.07285.
    .. [2] ONNX operators, ConvTranspose, https://onnx.ai/onnx/operators/onnx__ConvTranspose.html

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> x = np.array([[1.0, 2.0]])          # one channel, two pixels
    >>> weight = np.array([[[1.0, 10.0, 100.0]]])
    >>> pxd.conv_transpose(x, weight, stride=2)
    array([[  1.,  10., 102.,  20., 200.]])
    >>> pxd.conv_transpose(x, weight, stride=2, padding="same")
    array([[  1.,  10., 102.,  20.]])
    >>> pxd.conv_transpose(x, weight, stride=2, padding=1, output_padding=1)
    array([[ 10., 102.,  20., 200.]])
    """
    x, weight = _arguments.array(x, "x"), _arguments.array(weight, "weight")
    bias = None if bias is None else _arguments.array(bias, "bias")
    settings = _arguments.settings(
        stride, padding, output_padding, output_size, dilation, groups, data_format
    )
    return forward(True, x, weight, bias, settings, out)


def conv(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "channels_first",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    r"""Convolution in 1, 2 or 3 dimensions, as deep learning defines it: the kernel is not flipped.

    .. math:: y[n, a, i] = \sum_{b, t} x[n, b, i s + t d - p] \, w[a, b, t]

    along every spatial axis, with stride s, dilation d and padding p in front, where x is zero outside its
    borders. It is the adjoint of `conv_transpose` with the same weight.

    Parameters
    ----------
    x : array_like, (N, C_in, *size) or (C_in, *size)
        The input, with one to three spatial axes; with channels_last (N, *size, C_in) or (*size, C_in).
    weight : array_like, (C_out, C_in // groups, *kernel)
        The kernels, in the order of PyTorch and ONNX whatever the ``data_format``.
    bias : array_like, (C_out,), optional
        Added to every pixel of an output channel.
    stride : int or sequence of int, default: 1
        Distance of the pixels that are computed; this and what follows for all spatial axes, or one entry per
        axis.
    padding : int, str, or sequence of int or (int, int), default: 0
        How many zeros surround the input: the same number at both ends, a (begin, end) pair per axis, where
        negative numbers leave pixels of the input out, or

        - "valid": none, as 0;
        - "same" or "same_upper": so many that the output size is ceil(size / stride), the smaller half in
          front;
        - "same_lower": likewise, with the larger half in front.
    dilation : int or sequence of int, default: 1
        Distance of the taps of a kernel.
    groups : int, default: 1
        Into how many blocks the channels are divided, each with kernels of its own; C_in for depthwise
        kernels.
    data_format : {"channels_first", "channels_last"}
        The layout of x and of the result. Both are computed as they lie.
    out : ndarray, optional
        Where to write the result: of its shape and dtype, with any strides, and sharing no memory with the
        inputs.

    Returns
    -------
    ndarray, (N, C_out, *output_size) or laid out as x is
        Per axis, without "same", of size ``(size + begin + end - (kernel - 1) * dilation - 1) // stride +
        1``. It is ``out`` if that was given. The dtype is that of `conv_transpose`.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_transpose`.

    See Also
    --------
    conv_transpose : Its adjoint.
    conv_backward : The gradients.

    References
    ----------
    .. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
       arXiv:1603.07285.

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])          # one channel, four pixels
    >>> weight = np.array([[[1.0, 10.0, 100.0]]])
    >>> pxd.conv(x, weight)
    array([[321., 432.]])
    >>> pxd.conv(x, weight, stride=2, padding=1)
    array([[210., 432.]])
    """
    x, weight = _arguments.array(x, "x"), _arguments.array(weight, "weight")
    bias = None if bias is None else _arguments.array(bias, "bias")
    settings = _arguments.settings(stride, padding, 0, None, dilation, groups, data_format)
    return forward(False, x, weight, bias, settings, out)


def conv_transpose_backward(
    grad_output: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    output_size: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "channels_first",
    needs: str | Collection[str] = _arguments.GRADIENTS,
) -> Gradients:
    r"""Gradients of `conv_transpose` with respect to its input, weight and bias.

    With g for grad_output, which is zero outside its borders,

    .. math::

        \mathrm{grad\_x}[n, a, i] &= \sum_{b, t} g[n, b, i s + t d - p] \, \overline{w[a, b, t]} \\
        \mathrm{grad\_weight}[a, b, t] &= \sum_{n, i} g[n, b, i s + t d - p] \, \overline{x[n, a, i]} \\
        \mathrm{grad\_bias}[b] &= \sum_{n, j} g[n, b, j]

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result of ``conv_transpose(x, weight, ...)``, and of its shape.
    x, weight : array_like
        What the result was computed from.
    stride, padding, output_padding, output_size, dilation, groups, data_format
        What the result was computed with.
    needs : str or collection of str, default: ("x", "weight", "bias")
        The gradients to compute.

    Returns
    -------
    Gradients
        The named tuple (x, weight, bias), with None for what is not needed. Each has the shape of what it is
        the gradient of, and the ``numpy.result_type`` of grad_output, x and weight (integers become float64).

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_transpose`; also if grad_output does not have the shape of the result.

    See Also
    --------
    conv_transpose : What this differentiates.

    Notes
    -----
    Complex gradients follow PyTorch: the gradient with respect to the conjugate. It is the adjoint,
    ``vdot(conv_transpose(x, w), g) == vdot(x, grad_x)``. The gradient of the bias is summed in float64.

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> x = np.array([[1.0, 2.0]])
    >>> weight = np.array([[[1.0, 10.0, 100.0]]])
    >>> gradients = pxd.conv_transpose_backward(np.ones((1, 5)), x, weight, stride=2)
    >>> gradients.x
    array([[111., 111.]])
    >>> gradients.weight
    array([[[3., 3., 3.]]])
    >>> gradients.bias
    array([5.])
    """
    grad_output = _arguments.array(grad_output, "grad_output")
    x, weight = _arguments.array(x, "x"), _arguments.array(weight, "weight")
    settings = _arguments.settings(
        stride, padding, output_padding, output_size, dilation, groups, data_format
    )
    return backward(True, grad_output, x, weight, settings, _arguments.needs(needs))


def conv_backward(
    grad_output: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    data_format: str = "channels_first",
    needs: str | Collection[str] = _arguments.GRADIENTS,
) -> Gradients:
    r"""Gradients of `conv` with respect to its input, weight and bias.

    With g for grad_output,

    .. math::

        \mathrm{grad\_x}[n, b, i s + t d - p] &\mathrel{+}= g[n, a, i] \, \overline{w[a, b, t]} \\
        \mathrm{grad\_weight}[a, b, t] &= \sum_{n, i} g[n, a, i] \, \overline{x[n, b, i s + t d - p]} \\
        \mathrm{grad\_bias}[a] &= \sum_{n, i} g[n, a, i]

    Parameters
    ----------
    grad_output : array_like
        The gradient with respect to the result of ``conv(x, weight, ...)``, and of its shape.
    x, weight : array_like
        What the result was computed from.
    stride, padding, dilation, groups, data_format
        What the result was computed with.
    needs : str or collection of str, default: ("x", "weight", "bias")
        The gradients to compute.

    Returns
    -------
    Gradients
        As `conv_transpose_backward`, whose notes on complex numbers and precision apply.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `conv_transpose`; also if grad_output does not have the shape of the result.

    See Also
    --------
    conv : What this differentiates.

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> weight = np.array([[[1.0, 10.0, 100.0]]])
    >>> gradients = pxd.conv_backward(np.ones((1, 2)), x, weight)
    >>> gradients.x
    array([[  1.,  11., 110., 100.]])
    >>> gradients.weight
    array([[[3., 5., 7.]]])
    >>> gradients.bias
    array([2.])
    """
    grad_output = _arguments.array(grad_output, "grad_output")
    x, weight = _arguments.array(x, "x"), _arguments.array(weight, "weight")
    settings = _arguments.settings(stride, padding, 0, None, dilation, groups, data_format)
    return backward(False, grad_output, x, weight, settings, _arguments.needs(needs))
