"""`LearnedUpsampler`: enlarging photographs by what was learned from others."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _arguments
from pyx_deconv.upsampling import _pixels, _storage
from pyx_deconv.upsampling._fsrcnn import Fsrcnn
from pyx_deconv.upsampling._linear import Linear
from pyx_deconv.upsampling._pairs import Downsample, original, pair
from pyx_deconv.upsampling._quality import Score, score
from pyx_deconv.upsampling._tiles import enlarged
from pyx_deconv.upsampling.interpolation import REACH

__all__ = ["LearnedUpsampler", "NotFittedError"]

Image = NDArray[Any]

MODELS = {"linear": Linear, "fsrcnn": Fsrcnn}
LARGEST_FACTOR = 16


class NotFittedError(ValueError, AttributeError):
    """What was asked for is there after ``fit``; scikit-learn's own class where scikit-learn is loaded."""


class LearnedUpsampler:
    """Enlarge photographs by an integer factor, with what was learned from photographs.

    An estimator as scikit-learn's, which need not be installed. Training pairs are made from photographs:
    each is made smaller, and the model learns to find the original again. Models enlarge the luma; chroma
    goes by bicubic interpolation, as in the literature on super-resolution [1]_, and so does alpha. The
    network is the small FSRCNN [2]_.

    Parameters
    ----------
    factor : int, default: 2
        How many times as high and as wide the result is, from 2 on.
    model : {"linear", "fsrcnn"}
        "linear" is one transposed convolution, the best kernel there is for the pairs; "fsrcnn" a small
        network that ends with one.
    kernel_size : int, optional
        Of the linear model, along each axis: the factor plus an even number, by default seven times the
        factor.
    channels : (int, int), default: (32, 5)
        Of the network: features, and what they are shrunk to in between.
    mapping_layers : int, default: 1
        Of the network: how many 3 x 3 convolutions lie between shrinking and expanding.
    seed : int, default: 0
        Of the network: of its first weights and the order of the pairs.

    Attributes
    ----------
    parameters_ : dict of ndarray
        What was learned, by name.
    reach_ : int
        How many pixels around a region its enlargement depends on, on every side.
    n_iter_ : int
        How many steps the fit took.
    loss_ : float
        The mean squared error of the luma at the end, of values between 0 and 1.
    loss_curve_ : list of float
        The same after every step.

    See Also
    --------
    pyx_deconv.upsampling.interpolate : Nearest, bilinear and bicubic.

    References
    ----------
    .. [1] C. Dong, C. C. Loy, K. He and X. Tang, "Image super-resolution using deep convolutional networks",
       2016, arXiv:1501.00092.
    .. [2] C. Dong, C. C. Loy and X. Tang, "Accelerating the super-resolution convolutional neural network",
       2016, arXiv:1608.00367.

    Examples
    --------
    >>> import numpy as np
    >>> from pyx_deconv import LearnedUpsampler
    >>> rows, columns = np.indices((96, 96))
    >>> rings = 0.5 + 0.4 * np.sin((rows**2 + columns**2) / 600)
    >>> upsampler = LearnedUpsampler(factor=2).fit([rings])
    >>> upsampler.transform(rings[:10, :8]).shape
    (20, 16)
    >>> upsampler.score(rings) > 60  # dB
    True
    """

    n_iter_: int
    loss_: float
    loss_curve_: list[float]

    def __init__(
        self,
        factor: int = 2,
        *,
        model: str = "linear",
        kernel_size: int | None = None,
        channels: Sequence[int] = (32, 5),
        mapping_layers: int = 1,
        seed: int = 0,
    ) -> None:
        self.factor = factor
        self.model = model
        self.kernel_size = kernel_size
        self.channels = channels
        self.mapping_layers = mapping_layers
        self.seed = seed

    # What scikit-learn asks of an estimator.

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the hyperparameters by name; ``deep`` is there for scikit-learn and changes nothing."""
        return {name: getattr(self, name) for name in _names()}

    def set_params(self, **params: Any) -> Self:
        """Change hyperparameters; what is fitted stays until the next `fit`.

        Raises
        ------
        ValueError
            For a name that is none of them; then nothing is changed.
        """
        for name in params:
            _pixels.one_of(name, "the name of a parameter", _names())
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        default = type(self)().get_params()
        changed = (f"{name}={value!r}" for name, value in self.get_params().items() if value != default[name])
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=list(_pixels.DTYPES)),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
            requires_fit=True,
        )

    # Fitting.

    def fit(
        self,
        images: Sequence[Image] | Image,
        y: object = None,
        *,
        downsample: Downsample = "bicubic",
        max_iter: int | None = None,
        callback: Callable[[int, float, Self], None] | None = None,
        progress: bool = True,
    ) -> Self:
        """Learn from photographs.

        Parameters
        ----------
        images : list of ndarray, (H, W) or (H, W, channels)
            Photographs of any sizes, of uint8, uint16, or of floats between 0 and 1; one or two channels are
            grey, three or four red, green and blue, the second or fourth is alpha. One array is one image.
            Dask arrays may be larger than memory: they are learned from chunk by chunk.
        y : object
            Not used.
        downsample : {"bicubic", "bilinear", "box"} or callable
            How they become small: as `pyx_deconv.upsampling.downsample`, or a function that takes an image,
            whose sides are multiples of the factor, and returns the small one.
        max_iter : int, optional
            The largest number of steps.
        callback : callable, optional
            Called after every step with its number, the loss, and this estimator as it is by then. Raising
            StopIteration ends the fit and keeps what was learned.
        progress : bool, default: True
            Show a bar, on a terminal only, and if tqdm is installed.

        Returns
        -------
        LearnedUpsampler
            The estimator itself.

        Raises
        ------
        TypeError, ValueError
            If a hyperparameter or an image is none of what it may be. What was fitted before stays then.
        """
        model, hyperparameters = self._checked()
        factor = int(self.factor)
        if max_iter is not None:
            max_iter = _arguments.at_least(_arguments.integer(max_iter, "max_iter"), "max_iter", 1)
        reach = model.reach_of(factor, **_without_seed(hyperparameters))
        found = _pixels.listed(images, "images")
        pairs: Sequence[tuple[Any, Any]]
        if any(map(_pixels.is_chunked, found)):
            from pyx_deconv.upsampling import _chunked

            pairs = _chunked.pairs(found, factor, reach, downsample)
        else:
            originals = [original(each, f"images[{i}]", factor) for i, each in enumerate(found)]
            pairs = [pair(each, factor, reach, downsample) for each in originals]

        def after_step(n_iter: int, loss: float, current: Any) -> None:
            if callback is not None:
                callback(n_iter, loss, self._take(current, current.loss_curve))

        fitted = model.fitted(
            pairs, factor, **hyperparameters, max_iter=max_iter, callback=after_step, progress=progress
        )
        return self._take(fitted, fitted.loss_curve)

    def _checked(self) -> tuple[Any, dict[str, Any]]:
        """Return the class of the model and its hyperparameters."""
        factor = _arguments.at_least(_arguments.integer(self.factor, "factor"), "factor", 2)
        if factor > LARGEST_FACTOR:
            raise ValueError(f"factor must be at most {LARGEST_FACTOR}, not {factor}")
        _pixels.one_of(self.model, "model", MODELS)
        seed = _arguments.at_least(_arguments.integer(self.seed, "seed"), "seed", 0)
        if self.model == "linear":
            size = self.kernel_size
            checked = None if size is None else _arguments.integer(size, "kernel_size")
            return Linear, {"kernel_size": Linear.checked_kernel_size(factor, checked)}
        if self.kernel_size is not None:
            raise ValueError(f"kernel_size must be None for fsrcnn, not {self.kernel_size}: it is fixed")
        channels = _arguments.integers(self.channels, "channels")
        if isinstance(channels, int) or len(channels) != 2:
            raise ValueError(f"channels must be two numbers, not {self.channels}")
        layers = _arguments.integer(self.mapping_layers, "mapping_layers")
        return Fsrcnn, {
            "channels": tuple(_arguments.at_least(each, "channels", 1) for each in channels),
            "mapping_layers": _arguments.at_least(layers, "mapping_layers", 0),
            "seed": seed,
        }

    def _take(self, fitted: Any, loss_curve: Sequence[float]) -> Self:
        self._fitted = fitted
        self.loss_curve_ = list(loss_curve)
        self.n_iter_, self.loss_ = len(loss_curve), loss_curve[-1]
        return self

    @property
    def _model(self) -> Any:
        if not hasattr(self, "_fitted"):
            message = "this LearnedUpsampler is not fitted yet: call fit, or load or pretrained"
            raise getattr(sys.modules.get("sklearn.exceptions"), "NotFittedError", NotFittedError)(message)
        return self._fitted

    @property
    def parameters_(self) -> dict[str, Image]:
        """What was learned, by name."""
        return dict(self._model.parameters)

    @property
    def reach_(self) -> int:
        """How many pixels around a region its enlargement depends on, on every side."""
        return int(max(self._model.reach, REACH["bicubic"]))

    # Enlarging.

    def transform(self, image: Image | Sequence[Image]) -> Any:
        """Enlarge an image, or each of a list.

        Parameters
        ----------
        image : ndarray, (H, W) or (H, W, channels), or a list of them
            As in `fit`, and of any size. It is computed in float32, by tiles, whatever its size. Of a dask
            array the result is one, in the same chunks, and computed when that is asked for: the same numbers
            to rounding error, and of the linear model bit for bit.

        Returns
        -------
        ndarray, (H * factor, W * factor) or (H * factor, W * factor, channels), or a list of them
            Of the dtype of the image; integers are rounded and clipped, floats are not.

        Raises
        ------
        NotFittedError
            Before `fit`; it is a ValueError and an AttributeError.
        TypeError, ValueError
            If the image is none of the above.
        """
        reach = self.reach_
        if isinstance(image, (list, tuple)):
            return [self.transform(each) for each in _pixels.listed(image, "image")]
        if _pixels.is_chunked(image):
            from pyx_deconv.upsampling import _chunked

            return _chunked.transformed(self, image)
        pixels = _pixels.photograph(image, "image")
        large = enlarged(self._model, _pixels.surrounded(pixels, reach), reach)
        return large.reshape(*large.shape[:2], *np.shape(image)[2:])

    def transform_padded(self, image: Image) -> Image:
        """Enlarge a part of an image that carries its neighbours.

        Parameters
        ----------
        image : ndarray, (H + 2 * reach, W + 2 * reach) or with channels in a third axis
            The part, with ``reach_`` pixels more on every side: what lies around it in the whole image, or
            what the image is taken to go on with beyond its borders.

        Returns
        -------
        ndarray, (H * factor, W * factor) or (H * factor, W * factor, channels)
            What the part is in the enlarged image: of the linear model bit for bit, of a network to rounding
            error, since how a layer is computed fastest depends on its size.
        """
        pixels = _pixels.photograph(image, "image")
        _pixels.neighbours(pixels, self.reach_)
        large = enlarged(self._model, pixels, self.reach_)
        return large.reshape(*large.shape[:2], *np.shape(image)[2:])

    # Scoring.

    def score(
        self, image: Image | Sequence[Image], y: object = None, *, downsample: Downsample = "bicubic"
    ) -> Score:
        """Make an image smaller, enlarge it again, and compare, as `pyx_deconv.upsampling.score`.

        Parameters
        ----------
        image : ndarray, (H, W) or (H, W, channels), or a list of them
            As in `fit`.
        y : object
            Not used.
        downsample : {"bicubic", "bilinear", "box"} or callable
            As in `fit`.

        Returns
        -------
        Score
            The peak signal-to-noise ratio in dB, a float, with the structural similarity as ``.ssim``. Of a
            list, the mean.

        Raises
        ------
        NotFittedError
            Before `fit`; it is a ValueError and an AttributeError.
        TypeError, ValueError
            If the image is none of the above, or too small.
        """
        factor = self._model.factor
        if isinstance(image, (list, tuple)):
            scores = [self.score(each, downsample=downsample) for each in _pixels.listed(image, "image")]
            return Score(float(np.mean(scores)), float(np.mean([each.ssim for each in scores])))
        return score(image, factor, self.transform, downsample=downsample)

    # Files.

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learned to an .npz file: all of it, or nothing if something fails.

        Parameters
        ----------
        path : str or path
            The file, whose name ends in .npz; one that is there is replaced.
        """
        model = self._model
        kind = next(name for name, kind in MODELS.items() if isinstance(model, kind))
        hyperparameters = self.get_params() | {"factor": model.factor, "model": kind}
        _storage.write(path, _storage.Stored(hyperparameters, model.parameters, self.loss_curve_))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file is of another kind, damaged, of a later version, or its arrays do not fit together.
        """
        stored = _storage.read(path)
        try:
            found = cls(**stored.hyperparameters)
            if not isinstance(found.channels, int):
                found.channels = tuple(found.channels)
            kind, _ = found._checked()
            return found._take(kind(found.factor, stored.parameters), stored.loss_curve)
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise ValueError(f"{path} does not hold a model: {error}") from error

    @classmethod
    def pretrained(cls, factor: int = 2, model: str = "fsrcnn") -> Self:
        """Return a model that comes with the package.

        Parameters
        ----------
        factor : int, default: 2
            The enlargement.
        model : {"fsrcnn", "linear"}
            Which kind.

        Raises
        ------
        ValueError
            If there is none; the message names those that there are.
        """
        folder = resources.files("pyx_deconv.upsampling") / "models"
        names = sorted(each.name for each in folder.iterdir() if each.name.endswith(".npz"))
        name = f"{model}-x{factor}.npz"
        if name not in names:
            there = ", ".join(each.removesuffix(".npz") for each in names)
            raise ValueError(f"there is no pretrained {model}-x{factor}, only {there}")
        with resources.as_file(folder / name) as path:
            return cls.load(Path(path))


def _names() -> list[str]:
    return list(inspect.signature(LearnedUpsampler).parameters)


def _without_seed(hyperparameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hyperparameters.items() if name != "seed"}
