"""YOLO's head with anchors: boxes within a range around an anchor, coded by sigmoids.

A box is a sigmoid's four values x, y, w, h: centre = (cell + 2 xy - 0.5) stride, sides = anchor exp(4 wh - 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from micro_yolo.model.anchors import class_weights, fit_anchors, fit_quality, share_out
from micro_yolo.model.check_json import BEFORE, number
from micro_yolo.model.heads.base import Head, Losses, Outputs, Table
from micro_yolo.model.heads.part import Part, Tensor
from micro_yolo.model.row import DetectionRow, Row

if TYPE_CHECKING:
    from micro_yolo.model.heads.assign import Assign

AnyTable = TypeVar("AnyTable", bound=Table)
# Logits of boxes: sides from 0.15 to 6.6 times an anchor's, centres up to 0.44 cells outside of a cell. Steps that are
# spent on what lies beyond are missing where boxes are.
_BOXES = (-3.5, 3.5)


def _check_number(name: str, value: Any, least: int) -> None:
    if not number(value) or value < least:
        raise ValueError(f"loss.{name}: must be a number of at least {least}, got {value!r}")


@dataclass(frozen=True)
class Settings:
    """Of the loss and its assigner.

    Attributes:
      box: weight of 1 - CIoU.
      objectness: weight of its binary cross-entropy.
      classes: weight of theirs.
      classes_first: while classes are not learned, boxes weigh half of that and classes five times as much. They are
        when their loss is one in so many of what a network has that knows nothing; the weights go over to that from
        twice as much on. 0: always.
      fit_ratio: a box and an anchor fit when no side is this many times the other's, or more.
    """

    box: float = 10.0
    objectness: float = 1.0
    classes: float = 1.0
    classes_first: float = field(default=6.0, metadata={BEFORE: 0.0})
    fit_ratio: float = 2.5

    def __post_init__(self) -> None:
        for name in ("box", "objectness", "classes", "classes_first"):
            _check_number(name, getattr(self, name), 0)
        _check_number("fit_ratio", self.fit_ratio, 1)


class Yolo(Head):
    """Per anchor a box, its objectness and its classes.

    Three 1x1 convolutions where the papers have one, the same parameters: an int8 tensor has one scale, and scores that
    share theirs with boxes die.
    """

    op = "detect"
    coding = "yolo-sigmoid-exp4/1"
    fields = ("anchors",)
    # Near-empty grids: a prior of 1 % keeps the first steps from being all about background (RetinaNet, section 4.1).
    parts = (
        Part("boxes", "box", 4, lambda classes: 0.0, _BOXES),
        Part("objectness", "obj", 1, lambda classes: -4.6),
        Part("classes", "cls", None, lambda classes: math.log(0.6 / (classes - 0.99))),
    )
    losses = ("box", "objectness", "classes")
    settings = Settings()

    def check(self, row: Row, where: str) -> None:
        """There are anchors, and they have sides."""
        if not row.anchors:
            raise ValueError(f"{where}: detect needs anchors, got none")
        for anchor in row.anchors:
            if len(anchor) != 2 or not all(number(side) and side > 0 for side in anchor):
                raise ValueError(f"{where}: an anchor is (width, height) in pixels above 0, got {anchor!r}")

    def predictions(self, row: Row) -> int:
        """One an anchor."""
        return len(row.anchors)

    def loss(
        self,
        outputs: Outputs,
        boxes_xyxy: Tensor,
        classes: Tensor,
        rows: Sequence[DetectionRow],
        settings: Settings,
        assign: Assign | None = None,
    ) -> Losses:
        """1 - CIoU (arXiv 2005.03572, as keras-cv has it) and binary cross-entropies, see `model.heads.anchor_loss`."""
        from micro_yolo.model.heads import anchor_loss
        from micro_yolo.model.heads.assign import by_shape

        return anchor_loss.loss(outputs, boxes_xyxy, classes, rows, settings, assign or by_shape)

    def divergence(self, said: Outputs, logits: Outputs, settings: Settings) -> Tensor:
        """Objectness everywhere, boxes and classes where there is an object; see `model.heads.anchor_loss`."""
        from micro_yolo.model.heads import anchor_loss

        return anchor_loss.divergence(said, logits, settings)

    def fit(self, table: AnyTable, shapes: np.ndarray, classes: np.ndarray, seed: int) -> tuple[AnyTable, str]:
        """Anchors clustered from the boxes, see `model.anchors`; the finest grid gets the smallest."""
        rows = table.detections
        counts = [len(row.anchors) for row in rows]
        anchors = fit_anchors(shapes, sum(counts), weights=class_weights(classes), seed=seed)
        published = [anchor for row in rows for anchor in row.anchors]
        sentence = (
            f"anchors: mean IoU with the best {fit_quality(shapes, anchors):.2f}, published "
            f"{fit_quality(shapes, published):.2f}"
        )
        return table.with_anchors(share_out(anchors, [row.stride for row in rows], counts)), sentence
