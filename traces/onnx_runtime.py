# SPDX-License-Identifier: GPL-2.0-only
"""ONNX Runtime: an image classifier of inverted residual blocks, as phones run them.

The runtime itself says what it ran: the optimized graph that it saves names the edges, its profile each node's output
shape. Optimizations are the basic ones: the others depend on the processor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from harness.guest.trace import Trace
from traces.lifetimes import Inference, Operation, compose, from_operations

NAME = "onnxruntime-classifier"
BATCHES = (1, 4, 2, 16, 1, 24, 8)
SIDE = 128
STEM = 32
BLOCKS = ((6, 24, 2), (6, 24, 1), (6, 48, 2), (6, 48, 1))
"""Expansion, channels, stride of each inverted residual block."""
CLASSES = 1000
FLOAT_BYTES = 4


class _Graph:
    """Nodes and weights, appended in order; every method gives the name of the tensor it makes."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, name: str, shape: Sequence[int]) -> str:
        self.weights.append(numpy_helper.from_array(numpy.full(shape, 0.01, numpy.float32), name))
        return name

    def node(self, kind: str, name: str, inputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, name: str, data: str, shape: tuple[int, int, int], stride: int = 1, group: int = 1) -> str:
        """``shape``: output channels, input channels, kernel's side."""
        outputs, inputs, side = shape
        weight = self.weight(f"{name}.weight", (outputs, inputs // group, side, side))
        bias = self.weight(f"{name}.bias", (outputs,))
        pads = [side // 2] * 4
        return self.node("Conv", name, [data, weight, bias], strides=[stride] * 2, pads=pads, group=group)


def _model() -> Any:
    """The model; the batch is the only size that is left open."""
    graph = _Graph()
    data = graph.node("Relu", "stem.relu", [graph.conv("stem", "image", (STEM, 3, 3), stride=2)])
    channels = STEM
    for number, (expansion, width, stride) in enumerate(BLOCKS, 1):
        wide, name = channels * expansion, f"block{number}"
        out = graph.node("Relu", f"{name}.relu1", [graph.conv(f"{name}.expand", data, (wide, channels, 1))])
        depthwise = graph.conv(f"{name}.depthwise", out, (wide, wide, 3), stride, group=wide)
        out = graph.node("Relu", f"{name}.relu2", [depthwise])
        out = graph.conv(f"{name}.project", out, (width, wide, 1))
        data = graph.node("Add", f"{name}.add", [data, out]) if stride == 1 and width == channels else out
        channels = width
    pooled = graph.node("Flatten", "flatten", [graph.node("GlobalAveragePool", "pool", [data])])
    head = [pooled, graph.weight("head.weight", (channels, CLASSES)), graph.weight("head.bias", (CLASSES,))]
    graph.node("Softmax", "classes", [graph.node("Gemm", "head", head)])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    classes = helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["batch", CLASSES])
    made = helper.make_graph(graph.nodes, "classifier", [image], [classes], graph.weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _run(model: bytes, folder: Path, batch: int) -> tuple[Any, dict[str, int]]:
    """One inference: the graph that ran, and the bytes of the output of each of its nodes, by the node's name, in the
    order in which they ran."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, {"image": numpy.zeros((batch, 3, SIDE, SIDE), numpy.float32)})
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = [e for e in events if e.get("cat") == "Node" and str(e["name"]).endswith("_kernel_time")]
    sizes = {e["name"].removesuffix("_kernel_time"): int(e["args"]["output_size"]) for e in ran}
    return onnx.load(folder / "optimized.onnx").graph, sizes


def _inference(graph: Any, output_bytes: dict[str, int], batch: int) -> Inference:
    nodes = {node.name: node for node in graph.node}
    order = [nodes[name] for name in output_bytes]
    sizes = {nodes[name].output[0]: size for name, size in output_bytes.items()}
    sizes["image"] = batch * 3 * SIDE * SIDE * FLOAT_BYTES
    operations = [Operation(tuple(node.input), tuple(node.output)) for node in order]
    return from_operations(operations, sizes, ["image"], [output.name for output in graph.output])


def record() -> Trace:
    """Run the model at all batch sizes."""
    model = _model().SerializeToString()
    inferences = []
    weights: dict[str, int] = {}
    for batch in BATCHES:
        with TemporaryDirectory() as folder:
            graph, output_bytes = _run(model, Path(folder), batch)
        weights = {w.name: numpy_helper.to_array(w).nbytes for w in graph.initializer}
        inferences.append(_inference(graph, output_bytes, batch))
    words = f"image classifier, {len(BLOCKS)} inverted residual blocks, {SIDE} x {SIDE} pixels, float32"
    return Trace(NAME, f"onnxruntime {onnxruntime.__version__}", words, BATCHES, compose(weights, inferences))
