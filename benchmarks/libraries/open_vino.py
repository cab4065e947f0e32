"""OpenVINO, from the same ONNX models, with its input and output in either layout."""

from collections.abc import Callable

import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from benchmarks.libraries.onnx_model import onnx_model
from benchmarks.problem import Problem, Unsupported

__all__ = ["OpenVino"]


class OpenVino:
    """openvino."""

    layouts = ("channels_first", "channels_last")

    def __init__(self, threads: int) -> None:
        self.core = openvino.Core()
        # Without the precision it computes float32 models in bfloat16 where the processor can.
        self.config = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }

    def version(self) -> str:
        """Return the version."""
        return openvino.__version__.split("-")[0]

    def prepare(self, problem: Problem) -> Callable[[], object]:
        """Compile the model; input and output are the request's own, so its memory is always reused."""
        if problem.layer.dtype != "float32":
            raise Unsupported(f"computes {problem.layer.dtype} in another precision")
        model = self.core.read_model(onnx_model(problem))
        if problem.layout == "channels_last":
            model = channels_last(model, problem.layer.rank)
        request = self.core.compile_model(model, "CPU", self.config).create_infer_request()
        source = problem.source
        request.set_input_tensor(openvino.Tensor(source, shared_memory=True))

        def call(alive: np.ndarray = source) -> object:  # the tensor does not keep its memory alive
            return request.infer(share_outputs=True)

        return call

    def fetch(self, result: object, problem: Problem) -> np.ndarray:
        """Return the only output, with its channels first."""
        return problem.canonical(np.array(result[0]))


def channels_last(model: openvino.Model, rank: int) -> openvino.Model:
    """Have the model read and write maps with their channels last."""
    axes = "DHW"[-rank:]
    steps = PrePostProcessor(model)
    for end in (steps.input(), steps.output()):
        end.tensor().set_layout(openvino.Layout(f"N{axes}C"))
        end.model().set_layout(openvino.Layout(f"NC{axes}"))
    return steps.build()
