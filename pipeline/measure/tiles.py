"""Small objects in large pictures: a detector that also looks at overlapping windows of a picture, and merges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from micro_yolo.pipeline.measure.finders import Advance, Facts, Found, Picture, Predictor
from micro_yolo.tflite.contract import Nms
from micro_yolo.tflite.decode import Detections
from micro_yolo.tflite.image import load_image

OVERLAP = 0.25
# What ends where its window does is probably part of something larger: how near that is, as a share of the window, and
# what its score is multiplied by, so that the whole, found in another window, wins. Measured by benchmarks/tiles.py.
_NEAR, _CUT = 0.01, 0.5
# Of such a part, how much lies in the whole.
_COVERED = 0.6
# Of the picture as a whole counts what is longer than this share of a window: the rest windows show better.
_LARGE = 0.5
# (left, top, right, bottom) in pixels
Window = tuple[int, int, int, int]


def windows(size: tuple[int, int], window: tuple[int, int], overlap: float = OVERLAP) -> list[Window]:
    """Windows that cover a picture evenly and overlap by at least `overlap` of one.

    Sizes are (height, width) in pixels. A side no longer than the window's is not cut; if neither is, there are no
    windows: the picture itself is enough.
    """

    def starts(whole: int, part: int) -> list[int]:
        if whole <= part:
            return [0]
        count = int(np.ceil((whole - part) / (part * (1 - overlap)))) + 1
        return np.linspace(0, whole - part, count).round().astype(int).tolist()

    (height, width), (tall, wide) = size, window
    if height <= tall and width <= wide:
        return []
    return [
        (left, top, min(left + wide, width), min(top + tall, height))
        for top in starts(height, tall)
        for left in starts(width, wide)
    ]


class Tiled:
    """`finder` looking at each picture as a whole, and at windows of it."""

    def __init__(self, finder: Predictor, window: tuple[int, int] | None = None) -> None:
        """`window` is (height, width) in pixels of the pictures, by default the model's input."""
        self.finder, self.window = finder, window or finder.facts.size

    @property
    def labels(self) -> tuple[str, ...]:
        """The finder's."""
        return self.finder.labels

    @property
    def facts(self) -> Facts:
        """The finder's."""
        return self.finder.facts

    def detect(self, pictures: Sequence[Picture], advance: Advance = lambda: None) -> Iterator[Found | str]:
        """See `Predictor`."""
        for picture in pictures:
            try:
                image = load_image(picture.path, picture.size)
            except ValueError as error:
                advance()
                yield str(error)
                continue
            found = self._found(image)
            advance()
            if picture.size is not None:
                ratio_y, ratio_x = np.asarray(picture.size, np.float64) / image.shape[:2]
                boxes_xyxy = found.detections.boxes_xyxy * np.array([ratio_x, ratio_y, ratio_x, ratio_y])
                found = replace(found, detections=replace(found.detections, boxes_xyxy=boxes_xyxy))
            yield found

    def look(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        """See `Predictor`."""
        return map(self._found, images)

    def _found(self, image: np.ndarray) -> Found:
        height, width = image.shape[:2]
        places = [(0, 0, width, height), *windows((height, width), self.window)]
        each = list(self.finder.look([image[top:bottom, left:right] for left, top, right, bottom in places]))
        if len(each) > 1:
            each[0] = replace(each[0], detections=self._large(each[0].detections))
        boxes, cut = [], []
        for found, place in zip(each, places, strict=True):
            boxes.append(found.detections.boxes_xyxy + np.array([*place[:2], *place[:2]], np.float32))
            cut.append(_is_cut(boxes[-1], place, (height, width)))
        together = Detections(
            np.concatenate(boxes),
            np.concatenate([found.detections.scores for found in each]),
            np.concatenate([found.detections.classes for found in each]),
        )
        iou = Nms.iou_threshold if self.facts.iou_threshold is None else self.facts.iou_threshold
        return Found(merged(together, np.concatenate(cut), iou), sum(found.ms for found in each))

    def _large(self, found: Detections) -> Detections:
        sides = found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2]
        large = (sides > _LARGE * np.array(self.window[::-1])).any(axis=1)
        return Detections(found.boxes_xyxy[large], found.scores[large], found.classes[large])


def _is_cut(boxes_xyxy: np.ndarray, window: Window, size: tuple[int, int]) -> np.ndarray:
    """(n,): whether a box in pixels of the picture, of `size` (height, width), ends where its window does."""
    left, top, right, bottom = window
    edge = np.array([left, top, right, bottom], np.float32)
    near = _NEAR * np.array([right - left, bottom - top] * 2, np.float32)
    inside = np.array([left > 0, top > 0, right < size[1], bottom < size[0]])
    return ((np.abs(boxes_xyxy - edge) <= near) & inside).any(axis=1)


def merged(found: Detections, cut: np.ndarray, iou_threshold: float) -> Detections:
    """Best first, without doubles, the scores of those that are `cut` (n,) lowered.

    Of two of a class that overlap by more than `iou_threshold` the weaker goes, and what is cut and lies mostly in one.
    """
    scores = np.where(cut, _CUT * found.scores, found.scores).astype(np.float32)
    best = np.argsort(-scores, kind="stable")
    boxes, classes, cut = found.boxes_xyxy[best], found.classes[best], cut[best]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    left, kept = np.arange(len(best)), []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        corners = np.minimum(boxes[first, 2:], boxes[left, 2:]) - np.maximum(boxes[first, :2], boxes[left, :2])
        common = np.clip(corners, 0, None).prod(axis=1)
        double = common > iou_threshold * (areas[first] + areas[left] - common)
        part = cut[left] & (common > _COVERED * areas[left])
        left = left[~((double | part) & (classes[left] == classes[first]))]
    rows = best[np.array(kept, np.int64)]
    return Detections(found.boxes_xyxy[rows], scores[rows], found.classes[rows])


def looking(finder: Predictor, tiles: bool, side: int | None) -> tuple[Predictor, tuple[int, int] | None]:
    """`finder`, with `tiles` as one that looks at windows too, of `side` pixels; and the window's (height, width).

    Raises ValueError for a side without tiles, or too small a one.
    """
    if side is not None and (not tiles or side < 16):
        raise ValueError(f"tile-side: needs --tiles, and must be at least 16 pixels, got {side}")
    if not tiles:
        return finder, None
    tiled = Tiled(finder, (side, side) if side else None)
    return tiled, tiled.window
