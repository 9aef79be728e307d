"""The training loop every stage that trains shares: steps, weight averages, evaluation, checkpoints, history.

After each epoch one checkpoint holds all that the next needs, so that a run killed at any moment goes on from its last
finished epoch and ends where an uninterrupted one would.
"""

from __future__ import annotations

import functools
import hashlib
import math
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.model import memory
from micro_yolo.model.build import shares_of, trained_variables
from micro_yolo.model.hdf5 import save
from micro_yolo.model.heads.base import Losses, Outputs
from micro_yolo.model.keras import keras, tf, unswept
from micro_yolo.pipeline.data.input import Batches
from micro_yolo.pipeline.learn.checkpoints import full, managed, saving
from micro_yolo.pipeline.learn.devices import cluster
from micro_yolo.pipeline.learn.optimizer import make_optimizer
from micro_yolo.pipeline.learn.peers import lost, of_chief
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.measure.finders import PredictBatch
from micro_yolo.pipeline.show.screen import QUIET, Show
from micro_yolo.pipeline.store import history, runs
from micro_yolo.pipeline.store.history import Row

Metrics = dict[str, Any]
# (outputs of the model, boxes, classes) -> scalars by name
LossOf = Callable[[Outputs, tf.Tensor, tf.Tensor], Losses]
# (images, outputs of the model) -> scalar
Penalty = Callable[[tf.Tensor, Any], tf.Tensor]
PENALTY = "distillation"
# Losses are read after so many steps at once: a GPU that is asked after each waits for Python in between.
FETCH = 10


class DivergedError(ValueError):
    """The loss is no longer a number."""


