"""Kernels of few bits, two to a byte: the same integers and scales in half of the memory.

TFLite's type for it is int4, -8 to 7; the first of two is the lower half of a byte.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from micro_yolo.tflite import edit, inspect
from micro_yolo.tflite.edit import Graph
from micro_yolo.tflite.interpreter import BUILTIN, Interpreter

# Operators whose kernels may be int4 beside int8 activations -> the version that says so.
VERSIONS = {"CONV_2D": 7, "DEPTHWISE_CONV_2D": 7}
# The first TFLite that has both: 2.12 has CONV_2D alone, though TensorFlow's own table names 2.11 for the two.
RUNTIME = "2.13.0"
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
                tensor.type, tensor.buffer = _int4(), graph.buffer(halves(stored.view(np.int8)))
                done.add(index)
                places += 1
            op.opcodeIndex = graph.code(name, VERSIONS[name])
    if not places:
        raise ValueError(
            "pack: the file has no kernel of 4 bits or fewer; `python -m pipeline.qat --bits 4` makes them"
        )
    newest = max(RUNTIME, inspect.read(data).runtime or RUNTIME, key=lambda text: [int(n) for n in text.split(".")])
    graphs[0].set_metadata(inspect.RUNTIME, newest.encode().ljust(16, b"\0"))
    return edit.pack_without_orphans(graphs[0].tree)


def check_same(made: bytes, before: bytes, samples: Sequence[np.ndarray]) -> None:
    """Raise ValueError unless both files say the same of each uint8 (h, w, 3) image, by TFLite's own kernels.

    XNNPACK leaves int4 kernels to them, so that with it the numbers may be those that it has when it is off.
    """
    one, other = (Interpreter(data, backend=BUILTIN) for data in (made, before))
    for sample in samples:
        for interpreter in (one, other):
            interpreter.look(sample)
        for name in other.output_tensors:
            if not np.array_equal(one.stored(name), other.stored(name)):
                raise ValueError(f"pack: output {name} is not what it was")


def _fits(values: np.ndarray) -> bool:
    return bool(len(values)) and int(values.min()) >= _LOW and int(values.max()) <= _HIGH


def halves(values: np.ndarray) -> np.ndarray:
    """int8 (n,) in -8..7 -> uint8 (ceil(n / 2),)."""
    nibbles = np.pad(values.astype(np.uint8) & 15, (0, len(values) % 2))
    return nibbles[0::2] | nibbles[1::2] << 4


def unpacked(values: np.ndarray, n: int) -> np.ndarray:
    """uint8 (ceil(n / 2),) -> int8 (n,): the inverse."""
    nibbles = np.stack([values & 15, values >> 4], axis=-1).reshape(-1)[:n].astype(np.int8)
    return np.where(nibbles > _HIGH, nibbles - 16, nibbles).astype(np.int8)


def _int4() -> int:
    return next(code for code, name in edit.dtypes().items() if name == "int4")
