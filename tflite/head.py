"""Decoding and suppression inside the file: the body of a raw .tflite as it is, and behind its grids the arithmetic of
`tflite.decode` in float32 up to the TFLite_Detection_PostProcess operator, which every TFLite runtime brings along.

That operator takes boxes coded as for SSD: centre = coded x anchor size + anchor centre, size = anchor size x
exp(coded). Boxes are decoded and clipped to the picture in front of it, as in `tflite.decode`, and given to it as
centre and logarithm of the size, for an anchor of size 1 at 0. (It could decode them by itself, but it does not clip,
and MediaPipe then moves what reaches beyond the upper or left edge.) The integers of the grids, each with its own
scale, are read as they are: no range is shared by boxes and scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from micro_yolo.tflite import inspect

OPERATOR = "TFLite_Detection_PostProcess"
# Of the input: what lies outside the picture keeps this size, for its logarithm.
_LEAST = 1e-6
# The names of the TensorFlow object detection API, in the order of the operator's outputs.
OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


class Head(Protocol):
    """A detection row: pixels per cell, and its anchors ((width, height), ...) in pixels."""

    @property
    def row_name(self) -> str:
        """Its outputs are called ``{row_name}_{boxes|objectness|classes}``."""
        ...

    @property
    def stride(self) -> int:
        """Input pixels per cell."""
        ...

    @property
    def anchors(self) -> Sequence[tuple[float, float]]:
        """(width, height) in pixels of the input."""
        ...


def attach(
    data: bytes,
    heads: Sequence[Head],
    n_classes: int,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
) -> bytes:
    """A raw .tflite -> one whose outputs are detections, for one image.

    The outputs, all float32 and named as in OUTPUTS: boxes (1, n, 4) as ymin, xmin, ymax, xmax in 0..1 of the input;
    classes (1, n), from 0; scores (1, n), best first; the number of them (1,). n is `max_detections`, what
    is behind the number is zero.

    Args:
        data: bytes of a .tflite with the signature `tflite.convert.convert` gives it.
        heads: its detection rows.
        n_classes: classes of each.
        score_threshold: what scores less is left out.
        iou_threshold: of two boxes of a class that overlap more than this the weaker goes.
        max_detections: the most that come out, of all classes together and of each.

    Raises:
        ValueError: the outputs are not those of the heads.
    """
    graph = inspect.graph_of(data)
    parsed = inspect.read(data)
    if len(graph.subgraphs) != 1 or inspect.SIGNATURE not in _signatures(graph):
        raise ValueError(f"head: the file must have one graph and the signature {inspect.SIGNATURE}")
    tail = _Tail(graph)
    height, width = parsed.tensor(parsed.inputs[0]).shape[1:3]
    boxes, objectness, classes, centres, halves = [], [], [], [], []
    for head in heads:
        rows, columns, count = height // head.stride, width // head.stride, len(head.anchors)
        cells = rows * columns * count
        sides = {"boxes": 4 * count, "objectness": count, "classes": n_classes * count}
        grids = {}
        for kind, channels in sides.items():
            name = f"{head.row_name}_{kind}"
            index = parsed.signature_outputs.get(name)
            if index is None or parsed.tensor(index).shape != (1, rows, columns, channels):
                raise ValueError(f"head: output {name} must have shape {[1, rows, columns, channels]}")
            grids[kind] = tail.floats(index)
        unit = tail.binary("SUB", grids["boxes"], np.array([0.5], np.float32))
        scaled = tail.binary("MUL", unit, _scales(head, (height, width)))
        boxes.append(tail.reshape(scaled, (1, cells, 4)))
        objectness.append(tail.reshape(grids["objectness"], (1, cells, 1)))
        classes.append(tail.reshape(grids["classes"], (1, cells, n_classes)))
        centres.append(_centres(rows, columns, count))
        halves.append(np.tile(_halves(head, (height, width)), (rows * columns, 1)))
    coded, inside = _clipped(tail, tail.concatenate(boxes), np.concatenate(centres), np.concatenate(halves))
    # What lies outside the picture altogether scores 0.
    objectness_inside = tail.binary("MUL", tail.concatenate(objectness), inside)
    scores = tail.binary("MUL", tail.concatenate(classes), objectness_inside)
    unit_anchors = np.tile(np.array([0, 0, 1, 1], np.float32), (sum(map(len, centres)), 1))
    outputs = tail.detections(
        coded,
        scores,
        tail.constant("anchors", unit_anchors),
        {
            "max_detections": max_detections,
            "max_classes_per_detection": 1,
            "detections_per_class": max_detections,
            # Suppression within each class, as in tflite.decode; the fast kind suppresses across classes.
            "use_regular_nms": True,
            "nms_score_threshold": float(score_threshold),
            "nms_iou_threshold": float(iou_threshold),
            "num_classes": n_classes,
            "y_scale": 1.0,
            "x_scale": 1.0,
            "h_scale": 1.0,
            "w_scale": 1.0,
        },
    )
    tail.end(outputs)
    return inspect.pack(graph)


@dataclass(frozen=True)
class Settings:
    """What the operator in a file was told."""

    n_classes: int
    score_threshold: float
    iou_threshold: float
    max_detections: int


def settings(data: bytes) -> Settings | None:
    """What the TFLite_Detection_PostProcess of a file was told; None if it has none. ValueError if it is garbled."""
    from flatbuffers import flexbuffers  # type: ignore[import-untyped]

    graph = inspect.graph_of(data)
    for op in (op for subgraph in graph.subgraphs for op in subgraph.operators or []):
        if inspect.op_name(graph, op) != f"CUSTOM:{OPERATOR}":
            continue
        try:
            told = flexbuffers.Loads(bytes(bytearray(op.customOptions)))
            return Settings(
                int(told["num_classes"]),
                float(told["nms_score_threshold"]),
                float(told["nms_iou_threshold"]),
                int(told["max_detections"]),
            )
        # Reading damaged offsets ends in struct.error, IndexError, KeyError, TypeError, ...
        except Exception as error:
            raise ValueError(f"the options of {OPERATOR} cannot be read ({type(error).__name__})") from None
    return None


def _signatures(graph: Any) -> list[str]:
    return [signature.signatureKey.decode() for signature in graph.signatureDefs or []]


def _scales(head: Head, size: tuple[int, int]) -> np.ndarray:
    """float32 (A*4,): what (s - 0.5) is multiplied by, in the order x, y, width, height."""
    height, width = size
    each = (2 * head.stride / width, 2 * head.stride / height, 4, 4)
    return np.array(each * len(head.anchors), np.float32)


def _centres(rows: int, columns: int, count: int) -> np.ndarray:
    """float32 (rows * columns * count, 2): y and x of the cells' centres in 0..1 of the input."""
    y, x = np.mgrid[:rows, :columns]
    cells = np.stack([(y + 0.5) / rows, (x + 0.5) / columns], axis=-1).reshape(-1, 2)
    return cells.repeat(count, axis=0).astype(np.float32)


