"""CSV with one box per line: of the TensorFlow tutorials, Roboflow, Model Maker, keras-retinanet, make-sense, VIA,
Open Images and others, by the names of its columns or by what is in them; see `columns`.

A line with a picture and nothing else is a picture without boxes.
"""

from __future__ import annotations

import ast
import csv
import io
import json
from collections.abc import Callable
from typing import Any

from micro_yolo.pipeline.data.dataset import Dataset, Reader, clean_name
from micro_yolo.pipeline.data.forms.class_lists import class_list
from micro_yolo.pipeline.data.forms.columns import Columns, columns_of, without_mark
from micro_yolo.pipeline.data.forms.regions import attribute, shape_corners
from micro_yolo.pipeline.data.labels import Collected
from micro_yolo.pipeline.data.labels import number as plain_number
from micro_yolo.pipeline.data.splits import split_of, split_of_path
from micro_yolo.pipeline.data.text import read_text
from micro_yolo.pipeline.data.tree import Tree, folder_of

_NAN4 = (float("nan"),) * 4
_BARE_CLASS = "object"


def find(tree: Tree) -> list[str] | None:
    """The files with boxes; None if there is none."""
    return tree.forms.get("csv")


def read(tree: Tree, found: list[str], *, val_fraction: float, seed: int) -> Dataset:
    """Reads the files `find` gave; classes are the names met, in alphabetical order. ValueError if nothing is left."""
    collected = Collected(tree)
    names = _descriptions(tree) or class_list(tree, collected.problems) or {}
    first: dict[tuple[str | None, int], str] = {}
    for file in found:
        tree.use(file)
        try:
            _read_file(tree, file, collected, {str(key): name for key, name in names.items()}, first)
        except (OSError, csv.Error) as error:
            collected.problems.add(file, f"cannot be read ({getattr(error, 'strerror', None) or error})")
    return collected.dataset("csv", val_fraction=val_fraction, seed=seed)


def _descriptions(tree: Tree) -> dict[Any, str]:
    """Names of classes from a CSV of two columns: Open Images' (/m/0abc,Name) or keras-retinanet's (name,0)."""
    names: dict[Any, str] = {}
    for file in tree.files(".csv"):
        if "class" not in file.rpartition("/")[2].lower() or file in tree.forms.get("csv", ()):
            continue
        try:
            rows = [row for row in csv.reader(io.StringIO(read_text(tree.full(file)))) if row]
        except (OSError, csv.Error):
            # It says no names.
            continue
        if rows and all(len(row) == 2 for row in rows):
            tree.use(file)
            for first, second in rows:
                if second.strip().isdecimal():
                    names[second.strip()] = clean_name(first)
                else:
                    names[first.strip()] = clean_name(second)
    return names


def _read_file(
    tree: Tree, file: str, collected: Collected, names: dict[str, str], first: dict[tuple[str | None, int], str]
) -> None:
    """Add what a file says. `first` has, of each picture that was met, the file that it was met in."""
    text = without_mark(read_text(tree.full(file))).replace("\0", "")
    columns = columns_of(text[:20_000])
    if columns is None:
        collected.problems.add(file, "CSV without columns that are known, not used")
        return
    near, of_file = folder_of(file), split_of_path(file)
    pictures: dict[tuple[str, str | None], int | None] = {}
    at = columns.at
    image, name, width, height = at["image"], at.get("class"), at.get("width"), at.get("height")
    group, split_at = at.get("group"), at.get("split")
    corners = CORNERS[columns.place](columns)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=columns.delimiter, skipinitialspace=True)
    try:
        if columns.named:
            next(rows)
        for row in rows:
            if not row:
                continue
            if len(row) < columns.count:
                row += [""] * (columns.count - len(row))
            written = row[image]
            split = (split_of(row[split_at]) if split_at is not None else None) or of_file
            class_name = clean_name(row[name]) if name is not None else ""
            box = corners(row)
            if name is None:
                class_name = _class_of(columns, row)
            empty = box is None
            if not written or (not class_name and not empty):
                collected.problems.add(file, "line without a filename or a class, skipped")
                continue
            key = (written, split)
            if key not in pictures:
                size = (number(row[height]), number(row[width])) if width is not None and height is not None else ()
                picture = pictures[key] = collected.picture(written, near, split, *size)
                if picture is not None and (other := first.setdefault((split, picture), file)) != file:
                    collected.problems.add(file, f"picture that {other} has boxes of too, all kept")
            if not empty:
                picture = pictures[key]
                if picture is not None:
                    crowd = group is not None and row[group].strip() == "1"
                    label = names.get(class_name, class_name)
                    collected.split(split).box(picture, label, box or _NAN4, crowd=crowd)
    except csv.Error as error:
        raise ValueError(f"{tree.full(file)}: must be CSV, got {error}") from None


def number(text: str) -> float:
    """A number, with a point or with a comma; NaN if it is none."""
    return plain_number(text.replace(",", "."))


def _class_of(columns: Columns, row: list[str]) -> str:
    return clean_name(attribute(_json(row[columns.at["attributes"]]))) if "attributes" in columns.at else _BARE_CLASS


Corners = Callable[[list[str]], tuple[float, ...] | None]


def _edges(columns: Columns) -> Corners:
    a, b, c, d = (columns.at[part] for part in ("x1", "y1", "x2", "y2"))
    name = columns.at.get("class", a)

    def corners(row: list[str]) -> tuple[float, ...] | None:
        try:
            return float(row[a]), float(row[b]), float(row[c]), float(row[d])
        except ValueError:
            if not (row[a] or row[b] or row[c] or row[d] or row[name].strip()):
                return None
            return number(row[a]), number(row[b]), number(row[c]), number(row[d])

    return corners


def _sides(columns: Columns, x: str = "x", y: str = "y", middle: float = 0.0) -> Corners:
    a, b, c, d = (columns.at[part] for part in (x, y, "w", "h"))

    def corners(row: list[str]) -> tuple[float, ...] | None:
        if not (row[a] or row[b] or row[c] or row[d]):
            return None
        left, top, width, height = number(row[a]), number(row[b]), number(row[c]), number(row[d])
        left, top = left - middle * width, top - middle * height
        return left, top, left + width, top + height

    return corners


def _listed(columns: Columns) -> Corners:
    at = columns.at["bbox"]

    def corners(row: list[str]) -> tuple[float, ...] | None:
        if not row[at].strip():
            return None
        try:
            x, y, w, h = map(float, ast.literal_eval(row[at].strip()))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return _NAN4
        return x, y, x + w, y + h

    return corners


def _regions(columns: Columns) -> Corners:
    at = columns.at["shape"]

    def corners(row: list[str]) -> tuple[float, ...] | None:
        shape = _json(row[at])
        return shape_corners(shape) if shape else None

    return corners


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


CORNERS: dict[tuple[str, ...], Callable[[Columns], Corners]] = {
    ("x1", "y1", "x2", "y2"): _edges,
    ("x", "y", "w", "h"): _sides,
    ("cx", "cy", "w", "h"): lambda columns: _sides(columns, "cx", "cy", 0.5),
    ("bbox",): _listed,
    ("shape", "attributes"): _regions,
}
READER = Reader(
    "CSV: .csv with the columns filename,width,height,class,xmin,ymin,xmax,ymax or others like it", find, read
)
