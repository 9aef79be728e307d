"""Sets of images and boxes drawn by seed in any size and form, and detections in them; for benchmarks/scale.py."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Split

# ext4 has at most 65,000 names for a file.
LINKS = 50_000
PER_FOLDER = 1_000
HEIGHT, WIDTH = 96, 128


@dataclass(frozen=True)
class Size:
    """How much is drawn.

    Attributes:
        images: how many.
        boxes: in all of them.
        classes: of the boxes.
        seed: of all that is drawn.
        corners: of an outline that each box of a COCO file has.
    """

    images: int
    boxes: int
    classes: int
    seed: int = 0
    corners: int = 0


@dataclass(frozen=True)
class Boxes:
    """Boxes (m, 4) xyxy in whole pixels, the image (m,) that each is in and its class (m,), both from 0."""

    xyxy: np.ndarray
    images: np.ndarray
    classes: np.ndarray


def draw_boxes(size: Size) -> Boxes:
    """Of a long tail of classes, in no order."""
    rng = np.random.default_rng(size.seed)
    weights = 1 / (10 + np.arange(size.classes))
    sides = np.exp(rng.uniform(np.log(4), np.log([WIDTH, HEIGHT]), (size.boxes, 2))).astype(np.int32)
    first = (rng.random((size.boxes, 2)) * (np.array([WIDTH, HEIGHT]) - sides + 1)).astype(np.int32)
    return Boxes(
        np.concatenate([first, first + sides], 1),
        rng.integers(0, size.images, size.boxes, np.int32),
        rng.choice(size.classes, size.boxes, p=weights / weights.sum()).astype(np.int32),
    )


def draw_pictures(folder: Path, count: int, seed: int, *, flat: bool = False) -> list[str]:
    """Names, below `folder`, of `count` pictures: links to a few, a thousand in a folder or all in one."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    own = []
    for number in range(max(8, -(-count // LINKS))):
        own.append(folder.parent / f".picture{number}.jpg")
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(own[-1], quality=85)
    names = [f"{i:08d}.jpg" if flat else f"{i // PER_FOLDER:05d}/{i:08d}.jpg" for i in range(count)]
    for number, name in enumerate(names):
        if not flat and number % PER_FOLDER == 0:
            (folder / name).parent.mkdir()
        os.link(own[number % len(own)], folder / name)
    return names


def draw_coco(root: Path, size: Size) -> None:
    """A COCO file without splits, whose records have what COCO's have."""
    names = draw_pictures(root / "images", size.images, size.seed)
    drawn = draw_boxes(size)
    rng = np.random.default_rng(size.seed)
    corners = json.dumps([rng.uniform(0, WIDTH, 2 * size.corners).round(2).tolist()] if size.corners else [])
    with open(root / "labels.json", "w", encoding="utf-8") as file:
        file.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        for i, name in enumerate(names):
            file.write(
                f'{", " if i else ""}{{"license": 3, "file_name": "{name}", "coco_url": "http://images.example.org/'
                f'{name}", "height": {HEIGHT}, "width": {WIDTH}, "date_captured": "2013-11-14 11:18:45", "id": {i}}}'
            )
        file.write('], "annotations": [')
        for i, (x1, y1, x2, y2, image, number) in enumerate(_rows(drawn)):
            w, h = x2 - x1, y2 - y1
            file.write(
                f'{", " if i else ""}{{"segmentation": {corners}, "area": {0.6 * w * h:.4f}, "iscrowd": 0, '
                f'"image_id": {image}, "bbox": [{x1}.25, {y1}.25, {w}.5, {h}.5], "category_id": {number + 1}, '
                f'"id": {i + 1}}}'
            )
        categories = [{"id": i + 1, "name": f"class {i}"} for i in range(size.classes)]
        file.write(f'], "categories": {json.dumps(categories)}}}')


def draw_yolo(root: Path, size: Size) -> None:
    """images/ and labels/, a thousand files in a folder."""
    names = draw_pictures(root / "images", size.images, size.seed)
    for name, rows in zip(names, _by_image(size), strict=True):
        path = (root / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "".join(
                f"{number} {(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f} {(x2 - x1) / WIDTH:.6f} "
                f"{(y2 - y1) / HEIGHT:.6f}\n"
                for x1, y1, x2, y2, _, number in rows
            )
        )
    (root / "classes.txt").write_text("".join(f"class {i}\n" for i in range(size.classes)))


def draw_voc(root: Path, size: Size) -> None:
    """JPEGImages/ and Annotations/, all in one folder, as VOC has it."""
    names = draw_pictures(root / "JPEGImages", size.images, size.seed, flat=True)
    (root / "Annotations").mkdir()
    for name, rows in zip(names, _by_image(size), strict=True):
        objects = "".join(
            f"<object><name>class {number}</name><pose>Unspecified</pose><difficult>0</difficult><bndbox>"
            f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for x1, y1, x2, y2, _, number in rows
        )
        (root / "Annotations" / name).with_suffix(".xml").write_text(
            f"<annotation><folder>VOC</folder><filename>{name}</filename><size><width>{WIDTH}</width>"
            f"<height>{HEIGHT}</height><depth>3</depth></size>{objects}</annotation>"
        )


def draw_csv(root: Path, size: Size) -> None:
    """One CSV file, and images/."""
    names = draw_pictures(root / "images", size.images, size.seed)
    with open(root / "boxes.csv", "w", encoding="utf-8") as file:
        file.write("filename,width,height,class,xmin,ymin,xmax,ymax\n")
        for name, rows in zip(names, _by_image(size), strict=True):
            for x1, y1, x2, y2, _, number in rows:
                file.write(f"{name},{WIDTH},{HEIGHT},class {number},{x1},{y1},{x2},{y2}\n")


def drawn_split(size: Size) -> Split:
    """What is drawn, as if it had been read; there are no files."""
    from micro_yolo.pipeline.data import Split

    count = size.images
    drawn = draw_boxes(size)
    order = np.argsort(drawn.images, kind="stable")
    boxes = drawn.xyxy[order].astype(np.float32)
    return Split(
        name="val",
        files=tuple(Path(f"{i:08d}.jpg") for i in range(count)),
        image_ids=np.arange(count),
        sizes=np.tile(np.array([HEIGHT, WIDTH], np.int32), (count, 1)),
        boxes_xyxy=boxes,
        classes=drawn.classes[order],
        crowd=np.zeros(len(boxes), bool),
        areas=(boxes[:, 2:] - boxes[:, :2]).prod(1),
        starts=np.concatenate([[0], np.cumsum(np.bincount(drawn.images, minlength=count))]),
    )


class Drawn:
    """A predictor that finds so many objects in each picture: up to half near what is drawn, the others anywhere."""

    def __init__(self, size: Size, found: int) -> None:
        from micro_yolo.pipeline.measure.finders import Facts

        self.labels = tuple(f"class {i}" for i in range(size.classes))
        self.facts = Facts((HEIGHT, WIDTH), "stretch", 0.001, 0.5)
        self._size, self._found, self._split = size, found, drawn_split(size)

    def detect(self, pictures: Sequence[Any], advance: Callable[[], object] = lambda: None) -> Iterator[Any]:
        """Detections of each picture."""
        from micro_yolo.pipeline.measure.finders import Found
        from micro_yolo.tflite.decode import Detections

        rng, split = np.random.default_rng(self._size.seed), self._split
        for index in range(len(pictures)):
            rows = split.rows(index)
            near = split.boxes_xyxy[rows][: self._found // 2]
            rest = self._found - len(near)
            corner = rng.uniform(0, (WIDTH - 8, HEIGHT - 8), (rest, 2))
            boxes = np.concatenate([near + rng.normal(0, 2, near.shape), np.tile(corner, 2) + np.array([0, 0, 8, 8])])
            numbers = rng.integers(0, self._size.classes, self._found)
            numbers[: len(near)] = split.classes[rows][: len(near)]
            scores = rng.random(self._found) ** np.where(np.arange(self._found) < len(near), 1, 4)
            advance()
            yield Found(Detections(boxes.astype(np.float32), scores.astype(np.float32), numbers.astype(np.int32)), 0.0)


def _rows(drawn: Boxes) -> Iterator[list[int]]:
    # In pieces: a list of a million boxes takes ten times their array.
    for start in range(0, len(drawn.xyxy), 100_000):
        part = slice(start, start + 100_000)
        yield from np.column_stack([drawn.xyxy[part], drawn.images[part], drawn.classes[part]]).tolist()


def _by_image(size: Size) -> Iterator[list[list[int]]]:
    count = size.images
    drawn = draw_boxes(size)
    order = np.argsort(drawn.images, kind="stable")
    rows = _rows(Boxes(drawn.xyxy[order], drawn.images[order], drawn.classes[order]))
    for boxes in np.bincount(drawn.images, minlength=count).tolist():
        yield [next(rows) for _ in range(boxes)]
