"""The optimizer of a recipe, with its schedule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from micro_yolo.model.keras import keras, tf
from micro_yolo.pipeline.learn.recipe import OPTIMIZERS, Recipe


class _AdamW(keras.optimizers.AdamW):
    """Keras' own, but the step of a variable is one operation and not thirty, all of which are traced.

    With `shares` each variable learns at a share of the rate, weight decay included. They are a variable, so that a
    checkpoint holds them.
    """

    shares: tf.Variable | None = None
    decay = 0.0

    def apply_gradients(self, grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]], **options: Any) -> Any:
        step = tf.cast(self.iterations + 1, tf.float32)
        self._power_1, self._power_2 = tf.pow(self.beta_1, step), tf.pow(self.beta_2, step)
        return super().apply_gradients(grads_and_vars, **options)

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        number = self._index_dict[self._var_key(variable)]
        rate = self.learning_rate
        if self.shares is not None:
            rate = rate * self.shares[number]
            if _decays(variable):
                variable.assign_sub(variable * (rate * self.decay))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[number].handle,
            v=self._velocities[number].handle,
            beta1_power=self._power_1,
            beta2_power=self._power_2,
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class _SGDByPart(keras.optimizers.SGD):
    """Keras' own, but each variable goes a share of the step it would, as `_AdamW` with `shares`."""

    shares: tf.Variable
    decay: float

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        before = tf.identity(variable)
        if _decays(variable):
            variable.assign_sub(variable * tf.cast(self.learning_rate, variable.dtype) * self.decay)
        super().update_step(gradient, variable)
        # On each device a variable is another; the optimizer knows which they stand for.
        share = tf.cast(self.shares, variable.dtype)[self._index_dict[self._var_key(variable)]]
        variable.assign(before + share * (variable - before))


def make_optimizer(
    recipe: Recipe, variables: Sequence[tf.Variable], steps: int, shares: Sequence[float] | None = None
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer for `variables`, with warm-up and cosine over `epochs * steps` steps.

    Args:
      recipe: the recipe.
      variables: what is trained.
      steps: of an epoch.
      shares: of the learning rate, for each variable; by default all of it for all.
    """
    rate, decay = OPTIMIZERS[recipe.optimizer]
    rate = rate if recipe.learning_rate is None else recipe.learning_rate
    decay = decay if recipe.weight_decay is None else recipe.weight_decay
    total = recipe.passes * steps
    warmup = min(round(recipe.warmup_epochs * steps), total // 3)
    if warmup:
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(total - warmup, 1), alpha=0.01, warmup_target=rate, warmup_steps=warmup
        )
    else:
        schedule = keras.optimizers.schedules.CosineDecay(rate, total, alpha=0.01)
    settings = {"weight_decay": decay, "global_clipnorm": recipe.clip_norm}
    if recipe.optimizer == "sgd":
        sgd = keras.optimizers.SGD if shares is None else _SGDByPart
        optimizer = sgd(schedule, momentum=0.937, nesterov=True, **settings)
    else:
        optimizer = _AdamW(schedule, **settings)
    if shares is None:
        optimizer.exclude_from_weight_decay([v for v in variables if not _decays(v)])
    else:
        optimizer.exclude_from_weight_decay(list(variables))
        optimizer.shares, optimizer.decay = tf.Variable(shares, dtype=tf.float32, trainable=False), decay
    optimizer.build(variables)
    if keras.mixed_precision.global_policy().name == "mixed_float16":
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def _decays(variable: tf.Variable) -> bool:
    # Decaying a normalization's scale or a bias moves the function, not its complexity.
    return len(variable.shape) >= 2
