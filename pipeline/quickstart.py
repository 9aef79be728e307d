"""The whole path on pictures drawn by itself: train, convert, measure the files, look at a result.

    python -m pipeline.quickstart

It ends in a table of the float32 and the int8 file and the path of a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import cli, runs, train

if TYPE_CHECKING:
    from tflite.benchmark import Timing

PROG = "python -m pipeline.quickstart"
VARIANTS = ("float32", "int8")


@dataclass(frozen=True)
class Config:
    """Draw images, train on them, convert to float32 and int8, and measure both files."""

    run: Path = runs.RUNS / "quickstart"
    """Directory of the run; one that is there is replaced."""
    arch: str = "micro_yolo"
    """Network: a name that `python -m pipeline.summary` lists."""
    size: int = train.QUICK_SIZE
    """Side of the network's input in pixels."""
    images: int = train.QUICK_IMAGES
    """Images to train on; a fifth as many to measure with."""
    epochs: int = train.QUICK_EPOCHS
    """Passes over them."""
    pictures: int = 6
    """Images to draw the int8 file's boxes on."""
    seed: int = 0
    """Of everything random."""


def run(config: Config) -> Path:
    """Go the whole path, print the table, and return the folder of pictures. Raises ValueError or OSError."""
    for name in ("size", "images", "epochs", "pictures"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: must be at least 1, got {getattr(config, name)}")
    from pipeline import convert, evaluate, predict
    from pipeline.data import load
    from pipeline.recipe import Recipe
    from tflite.benchmark import benchmark

    _step("drawing images")
    data = train.drawn(config.images, (config.size, config.size), config.seed)
    _step("training")
    made = train.run(
        train.Config(
            data=data,
            arch=config.arch,
            size=str(config.size),
            run=config.run,
            batch=min(8, config.images),
            recipe=Recipe(epochs=config.epochs),
            augment=train.QUICK_AUGMENT,
            seed=config.seed,
            overwrite=True,
        )
    )
    _step("converting")
    export = convert.run(convert.Config(run=made, float32=True, int8=True))
    files = [export / f"model_{variant}.tflite" for variant in VARIANTS]
    _step("measuring the files")
    metrics = [evaluate.run(evaluate.Config(model=file, data=data)) for file in files]
    _step("predicting")
    validation = load(data).splits["val"].files[: config.pictures]
    pictures = made / "pictures"
    predict.run(predict.Config(model=files[-1], images=tuple(validation), out=pictures, overwrite=True))
    _show(files, metrics, benchmark(files))
    print(f"boxes found by {files[-1]}: {pictures / validation[0].name}")
    return pictures


def _step(what: str) -> None:
    print(f"\n== {what}", flush=True)


def _show(files: list[Path], metrics: list[dict[str, Any]], timings: list[Timing]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("file", "AP", "AP50", "KiB", "ms, 1 thread")
    for column in table.columns[1:]:
        column.justify = "right"
    for file, measured, timing in zip(files, metrics, timings, strict=True):
        points = (f"{measured[name]:.1f}" for name in ("AP", "AP50"))
        table.add_row(file.name, *points, f"{timing.n_bytes / 1024:.0f}", f"{timing.median_ms:.1f}")
    Console().print(table)


def main() -> None:
    """The command line."""
    cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
