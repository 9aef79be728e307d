"""Decoding and suppression inside the file: the body of a raw .tflite as it is, and behind its grids the arithmetic of
its coding in float32 up to the TFLite_Detection_PostProcess operator, which every TFLite runtime brings along.

That operator takes boxes coded as for SSD: centre = coded x anchor size + anchor centre, size = anchor size x
exp(coded). Boxes are decoded and clipped to the picture in front of it, as in `tflite.decode`, and given to it as
centre and logarithm of the size, for an anchor of size 1 at 0. (It could decode them by itself, but it does not clip,
and MediaPipe then moves what reaches beyond the upper or left edge.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_yolo.tflite import heads, inspect
from micro_yolo.tflite.arithmetic import Arithmetic
from micro_yolo.tflite.edit import SIGNATURE, Graph, view_of
from micro_yolo.tflite.heads import GridLike

OPERATOR = "TFLite_Detection_PostProcess"
# What contracts call the coding of these outputs.
CODING = "detections/1"
# The names of the TensorFlow object detection API, in the order of the operator's outputs.
OUTPUTS = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


def attach(
    data: bytes,
    rows: Sequence[GridLike],
    n_classes: int,
    *,
    coding: str = heads.IMPLIED,
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
        rows: its detection rows.
        n_classes: classes of each.
        coding: of its grids, one of tflite.heads.CODINGS.
        score_threshold: what scores less is left out.
        iou_threshold: of two boxes of a class that overlap more than this the weaker goes.
        max_detections: the most that come out, of all classes together and of each.

    Raises:
        ValueError: the outputs are not those of the rows.
    """
    graph, parsed, how = Graph.of(data), inspect.read(data), heads.find(coding)
    if len(graph.tree.subgraphs) != 1 or not parsed.signature_outputs:
        raise ValueError(f"head: the file must have one graph and the signature {SIGNATURE}")
    height, width = parsed.tensor(parsed.inputs[0]).shape[1:3]
    grids: dict[str, dict[str, int]] = {}
    for row in rows:
        grids[row.row_name] = {}
        for part, shape in how.shapes(row, (height, width), n_classes).items():
            name = f"{row.row_name}_{part}"
            index = parsed.signature_outputs.get(name)
            if index is None or parsed.tensor(index).shape != (1, *shape):
                raise ValueError(f"head: output {name} must have shape {[1, *shape]}")
            grids[row.row_name][part] = index
    math = Arithmetic(graph)
    boxes, scores = how.tail(math, grids, rows, (height, width), n_classes)
    anchors = np.tile(np.array([0, 0, 1, 1], np.float32), (graph.shape(boxes)[1], 1))
    n = max_detections
    outputs = math.custom(
        OPERATOR,
        [boxes, scores, math.constant("anchors", anchors)],
        [(1, n, 4), (1, n), (1, n), (1,)],
        {
            "max_detections": n,
            "max_classes_per_detection": 1,
            "detections_per_class": n,
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
class Told:
    """What the operator in a file was told."""

    n_classes: int
    score_threshold: float
    iou_threshold: float
    max_detections: int


def told(data: bytes) -> Told | None:
    """What the TFLite_Detection_PostProcess of a file was told; None if it has none. ValueError if it is garbled."""
    from flatbuffers import flexbuffers  # type: ignore[import-untyped]

    file = view_of(data)
    graphs = (file.Subgraphs(number) for number in range(file.SubgraphsLength()))
    for op in (graph.Operators(number) for graph in graphs for number in range(graph.OperatorsLength())):
        if file.OperatorCodes(op.OpcodeIndex()).CustomCode() != OPERATOR.encode():
            continue
        try:
            options = flexbuffers.Loads(op.CustomOptionsAsNumpy().tobytes())
            return Told(
                int(options["num_classes"]),
                float(options["nms_score_threshold"]),
                float(options["nms_iou_threshold"]),
                int(options["max_detections"]),
            )
        # Reading damaged offsets ends in struct.error, IndexError, KeyError, TypeError, ...
        except Exception as error:
            raise ValueError(f"the options of {OPERATOR} cannot be read ({type(error).__name__})") from None
    return None
