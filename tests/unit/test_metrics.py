"""Average precision against values known beforehand, and the evaluation loop around it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline.data import Dataset, Split
from micro_yolo.pipeline.measure.metrics import coco_metrics, coco_results, evaluate_split
from micro_yolo.tflite.heads import IMPLIED, Grid

SIZES = np.array([[100, 200], [50, 50], [80, 60]], np.int32)
BOXES = np.array([[10, 10, 60, 60], [100, 20, 180, 90], [5, 5, 25, 25], [20, 30, 50, 70]], np.float32)


def make_split(files: tuple[Path, ...] = (Path("a"), Path("b"), Path("c")), crowd: int | None = None) -> Split:
    areas = (BOXES[:, 2] - BOXES[:, 0]) * (BOXES[:, 3] - BOXES[:, 1])
    flags = np.arange(4) == (-1 if crowd is None else crowd)
    return Split(
        "val", files, np.array([7, 3, 11]), SIZES, BOXES, np.array([0, 1, 0, 1], np.int32), flags, areas,
        np.array([0, 2, 3, 4]),
    )  # fmt: skip


def perfect(split: Split, ids: tuple[int, ...] = (5, 9)) -> list[dict]:
    results = []
    for i in range(len(split)):
        rows = split.rows(i)
        scores = np.ones(rows.stop - rows.start)
        results += coco_results(int(split.image_ids[i]), split.boxes_xyxy[rows], scores, split.classes[rows], ids)
    return results


def test_perfect_and_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    split = make_split()
    metrics = coco_metrics(split, (5, 9), perfect(split), ("x", "y"))
    assert metrics["AP"] == metrics["AP50"] == metrics["AP75"] == metrics["AR100"] == pytest.approx(100)
    assert metrics["per_class"]["x"] == {"AP": pytest.approx(100), "AP50": pytest.approx(100), "boxes": 2}
    # The largest box is of 5,600 square pixels.
    assert [metrics["AP_small"], metrics["AP_medium"]] == pytest.approx([100, 100])
    assert math.isnan(metrics["AP_large"])
    assert coco_metrics(split, (5, 9), [])["AP"] == 0
    assert capfd.readouterr().out == "", "pycocotools' chatter must stay off stdout"


def test_original_category_ids() -> None:
    split = make_split()
    assert {result["category_id"] for result in perfect(split)} == {5, 9}
    assert coco_metrics(split, (5, 9), perfect(split, (9, 5)))["AP50"] == 0


def test_half_found_and_wrong_size() -> None:
    split = make_split()
    found = perfect(split)
    only_first_class = [result for result in found if result["category_id"] == 5]
    assert coco_metrics(split, (5, 9), only_first_class)["AP50"] == pytest.approx(50)
    # 50 x 50 against 50 x 30: IoU 0.6, so a hit at 0.50, 0.55 and 0.60 of the ten thresholds.
    loose = [{**result, "bbox": [*result["bbox"][:3], result["bbox"][3] * 0.601]} for result in found]
    metrics = coco_metrics(split, (5, 9), loose)
    assert metrics["AP50"] == pytest.approx(100)
    assert metrics["AP"] == pytest.approx(30)
    assert metrics["AP75"] == 0


def test_crowds_are_no_misses() -> None:
    split = make_split(crowd=1)
    found = [result for result in perfect(split) if result["bbox"][0] != 100]
    assert coco_metrics(split, (5, 9), found)["AP50"] == pytest.approx(100)
    assert coco_metrics(split, (5, 9), found)["per_class"]["9"]["boxes"] == 1


def test_class_without_ground_truth_is_nan() -> None:
    split = make_split()
    metrics = coco_metrics(split, (5, 9, 12), perfect(split), ("x", "y", "z"))
    assert math.isnan(metrics["per_class"]["z"]["AP"])
    assert metrics["AP"] == pytest.approx(100)


class Oracle:
    """Answers with the box of whichever picture it is shown: the picture's first pixel says which."""

    rows = (Grid("d", 32, ((32.0, 32.0),)),)

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, pixels: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        self.shapes.append(pixels.shape)
        n = len(pixels)
        boxes, objectness, classes = (np.zeros((n, 2, 2, k), np.float32) for k in (4, 1, 2))
        boxes[:, 0, 0] = 0.5
        for i, image in enumerate(pixels):
            objectness[i, 0, 0, 0] = image[5, 5, 0] / 255
            classes[i, 0, 0, 0] = 1
        return {"d": {"boxes": boxes, "objectness": objectness, "classes": classes}}


def dataset_on_disk(root: Path) -> Dataset:
    files = []
    for i, (height, width) in enumerate(SIZES):
        files.append(root / f"{i}.png")
        Image.fromarray(np.full((height, width, 3), 255, np.uint8)).save(files[-1])
    return Dataset(root, "coco", ("x", "y"), (5, 9), {"val": make_split(tuple(files))})


def run(dataset: Dataset, oracle: Oracle, batch: int = 2, rule: str = "stretch"):
    return evaluate_split(oracle, oracle.rows, dataset.splits["val"], dataset, (64, 64), rule, batch, coding=IMPLIED)


def test_boxes_come_back_in_image_pixels(tmp_path: Path) -> None:
    done: list[None] = []
    dataset, oracle = dataset_on_disk(tmp_path), Oracle()
    metrics, results = evaluate_split(
        oracle,
        oracle.rows,
        dataset.splits["val"],
        dataset,
        (64, 64),
        "stretch",
        2,
        coding=IMPLIED,
        advance=lambda: done.append(None),
    )
    assert oracle.shapes == [(2, 64, 64, 3)] * 2
    assert len(done) == 3
    assert [result["image_id"] for result in results] == [7, 3, 11]
    # Model pixels 0..32 of 64 are half of each picture.
    assert [result["bbox"] for result in results] == [[0, 0, 100, 50], [0, 0, 25, 25], [0, 0, 30, 40]]
    assert metrics["images"] == 3
    assert metrics["images_per_second"] > 0
    assert metrics["skipped"] == []


def test_letterboxed_boxes_come_back_too(tmp_path: Path) -> None:
    _, results = run(dataset_on_disk(tmp_path), Oracle(), rule="letterbox")
    assert results[0]["bbox"] == [0, 0, 100, 50]


def test_a_resaved_picture_is_measured_in_recorded_pixels(tmp_path: Path) -> None:
    dataset = dataset_on_disk(tmp_path)
    Image.fromarray(np.full((50, 100, 3), 255, np.uint8)).save(tmp_path / "0.png")
    _, results = run(dataset, Oracle())
    assert results[0]["bbox"] == [0, 0, 100, 50]


def test_unreadable_pictures_are_left_out_with_their_boxes(tmp_path: Path) -> None:
    dataset = dataset_on_disk(tmp_path)
    (tmp_path / "0.png").write_bytes(b"broken")
    metrics, results = run(dataset, Oracle())
    assert metrics["images"] == 2
    assert "0.png" in metrics["skipped"][0]
    assert [result["image_id"] for result in results] == [3, 11]
    assert metrics["per_class"]["x"]["boxes"] == 1


def test_no_readable_picture_is_an_error(tmp_path: Path) -> None:
    dataset = dataset_on_disk(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="no image of split 'val' can be read"):
        run(dataset, Oracle())
