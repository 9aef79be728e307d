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
        size: the longer side of the input, pixels.
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


def at(dataset: Dataset, size: tuple[int, int]) -> Row:
    """The Row of an input (height, width) to which pictures are stretched."""
    split = dataset.splits["train"]
    pixels = np.array([size[1], size[0]])
    sides, centres, owner = _relative(split)
    roots = np.sqrt((sides * pixels).prod(axis=1))
    cells = np.minimum((centres * pixels / CELL_PX).astype(np.int64), pixels // CELL_PX)
    place = (owner * 10_000 + cells[:, 1]) * 10_000 + cells[:, 0]
    _, which, count = np.unique(place, return_inverse=True, return_counts=True)
    return Row(
        max(size),
        float((roots < SMALL_PX).mean()),
        float((roots < CELL_PX).mean()),
        float((count[which] > 1).mean()),
        float(np.median(roots)),
    )


def measure(dataset: Dataset) -> Sizes:
    """The Sizes of the boxes of train, pictures stretched to a square input."""
    rows = [at(dataset, (size, size)) for size in SIZES]
    longer = int(np.median(dataset.splits["train"].sizes.max(axis=1)))
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
    roots = row.size * np.sqrt(_relative(split)[0].prod(axis=1))
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


def _relative(split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Width and height (n, 2) and centre x, y (n, 2) as shares of the picture, and whose (n,); crowds left out."""
    kept = ~split.crowd
    images = np.repeat(split.sizes[:, ::-1], np.diff(split.starts), axis=0)[kept]
    owner = np.repeat(np.arange(len(split)), np.diff(split.starts))[kept]
    corners = split.boxes_xyxy[kept]
    return (corners[:, 2:] - corners[:, :2]) / images, (corners[:, :2] + corners[:, 2:]) / 2 / images, owner
