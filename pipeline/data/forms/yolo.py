"""YOLO text labels: a data.yaml naming the splits, Darknet's obj.data, lists of pictures, or folders alone.

One .txt per image, one line per box: class, then centre x, centre y, width and height as shares (0..1) of the image;
other lines are read as `label_lines` says. No .txt means no objects.

Format: https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

import os
import re
from array import array
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset, Problems, Raw, Reader, build_split, clean_name, finish
from micro_yolo.pipeline.data.files import Files, in_threads, relative, size_or_none
from micro_yolo.pipeline.data.forms.choice import YAML_NAMES
from micro_yolo.pipeline.data.forms.class_lists import class_list
from micro_yolo.pipeline.data.forms.gather import Gathered
from micro_yolo.pipeline.data.forms.label_lines import MOST_CLASSES, PIXELS, meaning_of
from micro_yolo.pipeline.data.forms.places import twin_folder
from micro_yolo.pipeline.data.splits import split_of, split_of_path, words_of
from micro_yolo.pipeline.data.text import lines_of, read_text
from micro_yolo.pipeline.data.tree import Tree, child, folder_of, is_picture, stem_of
from micro_yolo.pipeline.data.whereabouts import key_of, plain_path

# A YAML of a data set has the names of its classes; an alias repeats what an anchor named, and so on.
_LARGEST = 1 << 22
_ALIAS = re.compile(r"(?m)(?:^|[\s\[,:-])\*[A-Za-z0-9_]+\s*(?:[,\]}]|$)")
# Words that a key of data.yaml may have beside the one for a split.
_BESIDE = {"path", "paths", "dir", "folder", "images", "image", "img", "list", "file", "set", "data"}
# Label files that are looked at for what lines mean; the share of pictures without one that is not worth a word.
_LOOKED_AT, _BACKGROUND = 64, 0.1


@dataclass(frozen=True)
class Found:
    """Folders or lists of pictures per split; names of the classes by number, None if the YAML does not tell them.

    Attributes:
        splits: of each the folders and lists, by their paths.
        names: of the classes.
        listed: the file that lists them, as the tree names it.
        shape: Ultralytics' kpt_shape.
        count: its nc.
        file: that told this, as the tree names it.
    """

    splits: dict[str, list[Path]]
    names: dict[int, str] | None = None
    listed: str | None = None
    shape: tuple[int, int] | None = None
    count: int | None = None
    file: str | None = None


def find(tree: Tree) -> Found | None:
    """The pictures of each split; None if there are none. ValueError if data.yaml cannot be used."""
    given = [name for name in tree.only if name.lower().endswith((".yaml", ".yml"))]
    if given:
        return _from_yaml(tree, given[0], strict=True)
    if tree.only:
        return None
    names = tree.lower("")
    endings = (".yaml", ".yml")
    for name in (*YAML_NAMES, *(lower for lower in names if lower.endswith(endings) and lower not in YAML_NAMES)):
        if name in names:
            found = _from_yaml(tree, names[name], strict=name in YAML_NAMES)
            if found is not None:
                return found
    return _from_darknet(tree) or _from_folders(tree)


def _from_darknet(tree: Tree) -> Found | None:
    """Darknet's obj.data, as it and CVAT (YOLO 1.1) write it."""
    for file in sorted(tree.forms.get("darknet", ()), key=lambda name: name.count("/")):
        table = {}
        for line in lines_of(read_text(tree.full(file))):
            key, _, value = line.partition("=")
            table[key.strip().lower()] = value.strip()
        splits: dict[str, list[Path]] = {}
        for key, value in table.items():
            split = split_of(key)
            if split is not None and value:
                splits.setdefault(split, []).append(_listed_place(tree, folder_of(file), value))
        if splits:
            listed = _named_file(tree, table.get("names", ""))
            return Found(splits, listed=listed, file=file)
    return None


def _listed_place(tree: Tree, near: str, value: str) -> Path:
    return next(
        (tree.path(n) for n in (child(near, value), _named_file(tree, value)) if n and tree.has(n)), tree.path(value)
    )


def _named_file(tree: Tree, written: str) -> str | None:
    """A file that another one names, found by its own name where the path is of another machine."""
    plain = plain_path(written)
    last = plain.rpartition("/")[2].lower()
    alike = [name for name in tree.files(last) if name.rpartition("/")[2].lower() == last] if last else []
    return plain if plain and tree.has(plain) else min(alike, key=lambda name: name.count("/"), default=None)


def _from_folders(tree: Tree) -> Found | None:
    """Lists that are named after splits, else folders with pictures that have labels or a word for a split."""
    labels = tree.forms.get("yolo", ())
    if not labels:
        return None
    lists: dict[str, list[Path]] = {}
    for name in tree.folders.get("", ()):
        split = split_of(stem_of(name)) if name.lower().endswith(".txt") else None
        if split is not None and name not in labels and _is_list(tree, name):
            lists.setdefault(split, []).append(tree.path(name))
    if lists:
        return Found(lists)
    holders = {folder_of(name) for name in labels}
    splits: dict[str, list[Path]] = {}
    for folder in tree.pictures:
        split = split_of_path(folder)
        if split is not None or twin_folder(tree, folder, ".txt", holders=holders) in holders:
            splits.setdefault(split or "all", []).append(tree.path(folder))
    return Found(splits) if splits else None


