"""A network as integers times shifts: wrapped for training, settled for the integer kernels, read back.

Weights of b bits as in distribution-shifting convolution (arXiv 1901.01928): VQK x KDS is the kernel, and the batch norm
behind it, folded, is CDS. Activations have 8 bits. The placement of their quantizers is that of TFLite's operators, so
that the converter finds a scale for every tensor and no two that must be equal and are not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from model.build import build
from model.keras import keras, quiet, tf
from model.quantizers import (
    SIGMOID_HIGH,
    SLOPE,
    Config,
    Fixed,
    Known,
    Norm,
    Range,
    Scheme,
    Shifts,
    Stored,
    Switch,
)
from model.shift import expand, fit, limits
from model.spec import INPUT, Arch

with quiet():
    import tensorflow_model_optimization as tfmot

layers = keras.layers
_CONVS = (layers.Conv2D, layers.DepthwiseConv2D)
_PASSING = (layers.MaxPooling2D, layers.UpSampling2D, layers.Concatenate)
_PIXELS = "rescale"
# Where a scale is smaller than this share of the sum it is computed from, runtimes refuse the operator.
_FINEST = 1 / 64
_MOST_BIAS = 2**30


@dataclass(frozen=True)
class Quantization:
    """How a network is quantized.

    Attributes:
      bits: of the weights, 2 to 8.
      train: "all" trains weights and shifts; "shifts" keeps the integers and trains shifts, batch norm and biases.
      block: input channels that share a shift; None for all, which is what a .tflite can hold.
      activations: whether they are quantized too, to 8 bits.
    """

    bits: int = 8
    train: Literal["all", "shifts"] = "all"
    block: int | None = None
    activations: bool = True

    def __post_init__(self) -> None:
        limits(self.bits)
        if self.train not in ("all", "shifts"):
            raise ValueError(f"train: unknown, got {self.train!r}; allowed: all, shifts")
        if self.block is not None and self.block < 1:
            raise ValueError(f"block: must be at least 1, got {self.block}; allowed: also None, for one shift a channel")


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
    return _apply(build(arch), how, pixels=1.0)


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
    for layer, shifts, kernel, variables in _kernels(model):
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
    ranges = {layer.name: (quantizer, own) for layer, quantizer, own in _ranges(model)}
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
    for layer, shifts, kernel, variables in _kernels(model):
        vqk, _ = shifts.parts(kernel, variables["log_kds"])
        kds = np.exp(variables["log_kds"].numpy()).reshape(shifts.shifts_shape)
        norm = graph.norm_behind(layer.name)
        cds = np.ones(shifts.shape[3], np.float32) if norm is None else _cds(norm)
        found[layer.name] = Kernel(vqk.numpy().astype(np.int8), kds, cds)
    return found


def plain(arch: Arch, model: keras.Model, how: Quantization) -> keras.Model:
    """The float network `build(arch)` with the weights of `wrapped`, kernels being VQK x KDS; no activation is rounded."""
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
    - A channel whose bias is more than 2^30 such steps, for its gamma is next to 0, loses its kernel, which added
      nothing, and gets a gamma that can count the bias.
    - A range that is empty, or finer than its convolution's sums by more than 64 times, is widened.
    """
    graph, ranges = Graph(model), {layer.name: (quantizer, own) for layer, quantizer, own in _ranges(model)}
    found = kernels(model)
    variables = {layer.name: (kernel, made, shifts) for layer, shifts, kernel, made in _kernels(model)}
    for layer in model.layers:
        if layer.name in found:
            name, kernel = layer.name, found[layer.name]
            given = graph.scale_into(name)
            units = given * kernel.kds.reshape(-1) * np.abs(kernel.cds)
            norm = graph.norm_behind(name)
            bias = _bias(norm, inner(layer))
            dead = np.abs(bias) > _MOST_BIAS * units
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
        raise ValueError(f"{arch.name}: an integer .tflite holds one shift a channel and integer activations, got {got}")
    made = _apply(build(arch, deploy=True, pixels=layers.Activation("linear", name=_PIXELS)), how, pixels=255.0)
    _copy_unquantized(arch, model, made)
    reads_image = {f"{row.name}_conv" for row in arch.rows if INPUT in arch.sources[row.name]}
    found = kernels(model)
    for layer, kernel, variables in _stored(made):
        kds = found[layer.name].kds / (255 if layer.name in reads_image else 1)
        kernel.assign((found[layer.name].vqk * kds).reshape(kernel.shape))
        variables["kds"].assign(kds.reshape(-1))
    ends = {layer.name: quantizer.ends() for layer, quantizer, _ in _ranges(model)}
    for layer, _, own in _ranges(made):
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


