"""More objects in a picture than a detector says: what is told of them, and what is measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import IDS, at, results_of, split_of

from micro_yolo.pipeline.data import Dataset
from micro_yolo.pipeline.data.beyond import beyond
from micro_yolo.pipeline.measure.metrics import coco_metrics, precision_curves
from micro_yolo.tflite.decode import enough

MANY = [(0, at(x, y, 4)) for x in range(0, 100, 6) for y in range(0, 60, 6)]


def test_pictures_with_too_many_are_counted() -> None:
    few, many = split_of([(0, at(0, 0))], MANY[:3]), split_of(MANY, MANY[:120], MANY[:100], crowd=range(5))
    dataset = Dataset(Path("set"), "coco", ("a",), (5,), {"train": few, "val": many})
    assert len(MANY) == 170
    assert beyond(dataset) == (
        "set: pictures with more than 100 boxes, of which no more are found: 2 of val, up to 165; "
        "`--max-detections 165` of pipeline.convert and pipeline.evaluate finds them all"
    )
    assert beyond(dataset, 165) is None and "1 of val" in str(beyond(dataset, 164))
    assert str(beyond(dataset, 2)).startswith(
        "set: pictures with more than 2 boxes, of which no more are found: 1 of tr"
    )


def test_what_is_beyond_the_limit_is_not_measured() -> None:
    split = split_of(MANY)
    results = results_of([(category, box, 1 - number / 1000) for number, (category, box) in enumerate(MANY)])
    usual, all_ = (coco_metrics(split, IDS, results, most=most) for most in (100, 170))
    assert usual["AR100"] == pytest.approx(100 * 100 / 170) and "AR100" not in all_
    assert (all_["AR170"], all_["AP"], all_["AP50"]) == pytest.approx((100, 100, 100))
    assert usual["AP50"] == pytest.approx(100 * 59 / 101)
    recall, precision = precision_curves(split, IDS, results, 170)
    assert len(recall) == 101 and np.nanmin(precision) == 1


def test_enough_candidates_reach_the_suppression() -> None:
    assert [enough(most) for most in (1, 100, 300)] == [1000, 1000, 3000]
