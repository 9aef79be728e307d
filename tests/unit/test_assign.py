"""Which predictions answer for which box, by hand: a grid of 6 columns and 8 rows of 16 pixels, or two small ones."""

from __future__ import annotations

import numpy as np
import pytest

from micro_yolo.model.heads import HEADS
from micro_yolo.model.heads.assign import answering_cells, by_shape, fitting_anchors
from micro_yolo.model.keras import tf
from micro_yolo.model.spec import DetectionRow


@pytest.mark.parametrize(
    ("box", "cells", "inside"),
    [
        # Centre (40, 56) = cells (2.5, 3.5): just in the middle, so the neighbours are those to the right and below.
        ((30, 36, 50, 76), [(2, 3), (3, 3), (2, 4)], [1, 1, 1]),
        # (2.25, 4.25): left and above.
        ((26, 48, 46, 88), [(2, 4), (1, 4), (2, 3)], [1, 1, 1]),
        # (2.75, 3.25): right and above.
        ((4, 50, 84, 54), [(2, 3), (3, 3), (2, 2)], [1, 1, 1]),
        # (2.25, 3.75): left and below.
        ((35, 0, 37, 120), [(2, 3), (1, 3), (2, 4)], [1, 1, 1]),
        # (0.25, 0.25), the first cell: neither neighbour is in the grid.
        ((0, 0, 8, 8), [(0, 0), (-1, 0), (0, -1)], [1, 0, 0]),
        # (5.75, 7.75), the last.
        ((88, 120, 96, 128), [(5, 7), (6, 7), (5, 8)], [1, 0, 0]),
        # (6, 8), on the grid's far corner: the last cell answers, not one beyond it.
        ((96, 128, 96, 128), [(5, 7), (6, 7), (5, 8)], [1, 0, 0]),
        # (5.25, 7.25), the last cell, and both neighbours are in the grid.
        ((80, 112, 88, 120), [(5, 7), (4, 7), (5, 6)], [1, 1, 1]),
        # (1.25, 0.75): above the second column, nothing is lost to the side.
        ((16, 8, 24, 16), [(1, 0), (0, 0), (1, 1)], [1, 1, 1]),
    ],
)
def test_cells_that_answer(box: tuple[float, ...], cells: list[tuple[int, int]], inside: list[int]) -> None:
    found, lies_in = answering_cells(tf.constant([[box]], tf.float32), 16, tf.constant([6, 8]))
    assert found.numpy().tolist() == [[[list(cell) for cell in cells]]]
    assert lies_in.numpy().astype(int).tolist() == [[inside]]


ROWS = [DetectionRow("coarse", 32, ((20.0, 20.0), (25.0, 10.0))), DetectionRow("fine", 16, ((10.0, 10.0),))]


@pytest.mark.parametrize(
    ("sides", "fits"),
    [
        # The larger of the two ratios, width's and height's, to the anchors (20, 20), (25, 10) and (10, 10):
        ((20, 20), [1, 1, 1]),  # 1; 2; 2
        ((25, 10), [1, 1, 0]),  # 2; 1; 2.5, which is just too much
        ((24.9, 10), [1, 1, 1]),  # 2; 1.004; 2.49
        ((10, 24.9), [1, 0, 1]),  # 2; 2.5; 2.49
        ((10, 25), [1, 0, 0]),  # 2; 2.5; 2.5
        ((4, 10), [0, 0, 1]),  # 5; 6.25; 2.5: none fits, so the nearest answers
        ((4.1, 10), [0, 0, 1]),  # 4.9; 6.1; 2.44
        ((8.1, 8.1), [1, 0, 1]),  # 2.47; 3.09; 1.23
        ((100, 100), [1, 0, 0]),  # 5; 10; 10
        ((200, 100), [1, 1, 0]),  # 10; 10; 20: two are nearest
        ((0.2, 0.2), [0, 0, 1]),  # as a box of one pixel: 20; 25; 10
    ],
)
def test_anchors_that_fit(sides: tuple[float, float], fits: list[int]) -> None:
    width, height = sides
    found = fitting_anchors(tf.constant([[(0, 0, width, height)]], tf.float32), ROWS, 2.5)
    assert found.numpy().astype(int).tolist() == [[fits]]


