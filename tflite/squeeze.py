"""Gates that average by a pool: the same numbers by an operator that accelerators run faster than MEAN.

A squeeze-and-excitation gate begins with each channel's mean over the picture. TFLite has two operators for it. Vela
takes MEAN apart into a depthwise convolution and more; AVERAGE_POOL_2D with a kernel as large as the picture is one
step of its hardware, and in the Edge TPU's list as well (docs/edge.md has the figures).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from micro_yolo.tflite.edit import Graph

_READERS = ("CONV_2D", "FULLY_CONNECTED")
_POOLED = ("float32", "int8", "int16")
# TFLite's version of AVERAGE_POOL_2D for each type.
_VERSIONS = {"float32": 1, "int8": 2, "int16": 3}
# Padding.VALID of the schema.
_VALID = 1


def pooled(data: bytes) -> bytes:
    """The .tflite with an AVERAGE_POOL_2D for each MEAN over height and width that only convolutions read.

    A pool cannot change the scale of integers. Its output therefore has its input's, which is coarser than that of a
    mean, and the bias of a convolution that reads it is put on the new scale. Without integers nothing is lost.

    Raises:
        ValueError: there is no such MEAN.
    """
    graph, places = Graph.of(data), 0
    for op in graph.main.operators:
        if not _is_squeeze(graph, op):
            continue
        source, mean = (graph.main.tensors[index] for index in (op.inputs[0], op.outputs[0]))
        dtype = graph.dtype(op.inputs[0])
        if dtype != "float32":
            ratio = float(source.quantization.scale[0]) / float(mean.quantization.scale[0])
            for reader in graph.readers(op.outputs[0]):
                _rescale_bias(graph, reader, ratio)
            mean.quantization = copy.deepcopy(source.quantization)
        op.opcodeIndex, op.inputs = graph.code("AVERAGE_POOL_2D", _VERSIONS[dtype]), op.inputs[:1]
        _, height, width, _ = graph.shape(op.inputs[0])
        sides = {"strideW": 1, "strideH": 1, "filterWidth": width, "filterHeight": height}
        graph.set_options(op, "Pool2DOptions", padding=_VALID, **sides)
        places += 1
    if not places:
        raise ValueError("squeeze: the file has no mean over height and width in front of a convolution")
    return graph.pack()


def _is_squeeze(graph: Graph, op: Any) -> bool:
    outputs = graph.main.outputs
    if graph.op_name(op) != "MEAN" or not op.builtinOptions.keepDims or op.outputs[0] in outputs:
        return False
    axes = graph.values(op.inputs[1])
    if axes is None or sorted(axes.view(np.int32).tolist()) != [1, 2]:
        return False
    return (
        len(graph.shape(op.inputs[0])) == 4
        and graph.dtype(op.inputs[0]) in _POOLED
        and all(
            graph.op_name(reader) in _READERS and reader.inputs[0] == op.outputs[0]
            for reader in graph.readers(op.outputs[0])
        )
    )


def _rescale_bias(graph: Graph, op: Any, ratio: float) -> None:
    """Put the bias of a convolution, a copy of its own, on the scale of an input that is `ratio` times as coarse."""
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return
    dtype, stored = np.dtype(graph.dtype(op.inputs[2])), graph.values(op.inputs[2])
    if stored is None:
        return
    own = graph.duplicate(op.inputs[2], np.rint(stored.view(dtype).astype(np.float64) / ratio).astype(dtype))
    bias = graph.main.tensors[own]
    bias.quantization = copy.deepcopy(bias.quantization)
    bias.quantization.scale = bias.quantization.scale * np.float32(ratio)
    op.inputs = np.array([*op.inputs[:2], own, *op.inputs[3:]], np.int32)
