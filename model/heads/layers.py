"""The Keras layers of a detection row's parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from micro_yolo.model.heads.part import Part, Tensor
from micro_yolo.model.keras import keras

layers = keras.layers


def put_out(
    x: Tensor, row_name: str, parts: Sequence[Part], widths: Mapping[str, int], classes: int, *, deploy: bool
) -> dict[str, Tensor]:
    """Part -> (B, h, w, its width): logits, or their sigmoids if `deploy`."""
    found = {}
    for part in parts:
        # float32 even under mixed precision: the loss takes exponents of these.
        y = layers.Conv2D(
            widths[part.name],
            1,
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            bias_initializer=keras.initializers.Constant(part.bias(classes)),
            name=f"{row_name}_{part.layer}",
            dtype="float32",
        )(x)
        if deploy:
            y = layers.Activation("sigmoid", name=f"{row_name}_{part.name}")(y)
        found[part.name] = y
    return found
