"""The only place that imports trackers: which detections of a video's frames are one object."""

from __future__ import annotations

import numpy as np

from micro_yolo.tflite.decode import Detections

# Of the score from which objects are shown: a known object is followed down to this share of it.
FAINT = 1 / 3


class Tracks:
    """Follows the objects of one video, by ByteTrack (Zhang et al. 2021, arXiv 2110.06864).

    Attributes:
        count: objects so far.
    """

    def __init__(self, score_threshold: float, fps: float) -> None:
        """What scores more than `score_threshold` may be a new object. ModuleNotFoundError without the libraries."""
        import supervision
        import trackers

        self._threshold, self._detections = score_threshold, supervision.Detections
        self._tracker = trackers.ByteTrackTracker(
            frame_rate=fps,
            track_activation_threshold=score_threshold,
            high_conf_det_threshold=score_threshold,
            minimum_consecutive_frames=1,
        )
        self.count = 0

    def follow(self, found: Detections) -> tuple[Detections, np.ndarray]:
        """The next frame's detections, from faint on -> those that are to be shown, and int (n,) the object of each.

        Objects are numbered from 1; 0 is one that was seen for the first time, whose number comes with the next frame.
        """
        told = self._tracker.update(
            self._detections(
                xyxy=found.boxes_xyxy.astype(float),
                confidence=found.scores.astype(float),
                class_id=found.classes.astype(int),
                data={"row": np.arange(len(found))},
            )
        )
        numbers = np.zeros(len(found), int)
        if len(told):
            numbers[told.data["row"]] = told.tracker_id + 1
        self.count = max(self.count, int(numbers.max(initial=0)))
        shown = (found.scores > self._threshold) | (numbers > 0)
        return Detections(found.boxes_xyxy[shown], found.scores[shown], found.classes[shown]), numbers[shown]