def switches(model: keras.Model) -> list[Switch]:
    """The switch of `wrapped`; none if there is nothing to freeze."""
    found = [quantizer.switch for _, quantizer, _ in _ranges(model)]
    found += [layer.switch for layer in map(inner, model.layers) if isinstance(layer, Norm) and layer.switch]
    return found[:1]


def inner(layer: Any) -> Any:
    """The layer inside of tfmot's wrapper, or the layer itself."""
    return layer.layer if hasattr(layer, "quantize_config") else layer


class Graph:
    """Which layer reads which, by names, wrapped or not."""

    def __init__(self, model: keras.Model) -> None:
        self.layers = {layer.name: layer for layer in model.layers}
        # Not layer.input: tfmot hands unquantized layers from copy to copy, and they speak of the first.
        nodes = [node for level in model._nodes_by_depth.values() for node in level]
        read = {node.layer.name: [parent.layer.name for parent in node.parent_nodes] for node in nodes}
        self.before = {name: read[name] for name in self.layers}
        self.after: dict[str, list[str]] = {name: [] for name in self.before}
        for name, sources in self.before.items():
            for source in sources:
                self.after[source].append(name)
        self.outputs = set(model.output_names)

    def kind(self, name: str) -> Any:
        """The layer called `name`, unwrapped."""
        return inner(self.layers[name])

    def only_reader(self, name: str) -> Any:
        """The one layer that reads `name`, unwrapped; None if there are several or none."""
        readers = self.after[name]
        return self.kind(readers[0]) if len(readers) == 1 and name not in self.outputs else None

    def norm_behind(self, name: str) -> Any:
        """The batch norm that reads a convolution."""
        reader = self.only_reader(name)
        return reader if isinstance(reader, layers.BatchNormalization) else None

    def sources(self, name: str) -> Iterator[str]:
        """The layers whose values `name` is made of, past layers that only hand values on."""
        if isinstance(self.kind(name), _PASSING):
            for source in self.before[name]:
                yield from self.sources(source)
        else:
            yield name

    def quantizes(self, name: str) -> bool:
        """Whether TFLite has an integer tensor where `name` puts out: not if that is fused into what comes next."""
        layer, reader = self.kind(name), self.only_reader(name)
        if isinstance(layer, _CONVS):
            return not isinstance(reader, layers.BatchNormalization | layers.ReLU)
        if isinstance(layer, layers.BatchNormalization):
            return not isinstance(reader, layers.ReLU)
        return not isinstance(layer, (*_PASSING, layers.InputLayer))

    def range_behind(self, name: str) -> str:
        """The layer where the values of a convolution become integers."""
        while not self.quantizes(name):
            (name,) = self.after[name]
        return name

    def scale_into(self, name: str) -> float:
        """Scale of the integers that a convolution of a quantized model reads."""
        source = next(self.sources(self.before[name][0]))
        quantizer = self.layers[source].quantize_config.output
        low, high = (0.0, quantizer.high) if isinstance(quantizer, Fixed) else map(float, quantizer.ends())
        return float(np.float32(high - low) / np.float32(255))


def _apply(model: keras.Model, how: Quantization, *, pixels: float) -> keras.Model:
    """`model` through tfmot, its layers named as before. Without the weights of `model`."""
    exported = pixels == 255
    switch = Switch()
    configs = _configs(model, how, switch, pixels=pixels, exported=exported)

    def annotate(layer: Any) -> Any:
        kind = Norm if isinstance(layer, layers.BatchNormalization) else type(layer)
        changed = {"alpha": SLOPE} if isinstance(layer, layers.LeakyReLU) else {}
        copy = kind.from_config(layer.get_config() | changed)
        if layer.name not in configs:
            return copy
        return tfmot.quantization.keras.quantize_annotate_layer(copy, configs[layer.name])

    with contextlib.ExitStack() as stack:
        stack.enter_context(keras.utils.custom_object_scope({"Config": Known(configs), "Norm": Norm}))
        stack.enter_context(tfmot.quantization.keras.quantize_scope())
        # Else each copy on the way has both branches, of training and of inference, at every quantizer.
        stack.enter_context(keras.backend.learning_phase_scope(0))
        annotated = keras.models.clone_model(model, clone_function=annotate)
        made = tfmot.quantization.keras.quantize_apply(annotated, Scheme(), quantized_layer_name_prefix="")
    for layer in made.layers:
        if isinstance(inner(layer), Norm) and not exported:
            inner(layer).switch = switch
    for layer, shifts, kernel, _ in _kernels(made):
        if shifts.frozen:
            layer._trainable_weights = [weight for weight in layer._trainable_weights if weight is not kernel]
            layer._non_trainable_weights.append(kernel)
    return made


