"""Weights of PyTorch, Keras, ONNX and JAX as operators of this package, and back.

====================  ==================================================================================
``from_torch``        ``torch.nn.ConvTranspose1d/2d/3d`` and ``Conv1d/2d/3d``
``from_keras``        Keras' ``Conv1D/2D/3DTranspose``, ``Conv1D/2D/3D`` and ``Sequential``
``from_onnx``         a node ``ConvTranspose`` or ``Conv`` with its initializers
``from_jax``          flax' ``ConvTranspose`` and ``Conv`` (linen and nnx), Haiku's parameters
``to_torch``, ...     the other way: `Exported` weights and settings
``load_onnx``         a whole ONNX model, which runs on NumPy
====================  ==================================================================================

No framework is imported here: what they hand over is known by its attributes. What cannot be expressed on
the other side is refused, with the reason. The files, from what is called to what is shared: ``_torch``,
``_keras``, ``_jax``, ``_onnx`` (a node), ``_onnx_model`` (a model), ``_tensor_proto``, ``_common``.
"""

from pyx_deconv.convert._common import Exported
from pyx_deconv.convert._jax import from_jax, to_jax
from pyx_deconv.convert._keras import from_keras, to_keras
from pyx_deconv.convert._onnx import from_onnx, load_onnx, to_onnx
from pyx_deconv.convert._torch import from_torch, to_torch

__all__ = [
    "Exported",
    "from_jax",
    "from_keras",
    "from_onnx",
    "from_torch",
    "load_onnx",
    "to_jax",
    "to_keras",
    "to_onnx",
    "to_torch",
]
