"""Larger layers against the oracle, with every instruction set that this processor has."""

import os
import pathlib
import subprocess
import sys

import layers
import pytest

from pyx_deconv import kernels
from pyx_deconv.kernels import dispatch


@pytest.mark.parametrize("dtype", layers.DTYPES)
@pytest.mark.parametrize("name", layers.SHAPES)
def test_layer(name, dtype):
    layers.check(name, dtype)


OTHERS = [name for name in dispatch.LEVELS if name != kernels.instruction_set]


@pytest.mark.parametrize("instruction_set", OTHERS)
def test_other_instruction_sets(instruction_set):
    if instruction_set not in kernels.available_instruction_sets():
        pytest.skip(f"this processor does not have {instruction_set}, or this build left it out")
    program = pathlib.Path(layers.__file__)
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"PYX_DECONV_INSTRUCTION_SET": instruction_set},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [str(len(layers.SHAPES)), "layers", instruction_set]
