"""The files in other people's hands, on real photographs: a small network trained on them, then MediaPipe Tasks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_detector import make

from pipeline import evaluate
from pipeline.data import load
from pipeline.metrics import coco_metrics, coco_results
from tflite.decode import Detections, iou
from tflite.detector import Detector
from tflite.image import load_image

pytestmark = pytest.mark.slow
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def trained(shared_data: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(shared_data, tmp_path_factory.mktemp("cells"), command)


@pytest.fixture(scope="module")
def export(trained: Path) -> Path:
    return trained / "export"


@pytest.fixture(scope="module")
def photographs(trained: Path) -> list[Path]:
    return list(load(trained.parent / "photographs").splits["val"].files)


class MediaPipe:
    """MediaPipe Tasks' ObjectDetector with a file of ours, unchanged, alone in its folder."""

    def __init__(self, path: Path, folder: Path, score_threshold: float) -> None:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        alone = folder / path.name
        alone.write_bytes(path.read_bytes())
        self._mediapipe = mediapipe
        options = vision.ObjectDetectorOptions(
            base_options=BaseOptions(model_asset_path=str(alone)), score_threshold=score_threshold
        )
        self._detector = vision.ObjectDetector.create_from_options(options)
        self._labels = Detector(path).labels

    def detect(self, image: np.ndarray) -> Detections:
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        found = self._detector.detect(picture).detections
        corners = [
            (box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height)
            for box in (each.bounding_box for each in found)
        ]
        return Detections(
            np.array(corners, np.float64).reshape(-1, 4),
            np.array([each.categories[0].score for each in found]),
            np.array([self._labels.index(each.categories[0].category_name) for each in found], np.int32),
        )

    def close(self) -> None:
        self._detector.close()


@pytest.fixture
def mediapipe(tmp_path: Path) -> Any:
    made: list[MediaPipe] = []

    def create(path: Path, score_threshold: float) -> MediaPipe:
        made.append(MediaPipe(path, tmp_path, score_threshold))
        return made[-1]

    yield create
    for detector in made:
        detector.close()


def sampled_as_mediapipe(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """How MediaPipe's CPU path makes an image smaller: bilinear from corner to corner in steps of 1/32 pixel."""

    def axis(target: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.rint(np.arange(target) * source / target * 32).astype(int)
        first = np.minimum(at >> 5, source - 1)
        return first, np.minimum(first + 1, source - 1), (at & 31) / 32

    (y0, y1, fy), (x0, x1, fx) = axis(size[0], image.shape[0]), axis(size[1], image.shape[1])
    pixels = image.astype(np.float32)
    rows = pixels[y0] * (1 - fy)[:, None, None] + pixels[y1] * fy[:, None, None]
    return np.floor(rows[:, x0] * (1 - fx)[:, None] + rows[:, x1] * fx[:, None] + 0.5).astype(np.uint8)


def found_as_mediapipe(detector: Detector, image: np.ndarray, score_threshold: float) -> Detections:
    """What our detector finds in a photograph, made smaller by MediaPipe's rule instead of its own."""
    height, width = image.shape[:2]
    found = detector.found(sampled_as_mediapipe(image, detector.size), score_threshold)
    scale = np.array([width, height, width, height]) / np.array(detector.size)[[1, 0, 1, 0]]
    return Detections(found.boxes_xyxy * scale, found.scores, found.classes)


def share_found_again(ours: list[Detections], theirs: list[Detections]) -> float:
    """Share of `ours` that is in `theirs`: same class, IoU at least 0.95, score within 0.02."""
    same = 0
    for mine, other in zip(ours, theirs, strict=True):
        alike = iou(mine.boxes_xyxy.astype(np.float64), other.boxes_xyxy) >= 0.95
        alike &= mine.classes[:, None] == other.classes
        alike &= np.abs(mine.scores[:, None] - other.scores) <= 0.02
        same += int(alike.any(axis=1).sum())
    return same / sum(map(len, ours))


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_both_heads_have_the_same_average_precision(export: Path, tmp_path: Path, variant: str) -> None:
    one, other = (
        evaluate.run(evaluate.Config(model=export / f"model_{name}.tflite", out=tmp_path))
        for name in (variant, f"{variant}_raw")
    )
    assert one["AP50"] > 30
    assert one["AP"] == pytest.approx(other["AP"], abs=0.2)
    assert one["AP50"] == pytest.approx(other["AP50"], abs=0.2)


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_mediapipe_finds_the_same_objects(export: Path, photographs: list[Path], mediapipe: Any, variant: str) -> None:
    path = export / f"model_{variant}.tflite"
    detector, runtime = Detector(path), mediapipe(path, 0.25)
    ours, theirs = [], []
    for file in photographs:
        # MediaPipe rounds boxes down to whole pixels, for a small cell more than is allowed: photographs are enlarged.
        image = load_image(file).repeat(4, axis=0).repeat(4, axis=1)
        height, width = image.shape[:2]
        ours.append(found_as_mediapipe(detector, image, 0.3))
        other = runtime.detect(image)
        inside = np.clip(other.boxes_xyxy, 0, [width, height, width, height])
        theirs.append(Detections(inside, other.scores, other.classes))
    assert sum(map(len, ours)) > 50
    assert share_found_again(ours, theirs) >= 0.98
    assert sum(int((other.scores > 0.3).sum()) for other in theirs) == pytest.approx(sum(map(len, ours)), rel=0.02)


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_mediapipe_has_the_same_average_precision(export: Path, trained: Path, mediapipe: Any, variant: str) -> None:
    path = export / f"model_{variant}.tflite"
    detector, runtime = Detector(path), mediapipe(path, 0.001)
    dataset = load(trained.parent / "photographs")
    split = dataset.splits["val"]

    def average_precision(detect: Callable[[np.ndarray], Detections]) -> float:
        results = []
        for image_id, file in zip(split.image_ids, split.files, strict=True):
            found = detect(load_image(file))
            results += coco_results(int(image_id), found.boxes_xyxy, found.scores, found.classes, dataset.category_ids)
        return float(coco_metrics(split, dataset.category_ids, results)["AP50"])

    ours = average_precision(lambda image: found_as_mediapipe(detector, image, 0.001))
    assert ours > 30
    assert average_precision(runtime.detect) == pytest.approx(ours, abs=0.5)
