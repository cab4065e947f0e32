"""The transposed convolution for NumPy: compiled, exact, and the same in every framework's conventions.

The package, from what is called to what computes:

====================  ==================================================================================
``command``           the command line: a module for each command
``_images``           image files: read, enlarged tile by tile, written with what else was in them
``explanation``       ``explain``: one transposed convolution with its numbers, for a person to look at
``convert``           weights of PyTorch, Keras, ONNX and JAX, and back; whole ONNX models
``upsampling``        ``LearnedUpsampler``: photographs enlarged by what was learned from others
``dask``              the functions on dask arrays: chunk by chunk, on threads or a cluster
``layers``            layers as in Keras, and ``Sequential``
``operators``         ``ConvTranspose`` and ``Conv``: the same with a weight that is prepared once
``_matrices``         operators as SciPy's linear operators and sparse matrices
``functional``        ``conv_transpose``, ``conv`` and their gradients: what they promise
``_execution``        how a call becomes a result: plan from the shapes, allocate, call a kernel
``settings``          ``solve_settings``: the size rule read backwards
``geometry``          the size rule: sizes and crops of every convention, ``output_size``
``config``            ``show_config``: what was built, and what of it is used on this machine
``threads``           how many threads the kernels use
``_arguments``        what a caller may pass, and what the errors say
``kernels``           the compiled loops; they trust what reaches them
====================  ==================================================================================

Every import goes down this table, never up. ``explanation``, ``convert``, ``upsampling`` and ``layers`` are
imported when they are first used; ``dask`` is not imported by itself.
"""

import importlib
from typing import TYPE_CHECKING, Any

from pyx_deconv import geometry
from pyx_deconv.config import show_config
from pyx_deconv.functional import Gradients, conv, conv_backward, conv_transpose, conv_transpose_backward
from pyx_deconv.geometry import output_size
from pyx_deconv.operators import Conv, ConvTranspose
from pyx_deconv.settings import Setting, solve_settings
from pyx_deconv.threads import get_num_threads, num_threads, set_num_threads

if TYPE_CHECKING:
    from pyx_deconv import convert, layers, upsampling
    from pyx_deconv.explanation import Explanation, explain
    from pyx_deconv.upsampling import LearnedUpsampler

__version__ = "0.1.0"

__all__ = [
    "Conv",
    "ConvTranspose",
    "Explanation",
    "Gradients",
    "LearnedUpsampler",
    "Setting",
    "conv",
    "conv_backward",
    "conv_transpose",
    "conv_transpose_backward",
    "convert",
    "explain",
    "geometry",
    "get_num_threads",
    "layers",
    "num_threads",
    "output_size",
    "set_num_threads",
    "show_config",
    "solve_settings",
    "upsampling",
]


def __getattr__(name: str) -> Any:
    if name in ("convert", "layers", "upsampling"):
        return importlib.import_module(f"pyx_deconv.{name}")
    if name in ("Explanation", "explain"):
        return getattr(importlib.import_module("pyx_deconv.explanation"), name)
    if name == "LearnedUpsampler":
        return importlib.import_module("pyx_deconv.upsampling").LearnedUpsampler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
