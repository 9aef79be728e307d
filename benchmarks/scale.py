"""What grows with a data set, and how: seconds and peak memory at a hundredth, a tenth and all of a large one.

    python benchmarks/scale.py

draws a COCO file of 1,000,000 images and 7,000,000 boxes of 1,200 classes, and sets in the other forms, in a temporary
folder (some 2 GB; the pictures are links to a few small ones), and measures in a process of its own what each part
takes: seconds of the processor, whose cores are added up, and peak memory. "grown" is how much more the last takes than
the one before it, over how much more data it has: 1 is as the data, more than 1 is worse. "s" are those of a clock.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.pipeline.show import cli

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Split

# ext4 has at most 65,000 names for a file.
LINKS = 50_000
PER_FOLDER = 1_000
HEIGHT, WIDTH = 96, 128
GIB = 1 << 30


@dataclass(frozen=True)
class Config:
    """Seconds and memory of each part at several sizes of data."""

    parts: tuple[str, ...] = ("read", "report", "start", "input", "evaluate", "yolo", "voc", "csv")
    """Which to measure."""
    images: int = 1_000_000
    """Of the COCO file."""
    boxes: int = 7_000_000
    """In them."""
    classes: int = 1_200
    """Of them."""
    corners: int = 0
    """Of an outline that every box of the COCO file has."""
    files: int = 100_000
    """Images of the sets in YOLO's, Pascal VOC's and CSV form, with as many boxes each as the COCO file's have."""
    evaluated: int = 100_000
    """Images whose detections are measured."""
    found: int = 20
    """Detections of each."""
    shares: tuple[float, ...] = (0.01, 0.1, 1.0)
    """Of all of this, in the order in which they are measured."""
    arch: str = "micro_yolo"
    """Network that is started."""
    size: str = "320"
    """Of its input, pixels."""
    batch: int = 8
    """Images a step."""
    steps: int = 50
    """Batches by which the input is measured."""
    seed: int = 0
    """Of what is drawn."""
    folder: Path | None = None
    """Where it is drawn; by default in the system's folder for temporary files. What is drawn is removed again."""

    def at(self, share: float) -> Config:
        """The same with this share of the data."""
        return replace(
            self,
            images=max(round(self.images * share), 10),
            boxes=max(round(self.boxes * share), 10),
            files=max(round(self.files * share), 10),
            evaluated=max(round(self.evaluated * share), 10),
        )


@dataclass(frozen=True)
class Measured:
    """What a part took.

    Attributes:
        seconds: from the first call, libraries loaded.
        cpu_s: of those that the processor's cores computed, added up.
        gib: peak memory of the process.
        said: counts of what it made.
    """

    seconds: float
    cpu_s: float
    gib: float
    said: dict[str, Any]


@dataclass(frozen=True)
class Boxes:
    """Boxes (m, 4) xyxy in whole pixels, the image (m,) that each is in and its class (m,), both from 0."""

    xyxy: np.ndarray
    images: np.ndarray
    classes: np.ndarray


def draw_boxes(images: int, boxes: int, classes: int, seed: int) -> Boxes:
    """Boxes in images as drawn by `seed`: of a long tail of classes, in no order."""
    rng = np.random.default_rng(seed)
    weights = 1 / (10 + np.arange(classes))
    sides = np.exp(rng.uniform(np.log(4), np.log([WIDTH, HEIGHT]), (boxes, 2))).astype(np.int32)
    first = (rng.random((boxes, 2)) * (np.array([WIDTH, HEIGHT]) - sides + 1)).astype(np.int32)
    return Boxes(
        np.concatenate([first, first + sides], 1),
        rng.integers(0, images, boxes, np.int32),
        rng.choice(classes, boxes, p=weights / weights.sum()).astype(np.int32),
    )


