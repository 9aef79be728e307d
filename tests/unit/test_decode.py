"""Grids to boxes: today's coding, the order, the suppression."""

from __future__ import annotations

import math

import numpy as np
import pytest

from micro_yolo.tflite.decode import decode, iou, nms
from micro_yolo.tflite.heads import CODINGS, IMPLIED, Grid

ROWS = (Grid("coarse", 32, ((60.0, 40.0), (20.0, 90.0))), Grid("fine", 16, ((10.0, 12.0), (30.0, 8.0))))
SIZE = (64, 96)
CLASSES = 3


def empty_grids() -> dict[str, dict[str, np.ndarray]]:
    grids = {}
    for row in ROWS:
        shape = (SIZE[0] // row.stride, SIZE[1] // row.stride)
        widths = {"boxes": 4, "objectness": 1, "classes": CLASSES}
        grids[row.row_name] = {part: np.zeros((*shape, len(row.anchors) * n), np.float32) for part, n in widths.items()}
    return grids


def reference(grids: dict[str, dict[str, np.ndarray]], threshold: float) -> list[tuple[float, int, list[float]]]:
    """The coding written out, cell by cell."""
    found = []
    for row in ROWS:
        boxes, objectness, classes = grids[row.row_name].values()
        height, width, _ = boxes.shape
        for i in range(height):
            for j in range(width):
                for a, (aw, ah) in enumerate(row.anchors):
                    s = boxes[i, j, a * 4 : a * 4 + 4]
                    cx, cy = (j + 2 * s[0] - 0.5) * row.stride, (i + 2 * s[1] - 0.5) * row.stride
                    w, h = aw * math.exp(4 * s[2] - 2), ah * math.exp(4 * s[3] - 2)
                    box = [max(cx - w / 2, 0), max(cy - h / 2, 0), min(cx + w / 2, SIZE[1]), min(cy + h / 2, SIZE[0])]
                    for c in range(CLASSES):
                        score = objectness[i, j, a] * classes[i, j, a * CLASSES + c]
                        if score > threshold and box[2] > box[0] and box[3] > box[1]:
                            found.append((float(score), c, [float(edge) for edge in box]))
    return sorted(found, key=lambda item: -item[0])


def test_every_candidate_as_written_out() -> None:
    rng = np.random.default_rng(0)
    grids = {
        row: {part: rng.random(grid.shape, np.float32) for part, grid in parts.items()}
        for row, parts in empty_grids().items()
    }
    found = decode(grids, ROWS, SIZE, score_threshold=0.3, iou_threshold=1.0, max_detections=10**6)
    expected = reference(grids, 0.3)
    assert len(found) == len(expected) > 20
    np.testing.assert_allclose(found.scores, [score for score, _, _ in expected], rtol=1e-5)
    assert found.classes.tolist() == [c for _, c, _ in expected]
    np.testing.assert_allclose(found.boxes_xyxy, [box for _, _, box in expected], atol=1e-3)
    assert found.boxes_xyxy.dtype == found.scores.dtype == np.float32


def test_one_box_by_hand() -> None:
    grids = empty_grids()
    boxes, objectness, classes = grids["fine"].values()
    boxes[2, 3, 4:8] = 0.5
    objectness[2, 3, 1] = 0.8
    classes[2, 3, CLASSES + 2] = 0.5
    found = decode(grids, ROWS, SIZE, score_threshold=0.1, iou_threshold=0.5, max_detections=10)
    assert found.classes.tolist() == [2]
    assert found.scores.tolist() == [pytest.approx(0.4)]
    np.testing.assert_allclose(found.boxes_xyxy, [[56 - 15, 40 - 4, 56 + 15, 40 + 4]], rtol=1e-6)


def test_nothing_found() -> None:
    found = decode(empty_grids(), ROWS, SIZE, score_threshold=0.1, iou_threshold=0.5, max_detections=10)
    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)


