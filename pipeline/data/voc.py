"""Pascal VOC XML: JPEGImages/ + Annotations/ with ImageSets/Main lists, or XML beside the images in split folders.

Corners are taken as written: xmin, ymin, xmax, ymax are pixel coordinates of the box's edges, w = xmax - xmin. VOC
itself counts pixels from 1 and includes both corners; most tools that write its XML do not, and one pixel is within the
labels' noise. Objects marked `difficult` are flagged like COCO's crowds: ignored in training and evaluation, as VOC's
own evaluation does.

Format: Everingham et al., The PASCAL Visual Object Classes Challenge 2012 Development Kit.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

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
from micro_yolo.pipeline.data.files import Files, in_threads, list_files, relative
from micro_yolo.tflite.image import SUFFIXES

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Found:
    """XML files per split, and the folders each split's images may be in."""

    xml: dict[str, list[str]]
    images: dict[str, list[Path]]


def find(root: Path) -> Found | None:
    """The XML files of each split; None if this is not a VOC folder.

    With lists in ImageSets/Main: train.txt, val.txt and test.txt as they are; trainval.txt is train where there is no
    train.txt.
    A test list or folder serves as val where there is no val. Without lists there is one split, "all".
    """
    annotations = root / "Annotations"
    everything = _xml_files(annotations)
    images = [root / "JPEGImages", root / "images", root, annotations]
    if everything:
        lists = {name: _read_list(root, name) for name in ("train", "val", "test", "trainval")}
        whole = lists.pop("trainval")
        if lists["train"] is None and whole is not None:
            lists["train"], lists["val"] = whole, None
        used = {
            name: list(Files.below(annotations, [f"{stem}.xml" for stem in stems]).texts)
            for name, stems in lists.items()
            if stems is not None
        }
        return Found(used or {"all": everything}, dict.fromkeys(used or ["all"], images))
    xml: dict[str, list[str]] = {}
    beside: dict[str, list[Path]] = {}
    for folder, split in SPLIT_NAMES.items():
        for place in (root / folder, root / folder / "Annotations", root / folder / "annotations"):
            if files := _xml_files(place):
                xml.setdefault(split, []).extend(files)
                beside.setdefault(split, []).extend([place, root / folder / "JPEGImages", root / folder / "images"])
    if xml:
        return Found(xml, beside)
    for place in (root, root / "annotations"):
        if files := _xml_files(place):
            return Found({"all": files}, {"all": [*images, place]})
    return None


def read(root: Path, found: Found, *, val_fraction: float, seed: int) -> Dataset:
    """Reads the files `find` gave; classes are the names met, alphabetically. ValueError if nothing is left."""
    problems = Problems()
    records = {name: _records(root, files, found.images[name], problems) for name, files in found.xml.items()}
    names = sorted({name for each in records.values() for name in each.names})
    splits, first_id = [], 1
    for split, each in records.items():
        splits.append(build_split(_raw(split, each, names, first_id), root, problems))
        first_id += len(each.files)
    category_ids = range(1, len(names) + 1)
    return finish(root, "voc", names, category_ids, splits, problems, val_fraction=val_fraction, seed=seed)


def _xml_files(folder: Path) -> list[str]:
    names = sorted(name for name in list_files(folder) if name.lower().endswith(".xml"))
    return list(Files.below(folder, names).texts)


def _read_list(root: Path, name: str) -> list[str] | None:
    path = root / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        return None
    # The first word alone: VOC's per-class lists put 1 or -1 behind it. A name with spaces is the whole line.
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    return [line.removesuffix(" 1").removesuffix(" -1").removesuffix(" 0").strip() for line in lines if line]


@dataclass
class _Records:
    """Images, and a row for each of their boxes; classes are numbered as they are met."""

    files: dict[str, None] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    sizes: array = field(default_factory=lambda: array("d"))
    image_index: array = field(default_factory=lambda: array("q"))
    boxes: array = field(default_factory=lambda: array("d"))
    classes: array = field(default_factory=lambda: array("q"))
    difficult: array = field(default_factory=lambda: array("b"))


