"""``explain``: what may be shown, and the object that shows it."""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyx_deconv import _arguments, geometry
from pyx_deconv._files import replacing
from pyx_deconv.explanation import _trace
from pyx_deconv.explanation._text import common, factor, number, sizes_text
from pyx_deconv.explanation._trace import Array, Cell, Step, Term
from pyx_deconv.functional import conv_transpose
from pyx_deconv.geometry import Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SUFFIXES", "Explanation", "explain"]

SUFFIXES = (".html", ".gif", ".png", ".svg")


class Limits(NamedTuple):
    """What still can be looked at, along one axis."""

    x: int
    kernel: int
    stride: int
    cells: int  # of the full result and the window together


LIMITS = {1: Limits(x=16, kernel=9, stride=8, cells=20), 2: Limits(x=8, kernel=7, stride=4, cells=16)}


class Explanation:
    """One transposed convolution with all its numbers; made by `pyx_deconv.explain`.

    A notebook shows it as an interactive page. The views scatter, gather, matrix and sub-pixel are ``steps``,
    ``terms``, ``matrix`` and ``sub_kernels``.

    Attributes
    ----------
    x, kernel : ndarray
        The input and the kernel, in float64.
    stride, dilation, output_padding : tuple of int
        One entry per axis.
    padding : tuple of (int, int)
        What is cropped at both ends of each axis, also where a word such as "same" was given.
    full : ndarray
        What all painted kernels cover.
    window : tuple of (int, int)
        Which part of ``full`` the output is on each axis: the first index and the one after the last. They
        reach beyond ``full`` where zeros are added.
    y : ndarray
        The output, as `pyx_deconv.conv_transpose` computes it.
    overlap : ndarray of int
        How many products reach each output cell.
    matrix : ndarray, (y.size, x.size)
        The matrix C^T of the textbooks: ``y.ravel() == matrix @ x.ravel()``.
    steps : list
        For every input pixel its index, the slices of ``full`` that it paints, and the sum after it.
    terms : dict
        For every output cell the products that reach it, as indices of the pixel and of the tap.
    sub_kernels : dict
        For every phase, which is a position on the full result modulo stride, the small kernel that computes
        these positions at stride 1; a dilated kernel has zeros between its taps.
    conventions : tuple of dict
        For each axis the windows of size ``input size * stride`` as PyTorch, Keras and ONNX place them.

    See Also
    --------
    pyx_deconv.explain : Makes one.
    """

    x: Array
    kernel: Array
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    full: Array
    window: tuple[tuple[int, int], ...]
    y: Array
    overlap: NDArray[np.int64]
    matrix: Array
    steps: list[Step]
    terms: dict[Cell, list[Term]]
    sub_kernels: dict[Cell, Array]
    conventions: tuple[dict[str, tuple[int, int]], ...]

    def __init__(self, x: Array, kernel: Array, axes: Sequence[Axis], output_padding: Cell) -> None:
        self.x, self.kernel, self.axes = x, kernel, tuple(axes)
        self.stride = tuple(axis.stride for axis in axes)
        self.dilation = tuple(axis.dilation for axis in axes)
        self.output_padding = output_padding
        self.window = tuple((axis.begin, axis.begin + axis.fine) for axis in axes)
        self.steps = _trace.scatter(x, kernel, axes)
        self.terms = _trace.gather(axes)
        self.full = self.steps[-1].total
        self.padding = tuple(
            (begin, size + extra - stop)
            for (begin, stop), size, extra in zip(self.window, self.full.shape, output_padding, strict=True)
        )
        self.matrix = _trace.matrix(kernel, axes)
        self.sub_kernels = _trace.sub_kernels(kernel, axes)
        self.conventions = tuple(_trace.conventions(axis) for axis in axes)
        self.y = conv_transpose(
            x[np.newaxis],
            kernel[np.newaxis, np.newaxis],
            stride=self.stride,
            padding=self.padding,
            output_padding=output_padding,
            dilation=self.dilation,
        )[0]
        _trace.check_equal(
            {
                "conv_transpose": self.y,
                "scatter": _trace.windowed(self.full, axes),
                "gather": _trace.sum_terms(x, kernel, axes, self.terms),
                "matrix": (self.matrix @ x.ravel()).reshape(self.y.shape),
                "sub-pixel": _trace.windowed(_trace.interleave(x, self.sub_kernels, axes), axes),
            },
            x,
            kernel,
        )
        counts = [len(terms) for terms in self.terms.values()]
        self.overlap = np.array(counts, np.int64).reshape(self.y.shape)
        for array in (x, kernel, self.full, self.y, self.overlap, self.matrix, *self.sub_kernels.values()):
            array.setflags(write=False)

    def __repr__(self) -> str:
        return (
            f"<Explanation: input {sizes_text(self.x.shape)}, kernel {sizes_text(self.kernel.shape)}, "
            f"{self.settings_text()}: full {sizes_text(self.full.shape)}, output {sizes_text(self.y.shape)}>"
        )

    def settings_text(self) -> str:
        """Write the settings as one would pass them; what is the default is left out, except for stride."""
        even = all(begin == end for begin, end in self.padding)
        padding = common([begin for begin, _ in self.padding]) if even else str(self.padding)
        parts = [f"stride {common(self.stride)}"]
        parts += [f"padding {padding}"] if padding != "0" else []
        parts += [f"output_padding {common(self.output_padding)}"] if any(self.output_padding) else []
        parts += [f"dilation {common(self.dilation)}"] if set(self.dilation) != {1} else []
        return ", ".join(parts)

    def formula(self, *cell: int) -> str:
        """Write out what is added up in one output cell.

        Parameters
        ----------
        *cell : int
            The index of the cell, an integer for each axis; negative ones count from the end.

        Returns
        -------
        str
            Every input value times the tap that lands in the cell, and their sum.

        Examples
        --------
        >>> import pyx_deconv as pxd
        >>> shown = pxd.explain([[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]], stride=2)
        >>> shown.formula(2, 2)
        'y[2, 2] = 1·9 + 2·7 + 3·3 + 4·1 = 36'
        """
        if len(cell) != self.y.ndim:
            raise ValueError(
                f"cell must have {self.y.ndim} indices, not {len(cell)}: {_arguments.show(cell)}"
            )
        place = []
        for axis, (entry, size) in enumerate(zip(cell, self.y.shape, strict=True)):
            index = _arguments.integer(entry, f"cell[{axis}]")
            if not -size <= index < size:
                raise IndexError(f"cell[{axis}]={index} must be from {-size} to {size - 1}")
            place.append(index % size)
        found = tuple(place)
        return f"y[{', '.join(map(str, found))}] = {self.sum_text(self.terms[found])}"

    def sum_text(self, terms: Sequence[Term]) -> str:
        products = [f"{factor(self.x[pixel])}·{factor(self.kernel[tap])}" for pixel, tap in terms]
        value = number(float(sum(self.x[pixel] * self.kernel[tap] for pixel, tap in terms)))
        return f"{' + '.join(products)} = {value}" if products else value

    def plot(self) -> "Figure":
        """Draw all views as one picture.

        Returns
        -------
        matplotlib.figure.Figure
            The input, the kernel and the full result with the window that is kept; the output coloured by
            phase; how many products reach each cell; the sub-pixel kernels; the matrix; the windows of the
            frameworks. A notebook shows it by itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        figure: Figure = _drawing("_figures").overview(self)
        return figure

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the explanation into a file, whole or not at all.

        Parameters
        ----------
        path : str or path
            Its suffix says what is written: .html the interactive page, .gif the input pixels painting one
            after the other, .png and .svg the picture of `plot`. A file that is there is replaced.

        Raises
        ------
        ValueError
            If the suffix is another one.
        ImportError
            If matplotlib is not installed, except for .html.
        OSError
            If the file cannot be written.
        """
        file = Path(path)
        suffix = file.suffix.lower()
        if suffix not in SUFFIXES:
            known = ", ".join(SUFFIXES[:-1])
            raise ValueError(
                f"path must end in {known} or {SUFFIXES[-1]}, which says what is written, not "
                f"{_arguments.show(os.fspath(path))}"
            )
        if suffix == ".html":
            content = self._document().encode()
        else:
            content = _picture(self, suffix)
        with replacing(file) as partial:
            partial.write_bytes(content)

    def _settings(self) -> dict[str, Any]:
        """Return what the page is made of."""
        return {
            "x": self.x.tolist(),
            "kernel": self.kernel.tolist(),
            "stride": list(self.stride),
            "padding": [list(ends) for ends in self.padding],
            "output_padding": list(self.output_padding),
            "dilation": list(self.dilation),
        }

    def _document(self) -> str:
        from pyx_deconv.explanation import _page

        return _page.document(self._settings())

    def _repr_html_(self) -> str:
        from pyx_deconv.explanation import _page

        try:
            picture = _picture(self, ".png")
        except ImportError:
            picture = None
        return _page.fragment(self._settings(), picture)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


