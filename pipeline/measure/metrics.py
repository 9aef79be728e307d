"""Average precision by pycocotools of whatever finds objects in pictures."""

from __future__ import annotations

import contextlib
import copy
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micro_yolo.pipeline.data import Dataset, Split
from micro_yolo.pipeline.measure.classes import distinct
from micro_yolo.pipeline.measure.finders import Advance, Facts, GridPredictor, Picture, PredictBatch, Predictor
from micro_yolo.pipeline.measure.results import Results, gathered, joined
from micro_yolo.tflite.contract import Nms
from micro_yolo.tflite.heads import GridLike

SCORE_THRESHOLD = 0.001
# Detections of a picture that COCO counts.
MOST = 100
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
) -> tuple[dict[str, Any], Results]:
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
) -> tuple[dict[str, Any], Results]:
    """Detect on every image of `split` and measure.

    Images that cannot be decoded are left out together with their boxes, and named in the metrics.

    Args:
        predictor: what finds the objects.
        split: the images and their boxes.
        dataset: where the split is from: its category ids and names.
        classes: the predictor's class -> the data set's; what is not in it is left out. Default: they are the same.
        advance: called for each image that is done.

    Returns:
        The metrics of `measured`, and the detections.

    Raises:
        ValueError: no image of the split can be read, or the model cannot be run.
    """
    seen = look(predictor, split, dataset, classes=classes, advance=advance)
    return measured(seen, dataset, predictor.facts.max_detections), seen.results


@dataclass(frozen=True, eq=False)
class Seen:
    """What was found on the images of a split.

    Attributes:
        split: the images that could be read, and their boxes.
        results: the detections.
        skipped: of each other image, why.
        seconds: that all of it took: decoding, resizing, model, suppression.
        model_ms: of an image: model, decoding of its outputs, suppression.
        left_out: detections of classes that the data set does not have; None where all classes are the data set's.
    """

    split: Split
    results: Results
    skipped: list[str]
    seconds: float
    model_ms: float
    left_out: int | None


def look(
    predictor: Predictor,
    split: Split,
    dataset: Dataset,
    *,
    classes: Mapping[int, int] | None = None,
    advance: Advance | None = None,
) -> Seen:
    """Detect on every image of `split`; see `measure_split`."""
    parts: list[Results] = []
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
        parts.append(coco_results(int(split.image_ids[index]), boxes_xyxy, scores, numbers, dataset.category_ids))
    seconds = time.perf_counter() - start
    if not done:
        raise ValueError(f"{dataset.root}: no image of split '{split.name}' can be read; {'; '.join(skipped[:3])}")
    return Seen(
        split if len(done) == len(split) else split.subset(done),
        joined(parts),
        skipped,
        seconds,
        model_ms / len(done),
        None if classes is None else left_out,
    )


def measured(seen: Seen, dataset: Dataset, most: int = MOST) -> dict[str, Any]:
    """The metrics of `coco_metrics` and images, images_per_second, model_ms and skipped, as Seen has them.

    `most` detections of a picture count, but no fewer than COCO's 100.

    Where classes could be left out, detections_left_out too.
    """
    metrics = coco_metrics(seen.split, dataset.category_ids, seen.results, dataset.names, max(most, MOST))
    metrics |= {
        "images": len(seen.split),
        "images_per_second": len(seen.split) / seen.seconds,
        "model_ms": seen.model_ms,
        "skipped": seen.skipped,
    }
    if seen.left_out is not None:
        metrics["detections_left_out"] = seen.left_out
    return metrics


def coco_results(
    image_id: int, boxes_xyxy: np.ndarray, scores: np.ndarray, classes: np.ndarray, category_ids: Sequence[int]
) -> Results:
    """One image's detections; `category_ids` are the source's id of each class, and the boxes are in its pixels."""
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    return Results(
        np.full(len(boxes), image_id, np.int64),
        np.array([category_ids[number] for number in np.asarray(classes).tolist()], np.int64),
        np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).round(3),
        np.asarray(scores, np.float64).round(6),
    )


def coco_metrics(
    split: Split,
    category_ids: Sequence[int],
    results: Sequence[Mapping[str, Any]],
    names: Sequence[str] | None = None,
    most: int = MOST,
) -> dict[str, Any]:
    """COCO's average precision of `results` against the boxes of `split`, in points (0..100).

    Args:
        split: the ground truth; areas decide what is small, crowd boxes are ignored where they match.
        category_ids: the source's id of each class.
        results: detections, or records in COCO's results format.
        names: of the classes, told apart by the category ids where they repeat; default: the category ids.
        most: detections of a class in a picture, the best, that count.

    Returns:
        AP (mean over IoU 0.50:0.95), AP50, AP75, AP_small, AP_medium, AP_large (areas below 32² and 96² pixels, and
        above), AR100 (or whatever `most` is), and per_class: name -> {AP, AP50, boxes}. NaN where there is no ground
        truth.
    """
    names = [str(i) for i in category_ids] if names is None else distinct(names, category_ids)
    precision, recall = _accumulate(
        split, category_ids, results, most
    )  # (IoU, recall, class, area), (IoU, class, area)
    metrics: dict[str, Any] = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, :, :, 0]),
        "AP75": _mean(precision[5, :, :, 0]),
        **{f"AP_{area}": _mean(precision[..., i]) for i, area in enumerate(_SIZES) if i},
        f"AR{most}": _mean(recall[..., 0]),
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
    split: Split, category_ids: Sequence[int], results: Sequence[Mapping[str, Any]], most: int = MOST
) -> tuple[np.ndarray, np.ndarray]:
    """Precision over recall at IoU 0.50 for each class, as pycocotools interpolates it; its mean is the class's AP50.

    Args:
        split: the ground truth.
        category_ids: the source's id of each class.
        results: detections, or records in COCO's results format.
        most: as of `coco_metrics`.

    Returns:
        recall (101,) and precision (101, classes), both 0..1; precision is NaN for a class without ground truth.
    """
    precision = _accumulate(split, category_ids, results, most, levels=1, areas=1)[0][0, :, :, 0]
    return np.linspace(0, 1, len(precision)), np.where(precision < 0, np.nan, precision)


