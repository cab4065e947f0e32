"""Every result of the library against the oracle, over all arguments, dtypes and layouts; and its algebra."""

import drawing
import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import pyx_deconv as pxd

layouts = st.sampled_from(drawing.LAYOUTS)


@drawing.examples(250)
@given(drawing.calls(), layouts)
def test_floating_point(call, grad_layout):
    drawing.check_call(pxd, call, grad_layout)


@drawing.examples(120)
@given(drawing.calls(drawing.STORED), layouts)
def test_stored_types_are_accumulated_in_float32_and_rounded_once(call, grad_layout):
    drawing.check_call(pxd, call, grad_layout)


@drawing.examples(60)
@given(drawing.calls(drawing.INTEGERS))
def test_integers_are_promoted_and_exact(call):
    y = call.forward(pxd)
    assert y.dtype == np.float64
    np.testing.assert_array_equal(y, call.forward(reference))
    grad_output = drawing.grad_output_for(call, y.shape)
    for got, want in zip(call.backward(pxd, grad_output), call.backward(reference, grad_output), strict=True):
        assert got.dtype == np.float64
        np.testing.assert_array_equal(got, want)


MIXED = [
    ("float32", "float64", "float64"),
    ("float16", "float32", "float32"),
    ("int32", "float32", "float64"),
    ("int8", "float32", "float32"),
    ("float32", "complex64", "complex64"),
    ("float64", "complex64", "complex128"),
    ("bool", "float16", "float16"),
    ("int64", "uint8", "float64"),
]


@pytest.mark.parametrize(("one", "other", "result"), MIXED)
def test_mixed_types_follow_result_type(one, other, result):
    rng = np.random.default_rng(3)
    for x_type, weight_type in ((one, other), (other, one)):
        x = drawing.values(rng, (2, 2, 5), np.dtype(x_type))
        weight = drawing.values(rng, (2, 3, 3), np.dtype(weight_type))
        for transposed in (True, False):
            given_weight = weight if transposed else weight.swapaxes(0, 1)
            call = drawing.Call(transposed, x, given_weight, None, {"stride": 2, "padding": 1})
            y = call.forward(reference)
            scale = reference.largest(reference.magnitude(x)[0]) * np.full(y.shape, 60.0)
            drawing.compare(call.forward(pxd), y, scale, np.dtype(result), call.name)


@drawing.examples(60)
@given(drawing.calls(layouts=("plain",)), layouts.filter(lambda kind: kind not in ("broadcast", "read-only")))
def test_out_takes_the_same_bits_in_any_layout(call, layout):
    want = call.forward(pxd)
    rng = np.random.default_rng(0)
    if layout in ("big-endian", "misaligned"):
        layout = "stepped"
    out = drawing.lay_out(np.full(want.shape, np.nan, want.dtype), layout, rng)
    assert call.forward(pxd, out=out) is out
    np.testing.assert_array_equal(out, want)


@drawing.examples(60)
@given(drawing.calls(), st.sets(st.sampled_from(["x", "weight", "bias"]), min_size=1))
def test_needs_leaves_the_others_out(call, needs):
    grad_output = drawing.grad_output_for(call, call.forward(pxd).shape)
    everything = call.backward(pxd, grad_output)
    some = call.backward(pxd, grad_output, needs=tuple(sorted(needs)))
    for name in ("x", "weight", "bias"):
        if name in needs:
            np.testing.assert_array_equal(getattr(some, name), getattr(everything, name))
        else:
            assert getattr(some, name) is None


DOUBLE = [np.dtype(np.float64), np.dtype(np.complex128)]


@drawing.examples(120)
@given(drawing.calls(DOUBLE, kinds=("normal",)))
def test_gradients_are_the_adjoints_of_the_linear_maps(call):
    """<g, A x> == <A* g, x> in x, in the weight and in the bias, with conjugates."""
    y = call.forward(pxd)
    without = drawing.Call(call.transposed, call.x, call.weight, None, call.settings).forward(pxd)
    g = drawing.grad_output_for(call, y.shape)
    gradients = call.backward(pxd, g)
    scale = 1e-12 * max(np.sum(np.abs(g)) * reference.largest(y), 1)
    assert abs(np.vdot(g, without) - np.vdot(gradients.x, call.x)) <= scale
    assert abs(np.vdot(g, without) - np.vdot(gradients.weight, call.weight)) <= scale
    if call.bias is not None:
        assert abs(np.vdot(g, y - without) - np.vdot(gradients.bias, call.bias)) <= scale


