"""The settings of a training: how weights are trained. No TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

# Learning rate and weight decay of each optimizer.
OPTIMIZERS = {"adamw": (0.002, 0.05), "sgd": (0.01, 0.0005)}

# Pictures that a training shows unless told otherwise, and the fewest and most epochs it takes for that: 40 epochs of
# 300 images, which two cores show in a quarter of an hour.
SHOWN, FEWEST, MOST = 12_000, 10, 300


@dataclass(frozen=True)
class Recipe:
    """How weights are trained."""

    epochs: int | None = None
    """Passes over the training images; by default as many as show them 12,000 pictures, from 10 to 300."""
    optimizer: str = "adamw"
    """adamw or sgd (Nesterov momentum 0.937)."""
    learning_rate: float | None = None
    """Highest learning rate, reached after the warm-up; by default 0.002 for adamw, 0.01 for sgd, half as much again
    with start weights."""
    weight_decay: float | None = None
    """Decoupled weight decay, on convolution kernels only; by default 0.05 for adamw, 0.0005 for sgd."""
    warmup_epochs: float = 2.0
    """Epochs in which the learning rate rises from 0; a cosine takes it down to 1 % afterwards."""
    plain_epochs: int | None = None
    """Last epochs trained without augmentation; by default a quarter of all."""
    ema: float = 0.998
    """Decay of the moving average of the weights, which is what is evaluated and kept; 0 turns it off."""
    clip_norm: float = 10.0
    """Gradients are scaled down to this global norm."""
    evaluate_every: int | None = None
    """Epochs between evaluations; by default about twenty evaluations a run, closer together towards its end."""
    patience: int | None = None
    """Training ends when so many epochs have brought no better AP; by default none is left out."""

    @property
    def passes(self) -> int:
        """`epochs`. Raises ValueError if they were neither told nor `settled`."""
        if self.epochs is None:
            raise ValueError("epochs: must be told, got none; allowed: 1 or more")
        return self.epochs

    def settled(self, images: int, rate: float = 1.0) -> Recipe:
        """The recipe for so many training images: with `epochs` and `learning_rate`, if they were not told.

        `rate` is the learning rate in shares of the usual one.
        """
        epochs = min(max(round(SHOWN / images), FEWEST), MOST) if self.epochs is None else self.epochs
        usual = OPTIMIZERS[self.optimizer][0] * rate
        return dataclasses.replace(
            self, epochs=epochs, learning_rate=usual if self.learning_rate is None else self.learning_rate
        )

    def __post_init__(self) -> None:
        for name in ("epochs", "clip_norm"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name}: must be above 0, got {value}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer: must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema: must be in 0..1, below 1, got {self.ema}")
        for name in ("learning_rate", "weight_decay", "warmup_epochs", "plain_epochs", "evaluate_every", "patience"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name}: must not be negative, got {value}")
