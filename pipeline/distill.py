"""Teach a network from photographs without boxes: ``python -m pipeline.distill --photos FOLDER --run runs/taught``.

Its rows learn to say what the start weights of another network say of them; `pipeline.train --init runs/taught` then
begins with that. See docs/distill.md.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from micro_yolo.model.printable import typed
from micro_yolo.pipeline.learn import devices
from micro_yolo.pipeline.learn.options import Basics, parse_size
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import killed, resume, runs
from micro_yolo.pipeline.store.history import EXPLAINED

if TYPE_CHECKING:
    from micro_yolo.model.hints import Hint
    from micro_yolo.model.keras import keras, tf
    from micro_yolo.model.spec import Arch
    from micro_yolo.pipeline.data import Dataset

PROG = "python -m pipeline.distill"


@dataclass(frozen=True)
class Config(Basics):
    """Teach a network, from photographs without boxes, what another knows."""

    run: Path | None = None
    """Directory of the run; by default a new one in runs/."""
    photos: tuple[Path, ...] = ()
    """Folders of photographs, searched with all that is below; labels are neither needed nor looked at."""
    arch: str = "micro_yolo"
    """Network that is taught: a name that `python -m pipeline.summary` lists, or a table in a .json file."""
    teacher: str = "micro_yolo_mobile"
    """Network with start weights, whose backbone teaches."""
    size: str | None = None
    """Input size in pixels: 320, or 256x320 (height x width); by default the network's own."""
    resize: Literal["stretch", "letterbox", "mediapipe"] = "stretch"
    """How photographs become the input's shape."""
    recipe: Recipe = field(default_factory=lambda: Recipe(plain_epochs=0))

    def check(self) -> None:
        """Raise ValueError for what is wrong with the settings alone, before any slow work."""
        super().check()
        if not self.photos:
            raise ValueError("photos: must name a folder of photographs, got none; allowed: --photos FOLDER ...")


@dataclass(frozen=True)
class Result:
    """What a lesson leaves.

    Attributes:
      run: directory of the run.
      stage: its `distill`.
      arch: the network's table.
      rows: those that learned.
      metrics: of the epoch that was kept; `explained` is the share of what the teacher says of photographs held back,
        in percent of its variance.
    """

    run: Path
    stage: Path
    arch: Arch
    rows: tuple[str, ...]
    metrics: dict[str, Any]