def draw_pictures(folder: Path, count: int, seed: int, *, flat: bool = False) -> list[str]:
    """Names, below `folder`, of `count` pictures: links to a few, a thousand in a folder or all in one."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    own = []
    for number in range(max(8, -(-count // LINKS))):
        own.append(folder.parent / f"picture{number}.jpg")
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(own[-1], quality=85)
    names = [f"{i:08d}.jpg" if flat else f"{i // PER_FOLDER:05d}/{i:08d}.jpg" for i in range(count)]
    for number, name in enumerate(names):
        if not flat and number % PER_FOLDER == 0:
            (folder / name).parent.mkdir()
        os.link(own[number % len(own)], folder / name)
    return names


def draw_coco(root: Path, config: Config) -> None:
    """A COCO file without splits, whose records have what COCO's have."""
    names = draw_pictures(root / "images", config.images, config.seed)
    drawn = draw_boxes(config.images, config.boxes, config.classes, config.seed)
    rng = np.random.default_rng(config.seed)
    corners = json.dumps([rng.uniform(0, WIDTH, 2 * config.corners).round(2).tolist()] if config.corners else [])
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
        categories = [{"id": i + 1, "name": f"class {i}"} for i in range(config.classes)]
        file.write(f'], "categories": {json.dumps(categories)}}}')


def draw_yolo(root: Path, config: Config) -> None:
    """images/ and labels/, a thousand files in a folder."""
    names = draw_pictures(root / "images", config.files, config.seed)
    for name, rows in zip(names, _by_image(config), strict=True):
        path = (root / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "".join(
                f"{number} {(x1 + x2) / 2 / WIDTH:.6f} {(y1 + y2) / 2 / HEIGHT:.6f} {(x2 - x1) / WIDTH:.6f} "
                f"{(y2 - y1) / HEIGHT:.6f}\n"
                for x1, y1, x2, y2, _, number in rows
            )
        )
    (root / "classes.txt").write_text("".join(f"class {i}\n" for i in range(config.classes)))


def draw_voc(root: Path, config: Config) -> None:
    """JPEGImages/ and Annotations/, all in one folder, as VOC has it."""
    names = draw_pictures(root / "JPEGImages", config.files, config.seed, flat=True)
    (root / "Annotations").mkdir()
    for name, rows in zip(names, _by_image(config), strict=True):
        objects = "".join(
            f"<object><name>class {number}</name><pose>Unspecified</pose><difficult>0</difficult><bndbox>"
            f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for x1, y1, x2, y2, _, number in rows
        )
        (root / "Annotations" / name).with_suffix(".xml").write_text(
            f"<annotation><folder>VOC</folder><filename>{name}</filename><size><width>{WIDTH}</width>"
            f"<height>{HEIGHT}</height><depth>3</depth></size>{objects}</annotation>"
        )


def draw_csv(root: Path, config: Config) -> None:
    """One CSV file, and images/."""
    names = draw_pictures(root / "images", config.files, config.seed)
    with open(root / "boxes.csv", "w", encoding="utf-8") as file:
        file.write("filename,width,height,class,xmin,ymin,xmax,ymax\n")
        for name, rows in zip(names, _by_image(config), strict=True):
            for x1, y1, x2, y2, _, number in rows:
                file.write(f"{name},{WIDTH},{HEIGHT},class {number},{x1},{y1},{x2},{y2}\n")


def read(root: Path, config: Config) -> Callable[[], dict[str, Any]]:
    """`pipeline.data.load`, which every command begins with."""
    from micro_yolo.pipeline.data import load

    def part() -> dict[str, Any]:
        dataset = load(root)
        return {
            "images": sum(map(len, dataset.splits.values())),
            "boxes": sum(len(split.classes) for split in dataset.splits.values()),
            "problems": len(dataset.problems),
        }

    return part


def report(root: Path, config: Config) -> Callable[[], dict[str, Any]]:
    """`python -m pipeline.data`, which decodes every picture."""
    import contextlib
    import io

    from micro_yolo.pipeline.data import __main__ as command

    def part() -> dict[str, Any]:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            command.command(command.Config(path=root, out=root / "report", overwrite=True))
        return {"lines": printed.getvalue().count("\n")}

    return part


