"""The operations with a weight that is checked, and packed for the kernels, once."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyx_deconv import _arguments, kernels
from pyx_deconv._execution import Gradients, Pass, Plan, backward, compute, make_plan, remember

__all__ = ["Conv", "ConvTranspose"]

MOST_KEPT = 64  # kinds of inputs that an operator remembers


class _Operator:
    """What both have in common: a weight, a bias, settings, and the packed weights of earlier calls."""

    _transposed: bool

    def __init__(self, weight: ArrayLike, bias: ArrayLike | None, data_format: str, **settings: Any) -> None:
        self.weight = _kept(weight, "weight")
        self.bias = None if bias is None else _kept(bias, "bias")
        self._settings = _arguments.settings(
            settings["stride"],
            settings["padding"],
            settings.get("output_padding", 0),
            None,
            settings["dilation"],
            settings["groups"],
            data_format,
        )
        self._check()
        # A dictionary, so that several threads may call: what two of them pack at once is the same.
        self._prepared: dict[Any, Any] = {}
        self._converted: dict[tuple[np.dtype[Any], str], NDArray[Any] | None] = {}
        self._kept: dict[Any, tuple[Pass, kernels.Weighed]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Plans of the kernels are for this process.
        return self.__dict__ | {"_kept": {}}

    def _check(self) -> None:
        """Check what does not depend on the input."""
        stride, padding, output_padding, _, dilation, groups, _ = self._settings
        _arguments.at_least(groups, "groups", 1)
        shape = self.weight.shape
        channels = (shape[0] if self._transposed else shape[1] * groups) if len(shape) > 1 else 1
        bias = None if self.bias is None else self.bias.shape
        rank = len(shape) - 2
        _arguments.shapes((channels, *(1,) * rank), shape, bias, groups, "channels_first", self._transposed)
        _arguments.per_axis(stride, "stride", rank, 1)
        _arguments.per_axis(dilation, "dilation", rank, 1)
        _arguments.per_axis(output_padding, "output_padding", rank, 0)
        _arguments.padding_per_axis(padding, rank)

    def _plan(self, shape: tuple[int, ...]) -> Plan:
        bias = None if self.bias is None else self.bias.shape
        return make_plan(self._transposed, shape, self.weight.shape, bias, self._settings)

    def _as(self, dtype: np.dtype[Any], name: str) -> Any:
        """Return the weight or the bias, converted once for each dtype that it is computed in."""
        if (dtype, name) not in self._converted:
            given = getattr(self, name)
            converted = given if given is None or given.dtype == dtype else given.astype(dtype)
            self._converted[dtype, name] = converted
        return self._converted[dtype, name]

    def __call__(self, x: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Apply the operator.

        Parameters
        ----------
        x : array_like
            The input, as of the function of the same name.
        out : ndarray, optional
            Where to write the result.

        Returns
        -------
        ndarray
            The result, as of the function of the same name.
        """
        # What is checked, planned and packed for an input is so for all that differ in their numbers only.
        if type(x) is np.ndarray:
            known = self._kept.get((x.shape, x.strides, x.dtype))
            if known is not None and x.flags.aligned:
                made, weighed = known
                target = made.target(out, x, self.weight, self.bias)
                if target is not None:
                    made.compute_weighed(x, weighed, target)
                    return target if out is None else out
        x = _arguments.array(x, "x")
        plan = self._plan(x.shape)
        bias_dtype = self.weight.dtype if self.bias is None else self.bias.dtype
        dtype = _arguments.result_dtype(x.dtype, self.weight.dtype, bias_dtype)
        weight, bias = self._as(dtype, "weight"), self._as(dtype, "bias")
        result, found = compute(plan, x, weight, bias, out, self._prepared)
        packed = None if found is None else found.weigh(weight, bias, self._prepared)
        if found is not None and packed is not None:
            remember(self._kept, MOST_KEPT, (x.shape, x.strides, x.dtype), (found, packed))
        return result

    def backward(
        self, grad_output: ArrayLike, x: ArrayLike, *, needs: str | Collection[str] = _arguments.GRADIENTS
    ) -> Gradients:
        """Return the gradients with respect to x, weight and bias.

        Parameters
        ----------
        grad_output : array_like
            The gradient with respect to the result for this x, and of its shape.
        x : array_like
            What the result was computed from.
        needs : str or collection of str, default: ("x", "weight", "bias")
            The gradients to compute.

        Returns
        -------
        Gradients
            As `conv_transpose_backward`.
        """
        grad_output, x = _arguments.array(grad_output, "grad_output"), _arguments.array(x, "x")
        dtype = _arguments.result_dtype(grad_output.dtype, x.dtype, self.weight.dtype)
        return backward(
            self._transposed,
            grad_output,
            x,
            self._as(dtype, "weight"),
            self._settings,
            _arguments.needs(needs),
            self._prepared,
        )

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the result for an input of this shape, in this operator's layout."""
        shape = tuple(
            _arguments.at_least(_arguments.integer(size, "input_shape"), "input_shape", 0, axis)
            for axis, size in enumerate(input_shape)
        )
        return self._plan(shape).shape

    def __repr__(self) -> str:
        names = ("stride", "padding", "output_padding", "output_size", "dilation", "groups", "data_format")
        defaults = (1, 0, 0, None, 1, 1, "channels_first")
        given = [
            f"{name}={value!r}"
            for name, value, default in zip(names, self._settings, defaults, strict=True)
            if value != default
        ]
        return (
            f"{type(self).__name__}(<weight {self.weight.shape} {self.weight.dtype}>"
            f"{'' if self.bias is None else ', <bias>'}{''.join(f', {each}' for each in given)})"
        )


