"""Where a limit lies in the decoder, and of what type its numbers are: found by changing it and seeing no test fail."""

from __future__ import annotations

import numpy as np
import pytest

from micro_yolo.tflite.decode import Detections, decode, iou, nms
from micro_yolo.tflite.heads import Grid

ROW = Grid("fine", 8, ((8.0, 8.0), (4.0, 12.0)))
SIZE = (16, 24)


def grids(fill: float = 0.0, classes: int = 2, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """Of `ROW`: 2 x 3 cells of two anchors."""
    widths = {"boxes": 4, "objectness": 1, "classes": classes}
    return {part: np.full((2, 3, 2 * width), fill, dtype) for part, width in widths.items()}


def found(given: dict[str, np.ndarray], threshold: float = 0.1, **how: float) -> Detections:
    limits = {"iou_threshold": 1.0, "max_detections": 100, **how}
    return decode({"fine": given}, [ROW], SIZE, score_threshold=threshold, **limits)


def one(row: int, column: int, anchor: int, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """A box as large as its anchor in the middle of its cell, of class 1 with score 0.5."""
    given = grids(dtype=dtype)
    given["boxes"][row, column, 4 * anchor : 4 * anchor + 4] = 0.5
    given["objectness"][row, column, anchor] = 1
    given["classes"][row, column, 2 * anchor + 1] = 0.5
    return given


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_numbers_are_of_one_type_whatever_comes(dtype: type) -> None:
    got = found(one(1, 2, 1, dtype))
    assert got.boxes_xyxy.tolist() == [[18, 6, 22, 16]]  # 20 - 2, 12 - 6, 20 + 2, 12 + 6 clipped to 16
    assert (got.boxes_xyxy.dtype, got.scores.dtype, got.classes.dtype) == (np.float32, np.float32, np.int32)


def test_numbers_are_reckoned_with_as_float32_whatever_comes() -> None:
    rng = np.random.default_rng(0)
    coarse = {part: rng.random(grid.shape).astype(np.float16) for part, grid in grids().items()}
    exact, got = found({part: grid.astype(np.float32) for part, grid in coarse.items()}), found(coarse)
    assert len(got) > 5
    assert got.boxes_xyxy.tolist() == exact.boxes_xyxy.tolist()
    assert got.scores.tolist() == exact.scores.tolist()


def test_a_score_must_be_more_than_the_threshold() -> None:
    assert len(found(one(0, 0, 0), 0.5)) == 0
    assert len(found(one(0, 0, 0), 0.4999)) == 1


def test_an_overlap_must_be_more_than_the_threshold() -> None:
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 1]], np.float32)
    assert nms(boxes, np.zeros(2, int), 0.5, 9).tolist() == [0, 1]
    assert nms(boxes, np.zeros(2, int), 0.4999, 9).tolist() == [0]
    assert nms(boxes, np.array([0, 1]), 0.4999, 9).tolist() == [0, 1]
    assert nms(boxes[:0], np.zeros(0, int), 0.5, 9).dtype == np.int64


def test_boxes_smaller_than_a_pixel_overlap_like_others() -> None:
    small = np.array([[0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5]], np.float32)
    np.testing.assert_allclose(iou(small, small), [[1, 1 / 3], [1 / 3, 1]], rtol=1e-6)


def test_a_thousand_candidates_reach_the_suppression() -> None:
    row = Grid("wide", 4, ((4.0, 4.0),))
    given = {
        "boxes": np.full((16, 16, 4), 0.5, np.float32),
        "objectness": np.ones((16, 16, 1), np.float32),
        "classes": np.ones((16, 16, 4), np.float32),
    }
    limits = {"score_threshold": 0.5, "iou_threshold": 1.0, "max_detections": 2000}
    assert len(decode({"wide": given}, [row], (64, 64), **limits)) == 1000
    assert len(decode({"wide": given}, [row], (64, 64), pre_nms=1024, **limits)) == 1024


