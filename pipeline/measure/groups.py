"""How many boxes are found, by how large they are, how close their neighbours, and how many a picture has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from micro_yolo.pipeline.data import Split
from micro_yolo.pipeline.measure.matching import IN_CROWD, Laid, matched
from micro_yolo.pipeline.measure.misses import average
from micro_yolo.tflite.decode import iou

# Upper ends, in pixels of the network's input; the root of a box's area.
_SIDES = (8, 16, 32, 64, 128)
_OVERLAPS = (0.0, 0.1, 0.3, 0.5)
_CROWDS = 3
_IOUS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class Group:
    """Boxes of a kind.

    Attributes:
        by: what they are grouped by.
        name: of the group.
        boxes: that there are.
        found: share that detections of the right class found at IoU 0.5, at the score that was asked for, 0..1.
        AP: points, of the pictures that they are in; None where groups share pictures.
        AP50: likewise.
    """

    by: str
    name: str
    boxes: int
    found: float
    AP: float | None = None
    AP50: float | None = None


def groups(laid: Laid, n_classes: int, size: tuple[int, int], least: float) -> list[Group]:
    """The groups that have boxes.

    Args:
        laid: detections and boxes.
        n_classes: of the data set.
        size: (height, width) of the network's input.
        least: detections that score more count as found.
    """
    split = laid.split
    real = ~split.crowd
    found = np.zeros(len(real), bool)
    rows = matched(laid.above(least))
    found[rows[rows >= 0]] = True

    def group(by: str, name: str, mine: np.ndarray, **more: float) -> Iterator[Group]:
        if mine.any():
            yield Group(by, name, int(mine.sum()), float(found[mine].mean()), **more)

    said: list[Group] = []
    counts = np.diff(split.starts)
    owner = np.repeat(np.arange(len(split)), counts)
    sides, close = sides_at_input(split, size), _closest(split)
    for low, high in zip((0.0, *_SIDES), (*_SIDES, np.inf), strict=True):
        name = f"under {high} px" if not low else f"{low} px and more" if high == np.inf else f"{low} to {high} px"
        said += group("size in the input", name, real & (sides >= low) & (sides < high))
    said += group("overlap with another", "none", real & (close == 0))
    for apart, near in zip(_OVERLAPS, (*_OVERLAPS[1:], np.inf), strict=True):
        name = f"IoU above {apart:g}" if near == np.inf else f"IoU {apart:g} to {near:g}"
        said += group("overlap with another", name, real & (close > apart) & (close <= near))
    rows_at = [matched(laid, at) for at in _IOUS]
    solid = np.bincount(owner[real], minlength=len(split))
    for fewest, most in crowds(solid):
        images = np.flatnonzero((solid >= fewest) & (solid <= most))
        name = f"{fewest} to {most}" if most > fewest else f"{fewest}"
        mine = real & np.isin(owner, images)
        boxes = np.bincount(split.classes[mine], minlength=n_classes)
        here = np.isin(laid.images, images)
        points = []
        for rows in rows_at:
            kept = here & (rows != IN_CROWD)
            points.append(average(laid.scores[kept], rows[kept] >= 0, laid.classes[kept], boxes, boxes > 0))
        said += group("boxes in the picture", name, mine, AP=float(np.mean(points)), AP50=points[0])
    return said


def sides_at_input(split: Split, size: tuple[int, int]) -> np.ndarray:
    """The root of each box's area in pixels of an input (height, width) that the picture is stretched to: (m,)."""
    shares = np.sqrt((size[0] * size[1]) / split.sizes.astype(float).prod(axis=1))
    areas = (split.boxes_xyxy[:, 2:] - split.boxes_xyxy[:, :2]).astype(float).prod(axis=1)
    return np.sqrt(areas) * np.repeat(shares, np.diff(split.starts))


def crowds(counts: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of how many boxes a picture has, each with about a third of all boxes; pictures without have none."""
    values, pictures = np.unique(counts[counts > 0], return_counts=True)
    # By the middle of each value's boxes, so that one value with most of them does not take the others along.
    boxes = values * pictures
    third = ((boxes.cumsum() - boxes / 2) * _CROWDS / max(1, boxes.sum())).astype(int)
    kept = [values[third == number] for number in range(_CROWDS)]
    return [(int(each[0]), int(each[-1])) for each in kept if len(each)]


def _closest(split: Split) -> np.ndarray:
    """The largest IoU of each box with another of its picture, of any class: (m,)."""
    found = np.zeros(len(split.classes))
    for image in np.flatnonzero(np.diff(split.starts) > 1).tolist():
        rows = split.rows(image)
        overlap = iou(split.boxes_xyxy[rows].astype(float), split.boxes_xyxy[rows].astype(float))
        np.fill_diagonal(overlap, 0)
        found[rows] = overlap.max(axis=1)
    return found