class ConvTranspose(_Operator):
    """`conv_transpose` with a weight that is checked and packed once.

    The first call with an input of some kind packs the weight, later ones take what is there: worth while
    where the same weight is used many times, most of all with small inputs. Safe to call from several
    threads.

    Parameters
    ----------
    weight, bias, stride, padding, output_padding, dilation, groups, data_format
        As of `conv_transpose`. The weight and the bias are copied.

    Attributes
    ----------
    weight, bias : ndarray
        Copies of what was given, read-only.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose`; what depends on the input when the operator is called.

    See Also
    --------
    conv_transpose : The same as a function.

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> op = pxd.ConvTranspose(np.array([[[1.0, 10.0, 100.0]]]), stride=2)
    >>> op(np.array([[1.0, 2.0]]))
    array([[  1.,  10., 102.,  20., 200.]])
    >>> op.output_shape((1, 2))
    (1, 5)
    >>> op.backward(np.ones((1, 5)), np.array([[1.0, 2.0]])).x
    array([[111., 111.]])
    """

    _transposed = True

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int | Sequence[int]] = 0,
        output_padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        data_format: str = "channels_first",
    ) -> None:
        super().__init__(
            weight,
            bias,
            data_format,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
            groups=groups,
        )


class Conv(_Operator):
    """`conv` with a weight that is checked and packed once.

    Parameters
    ----------
    weight, bias, stride, padding, dilation, groups, data_format
        As of `conv`. The weight and the bias are copied.

    Attributes
    ----------
    weight, bias : ndarray
        Copies of what was given, read-only.

    See Also
    --------
    conv : The same as a function.
    ConvTranspose : What is said there holds here.

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> op = pxd.Conv(np.array([[[1.0, 10.0, 100.0]]]))
    >>> op(np.array([[1.0, 2.0, 3.0, 4.0]]))
    array([[321., 432.]])
    """

    _transposed = False

    def __init__(
        self,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int | Sequence[int]] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        data_format: str = "channels_first",
    ) -> None:
        super().__init__(
            weight, bias, data_format, stride=stride, padding=padding, dilation=dilation, groups=groups
        )


def _kept(value: ArrayLike, name: str) -> NDArray[Any]:
    """Return a copy that nobody can change."""
    copy = np.array(_arguments.array(value, name), order="C")
    copy.flags.writeable = False
    return copy