def explain(
    x: ArrayLike,
    kernel: ArrayLike,
    *,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int | Sequence[int]] = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
) -> Explanation:
    """Show one transposed convolution with its numbers, by four views that are checked to be equal.

    The views are scatter (each input pixel paints the kernel), gather (which products reach an output cell),
    the matrix, and sub-pixel (small kernels of stride 1, interleaved).

    Parameters
    ----------
    x : array_like, 1-D or 2-D
        The input: one channel of real numbers, up to 16 pixels, or up to 8 x 8.
    kernel : array_like, with as many axes as x
        The kernel, up to 9 taps, or up to 7 x 7.
    stride, padding, output_padding, dilation
        As in `pyx_deconv.conv_transpose`; the stride up to 8, or 4 for two axes. The full result and the
        window that is kept may cover up to 20 cells, or 16 along each of two axes.

    Returns
    -------
    Explanation
        It shows itself in a notebook; ``.save("shown.html")`` writes a page, ``.plot()`` draws a picture.

    Raises
    ------
    TypeError, ValueError
        As `pyx_deconv.conv_transpose`, and for what is too large to be looked at.

    See Also
    --------
    conv_transpose : The operation, for any size.

    Examples
    --------
    >>> import pyx_deconv as pxd
    >>> shown = pxd.explain([1, 2], [1, 10, 100], stride=2, padding="same")
    >>> shown
    <Explanation: input 2, kernel 3, stride 2, padding ((0, 1),): full 5, output 4>
    >>> shown.full
    array([  1.,  10., 102.,  20., 200.])
    >>> shown.y
    array([  1.,  10., 102.,  20.])
    >>> shown.formula(2)
    'y[2] = 1·100 + 2·1 = 102'
    >>> shown.matrix
    array([[  1.,   0.],
           [ 10.,   0.],
           [100.,   1.],
           [  0.,  10.]])
    """
    x, kernel = _arguments.array(x, "x"), _arguments.array(kernel, "kernel")
    rank = x.ndim
    if rank not in LIMITS:
        raise ValueError(f"x must have 1 or 2 axes to be looked at, not {rank}: its shape is {x.shape}")
    if kernel.ndim != rank:
        raise ValueError(
            f"kernel must have as many axes as x, {rank}, not {kernel.ndim}: its shape is {kernel.shape}"
        )
    limits = LIMITS[rank]
    source, taps = _numbers(x, "x", limits.x), _numbers(kernel, "kernel", limits.kernel)
    steps = _arguments.integers(stride, "stride")
    extra = _arguments.integers(output_padding, "output_padding")
    ends = _arguments.paddings(padding)
    axes = geometry.transposed_axes(
        source.shape, taps.shape, steps, ends, extra, None, _arguments.integers(dilation, "dilation")
    )
    for axis, resolved in enumerate(axes):
        _check_size(resolved, axis, limits, rank)
    with np.errstate(over="ignore"):
        largest = np.abs(source).sum() * np.abs(taps).sum()
    if not np.isfinite(largest):
        raise ValueError("x and kernel must be smaller: their products exceed the range of float64")
    return Explanation(source, taps, axes, _arguments.per_axis(extra, "output_padding", rank, 0))


