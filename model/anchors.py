"""Anchor shapes fitted to the boxes of a data set. No TensorFlow.

k-means with 1 - IoU as the distance is YOLOv2's way (Redmon & Farhadi 2017, section 2, "Dimension Clusters").
"""

from __future__ import annotations

import numpy as np

Anchor = tuple[float, float]
# Boxes drawn by weight; enough that the draw itself does not show in the anchors.
_DRAWN = 20_000
_PIECE = 100_000


def shape_iou(shapes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """IoU of boxes and anchors laid on a common centre.

    Args:
      shapes: (n, 2) widths and heights, pixels.
      anchors: (k, 2) widths and heights, pixels.

    Returns:
      (n, k) values in 0..1.
    """
    overlap = np.minimum(shapes[:, None], anchors[None]).prod(axis=2)
    return overlap / (shapes.prod(axis=1)[:, None] + anchors.prod(axis=1)[None] - overlap)


def class_weights(classes: np.ndarray) -> np.ndarray:
    """How much each box counts: 1 / sqrt(boxes of its class).

    Counted alike, the boxes of a class that is everywhere would take all anchors; a rare, small class would be left
    with one that hardly fits.
    """
    return 1 / np.sqrt(np.bincount(classes)[classes])


def fit_anchors(
    shapes: np.ndarray, count: int, *, weights: np.ndarray | None = None, seed: int = 0, rounds: int = 100
) -> list[Anchor]:
    """Cluster box shapes into `count` anchors, smallest area first.

    Args:
      shapes: (n, 2) widths and heights of the training boxes, pixels at the network's input size.
      count: how many anchors.
      weights: (n,) how much each box counts, above 0; all alike by default.
      seed: of the starting centres (chosen far apart, as in k-means++).
      rounds: at most this many updates; it ends earlier when no box changes its cluster.

    Raises:
      ValueError: fewer different box shapes than anchors.
    """
    shapes = np.asarray(shapes, np.float64)
    rng = np.random.default_rng(seed)
    if weights is not None:
        shapes = shapes[rng.choice(len(shapes), _DRAWN, p=weights / weights.sum())]
    distinct = len(np.unique(shapes.round(), axis=0))
    if distinct < count:
        raise ValueError(
            f"anchors: {count} anchors need at least {count} different box shapes, got {distinct}; use --anchors paper"
        )
    centres = shapes[rng.integers(len(shapes))][None]
    while len(centres) < count:
        far = (1 - shape_iou(shapes, centres).max(axis=1)) ** 2
        centres = np.vstack([centres, shapes[rng.choice(len(shapes), p=far / far.sum())]])
    nearest = np.full(len(shapes), -1)
    for _ in range(rounds):
        previous, nearest = nearest, shape_iou(shapes, centres).argmax(axis=1)
        if np.array_equal(previous, nearest):
            break
        # The median, because a few mislabelled giants would drag a mean.
        centres = np.array(
            [np.median(shapes[nearest == i], axis=0) if (nearest == i).any() else centres[i] for i in range(count)]
        )
    centres = centres[np.argsort(centres.prod(axis=1), kind="stable")]
    return [(round(float(w), 1), round(float(h), 1)) for w, h in centres]


def share_out(anchors: list[Anchor], strides: list[int], counts: list[int]) -> list[tuple[Anchor, ...]]:
    """Give each detection row its anchors: the finest grid the smallest.

    Args:
      anchors: smallest area first, as `fit_anchors` returns them.
      strides: of each detection row, pixels a cell.
      counts: anchors of each detection row.

    Returns:
      One tuple per detection row, in the rows' own order.
    """
    shares: dict[int, tuple[Anchor, ...]] = {}
    start = 0
    for i in sorted(range(len(strides)), key=strides.__getitem__):
        shares[i] = tuple(anchors[start : start + counts[i]])
        start += counts[i]
    return [shares[i] for i in range(len(strides))]


def fit_quality(shapes: np.ndarray, anchors: list[Anchor]) -> float:
    """Mean over the boxes of their IoU with the best anchor, 0..1."""
    shapes, centres = np.asarray(shapes, np.float64), np.asarray(anchors, np.float64)
    # In pieces: of millions of boxes the overlaps with all anchors take gigabytes.
    pieces = (shapes[start : start + _PIECE] for start in range(0, len(shapes), _PIECE))
    return float(np.concatenate([shape_iou(piece, centres).max(axis=1) for piece in pieces]).mean())
