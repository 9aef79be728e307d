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
from typing import Protocol

import numpy as np

from micro_yolo.tflite import inspect
from micro_yolo.tflite.arithmetic import Arithmetic
from micro_yolo.tflite.edit import SIGNATURE, Graph, graph_of, op_name

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
    graph, parsed = Graph.of(data), inspect.read(data)
    if len(graph.tree.subgraphs) != 1 or not parsed.signature_outputs:
        raise ValueError(f"head: the file must have one graph and the signature {SIGNATURE}")
    tail = Arithmetic(graph)
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
    n = max_detections
    outputs = tail.custom(
        OPERATOR,
        [coded, scores, tail.constant("anchors", unit_anchors)],
        [(1, n, 4), (1, n), (1, n), (1,)],
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
    graph.set_outputs(dict(zip(OUTPUTS, outputs, strict=True)))
    return graph.pack()


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

    graph = graph_of(data)
    for op in (op for subgraph in graph.subgraphs for op in subgraph.operators or []):
        if op_name(graph, op) != f"CUSTOM:{OPERATOR}":
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


def _clipped(tail: Arithmetic, scaled: int, centres: np.ndarray, halves: np.ndarray) -> tuple[int, int]:
    """(1, N, 4) x, y from the cell's centre, log width, log height -> centre y, x, log height, log width, clipped.

    And (1, N, 1): 1, or 0 for a box of which nothing is left.
    """
    zero, one = np.array([0], np.float32), np.array([1], np.float32)
    centre = tail.binary("ADD", tail.gather(scaled, [1, 0]), centres[None])
    half = tail.binary("MUL", tail.unary("EXP", tail.gather(scaled, [3, 2])), halves[None])
    low, high = (
        tail.binary("MINIMUM", tail.binary("MAXIMUM", tail.binary(side, centre, half), zero), one)
        for side in ("SUB", "ADD")
    )
    middle = tail.binary("MUL", tail.binary("ADD", low, high), np.array([0.5], np.float32))
    size = tail.binary("SUB", high, low)
    solid = tail.binary("MINIMUM", tail.binary("MUL", size, np.array([1 / _LEAST], np.float32)), one)
    inside = tail.binary("MUL", *(tail.gather(solid, [i]) for i in range(2)))
    size = tail.binary("MAXIMUM", size, np.array([_LEAST], np.float32))
    return tail.concatenate([middle, tail.unary("LOG", size)], axis=2), inside
