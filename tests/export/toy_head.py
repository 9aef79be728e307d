"""A detection head in one file: every cell says how far the sides of its box are, and of which class it is.

Both of its sides are here, the training's and the file's; `tests/extending/test_head.py` adds them with a line each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micro_yolo.model.heads.base import Head, Losses, Outputs
from micro_yolo.model.heads.part import Part as TrainedPart
from micro_yolo.model.heads.part import Tensor
from micro_yolo.model.row import DetectionRow
from micro_yolo.tflite.arithmetic import Arithmetic
from micro_yolo.tflite.heads.base import Candidates, Coding, GridLike, Grids, Part, clipped

NAME = "cell-sides/1"
# A side is at most this many cells from the centre of the cell that answers.
REACH = 6.0


@dataclass(frozen=True)
class Settings:
    """Weights of the two losses."""

    sides: float = 4.0
    classes: float = 1.0


class Cells(Head):
    """Left, top, right and bottom of a box from the centre of the cell that its own centre lies in; no anchors."""

    op = "cells"
    coding = NAME
    parts = (
        TrainedPart("sides", "ltrb", 4, lambda classes: -1.5),
        TrainedPart("classes", "cls", None, lambda classes: -4.0),
    )
    losses = ("sides", "classes")
    settings = Settings()

    def loss(
        self,
        outputs: Outputs,
        boxes_xyxy: Tensor,
        classes: Tensor,
        rows: Sequence[DetectionRow],
        settings: Any,
        assign: Any = None,
    ) -> Losses:
        """|sides| where a box has its centre, cross-entropy of classes everywhere, both by the number of boxes."""
        from micro_yolo.model.keras import tf

        boxes, real = tf.cast(boxes_xyxy, tf.float32), tf.cast(classes >= 0, tf.float32)
        sums = {"sides": tf.constant(0.0), "classes": tf.constant(0.0)}
        for row in rows:
            parts = outputs[row.row_name]
            shape = tf.shape(parts["classes"])
            last = tf.cast(tf.stack([shape[2], shape[1]]) - 1, tf.float32)
            cell = tf.clip_by_value(tf.floor((boxes[..., :2] + boxes[..., 2:]) / (2 * row.stride)), 0.0, last)
            middle = (cell + 0.5) * row.stride
            sides = tf.concat([middle - boxes[..., :2], boxes[..., 2:] - middle], axis=-1) / (REACH * row.stride)
            at = tf.cast(tf.stack([cell[..., 1], cell[..., 0]], axis=-1), tf.int32)
            said = tf.sigmoid(tf.gather_nd(tf.cast(parts["sides"], tf.float32), at, batch_dims=1))
            sums["sides"] += tf.reduce_sum(tf.abs(said - tf.clip_by_value(sides, 0.0, 1.0)) * real[..., None])
            image = tf.repeat(tf.range(shape[0])[:, None], tf.shape(at)[1], axis=1)
            index = tf.concat([image[..., None], at, tf.maximum(tf.cast(classes, tf.int32), 0)[..., None]], axis=-1)
            wanted = tf.tensor_scatter_nd_max(tf.zeros(shape), tf.reshape(index, (-1, 4)), tf.reshape(real, (-1,)))
            logits = tf.cast(parts["classes"], tf.float32)
            sums["classes"] += tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits))
        means = {name: value / tf.maximum(tf.reduce_sum(real), 1.0) for name, value in sums.items()}
        return {"total": settings.sides * means["sides"] + settings.classes * means["classes"], **means}

    def divergence(self, said: Outputs, logits: Outputs, settings: Any) -> Tensor:
        """Mean square of what the sigmoids are apart."""
        from micro_yolo.model.keras import tf

        apart = [
            tf.reduce_mean((tf.sigmoid(x) - tf.sigmoid(logits[row][part])) ** 2)
            for row, parts in said.items()
            for part, x in parts.items()
        ]
        return tf.add_n(apart)


class CellSides(Coding):
    """With s the sigmoids of a cell (i, j): left = (j + 0.5 - REACH s0) stride, and so on; the score is the class's."""

    name = NAME
    parts = (Part("sides", 4, "Distances to the sides"), Part("classes", None, "Class probabilities"))

    def candidates(self, grids: Grids, row: GridLike, size: tuple[int, int], score_threshold: float) -> Candidates:
        """In the order row, column, class."""
        i, j, category = np.nonzero(grids["classes"] > score_threshold)
        reach = grids["sides"][i, j] * REACH
        middle = np.stack([j, i], axis=1) + 0.5
        corners = np.concatenate([middle - reach[:, :2], middle + reach[:, 2:]], axis=1) * row.stride
        return corners.astype(np.float32), grids["classes"][i, j, category], category.astype(np.int32)

    def tail(
        self,
        math: Arithmetic,
        grids: Mapping[str, Mapping[str, int]],
        rows: Sequence[GridLike],
        size: tuple[int, int],
        n_classes: int,
    ) -> tuple[int, int]:
        """Centre and half the size of each box in shares of the input, then clipped."""
        low, high, scores, middles = [], [], [], []
        for row in rows:
            height, width = size[0] // row.stride, size[1] // row.stride
            cells = height * width
            floats = {part: math.floats(index) for part, index in grids[row.row_name].items()}
            share = np.array([REACH * row.stride / side for side in (size[1], size[0]) * 2], np.float32)
            sides = math.reshape(math.binary("MUL", floats["sides"], share), (1, cells, 4))
            low.append(math.gather(sides, [1, 0]))
            high.append(math.gather(sides, [3, 2]))
            scores.append(math.reshape(floats["classes"], (1, cells, n_classes)))
            y, x = np.mgrid[:height, :width]
            middles.append(np.stack([(y + 0.5) / height, (x + 0.5) / width], axis=-1).reshape(-1, 2))
        before, after = math.concatenate(low), math.concatenate(high)
        half_of = np.array([0.5], np.float32)
        half = math.binary("MUL", math.binary("ADD", before, after), half_of)
        moved = math.binary("MUL", math.binary("SUB", after, before), half_of)
        centre = math.binary("ADD", moved, np.concatenate(middles).astype(np.float32)[None])
        coded, inside = clipped(math, centre, half)
        return coded, math.binary("MUL", math.concatenate(scores), inside)
