"""Train a detector from labelled images: ``python -m pipeline.train --data PATH --run runs/mine``.

Without --data it draws a small synthetic set and trains quickly on that. See docs/train.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from micro_yolo.model.check_json import BEFORE
from micro_yolo.model.printable import typed
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn import devices, quick
from micro_yolo.pipeline.learn.options import NONE, Options, parse_size
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import killed, resume, runs

if TYPE_CHECKING:
    from micro_yolo.model.spec import Arch
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.pipeline.learn.initial import Initial
    from micro_yolo.pipeline.learn.loop import Outcome
    from micro_yolo.pipeline.learn.session import Session

PROG = "python -m pipeline.train"


@dataclass(frozen=True)
class Config(Options):
    """Train a detector from labelled images."""

    run: Path | None = None
    """Directory of the run; by default a new one in runs/."""
    data: Path | None = None
    """Labelled images in any form that `python -m pipeline.data` reads; without it a synthetic set is drawn."""
    arch: str = "micro_yolo_mobile"
    """Network: a name that `python -m pipeline.summary` lists, or a table in a .json file."""
    size: str | None = None
    """Input size in pixels: 320, or 256x320 (height x width); by default the network's own."""
    anchors: Literal["fit", "paper"] = "fit"
    """Anchors fitted to the training boxes, or the network's published ones."""
    resize: Literal["stretch", "letterbox", "mediapipe"] = "stretch"
    """How photographs become the input's shape, in training and ever after; mediapipe: as MediaPipe Tasks does it."""
    precision: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Arithmetic of the forward and backward pass; float16 is for GPUs, bfloat16 also for newer CPUs; auto: bfloat16
    where a few steps of this network are faster in it here, else float32."""
    init: str = "auto"
    """What the network begins with: auto (its start weights, if it has some), none, or a run or its weights file."""
    freeze: str | None = None
    """Row of the network down to which nothing is trained, batch norm included, or none; by default as a start asks."""
    start_rate: float | None = field(default=None, metadata={BEFORE: 1.0})
    """Share of the learning rate at which rows learn that begin with what is known, the others learn at all of it; by
    default a third of it with start weights, else all."""
    val_fraction: float = 0.2
    """Share of the images held back where the data set has no validation split of its own."""
    train_images: int | None = None
    """Train on so many of the training images, drawn by seed; by default on all."""

    def check(self) -> None:
        """Raise ValueError for what is wrong with the settings alone, before any slow work."""
        super().check()
        if not 0 < self.val_fraction < 1:
            raise ValueError(f"val_fraction: must be between 0 and 1, got {self.val_fraction}; allowed: such as 0.2")
        if self.start_rate is not None and not 0 < self.start_rate <= 1:
            raise ValueError(f"start_rate: must be above 0 and at most 1, got {self.start_rate}; allowed: such as 0.3")
        if self.train_images is not None and self.train_images < 1:
            raise ValueError(f"train_images: must be at least 1, got {self.train_images}")


@dataclass(frozen=True)
class Result:
    """What a training leaves.

    Attributes:
      run: directory of the run.
      stage: its `train`.
      metrics: of the epoch that was kept, measured on the validation images; none of a machine that only helped.
    """

    run: Path
    stage: Path
    metrics: dict[str, Any]


def run(config: Config, show: Show = QUIET) -> Result:
    """Train as `config` says.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    from micro_yolo.model import zoo
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.data.beyond import beyond
    from micro_yolo.pipeline.data.fingerprint import check_content, content
    from micro_yolo.pipeline.data.relabel import under
    from micro_yolo.pipeline.learn.initial import Initial, find_initial
    from micro_yolo.pipeline.learn.precision import AUTO, faster
    from micro_yolo.pipeline.learn.session import Session, finish, isolated, recorded_loss

    begun = devices.begun(config.run, "train") if config.resume else None
    if begun is not None:
        killed.check_alone(begun)
        run = config.run if devices.cluster()[0] else begun.parent
        config = dataclasses.replace(resume.recorded(config, begun, prog=PROG), run=run)
    # The table as it was begun with, wherever the file is that it came from.
    arch = zoo.find(config.arch if begun is None else begun / runs.ARCH)
    if config.data is None:
        show.say(f"no --data: training quickly on drawn shapes; your own images: {PROG} --data FOLDER")
        config = _quick(config)
    if config.size is not None:
        arch = arch.resized(parse_size(config.size))
    config.check()
    # What a checkpoint holds began with it already.
    is_under_way = begun is not None and any((begun / "checkpoint").glob("*.index"))
    initial = Initial() if is_under_way else find_initial(config.init, arch)
    freeze, start_rate = initial.frozen(config.freeze, arch), initial.share(config.start_rate)
    config = dataclasses.replace(config, freeze=freeze, start_rate=start_rate)
    _check_place(config)
    data = config.data or quick.drawn(quick.IMAGES, arch.size, config.seed)
    dataset = load(data, val_fraction=config.val_fraction, seed=config.seed)
    warning = dataset.warning()
    if warning:
        show.warn(warning)
    if too_many := beyond(dataset):
        show.warn(too_many)
    if begun is not None:
        recorded = resume.facts(begun)
        dataset = under(dataset, recorded.get("names") or dataset.names)
        check_content(dataset, recorded, str(begun))
    held = content(dataset)
    if config.train_images is not None:
        drawn = dataset.splits["train"].drawn(config.train_images, config.seed)
        dataset = dataclasses.replace(dataset, splits={**dataset.splits, "train": drawn})
    images = len(dataset.splits["train"])
    config.check_batch(images)
    if begun is None:
        recipe = config.recipe.settled(images, initial.rate)
        if config.recipe.epochs is None:
            show.say(f"{recipe.epochs} epochs of {images} images; --epochs says otherwise")
        config = dataclasses.replace(config, recipe=recipe)
    arch = arch.with_classes(len(dataset.names))
    if config.anchors == "fit" and begun is None:
        arch = _fit_anchors(arch, dataset, config, show)
    if config.precision == AUTO:
        # Recorded as what it came to, so that a run goes on as it began.
        config = dataclasses.replace(config, precision=faster(arch, config.batch, show))
    loss = None if begun is None else recorded_loss(begun)
    with isolated(config.seed, config.precision):
        session = Session(arch, dataset, config.resize, config, show, loss=loss)
        # Nothing that a user can have done wrong is left: only now is there a new run, or the old one gone.
        stage = _begin(config, session, initial, held)
        with killed.alone(stage):
            runs.sweep(stage.parent)
            outcome = _train(config, session, stage, initial)
            # The others wait for it, as they may go on with the next stage.
            session.of_chief(lambda: finish(stage, outcome))
    if devices.cluster()[0]:
        directory = config.run or Path()
        devices.leave(directory)
        return Result(directory, directory / "train", {})
    return Result(stage.parent, stage, outcome.best)


