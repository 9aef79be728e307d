"""A network learning from another of the same outputs, here a quantized one from its float original."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from micro_yolo.model.heads import head_of
from micro_yolo.model.heads.base import Outputs
from micro_yolo.model.keras import keras, tf
from micro_yolo.model.spec import Arch


def distillation(
    arch: Arch, teacher: keras.Model, weight: float, settings: Any = None
) -> Callable[[tf.Tensor, Outputs], tf.Tensor]:
    """A penalty of images and logits for saying something else than `teacher`.

    Args:
      arch: the table of both, whose head knows how far apart two outputs are.
      teacher: from pixels to logits, as `model.build.build`.
      weight: of the penalty.
      settings: of the loss, what `model.heads.settings_of` gave; by default the head's.
    """
    teacher.trainable = False
    head = head_of(arch)
    settings = head.settings if settings is None else settings

    def penalty(images: tf.Tensor, logits: Outputs) -> tf.Tensor:
        said = teacher(images, training=False)
        said = {row: {name: tf.stop_gradient(x) for name, x in parts.items()} for row, parts in said.items()}
        return weight * head.divergence(said, logits, settings)

    return penalty
