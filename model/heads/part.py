"""A part of what a detection row puts out. No TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Tensor = Any


@dataclass(frozen=True)
class Part:
    """One output of a detection row: a 1x1 convolution to logits, whose sigmoid is what a file puts out.

    A sigmoid whatever the part is: all values then lie in 0..1 and an int8 file gives each part the scale 1/256.

    Attributes:
      name: the output is called ``{row}_{name}``.
      layer: the Keras layer is called ``{row}_{layer}``; not `name`, which the sigmoid behind it has.
      values: how many a prediction has; None = one a class.
      bias: number of classes -> the convolution's biases at the start.
    """

    name: str
    layer: str
    values: int | None
    bias: Callable[[int], float]

    def __post_init__(self) -> None:
        if self.layer == self.name:
            raise ValueError(f"part: layer and name must differ, got {self.name!r} for both")
