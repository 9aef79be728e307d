"""Begin a network with what is known already: start weights, or the rows of another network."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from micro_yolo.model.heads import HEADS
from micro_yolo.model.keras import keras, tf, unswept
from micro_yolo.model.layers import BN_EPSILON
from micro_yolo.model.ops import block_of
from micro_yolo.model.primitives import Conv, Depthwise
from micro_yolo.model.spec import Arch


@dataclass(frozen=True)
class Begun:
    """Which rows that have weights took what they were given, and which begin fresh, in the order of the table."""

    known: tuple[str, ...]
    fresh: tuple[str, ...]


@unswept()
def with_start(
    model: keras.Model, arch: Arch, layers: Mapping[str, tuple[np.ndarray, np.ndarray]], images: Iterable[np.ndarray]
) -> Begun:
    """Give rows the kernels and biases of a start, and make of the biases batch norms that can be trained.

    The batch norm in front of a bias was folded into the kernel. To have one again: its statistics are those of the
    convolution's outputs on `images`, the kernel is divided by their deviation channel by channel, and scale and shift
    are such that the network gives what it gave. So the first steps of training, which normalize by their own batch,
    change it little where `images` are of the kind it is trained on.

    Args:
      model: of the table, with fresh weights.
      arch: the table.
      layers: layer -> kernel and bias, see `Start.layers`.
      images: batches of pixels 0..255, (B, h, w, 3), at the network's size.
    """
    norms: dict[str, str] = {}
    known = []
    for row in arch.rows:
        its = {
            f"{row.name}_{part.name}": f"{row.name}_{part.prefix}bn"
            for part in block_of(row)
            if isinstance(part, Conv | Depthwise)
        }
        if its and all(_fits(model, layer, layers) for layer in its):
            known.append(row.name)
            norms |= its
    for layer, norm in norms.items():
        kernel, bias = layers[layer]
        model.get_layer(layer).set_weights([kernel])
        _set_norm(model, norm, np.ones_like(bias), bias, np.zeros_like(bias), np.ones_like(bias))
    inner = keras.Model(model.inputs, [model.get_layer(name).output for name in norms]) if norms else None
    for layer, (mean, variance) in zip(norms, () if inner is None else statistics(inner, images), strict=True):
        kernel, bias = layers[layer]
        # A channel that says nothing keeps its kernel.
        deviation = np.where(variance > 1e-6, np.sqrt(np.maximum(variance, 1e-6)), 1.0)
        per_channel = (
            deviation[:, None] if isinstance(model.get_layer(layer), keras.layers.DepthwiseConv2D) else deviation
        )
        model.get_layer(layer).set_weights([kernel / per_channel])
        _set_norm(model, norms[layer], deviation, bias + mean, mean / deviation, variance / deviation**2)
    return Begun(tuple(known), _others(arch, known))


def with_rows(
    model: keras.Model,
    arch: Arch,
    theirs: Arch,
    weights: Mapping[str, Sequence[np.ndarray]],
    learned: Collection[str] | None = None,
) -> Begun:
    """Give rows the weights of the rows of the same name of another network.

    A row takes them if it is the same row there and reads as many channels; a detection row only if its classes and
    anchors are the same too.

    Args:
      model: of the table, with fresh weights.
      arch: the table.
      theirs: the other's table.
      weights: the other's, see `build.weights_of`.
      learned: its rows that learned something; by default all.
    """
    rows = {row.name: row for row in theirs.rows if learned is None or row.name in learned}
    known = []
    for row in arch.rows:
        layers = [layer for layer in model.layers if layer.name.startswith(f"{row.name}_") and layer.weights]
        alike = rows.get(row.name) == row and (row.op not in HEADS or arch.classes == theirs.classes)
        if not layers or not alike:
            continue
        if all(_shapes(layer.get_weights()) == _shapes(weights.get(layer.name, ())) for layer in layers):
            known.append(row.name)
            for layer in layers:
                layer.set_weights(weights[layer.name])
    return Begun(tuple(known), _others(arch, known))


def _shapes(arrays: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    return [array.shape for array in arrays]


def _fits(model: keras.Model, layer: str, layers: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> bool:
    weights = model.get_layer(layer).get_weights()
    return layer in layers and len(weights) == 1 and weights[0].shape == layers[layer][0].shape


def _set_norm(
    model: keras.Model, name: str, scale: np.ndarray, shift: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> None:
    """What a batch norm multiplies by is `scale`, whatever its epsilon and variance."""
    model.get_layer(name).set_weights([scale * np.sqrt(variance + BN_EPSILON), shift, mean, variance])


def statistics(model: keras.Model, images: Iterable[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of each output of a model, channel by channel, float32.

    Args:
      model: from pixels to a list of (B, h, w, C), or to one.
      images: batches of pixels 0..255, (B, h, w, 3).
    """

    @tf.function(reduce_retracing=True, autograph=False)
    def moments(batch: tf.Tensor) -> list[tf.Tensor]:
        outputs = tf.nest.flatten(model(tf.cast(batch, tf.float32), training=False))
        return [tf.stack(tf.nn.moments(tf.cast(x, tf.float32), axes=[0, 1, 2])) for x in outputs]

    nothing = np.zeros((), np.float64)
    means, squares, count = [nothing] * len(model.outputs), [nothing] * len(model.outputs), 0
    for batch in images:
        for i, (mean, variance) in enumerate(tf.unstack(x) for x in moments(tf.constant(batch))):
            mean, variance = mean.numpy().astype(np.float64), variance.numpy().astype(np.float64)
            means[i] = means[i] + mean * len(batch)
            squares[i] = squares[i] + (variance + mean**2) * len(batch)
        count += len(batch)
    return [
        ((m / count).astype(np.float32), np.maximum(s / count - (m / count) ** 2, 0.0).astype(np.float32))
        for m, s in zip(means, squares, strict=True)
    ]


def _others(arch: Arch, known: Sequence[str]) -> tuple[str, ...]:
    return tuple(row.name for row in arch.rows if (row.out or row.op in HEADS) and row.name not in known)
