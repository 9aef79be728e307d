"""MediaPipe Tasks' ObjectDetector with files of ours, unchanged, and what is compared with our own detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from micro_yolo.tflite.decode import Detections, iou
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import resize

# As the page of pipeline.browser does it: MediaPipe rounds boxes down to whole pixels of what it is handed.
ENLARGED = 2


class MediaPipe:
    """A file alone in a folder of its own, in MediaPipe; `close` it."""

    def __init__(self, path: Path, score_threshold: float) -> None:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision

        self._folder = TemporaryDirectory()
        alone = Path(self._folder.name) / "model.tflite"
        alone.write_bytes(path.read_bytes())
        self._mediapipe = mediapipe
        options = vision.ObjectDetectorOptions(
            base_options=BaseOptions(model_asset_path=str(alone)), score_threshold=score_threshold
        )
        self._detector = vision.ObjectDetector.create_from_options(options)
        self._ours = Detector(path)

    def detect_resized(self, image: np.ndarray) -> Detections:
        """What it finds in a photograph made smaller by our rule; boxes in pixels of the photograph."""
        pixels, fit = resize(image, self._ours.size, self._ours.contract.input.resize)
        found = half_a_pixel_added(self.detect(pixels.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)))
        return Detections(fit.boxes_to_image(found.boxes_xyxy / ENLARGED), found.scores, found.classes)

    def detect(self, image: np.ndarray) -> Detections:
        """What it finds in a photograph that it makes smaller itself; boxes in whole pixels."""
        picture = self._mediapipe.Image(image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
        boxes, scores, classes = [], [], []
        for each in self._detector.detect(picture).detections:
            box = each.bounding_box
            left, top = box.origin_x, box.origin_y
            # Objects of several classes in the same box come as one detection with several categories.
            for category in each.categories:
                boxes.append((left, top, left + box.width, top + box.height))
                scores.append(category.score)
                classes.append(self._ours.labels.index(category.category_name))
        return Detections(
            np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64), np.array(classes, np.int32)
        )

    def close(self) -> None:
        """Let go of it."""
        self._detector.close()
        self._folder.cleanup()


def half_a_pixel_added(found: Detections) -> Detections:
    """MediaPipe's boxes with what rounding down takes on average added to origins and sizes."""
    return Detections(found.boxes_xyxy + np.array([0.5, 0.5, 1, 1]), found.scores, found.classes)


def in_whole_pixels(found: Detections) -> Detections:
    """The same with origins and sizes of boxes rounded down, which is all that MediaPipe's boxes can say."""
    corners = found.boxes_xyxy.astype(np.float64)
    origin, size = np.floor(corners[:, :2]), np.floor(corners[:, 2:] - corners[:, :2])
    return Detections(np.concatenate([origin, origin + size], axis=1), found.scores, found.classes)


def found_again(ours: Sequence[Detections], theirs: Sequence[Detections]) -> tuple[int, int]:
    """How many of `ours` are in `theirs` (same class, IoU at least 0.95, score within 0.02), and how many there are."""
    same = 0
    for mine, other in zip(ours, theirs, strict=True):
        alike = iou(mine.boxes_xyxy.astype(np.float64), other.boxes_xyxy) >= 0.95
        alike &= mine.classes[:, None] == other.classes
        alike &= np.abs(mine.scores[:, None] - other.scores) <= 0.02
        same += int(alike.any(axis=1).sum())
    return same, sum(map(len, ours))
