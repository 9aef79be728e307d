"""Which predictions answer for which box: assigners, an argument of the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from micro_yolo.model.heads.base import Outputs
from micro_yolo.model.keras import tf
from micro_yolo.model.row import DetectionRow


class Answers(NamedTuple):
    """N predictions of one grid, each answering for a box; a prediction may answer for several.

    Attributes:
      predictions: (N, 4) int64: image, row, column and anchor.
      boxes: (N, 2) int64: image, and box within it.
    """

    predictions: tf.Tensor
    boxes: tf.Tensor


# (logits, boxes (B, M, 4) in pixels, classes (B, M) or -1, detection rows, settings of the head) -> one a row
Assign = Callable[[Outputs, tf.Tensor, tf.Tensor, Sequence[DetectionRow], Any], list[Answers]]


def by_shape(
    outputs: Outputs, boxes_xyxy: tf.Tensor, classes: tf.Tensor, rows: Sequence[DetectionRow], settings: Any
) -> list[Answers]:
    """Every anchor whose shape fits a box answers for it, in the cell of the box's centre and in two neighbours.

    These are the two nearest to the centre. A few hundred photographs give far too few examples to the one best anchor
    of YOLOv3. A box that no anchor fits gets the nearest in shape.
    """
    fits = fitting_anchors(boxes_xyxy, rows, settings.fit_ratio) & (classes >= 0)[..., None]
    found, first = [], 0
    for row in rows:
        grid = tf.shape(outputs[row.row_name]["objectness"])[1:3]
        cells, inside = answering_cells(boxes_xyxy, row.stride, grid[::-1])
        share = fits[..., first : first + len(row.anchors)]
        first += len(row.anchors)
        image, box, anchor, cell = tf.unstack(tf.where(share[..., None] & inside[:, :, None]), axis=1)
        at = tf.cast(tf.gather_nd(cells, tf.stack([image, box, cell], axis=1)), tf.int64)  # (N, 2)
        found.append(Answers(tf.stack([image, at[:, 1], at[:, 0], anchor], axis=1), tf.stack([image, box], axis=1)))
    return found


def fitting_anchors(boxes_xyxy: tf.Tensor, rows: Sequence[DetectionRow], fit_ratio: float) -> tf.Tensor:
    """(B, M, anchors of all rows) bool; a box that no anchor fits gets the nearest one."""
    shapes = tf.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 1.0)[:, :, None]
    anchors = tf.constant([anchor for row in rows for anchor in row.anchors], tf.float32)
    ratio = tf.reduce_max(tf.maximum(shapes / anchors, anchors / shapes), axis=-1)
    return (ratio < fit_ratio) | (ratio <= tf.reduce_min(ratio, axis=-1, keepdims=True))


def answering_cells(boxes_xyxy: tf.Tensor, stride: int, grid: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cells that answer for boxes on a grid of (columns, rows) cells.

    Returns:
      (B, M, 3, 2) cells (column, row): the centre's, its neighbour to the side, its neighbour above or below; and
      (B, M, 3) whether they lie in the grid.
    """
    centre = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / (2.0 * stride)
    own = tf.minimum(tf.floor(centre), tf.cast(grid, tf.float32) - 1.0)
    side = tf.where(centre - own < 0.5, -1.0, 1.0)
    across = tf.stack([side[..., 0], tf.zeros_like(side[..., 0])], axis=-1)
    down = tf.stack([tf.zeros_like(side[..., 1]), side[..., 1]], axis=-1)
    cells = tf.cast(tf.stack([own, own + across, own + down], axis=2), tf.int32)
    return cells, tf.reduce_all((cells >= 0) & (cells < grid), axis=-1)
