"""A network as integers times shifts: wrapped for training, settled for the integer kernels, read back.

Weights of b bits as in distribution-shifting convolution (arXiv 1901.01928): VQK x KDS is the kernel, and the batch
norm behind it, folded, is CDS. Activations have 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.build import build
from model.graph import CONVS, Graph, inner
from model.keras import keras, tf
from model.quantizers import Fixed, Range
from model.shift import expand, fit
from model.spec import INPUT, Arch
from model.wrapping import (
    PIXELS,
    Quantization,
    learned_ranges,
    shifted_kernels,
    stored_kernels,
    switches,
    wrap,
)

layers = keras.layers
# Where a scale is smaller than this share of the sum it is computed from, runtimes refuse the operator.
_FINEST = 1 / 64
_MOST_BIAS = 2**30


@dataclass(frozen=True)
class Kernel:
    """A convolution as its file holds it: the kernel is vqk x sign(cds), its scales are kds x |cds|.

    Attributes:
      vqk: int8, (k, k, Cin, Cout), or (k, k, 1, C) for a depthwise convolution.
      kds: float32, (1, 1, 1, Cout), or (k, k, ceil(Cin / block), Cout).
      cds: float32 (Cout,), gamma / sqrt(variance + epsilon); 1 without batch norm.
    """

    vqk: np.ndarray
    kds: np.ndarray
    cds: np.ndarray


def wrapped(arch: Arch, how: Quantization) -> keras.Model:
    """The network of a table as it is trained to be quantized: pixels 0..255 to logits, as `build`. Fresh weights."""
    return wrap(build(arch), how, pixels=1.0)


def begin(arch: Arch, trained: keras.Model, how: Quantization, method: str = "l2") -> keras.Model:
    """`wrapped` with the weights of a trained float model, and shifts fitted to its kernels.

    Fitted to kernels before batch norm is folded: folding multiplies a channel's weights and its shift alike, so the
    integers are the same, and the shift is that of the kernel which training goes on with.

    Args:
      arch: the table.
      trained: `build` of it, with weights.
      how: bits, blocks, what is trained.
      method: "l2" or "kl", see `model.shift.fit`.

    Raises:
      ValueError: `trained` is not of this table.
    """
    model = wrapped(arch, how)
    _copy_unquantized(arch, trained, model)
    theirs = {layer.name: layer for layer in trained.layers}
    for layer, shifts, kernel, variables in shifted_kernels(model):
        weights = theirs[layer.name].get_weights()[0]
        vqk, kds = fit(weights.reshape(shifts.shape), how.bits, block=shifts.block, method=method)
        kernel.assign(np.reshape(vqk.astype(np.float32) if shifts.frozen else weights, kernel.shape))
        variables["log_kds"].assign(np.log(kds).reshape(-1))
    return model


def calibrate(model: keras.Model, trained: keras.Model, batches: Sequence[np.ndarray]) -> None:
    """Start the ranges of `wrapped` with what the float model's activations span, the mean over the batches.

    Args:
      model: of `begin`.
      trained: the float model.
      batches: each uint8 or float (B, h, w, 3), pixels 0..255.

    Raises:
      ValueError: no batches.
    """
    if not len(batches):
        raise ValueError("calibrate: needs at least one batch of images, got none")
    ranges = {layer.name: (quantizer, own) for layer, quantizer, own in learned_ranges(model)}
    if not ranges:
        return
    names = list(ranges)
    outputs = keras.Model(trained.input, [trained.get_layer(name).output for name in names])

    @tf.function(reduce_retracing=True)
    def ends(images: Any) -> Any:
        values = outputs(images, training=False)
        return [(tf.reduce_min(value), tf.reduce_max(value)) for value in values]

    seen = np.mean([np.array(ends(tf.constant(batch, tf.float32))) for batch in batches], axis=0)
    for name, (low, high) in zip(names, seen, strict=True):
        quantizer, own = ranges[name]
        for key, end in zip(("low", "high"), quantizer.clipped(low, high), strict=True):
            own[key].assign(end)


def kernels(model: keras.Model) -> dict[str, Kernel]:
    """Layer name -> integers and shifts of `wrapped`, as they are now."""
    graph, found = Graph(model), {}
    for layer, shifts, kernel, variables in shifted_kernels(model):
        vqk, _ = shifts.parts(kernel, variables["log_kds"])
        kds = np.exp(variables["log_kds"].numpy()).reshape(shifts.shifts_shape)
        norm = graph.norm_behind(layer.name)
        cds = np.ones(shifts.shape[3], np.float32) if norm is None else _cds(norm)
        found[layer.name] = Kernel(vqk.numpy().astype(np.int8), kds, cds)
    return found


def plain(arch: Arch, model: keras.Model, how: Quantization) -> keras.Model:
    """The float network `build(arch)` with the weights of `wrapped`, kernels being VQK x KDS; no activation rounded."""
    made = build(arch)
    _copy_unquantized(arch, model, made)
    for name, kernel in kernels(model).items():
        layer = made.get_layer(name)
        block = None if isinstance(layer, layers.DepthwiseConv2D) else how.block
        value = kernel.vqk * expand(kernel.kds, kernel.vqk.shape, block)
        layer.set_weights([value.reshape(layer.get_weights()[0].shape), *layer.get_weights()[1:]])
    return made


def settle(model: keras.Model) -> None:
    """Move what TFLite's integer kernels cannot hold onto what they can, in place; for a model that is done training.

    - A bias is a whole number of (scale of the input x scale of the kernel). At 4 bits that step is coarse enough to be
      seen in the output. It goes into beta, and the mean becomes 0.
    - A channel whose bias is 2^30 such steps or more, for its gamma is 0 or next to it, loses its kernel, which added
      nothing, and gets a gamma that can count the bias.
    - A range that is empty, or finer than its convolution's sums by more than 64 times, is widened.
    """
    graph, ranges = Graph(model), {layer.name: (quantizer, own) for layer, quantizer, own in learned_ranges(model)}
    found = kernels(model)
    variables = {layer.name: (kernel, made, shifts) for layer, shifts, kernel, made in shifted_kernels(model)}
    for layer in model.layers:
        if layer.name in found:
            name, kernel = layer.name, found[layer.name]
            given = _scale_into(graph, name)
            units = given * kernel.kds.reshape(-1) * np.abs(kernel.cds)
            norm = graph.norm_behind(name)
            bias = _bias(norm, inner(layer))
            dead = np.abs(bias) >= _MOST_BIAS * units
            if dead.any() and norm is not None:
                weight, _, shifts = variables[name]
                weight.assign(np.where(dead, 0, weight.numpy().reshape(shifts.shape)).reshape(weight.shape))
                least = np.maximum(np.abs(bias), 1.0) / _MOST_BIAS / (given * kernel.kds.reshape(-1))
                gamma = 2 * least * np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
                norm.gamma.assign(np.where(dead, gamma, norm.gamma.numpy()))
                units = given * kernel.kds.reshape(-1) * np.abs(_cds(norm))
            bias = np.round(bias / units) * units
            if norm is not None:
                norm.moving_mean.assign(np.zeros_like(bias))
                norm.beta.assign(bias)
            elif inner(layer).use_bias:
                inner(layer).bias.assign(bias)
            target = graph.range_behind(name)
            if target in ranges:
                _widen(*ranges[target], 255 * _FINEST * float(units.max()))
        if layer.name in ranges:
            _widen(*ranges[layer.name], 0.0)


def deployable(arch: Arch, model: keras.Model, how: Quantization) -> keras.Model:
    """The model to convert: integer pixels in, sigmoid outputs at 8 bits; see `model.build.deployable`.

    Args:
      arch: the table.
      model: of `wrapped`, settled.
      how: what it was wrapped with.

    Raises:
      ValueError: blocks, or activations in float, which an integer .tflite has no place for.
    """
    if how.block is not None or not how.activations:
        got = f"block {how.block}" if how.block is not None else "activations in float"
        raise ValueError(
            f"{arch.name}: an integer .tflite holds one shift a channel and integer activations, got {got}"
        )
    made = wrap(build(arch, deploy=True, pixels=layers.Activation("linear", name=PIXELS)), how, pixels=255.0)
    _copy_unquantized(arch, model, made)
    reads_image = {f"{row.name}_conv" for row in arch.rows if INPUT in arch.sources[row.name]}
    found = kernels(model)
    for layer, kernel, variables in stored_kernels(made):
        kds = found[layer.name].kds / (255 if layer.name in reads_image else 1)
        kernel.assign((found[layer.name].vqk * kds).reshape(kernel.shape))
        variables["kds"].assign(kds.reshape(-1))
    ends = {layer.name: quantizer.ends() for layer, quantizer, _ in learned_ranges(model)}
    for layer, _, own in learned_ranges(made):
        for key, end in zip(("low", "high"), ends[layer.name], strict=True):
            own[key].assign(end)
    return made


class Freeze(keras.callbacks.Callback):
    """From an epoch on, ranges and batch-norm statistics stay as they are.

    Args:
      model: of `wrapped`.
      first: that epoch, counted as the trainer does.
    """

    def __init__(self, model: keras.Model, first: int) -> None:
        super().__init__()
        self.wrapped, self.first = model, first

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Freeze or not."""
        for switch in switches(self.wrapped):
            switch.frozen.assign(epoch >= self.first)


