"""A part of what a detection row puts out. No TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Tensor = Any
# TFLite's logistic has the output scale 1/256. Beyond these logits all is 0 or 255/256, so finer steps go to the rest.
LOGITS = (-6.25, 5.25)


@dataclass(frozen=True)
class Part:
    """One output of a detection row: a 1x1 convolution to logits, whose sigmoid is what a file puts out.

    A sigmoid whatever the part is: all values then lie in 0..1 and an int8 file gives each part the scale 1/256.

    Attributes:
      name: the output is called ``{row}_{name}``.
      layer: the Keras layer is called ``{row}_{layer}``; not `name`, which the sigmoid behind it has.
      values: how many a prediction has; None = one a class.
      bias: number of classes -> the convolution's biases at the start.
      logits: the lowest and highest that integers have to tell apart.
    """

    name: str
    layer: str
    values: int | None
    bias: Callable[[int], float]
    logits: tuple[float, float] = LOGITS

    def __post_init__(self) -> None:
        if self.layer == self.name:
            raise ValueError(f"part: layer and name must differ, got {self.name!r} for both")
