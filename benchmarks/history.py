"""pyx_deconv alone, on one thread, compared with its own past: ``make history``.

The name keeps it out of ordinary test runs.
"""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent))  # last: an installed pyx_deconv goes first

from benchmarks.layers import OPERATIONS, load_layers
from benchmarks.libraries.own import PyxDeconv
from benchmarks.problem import Problem

NAMES = (
    "dcgan_1024_512_4_b16",
    "unet_256_128_112",
    "pix2pix_512_512_2",
    "hifigan_128_64_8192",
    "cyclegan_256_128_64",
    "dcgan_128_3_32_b16",
    "fcn8_21_21_70_k16",
    "toy_1_1_512_k5",
    "bilinear_dw64_64_b8",
    "grouped_128_128_32_g8",
    "conv3d_32_32_24_k3",
    "dilated_64_64_32_k3s2d2",
    "keras_tiny_3_3_4_k5",
)
LAYERS = [layer for layer in load_layers() if layer.name in NAMES]


@pytest.fixture(scope="module")
def library() -> PyxDeconv:
    """pyx_deconv on one thread."""
    return PyxDeconv(threads=1)


@pytest.mark.parametrize("layout", PyxDeconv.layouts)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
@pytest.mark.benchmark(max_time=0.5, min_rounds=5, warmup=True, warmup_iterations=1, disable_gc=True)
def test_pass(benchmark, library: PyxDeconv, layer, operation: str, layout: str) -> None:
    """Time one pass."""
    benchmark(library.prepare(Problem.make(layer, operation, layout)))
