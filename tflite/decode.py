"""Raw output grids -> boxes, by NumPy: one decoder for Keras outputs and .tflite files, the reference for the app's.

Box coding, with s = the sigmoid the network puts out, cell (i, j) of a grid of stride S, anchor (aw, ah) in pixels:
cx = (j + 2 s0 - 0.5) S, cy = (i + 2 s1 - 0.5) S, w = aw exp(4 s2 - 2), h = ah exp(4 s3 - 2). Every value is bounded,
so int8 outputs all have scale 1/256. Channels are anchor-major. A candidate is a (box, class) pair, its score
objectness x class probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Grids = tuple[np.ndarray, np.ndarray, np.ndarray]


class Head(Protocol):
    """A detection grid: pixels per cell, and the (width, height) of its anchors in pixels."""

    @property
    def stride(self) -> int:
        """Input pixels per cell."""
        ...

    @property
    def anchors(self) -> Sequence[tuple[float, float]]:
        """(width, height) in pixels of the input."""
        ...


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


def decode(
    outputs: Sequence[Grids],
    heads: Sequence[Head],
    size: tuple[int, int],
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    pre_nms: int = 1000,
) -> Detections:
    """Boxes of one image.

    Args:
        outputs: per head boxes (h, w, A*4), objectness (h, w, A) and classes (h, w, A*C): floats after the sigmoid.
        heads: in the order of `outputs`.
        size: (height, width) of the model's input; boxes are clipped to it.
        score_threshold: candidates must score more than this.
        iou_threshold: of two boxes of a class that overlap more than this, the lower one goes.
        max_detections: at most this many come back.
        pre_nms: at most this many candidates, the best, reach the suppression. Equal scores keep the order
            head, row, column, anchor, class.

    Raises:
        ValueError: the grids do not fit the heads or the size.
    """
    if len(outputs) != len(heads):
        raise ValueError(
            f"decode: needs one (boxes, objectness, classes) per head, got {len(outputs)} for {len(heads)}"
        )
    found = [_candidates(grids, head, size, score_threshold) for grids, head in zip(outputs, heads, strict=True)]
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
    overlaps = iou(boxes_xyxy, boxes_xyxy) > iou_threshold
    overlaps &= classes[:, None] == classes[None, :]
    alive = np.ones(len(boxes_xyxy), bool)
    keep: list[int] = []
    for index in range(len(boxes_xyxy)):
        if not alive[index]:
            continue
        keep.append(index)
        if len(keep) == max_detections:
            break
        alive &= ~overlaps[index]
    return np.array(keep, np.int64)


def iou(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Overlap over union of every box of a (n, 4) with every box of b (m, 4): (n, m)."""
    corner = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    extent = np.clip(np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:]) - corner, 0, None)
    common = extent[..., 0] * extent[..., 1]
    areas_a, areas_b = ((b[:, 2:] - b[:, :2]).prod(axis=1) for b in (a_xyxy, b_xyxy))
    return common / np.maximum(areas_a[:, None] + areas_b[None, :] - common, 1e-9)


def _candidates(
    grids: Grids, head: Head, size: tuple[int, int], score_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4), scores (n,) and classes (n,) above the threshold, unsorted and unclipped."""
    boxes, objectness, classes = grids
    count = len(head.anchors)
    height, width = boxes.shape[:2]
    n_classes = classes.shape[-1] // count
    expected = [(height, width, count * n) for n in (4, 1, n_classes)]
    if [grid.shape for grid in grids] != expected or (height * head.stride, width * head.stride) != tuple(size):
        raise ValueError(
            f"decode: grids of shape {', '.join(str(grid.shape) for grid in grids)} do not fit stride {head.stride}, "
            f"{count} anchors and size {tuple(size)}; allowed: (h, w, anchors * (4 | 1 | classes))"
        )
    objectness = np.asarray(objectness, np.float32).reshape(-1)
    # A score is at most its objectness, so most cells never need their classes looked at.
    likely = np.flatnonzero(objectness > score_threshold)
    scores = objectness[likely, None] * np.asarray(classes, np.float32).reshape(-1, n_classes)[likely]
    which, category = np.nonzero(scores > score_threshold)
    cell = likely[which]
    coded = np.asarray(boxes, np.float32).reshape(-1, 4)[cell]
    anchors = np.asarray(head.anchors, np.float32).reshape(-1, 2)[cell % count]
    column, row = (cell // count) % width, cell // count // width
    centre = (np.stack([column, row], axis=1) + 2 * coded[:, :2] - 0.5) * head.stride
    half = anchors * np.exp(4 * coded[:, 2:] - 2) / 2
    corners = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    return corners, scores[which, category], category.astype(np.int32)
