"""JAX, compiled by XLA; channels last, since channels first is transposed to it on CPUs."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jax import lax

from benchmarks.problem import Problem

__all__ = ["Jax"]


class Jax:
    """jax; its threads follow from the processors that the process may use."""

    layouts = ("channels_last",)

    def __init__(self, threads: int) -> None:
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")

    def version(self) -> str:
        """Return the version."""
        return jax.__version__

    def prepare(self, problem: Problem) -> Callable[[], jax.Array]:
        """Compile, with the weight in the wanted order."""
        layer, operation = problem.layer, problem.operation
        axes = "DHW"[-layer.rank :]
        convolve = partial(
            lax.conv_general_dilated,
            rhs_dilation=layer.dilation,
            feature_group_count=layer.groups,
            dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        )
        x, grad_output = jax.device_put(problem.x), jax.device_put(problem.grad_output)
        if operation == "forward":
            # A convolution of the dilated input with the flipped kernel, per group (C_out, C_in, *kernel).
            weight = problem.weight.reshape(layer.groups, -1, *layer.weight_shape[1:]).swapaxes(1, 2)
            weight = weight.reshape(layer.C_out, -1, *layer.kernel)
            weight = np.flip(weight, tuple(range(2, weight.ndim)))
            borders = zip(layer.extent, layer.padding, layer.output_padding, strict=True)
            settings = {
                "window_strides": (1,) * layer.rank,
                "lhs_dilation": layer.stride,
                "padding": [(e - 1 - p, e - 1 - p + op) for e, p, op in borders],
            }
            arrays = (x, self.weight(weight))
            compiled = jax.jit(lambda x, w: convolve(x, w, **settings))
        else:
            borders = zip(layer.padding, layer.output_padding, strict=True)
            gather = partial(
                convolve, window_strides=layer.stride, padding=[(p, p - op) for p, op in borders]
            )
            weight = self.weight(problem.weight)
            if operation == "grad_input":
                arrays = (grad_output, weight)
                compiled = jax.jit(gather)
            else:
                arrays = (grad_output, x)
                like = jax.ShapeDtypeStruct(weight.shape, weight.dtype)
                compiled = jax.jit(lambda g, x: jax.linear_transpose(partial(gather, g), like)(x)[0])
        compiled = compiled.lower(*arrays).compile()
        return lambda: compiled(*arrays).block_until_ready()

    @staticmethod
    def weight(array: np.ndarray) -> jax.Array:
        """Return (O, I, *kernel) as (*kernel, I, O)."""
        return jax.device_put(np.ascontiguousarray(np.moveaxis(array, (1, 0), (-2, -1))))

    def fetch(self, result: jax.Array, problem: Problem) -> np.ndarray:
        """Return the result in PyTorch's order."""
        array = np.asarray(result)
        if problem.operation == "grad_weight":
            return np.moveaxis(array, (-2, -1), (1, 0))
        return problem.canonical(array)
