"""What the property tests draw: calls of every kind, and arrays that lie in memory in every way."""

import dataclasses
import math
import os

import numpy as np
import reference
from hypothesis import assume, settings
from hypothesis import strategies as st

try:
    import ml_dtypes

    BFLOAT16 = [np.dtype(ml_dtypes.bfloat16)]
except ModuleNotFoundError:
    BFLOAT16 = []

COMPUTED = [np.dtype(name) for name in ("float64", "float32", "complex128", "complex64")]
STORED = [np.dtype(np.float16), *BFLOAT16]
INTEGERS = [np.dtype(name) for name in ("int8", "uint8", "int32", "int64", "bool")]

# Half a unit in the last place of a stored number, relative to it, and the smallest number.
HALF_ULP = {"float16": (2.0**-11, 2.0**-24), "bfloat16": (2.0**-8, 2.0**-133)}


def examples(count):
    """So many examples, or the multiple of them that HYPOTHESIS_TIMES names."""
    return settings(max_examples=count * int(os.environ.get("HYPOTHESIS_TIMES", "1")))


@dataclasses.dataclass
class Call:
    """One call: `settings` are the keywords that the library and the oracle share."""

    transposed: bool
    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    settings: dict

    @property
    def name(self):
        return "conv_transpose" if self.transposed else "conv"

    def forward(self, module, **options):
        return getattr(module, self.name)(self.x, self.weight, self.bias, **self.settings, **options)

    def backward(self, module, grad_output, **options):
        function = getattr(module, self.name + "_backward")
        return function(grad_output, self.x, self.weight, **self.settings, **options)


def values(rng, shape, dtype, kind="normal"):
    """Numbers without zeros at random, a ramp, a single one, or small integers."""
    count = math.prod(shape)
    if dtype.kind in "biu" or kind == "integers":
        low = 0 if dtype.kind in "bu" else -9
        numbers = rng.integers(low, 2 if dtype.kind == "b" else 10, shape)
    elif kind == "ramp":
        numbers = np.arange(1, count + 1).reshape(shape) / max(count, 1)
    elif kind == "impulse":
        numbers = np.zeros(shape)
        if count:
            numbers.flat[rng.integers(count)] = 1
    else:
        numbers = rng.standard_normal(shape)
    if dtype.kind == "c":
        numbers = numbers + 1j * rng.permutation(numbers.ravel()).reshape(shape)
    return numbers.astype(dtype)


def lay_out(array, kind, rng):
    """Lay out the same values in memory in another way (with "broadcast": the values of its first slice)."""
    if kind == "fortran":
        return np.asfortranarray(array)
    if kind == "transposed":
        order = rng.permutation(array.ndim)
        return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))
    if kind == "negative":
        index = tuple(slice(None, None, rng.choice([-1, 1])) for _ in array.shape)
        return np.ascontiguousarray(array[index])[index]
    if kind == "stepped":
        room = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
        view = room[tuple(slice(1, None, 2) for _ in array.shape)]
        view[...] = array
        return view
    if kind == "broadcast":
        axis = rng.integers(array.ndim)
        first = array[tuple(slice(0, 1) if a == axis else slice(None) for a in range(array.ndim))]
        return np.broadcast_to(first, array.shape)
    if kind == "big-endian":
        return array.astype(array.dtype.newbyteorder(">")) if array.dtype.isbuiltin == 1 else array
    if kind == "misaligned":
        room = np.zeros(array.nbytes + 1, np.uint8)
        view = np.ndarray(array.shape, array.dtype, room, 1)
        view[...] = array
        return view
    if kind == "read-only":
        array = array.copy()
        array.flags.writeable = False
        return array
    assert kind == "plain", kind
    return array


LAYOUTS = (
    "plain",
    "fortran",
    "transposed",
    "negative",
    "stepped",
    "broadcast",
    "big-endian",
    "misaligned",
    "read-only",
)


def one_or_each(draw, entries):
    """A setting as one number where all axes agree, sometimes, and as one for each axis."""
    return entries[0] if len(set(entries)) == 1 and draw(st.booleans()) else tuple(entries)


