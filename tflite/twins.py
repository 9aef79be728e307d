"""Float twins of the operators of an int8 .tflite: what each would have said without integers.

The float32 file and the int8 file of a network are the same operators in the same order, so they are matched by their
place. A twin is the float file's operator, with its weights, written into the int8 file. `beside` the original, on the
same inputs, it shows what the integers of that operator alone cost (NumericVerify of TensorFlow's QuantizationDebugger
does the same while converting); `instead` of it, it keeps that operator in float. Both work on files alone, however
their integers came about.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micro_yolo.tflite import inspect
from micro_yolo.tflite.edit import Graph
from micro_yolo.tflite.metadata import BUFFER

_PASSING = ("QUANTIZE", "DEQUANTIZE")
# TensorType.FLOAT32 of the schema.
_FLOAT32 = 0
_COMPUTING = ("Conv2D", "depthwise", "MatMul")


@dataclass(frozen=True)
class Pair:
    """An operator that is in both files and gives int8 in one of them; indices are of the main graph.

    Attributes:
        name: of the Keras layer, such as l9_expand; unique.
        op: builtin name of the operator.
        float_op: its place among the operators of the float file.
        int8_op: likewise of the int8 file.
        float_output: the tensor it writes in the float file.
        int8_output: likewise in the int8 file.
    """

    name: str
    op: str
    float_op: int
    int8_op: int
    float_output: int
    int8_output: int


def match(float_data: bytes, int8_data: bytes) -> list[Pair]:
    """The operators of two files of one network, in graph order.

    Raises:
        ValueError: the files are not those of one network, or the second has no int8 operator.
    """
    whole, integer = inspect.read(float_data, "the float file"), inspect.read(int8_data, "the int8 file")
    tensors = [[tensor for tensor in model.tensors if tensor.subgraph == 0] for model in (whole, integer)]
    theirs = [
        [(place, op) for place, op in enumerate(model.ops) if op.subgraph == 0 and op.name not in _PASSING]
        for model in (whole, integer)
    ]
    shapes = [
        [(op.name, len(op.inputs), [found[index].shape for index in op.outputs if index >= 0]) for _, op in ops]
        for found, ops in zip(tensors, theirs, strict=True)
    ]
    if shapes[0] != shapes[1]:
        pairs = enumerate(zip(*shapes, strict=False))
        where = next((n for n, (a, b) in pairs if a != b), min(map(len, shapes)))
        raise ValueError(
            f"twins: the float and the int8 file must have the same operators, got {len(shapes[0])} and "
            f"{len(shapes[1])}, different from number {where} on; allowed: files of one stage and head; "
            "`python -m pipeline.convert --float32 --int8` makes both"
        )
    layers: list[Pair] = []
    named: dict[int, str] = {}
    taken: set[str] = set()
    for (i, op), (j, other) in zip(*theirs, strict=True):
        if not (op.outputs and other.outputs):
            continue
        value, output = tensors[0][op.outputs[0]], tensors[1][other.outputs[0]]
        name = _name(output.name) or _name(value.name)
        if not name:
            name = f"{named.get(next(iter(op.inputs), -1), 'input')}_{op.name.lower()}"
        while name in taken:
            name += f"_{op.name.lower()}"
        taken.add(name)
        named[op.outputs[0]] = name
        if (value.dtype, output.dtype) == ("float32", "int8"):
            if not output.scales or not output.zero_points:
                raise ValueError(
                    "twins: the float and the int8 file must have the same operators, "
                    f"got {name} in int8 without a scale"
                )
            layers.append(Pair(name, op.name, i, j, op.outputs[0], other.outputs[0]))
    if not layers:
        raise ValueError("twins: no operator of the second file gives int8; `python -m pipeline.convert --int8`")
    return layers


def beside(float_data: bytes, int8_data: bytes, layers: Sequence[Pair]) -> tuple[bytes, dict[str, int]]:
    """The int8 file with a float twin of each of `layers` that reads the same int8 inputs and is read by nobody.

    Returns:
        The bytes, and the tensor that each layer's twin writes.
    """
    return _rewrite(float_data, int8_data, {layer.int8_op: layer for layer in layers}, replace=False)


def instead(float_data: bytes, int8_data: bytes, layers: Collection[Pair]) -> bytes:
    """The int8 file with `layers` computed in float.

    Neighbours among them hand floats to each other; everyone else gets int8 with the scale the tensor always had, so
    that inputs and outputs of the file stay what they are.
    """
    return _rewrite(float_data, int8_data, {layer.int8_op: layer for layer in layers}, replace=True)[0]


def _rewrite(
    float_data: bytes, int8_data: bytes, chosen: dict[int, Pair], *, replace: bool
) -> tuple[bytes, dict[str, int]]:
    source, target = Graph.of(float_data), _Target(int8_data)
    operators, made = [], {}
    for place, op in enumerate(target.graph.main.operators):
        layer = chosen.get(place)
        if layer is None:
            operators.append(op)
            continue
        twin = copy.copy(source.main.operators[layer.float_op])
        inputs = []
        for theirs, ours in zip(twin.inputs, op.inputs, strict=True):
            if theirs < 0 or source.values(theirs) is not None:
                inputs.append(-1 if theirs < 0 else target.adopt(source, theirs))
                continue
            value, converting = target.floats(ours)
            operators += converting
            inputs.append(value)
        made[layer.name] = target.adopt(source, layer.float_output, "_twin")
        version = source.tree.operatorCodes[twin.opcodeIndex].version
        twin.opcodeIndex = target.graph.code(source.op_name(twin), version)
        twin.inputs, twin.outputs = np.array(inputs, np.int32), np.array([made[layer.name]], np.int32)
        # What a convolution keeps between calls belongs to the interpreter.
        twin.intermediates = None
        operators.append(twin)
        if replace:
            target.known[layer.int8_output] = made[layer.name]
            operators.append(target.graph.operator("QUANTIZE", [made[layer.name]], [layer.int8_output]))
        else:
            operators.append(op)
    target.graph.main.operators = operators
    return target.graph.pack(), made


class _Target:
    """The int8 file, to write into.

    Attributes:
        graph: its graph.
        known: int8 tensor -> the float tensor of the same values.
    """

    def __init__(self, data: bytes) -> None:
        self.graph = Graph.of(data)
        # What it says of the file, such as the contract inside, is not true of another one.
        self.graph.drop_metadata(BUFFER)
        self.known: dict[int, int] = {}
        self._adopted: dict[int, int] = {}
        self._read = {
            int(op.outputs[0]): int(op.inputs[0])
            for op in self.graph.main.operators
            if self.graph.op_name(op) == "QUANTIZE"
        }

    def floats(self, index: int) -> tuple[int, list[Any]]:
        """The float tensor of an int8 one, and the operators that make it, if it is not there already."""
        origin = index
        # What a QUANTIZE only gave another scale is there unrounded if its own source is.
        while origin not in self.known and origin in self._read:
            origin = self._read[origin]
        if origin in self.known:
            return self.known[origin], []
        if self.graph.dtype(index) == "float32":
            return index, []
        plain = copy.copy(self.graph.main.tensors[index])
        plain.name, plain.type, plain.quantization, plain.buffer = plain.name + b"_float", _FLOAT32, None, 0
        self.known[index] = self.graph.add(plain)
        return self.known[index], [self.graph.operator("DEQUANTIZE", [index], [self.known[index]], version=2)]

    def adopt(self, source: Graph, index: int, suffix: str = "") -> int:
        """A copy of a tensor of the float file, with its values if it is a constant, each constant once."""
        values = source.values(index)
        if values is not None and index in self._adopted:
            return self._adopted[index]
        tensor = copy.copy(source.main.tensors[index])
        tensor.name, tensor.buffer = tensor.name + (suffix or "_float").encode(), 0
        made = self.graph.add(tensor)
        if values is not None:
            tensor.buffer = self.graph.buffer(values)
            self._adopted[index] = made
        return made


def _name(tensor: str) -> str:
    """``l9_expand`` of ``micro_yolo/l9_expand_relu/Relu6;micro_yolo/l9_expand_bn/...;micro_yolo/l9_expand/Conv2D1``.

    "" for a name the converter made up.
    """
    parts = [part.split("/") for part in tensor.split(";") if "/" in part]
    computing = [part for part in parts if len(part) > 2 and part[-1].startswith(_COMPUTING)]
    return (computing or parts)[0][1] if parts else ""
