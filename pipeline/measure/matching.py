"""Which detection found which true box, as COCO pairs them: best first, each box once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micro_yolo.pipeline.data import Split
from micro_yolo.pipeline.measure.results import gathered
from micro_yolo.tflite.decode import iou

IOU = 0.5
# In place of a true box: nothing was there, or it lies in a crowd, where it neither counts for nor against.
NOTHING, IN_CROWD = -1, -2


@dataclass(frozen=True, eq=False)
class Laid:
    """k detections beside the boxes of a split, image by image, best first; those of image i are starts[i]:starts[i+1].

    Shapes: boxes_xyxy float64 (k, 4) pixels of the recorded size, scores float64 (k,), classes int64 (k,) as the split
    numbers them, images int64 (k,), starts int64 (n + 1,).
    """

    split: Split
    boxes_xyxy: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    images: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> Laid:
        """Those that score more."""
        keep = self.scores > threshold
        images = self.images[keep]
        starts = np.searchsorted(images, np.arange(len(self.split) + 1))
        return Laid(self.split, self.boxes_xyxy[keep], self.scores[keep], self.classes[keep], images, starts)

    def overlaps(self) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Of each image with detections and boxes: its detections, its boxes, and their IoU (detections, boxes).

        With a crowd it is the share of the detection that lies in it.
        """
        counts = np.diff(self.starts) * np.diff(self.split.starts)
        for image in np.flatnonzero(counts).tolist():
            mine, true = slice(int(self.starts[image]), int(self.starts[image + 1])), self.split.rows(image)
            boxes, truth = self.boxes_xyxy[mine], self.split.boxes_xyxy[true].astype(np.float64)
            overlap = iou(boxes, truth)
            crowd = self.split.crowd[true]
            if crowd.any():
                overlap[:, crowd] = _inside(boxes, truth[crowd])
            yield mine, true, overlap


def lay(split: Split, category_ids: Sequence[int], results: Sequence[Mapping[str, Any]]) -> Laid:
    """Detections beside the boxes of `split`; what is of another image or class is left out.

    Args:
        split: the ground truth.
        category_ids: the source's id of each class.
        results: detections, or records in COCO's results format.
    """
    found = gathered(results)
    images, known = _places(split.image_ids, found.image_ids)
    classes, named = _places(np.asarray(category_ids, np.int64), found.category_ids)
    keep = np.flatnonzero(known & named)
    order = keep[np.lexsort((-found.scores[keep], images[keep]))]
    boxes = found.boxes_xywh[order].astype(np.float64)
    boxes[:, 2:] += boxes[:, :2]
    starts = np.searchsorted(images[order], np.arange(len(split) + 1))
    return Laid(split, boxes, found.scores[order], classes[order], images[order], starts)


def matched(laid: Laid, least: float = IOU, *, any_class: bool = False) -> np.ndarray:
    """For each detection the row of the box that it found, NOTHING or IN_CROWD: int64 (k,).

    Best first, each takes the box that it overlaps most, of those that none before took, if by `least` or more.

    Args:
        laid: detections and boxes.
        least: IoU.
        any_class: boxes of every class can be found, not only those of the detection's own.
    """
    rows = np.full(len(laid), NOTHING)
    for mine, true, overlap in laid.overlaps():
        fits = overlap >= least
        if not any_class:
            fits &= laid.classes[mine, None] == laid.split.classes[None, true]
        crowd = laid.split.crowd[true]
        free = ~crowd
        for number in np.flatnonzero(fits.any(axis=1)).tolist():
            open_ = fits[number] & free
            if open_.any():
                best = int(np.where(open_, overlap[number], -1).argmax())
                free[best] = False
                rows[mine.start + number] = true.start + best
            elif (fits[number] & crowd).any():
                rows[mine.start + number] = IN_CROWD
    return rows


def _places(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `asked` is among `known`, and whether it is."""
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known, asked, sorter=order), len(known) - 1)
    places = order[at] if len(known) else np.zeros(len(asked), np.int64)
    return places, known[places] == asked if len(known) else np.zeros(len(asked), bool)


def _inside(boxes_xyxy: np.ndarray, crowd_xyxy: np.ndarray) -> np.ndarray:
    low = np.maximum(boxes_xyxy[:, None, :2], crowd_xyxy[None, :, :2])
    common = np.clip(np.minimum(boxes_xyxy[:, None, 2:], crowd_xyxy[None, :, 2:]) - low, 0, None).prod(axis=2)
    areas = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)
    return common / np.maximum(areas[:, None], 1e-9)
