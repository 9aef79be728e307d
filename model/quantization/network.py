"""A network as integers times shifts: wrapped for training, read back, made ready to convert.

Weights of b bits as in distribution-shifting convolution (arXiv 1901.01928): VQK x KDS is the kernel, and the batch
norm behind it, folded, is CDS. Activations have 8 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from micro_yolo.model.build import Network, build, reads_image
from micro_yolo.model.keras import keras, tf, unswept
from micro_yolo.model.quantization.graph import CONVS, Graph, inner
from micro_yolo.model.quantization.shift import expand, fit
from micro_yolo.model.quantization.wrap import (
    PIXELS,
    Quantization,
    learned_ranges,
    shifted_kernels,
    stored_kernels,
    switches,
    wrap,
)
from micro_yolo.model.spec import Arch

layers = keras.layers


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


def wrapped(arch: Arch, how: Quantization) -> Network:
    """The network of a table as it is trained to be quantized: pixels 0..255 to logits, as `build`. Fresh weights."""
    return wrap(build(arch), how, pixels=1.0)


def begin(arch: Arch, trained: keras.Model, how: Quantization, method: str = "l2") -> Network:
    """`wrapped` with the weights of a trained float model, and shifts fitted to its kernels.

    Fitted to kernels before batch norm is folded: folding multiplies a channel's weights and its shift alike, so the
    integers are the same, and the shift is that of the kernel which training goes on with.

    Args:
      arch: the table.
      trained: `build` of it, with weights.
      how: bits, blocks, what is trained.
      method: "l2" or "kl", see `model.quantization.shift.fit`.

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


@unswept()
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

    @tf.function(reduce_retracing=True, autograph=False)
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
        cds = np.ones(shifts.shape[3], np.float32) if norm is None else cds_of(norm)
        found[layer.name] = Kernel(vqk.numpy().astype(np.int8), kds, cds)
    return found


def plain(arch: Arch, model: keras.Model, how: Quantization) -> Network:
    """The float network `build(arch)` with the weights of `wrapped`, kernels being VQK x KDS; no activation rounded."""
    made = build(arch)
    _copy_unquantized(arch, model, made)
    for name, kernel in kernels(model).items():
        layer = made.get_layer(name)
        block = None if isinstance(layer, layers.DepthwiseConv2D) else how.block
        value = kernel.vqk * expand(kernel.kds, kernel.vqk.shape, block)
        layer.set_weights([value.reshape(layer.get_weights()[0].shape), *layer.get_weights()[1:]])
    return made


def deployable(arch: Arch, model: keras.Model, how: Quantization) -> Network:
    """The model to convert: integer pixels in, sigmoid outputs at 8 bits; see `model.build.deployable`.

    Args:
      arch: the table.
      model: of `wrapped`, settled by `model.quantization.settle`.
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
    found, first = kernels(model), reads_image(arch)
    for layer, kernel, variables in stored_kernels(made):
        kds = found[layer.name].kds / (255 if layer.name in first else 1)
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


def cds_of(norm: Any) -> np.ndarray:
    """The channel distribution shift that a batch norm is, (C,)."""
    return (norm.gamma / tf.sqrt(norm.moving_variance + norm.epsilon)).numpy()
