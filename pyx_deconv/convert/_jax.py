"""JAX: flax' convolution modules (linen and nnx), Haiku's parameters.

``jax.lax.conv_transpose`` convolves the spread-out input with the kernel as it stands, which scatters the
reversed kernel; with ``transpose_kernel=True`` it reverses it first. Kernels are (*kernel, in, out), with
``transpose_kernel=True`` and in Haiku (*kernel, out, in).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyx_deconv import _arguments
from pyx_deconv._arguments import Pair
from pyx_deconv.convert._common import Exported, array, class_names, describe, named, per_axis
from pyx_deconv.geometry import effective_kernel, full_size, jax_crop, keras_crop, same_begin
from pyx_deconv.operators import Conv, ConvTranspose

__all__ = ["from_jax", "to_jax"]

HAIKU = {
    "stride": 1,
    "padding": "SAME",
    "rate": 1,
    "output_shape": None,
    "feature_group_count": 1,
    "data_format": "channels_last",
    "mask": None,
}
FILLED = {
    "CIRCULAR": "continues the input periodically",
    "REFLECT": "mirrors the input at its ends",
}


def from_jax(module: Any, params: Any = None, **settings: Any) -> ConvTranspose | Conv:
    """Make an operator of a flax module, or of Haiku's parameters.

    Parameters
    ----------
    module : flax.linen.ConvTranspose or Conv, flax.nnx.ConvTranspose or Conv, or mapping
        A module; or the parameters ``{"w": ..., "b": ...}`` of a Haiku module, which is no object outside of
        ``haiku.transform``.
    params : mapping, optional
        The parameters of a linen module: ``{"kernel": ..., "bias": ...}``, or ``{"params": ...}`` around it.
    **settings
        For Haiku's parameters: ``transposed``, True for ``Conv1D/2D/3DTranspose`` and False for
        ``Conv1D/2D/3D``, and the arguments of the module that are not at their defaults: ``stride``,
        ``padding``, ``rate``, ``output_shape``, ``feature_group_count``, ``data_format``, ``mask``.

    Returns
    -------
    ConvTranspose or Conv
        For inputs (N, *size, C), as the modules take them; with Haiku's data_format "NCHW" and the like for
        (N, C, *size). The weights are copied, in the dtype of the parameters.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or pads with something else than zeros.

    See Also
    --------
    to_jax : The other way.

    Examples
    --------
    JAX scatters the reversed kernel:

    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> w = np.array([1.0, 10.0, 100.0]).reshape(3, 1, 1)
    >>> op = pxd.convert.from_jax({"w": w}, transposed=True, stride=2, padding="VALID")
    >>> op(np.array([[1.0], [2.0]])).ravel()
    array([100.,  10., 201.,  20.,   2.])
    """
    if isinstance(module, Mapping):
        if params is not None:
            raise TypeError("params must not be given where the first argument is a mapping of parameters")
        return _from_haiku(module, **settings)
    if settings:
        raise TypeError(
            f"settings ({', '.join(settings)}) are for Haiku's parameters; a flax module has its own"
        )
    names = class_names(module)
    kind = next((name for name in ("ConvTranspose", "Conv") if name in names), None)
    if kind is None:
        raise TypeError(
            "module must be a ConvTranspose or Conv of flax.linen or flax.nnx, or a mapping with Haiku's "
            f"parameters, not {_arguments.show(module)} ({type(module).__name__})"
        )
    kernel, bias = _flax_parameters(module, params)
    rank = kernel.ndim - 2
    arguments: dict[str, Any] = {
        "bias": bias,
        "stride": per_axis(_or(module.strides, 1), "strides", rank),
        "dilation": per_axis(_or(module.kernel_dilation, 1), "kernel_dilation", rank),
        "data_format": "channels_last",
    }
    sizes = kernel.shape[:rank], arguments["stride"], arguments["dilation"]
    if kind == "ConvTranspose":
        weight = _scattered(kernel, out_first=module.transpose_kernel, reverse=not module.transpose_kernel)
        return ConvTranspose(weight, padding=_crops(module.padding, *sizes), **arguments)
    if any(d > 1 for d in per_axis(_or(module.input_dilation, 1), "input_dilation", rank)):
        raise ValueError(
            f"input_dilation={module.input_dilation} cannot be expressed: a convolution has none; of a layer "
            "that spreads its input out make a ConvTranspose"
        )
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))
    return Conv(
        weight, padding=_padding(module.padding, *sizes), groups=module.feature_group_count, **arguments
    )


def _flax_parameters(module: Any, params: Any) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The kernel, with its mask applied, and the bias."""
    if hasattr(module, "kernel"):  # nnx; linen's modules do not hold their parameters
        if params is not None:
            raise TypeError("params must not be given with a flax.nnx module, which holds its parameters")
        kernel, bias = module.kernel, module.bias
    else:
        if not isinstance(params, Mapping):
            raise TypeError(
                'params must be the parameters of the flax.linen module, {"kernel": ..., "bias": ...}, not '
                f"{_arguments.show(params)} ({type(params).__name__})"
            )
        inner = params.get("params", params)
        if "kernel" not in inner:
            raise ValueError(f"params must have 'kernel', and has {sorted(map(str, inner))}")
        kernel, bias = inner["kernel"], inner.get("bias") if module.use_bias else None
        if module.use_bias and bias is None:
            raise ValueError(f"params must have 'bias', and has {sorted(map(str, inner))}")
    return _masked(kernel, module.mask, "kernel"), None if bias is None else array(bias, "bias")


