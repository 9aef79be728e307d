"""Quantization-aware training: ``python -m pipeline.qat --run runs/cells --bits 8``.

See docs/qat.md.
"""

from __future__ import annotations

import csv
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from micro_yolo.pipeline.learn.recipe import Recipe, Strength
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import resume, runs
from micro_yolo.pipeline.store.finished import Trained, find

if TYPE_CHECKING:
    from micro_yolo.model.quantization.wrap import Quantization
    from micro_yolo.pipeline.learn.session import Retraining

PROG = "python -m pipeline.qat"
STAGE: Literal["qat"] = "qat"


@dataclass(frozen=True)
class Config:
    """Train a network on as the integers it will be, so that rounding costs little."""

    run: Path | None = None
    """Run to quantize; by default the newest."""
    from_stage: Annotated[Literal["train", "prune"] | None, tyro.conf.arg(name="from")] = None
    """Stage of the run to start from; by default the most finished."""
    bits: int = 8
    """Bits of a weight, 2 to 8; activations have 8."""
    train: Literal["all", "shifts"] = "all"
    """What is trained: all, or only the shifts (scales, batch norm, biases) with the integers frozen."""
    init: Literal["l2", "kl"] = "l2"
    """How the first integers and shifts are fitted: least squares, or Kullback-Leibler divergence."""
    distill: float = 0.0
    """Weight of the float model's outputs as a second teacher; 0 is none."""
    recipe: Recipe = field(
        default_factory=lambda: Recipe(epochs=12, learning_rate=5e-4, weight_decay=0.0, warmup_epochs=1.0, ema=0.99)
    )
    augment: Strength = field(default_factory=Strength)
    rank_by: Literal["AP", "AP50"] = "AP"
    """Measure on the validation split by which the best epoch is kept."""
    freeze_epochs: int | None = None
    """Last epochs with ranges and batch-norm statistics frozen; by default a quarter of all."""
    samples: int = 64
    """Training images that the first ranges of the activations are taken from."""
    data: Path | None = None
    """Labelled images; by default those of the training."""
    batch: int = 8
    """Images a step."""
    cache_gib: float = 2.0
    """Memory for decoded images; a larger data set is decoded anew each epoch."""
    seed: int = 0
    """Of everything random."""
    resume: bool = False
    """Continue a quantization that was stopped, with the settings it recorded."""
    overwrite: bool = False
    """Replace a quantization of this run."""


def run(config: Config) -> Path:
    """Train as `config` says and return the run's directory.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    directory = runs.resolve_run(config.run)
    stage = directory / STAGE
    if config.resume:
        config = resume.recorded(config, stage, prog=PROG)
    _check(config)
    if not config.resume:
        runs.check_new_run(directory, stage=STAGE, overwrite=config.overwrite)
    trained = find(directory, config.from_stage, before=STAGE)
    if config.resume:
        _check_parent(trained, stage)
    from micro_yolo.model.quantization.wrap import Quantization
    from micro_yolo.pipeline.learn.session import Retraining
    from micro_yolo.pipeline.show.bars import TrainingProgress

    how = Quantization(config.bits, config.train)
    with TrainingProgress() as show:
        work = Retraining(
            trained,
            show,
            data=config.data,
            batch=config.batch,
            augment=config.augment,
            cache_gib=config.cache_gib,
            seed=config.seed,
        )
        # Nothing that a user can have done wrong is left: only now is there a new stage, or the old one gone.
        if not config.resume:
            runs.new_run(directory, stage=STAGE, overwrite=config.overwrite)
            _record(config, trained, how, stage)
        best = _train(config, trained, how, work, stage)
    _finish(best, stage)
    print(f"best: epoch {best['epoch']}, AP {best['AP']:.1f}, AP50 {best['AP50']:.1f}")
    print(f"{directory}; next: python -m pipeline.convert --run {directory} --int8")
    return directory


def _check(config: Config) -> None:
    """Raise ValueError for what is wrong with the settings alone, before any slow work."""
    from micro_yolo.model.quantization.shift import limits

    limits(config.bits)
    if config.samples < 1:
        raise ValueError(f"samples: must be at least 1, got {config.samples}")
    if not (config.distill >= 0 and math.isfinite(config.distill)):
        raise ValueError(f"distill: must not be negative, got {config.distill}")
    if config.freeze_epochs is not None and not 0 <= config.freeze_epochs <= config.recipe.epochs:
        raise ValueError(
            f"freeze_epochs: must be 0 to the {config.recipe.epochs} epochs there are, got {config.freeze_epochs}"
        )


def _check_parent(trained: Trained, stage: Path) -> None:
    """Raise ValueError if the weights that a half-made stage began with are no longer those."""
    parent = runs.read_json(stage / runs.CONFIG).get("parent") or {}
    if parent.get("sha256") != runs.sha256(trained.stage / runs.WEIGHTS):
        raise ValueError(f"{stage}: began with other weights than {trained.stage} has now; allowed: --overwrite")


def _record(config: Config, trained: Trained, how: Quantization, stage: Path) -> None:
    try:
        runs.write_json(stage / runs.ARCH, trained.arch.to_json())
        facts = {**trained.facts(), "quantization": how}
        if config.data is not None:
            facts["data"] = config.data.absolute()
        runs.write_json(stage / runs.CONFIG, runs.record(config, parent=trained.stage, **facts))
    except OSError:
        shutil.rmtree(stage)
        raise


def _train(config: Config, trained: Trained, how: Quantization, work: Retraining, stage: Path) -> dict[str, Any]:
    from micro_yolo.model.distill import distillation
    from micro_yolo.model.quantization import network as quantize
    from micro_yolo.pipeline.convert import calibration_images

    source = trained.weighted()
    model = quantize.begin(trained.arch, source, how, config.init)
    averaged = quantize.wrapped(trained.arch, how)
    split = work.dataset.splits["train"]
    chosen = np.sort(np.random.default_rng(config.seed).permutation(len(split))[: config.samples])
    images = calibration_images(split, chosen.tolist(), trained.arch.size, trained.resize)
    quantize.calibrate(model, source, [np.stack(images[i : i + 8]) for i in range(0, len(images), 8)])
    last = math.ceil(config.recipe.epochs / 4) if config.freeze_epochs is None else config.freeze_epochs
    return work.train(
        model,
        averaged,
        work.measure(averaged),
        config.recipe,
        stage,
        callbacks=[quantize.Freeze(model, config.recipe.epochs - last + 1)],
        penalty=distillation(trained.arch, source, config.distill) if config.distill else None,
        rank_by=config.rank_by,
    )


def _finish(best: dict[str, Any], stage: Path) -> None:
    """The picture, and the metrics, which make the stage finished."""
    from micro_yolo.pipeline.show.plots import draw_history

    with open(stage / runs.HISTORY, newline="") as file:
        rows = [{key: float(text) if text else None for key, text in row.items()} for row in csv.DictReader(file)]
    draw_history(rows, stage / "history.png")
    runs.write_json(stage / runs.METRICS, best)
    shutil.rmtree(stage / "checkpoint")


def main() -> None:
    """The command line."""
    cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