@st.composite
def calls(
    draw, dtypes=COMPUTED, layouts=LAYOUTS, kinds=("normal", "ramp", "impulse", "integers"), transposed=None
):
    """Draw a call with every argument that the library takes."""
    rank = draw(st.integers(1, 3))
    transposed = draw(st.booleans()) if transposed is None else transposed
    dtype = draw(st.sampled_from(dtypes))

    def each(low, high):
        return [draw(st.integers(low, high)) for _ in range(rank)]

    kernel = each(1, (7, 5, 3)[rank - 1])
    stride, dilation = each(1, 4), each(1, 3)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    sizes = each(1, (9, 5, 4)[rank - 1])
    settings = {"stride": one_or_each(draw, stride), "dilation": one_or_each(draw, dilation)}

    word = draw(st.sampled_from([None, None, "valid", "same", "same_upper", "same_lower"]))
    least = draw(st.sampled_from([0, 0, -3]))  # pairs may reach beyond the ends
    pairs = [tuple(draw(st.integers(least, min(r + 1, 5))) for _ in range(2)) for r in reach]
    if word is not None:
        settings["padding"] = word
    elif draw(st.booleans()):
        settings["padding"] = tuple(pairs)
    else:
        settings["padding"] = one_or_each(draw, [abs(begin) for begin, _ in pairs])
    if transposed:
        window = reference.transpose_window(sizes, kernel, **settings)
        if draw(st.booleans()) and not str(word).startswith("same"):
            extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
            if draw(st.booleans()):
                settings["output_padding"] = one_or_each(draw, extra)
            else:
                settings["output_size"] = one_or_each(
                    draw, [out + e for (_, out), e in zip(window, extra, strict=True)]
                )
        elif draw(st.booleans()) and str(word).startswith("same"):
            smaller = [draw(st.integers(0, s - 1)) for s in stride]
            settings["output_size"] = one_or_each(
                draw, [out - e for (_, out), e in zip(window, smaller, strict=True)]
            )
        window = reference.transpose_window(sizes, kernel, **settings)
    else:
        sizes = [n + r - 1 for n, r in zip(sizes, reach, strict=True)] if draw(st.booleans()) else sizes
        window = reference.conv_window(sizes, kernel, **settings)
    assume(all(out >= 1 for _, out in window))

    groups = draw(st.integers(1, 3))
    inside, outside = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    if draw(st.integers(0, 4)) == 0:
        groups, inside, outside = draw(st.integers(2, 6)), 1, draw(st.integers(1, 2))
    settings["groups"] = groups
    weight_shape = (inside * groups, outside, *kernel) if transposed else (outside * groups, inside, *kernel)
    batch = draw(st.sampled_from([None, 0, 1, 1, 2, 3]))
    shape = [inside * groups, *sizes]
    if draw(st.booleans()):
        settings["data_format"] = "channels_last"
        shape = [*sizes, inside * groups]
    if batch is not None:
        shape = [batch, *shape]

    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(kinds))
    x = lay_out(values(rng, tuple(shape), dtype, kind), draw(st.sampled_from(layouts)), rng)
    weight = lay_out(
        values(rng, weight_shape, dtype, "normal" if kind == "impulse" else kind),
        draw(st.sampled_from(layouts)),
        rng,
    )
    bias = None
    if draw(st.booleans()):
        bias = lay_out(values(rng, (outside * groups,), dtype), draw(st.sampled_from(layouts)), rng)
    return Call(transposed, x, weight, bias, settings)


def grad_output_for(call, shape, layout="plain", seed=0):
    rng = np.random.default_rng(seed)
    return lay_out(values(rng, shape, call.x.dtype.newbyteorder("=")), layout, rng)


def tolerance(dtype, want, scale):
    """How far a result may be off: relative to sum |x||w|, and for stored types one rounding more."""
    if dtype.name in HALF_ULP:
        relative, smallest = HALF_ULP[dtype.name]
        return 1e-5 * scale + 1.001 * relative * np.abs(want) + smallest
    return (1e-12 if dtype in (np.float64, np.complex128) else 1e-5) * scale


def compare(got, want, scale, dtype, name):
    """Every element within its own tolerance."""
    assert isinstance(got, np.ndarray), name
    assert got.dtype == dtype, (name, got.dtype, dtype)
    assert got.shape == want.shape, (name, got.shape, want.shape)
    wide = got.astype(reference.widest(got, np.float64(0)))
    excess = np.abs(wide - want) - tolerance(dtype, want, scale)
    assert not excess.size or excess.max() <= 0, (
        f"{name}: {np.sum(excess > 0)} of {excess.size} elements differ, first at "
        f"{tuple(np.argwhere(excess > 0)[0].tolist())}"
    )


def check_call(library, call, grad_layout="plain", **options):
    """All results of one call against the oracle."""
    dtype = np.result_type(call.x, call.weight, *([] if call.bias is None else [call.bias]))
    dtype = np.dtype(np.float64) if dtype.kind in "biu" else dtype.newbyteorder("=")
    absolute = Call(call.transposed, *reference.magnitude(call.x, call.weight, call.bias), call.settings)
    y = call.forward(reference)
    compare(call.forward(library, **options), y, absolute.forward(reference), dtype, call.name)

    grad_output = grad_output_for(call, y.shape, grad_layout)
    dtype = np.result_type(call.x, call.weight, grad_output)
    dtype = np.dtype(np.float64) if dtype.kind in "biu" else dtype.newbyteorder("=")
    want = call.backward(reference, grad_output)
    scales = absolute.backward(reference, reference.magnitude(grad_output)[0])
    got = call.backward(library, grad_output)
    for name in ("x", "weight", "bias"):
        compare(getattr(got, name), getattr(want, name), getattr(scales, name), dtype, f"gradient of {name}")
