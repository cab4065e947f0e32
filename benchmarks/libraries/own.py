"""pyx_deconv itself: the functions in both layouts, the operator with its packed weight in one."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

import pyx_deconv as pxd
from benchmarks.problem import NO_WEIGHT, Problem, Unsupported

__all__ = ["PyxDeconv"]


class PyxDeconv:
    """pyx_deconv."""

    layouts = ("channels_first", "channels_last", "prepared")

    def __init__(self, threads: int) -> None:
        pxd.set_num_threads(threads)

    def version(self) -> str:
        """Return the version and a hash of all files, so that a rebuilt kernel is measured anew."""
        folder = Path(pxd.__file__).parent
        files = sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".so", ".pyd"})
        contents = b"".join(path.read_bytes() for path in files)
        return f"{pxd.__version__}+{hashlib.sha256(contents).hexdigest()[:8]}"

    def prepare(self, problem: Problem) -> Callable[[], np.ndarray]:
        """Bind the arguments."""
        if problem.layout == "prepared":
            return prepared(problem.moved_last())
        layer, x, weight, grad_output = problem.layer, problem.x, problem.weight, problem.grad_output
        settings = {
            "stride": layer.stride,
            "padding": layer.padding,
            "dilation": layer.dilation,
            "groups": layer.groups,
            "data_format": problem.layout,
        }
        if problem.operation == "forward":
            settings |= {"output_padding": layer.output_padding}
            out = pxd.conv_transpose(x, weight, **settings) if problem.reuse else None
            return lambda: pxd.conv_transpose(x, weight, **settings, out=out)
        if problem.operation == "grad_input" and problem.reuse:
            # conv computes the same, and takes an out; its rounding down is what output_padding undoes.
            gradient = pxd.conv(grad_output, weight, **settings)
            return lambda: pxd.conv(grad_output, weight, **settings, out=gradient)
        settings |= {
            "output_padding": layer.output_padding,
            "needs": ("x",) if problem.operation == "grad_input" else ("weight",),
        }
        place = 0 if problem.operation == "grad_input" else 1
        return lambda: pxd.conv_transpose_backward(grad_output, x, weight, **settings)[place]

    def fetch(self, result: np.ndarray, problem: Problem) -> np.ndarray:
        """Return the result with its channels first."""
        return np.moveaxis(result, -1, 1) if problem.layout == "prepared" else problem.canonical(result)


def prepared(problem: Problem) -> Callable[[], np.ndarray]:
    """Pack the weight beforehand."""
    layer, grad_output = problem.layer, problem.grad_output
    settings = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    settings |= {"groups": layer.groups, "data_format": problem.layout}
    if problem.operation == "grad_weight":
        raise Unsupported(NO_WEIGHT)
    if problem.operation == "forward":
        operator = pxd.ConvTranspose(problem.weight, output_padding=layer.output_padding, **settings)
        source = problem.x
    else:  # conv computes the same; its rounding down is what output_padding undoes
        operator, source = pxd.Conv(problem.weight, **settings), grad_output
    out = operator(source)
    return lambda: operator(source, out=out if problem.reuse else None)
