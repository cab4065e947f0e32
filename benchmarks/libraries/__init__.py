"""How each library is called at its best: layouts, prepared weights, threads.

A library is a class with

- ``layouts``: in which layouts its calls are timed; the best one counts;
- ``__init__(threads)``: sets how many threads it may use;
- ``version()``;
- ``prepare(problem)``: everything that is done once per layer. It returns a function without arguments that
  computes once and returns the library's own result, or raises `Unsupported`;
- ``fetch(result, problem)``: that result as a NumPy array in the order of PyTorch, to be checked.
"""

from importlib import import_module
from typing import Any

__all__ = ["LIBRARIES", "MACHINE", "OWN", "load"]

OWN = "pyx_deconv"
MACHINE = "machine"

# library: (module in this package, class); the order is that of the tables and plots
LIBRARIES = {
    OWN: ("own", "PyxDeconv"),
    "torch": ("pytorch", "PyTorch"),
    "onnxruntime": ("onnx_runtime", "OnnxRuntime"),
    "openvino": ("open_vino", "OpenVino"),
    "tensorflow": ("tensor_flow", "TensorFlow"),
    "tflite": ("tf_lite", "TFLite"),
    "jax": ("xla", "Jax"),
}


def load(name: str, threads: int) -> Any:
    """Import one library, the first time that this process does, and tell it the number of threads."""
    module, library = ("machine", "Machine") if name == MACHINE else LIBRARIES[name]
    return getattr(import_module(f"benchmarks.libraries.{module}"), library)(threads)
