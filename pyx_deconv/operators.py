"""The operations with a weight that is checked, and packed for the kernels, once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyx_deconv import _arguments, kernels
from pyx_deconv._arguments import Integers, Paddings, Settings
from pyx_deconv._execution import Gradients, Pass, Plan, backward, compute, make_plan, remember

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import LinearOperator

__all__ = ["Conv", "ConvTranspose"]

_O = TypeVar("_O", bound="_Operator")

MOST_KEPT = 64  # kinds of inputs that an operator remembers


class _Operator:
    """What both have in common: a weight, a bias, settings, and the packed weights of earlier calls."""

    _transposed: bool

    def __init__(self, weight: ArrayLike, bias: ArrayLike | None, settings: Settings) -> None:
        self._hold(_kept(weight, "weight"), None if bias is None else _kept(bias, "bias"), settings)
        self._check()

    def _hold(self, weight: NDArray[Any], bias: NDArray[Any] | None, settings: Settings) -> None:
        """Take arrays that nobody can change."""
        self.weight = weight
        self.bias = bias
        self._settings = settings
        # A dictionary, so that several threads may call: what two of them pack at once is the same.
        self._prepared: dict[Any, Any] = {}
        self._converted: dict[tuple[np.dtype[Any], str], NDArray[Any] | None] = {}
        self._kept: dict[Any, tuple[Pass, kernels.Weighed]] = {}
        self._adjoints: dict[bool, Any] = {}

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

    def _sized(self, output_size: Integers | None) -> Settings:
        """Return the settings with the size that a call asks for."""
        if output_size is None:
            return self._settings
        stride, padding, output_padding, _, dilation, groups, data_format = self._settings
        return stride, padding, output_padding, output_size, dilation, groups, data_format

    def _plan(self, shape: tuple[int, ...], output_size: Integers | None = None) -> Plan:
        bias = None if self.bias is None else self.bias.shape
        return make_plan(self._transposed, shape, self.weight.shape, bias, self._sized(output_size))

    def _as(self, dtype: np.dtype[Any], name: str) -> Any:
        """Return the weight or the bias, converted once for each dtype that it is computed in."""
        if (dtype, name) not in self._converted:
            given = getattr(self, name)
            converted = given if given is None or given.dtype == dtype else given.astype(dtype)
            self._converted[dtype, name] = converted
        return self._converted[dtype, name]

    def _apply(
        self, x: ArrayLike, out: NDArray[Any] | None, output_size: Integers | None = None
    ) -> NDArray[Any]:
        # What is checked, planned and packed for an input is so for all that differ in their numbers only.
        if type(x) is np.ndarray:
            known = self._kept.get((x.shape, x.strides, x.dtype, output_size))
            if known is not None and x.flags.aligned:
                made, weighed = known
                target = made.target(out, x, self.weight, self.bias)
                if target is not None:
                    made.compute_weighed(x, weighed, target)
                    return target if out is None else out
        x = _arguments.array(x, "x")
        plan = self._plan(x.shape, output_size)
        bias_dtype = self.weight.dtype if self.bias is None else self.bias.dtype
        dtype = _arguments.result_dtype(x.dtype, self.weight.dtype, bias_dtype)
        weight, bias = self._as(dtype, "weight"), self._as(dtype, "bias")
        result, found = compute(plan, x, weight, bias, out, self._prepared)
        packed = None if found is None else found.weigh(weight, bias, self._prepared)
        if found is not None and packed is not None:
            remember(self._kept, MOST_KEPT, (x.shape, x.strides, x.dtype, output_size), (found, packed))
        return result

    def _backward(
        self, grad_output: ArrayLike, x: ArrayLike, needs: str | Collection[str], size: Integers | None = None
    ) -> Gradients:
        grad_output, x = _arguments.array(grad_output, "grad_output"), _arguments.array(x, "x")
        dtype = _arguments.result_dtype(grad_output.dtype, x.dtype, self.weight.dtype)
        weight = self._as(dtype, "weight")
        chosen = _arguments.needs(needs)
        return backward(self._transposed, grad_output, x, weight, self._sized(size), chosen, self._prepared)

    def _made(self, cls: type[_O], conjugate: bool, padding: Paddings) -> _O:
        """Return the other operator with the same weight, or its conjugate; it is kept with what it packs."""
        if conjugate not in self._adjoints:
            weight = self.weight
            if conjugate:
                weight = weight.conj()
                weight.flags.writeable = False
            stride, _, _, _, dilation, groups, data_format = self._settings
            made = cls.__new__(cls)
            made._hold(weight, None, (stride, padding, 0, None, dilation, groups, data_format))
            self._adjoints[conjugate] = made
        found: _O = self._adjoints[conjugate]
        return found

    def as_linear_operator(self, input_shape: Sequence[int]) -> LinearOperator:
        """Return the operator as SciPy's solvers take it, between vectors of raveled maps.

        What `scipy.sparse.linalg.lsqr`, ``cg``, ``svds`` and others ask for: products with the matrix of
        `as_matrix` and with its adjoint, which are computed by the kernels. The bias is left out, as
        it is not linear.

        Parameters
        ----------
        input_shape : sequence of int
            The shape of the input, with or without a batch, in this operator's layout.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator
            Of shape (elements of the result, elements of the input) and the weight's dtype, float32 for
            float16 and bfloat16, float64 for integers. Products are computed in the precision of the
            vectors, if that is higher.

        Raises
        ------
        ImportError
            Without SciPy.
        TypeError, ValueError
            If no input has this shape.

        Examples
        --------
        >>> import numpy as np
        >>> import pyx_deconv as pxd
        >>> from scipy.sparse.linalg import lsqr
        >>> op = pxd.Conv(np.array([[[1.0, 2.0, 1.0]]]) / 4, padding=1)
        >>> blur = op.as_linear_operator((1, 6))
        >>> blurred = blur @ np.array([0.0, 0, 4, 0, 0, 8])
        >>> blurred
        array([0., 1., 2., 1., 2., 4.])
        >>> np.abs(lsqr(blur, blurred, atol=1e-12, btol=1e-12)[0].round(6))
        array([0., 0., 4., 0., 0., 8.])
        """
        from pyx_deconv._matrices import ConvolutionOperator

        shape = _arguments.shape(input_shape, "input_shape")
        return ConvolutionOperator(self, shape, self._plan(shape))

    def as_matrix(self, input_shape: Sequence[int]) -> csr_array:
        """Return the operator as a sparse matrix, without the bias.

        For ConvTranspose it is the transpose of the matrix C of a convolution that textbooks show: each
        column has the weights of one input pixel.

        Parameters
        ----------
        input_shape : sequence of int
            The shape of the input, with or without a batch, in this operator's layout.

        Returns
        -------
        scipy.sparse.csr_array, (elements of the result, elements of the input)
            It takes a raveled input to a raveled result. An entry is stored for every pair of elements that
            a tap connects, also where the weight is 0. Of the weight's dtype, float32 for float16 and
            bfloat16, float64 for integers.

        Raises
        ------
        ImportError
            Without SciPy.
        MemoryError
            If there is no room for the entries.
        TypeError, ValueError
            If no input has this shape.

        Examples
        --------
        >>> import numpy as np
        >>> import pyx_deconv as pxd
        >>> op = pxd.ConvTranspose(np.array([[[1.0, 2.0, 3.0]]]), stride=2)
        >>> op.as_matrix((1, 2)).toarray()
        array([[1., 0.],
               [2., 0.],
               [3., 1.],
               [0., 2.],
               [0., 3.]])
        """
        from pyx_deconv._matrices import as_matrix

        shape = _arguments.shape(input_shape, "input_shape")
        return as_matrix(self.weight, shape, self._plan(shape))

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
    >>> op.T(np.array([[1.0, 0, 0, 0, 1]]))
    array([[  1., 100.]])
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
        settings = _arguments.settings(stride, padding, output_padding, None, dilation, groups, data_format)
        super().__init__(weight, bias, settings)

    def __call__(
        self,
        x: ArrayLike,
        *,
        output_size: int | Sequence[int] | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Return the transposed convolution of x.

        Parameters
        ----------
        x, output_size, out
            As of `conv_transpose`.

        Returns
        -------
        ndarray
            As `conv_transpose`.
        """
        size = None if output_size is None else _arguments.integers(output_size, "output_size")
        return self._apply(x, out, size)

    def backward(
        self,
        grad_output: ArrayLike,
        x: ArrayLike,
        *,
        output_size: int | Sequence[int] | None = None,
        needs: str | Collection[str] = _arguments.GRADIENTS,
    ) -> Gradients:
        """Return the gradients with respect to x, weight and bias.

        Parameters
        ----------
        grad_output : array_like
            The gradient with respect to the result for this x, and of its shape.
        x : array_like
            What the result was computed from.
        output_size
            What the result was computed with.
        needs : str or collection of str, default: ("x", "weight", "bias")
            The gradients to compute.

        Returns
        -------
        Gradients
            As `conv_transpose_backward`.
        """
        size = None if output_size is None else _arguments.integers(output_size, "output_size")
        return self._backward(grad_output, x, needs, size)

    def output_shape(
        self, input_shape: Sequence[int], *, output_size: int | Sequence[int] | None = None
    ) -> tuple[int, ...]:
        """Return the shape of the result for an input of this shape, in this operator's layout."""
        size = None if output_size is None else _arguments.integers(output_size, "output_size")
        return self._plan(_arguments.shape(input_shape, "input_shape"), size).shape

    @property
    def T(self) -> Conv:
        """The transpose: a `Conv` with the same weight and without a bias.

        ``sum(op(x) * y) == sum(x * op.T(y))`` but for rounding and the bias, for every y of the shape of
        ``op(x)``. Its padding at the end is less by output_padding: ``op.T(op(x))`` has the shape of x.
        """
        return self._made(Conv, False, self._transposed_padding())

    @property
    def H(self) -> Conv:
        """The adjoint: as `T`, with the conjugate weight if that is complex."""
        return self._made(Conv, self.weight.dtype.kind == "c", self._transposed_padding())

    def _transposed_padding(self) -> Paddings:
        padding, rank = self._settings[1], self.weight.ndim - 2
        extra = _arguments.per_axis(self._settings[2], "output_padding", rank, 0)
        pairs = _arguments.padding_per_axis(padding, rank)
        if not any(extra) or isinstance(pairs[0], str):
            return padding
        return tuple((int(p[0]), int(p[1]) - more) for p, more in zip(pairs, extra, strict=True))


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
            weight, bias, _arguments.settings(stride, padding, 0, None, dilation, groups, data_format)
        )

    def __call__(self, x: ArrayLike, *, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the convolution of x.

        Parameters
        ----------
        x, out
            As of `conv`.

        Returns
        -------
        ndarray
            As `conv`.
        """
        return self._apply(x, out)

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
            As `conv_backward`.
        """
        return self._backward(grad_output, x, needs)

    def output_shape(self, input_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the result for an input of this shape, in this operator's layout."""
        return self._plan(_arguments.shape(input_shape, "input_shape")).shape

    @property
    def T(self) -> ConvTranspose:
        """The transpose: a `ConvTranspose` with the same weight and without a bias.

        ``sum(op(x) * y) == sum(x * op.T(y, output_size=...))`` but for rounding and the bias, with the
        spatial size of x: with a stride, several sizes of x lead to one of y. Without output_size the
        smallest of them is taken, or with "same" the largest.
        """
        return self._made(ConvTranspose, False, self._settings[1])

    @property
    def H(self) -> ConvTranspose:
        """The adjoint: as `T`, with the conjugate weight if that is complex."""
        return self._made(ConvTranspose, self.weight.dtype.kind == "c", self._settings[1])


def _kept(value: ArrayLike, name: str) -> NDArray[Any]:
    """Return a copy that nobody can change."""
    copy = np.array(_arguments.array(value, name), order="C")
    copy.flags.writeable = False
    return copy
