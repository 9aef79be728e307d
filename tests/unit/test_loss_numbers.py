"""The loss in numbers worked out by hand, on a grid of 2 x 2 cells of 16 pixels with one anchor of 16 x 16.

Logits of zero say a box that is its cell: the sigmoid is 0.5, so (cell + 2 * 0.5 - 0.5) * 16 is the centre and
16 * exp(4 * 0.5 - 2) the sides. Cross-entropy of a logit x and a truth z: max(x, 0) - x z + ln(1 + exp(-|x|)).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from micro_yolo.model.heads import HEADS
from micro_yolo.model.heads.anchor_loss import decode_boxes, divergence
from micro_yolo.model.heads.yolo import Settings
from micro_yolo.model.keras import tf
from micro_yolo.model.spec import DetectionRow

YOLO = HEADS["detect"]
ROW = DetectionRow("fine", 16, ((16.0, 16.0),))
# Of the logits below: ln(1 + exp(-x)).
SOFT = {x: math.log1p(math.exp(-x)) for x in (1, 2, 3)}


def grids(batch: int = 1, **logits: Any) -> dict[str, tf.Tensor]:
    """Logits of each part, zero where nothing else is said."""
    sizes = {"boxes": 4, "objectness": 1, "classes": 2}
    return {
        part: tf.constant(np.broadcast_to(logits.get(part, 0.0), (batch, 2, 2, size)), tf.float32)
        for part, size in sizes.items()
    }


def loss(
    outputs: dict[str, Any], boxes: list[Any], classes: list[Any], rows: list[DetectionRow], settings: Any = None
) -> dict[str, float]:
    found = YOLO.loss(outputs, tf.constant(boxes, tf.float32), tf.constant(classes), rows, settings or YOLO.settings)
    return {name: float(value) for name, value in found.items()}


OBJECTNESS = [[[2.0], [-1.0]], [[-1.0], [3.0]]]  # of the cells (0, 0), (1, 0); (0, 1), (1, 1)


@pytest.mark.parametrize(
    ("box", "ciou"),
    [
        # Of the cell itself, of the one to the right, of the one below.
        # The first cell itself. The others: no overlap, centres 16 apart, all in a box of 32 x 16: 16² / (32² + 16²).
        ((0, 0, 16, 16), (1, -256 / 1280, -256 / 1280)),
        # 4 to the right: overlaps 12 x 16 of 320 and 4 x 16 of 448; below: none, centres (4, 16) apart in 20 x 32.
        ((4, 0, 20, 16), (0.6 - 16 / 656, 1 / 7 - 144 / 1040, -272 / 1424)),
    ],
)
def test_one_box(box: tuple[float, ...], ciou: tuple[float, float, float]) -> None:
    found = loss({"fine": grids(objectness=OBJECTNESS, classes=[1.0, -2.0])}, [[box]], [[1]], [ROW])
    # Three predictions answer, in the middle of the first cell or right of it: those to the right and below.
    assert found["box"] == pytest.approx(sum(1 - value for value in ciou) / 3, abs=1e-5)
    # Objectness is asked to be the CIoU, at least 0: logits 2, -1, -1; the fourth cell, 3, is asked for nothing.
    own, right, below = (max(value, 0) for value in ciou)
    wanted = (2 - 2 * own + SOFT[2]) + (right + SOFT[1]) + (below + SOFT[1]) + (3 + SOFT[3])
    assert found["objectness"] == pytest.approx(wanted / 3, abs=1e-5)
    # The truth is (0, 1): logit 1 should be 0 and logit -2 should be 1, of each of the three.
    assert found["classes"] == pytest.approx((1 + SOFT[1]) + (2 + SOFT[2]), abs=1e-5)
    # Classes are not learned: they weigh five times as much, boxes half.
    assert found["total"] == pytest.approx(5 * found["box"] + found["objectness"] + 5 * found["classes"], rel=1e-6)


def test_a_box_of_another_shape() -> None:
    """16 x 8 in the middle of the first cell: overlap 128 of 256, and what the angle of the diagonal costs."""
    # keras-cv squares the paper's 4 / π² with the angle, so a shape counts for less than half of what it does there.
    v = (4 / math.pi**2 * (math.atan(16 / 8) - math.atan(1))) ** 2
    own = 0.5 - v * v / (1 - 0.5 + v)
    aside = -256 / (32**2 + 16**2) - v * v / (1 + v)
    below = -256 / (16**2 + 28**2) - v * v / (1 + v)
    found = loss({"fine": grids()}, [[(0, 4, 16, 12)]], [[0]], [ROW])
    assert found["box"] == pytest.approx((3 - own - aside - below) / 3, abs=1e-5)


def test_a_prediction_that_answers_for_two_boxes_is_asked_for_the_better_fit() -> None:
    boxes = [[(4, 0, 20, 16), (0, 0, 16, 16), (-1, -1, -1, -1)]]
    found = loss({"fine": grids(objectness=OBJECTNESS)}, boxes, [[1, 0, -1]], [ROW])
    right = 1 / 7 - 144 / 1040
    # 1 of 0.576 and 1; 0.004 of it and -0.2; none below. Six answers.
    wanted = (2 - 2 * 1 + SOFT[2]) + (right + SOFT[1]) + SOFT[1] + (3 + SOFT[3])
    assert found["objectness"] == pytest.approx(wanted / 6, abs=1e-5)
    assert found["classes"] == pytest.approx(2 * math.log(2), abs=1e-6)


def test_a_batch_and_rows_are_summed_and_divided_by_all_answers() -> None:
    """Image 0 has one box, image 1 none; the second row's anchor is too small to answer."""
    small = DetectionRow("small", 16, ((4.0, 4.0),))
    outputs = {
        "fine": grids(2, objectness=OBJECTNESS),
        "small": grids(2, objectness=[-1.0]),
    }
    found = loss(outputs, [[(0, 0, 16, 16)], [(-1, -1, -1, -1)]], [[0], [-1]], [ROW, small])
    assert found["box"] == pytest.approx(2.4 / 3, abs=1e-5)
    first = SOFT[2] + 2 * SOFT[1] + 3 + SOFT[3]
    second = 2 + SOFT[2] + 2 * SOFT[1] + 3 + SOFT[3]
    assert found["objectness"] == pytest.approx((first + second + 8 * SOFT[1]) / 3, abs=1e-5)


