"""A network through tfmot: which layers are quantized, how, and which share a range.

The placement of the quantizers is that of TFLite's operators, so that the converter finds a scale for every tensor and
no two that must be equal and are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from micro_yolo.model import tfmot
from micro_yolo.model.build import Network
from micro_yolo.model.heads.part import LOGITS
from micro_yolo.model.keras import fix, keras, making, tf
from micro_yolo.model.quantization import shift
from micro_yolo.model.quantization.graph import CONVS, Graph, inner
from micro_yolo.model.quantization.rounding import (
    SIGMOID_HIGH,
    SLOPE,
    Config,
    Fixed,
    Norm,
    Range,
    Shifts,
    Stored,
    Switch,
)

layers = keras.layers
# The layer in front of all, whose output are the network's pixels.
PIXELS = "rescale"


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
        shift.limits(self.bits)
        if self.train not in ("all", "shifts"):
            raise ValueError(f"train: unknown, got {self.train!r}; allowed: all, shifts")
        if self.block is not None and self.block < 1:
            raise ValueError(f"block: must be at least 1, got {self.block}; allowed: also None, one a channel")


@making
def wrap(model: Network, how: Quantization, *, pixels: float) -> Network:
    """`model` through tfmot, its layers named as before, and most of them the same: `model` itself is done with."""
    exported = pixels == 255
    switch = Switch()
    configs = _configs(model, how, switch, pixels=pixels, exported=exported)

    def quantized(layer: Any) -> Any:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.input_shape
            layer = Norm.from_config(layer.get_config())
            # The wrapper counts among its own weights those that its layer has by then.
            with tf.name_scope(layer.name):
                layer.build(shape)
        elif isinstance(layer, layers.LeakyReLU):
            layer = layers.LeakyReLU.from_config(layer.get_config() | {"alpha": SLOPE})
        if layer.name not in configs:
            return layer
        return tfmot.QuantizeWrapper(layer, configs[layer.name], name_prefix="")

    # Not tfmot's quantize_apply: it does the same to a copy of a copy of a copy, each built anew.
    # Nor at each quantizer both branches, of training and of inference.
    with keras.backend.learning_phase_scope(0):
        made = keras.models.clone_model(model, clone_function=quantized)
    made = model.around(made)
    for layer in made.layers:
        if isinstance(inner(layer), Norm) and not exported:
            inner(layer).switch = switch
    for layer, shifts, kernel, _ in shifted_kernels(made):
        if shifts.frozen:
            fix(layer, kernel)
    return made


def _configs(model: Network, how: Quantization, switch: Switch, *, pixels: float, exported: bool) -> dict[str, Config]:
    graph = Graph(model)
    groups = _groups(graph)
    # By the convolution, which is the output itself, or read by the sigmoid that is.
    limits = {
        graph.before[name][0] if _is_sigmoid(graph.kind(name)) else name: each
        for name, each in zip(model.output_names, model.layout.limits, strict=True)
    }
    ranges: dict[str, Range] = {}
    configs = {}
    for name in graph.layers:
        layer = graph.kind(name)
        weights = _weight_quantizer(layer, how, exported=exported) if isinstance(layer, CONVS) else None
        output: Range | Fixed | None = None
        if how.activations and graph.quantizes(name):
            if name == PIXELS:
                output = Fixed(pixels)
            elif _is_sigmoid(layer):
                output = Fixed(SIGMOID_HIGH)
            else:
                logits = limits.get(name, LOGITS if _is_sigmoid(graph.only_reader(name)) else None)
                shared = ranges.setdefault(groups[name], Range(switch, positive=True, logits=logits, exported=exported))
                shared.positive &= isinstance(layer, layers.ReLU)
                output = shared
        if weights is not None or output is not None:
            configs[name] = Config(name, weights, output)
    return configs


def _groups(graph: Graph) -> dict[str, str]:
    """Layer name -> a name for all whose integers must have one scale.

    What some concatenation joins, and what a LeakyReLU reads and puts out: its multiplier is too coarse for any other.
    What a layer that only hands values on reads and puts out.
    """
    group = {name: name for name in graph.layers}
    for name in graph.layers:
        if isinstance(graph.kind(name), layers.Concatenate | layers.LeakyReLU) or graph.is_joined_and_read(name):
            read = {group[source] for before in (name, *graph.before[name]) for source in graph.sources(before)}
            joined = {group[name], *read}
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


def shifted_kernels(model: keras.Model) -> Iterator[tuple[Any, Shifts, Any, dict[str, Any]]]:
    """Wrapper, quantizer, kernel variable and shift variables of each convolution."""
    for layer in model.layers:
        for kernel, quantizer, variables in tfmot.weight_quantizers(layer):
            if isinstance(quantizer, Shifts):
                yield layer, quantizer, kernel, variables


def stored_kernels(model: keras.Model) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    """Wrapper, kernel variable and scale variables of each convolution of a model to convert."""
    for layer in model.layers:
        for kernel, quantizer, variables in tfmot.weight_quantizers(layer):
            if isinstance(quantizer, Stored):
                yield layer, kernel, variables


def learned_ranges(model: keras.Model) -> Iterator[tuple[Any, Range, dict[str, Any]]]:
    """Wrapper, quantizer and its own variables of each output with a learned range."""
    for layer in model.layers:
        quantizer = layer.quantize_config.output if hasattr(layer, "quantize_config") else None
        if isinstance(quantizer, Range):
            yield layer, quantizer, tfmot.output_variables(layer)


def switches(model: keras.Model) -> list[Switch]:
    """The switch of `wrapped`; none if there is nothing to freeze."""
    found = [quantizer.switch for _, quantizer, _ in learned_ranges(model)]
    found += [layer.switch for layer in map(inner, model.layers) if isinstance(layer, Norm) and layer.switch]
    return found[:1]
