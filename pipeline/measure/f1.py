"""Where the scores of a detector are best cut: F1 of each class and of all, at each threshold that a slider has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from micro_yolo.pipeline.measure.matching import IN_CROWD, IOU, Laid, lay, matched
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.tflite.contract import Nms
from micro_yolo.tflite.thresholds import STEPS, Cut, Thresholds

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.tflite.detector import Detector

UNMEASURED = f"the score threshold stays at {Nms.score_threshold}, not measured: {{}}"


def measured_on(detector: Detector, dataset: Dataset, count: int, show: Show) -> Thresholds | None:
    """`thresholds` of what a file finds on at most `count` validation images, drawn by a seed; None is warned of."""
    from micro_yolo.pipeline.measure.finders import OurFile
    from micro_yolo.pipeline.measure.metrics import SCORE_THRESHOLD, look

    variant, split = detector.contract.variant, dataset.splits["val"]
    split = split.drawn(count, 0)
    try:
        with show.bar(f"measuring scores, {variant}", len(split)) as advance:
            seen = look(OurFile(detector, SCORE_THRESHOLD), split, dataset, advance=advance)
    except ValueError as error:
        show.warn(UNMEASURED.format(error))
        return None
    found = thresholds(lay(seen.split, dataset.category_ids, seen.results), len(detector.labels))
    if found is None:
        show.warn(UNMEASURED.format(f"the {variant} file finds nothing on {len(split)} validation images"))
    return found


def thresholds(laid: Laid, n_classes: int) -> Thresholds | None:
    """The thresholds with the best F1, by boxes that were found at IoU 0.5; None if none was found."""
    split = laid.split
    rows = matched(laid)
    boxes = np.bincount(split.classes[~split.crowd], minlength=n_classes)
    found = _above(laid.classes[rows >= 0], laid.scores[rows >= 0], n_classes)
    told = _above(laid.classes[rows != IN_CROWD], laid.scores[rows != IN_CROWD], n_classes)
    everything = _best(found.sum(axis=0), told.sum(axis=0), int(boxes.sum()))
    if everything is None:
        return None
    classes = tuple(_best(found[number], told[number], int(boxes[number])) for number in range(n_classes))
    return Thresholds(everything, classes, len(split), IOU)


def _above(classes: np.ndarray, scores: np.ndarray, n_classes: int) -> np.ndarray:
    """How many detections of each class score more than each of STEPS: int64 (classes, steps)."""
    steps = len(STEPS)
    passed = np.searchsorted(np.array(STEPS), scores, side="left")
    counts = np.bincount(classes * (steps + 1) + passed, minlength=n_classes * (steps + 1))
    return counts.reshape(n_classes, steps + 1)[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]


def _best(found: np.ndarray, told: np.ndarray, boxes: int) -> Cut | None:
    """The best of STEPS, by how many detections at each found a box, and how many there were."""
    f1 = 2 * found / np.maximum(told + boxes, 1)
    if not boxes or f1.max() == 0:
        return None
    # Of all that are as good the middle of the longest run, where least depends on the pictures.
    edges = np.flatnonzero(np.diff(np.concatenate([[False], f1 == f1.max(), [False]]).astype(int)))
    first, last = max(edges.reshape(-1, 2), key=lambda run: run[1] - run[0]).tolist()
    at = (first + last) // 2
    best, precision, recall = (round(float(n), 4) for n in (f1[at], found[at] / told[at], found[at] / boxes))
    return Cut(STEPS[at], best, precision, recall, boxes)
