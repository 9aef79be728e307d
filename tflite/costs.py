"""What a .tflite costs, counted from the file: multiply-accumulates, bytes of constants, memory of activations."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from micro_yolo.tflite.inspect import Model, Op, Tensor

ALIGNMENT = 64
_BITS = {
    **dict.fromkeys(("int4", "uint4"), 4),
    **dict.fromkeys(("int8", "uint8", "bool", "string"), 8),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 16),
    **dict.fromkeys(("int32", "uint32", "float32"), 32),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 64),
    "int2": 2,
    "complex128": 128,
}


@dataclass(frozen=True)
class Layer:
    """An operator and its costs.

    Attributes:
        name: of the first tensor it writes; of an output, its name in the signature.
        op: operator.
        macs: multiply-accumulates; additions, activations and pools count nothing.
        constant_bytes: of the constants it reads; what several read counts for the first.
        shape: of the first tensor it writes.
    """

    name: str
    op: str
    macs: int
    constant_bytes: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Arena:
    """Memory of activations, inputs and outputs included, constants not.

    Attributes:
        n_bytes: of a plan in which tensors that are needed at different times share memory.
        peak_bytes: of the tensors needed at one operator, the most of any: no plan is smaller.
        peak_layer: that operator's layer name.
    """

    n_bytes: int
    peak_bytes: int
    peak_layer: str


@dataclass(frozen=True)
class Block:
    """Tensor number `tensor` in memory: bytes [start, start + size) from operator `first` to `last`."""

    first: int
    last: int
    size: int
    start: int
    tensor: int


def n_bytes(tensor: Tensor) -> int:
    """Bytes of the values of a tensor, 0 for types of no fixed size."""
    return math.ceil(math.prod(tensor.shape) * _BITS.get(tensor.dtype, 0) / 8)


def macs(model: Model, op: Op) -> int:
    """Multiply-accumulates of an operator for one inference, by the shapes of its tensors; 0 for what has no kernel."""
    tensors = _tensors(model, op.subgraph)
    shapes = [tensors[index].shape if index >= 0 else () for index in (*op.inputs[:2], *op.outputs[:1])]
    if len(shapes) != 3:
        return 0
    entry, kernel, leave = shapes
    # A kernel is (out, height, width, in), of a depthwise one (1, height, width, out).
    if op.name in ("CONV_2D", "CONV_3D") and len(kernel) == len(leave) > 1:
        inner = kernel[1:] if op.name == "CONV_2D" else kernel[:-1]
        return math.prod(leave) * math.prod(inner)
    if op.name == "DEPTHWISE_CONV_2D" and len(kernel) == 4:
        return math.prod(leave) * kernel[1] * kernel[2]
    if op.name == "FULLY_CONNECTED" and len(kernel) == 2:
        return math.prod(leave) * kernel[1]
    if op.name == "BATCH_MATMUL" and entry:
        return math.prod(leave) * (entry[-2] if op.options.get("adjX") and len(entry) > 1 else entry[-1])
    if op.name == "TRANSPOSE_CONV" and len(kernel) == 4 and len(op.inputs) > 2:
        # Its inputs are the output's shape, the kernel and the activation.
        return math.prod(tensors[op.inputs[2]].shape) * math.prod(kernel[:3])
    return 0


def layers(model: Model) -> list[Layer]:
    """The operators of the file in order."""
    found, seen = [], set()
    outputs = {index: name for name, index in model.signature_outputs.items()}
    for op in model.ops:
        tensors = _tensors(model, op.subgraph)
        constants = 0
        for index in op.inputs:
            if index >= 0 and tensors[index].constant and (op.subgraph, index) not in seen:
                seen.add((op.subgraph, index))
                constants += tensors[index].n_bytes
        first = tensors[op.outputs[0]] if op.outputs and op.outputs[0] >= 0 else None
        name, shape = (first.name, first.shape) if first else ("", ())
        name = outputs.get(op.outputs[0], name) if first and op.subgraph == 0 else name
        found.append(Layer(name, op.name, macs(model, op), constants, shape))
    return found


def short_name(name: str) -> str:
    """A layer's name without what the converter repeats: ``net/l3_act/Relu6;net/l3_conv/Conv2D1`` is ``l3_act``."""
    parts = name.split(";")[0].split("/")
    return parts[1] if len(parts) > 2 else name


def plan(model: Model) -> list[Block]:
    """Where the activations of the main graph may lie, largest first, each at the lowest place that is free.

    The greedy order by size of Pisarchyk & Lee, "Efficient memory management for deep neural net inference"
    (arXiv 2001.03288), section 5, which TFLite's own planner follows. Variables live throughout.
    """
    tensors = _tensors(model, 0)
    ops = [op for op in model.ops if op.subgraph == 0]
    first: dict[int, int] = dict.fromkeys(model.inputs, 0)
    last: dict[int, int] = dict.fromkeys(model.inputs, 0)
    for time, op in enumerate(ops):
        for index in (*op.outputs, *op.inputs):
            if index >= 0 and not tensors[index].constant:
                first.setdefault(index, time)
                last[index] = time
    for index in model.outputs:
        if index in last:
            last[index] = len(ops) - 1
    for index, tensor in enumerate(tensors):
        if tensor.variable:
            first[index], last[index] = 0, len(ops) - 1
    sizes = {index: -(-n_bytes(tensors[index]) // ALIGNMENT) * ALIGNMENT for index in first}
    placed: list[Block] = []
    for index in sorted((index for index in first if sizes[index]), key=lambda index: (-sizes[index], first[index])):
        start = 0
        for other in sorted(placed, key=lambda block: block.start):
            if other.last < first[index] or last[index] < other.first:
                continue
            if start + sizes[index] <= other.start:
                break
            start = max(start, other.start + other.size)
        placed.append(Block(first[index], last[index], sizes[index], start, index))
    return placed


def arena(model: Model) -> Arena:
    """Memory that the activations of the main graph need."""
    placed = plan(model)
    used: defaultdict[int, int] = defaultdict(int)
    for block in placed:
        for time in range(block.first, block.last + 1):
            used[time] += block.size
    if not used:
        return Arena(0, 0, "")
    peak = max(used, key=lambda time: (used[time], -time))
    main = [op for op in model.ops if op.subgraph == 0]
    outputs = main[peak].outputs if peak < len(main) else ()
    name = _tensors(model, 0)[outputs[0]].name if outputs and outputs[0] >= 0 else ""
    return Arena(max(block.start + block.size for block in placed), used[peak], name)


def _tensors(model: Model, subgraph: int) -> list[Tensor]:
    return [tensor for tensor in model.tensors if tensor.subgraph == subgraph]
