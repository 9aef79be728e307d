"""Boxes beside anchors, objectness and class probabilities: the reference for the app's decoder.

With s = the sigmoid the network puts out, cell (i, j) of a grid of stride S, anchor (aw, ah) in pixels:
cx = (j + 2 s0 - 0.5) S, cy = (i + 2 s1 - 0.5) S, w = aw exp(4 s2 - 2), h = ah exp(4 s3 - 2). Every value is bounded,
so int8 outputs all have scale 1/256. Channels are anchor-major. A candidate is a (box, class) pair, its score
objectness x class probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from micro_yolo.tflite.arithmetic import Arithmetic
from micro_yolo.tflite.heads.base import Candidates, Coding, GridLike, Grids, Part, clipped


class Yolo(Coding):
    """4 + 1 + classes values for each anchor."""

    name = "yolo-sigmoid-exp4/1"
    parts = (
        Part("boxes", 4, "Coded boxes, anchor-major; the contract has the anchors"),
        Part("objectness", 1, "Whether there is an object, anchor-major"),
        Part("classes", None, "Class probabilities, anchor-major"),
    )

    def predictions(self, row: GridLike) -> int:
        """One for each anchor."""
        return len(row.anchors)

    def candidates(self, grids: Grids, row: GridLike, size: tuple[int, int], score_threshold: float) -> Candidates:
        """In the order row, column, anchor, class."""
        count, width = len(row.anchors), grids["boxes"].shape[1]
        n_classes = grids["classes"].shape[-1] // count
        objectness = np.asarray(grids["objectness"], np.float32).reshape(-1)
        # A score is at most its objectness, so most cells never need their classes looked at.
        likely = np.flatnonzero(objectness > score_threshold)
        probabilities = np.asarray(grids["classes"], np.float32).reshape(-1, n_classes)[likely]
        scores = objectness[likely, None] * probabilities
        which, category = np.nonzero(scores > score_threshold)
        cell = likely[which]
        coded = np.asarray(grids["boxes"], np.float32).reshape(-1, 4)[cell]
        anchors = np.asarray(row.anchors, np.float32).reshape(-1, 2)[cell % count]
        j, i = (cell // count) % width, cell // count // width
        centre = (np.stack([j, i], axis=1) + 2 * coded[:, :2] - 0.5) * row.stride
        half = anchors * np.exp(4 * coded[:, 2:] - 2) / 2
        corners = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        return corners, scores[which, category], category.astype(np.int32)

    def tail(
        self,
        math: Arithmetic,
        grids: Mapping[str, Mapping[str, int]],
        rows: Sequence[GridLike],
        size: tuple[int, int],
        n_classes: int,
    ) -> tuple[int, int]:
        """The integers of the grids, each with its own scale, are read as they are: boxes and scores share no range."""
        boxes, objectness, classes, centres, halves = [], [], [], [], []
        for row in rows:
            height, width = size[0] // row.stride, size[1] // row.stride
            cells = height * width * len(row.anchors)
            floats = {part: math.floats(index) for part, index in grids[row.row_name].items()}
            unit = math.binary("SUB", floats["boxes"], np.array([0.5], np.float32))
            scaled = math.binary("MUL", unit, _scales(row, size))
            boxes.append(math.reshape(scaled, (1, cells, 4)))
            objectness.append(math.reshape(floats["objectness"], (1, cells, 1)))
            classes.append(math.reshape(floats["classes"], (1, cells, n_classes)))
            centres.append(_centres(height, width, len(row.anchors)))
            halves.append(np.tile(_halves(row, size), (height * width, 1)))
        moved = math.concatenate(boxes)
        centre = math.binary("ADD", math.gather(moved, [1, 0]), np.concatenate(centres)[None])
        half = math.binary("MUL", math.unary("EXP", math.gather(moved, [3, 2])), np.concatenate(halves)[None])
        coded, inside = clipped(math, centre, half)
        # What lies outside the picture altogether scores 0.
        objectness_inside = math.binary("MUL", math.concatenate(objectness), inside)
        return coded, math.binary("MUL", math.concatenate(classes), objectness_inside)


def _scales(row: GridLike, size: tuple[int, int]) -> np.ndarray:
    """float32 (A*4,): what (s - 0.5) is multiplied by, in the order x, y, width, height."""
    height, width = size
    each = (2 * row.stride / width, 2 * row.stride / height, 4, 4)
    return np.array(each * len(row.anchors), np.float32)


def _centres(rows: int, columns: int, count: int) -> np.ndarray:
    """float32 (rows * columns * count, 2): y and x of the cells' centres in 0..1 of the input."""
    y, x = np.mgrid[:rows, :columns]
    cells = np.stack([(y + 0.5) / rows, (x + 0.5) / columns], axis=-1).reshape(-1, 2)
    return cells.repeat(count, axis=0).astype(np.float32)


def _halves(row: GridLike, size: tuple[int, int]) -> np.ndarray:
    """float32 (A, 2): half the height and width of the anchors, in 0..1 of the input."""
    height, width = size
    return np.array([(h / height / 2, w / width / 2) for w, h in row.anchors], np.float32)


CODING = Yolo()
