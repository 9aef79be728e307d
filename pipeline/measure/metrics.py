"""Average precision by pycocotools of whatever finds objects in pictures."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from micro_yolo.pipeline.data import Dataset, Split
from micro_yolo.pipeline.measure.finders import Advance, Facts, GridPredictor, Picture, PredictBatch, Predictor
from micro_yolo.tflite.contract import Nms
from micro_yolo.tflite.heads import GridLike

SCORE_THRESHOLD = 0.001
_SIZES = ("all", "small", "medium", "large")


def evaluate_split(
    predict_batch: PredictBatch,
    rows: Sequence[GridLike],
    split: Split,
    dataset: Dataset,
    size: tuple[int, int],
    rule: str,
    batch_size: int = 16,
    *,
    coding: str,
    iou_threshold: float = Nms.iou_threshold,
    advance: Advance | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """`measure_split` of what gives grids.

    Args:
        predict_batch: see PredictBatch. It always gets `batch_size` images, the last batch filled up with black.
        rows: the detection rows, in the network's order.
        split: see `measure_split`.
        dataset: see there.
        size: (height, width) of the model's input.
        rule: of tflite.image.RULES.
        batch_size: images per call.
        coding: of the grids, one of tflite.heads.CODINGS.
        iou_threshold: of the suppression.
        advance: see there.
    """
    facts = Facts(size, rule, SCORE_THRESHOLD, iou_threshold)
    network = GridPredictor(predict_batch, rows, dataset.names, facts, batch_size, coding)
    return measure_split(network, split, dataset, advance=advance)


def measure_split(
    predictor: Predictor,
    split: Split,
    dataset: Dataset,
    *,
    classes: Mapping[int, int] | None = None,
    advance: Advance | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Detect on every image of `split` and measure.

    Images that cannot be decoded are left out together with their boxes, and named in the metrics.

    Args:
        predictor: what finds the objects.
        split: the images and their boxes.
        dataset: where the split is from: its category ids and names.
        classes: the predictor's class -> the data set's; what is not in it is left out. Default: they are the same.
        advance: called for each image that is done.

    Returns:
        The metrics of `coco_metrics` and images, images_per_second (decoding, resizing, model, suppression),
        model_ms (per image: model, decoding, suppression), skipped (messages), with `classes` also
        detections_left_out; and the detections in COCO's results format.

    Raises:
        ValueError: no image of the split can be read, or the model cannot be run.
    """
    results: list[dict[str, Any]] = []
    done: list[int] = []
    skipped: list[str] = []
    model_ms, left_out = 0.0, 0
    start = time.perf_counter()
    sizes = [(int(height), int(width)) for height, width in split.sizes]
    pictures = [Picture(file, size) for file, size in zip(split.files, sizes, strict=True)]
    for index, found in enumerate(predictor.detect(pictures, advance or (lambda: None))):
        if isinstance(found, str):
            skipped.append(found)
            continue
        done.append(index)
        model_ms += found.ms
        boxes_xyxy, scores, numbers = found.detections.boxes_xyxy, found.detections.scores, found.detections.classes
        if classes is not None:
            numbers = np.array([classes.get(number, -1) for number in numbers.tolist()], np.int32)
            known = numbers >= 0
            left_out += int((~known).sum())
            boxes_xyxy, scores, numbers = boxes_xyxy[known], scores[known], numbers[known]
        results += coco_results(int(split.image_ids[index]), boxes_xyxy, scores, numbers, dataset.category_ids)
    seconds = time.perf_counter() - start
    if not done:
        raise ValueError(f"{dataset.root}: no image of split '{split.name}' can be read; {'; '.join(skipped[:3])}")
    measured = split if len(done) == len(split) else split.subset(done)
    metrics = coco_metrics(measured, dataset.category_ids, results, dataset.names)
    metrics |= {
        "images": len(done),
        "images_per_second": len(done) / seconds,
        "model_ms": model_ms / len(done),
        "skipped": skipped,
    }
    if classes is not None:
        metrics["detections_left_out"] = left_out
    return metrics, results


