"""The compiled kernels: instruction sets, the 16-bit formats, bounded scratch memory, bounds checks."""

import itertools
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tracemalloc
from importlib import import_module
from pathlib import Path

import numpy as np
import plans
import pytest

import pyx_deconv as pxd
from pyx_deconv import _memory, kernels
from pyx_deconv.geometry import Axis
from pyx_deconv.kernels import dispatch

# Run in a fresh interpreter for each instruction set: every pass in both layouts against the oracle, and both
# 16-bit formats against NumPy.
INSTRUCTION_SET_CHECK = """
import itertools, numpy as np, pyx_deconv as pxd, reference
from pyx_deconv import kernels
assert kernels.instruction_set == {name!r}, kernels.instruction_set
rng = np.random.default_rng(0)
for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-12), ("complex64", 1e-5), ("complex128", 1e-12)):
    for (rank, groups, channels), data_format in itertools.product(
            ((1, 1, (37, 70)), (2, 2, (6, 66)), (3, 3, (9, 3))), ("channels_first", "channels_last")):
        def draw(*shape):
            return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype) \\
                if dtype.startswith("complex") else rng.standard_normal(shape).astype(dtype)
        size = (7, 6, 5)[:rank]
        x = draw(2, channels[0], *size) if data_format == "channels_first" else draw(2, *size, channels[0])
        weight, bias = draw(channels[0], channels[1] // groups, *(4, 3, 2)[:rank]), draw(channels[1])
        settings = dict(stride=(3, 2, 1)[:rank], padding=1, dilation=(1, 2, 3)[:rank], groups=groups,
                        data_format=data_format)
        y = pxd.conv_transpose(x, weight, bias, **settings)
        want = reference.conv_transpose(x, weight, bias, **settings)
        assert np.abs(y - want).max() < tolerance * np.abs(want).max() * 10
        g = draw(*y.shape)
        for got, want in zip(pxd.conv_transpose_backward(g, x, weight, **settings),
                             reference.conv_transpose_backward(g, x, weight, **settings)):
            assert np.abs(got - want).max() < tolerance * np.abs(want).max() * 10

# Every float16 comes back unchanged through a kernel of one; products are rounded once, to nearest even.
half = np.arange(2**16, dtype=np.uint16).view(np.float16)
got = pxd.conv_transpose(half[None], np.ones((1, 1, 1), np.float16))[0]
number = ~np.isnan(half)
assert np.isnan(got[~number]).all()
assert (got[number] + np.float16(0) == half[number] + np.float16(0)).all()
factor = np.float16(0.7793)
got = pxd.conv_transpose(half[None], np.full((1, 1, 1), factor))[0][number]
with np.errstate(over="ignore"):
    want = (half[number].astype(np.float32) * np.float32(factor)).astype(np.float16)
    assert (got == want).all()
    got = pxd.conv_transpose(half[None], np.full((1, 1, 1), np.float16(100)))[0][number]
    assert (got == (half[number].astype(np.float32) * 100).astype(np.float16)).all()
try:
    from ml_dtypes import bfloat16
except ImportError:
    print("without ml_dtypes")
else:
    brain = np.arange(2**16, dtype=np.uint16).view(bfloat16)
    number = ~np.isnan(brain.astype(np.float32))
    for factor in (1, 0.7793, 3e3):
        factor = np.float32(bfloat16(factor))
        got = pxd.conv_transpose(brain[None], np.full((1, 1, 1), factor, bfloat16))[0].astype(np.float32)
        with np.errstate(over="ignore"):
            want = (brain.astype(np.float32) * factor).astype(bfloat16).astype(np.float32)
        assert np.isnan(got[~number]).all() and (got[number] == want[number]).all()
    # Sums of integers are exact, whether products are added one or two at a time.
    x, weight = (rng.integers(-9, 10, shape).astype(bfloat16) for shape in ((33, 6, 7), (33, 20, 4, 4)))
    for data_format, moved in (("channels_first", x), ("channels_last", x.transpose(1, 2, 0))):
        settings = dict(stride=2, data_format=data_format)
        want = reference.conv_transpose(moved, weight, **settings)
        assert (pxd.conv_transpose(moved, weight, **settings) == want.astype(bfloat16)).all()
print("agrees")
"""


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


