"""Photographs without boxes: folders of any pictures, to learn from by another network's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset, Problem, Split
from micro_yolo.pipeline.data.files import Files, in_threads, size_or_none
from micro_yolo.tflite.image import SUFFIXES, find_images

# Of the pictures, held back to measure with: at least one, and no more than tell enough.
_HELD, _MOST_HELD = 0.05, 256
_FEWEST = 2


def load_photos(folders: Sequence[str | Path], seed: int = 0) -> Dataset:
    """The pictures in folders and below, as a data set without classes and boxes.

    Args:
        folders: searched for pictures; what lies in several of them counts once.
        seed: by which a twentieth of them is drawn as `val`.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are fewer than two pictures that can be read.
    """
    roots = [Path(folder) for folder in folders]
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(f"{root}: no such folder of photographs")
    # By their real places: a folder may be named twice, or lie in another.
    files = sorted({path.resolve(): path for root in roots for path in find_images(root)}.values())
    sizes = list(in_threads(size_or_none, map(str, files)))
    bad = [
        Problem(str(path), "not an image that can be read") for path, size in zip(files, sizes, strict=True) if not size
    ]
    readable = [(path, size) for path, size in zip(files, sizes, strict=True) if size]
    where = ", ".join(map(str, roots))
    if len(readable) < _FEWEST:
        raise ValueError(
            f"{where}: must hold at least {_FEWEST} photographs, got {len(readable)}; allowed: files ending in "
            f"{', '.join(SUFFIXES)}"
        )
    whole = _without_boxes([path for path, _ in readable], np.array([size for _, size in readable], np.int32))
    count = min(max(1, round(_HELD * len(whole))), _MOST_HELD)
    held = np.zeros(len(whole), bool)
    held[np.random.default_rng(seed).permutation(len(whole))[:count]] = True
    splits = {"train": whole.subset(np.flatnonzero(~held), "train"), "val": whole.subset(np.flatnonzero(held), "val")}
    return Dataset(roots[0], "photographs", (), (), splits, tuple(bad), source=where, seeded=True)


def _without_boxes(files: Sequence[Path], sizes: np.ndarray) -> Split:
    return Split(
        name="photographs",
        files=Files.of(files),
        image_ids=np.arange(len(files), dtype=np.int64),
        sizes=sizes,
        boxes_xyxy=np.zeros((0, 4), np.float32),
        classes=np.zeros(0, np.int32),
        crowd=np.zeros(0, bool),
        areas=np.zeros(0, np.float32),
        starts=np.zeros(len(files) + 1, np.int64),
    )
