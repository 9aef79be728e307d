"""What is taken for what: the confusion matrix of a detector at one score."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from micro_yolo.pipeline.measure.matching import IOU, NOTHING, Laid, matched
from micro_yolo.pipeline.show import plots
from micro_yolo.pipeline.store import runs

BACKGROUND = "background"
# Of a picture: more classes cannot be read.
MOST_CLASSES = 80


@dataclass(frozen=True, eq=False)
class Confusion:
    """Counts of boxes and detections that were paired at IoU 0.5, whatever their classes.

    Attributes:
        names: of the C classes.
        threshold: detections score more than this.
        matrix: int64 (C + 1, C + 1): row is what is there, column what was found; the last row counts detections where
            nothing is, the last column boxes that were not found.
    """

    names: tuple[str, ...]
    threshold: float
    matrix: np.ndarray

    @property
    def labels(self) -> tuple[str, ...]:
        """Of rows and columns."""
        return (*self.names, BACKGROUND)

    @property
    def shares(self) -> np.ndarray:
        """Of each row: float64 (C + 1, C + 1) in 0..1."""
        return self.matrix / np.maximum(self.matrix.sum(axis=1, keepdims=True), 1)

    def mistakes(self) -> list[tuple[str, str, int]]:
        """What is there, what was found instead, and how often; the most frequent first."""
        wrong = self.matrix.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
        return [(self.labels[true], self.labels[found], int(wrong[true, found])) for true, found in pairs]

    def largest(self, most: int) -> Confusion:
        """The `most` classes with the most boxes and detections, in their order."""
        weight = self.matrix[:-1].sum(axis=1) + self.matrix[:, :-1].sum(axis=0)
        kept = np.sort(np.argsort(-weight, kind="stable")[:most])
        both = [*kept.tolist(), len(self.names)]
        return Confusion(tuple(self.names[n] for n in kept), self.threshold, self.matrix[np.ix_(both, both)])

    def write(self, path: Path) -> Path:
        """As JSON, a row of the matrix in a line. Raises OSError."""
        rows = ",\n".join(f"    {json.dumps(row)}" for row in self.matrix.tolist())
        facts = {"iou": IOU, "score_threshold": self.threshold, "rows": "what is there", "columns": "what was found"}
        head = json.dumps({**facts, "labels": self.labels}, indent=2, ensure_ascii=False)[:-2]
        return runs.write_atomic(path, f'{head},\n  "matrix": [\n{rows}\n  ]\n}}\n')


def confusion(laid: Laid, names: Sequence[str], threshold: float) -> Confusion:
    """The matrix of the detections above `threshold`; what lies in a crowd is left out."""
    shown, n = laid.above(threshold), len(names)
    rows, split = matched(shown, any_class=True), laid.split
    matrix = np.zeros((n + 1, n + 1), np.int64)
    found, alone = rows >= 0, rows == NOTHING
    np.add.at(matrix, (split.classes[rows[found]], shown.classes[found]), 1)
    np.add.at(matrix[n], shown.classes[alone], 1)
    missed = ~split.crowd
    missed[rows[found]] = False
    np.add.at(matrix[:, n], split.classes[missed], 1)
    return Confusion(tuple(names), threshold, matrix)


def draw(confusion: Confusion, title: str, path: Path) -> Path:
    """As a PNG: what was found over what is there, blue where right and red where wrong; of MOST_CLASSES at most."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    shown = confusion.largest(MOST_CLASSES)
    if len(shown.names) < len(confusion.names):
        title += f"; the {len(shown.names)} of {len(confusion.names)} classes with most boxes"
    # By the root, as most mistakes are a small share of a class.
    n, shares = len(shown.labels), np.sqrt(shown.shares)
    side = 3.5 + 0.42 * n if n <= 20 else 2.2 + 0.19 * n
    figure = Figure(figsize=(side, side), layout="constrained")
    axis = figure.subplots()
    right = np.arange(n)
    colours = colormaps["Reds"](0.7 * shares)
    colours[right, right] = colormaps["Blues"](shares[right, right])
    colours[shown.matrix == 0] = 1
    axis.imshow(colours)
    size = 9 if n <= 20 else 5.5
    for true, found in np.argwhere(shown.matrix).tolist():
        dark = shares[true, found] > (0.6 if true == found else 0.8)
        count = f"{shown.matrix[true, found]}"
        text = axis.text(found, true, count, ha="center", va="center", fontsize=size)
        text.set(color="white" if dark else "black", in_layout=False)
    labels = [_short(label) for label in shown.labels]
    axis.set_xticks(right, labels, rotation=90, fontsize=size + 1)
    axis.set_yticks(right, labels, fontsize=size + 1)
    axis.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axis.grid(which="minor", color="0.9", linewidth=0.5)
    axis.tick_params(which="minor", length=0)
    axis.axhline(n - 1.5, color="0.4", linewidth=1)
    axis.axvline(n - 1.5, color="0.4", linewidth=1)
    axis.set(xlabel="found", ylabel="there")
    axis.set_title(title, fontsize=10, wrap=True)
    return plots.save(figure, path, dpi=120 if n <= 40 else 150)


def _short(label: str) -> str:
    return label if len(label) <= 24 else f"{label[:23]}\N{HORIZONTAL ELLIPSIS}"