def _is_list(tree: Tree, name: str) -> bool:
    """Whether a file lists pictures, one on a line and nothing else."""
    lines = lines_of(read_text(tree.full(name)))[:5]
    return bool(lines) and all(is_picture(line) or "/" in line or "\\" in line for line in lines)


def read(tree: Tree, found: Found, *, val_fraction: float, seed: int) -> Dataset:
    """Reads the folders `find` gave; category ids are the class numbers. ValueError if nothing usable is left."""
    base = tree.root
    problems = Problems()
    if found.file:
        tree.use(found.file)
    raws, gathered, first_id = [], [], 1
    for name, sources in found.splits.items():
        gathered.append(Gathered(tree, problems))
        for source in sources:
            gathered[-1].add(source)
        raws.append(_raw(name, gathered[-1], found.shape, first_id, problems))
        first_id += len(raws[-1].files)
    names = found.names or class_list(tree, problems, named=found.listed)
    if names is None and found.count is not None:
        names = {i: str(i) for i in range(found.count)}
    if names is not None and found.count is not None and found.count != len(names):
        problems.add(found.file or "data.yaml", f"nc is {found.count}, but {len(names)} classes have names")
    names = names or _numbered(raws)
    _from_zero(raws, names, problems)
    splits = [
        build_split(_known_classes(raw, pictures, names, problems), base, problems)
        for raw, pictures in zip(raws, gathered, strict=True)
    ]
    order = sorted(names)
    place = np.full(max(order, default=-1) + 1, -1, np.int32)
    place[order] = np.arange(len(order))
    for split in splits:
        split.classes[:] = place[split.classes]
    return finish(
        base, "yolo", [names[i] for i in order], order, splits, problems, val_fraction=val_fraction, seed=seed
    )


def _from_yaml(tree: Tree, name: str, *, strict: bool) -> Found | None:
    """What a YAML names; None of one that is about something else, unless its name says that it is about this."""
    import yaml

    path = tree.path(name)
    try:
        # All scalars as they are written: off and no are names of classes too.
        text = read_text(path)
        if len(text) > _LARGEST or _ALIAS.search(text):
            raise ValueError("aliases, which may stand for any amount of text" if len(text) <= _LARGEST else "too much")
        table = yaml.load(text, yaml.BaseLoader)
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        if not strict:
            return None
        raise ValueError(f"{path}: must be YAML, got {' '.join(str(error).split())[:120]}") from None
    keys = _split_keys(table) if isinstance(table, dict) else {}
    if not keys:
        if not strict:
            return None
        raise ValueError(f"{path}: must name the folders train and val, got {str(table)[:80]!r}")
    base = path.parent / str(table.get("path") or "")
    if not base.is_dir():
        base = path.parent
    splits: dict[str, list[Path]] = {}
    for key, split in keys.items():
        entries = table[key] if isinstance(table[key], list) else [table[key]]
        splits.setdefault(split, []).extend(_place(tree, base, str(entry)) for entry in entries if entry)
    splits = {split: places for split, places in splits.items() if places}
    if not splits:
        raise ValueError(f"{path}: must name the folders train and val, got none")
    if (
        not strict
        and "names" not in table
        and not any(place.exists() for places in splits.values() for place in places)
    ):
        return None
    shape = table.get("kpt_shape")
    count = str(table.get("nc") or "")
    return Found(
        splits,
        _yaml_names(table, path),
        shape=_shape(shape),
        count=_count(count, path),
        file=name,
    )


def _count(text: str, path: Path) -> int | None:
    if not text.isdecimal():
        return None
    if len(text) > 6 or int(text) > MOST_CLASSES:
        raise ValueError(f"{path}: nc must be at most {MOST_CLASSES}, got {text[:20]}")
    return int(text)


def _shape(value: Any) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2 and all(str(each).isdecimal() for each in value):
        return int(value[0]), int(value[1])
    return None


def _split_keys(table: dict[Any, Any]) -> dict[Any, str]:
    """The keys that name pictures of a split, in any letter case."""
    found = {}
    for key, value in table.items():
        split = split_of(str(key))
        paths = (
            value is None
            or isinstance(value, str)
            or (isinstance(value, list) and all(isinstance(v, str) for v in value))
        )
        if split is not None and paths and all(split_of(word) or word in _BESIDE for word in words_of(str(key))):
            found[key] = split
    return found


