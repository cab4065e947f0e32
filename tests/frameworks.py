"""What the comparisons with the real frameworks share: which packages they need, and how JAX is set up."""

import importlib.util
import os

import numpy as np
import pytest
from golden import cases as requests
from golden import evaluators

NEEDED = {
    "pytorch": ("torch",),
    "keras": ("keras", "tensorflow", "jax"),
    "onnx": ("onnx", "onnxruntime"),
    "jax": ("jax",),
}
SEED = 20


def require(framework):
    require_packages(*NEEDED[framework])


def require_packages(*packages):
    """Skip the test where one is not installed; set JAX and Keras up before anything else imports them."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if {"jax", "keras"}.intersection(packages):
        os.environ["XLA_FLAGS"] = evaluators.WITHOUT_SIMPLIFIER
        os.environ["KERAS_BACKEND"] = "jax"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import jax

        jax.config.update("jax_enable_x64", True)
        jax.devices()  # reads the flags


def integers(rng, shape):
    """Small ones in float32: every framework's answer is exact."""
    return rng.integers(-4, 5, shape).astype(np.float32)


def exact_cases(framework, *counts):
    for rank, count in enumerate(counts, start=1):
        yield from requests.DRAWN[framework](rank, count, SEED, 20_000 * rank, exact=True)


def drawn_convolutions(count, words):
    """Settings of a convolution under names of their own, an input and weights, channels first."""
    rng = np.random.default_rng(SEED)
    for number in range(count):
        rank = 1 + number % 3
        kernel, stride, dilation = (tuple(rng.integers(1, 4, rank).tolist()) for _ in range(3))
        groups, inside, outside = (int(n) for n in rng.integers(1, 4, 3))
        sizes = [(k - 1) * d + 1 + int(rng.integers(0, 4)) for k, d in zip(kernel, dilation, strict=True)]
        yield {
            "rank": rank,
            "kernel": kernel,
            "stride": stride,
            "dilation": dilation,
            "groups": groups,
            "padding": words[number // 3 % len(words)],
            "pads": tuple(tuple(rng.integers(0, 3, 2).tolist()) for _ in range(rank)),
            "x": integers(rng, (2, inside * groups, *sizes)),
            "weight": integers(rng, (outside * groups, inside, *kernel)),
            "bias": integers(rng, outside * groups) if rng.integers(2) else None,
        }