def test_nothing_to_find_divides_by_one() -> None:
    found = loss({"fine": grids(objectness=OBJECTNESS)}, [[(-1, -1, -1, -1)]], [[-1]], [ROW])
    assert found["objectness"] == pytest.approx(2 + SOFT[2] + 2 * SOFT[1] + 3 + SOFT[3], abs=1e-5)
    assert found["box"] == found["classes"] == 0


def test_settings_weigh_and_choose() -> None:
    outputs, boxes, classes = {"fine": grids(objectness=OBJECTNESS)}, [[(0, 0, 16, 16)]], [[1]]
    plain = loss(outputs, boxes, classes, [ROW])
    other = loss(outputs, boxes, classes, [ROW], Settings(box=3, objectness=5, classes=7, classes_first=0))
    assert other["total"] == pytest.approx(3 * plain["box"] + 5 * plain["objectness"] + 7 * plain["classes"], rel=1e-6)
    assert {name: other[name] for name in YOLO.losses} == {name: plain[name] for name in YOLO.losses}
    two = DetectionRow("fine", 16, ((16.0, 16.0), (8.0, 16.0)))
    doubled = {"fine": {part: tf.concat([grid, grid], axis=-1) for part, grid in grids().items()}}
    assert loss(doubled, boxes, classes, [two])["classes"] == pytest.approx(2 * math.log(2), abs=1e-6)
    # Ratio 2 fits by default; of the two shapes only one is left where no ratio but 1 does.
    assert (
        loss(doubled, boxes, classes, [two])["box"]
        > loss(doubled, boxes, classes, [two], Settings(fit_ratio=1.5))["box"]
    )


