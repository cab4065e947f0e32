"""The real frameworks: the frozen vectors made anew, and freshly drawn calls compared live with this library.

Known faults of the frameworks are told from faults of the library by the adjoint identity (golden/make.py):
an answer that breaks <grad_x, x> == <grad_y, y - bias> is not used. TensorFlow 2.21 does so on a CPU in the
input gradient of Conv3DTranspose, where "same" meets an axis with a kernel smaller than the stride.
"""

import conventions
import numpy as np
import pytest
from frameworks import NEEDED, SEED, require
from golden import cases as requests
from golden import make, store

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]

# How many calls are drawn in 1-D, 2-D and 3-D.
DRAWN = {"pytorch": (300, 300, 200), "keras": (160, 160, 120), "onnx": (200, 200, 120), "jax": (160, 160, 80)}


@pytest.mark.parametrize("framework", NEEDED)
def test_frozen_vectors_are_what_the_framework_answers(framework):
    require(framework)
    frozen, _ = store.load(framework)
    made, _ = make.generate(framework)
    assert [case.name for case in made] == [case.name for case in frozen]
    for new, old in zip(made, frozen, strict=True):
        assert new.settings == old.settings
        assert set(new.arrays) == set(old.arrays)
        for role, values in old.arrays.items():
            np.testing.assert_array_equal(new.arrays[role], values, err_msg=f"{old.name} {role}")


def drawn(framework):
    for rank, count in enumerate(DRAWN[framework], start=1):
        yield from requests.DRAWN[framework](rank, count, SEED, 10_000 * rank, exact=False)


@pytest.mark.parametrize("framework", NEEDED)
def test_drawn_calls(framework):
    """Normally distributed numbers, values and gradients, in float64 and float32, in both layouts."""
    require(framework)
    asked = list(drawn(framework))
    settled, _ = make.settle(framework, asked)
    assert len(settled) >= 0.95 * len(asked), "the framework refused too much"
    # ONNX answers in float32.
    close = 1e-5 if framework == "onnx" else 1e-12
    for case in settled:
        is_complex = case.arrays["x"].dtype.kind == "c"
        for layout in ("channels_first", "channels_last"):
            try:
                conventions.check(framework, case, np.complex128 if is_complex else np.float64, layout, close)
                conventions.check(framework, case, np.complex64 if is_complex else np.float32, layout, 1e-5)
            except AssertionError as error:
                raise AssertionError(f"{case.name} {case.settings} {layout}: {error}") from error
