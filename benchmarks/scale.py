"""What grows with a data set, and how: seconds and peak memory at a hundredth, a tenth and all of a large one.

    python benchmarks/scale.py

draws a COCO file of 1,000,000 images and 7,000,000 boxes of 1,200 classes, and sets in the other forms, in a temporary
folder (some 2 GB; the pictures are links to a few small ones), and measures in a process of its own what each part
takes: seconds of the processor, whose cores are added up, and peak memory. "grown" is how much more the last takes than
the one before it, over how much more data it has: 1 is as the data, more than 1 is worse. "s" are those of a clock.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drawn_sets import Drawn, Size, draw_coco, draw_csv, draw_voc, draw_yolo, drawn_split

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs

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
    json: Path | None = None
    """A file for all that was measured."""

    def at(self, share: float) -> Config:
        """The same with this share of the data."""
        return replace(
            self,
            images=max(round(self.images * share), 10),
            boxes=max(round(self.boxes * share), 10),
            files=max(round(self.files * share), 10),
            evaluated=max(round(self.evaluated * share), 10),
        )

    def of(self, images: int) -> Size:
        """So many images, with as many boxes each as the COCO file's have."""
        return Size(images, max(round(self.boxes / self.images * images), 1), self.classes, self.seed, self.corners)


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
        started, computed = time.perf_counter(), time.process_time()
        for _ in range(config.steps):
            next(batches)
        count = config.steps * config.batch
        busy, speed = time.process_time() - computed, count / (time.perf_counter() - started)
        return {"first batch, s": first, "images/s": speed, "ms of a processor an image": 1000 * busy / count}

    return part


def evaluate(root: Path, config: Config) -> Callable[[], dict[str, Any]]:
    """`measure_split` of detections that are drawn: half of them near a box, the others anywhere."""
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.pipeline.measure.metrics import measure_split

    size = config.of(config.evaluated)
    split, oracle = drawn_split(size), Drawn(size, config.found)
    names = tuple(f"class {i}" for i in range(config.classes))
    dataset = Dataset(root, "coco", names, tuple(range(1, config.classes + 1)), {"val": split})

    def part() -> dict[str, Any]:
        metrics, results = measure_split(oracle, split, dataset)
        return {"AP50": metrics["AP50"], "detections": len(results), "boxes": len(split.classes)}

    return part


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
                at = config.at(share)
                if form:
                    alone(DRAW[form], root, at.of(at.images if form == "coco" else at.files))
                for part in (part for part in config.parts if PARTS[part][0] == form):
                    found[part].append(alone(measure, part, root, at))
                    print(f"{part} at {share:g}: {found[part][-1]}", file=sys.stderr, flush=True)
                shutil.rmtree(root)
    tell(config, found)
    if config.json is not None:
        runs.write_json(config.json, {"shares": config.shares, "parts": found})
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


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/scale.py", description=__doc__)
