"""Gates that average by a pool: the same numbers by an operator that accelerators run faster than MEAN.

A squeeze-and-excitation gate begins with each channel's mean over the picture. TFLite has two operators for it. Vela
takes MEAN apart into a depthwise convolution and more; AVERAGE_POOL_2D with a kernel as large as the picture is one
step of its hardware, and in the Edge TPU's list as well (docs/edge.md has the figures).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from micro_yolo.tflite import inspect

_READERS = ("CONV_2D", "FULLY_CONNECTED")
_POOLED = ("float32", "int8", "int16")
# TFLite's version of AVERAGE_POOL_2D for each type.
_VERSIONS = {"float32": 1, "int8": 2, "int16": 3}


def pooled(data: bytes) -> bytes:
    """The .tflite with an AVERAGE_POOL_2D for each MEAN over height and width that only convolutions read.

    A pool cannot change the scale of integers. Its output therefore has its input's, which is coarser than that of a
    mean, and the bias of a convolution that reads it is put on the new scale. Without integers nothing is lost.

    Raises:
        ValueError: there is no such MEAN.
    """
    from ai_edge_litert import schema_py_generated as schema

    parsed, graph = inspect.read(data), inspect.graph_of(data)
    types = [tensor.dtype for tensor in parsed.tensors if tensor.subgraph == 0]
    main = graph.subgraphs[0]
    places: dict[str, int] = {}
    for op in main.operators:
        if not _is_squeeze(graph, main, op, types):
            continue
        source, mean, dtype = main.tensors[op.inputs[0]], main.tensors[op.outputs[0]], types[op.inputs[0]]
        if dtype != "float32":
            ratio = float(source.quantization.scale[0]) / float(mean.quantization.scale[0])
            for reader in _readers(main, op.outputs[0]):
                _rescale_bias(graph, main, reader, ratio)
            mean.quantization = copy.deepcopy(source.quantization)
        if dtype not in places:
            places[dtype] = len(graph.operatorCodes)
            kind = schema.BuiltinOperator.AVERAGE_POOL_2D
            code = schema.OperatorCodeT(deprecatedBuiltinCode=kind, builtinCode=kind, version=_VERSIONS[dtype])
            graph.operatorCodes.append(code)
        op.opcodeIndex, op.inputs = places[dtype], op.inputs[:1]
        _, height, width, _ = source.shape
        op.builtinOptionsType = schema.BuiltinOptions.Pool2DOptions
        op.builtinOptions = schema.Pool2DOptionsT(
            padding=schema.Padding.VALID, strideW=1, strideH=1, filterWidth=int(width), filterHeight=int(height)
        )
    if not places:
        raise ValueError("squeeze: the file has no mean over height and width in front of a convolution")
    return inspect.pack(graph)


def _is_squeeze(graph: Any, main: Any, op: Any, types: list[str]) -> bool:
    if inspect.op_name(graph, op) != "MEAN" or not op.builtinOptions.keepDims or op.outputs[0] in main.outputs:
        return False
    axes = graph.buffers[main.tensors[op.inputs[1]].buffer].data
    if axes is None or sorted(np.frombuffer(bytes(axes), np.int32).tolist()) != [1, 2]:
        return False
    readers = _readers(main, op.outputs[0])
    return (
        len(main.tensors[op.inputs[0]].shape) == 4
        and types[op.inputs[0]] in _POOLED
        and all(inspect.op_name(graph, reader) in _READERS and reader.inputs[0] == op.outputs[0] for reader in readers)
    )


def _readers(main: Any, tensor: int) -> list[Any]:
    return [op for op in main.operators if tensor in op.inputs]


def _rescale_bias(graph: Any, main: Any, op: Any, ratio: float) -> None:
    """Put the bias of a convolution, a copy of its own, on the scale of an input that is `ratio` times as coarse."""
    from ai_edge_litert import schema_py_generated as schema

    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return
    bias = copy.copy(main.tensors[op.inputs[2]])
    stored = graph.buffers[bias.buffer].data
    dtype = np.dtype("int64" if bias.type == schema.TensorType.INT64 else "int32")
    values = np.rint(np.frombuffer(bytes(stored), dtype).astype(np.float64) / ratio).astype(dtype)
    bias.quantization = copy.deepcopy(bias.quantization)
    bias.quantization.scale = bias.quantization.scale * np.float32(ratio)
    bias.buffer = len(graph.buffers)
    graph.buffers.append(schema.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
    op.inputs = np.array([*op.inputs[:2], len(main.tensors), *op.inputs[3:]], np.int32)
    main.tensors.append(bias)