def _from_haiku(
    params: Mapping[str, Any], *, transposed: bool | None = None, **given: Any
) -> ConvTranspose | Conv:
    unknown = sorted(given.keys() - HAIKU)
    if unknown:
        raise TypeError(
            f"{unknown[0]!r} is no setting of a Haiku module: there are {', '.join(HAIKU)} and transposed"
        )
    if not isinstance(transposed, bool):
        raise TypeError(
            f"transposed must be True for parameters of Conv1D/2D/3DTranspose and False for those of "
            f"Conv1D/2D/3D, not {_arguments.show(transposed)}"
        )
    if "w" not in params:
        raise ValueError(f"Haiku's parameters must have 'w', and have {sorted(map(str, params))}")
    settings: dict[str, Any] = HAIKU | given
    w = _masked(params["w"], settings["mask"], "w")
    rank = w.ndim - 2
    stride = per_axis(settings["stride"], "stride", rank)
    bias = params.get("b")
    if bias is not None:
        bias = array(bias, "b")
        if bias.shape[1:] == (1,) * rank:  # with channels first, made to be added to the output
            bias = bias.reshape(-1)
    arguments: dict[str, Any] = {
        "bias": bias,
        "stride": stride,
        "data_format": _layout(settings["data_format"]),
    }
    padding = settings["padding"]
    rate = per_axis(settings["rate"], "rate", rank)
    if not transposed:
        if settings["output_shape"] is not None:
            raise TypeError("output_shape is a setting of Haiku's transposed convolutions only")
        if callable(padding) or (isinstance(padding, Sequence) and padding and callable(padding[0])):
            raise ValueError("padding must be a word or pairs: call the function of haiku.pad first")
        groups = settings["feature_group_count"]
        pads = _padding(padding, w.shape[:rank], stride, rate)
        return Conv(np.moveaxis(w, (-1, -2), (0, 1)), padding=pads, dilation=rate, groups=groups, **arguments)
    for name in ("rate", "feature_group_count"):
        if name in given:
            raise TypeError(f"{name} is a setting of Haiku's convolutions, not of the transposed ones")
    weight = _scattered(w, out_first=True, reverse=True)
    if settings["output_shape"] is None:
        crops = _crops(padding, w.shape[:rank], stride, rate)
    else:
        wanted = per_axis(settings["output_shape"], "output_shape", rank)
        crops = tuple(
            _haiku_crop(*axis, padding) for axis in zip(wanted, w.shape[:rank], stride, strict=True)
        )
    return ConvTranspose(weight, padding=crops, **arguments)


def _scattered(kernel: NDArray[Any], *, out_first: bool, reverse: bool) -> NDArray[Any]:
    """Return a kernel in the order (in, out, *kernel), reversed if JAX scatters it so."""
    rank = kernel.ndim - 2
    weight = np.moveaxis(kernel, (-1, -2) if out_first else (-2, -1), (0, 1))
    return np.flip(weight, tuple(range(2, rank + 2))) if reverse else weight


def _crops(
    padding: Any, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Pair, ...]:
    """(begin, end) of ``jax.lax.conv_transpose``."""
    axes = list(zip(kernel, stride, dilation, strict=True))
    if isinstance(padding, str):
        word = padding.upper()
        if word not in ("SAME", "VALID"):
            raise _refusal(padding, "'SAME', 'VALID' or pairs for a ConvTranspose")
        return tuple(keras_crop(*axis, word.lower()) for axis in axes)
    pairs = _pairs(padding, len(kernel))
    return tuple(jax_crop(k, d, pair) for (k, _, d), pair in zip(axes, pairs, strict=True))


