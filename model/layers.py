"""What primitives become: functions from tensor to tensor on one flat functional graph.

Only layers that tfmot's quantization-aware training takes and that become integer TFLite operators: no Lambda, no
tensor arithmetic, `ReLU(6.)` rather than an activation string.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from micro_yolo.model import gradients
from micro_yolo.model.keras import keras, tf
from micro_yolo.model.primitives import Block, Concat, Conv, Depthwise, Gate, Pool, Primitive, Skip, Upsample

Tensor = Any
layers = keras.layers

# Keras' 0.99 averages over some 500 steps; a small data set trained from scratch has few of them, and its evaluation
# would run on statistics of weights long gone.
BN_MOMENTUM = 0.97
# Keras' default, not darknet's 1e-5: the variance behind a quiet channel's depthwise convolution is tiny, and dividing
# by it would make an int8 scale explode.
BN_EPSILON = 1e-3
LEAKY_SLOPE = 0.1  # darknet's


@keras.utils.register_keras_serializable("micro_yolo")
class DepthwiseConv2D(layers.DepthwiseConv2D):  # type: ignore[name-defined]
    """Keras' own, with a gradient that a CPU computes fast. Of the same name, which files of weights contain."""

    def call(self, inputs: Tensor, training: Any = None) -> Tensor:
        """As Keras' own."""
        if not training or self.kernel_size[0] <= gradients.FAST or not gradients.wanted():
            return super().call(inputs)
        return gradients.depthwise(inputs, tf.convert_to_tensor(self.depthwise_kernel), self.strides[0])


@keras.utils.register_keras_serializable("micro_yolo")
class BatchNormalization(layers.BatchNormalization):  # type: ignore[name-defined]
    """Keras' own, computed faster in training. Of the same name, which files of weights contain."""

    def call(self, inputs: Tensor, mask: Any = None, training: Any = None) -> Tensor:
        """As Keras' own."""
        if not training or not self.trainable or inputs.dtype != tf.float32 or not gradients.wanted():
            return super().call(inputs, mask=mask, training=training)
        normalized, mean, variance = gradients.normalize(inputs, self.gamma, self.beta, self.epsilon)
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        # As TensorFlow's own: the statistics that are kept are of the population that the batch is drawn from.
        seen = ((self.moving_mean, mean), (self.moving_variance, variance * count / tf.maximum(count - 1.0, 1.0)))
        for moving, value in seen:
            moving.assign_sub((moving - value) * (1.0 - self.momentum))
        return normalized


@keras.utils.register_keras_serializable("micro_yolo")
class UpSampling2D(layers.UpSampling2D):  # type: ignore[name-defined]
    """Keras' own, nearest, with a gradient that XLA has too. Of the same name, which files of weights contain."""

    def call(self, inputs: Tensor, training: Any = None) -> Tensor:
        """As Keras' own."""
        return gradients.upsample(inputs, self.size[0]) if training else super().call(inputs)


def put_together(block: Block, inputs: Sequence[Tensor], row_name: str, act: str) -> Tensor:
    """What a row with this activation puts out, from what it reads."""
    x = inputs[0]
    for part in block:
        if isinstance(part, Concat):
            x = layers.Concatenate(name=f"{row_name}_{part.name}")(inputs)
        elif isinstance(part, Skip):
            x = layers.Add(name=f"{row_name}_{part.name}")([inputs[0], x])
        else:
            x = _made(part, x, row_name, act)
    return x


def _made(part: Primitive, x: Tensor, row_name: str, act: str) -> Tensor:
    name = f"{row_name}_{part.name}"
    match part:
        case Conv():
            x = layers.Conv2D(
                part.out,
                part.k,
                part.s,
                padding="same",
                use_bias=not part.bn,
                kernel_initializer="he_normal",
                name=name,
            )(x)
            behind = f"{row_name}_{part.prefix}"
            x = _norm(x, behind) if part.bn else x
            return _act(x, behind, act) if part.act else x
        case Depthwise():
            # Keras takes all channels for a depthwise kernel's fan-in; an output sees k*k values.
            start = keras.initializers.TruncatedNormal(stddev=math.sqrt(2) / part.k)
            x = DepthwiseConv2D(part.k, part.s, padding="same", use_bias=False, depthwise_initializer=start, name=name)(
                x
            )
            return _act(_norm(x, f"{name}_"), f"{name}_", act)
        case Gate():
            return _gate(x, name, part.squeeze)
        case Pool():
            # "same" also at stride 1, where explicit padding leaves a float island in int8 files.
            return layers.MaxPooling2D(part.k, part.s, padding="same", name=name)(x)
        case Upsample():
            return UpSampling2D(part.s, interpolation="nearest", name=name)(x)
    raise TypeError(f"{name}: no layers for {part}")


def _gate(x: Tensor, name: str, squeeze: int) -> Tensor:
    channels = x.shape[-1]
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
    # Means of activations are not negative, so neither is the squeeze at the start. A squeeze as narrow as one channel
    # that starts below zero never learns, and its ReLU is a zero-range tensor that int8 runtimes refuse.
    start = keras.initializers.RandomUniform(0.0, 2.0 / channels)
    y = layers.Conv2D(squeeze, 1, use_bias=False, kernel_initializer=start, name=f"{name}_squeeze")(y)
    y = layers.ReLU(name=f"{name}_relu")(y)
    y = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_excite")(y)
    y = layers.Activation("sigmoid", name=f"{name}_gate")(y)
    return layers.Multiply(name=f"{name}_scale")([x, y])


def _norm(x: Tensor, behind: str) -> Tensor:
    return BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=f"{behind}bn")(x)


def _act(x: Tensor, behind: str, act: str) -> Tensor:
    name = f"{behind}act"
    if act == "relu6":
        return layers.ReLU(6.0, name=name)(x)
    if act == "relu":
        return layers.ReLU(name=name)(x)
    if act == "leaky":
        return layers.LeakyReLU(LEAKY_SLOPE, name=name)(x)
    return x
