"""Scores to act on: from which score on the detections of a file are worth showing, as it was measured on that file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# What sliders can be set to.
STEPS = tuple(step / 100 for step in range(1, 100))
# A threshold that moves by more than this from one file to another is worth a word.
MOVED = 0.05


@dataclass(frozen=True)
class Cut:
    """The threshold with the best F1, of a class or of all.

    Attributes:
        threshold: one of STEPS; detections score more than this.
        f1: there, 0..1: 2 x found / (found + missed + found again or where nothing is, twice found).
        precision: there, 0..1.
        recall: there, 0..1.
        boxes: that there were to find.
    """

    threshold: float
    f1: float
    precision: float
    recall: float
    boxes: int


@dataclass(frozen=True)
class Thresholds:
    """Where the scores of a file are best cut.

    Attributes:
        all: of all classes, each box counting alike: nms.score_threshold of the contract.
        classes: of each class by its number; None of one without boxes, or of which nothing was found.
        images: on which this was measured.
        iou: above which a detection has found a box.
    """

    all: Cut
    classes: tuple[Cut | None, ...]
    images: int
    iou: float = 0.5


def check(thresholds: Thresholds, n_classes: int) -> None:
    """Raise ValueError unless they can be those of a file with so many classes."""
    if len(thresholds.classes) != n_classes:
        raise ValueError(f"thresholds.classes: must be {n_classes}, as the labels are, got {len(thresholds.classes)}")
    for cut in (thresholds.all, *thresholds.classes):
        if cut is not None and not all(0 <= share <= 1 for share in (cut.threshold, cut.f1, cut.precision, cut.recall)):
            raise ValueError(f"thresholds: must be in 0..1, got {cut}")


def moved(one: Thresholds, other: Thresholds, labels: Sequence[str]) -> list[tuple[str, Cut, Cut]]:
    """What has another threshold in `other` than in `one`, by more than MOVED: "all classes" and names."""
    pairs = [("all classes", one.all, other.all), *zip(labels, one.classes, other.classes, strict=True)]
    return [(name, a, b) for name, a, b in pairs if a and b and round(abs(a.threshold - b.threshold), 2) > MOVED]


def said(moved: Sequence[tuple[str, Cut, Cut]]) -> str:
    """What `moved` found from a float32 to an int8 file, in a line; of many classes those that moved most."""
    most = sorted(moved, key=lambda each: (each[0] != "all classes", -abs(each[1].threshold - each[2].threshold)))
    told = [f"{name} from {a.threshold:g} to {b.threshold:g} ({b.boxes} boxes)" for name, a, b in most[:5]]
    more = f", and {len(most) - 5} more" if len(most) > 5 else ""
    return f"the score with the best F1 moves by more than {MOVED} from float32 to int8: {', '.join(told)}{more}"