def _padding(
    padding: Any, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> str | tuple[Pair, ...]:
    """The padding of ``jax.lax.conv_general_dilated``."""
    if not isinstance(padding, str):
        return _pairs(padding, len(kernel))
    word = padding.upper()
    if word == "CAUSAL" and len(kernel) == 1:
        return ((effective_kernel(kernel[0], dilation[0]) - 1, 0),)
    if word not in ("SAME", "SAME_LOWER", "VALID"):
        raise _refusal(padding, "'SAME', 'SAME_LOWER', 'VALID', pairs, or with one axis 'CAUSAL' for a Conv")
    return word.lower()


def _refusal(padding: str, allowed: str) -> ValueError:
    how = FILLED.get(padding.upper())
    why = "" if how is None else f": it {how}, and the operators pad with zeros"
    return ValueError(f"padding must be {allowed}, not {_arguments.show(padding)}{why}")


def _pairs(padding: Any, rank: int) -> tuple[Pair, ...]:
    """A (low, high) pair for every axis, from an integer, integers or pairs."""
    checked = _arguments.padding_per_axis(_arguments.paddings(padding), rank)
    return tuple((each[0], each[1]) for each in checked if not isinstance(each, str))


def _haiku_crop(output: int, kernel: int, stride: int, padding: Any) -> Pair:
    """Crop for Haiku's output_shape, which leaves one input size only: any other is refused there."""
    if not isinstance(padding, str) or padding not in ("VALID", "SAME"):
        raise ValueError(
            f"padding must be 'VALID' or 'SAME' with output_shape, not {_arguments.show(padding)}"
        )
    size = (output - kernel + stride) // stride if padding == "VALID" else -(-output // stride)
    total = full_size(size, kernel, stride) - output
    begin = same_begin(total, "same_upper") if padding == "SAME" else 0
    return begin, total - begin


def _layout(data_format: Any) -> str:
    """Haiku's names: "NHWC", "NC...", "channels_last" and so on."""
    if isinstance(data_format, str) and data_format.startswith("N") and data_format.count("C") == 1:
        if data_format[1:].startswith("C"):
            return "channels_first"
        if data_format.endswith("C"):
            return "channels_last"
    return _arguments.data_format(data_format)


def _masked(kernel: Any, mask: Any, name: str) -> NDArray[Any]:
    weight = array(kernel, name)
    if not 3 <= weight.ndim <= 5:
        raise ValueError(
            f"{name} must have 3, 4 or 5 axes, the kernel's and two of channels, not {weight.ndim}: its "
            f"shape is {weight.shape}"
        )
    if mask is None:
        return weight
    masked = array(mask, "mask")
    if masked.shape != weight.shape:
        raise ValueError(f"mask must have the shape of {name}, {weight.shape}, not {masked.shape}")
    return np.asarray(weight * masked.astype(weight.dtype))


def _or(value: Any, default: int) -> Any:
    return default if value is None else value


def to_jax(op: ConvTranspose | Conv, *, transpose_kernel: bool = False) -> Exported:
    """Return the parameters and the arguments of the flax module that does the same.

    Parameters
    ----------
    op : ConvTranspose or Conv
        Whatever its data_format: the module takes (N, *size, C).
    transpose_kernel : bool, default: False
        The setting of this name of flax' ``ConvTranspose``: whether its kernel is (*kernel, out, in), and
        scattered as it stands.

    Returns
    -------
    Exported
        ``weights``, a dict with "kernel" and, if there is one, "bias"; ``settings``, the arguments of
        ``flax.linen.ConvTranspose`` or ``Conv``. flax.nnx has the same, and ``in_features, out_features``
        instead of ``features``.

    Raises
    ------
    ValueError
        If flax has no such module: its ConvTranspose has no groups.

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> op = pxd.ConvTranspose(np.array([[[1.0, 10.0, 100.0]]]), stride=2, padding=1)
    >>> weights, settings = pxd.convert.to_jax(op)
    >>> weights["kernel"].ravel()
    array([100.,  10.,   1.])
    >>> settings["padding"]
    ((1, 1),)
    """
    described = describe(op)
    settings: dict[str, Any] = {
        "features": described.made,
        "kernel_size": described.kernel,
        "strides": described.stride,
        "kernel_dilation": described.dilation,
        "use_bias": op.bias is not None,
    }
    kernel = np.moveaxis(op.weight, (0, 1), (-1, -2))
    if described.transposed:
        if described.groups > 1:
            raise ValueError(f"groups={described.groups} cannot be expressed: flax' ConvTranspose has none")
        assert described.crops is not None
        if not transpose_kernel:
            kernel = np.flip(np.moveaxis(op.weight, (0, 1), (-2, -1)), tuple(range(len(described.kernel))))
        # jax_crop is its own inverse.
        axes = zip(described.kernel, described.dilation, described.crops, strict=True)
        settings["padding"] = tuple(jax_crop(*axis) for axis in axes)
        settings["transpose_kernel"] = transpose_kernel
    else:
        settings["padding"] = (
            {"same_upper": "SAME", "same_lower": "SAME_LOWER"}[described.same or "same_upper"]
            if described.crops is None
            else described.crops
        )
        settings["feature_group_count"] = described.groups
    return Exported(named(kernel, op.bias, "kernel"), settings)
