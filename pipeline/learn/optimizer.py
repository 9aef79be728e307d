"""The optimizer of a recipe, with its schedule."""

from __future__ import annotations

from collections.abc import Sequence

from micro_yolo.model.keras import keras, tf
from micro_yolo.pipeline.learn.recipe import OPTIMIZERS, Recipe


def make_optimizer(recipe: Recipe, variables: Sequence[tf.Variable], steps: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer for `variables`, with warm-up and cosine over `epochs * steps` steps."""
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
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            schedule, momentum=0.937, nesterov=True, weight_decay=decay, global_clipnorm=recipe.clip_norm
        )
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=decay, global_clipnorm=recipe.clip_norm)
    # Decaying a normalization's scale or a bias moves the function, not its complexity.
    optimizer.exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
    optimizer.build(variables)
    if keras.mixed_precision.global_policy().name == "mixed_float16":
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer
