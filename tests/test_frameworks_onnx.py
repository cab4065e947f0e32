"""`pyx_deconv.convert` with real ONNX nodes, files and exported networks, compared with ONNX Runtime."""

import contextlib
import io
import itertools

import conventions
import numpy as np
import pytest
from frameworks import SEED, drawn_convolutions, exact_cases, integers, require, require_packages

from pyx_deconv import convert

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("default")]


def onnx_model(nodes, inputs, constants, functions=(), opset=22):
    """A model with the output y; inputs and constants are arrays, functions of the domain "mine"."""
    import onnx
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    versions = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, opset_imports=versions, functions=functions)
    model.ir_version = 10
    return onnx.shape_inference.infer_shapes(model)


def by_onnxruntime(model, inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    content = model if isinstance(model, (bytes, str)) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def appends_zeros(case):
    """Whether SAME would have to append zeros, where ONNX Runtime's size is not the specified one."""
    if "output_shape" in case.settings or not case.settings.get("auto_pad", "").startswith("SAME"):
        return False
    return any(sum(crop) < 0 for crop in conventions.translate("onnx", case).crops)


def test_onnx_nodes():
    require("onnx")
    from onnx import helper

    compared = 0
    for case in exact_cases("onnx", 60, 60, 30):
        extra, strides = case.settings["output_padding"], case.settings["strides"]
        if appends_zeros(case) or any(op >= s for op, s in zip(extra, strides, strict=True)):
            continue  # ONNX Runtime also refuses an output_padding smaller than the dilation only
        arrays = {name: array.astype(np.float32) for name, array in case.arrays.items()}
        x = arrays.pop("x")
        node = helper.make_node("ConvTranspose", ["x", *arrays], ["y"], **case.settings)
        model = onnx_model([node], {"x": x}, arrays)
        (want,) = by_onnxruntime(model, {"x": x})
        op = convert.from_onnx(node, model.graph.initializer, input_size=x.shape[2:])
        np.testing.assert_array_equal(op(x), want, err_msg=str(case.settings))
        np.testing.assert_array_equal(convert.load_onnx(model)(x), want, err_msg=str(case.settings))
        check_to_onnx(op, x, want)
        compared += 1
    assert compared > 100


def test_onnx_convolution_nodes():
    require("onnx")
    from onnx import helper

    for case in drawn_convolutions(90, ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")):
        settings = {
            "strides": case["stride"],
            # ONNX Runtime refuses a dilation with SAME.
            "dilations": [1 if case["padding"].startswith("SAME") else d for d in case["dilation"]],
            "group": case["groups"],
            "auto_pad": case["padding"],
        }
        if case["padding"] == "NOTSET":
            settings["pads"] = [pair[end] for end in (0, 1) for pair in case["pads"]]
        arrays = {"w": case["weight"]} | ({} if case["bias"] is None else {"b": case["bias"]})
        node = helper.make_node("Conv", ["x", *arrays], ["y"], **settings)
        (want,) = by_onnxruntime(onnx_model([node], {"x": case["x"]}, arrays), {"x": case["x"]})
        op = convert.from_onnx(node, arrays)
        np.testing.assert_array_equal(op(case["x"]), want, err_msg=str(settings))
        check_to_onnx(op, case["x"], want)


def check_to_onnx(op, x, want):
    from onnx import helper

    weights, settings = convert.to_onnx(op)
    node = helper.make_node(type(op).__name__, ["x", *weights], ["y"], **settings)
    (again,) = by_onnxruntime(onnx_model([node], {"x": x}, weights), {"x": x})
    np.testing.assert_array_equal(again, want, err_msg=str(settings))


def test_onnx_functions_are_inlined():
    require("onnx")
    from onnx import helper

    inner = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 20)],
    )
    x = integers(np.random.default_rng(0), (2, 3))
    node = helper.make_node("Twice", ["x"], ["y"], domain="mine")
    model = onnx_model([node], {"x": x}, {}, [inner], opset=20)
    np.testing.assert_array_equal(convert.load_onnx(model.SerializeToString())(x), 2 * x)


# ---------------------------------------------------------------- exported networks


def networks():
    """(name, network, an input, the axes of it that may have any size)."""
    import torch
    from torch import nn

    def generator(latent, features):
        widths = [latent, *(features * 2**n for n in (3, 2, 1, 0))]
        parts = []
        for number, (before, after) in enumerate(itertools.pairwise(widths)):
            stride, padding = (1, 0) if number == 0 else (2, 1)
            parts += [nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False)]
            parts += [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        return nn.Sequential(*parts, nn.ConvTranspose2d(features, 3, 4, 2, 1, bias=False), nn.Tanh())

    def double(before, after):
        return nn.Sequential(
            *(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)),
            *(nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)),
        )

    class UNet(nn.Module):
        """Two levels; what comes up is padded to the size of the skip, as usual, if `fit`."""

        def __init__(self, width, fit, **up):
            super().__init__()
            self.fit, self.pool, self.drop = fit, nn.MaxPool2d(2), nn.Dropout2d(0.3)
            self.down = nn.ModuleList(
                [double(3, width), double(width, 2 * width), double(2 * width, 4 * width)]
            )
            self.up = nn.ModuleList([nn.ConvTranspose2d(n * width, n * width // 2, **up) for n in (4, 2)])
            self.merge = nn.ModuleList([double(n * width, n * width // 2) for n in (4, 2)])
            self.last = nn.Conv2d(width, 2, 1)

        def forward(self, x):
            skips = []
            for block in self.down[:-1]:
                skips.append(block(x if not skips else self.pool(skips[-1])))
            y = self.drop(self.down[-1](self.pool(skips[-1])))
            for up, merge, skip in zip(self.up, self.merge, reversed(skips), strict=True):
                y = up(y)
                if self.fit:
                    rows, columns = skip.shape[2] - y.shape[2], skip.shape[3] - y.shape[3]
                    around = [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2]
                    y = nn.functional.pad(y, around)
                y = merge(torch.cat([skip, y], 1))
            return torch.softmax(self.last(y), 1)

    yield "dcgan", generator(100, 16), torch.randn(2, 100, 1, 1), {0: "batch"}
    sizes = {0: "batch", 2: "height", 3: "width"}
    yield "unet k2 s2", UNet(8, True, kernel_size=2, stride=2), torch.randn(2, 3, 25, 38), sizes
    yield "unet k4 s2 p1", UNet(8, False, kernel_size=4, stride=2, padding=1), torch.randn(2, 3, 24, 36), {}
    up = {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1}
    yield "unet k3 s2 p1 op1", UNet(8, False, **up), torch.randn(2, 3, 24, 36), {}


def exported(network, x, dynamo, free):
    """The content of the file that PyTorch exports; its exporter is not silent."""
    import torch

    shapes = {"dynamic_shapes": (free,)} if dynamo else {"dynamic_axes": {"x": free}}
    file = io.BytesIO()
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            network,
            (x,),
            file,
            input_names=["x"],
            output_names=["y"],
            dynamo=dynamo,
            verbose=False,
            **(shapes if free else {}),
        )
    return file.getvalue()


@pytest.mark.parametrize("dynamo", [False, True])
def test_exported_networks(dynamo):
    """Batch statistics are not 0 and 1, and where sizes are free, others than the exported ones are tried."""
    require_packages("torch", "onnx", "onnxruntime", "onnxscript")
    import torch

    torch.manual_seed(SEED)
    for name, network, x, free in networks():
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_mean.uniform_(-1, 1)
                part.running_var.uniform_(0.5, 2)
                torch.nn.init.uniform_(part.weight, 0.5, 2)
                torch.nn.init.uniform_(part.bias, -1, 1)
        network.eval()
        for axes in ({}, free) if free else ({},):
            content = exported(network, x, dynamo, axes)
            model = convert.load_onnx(content)
            assert [each.name for each in model.inputs] == ["x"]
            inputs = [x.numpy()]
            if 0 in axes:
                inputs.append(np.repeat(inputs[0], 2, 0))
            if 2 in axes:
                inputs.append(np.ascontiguousarray(inputs[0][:, :, :21, :30]))
            for given in inputs:
                (want,) = by_onnxruntime(content, {"x": given})
                got = model(given)
                assert got.dtype == np.float32
                np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5, err_msg=f"{name} {axes}")
