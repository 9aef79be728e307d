"""Finds out what a path holds and reads it."""

from __future__ import annotations

from pathlib import Path

from micro_yolo.pipeline.data import coco, csv_boxes, voc, yolo
from micro_yolo.pipeline.data.dataset import Dataset

# In this order; a new form is a file with a Reader, and its place here.
READERS = [coco.READER, yolo.READER, voc.READER, csv_boxes.READER, coco.SINGLE]


def load(path: str | Path, *, val_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Reads a data set, in whatever form it is; the first reader of READERS that finds its files reads them.

    Args:
        path: a folder, or a COCO .json or YOLO .yaml file.
        val_fraction: share of the images that become val when the source has no splits of its own.
        seed: of that split.

    Returns:
        A Dataset with at least train and val. Records that break a rule are left out and named in `problems`.

    Raises:
        FileNotFoundError: nothing is at `path`.
        ValueError: it is no known layout, a file of it cannot be used at all, or nothing usable is left.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such folder of labelled images; `python -m pipeline.data --help`")
    for reader in READERS:
        found = reader.find(root)
        if found is not None:
            return reader.read(root, found, val_fraction=val_fraction, seed=seed)
    below = [child for child in sorted(root.iterdir()) if _fits(child)] if root.is_dir() else []
    hint = f"; perhaps you mean {below[0]}" if below else ""
    looked_for = "; ".join(reader.looked_for for reader in READERS if reader.looked_for)
    raise ValueError(f"{root}: no labelled images found; looked for {looked_for}{hint}")


def _fits(path: Path) -> bool:
    try:
        return path.is_dir() and any(reader.find(path) is not None for reader in READERS)
    except (ValueError, OSError):
        return False