def _numbers(array: NDArray[Any], name: str, most: int) -> Array:
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must have real numbers to be shown, not {array.dtype}")
    for axis, size in enumerate(array.shape):
        if not 1 <= size <= most:
            raise ValueError(
                f"{name} must have from 1 to {most} entries along {_each(array.ndim)} to be looked at, not "
                f"{size} on axis {axis}; conv_transpose takes any size"
            )
    real = array.astype(np.float64)  # a copy: what is shown does not change later
    if not np.isfinite(real).all():
        raise ValueError(f"{name} must have finite numbers to be shown, not NaN or infinity")
    return real


def _check_size(axis: Axis, number: int, limits: Limits, rank: int) -> None:
    if axis.stride > limits.stride:
        raise ValueError(
            f"stride={axis.stride} on axis {number} must be at most {limits.stride} to be looked at"
        )
    full = geometry.full_size(axis.coarse, axis.kernel, axis.stride, axis.dilation)
    first, stop = axis.begin, axis.begin + axis.fine
    covered = max(full, stop, axis.coarse * axis.stride) - min(first, 0)
    if covered > limits.cells:
        raise ValueError(
            f"x, kernel, stride, dilation and padding must lead to at most {limits.cells} cells along "
            f"{_each(rank)} to be looked at, not {covered} on axis {number}: the full result has {full} "
            f"(input size {axis.coarse}, kernel {axis.kernel}, stride {axis.stride}, dilation "
            f"{axis.dilation}), and {first} to {stop} are kept"
        )


def _each(rank: int) -> str:
    return "its axis" if rank == 1 else "each of 2 axes"


def _picture(shown: Explanation, suffix: str) -> bytes:
    """Return a file of the kind that its suffix names."""
    if suffix == ".gif":
        drawn: bytes = _drawing("_animation").content(shown)
    else:
        drawn = _drawing("_figures").content(shown, suffix[1:])
    return drawn


def _drawing(module: str) -> Any:
    """Import what needs matplotlib."""
    try:
        return importlib.import_module(f"pyx_deconv.explanation.{module}")
    except ImportError as error:
        raise ImportError(
            'pictures of an explanation need matplotlib and pillow: pip install "pyx_deconv[explain]"'
        ) from error
