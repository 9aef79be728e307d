"""The only place that imports trackers: which detections of a video's frames are one object."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from micro_yolo.tflite.decode import Detections

# Of the score from which objects are shown: a known object is followed down to this share of it.
FAINT = 1 / 3


class Tracks:
    """Follows the objects of one video, each class apart, by ByteTrack (Zhang et al. 2021, arXiv 2110.06864)."""

    def __init__(self, score_threshold: float, fps: float) -> None:
        """What scores more than `score_threshold` may be a new object. ModuleNotFoundError without the libraries."""
        import supervision
        import trackers

        self._threshold, self._detections = score_threshold, supervision.Detections
        self._new = functools.partial(
            trackers.ByteTrackTracker,
            frame_rate=fps,
            track_activation_threshold=score_threshold,
            high_conf_det_threshold=score_threshold,
            minimum_consecutive_frames=1,
        )
        self._of_class: dict[int, Any] = {}
        self._numbers: dict[tuple[int, int], int] = {}

    @property
    def count(self) -> int:
        """Objects so far."""
        return len(self._numbers)

    def follow(self, found: Detections) -> tuple[Detections, np.ndarray]:
        """The next frame's detections, from faint on -> those that are to be shown, and int (n,) the object of each.

        Objects are numbered from 1; 0 is one that was seen for the first time, whose number comes with the next frame.
        """
        numbers = np.zeros(len(found), int)
        for category in sorted({*self._of_class, *found.classes.tolist()}):
            tracker = self._of_class.get(category) or self._of_class.setdefault(category, self._new())
            rows = np.flatnonzero(found.classes == category)
            told = tracker.update(
                self._detections(
                    xyxy=found.boxes_xyxy[rows].astype(float),
                    confidence=found.scores[rows].astype(float),
                    class_id=found.classes[rows].astype(int),
                    data={"row": rows},
                )
            )
            for row, track in zip(told.data.get("row", ()), told.tracker_id, strict=False):
                if track >= 0:
                    numbers[row] = self._numbers.setdefault((category, int(track)), len(self._numbers) + 1)
        shown = (found.scores > self._threshold) | (numbers > 0)
        return Detections(found.boxes_xyxy[shown], found.scores[shown], found.classes[shown]), numbers[shown]
