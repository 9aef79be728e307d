"""What a person would mend in labels without asking, found and named: numbers that are shares of the picture, boxes
that are there twice, classes of one name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

# Smaller than any object, in pixels: boxes that are all below it were never pixels.
_SHARE = 1.0001
# Odd, and of as many ones as zeros, in no order.
_MIX = np.array(
    [
        *(0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5),
        *(0xD6E8FEB86659FD93, 0xA0761D6478BD642F),
    ],
    np.uint64,
)


def are_shares(boxes_xyxy: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether boxes (m, 4) are shares of pictures of these sizes (n, 2), where pixels were to be expected."""
    if not len(boxes_xyxy) or not len(sizes) or (boxes_xyxy > _SHARE).any():
        return False
    finite = boxes_xyxy[np.isfinite(boxes_xyxy).all(1)]
    if not len(finite) or finite.max() > _SHARE or finite.min() < -_SHARE:
        return False
    # A drawn pixel is a box too, but not a third of one.
    return bool((finite != np.round(finite)).any()) and float(np.nanmedian(sizes)) > 4


def are_corners(boxes_xywh: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether boxes (m, 4) that should be x, y, width, height can only be corners; sizes (m, 2) of their pictures."""
    with np.errstate(invalid="ignore", over="ignore"):
        sides = sizes[:, ::-1]
        known = np.isfinite(boxes_xywh).all(1) & np.isfinite(sizes).all(1) & (sides > 0).all(1)
        if known.sum() < 2:
            return False
        x, sides = boxes_xywh[known], sides[known]
        leaving = (x[:, :2] + x[:, 2:] > sides + 1).any(1).mean()
        fitting = ((x[:, 2:] > x[:, :2]) & (x[:, 2:] <= sides + 1)).all()
    return bool(leaving > 0.5 and fitting)


def doubled(images: np.ndarray, classes: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """True (m,) for each box that an earlier one of its picture (m,) equals, class (m,) and float32 corners (m, 4)."""
    if len(boxes) < 2:
        return np.zeros(len(boxes), bool)
    with np.errstate(over="ignore"):
        key = images.astype(np.uint64) * _MIX[4]
        key += classes.astype(np.uint64) * _MIX[5]
        for column in range(4):
            # Zero has two signs.
            key ^= key >> np.uint64(29)
            key += (boxes[:, column] + np.float32(0)).view(np.uint32).astype(np.uint64) * _MIX[column]
    order = np.argsort(key, kind="stable")
    last, this = order[:-1], order[1:]
    alike = np.flatnonzero(key[last] == key[this])
    last, this = last[alike], this[alike]
    # Two keys may agree by chance.
    same = (images[last] == images[this]) & (classes[last] == classes[this]) & (boxes[last] == boxes[this]).all(1)
    found = np.zeros(len(boxes), bool)
    found[this[same]] = True
    return found


def merged_names(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The distinct names in their order, and of each of `names` its place (n,) among them."""
    place: dict[str, int] = {}
    places = [place.setdefault(name, len(place)) for name in names]
    return list(place), np.array(places, np.int64)


def alike_names(names: Sequence[str]) -> list[list[str]]:
    """Groups of names that differ in letter case or spaces alone."""
    groups = defaultdict(list)
    for name in names:
        groups["".join(name.casefold().split())].append(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]
