"""Why boxes are missed, which of them, and which labels are doubted, against counts made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import IDS, at, laid_of, results_of, split_of

from micro_yolo.pipeline.measure.analysis import analyse
from micro_yolo.pipeline.measure.groups import crowds, groups, sides_at_input
from micro_yolo.pipeline.measure.matching import lay
from micro_yolo.pipeline.measure.metrics import coco_metrics
from micro_yolo.pipeline.measure.misses import KINDS, misses, sort
from micro_yolo.pipeline.measure.suspects import suspects

NAMES = ("a", "b", "c")
# Two boxes of class a in the upper half, two of class b below.
TRUTH = split_of([(0, at(0, 0)), (0, at(50, 0)), (1, at(0, 50)), (1, at(50, 50, 20))])
FOUND = [
    (0, at(0, 0), 0.9),
    (1, at(50, 0), 0.8),
    (1, at(0, 55), 0.7),
    (0, at(0, 1), 0.6),
    (0, at(80, 80), 0.5),
    (0, at(60, 60, 20), 0.4),
]


def test_each_mistake_is_of_a_kind() -> None:
    found = sort(laid_of(TRUTH, FOUND))
    assert found.kinds.tolist() == ["", "classification", "localisation", "duplicate", "background", "both"]
    assert found.mendable.tolist() == [-1, 1, 2, -1, -1, -1]
    # The second and third box would have been found, had class or place been right.
    assert found.missed.tolist() == [3]


def test_what_each_kind_costs() -> None:
    found = misses(laid_of(TRUTH, FOUND), 3)
    assert found is not None
    # Class a: one of two at precision 1, so 51 of 101 recalls. Class b: nothing.
    half = 100 * 51 / 101
    assert found.AP50 == pytest.approx(half / 2)
    assert list(found.kinds) == list(KINDS)
    assert {name: kind.count for name, kind in found.kinds.items()} == dict.fromkeys(KINDS, 1)
    gains = {name: kind.points for name, kind in found.kinds.items() if kind.points}
    assert gains == {
        # The second box of class a is found at precision 1.
        "classification": pytest.approx((100 - half) / 2),
        # One of the two of class b is found, behind a false one.
        "localisation": pytest.approx(half / 4),
    }
    assert sum(kind.share for kind in found.kinds.values()) == pytest.approx(1)
    assert found.kinds["localisation"].share == pytest.approx(gains["localisation"] / sum(gains.values()))
    assert found.false == pytest.approx(0)
    # One box of class a is left, which is found, and none of class b.
    assert found.unfound == pytest.approx(100 - half / 2)


def test_what_is_false_and_what_is_missed() -> None:
    truth = split_of([(0, at(0, 0)), (0, at(50, 0))], [(0, at(0, 0))])
    found = misses(laid_of(truth, [(0, at(0, 0), 0.8), (0, at(1, 0), 0.85)], [(0, at(70, 70), 0.9)]), 3)
    assert found is not None
    costs = {name: (kind.count, round(kind.points, 3)) for name, kind in found.kinds.items() if kind.count}
    # As it is: false 0.9, right 0.85, false 0.8; of three boxes one at precision 1/2, 34 of 101 recalls.
    third = 100 * 34 / 101
    assert found.AP50 == pytest.approx(third / 2)
    assert costs == {
        "duplicate": (1, 0),
        "background": (1, round(third / 2, 3)),
        # One box is left to find.
        "missed": (2, round(50 - third / 2, 3)),
    }
    assert found.false == pytest.approx(third / 2)
    assert misses(laid_of(split_of([]), [(0, at(0, 0), 0.5)]), 3) is None


def test_of_several_that_would_mend_a_box_the_best_does() -> None:
    truth = split_of([(0, at(0, 0))])
    # Both of another class; the second would be a second detection of the box.
    found = misses(laid_of(truth, [(1, at(0, 0), 0.6), (2, at(0, 0), 0.7), (0, at(80, 0), 0.65)]), 3)
    assert found is not None and found.kinds["classification"].points == pytest.approx(100)


def random_scene(seed: int, crowd: bool) -> tuple:
    """Pictures with boxes and detections near them and elsewhere."""
    rng = np.random.default_rng(seed)
    images, found = [], []
    for _ in range(25):
        boxes = [
            (int(rng.integers(3)), at(*rng.uniform(0, 70, 2), float(rng.uniform(12, 30))))
            for _ in range(rng.integers(7))
        ]
        near = [
            (
                c if rng.random() < 0.8 else int(rng.integers(3)),
                tuple(np.array(box) + rng.uniform(-5, 5, 4)),
                rng.random(),
            )
            for c, box in boxes * 2
            if rng.random() < 0.7
        ]
        far = [(int(rng.integers(3)), at(*rng.uniform(0, 70, 2), 20), rng.random() / 2) for _ in range(3)]
        images.append(boxes)
        found.append([(c, tuple(map(float, box)), float(score)) for c, box, score in [*near, *far]])
    total = sum(map(len, images))
    return split_of(*images, crowd=rng.permutation(total)[: total // 10].tolist() if crowd else ()), found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("crowd", [False, True])
def test_average_precision_is_that_of_pycocotools(seed: int, crowd: bool) -> None:
    split, found = random_scene(seed, crowd)
    results = results_of(*found)
    laid = lay(split, IDS, results)
    measured = misses(laid, 3)
    assert measured is not None
    assert measured.AP50 == pytest.approx(coco_metrics(split, IDS, results)["AP50"], abs=1e-9)
    counts = np.bincount(np.repeat(np.arange(len(split)), np.diff(split.starts))[~split.crowd], minlength=len(split))
    by = [each for each in groups(laid, 3, (100, 100), 0.3) if each.by == "boxes in the picture"]
    for each, (low, high) in zip(by, crowds(counts), strict=True):
        images = np.flatnonzero((counts >= low) & (counts <= high))
        expected = coco_metrics(split.subset(images), IDS, results)
        assert (each.AP, each.AP50) == pytest.approx((expected["AP"], expected["AP50"]), abs=1e-9)
    assert sum(each.boxes for each in by) == (~split.crowd).sum()


def test_which_boxes_are_found() -> None:
    truth = split_of([(0, at(0, 0, 5)), (0, at(20, 0, 20)), (0, at(20, 10, 20))], [(1, at(0, 0, 80))], [])
    laid = laid_of(truth, [(0, at(0, 0, 5), 0.9), (0, at(20, 0, 20), 0.8)], [(1, at(0, 0, 80), 0.1)], [])
    found = [(each.by, each.name, each.boxes, each.found) for each in groups(laid, 3, (200, 200), 0.3)]
    assert found == [
        # The input is twice as large as the pictures.
        ("size in the input", "8 to 16 px", 1, 1.0),
        ("size in the input", "32 to 64 px", 2, 0.5),
        ("size in the input", "128 px and more", 1, 0.0),
        ("overlap with another", "none", 2, 0.5),
        # 10 of 30.
        ("overlap with another", "IoU 0.3 to 0.5", 2, 0.5),
        ("boxes in the picture", "1", 1, 0.0),
        ("boxes in the picture", "3", 3, pytest.approx(2 / 3)),
    ]
    assert sides_at_input(truth, (50, 200)).tolist() == pytest.approx([5, 20, 20, 80])


def test_crowds_have_about_as_many_boxes_each() -> None:
    assert crowds(np.array([0, 0])) == []
    assert crowds(np.array([0, 4, 4])) == [(4, 4)]
    assert crowds(np.arange(1, 10)) == [(1, 5), (6, 7), (8, 9)]


def test_labels_in_doubt() -> None:
    truth = split_of(
        [(0, at(0, 0)), (0, at(50, 0)), (0, at(0, 50)), (0, at(50, 50))],
        [(0, at(0, 0)), (1, at(70, 70))],
        [(0, at(0, 0))],
    )
    laid = laid_of(
        truth,
        [
            (0, at(0, 0), 0.9),
            # A class b, where an a is labelled; and an a a little, which is believed less.
            (1, at(50, 0), 0.8),
            (0, at(50, 0), 0.1),
            # 10 x 6.5 of 13.5: another shape.
            (0, at(0, 53.5), 0.7),
            (0, at(50, 50), 0.9),
            # Nobody labelled it.
            (1, at(80, 80), 0.6),
        ],
        [(0, at(0, 0), 0.95), (1, at(70, 70), 0.01)],
        [],
    )
    found = suspects(laid, NAMES, sort(laid), 0.3)
    assert [(each.kind, each.label, each.found, each.doubt, each.image) for each in found] == [
        ("another class", "a", "b", 0.7, 0),
        ("no box", None, "b", 0.6, 0),
        # Three of six of its class are found.
        ("never found", "a", None, 0.5, 2),
        ("another shape", "a", "a", pytest.approx(0.7 * (1 - 6.5 / 13.5), abs=1e-4), 0),
    ]
    assert found[0].box_xyxy == found[0].found_xyxy == [50, 0, 60, 10] and found[0].score == 0.8
    assert found[2].file == "2.png" and found[2].score is None and found[2].found_xyxy is None


def test_all_of_it_is_written(tmp_path: Path) -> None:
    import json

    found = analyse(laid_of(TRUTH, FOUND), NAMES, (100, 100))
    assert found.thresholds is not None and found.least == found.thresholds.all.threshold
    assert analyse(laid_of(TRUTH, FOUND), NAMES, (100, 100), 0.65).least == 0.65
    assert analyse(laid_of(TRUTH, []), NAMES, (100, 100)).least == 0.25
    paths = found.write(tmp_path, "x", "title")
    assert [path.name for path in paths] == ["confusion_x.json", "confusion_x.png", "suspects_x.json"]
    written = json.loads(paths[2].read_text())
    assert [each["kind"] for each in written] == [each.kind for each in found.suspects]
    metrics = found.metrics()
    assert metrics["misses"]["kinds"]["classification"]["count"] == 1
    assert json.loads(json.dumps(metrics)) == metrics
