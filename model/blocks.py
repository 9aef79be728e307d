"""What a row becomes: functions from tensor to tensor on one flat functional graph, Keras layers named `{row}_{part}`.

Only layers that tfmot's quantization-aware training takes and that become integer TFLite operators: no Lambda, no
tensor arithmetic, `ReLU(6.)` rather than an activation string.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from micro_yolo.model.keras import keras
from micro_yolo.model.spec import Row

Tensor = Any
layers = keras.layers

# Keras' 0.99 averages over some 500 steps; a small data set trained from scratch has few of them, and its evaluation
# would run on statistics of weights long gone.
BN_MOMENTUM = 0.97
# Keras' default, not darknet's 1e-5: the variance behind a quiet channel's depthwise convolution is tiny, and dividing
# by it would make an int8 scale explode.
BN_EPSILON = 1e-3
LEAKY_SLOPE = 0.1  # darknet's


def conv(x: Tensor, row: Row, act: str) -> Tensor:
    """K x k convolution, batch norm (or bias), activation. (B,h,w,c) -> (B,h/s,w/s,out)."""
    x = _conv(x, f"{row.name}_conv", row.out, row.k, row.s, bias=not row.bn)
    if row.bn:
        x = _bn(x, f"{row.name}_bn")
    return _act(x, f"{row.name}_act", act)


def separable(x: Tensor, row: Row, act: str) -> Tensor:
    """Depthwise separable convolution, Micro-YOLO's DSConv. (B,h,w,c) -> (B,h/s,w/s,out)."""
    x = _dw(x, row, act)
    x = _conv(x, f"{row.name}_pw", row.out)
    return _act(_bn(x, f"{row.name}_pw_bn"), f"{row.name}_pw_act", act)


def mbconv(x: Tensor, row: Row, act: str) -> Tensor:
    """Expansion, depthwise, gate, linear projection (MobileNetV2/V3; YOLO Nano's EP). (B,h,w,c) -> (B,h/s,w/s,out)."""
    entry = x
    if row.mid:
        x = _conv(x, f"{row.name}_expand", row.mid)
        x = _act(_bn(x, f"{row.name}_expand_bn"), f"{row.name}_expand_act", act)
    x = _dw(x, row, act)
    if row.se:
        x = _gate(x, row.name, row.se)
    x = _bn(_conv(x, f"{row.name}_project", row.out), f"{row.name}_project_bn")
    return layers.Add(name=f"{row.name}_add")([entry, x]) if row.skip else x


def pep(x: Tensor, row: Row, act: str) -> Tensor:
    """1x1 projection, then as `mbconv` (YOLO Nano, arXiv 1910.01271, section 3). (B,h,w,c) -> (B,h/s,w/s,out)."""
    entry = x
    x = _conv(x, f"{row.name}_pre", row.pre)
    x = _act(_bn(x, f"{row.name}_pre_bn"), f"{row.name}_pre_act", act)
    x = _conv(x, f"{row.name}_expand", row.mid)
    x = _act(_bn(x, f"{row.name}_expand_bn"), f"{row.name}_expand_act", act)
    x = _dw(x, row, act)
    x = _bn(_conv(x, f"{row.name}_project", row.out), f"{row.name}_project_bn")
    return layers.Add(name=f"{row.name}_add")([entry, x]) if row.skip else x


def fca(x: Tensor, row: Row, act: str) -> Tensor:
    """Fully connected attention: the gate alone (YOLO Nano). Keeps the shape."""
    return _gate(x, row.name, row.se)


def pool(x: Tensor, row: Row, act: str) -> Tensor:
    """Max-pool; "same" padding also at stride 1, where explicit padding leaves a float island in int8 files."""
    return layers.MaxPooling2D(row.k, row.s, padding="same", name=f"{row.name}_pool")(x)


def upsample(x: Tensor, row: Row, act: str) -> Tensor:
    """Every cell s x s times."""
    return layers.UpSampling2D(row.s, interpolation="nearest", name=f"{row.name}_up")(x)


def concat(xs: list[Tensor], row: Row, act: str) -> Tensor:
    """Channels side by side, in the order of `src`."""
    return layers.Concatenate(name=f"{row.name}_concat")(xs)


BLOCKS: dict[str, Callable[[Any, Row, str], Tensor]] = {
    "conv": conv,
    "separable": separable,
    "mbconv": mbconv,
    "pep": pep,
    "fca": fca,
    "pool": pool,
    "upsample": upsample,
    "concat": concat,
}


def _conv(x: Tensor, name: str, out: int, k: int = 1, s: int = 1, *, bias: bool = False) -> Tensor:
    return layers.Conv2D(out, k, s, padding="same", use_bias=bias, kernel_initializer="he_normal", name=name)(x)


def _dw(x: Tensor, row: Row, act: str) -> Tensor:
    # Keras takes all channels for a depthwise kernel's fan-in; an output sees k*k values.
    start = keras.initializers.TruncatedNormal(stddev=math.sqrt(2) / row.k)
    x = layers.DepthwiseConv2D(
        row.k, row.s, padding="same", use_bias=False, depthwise_initializer=start, name=f"{row.name}_dw"
    )(x)
    return _act(_bn(x, f"{row.name}_dw_bn"), f"{row.name}_dw_act", act)


def _gate(x: Tensor, name: str, squeeze: int) -> Tensor:
    """Squeeze-and-excitation (Hu et al. 2018): x times a 0..1 factor per channel, from x's channel means."""
    channels = x.shape[-1]
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_mean")(x)
    # Means of activations are not negative, so neither is the squeeze at the start. A squeeze as narrow as one channel
    # that starts below zero never learns, and its ReLU is a zero-range tensor that int8 runtimes refuse.
    start = keras.initializers.RandomUniform(0.0, 2.0 / channels)
    y = layers.Conv2D(squeeze, 1, use_bias=False, kernel_initializer=start, name=f"{name}_se_squeeze")(y)
    y = layers.ReLU(name=f"{name}_se_relu")(y)
    y = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_se_excite")(y)
    y = layers.Activation("sigmoid", name=f"{name}_se_gate")(y)
    return layers.Multiply(name=f"{name}_se_scale")([x, y])


def _bn(x: Tensor, name: str) -> Tensor:
    return layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=BN_EPSILON, name=name)(x)


def _act(x: Tensor, name: str, act: str) -> Tensor:
    if act == "relu6":
        return layers.ReLU(6.0, name=name)(x)
    if act == "relu":
        return layers.ReLU(name=name)(x)
    if act == "leaky":
        return layers.LeakyReLU(LEAKY_SLOPE, name=name)(x)
    return x