def _copy_unquantized(arch: Arch, source: keras.Model, target: keras.Model) -> None:
    """Biases and batch norms by name; kernels are for the caller."""
    theirs = {layer.name: inner(layer) for layer in source.layers}
    for layer in map(inner, target.layers):
        if not isinstance(layer, (*CONVS, layers.BatchNormalization)):
            continue
        other = theirs.get(layer.name)
        keys = ("gamma", "beta", "moving_mean", "moving_variance", "bias")
        pairs = [(getattr(layer, key, None), getattr(other, key, None)) for key in keys]
        if other is None or any(getattr(a, "shape", None) != getattr(b, "shape", None) for a, b in pairs):
            raise ValueError(f"{arch.name}: the weights do not fit the table at layer {layer.name}")
        for mine, given in pairs:
            if mine is not None:
                mine.assign(given)


def _scale_into(graph: Graph, name: str) -> float:
    """Scale of the integers that the convolution `name` reads."""
    source = next(graph.sources(graph.before[name][0]))
    quantizer = graph.layers[source].quantize_config.output
    low, high = (0.0, quantizer.high) if isinstance(quantizer, Fixed) else map(float, quantizer.ends())
    return float(np.float32(high - low) / np.float32(255))


def _cds(norm: Any) -> np.ndarray:
    return (norm.gamma / tf.sqrt(norm.moving_variance + norm.epsilon)).numpy()


def _bias(norm: Any, layer: Any) -> np.ndarray:
    if norm is not None:
        return norm.beta.numpy() - norm.moving_mean.numpy() * _cds(norm)
    return layer.bias.numpy() if layer.use_bias else np.zeros((), np.float32)


def _widen(quantizer: Range, own: dict[str, Any], least: float) -> None:
    low, high = (float(end) for end in quantizer.ends())
    least = least or (1.0 if high <= low else 0.0)
    if high - low < least:
        own["high"].assign(low + least)