EVERY_INSTRUCTION_SET = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            name not in kernels.available_instruction_sets(),
            reason=f"this processor does not have {name}, or this build left it out",
        ),
    )
    for name in dispatch.LEVELS
]


@pytest.mark.parametrize("name", EVERY_INSTRUCTION_SET)
def test_every_instruction_set_of_this_machine_agrees_with_the_reference(name):
    done = run_python(INSTRUCTION_SET_CHECK.format(name=name), PYX_DECONV_INSTRUCTION_SET=name)
    assert done.stdout.endswith("agrees\n"), done.stderr


def test_the_best_instruction_set_is_chosen():
    if "PYX_DECONV_INSTRUCTION_SET" not in os.environ:
        assert kernels.instruction_set == kernels.available_instruction_sets()[-1]
    assert kernels.available_instruction_sets()[0] == "portable"


@pytest.mark.parametrize("name", EVERY_INSTRUCTION_SET)
def test_the_flags_of_an_instruction_set_reached_the_compiler(name):
    if name == "portable" and " -m" in f" {os.environ.get('CFLAGS')} {sysconfig.get_config_var('CFLAGS')}":
        pytest.skip("CFLAGS say what the compiler targets")
    width = {"portable": 16, "x86_64_v2": 16, "x86_64_v3": 32}.get(name, 64)
    assert import_module(dispatch.variant(name)).tile_bytes == 2 * width