def _accumulate(
    split: Split,
    category_ids: Sequence[int],
    results: Sequence[Mapping[str, Any]],
    most: int,
    *,
    levels: int | None = None,
    areas: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pycocotools' precision (IoU, recall, class, area) and recall (IoU, class, area) at `most` detections an image.

    With `levels` and `areas` only at the first so many IoUs (0.50 is the first) and areas (all is the first).

    Class by class, as it measures them: all at once it makes an object for every pair of an image and a class, whether
    anything is there or not, a hundred gigabytes for 100,000 images of 1,200 classes.
    """
    from pycocotools.cocoeval import Params

    asked = Params(iouType="bbox")
    asked.iouThrs, asked.areaRng = asked.iouThrs[:levels], asked.areaRng[:areas]
    asked.maxDets = [most]
    shape = (len(asked.iouThrs), len(category_ids), len(asked.areaRng))
    recall = np.full(shape, -1.0)
    precision = np.full((shape[0], len(asked.recThrs), *shape[1:]), -1.0)
    found = gathered(results)
    found = found[np.isin(found.image_ids, split.image_ids)]
    owner = np.repeat(np.arange(len(split)), np.diff(split.starts))
    true_rows = _of_each(split.classes, np.arange(len(category_ids)))
    found_rows = _of_each(found.category_ids, np.asarray(category_ids, np.int64))
    # pycocotools reports its progress on stdout, which belongs to the user's table or JSON.
    with contextlib.redirect_stdout(io.StringIO()):
        for number, (rows, mine) in enumerate(zip(true_rows, found_rows, strict=True)):
            # Without true boxes nothing can be said of a class.
            if len(rows):
                evaluated = _evaluated(split, owner, rows, found[mine], asked)
                precision[:, :, number] = evaluated["precision"][:, :, 0, :, -1]
                recall[:, number] = evaluated["recall"][:, 0, :, -1]
    return precision, recall


def _of_each(values: np.ndarray, keys: np.ndarray) -> list[np.ndarray]:
    """For each key the indices at which `values` has it, ascending."""
    order = np.argsort(values, kind="stable")
    first, last = (np.searchsorted(values, keys, side, sorter=order) for side in ("left", "right"))
    return [order[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True)]


def _evaluated(split: Split, owner: np.ndarray, rows: np.ndarray, found: Results, asked: Any) -> dict[str, np.ndarray]:
    """What pycocotools makes of one class: boxes `rows` of the split, box i of image `owner[i]`, and what was found."""
    from pycocotools.cocoeval import COCOeval

    boxes = split.boxes_xyxy[rows].astype(np.float64)
    boxes_xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    images = split.image_ids[owner[rows]]
    truth = _indexed(image_id=images, bbox=boxes_xywh, area=split.areas[rows], iscrowd=split.crowd[rows].astype(int))
    areas = found.boxes_xywh[:, 2] * found.boxes_xywh[:, 3]
    detected = _indexed(image_id=found.image_ids, bbox=found.boxes_xywh, area=areas, score=found.scores)
    evaluation = COCOeval(truth, detected, "bbox")
    evaluation.params = copy.copy(asked)
    evaluation.params.imgIds, evaluation.params.catIds = np.union1d(images, found.image_ids).tolist(), [1]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluated: dict[str, np.ndarray] = evaluation.eval
    return evaluated


def _indexed(**columns: np.ndarray) -> Any:
    """Pycocotools' data set of annotations of one class, made of arrays of equal length."""
    from pycocotools.coco import COCO

    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    made = COCO()
    made.dataset = {
        "categories": [{"id": 1}],
        # Numbered from 1, as it takes 0 for none.
        "annotations": [
            {"id": number, "category_id": 1, **dict(zip(columns, row, strict=True))}
            for number, row in enumerate(rows, 1)
        ],
    }
    made.createIndex()
    return made


def _mean(values: np.ndarray) -> float:
    """Mean in points of what pycocotools could measure (it writes -1 where there is no ground truth)."""
    measured = values[values > -1]
    return 100 * float(measured.mean()) if measured.size else float("nan")