def coco_results(
    image_id: int, boxes_xyxy: np.ndarray, scores: np.ndarray, classes: np.ndarray, category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """One image's detections in COCO's results format: bbox is x, y, width, height in pixels, ids the source's."""
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    boxes_xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).round(3).tolist()
    return [
        {"image_id": image_id, "category_id": int(category_ids[category]), "bbox": box, "score": score}
        for box, score, category in zip(
            boxes_xywh, np.asarray(scores, np.float64).round(6).tolist(), np.asarray(classes).tolist(), strict=True
        )
    ]


def coco_metrics(
    split: Split,
    category_ids: Sequence[int],
    results: Sequence[dict[str, Any]],
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """COCO's average precision of `results` against the boxes of `split`, in points (0..100).

    Args:
        split: the ground truth; areas decide what is small, crowd boxes are ignored where they match.
        category_ids: the source's id of each class.
        results: detections in COCO's results format.
        names: of the classes; default: the category ids.

    Returns:
        AP (mean over IoU 0.50:0.95), AP50, AP75, AP_small, AP_medium, AP_large (areas below 32² and 96² pixels, and
        above), AR100, and per_class: name -> {AP, AP50, boxes}. NaN where there is no ground truth.
    """
    names = [str(i) for i in category_ids] if names is None else list(names)
    precision, recall = _accumulate(split, category_ids, results)  # (IoU, recall, class, area), (IoU, class, area)
    metrics: dict[str, Any] = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, :, :, 0]),
        "AP75": _mean(precision[5, :, :, 0]),
        **{f"AP_{area}": _mean(precision[..., i]) for i, area in enumerate(_SIZES) if i},
        "AR100": _mean(recall[..., 0]),
    }
    counts = np.bincount(split.classes[~split.crowd], minlength=len(category_ids))
    metrics["per_class"] = {
        name: {
            "AP": _mean(precision[:, :, i, 0]),
            "AP50": _mean(precision[0, :, i, 0]),
            "boxes": int(counts[i]),
        }
        for i, name in enumerate(names)
    }
    return metrics


def precision_curves(
    split: Split, category_ids: Sequence[int], results: Sequence[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """Precision over recall at IoU 0.50 for each class, as pycocotools interpolates it; its mean is the class's AP50.

    Args:
        split: the ground truth.
        category_ids: the source's id of each class.
        results: detections in COCO's results format.

    Returns:
        recall (101,) and precision (101, classes), both 0..1; precision is NaN for a class without ground truth.
    """
    precision = _accumulate(split, category_ids, results)[0][0, :, :, 0]
    return np.linspace(0, 1, len(precision)), np.where(precision < 0, np.nan, precision)


def _accumulate(
    split: Split, category_ids: Sequence[int], results: Sequence[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    owner = np.repeat(np.arange(len(split)), np.diff(split.starts))
    boxes = split.boxes_xyxy.astype(np.float64)
    boxes_xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    truth = COCO()
    truth.dataset = {
        "images": [
            {"id": int(i), "height": int(h), "width": int(w)}
            for i, (h, w) in zip(split.image_ids, split.sizes, strict=True)
        ],
        "categories": [{"id": int(i), "name": str(i)} for i in category_ids],
        "annotations": [
            {
                "id": row + 1,
                "image_id": int(split.image_ids[owner[row]]),
                "category_id": int(category_ids[split.classes[row]]),
                "bbox": boxes_xywh[row].tolist(),
                "area": float(split.areas[row]),
                "iscrowd": int(split.crowd[row]),
            }
            for row in range(len(boxes))
        ],
    }
    detected = COCO()
    detected.dataset = {
        "images": truth.dataset["images"],
        "categories": truth.dataset["categories"],
        "annotations": [
            {**result, "id": i + 1, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}
            for i, result in enumerate(results)
        ],
    }
    # pycocotools reports its progress on stdout, which belongs to the user's table or JSON.
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        detected.createIndex()
        evaluation = COCOeval(truth, detected, "bbox")
        evaluation.params.catIds = [int(i) for i in category_ids]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1], evaluation.eval["recall"][..., -1]


def _mean(values: np.ndarray) -> float:
    """Mean in points of what pycocotools could measure (it writes -1 where there is no ground truth)."""
    measured = values[values > -1]
    return 100 * float(measured.mean()) if measured.size else float("nan")
