"""Why a detector misses: what AP50 would gain if mistakes of one kind were mended (TIDE; Bolya, Foley, Hays & Hoffman
2020, arXiv 2008.08115).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micro_yolo.pipeline.measure.matching import IN_CROWD, IOU, NOTHING, Laid, matched

# A detection that overlaps nothing by this much has nothing to do with any box.
APART = 0.1
# In this order a false detection is asked what it is.
PLACE, CLASS, AGAIN, BACKGROUND, BOTH = "localisation", "classification", "duplicate", "background", "both"
MISSED = "missed"
KINDS = {
    CLASS: "the right place, another class",
    PLACE: "the right class, too far off",
    BOTH: "another class, and too far off",
    AGAIN: "found more than once",
    BACKGROUND: "nothing is there",
    MISSED: "not found at all",
}
_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Kind:
    """Mistakes of a kind.

    Attributes:
        count: how many detections, or boxes that were missed, at all scores that were measured.
        points: that AP50 would gain if they were mended.
        share: of all that the kinds would gain, 0..1.
    """

    count: int
    points: float
    share: float


@dataclass(frozen=True)
class Misses:
    """Where AP50 is lost.

    Attributes:
        AP50: points, mean of the classes that have boxes.
        kinds: of KINDS.
        false: points that AP50 would gain without any false detection.
        unfound: points that AP50 would gain if every box that was not found were none.
    """

    AP50: float
    kinds: dict[str, Kind]
    false: float
    unfound: float


@dataclass(frozen=True, eq=False)
class Sorted:
    """What each detection is.

    Attributes:
        rows: of the boxes that were found, as of `matched`.
        kinds: of each false detection one of KINDS, "" of the others: (k,) of str.
        mendable: the row of the box that a detection of kind PLACE or CLASS would have found, else NOTHING: int64 (k,).
        missed: rows of the boxes that nothing found, and no such detection would have: int64 (m,).
    """

    rows: np.ndarray
    kinds: np.ndarray
    mendable: np.ndarray
    missed: np.ndarray


def sort(laid: Laid) -> Sorted:
    """Each false detection and each box that was not found, by what went wrong."""
    rows, split = matched(laid), laid.split
    kinds = np.where(rows == NOTHING, BACKGROUND, "").astype(object)
    mendable = np.full(len(laid), NOTHING)
    for mine, true, overlap in laid.overlaps():
        solid = ~split.crowd[true]
        if not solid.any():
            continue
        same = (laid.classes[mine, None] == split.classes[None, true]) & solid
        own, other = np.where(same, overlap, -1), np.where(~same & solid, overlap, -1)
        false = rows[mine] == NOTHING
        best, most = own.max(axis=1), other.max(axis=1)
        place = false & (best >= APART) & (best < IOU)
        wrong = false & ~place & (most >= IOU)
        again = false & ~place & ~wrong & (best >= IOU)
        both = false & ~place & ~wrong & ~again & (np.maximum(best, most) > APART)
        for which, kind in ((place, PLACE), (wrong, CLASS), (again, AGAIN), (both, BOTH)):
            kinds[mine][which] = kind
        targets = true.start + np.where(place, own.argmax(axis=1), other.argmax(axis=1))
        mendable[mine] = np.where(place | wrong, targets, NOTHING)
    unfound = ~split.crowd
    unfound[rows[rows >= 0]] = False
    unfound[mendable[mendable >= 0]] = False
    return Sorted(rows, kinds, mendable, np.flatnonzero(unfound))


def misses(laid: Laid, n_classes: int, found: Sorted | None = None) -> Misses | None:
    """What each kind of mistake costs, `found` being `sort` of the same; None without a box."""
    split, found = laid.split, found or sort(laid)
    boxes = np.bincount(split.classes[~split.crowd], minlength=n_classes)
    if not boxes.any():
        return None
    keep, hits = found.rows != IN_CROWD, found.rows >= 0

    def gained(kept: np.ndarray, hit: np.ndarray, classes: np.ndarray, boxes: np.ndarray = boxes) -> float:
        return average(laid.scores[kept], hit[kept], classes[kept], boxes, had) - whole

    had, whole = boxes > 0, 0.0
    whole = gained(keep, hits, laid.classes)
    gains = {}
    for kind in KINDS:
        mine = found.kinds == kind
        if kind in (PLACE, CLASS):
            mended = _first(laid, found, mine)
            classes = laid.classes.copy()
            classes[mended] = split.classes[found.mendable[mended]]
            gains[kind] = gained(keep & (~mine | mended), hits | mended, classes)
        elif kind == MISSED:
            left = boxes - np.bincount(split.classes[found.missed], minlength=n_classes)
            gains[kind] = gained(keep, hits, laid.classes, left)
        else:
            gains[kind] = gained(keep & ~mine, hits, laid.classes)
    total = sum(max(0.0, gain) for gain in gains.values())
    counts = {kind: int((found.kinds == kind).sum()) for kind in KINDS} | {MISSED: len(found.missed)}
    hit = np.bincount(laid.classes[hits], minlength=n_classes)
    return Misses(
        whole,
        {kind: Kind(counts[kind], gain, max(0.0, gain) / total if total else 0.0) for kind, gain in gains.items()},
        gained(hits, hits, laid.classes),
        gained(keep, hits, laid.classes, hit),
    )


def _first(laid: Laid, found: Sorted, mine: np.ndarray) -> np.ndarray:
    """Of the detections `mine` the best scored for each box that nothing else found: bool (k,)."""
    taken = np.zeros(len(laid.split.classes), bool)
    taken[found.rows[found.rows >= 0]] = True
    candidates = np.flatnonzero(mine & ~taken[found.mendable])
    candidates = candidates[np.argsort(-laid.scores[candidates], kind="stable")]
    chosen = np.zeros(len(laid), bool)
    chosen[candidates[np.unique(found.mendable[candidates], return_index=True)[1]]] = True
    return chosen


def average(scores: np.ndarray, hits: np.ndarray, classes: np.ndarray, boxes: np.ndarray, had: np.ndarray) -> float:
    """Mean AP in points of the classes that `had` boxes, as pycocotools interpolates it, at one IoU.

    Args:
        scores: (k,) of detections.
        hits: (k,) whether each found a box.
        classes: (k,) of each.
        boxes: (classes,) that there are to find; where none is left, all that there were are found.
        had: (classes,) whether there was a box.
    """
    order = np.lexsort((-scores, classes))
    ends = np.searchsorted(classes[order], np.arange(len(boxes) + 1))
    values = []
    for number in np.flatnonzero(had).tolist():
        if not boxes[number]:
            values.append(1.0)
            continue
        right = hits[order[ends[number] : ends[number + 1]]].cumsum()
        precision = np.append(right / np.arange(1, len(right) + 1), 0.0)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        values.append(float(best[np.searchsorted(right / boxes[number], _RECALLS, side="left")].mean()))
    return 100 * float(np.mean(values))
