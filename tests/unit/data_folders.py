"""Small data sets of every form, for the tests of the readers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_image(path: Path, size: tuple[int, int] = (48, 64), **save: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path, **save)
    return path


def annotation(id: int, image_id: int, bbox: Any = (4, 6, 20, 10), category_id: int = 7, **more: Any) -> dict[str, Any]:
    return {"id": id, "image_id": image_id, "category_id": category_id, "bbox": bbox, "iscrowd": 0, **more}


def coco_record(images: int = 2, first: int = 1, prefix: str = "im") -> dict[str, Any]:
    return {
        "images": [
            {"id": i, "file_name": f"{prefix}{i}.jpg", "height": 48, "width": 64} for i in range(first, first + images)
        ],
        "annotations": [annotation(i, i) for i in range(first, first + images)],
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}],
    }


def write_coco(
    root: Path, train: dict[str, Any], val: dict[str, Any] | None = None, *, draw: bool = True, flat: bool = True
) -> Path:
    """The record(s) as a flat COCO folder, or the standard one, with an image for each record that has a file_name."""
    root.mkdir(parents=True, exist_ok=True)
    for name, record in (("train", train), ("val", val)):
        if record is None:
            continue
        folder = root if flat else root / "annotations"
        folder.mkdir(exist_ok=True)
        (folder / f"instances_{name}{'' if flat else '2017'}.json").write_text(json.dumps(record), encoding="utf-8")
        for image in record["images"] if draw else ():
            write_image(root / ("images" if flat else f"{name}2017") / image["file_name"])
    return root


def voc_xml(
    file_name: str, boxes: list[tuple[str, Any, Any, Any, Any]], *, size: tuple[int, int] | None = (48, 64)
) -> str:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in boxes
    )
    size_xml = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><filename>{file_name}</filename>{size_xml}{objects}</annotation>"


def write_voc(root: Path, stems: list[str]) -> Path:
    (root / "Annotations").mkdir(parents=True)
    for stem in stems:
        write_image(root / "JPEGImages" / f"{stem}.jpg")
        text = voc_xml(f"{stem}.jpg", [("dog", 4, 6, 24, 16), ("cat", 30, 6, 40, 16)])
        (root / "Annotations" / f"{stem}.xml").write_text(text, encoding="utf-8")
    return root


def write_lists(root: Path, **lists: list[str]) -> None:
    folder = root / "ImageSets" / "Main"
    folder.mkdir(parents=True)
    for name, stems in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(stems) + "\n", encoding="utf-8")


def write_yolo(root: Path, folder: str, labels: dict[str, str | None], *, size: tuple[int, int] = (48, 64)) -> None:
    """`folder` holds images; each label goes where YOLO looks for it; None writes none."""
    for stem, text in labels.items():
        image = write_image(root / folder / f"{stem}.png", size)
        if text is not None:
            label = Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt")
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(text, encoding="utf-8")
