"""A .tflite with the detections head, which says what its grids say: both are run and compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from micro_yolo.tflite import heads, suppression
from micro_yolo.tflite.contract import Nms
from micro_yolo.tflite.decode import decode
from micro_yolo.tflite.heads import GridLike
from micro_yolo.tflite.interpreter import Interpreter

# Candidates of an image, the best ones, that the detections head is compared with.
_CANDIDATES = 1000


def with_detections(
    data: bytes,
    rows: Sequence[GridLike],
    n_classes: int,
    samples: Sequence[np.ndarray],
    *,
    coding: str,
    nms: Nms | None = None,
) -> bytes:
    """A raw .tflite -> the same with the detections head, which was run on `samples` and says what the grids say.

    Raises ValueError if it does not.
    """
    nms = nms or Nms()
    made = suppression.attach(
        data,
        rows,
        n_classes,
        coding=coding,
        score_threshold=nms.lowest_score,
        iou_threshold=nms.iou_threshold,
        max_detections=nms.max_detections,
    )
    check_detections(made, data, rows, samples, coding=coding)
    return made


def check_detections(
    made: bytes, raw: bytes, rows: Sequence[GridLike], samples: Sequence[np.ndarray], *, coding: str = heads.IMPLIED
) -> None:
    """Run what `suppression.attach` made of `raw` and compare.

    Every detection must be a candidate of `tflite.decode`, and the best of each class must be there.

    Args:
        made: a file with the detections head.
        raw: the file it was made from.
        rows: its detection rows.
        samples: uint8 (h, w, 3) images of the model's size.
        coding: of its grids.

    Raises:
        ValueError: the runtime cannot run it, or it says something else than the grids.
    """
    told, parts = suppression.told(made), heads.find(coding).parts
    if told is None:
        raise ValueError(f"head: the file has no {suppression.OPERATOR}")
    with_head, without = Interpreter(made), Interpreter(raw)
    size = without.input_tensor.shape[1:3]
    height, width = size
    sides = np.array([width, height, width, height], np.float32)
    for sample in samples:
        for interpreter in (with_head, without):
            interpreter.look(sample)
        boxes, classes, scores, count = (with_head.value(name)[0] for name in suppression.OUTPUTS)
        got = scores[: int(count)]
        boxes_xyxy = np.clip(boxes[:, [1, 0, 3, 2]] * sides, 0, sides)[: len(got)]
        grids = {
            row.row_name: {part.name: without.value(f"{row.row_name}_{part.name}")[0] for part in parts} for row in rows
        }
        candidates = decode(
            grids,
            rows,
            (height, width),
            coding=coding,
            score_threshold=told.score_threshold,
            iou_threshold=1,
            max_detections=_CANDIDATES,
            pre_nms=_CANDIDATES,
        )
        # What scores like the last candidate may have been cut off among its equals.
        least = candidates.scores[-1] if len(candidates) == _CANDIDATES else 0
        for box, category, score in zip(boxes_xyxy, classes, got, strict=False):
            near = np.abs(candidates.scores - score) < 1e-4
            near &= candidates.classes == category
            near &= np.abs(candidates.boxes_xyxy - box).max(axis=1, initial=0) < 1e-3 * max(size)
            if score > least + 1e-4 and (box[2:] > box[:2]).all() and not near.any():
                raise ValueError(f"head: the file finds class {category:.0f} at {box}, its grids do not")
        # Where the file is full, a class whose best is worse than all that is in it has no place.
        least = got[-1] if len(got) == told.max_detections else 0
        for category in np.unique(candidates.classes):
            best = candidates.scores[candidates.classes == category].max()
            found = got[classes[: len(got)] == category].max(initial=0)
            if best > least + 1e-4 and found < best - 1e-4:
                raise ValueError(f"head: the file's best score of class {category} is {found}, its grids' {best}")