def start(root: Path, config: Config) -> Callable[[], dict[str, Any]]:
    """`python -m pipeline.train` until its first step is done."""
    from micro_yolo.pipeline import train
    from micro_yolo.pipeline.show.screen import Show

    class Enough(Exception):
        pass

    class First(Show):
        def step(self, *_: Any) -> None:
            raise Enough

    def part() -> dict[str, Any]:
        try:
            train.run(
                train.Config(
                    run=root / "run", data=root, arch=config.arch, size=config.size, batch=config.batch, overwrite=True
                ),
                First(),
            )
        except Enough:
            return {"steps": 1}
        raise ValueError("start: the training ended without a step")

    return part


def feed(root: Path, config: Config) -> Callable[[], dict[str, Any]]:
    """Training batches, decoded and augmented, without a network; reading the data set is not counted."""
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.data.input import Batches, Images
    from micro_yolo.pipeline.data.strength import Strength
    from micro_yolo.pipeline.learn.options import parse_size

    split = load(root).splits["train"]

    def part() -> dict[str, Any]:
        started = time.perf_counter()
        images = Images(split, parse_size(config.size), "stretch", cache_bytes=0)
        batches = iter(Batches(images, config.batch, Strength(), seed=0).dataset(augmented=True).repeat())
        next(batches)
        first = time.perf_counter() - started
        started = time.perf_counter()
        for _ in range(config.steps):
            next(batches)
        speed = config.steps * config.batch / (time.perf_counter() - started)
        return {"first batch, s": first, "images/s": speed}

    return part


def evaluate(root: Path, config: Config) -> Callable[[], dict[str, Any]]:
    """`measure_split` of detections that are drawn: half of them near a box, the others anywhere."""
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.pipeline.measure.metrics import measure_split

    split, oracle = drawn_split(config), Drawn(config)
    names = tuple(f"class {i}" for i in range(config.classes))
    dataset = Dataset(root, "coco", names, tuple(range(1, config.classes + 1)), {"val": split})

    def part() -> dict[str, Any]:
        metrics, results = measure_split(oracle, split, dataset)
        return {"AP50": metrics["AP50"], "detections": len(results), "boxes": len(split.classes)}

    return part


