"""`convert.from_torch`, by stand-ins; test_frameworks_convert.py asks the real modules."""

import sys

import drawing
import numpy as np
import pytest
import reference
from standins import SimpleNamespace, Tensor, torch_module

from pyx_deconv import convert

RNG = np.random.default_rng(3)
BFLOAT16 = drawing.BFLOAT16


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_torch_dtypes(dtype):
    weight = RNG.standard_normal((2, 3, 4)).astype(dtype)
    op = convert.from_torch(torch_module(True, weight))
    assert op.weight.dtype == dtype
    np.testing.assert_array_equal(op.weight, weight)


@pytest.mark.parametrize("installed", [True, False])
def test_torch_bfloat16(installed, monkeypatch):
    if installed and not BFLOAT16:
        pytest.skip("ml_dtypes is not installed")
    if not installed:
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    module = torch_module(True, np.zeros((1, 1, 2)))
    module.weight = Tensor(np.array([[[1.5, -3.0]]]), "torch.bfloat16")
    op = convert.from_torch(module)
    assert op.weight.dtype.name == ("bfloat16" if installed else "float32")
    np.testing.assert_array_equal(op.weight.astype(float), [[[1.5, -3.0]]])


@pytest.mark.parametrize("padding", [1, (1,), "same", "valid"])
def test_torch_conv_padding(padding):
    weight, x = RNG.integers(-9, 9, (2, 1, 4)), RNG.integers(-9, 9, (1, 1, 7))
    op = convert.from_torch(torch_module(False, weight, padding=padding))
    np.testing.assert_array_equal(op(x), reference.conv(x, weight, padding=padding))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"padding_mode": "circular"}, ValueError, "padding_mode='circular' cannot be expressed: .* zeros"),
        ({"padding": "circular"}, ValueError, "padding must be one of"),
        ({"stride": 0}, ValueError, "stride=0"),
        ({"stride": "2"}, TypeError, "stride must be an integer"),
        ({"groups": True}, TypeError, "groups must be an integer"),
        ({"output_padding": (1,)}, ValueError, None),  # smaller than the stride of 1
        ({"weight": object()}, TypeError, "weight must be a tensor or an array, and object"),
        ({"weight": Tensor(np.zeros(3))}, ValueError, "weight must have 3, 4 or 5 axes"),
        ({"weight": type("UninitializedParameter", (), {})()}, ValueError, "no weights yet"),
        ({"weight_v": 1}, ValueError, "remove_weight_norm"),
        ({"weight_mask": 1, "weight_orig": 1}, ValueError, "prune.remove"),
    ],
)
def test_torch_refusals(change, error, words):
    with pytest.raises(error, match=words):
        convert.from_torch(torch_module(True, np.ones((1, 1, 3))) | change)(np.ones((1, 1, 4)))


@pytest.mark.parametrize("module", [None, 3, np.ones(3), SimpleNamespace(weight=1, bias=2)])
def test_torch_takes_its_modules_only(module):
    with pytest.raises(TypeError, match=r"is not a torch\.nn\.ConvTranspose1d/2d/3d or Conv1d/2d/3d"):
        convert.from_torch(module)
