"""YOLO text labels: a data.yaml naming the splits, or images/ and labels/ folders.

One .txt per image, one line per box: class, then centre x, centre y, width and height as shares (0..1) of the image;
a line with three or more corner pairs is a polygon and stands for its bounding box. No .txt means no objects.

Format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from micro_yolo.pipeline.data.files import Files, in_threads, list_images, relative, size_or_none

_NAME_FILES = ("classes.txt", "obj.names", "labels/classes.txt")


@dataclass(frozen=True)
class Found:
    """Image folders or list files per split; names of the classes by number, None if no file tells them."""

    splits: dict[str, list[Path]]
    names: dict[int, str] | None


def find(root: Path) -> Found | None:
    """The image folders of each split; None if there are none. ValueError if data.yaml cannot be used."""
    yaml_path = root if root.suffix.lower() in (".yaml", ".yml") else _yaml_file(root)
    if yaml_path is not None:
        return _from_yaml(yaml_path)
    splits: dict[str, list[Path]] = {}
    for folder, split in SPLIT_NAMES.items():
        for images, labels in (("images/" + folder, "labels/" + folder), (folder + "/images", folder + "/labels")):
            if (root / images).is_dir() and (root / labels).is_dir():
                splits.setdefault(split, []).append(root / images)
    if not splits and (root / "images").is_dir() and (root / "labels").is_dir():
        splits = {"all": [root / "images"]}
    return Found(splits, _names_file(root)) if splits else None


def read(root: Path, found: Found, *, val_fraction: float, seed: int) -> Dataset:
    """Reads the folders `find` gave; category ids are the class numbers. ValueError if nothing usable is left."""
    base = root if root.is_dir() else root.parent
    problems = Problems()
    raws, first_id = [], 1
    for name, sources in found.splits.items():
        files = _image_files(base, sources, problems)
        raws.append(_raw(name, files, base, first_id, problems))
        first_id += len(files)
    names = found.names or _numbered(raws)
    splits = [build_split(_known_classes(raw, names, base, problems), base, problems) for raw in raws]
    order = sorted(names)
    place = np.full(max(order, default=-1) + 1, -1, np.int32)
    place[order] = np.arange(len(order))
    for split in splits:
        split.classes[:] = place[split.classes]
    return finish(
        base, "yolo", [names[i] for i in order], order, splits, problems, val_fraction=val_fraction, seed=seed
    )


def _yaml_file(root: Path) -> Path | None:
    candidates = [root / "data.yaml", root / "data.yml", root / "dataset.yaml", *sorted(root.glob("*.yaml"))]
    return next((path for path in candidates if path.is_file()), None)


def _from_yaml(path: Path) -> Found:
    import yaml

    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: must be YAML, got {' '.join(str(error).split())[:120]}") from None
    if not isinstance(table, dict) or not any(key in table for key in ("train", "val", "test")):
        raise ValueError(f"{path}: must name the folders train and val, got {str(table)[:80]!r}")
    base = path.parent / str(table.get("path") or "")
    if not base.is_dir():
        base = path.parent
    splits = {}
    for split, keys in (("train", ("train",)), ("val", ("val", "valid")), ("test", ("test",))):
        value = next((table[key] for key in keys if table.get(key)), None)
        if value is not None:
            entries = value if isinstance(value, list) else [value]
            splits[split] = [_place(base, path.parent, str(entry)) for entry in entries]
    if not splits:
        raise ValueError(f"{path}: must name the folders train and val, got none")
    return Found(splits, _yaml_names(table, path))


def _place(base: Path, beside: Path, entry: str) -> Path:
    """Where an entry of the YAML is; Roboflow's "../train/images" means the folder beside the file."""
    trimmed = entry
    while trimmed.startswith(("../", "./")):
        trimmed = trimmed.partition("/")[2]
    candidates = [base / entry, beside / entry, base / trimmed, beside / trimmed]
    return next((path for path in candidates if path.exists()), candidates[0])


def _yaml_names(table: dict[str, Any], path: Path) -> dict[int, str] | None:
    names = table.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if names is None and isinstance(table.get("nc"), int):
        return {i: str(i) for i in range(table["nc"])}
    if names is None:
        return _names_file(path.parent)
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{path}: names must be a list or a mapping from class number to name, got {str(names)[:80]}")
    cleaned: dict[int, str] = {}
    for key, value in names.items():
        number = int(key) if str(key).isdecimal() else -1
        if not 0 <= number < 100_000 or not clean_name(value):
            raise ValueError(f"{path}: names must map class numbers 0, 1, ... to names, got {key!r}: {value!r}")
        cleaned[number] = clean_name(value)
    return cleaned


def _names_file(root: Path) -> dict[int, str] | None:
    for name in _NAME_FILES:
        if (root / name).is_file():
            lines = (root / name).read_text(encoding="utf-8-sig", errors="replace").splitlines()
            return {i: clean_name(line) for i, line in enumerate(lines) if clean_name(line)} or None
    return None


