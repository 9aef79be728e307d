"""Pictures of a few boxes, and what was found in them: ground truth and detections that one can count by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from micro_yolo.pipeline.data import Split
from micro_yolo.pipeline.measure.matching import Laid, lay

# class, (left, top, right, bottom); of what was found also the score.
Box = tuple[int, tuple[float, float, float, float]]
Found = tuple[int, tuple[float, float, float, float], float]
IDS = (5, 9, 2)


def split_of(*images: Sequence[Box], crowd: Sequence[int] = ()) -> Split:
    """Pictures of 100 x 100 with boxes; `crowd` are the numbers of those that are crowds, counted through."""
    boxes = [box for image in images for box in image]
    corners = np.array([corner for _, corner in boxes], np.float32).reshape(-1, 4)
    return Split(
        name="val",
        files=[Path(f"{number}.png") for number in range(len(images))],
        image_ids=np.arange(len(images)) * 10 + 7,
        sizes=np.full((len(images), 2), 100, np.int32),
        boxes_xyxy=corners,
        classes=np.array([category for category, _ in boxes], np.int32),
        crowd=np.isin(np.arange(len(boxes)), crowd),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        starts=np.cumsum([0, *(len(image) for image in images)]),
    )


def results_of(*images: Sequence[Found]) -> list[dict[str, object]]:
    """What was found, in COCO's results format."""
    return [
        {"image_id": 10 * number + 7, "category_id": IDS[category], "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
        for number, image in enumerate(images)
        for category, (x0, y0, x1, y1), score in image
    ]


def laid_of(split: Split, *images: Sequence[Found]) -> Laid:
    """What was found, beside the truth."""
    return lay(split, IDS, results_of(*images))


def at(x: float, y: float, side: float = 10) -> tuple[float, float, float, float]:
    """A square."""
    return (x, y, x + side, y + side)
