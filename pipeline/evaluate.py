"""Average precision by pycocotools, of a run or of any exported .tflite, through the same code.

    python -m pipeline.evaluate --run runs/cells
    python -m pipeline.evaluate --model runs/cells/export/model_int8.tflite --data PATH

See docs/evaluate.md.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from micro_yolo.pipeline.measure.metrics import (
    SCORE_THRESHOLD,
    coco_metrics,
    coco_results,
    evaluate_split,
    measure_split,
)
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import From, check_names, find

if TYPE_CHECKING:
    import numpy as np

    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.tflite.decode import Detections

__all__ = ["Config", "coco_metrics", "coco_results", "evaluate_split", "run"]
PROG = "python -m pipeline.evaluate"
_TOTALS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR100")


@dataclass(frozen=True)
class Config:
    """Measure average precision on labelled images."""

    run: Path | None = None
    """Run to measure (its Keras model); by default the newest."""
    from_stage: Annotated[From | None, tyro.conf.arg(name="from")] = None
    """Stage of the run; by default the most finished."""
    model: Path | None = None
    """A .tflite to measure instead."""
    data: Path | None = None
    """Labelled images; by default those of the training."""
    split: str = "val"
    """Which images: train, val, or test if the data set has one."""
    batch: int = 16
    """Images a step (a .tflite takes one)."""
    threads: int = 1
    """Threads of the .tflite interpreter."""
    iou: float | None = None
    """Of two boxes of a class that overlap more than this the weaker goes; by default the contract's."""
    out: Path | None = None
    """Folder for coco_NAME.json and metrics_NAME.json; by default the run's."""
    json: bool = False
    """Print the metrics as JSON instead of tables."""


@dataclass(frozen=True)
class _Subject:
    """What is measured, whatever it is made of."""

    name: str
    title: str
    sha256: str
    measure: Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]
    size: tuple[int, int]
    resize: str
    iou_threshold: float
    batch: int
    dataset: Dataset
    out: Path | None


def run(config: Config) -> dict[str, Any]:
    """Measure, print, write the results beside the run, and return the metrics.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    if config.batch < 1 or config.threads < 1:
        raise ValueError(f"batch, threads: must be at least 1, got {config.batch} and {config.threads}")
    if config.iou is not None and not 0 <= config.iou <= 1:
        raise ValueError(f"iou: must be in 0..1, got {config.iou}")
    if config.model is not None and (config.run is not None or config.from_stage is not None):
        raise ValueError("--model measures a file, --run a Keras model: allowed is one of them")
    subject = _file(config) if config.model is not None else _keras(config)
    dataset = subject.dataset
    if config.split not in dataset.splits:
        raise ValueError(f"split: {dataset.root} has no {config.split!r}; allowed: {', '.join(dataset.splits)}")
    if subject.out is not None:
        runs.check_writable(subject.out)
    if dataset.warning():
        print(f"warning: {dataset.warning()}", file=sys.stderr)
    split = dataset.splits[config.split]
    with _bar(f"{subject.title}, {config.split}", len(split)) as advance:
        measured, results = subject.measure(
            split, dataset, subject.size, subject.resize, subject.batch, advance=advance
        )
    for message in measured["skipped"]:
        print(f"warning: left out of the measurement: {message}", file=sys.stderr)
    metrics = {
        "model": subject.title,
        "sha256": subject.sha256,
        "data": str(dataset.root.absolute()),
        "split": config.split,
        "size": subject.size,
        "resize": subject.resize,
        "iou_threshold": subject.iou_threshold,
        **measured,
        "versions": runs.provenance(),
    }
    written = []
    if subject.out is not None:
        suffix = subject.name if config.split == "val" else f"{subject.name}_{config.split}"
        written.append(runs.write_atomic(subject.out / f"coco_{suffix}.json", json.dumps(results) + "\n"))
        written.append(runs.write_json(subject.out / f"metrics_{suffix}.json", metrics))
    if config.json:
        print(json.dumps(runs.plain(metrics), indent=2, ensure_ascii=False))
    else:
        _show(metrics)
        print(f"wrote {' and '.join(map(str, written))}" if written else "not kept; --out FOLDER keeps the results")
    return metrics


def _keras(config: Config) -> _Subject:
    trained = find(config.run, config.from_stage)
    dataset = trained.dataset(config.data)
    from micro_yolo.pipeline.learn.loop import keras_predict
    from micro_yolo.tflite.contract import Nms

    iou = Nms().iou_threshold if config.iou is None else config.iou
    predict = keras_predict(trained.weighted())
    return _Subject(
        name=trained.stage.name,
        title=f"{trained.stage} ({trained.arch.name}, Keras)",
        sha256=runs.sha256(trained.stage / runs.WEIGHTS),
        measure=partial(evaluate_split, predict, trained.arch.detections, iou_threshold=iou),
        size=trained.arch.size,
        resize=trained.resize,
        iou_threshold=iou,
        batch=config.batch,
        dataset=dataset,
        out=config.out or trained.run,
    )


def _file(config: Config) -> _Subject:
    from micro_yolo.pipeline.data import load
    from micro_yolo.tflite.detector import Detector

    path = Path(config.model or "")
    detector = Detector(path, threads=config.threads)
    contract = detector.contract
    detector.check_iou(config.iou)
    iou = contract.nms.iou_threshold if config.iou is None else config.iou
    data = config.data or (Path(contract.data.path) if contract.data.path else None)
    if data is None:
        raise ValueError(f"{path}: its contract names no data set; pass --data PATH")
    if not data.exists():
        raise FileNotFoundError(f"{data}: no such data set; pass --data PATH")
    dataset = load(data, val_fraction=contract.data.val_fraction, seed=contract.data.seed)
    check_names(dataset, detector.labels, path)

    def detect_batch(pixels: np.ndarray) -> list[Detections]:
        return [detector.found(image, SCORE_THRESHOLD, iou) for image in pixels]

    return _Subject(
        name=path.stem.removeprefix("model_") if path.stem.startswith("model_") else contract.variant,
        title=f"{path} ({contract.arch}, {contract.variant})",
        sha256=contract.model_sha256,
        measure=partial(measure_split, detect_batch),
        size=contract.size,
        resize=contract.input.resize,
        iou_threshold=iou,
        batch=1,
        dataset=dataset,
        out=config.out or (path.absolute().parent.parent if path.absolute().parent.name == runs.EXPORT else None),
    )


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)


def _show(metrics: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    title = f"{metrics['model']}: {metrics['images']} images of {metrics['split']} in {metrics['data']}"
    console.print(escape(title), soft_wrap=True)
    totals = listing(*(name.removeprefix("AP_") for name in _TOTALS), "images/s", words=())
    totals.add_row(*(_points(metrics[name]) for name in _TOTALS), f"{metrics['images_per_second']:.1f}")
    console.print(totals)
    classes = listing("class", "AP", "AP50", "boxes")
    for name, row in metrics["per_class"].items():
        classes.add_row(escape(name), _points(row["AP"]), _points(row["AP50"]), str(row["boxes"]))
    console.print(classes)


def _points(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"


def main() -> None:
    """The command line."""
    cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
