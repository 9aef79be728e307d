import math

import numpy as np
import pytest

from micro_yolo.model.heads import HEADS
from micro_yolo.model.heads.anchor_loss import decode_boxes
from micro_yolo.model.keras import tf
from micro_yolo.model.spec import DetectionRow
from micro_yolo.tflite.decode import decode

YOLO = HEADS["detect"]
ROWS = [
    DetectionRow("coarse", 32, ((60.0, 60.0), (90.0, 120.0))),
    DetectionRow("fine", 16, ((10.0, 14.0), (30.0, 20.0))),
]
SIZE = (128, 96)
CLASSES = 3


def logits_for(boxes_xyxy, classes, *, confident=9.0):
    """Logits of one image that say exactly `boxes_xyxy`, at the anchor nearest in shape, and nothing else."""
    grids = []
    for row in ROWS:
        shape = (1, SIZE[0] // row.stride, SIZE[1] // row.stride, len(row.anchors))
        grids.append([np.zeros((*shape, 4)), np.full(shape, -confident), np.full((*shape, CLASSES), -confident)])
    for (x0, y0, x1, y1), label in zip(boxes_xyxy, classes, strict=True):
        sides = np.array([x1 - x0, y1 - y0])
        ratio = [max((np.maximum(sides / a, a / sides)).max() for a in [np.array(a)]) for r in ROWS for a in r.anchors]
        best = int(np.argmin(ratio))
        level, anchor = divmod(best, 2)
        row = ROWS[level]
        column, line = int((x0 + x1) / 2 // row.stride), int((y0 + y1) / 2 // row.stride)
        unit = np.array(
            [
                ((x0 + x1) / 2 / row.stride - column + 0.5) / 2,
                ((y0 + y1) / 2 / row.stride - line + 0.5) / 2,
                (np.log(sides[0] / row.anchors[anchor][0]) + 2) / 4,
                (np.log(sides[1] / row.anchors[anchor][1]) + 2) / 4,
            ]
        )
        grids[level][0][0, line, column, anchor] = np.log(unit / (1 - unit))
        grids[level][1][0, line, column, anchor] = confident
        grids[level][2][0, line, column, anchor, label] = confident
    return {
        row.row_name: {
            part: tf.constant(grid.reshape(*grid.shape[:3], -1), tf.float32)
            for part, grid in zip(("boxes", "objectness", "classes"), level, strict=True)
        }
        for row, level in zip(ROWS, grids, strict=True)
    }


def loss_of(logits, boxes_xyxy, classes):
    return {
        name: float(value)
        for name, value in YOLO.loss(
            logits, tf.constant([boxes_xyxy], tf.float32), tf.constant([classes], tf.int32), ROWS, YOLO.settings
        ).items()
    }


BOXES = [(20.0, 30.0, 75.0, 88.0), (50.0, 100.0, 62.0, 112.0)]


def test_decoding_agrees_with_the_numpy_decoder():
    logits = logits_for(BOXES, [1, 2])
    grids = {row: {part: tf.sigmoid(x).numpy()[0] for part, x in parts.items()} for row, parts in logits.items()}
    found = decode(grids, ROWS, SIZE, score_threshold=0.5, iou_threshold=0.6, max_detections=10)
    order = np.argsort(found.boxes_xyxy[:, 0])
    assert np.allclose(found.boxes_xyxy[order], BOXES, atol=0.01)
    assert found.classes[order].tolist() == [1, 2]


def test_decode_boxes_by_hand():
    box = decode_boxes(tf.zeros((1, 4)), tf.constant([[2.0, 3.0]]), tf.constant([[10.0, 20.0]]), 16)
    assert np.allclose(box, [[40 - 5, 56 - 10, 40 + 5, 56 + 10]])


def test_a_right_answer_costs_less_than_each_wrong_one():
    right = loss_of(logits_for(BOXES, [1, 2]), BOXES, [1, 2])
    assert loss_of(logits_for([(30.0, 40.0, 90.0, 99.0), BOXES[1]], [1, 2]), BOXES, [1, 2])["box"] > right["box"]
    assert loss_of(logits_for(BOXES, [0, 2]), BOXES, [1, 2])["classes"] > right["classes"]
    assert loss_of(logits_for(BOXES[:1], [1]), BOXES, [1, 2])["objectness"] > right["objectness"]


def test_total_weighs_the_parts():
    parts = loss_of(logits_for(BOXES, [1, 2]), BOXES, [1, 2])
    # What a network costs that knows nothing but that there are three classes.
    blank = math.log(3) + 2 * math.log(3 / 2)
    left = min(max(6 * parts["classes"] / blank - 1, 0), 1)
    total = 10 * (1 - left / 2) * parts["box"] + parts["objectness"] + (1 + 4 * left) * parts["classes"]
    assert parts["total"] == pytest.approx(total, rel=1e-5)


def test_padding_changes_nothing():
    logits = logits_for(BOXES, [1, 2])
    padded = loss_of(logits, [*BOXES, (-1.0, -1.0, -1.0, -1.0)], [1, 2, -1])
    assert padded == pytest.approx(loss_of(logits, BOXES, [1, 2]))


def test_without_boxes_only_background_is_asked_for():
    quiet = loss_of(logits_for([], []), [(-1.0, -1.0, -1.0, -1.0)], [-1])
    loud = loss_of(logits_for(BOXES, [1, 2]), [(-1.0, -1.0, -1.0, -1.0)], [-1])
    assert quiet["box"] == quiet["classes"] == 0
    assert loud["objectness"] > quiet["objectness"] > 0


def test_a_box_that_no_anchor_fits_still_has_one():
    tiny = [(40.0, 40.0, 41.0, 41.0)]
    assert 14 / 1 > YOLO.settings.fit_ratio
    assert loss_of(logits_for([], []), tiny, [0])["box"] > 0


def test_boxes_at_the_edges_are_finite_and_inside():
    corners = [(0.0, 0.0, 30.0, 30.0), (66.0, 98.0, 96.0, 128.0), (0.0, 0.0, 96.0, 128.0), (95.0, 127.0, 96.0, 128.0)]
    values = loss_of(logits_for([], []), corners, [0, 1, 2, 0])
    assert all(np.isfinite(list(values.values())))


def test_every_logit_of_an_answering_anchor_gets_a_gradient():
    logits = tf.nest.map_structure(tf.Variable, logits_for([], [], confident=2.0))
    with tf.GradientTape() as tape:
        total = YOLO.loss(logits, tf.constant([BOXES]), tf.constant([[1, 2]]), ROWS, YOLO.settings)["total"]
    gradients = tape.gradient(total, tf.nest.flatten(logits))
    assert all(np.isfinite(g.numpy()).all() for g in gradients)
    assert all(np.abs(g.numpy()).sum() > 0 for g in gradients)