def evaluation_epochs(recipe: Recipe) -> set[int]:
    """The epochs (from 1) after which the model is evaluated; the last always is."""
    every = recipe.evaluate_every or max(1, recipe.passes // 20)
    late = range(recipe.passes - recipe.passes // 5, recipe.passes) if recipe.evaluate_every is None else ()
    return {*range(every, recipe.passes + 1, every), *list(late)[:: max(1, every // 2)], recipe.passes}


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
      model: built in the scope of the strategy that it is trained with.
      averaged: the same network, built outside of it; it takes the moving average of the weights.
      losses: of the model's outputs, boxes (B, M, 4) xyxy in pixels and classes (B, M), -1 where there is no box:
        scalars by name; the one called `total` is minimized.
      evaluate: measures `averaged`; gives at least `measures`, in points.
      plain: the model whose weights are averaged, where `model` is wrapped around it.
      callbacks: Keras' own, told of the beginning of training, of each epoch (from 1) and step, and of an epoch's end.
      penalty: added to the total, called `PENALTY` in the history.
      rank_by: metric by which the best epoch is chosen.
      measures: metrics that the history tells of.
    """

    model: keras.Model
    averaged: keras.Model
    losses: LossOf
    evaluate: Callable[[], Metrics]
    plain: keras.Model | None = None
    callbacks: Sequence[keras.callbacks.Callback] = ()
    penalty: Penalty | None = None
    rank_by: str = "AP"
    measures: tuple[str, ...] = ("AP", "AP50")


@dataclass(frozen=True)
class Outcome:
    """A training that is done: the line of the history that scored best, and all of them."""

    best: Metrics
    history: list[Row]


class Trainer:
    """Trains in `directory`, keeping the average of the weights that scored best in `runs.WEIGHTS`.

    Args:
      task: what is trained.
      recipe: how.
      batches: of images to train on.
      directory: of the stage.
      strategy: of tf.distribute.
      show: told of each step and epoch.
      xla: compile the step; for one device.
      begun: rows that began with what is known.
      start_rate: share of the learning rate at which those learn. A checkpoint knows which they were.

    Raises ValueError if XLA is asked for and there are several.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        batches: Batches,
        directory: Path,
        *,
        strategy: tf.distribute.Strategy,
        show: Show = QUIET,
        xla: bool = False,
        begun: Collection[str] = (),
        start_rate: float = 1.0,
    ) -> None:
        if xla and strategy.num_replicas_in_sync > 1:
            raise ValueError(
                f"xla: compiles for one device, got {strategy.num_replicas_in_sync}; allowed: without --xla"
            )
        self.task, self.recipe, self.batches, self.directory = task, recipe, batches, directory
        self.strategy, self.show = strategy, show
        self.is_chief = cluster()[0] == 0
        self.plain = task.model if task.plain is None else task.plain
        self.variables = trained_variables(task.model)
        task.averaged.set_weights(self.plain.get_weights())
        shares = None if start_rate == 1 else shares_of(task.model, self.variables, begun, start_rate)
        with strategy.scope():
            self.optimizer = make_optimizer(recipe, self.variables, batches.steps, shares)
        # Where Keras' callbacks look for the number of steps done.
        task.model.optimizer = self.optimizer
        self.callbacks = keras.callbacks.CallbackList(list(task.callbacks), model=task.model)
        # What each device follows by itself: read one by one, each would be an exchange between all devices.
        self.followed = [
            weight
            for weight in self.plain.weights
            if weight.synchronization == tf.VariableSynchronization.ON_READ and weight.dtype == tf.float32
        ]
        self.names: tuple[str, ...] = ()
        self.epoch = tf.Variable(0, dtype=tf.int64, trainable=False)
        held = {"model": task.model, "averaged": task.averaged, "optimizer": self.optimizer, "epoch": self.epoch}
        self.checkpoints = managed(directory / "checkpoint", **held)
        self.history: list[Row] = []
        self.step = tf.function(self._distributed_step, reduce_retracing=True, autograph=False, jit_compile=xla or None)

    def resume(self) -> int:
        """Load the last checkpoint, if there is one, and return how many epochs are done.

        Raises ValueError if it is damaged or of another network.
        """
        try:
            self.checkpoints.restore_or_initialize()
        except (tf.errors.OpError, IndexError, ValueError) as error:
            if lost(error):
                raise
            reason = " ".join(str(error).split())[:120]
            raise ValueError(
                f"{self.checkpoints.directory}: damaged or of another network ({reason}); allowed: --overwrite to "
                "start again"
            ) from None
        done = int(self.epoch.numpy())
        # A row can be one epoch ahead of the checkpoint; that epoch is trained again.
        path = self.directory / runs.HISTORY
        self.history = [row for row in history.read(path) if row["epoch"] <= done]
        if self.is_chief and len(self.history) != done:
            raise ValueError(
                f"{path}: must tell of the {done} epochs that are done, got {len(self.history)}; allowed: --overwrite "
                "to start again"
            )
        return done

    def train(self) -> Outcome:
        """Train to the recipe's last epoch.

        Raises DivergedError when the loss is no longer a number; the best weights so far are kept.
        """
        done = self.resume()
        plain = self.recipe.passes - (
            max(1, self.recipe.passes // 4) if self.recipe.plain_epochs is None else self.recipe.plain_epochs
        )
        distributed = self.strategy.distribute_datasets_from_function
        images = functools.cache(lambda changed: distributed(lambda _: self.batches.dataset(augmented=changed)))
        # By what all batches have in common: else it is traced for the first, and again for one with more boxes.
        with unswept():
            self.step.get_concrete_function(images(done < plain).element_spec)
        evaluated = evaluation_epochs(self.recipe)
        writer = self._writer()
        self._tell("on_train_begin")
        for epoch in range(done + 1, self.recipe.passes + 1):
            if self._is_stale(epoch - 1):
                break
            row = self._epoch(epoch, images(epoch <= plain))
            self._check_space()
            if epoch in evaluated and self.is_chief:
                self._keep_if_best(row, self.task.evaluate())
            self._save(row, writer)
            self.show.epoch(row, self.recipe.passes)
        return Outcome(self.best(), self.history)

    def best(self) -> Metrics:
        """The row of the history that scored highest."""
        rank = self.task.rank_by
        return max((row for row in self.history if row.get(rank) is not None), key=lambda row: row[rank], default={})

    def _is_stale(self, epoch: int) -> bool:
        patience = self.recipe.patience
        # The chief alone has measured.
        return patience is not None and of_chief(
            self.strategy, lambda: epoch - self.best().get("epoch", epoch) >= patience
        )

    def _epoch(self, epoch: int, dataset: Any) -> dict[str, Any]:
        self.batches.start_epoch(epoch)
        self._even()
        self._tell("on_epoch_begin", epoch)
        started = time.perf_counter()
        sums: dict[str, float] = {}
        waiting: list[dict[str, tf.Tensor]] = []
        means: dict[str, float] = {}
        for step, batch in enumerate(dataset, 1):
            self._tell("on_train_batch_begin", step)
            waiting.append(self.step(batch))
            # By number, not by time: all machines that train together must stop at the same step.
            if step <= FETCH or step % FETCH == 0 or step == self.batches.steps:
                first = step - len(waiting) + 1
                for number, losses in enumerate(_fetched(waiting), first):
                    self._check_finite(losses["total"], epoch, number)
                    for name, value in losses.items():
                        sums[name] = sums.get(name, 0.0) + value
                waiting.clear()
                if step == FETCH:
                    # By now a step's tensors are all there, or again after an evaluation's.
                    memory.gather()
                means = {name: value / step for name, value in sums.items()}
            self.show.step(epoch, step, self.batches.steps, means)
        self._tell("on_epoch_end", epoch)
        seconds = time.perf_counter() - started
        count = self.batches.steps * self.batches.batch
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        return {
            "epoch": epoch,
            "images": count,
            "learning_rate": float(keras.backend.get_value(inner.learning_rate)),
            **{name: value / self.batches.steps for name, value in sums.items()},
            **dict.fromkeys(self.task.measures),
            "seconds": seconds,
            "images_per_second": count / seconds,
        }

    def _even(self) -> None:
        # What each device followed by itself begins an epoch as their mean, as it does when a run is continued.
        if self.strategy.num_replicas_in_sync == 1:
            return
        with self.strategy.scope():
            for weight in self.task.model.non_trainable_weights:
                if weight.synchronization == tf.VariableSynchronization.ON_READ:
                    weight.assign(tf.identity(weight))

    def _check_finite(self, total: float, epoch: int, step: int) -> None:
        if not math.isfinite(total):
            raise DivergedError(
                f"{self.directory}: epoch {epoch}, step {step}: the loss is {total}, not a number; the best weights so "
                "far are kept; train again with a lower --learning-rate, a longer --warmup-epochs or --precision "
                "float32"
            )

    def _tell(self, event: str, *number: int) -> None:
        # In the scope, or what a callback assigns would reach one device.
        with self.strategy.scope():
            getattr(self.callbacks, event)(*number)

    def _distributed_step(self, batch: Any) -> dict[str, tf.Tensor]:
        told = self.strategy.reduce("MEAN", self.strategy.run(self._replica_step, args=batch), axis=None)
        sizes = [weight.shape.num_elements() for weight in self.followed]
        losses, *followed = tf.split(told, [len(self.names), *sizes])
        self._average({id(weight): value for weight, value in zip(self.followed, followed, strict=True)})
        return dict(zip(self.names, tf.unstack(losses), strict=True))

    def _replica_step(self, images: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        """The losses of `names`, then what `followed` holds, in one row: one exchange between devices for all."""
        # What is frozen is not watched, so nothing is computed backwards below it.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            outputs = self.task.model(images, training=True)
            losses = dict(self.task.losses(outputs, boxes, classes))
            if self.task.penalty is not None:
                losses[PENALTY] = self.task.penalty(images, outputs)
                losses["total"] += losses[PENALTY]
            objective = losses["total"] / self.strategy.num_replicas_in_sync
            scaled = self.optimizer.get_scaled_loss(objective) if _scales(self.optimizer) else objective
        gradients = tape.gradient(scaled, self.variables)
        if _scales(self.optimizer):
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        # Adding up keeps what was traced of the step until the process ends, and one replica has nothing to add.
        alone = self.strategy.num_replicas_in_sync == 1
        self.optimizer.apply_gradients(zip(gradients, self.variables, strict=True), skip_gradients_aggregation=alone)
        losses["gradient_norm"] = tf.linalg.global_norm(gradients)
        self.names = tuple(losses)
        return tf.concat([tf.stack(list(losses.values())), *(tf.reshape(w, [-1]) for w in self.followed)], axis=0)

    def _average(self, followed: dict[int, tf.Tensor]) -> None:
        # Early on the average follows closely, or it would remember the random start.
        step = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(self.recipe.ema, (1.0 + step) / (10.0 + step))
        for mean, weight in zip(self.task.averaged.weights, self.plain.weights, strict=True):
            if mean.dtype.is_floating:
                # In this form what does not change stays as it is to the last bit.
                now = tf.reshape(followed[id(weight)], weight.shape) if id(weight) in followed else weight
                mean.assign_sub((1.0 - decay) * (mean - now))
            else:
                mean.assign(weight)

    def _keep_if_best(self, row: dict[str, Any], metrics: Metrics) -> None:
        row.update({name: metrics[name] for name in self.task.measures})
        best = self.best()
        if not best or metrics[self.task.rank_by] > best[self.task.rank_by]:
            with runs.writing(self.directory / runs.WEIGHTS) as beside:
                save(self.task.averaged, beside)

    def _check_space(self) -> None:
        # Asked for beforehand, so that nothing is left half written. Weights, and a checkpoint of two copies and the
        # optimizer's two moments, while the one before is still there.
        n_bytes = 6 * sum(weight.shape.num_elements() * weight.dtype.size for weight in self.task.averaged.weights)
        if shutil.disk_usage(self.directory).free < n_bytes:
            raise full(self.directory, f"less than {n_bytes >> 20} MiB left")

    def _save_checkpoint(self) -> None:
        try:
            with saving(self.directory):
                self.checkpoints.save()
        except OSError:
            for half in (self.directory / "checkpoint").glob("*_temp"):
                shutil.rmtree(half, ignore_errors=True)
            raise

    def _save(self, row: dict[str, Any], writer: tf.summary.SummaryWriter) -> None:
        self.history.append(row)
        if self.is_chief:
            history.write(self.directory / runs.HISTORY, self.history)
            self._log(row, writer)
        self.epoch.assign(row["epoch"])
        self._save_checkpoint()

    def _writer(self) -> tf.summary.SummaryWriter:
        with saving(self.directory):
            logs = str(self.directory / "logs")
            return tf.summary.create_file_writer(logs) if self.is_chief else tf.summary.create_noop_writer()

    def _log(self, row: dict[str, Any], writer: tf.summary.SummaryWriter) -> None:
        with saving(self.directory):
            with writer.as_default(step=row["epoch"]):
                for name, value in row.items():
                    if value is not None and name not in ("epoch", "images"):
                        tf.summary.scalar(name, value)
            writer.flush()


def _fetched(steps: Sequence[dict[str, tf.Tensor]]) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in losses.items()} for losses in steps]


def _scales(optimizer: keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)


def keras_predict(model: keras.Model) -> PredictBatch:
    """What `pipeline.measure.metrics.evaluate_split` wants of a model whose outputs are logits."""

    @tf.function(reduce_retracing=True, autograph=False)
    def forward(images: tf.Tensor) -> Outputs:
        logits = model(tf.cast(images, tf.float32), training=False)
        return {
            row: {part: tf.sigmoid(tf.cast(x, tf.float32)) for part, x in its.items()} for row, its in logits.items()
        }

    @unswept()
    def predict(images: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        found = forward(tf.constant(images))
        return {row: {part: grid.numpy() for part, grid in its.items()} for row, its in found.items()}

    return predict


def weights_digest(model: keras.Model) -> str:
    """SHA-256 of all weights, to see that two machines hold the same."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()
