"""Pascal VOC XML: JPEGImages/ + Annotations/ with ImageSets/Main lists, or XML beside the images in split folders.

Corners are taken as written: xmin, ymin, xmax, ymax are pixel coordinates of the box's edges, w = xmax - xmin. VOC
itself counts pixels from 1 and includes both corners; most tools that write its XML do not, and one pixel is within the
labels' noise. Objects marked `difficult` are flagged like COCO's crowds: ignored in training and evaluation, as VOC's
own evaluation does.

Format: Everingham et al., The PASCAL Visual Object Classes Challenge 2012 Development Kit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

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
    list_files,
    relative,
)
from micro_yolo.tflite.image import SUFFIXES

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Found:
    """XML files per split, and the folders each split's images may be in."""

    xml: dict[str, list[Path]]
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
            name: [annotations / f"{stem}.xml" for stem in stems] for name, stems in lists.items() if stems is not None
        }
        return Found(used or {"all": everything}, dict.fromkeys(used or ["all"], images))
    xml: dict[str, list[Path]] = {}
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
    names = sorted({box[0] for images in records.values() for image in images for box in image[2]})
    splits, first_id = [], 1
    for split, images in records.items():
        splits.append(build_split(_raw(split, images, names, first_id), root, problems))
        first_id += len(images)
    category_ids = range(1, len(names) + 1)
    return finish(root, "voc", names, category_ids, splits, problems, val_fraction=val_fraction, seed=seed)


def _xml_files(folder: Path) -> list[Path]:
    return sorted(folder / name for name in list_files(folder) if name.lower().endswith(".xml"))


def _read_list(root: Path, name: str) -> list[str] | None:
    path = root / "ImageSets" / "Main" / f"{name}.txt"
    if not path.is_file():
        return None
    # The first word alone: VOC's per-class lists put 1 or -1 behind it. A name with spaces is the whole line.
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    return [line.removesuffix(" 1").removesuffix(" -1").removesuffix(" 0").strip() for line in lines if line]


def _records(root: Path, files: list[Path], folders: list[Path], problems: Problems) -> list[tuple]:
    """One (image file, (height, width), boxes) per readable XML; a box is (name, four numbers, difficult)."""
    # Here, so that evaluating on other formats needs no XML library.
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    indexed = [(folder, {name.lower(): name for name in list_files(folder)}) for folder in folders]
    images: list[tuple] = []
    seen: set[Path] = set()
    for path in files:
        label = relative(path, root)
        try:
            tree = parse(path).getroot()
        except FileNotFoundError:
            problems.add(label, "listed in ImageSets/Main but the annotation is missing")
            continue
        except DefusedXmlException:
            problems.add(label, "XML with entities or a document type of its own is refused")
            continue
        except (ParseError, OSError, ValueError, LookupError) as error:
            problems.add(label, f"not XML that can be read ({' '.join(str(error).split())[:80]})")
            continue
        image = _image_file(tree.findtext("filename") or "", path.stem, indexed)
        if image in seen:
            problems.add(label, "a second annotation of the same image, skipped")
            continue
        seen.add(image)
        size = tree.find("size")
        images.append((image, _numbers(size, ("height", "width")), _boxes(tree, label, problems)))
    return images


def _image_file(file_name: str, stem: str, indexed: list[tuple[Path, dict[str, str]]]) -> Path:
    """The image by the name in the XML, else by the XML's own name; letter case is forgiven. May not exist."""
    wanted = os.path.basename(file_name.strip().replace("\\", "/"))
    for candidate in (wanted, *(stem + suffix for suffix in SUFFIXES)):
        for folder, names in indexed:
            if candidate and candidate.lower() in names:
                return folder / names[candidate.lower()]
    likely = next((folder for folder, names in indexed if names), indexed[0][0])
    return likely / (wanted or stem)


def _boxes(tree: Element, label: str, problems: Problems) -> list[tuple]:
    boxes = []
    for element in tree.iter("object"):
        name = clean_name(element.findtext("name") or "")
        if name:
            corners = _numbers(element.find("bndbox"), _CORNERS)
            boxes.append((name, corners, (element.findtext("difficult") or "").strip() == "1"))
        else:
            problems.add(label, "object without a name, skipped")
    return boxes


def _numbers(element: Element | None, tags: tuple[str, ...]) -> tuple[float, ...]:
    """The numbers under `tags`; NaN where there is none."""
    numbers = []
    for tag in tags:
        try:
            numbers.append(float((element.findtext(tag) if element is not None else None) or "nan"))
        except ValueError:
            numbers.append(float("nan"))
    return tuple(numbers)


def _raw(name: str, images: list[tuple], names: list[str], first_id: int) -> Raw:
    place = {name: index for index, name in enumerate(names)}
    boxes = [(index, *box) for index, image in enumerate(images) for box in image[2]]
    return Raw(
        name=name,
        files=[image[0] for image in images],
        image_ids=np.arange(first_id, first_id + len(images)),
        sizes=np.array([image[1] for image in images], np.float64).reshape(-1, 2),
        image_index=np.array([box[0] for box in boxes], np.int64),
        boxes_xyxy=np.array([box[2] for box in boxes], np.float64).reshape(-1, 4),
        classes=np.array([place[box[1]] for box in boxes], np.int64),
        crowd=np.array([box[3] for box in boxes], bool),
        areas=np.full(len(boxes), np.nan),
    )


READER = Reader(
    "Pascal VOC: Annotations/*.xml + JPEGImages/, or XML beside the images, in train/ and test/ folders or not",
    find,
    read,
)
