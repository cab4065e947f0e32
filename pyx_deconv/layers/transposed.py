"""The transposed convolutions, with the signatures, layouts and values of Keras 3."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from numpy.typing import DTypeLike

from pyx_deconv import geometry
from pyx_deconv.layers._checks import Array, Sizes
from pyx_deconv.layers._convolutional import ConvolutionalLayer
from pyx_deconv.layers.activations import ActivationLike
from pyx_deconv.layers.initializers import InitializerLike
from pyx_deconv.operators import ConvTranspose

__all__ = ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"]


class TransposedLayer(ConvolutionalLayer):
    """What the ranks have in common."""

    output_padding: Sizes | None

    def _check_own_settings(self) -> None:
        given: tuple[int | None, ...] = (None,) * self._rank
        if self.output_padding is not None:
            given = self.output_padding = self._per_axis(self.output_padding, "output_padding", 0)
        for axis, (added, (_, stride, _)) in enumerate(zip(given, self._axes, strict=True)):
            if added is not None and added >= stride:
                raise ValueError(
                    f"output_padding={added} on axis {axis} must be smaller than strides={stride}: it "
                    "chooses among the output sizes that a convolution takes to one input size"
                )
        self._crops = [
            geometry.keras_crop(*settings, self.padding, added)
            for settings, added in zip(self._axes, given, strict=True)
        ]
        if all(dilation == 1 for _, _, dilation in self._axes):
            self._initial_strides = tuple(stride for _, stride, _ in self._axes)

    def _kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*(size for size, _, _ in self._axes), self.filters, channels)

    def _output_size(self, axis: int, size: int) -> int:
        return geometry.transposed_axis(size, *self._axes[axis], self._crops[axis], axis=axis).fine

    def _operator(self, weight: Array, bias: Array | None) -> ConvTranspose:
        _, stride, dilation = zip(*self._axes, strict=True)
        return ConvTranspose(
            weight, bias, stride=stride, padding=self._crops, dilation=dilation, data_format=self._data_format
        )


@dataclass(eq=False, repr=False)
class _InUsualOrder(TransposedLayer):
    """The ranks whose settings come in the usual order."""

    filters: int
    kernel_size: Sizes
    strides: Sizes = 1
    padding: str = "valid"
    output_padding: Sizes | None = None
    data_format: str | None = None
    dilation_rate: Sizes = 1
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


@dataclass(eq=False, repr=False)
class Conv1DTranspose(_InUsualOrder):
    """Transposed convolution of sequences: input (batch, steps, channels).

    See `Conv2DTranspose`, of which everything holds here, with one size where that has two. The kernel is
    (size, filters, channels).

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.layers import Conv1DTranspose
    >>> layer = Conv1DTranspose(1, 3, strides=2, padding="same", kernel_initializer="ones")
    >>> layer(np.array([[[1.0], [2.0]]])).ravel()
    array([1., 1., 3., 2.], dtype=float32)
    """

    _rank = 1


@dataclass(eq=False, repr=False)
class Conv2DTranspose(_InUsualOrder):
    """Transposed convolution of images, as Keras 3 defines it: input (batch, height, width, channels).

    Parameters
    ----------
    filters : int
        Number of channels of the output.
    kernel_size : int or (int, int)
        Size of the kernel; an int here and below stands for all axes.
    strides : int or (int, int), default: (1, 1)
        By how much the input is enlarged.
    padding : {"valid", "same"}
        What is kept of the full result, of size ``(n - 1) * strides + K`` along an axis of n pixels, where
        ``K = (kernel_size - 1) * dilation_rate + 1``:

        ==========================  ===========================================================
        padding, output_padding     output size
        ==========================  ===========================================================
        "valid", None               n * strides + max(K - strides, 0)
        "valid", given              (n - 1) * strides + K + output_padding
        "same", None                n * strides
        "same", given               (n - 1) * strides + K + output_padding - 2 * (K // 2)
        ==========================  ===========================================================

        "valid" keeps the beginning. "same" crops the smaller half in front. Pixels beyond the full result
        have the value of the bias.
    output_padding : int or (int, int), optional
        Chooses one of the sizes that a convolution with these strides takes to the size of the input: at
        least 0 and smaller than ``strides``. None is not 0, as the table shows.
    data_format : {"channels_last", "channels_first"}, optional
        The order of the axes of input and output; None is "channels_last".
    dilation_rate : int or (int, int), default: (1, 1)
        Distance of the taps of the kernel. Together with ``strides`` larger than 1, which Keras refuses, the
        formulas above hold.
    activation : str, callable or (callable, callable), optional
        What is applied to the result: see `pyx_deconv.layers.activations`.
    use_bias : bool, default: True
        Whether a bias is added.
    kernel_initializer, bias_initializer : str, Initializer or callable
        What the weights are at first: see `pyx_deconv.layers.initializers`. A function gets the shape and the
        dtype, and returns an array.
    kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint : None
        In Keras' signature; they belong to training, which is not done here.
    seed : int, optional
        Of the generator that the kernel and then the bias are drawn from.
    dtype : {"float32", "float64", "float16", "bfloat16"}
        Of weights and output; inputs are cast to it. The last two are accumulated in float32.
    name : str, optional
        What `Sequential.summary` calls the layer; by default its class in Keras' writing.

    Attributes
    ----------
    kernel : ndarray, (height, width, filters, channels)
        The kernel, read-only; assigning replaces it.
    bias : ndarray, (filters,)
        The bias, read-only, or None; assigning replaces it.
    grad_kernel, grad_bias : ndarray or None
        The gradients that the last `backward` found.

    Raises
    ------
    TypeError, ValueError
        If a setting is not what is said above, at once; if an input does not fit, in the call.

    See Also
    --------
    pyx_deconv.ConvTranspose : The operation alone, in PyTorch's order of the weight.
    pyx_deconv.geometry.keras_crop : The table above.

    Notes
    -----
    The settings cannot be changed afterwards. The definition is that of the documentation of Keras 3, the
    values are compared with Keras 3.15.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.layers import Conv2DTranspose
    >>> x = np.ones((1, 4, 4, 3), np.float32)
    >>> output = Conv2DTranspose(filters=3, kernel_size=(5, 5), strides=2, padding="same")(x)
    >>> output.shape
    (1, 8, 8, 3)

    Gradients, with respect to x and to the weights:

    >>> layer = Conv2DTranspose(1, 2, strides=2, kernel_initializer="ones", dtype="float64")
    >>> y = layer(np.array([1.0, 2.0]).reshape(1, 1, 2, 1))
    >>> layer.backward(y).ravel(), layer.grad_kernel.ravel(), layer.grad_bias
    (array([4., 8.]), array([5., 5., 5., 5.]), array([12.]))
    """

    _rank = 2
    strides: Sizes = (1, 1)
    dilation_rate: Sizes = (1, 1)


@dataclass(eq=False, repr=False)
class Conv3DTranspose(TransposedLayer):
    """Transposed convolution of volumes: input (batch, depth, height, width, channels).

    See `Conv2DTranspose`, of which everything holds here, with three sizes where that has two. The kernel is
    (depth, height, width, filters, channels). As in Keras, and other than there, ``data_format`` comes
    before ``output_padding``.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv.layers import Conv3DTranspose
    >>> Conv3DTranspose(4, 3, strides=(1, 2, 2), padding="same")(np.ones((1, 5, 6, 7, 2))).shape
    (1, 5, 12, 14, 4)
    """

    _rank = 3
    filters: int
    kernel_size: Sizes
    strides: Sizes = (1, 1, 1)
    padding: str = "valid"
    data_format: str | None = None
    output_padding: Sizes | None = None
    dilation_rate: Sizes = (1, 1, 1)
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