def _halves(head: Head, size: tuple[int, int]) -> np.ndarray:
    """float32 (A, 2): half the height and width of the anchors, in 0..1 of the input."""
    height, width = size
    return np.array([(h / height / 2, w / width / 2) for w, h in head.anchors], np.float32)


def _clipped(tail: _Tail, scaled: int, centres: np.ndarray, halves: np.ndarray) -> tuple[int, int]:
    """(1, N, 4) x, y from the cell's centre, log width, log height -> centre y, x, log height, log width, clipped.

    And (1, N, 1): 1, or 0 for a box of which nothing is left.
    """
    zero, one = np.array([0], np.float32), np.array([1], np.float32)
    centre = tail.binary("ADD", tail.gather(scaled, np.array([1, 0], np.int32)), centres[None])
    half = tail.binary("MUL", tail.unary("EXP", tail.gather(scaled, np.array([3, 2], np.int32))), halves[None])
    low, high = (
        tail.binary("MINIMUM", tail.binary("MAXIMUM", tail.binary(side, centre, half), zero), one)
        for side in ("SUB", "ADD")
    )
    middle = tail.binary("MUL", tail.binary("ADD", low, high), np.array([0.5], np.float32))
    size = tail.binary("SUB", high, low)
    solid = tail.binary("MINIMUM", tail.binary("MUL", size, np.array([1 / _LEAST], np.float32)), one)
    inside = tail.binary("MUL", *(tail.gather(solid, np.array([i], np.int32)) for i in range(2)))
    size = tail.binary("MAXIMUM", size, np.array([_LEAST], np.float32))
    return tail.concatenate([middle, tail.unary("LOG", size)], axis=2), inside