def test_a_box_may_have_several_classes() -> None:
    grids = empty_grids()
    grids["coarse"]["boxes"][0, 0, :4] = 0.5
    grids["coarse"]["objectness"][0, 0, 0] = 1
    grids["coarse"]["classes"][0, 0, :2] = (0.9, 0.7)
    found = decode(grids, ROWS, SIZE, score_threshold=0.1, iou_threshold=0.5, max_detections=10)
    assert found.classes.tolist() == [0, 1]


def test_equal_scores_keep_their_order_and_limits_hold() -> None:
    grids = empty_grids()
    for grid in (grid for parts in grids.values() for grid in parts.values()):
        grid[...] = 0.5
    everything = decode(grids, ROWS, SIZE, score_threshold=0.1, iou_threshold=1.0, max_detections=10**6, pre_nms=10**6)
    some = decode(grids, ROWS, SIZE, score_threshold=0.1, iou_threshold=1.0, max_detections=10**6, pre_nms=7)
    assert len(everything) == CLASSES * 2 * (2 * 3 + 4 * 6)
    assert everything.classes[:6].tolist() == [0, 1, 2, 0, 1, 2]
    np.testing.assert_array_equal(some.boxes_xyxy, everything.boxes_xyxy[:7])
    few = decode(grids, ROWS, SIZE, score_threshold=0.1, iou_threshold=1.0, max_detections=4)
    assert len(few) == 4


def test_boxes_outside_the_image_are_dropped() -> None:
    grids = empty_grids()
    grids["fine"]["boxes"][0, 0, :4] = (0, 0, 0, 0)
    grids["fine"]["objectness"][0, 0, 0] = grids["fine"]["classes"][0, 0, 0] = 1
    found = decode(grids, ROWS, SIZE, score_threshold=0.1, iou_threshold=0.5, max_detections=10)
    assert len(found) == 0


def test_nms_against_the_definition() -> None:
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 80, (200, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 40, (200, 2))], axis=1).astype(np.float32)
    classes = rng.integers(0, 3, 200)
    expected: list[int] = []
    for i in range(200):
        rivals = [j for j in expected if classes[j] == classes[i]]
        if all(iou(boxes[i : i + 1], boxes[j : j + 1])[0, 0] <= 0.4 for j in rivals):
            expected.append(i)
    assert nms(boxes, classes, 0.4, 1000).tolist() == expected
    assert nms(boxes, classes, 0.4, 5).tolist() == expected[:5]


def test_iou() -> None:
    a = np.array([[0, 0, 2, 2]], np.float32)
    b = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 6, 6], [1, 1, 1, 1]], np.float32)
    np.testing.assert_allclose(iou(a, b), [[1, 1 / 7, 0, 0]], rtol=1e-6)


def test_grids_that_do_not_fit() -> None:
    grids = empty_grids()
    with pytest.raises(ValueError, match="do not fit stride 32, 2 anchors"):
        decode(grids, ROWS, (64, 64), score_threshold=0.1, iou_threshold=0.5, max_detections=10)
    with pytest.raises(ValueError, match="needs the grids of coarse, fine, got those of fine"):
        decode({"fine": grids["fine"]}, ROWS, SIZE, score_threshold=0.1, iou_threshold=0.5, max_detections=10)
    message = r"do not fit stride 32, 2 anchors .*allowed: \(h, w, 2 \* \(4 \| 1 \| classes\)\)"
    for damage in ({}, {"boxes": np.zeros((2, 3, 8))}, {"boxes": 0, "objectness": 0, "classes": np.zeros((2, 3, 6))}):
        damaged = {**grids, "coarse": {part: np.asarray(grid) for part, grid in damage.items()}}
        with pytest.raises(ValueError, match=message):
            decode(damaged, ROWS, SIZE, score_threshold=0.1, iou_threshold=0.5, max_detections=10)


def test_a_coding_is_known_by_its_name() -> None:
    assert list(CODINGS) == [IMPLIED] == ["yolo-sigmoid-exp4/1"]
    message = r"^coding: unknown, got 'x/1'; allowed for raw: yolo-sigmoid-exp4/1; update micro-yolo$"
    with pytest.raises(ValueError, match=message):
        decode(empty_grids(), ROWS, SIZE, coding="x/1", score_threshold=0.1, iou_threshold=0.5, max_detections=10)