def run(config: Config, show: Show = QUIET) -> Result:
    """Teach as `config` says.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    from micro_yolo.model import zoo
    from micro_yolo.model.hints import hints, taught
    from micro_yolo.pipeline.data.fingerprint import check_content, content
    from micro_yolo.pipeline.data.photos import load_photos
    from micro_yolo.pipeline.learn.session import isolated

    devices.check_alone("distillation")
    begun = runs.resolve_run(config.run) / runs.DISTILL if config.resume else None
    if begun is not None:
        killed.check_alone(begun)
        config = dataclasses.replace(resume.recorded(config, begun, prog=PROG), run=begun.parent)
    config.check()
    arch = zoo.find(config.arch if begun is None else begun / runs.ARCH)
    if config.size is not None:
        arch = arch.resized(parse_size(config.size))
    teacher = zoo.find(config.teacher).resized(arch.size)
    given = hints(arch, teacher)
    if begun is None:
        runs.check_new_run(config.run, stage=runs.DISTILL, overwrite=config.overwrite)
    photos = load_photos(config.photos, config.seed)
    if warning := photos.warning():
        show.warn(warning)
    if begun is not None:
        check_content(photos, resume.facts(begun), str(begun))
    count = len(photos.splits["train"])
    config.check_batch(count)
    if begun is None:
        recipe = config.recipe.settled(count)
        if config.recipe.epochs is None:
            show.say(f"{recipe.epochs} epochs of {count} photographs; --epochs says otherwise")
        # Whole, so that it goes on from any working directory.
        folders = tuple(folder.absolute() for folder in config.photos)
        config = dataclasses.replace(config, recipe=recipe, photos=folders)
    rows = taught(arch, given)
    with isolated(config.seed):
        lesson = _Lesson(config, arch, teacher, given, photos, show)
        stage = begun or runs.new_run(config.run, stage=runs.DISTILL, overwrite=config.overwrite) / runs.DISTILL
        if begun is None:
            runs.begin(
                stage,
                config,
                arch=arch.to_json(),
                names=(),
                images={name: len(split) for name, split in photos.splits.items()},
                content=content(photos),
                start=lesson.facts,
                learned=rows,
            )
        with killed.alone(stage):
            runs.sweep(stage.parent)
            metrics = lesson.teach(stage)
    return Result(stage.parent, stage, arch, rows, metrics)


class _Lesson:
    """Photographs, a teacher, and a pupil."""

    def __init__(
        self, config: Config, arch: Arch, teacher: Arch, given: tuple[Hint, ...], photos: Dataset, show: Show
    ) -> None:
        from micro_yolo.model.start.record import STARTS
        from micro_yolo.pipeline.data.input import GIB, Batches, Images

        self.config, self.arch, self.teacher, self.given, self.show = config, arch, teacher, given, show
        self.facts = {**STARTS[teacher.start].facts(), "name": f"{teacher.start}, distilled"}
        self.strategy = devices.strategy()
        train = photos.splits["train"]
        self.images = Images(train, arch.size, config.resize, cache_bytes=config.cache_gib * GIB, cache=config.cache)
        self.held = Images(photos.splits["val"], arch.size, config.resize)
        for images, title in ((self.images, "decoding"), (self.held, "decoding those held back")):
            with show.bar(title, len(images.split)) as advance:
                images.hold(advance)
            for note in images.notes:
                show.warn(note)
        replicas = self.strategy.num_replicas_in_sync
        self.batches = Batches(self.images, config.batch, config.augment, seed=config.seed, replicas=replicas)

    def teach(self, stage: Path) -> dict[str, Any]:
        """Train, and finish the stage; the metrics of the epoch that was kept."""
        from micro_yolo.model.build import build
        from micro_yolo.model.hdf5 import restore, save
        from micro_yolo.model.hints import distance, pupil, teaching
        from micro_yolo.model.keras import tf
        from micro_yolo.pipeline.learn.initial import PICTURES
        from micro_yolo.pipeline.learn.loop import Task, Trainer
        from micro_yolo.pipeline.learn.session import finish

        pictures = list(self.images.drawn(PICTURES, self.config.seed, self.config.batch))
        with self.strategy.scope():
            said = teaching(self.teacher, self.given, pictures)
            model = pupil(build(self.arch), self.given, self.teacher)
        network = build(self.arch)
        averaged = pupil(network, self.given, self.teacher)

        def nothing(*_: Any) -> dict[str, tf.Tensor]:
            # All there is to learn is what the teacher says.
            return {"total": tf.zeros(())}

        task = Task(
            model,
            averaged,
            nothing,
            self._explained(averaged, said),
            penalty=lambda images, outputs: distance(said(images), outputs),
            rank_by=EXPLAINED,
            measures=(EXPLAINED,),
        )
        training = stage / "training"
        training.mkdir(exist_ok=True)
        outcome = Trainer(
            task, self.config.recipe, self.batches, training, strategy=self.strategy, show=self.show
        ).train()
        # Its layers are those of the network.
        restore(averaged, training / runs.WEIGHTS)
        with runs.writing(stage / runs.WEIGHTS) as beside:
            save(network, beside)
        shutil.copyfile(training / runs.HISTORY, stage / runs.HISTORY)
        finish(stage, outcome)
        shutil.rmtree(training, ignore_errors=True)
        return outcome.best

    def _explained(
        self, model: keras.Model, said: Callable[[tf.Tensor], list[tf.Tensor]]
    ) -> Callable[[], dict[str, float]]:
        """A function that measures how much of what the teacher says of the photographs held back `model` says too."""
        from micro_yolo.model.keras import tf

        @tf.function(reduce_retracing=True, autograph=False)
        def sums(images: tf.Tensor) -> tf.Tensor:
            theirs, ours = said(images), tf.nest.flatten(model(images, training=False))
            return tf.stack(
                [
                    [tf.reduce_sum(tf.square(their - our)), tf.reduce_sum(tf.square(their))]
                    for their, our in zip(theirs, ours, strict=True)
                ]
            )

        def measured() -> dict[str, float]:
            held = self.held.plain(self.held.usable, self.config.batch)
            found = np.sum([sums(tf.constant(images, tf.float32)).numpy() for images in held], axis=0)
            return {EXPLAINED: float(100 * (1 - found[:, 0] / np.maximum(found[:, 1], 1e-9)).mean())}

        return measured


def tell(result: Result, show: Show) -> None:
    """What people want to know of it."""
    from micro_yolo.model.zoo import ARCHS

    best, size = result.metrics, "x".join(map(str, dict.fromkeys(result.arch.size)))
    arch = result.arch.name if result.arch.name in ARCHS else result.stage / runs.ARCH
    show.say(f"best: epoch {best['epoch']}, explains {best[EXPLAINED]:.1f} % of what the teacher says")
    show.say(
        f"{result.run}; next: python -m pipeline.train --data PATH --arch {typed(arch)} --size {typed(size)} "
        f"--init {typed(result.run)}"
    )


def command(config: Config) -> None:
    """Teach, and tell people."""
    with Screen("stdout") as show:
        tell(run(config, show), show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
