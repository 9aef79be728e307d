"""COCO JSON: the standard layout (annotations/instances_train2017.json + train2017/), a flat one
(instances_train.json + images/), one folder per split (train/_annotations.coco.json), or a single file.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import os
import re
import struct
from array import array
from dataclasses import dataclass
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
)
from micro_yolo.pipeline.data.files import Files, relative
from micro_yolo.pipeline.data.json_parts import members

SYNTHETIC_RECIPE = "recipe.json"

_FILE = re.compile(rf"(?:instances_)?({'|'.join(SPLIT_NAMES)})[-_]?(\d{{4}})?\.json")
_NAN = float("nan")
_LISTS = ("images", "annotations", "categories")
_COLUMNS = 9  # id, image id, category id, x, y, w, h, area, crowd
_ROW = struct.Struct(f"{_COLUMNS}d")


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
    splits = [
        build_split(_raw_split(name, path, base, parsed.pop(name), category_ids, problems), base, problems)
        for name, path in found.items()
    ]
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


@dataclass
class _Parsed:
    """What one file holds: n images, their sizes (n, 2) height and width, m annotations (m, 9) as `_ROW` has them."""

    image_ids: np.ndarray
    file_names: list[str]
    sizes: np.ndarray
    categories: dict[int, str]
    annotations: np.ndarray


def _parse(path: Path, problems: Problems, label: str) -> _Parsed:
    """Each record goes into arrays as soon as it is read, so that no polygon and no object per box outlives it."""
    top: dict[str | None, Any] = {}
    ids, file_names, sizes = array("q"), list[str](), array("d")
    categories: list[Any] = []
    annotations = bytearray()
    try:
        for name, value, element in members(path, _LISTS):
            if not element:
                top[name] = value
            elif name == "annotations":
                if isinstance(value, dict) and "image_id" in value and "file_name" not in value:
                    annotations += _annotation(value)
                else:
                    problems.add(label, "annotation without image_id, skipped")
            elif name == "categories":
                categories.append(value)
            elif (image := _image(value)) is None:
                problems.add(label, "image record without a whole-number id or a file_name, skipped")
            else:
                ids.append(image[0])
                file_names.append(image[1])
                sizes.extend(image[2:])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: must be JSON, got {str(error) or type(error).__name__}") from None
    if not all(isinstance(top.get(name), list) for name in _LISTS):
        got = f"a {type(top[None]).__name__}" if None in top else f"an object with {sorted(map(str, top))[:6]}"
        raise ValueError(f"{path}: must be COCO JSON with lists images, annotations and categories, got {got}")

    image_ids = np.array(ids, np.int64)
    repeated = _is_repeat(image_ids)
    for index in np.flatnonzero(repeated).tolist():
        problems.add(file_names[index], f"image id {ids[index]} is already another image's, skipped")
    return _Parsed(
        image_ids[~repeated],
        [name for name, gone in zip(file_names, repeated.tolist(), strict=True) if not gone],
        np.array(sizes, np.float64).reshape(-1, 2)[~repeated],
        _categories(categories, path),
        np.frombuffer(annotations, np.float64).reshape(-1, _COLUMNS),
    )


def _annotation(record: dict[str, Any]) -> bytes:
    """Its row; NaN where there is no number."""
    crowd = 1.0 if record.get("iscrowd") else 0.0
    try:
        return _ROW.pack(
            record["id"], record["image_id"], record["category_id"], *record["bbox"], record["area"], crowd
        )
    except (KeyError, TypeError, OverflowError, struct.error):
        pass
    try:
        x, y, w, h = record["bbox"]
        box = (float(x), float(y), float(w), float(h))
    except (KeyError, TypeError, ValueError, OverflowError):
        box = (_NAN,) * 4
    ids = (_number(record.get(key)) for key in ("id", "image_id", "category_id"))
    return _ROW.pack(*ids, *box, _number(record.get("area")), crowd)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return _NAN


def _integer(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else None


def _image(record: Any) -> tuple[int, str, float, float] | None:
    """Id, file name, height and width (NaN where there is none); None if it cannot be used."""
    if not isinstance(record, dict):
        return None
    image_id, file_name = _integer(record.get("id")), record.get("file_name")
    if image_id is None or not isinstance(file_name, str) or not file_name or "\0" in file_name:
        return None
    return image_id, file_name.replace("\\", "/"), _number(record.get("height")), _number(record.get("width"))


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


def _merge_categories(parsed: dict[str, _Parsed], found: dict[str, Path]) -> dict[int, str]:
    names: dict[int, str] = {}
    for split, file in parsed.items():
        for category_id, name in file.categories.items():
            if names.setdefault(category_id, name) != name:
                raise ValueError(
                    f"{found[split]}: category id {category_id} must have the same name in every split, "
                    f"got '{names[category_id]}' and '{name}'"
                )
    return names


def _raw_split(
    name: str, path: Path, base: Path, parsed: _Parsed, category_ids: tuple[int, ...], problems: Problems
) -> Raw:
    files = Files.below(_image_folder(name, path, base, parsed.file_names), parsed.file_names)
    label = relative(path, base)

    table = parsed.annotations
    image_index = _positions(table[:, 1], parsed.image_ids)
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
            problems.add(relative(files.texts[image_index[row]], base), f"box with an {what}, skipped")
    good = np.flatnonzero(~(homeless | unknown | repeated))

    boxes = table[good, 3:7]
    with np.errstate(over="ignore", invalid="ignore"):
        boxes[:, 2:] += boxes[:, :2]
    return Raw(
        name=name,
        files=files,
        image_ids=parsed.image_ids,
        sizes=parsed.sizes,
        image_index=image_index[good],
        boxes_xyxy=boxes,
        classes=classes[good],
        crowd=table[good, 8] > 0,
        areas=table[good, 7],
    )


def _positions(values: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Index of each value in `keys` (distinct, any order), -1 where it is not there."""
    if not len(keys):
        return np.full(len(values), -1, np.int64)
    # Sorted, as millions looked up in no order wait for memory each time.
    asked, back = np.unique(values, return_inverse=True)
    order = np.argsort(keys)
    nearest = order[np.searchsorted(keys[order], asked).clip(max=len(keys) - 1)]
    return np.where(keys[nearest] == asked, nearest, -1)[back]


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
