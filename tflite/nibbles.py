"""Kernels of few bits, two to a byte: the same integers and scales in half of the memory.

TFLite's type for it is int4, -8 to 7; the first of two is the lower half of a byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micro_yolo.tflite import edit
from micro_yolo.tflite.edit import Graph

# Operators whose kernels may be int4 beside int8 activations -> the version that says so.
VERSIONS = {"CONV_2D": 7, "DEPTHWISE_CONV_2D": 7}
_LOW, _HIGH = -8, 7


def packed(data: bytes) -> bytes:
    """The .tflite with each int8 kernel of a convolution whose integers are -8 to 7 as int4. The outputs are the same.

    Raises:
        ValueError: there is no such kernel.
    """
    graphs, places = Graph.every(data), 0
    for graph in graphs:
        done: set[int] = set()
        for op in graph.main.operators:
            index, name = int(op.inputs[1]) if len(op.inputs) > 1 else -1, graph.op_name(op)
            if name not in VERSIONS or graph.dtype(int(op.inputs[0])) != "int8":
                continue
            if index not in done:
                stored = graph.values(index)
                if graph.dtype(index) != "int8" or stored is None or not _fits(stored.view(np.int8)):
                    continue
                tensor = graph.main.tensors[index]
                tensor.type, tensor.buffer = _int4(), graph.buffer(_halves(stored.view(np.int8)))
                done.add(index)
                places += 1
            op.opcodeIndex = graph.code(name, VERSIONS[name])
    if not places:
        raise ValueError(
            "pack: the file has no kernel of 4 bits or fewer; `python -m pipeline.qat --bits 4` makes them"
        )
    return without_orphans(graphs[0].tree)


def _fits(values: np.ndarray) -> bool:
    return bool(len(values)) and int(values.min()) >= _LOW and int(values.max()) <= _HIGH


def _halves(values: np.ndarray) -> np.ndarray:
    """int8 (n,) in -8..7 -> uint8 (ceil(n / 2),)."""
    nibbles = np.pad(values.astype(np.uint8) & 15, (0, len(values) % 2))
    return nibbles[0::2] | nibbles[1::2] << 4


def unpacked(values: np.ndarray, n: int) -> np.ndarray:
    """uint8 (ceil(n / 2),) -> int8 (n,): the inverse."""
    nibbles = np.stack([values & 15, values >> 4], axis=-1).reshape(-1)[:n].astype(np.int8)
    return np.where(nibbles > _HIGH, nibbles - 16, nibbles).astype(np.int8)


def without_orphans(tree: Any) -> bytes:
    """The bytes of a tree without the constants that nothing reads."""
    used = {0, *(entry.buffer for entry in tree.metadata or [])}
    used |= {tensor.buffer for graph in tree.subgraphs for tensor in graph.tensors}
    numbers = {old: new for new, old in enumerate(sorted(used))}
    tree.buffers = [tree.buffers[old] for old in numbers]
    for entry in tree.metadata or []:
        entry.buffer = numbers[entry.buffer]
    for graph in tree.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = numbers[tensor.buffer]
    return edit.pack(tree)


def _int4() -> int:
    return next(code for code, name in edit.dtypes().items() if name == "int4")
