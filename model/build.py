"""From a table to one flat functional Keras model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micro_yolo.model.heads import HEADS
from micro_yolo.model.keras import keras, making
from micro_yolo.model.layers import Tensor, put_together
from micro_yolo.model.ops import block_of
from micro_yolo.model.spec import INPUT, Arch


@dataclass(frozen=True)
class Layout:
    """Which output of a flat list is which.

    Attributes:
      outputs: (detection row, part) of each.
      limits: of each the lowest and highest logit that integers have to tell apart.
    """

    outputs: tuple[tuple[str, str], ...]
    limits: tuple[tuple[float, float], ...]

    @property
    def logits(self) -> dict[str, tuple[float, float]]:
        """The limits by the name of an output in a file."""
        return {f"{row}_{part}": limits for (row, part), limits in zip(self.outputs, self.limits, strict=True)}

    def packed(self, values: Sequence[Tensor]) -> dict[str, dict[str, Tensor]]:
        """{row: {part: value}} of a flat list."""
        found: dict[str, dict[str, Tensor]] = {}
        for (row, part), value in zip(self.outputs, values, strict=True):
            found.setdefault(row, {})[part] = value
        return found


class Network(keras.Model):
    """A functional model that gives {row: {part: tensor}}.

    Its `outputs`, its layers and so its weights are in the order of the flat list it is made from: files of weights
    depend on it.
    """

    def __init__(self, inputs: Tensor, outputs: Sequence[Tensor], layout: Layout, name: str) -> None:
        super().__init__(inputs, list(outputs), name=name)
        self.layout = layout

    def call(self, inputs: Tensor, training: Any = None, mask: Any = None) -> dict[str, dict[str, Tensor]]:
        """(B,h,w,3) -> {row: {part: (B, h/stride, w/stride, width)}}."""
        return self.layout.packed(super().call(inputs, training=training, mask=mask))

    def around(self, made: keras.Model) -> Network:
        """A network of this one's outputs around a functional model that was made from it, as cloning does."""
        return Network(made.input, made.outputs, self.layout, made.name)


@making
def build(arch: Arch, *, deploy: bool = False, pixels: keras.layers.Layer | None = None) -> Network:
    """The Keras model of a table, with fresh weights.

    Args:
      arch: the table.
      deploy: False gives the model to train, whose outputs are logits. True gives the model to convert: sigmoid on
        every output, and no scaling layer in front (`deployable` puts the scaling into the first kernel).
      pixels: a layer in front of all, instead.

    Returns:
      A model from pixels 0..255, (B,h,w,3), to {row: {part: (B,h/stride,w/stride,its width)}}, the detection rows and
      their head's parts in order.
    """
    image = keras.Input((*arch.size, 3), name="image")
    if pixels is None and not deploy:
        pixels = keras.layers.Rescaling(1 / 255, name="rescale")
    x = image if pixels is None else pixels(image)
    made: dict[str, Tensor] = {INPUT: x}
    outputs: dict[tuple[str, str], Tensor] = {}
    limits: list[tuple[float, float]] = []
    for row in arch.rows:
        inputs = [made[name] for name in arch.sources[row.name]]
        if row.op in HEADS:
            parts = HEADS[row.op].layers(inputs[0], row, arch.classes, deploy=deploy)
            outputs |= {(row.name, part): value for part, value in parts.items()}
            limits += [part.logits for part in HEADS[row.op].parts]
        else:
            made[row.name] = put_together(block_of(row), inputs, row.name, arch.act_of(row))
    return Network(image, list(outputs.values()), Layout(tuple(outputs), tuple(limits)), arch.name)


def deployable(arch: Arch, trained: keras.Model) -> Network:
    """`build(arch, deploy=True)` with the weights of `trained`, the model to convert.

    The division by 255 is in the kernels that read the image, so the file has no operator for it.

    Raises:
      ValueError: `trained` is not of this table.
    """
    model, first = build(arch, deploy=True), reads_image(arch)
    theirs = {layer.name: layer.get_weights() for layer in trained.layers}
    for layer in model.layers:
        wanted = [tuple(weight.shape) for weight in layer.weights]
        if not wanted:
            continue
        weights = theirs.get(layer.name, [])
        if [weight.shape for weight in weights] != wanted:
            raise ValueError(f"{arch.name}: the weights do not fit the table at layer {layer.name}")
        if layer.name in first:
            weights = [weights[0] / 255, *weights[1:]]
        layer.set_weights(weights)
    return model


def reads_image(arch: Arch) -> set[str]:
    """The convolutions that read the image: those of a deployable model divide by 255 inside their kernels."""
    return {f"{row.name}_{block_of(row)[0].name}" for row in arch.rows if INPUT in arch.sources[row.name]}


def behind(network: keras.Model, row_name: str) -> Tensor:
    """What a row of a network that `build` made puts out. ValueError if it has no such row."""
    its = [layer for layer in network.layers if layer.name.startswith(f"{row_name}_")]
    if not its:
        raise ValueError(f"{network.name}: no layers of a row {row_name!r}")
    # Keras lists layers by how far they are from the outputs, and those of a row follow one another.
    return its[-1].output


def freeze(model: keras.Model, arch: Arch, row_name: str) -> None:
    """The rows of a table down to this one are trained no more, and their batch norms stand still.

    Args:
      model: of the table, wrapped for quantization or not.
      arch: the table.
      row_name: what `Arch.check_freeze` allows.
    """
    names = [row.name for row in arch.rows]
    frozen = tuple(f"{name}_" for name in names[: names.index(row_name) + 1])
    for layer in model.layers:
        if layer.name.startswith(frozen):
            layer.trainable = False


def trained_variables(model: keras.Model) -> list[Any]:
    """The trainable variables of all layers that are not frozen; tfmot's wrappers would give theirs all the same."""
    frozen = {id(weight) for layer in model.layers if not layer.trainable for weight in layer.weights}
    return [variable for variable in model.trainable_variables if id(variable) not in frozen]


def shares_of(model: keras.Model, variables: Sequence[Any], rows: Collection[str], share: float) -> list[float]:
    """For each of the variables `share` if it is of one of these rows, else 1."""
    begins = tuple(f"{row}_" for row in rows)
    its = {id(weight) for layer in model.layers if layer.name.startswith(begins) for weight in layer.weights}
    return [share if id(variable) in its else 1.0 for variable in variables]


def weights_of(model: keras.Model) -> dict[str, list[np.ndarray]]:
    """Layer name -> its weights, of every layer that has any: what `model.channels` works on."""
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def put_weights(model: keras.Model, weights: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Give a model what `weights_of` took from another of the same table."""
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])


def with_weights(arch: Arch, weights: Mapping[str, Sequence[np.ndarray]]) -> Network:
    """`build(arch)` with the weights `weights_of` gave."""
    model = build(arch)
    put_weights(model, weights)
    return model
