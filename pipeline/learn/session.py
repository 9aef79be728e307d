"""What every stage that trains does alike: images ready to train on and to measure with, on all devices there are."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.pipeline.data import balance
from micro_yolo.pipeline.learn import devices, peers
from micro_yolo.pipeline.learn.options import Options
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.show.screen import QUIET, Show
from micro_yolo.pipeline.store import history, runs
from micro_yolo.pipeline.store.finished import Trained

if TYPE_CHECKING:
    from micro_yolo.model.keras import keras, tf
    from micro_yolo.model.spec import Arch
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.pipeline.data.input import Batches
    from micro_yolo.pipeline.learn.loop import Metrics, Outcome, Penalty, Task


class Session:
    """The images and boxes of a data set as a network sees them, and the devices that train it.

    Attributes:
      arch: the network's table; its size and its detection rows are what counts here.
      dataset: what is trained on.
      val: the images that are measured.
      loss: settings of the loss, as config.json has them.
      losses: the loss itself, for a `Task`.
      strategy: of tf.distribute.
      show: told of progress.
    """

    def __init__(
        self,
        arch: Arch,
        dataset: Dataset,
        resize: str,
        options: Options,
        show: Show = QUIET,
        *,
        loss: Mapping[str, Any] | None = None,
        train_images: int | None = None,
        eval_images: int | None = None,
    ) -> None:
        """Hold the images in memory where they fit, and name those that cannot be read.

        Args:
          arch: the network's table.
          dataset: labelled images.
          resize: rule of tflite.image.RULES.
          options: batch, augmentation, memory, seed.
          show: told of progress.
          loss: settings of the loss, as an earlier stage recorded them; by default the head's own.
          train_images: train on so many of the training images, drawn by seed; by default on all.
          eval_images: measure on so many of the validation images, drawn by seed; by default on all.

        Raises:
          ValueError: a setting is wrong, or does not go with the data or the devices.
        """
        from micro_yolo.model.heads import loss_of, settings_of
        from micro_yolo.pipeline.data.input import GIB, Images

        options.check()
        for name, count in (("train_images", train_images), ("eval_images", eval_images)):
            if count is not None and count < 1:
                raise ValueError(f"{name}: must be at least 1, got {count}")
        train = dataset.splits["train"].drawn(train_images, options.seed)
        self.val = dataset.splits["val"].drawn(eval_images, options.seed)
        options.check_batch(len(train))
        self.arch, self.dataset, self.show = arch, dataset, show
        settings = settings_of(arch, loss)
        self.loss, self.losses = dataclasses.asdict(settings), loss_of(arch, settings)
        # Several machines must find each other before TensorFlow computes anything.
        peers.meet(show)
        self.strategy: tf.distribute.Strategy = devices.strategy()
        peers.check_alike(self.strategy, lambda: peers.wanted(options, arch, dataset))
        self._options, self._resize = options, resize
        self._images = Images(train, arch.size, resize, cache_bytes=options.cache_gib * GIB, cache=options.cache)
        with show.bar("decoding", len(train)) as advance:
            self._images.hold(advance)
        self._told = 0
        self._tell_notes()
        if oftener := balance.told(balance.class_repeats(train, options.balance), dataset.names):
            show.say(oftener)
        peers.check_alike(self.strategy, lambda: {"readable images": len(self._images.usable)})
        # What does not go with a batch is refused now, not when the stage is half made.
        self.steps = self._batches(options.seed).steps

    def scope(self) -> Any:
        """Within it a model is made on all devices; what is only measured needs one."""
        return self.strategy.scope()

    def taught(self, trained: Trained, weight: float) -> Penalty | None:
        """A penalty for saying something else than the network of a stage, see `model.distill`; None for 0."""
        if not weight:
            return None
        from micro_yolo.model.distill import distillation
        from micro_yolo.model.heads import settings_of

        with self.scope():
            return distillation(trained.arch, trained.weighted(), weight, settings_of(self.arch, self.loss))

    def of_chief(self, compute: Callable[[], Any]) -> Any:
        """What `compute` gives, in the types JSON has: of several machines the chief calls it and all have it."""
        return peers.of_chief(self.strategy, compute)

    def share(self, directory: Path, *names: str) -> None:
        """Of several machines, each then has those files of a stage's directory as the chief has them, or none."""
        peers.share(self.strategy, directory, *names)

    def check_parent(self, trained: Trained) -> None:
        """Raise ValueError unless all machines that train begin with the same weights."""
        name = f"{trained.stage.name}/{runs.WEIGHTS}"
        peers.check_alike(self.strategy, lambda: {name: runs.sha256(trained.stage / runs.WEIGHTS)[:16]})

    def pictures(self, count: int) -> Iterator[np.ndarray]:
        """Batches of up to `count` training images, drawn by seed, as they are: uint8 (B, h, w, 3)."""
        return self._images.drawn(count, self._options.seed, self._options.batch)

    def measure(self, model: keras.Model) -> Callable[[], Metrics]:
        """A function that measures `model`, whose outputs are logits, on the validation images."""
        from micro_yolo.model.heads import head_of
        from micro_yolo.pipeline.learn.loop import keras_predict
        from micro_yolo.pipeline.measure.metrics import evaluate_split

        predict = keras_predict(model)

        def measured() -> Metrics:
            self._tell_notes()
            where = (self.val, self.dataset, self.arch.size, self._resize)
            return evaluate_split(predict, self.arch.detections, *where, coding=head_of(self.arch).coding)[0]

        return measured

    def train(
        self,
        task: Task,
        recipe: Recipe,
        directory: Path,
        *,
        seed: int = 0,
        freeze: str | None = None,
        begun: Collection[str] = (),
        start_rate: float = 1.0,
    ) -> Outcome:
        """Train as `pipeline.learn.loop.Trainer` does.

        Args:
          task: what is trained.
          recipe: how.
          directory: where checkpoint, history and best weights go; a checkpoint that is there is continued.
          seed: added to the session's, so that each training sees its own order and changes.
          freeze: the rows down to this one stay as they are, see `model.build.freeze`.
          begun: rows that began with what is known.
          start_rate: share of the learning rate at which those learn.

        Raises:
          DivergedError: the loss is no longer a number.
        """
        from micro_yolo.model.build import freeze as freeze_rows
        from micro_yolo.pipeline.learn.loop import Outcome, Trainer

        if freeze is not None:
            # Both, as what is trained comes first in a list of weights.
            for model in (task.model, task.averaged):
                freeze_rows(model, self.arch, freeze)
        batches = self._batches(self._options.seed + seed)
        directory.mkdir(parents=True, exist_ok=True)
        # All machines go on from what the chief has, and end with what it kept.
        self.share(directory, "checkpoint", runs.HISTORY)
        peers.level(self.strategy, task.model)
        trainer = Trainer(
            task,
            recipe,
            batches,
            directory,
            strategy=self.strategy,
            show=self.show,
            xla=self._options.xla,
            begun=begun,
            start_rate=start_rate,
        )
        outcome = trainer.train()
        if devices.cluster()[1] == 1:
            return outcome
        self.share(directory, runs.HISTORY, runs.WEIGHTS)
        trainer.history = history.read(directory / runs.HISTORY)
        return Outcome(trainer.best(), trainer.history)

    def _batches(self, seed: int) -> Batches:
        from micro_yolo.pipeline.data.input import Batches

        worker, workers = devices.cluster()
        return Batches(
            self._images,
            self._options.batch,
            self._options.augment,
            seed=seed,
            balance=self._options.balance,
            replicas=self.strategy.num_replicas_in_sync,
            workers=workers,
            worker=worker,
        )

    def _tell_notes(self) -> None:
        """Say each thing that came up in reading the images once."""
        notes = self._images.notes[self._told :]
        self._told += len(notes)
        for note in notes:
            self.show.warn(note)


@contextmanager
def isolated(seed: int, precision: str = "float32") -> Iterator[None]:
    """Fresh weights drawn by `seed`, and layers of this precision; afterwards the process is as it was before.

    Args:
      seed: of fresh weights.
      precision: float32, bfloat16 or float16.
    """
    from micro_yolo.model.keras import keras, seeded

    policy = keras.mixed_precision.global_policy()
    with seeded(seed):
        keras.mixed_precision.set_global_policy("float32" if precision == "float32" else f"mixed_{precision}")
        try:
            with peers.holding_on():
                yield
        finally:
            keras.mixed_precision.set_global_policy(policy)


def recorded_loss(stage: Path) -> Mapping[str, Any]:
    """The settings of the loss that a stage was begun with; none of one that does not say."""
    return runs.read_json(stage / runs.CONFIG).get("loss", {})


def finish(stage: Path, outcome: Outcome) -> None:
    """The picture of the training, and the metrics, which make the stage finished."""
    from micro_yolo.pipeline.show.plots import draw_history

    draw_history(outcome.history, stage / "history.png")
    runs.write_json(stage / runs.METRICS, outcome.best)
    shutil.rmtree(stage / "checkpoint", ignore_errors=True)
