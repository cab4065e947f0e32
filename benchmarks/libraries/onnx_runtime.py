"""ONNX Runtime; its only layout is channels first."""

from collections.abc import Callable

import numpy as np
import onnxruntime

from benchmarks.libraries.onnx_model import onnx_model
from benchmarks.problem import Problem

__all__ = ["OnnxRuntime"]


class OnnxRuntime:
    """onnxruntime."""

    layouts = ("channels_first",)

    def __init__(self, threads: int) -> None:
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.options.log_severity_level = 3

    def version(self) -> str:
        """Return the version."""
        return onnxruntime.__version__

    def prepare(self, problem: Problem) -> Callable[[], list]:
        """Make a session; with reused memory its input and output are bound."""
        session = onnxruntime.InferenceSession(
            onnx_model(problem), self.options, providers=["CPUExecutionProvider"]
        )
        if not problem.reuse:
            feeds = {"x": problem.source}
            return lambda: session.run(None, feeds)
        binding = session.io_binding()
        source = problem.source
        binding.bind_cpu_input("x", source)
        forward = problem.operation == "forward"
        shape = problem.layer.output_shape if forward else problem.layer.x_shape
        out = np.empty(shape, problem.x.dtype)
        binding.bind_output("y", "cpu", 0, out.dtype, out.shape, out.ctypes.data)

        def call(alive: np.ndarray = source) -> list:  # a binding does not keep its memory alive
            session.run_with_iobinding(binding)
            return [out]

        return call

    def fetch(self, result: list, problem: Problem) -> np.ndarray:
        """Return the only output."""
        return result[0]
