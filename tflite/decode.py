"""Raw output grids -> boxes, by NumPy: one decoder for Keras outputs and .tflite files, the reference for the app's.

How the grids of a detection row are read says its coding, `tflite.heads`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from micro_yolo.tflite import heads
from micro_yolo.tflite.heads import GridLike

# Detection row -> part -> array.
Outputs = Mapping[str, Mapping[str, np.ndarray]]
# Candidates of a suppression that are compared at a time with those behind them.
_BLOCK = 64


@dataclass(frozen=True)
class Detections:
    """Found objects, best first.

    Attributes:
        boxes_xyxy: float32 (n, 4), pixels.
        scores: float32 (n,), 0..1.
        classes: int32 (n,).
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def enough(max_detections: int) -> int:
    """How many candidates must reach the suppression for so many detections to be left: `pre_nms` of `decode`."""
    return max(1000, 10 * max_detections)


def decode(
    outputs: Outputs,
    rows: Sequence[GridLike],
    size: tuple[int, int],
    *,
    coding: str = heads.IMPLIED,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    pre_nms: int = 1000,
) -> Detections:
    """Boxes of one image.

    Args:
        outputs: the grids of each row, part -> (h, w, channels): floats after the sigmoid.
        rows: the detection rows, in the network's order.
        size: (height, width) of the model's input; boxes are clipped to it.
        coding: of the grids, one of tflite.heads.CODINGS.
        score_threshold: candidates must score more than this.
        iou_threshold: of two boxes of a class that overlap more than this, the lower one goes.
        max_detections: at most this many come back.
        pre_nms: at most this many candidates, the best, reach the suppression. Equal scores keep the order
            of rows, and in a row that of its coding's candidates.

    Raises:
        ValueError: an unknown coding, or the grids do not fit the rows or the size.
    """
    how = heads.find(coding)
    wanted = [row.row_name for row in rows]
    if sorted(outputs) != sorted(wanted):
        raise ValueError(f"decode: needs the grids of {', '.join(wanted)}, got those of {', '.join(outputs)}")
    found = []
    for row in rows:
        how.check(outputs[row.row_name], row, size)
        found.append(how.candidates(outputs[row.row_name], row, size, score_threshold))
    scores = np.concatenate([scores for _, scores, _ in found])
    best = np.argsort(-scores, kind="stable")[:pre_nms]
    boxes = np.concatenate([boxes for boxes, _, _ in found])[best]
    scores = scores[best]
    classes = np.concatenate([classes for _, _, classes in found])[best]
    height, width = size
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    solid = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
    boxes, scores, classes = boxes[solid], scores[solid], classes[solid]
    keep = nms(boxes, classes, iou_threshold, max_detections)
    return Detections(boxes[keep], scores[keep], classes[keep])


def nms(boxes_xyxy: np.ndarray, classes: np.ndarray, iou_threshold: float, max_detections: int) -> np.ndarray:
    """Greedy suppression within each class; boxes (n, 4) come best first. Returns the kept indices, best first."""
    left = np.arange(len(boxes_xyxy))
    keep: list[int] = []
    # A block at a time: most of what comes later is gone, or has no place, before it is compared with anything.
    while len(left) and len(keep) < max_detections:
        block, later = left[:_BLOCK], left[_BLOCK:]
        overlaps = iou(boxes_xyxy[block], boxes_xyxy[left]) > iou_threshold
        overlaps &= classes[block, None] == classes[None, left]
        alive = np.ones(len(left), bool)
        for row in range(len(block)):
            if alive[row]:
                keep.append(int(block[row]))
                alive[row + 1 :] &= ~overlaps[row, row + 1 :]
        left = later[alive[_BLOCK:]]
    return np.array(keep[:max_detections], np.int64)


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Overlap over union of every box of a (n, 4) with every box of b (m, 4): (n, m)."""
    width, height = (
        np.clip(
            np.minimum(a_xyxy[:, None, i + 2], b_xyxy[:, i + 2]) - np.maximum(a_xyxy[:, None, i], b_xyxy[:, i]), 0, None
        )
        for i in (0, 1)
    )
    common = width * height
    areas_a, areas_b = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (a_xyxy, b_xyxy))
    return common / np.maximum(areas_a[:, None] + areas_b[None, :] - common, 1e-9)