def test_a_side_shorter_than_a_pixel_counts_as_one() -> None:
    rows = [DetectionRow("fine", 4, ((2.0, 2.0), (1.0, 1.0)))]
    found = fitting_anchors(tf.constant([[(8, 8, 8.1, 8.1), (8, 8, 9.2, 9.2)]], tf.float32), rows, 2.5)
    assert found.numpy().tolist() == [[[True, True], [True, True]]]
    rows = [DetectionRow("fine", 4, ((2.6, 2.6), (1.0, 1.0)))]
    found = fitting_anchors(tf.constant([[(8, 8, 8.1, 8.1), (8, 8, 10, 10)]], tf.float32), rows, 2.5)
    assert found.numpy().tolist() == [[[False, True], [True, True]]]


def test_who_answers_in_two_images() -> None:
    """A coarse grid of 2 x 3 cells of 32 pixels and a fine one of 4 x 6 of 16."""
    boxes = [
        # 20 x 20 with its centre at (42, 42): all anchors; (1.31, 1.31) coarse, (2.63, 2.63) fine.
        [(32, 32, 52, 52), (-1, -1, -1, -1), (0, 0, 30, 30)],
        # 100 x 100: only the anchor 20 x 20, the nearest; (1.5, 1.5) clipped to the last row, coarse.
        [(0, 0, 96, 96), (-1, -1, -1, -1), (-1, -1, -1, -1)],
    ]
    classes = [[2, -1, -1], [0, -1, -1]]
    outputs = {
        row.row_name: {"objectness": tf.zeros((2, 64 // row.stride, 96 // row.stride, len(row.anchors)))}
        for row in ROWS
    }
    coarse, fine = by_shape(
        outputs, tf.constant(boxes, tf.float32), tf.constant(classes), ROWS, HEADS["detect"].settings
    )
    # image, row, column, anchor
    assert sorted(coarse.predictions.numpy().tolist()) == sorted(
        [[0, 1, 1, a] for a in (0, 1)]
        + [[0, 1, 0, a] for a in (0, 1)]
        + [[0, 0, 1, a] for a in (0, 1)]
        + [[1, 1, 1, 0], [1, 1, 2, 0]]
    )
    assert sorted(fine.predictions.numpy().tolist()) == sorted([[0, 2, 2, 0], [0, 2, 3, 0], [0, 3, 2, 0]])
    for answers in (coarse, fine):
        assert answers.boxes.numpy().tolist() == [[at[0], 0] for at in answers.predictions.numpy().tolist()]
        assert answers.predictions.dtype == answers.boxes.dtype == np.int64


def test_two_boxes_of_a_cell_each_have_their_answers() -> None:
    outputs = {row.row_name: {"objectness": tf.zeros((1, 2, 3, len(row.anchors)))} for row in ROWS[:1]}
    boxes = tf.constant([[(32, 0, 52, 20), (33, 1, 53, 21)]], tf.float32)
    (answers,) = by_shape(outputs, boxes, tf.constant([[0, 1]]), ROWS[:1], HEADS["detect"].settings)
    found = sorted(zip(answers.boxes.numpy()[:, 1].tolist(), answers.predictions.numpy().tolist(), strict=True))
    # Centres (1.31, 0.31) and (1.34, 0.34): the cell itself and the one to the left; above is outside.
    wanted = [(box, [0, 0, column, anchor]) for box in (0, 1) for column in (0, 1) for anchor in (0, 1)]
    assert found == wanted


def test_each_row_has_its_own_anchors() -> None:
    """Three rows of two, one and one anchors; a box fits one anchor of each but the second."""
    rows = [
        DetectionRow("a", 32, ((20.0, 20.0), (90.0, 90.0))),
        DetectionRow("b", 32, ((2.0, 2.0),)),
        DetectionRow("c", 32, ((10.0, 10.0),)),
    ]
    outputs = {row.row_name: {"objectness": tf.zeros((1, 1, 1, len(row.anchors)))} for row in rows}
    boxes = tf.constant([[(6, 6, 26, 26)]], tf.float32)
    found = by_shape(outputs, boxes, tf.constant([[0]]), rows, HEADS["detect"].settings)
    assert [answers.predictions.numpy().tolist() for answers in found] == [[[0, 0, 0, 0]], [], [[0, 0, 0, 0]]]
