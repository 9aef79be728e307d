"""What a data set holds and what is wrong with it, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from micro_yolo.pipeline.data.dataset import Dataset, Problem, Split
from micro_yolo.pipeline.show.listing import listing

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
# COCO's bounds between small, medium and large, in square pixels: https://cocodataset.org/#detection-eval
COCO_AREAS = (32**2, 96**2)


def print_report(dataset: Dataset, console: Console) -> None:
    """Prints splits, classes, the spread of box sizes."""
    splits = list(dataset.splits.values())
    title = f"{dataset.root}: {dataset.format}, classes: {len(dataset.names)}"
    console.print(Text(title, style="bold"))
    console.print(
        _table(
            "Splits", ["split", "images", "boxes", "crowd", "without boxes", "boxes per image"], map(_split_row, splits)
        )
    )
    heads = ["class", "id", *(f"{split.name} {what}" for split in splits for what in ("images", "boxes"))]
    console.print(_table("Classes", heads, _class_rows(dataset, splits)))
    heads = ["", *(f"{p} %" for p in PERCENTILES)]
    console.print(_table("Boxes of train, percentiles", heads, _spread_rows(dataset.splits["train"])))
    heads = ["split", "small, below 32 x 32", "medium", "large, from 96 x 96"]
    console.print(_table("Box areas as COCO counts them, in the images' own pixels", heads, map(_area_row, splits)))


def print_problems(problems: Sequence[Problem], console: Console) -> None:
    """Prints every problem by file name."""
    if not problems:
        console.print("No problems found.")
        return
    rows = [[p.file, p.what, str(p.count)] for p in problems]
    total = sum(p.count for p in problems)
    console.print(
        _table(f"Problems: {total} in {len({p.file for p in problems})} files", ["file", "what", "count"], rows)
    )


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    words = [number for number, head in enumerate(heads) if number == 0 or head == "what"]
    table = listing(*heads, words=words, title=title)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _split_row(split: Split) -> list[str]:
    per_image = np.diff(split.starts)
    spread = f"{per_image.min()} to {per_image.max()}, median {np.median(per_image):g}"
    counts = (len(split), len(split.classes), int(split.crowd.sum()), int((per_image == 0).sum()))
    return [split.name, *(f"{count:,}" for count in counts), spread]


def _class_rows(dataset: Dataset, splits: Sequence[Split]) -> list[list[str]]:
    columns = []
    for split in splits:
        owner = np.repeat(np.arange(len(split)), np.diff(split.starts))
        pairs = np.unique(owner * len(dataset.names) + split.classes)
        columns.append(np.bincount(pairs % len(dataset.names), minlength=len(dataset.names)))
        columns.append(np.bincount(split.classes, minlength=len(dataset.names)))
    return [
        [name, str(category_id), *(f"{column[i]:,}" for column in columns)]
        for i, (name, category_id) in enumerate(zip(dataset.names, dataset.category_ids, strict=True))
    ]


def _spread_rows(split: Split) -> list[list[str]]:
    sides = split.boxes_xyxy[:, 2:] - split.boxes_xyxy[:, :2]
    images = np.repeat(split.sizes[:, ::-1], np.diff(split.starts), axis=0)
    relative_size = np.sqrt((sides / images).prod(1))
    rows = {
        "size, share of the image's side": (relative_size, ".3f"),
        "width, pixels": (sides[:, 0], ".1f"),
        "height, pixels": (sides[:, 1], ".1f"),
        "aspect, width / height": (sides[:, 0] / sides[:, 1], ".2f"),
    }
    return [
        [name, *(format(value, form) for value in np.percentile(values, PERCENTILES))]
        for name, (values, form) in rows.items()
    ]


def _area_row(split: Split) -> list[str]:
    counts = np.bincount(np.searchsorted(COCO_AREAS, split.areas, side="right"), minlength=3)
    share = 100 / max(len(split.areas), 1)
    return [split.name, *(f"{count:,} ({count * share:.0f} %)" for count in counts)]
