"""PyTorch: contiguous, with channels_last memory, and with the weight prepared for oneDNN beforehand."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from benchmarks.layers import Layer
from benchmarks.problem import NO_WEIGHT, Problem, Unsupported

__all__ = ["PyTorch"]

MEMORY_FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


class PyTorch:
    """torch."""

    layouts = ("channels_first", "channels_last", "prepared")

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def version(self) -> str:
        """Return the version."""
        return torch.__version__

    def prepare(self, problem: Problem) -> Callable[[], torch.Tensor]:
        """Make tensors."""
        layer = problem.layer
        x, grad_output = (problem.channels_first(a) for a in (problem.x, problem.grad_output))
        arrays = [x, problem.weight, grad_output]
        if (
            problem.layout != "channels_first" and layer.rank == 1
        ):  # only 2-D and 3-D have channels_last memory
            layer = layer.lifted()
            arrays = [np.expand_dims(a, 2) for a in arrays]
        x, weight, grad_output = (tensor(a) for a in arrays)
        if problem.layout != "channels_first":
            memory = {"memory_format": MEMORY_FORMATS[layer.rank]}
            x, grad_output = x.contiguous(**memory), grad_output.contiguous(**memory)
            if problem.layout == "prepared":
                return prepared(layer, problem.operation, x, weight, grad_output)
            weight = weight.contiguous(**memory)
        if problem.operation == "forward":
            function = getattr(torch.nn.functional, f"conv_transpose{layer.rank}d")
            arguments = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
            return partial(function, x, weight, None, *arguments)
        # What autograd itself calls.
        needs = [problem.operation == "grad_input", problem.operation == "grad_weight", False]
        arguments = (layer.stride, layer.padding, layer.dilation, True, layer.output_padding, layer.groups)
        backward = partial(
            torch.ops.aten.convolution_backward, grad_output, x, weight, None, *arguments, needs
        )
        place = needs.index(True)
        return lambda: backward()[place]

    def fetch(self, result: torch.Tensor, problem: Problem) -> np.ndarray:
        """Return the result; a tensor has its channels first in any memory format."""
        array = (result.float() if result.dtype == torch.bfloat16 else result).numpy()
        layer = problem.layer
        shapes = {
            "forward": layer.output_shape,
            "grad_input": layer.x_shape,
            "grad_weight": layer.weight_shape,
        }
        return array.reshape(shapes[problem.operation])  # a lifted axis goes again


def prepared(
    layer: Layer, operation: str, x: torch.Tensor, weight: torch.Tensor, grad_output: torch.Tensor
) -> Callable[[], torch.Tensor]:
    """Use the operators to which torch.compile turns a model whose weights are frozen."""
    place = (layer.stride, layer.dilation, layer.groups)
    plain = ("none", [None], "")  # no activation follows
    if operation == "forward":
        crop = (layer.padding, layer.output_padding)
        pack, compute = (
            torch.ops.mkldnn._reorder_convolution_transpose_weight,
            torch.ops.mkldnn._convolution_transpose_pointwise,
        )
        packed = pack(weight, *crop, *place, list(x.shape))
        return partial(compute, x, packed, None, *crop, *place, *plain)
    if operation == "grad_input":
        # The plain convolution with the same weight.
        pack, compute = torch.ops.mkldnn._reorder_convolution_weight, torch.ops.mkldnn._convolution_pointwise
        packed = pack(weight, layer.padding, *place, list(grad_output.shape))
        return partial(compute, grad_output, packed, None, layer.padding, *place, *plain)
    raise Unsupported(NO_WEIGHT)


def tensor(array: np.ndarray) -> torch.Tensor:
    """Return an array as a tensor that shares its memory."""
    array = np.ascontiguousarray(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
