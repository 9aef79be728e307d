"""What tfmot puts around each layer in quantization-aware training: our quantizers, configs and scheme.

Weights are integers times shifts (distribution shift, arXiv 1901.01928); gradients pass the rounding straight through.
Activations are 8 bit over a range that is a moving average of what was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from micro_yolo.model import tfmot
from micro_yolo.model.keras import keras, tf
from micro_yolo.model.layers import BatchNormalization
from micro_yolo.model.quantization.shift import limits

Tensor = Any
Variables = dict[str, Any]

# A run of a few hundred steps must be able to follow; the start is calibrated. The same as for batch norm.
RANGE_MOMENTUM = 0.97
SIGMOID_HIGH = 255 / 256
# XNNPACK's integer LeakyReLU knows slopes in 1/256, and rounds x * 26 / 256 half up: of a number a trace smaller the
# nearest integer is the same for every 8-bit x, and never a matter of floating point.
SLOPE = 25.995 / 256


class Switch:
    """One for a model: whether ranges and batch-norm statistics are frozen. A variable, so no step is traced anew."""

    def __init__(self) -> None:
        self.frozen = tf.Variable(False, trainable=False, name="frozen")


class Shifts(tfmot.Quantizer):
    """A kernel as b-bit integers (VQK) times shifts (KDS): one a channel, or one a block of input channels.

    The shifts are trained as their logarithms: they stay positive, and a step of Adam, whose length is the learning
    rate, changes each by the same share. Their gradient is that of LSQ (Esser et al. 2020, arXiv 1902.08153,
    equation 3), which comes out of rounding straight through.

    Args:
      bits: 2 to 8.
      shape: of the kernel, (k, k, Cin, Cout), or (k, k, 1, C) for a depthwise one.
      block: input channels that share a shift; None: all that feed an output channel.
      frozen: the kernel's variable holds the integers, and they stay.
    """

    def __init__(self, bits: int, shape: Sequence[int], *, block: int | None, frozen: bool) -> None:
        self.low, self.high = limits(bits)
        self.shape, self.block, self.frozen = tuple(shape), block, frozen
        height, width, inputs, outputs = self.shape
        self.shifts_shape = (1, 1, 1, outputs) if block is None else (height, width, -(-inputs // block), outputs)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> Variables:
        """The trained logarithms of the shifts; one-dimensional, so that weight decay leaves them alone."""
        count = int(np.prod(self.shifts_shape))
        return {"log_kds": layer.add_weight("log_kds", shape=(count,), initializer="zeros", trainable=True)}

    def __call__(self, inputs: Tensor, training: Any, weights: Variables, **_: Any) -> Tensor:
        """The kernel that the convolution uses, VQK x KDS."""
        integers, shifts = self.parts(inputs, weights["log_kds"])
        return tf.reshape(integers * shifts, inputs.shape)

    def parts(self, kernel: Tensor, log_kds: Tensor) -> tuple[Tensor, Tensor]:
        """The integers as floats, and the shifts of the same shape."""
        kernel = tf.reshape(kernel, self.shape)
        shifts = tf.reshape(tf.exp(log_kds), self.shifts_shape)
        if self.block is None:
            shifts = tf.broadcast_to(shifts, self.shape)
        else:
            shifts = tf.repeat(shifts, self.block, axis=2)[:, :, : self.shape[2]]
        if self.frozen:
            # An average of equal integers is off by the last bit.
            return tf.round(kernel), shifts
        steps = tf.clip_by_value(kernel / shifts, self.low, self.high)
        return steps + tf.stop_gradient(tf.round(steps) - steps), shifts

    def get_config(self) -> dict[str, Any]:
        """Nothing: a quantizer travels with its `Config`."""
        return {}


class Stored(tfmot.Quantizer):
    """For TFLite: changes nothing of a kernel that is on its grid, and tells the converter that grid.

    The converter stores exactly the integers and, folded with batch norm, their scales.

    Args:
      shape: of the kernel, (k, k, Cin, Cout), or (k, k, 1, C) for a depthwise one.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> Variables:
        """`kds`, one for each output channel."""
        return {"kds": layer.add_weight("kds", shape=(self.shape[3],), initializer="ones", trainable=False)}

    def __call__(self, inputs: Tensor, training: Any, weights: Variables, **_: Any) -> Tensor:
        """The kernel."""
        kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            tf.reshape(inputs, self.shape), -127.0 * weights["kds"], 127.0 * weights["kds"], narrow_range=True
        )
        return tf.reshape(kernel, inputs.shape)

    def get_config(self) -> dict[str, Any]:
        """Nothing: a quantizer travels with its `Config`."""
        return {}


