"""CSV with one box per line, as the TensorFlow Object Detection tutorials write it.

Columns: filename,width,height,class,xmin,ymin,xmax,ymax; an image without boxes cannot be said.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from micro_yolo.pipeline.data.dataset import (
    SPLIT_NAMES,
    Dataset,
    Problems,
    Raw,
    Reader,
    build_split,
    clean_name,
    finish,
    relative,
)

_COLUMNS = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")


def find(root: Path) -> dict[str, Path] | None:
    """Split name -> CSV file with our columns; {"all": file} if its name names no split; None if there is none."""
    fits = [path for path in sorted(root.glob("*.csv")) if set(_COLUMNS) <= set(_header(path))]
    found: dict[str, Path] = {}
    for path in fits:
        word = path.stem.lower().replace("-", "_").split("_")[0]
        found.setdefault(SPLIT_NAMES.get(word, "all"), path)
    if "all" in found and len(found) > 1:
        del found["all"]
    return found or None


def read(root: Path, found: dict[str, Path], *, val_fraction: float, seed: int) -> Dataset:
    """Reads the files `find` gave; classes are the names met, in alphabetical order. ValueError if nothing is left."""
    problems = Problems()
    tables = {name: _rows(path, relative(path, root), problems) for name, path in found.items()}
    names = sorted({row["class"] for rows in tables.values() for row in rows})
    splits, first_id = [], 1
    for name, rows in tables.items():
        raw = _raw(name, root, rows, names, first_id)
        splits.append(build_split(raw, root, problems))
        first_id += len(raw.files)
    category_ids = range(1, len(names) + 1)
    return finish(root, "csv", names, category_ids, splits, problems, val_fraction=val_fraction, seed=seed)


def _header(path: Path) -> list[str]:
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        return [cell.strip() for cell in file.readline(10_000).split(",")]


def _rows(path: Path, label: str, problems: Problems) -> list[dict[str, str]]:
    rows = []
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            for row in csv.DictReader(file, skipinitialspace=True):
                row["class"] = clean_name(row.get("class") or "")
                if row["class"] and row.get("filename"):
                    rows.append(row)
                else:
                    problems.add(label, "line without a filename or a class, skipped")
        except csv.Error as error:
            raise ValueError(f"{path}: must be CSV, got {error}") from None
    return rows


def _raw(name: str, root: Path, rows: list[dict[str, str]], names: list[str], first_id: int) -> Raw:
    index: dict[str, int] = {}
    sizes = []
    for row in rows:
        if row["filename"] not in index:
            index[row["filename"]] = len(index)
            sizes.append((_number(row["height"]), _number(row["width"])))
    place = {name: i for i, name in enumerate(names)}
    folder = next((p for p in (root / name, root / "images" / name, root / "images") if p.is_dir()), root)
    return Raw(
        name=name,
        files=[folder / file_name for file_name in index],
        image_ids=np.arange(first_id, first_id + len(index)),
        sizes=np.array(sizes, np.float64).reshape(-1, 2),
        image_index=np.array([index[row["filename"]] for row in rows], np.int64),
        boxes_xyxy=np.array([[_number(row[key]) for key in _COLUMNS[4:]] for row in rows], np.float64).reshape(-1, 4),
        classes=np.array([place[row["class"]] for row in rows], np.int64),
        crowd=np.zeros(len(rows), bool),
        areas=np.full(len(rows), np.nan),
    )


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


READER = Reader("CSV: [SPLIT_labels].csv with the columns filename,width,height,class,xmin,ymin,xmax,ymax", find, read)