def _records(root: Path, files: list[str], folders: list[Path], problems: Problems) -> _Records:
    # Here, so that evaluating on other formats needs no XML library.
    from defusedxml import DefusedXmlException

    indexed = [(folder, {name.lower(): name for name in list_files(folder)}) for folder in folders]
    records = _Records()
    for path, data in zip(files, in_threads(_read, files), strict=True):
        label = relative(path, root)
        try:
            tree = _parse(data)
        except FileNotFoundError:
            problems.add(label, "listed in ImageSets/Main but the annotation is missing")
            continue
        except DefusedXmlException:
            problems.add(label, "XML with entities or a document type of its own is refused")
            continue
        except (ParseError, OSError, ValueError, LookupError) as error:
            problems.add(label, f"not XML that can be read ({' '.join(str(error).split())[:80]})")
            continue
        stem = os.path.splitext(os.path.basename(path))[0]
        image = _image_file(tree.findtext("filename") or "", stem, indexed)
        if image in records.files:
            problems.add(label, "a second annotation of the same image, skipped")
            continue
        records.files[image] = None
        records.sizes.extend(_numbers(tree.find("size"), ("height", "width")))
        _add_boxes(records, tree, label, problems)
    return records


def _read(path: str) -> bytes | OSError:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return error


class _Plain(TreeBuilder):
    """Refuses a document type, without which there are no entities."""

    def doctype(self, *_: object) -> None:
        raise _DoctypeError


class _DoctypeError(Exception):
    pass


def _parse(data: bytes | OSError) -> Element:
    if isinstance(data, OSError):
        raise data
    # Six times as fast as defusedxml's parser, which is written in Python.
    parser = XMLParser(target=_Plain())
    try:
        parser.feed(data)
        return parser.close()
    except _DoctypeError:
        from defusedxml.ElementTree import fromstring

        tree: Element = fromstring(data)
        return tree


def _image_file(file_name: str, stem: str, indexed: list[tuple[Path, dict[str, str]]]) -> str:
    """The image by the name in the XML, else by the XML's own name; letter case is forgiven. May not exist."""
    wanted = os.path.basename(file_name.strip().replace("\\", "/"))
    for candidate in (wanted, *(stem + suffix for suffix in SUFFIXES)):
        for folder, names in indexed:
            if candidate and candidate.lower() in names:
                return os.path.join(folder, names[candidate.lower()])
    likely = next((folder for folder, names in indexed if names), indexed[0][0])
    return str(likely / (wanted or stem))


def _add_boxes(records: _Records, tree: Element, label: str, problems: Problems) -> None:
    for element in tree.iter("object"):
        name = clean_name(element.findtext("name") or "")
        if not name:
            problems.add(label, "object without a name, skipped")
            continue
        records.image_index.append(len(records.files) - 1)
        records.boxes.extend(_numbers(element.find("bndbox"), _CORNERS))
        records.classes.append(records.names.setdefault(name, len(records.names)))
        records.difficult.append((element.findtext("difficult") or "").strip() == "1")


def _numbers(element: Element | None, tags: tuple[str, ...]) -> tuple[float, ...]:
    """The numbers under `tags`; NaN where there is none."""
    numbers = []
    for tag in tags:
        try:
            numbers.append(float((element.findtext(tag) if element is not None else None) or "nan"))
        except ValueError:
            numbers.append(float("nan"))
    return tuple(numbers)


def _raw(name: str, records: _Records, names: list[str], first_id: int) -> Raw:
    place = {name: number for number, name in enumerate(names)}
    met = np.array([place[name] for name in records.names], np.int64)
    return Raw(
        name=name,
        files=Files(list(records.files)),
        image_ids=np.arange(first_id, first_id + len(records.files)),
        sizes=np.array(records.sizes, np.float64).reshape(-1, 2),
        image_index=np.array(records.image_index, np.int64),
        boxes_xyxy=np.array(records.boxes, np.float64).reshape(-1, 4),
        classes=met[np.array(records.classes, np.int64)],
        crowd=np.array(records.difficult, bool),
        areas=np.full(len(records.classes), np.nan),
    )


READER = Reader(
    "Pascal VOC: Annotations/*.xml + JPEGImages/, or XML beside the images, in train/ and test/ folders or not",
    find,
    read,
)