class Range(tfmot.Quantizer):
    """8 bits over a range that always holds 0: the moving average of the batches' lowest and highest values.

    What is joined by a concatenation shares one Range, which spans those of all: TFLite then joins integers as they
    are. Gradients pass as if nothing were clipped: what lies outside of a range may come back.

    Args:
      switch: of the model.
      positive: the values are, so 0 is their lowest.
      logits: the lowest and highest that the sigmoid which reads them tells apart; None where none does.
      exported: for TFLite, whose converter wants ends that nothing has to be computed for.
    """

    def __init__(self, switch: Switch, *, positive: bool, logits: tuple[float, float] | None, exported: bool) -> None:
        self.switch, self.positive, self.logits, self.exported = switch, positive, logits, exported
        self.members: list[Variables] = []

    def build(self, tensor_shape: Any, name: str, layer: Any) -> Variables:
        """`low` and `high` of what this layer puts out."""
        # As batch norm's statistics: each device follows its own images, and what is read of them is the mean.
        shared = {"synchronization": tf.VariableSynchronization.ON_READ, "aggregation": tf.VariableAggregation.MEAN}
        made = {
            key: layer.add_weight(f"{name}_{key}", shape=(), initializer=start, trainable=False, **shared)
            for key, start in (("low", "zeros"), ("high", "ones"))
        }
        self.members.append(made)
        return made

    def __call__(self, inputs: Tensor, training: Any, weights: Variables, **_: Any) -> Tensor:
        """The values at 8 bits; in training the range follows them first."""
        if self.exported:
            return _rounded(inputs, weights["low"], weights["high"])
        if training:
            tf.cond(self.switch.frozen, tf.no_op, lambda: self._follow(inputs, weights))
        return _rounded(inputs, *self.ends())

    def ends(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest value: at most 0, at least 0."""
        low, high = self.members[0]["low"], self.members[0]["high"]
        for member in self.members[1:]:
            low, high = tf.minimum(low, member["low"]), tf.maximum(high, member["high"])
        return tf.identity(low), tf.identity(high)

    def clipped(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The range for values seen from `low` to `high`."""
        low, high = tf.minimum(low, 0.0), tf.maximum(high, 0.0)
        if self.logits is None:
            return low, high
        lowest, highest = self.logits
        return tf.maximum(low, lowest), tf.minimum(high, highest)

    def get_config(self) -> dict[str, Any]:
        """Nothing: a quantizer travels with its `Config`."""
        return {}

    def _follow(self, inputs: Tensor, weights: Variables) -> tf.Operation:
        lowest = tf.constant(0.0) if self.positive else tf.reduce_min(inputs)
        for name, seen in zip(("low", "high"), self.clipped(lowest, tf.reduce_max(inputs)), strict=True):
            weights[name].assign(RANGE_MOMENTUM * weights[name] + (1 - RANGE_MOMENTUM) * seen)
        return tf.no_op()


class Fixed(tfmot.Quantizer):
    """8 bits over a known range, from 0 to `high`."""

    def __init__(self, high: float) -> None:
        self.high = high

    def build(self, tensor_shape: Any, name: str, layer: Any) -> Variables:
        """No variables."""
        return {}

    def __call__(self, inputs: Tensor, training: Any, weights: Variables, **_: Any) -> Tensor:
        """The values at 8 bits."""
        return _rounded(inputs, tf.constant(0.0), tf.constant(self.high))

    def get_config(self) -> dict[str, Any]:
        """Nothing: a quantizer travels with its `Config`."""
        return {}


class Config(tfmot.QuantizeConfig):
    """How one layer is quantized: its kernel, its output, or both."""

    def __init__(self, name: str, weights: Shifts | Stored | None, output: Range | Fixed | None) -> None:
        self.name, self.weights, self.output = name, weights, output

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Shifts | Stored]]:
        """The kernel and its quantizer."""
        return [] if self.weights is None else [(getattr(layer, _kernel(layer)), self.weights)]

    def set_quantize_weights(self, layer: Any, quantize_weights: list[Tensor]) -> None:
        """Have the layer compute with these."""
        if self.weights is not None:
            setattr(layer, _kernel(layer), quantize_weights[0])

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        """None: activations are layers of their own."""
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
        """Nothing to set."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """The quantizer of the output."""
        return [] if self.output is None else [self.output]

    def get_config(self) -> dict[str, Any]:
        """The layer's name."""
        return {"name": self.name}


class Norm(BatchNormalization):
    """Batch norm whose statistics a switch freezes: training then normalizes by them too, as the deployed model."""

    switch: Switch | None = None

    def call(self, inputs: Tensor, mask: Any = None, training: Any = None) -> Tensor:
        """As batch norm."""
        if self.switch is None or not training:
            return super().call(inputs, mask=mask, training=training)
        return tf.cond(
            self.switch.frozen,
            lambda: super(Norm, self).call(inputs, training=False),
            lambda: super(Norm, self).call(inputs, training=True),
        )


def _kernel(layer: Any) -> str:
    return "depthwise_kernel" if isinstance(layer, keras.layers.DepthwiseConv2D) else "kernel"


@tf.custom_gradient
def _rounded(x: Tensor, low: Tensor, high: Tensor) -> Any:
    y = tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=8)
    return y, lambda upstream: (upstream, None, None)
