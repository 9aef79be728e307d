"""What a .tflite takes of a microcontroller's memory, which tensors fill it, and at which input size it still fits."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from micro_yolo.tflite import costs, inspect, tflm
from micro_yolo.tflite.resized import at_size
from micro_yolo.tflite.slim import slim
from micro_yolo.tflite.tflm import Allocation

# Sizes that are tried go up to this side, and networks' strides are rarely more than 32.
_WIDEST = 640
_SUFFIXES = {"": 1, "K": 1 << 10, "M": 1 << 20}


@dataclass(frozen=True)
class Share:
    """A tensor that lies in the arena at its peak."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    n_bytes: int


@dataclass(frozen=True)
class Budget:
    """What a file takes of a microcontroller.

    Attributes:
        arena: measured by TFLM.
        flash_bytes: of the model, without names and metadata, as target mcu writes it.
        operators: that the resolver must have -> how often.
        macs: of an inference.
        size: (height, width) of its input.
        peak: the tensors that are needed at the operator where most are, largest first.
        peak_layer: that operator.
        profile: bytes of the tensors needed at each operator.
        allowed_arena: that was asked for; None if nothing was.
        allowed_flash: likewise.
        fitting: the largest (height, width) with which it fits in `allowed_arena`, by measurement; None if none does or
            nothing was asked for.
        fitting_arena: arena at that size; 0 without.
        unsized: why no other size could be tried; "" if they could.
    """

    arena: Allocation
    flash_bytes: int
    operators: dict[str, int]
    macs: int
    size: tuple[int, int]
    peak: tuple[Share, ...]
    peak_layer: str
    profile: tuple[int, ...]
    allowed_arena: int | None = None
    allowed_flash: int | None = None
    fitting: tuple[int, int] | None = None
    fitting_arena: int = 0
    unsized: str = ""


def measure(data: bytes, name: str | Path = "model", *, arena: int | None = None, flash: int | None = None) -> Budget:
    """Run a file in TFLM, and with `arena`, in bytes, find the largest input that fits.

    Raises:
        ModuleNotFoundError: TFLM is not installed.
        ValueError: TFLM cannot run the file: which operator, which tensor, what to do.
    """
    model, small = inspect.read(data, name), slim(data, name)
    shapes = [model.tensor(index).shape for index in model.inputs]
    if not shapes or len(shapes[0]) != 4 or not all(op.outputs for op in model.ops) or not model.ops:
        raise ValueError(
            f"{name}: must have operators that make something of a picture [1, height, width, channels], got inputs "
            f"{[list(shape) for shape in shapes]!s:.80}"
        )
    used = tflm.measure(data, name)
    _, height, width, _ = shapes[0]
    peak, layer, profile = _peak(model)
    fitting, fitting_arena, unsized = None, 0, ""
    if arena is not None:
        try:
            fitting, fitting_arena = _fitting(small, (height, width), _stride(model), arena)
        except ValueError as error:
            unsized = str(error)
    return Budget(
        used,
        len(small),
        model.op_counts(),
        sum(layer.macs for layer in costs.layers(model)),
        (height, width),
        peak,
        layer,
        profile,
        arena,
        flash,
        fitting,
        fitting_arena,
        unsized,
    )


def n_bytes(text: str, what: str) -> int:
    """256K, 1M or 300000 in bytes. ValueError, beginning with `what`, for anything else."""
    found = re.fullmatch(r"(\d{1,12})\s*([KM]?)(?:i?B)?", text.strip(), re.I)
    if not found or int(found[1]) == 0:
        raise ValueError(f"{what}: must be bytes, got {text!r:.40}; allowed: 256K, 1M, 300000")
    return int(found[1]) * _SUFFIXES[found[2].upper()]


def _peak(model: inspect.Model) -> tuple[tuple[Share, ...], str, tuple[int, ...]]:
    """The tensors needed at the fullest operator, its name, and the bytes needed at each."""
    tensors = [tensor for tensor in model.tensors if tensor.subgraph == 0]
    ops = [op for op in model.ops if op.subgraph == 0]
    placed = costs.plan(model)
    needed = [[block.tensor for block in placed if block.first <= time <= block.last] for time in range(len(ops))]
    profile = tuple(sum(costs.n_bytes(tensors[index]) for index in each) for each in needed)
    fullest = max(range(len(ops)), key=lambda time: profile[time])
    shares = [
        Share(costs.short_name(tensors[i].name), tensors[i].shape, tensors[i].dtype, costs.n_bytes(tensors[i]))
        for i in needed[fullest]
    ]
    op = ops[fullest]
    name = f"{op.name} {costs.short_name(tensors[op.outputs[0]].name)}"
    return tuple(sorted(shares, key=lambda share: -share.n_bytes)), name, profile


def _stride(model: inspect.Model) -> int:
    """Pixels of the input per cell of the coarsest picture inside, squeezes aside."""
    height = model.tensor(model.inputs[0]).shape[1]
    pictures = [tensor.shape for tensor in model.tensors if len(tensor.shape) == 4 and not tensor.constant]
    return max((height // shape[1] for shape in pictures if shape[1:3] != (1, 1)), default=1)


def _fitting(small: bytes, size: tuple[int, int], stride: int, arena: int) -> tuple[tuple[int, int] | None, int]:
    """The largest size of the same shape that fits, and its arena."""
    common = math.gcd(*size)
    shape = tuple(side // common for side in size)
    low, high, found, least = 1, _WIDEST // stride + 1, None, 0
    while low < high:
        middle = (low + high) // 2
        height, width = (side * middle * stride for side in shape)
        needed = tflm.measure(at_size(small, (height, width))).arena_bytes
        if needed <= arena:
            low, found, least = middle + 1, (height, width), needed
        else:
            high = middle
    return found, least
