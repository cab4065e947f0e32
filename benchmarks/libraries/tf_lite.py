"""TFLite with its XNNPACK kernels, through ``tf.lite``; channels last."""

import warnings
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.libraries import tensor_flow
from benchmarks.problem import Problem, Unsupported

__all__ = ["TFLite"]


class TFLite:
    """tflite."""

    layouts = ("channels_last",)

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.mirrored: tuple[int, ...] = ()

    def version(self) -> str:
        """Return the version of the TensorFlow that it comes with."""
        return tf.__version__

    def prepare(self, problem: Problem) -> Callable[[], Callable[[], np.ndarray]]:
        """Convert the graph and pack its weight; input and output are the interpreter's, so reused."""
        layer = problem.layer
        if problem.operation == "grad_weight":
            raise Unsupported("no operator for weight gradients")
        if layer.dtype != "float32":
            raise Unsupported(f"no {layer.dtype}")
        if problem.operation == "forward" and (layer.groups > 1 or max(layer.dilation) > 1):
            raise Unsupported("no groups and no dilation in TRANSPOSE_CONV")
        a = tensor_flow.arguments(problem)
        if problem.operation == "forward" and not isinstance(a.padding, str):
            raise Unsupported("TRANSPOSE_CONV with paddings other than SAME and VALID")
        self.mirrored = a.mirrored
        source = a.x if problem.operation == "forward" else a.grad_output
        constant = tf.constant(a.weight)
        graph = tf.function(
            lambda source: tensor_flow.compute(a, problem.operation, source, constant, source),
            input_signature=[tf.TensorSpec(source.shape, tf.float32)],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that tf.lite will move to a package of its own
            model = tf.lite.TFLiteConverter.from_concrete_functions([graph.get_concrete_function()]).convert()
            interpreter = tf.lite.Interpreter(model_content=model, num_threads=self.threads)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], source)
        output = interpreter.get_output_details()[0]["index"]

        def call() -> Callable[[], np.ndarray]:
            interpreter.invoke()
            return lambda: interpreter.get_tensor(output)

        return call

    def fetch(self, result: Callable[[], np.ndarray], problem: Problem) -> np.ndarray:
        """Return the result in PyTorch's order."""
        return tensor_flow.fetch(result(), problem, self.mirrored)