@pytest.mark.parametrize("logit", [0.0, 1.6, 8.0])
def test_classes_first_and_then_boxes(logit: float) -> None:
    """Of two classes a network that knows nothing costs 2 log 2; from a third to a sixth of that weights go over."""
    left = min(max(6 * math.log1p(math.exp(-logit)) / math.log(2) - 1, 0), 1)
    wanted = (10 * (1 - left / 2), 1 + 4 * left)
    said = grids(objectness=OBJECTNESS, classes=[-logit, logit])
    outputs = {"fine": {part: tf.Variable(grid) for part, grid in said.items()}}
    truth = (tf.constant([[(4.0, 0.0, 20.0, 16.0)]]), tf.constant([[1]]), [ROW], YOLO.settings)
    with tf.GradientTape(persistent=True) as tape:
        found = YOLO.loss(outputs, *truth)
    total = wanted[0] * found["box"] + found["objectness"] + wanted[1] * found["classes"]
    assert float(found["total"]) == pytest.approx(float(total), rel=1e-3)
    # How much is left to be learned is no way to less of it.
    for part, weight, loss in (("boxes", wanted[0], "box"), ("classes", wanted[1], "classes")):
        whole, alone = (tape.gradient(found[name], outputs["fine"][part]).numpy() for name in ("total", loss))
        assert np.allclose(whole, weight * alone, rtol=1e-3, atol=1e-6)


def test_objectness_is_no_way_to_better_boxes() -> None:
    """What objectness is asked for follows from the boxes; its loss must not move them."""
    outputs = {"fine": {part: tf.Variable(grid) for part, grid in grids(objectness=OBJECTNESS).items()}}
    with tf.GradientTape() as tape:
        found = YOLO.loss(outputs, tf.constant([[(4.0, 0.0, 20.0, 16.0)]]), tf.constant([[1]]), [ROW], YOLO.settings)
    gradient = tape.gradient(found["objectness"], outputs["fine"]["boxes"])
    assert gradient is None or not np.any(tf.convert_to_tensor(gradient))


def test_boxes_at_the_ends_of_their_range() -> None:
    far = decode_boxes(
        tf.constant([[99.0, -99.0, 99.0, -99.0]]), tf.constant([[2.0, 3.0]]), tf.constant([[10.0, 20.0]]), 8
    )
    # Centre ((2 + 1.5) * 8, (3 - 0.5) * 8), sides 10 e² and 20 / e².
    half = (5 * math.e**2, 10 / math.e**2)
    assert np.allclose(far, [[28 - half[0], 20 - half[1], 28 + half[0], 20 + half[1]]], rtol=1e-5)


def test_how_far_two_networks_are_apart() -> None:
    """In the first cell the teacher is sure by 0.8 (logit ln 4); elsewhere it sees nothing at all."""
    sure, nothing = math.log(4), -50.0
    seen = [[[sure], [nothing]], [[nothing], [nothing]]]
    said = {"fine": grids(objectness=seen, boxes=sure, classes=[sure, 0.0])}
    assert float(divergence(said, said, Settings())) == pytest.approx(0, abs=1e-6)
    logits = {"fine": grids(objectness=0.0, boxes=0.0, classes=[0.0, 0.0])}
    # Kullback-Leibler of 0.8 and 0.5, and of 0 and 0.5.
    of_sure = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    objectness = of_sure + 3 * math.log(2)
    boxes, classes = 4 * of_sure * 0.8, of_sure * 0.8
    wanted = (10 * boxes + objectness + classes) / max(0.8, 1)
    assert float(divergence(said, logits, Settings())) == pytest.approx(wanted, rel=1e-5)
    # Of four such teachers' cells the sum of objectness is 3.2.
    many = {"fine": grids(objectness=sure, boxes=sure, classes=[sure, 0.0])}
    wanted = (10 * 4 * boxes + 4 * of_sure + 4 * classes) / 3.2
    assert float(divergence(many, logits, Settings())) == pytest.approx(wanted, rel=1e-5)
    # Of two rows of such cells everything is twice as much, on both sides of the division.
    two, flat = {"fine": many["fine"], "again": many["fine"]}, {"fine": logits["fine"], "again": logits["fine"]}
    assert float(divergence(two, flat, Settings())) == pytest.approx(wanted, rel=1e-5)
    # Of a row that says the same as its teacher only the division is left.
    assert float(divergence(two, {**flat, "again": many["fine"]}, Settings())) == pytest.approx(wanted / 2, rel=1e-5)
    assert float(divergence(two, {**flat, "fine": many["fine"]}, Settings())) == pytest.approx(wanted / 2, rel=1e-5)
