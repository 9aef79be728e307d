"""Operations whose gradient TensorFlow computes slowly on CPUs, or not at all in XLA, with a gradient of our own.

What they give is TensorFlow's own; gradients agree to float rounding. Each is a `tf.function`: `tf.custom_gradient`
keeps the graph it is traced in until the process ends, which would otherwise be that of the whole training step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from micro_yolo.model.keras import tf

Tensor = Any
# oneDNN has fast kernels for the gradient of depthwise kernels up to 3x3; beyond, an image as large as 80x80 is worked
# on by one core (`benchmarks/gradients.py`).
FAST = 3


@tf.function
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


@tf.function
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
