"""What the frameworks answered, frozen in golden/, against the oracle and against the library."""

import functools

import conventions
import numpy as np
import pytest
import reference
from golden import store

from pyx_deconv import geometry

FRAMEWORKS = ("pytorch", "keras", "onnx", "jax")


@functools.cache
def cases(framework):
    return store.load(framework)[0]


def every_case():
    return [
        pytest.param(framework, number, id=f"{framework}-{case.name}")
        for framework in FRAMEWORKS
        for number, case in enumerate(cases(framework))
    ]


@pytest.mark.parametrize(("framework", "number"), every_case())
def test_oracle(framework, number):
    """The oracle gives every value of every framework exactly: they are integers."""
    case = cases(framework)[number]
    call = conventions.translate(framework, case)
    x, y, bias = case.arrays["x"], case.arrays["y"], case.arrays.get("bias")
    options = call.options | {"padding": call.crops}
    np.testing.assert_array_equal(reference.conv_transpose(x, call.weight, bias, **options), y)
    if "grad_y" not in case.arrays:
        return
    gradients = reference.conv_transpose_backward(case.arrays["grad_y"], x, call.weight, **options)
    for role, value in zip(("grad_x", "grad_weight", "grad_bias"), gradients, strict=True):
        if role in case.arrays:
            want = case.arrays[role]
            want = conventions.reorder(framework, case, want) if role == "grad_weight" else want
            np.testing.assert_array_equal(value, want, err_msg=role)


def crops_by_geometry(framework, case, call):
    """What `pyx_deconv.geometry` makes of the framework's settings."""
    stride, dilation = call.options["stride"], call.options["dilation"]
    settings, kernel = case.settings, call.weight.shape[2:]

    def at(name, axis, default):
        value = settings.get(name)
        return default if value is None else value[axis]

    crops = []
    for axis, n in enumerate(conventions.spatial_of(case)):
        k, s, d = kernel[axis], stride[axis], dilation[axis]
        if framework == "pytorch":
            crop = geometry.pytorch_crop(at("padding", axis, 0), at("output_padding", axis, 0))
        elif framework == "keras":
            crop = geometry.keras_crop(k, s, d, settings["padding"], at("output_padding", axis, None))
        elif framework == "onnx":
            pads = settings.get("pads", [0] * 2 * len(kernel))
            crop = geometry.onnx_crop(
                n,
                k,
                s,
                d,
                pads=(pads[axis], pads[axis + len(kernel)]),
                output_padding=at("output_padding", axis, 0),
                auto_pad=settings.get("auto_pad", "NOTSET"),
                output_shape=at("output_shape", axis, None),
            )
        elif isinstance(settings["padding"], str):
            crop = geometry.keras_crop(k, s, d, settings["padding"].lower())
        else:
            crop = geometry.jax_crop(k, d, tuple(settings["padding"][axis]))
        crops.append(crop)
    return crops


@pytest.mark.parametrize(("framework", "number"), every_case())
def test_geometry(framework, number):
    case = cases(framework)[number]
    call = conventions.translate(framework, case)
    for axis, (ours, table) in enumerate(
        zip(crops_by_geometry(framework, case, call), call.crops, strict=True)
    ):
        assert sum(ours) == sum(table), f"axis {axis}: the sizes differ"
        if framework == "onnx" and sum(table) < 0 and "pads" not in case.settings:
            # A negative total of the pads has no defined place: ONNX' reference evaluator splits it, so that
            # zeros come in front as well; ONNX Runtime, and this library, append them all.
            assert ours == (0, sum(table))
        else:
            assert tuple(ours) == tuple(table), f"axis {axis}"


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize(("framework", "number"), every_case())
def test_library(framework, number, layout):
    case = cases(framework)[number]
    is_complex = case.arrays["x"].dtype.kind == "c"
    for dtype, tolerance in (
        ((np.complex128, 1e-12), (np.complex64, 1e-5))
        if is_complex
        else ((np.float64, 1e-12), (np.float32, 1e-5))
    ):
        conventions.check(framework, case, dtype, layout, tolerance)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_vectors_discriminate(framework):
    """A window moved by one pixel, or a kernel turned round, does not pass for the right one.

    Some windows are too small to tell, and the kernels of ONNX' node tests are all ones.
    """
    moved = turned = several_taps = 0
    for case in cases(framework):
        call = conventions.translate(framework, case)
        arguments = case.arrays["x"], case.arrays.get("bias")
        shifted = [(begin + 1, end - 1) for begin, end in call.crops]
        reverse = np.flip(call.weight, axis=tuple(range(2, call.weight.ndim)))
        y = reference.conv_transpose(arguments[0], call.weight, arguments[1], **call.options, padding=shifted)
        moved += np.array_equal(y, case.arrays["y"])
        y = reference.conv_transpose(arguments[0], reverse, arguments[1], **call.options, padding=call.crops)
        several = np.prod(reverse.shape[2:]) > 1
        several_taps += several
        turned += several and np.array_equal(y, case.arrays["y"])
    assert moved <= 0.05 * len(cases(framework))
    assert turned <= 0.15 * several_taps
