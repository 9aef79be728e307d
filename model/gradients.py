"""What training computes faster than TensorFlow does it on x86 processors, or so that XLA can compile it.

All agree with TensorFlow's own operations to float rounding, forwards and backwards. Each is a `tf.function`:
`tf.custom_gradient` keeps the graph it is traced in until the process ends, and that would be the whole step's.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from typing import Any

from micro_yolo.model.keras import tf

Tensor = Any
# oneDNN has fast kernels for the gradient of depthwise kernels up to 3x3; with 5x5 an image of 80x80 is worked on by
# one core (`benchmarks/operations.py`).
FAST = 3


def wanted() -> bool:
    """Whether this is a processor that `depthwise` and `normalize` are faster on: x86 with oneDNN, and no GPU."""
    has_kernels = platform.machine() in ("x86_64", "AMD64") and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
    return has_kernels and not tf.config.list_physical_devices("GPU")


@tf.function(autograph=False)
def depthwise(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Depthwise convolution padded to "same", whose kernel's gradient is put together from pieces of at most 3x3.

    Args:
      x: (B, h, w, C), h and w known.
      kernel: (k, k, C, 1).
      stride: in both directions.

    Returns:
      (B, ceil(h / stride), ceil(w / stride), C).
    """

    @tf.custom_gradient
    def convolved(x: Tensor, kernel: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
        def gradients(upstream: Tensor) -> tuple[Tensor, Tensor]:
            of_x = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, strides=strides, padding="SAME"
            )
            return of_x, _kernel_gradient(x, upstream, kernel.shape, stride)

        return tf.nn.depthwise_conv2d(x, kernel, strides, "SAME"), gradients

    strides = [1, stride, stride, 1]
    return convolved(x, kernel)


def _kernel_gradient(x: Tensor, upstream: Tensor, shape: Any, stride: int) -> Tensor:
    (up, down), (left, right) = (_padding(x.shape[side], shape[side - 1], stride) for side in (1, 2))
    padded = tf.pad(x, [[0, 0], [up, down], [left, right], [0, 0]])
    rows = []
    for top, height in _pieces(shape[0]):
        row = []
        for start, width in _pieces(shape[1]):
            # What the taps of this piece met.
            met = padded[
                :,
                top : top + (upstream.shape[1] - 1) * stride + height,
                start : start + (upstream.shape[2] - 1) * stride + width,
            ]
            row.append(
                tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
                    input=met,
                    filter_sizes=[height, width, *shape[2:]],
                    out_backprop=upstream,
                    strides=[1, stride, stride, 1],
                    padding="VALID",
                )
            )
        rows.append(tf.concat(row, axis=1))
    return tf.concat(rows, axis=0)


def _padding(side: int, k: int, stride: int) -> tuple[int, int]:
    """What "same" puts before and after a side."""
    total = max((-(-side // stride) - 1) * stride + k - side, 0)
    return total // 2, total - total // 2


def _pieces(k: int) -> Iterator[tuple[int, int]]:
    """First tap and number of taps of each piece."""
    for first in range(0, k, FAST):
        yield first, min(FAST, k - first)


@tf.function(autograph=False)
def normalize(x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm by the batch's own statistics, as depthwise 1x1 convolutions.

    oneDNN's batch norm has no fast kernel for AVX2 where channels come last (`benchmarks/operations.py`). The gradient
    is TensorFlow's. Mean and variance get none.

    Args:
      x: float32 (B, h, w, C), h, w and C known.
      gamma: (C,).
      beta: (C,).
      epsilon: added to the variance.

    Returns:
      What comes out, of the shape of `x`; mean (C,); variance (C,), the sum of squares divided by the number of values.
    """

    @tf.custom_gradient
    def normalized(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[tuple[Tensor, ...], Callable[..., Any]]:
        width, channels = x.shape[2:]
        count = tf.cast(tf.size(x) // channels, tf.float32)
        # Row by row first: a sum of millions in one go would lose digits.
        rows = tf.reshape(x, (-1, width, channels))
        ones = tf.ones((tf.shape(rows)[0], 1, width))
        mean = tf.reduce_sum(tf.matmul(ones, rows), axis=(0, 1)) / count
        squares = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=x, filter_sizes=[1, 1, channels, 1], out_backprop=x, strides=[1, 1, 1, 1], padding="VALID"
        )
        variance = tf.maximum(tf.reshape(squares, (channels,)) / count - mean * mean, 0.0)

        def gradients(upstream: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            of_x, of_gamma, of_beta, *_ = tf.raw_ops.FusedBatchNormGradV3(
                y_backprop=upstream,
                x=x,
                scale=gamma,
                reserve_space_1=mean,
                reserve_space_2=variance,
                reserve_space_3=[],
                epsilon=epsilon,
            )
            return of_x, of_gamma, of_beta

        scale = gamma * tf.math.rsqrt(variance + epsilon)
        scaled = tf.nn.depthwise_conv2d(x, tf.reshape(scale, (1, 1, channels, 1)), [1, 1, 1, 1], "VALID")
        return (tf.nn.bias_add(scaled, beta - mean * scale), mean, variance), gradients

    return normalized(x, gamma, beta)


@tf.function(autograph=False)
def upsample(x: Tensor, times: int) -> Tensor:
    """Every cell `times` x `times`; the gradient is their sum, by operations that XLA has too.

    Args:
      x: (B, h, w, C), h and w known.
      times: how often, in both directions.

    Returns:
      (B, h * times, w * times, C).
    """

    @tf.custom_gradient
    def repeated(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def gradient(upstream: Tensor) -> Tensor:
            # A mean times its number is the sum, by the fastest kernel that there is for one.
            return tf.nn.avg_pool2d(upstream, times, times, "VALID") * tf.cast(times**2, upstream.dtype)

        return tf.image.resize(x, (x.shape[1] * times, x.shape[2] * times), "nearest"), gradient

    return repeated(x)
