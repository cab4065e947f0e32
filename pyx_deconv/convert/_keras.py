"""Keras: its convolution layers and Sequential as `pyx_deconv.layers`, and the weights for them."""

import importlib
from typing import Any

import numpy as np

from pyx_deconv import _arguments
from pyx_deconv.convert._common import Described, Exported, attribute, class_names, describe
from pyx_deconv.geometry import effective_kernel, keras_crop
from pyx_deconv.operators import Conv, ConvTranspose

__all__ = ["from_keras", "to_keras"]

CONVOLUTIONS = tuple(f"Conv{rank}D{kind}" for kind in ("Transpose", "") for rank in (1, 2, 3))
# The arguments that decide what a layer computes; what else a configuration holds is for training.
ARGUMENTS = (
    "filters",
    "kernel_size",
    "strides",
    "padding",
    "output_padding",
    "data_format",
    "dilation_rate",
    "groups",
    "use_bias",
    "name",
)
# They do something in training only.
PASSED_OVER = (
    "InputLayer",
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "GaussianDropout",
    "GaussianNoise",
)


def from_keras(layer: Any) -> Any:
    """Make a layer of `pyx_deconv.layers` of a Keras layer or Sequential model.

    Parameters
    ----------
    layer : keras.layers.Conv1DTranspose, 2D, 3D, Conv1D, 2D, 3D, Activation, ReLU or keras.Sequential
        With weights: built, or called once. Of a Sequential every layer is one of these; layers that do
        something in training only (Dropout and the like) are left out.

    Returns
    -------
    layer of pyx_deconv.layers
        Of the same class name, with the same weights in the dtype of Keras' variables.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If it has no weights yet, or an activation or a setting that cannot be expressed.

    See Also
    --------
    to_keras : The other way.

    Examples
    --------
    >>> import keras                                                            # doctest: +SKIP
    >>> import pyx_deconv as pxd
    >>> layer = keras.layers.Conv2DTranspose(8, 5, strides=2, padding="same")   # doctest: +SKIP
    >>> layer.build((None, 4, 4, 3))                                            # doctest: +SKIP
    >>> same = pxd.convert.from_keras(layer)                                    # doctest: +SKIP
    """
    names = class_names(layer)
    layers: Any = importlib.import_module("pyx_deconv.layers")  # from above: only where it is needed
    if "Sequential" in names:
        kept = [each for each in layer.layers if not set(class_names(each)) & set(PASSED_OVER)]
        return layers.Sequential([from_keras(each) for each in kept])
    what = f"a Keras {', '.join(CONVOLUTIONS)}, Activation, ReLU or Sequential"
    kind = next((name for name in (*CONVOLUTIONS, "Activation", "ReLU") if name in names), None)
    if kind is None:
        raise TypeError(f"layer must be {what}, not {_arguments.show(layer)} ({type(layer).__name__})")
    config = attribute(layer, "get_config", what)()
    if kind == "Activation":
        return layers.Activation(_activation(config["activation"]))
    if kind == "ReLU":
        changed = {
            name: config.get(name)
            for name in ("max_value", "negative_slope", "threshold")
            if config.get(name)
        }
        if changed:
            raise ValueError(f"ReLU with {changed} cannot be expressed: there is the plain one only")
        return layers.Activation("relu")
    if getattr(layer, "lora_enabled", False):
        raise ValueError(
            "layer has LoRA weights beside its kernel: save and load it first, which merges them"
        )
    weights = [np.asarray(weight) for weight in layer.get_weights()]
    if not weights:
        raise ValueError("layer has no weights yet: build it, or call it once, first")
    arguments = {name: config[name] for name in ARGUMENTS if name in config}
    if arguments.get("groups") == 1:
        del arguments["groups"]
    arguments["activation"] = _activation(config.get("activation"))
    made = getattr(layers, kind)(**arguments, dtype=weights[0].dtype.name)
    # Keras' kernels are (*kernel, out, in) where they scatter, and (*kernel, in // groups, out).
    channels = weights[0].shape[-1] if "Transpose" in kind else weights[0].shape[-2] * config.get("groups", 1)
    sizes = (None,) * (weights[0].ndim - 2)
    first = made.data_format == "channels_first"
    made.build((None, channels, *sizes) if first else (None, *sizes, channels))
    made.set_weights(weights)
    return made


