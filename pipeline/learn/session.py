"""What the stages behind training share: a trained run's data, ready to train on and to measure with again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.pipeline.learn.recipe import Recipe, Strength
from micro_yolo.pipeline.store.finished import Trained

if TYPE_CHECKING:
    from micro_yolo.model.keras import keras
    from micro_yolo.pipeline.data import Dataset, Split
    from micro_yolo.pipeline.learn.loop import Metrics, Penalty
    from micro_yolo.pipeline.show.bars import TrainingProgress


class Retraining:
    """The images and boxes of a run, as its training saw them.

    Attributes:
      trained: the stage that was read.
      dataset: what it was trained on.
      val: the images that are measured.
      show: progress display.
    """

    def __init__(
        self,
        trained: Trained,
        show: TrainingProgress,
        *,
        data: Path | None = None,
        batch: int = 8,
        augment: Strength | None = None,
        cache_gib: float = 2.0,
        seed: int = 0,
        train_images: int | None = None,
        eval_images: int | None = None,
    ) -> None:
        """Read the data and hold it in memory where it fits.

        Args:
          trained: the stage to go on from.
          show: progress display.
          data: labelled images; by default those of the training.
          batch: images a step.
          augment: how far training images are changed.
          cache_gib: memory for decoded images.
          seed: of everything random.
          train_images: train on so many of the training images, drawn by seed; by default on all.
          eval_images: measure on so many of the validation images, drawn by seed; by default on all.

        Raises:
          ValueError, FileNotFoundError: a setting is wrong, or the data is not there or not the run's.
        """
        from micro_yolo.pipeline.data.input import GIB, Images

        if batch < 1 or seed < 0:
            raise ValueError(f"batch must be at least 1 and seed not negative, got {batch} and {seed}")
        for name, count in (("train_images", train_images), ("eval_images", eval_images)):
            if count is not None and count < 1:
                raise ValueError(f"{name}: must be at least 1, got {count}")
        self.trained, self.show = trained, show
        self.dataset: Dataset = trained.dataset(data)
        train = _drawn(self.dataset.splits["train"], train_images, seed)
        self.val = _drawn(self.dataset.splits["val"], eval_images, seed)
        if batch > len(train):
            raise ValueError(f"batch: must not exceed the {len(train)} training images, got {batch}")
        self._batch, self._augment, self._seed = batch, augment or Strength(), seed
        self._images = Images(train, trained.arch.size, trained.resize, cache_bytes=cache_gib * GIB)
        self._images.hold(lambda steps, total: show.work("decoding", steps, total))
        for reason in self._images.unreadable.values():
            show.console.print(f"warning: skipped {reason}", soft_wrap=True, highlight=False, markup=False)

    @property
    def steps(self) -> int:
        """Training steps in an epoch."""
        return len(self._images.usable) // self._batch

    def taught(self, weight: float) -> Penalty | None:
        """A penalty for saying something else than the network that was read, see `model.distill`; None for 0."""
        if not weight:
            return None
        from micro_yolo.model.distill import distillation

        return distillation(self.trained.arch, self.trained.weighted(), weight)

    def measure(self, model: keras.Model) -> Callable[[], Metrics]:
        """A function that measures `model`, whose outputs are logits, on the validation images."""
        from micro_yolo.pipeline.learn.loop import keras_predict
        from micro_yolo.pipeline.measure.metrics import evaluate_split

        predict, arch = keras_predict(model), self.trained.arch

        def measured() -> Metrics:
            return evaluate_split(predict, arch.detections, self.val, self.dataset, arch.size, self.trained.resize)[0]

        return measured

    def train(
        self,
        model: keras.Model,
        averaged: keras.Model,
        evaluate: Callable[[], Metrics],
        recipe: Recipe,
        directory: Path,
        *,
        seed: int = 0,
        **options: Any,
    ) -> Metrics:
        """Train `model`, its average going to `averaged`, as `pipeline.learn.loop.Trainer` does; the best metrics.

        Args:
          model: outputs logits.
          averaged: of the same weights as `model` (or as the option `plain`).
          evaluate: measures `averaged`.
          recipe: how to train.
          directory: where checkpoint, history and best weights go; a checkpoint that is there is continued.
          seed: added to the run's, so that each training sees its own order and changes.
          **options: of the Trainer.
        """
        from micro_yolo.model.heads import loss_of
        from micro_yolo.model.keras import tf
        from micro_yolo.pipeline.data.augment import Augment
        from micro_yolo.pipeline.data.input import Batches
        from micro_yolo.pipeline.learn.loop import Trainer

        seed += self._seed
        tf.random.set_seed(seed)
        batches = Batches(self._images, self._batch, Augment(self._augment, seed), seed=seed)
        trainer = Trainer(
            model,
            averaged,
            loss_of(self.trained.arch),
            batches,
            evaluate,
            recipe,
            directory,
            strategy=tf.distribute.get_strategy(),
            show=self.show,
            **options,
        )
        return trainer.train()


def _drawn(split: Split, count: int | None, seed: int) -> Split:
    if count is None or count >= len(split):
        return split
    return split.subset(np.sort(np.random.default_rng(seed).permutation(len(split))[:count]).tolist())
