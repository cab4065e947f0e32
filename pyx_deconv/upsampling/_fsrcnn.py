"""The small network of Dong, Loy and Tang: its layers, what it computes, its loss and its gradient."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyx_deconv.operators import Conv, ConvTranspose
from pyx_deconv.upsampling.interpolation import bicubic

__all__ = ["Fsrcnn", "Pass"]

Array = NDArray[Any]
Parameters = dict[str, Array]

FEATURE, MAPPING = 5, 3  # sizes of the kernels; those of shrink and expand are 1
LEAST_PAINTED = 9  # size of the kernel of the transposed convolution, where the factor does not ask for more
SLOPE = 0.25  # of the PReLU below zero, at first
PAINTED_DEVIATION = 0.003  # of the kernels of the transposed convolution, at first


class Pass(NamedTuple):
    """What one convolution and its PReLU were given and did, kept for the way back."""

    name: str
    x: Array
    before: Array  # the PReLU
    steepness: Array  # of the PReLU there


class Fsrcnn:
    """FSRCNN [1]_, in its small form FSRCNN-s, for one channel.

    Convolutions of sizes 5, 1, 3 and 1 (feature, shrink, mapping, expand), each followed by a PReLU with one
    slope per channel, and a transposed convolution of size 9 whose stride is the factor. With 32 and 5
    channels and one mapping, these are 4,086 parameters. None of them pads: the picture brings its
    neighbours along.

    Parameters
    ----------
    factor : int
        How many times as high and wide the result is.
    parameters : mapping of ndarray
        By name, as `shapes` has them. Results are of their dtype.

    Attributes
    ----------
    reach : int
        How many pixels beyond a region its result depends on, on every side.
    loss_curve : list of float
        What the loss was after each step of the fit.

    References
    ----------
    .. [1] C. Dong, C. C. Loy and X. Tang, "Accelerating the super-resolution convolutional neural network",
       2016, arXiv:1608.00367.
    """

    def __init__(self, factor: int, parameters: Mapping[str, Array]) -> None:
        mapping_layers = sum(name.startswith("mapping") and name.endswith(".weight") for name in parameters)
        if "feature.weight" not in parameters or "shrink.weight" not in parameters:
            raise ValueError(
                f"the parameters of a network begin with feature and shrink, not {list(parameters)}"
            )
        channels = len(parameters["feature.weight"]), len(parameters["shrink.weight"])
        expected = self.shapes(factor, channels=channels, mapping_layers=mapping_layers)
        if parameters.keys() != expected.keys():
            raise ValueError(f"the parameters of a network are {list(expected)}, not {list(parameters)}")
        for name, shape in expected.items():
            if parameters[name].shape != shape:
                raise ValueError(f"{name} must be of shape {shape}, not {parameters[name].shape}")
        self.factor = factor
        self.parameters: Parameters = {name: parameters[name] for name in expected}
        self.reach = self.reach_of(factor, channels=channels, mapping_layers=mapping_layers)
        self.loss_curve: list[float] = []
        self.convolutions = {
            name: Conv(parameters[f"{name}.weight"], parameters[f"{name}.bias"])
            for name in _names(mapping_layers)
        }
        self._slopes = {name: parameters[f"{name}.slope"][:, None, None] for name in self.convolutions}
        size, begin, margin = _painting(factor)
        crop = (margin * factor + begin, margin * factor + size - factor - begin)
        self.painting = ConvTranspose(
            parameters["painted.weight"], parameters["painted.bias"], stride=factor, padding=(crop, crop)
        )

    @staticmethod
    def shapes(factor: int, *, channels: Sequence[int], mapping_layers: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all parameters, by name."""
        features, shrunk = channels
        found: dict[str, tuple[int, ...]] = {}
        inputs = 1
        for name in _names(mapping_layers):
            size = {"feature": FEATURE, "shrink": 1, "expand": 1}.get(name, MAPPING)
            outputs = features if name in ("feature", "expand") else shrunk
            found |= {
                f"{name}.weight": (outputs, inputs, size, size),
                f"{name}.bias": (outputs,),
                f"{name}.slope": (outputs,),
            }
            inputs = outputs
        size = _painting(factor)[0]
        return found | {"painted.weight": (features, 1, size, size), "painted.bias": (1,)}

    @staticmethod
    def reach_of(factor: int, *, channels: Sequence[int], mapping_layers: int) -> int:
        """Return how many pixels beyond a region its result depends on, on every side."""
        return FEATURE // 2 + mapping_layers * (MAPPING // 2) + _painting(factor)[2]

    @classmethod
    def initial(cls, factor: int, *, channels: Sequence[int], mapping_layers: int, seed: int) -> "Fsrcnn":
        """Return a network that enlarges about as bicubic interpolation does, in float64.

        The first channel of every layer hands on the picture as it is, and the transposed convolution paints
        it with the bicubic kernel. The others start at random: kernels as He et al. draw them [1]_, where
        those of the first layer sum to zero, and small ones in the transposed convolution.

        References
        ----------
        .. [1] K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", 2015, arXiv:1502.01852.
        """
        random = np.random.default_rng(seed)
        made: Parameters = {}
        for name, shape in cls.shapes(factor, channels=channels, mapping_layers=mapping_layers).items():
            layer, kind = name.split(".")
            if kind == "weight" and layer != "painted":
                weight = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
                if layer == "feature":
                    weight -= weight.mean((2, 3), keepdims=True)
                else:
                    weight[:, 0] = 0
                weight[0] = 0
                weight[0, 0, shape[2] // 2, shape[3] // 2] = 1
                made[name] = weight
            elif kind == "weight":
                made[name] = random.standard_normal(shape) * PAINTED_DEVIATION
                made[name][0, 0] = bicubic(factor, *_painting(factor)[:2])
            else:
                made[name] = np.full(shape, SLOPE if kind == "slope" else 0.0)
                made[name][0] = kind == "slope"
        return cls(factor, made)

    @classmethod
    def fitted(
        cls,
        pairs: Sequence[tuple[Array, Array]],
        factor: int,
        *,
        channels: Sequence[int] = (32, 5),
        mapping_layers: int = 1,
        seed: int = 0,
        max_iter: int | None = None,
        progress: bool = True,
        callback: Callable[[int, float, "Fsrcnn"], None] = lambda *_: None,
    ) -> "Fsrcnn":
        """Return a network that was fitted to pairs of pictures, as `_training.fit` does it.

        Parameters
        ----------
        pairs : sequence of (x, y)
            Pictures (h + 2 * reach, w + 2 * reach) and what they should become, (h * factor, w * factor).
        factor, channels, mapping_layers, seed
            Of the network.
        max_iter, progress, callback
            As in `_training.fit`.

        Returns
        -------
        Fsrcnn
            In float32, with ``loss_curve``.
        """
        from pyx_deconv.upsampling._training import fit

        first = cls.initial(factor, channels=channels, mapping_layers=mapping_layers, seed=seed)
        return fit(first, pairs, seed=seed, max_iter=max_iter, progress=progress, callback=callback)

    def upsample(self, x: Array) -> Array:
        """Enlarge (N, 1, h + 2 * reach, w + 2 * reach) to (N, 1, h * factor, w * factor)."""
        for name, convolution in self.convolutions.items():
            x = convolution(x)
            x *= _steepness(x, self._slopes[name])
        return self.painting(x)

    def forward(self, x: Array) -> tuple[list[Pass], Array]:
        """Return what every layer did, and what the transposed convolution is given."""
        passes = []
        for name, convolution in self.convolutions.items():
            before = convolution(x)
            steepness = _steepness(before, self._slopes[name])
            passes.append(Pass(name, x, before, steepness))
            x = before * steepness
        return passes, x

    def errors_and_gradient(self, x: Array, y: Array, importance: Array) -> tuple[Array, Parameters]:
        """Return the sum of squared errors of every picture, and what its half, weighed, has as gradient.

        Parameters
        ----------
        x, y : ndarray, (N, 1, h + 2 * reach, w + 2 * reach) and (N, 1, h * factor, w * factor)
            Pictures and what they should become.
        importance : ndarray, (N,)
            The weights of the pictures in the sum whose gradient is returned.

        Returns
        -------
        errors : ndarray of float64, (N,)
            The sums of squares, without the weights.
        gradient : dict of ndarray
            The gradient of ``sum(importance * errors) / 2`` by every parameter.
        """
        passes, last = self.forward(x)
        residual = self.painting(last)
        residual -= y
        # einsum sums in an order of its own, never that of a threaded BLAS.
        errors = np.einsum("nchw,nchw->n", residual, residual, dtype=np.float64)
        residual *= importance[:, np.newaxis, np.newaxis, np.newaxis]
        back = self.painting.backward(residual, last)
        found: dict[str, Array | None] = {"painted.weight": back.weight, "painted.bias": back.bias}
        grad = back.x
        for name, x, before, steepness in reversed(passes):
            assert grad is not None
            found[f"{name}.slope"] = np.einsum("nchw,nchw->c", grad, np.minimum(before, 0, out=before))
            grad *= steepness
            needs = ("weight", "bias") if name == "feature" else ("x", "weight", "bias")
            back = self.convolutions[name].backward(grad, x, needs=needs)
            found[f"{name}.weight"], found[f"{name}.bias"] = back.weight, back.bias
            grad = back.x
        return errors, {name: np.asarray(found[name]) for name in self.parameters}


def _names(mapping_layers: int) -> list[str]:
    return ["feature", "shrink", *(f"mapping{i}" for i in range(1, mapping_layers + 1)), "expand"]


def _painting(factor: int) -> tuple[int, int, int]:
    """Return the size of the kernel, where it begins, and how many pixels around a region paint into it.

    Input pixel i paints the output from i * factor - begin on: about its own centre.
    """
    size = max(LEAST_PAINTED, 2 * factor + 1)
    begin = (size - factor + 1) // 2
    return size, begin, max((size - 1 - begin) // factor, (factor - 1 + begin) // factor)


def _steepness(before: Array, slope: Array) -> Array:
    """Return 1 where a number is at least 0, and the slope of its channel where it is below."""
    steepness: Array = np.multiply((before < 0).view(np.uint8), slope - 1, dtype=slope.dtype)
    steepness += 1
    return steepness