@drawing.examples(80)
@given(drawing.calls(DOUBLE, kinds=("integers",), transposed=False))
def test_conv_and_conv_transpose_are_each_others_gradients(call):
    """All values are small integers, so that equal means equal."""
    rank = call.weight.ndim - 2
    last = call.settings.get("data_format") == "channels_last"
    spatial = call.x.shape[-rank - 1 : -1] if last else call.x.shape[-rank:]
    call.bias = None
    y = call.forward(pxd)
    g = drawing.values(np.random.default_rng(1), y.shape, y.dtype, "integers")
    gradients = call.backward(pxd, g)
    words = isinstance(call.settings["padding"], str) and call.settings["padding"] != "valid"
    if not words:
        # The sizes that conv_transpose takes are those that conv leads to the same size.
        full = reference.transpose_window(
            y.shape[-rank - 1 : -1] if last else y.shape[-rank:],
            call.weight.shape[2:],
            **{k: v for k, v in call.settings.items() if k not in ("groups", "data_format")},
        )
        extra = [n - out for n, (_, out) in zip(spatial, full, strict=True)]
        assert all(e >= 0 for e in extra)
    back = pxd.conv_transpose(g, call.weight.conj(), **call.settings, output_size=spatial)
    np.testing.assert_array_equal(back, gradients.x)

    # The gradient of the gradient: <v, conv(x, w)> has the gradients of <conv_transpose(v, w*), x>.
    again = pxd.conv_transpose_backward(call.x, g, call.weight, **call.settings, output_size=spatial)
    np.testing.assert_array_equal(again.x, pxd.conv(call.x, call.weight.conj(), **call.settings))
    np.testing.assert_array_equal(again.weight, gradients.weight.conj())


@drawing.examples(80)
@given(
    drawing.calls(DOUBLE, layouts=("plain", "negative", "fortran"), kinds=("integers",)), st.integers(-5, 5)
)
def test_linear_in_x_and_in_the_weight(call, factor):
    rng = np.random.default_rng(2)
    x, weight = call.x, call.weight
    other_x = drawing.values(rng, x.shape, x.dtype, "integers")
    other_weight = drawing.values(rng, weight.shape, weight.dtype, "integers")

    def result(x, weight):
        return drawing.Call(call.transposed, x, weight, None, call.settings).forward(pxd)

    np.testing.assert_array_equal(
        result(x + factor * other_x, weight), result(x, weight) + factor * result(other_x, weight)
    )
    np.testing.assert_array_equal(
        result(x, weight + factor * other_weight), result(x, weight) + factor * result(x, other_weight)
    )


@drawing.examples(40)
@given(drawing.calls([np.dtype(np.float64)], kinds=("normal",)), st.integers(0, 2**32))
def test_gradient_is_the_slope_of_a_nonlinear_loss(call, seed):
    """d/dt of sum(sin(y)) along a direction of all arguments, by the complex step: without rounding error."""
    rng = np.random.default_rng(seed)
    arguments = [None if a is None else a.astype(float) for a in (call.x, call.weight, call.bias)]
    directions = [None if a is None else rng.standard_normal(a.shape) for a in arguments]
    moved = [None if a is None else a + 1e-30j * d for a, d in zip(arguments, directions, strict=True)]
    slope = np.sum(np.sin(drawing.Call(call.transposed, *moved, call.settings).forward(pxd))).imag / 1e-30

    y = call.forward(pxd)
    gradients = call.backward(pxd, np.cos(y))
    parts = [g * d for g, d in zip(gradients, directions, strict=True) if d is not None]
    assert slope == pytest.approx(
        sum(p.sum() for p in parts), abs=1e-11 * (1 + sum(np.abs(p).sum() for p in parts))
    )
