"""A data set written as it was understood, in a form that other programs read: COCO, YOLO or Pascal VOC."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from micro_yolo.pipeline.data import making
from micro_yolo.pipeline.data.dataset import Dataset, Split
from micro_yolo.pipeline.data.files import size_or_none
from micro_yolo.tflite.image import load_image


def export(dataset: Dataset, folder: Path, form: str) -> int:
    """Write a data set, pictures and all.

    Args:
        dataset: what `load` gave.
        folder: to be made; nothing may be in it.
        form: one of `FORMS`.

    Returns:
        How many boxes could not be said in this form: crowds, in YOLO's.

    Raises:
        ValueError: there is no such form, or something is in the folder.
        OSError: it cannot be written.
    """
    if form not in FORMS:
        raise ValueError(f"form: must be one of {', '.join(FORMS)}, got {form!r}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: something is there already; choose another --export")
    with making.folder(folder) as part:
        return FORMS[form](dataset, part)


def _pictures(split: Split, place: Path, taken: set[str]) -> Iterator[tuple[int, str]]:
    """Each picture's index and the name of its copy in `place`, whose stem no other has."""
    place.mkdir(parents=True, exist_ok=True)
    for index, file in enumerate(split.files):
        stem, number = file.stem, 1
        while stem.casefold() in taken:
            stem = f"{file.parent.name}_{file.stem}" if number == 1 else f"{file.stem}_{number}"
            number += 1
        taken.add(stem.casefold())
        name = stem + file.suffix
        size = tuple(split.sizes[index].tolist())
        if size == size_or_none(file):
            shutil.copyfile(file, place / name)
        else:
            # Its boxes are of the picture as it was before EXIF turned it, which no other form can say.
            name = f"{stem}.png"
            Image.fromarray(load_image(file, (size[0], size[1]))).save(place / name)
        yield index, name


def _coco(dataset: Dataset, folder: Path) -> int:
    categories = [{"id": i, "name": name} for i, name in zip(dataset.category_ids, dataset.names, strict=True)]
    (folder / "annotations").mkdir()
    number = 0
    for split_name, split in dataset.splits.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index, name in _pictures(split, folder / "images" / split_name, set()):
            image_id = len(images) + 1
            height, width = split.sizes[index].tolist()
            images.append({"id": image_id, "file_name": name, "height": height, "width": width})
            for row in range(*split.rows(index).indices(len(split.classes))):
                x1, y1, x2, y2 = split.boxes_xyxy[row].astype(np.float64).tolist()
                number += 1
                annotations.append(
                    {
                        "id": number,
                        "image_id": image_id,
                        "category_id": dataset.category_ids[split.classes[row]],
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": float(split.areas[row]),
                        "iscrowd": int(split.crowd[row]),
                    }
                )
        record = {"images": images, "annotations": annotations, "categories": categories}
        text = json.dumps(record, ensure_ascii=False)
        (folder / "annotations" / f"instances_{split_name}.json").write_text(text, encoding="utf-8")
    return 0


def _yolo(dataset: Dataset, folder: Path) -> int:
    left_out = 0
    for split_name, split in dataset.splits.items():
        labels = folder / "labels" / split_name
        labels.mkdir(parents=True)
        left_out += int(split.crowd.sum())
        for index, name in _pictures(split, folder / "images" / split_name, set()):
            rows = split.rows(index)
            height, width = split.sizes[index].tolist()
            lines = []
            for kind, crowd, box in zip(split.classes[rows], split.crowd[rows], split.boxes_xyxy[rows], strict=True):
                if not crowd:
                    x1, y1, x2, y2 = (box.astype(np.float64) / (width, height, width, height)).tolist()
                    middle = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
                    lines.append(" ".join([str(kind), *(f"{share:.8f}" for share in middle)]) + "\n")
            (labels / f"{Path(name).stem}.txt").write_text("".join(lines), encoding="utf-8")
    lines = [f"{name}: images/{name}\n" for name in dataset.splits]
    # JSON is YAML, and leaves no name to be taken for something else.
    names = [f"  {number}: {json.dumps(name, ensure_ascii=False)}\n" for number, name in enumerate(dataset.names)]
    (folder / "data.yaml").write_text("".join(["path: .\n", *lines, "names:\n", *names]), encoding="utf-8")
    return left_out


def _voc(dataset: Dataset, folder: Path) -> int:
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (folder / "Annotations").mkdir()
    taken: set[str] = set()
    for split_name, split in dataset.splits.items():
        stems = []
        for index, name in _pictures(split, folder / "JPEGImages", taken):
            stem, rows = Path(name).stem, split.rows(index)
            stems.append(f"{stem}\n")
            height, width = split.sizes[index].tolist()
            objects = [
                f"<object><name>{escape(dataset.names[kind])}</name><difficult>{int(crowd)}</difficult><bndbox>"
                + "".join(
                    f"<{tag}>{value:.8g}</{tag}>"
                    for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
                )
                + "</bndbox></object>\n"
                for kind, crowd, box in zip(split.classes[rows], split.crowd[rows], split.boxes_xyxy[rows], strict=True)
            ]
            head = f"<annotation><filename>{escape(name)}</filename>"
            size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
            text = "".join([head, size, *objects, "</annotation>\n"])
            (folder / "Annotations" / f"{stem}.xml").write_text(text, encoding="utf-8")
        (lists / f"{split_name}.txt").write_text("".join(stems), encoding="utf-8")
    return 0


FORMS: dict[str, Callable[[Dataset, Path], int]] = {"coco": _coco, "yolo": _yolo, "voc": _voc}
