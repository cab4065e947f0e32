"""PyTorch: its convolution modules, and their state dictionary."""

from typing import Any

from pyx_deconv import _arguments
from pyx_deconv.convert._common import Described, Exported, array, attribute, describe, named
from pyx_deconv.operators import Conv, ConvTranspose

__all__ = ["from_torch", "to_torch"]

WHAT = "a torch.nn.ConvTranspose1d/2d/3d or Conv1d/2d/3d"
# How PyTorch calls what a hook makes the weight from before every call, and what ends that.
HOOKS = {
    "weight_v": "torch.nn.utils.remove_weight_norm",
    "weight_mask": "torch.nn.utils.prune.remove",
    "weight_orig": "torch.nn.utils.remove_spectral_norm",
}


def from_torch(module: Any) -> ConvTranspose | Conv:
    """Make an operator of a PyTorch module.

    Parameters
    ----------
    module : torch.nn.ConvTranspose1d, 2d, 3d, Conv1d, 2d or 3d
        The weights may be on any device and of any floating or complex dtype. bfloat16 needs ml_dtypes, and
        becomes float32 without it.

    Returns
    -------
    ConvTranspose or Conv
        For inputs (N, C, *size), as the module takes them. The weights are copied.

    Raises
    ------
    TypeError
        If it is no such module.
    ValueError
        If it pads with something else than zeros, or has no weights yet.

    See Also
    --------
    to_torch : The other way.

    Examples
    --------
    >>> import torch                                                            # doctest: +SKIP
    >>> import pyx_deconv as pxd
    >>> module = torch.nn.ConvTranspose2d(3, 8, 4, stride=2, padding=1)         # doctest: +SKIP
    >>> pxd.convert.from_torch(module)                                          # doctest: +SKIP
    ConvTranspose(<weight (3, 8, 4, 4) float32>, <bias>, stride=(2, 2), padding=(1, 1), ...
    """
    transposed = attribute(module, "transposed", WHAT)
    mode = attribute(module, "padding_mode", WHAT)
    if mode != "zeros":
        raise ValueError(
            f"padding_mode={_arguments.show(mode)} cannot be expressed: the operators pad with zeros; pad "
            "the input first (numpy.pad) and use padding=0"
        )
    for name, remove in HOOKS.items():
        if hasattr(module, name):
            raise ValueError(
                f"module makes its weight anew in every call (it has {name!r}), so that the one it holds may "
                f"be an old one: call {remove} first"
            )
    weight, bias = attribute(module, "weight", WHAT), attribute(module, "bias", WHAT)
    if "Uninitialized" in type(weight).__name__:
        raise ValueError("module has no weights yet: call it once, so that it sees how many channels come")
    settings = {
        "stride": module.stride,
        "padding": module.padding,
        "dilation": module.dilation,
        "groups": module.groups,
    }
    arrays = array(weight, "weight"), None if bias is None else array(bias, "bias")
    if transposed:
        return ConvTranspose(*arrays, **settings, output_padding=module.output_padding)
    return Conv(*arrays, **settings)


def to_torch(op: ConvTranspose | Conv) -> Exported:
    """Return the state dictionary and the arguments of the PyTorch module that does the same.

    Parameters
    ----------
    op : ConvTranspose or Conv
        Whatever its data_format: the module takes (N, C, *size).

    Returns
    -------
    Exported
        ``weights``, a dict with "weight" and, if there is one, "bias"; ``settings``, the arguments of
        ``torch.nn.ConvTranspose1d/2d/3d`` or ``Conv1d/2d/3d``.

    Raises
    ------
    ValueError
        If PyTorch has no such module: it pads both ends alike.

    Examples
    --------
    >>> import numpy as np
    >>> import pyx_deconv as pxd
    >>> op = pxd.ConvTranspose(np.ones((1, 1, 3)), stride=2, padding=((1, 0),))
    >>> weights, settings = pxd.convert.to_torch(op)
    >>> weights["weight"].shape
    (1, 1, 3)
    >>> settings["padding"], settings["output_padding"]
    ((1,), (1,))
    """
    described = describe(op)
    settings: dict[str, Any] = {
        "in_channels": described.taken,
        "out_channels": described.made,
        "kernel_size": described.kernel,
        "stride": described.stride,
        "dilation": described.dilation,
        "groups": described.groups,
        "bias": op.bias is not None,
    }
    settings |= _transposed_padding(described) if described.transposed else _padding(described)
    return Exported(named(op.weight, op.bias), settings)


def _transposed_padding(described: Described) -> dict[str, Any]:
    assert described.crops is not None
    extra = []
    for axis, ((begin, end), stride, dilation) in enumerate(
        zip(described.crops, described.stride, described.dilation, strict=True)
    ):
        largest = max(stride, dilation) - 1
        if begin < 0 or not 0 <= begin - end <= largest:
            raise ValueError(
                f"the crop {(begin, end)} on axis {axis} cannot be expressed: PyTorch crops padding >= 0 "
                f"pixels in front, and at the end output_padding fewer, here 0 to {largest}"
            )
        extra.append(begin - end)
    return {"padding": tuple(begin for begin, _ in described.crops), "output_padding": tuple(extra)}


def _padding(described: Described) -> dict[str, Any]:
    if described.crops is None:
        raise ValueError(
            f"padding={described.same!r} with stride={described.stride} cannot be expressed: PyTorch has "
            "padding='same' for stride 1 only, because the padding depends on the size of the input otherwise"
        )
    if all(begin == end >= 0 for begin, end in described.crops):
        return {"padding": tuple(begin for begin, _ in described.crops)}
    if described.same == "same_upper":
        return {"padding": "same"}
    raise ValueError(
        f"the padding {described.crops} cannot be expressed: PyTorch pads both ends of an axis alike"
    )