def test_many_equal_scores_keep_their_order() -> None:
    """Of 1024 boxes with one of four scores each: the best first, and among equals by row and column."""
    row, rng = Grid("wide", 4, ((4.0, 4.0),)), np.random.default_rng(0)
    scores = rng.choice([0.25, 0.5, 0.75, 1.0], 1024).astype(np.float32)
    given = {
        "boxes": np.full((32, 32, 4), 0.5, np.float32),
        "objectness": scores.reshape(32, 32, 1),
        "classes": np.ones((32, 32, 1), np.float32),
    }
    got = decode(
        {"wide": given}, [row], (128, 128), score_threshold=0.1, iou_threshold=1, max_detections=2000, pre_nms=2000
    )
    order = sorted(range(1024), key=lambda cell: (-scores[cell], cell))
    assert (got.boxes_xyxy[:, :2] / 4).astype(int).tolist() == [[cell % 32, cell // 32] for cell in order]


def test_the_best_come_first_and_ties_in_order_of_rows() -> None:
    """Two rows of the same cells; of equal scores the first row's come first, and the best of all before them."""
    rows = [ROW, Grid("again", 8, ROW.anchors)]
    first, again = one(0, 0, 0), one(0, 1, 0)
    again["objectness"][1, 1, 0] = again["classes"][1, 1, 0] = 1
    again["boxes"][1, 1, :4] = 0.5
    got = decode({"again": again, "fine": first}, rows, SIZE, score_threshold=0.1, iou_threshold=0.5, max_detections=9)
    assert got.scores.tolist() == [1, 0.5, 0.5]
    assert got.boxes_xyxy[:, 0].tolist() == [8, 0, 8]
    assert got.classes.tolist() == [0, 1, 1]


def test_a_box_of_which_only_an_edge_is_left_goes() -> None:
    """8 pixels wide with its centre 4 left of the picture, or above it: nothing is inside."""
    for side in (0, 1):
        given = one(0, 0, 0)
        given["boxes"][0, 0, side] = 0  # half a cell outwards: centre -4
        assert len(found(given)) == 0
        given["boxes"][0, 0, side] = 0.0001
        assert len(found(given)) == 1


@pytest.mark.parametrize(
    ("part", "shape"),
    [("boxes", (2, 3, 7)), ("objectness", (2, 3, 3)), ("classes", (2, 3, 5)), ("classes", (3, 3, 4))],
)
def test_grids_of_other_shapes_are_refused(part: str, shape: tuple[int, ...]) -> None:
    given = grids() | {part: np.zeros(shape, np.float32)}
    shapes = ", ".join(str(grid.shape) for grid in given.values())
    with pytest.raises(ValueError) as error:
        found(given)
    assert str(error.value) == (
        f"decode: grids of shape {shapes} do not fit stride 8, 2 anchors and size (16, 24); "
        "allowed: (h, w, 2 * (4 | 1 | classes))"
    )


def test_missing_parts_rows_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^decode: grids of shape \(2, 3, 8\), \(2, 3, 2\) do not fit stride 8, "):
        found({name: grid for name, grid in grids().items() if name != "classes"})
    with pytest.raises(ValueError, match=r"^decode: needs the grids of fine, got those of fine, other$"):
        decode({"fine": grids(), "other": grids()}, [ROW], SIZE, score_threshold=0, iou_threshold=1, max_detections=1)
    for size in ((17, 24), (16, 25)):
        with pytest.raises(ValueError, match=r"do not fit stride 8, 2 anchors and size \(1"):
            decode({"fine": grids()}, [ROW], size, score_threshold=0, iou_threshold=1, max_detections=1)
    with pytest.raises(ValueError) as error:
        decode({"fine": grids()}, [ROW], SIZE, coding="x/1", score_threshold=0, iou_threshold=1, max_detections=1)
    assert str(error.value) == "coding: unknown, got 'x/1'; allowed for raw: yolo-sigmoid-exp4/1; update micro-yolo"
