"""Quantization-aware training: ``python -m pipeline.qat --run runs/cells --bits 8``.

See docs/qat.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from micro_yolo.model.printable import typed
from micro_yolo.pipeline.learn import devices
from micro_yolo.pipeline.learn.options import Options
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import killed, resume, runs
from micro_yolo.pipeline.store.finished import Trained, find

if TYPE_CHECKING:
    from micro_yolo.model.quantization.wrap import Quantization
    from micro_yolo.pipeline.learn.loop import Outcome
    from micro_yolo.pipeline.learn.session import Session

PROG = "python -m pipeline.qat"
STAGE: Literal["qat"] = "qat"


@dataclass(frozen=True)
class Config(Options):
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
    rank_by: Literal["AP", "AP50"] = "AP"
    """Measure on the validation split by which the best epoch is kept."""
    freeze: str | None = None
    """Row of the network down to which nothing is trained: no gradient is computed there, batch norm stands still."""
    freeze_epochs: int | None = None
    """Last epochs with ranges and batch-norm statistics frozen; by default a quarter of all."""
    samples: int = 64
    """Training images that the first ranges of the activations are taken from."""


@dataclass(frozen=True)
class Result:
    """What a quantization leaves.

    Attributes:
      run: directory of the run.
      stage: its `qat`.
      metrics: of the epoch that was kept, measured on the validation images.
    """

    run: Path
    stage: Path
    metrics: dict[str, Any]


def run(config: Config, show: Show = QUIET) -> Result:
    """Train on as `config` says.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    devices.check_run(config.run)
    directory = runs.resolve_run(config.run)
    begun = devices.begun(directory, STAGE) if config.resume else None
    if begun is not None:
        killed.check_alone(begun)
        config = resume.recorded(config, begun, prog=PROG)
    _check(config)
    is_chief = devices.cluster()[0] == 0
    if begun is None and is_chief:
        runs.check_new_run(directory, stage=STAGE, overwrite=config.overwrite)
    trained = find(directory, config.from_stage, before=STAGE)
    if config.freeze is not None:
        trained.arch.check_freeze(config.freeze)
    if begun is not None:
        resume.check_parent(begun, trained.stage)
    from micro_yolo.pipeline.data.fingerprint import check_content, content

    dataset = trained.dataset(config.data)
    if begun is not None:
        check_content(dataset, resume.facts(begun), str(begun))
    from micro_yolo.model.quantization.wrap import Quantization
    from micro_yolo.pipeline.learn.session import Session, finish, isolated, recorded_loss

    how = Quantization(config.bits, config.train)
    with isolated(config.seed):
        loss = trained.loss if begun is None else recorded_loss(begun)
        session = Session(trained.arch, dataset, trained.resize, config, show, loss=loss)
        # Nothing that a user can have done wrong is left: only now is there a new stage, or the old one gone.
        session.check_parent(trained)
        stage = devices.own(directory, STAGE)
        if begun is None:
            stage = devices.new(directory, STAGE, overwrite=config.overwrite)
            facts = {**trained.facts(config.data), "quantization": how, "loss": session.loss}
            facts["content"] = content(dataset)
            runs.begin(stage, config, arch=trained.arch.to_json(), parent=trained.stage, **facts)
        with killed.alone(stage):
            runs.sweep(stage.parent)
            outcome = _train(config, trained, how, session, stage)
            # The others wait for it, as they may go on with the next stage.
            session.of_chief(lambda: finish(stage, outcome))
    if not is_chief:
        devices.leave(directory)
    return Result(directory, directory / STAGE, outcome.best)


def _check(config: Config) -> None:
    """Raise ValueError for what is wrong with the settings alone, before any slow work."""
    from micro_yolo.model.quantization.shift import limits

    config.check()
    limits(config.bits)
    if config.samples < 1:
        raise ValueError(f"samples: must be at least 1, got {config.samples}")
    if not (config.distill >= 0 and math.isfinite(config.distill)):
        raise ValueError(f"distill: must not be negative, got {config.distill}")
    if config.freeze_epochs is not None and not 0 <= config.freeze_epochs <= config.recipe.passes:
        raise ValueError(
            f"freeze_epochs: must be 0 to the {config.recipe.passes} epochs there are, got {config.freeze_epochs}"
        )


def _train(config: Config, trained: Trained, how: Quantization, session: Session, stage: Path) -> Outcome:
    from micro_yolo.model.quantization import network as quantize
    from micro_yolo.pipeline.data.sample import sample_images
    from micro_yolo.pipeline.learn.loop import Task

    source = trained.weighted()
    with session.scope():
        model = quantize.begin(trained.arch, source, how, config.init)
    averaged = quantize.wrapped(trained.arch, how)
    images = sample_images(
        session.dataset.splits["train"],
        config.samples,
        trained.arch.size,
        trained.resize,
        seed=config.seed,
        unreadable=lambda fault: session.show.warn(f"not used for calibration: {fault}"),
    )
    quantize.calibrate(model, source, [np.stack(images[i : i + 8]) for i in range(0, len(images), 8)])
    last = math.ceil(config.recipe.passes / 4) if config.freeze_epochs is None else config.freeze_epochs
    task = Task(
        model,
        averaged,
        session.losses,
        session.measure(averaged),
        callbacks=[quantize.Freeze(model, config.recipe.passes - last + 1)],
        penalty=session.taught(trained, config.distill),
        rank_by=config.rank_by,
    )
    return session.train(task, config.recipe, stage, freeze=config.freeze)


def tell(result: Result, show: Show) -> None:
    """What people want to know of it."""
    best = result.metrics
    show.say(f"best: epoch {best['epoch']}, AP {best['AP']:.1f}, AP50 {best['AP50']:.1f}")
    show.say(f"{result.run}; next: python -m pipeline.convert --run {typed(result.run)} --int8")


def command(config: Config) -> None:
    """Quantize, and tell people."""
    with Screen("stdout") as show:
        result = run(config, show)
        if devices.cluster()[0] == 0:
            tell(result, show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
