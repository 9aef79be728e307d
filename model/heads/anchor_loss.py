"""The loss of a head with anchors, and how far two networks with it are apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from micro_yolo.model.heads.assign import Answers, Assign
from micro_yolo.model.heads.base import Losses, Outputs
from micro_yolo.model.keras import tf
from micro_yolo.model.keras_cv import CIoULoss
from micro_yolo.model.row import DetectionRow

PARTS = ("box", "objectness", "classes")
# How many times their weights classes and boxes have while classes are not learned.
_MORE, _LESS = 5.0, 0.5
_ciou = CIoULoss("xyxy", reduction="none")


def loss(
    outputs: Outputs,
    boxes_xyxy: tf.Tensor,
    classes: tf.Tensor,
    rows: Sequence[DetectionRow],
    settings: Any,
    assign: Assign,
) -> Losses:
    """Loss of one batch, see `Head.loss`.

    Returns:
      Scalars `total`, `box` (1 - CIoU, keras-cv's), `objectness` and `classes` (binary cross-entropy); each is
      a sum over the batch divided by the number of answering anchors, `total` weighs them by the settings. While
      classes are not learned they weigh more and boxes less: what tells two classes apart is finer than where a box
      ends, and is drowned by it (docs/networks.md).
    """
    boxes_xyxy, classes = tf.cast(boxes_xyxy, tf.float32), tf.cast(classes, tf.int32)
    answers = assign(outputs, boxes_xyxy, classes, rows, settings)
    sums = dict.fromkeys(PARTS, tf.constant(0.0))
    answering = tf.constant(0.0)
    for row, level in zip(rows, answers, strict=True):
        grids = {name: tf.cast(logits, tf.float32) for name, logits in outputs[row.row_name].items()}
        parts = _level_sums(grids, boxes_xyxy, classes, level, row)
        sums = {name: sums[name] + parts[name] for name in sums}
        answering += tf.cast(tf.shape(level.boxes)[0], tf.float32)
    means = {name: value / tf.maximum(answering, 1.0) for name, value in sums.items()}
    total = _weighed(means, settings)
    if settings.classes_first:
        grid = outputs[rows[0].row_name]["classes"]
        blank = _blank_class_loss(grid.shape[-1] // len(rows[0].anchors))
        left = tf.stop_gradient(tf.clip_by_value(settings.classes_first * means["classes"] / blank - 1.0, 0.0, 1.0))
        more, less = (_MORE - 1.0) * settings.classes, (1.0 - _LESS) * settings.box
        total += left * (more * means["classes"] - less * means["box"])
    return {"total": total, **means}


def _blank_class_loss(classes: int) -> float:
    """About the class loss of a network that knows how many classes there are; 1 for a single one, which has none."""
    told = 1.0 / classes
    return max(-classes * (told * math.log(told) + (1.0 - told) * math.log(1.0 - told or 1.0)), 1.0)


def _weighed(values: Mapping[str, tf.Tensor], settings: Any) -> tf.Tensor:
    return tf.add_n([getattr(settings, name) * value for name, value in values.items()])


def _level_sums(
    grids: Mapping[str, tf.Tensor], boxes_xyxy: tf.Tensor, classes: tf.Tensor, answers: Answers, row: DetectionRow
) -> dict[str, tf.Tensor]:
    """Sums of the three losses over one grid."""
    objectness, at, box = grids["objectness"], answers.predictions, answers.boxes
    shape = tf.concat([tf.shape(objectness), [-1]], axis=0)
    predicted_xyxy = decode_boxes(
        tf.gather_nd(tf.reshape(grids["boxes"], shape), at),
        tf.cast(at[:, 2:0:-1], tf.float32),
        tf.gather(tf.constant(row.anchors, tf.float32), at[:, 3]),
        row.stride,
    )
    box_loss = _ciou(tf.gather_nd(boxes_xyxy, box), predicted_xyxy)

    # An anchor's objectness is how well its box fits, so that the score ranks good boxes over poor ones. CIoU can be
    # below 0; the grid's zeros are more then.
    quality = tf.stop_gradient(1.0 - box_loss)
    wanted = tf.tensor_scatter_nd_max(tf.zeros_like(objectness), at, quality)
    objectness_loss = tf.nn.sigmoid_cross_entropy_with_logits(wanted, objectness)

    said = tf.gather_nd(tf.reshape(grids["classes"], shape), at)
    truth = tf.one_hot(tf.gather_nd(classes, box), tf.shape(said)[-1])
    class_loss = tf.nn.sigmoid_cross_entropy_with_logits(truth, said)

    sums = {"box": box_loss, "objectness": objectness_loss, "classes": class_loss}
    return {name: tf.reduce_sum(x) for name, x in sums.items()}


def decode_boxes(logits: tf.Tensor, cells: tf.Tensor, anchors: tf.Tensor, stride: int) -> tf.Tensor:
    """Boxes from box logits; `tflite.heads.yolo` does the same from the sigmoid on.

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


def divergence(said: Outputs, logits: Outputs, settings: Any) -> tf.Tensor:
    """How far `logits` are from what a teacher `said`, see `Head.divergence`.

    Objectness as the teacher's everywhere; boxes and classes where it sees an object, in proportion to its objectness,
    or the many empty cells would drown the rest (objectness scaling: Mehta & Ozturk 2018, arXiv 1805.06361, section
    3.2). Each is the Kullback-Leibler divergence of sigmoids, divided by the teacher's sum of objectness.
    """
    sums = dict.fromkeys(PARTS, tf.constant(0.0))
    seen = tf.constant(0.0)
    for row_name, theirs in said.items():
        objectness = tf.sigmoid(theirs["objectness"])  # (B, h, w, A)
        seen += tf.reduce_sum(objectness)
        shape = tf.concat([tf.shape(objectness), [-1]], axis=0)
        for name, part in (("box", "boxes"), ("objectness", "objectness"), ("classes", "classes")):
            apart = _apart(theirs[part], logits[row_name][part])
            if part != "objectness":
                apart = tf.reshape(apart, shape) * objectness[..., None]
            sums[name] += tf.reduce_sum(apart)
    return _weighed(sums, settings) / tf.maximum(seen, 1.0)


def _apart(said: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    wanted = tf.sigmoid(said)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(wanted, said)
    return tf.nn.sigmoid_cross_entropy_with_logits(wanted, logits) - entropy
