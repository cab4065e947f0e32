"""The convolutions that the transposed ones are the transposes of, with the signatures of Keras 3."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from numpy.typing import DTypeLike

from pyx_deconv import _arguments, geometry
from pyx_deconv._arguments import Paddings
from pyx_deconv.layers._checks import Array, Sizes
from pyx_deconv.layers._convolutional import ConvolutionalLayer
from pyx_deconv.layers.activations import ActivationLike
from pyx_deconv.layers.initializers import InitializerLike
from pyx_deconv.operators import Conv

__all__ = ["Conv1D", "Conv2D", "Conv3D"]


@dataclass(eq=False, repr=False)
class _PlainLayer(ConvolutionalLayer):
    """What the ranks have in common."""

    filters: int
    kernel_size: Sizes
    strides: Sizes = 1
    padding: str = "valid"
    data_format: str | None = None
    dilation_rate: Sizes = 1
    groups: int = 1
    activation: ActivationLike = None
    use_bias: bool = True
    kernel_initializer: InitializerLike = "glorot_uniform"
    bias_initializer: InitializerLike = "zeros"
    kernel_regularizer: None = None
    bias_regularizer: None = None
    activity_regularizer: None = None
    kernel_constraint: None = None
    bias_constraint: None = None
    _: KW_ONLY
    seed: int | None = None
    dtype: DTypeLike | None = "float32"

    def _check_own_settings(self) -> None:
        self.groups = self._groups = _arguments.at_least(
            _arguments.integer(self.groups, "groups"), "groups", 1
        )
        if self.filters % self.groups:
            raise ValueError(f"groups={self.groups} must divide filters={self.filters}")
        self._padding: Paddings = self.padding
        if self.padding == "causal":
            self._padding = tuple(((size - 1) * dilation, 0) for size, _, dilation in self._axes)

    def _kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*(size for size, _, _ in self._axes), channels // self.groups, self.filters)

    def _output_size(self, axis: int, size: int) -> int:
        padding = _arguments.padding_per_axis(self._padding, self._rank)[axis]
        return geometry.conv_axis(size, *self._axes[axis], padding, axis).coarse

    def _operator(self, weight: Array, bias: Array | None) -> Conv:
        _, stride, dilation = zip(*self._axes, strict=True)
        return Conv(
            weight,
            bias,
            stride=stride,
            padding=self._padding,
            dilation=dilation,
            groups=self.groups,
            data_format=self._data_format,
        )


@dataclass(eq=False, repr=False)
class Conv1D(_PlainLayer):
    """Convolution of sequences: input (batch, steps, channels).

    See `Conv2D`, of which everything holds here, with one size where that has two. The kernel is
    (size, channels // groups, filters). ``padding`` may also be "causal": ``(kernel_size - 1) *
    dilation_rate`` zeros in front, so that no output depends on later inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.layers import Conv1D
    >>> Conv1D(1, 2, padding="causal", kernel_initializer="ones")(np.arange(4.0).reshape(1, 4, 1)).ravel()
    array([0., 1., 3., 5.], dtype=float32)
    """

    _rank = 1
    _words = ("valid", "same", "causal")


@dataclass(eq=False, repr=False)
class Conv2D(_PlainLayer):
    """Convolution of images, as Keras 3 defines it: input (batch, height, width, channels).

    Parameters
    ----------
    filters : int
        Number of channels of the output.
    kernel_size : int or (int, int)
        Size of the kernel; an int here and below stands for all axes.
    strides : int or (int, int), default: (1, 1)
        Distance of the places where the kernel is applied.
    padding : {"valid", "same"}
        "valid": the kernel stays inside the input. "same": zeros are added so that the output has size
        ceil(n / strides), the smaller half of them in front.
    data_format, activation, use_bias, kernel_initializer, bias_initializer, seed, dtype, name
        As of `Conv2DTranspose`.
    kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint : None
        As of `Conv2DTranspose`.
    dilation_rate : int or (int, int), default: (1, 1)
        Distance of the taps of the kernel. Keras refuses it together with ``strides`` larger than 1.
    groups : int, default: 1
        Into how many blocks the channels and the filters are divided.

    Attributes
    ----------
    kernel : ndarray, (height, width, channels // groups, filters)
        The kernel, read-only; assigning replaces it.
    bias, grad_kernel, grad_bias
        As of `Conv2DTranspose`.

    See Also
    --------
    Conv2DTranspose : What is said there of errors, and of settings, holds here.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.layers import Conv2D
    >>> Conv2D(32, 3, activation="relu")(np.ones((4, 10, 10, 16), np.float32)).shape
    (4, 8, 8, 32)
    """

    _rank = 2
    strides: Sizes = (1, 1)
    dilation_rate: Sizes = (1, 1)


@dataclass(eq=False, repr=False)
class Conv3D(_PlainLayer):
    """Convolution of volumes: input (batch, depth, height, width, channels).

    See `Conv2D`, of which everything holds here, with three sizes where that has two. The kernel is
    (depth, height, width, channels // groups, filters).

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.layers import Conv3D
    >>> Conv3D(4, 3, strides=2, padding="same")(np.ones((1, 5, 6, 7, 2))).shape
    (1, 3, 3, 4, 4)
    """

    _rank = 3
    strides: Sizes = (1, 1, 1)
    dilation_rate: Sizes = (1, 1, 1)
