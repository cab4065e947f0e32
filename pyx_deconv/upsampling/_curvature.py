"""How curved the loss of a network is along its parameters, layer by layer: what makes L-BFGS quick.

The parameters of a network are of very different weight, and those of one kernel nearly redundant, since
neighbouring pixels are alike. The Gauss-Newton matrix of a convolution is close to a Kronecker product: of
the second moments of what the kernel is multiplied with, and those of the gradients of its output, as K-FAC
and KFC approximate it [1]_ [2]_. A change of variables by the inverse roots of both makes it close to the
unit matrix, and L-BFGS, which starts with a multiple of that, needs few steps.

References
----------
.. [1] J. Martens and R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature",
   2015, arXiv:1503.05671.
.. [2] R. Grosse and J. Martens, "A Kronecker-factored approximate Fisher matrix for convolution layers",
   2016, arXiv:1602.01407.
"""

import numpy as np

from pyx_deconv.functional import conv, conv_backward
from pyx_deconv.upsampling._fsrcnn import Array, Fsrcnn, Parameters

__all__ = ["Curvature"]

Phase = tuple[slice, slice, slice]

DAMPING, OUTPUT_DAMPING = 1e-3, 1e-2  # relative to the mean of the eigenvalues


class Curvature:
    """A change of variables in which the loss is about equally curved along all.

    Parameters
    ----------
    network : Fsrcnn
        The network at the present parameters.
    x : ndarray, (N, 1, height, width)
        Some pictures.
    random : numpy.random.Generator
        Of what is sent back through the network to see how its layers act on the result.
    """

    def __init__(self, network: Fsrcnn, x: Array, random: np.random.Generator) -> None:
        passes, last = network.forward(x)
        size = network.parameters["painted.weight"].shape[-1]
        self._painted = _phases(last, size, network.factor)
        noise = random.standard_normal(network.painting.output_shape(last.shape)).astype(last.dtype)
        grad = network.painting.backward(noise, last, needs="x").x
        self._layers: dict[str, tuple[Array, Array]] = {}
        self._slopes: Parameters = {}
        for name, x, before, steepness in reversed(passes):
            moments = np.einsum("nchw,nchw->c", (by_slope := grad * np.minimum(before, 0)), by_slope)
            moments = moments / noise.size
            self._slopes[name] = (moments + DAMPING * moments.mean() + np.finfo(float).tiny) ** -0.5
            grad *= steepness
            outputs = _moments(grad, 1)[:, :, 0, 0] * (grad[:, 0].size / noise.size)
            inputs = _with_bias(x, network.parameters[f"{name}.weight"].shape[-1])
            self._layers[name] = _inverse_root(outputs, OUTPUT_DAMPING), _inverse_root(inputs, DAMPING)
            grad = network.convolutions[name].backward(grad, x, needs="x").x

    def parameters(self, variables: Parameters) -> Parameters:
        """Return the change of the parameters that a change of the variables makes."""
        return self._changed(variables, forward=True)

    def gradient(self, gradient: Parameters) -> Parameters:
        """Return the gradient by the variables, from that by the parameters."""
        return self._changed(gradient, forward=False)

    def _changed(self, given: Parameters, forward: bool) -> Parameters:
        changed = dict(given)
        for name, (outputs, inputs) in self._layers.items():
            weight = given[f"{name}.weight"]
            rows = np.column_stack([weight.reshape(len(weight), -1), given[f"{name}.bias"]])
            rows = _product(_product(outputs, rows), inputs)
            changed[f"{name}.weight"] = rows[:, :-1].reshape(weight.shape)
            changed[f"{name}.bias"] = rows[:, -1]
            changed[f"{name}.slope"] = given[f"{name}.slope"] * self._slopes[name]
        channels, phases = self._painted
        painted = given["painted.weight"][:, 0]
        changed["painted.weight"] = np.empty_like(given["painted.weight"])
        for phase, roots in phases:
            kernels = painted[phase].reshape(len(painted), -1)
            if forward:
                kernels = _product(channels, np.einsum("cts,cs->ct", roots, kernels))
            else:
                kernels = np.einsum("cts,cs->ct", roots, _product(channels.T, kernels))
            changed["painted.weight"][:, 0][phase] = kernels.reshape(painted[phase].shape)
        return changed


# All sums are those of einsum and of the kernels: that of a matrix product may depend on the threads of BLAS.


def _product(a: Array, b: Array) -> Array:
    return np.asarray(np.einsum("ij,jk->ik", a, b))


def _moments(x: Array, size: int, groups: int = 1) -> Array:
    """Return the mean of x[a, i] * x[b, i + lag], (channels, channels // groups, 2 size - 1, 2 size - 1)."""
    inner = x[:, :, size - 1 : x.shape[2] - size + 1, size - 1 : x.shape[3] - size + 1]
    lags = np.zeros((x.shape[1], x.shape[1] // groups, 2 * size - 1, 2 * size - 1), x.dtype)
    sums = conv_backward(inner, x, lags, groups=groups, needs="weight").weight
    return np.asarray(sums, np.float64) / inner[:, 0].size


def _toeplitz(moments: Array, height: int, width: int) -> Array:
    """Return [..., t, s]: the moments of taps t and s of a kernel, which depend on their distance only."""
    rows, columns = (each.ravel() for each in np.indices((height, width)))
    middle = moments.shape[-1] // 2
    return moments[..., rows - rows[:, None] + middle, columns - columns[:, None] + middle]


def _with_bias(x: Array, size: int) -> Array:
    """Return the second moments of what a convolution multiplies with a kernel and its bias."""
    moments = _toeplitz(_moments(x, size), size, size).swapaxes(1, 2)
    means = np.repeat(x.mean((0, 2, 3), dtype=np.float64), size**2)
    return np.block([[moments.reshape(len(means), -1), means[:, None]], [means, np.ones(1)]])


def _inverse_root(moments: Array, damping: float) -> Array:
    values, vectors = np.linalg.eigh(moments)
    values = np.maximum(values, 0)
    values += damping * values.mean(-1, keepdims=True) + np.finfo(float).tiny
    return np.asarray(np.einsum("...ab,...b,...cb->...ac", vectors, values**-0.5, vectors))


def _phases(x: Array, size: int, factor: int) -> tuple[Array, list[tuple[Phase, Array]]]:
    """Return the principal channels of x, and per phase the inverse roots of the moments of each."""
    channels = np.linalg.eigh(_moments(x, 1)[:, :, 0, 0])[1]
    principal = conv(x, channels.T[:, :, np.newaxis, np.newaxis].astype(x.dtype))
    moments = _moments(principal, -(-size // factor), groups=len(channels))[:, 0]
    found: list[tuple[Phase, Array]] = []
    for first_row in range(factor):
        for first_column in range(factor):
            phase = np.s_[:, first_row::factor, first_column::factor]
            taps = len(range(first_row, size, factor)), len(range(first_column, size, factor))
            found.append((phase, _inverse_root(_toeplitz(moments, *taps), DAMPING)))
    return channels, found