class _Tail:
    """Adds operators behind the graph of `tflite.inspect.graph_of`; every tensor it makes is float32 or a constant."""

    def __init__(self, graph: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._graph = graph
        self._main = graph.subgraphs[0]

    def floats(self, index: int) -> int:
        """The tensor itself, or a float32 copy of an integer one."""
        tensor = self._main.tensors[index]
        if tensor.type == self._schema.TensorType.FLOAT32:
            return index
        version = 3 if tensor.type == self._schema.TensorType.INT16 else 2
        return self._add("DEQUANTIZE", [index], tensor.shape, "DequantizeOptions", version=version)

    def binary(self, name: str, a: int, b: int | np.ndarray) -> int:
        """ADD, SUB, MUL, MINIMUM or MAXIMUM; the result has the shape of `a`."""
        options = "MaximumMinimum" if name.endswith("IMUM") else name.capitalize()
        return self._add(name, [a, self._index(b)], self._shape(a), f"{options}Options")

    def unary(self, name: str, a: int) -> int:
        """EXP or LOG, which have no options of interest."""
        return self._add(name, [a], self._shape(a), "ExpOptions" if name == "EXP" else None)

    def reshape(self, a: int, shape: tuple[int, ...]) -> int:
        made = np.array(shape, np.int32)
        return self._add("RESHAPE", [a, self._index(made)], shape, "ReshapeOptions", newShape=made)

    def concatenate(self, parts: list[int], axis: int = 1) -> int:
        if len(parts) == 1:
            return parts[0]
        shape = list(self._shape(parts[0]))
        shape[axis] = sum(self._shape(part)[axis] for part in parts)
        return self._add("CONCATENATION", parts, shape, "ConcatenationOptions", axis=axis)

    def gather(self, a: int, indices: np.ndarray) -> int:
        shape = (*self._shape(a)[:2], len(indices))
        return self._add("GATHER", [a, self._index(indices)], shape, "GatherOptions", axis=2)

    def detections(self, boxes: int, scores: int, anchors: int, told: dict[str, Any]) -> list[int]:
        from flatbuffers import flexbuffers

        n = told["max_detections"]
        shapes = ((1, n, 4), (1, n), (1, n), (1,))
        # The names are those that models of the object detection API have.
        outputs = [
            self._tensor(OPERATOR + (f":{i}" if i else ""), self._schema.TensorType.FLOAT32, shape)
            for i, shape in enumerate(shapes)
        ]
        op = self._operator("CUSTOM", [boxes, scores, anchors], outputs, custom=OPERATOR)
        op.customOptions = np.frombuffer(bytes(flexbuffers.Dumps(told)), np.uint8)
        return outputs

    def end(self, outputs: list[int]) -> None:
        """Make `outputs` those of the graph and, as OUTPUTS, of its signature."""
        self._main.outputs = np.array(outputs, np.int32)
        signature = self._graph.signatureDefs[_signatures(self._graph).index(inspect.SIGNATURE)]
        signature.outputs = []
        for name, index in zip(OUTPUTS, outputs, strict=True):
            entry = self._schema.TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), index
            signature.outputs.append(entry)

    def constant(self, name: str, values: np.ndarray) -> int:
        types = {"float32": self._schema.TensorType.FLOAT32, "int32": self._schema.TensorType.INT32}
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._graph.buffers.append(buffer)
        return self._tensor(name, types[values.dtype.name], values.shape, len(self._graph.buffers) - 1)

    def _index(self, value: int | np.ndarray) -> int:
        if isinstance(value, np.ndarray):
            return self.constant(f"constant_{len(self._main.tensors)}", value)
        return value

    def _shape(self, index: int) -> tuple[int, ...]:
        return tuple(int(side) for side in self._main.tensors[index].shape)

    def _tensor(self, name: str, kind: int, shape: Sequence[int], buffer: int = 0) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = name.encode(), kind, buffer
        tensor.shape, tensor.hasRank = np.array(shape, np.int32), True
        self._main.tensors.append(tensor)
        return len(self._main.tensors) - 1

    def _add(
        self, name: str, inputs: list[int], shape: Sequence[int], options: str | None, *, version: int = 1, **told: Any
    ) -> int:
        output = self._tensor(f"head_{name.lower()}_{len(self._main.tensors)}", self._schema.TensorType.FLOAT32, shape)
        op = self._operator(name, inputs, [output], version=version)
        if options is not None:
            op.builtinOptionsType = getattr(self._schema.BuiltinOptions, options)
            op.builtinOptions = getattr(self._schema, f"{options}T")()
        for key, value in told.items():
            setattr(op.builtinOptions, key, value)
        return output

    def _operator(
        self, name: str, inputs: list[int], outputs: list[int], *, version: int = 1, custom: str | None = None
    ) -> Any:
        op = self._schema.OperatorT()
        op.opcodeIndex = self._code(name, version, custom)
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        self._main.operators.append(op)
        return op

    def _code(self, name: str, version: int, custom: str | None) -> int:
        number = getattr(self._schema.BuiltinOperator, name)
        for index, code in enumerate(self._graph.operatorCodes):
            if (code.builtinCode, code.version) == (number, version) and custom is None:
                return index
        code = self._schema.OperatorCodeT()
        # Numbers above 127 would not fit the older field; all of these do.
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version, code.customCode = version, custom.encode() if custom else None
        self._graph.operatorCodes.append(code)
        return len(self._graph.operatorCodes) - 1
