"""COCO JSON, a file for each split or one for all, by any name: what is in it tells, not what it is called.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import os
import struct
from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset, Problems, Raw, Reader, Split, build_split, clean_name, finish
from micro_yolo.pipeline.data.files import Files, relative
from micro_yolo.pipeline.data.forms.choice import SYNTHETIC_RECIPE, find, find_single
from micro_yolo.pipeline.data.forms.outlines import outline_box
from micro_yolo.pipeline.data.json_parts import members
from micro_yolo.pipeline.data.repairs import are_corners
from micro_yolo.pipeline.data.tree import Tree, child, folder_of, stem_of
from micro_yolo.pipeline.data.whereabouts import AmbiguousError, Finder

_NAN = float("nan")
_LISTS = ("images", "annotations", "categories")
_LOOKED_AT = 10_000  # boxes, for what their numbers mean
_COLUMNS = 9  # id, image id, category id, x, y, w, h, area, crowd
_ROW = struct.Struct(f"{_COLUMNS}d")
# What tools that number classes from 1 list as the class with the number 0.
_BACKGROUND = {"background", "_background_", "__background__"}


def read(tree: Tree, found: dict[str, str], *, val_fraction: float, seed: int) -> Dataset:
    """Reads the files `find` gave. ValueError if one is not COCO JSON or nothing usable is left."""
    problems = Problems()
    tree.use(SYNTHETIC_RECIPE, *found.values())
    parsed = {name: _parse(tree, file, problems) for name, file in found.items()}
    parents = {name for each in parsed.values() for name in each.parents}
    _align_categories(parsed, found, problems)
    names = _merge_categories(parsed, tree, found)
    category_ids = tuple(sorted(names))
    finder = Finder(tree)
    splits = [
        build_split(_raw_split(name, file, finder, parsed.pop(name), category_ids, problems), tree.root, problems)
        for name, file in found.items()
    ]
    kept = _real(splits, [names[i] for i in category_ids], parents)
    for number in np.flatnonzero(~kept).tolist():
        name = names[category_ids[number]]
        role = "the background" if name.lower() in _BACKGROUND else "only the parent of others"
        problems.add(next(iter(found.values())), f"category '{name}' has no boxes and is {role}, left out")
    place = np.cumsum(kept, dtype=np.int32) - 1
    for split in splits:
        split.classes[:] = place[split.classes]
    category_ids = tuple(i for i, stays in zip(category_ids, kept.tolist(), strict=True) if stays)
    return finish(
        tree.root,
        "synthetic" if tree.has(SYNTHETIC_RECIPE) else "coco",
        [names[i] for i in category_ids],
        category_ids,
        splits,
        problems,
        val_fraction=val_fraction,
        seed=seed,
    )


def _real(splits: list[Split], names: list[str], parents: set[str]) -> np.ndarray:
    """Which classes stay: all but those without a box that are the supercategory of others, or the background."""
    counts = sum((np.bincount(split.classes, minlength=len(names)) for split in splits), np.zeros(len(names), np.int64))
    idle = [name in parents or name.lower() in _BACKGROUND for name in names]
    if all(idle):
        return np.ones(len(names), bool)
    return (counts > 0) | ~np.array(idle, bool)


@dataclass
class _Parsed:
    """What one file holds: n images, their sizes (n, 2) height and width, m annotations (m, 9) as `_ROW` has them."""

    image_ids: np.ndarray
    file_names: list[str]
    sizes: np.ndarray
    categories: dict[int, str]
    annotations: np.ndarray
    parents: set[str]


@dataclass
class _Texts:
    """Ids that are text, such as file names, as numbers: below zero, so that they are none of those in the file."""

    numbers: dict[str, int] = field(default_factory=dict)

    def id(self, value: Any) -> int | None:
        """A whole number for an id; None if it can be none."""
        number = _integer(value)
        if number is None and isinstance(value, str) and value:
            return -1 - self.numbers.setdefault(value, len(self.numbers))
        return number


def _parse(tree: Tree, label: str, problems: Problems) -> _Parsed:
    """Each record goes into arrays as soon as it is read, so that no polygon and no object per box outlives it."""
    path = tree.path(label)
    pictures, classes = _Texts(), _Texts()
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
                    annotations += _annotation(value, pictures, classes)
                else:
                    problems.add(label, "annotation without image_id, skipped")
            elif name == "categories":
                categories.append(value)
            elif (image := _image(value, pictures)) is None:
                problems.add(label, "image record without an id or a file_name, skipped")
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
    table = np.frombuffer(annotations, np.float64).reshape(-1, _COLUMNS)
    if len(image_ids) and (image_ids < 0).all() and pictures.numbers:
        image_ids, table = -image_ids, table.copy()
        table[:, 1] *= -1
    repeated = _is_repeat(image_ids)
    for index in np.flatnonzero(repeated).tolist():
        problems.add(file_names[index], f"image id {ids[index]} is already another image's, skipped")
    return _Parsed(
        image_ids[~repeated],
        [name for name, gone in zip(file_names, repeated.tolist(), strict=True) if not gone],
        np.array(sizes, np.float64).reshape(-1, 2)[~repeated],
        _categories(categories, path, classes),
        table,
        _parents(categories),
    )


def _annotation(record: dict[str, Any], pictures: _Texts, classes: _Texts) -> bytes:
    """Its row; NaN where there is no number."""
    crowd = 1.0 if record.get("iscrowd") else 0.0
    try:
        box = record["bbox"]
        if box[2] > 0:
            return _ROW.pack(record["id"], record["image_id"], record["category_id"], *box, record["area"], crowd)
    except (KeyError, TypeError, IndexError, OverflowError, struct.error):
        pass
    try:
        x, y, w, h = record["bbox"]
        box = (float(x), float(y), float(w), float(h))
    except (KeyError, TypeError, ValueError, OverflowError):
        box = (_NAN,) * 4
    if not box[2] > 0 and record.get("segmentation"):
        box = outline_box(record["segmentation"])
    ids = (_number(record.get("id")), pictures.id(record["image_id"]), classes.id(record.get("category_id")))
    return _ROW.pack(*(_NAN if i is None else i for i in ids), *box, _number(record.get("area")), crowd)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return _NAN


def _integer(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else None


def _image(record: Any, pictures: _Texts) -> tuple[int, str, float, float] | None:
    """Id, file name, height and width (NaN where there is none); None if it cannot be used."""
    if not isinstance(record, dict):
        return None
    image_id, file_name = pictures.id(record.get("id")), record.get("file_name") or _file_name(record)
    if image_id is None or not isinstance(file_name, str) or not file_name or "\0" in file_name:
        return None
    return image_id, file_name.replace("\\", "/"), _number(record.get("height")), _number(record.get("width"))


def _file_name(record: dict[str, Any]) -> Any:
    return next((record[key] for key in ("path", "coco_url") if record.get(key)), None)


def _parents(records: list[Any]) -> set[str]:
    """Names of categories that others have as their supercategory."""
    named = [(clean_name(r.get("name")), clean_name(r.get("supercategory"))) for r in records if isinstance(r, dict)]
    return {parent for name, parent in named if parent and parent != name}


def _categories(records: list[Any], path: Any, classes: _Texts) -> dict[int, str]:
    names: dict[int, str] = {}
    for record in records:
        category_id = classes.id(record.get("id")) if isinstance(record, dict) else None
        name = clean_name(record.get("name")) if isinstance(record, dict) else ""
        if category_id is None or not name:
            raise ValueError(f"{path}: every category needs a whole-number id and a name, got {str(record)[:80]}")
        if names.setdefault(category_id, name) != name:
            raise ValueError(
                f"{path}: category id {category_id} must have one name, got '{names[category_id]}', '{name}'"
            )
    return names


def _align_categories(parsed: dict[str, _Parsed], found: dict[str, str], problems: Problems) -> None:
    """Where a file has the categories of the first under other ids, its boxes get the ids of the first."""
    first, *others = parsed
    ids = {name: i for i, name in parsed[first].categories.items()}
    for split in others:
        each = parsed[split]
        if (
            each.categories != parsed[first].categories
            and set(each.categories.values()) == set(ids)
            and len(ids) == len(each.categories)
        ):
            problems.add(found[split], f"category ids that are other names' in {found[first]}; matched by name")
            own = np.array(sorted(each.categories), np.int64)
            place = _positions(each.annotations[:, 2], own)
            table = each.annotations.copy()
            meant = np.array([ids[each.categories[i]] for i in own.tolist()], np.float64)
            table[:, 2] = np.where(place >= 0, meant[place], np.nan)
            each.annotations, each.categories = table, parsed[first].categories


def _merge_categories(parsed: dict[str, _Parsed], tree: Tree, found: dict[str, str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for split, file in parsed.items():
        for category_id, name in file.categories.items():
            if names.setdefault(category_id, name) != name:
                raise ValueError(
                    f"{tree.path(found[split])}: category id {category_id} must have the same name in every split, "
                    f"got '{names[category_id]}' and '{name}'"
                )
    return names


def _raw_split(
    name: str, label: str, finder: Finder, parsed: _Parsed, category_ids: tuple[int, ...], problems: Problems
) -> Raw:
    base = finder.tree.root
    files = _files(name, label, finder, parsed.file_names, problems)

    table = parsed.annotations
    image_index = _positions(table[:, 1], parsed.image_ids)
    classes = _positions(table[:, 2], np.array(category_ids, np.int64))

    homeless = image_index < 0
    if homeless.any():
        problems.add(label, "annotation whose image_id is not a listed image, skipped", int(homeless.sum()))
    unknown = ~homeless & (classes < 0)
    for row in np.flatnonzero(unknown):
        problems.add(relative(files.texts[image_index[row]], base), "box with an unknown category id, skipped")
    repeated = int(_is_repeat(table[:, 0]).sum())
    if repeated:
        problems.add(label, "annotation id that is already another's, numbered anew", repeated)
    good = np.flatnonzero(~(homeless | unknown))

    boxes = table[good, 3:7]
    some = slice(None, None, max(len(good) // _LOOKED_AT, 1))
    if are_corners(boxes[some], parsed.sizes[image_index[good[some]]]):
        problems.add(label, "boxes are corners (x1, y1, x2, y2), not x, y, width, height; taken as such", len(boxes))
        boxes[:, 2:] -= boxes[:, :2]
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


def _files(name: str, label: str, finder: Finder, file_names: list[str], problems: Problems) -> Files:
    """The pictures: nearly all in one folder, the others where they are found."""
    tree, near = finder.tree, folder_of(label)
    folder = _image_folder(name, label, tree, file_names)
    texts = list(Files.below(tree.path(folder), file_names).texts)
    start = f"{folder}/" if folder else ""
    split = None if name == "all" else name
    for number, written in enumerate(file_names):
        if tree.has(start + written) or (os.path.isabs(written) and os.path.isfile(written)):
            continue
        try:
            found = finder.find(written, folder or near, split=split)
        except AmbiguousError as error:
            problems.add(written, f"{error}, skipped")
            continue
        if found is not None:
            texts[number] = tree.full(found)
    return Files(texts)


def _image_folder(name: str, label: str, tree: Tree, file_names: list[str]) -> str:
    """The first folder, of those the known layouts use, that holds the most of a sample of the images."""
    stem, beside = stem_of(label).removeprefix("instances_"), folder_of(label)
    folders = ["images", stem, f"images/{stem}", beside, child(beside, "images"), child(beside, "data")]
    folders += ["", name, f"images/{name}", "data", "JPEGImages"]
    sample = file_names[:: max(len(file_names) // 50, 1)]
    return max(folders, key=lambda folder: sum(tree.has(child(folder, file_name)) for file_name in sample))


READER = Reader("COCO: JSON files of any name, one for each split or one for all", find, read)
SINGLE = Reader("", find_single, read)
