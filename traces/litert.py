# SPDX-License-Identifier: GPL-2.0-only
"""LiteRT: a segmentation network with skip connections, whose early tensors live until late.

The model is written as a flatbuffer by the schema that LiteRT brings along. The interpreter runs its built-in kernels,
without a delegate: a delegate hides the tensors of what it takes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import flatbuffers
import numpy
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from harness.guest.trace import Trace
from traces.lifetimes import Inference, Operation, compose, from_operations

NAME = "litert-segmentation"
BATCHES = (1, 8, 2, 20, 1, 4)
SIDE = 128
WIDTHS = (16, 32, 64)
"""Channels at full, half and quarter resolution."""
CLASSES = 8

_OPTIONS = {
    "CONV_2D": (schema.BuiltinOptions.Conv2DOptions, schema.Conv2DOptionsT),
    "MAX_POOL_2D": (schema.BuiltinOptions.Pool2DOptions, schema.Pool2DOptionsT),
    "RESIZE_NEAREST_NEIGHBOR": (
        schema.BuiltinOptions.ResizeNearestNeighborOptions,
        schema.ResizeNearestNeighborOptionsT,
    ),
    "CONCATENATION": (schema.BuiltinOptions.ConcatenationOptions, schema.ConcatenationOptionsT),
    "SOFTMAX": (schema.BuiltinOptions.SoftmaxOptions, schema.SoftmaxOptionsT),
}


class _Graph:
    """A subgraph under construction; tensors are known by their numbers."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]  # the first is the empty one, by convention
        self.operators: list[Any] = []
        self.codes: list[str] = []

    def tensor(self, name: str, shape: Sequence[int], data: Any = None) -> int:
        """A tensor, constant where ``data`` is an array; its type is float32 or the array's (int32)."""
        made = schema.TensorT()
        made.name, made.shape, made.hasRank = name, list(shape), True
        made.type = schema.TensorType.FLOAT32
        if data is None:
            made.shapeSignature = [-1, *shape[1:]]
        else:
            if data.dtype == numpy.int32:
                made.type = schema.TensorType.INT32
            buffer = schema.BufferT()
            buffer.data = numpy.frombuffer(data.tobytes(), numpy.uint8)
            made.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(made)
        return len(self.tensors) - 1

    def operator(self, kind: str, name: str, inputs: Sequence[int], shape: Sequence[int], **options: Any) -> int:
        """An operator with one output: that tensor's number."""
        if kind not in self.codes:
            self.codes.append(kind)
        made = schema.OperatorT()
        made.opcodeIndex = self.codes.index(kind)
        made.inputs, made.outputs = list(inputs), [self.tensor(name, shape)]
        made.builtinOptionsType, options_type = _OPTIONS[kind]
        made.builtinOptions = options_type()
        for option, value in options.items():
            setattr(made.builtinOptions, option, value)
        self.operators.append(made)
        return int(made.outputs[0])

    def conv(self, name: str, data: int, width: int, kernel: int = 3, activation: int = 1) -> int:
        """A convolution of stride 1 that keeps the size; activation 1 is ReLU, 0 none."""
        _, side, _, channels = self.tensors[data].shape
        ones = numpy.full((width, kernel, kernel, channels), 0.01, numpy.float32)
        weight = self.tensor(f"{name}.weight", ones.shape, ones)
        bias = self.tensor(f"{name}.bias", (width,), numpy.zeros(width, numpy.float32))
        shape = (1, side, side, width)
        return self.operator(
            "CONV_2D", name, (data, weight, bias), shape, strideW=1, strideH=1, fusedActivationFunction=activation
        )

    def halved(self, name: str, data: int) -> int:
        _, side, _, width = self.tensors[data].shape
        window = {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
        return self.operator("MAX_POOL_2D", name, (data,), (1, side // 2, side // 2, width), **window)

    def doubled(self, name: str, data: int) -> int:
        _, side, _, width = self.tensors[data].shape
        size = self.tensor(f"{name}.size", (2,), numpy.array([side * 2, side * 2], numpy.int32))
        return self.operator("RESIZE_NEAREST_NEIGHBOR", name, (data, size), (1, side * 2, side * 2, width))

    def joined(self, name: str, left: int, right: int) -> int:
        shape = list(self.tensors[left].shape)
        shape[3] += self.tensors[right].shape[3]
        return self.operator("CONCATENATION", name, (left, right), shape, axis=3)

    def flatbuffer(self, data: int, result: int) -> bytes:
        """The model as a file has it."""
        subgraph = schema.SubGraphT()
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        subgraph.inputs, subgraph.outputs = [data], [result]
        model = schema.ModelT()
        model.version, model.subgraphs, model.buffers = 3, [subgraph], self.buffers
        model.operatorCodes = []
        for kind in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _model() -> bytes:
    graph = _Graph()
    image = data = graph.tensor("image", (1, SIDE, SIDE, 3))
    skipped = []
    for level, width in enumerate(WIDTHS[:-1], 1):
        data = graph.conv(f"down{level}.conv2", graph.conv(f"down{level}.conv1", data, width), width)
        skipped.append(data)
        data = graph.halved(f"down{level}.pool", data)
    data = graph.conv("bottom.conv2", graph.conv("bottom.conv1", data, WIDTHS[-1]), WIDTHS[-1])
    for level, width in reversed(list(enumerate(WIDTHS[:-1], 1))):
        data = graph.joined(f"up{level}.join", graph.doubled(f"up{level}.resize", data), skipped.pop())
        data = graph.conv(f"up{level}.conv2", graph.conv(f"up{level}.conv1", data, width), width)
    data = graph.conv("head", data, CLASSES, kernel=1, activation=0)
    return graph.flatbuffer(image, graph.operator("SOFTMAX", "mask", (data,), (1, SIDE, SIDE, CLASSES), beta=1.0))


def _run(model: bytes, batch: int) -> tuple[dict[str, int], Inference]:
    """One inference: the weights with their bytes, and its tensors."""
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    runtime = Interpreter(model_content=model, experimental_op_resolver_type=resolver)
    inputs, results = runtime.get_input_details(), runtime.get_output_details()
    runtime.resize_tensor_input(inputs[0]["index"], (batch, SIDE, SIDE, 3))
    runtime.allocate_tensors()
    runtime.set_tensor(inputs[0]["index"], numpy.zeros((batch, SIDE, SIDE, 3), numpy.float32))
    runtime.invoke()
    details = {d["index"]: d for d in runtime.get_tensor_details()}
    names = {index: str(detail["name"]) for index, detail in details.items()}
    ran = [(tuple(map(int, op["inputs"])), tuple(map(int, op["outputs"]))) for op in runtime._get_ops_details()]
    own = {inputs[0]["index"], *(index for _, written in ran for index in written)}
    sizes = {names[index]: _bytes(details[index]) for index in own}
    read = [index for reads, _ in ran for index in reads if index not in own]
    weights = {names[index]: _bytes(details[index]) for index in read}
    operations = [Operation(tuple(names[i] for i in r), tuple(names[i] for i in w)) for r, w in ran]
    return weights, from_operations(operations, sizes, [names[inputs[0]["index"]]], [names[results[0]["index"]]])


def _bytes(detail: Any) -> int:
    return int(numpy.prod(detail["shape"])) * int(numpy.dtype(detail["dtype"]).itemsize)


def record() -> Trace:
    """Run the model at all batch sizes."""
    model = _model()
    ran = [_run(model, batch) for batch in BATCHES]
    words = f"segmentation, {len(WIDTHS)} resolutions with skip connections, {SIDE} x {SIDE} pixels, float32"
    steps = compose(ran[0][0], [inference for _, inference in ran])
    return Trace(NAME, f"ai-edge-litert {version('ai-edge-litert')}", words, BATCHES, steps)