def _image_files(base: Path, sources: list[Path], problems: Problems) -> Files:
    """Images in folders, and below them, or listed in .txt files; each once."""
    texts: dict[str, None] = {}
    for source in sources:
        if source.is_file():
            lines = source.read_text(encoding="utf-8-sig", errors="replace").splitlines()
            texts.update(dict.fromkeys(_listed(base, source.parent, [line.strip() for line in lines if line.strip()])))
        elif source.is_dir():
            for folder, _, _ in sorted(os.walk(source)):
                texts.update(dict.fromkeys(list_images(Path(folder))))
        else:
            problems.add(relative(source, base), "folder or list of images is missing")
    return Files(list(texts))


def _listed(base: Path, beside: Path, names: list[str]) -> list[str]:
    here, there = Files.below(beside, names).texts, Files.below(base, names).texts
    found = in_threads(os.path.exists, here)
    return [a if exists else b for a, b, exists in zip(here, there, found, strict=True)]


def label_files(images: Files, base: Path) -> Iterator[str]:
    """The .txt of each image: beside it, or where the last folder below `base` called images is called labels."""
    folders: dict[str, str] = {}
    for image in images.texts:
        folder, name = os.path.split(image)
        if folder not in folders:
            folders[folder] = str(_label_folder(Path(folder), base))
        yield os.path.join(folders[folder], os.path.splitext(name)[0] + ".txt")


def _label_folder(folder: Path, base: Path) -> Path:
    parts = list(folder.parts)
    first = len(base.parts) if folder.is_relative_to(base) else 0
    for i in range(len(parts) - 1, first - 1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(*parts)


def _raw(name: str, files: Files, base: Path, first_id: int, problems: Problems) -> Raw:
    sizes, boxes = array("d"), array("d")
    index, classes = array("q"), array("q")
    labelled = False
    looked = in_threads(_look, zip(files.texts, label_files(files, base), strict=True))
    for i, (label, (size, text)) in enumerate(zip(label_files(files, base), looked, strict=True)):
        height, width = size
        sizes.extend(size)
        labelled |= text is not None
        for line in (text or "").splitlines():
            parsed = _line(line)
            if parsed is not None:
                index.append(i)
                classes.append(parsed[0])
                x1, y1, x2, y2 = parsed[1]
                boxes.extend((x1 * width, y1 * height, x2 * width, y2 * height))
            elif line.strip():
                problems.add(relative(label, base), "line that is not a class and a box, skipped")
    if len(files) and not labelled:
        folder = os.path.dirname(next(label_files(files, base)))
        problems.add(relative(folder, base), "no label file found for any image", len(files))
    return Raw(
        name=name,
        files=files,
        image_ids=np.arange(first_id, first_id + len(files)),
        sizes=np.array(sizes, np.float64).reshape(-1, 2),
        image_index=np.array(index, np.int64),
        boxes_xyxy=np.array(boxes, np.float64).reshape(-1, 4),
        classes=np.array(classes, np.int64),
        crowd=np.zeros(len(index), bool),
        areas=np.full(len(index), np.nan),
    )


def _look(paths: tuple[str, str]) -> tuple[tuple[float, float], str | None]:
    """Size of an image, NaN if it cannot be read, and the text of its label file, if there is one."""
    image, label = paths
    return size_or_none(image) or (np.nan, np.nan), _read_label(label)


def _read_label(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _line(line: str) -> tuple[int, tuple[float, float, float, float]] | None:
    """Class number and corners (0..1); None if the line is neither a box nor a polygon."""
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        return None
    if len(numbers) < 5 or not numbers[0].is_integer() or not 0 <= numbers[0] < 100_000:
        return None
    if len(numbers) == 5:
        x, y, w, h = numbers[1:]
        return int(numbers[0]), (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    if len(numbers) >= 7 and len(numbers) % 2:
        xs, ys = numbers[1::2], numbers[2::2]
        # min and max would step over a NaN; a sum does not.
        poison = 0.0 * sum(numbers)
        return int(numbers[0]), (min(xs) + poison, min(ys), max(xs), max(ys))
    return None


def _numbered(raws: list[Raw]) -> dict[int, str]:
    top = max((int(raw.classes.max(initial=-1)) for raw in raws), default=-1)
    return {i: str(i) for i in range(top + 1)}


def _known_classes(raw: Raw, names: dict[int, str], base: Path, problems: Problems) -> Raw:
    known = np.isin(raw.classes, list(names))
    if known.all():
        return raw
    labels = list(label_files(Files.of(raw.files), base))
    for row in np.flatnonzero(~known):
        label = relative(labels[raw.image_index[row]], base)
        problems.add(label, f"class {raw.classes[row]} that has no name, skipped")
    fields = ("image_index", "boxes_xyxy", "classes", "crowd", "areas")
    return replace(raw, **{field: getattr(raw, field)[known] for field in fields})


READER = Reader(
    "YOLO: data.yaml, or images/ + labels/ (with train/ and val/ inside, or outside, or neither)", find, read
)