def _activation(serialized: Any) -> str | None:
    """The name of an activation; one with arguments, or a function of the user's own, has a dictionary."""
    if serialized is None or isinstance(serialized, str):
        return None if serialized == "linear" else serialized
    raise ValueError(
        f"activation={_arguments.show(serialized)} cannot be expressed: it must be one that Keras knows by "
        "its name alone"
    )


def to_keras(op: Any) -> Exported:
    """Return the weights and the arguments of the Keras layer that does the same.

    Parameters
    ----------
    op : ConvTranspose, Conv, or a layer of pyx_deconv.layers

    Returns
    -------
    Exported
        ``weights``, a list for ``set_weights``: the kernel and, if there is one, the bias; ``settings``, the
        arguments of ``keras.layers.Conv1D/2D/3DTranspose`` or ``Conv1D/2D/3D``.

    Raises
    ------
    ValueError
        If Keras has no such layer: it knows no explicit padding, no groups of a transposed convolution, and
        no stride together with a dilation.

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> op = pxd.ConvTranspose(np.ones((3, 8, 4, 4)), stride=2, padding=1)
    >>> weights, settings = pxd.convert.to_keras(op)
    >>> weights[0].shape
    (4, 4, 8, 3)
    >>> settings["padding"], settings["output_padding"]
    ('same', None)
    """
    if not isinstance(op, (ConvTranspose, Conv)) and hasattr(op, "get_weights"):
        return Exported([np.array(weight) for weight in op.get_weights()], dict(op.get_config()))
    described = describe(op)
    if max(described.stride) > 1 and max(described.dilation) > 1:
        raise ValueError(
            f"stride={described.stride} with dilation={described.dilation} cannot be expressed: Keras has "
            "no layer with both above 1"
        )
    settings: dict[str, Any] = {
        "filters": described.made,
        "kernel_size": described.kernel,
        "strides": described.stride,
        "dilation_rate": described.dilation,
        "data_format": described.data_format,
        "use_bias": op.bias is not None,
    }
    if described.transposed:
        if described.groups > 1:
            raise ValueError(
                f"groups={described.groups} cannot be expressed: Keras' transposed layers have none"
            )
        settings |= _transposed_padding(described)
    else:
        settings |= {"padding": _padding(described), "groups": described.groups}
    kernel = np.moveaxis(op.weight, (0, 1), (-1, -2)).copy()
    return Exported([kernel] if op.bias is None else [kernel, op.bias.copy()], settings)


def _transposed_padding(described: Described) -> dict[str, Any]:
    """The padding and output_padding for which Keras crops so."""
    assert described.crops is not None
    axes = list(zip(described.kernel, described.stride, described.dilation, strict=True))
    for padding in ("valid", "same"):
        if all(keras_crop(*axis, padding) == crop for axis, crop in zip(axes, described.crops, strict=True)):
            return {"padding": padding, "output_padding": None}
        extra = [
            [op for op in range(axis[1]) if keras_crop(*axis, padding, op) == crop]
            for axis, crop in zip(axes, described.crops, strict=True)
        ]
        if all(extra):
            return {"padding": padding, "output_padding": tuple(found[0] for found in extra)}
    raise ValueError(
        f"the crops {described.crops} cannot be expressed: Keras has padding='valid' and 'same', with an "
        "output_padding smaller than the stride, and none of them crops so"
    )


def _padding(described: Described) -> str:
    if described.crops is None and described.same == "same_upper":
        return "same"
    if described.crops is not None:
        reach = [effective_kernel(k, d) for k, d in zip(described.kernel, described.dilation, strict=True)]
        if all(crop == (0, 0) for crop in described.crops):
            return "valid"
        if max(described.stride) == 1 and described.crops == tuple(
            ((r - 1) // 2, r - 1 - (r - 1) // 2) for r in reach
        ):
            return "same"
        if described.crops == ((reach[0] - 1, 0),):
            return "causal"
    raise ValueError(
        f"the padding {described.crops or described.same} cannot be expressed: Keras has 'valid', 'same' "
        "(the smaller half in front) and, with one axis, 'causal'"
    )
