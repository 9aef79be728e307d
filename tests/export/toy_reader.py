"""A reader in one file: a line of JSON for each picture, {"picture", "objects": [[name, x1, y1, x2, y2], ...]}."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset, Problems, Raw, Reader, build_split, finish
from micro_yolo.pipeline.data.tree import Tree

FILE = "pictures.jsonl"


def find(tree: Tree) -> Path | None:
    """The file with the lines."""
    return tree.path(FILE) if tree.has(FILE) else None


def read(tree: Tree, found: Path, *, val_fraction: float, seed: int) -> Dataset:
    """Every line; pictures are beside the file."""
    root = tree.root
    tree.use(FILE)
    lines = [json.loads(line) for line in found.read_text().splitlines()]
    objects = [(i, *each) for i, line in enumerate(lines) for each in line["objects"]]
    names = sorted({name for _, name, *_ in objects})
    raw = Raw(
        name="all",
        files=[root / line["picture"] for line in lines],
        image_ids=np.arange(1, len(lines) + 1),
        sizes=np.full((len(lines), 2), np.nan),
        image_index=np.array([i for i, *_ in objects], np.int64),
        boxes_xyxy=np.array([box for _, _, *box in objects], np.float64),
        classes=np.array([names.index(name) for _, name, *_ in objects], np.int64),
        crowd=np.zeros(len(objects), bool),
        areas=np.full(len(objects), np.nan),
    )
    problems = Problems()
    splits = [build_split(raw, root, problems)]
    ids = range(1, len(names) + 1)
    return finish(root, "lines", names, ids, splits, problems, val_fraction=val_fraction, seed=seed)


READER = Reader(f"lines of JSON: {FILE}", find, read)