def _place(tree: Tree, base: Path, entry: str) -> Path:
    """Where an entry of the YAML is; Roboflow's "../train/images" means the folder beside the file.

    Of a path of another machine the end that is here is taken, in whatever letter case.
    """
    trimmed = entry.replace("\\", "/")
    while trimmed.startswith(("../", "./")):
        trimmed = trimmed.partition("/")[2]
    first = base / entry
    candidates = [first, tree.root / entry, base / trimmed, tree.root / trimmed]
    parts = plain_path(entry).split("/")
    ends = ["/".join(parts[i:]) for i in range(len(parts))]
    candidates += [folder / end for folder in (base, tree.root) for end in ends]
    known = {key_of(name): name for name in tree.places()}
    candidates += [tree.path(known[key_of(end)]) for end in ends if key_of(end) in known]
    return next((path for path in candidates if path.exists()), first)


def _yaml_names(table: dict[str, Any], path: Path) -> dict[int, str] | None:
    names = table.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if names is None:
        return None
    if not isinstance(names, dict) or not names:
        raise ValueError(f"{path}: names must be a list or a mapping from class number to name, got {str(names)[:80]}")
    cleaned: dict[int, str] = {}
    for key, value in names.items():
        number = int(key) if str(key).isdecimal() else -1
        if not 0 <= number < MOST_CLASSES or not clean_name(value):
            raise ValueError(f"{path}: names must map class numbers 0, 1, ... to names, got {key!r}: {value!r}")
        cleaned[number] = clean_name(value)
    return cleaned


def _raw(name: str, pictures: Gathered, shape: tuple[int, int] | None, first_id: int, problems: Problems) -> Raw:
    base = pictures.tree.root
    files = Files(list(pictures.labels))
    sizes, boxes = array("d"), array("d")
    index, classes = array("q"), array("q")
    work = [(text, None if text in pictures.bare else label) for text, label in pictures.labels.items()]
    looked = in_threads(_look, work)
    some = list(islice(looked, _LOOKED_AT))
    meaning = meaning_of((line for _, text in some for line in (text or "").splitlines()), shape)
    for i, (label, (size, text)) in enumerate(zip(pictures.labels.values(), chain(some, looked), strict=True)):
        height, width = size
        sizes.extend(size)
        for line in (text or "").splitlines():
            parsed = meaning.read(line)
            if parsed is not None:
                number, (x1, y1, x2, y2), said = parsed
                if said is not None:
                    # Of each label file it would be said anew, though it is true of all.
                    problems.add("labels" if said is not PIXELS else relative(label, base), said)
                    if said is PIXELS:
                        continue
                index.append(i)
                classes.append(number)
                boxes.extend((x1 * width, y1 * height, x2 * width, y2 * height))
            elif line.strip():
                problems.add(relative(label, base), "line that is not a class and a box, skipped")
    bare = len(pictures.bare)
    if len(files) and bare == len(files):
        folder = os.path.dirname(next(iter(pictures.labels.values())))
        problems.add(relative(folder, base), "no label file found for any image", bare)
    elif bare > _BACKGROUND * len(files):
        problems.add(name, "images without a label file, taken as images without objects", bare)
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


def _look(paths: tuple[str, str | None]) -> tuple[tuple[float, float], str | None]:
    """Size of an image, NaN if it cannot be read, and the text of its label file, if there is one."""
    image, label = paths
    return size_or_none(image) or (np.nan, np.nan), None if label is None else _read_label(label)


def _read_label(path: str) -> str | None:
    try:
        return read_text(path)
    except OSError:
        return None


def _from_zero(raws: list[Raw], names: dict[int, str], problems: Problems) -> None:
    """Classes that are numbered from 1, where the names are numbered from 0, are numbered as those."""
    used = [raw.classes for raw in raws if len(raw.classes)]
    if not used or len(names) < 2 or set(names) != set(range(len(names))):
        return
    if min(int(each.min()) for each in used) == 1 and max(int(each.max()) for each in used) == len(names):
        problems.add("labels", "classes are numbered from 1; taken as such", sum(map(len, used)))
        for raw in raws:
            raw.classes -= 1


def _numbered(raws: list[Raw]) -> dict[int, str]:
    top = max((int(raw.classes.max(initial=-1)) for raw in raws), default=-1)
    return {i: str(i) for i in range(top + 1)}


def _known_classes(raw: Raw, pictures: Gathered, names: dict[int, str], problems: Problems) -> Raw:
    known = np.isin(raw.classes, list(names))
    if known.all():
        return raw
    labels = list(pictures.labels.values())
    for row in np.flatnonzero(~known):
        label = relative(labels[raw.image_index[row]], pictures.tree.root)
        problems.add(label, f"class {raw.classes[row]} that has no name, skipped")
    fields = ("image_index", "boxes_xyxy", "classes", "crowd", "areas")
    return replace(raw, **{field: getattr(raw, field)[known] for field in fields})


READER = Reader(
    "YOLO: data.yaml, obj.data, or .txt labels in labels/ or beside the images (in train/ and val/ or not)", find, read
)