def test_the_level_of_the_processor():
    """The levels of the x86-64 psABI, from what the operating system reports."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not cpuinfo.exists():
        pytest.skip("needs the features of an x86-64 processor in /proc/cpuinfo")
    has = set(re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)[1].split())
    needs = [
        "fpu sse sse2",
        "pni ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm",
        "avx avx2 fma f16c bmi1 bmi2 abm movbe xsave",
        "avx512f avx512bw avx512cd avx512dq avx512vl",
        "avx512_bf16",
    ]
    level = sum(1 for _ in itertools.takewhile(lambda flags: set(flags.split()) <= has, needs))
    assert dispatch.portable.x86_64_level() == level


@pytest.mark.parametrize(
    ("level", "names"),
    [
        (0, ["portable"]),
        (1, ["portable"]),
        (2, ["portable", "x86_64_v2"]),
        (3, ["portable", "x86_64_v2", "x86_64_v3"]),
        (4, ["portable", "x86_64_v2", "x86_64_v3", "x86_64_v4"]),
        (5, ["portable", "x86_64_v2", "x86_64_v3", "x86_64_v4", "x86_64_v4_bf16"]),
    ],
)
def test_a_processor_gets_what_it_has(level, names, monkeypatch):
    monkeypatch.setattr(dispatch.portable, "x86_64_level", lambda: level)
    monkeypatch.setattr(dispatch, "find_spec", lambda name: name)  # as if every variant were built
    assert kernels.available_instruction_sets() == names


def test_a_build_may_have_only_the_portable_variant(monkeypatch):
    monkeypatch.setattr(dispatch, "find_spec", lambda name: name if name.endswith("portable") else None)
    assert kernels.available_instruction_sets() == ["portable"]


@pytest.mark.parametrize("value", ["", "portable"])
def test_the_variable_chooses(value):
    code = "from pyx_deconv import kernels; print(kernels.instruction_set, kernels.engine.__name__)"
    name = value or kernels.available_instruction_sets()[-1]
    done = run_python(code, PYX_DECONV_INSTRUCTION_SET=value)
    assert done.stdout.split() == [name, dispatch.variant(name)]


def test_an_unknown_instruction_set_is_refused_at_import():
    done = run_python("import pyx_deconv", PYX_DECONV_INSTRUCTION_SET="sse9")
    assert done.returncode == 1
    choices = ", ".join(kernels.available_instruction_sets())
    assert done.stderr.strip().splitlines()[-1] == (
        f"ImportError: PYX_DECONV_INSTRUCTION_SET='sse9' must be one of {choices} on this machine"
    )


def test_the_build_is_what_its_switches_asked_for():
    assert kernels.engine.bounds_checked == (os.environ.get("PYX_DECONV_CHECKED") == "1")
    if os.environ.get("PYX_DECONV_OPENMP") == "0":
        assert kernels.engine.openmp_version() == 0
        assert pxd.get_num_threads() == 1


@pytest.mark.skipif(
    not kernels.engine.bounds_checked, reason="a build with bounds checks (PYX_DECONV_CHECKED=1) only"
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # where in a task it was
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize(("coarse", "fine"), [(1, 1), (64, 3), (64, 64)])  # each is for another way
def test_bounds_checks_see_a_workspace_that_is_too_small(monkeypatch, coarse, fine, dtype, threads):
    arithmetic = kernels.ARITHMETIC[dtype]

    def too_small(compute):
        return lambda *arguments: compute(
            *arguments[:-2],
            np.ascontiguousarray(arguments[-2][:, : arguments[-2].shape[1] // 2]),
            arguments[-1],
        )

    ways = ("correlate", "weight_gradient", "pair_gradient", "columns_gradient", "lines_gradient")
    functions = {name: too_small(getattr(arithmetic, name)) for name in ways}
    monkeypatch.setitem(kernels.ARITHMETIC, dtype, arithmetic._replace(**functions))
    x, weight = np.ones((4, coarse, 32, 32), dtype), np.ones((coarse, 64, 3, 3), dtype)
    g = np.ones((4, fine, 65, 65), dtype)
    with pxd.num_threads(threads):
        with pytest.raises(IndexError, match="Out of bounds"):
            pxd.conv_transpose(x, weight, stride=2)
        with pytest.raises(IndexError, match="Out of bounds"):
            pxd.conv_transpose_backward(g, x, weight[:, :fine], stride=2, needs="weight")


# (batch, coarse channels, fine channels, groups, size, kernel, stride): of real networks, and awkward ones
LAYERS = {
    "DCGAN 4x4": (16, 1024, 512, 1, (4, 4), (4, 4), 2),
    "U-Net 224": (1, 128, 64, 1, (224, 224), (2, 2), 2),
    "3-D GAN": (4, 256, 128, 1, (8, 8, 8), (4, 4, 4), 2),
    "FCN-32s": (1, 21, 21, 1, (16, 16), (64, 64), 32),
    "HiFi-GAN": (1, 512, 256, 1, (256,), (16,), 8),
    "inverse STFT": (1, 1026, 1, 1, (224,), (1024,), 256),
    "depthwise": (8, 64, 64, 64, (64, 64), (4, 4), 2),
    "one channel": (1, 1, 1, 1, (512, 512), (5, 5), 2),
    "one pixel": (16, 100, 1024, 1, (1, 1), (4, 4), 1),
    "odd": (3, 67, 131, 1, (13, 29), (7, 5), 3),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("layer", LAYERS)
def test_scratch_memory_is_bounded(layer, in_place, dtype):
    batch, coarse, fine, groups, size, kernel, stride = LAYERS[layer]
    axes = tuple(Axis(n, (n - 1) * stride + k, k, stride, 1, 0) for n, k in zip(size, kernel, strict=True))
    itemsize = kernels.ARITHMETIC[dtype].real.itemsize
    cuts = [
        kernels._correlation_plan(
            scatters, axes, batch, groups, *channels, (in_place, other), (contiguous,) * 2, finite, dtype
        )[0]
        for scatters, channels in ((True, (coarse, fine)), (False, (fine, coarse)))
        for other, contiguous, finite in itertools.product((True, False), repeat=3)
    ]
    weight_bytes = coarse * fine // groups * np.prod(kernel) * np.dtype(dtype).itemsize
    for way in ("pair_gradient", "lines_gradient", "columns_gradient", "weight_gradient"):
        found = kernels._weight_gradient_plan(
            axes, batch, groups, coarse, fine, (in_place, in_place), dtype, way
        )
        if found is None:
            assert way != "weight_gradient", "there has to be one for every layer"
            continue
        gradient, chunks, _ = found
        cuts.append(gradient)
        # Copies of the weight gradient beyond the result itself
        assert chunks == 1 or chunks * weight_bytes <= 8 * 2**20
    for plan in cuts:
        assert plan.work_size * itemsize <= 512 * 1024


def cache_size(level):
    """Bytes of the first processor's cache of data at this level, or None where the system does not say."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        level_of, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        if int(level_of) == level and kind != "Instruction":
            return int(size.removesuffix("K")) * 1024
    return None


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("layer", LAYERS)
def test_peak_memory(layer, threads, monkeypatch):
    """Scratch beyond inputs, results and packed weights: threads * (L2 / 2 + L1) + 8 MB."""
    l1, l2 = cache_size(1), cache_size(2)
    if not (l1 and l2):
        pytest.skip("the sizes of the caches are not in /sys/devices/system/cpu/cpu0/cache")
    batch, coarse, fine, groups, size, kernel, stride = LAYERS[layer]
    x = np.ones((batch, coarse, *size), np.float32)
    weight = np.ones((coarse, fine // groups, *kernel), np.float32)
    g = np.ones((batch, fine, *((n - 1) * stride + k for n, k in zip(size, kernel, strict=True))), np.float32)
    arithmetic, packed = kernels.ARITHMETIC["float32"], []

    def pack_weight(*arguments):
        packed.append(arguments[3].nbytes)
        return arithmetic.pack_weight(*arguments)

    monkeypatch.setitem(kernels.ARITHMETIC, "float32", arithmetic._replace(pack_weight=pack_weight))
    monkeypatch.setattr(_memory, "LARGE", sys.maxsize)  # so that NumPy allocates every result
    settings = {"stride": stride, "groups": groups}
    passes = {
        "forward": lambda: pxd.conv_transpose(x, weight, **settings),
        "gradient of x": lambda: pxd.conv_transpose_backward(g, x, weight, **settings, needs="x").x,
        "gradient of weight": lambda: (
            pxd.conv_transpose_backward(g, x, weight, **settings, needs="weight").weight
        ),
    }
    for name, compute in passes.items():
        packed.clear()
        tracemalloc.start()
        with pxd.num_threads(threads):
            result = compute()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak >= result.nbytes + sum(packed), "NumPy reports what it allocates"
        assert peak - result.nbytes - sum(packed) <= threads * (l2 // 2 + l1) + 8 * 2**20, name


def test_results_do_not_depend_on_how_the_work_is_cut():
    """A task of a few pixels gives the numbers of a large one: nothing is lost between blocks."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 40, 11, 13)), rng.standard_normal((40, 50, 4, 3))
    settings = {"stride": (2, 3), "padding": 1}
    y = pxd.conv_transpose(x, weight, **settings)
    gradients = pxd.conv_transpose_backward(y, x, weight, **settings)
    with plans.new_plans() as patch:
        for name in ("SUMS_BYTES", "PACKED_BYTES", "VALUES_BYTES", "PRODUCTS_BYTES", "ROWS_BYTES", "PIXELS"):
            patch.setattr(kernels.plan, name, getattr(kernels.plan, name) // 16)
        np.testing.assert_allclose(
            pxd.conv_transpose(x, weight, **settings), y, rtol=0, atol=1e-12 * np.abs(y).max()
        )
        for small, large in zip(
            pxd.conv_transpose_backward(y, x, weight, **settings), gradients, strict=True
        ):
            np.testing.assert_allclose(small, large, rtol=0, atol=1e-12 * np.abs(large).max())