def drawn_split(config: Config) -> Split:
    """As many images as are evaluated, with their share of the boxes; there are no files."""
    from micro_yolo.pipeline.data import Split

    count = config.evaluated
    drawn = draw_boxes(count, _boxes_of(count, config), config.classes, config.seed)
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
    """A predictor that finds what is drawn, whatever the picture."""

    def __init__(self, config: Config) -> None:
        from micro_yolo.pipeline.measure.finders import Facts

        self.labels = tuple(f"class {i}" for i in range(config.classes))
        self.facts = Facts((HEIGHT, WIDTH), "stretch", 0.001, 0.5)
        self._config, self._split = config, drawn_split(config)

    def detect(self, pictures: Sequence[Any], advance: Callable[[], object] = lambda: None) -> Iterator[Any]:
        """Detections of each picture."""
        from micro_yolo.pipeline.measure.finders import Found
        from micro_yolo.tflite.decode import Detections

        rng, split = np.random.default_rng(self._config.seed), self._split
        for index in range(len(pictures)):
            rows = split.rows(index)
            near = split.boxes_xyxy[rows][: self._config.found // 2]
            rest = self._config.found - len(near)
            corner = rng.uniform(0, (WIDTH - 8, HEIGHT - 8), (rest, 2))
            boxes = np.concatenate([near + rng.normal(0, 2, near.shape), np.tile(corner, 2) + np.array([0, 0, 8, 8])])
            numbers = rng.integers(0, self._config.classes, self._config.found)
            numbers[: len(near)] = split.classes[rows][: len(near)]
            scores = rng.random(self._config.found) ** np.where(np.arange(self._config.found) < len(near), 1, 4)
            advance()
            yield Found(Detections(boxes.astype(np.float32), scores.astype(np.float32), numbers.astype(np.int32)), 0.0)


# Part -> what is drawn for it, and what is measured.
PARTS: dict[str, tuple[str, Callable[[Path, Config], Callable[[], dict[str, Any]]]]] = {
    "read": ("coco", read),
    "report": ("coco", report),
    "start": ("coco", start),
    "input": ("coco", feed),
    "evaluate": ("", evaluate),
    "yolo": ("yolo", read),
    "voc": ("voc", read),
    "csv": ("csv", read),
}
DRAW = {"coco": draw_coco, "yolo": draw_yolo, "voc": draw_voc, "csv": draw_csv}


def measure(part: str, root: Path, config: Config) -> Measured:
    """Run a part in this process."""
    work = PARTS[part][1](root, config)
    started, computed = time.perf_counter(), time.process_time()
    said = work()
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - computed
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(seconds, cpu_s, peak * (1 if sys.platform == "darwin" else 1024) / GIB, said)


def alone(function: Callable[..., Any], *args: Any) -> Any:
    """`function` in a process of its own, whose peak memory nothing else has raised."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def run(config: Config) -> dict[str, list[Measured]]:
    """Draw, measure each part at each size, and print."""
    unknown = set(config.parts) - set(PARTS)
    if unknown:
        raise ValueError(f"parts: unknown, got {', '.join(sorted(unknown))}; allowed: {', '.join(PARTS)}")
    found: dict[str, list[Measured]] = {part: [] for part in config.parts}
    for share in config.shares:
        with tempfile.TemporaryDirectory(dir=config.folder) as folder:
            for form in dict.fromkeys(PARTS[part][0] for part in config.parts):
                root = Path(folder) / (form or "none")
                root.mkdir()
                if form:
                    alone(DRAW[form], root, config.at(share))
                for part in (part for part in config.parts if PARTS[part][0] == form):
                    found[part].append(alone(measure, part, root, config.at(share)))
                    print(f"{part} at {share:g}: {found[part][-1]}", file=sys.stderr, flush=True)
                shutil.rmtree(root)
    tell(config, found)
    return found


def tell(config: Config, found: dict[str, list[Measured]]) -> None:
    """Print what was measured as a table."""
    from micro_yolo.pipeline.show.listing import listing, wide_console

    heads = [
        f"{unit} at {share:g}" if share else "grown" for unit in ("CPU s", "GiB") for share in (*config.shares, None)
    ]
    table = listing("part", *heads, "s", "at the largest", words=(0, -1))
    for part, rows in found.items():
        said = [
            f"{name} {value:,.1f}" if value % 1 else f"{name} {value:,.0f}" for name, value in rows[-1].said.items()
        ]
        table.add_row(
            part,
            *(f"{row.cpu_s:.1f}" for row in rows),
            _grown(config.shares, [row.cpu_s for row in rows]),
            *(f"{row.gib:.2f}" for row in rows),
            _grown(config.shares, [row.gib for row in rows]),
            f"{rows[-1].seconds:.1f}",
            ", ".join(said),
        )
    wide_console().print(table)


def _grown(shares: Sequence[float], values: Sequence[float]) -> str:
    if len(values) < 2:
        return "-"
    return f"{values[-1] / values[-2] / (shares[-1] / shares[-2]):.2f}"


def _boxes_of(images: int, config: Config) -> int:
    return max(round(config.boxes / config.images * images), 1)


def _rows(drawn: Boxes) -> Iterator[list[int]]:
    # In pieces: a list of a million boxes takes ten times their array.
    for start in range(0, len(drawn.xyxy), 100_000):
        part = slice(start, start + 100_000)
        yield from np.column_stack([drawn.xyxy[part], drawn.images[part], drawn.classes[part]]).tolist()


def _by_image(config: Config) -> Iterator[list[list[int]]]:
    count = config.files
    drawn = draw_boxes(count, _boxes_of(count, config), config.classes, config.seed)
    order = np.argsort(drawn.images, kind="stable")
    rows = _rows(Boxes(drawn.xyxy[order], drawn.images[order], drawn.classes[order]))
    for boxes in np.bincount(drawn.images, minlength=count).tolist():
        yield [next(rows) for _ in range(boxes)]


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/scale.py", description=__doc__)
