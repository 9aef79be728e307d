"""Arithmetic in float32, written behind a graph operator by operator; every result is a tensor's index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from micro_yolo.tflite.edit import Graph


class Arithmetic:
    """Adds operators to the end of a graph; every tensor it makes is float32 or a constant."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def floats(self, index: int) -> int:
        """The tensor itself, or a float32 copy of an integer one."""
        dtype = self._graph.dtype(index)
        if dtype == "float32":
            return index
        version = 3 if dtype == "int16" else 2
        return self._add("DEQUANTIZE", [index], self._graph.shape(index), "DequantizeOptions", version=version)

    def binary(self, name: str, a: int, b: int | np.ndarray) -> int:
        """ADD, SUB, MUL, MINIMUM or MAXIMUM; the result has the shape of `a`."""
        options = "MaximumMinimum" if name.endswith("IMUM") else name.capitalize()
        return self._add(name, [a, self._index(b)], self._graph.shape(a), f"{options}Options")

    def unary(self, name: str, a: int) -> int:
        """EXP or LOG, which have no options of interest."""
        return self._add(name, [a], self._graph.shape(a), "ExpOptions" if name == "EXP" else None)

    def reshape(self, a: int, shape: tuple[int, ...]) -> int:
        """The same values in another shape."""
        made = np.array(shape, np.int32)
        return self._add("RESHAPE", [a, self._index(made)], shape, "ReshapeOptions", newShape=made)

    def concatenate(self, parts: Sequence[int], axis: int = 1) -> int:
        """The parts one behind the other."""
        if len(parts) == 1:
            return parts[0]
        shape = list(self._graph.shape(parts[0]))
        shape[axis] = sum(self._graph.shape(part)[axis] for part in parts)
        return self._add("CONCATENATION", parts, shape, "ConcatenationOptions", axis=axis)

    def gather(self, a: int, indices: Sequence[int]) -> int:
        """These of the last of three axes."""
        shape = (*self._graph.shape(a)[:2], len(indices))
        chosen = self._index(np.array(indices, np.int32))
        return self._add("GATHER", [a, chosen], shape, "GatherOptions", axis=2)

    def constant(self, name: str, values: np.ndarray) -> int:
        """A tensor with `values`."""
        return self._graph.constant(name, values)

    def custom(
        self, name: str, inputs: Sequence[int], shapes: Sequence[Sequence[int]], told: dict[str, Any]
    ) -> list[int]:
        """A custom operator with one output of each shape; `told` is its map of options."""
        from flatbuffers import flexbuffers  # type: ignore[import-untyped]

        # The names are those that models of the object detection API have.
        outputs = [
            self._graph.tensor(name + (f":{i}" if i else ""), "float32", shape) for i, shape in enumerate(shapes)
        ]
        op = self._graph.operator(f"CUSTOM:{name}", inputs, outputs)
        op.customOptions = np.frombuffer(bytes(flexbuffers.Dumps(told)), np.uint8)
        self._graph.main.operators.append(op)
        return outputs

    def _index(self, value: int | np.ndarray) -> int:
        if isinstance(value, np.ndarray):
            return self.constant(f"constant_{len(self._graph.main.tensors)}", value)
        return value

    def _add(
        self,
        name: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        options: str | None,
        *,
        version: int = 1,
        **told: Any,
    ) -> int:
        output = self._graph.tensor(f"head_{name.lower()}_{len(self._graph.main.tensors)}", "float32", shape)
        op = self._graph.operator(name, inputs, [output], version=version, options=options, **told)
        self._graph.main.operators.append(op)
        return output