def _configs(
    model: keras.Model, how: Quantization, switch: Switch, *, pixels: float, exported: bool
) -> dict[str, Config]:
    graph = Graph(model)
    groups = _groups(graph)
    ranges: dict[str, Range] = {}
    configs = {}
    for name in graph.layers:
        layer = graph.kind(name)
        weights = _weight_quantizer(layer, how, exported=exported) if isinstance(layer, _CONVS) else None
        output: Range | Fixed | None = None
        if how.activations and graph.quantizes(name):
            if name == _PIXELS:
                output = Fixed(pixels)
            elif _is_sigmoid(layer):
                output = Fixed(SIGMOID_HIGH)
            else:
                logits = name in graph.outputs or _is_sigmoid(graph.only_reader(name))
                fresh = Range(switch, positive=isinstance(layer, layers.ReLU), logits=logits, exported=exported)
                output = ranges.setdefault(groups[name], fresh)
        if weights is not None or output is not None:
            configs[name] = Config(name, weights, output)
    return configs


def _groups(graph: Graph) -> dict[str, str]:
    """Layer name -> a name for all whose integers must have one scale.

    What some concatenation joins, and what a LeakyReLU reads and puts out: its multiplier is too coarse for any other.
    """
    group = {name: name for name in graph.layers}
    for name in graph.layers:
        if isinstance(graph.kind(name), layers.Concatenate | layers.LeakyReLU):
            joined = {group[source] for before in (name, *graph.before[name]) for source in graph.sources(before)}
            first = min(joined)
            group = {other: first if mark in joined else mark for other, mark in group.items()}
    return group


def _weight_quantizer(layer: Any, how: Quantization, *, exported: bool) -> Shifts | Stored:
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    shape = tuple(layer.depthwise_kernel.shape if depthwise else layer.kernel.shape)
    if depthwise:
        shape = (*shape[:2], 1, shape[2])
    if exported:
        return Stored(shape)
    # A depthwise kernel has one input channel, so nothing to make blocks of.
    return Shifts(how.bits, shape, block=None if depthwise else how.block, frozen=how.train == "shifts")


def _is_sigmoid(layer: Any) -> bool:
    return isinstance(layer, layers.Activation) and layer.get_config()["activation"] == "sigmoid"


def _kernels(model: keras.Model) -> Iterator[tuple[Any, Shifts, Any, dict[str, Any]]]:
    """Wrapper, quantizer, kernel variable and shift variables of each convolution."""
    for layer in model.layers:
        for kernel, quantizer, variables in getattr(layer, "_weight_vars", ()):
            if isinstance(quantizer, Shifts):
                yield layer, quantizer, kernel, variables


def _stored(model: keras.Model) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    for layer in model.layers:
        for kernel, quantizer, variables in getattr(layer, "_weight_vars", ()):
            if isinstance(quantizer, Stored):
                yield layer, kernel, variables


def _ranges(model: keras.Model) -> Iterator[tuple[Any, Range, dict[str, Any]]]:
    """Wrapper, quantizer and its own variables of each output with a learned range."""
    for layer in model.layers:
        quantizer = layer.quantize_config.output if hasattr(layer, "quantize_config") else None
        if isinstance(quantizer, Range):
            yield layer, quantizer, layer._output_quantizer_vars


def _copy_unquantized(arch: Arch, source: keras.Model, target: keras.Model) -> None:
    """Biases and batch norms by name; kernels are for the caller."""
    theirs = {layer.name: inner(layer) for layer in source.layers}
    for layer in map(inner, target.layers):
        if not isinstance(layer, (*_CONVS, layers.BatchNormalization)):
            continue
        other = theirs.get(layer.name)
        keys = ("gamma", "beta", "moving_mean", "moving_variance", "bias")
        pairs = [(getattr(layer, key, None), getattr(other, key, None)) for key in keys]
        if other is None or any(getattr(a, "shape", None) != getattr(b, "shape", None) for a, b in pairs):
            raise ValueError(f"{arch.name}: the weights do not fit the table at layer {layer.name}")
        for mine, given in pairs:
            if mine is not None:
                mine.assign(given)


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
