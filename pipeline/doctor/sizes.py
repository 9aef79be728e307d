"""How large objects are once pictures are brought to a network's input, at each size one might train at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset, Split
from micro_yolo.pipeline.doctor.findings import Finding, Spot

# From 160 on: below, a grid of cells of 32 pixels has fewer than five in a row.
SIZES = (160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 512, 576, 640)
# Pixels of the input below which an object is hardly found, and the side of a cell of the finest grid of most networks.
SMALL_PX, CELL_PX = 8, 16
# Share of the boxes of train that may be smaller than a cell.
_LOST = 0.05
_SHOWN = 9


@dataclass(frozen=True)
class Row:
    """At one size of the input, shares 0..1 of the boxes of train.

    Attributes:
        size: sides of the input, pixels.
        small: boxes below SMALL_PX, as the root of their area.
        below_cell: likewise below CELL_PX.
        crowded: boxes whose centre lies in one cell with another's.
        median: of the roots of their areas, pixels.
    """

    size: int
    small: float
    below_cell: float
    crowded: float
    median: float


@dataclass(frozen=True)
class Sizes:
    """What each size of the input does to the objects.

    Attributes:
        rows: by size.
        recommended: the smallest at which few boxes are below a cell; the largest that the pictures fill if none is.
        enough: whether few are below a cell there.
        longer_side: median of the pictures', pixels.
    """

    rows: tuple[Row, ...]
    recommended: int
    enough: bool
    longer_side: int


def measure(dataset: Dataset) -> Sizes:
    """The Sizes of the boxes of train, pictures stretched to a square input."""
    split = dataset.splits["train"]
    sides = _shares(split)
    centres = _centres(split)
    owner = np.repeat(np.arange(len(split)), np.diff(split.starts))[~split.crowd]
    rows = []
    for size in SIZES:
        roots = size * sides
        cells = np.minimum((centres * size / CELL_PX).astype(np.int64), size // CELL_PX)
        place = (owner * 10_000 + cells[:, 1]) * 10_000 + cells[:, 0]
        _, which, count = np.unique(place, return_inverse=True, return_counts=True)
        rows.append(
            Row(
                size,
                float((roots < SMALL_PX).mean()),
                float((roots < CELL_PX).mean()),
                float((count[which] > 1).mean()),
                float(np.median(roots)),
            )
        )
    longer = int(np.median(split.sizes.max(axis=1)))
    # Beyond the pictures' own pixels there is nothing more to see.
    useful = [row for row in rows if row.size <= 1.1 * longer] or rows[:1]
    enough = next((row for row in useful if row.below_cell <= _LOST), None)
    return Sizes(tuple(rows), (enough or useful[-1]).size, enough is not None, longer)


def advise(dataset: Dataset, sizes: Sizes) -> list[Finding]:
    """A finding where even the recommended size leaves many objects small."""
    row = next(row for row in sizes.rows if row.size == sizes.recommended)
    if sizes.enough:
        return []
    split = dataset.splits["train"]
    roots = row.size * _shares(split)
    kept = np.flatnonzero(~split.crowd)
    small = kept[roots < CELL_PX]
    owner = np.searchsorted(split.starts, small, side="right") - 1
    counts = np.bincount(owner, minlength=len(split))
    worst = [index for index in np.argsort(-counts, kind="stable")[:_SHOWN].tolist() if counts[index]]
    return [
        Finding(
            kind="small objects",
            says=f"At {row.size} x {row.size}, as large as the pictures (longer side: {sizes.longer_side}), "
            f"{100 * row.below_cell:.0f} % of the boxes of train are below {CELL_PX} pixels, a cell of the finest "
            f"grid, and {100 * row.small:.0f} % below {SMALL_PX}, which are hardly ever found.",
            advice="Keep the pictures larger if there are larger ones, train on crops of them, or look at windows "
            "(`pipeline.predict --tiles`).",
            spots=tuple(
                (Spot("train", index, tuple(small[owner == index].tolist()), note=f"{counts[index]} small"),)
                for index in worst
            ),
            count=int((counts > 0).sum()),
        )
    ]


def _shares(split: Split) -> np.ndarray:
    """Root of each box's area, as a share of that of its picture; crowds left out."""
    images = np.repeat(split.sizes[:, ::-1], np.diff(split.starts), axis=0)
    sides = (split.boxes_xyxy[:, 2:] - split.boxes_xyxy[:, :2]) / images
    return np.sqrt(sides.prod(axis=1))[~split.crowd]


def _centres(split: Split) -> np.ndarray:
    """(n, 2) centres x, y as shares of the picture; crowds left out."""
    images = np.repeat(split.sizes[:, ::-1], np.diff(split.starts), axis=0)
    return ((split.boxes_xyxy[:, :2] + split.boxes_xyxy[:, 2:]) / 2 / images)[~split.crowd]
