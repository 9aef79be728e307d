"""The training loss: which anchors answer for which box, and what they are asked to say.

Every anchor whose shape fits a box answers for it, in the cell of the box's centre and in the two neighbouring cells
nearest to that centre. A few hundred photographs give far too few examples to the one best anchor of YOLOv3.
"""

from __future__ import annotations

from collections.abc import Sequence

from micro_yolo.model.keras import quiet, tf
from micro_yolo.model.spec import Head

with quiet():
    import keras_cv

# A box and an anchor fit when neither side is more than this many times the other's.
FIT_RATIO = 2.5
WEIGHTS = {"box": 10.0, "objectness": 1.0, "classes": 1.0}

_ciou = keras_cv.losses.CIoULoss("xyxy", reduction="none")


def detection_loss(
    logits: Sequence[tf.Tensor], boxes_xyxy: tf.Tensor, classes: tf.Tensor, heads: Sequence[Head]
) -> dict[str, tf.Tensor]:
    """Loss of one batch.

    Args:
      logits: for each detection row its boxes (B, h, w, A*4), objectness (B, h, w, A) and classes (B, h, w, A*C).
      boxes_xyxy: (B, M, 4) true boxes, pixels of the network's input.
      classes: (B, M) their classes, -1 where there is no box.
      heads: stride and anchors of each detection row, in the order of `logits`.

    Returns:
      Scalars `total`, `box` (1 - CIoU, arXiv 2005.03572), `objectness` and `classes` (binary cross-entropy); each is
      a sum over the batch divided by the number of answering anchors, `total` weighs them by `WEIGHTS`.
    """
    boxes_xyxy, classes = tf.cast(boxes_xyxy, tf.float32), tf.cast(classes, tf.int32)
    fits = _fitting_anchors(boxes_xyxy, heads) & (classes >= 0)[..., None]
    sums = dict.fromkeys(WEIGHTS, tf.constant(0.0))
    answering = tf.constant(0.0)
    first = 0
    for i, head in enumerate(heads):
        share = fits[..., first : first + len(head.anchors)]
        first += len(head.anchors)
        level = [tf.cast(x, tf.float32) for x in logits[3 * i : 3 * i + 3]]
        parts, count = _level_sums(level, boxes_xyxy, classes, share, head)
        sums = {name: sums[name] + parts[name] for name in sums}
        answering += count
    means = {name: value / tf.maximum(answering, 1.0) for name, value in sums.items()}
    return {"total": tf.add_n([WEIGHTS[name] * value for name, value in means.items()]), **means}


def _fitting_anchors(boxes_xyxy: tf.Tensor, heads: Sequence[Head]) -> tf.Tensor:
    """(B, M, anchors of all heads) bool; a box that no anchor fits gets the nearest one."""
    shapes = tf.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 1.0)[:, :, None]
    anchors = tf.constant([anchor for head in heads for anchor in head.anchors], tf.float32)
    ratio = tf.reduce_max(tf.maximum(shapes / anchors, anchors / shapes), axis=-1)
    return (ratio < FIT_RATIO) | (ratio <= tf.reduce_min(ratio, axis=-1, keepdims=True))


def _answering_cells(boxes_xyxy: tf.Tensor, stride: int, grid: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(B, M, 3, 2) cells (column, row) that answer for each box, and (B, M, 3) whether they lie in the grid."""
    centre = (boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / (2.0 * stride)
    own = tf.minimum(tf.floor(centre), tf.cast(grid, tf.float32) - 1.0)
    side = tf.where(centre - own < 0.5, -1.0, 1.0)
    across = tf.stack([side[..., 0], tf.zeros_like(side[..., 0])], axis=-1)
    down = tf.stack([tf.zeros_like(side[..., 1]), side[..., 1]], axis=-1)
    cells = tf.cast(tf.stack([own, own + across, own + down], axis=2), tf.int32)
    return cells, tf.reduce_all((cells >= 0) & (cells < grid), axis=-1)


def _level_sums(
    level: Sequence[tf.Tensor], boxes_xyxy: tf.Tensor, classes: tf.Tensor, fits: tf.Tensor, head: Head
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Sums of the three losses over one grid, and how many anchors answered."""
    box_logits, objectness, class_logits = level
    batch, rows, columns, anchors = tf.unstack(tf.shape(objectness))
    cells, inside = _answering_cells(boxes_xyxy, head.stride, tf.stack([columns, rows]))

    image, box, anchor, cell = tf.unstack(tf.where(fits[..., None] & inside[:, :, None]), axis=1)
    image_box = tf.stack([image, box], axis=1)
    at = tf.cast(tf.gather_nd(cells, tf.stack([image, box, cell], axis=1)), tf.int64)  # (N, 2)
    index = tf.stack([image, at[:, 1], at[:, 0], anchor], axis=1)  # (N, 4)

    shape = [batch, rows, columns, anchors, -1]
    predicted_xyxy = decode_boxes(
        tf.gather_nd(tf.reshape(box_logits, shape), index),
        tf.cast(at, tf.float32),
        tf.gather(tf.constant(head.anchors, tf.float32), anchor),
        head.stride,
    )
    box_loss = _ciou(tf.gather_nd(boxes_xyxy, image_box), predicted_xyxy)

    # An anchor's objectness is how well its box fits, so that the score ranks good boxes over poor ones.
    quality = tf.clip_by_value(tf.stop_gradient(1.0 - box_loss), 0.0, 1.0)
    wanted = tf.tensor_scatter_nd_max(tf.zeros_like(objectness), index, quality)
    objectness_loss = tf.nn.sigmoid_cross_entropy_with_logits(wanted, objectness)

    answers = tf.gather_nd(tf.reshape(class_logits, shape), index)
    truth = tf.one_hot(tf.gather_nd(classes, image_box), tf.shape(answers)[-1])
    class_loss = tf.nn.sigmoid_cross_entropy_with_logits(truth, answers)

    sums = {"box": box_loss, "objectness": objectness_loss, "classes": class_loss}
    return {name: tf.reduce_sum(x) for name, x in sums.items()}, tf.cast(tf.shape(index)[0], tf.float32)


def decode_boxes(logits: tf.Tensor, cells: tf.Tensor, anchors: tf.Tensor, stride: int) -> tf.Tensor:
    """Boxes from box logits; `tflite.decode` does the same from the sigmoid on.

    Args:
      logits: (N, 4) in the order x, y, width, height.
      cells: (N, 2) column and row of the answering cell.
      anchors: (N, 2) width and height, pixels.
      stride: pixels a cell.

    Returns:
      (N, 4) boxes xyxy, pixels. Width and height stay within exp(-2) and exp(2) times the anchor's, and all four values
      are functions of a sigmoid, so that in an int8 file they share the scale 1/256 without loss.
    """
    unit = tf.sigmoid(logits)
    centre = (cells + 2.0 * unit[:, :2] - 0.5) * stride
    half = anchors * tf.exp(4.0 * unit[:, 2:] - 2.0) / 2.0
    return tf.concat([centre - half, centre + half], axis=1)
