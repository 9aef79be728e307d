"""Boxes that are probably wrong, told from the labels alone: doubles, slivers, and shapes unlike their class."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset, Split
from micro_yolo.pipeline.doctor.findings import Finding, Spot, many
from micro_yolo.tflite.decode import iou

# Boxes that overlap more are one object.
_ONE_OBJECT = 0.9
_BLOCK = 1 << 20
# A side that no labeller draws on purpose, in pixels of the picture.
_SLIVER_PX = 2.0
# Of a class's spread (half the distance that holds the middle half): what lies further out is unlike its class.
_OUTLYING = 6.0
_FEWEST = 20
_SHOWN = 12


def doubtful(dataset: Dataset) -> list[Finding]:
    """Findings of all splits."""
    return [finding for find in (_doubled, _slivers, _unlike) for finding in find(dataset)]


def _doubled(dataset: Dataset) -> list[Finding]:
    groups: list[tuple[float, Spot]] = []
    twice = 0
    for split in dataset.splits.values():
        for index in np.flatnonzero(np.diff(split.starts) > 1).tolist():
            rows = np.arange(split.starts[index], split.starts[index + 1])
            rows = rows[~split.crowd[rows]]
            for overlap, *pair in _pairs(split.boxes_xyxy[rows], rows):
                names = [dataset.names[number] for number in split.classes[pair].tolist()]
                twice += names[0] == names[1]
                note = f"{names[0]} twice" if names[0] == names[1] else " and ".join(names)
                # One object with two classes comes first: a double is only counted twice.
                groups.append((overlap + (names[0] != names[1]), Spot(split.name, index, (pair[0], pair[1]), note)))
    if not groups:
        return []
    other = len(groups) - twice
    parts = [f"{many(twice, 'object')} with two boxes"] * (twice > 0)
    parts += [f"{many(other, 'object')} with two classes"] * (other > 0)
    return [
        Finding(
            kind="doubled boxes",
            says=f"{' and '.join(parts)} (which overlap by more than {100 * _ONE_OBJECT:.0f} %).",
            advice="Take out one of each pair: suppression leaves one detection, so the other is always missed.",
            spots=_worst(groups),
            count=len(groups),
        )
    ]


def _pairs(boxes_xyxy: np.ndarray, rows: np.ndarray) -> Iterator[tuple[float, int, int]]:
    """Overlap and `rows` of two boxes that are one object; some at a time, as a picture may have any number of them."""
    step = max(_BLOCK // max(len(rows), 1), 1)
    for start in range(0, len(rows), step):
        overlaps = np.triu(iou(boxes_xyxy[start : start + step], boxes_xyxy[start:]), 1)
        for first, second in zip(*np.nonzero(overlaps > _ONE_OBJECT), strict=True):
            yield float(overlaps[first, second]), int(rows[start + first]), int(rows[start + second])


def _slivers(dataset: Dataset) -> list[Finding]:
    groups = []
    for split in dataset.splits.values():
        sides = (split.boxes_xyxy[:, 2:] - split.boxes_xyxy[:, :2]).min(axis=1, initial=np.inf)
        for row in np.flatnonzero(sides < _SLIVER_PX).tolist():
            groups.append((-float(sides[row]), _spot(split, row, f"{sides[row]:.1f} pixels")))
    if not groups:
        return []
    return [
        Finding(
            kind="slivers",
            says=f"{many(len(groups), 'box')} less than {_SLIVER_PX:.0f} pixels wide or high: a click of the mouse, or "
            "an object cut off by the edge.",
            advice="Take them out: no network finds them, and each costs recall.",
            spots=_worst(groups),
            count=len(groups),
        )
    ]


def _unlike(dataset: Dataset) -> list[Finding]:
    """Boxes far larger, smaller, longer or higher than those of their class."""
    groups: list[tuple[float, Spot]] = []
    measures: tuple[tuple[Callable[[Split], np.ndarray], str, str], ...] = (
        (_log_size, "times as large as its class is", "of the size that its class has"),
        (_log_aspect, "times as wide for its height", "times as wide for its height"),
    )
    whole = {name: _whole(split) for name, split in dataset.splits.items()}
    for measure, more, less in measures:
        values = {name: measure(split) for name, split in dataset.splits.items()}
        for number in range(len(dataset.names)):
            mine = {name: (split.classes == number) & whole[name] for name, split in dataset.splits.items()}
            every = np.concatenate([values[name][mine[name]] for name in dataset.splits])
            if len(every) < _FEWEST:
                continue
            low, middle, high = np.percentile(every, (25, 50, 75))
            # Where half of the class is all alike, a tenth more or less is still like it.
            spread = max((high - low) / 2, 0.1)
            for name, split in dataset.splits.items():
                off = (values[name] - middle) / spread
                for row in np.flatnonzero(mine[name] & (np.abs(off) > _OUTLYING)).tolist():
                    factor = float(np.exp(values[name][row] - middle))
                    told = f"{factor:.1f} {more}" if factor > 1 else f"{factor:.2f} {less}"
                    spot = _spot(split, row, f"{dataset.names[number]}: {told}")
                    groups.append((abs(float(off[row])), spot))
    if not groups:
        return []
    return [
        Finding(
            kind="unlike their class",
            says=f"{many(len(groups), 'box')} of a size or shape far from most others of the class.",
            advice="Look whether the class or the box is wrong; a rare view of the object is fine.",
            spots=_worst(groups),
            count=len(groups),
        )
    ]


def _whole(split: Split) -> np.ndarray:
    """(m,): boxes that no edge of the picture cuts, which may give them any shape, and no crowds."""
    width, height = np.repeat(split.sizes[:, ::-1], np.diff(split.starts), axis=0).T
    left, top, right, bottom = split.boxes_xyxy.T
    return (left > 1) & (top > 1) & (right < width - 1) & (bottom < height - 1) & ~split.crowd


def _log_size(split: Split) -> np.ndarray:
    """Logarithm of each box's side, the root of its area, as a share of the picture's."""
    images = np.repeat(split.sizes, np.diff(split.starts), axis=0).prod(axis=1)
    return np.log((split.boxes_xyxy[:, 2:] - split.boxes_xyxy[:, :2]).prod(axis=1) / images) / 2


def _log_aspect(split: Split) -> np.ndarray:
    sides = split.boxes_xyxy[:, 2:] - split.boxes_xyxy[:, :2]
    return np.log(sides[:, 0] / sides[:, 1])


def _spot(split: Split, row: int, note: str) -> Spot:
    return Spot(split.name, int(np.searchsorted(split.starts, row, side="right") - 1), (row,), note)


def _worst(groups: list[tuple[float, Spot]]) -> tuple[tuple[Spot, ...], ...]:
    return tuple((spot,) for _, spot in sorted(groups, key=lambda group: -group[0])[:_SHOWN])
