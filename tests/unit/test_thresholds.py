"""Where scores are best cut and what is taken for what, against counts made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import at, laid_of, split_of

from micro_yolo.pipeline.measure import confusion as confusions
from micro_yolo.pipeline.measure import tables
from micro_yolo.pipeline.measure.confusion import Confusion, confusion
from micro_yolo.pipeline.measure.f1 import thresholds
from micro_yolo.pipeline.measure.matching import IN_CROWD, NOTHING, matched
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.thresholds import Cut, Thresholds, moved, said

GOLDEN = Path(__file__).parents[1] / "golden"

# Three boxes of class 0 over two pictures, and two of class 1.
TRUTH = split_of([(0, at(0, 0)), (0, at(50, 0)), (1, at(0, 50))], [(0, at(20, 20)), (1, at(60, 60))])
FOUND = (
    [
        (0, at(0, 0), 0.9),
        (0, at(50, 1), 0.8),
        # Found again, and so false.
        (0, at(50, 2), 0.6),
        # A class 0 where a class 1 is: false in both classes' counts.
        (0, at(0, 50), 0.3),
        (1, at(0, 50), 0.7),
    ],
    [(0, at(20, 20), 0.35), (1, at(10, 80), 0.5)],
)


def test_the_threshold_of_the_best_f1() -> None:
    found = thresholds(laid_of(TRUTH, *FOUND), 3)
    assert found is not None
    # Class 0, as the threshold falls: 1 of 1 (F1 2/4), 2 of 2 (4/5), 2 of 3 (4/6), 3 of 4 (6/7) from 0.34 to 0.30,
    # 3 of 5 (6/8). In the middle is 0.32.
    assert found.classes[0] == Cut(0.32, round(6 / 7, 4), 0.75, 1.0, 3)
    # Class 1: 1 of 1 (2/3) from 0.69 to 0.50, then 1 of 2 (2/4). The upper of the two in the middle.
    assert found.classes[1] == Cut(0.6, round(2 / 3, 4), 1.0, 0.5, 2)
    assert found.classes[2] is None
    # All: 0.9 2/6, 0.8 4/7, 0.7 6/8 from 0.69 to 0.60, 0.6 6/9, 0.5 6/10, 0.35 8/11, 0.3 8/12.
    assert found.all == Cut(0.65, 0.75, 1.0, 0.6, 5)
    assert (found.images, found.iou) == (2, 0.5)


def test_nothing_found_is_nothing_measured() -> None:
    assert thresholds(laid_of(TRUTH, [], []), 3) is None
    assert thresholds(laid_of(TRUTH, [(0, at(80, 80), 0.9)], []), 3) is None
    assert thresholds(laid_of(split_of([], []), [(0, at(80, 80), 0.9)], []), 3) is None
    # Below all that a slider has.
    assert thresholds(laid_of(TRUTH, [(0, at(0, 0), 0.005)], []), 3) is None


def test_crowds_count_neither_for_nor_against() -> None:
    truth = split_of([(0, at(0, 0)), (0, at(40, 40, 60))], crowd=[1])
    laid = laid_of(truth, [(0, at(0, 0), 0.5), (0, at(50, 50), 0.9), (0, at(60, 60), 0.8)])
    assert matched(laid).tolist() == [IN_CROWD, IN_CROWD, 0]
    found = thresholds(laid, 1)
    assert found is not None and found.all == Cut(0.25, 1.0, 1.0, 1.0, 1)
    assert confusion(laid, ["a"], 0.1).matrix.tolist() == [[1, 0], [0, 0]]


def test_the_best_scored_comes_first_and_takes_what_it_overlaps_most() -> None:
    truth = split_of([(0, at(0, 0)), (0, at(2, 0))])
    laid = laid_of(truth, [(0, at(0, 0), 0.4), (0, at(1.5, 0), 0.9), (0, at(0, 1), 0.3)])
    assert laid.scores.tolist() == [0.9, 0.4, 0.3]
    assert matched(laid).tolist() == [1, 0, NOTHING]


def test_what_is_of_no_picture_or_class_is_left_out() -> None:
    laid = laid_of(TRUTH, *FOUND)
    assert len(laid) == 7 and len(laid.above(0.5)) == 4
    assert laid.above(0.5).starts.tolist() == [0, 4, 4]
    from micro_yolo.pipeline.measure.matching import lay

    strange = [{"image_id": 8, "category_id": 5, "bbox": [0, 0, 1, 1], "score": 1.0}]
    strange += [{"image_id": 7, "category_id": 6, "bbox": [0, 0, 1, 1], "score": 1.0}]
    assert len(lay(TRUTH, (5, 9, 2), strange)) == 0


def test_what_is_taken_for_what() -> None:
    found = confusion(laid_of(TRUTH, *FOUND), ("a", "b", "c"), 0.4)
    # Above 0.4: both boxes of the first picture, the first class 1; again a class 0, and a class 1 where nothing is.
    assert found.matrix.tolist() == [[2, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    # Of another class, and nothing better is left for it: a class 0 where a class 1 is.
    only = confusion(laid_of(TRUTH, [(0, at(0, 51), 0.9)], []), ("a", "b", "c"), 0.4)
    assert only.matrix.tolist() == [[0, 0, 0, 3], [1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert only.mistakes() == [("a", "background", 3), ("b", "a", 1), ("b", "background", 1)]
    assert tables.mistakes(only) == "3 a missed, 1 b taken for a, 1 b missed"
    assert tables.mistakes(found).endswith("1 a too many, 1 b too many")


def test_a_matrix_is_written_and_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = tuple(f"a rather long name of class {n}" for n in range(90))
    many = Confusion(names, 0.3, rng.integers(0, 5, (91, 91)))
    value = json.loads(many.write(tmp_path / "many.json").read_text())
    assert value["matrix"] == many.matrix.tolist() and value["labels"] == [*names, "background"]
    assert value["score_threshold"] == 0.3
    few = many.largest(3)
    kept = [names.index(name) for name in few.names]
    assert kept == sorted(kept)
    assert few.matrix.tolist() == many.matrix[np.ix_([*kept, 90], [*kept, 90])].tolist()
    big, small = (confusions.draw(each, "title", tmp_path / f"{len(each.names)}.png") for each in (many, few))
    assert Image.open(big).width > 2000 > Image.open(small).width > 300


def cut(threshold: float) -> Cut:
    return Cut(threshold, 0.5, 0.5, 0.5, 10)


def test_what_moves() -> None:
    one = Thresholds(cut(0.3), (cut(0.3), None, cut(0.4)), 5)
    assert moved(one, Thresholds(cut(0.35), (cut(0.25), cut(0.9), None), 5), "abc") == []
    far = moved(one, Thresholds(cut(0.36), (cut(0.2), None, cut(0.4)), 5), "abc")
    assert far == [("all classes", cut(0.3), cut(0.36)), ("a", cut(0.3), cut(0.2))]
    assert said(far) == (
        "the score with the best F1 moves by more than 0.05 from float32 to int8: "
        "all classes from 0.3 to 0.36 (10 boxes), a from 0.3 to 0.2 (10 boxes)"
    )
    many = Thresholds(cut(0.3), tuple(cut(0.3 + n / 100) for n in range(20)), 5)
    line = said(moved(replace(many, classes=(cut(0.3),) * 20), many, [f"c{n}" for n in range(20)]))
    assert line.endswith("c15 from 0.3 to 0.45 (10 boxes), and 9 more") and "c19 from 0.3 to 0.49" in line


def test_a_contract_keeps_them() -> None:
    text = (GOLDEN / "contract_detections.json").read_text()
    contract = Contract.from_json(text)
    assert contract.thresholds is not None and contract.thresholds.all.threshold == contract.nms.score_threshold == 0.31
    assert contract.to_json() == text
    value = json.loads(text)
    for change, message in (
        ({"classes": [None]}, r"^contract: thresholds\.classes: must be 3, as the labels are, got 1$"),
        ({"all": {**value["thresholds"]["all"], "recall": 3}}, r"^contract: thresholds: must be in 0\.\.1, got Cut"),
        ({"all": 3}, r"^contract: thresholds\.all: must be a mapping, got 3$"),
    ):
        with pytest.raises(ValueError, match=message):
            Contract.from_json(json.dumps({**value, "thresholds": {**value["thresholds"], **change}}))
