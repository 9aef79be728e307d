"""Labels that a detector doubts: what it is sure of and nobody labelled, and what was labelled and it never sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from micro_yolo.pipeline.measure.matching import IOU, Laid
from micro_yolo.pipeline.measure.misses import APART, BACKGROUND, Sorted

UNLABELLED, OTHER_CLASS, OTHER_SHAPE, UNSEEN = "no box", "another class", "another shape", "never found"
# A detection that fits its box worse is asked about the box.
_FITS = 0.7


@dataclass(frozen=True)
class Suspect:
    """A label to look at.

    Attributes:
        file: of the picture.
        kind: UNLABELLED, OTHER_CLASS, OTHER_SHAPE or UNSEEN.
        doubt: 0..1, how sure the detector is: of nothing else is it more than of its score.
        label: of the box; None where there is none.
        box_xyxy: of the box, pixels of the recorded size; None where there is none.
        found: what the detector says; None where it says nothing.
        score: of that.
        found_xyxy: of that.
        image: its place in the split.
    """

    file: str
    kind: str
    doubt: float
    label: str | None
    box_xyxy: list[float] | None
    found: str | None
    score: float | None
    found_xyxy: list[float] | None
    image: int


def suspects(laid: Laid, names: Sequence[str], sorted_: Sorted, least: float) -> list[Suspect]:
    """Labels in doubt, most first.

    Args:
        laid: detections and boxes.
        names: of the classes.
        sorted_: `misses.sort` of them.
        least: detections that score more are believed.
    """
    split, found = laid.split, []
    shown = laid.scores > least
    recall = _recall(laid, sorted_.rows, shown, len(names))

    def add(kind: str, doubt: float, image: int, box: int | None, detection: int | None) -> None:
        found.append(
            Suspect(
                str(split.files[image]),
                kind,
                round(doubt, 4),
                None if box is None else names[split.classes[box]],
                None if box is None else split.boxes_xyxy[box].astype(float).round(1).tolist(),
                None if detection is None else names[laid.classes[detection]],
                None if detection is None else round(float(laid.scores[detection]), 4),
                None if detection is None else laid.boxes_xyxy[detection].round(1).tolist(),
                image,
            )
        )

    for number in np.flatnonzero(shown & (sorted_.kinds == BACKGROUND)).tolist():
        add(UNLABELLED, float(laid.scores[number]), int(laid.images[number]), None, number)
    # Of pictures without a detection every box is unseen.
    best = np.zeros(len(split.classes))
    for mine, true, overlap in laid.overlaps():
        scores, classes, image = laid.scores[mine], laid.classes[mine], int(laid.images[mine.start])
        best[true] = np.where(overlap >= APART, scores[:, None], 0).max(axis=0)
        own = classes[:, None] == split.classes[None, true]
        for place in np.flatnonzero(~split.crowd[true]).tolist():
            row = true.start + place
            right = np.where(own[:, place] & (overlap[:, place] >= IOU), scores, 0).max()
            wrong = np.where(~own[:, place] & (overlap[:, place] >= IOU), scores, 0)
            # What is another box's own detection says nothing of this one.
            wrong = np.where(sorted_.rows[mine] >= 0, 0, wrong)
            at = int(wrong.argmax())
            if wrong[at] > max(least, right):
                add(OTHER_CLASS, float(wrong[at] - right), image, row, mine.start + at)
            near = np.where(own[:, place], overlap[:, place], 0)
            near = np.where((sorted_.rows[mine] == row) | (sorted_.mendable[mine] == row), near, 0)
            at = int((near * scores).argmax())
            if APART < near[at] < _FITS and scores[at] > least:
                add(OTHER_SHAPE, float(scores[at] * (1 - near[at])), image, row, mine.start + at)
    owner = np.repeat(np.arange(len(split)), np.diff(split.starts))
    for row in np.flatnonzero(~split.crowd & (best <= least)).tolist():
        doubt = recall[split.classes[row]] * (1 - best[row])
        if doubt > 0:
            add(UNSEEN, float(doubt), int(owner[row]), row, None)
    return sorted(found, key=lambda each: -each.doubt)


def _recall(laid: Laid, rows: np.ndarray, shown: np.ndarray, n_classes: int) -> np.ndarray:
    """The share of each class's boxes that is found: (classes,). A box unseen of a class that is always seen is odd."""
    split = laid.split
    hits = np.bincount(split.classes[rows[(rows >= 0) & shown]], minlength=n_classes)
    return hits / np.maximum(np.bincount(split.classes[~split.crowd], minlength=n_classes), 1)
