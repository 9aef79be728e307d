"""Structured pruning by tfmot: wrappers that drive weights to zero while training goes on.

Whole channels are tfmot's pruning wrapper with masks of our own; its schedule, step callback and `strip_pruning` are
used as they are. The channels are still there afterwards, as zeros: `model.channels.cut` removes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from micro_yolo.model import tfmot
from micro_yolo.model.build import Network
from micro_yolo.model.channels import channels_of, positions
from micro_yolo.model.keras import keras, making, tf
from micro_yolo.model.spec import Arch

# 2 of 4 consecutive weights along a filter's inputs stay; tfmot's way to say it is (zeros, block).
TWO_OF_FOUR = (2, 4)


class PruneChannels(tfmot.PruneLowMagnitude):
    """tfmot's pruning wrapper, with masks of whole channels in an order decided beforehand.

    tfmot chooses single weights anew at every update, by magnitude, layer by layer. Channels that are tied must go
    together, whatever each layer's own weights look like.
    """

    def __init__(self, layer: keras.layers.Layer, doomed: Sequence[int], schedule: Any, **kwargs: Any) -> None:
        """Wrap `layer`, all of whose trainable weights have the channels on their last axis.

        Args:
          layer: a batch norm, or a convolution with a bias.
          doomed: channels of the layer, first to go first.
          schedule: of tfmot; its sparsity is the share of the layer's channels that are gone.
          **kwargs: of the wrapper's base.
        """
        # Told before, as tfmot takes no class that is not in its register without it.
        layer.get_prunable_weights = lambda: layer.trainable_weights
        super().__init__(layer, pruning_schedule=schedule, **kwargs)
        self.doomed = [int(channel) for channel in doomed]

    def build(self, input_shape: Any) -> None:
        """Make the masks."""
        super().build(input_shape)
        self.pruning_obj = _WholeChannels(
            self.doomed,
            training_step_fn=lambda: self.pruning_step,
            pruning_vars=self.pruning_vars,
            pruning_schedule=self.pruning_schedule,
            block_size=self.block_size,
            block_pooling_type=self.block_pooling_type,
        )


class _WholeChannels(tfmot.Pruning):
    def __init__(self, doomed: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._doomed = doomed

    def masked(self, weights: tf.Tensor, sparsity: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(channels gone, mask of the weights' shape)."""
        channels = int(weights.shape[-1])
        turn = np.full(channels, len(self._doomed))
        turn[self._doomed] = np.arange(len(self._doomed))
        gone = tf.round(sparsity * channels)
        kept = tf.cast(tf.constant(turn, tf.float32) >= gone, weights.dtype)
        return tf.cast(gone, weights.dtype), tf.broadcast_to(kept, tf.shape(weights))


def dooming(model: Network, arch: Arch, dropped: np.ndarray, steps: int) -> Network:
    """`model` with wrappers that take the `dropped` channels to zero over the first half of `steps`.

    Args:
      model: of `build(arch)`; its layers, and so its weights, are those of the result.
      arch: its table.
      dropped: channel numbers of `channels_of(arch)`, first to go first.
      steps: of the training.
    """
    # Behind a batch norm whose scale and shift are zero nothing of a channel is left, up to the next convolution.
    where = positions(channels_of(arch).axes, dropped, "gamma", "bias")

    def wrapped(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name not in where:
            return layer
        doomed = where[layer.name]
        schedule = tfmot.PolynomialDecay(
            initial_sparsity=0.0,
            final_sparsity=len(doomed) / int(layer.output_shape[-1]),
            begin_step=0,
            end_step=max(steps // 2, 1),
            frequency=1,
        )
        return PruneChannels(layer, doomed.tolist(), schedule)

    return _wrapped(model, wrapped)


def two_of_four(model: Network) -> Network:
    """`model` with tfmot's 2:4 structured sparsity on every convolution that has four inputs or more to choose from."""

    def wrapped(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not has_pattern(layer):
            return layer
        schedule = tfmot.ConstantSparsity(0.5, begin_step=0, frequency=1)
        return tfmot.PruneLowMagnitude(layer, pruning_schedule=schedule, sparsity_m_by_n=TWO_OF_FOUR)

    return _wrapped(model, wrapped)


@making
def strip_pruning(wrapped: Network) -> Network:
    """The network without the wrappers, its weights as they left them."""
    return wrapped.around(tfmot.strip_pruning(wrapped))


def has_pattern(layer: keras.layers.Layer) -> bool:
    """Whether `two_of_four` prunes this layer."""
    is_conv = isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D)
    return is_conv and int(layer.kernel.shape[2]) % TWO_OF_FOUR[1] == 0


def masks_of(wrapped: keras.Model) -> dict[str, np.ndarray]:
    """Layer -> mask of its kernel, of a model of `two_of_four` that was trained for at least a step."""
    return {
        layer.layer.name: layer.pruning_vars[0][1].numpy()
        for layer in wrapped.layers
        if isinstance(layer, tfmot.PruneLowMagnitude)
    }


@making
def _wrapped(model: Network, wrap: Callable[[keras.layers.Layer], keras.layers.Layer]) -> Network:
    return model.around(keras.models.clone_model(model, clone_function=wrap))
