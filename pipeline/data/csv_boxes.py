"""CSV with one box per line, as the TensorFlow Object Detection tutorials write it.

Columns: filename,width,height,class,xmin,ymin,xmax,ymax; an image without boxes cannot be said.
"""

from __future__ import annotations

import csv
from array import array
from dataclasses import dataclass, field
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
)
from micro_yolo.pipeline.data.files import Files, relative

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
    tables = {name: _table(path, relative(path, root), problems) for name, path in found.items()}
    names = sorted({name for table in tables.values() for name in table.names})
    splits, first_id = [], 1
    for name, table in tables.items():
        raw = _raw(name, root, table, names, first_id)
        splits.append(build_split(raw, root, problems))
        first_id += len(raw.files)
    category_ids = range(1, len(names) + 1)
    return finish(root, "csv", names, category_ids, splits, problems, val_fraction=val_fraction, seed=seed)


@dataclass
class _Table:
    """What a file holds: images and classes numbered as they are met, and a row for each box."""

    files: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    sizes: array = field(default_factory=lambda: array("d"))
    image_index: array = field(default_factory=lambda: array("q"))
    boxes: array = field(default_factory=lambda: array("d"))
    classes: array = field(default_factory=lambda: array("q"))


def _header(path: Path) -> list[str]:
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        return [cell.strip() for cell in file.readline(10_000).split(",")]


def _table(path: Path, label: str, problems: Problems) -> _Table:
    table = _Table()
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, skipinitialspace=True)
        try:
            heads = [cell.strip() for cell in next(rows)]
            image, width, height, name, *corners = (heads.index(column) for column in _COLUMNS)
            for row in rows:
                if not row:
                    continue
                row += [""] * (len(heads) - len(row))
                class_name = clean_name(row[name])
                if not class_name or not row[image]:
                    problems.add(label, "line without a filename or a class, skipped")
                    continue
                number = table.files.setdefault(row[image], len(table.files))
                if 2 * number == len(table.sizes):
                    table.sizes.extend((_number(row[height]), _number(row[width])))
                table.image_index.append(number)
                table.classes.append(table.names.setdefault(class_name, len(table.names)))
                table.boxes.extend(_number(row[corner]) for corner in corners)
        except csv.Error as error:
            raise ValueError(f"{path}: must be CSV, got {error}") from None
    return table


def _raw(name: str, root: Path, table: _Table, names: list[str], first_id: int) -> Raw:
    folder = next((p for p in (root / name, root / "images" / name, root / "images") if p.is_dir()), root)
    place = {name: number for number, name in enumerate(names)}
    met = np.array([place[name] for name in table.names], np.int64)
    return Raw(
        name=name,
        files=Files.below(folder, table.files),
        image_ids=np.arange(first_id, first_id + len(table.files)),
        sizes=np.array(table.sizes, np.float64).reshape(-1, 2),
        image_index=np.array(table.image_index, np.int64),
        boxes_xyxy=np.array(table.boxes, np.float64).reshape(-1, 4),
        classes=met[np.array(table.classes, np.int64)],
        crowd=np.zeros(len(table.classes), bool),
        areas=np.full(len(table.classes), np.nan),
    )


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


READER = Reader("CSV: [SPLIT_labels].csv with the columns filename,width,height,class,xmin,ymin,xmax,ymax", find, read)
