"""COCO JSON: the standard layout (annotations/instances_train2017.json + train2017/), a flat one
(instances_train.json + images/), one folder per split (train/_annotations.coco.json), or a single file.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import os
import re
from array import array
from pathlib import Path
from typing import Any

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

SYNTHETIC_RECIPE = "recipe.json"

_FILE = re.compile(rf"(?:instances_)?({'|'.join(SPLIT_NAMES)})[-_]?(\d{{4}})?\.json")
_NAN = float("nan")
_COLUMNS = 9  # id, image id, category id, x, y, w, h, area, crowd


def find(root: Path) -> dict[str, Path] | None:
    """Split name -> annotation file, of the newest year if there are several; None if no file has such a name."""
    if root.suffix.lower() == ".json":
        return {"all": root}
    found: dict[str, tuple[str, Path]] = {}
    for folder in (root / "annotations", root):
        for path in sorted(folder.glob("*.json")):
            match = _FILE.fullmatch(path.name)
            if match:
                name, year = SPLIT_NAMES[match[1]], match[2] or ""
                found[name] = max(found.get(name, ("", path)), (year, path), key=lambda item: item[0])
        if found:
            return {name: path for name, (_, path) in found.items()}
    for word, name in SPLIT_NAMES.items():
        path = root / word / "_annotations.coco.json"
        if path.is_file():
            found[name] = ("", path)
    return {name: path for name, (_, path) in found.items()} or None


def find_single(root: Path) -> dict[str, Path] | None:
    """{"all": file} if there is exactly one JSON file, whatever its name."""
    for folder in (root, root / "annotations"):
        single = [path for path in sorted(folder.glob("*.json")) if path.name != SYNTHETIC_RECIPE]
        if len(single) == 1:
            return {"all": single[0]}
    return None


def read(root: Path, found: dict[str, Path], *, val_fraction: float, seed: int) -> Dataset:
    """Reads the files `find` gave. ValueError if one is not COCO JSON or nothing usable is left."""
    base = root.parent if root.suffix.lower() == ".json" else root
    if base.name == "annotations":
        base = base.parent
    problems = Problems()
    parsed = {name: _parse(path, problems, relative(path, base)) for name, path in found.items()}
    names = _merge_categories(parsed, found)
    category_ids = tuple(sorted(names))
    splits = []
    for name, path in found.items():
        images, _, table = parsed.pop(name)
        raw = _raw_split(name, path, base, images, table, category_ids, problems)
        splits.append(build_split(raw, base, problems))
    return finish(
        base,
        "synthetic" if (base / SYNTHETIC_RECIPE).is_file() else "coco",
        [names[i] for i in category_ids],
        category_ids,
        splits,
        problems,
        val_fraction=val_fraction,
        seed=seed,
    )


def _parse(path: Path, problems: Problems, label: str) -> tuple[list[tuple], dict[int, str], np.ndarray]:
    """Images as (id, file name, height, width), categories id -> name, annotations float64 (m, 9).

    Annotations go straight into one array of doubles while the file is being parsed, so neither polygons nor an
    object per box outlive their own record.
    """
    table = array("d")

    def hook(record: dict[str, Any]) -> object:
        if "image_id" in record and "file_name" not in record:
            table.extend(_annotation(record))
            return None
        return record

    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        top = json.loads(text, object_hook=hook)
        del text
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: must be JSON, got {str(error) or type(error).__name__}") from None
    lists = [top.get(key) if isinstance(top, dict) else None for key in ("images", "annotations", "categories")]
    images, annotations, categories = (value if isinstance(value, list) else None for value in lists)
    if images is None or annotations is None or categories is None:
        got = f"an object with {sorted(top)[:6]}" if isinstance(top, dict) else f"a {type(top).__name__}"
        raise ValueError(f"{path}: must be COCO JSON with lists images, annotations and categories, got {got}")

    rows = np.frombuffer(table, np.float64).reshape(-1, _COLUMNS)
    strangers = sum(record is not None for record in annotations)
    if strangers:
        problems.add(label, "annotation without image_id, skipped", strangers)
    return _images(images, problems, label), _categories(categories, path), rows


def _annotation(record: dict[str, Any]) -> tuple[float, ...]:
    try:
        x, y, w, h = record["bbox"]
        box = (float(x), float(y), float(w), float(h))
    except (KeyError, TypeError, ValueError, OverflowError):
        box = (_NAN,) * 4
    return (
        _number(record.get("id")),
        _number(record["image_id"]),
        _number(record.get("category_id")),
        *box,
        _number(record.get("area")),
        1.0 if record.get("iscrowd") else 0.0,
    )


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return _NAN


def _integer(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else None


def _images(records: list[Any], problems: Problems, label: str) -> list[tuple]:
    images, seen = [], set()
    for record in records:
        image_id = _integer(record.get("id")) if isinstance(record, dict) else None
        file_name = record.get("file_name") if isinstance(record, dict) else None
        if image_id is None or not isinstance(file_name, str) or not file_name or "\0" in file_name:
            problems.add(label, "image record without a whole-number id or a file_name, skipped")
        elif image_id in seen:
            problems.add(file_name, f"image id {image_id} is already another image's, skipped")
        else:
            seen.add(image_id)
            file_name = file_name.replace("\\", "/")
            images.append((image_id, file_name, _number(record.get("height")), _number(record.get("width"))))
    return images


def _categories(records: list[Any], path: Path) -> dict[int, str]:
    names: dict[int, str] = {}
    for record in records:
        category_id = _integer(record.get("id")) if isinstance(record, dict) else None
        name = clean_name(record.get("name")) if isinstance(record, dict) else ""
        if category_id is None or not name:
            raise ValueError(f"{path}: every category needs a whole-number id and a name, got {str(record)[:80]}")
        if names.setdefault(category_id, name) != name:
            raise ValueError(
                f"{path}: category id {category_id} must have one name, got '{names[category_id]}', '{name}'"
            )
    return names


def _merge_categories(parsed: dict[str, tuple], found: dict[str, Path]) -> dict[int, str]:
    names: dict[int, str] = {}
    for split, (_, categories, _) in parsed.items():
        for category_id, name in categories.items():
            if names.setdefault(category_id, name) != name:
                raise ValueError(
                    f"{found[split]}: category id {category_id} must have the same name in every split, "
                    f"got '{names[category_id]}' and '{name}'"
                )
    return names


def _raw_split(
    name: str,
    path: Path,
    base: Path,
    images: list[tuple],
    table: np.ndarray,
    category_ids: tuple[int, ...],
    problems: Problems,
) -> Raw:
    folder = _image_folder(name, path, base, [image[1] for image in images])
    files = [folder / image[1] for image in images]
    label = relative(path, base)

    image_ids = np.array([image[0] for image in images], np.int64)
    image_index = _positions(table[:, 1], image_ids)
    classes = _positions(table[:, 2], np.array(category_ids, np.int64))

    homeless = image_index < 0
    if homeless.any():
        problems.add(label, "annotation whose image_id is not a listed image, skipped", int(homeless.sum()))
    unknown = ~homeless & (classes < 0)
    repeated = ~homeless & _is_repeat(table[:, 0])
    for mask, what in (
        (unknown, "unknown category id"),
        (repeated & ~unknown, "annotation id that is already another's"),
    ):
        for row in np.flatnonzero(mask):
            problems.add(relative(files[image_index[row]], base), f"box with an {what}, skipped")
    good = ~(homeless | unknown | repeated)
    table, image_index, classes = table[good], image_index[good], classes[good]

    boxes = table[:, 3:7].copy()
    with np.errstate(over="ignore", invalid="ignore"):
        boxes[:, 2:] += boxes[:, :2]
    return Raw(
        name=name,
        files=files,
        image_ids=image_ids,
        sizes=np.array([image[2:] for image in images], np.float64).reshape(-1, 2),
        image_index=image_index,
        boxes_xyxy=boxes,
        classes=classes,
        crowd=table[:, 8] > 0,
        areas=table[:, 7],
    )


def _positions(values: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Index of each value in `keys` (distinct, any order), -1 where it is not there."""
    if not len(keys):
        return np.full(len(values), -1, np.int64)
    order = np.argsort(keys)
    nearest = order[np.searchsorted(keys[order], values).clip(max=len(keys) - 1)]
    return np.where(keys[nearest] == values, nearest, -1)


def _is_repeat(ids: np.ndarray) -> np.ndarray:
    """True where an id has been seen at a lower index; ids that are not numbers repeat nothing."""
    _, first = np.unique(ids, return_index=True)
    repeated = np.isfinite(ids)
    repeated[first] = False
    return repeated


def _image_folder(name: str, path: Path, base: Path, file_names: list[str]) -> Path:
    """The first folder, of those the known layouts use, that holds the most of a sample of the images."""
    stem = path.stem.removeprefix("instances_")
    folders = [
        base / "images",
        base / stem,
        base / "images" / stem,
        path.parent,
        base,
        base / name,
        base / "images" / name,
    ]
    folders += [base / "data", base / "JPEGImages"]
    sample = file_names[:: max(len(file_names) // 50, 1)]
    return max(folders, key=lambda folder: sum(os.path.isfile(folder / file_name) for file_name in sample))


READER = Reader("COCO: [annotations/]instances_SPLIT[YEAR].json, SPLIT/_annotations.coco.json or one .json", find, read)
SINGLE = Reader("", find_single, read)