def _check_place(config: Config) -> None:
    """Raise ValueError or OSError if there can be no such run."""
    devices.check_run(config.run)
    if not devices.cluster()[0] and not config.resume:
        runs.check_new_run(config.run, overwrite=config.overwrite)


def _begin(config: Config, session: Session, initial: Initial, held: dict[str, Any]) -> Path:
    """Make what this machine writes to, with the table and the settings in it."""
    if config.resume:
        stage = devices.own(config.run or Path(), "train")
    else:
        stage = devices.new(config.run, "train", overwrite=config.overwrite)
        dataset = session.dataset
        runs.begin(
            stage,
            config,
            arch=session.arch.to_json(),
            data=dataset.place,
            names=dataset.names,
            category_ids=dataset.category_ids,
            images={name: len(split) for name, split in dataset.splits.items()},
            content=held,
            loss=session.loss,
            start=initial.facts,
        )
    if not devices.cluster()[0] and stage.parent.parent.resolve() == runs.RUNS.resolve():
        runs.point_latest(stage.parent)
    return stage


def _train(config: Config, session: Session, stage: Path, initial: Initial) -> Outcome:
    from micro_yolo.model.build import build
    from micro_yolo.pipeline.learn.loop import Task, weights_digest

    with session.scope():
        model = build(session.arch)
        begun = initial.begin(model, session)
    averaged = build(session.arch)
    task = Task(model, averaged, session.losses, session.measure(averaged))
    freeze = None if config.freeze == NONE else config.freeze
    rate = initial.share(config.start_rate)
    outcome = session.train(task, config.recipe, stage, freeze=freeze, begun=begun, start_rate=rate)
    worker, workers = devices.cluster()
    if workers > 1:
        session.show.say(f"machine {worker} of {workers}: weights {weights_digest(averaged)}")
    return outcome


def _fit_anchors(arch: Arch, dataset: Dataset, config: Config, show: Show) -> Arch:
    import numpy as np

    from micro_yolo.model.heads import head_of
    from micro_yolo.tflite.image import fit_to

    split = dataset.splits["train"]
    sizes, which = np.unique(split.sizes, axis=0, return_inverse=True)
    scales = np.array([(f.scale_x, f.scale_y) for f in (fit_to(tuple(s), arch.size, config.resize) for s in sizes)])
    scales = np.repeat(scales[which.reshape(-1)], np.diff(split.starts), axis=0)
    shapes = ((split.boxes_xyxy[:, 2:] - split.boxes_xyxy[:, :2]) * scales)[~split.crowd]
    fitted: tuple[Arch, str] = head_of(arch).fit(arch, shapes, split.classes[~split.crowd], config.seed)
    if fitted[1]:
        show.say(fitted[1])
    return fitted[0]


def _quick(config: Config) -> Config:
    return dataclasses.replace(
        config,
        size=config.size or str(quick.SIZE),
        recipe=dataclasses.replace(config.recipe, epochs=quick.EPOCHS) if config.recipe == Recipe() else config.recipe,
        augment=quick.AUGMENT if config.augment == Strength() else config.augment,
    )


def tell(result: Result, show: Show) -> None:
    """What people want to know of it."""
    if result.metrics:
        best = result.metrics
        show.say(f"best: epoch {best['epoch']}, AP {best['AP']:.1f}, AP50 {best['AP50']:.1f}")
        show.say(f"{result.run}; next: python -m pipeline.convert --run {typed(result.run)} --int8")


def advise(config: Config, show: Show) -> None:
    """Name what would help a network that begins at random."""
    from micro_yolo.model import zoo
    from micro_yolo.pipeline.learn.initial import AUTO

    if config.data is not None and config.init == AUTO and not zoo.find(config.arch).start:
        show.say(
            "begins at random; photographs without boxes can give it a start: "
            f"python -m pipeline.distill --photos FOLDER --arch {typed(config.arch)}"
        )


def command(config: Config) -> None:
    """Train, and tell people."""
    with Screen("stdout") as show:
        advise(config, show)
        tell(run(config, show), show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
