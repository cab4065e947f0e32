"""From a golden case, in a framework's own words, to the arguments of this library and back.

The crop of every framework is derived here a second time, from the sizes that the framework's documents
state, so that `pyx_deconv.geometry` is compared with something.
"""

import dataclasses

import numpy as np
import reference

import pyx_deconv as pxd


@dataclasses.dataclass
class Translated:
    """The same call in the library's words: weight in its order, the window (begin, out) of every axis."""

    weight: np.ndarray
    options: dict  # stride, dilation, groups, data_format
    full: list[int]
    window: list[tuple[int, int]]

    @property
    def crops(self):
        return [
            (begin, full - begin - out) for full, (begin, out) in zip(self.full, self.window, strict=True)
        ]


def spatial_of(case):
    shape = case.arrays["x"].shape
    return shape[1:-1] if data_format(case) == "channels_last" else shape[2:]


def data_format(case):
    """The layout of x: JAX's default is channels last, Keras has an argument, the others know one only."""
    return (
        "channels_last"
        if "rhs_dilation" in case.settings
        else case.settings.get("data_format", "channels_first")
    )


def translate(framework, case):
    """Reorder the weight and find the window of every axis."""
    rank = case.arrays["x"].ndim - 2
    names = {
        "pytorch": ("stride", "dilation", "groups"),
        "keras": ("strides", "dilation_rate", None),
        "onnx": ("strides", "dilations", "group"),
        "jax": ("strides", "rhs_dilation", None),
    }[framework]
    stride, dilation = (case.settings.get(name, [1] * rank) for name in names[:2])
    weight = reorder(framework, case, case.arrays["weight"])
    reach = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(spatial_of(case), stride, reach, strict=True)]
    choose = {"pytorch": pytorch_window, "keras": keras_window, "onnx": onnx_window, "jax": jax_window}[
        framework
    ]
    window = [
        choose(case.settings, axis, n, s, r, f)
        for axis, (n, s, r, f) in enumerate(zip(spatial_of(case), stride, reach, full, strict=True))
    ]
    options = {
        "stride": tuple(stride),
        "dilation": tuple(dilation),
        "groups": case.settings.get(names[2], 1),
        "data_format": data_format(case),
    }
    return Translated(weight, options, full, window)


def reorder(framework, case, weight):
    """Bring a weight, or its gradient, from the framework's order to (C_in, C_out // groups, *kernel)."""
    if framework == "keras" or (framework == "jax" and case.settings["transpose_kernel"]):
        return np.moveaxis(weight, (-1, -2), (0, 1))
    if framework == "jax":
        # HWIO, and used without reversal on the spread-out input: that scatters the reversed kernel.
        return np.flip(np.moveaxis(weight, (-2, -1), (0, 1)), axis=tuple(range(2, weight.ndim)))
    return weight


def pytorch_window(settings, axis, n, s, reach, full):
    p, op = settings["padding"][axis], settings["output_padding"][axis]
    return p, full - 2 * p + op


def keras_window(settings, axis, n, s, reach, full):
    op = None if settings["output_padding"] is None else settings["output_padding"][axis]
    if settings["padding"] == "valid":
        return 0, n * s + max(reach - s, 0) if op is None else full + op
    out = n * s if op is None else (n - 1) * s + reach % 2 + op
    return max((full - out) // 2, 0), out


def onnx_window(settings, axis, n, s, reach, full):
    """T = full + output_padding - out is cropped; the specification leaves open what a negative T means."""
    auto_pad = settings.get("auto_pad", "NOTSET")
    if "output_padding" in settings:
        full += settings["output_padding"][axis]
    if "output_shape" in settings or auto_pad.startswith("SAME"):
        out = settings["output_shape"][axis] if "output_shape" in settings else n * s
        total = full - out
        return (total // 2 if auto_pad == "SAME_UPPER" else total - total // 2), out
    if auto_pad == "VALID" or "pads" not in settings:
        return 0, full
    begin, end = settings["pads"][axis], settings["pads"][axis + len(settings["pads"]) // 2]
    return begin, full - begin - end


def jax_window(settings, axis, n, s, reach, full):
    if settings["padding"] == "SAME":
        return max((full - n * s) // 2, 0), n * s
    if settings["padding"] == "VALID":
        return 0, n * s + max(reach - s, 0)
    low, high = settings["padding"][axis]
    return reach - 1 - low, (n - 1) * s + 2 - reach + low + high


def swap(array, source, target):
    """An array of one layout as a view in another."""
    if source == target:
        return array
    return np.moveaxis(array, -1, 1) if source == "channels_last" else np.moveaxis(array, 1, -1)


def check(framework, case, dtype, layout, tolerance):
    """Compare the library's results with the framework's."""
    call = translate(framework, case)
    source = call.options["data_format"]
    options = call.options | {"padding": call.crops, "data_format": layout}
    x = swap(case.arrays["x"], source, layout).astype(dtype)
    weight = call.weight.astype(dtype)
    bias = case.arrays["bias"].astype(dtype) if "bias" in case.arrays else None

    def close(got, want, name):
        assert got.dtype == dtype, name
        assert got.shape == want.shape, name
        np.testing.assert_allclose(
            got, want, rtol=0, atol=tolerance * max(reference.largest(want), 1), err_msg=name
        )

    close(pxd.conv_transpose(x, weight, bias, **options), swap(case.arrays["y"], source, layout), "y")
    if "grad_y" not in case.arrays:
        return
    grad_y = swap(case.arrays["grad_y"], source, layout).astype(dtype)
    gradients = pxd.conv_transpose_backward(grad_y, x, weight, **options)
    close(gradients.x, swap(case.arrays["grad_x"], source, layout), "grad_x")
    close(gradients.weight, reorder(framework, case, case.arrays["grad_weight"]), "grad_weight")
    if bias is not None:
        close(gradients.bias, case.arrays["grad_bias"], "grad_bias")
