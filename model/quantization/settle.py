"""A network that is done training, moved onto what TFLite's integer kernels can hold, and compute without doubt.

An integer kernel multiplies a whole number N by the ratio M of two scales and rounds. Where N x M is as good as halfway
between two integers, the last bit decides, and floats, such as those of training, decide otherwise. Few values are so
close, but the layers behind carry one difference on to nearly all. So each ratio is moved, by a thousandth at most, to
p / q with odd q: then N x p / q is never halfway, and always at least 1 / 2q away from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micro_yolo.model.keras import keras
from micro_yolo.model.quantization.graph import Graph, inner
from micro_yolo.model.quantization.network import cds_of, kernels
from micro_yolo.model.quantization.rounding import Fixed, Range
from micro_yolo.model.quantization.wrap import learned_ranges, shifted_kernels

layers = keras.layers
# Where a scale is smaller than this share of the sum it is computed from, runtimes refuse the operator.
_FINEST = 1 / 64
_MOST_BIAS = 2**30
_TOLERANCE = 1e-3
_LARGEST_P = 512
# Of both ratios of an addition. TFLite's kernels know them to some 20 bits.
_SUM_Q = 1001

# Layer name -> quantizer of its output, and its own variables.
Ranges = dict[str, tuple[Range, dict[str, Any]]]


def settle(model: keras.Model) -> None:
    """Move what TFLite's integer kernels cannot hold onto what they can, in place; for a model that is done training.

    - A bias is a whole number of (scale of the input x scale of the kernel). At 4 bits that step is coarse enough to be
      seen in the output. It goes into beta, and the mean becomes 0.
    - A channel whose bias is 2^30 such steps or more, for its gamma is 0 or next to it, loses its kernel, which added
      nothing, and gets a gamma that can count the bias.
    - A range that is empty, or finer than its convolution's sums by more than 64 times, is widened.
    - The ratio of the scales around each operator becomes p / q with odd q, by ranges, gammas, or shifts.

    Args:
      model: of `model.quantization.network.wrapped`.
    """
    graph = Graph(model)
    ranges: Ranges = {layer.name: (quantizer, own) for layer, quantizer, own in learned_ranges(model)}
    _revive(model, graph)
    _widen_all(model, graph, ranges)
    _settle_ranges(graph, ranges)
    _settle_convolutions(model, graph)


def odd(ratios: np.ndarray) -> np.ndarray:
    """Near each positive number p / q with odd q: the smallest p up to 512 that comes within 1e-3, else the nearest.

    For example M = 1/2 and N = 5: N x M is 2.5, and whether that becomes 2 or 3 is up to the rounding rule, or to the
    last bit of an M such as 0.49999997. 1/2 moves to 500/1001, the first within a thousandth: then N x M is 2500/1001 =
    2.4975, whichever way it is computed, and of every N some k/1001, at least 1/2002 away from the next half.
    """
    p = np.arange(1, _LARGEST_P + 1)[:, None]
    wanted = np.asarray(ratios, np.float64).reshape(1, -1)
    q = 2 * np.maximum(np.rint((p / wanted - 1) / 2), 0) + 1
    errors = np.abs(p / q / wanted - 1)
    chosen = np.where((errors <= _TOLERANCE).any(0), (errors <= _TOLERANCE).argmax(0), errors.argmin(0))
    return ((chosen + 1) / np.take_along_axis(q, chosen[None], 0)[0]).reshape(np.shape(ratios))


def _sum_ratio(ratio: float) -> float:
    """What the ratio of what an addition reads to what it puts out becomes."""
    return max(round(ratio * _SUM_Q), 1) / _SUM_Q


def _revive(model: keras.Model, graph: Graph) -> None:
    found = kernels(model)
    for layer, shifts, weight, _ in shifted_kernels(model):
        kernel, norm = found[layer.name], graph.norm_behind(layer.name)
        step = _scale(graph, graph.before[layer.name][0]) * kernel.kds.reshape(-1)
        bias = _bias(norm, inner(layer))
        dead = np.abs(bias) >= _MOST_BIAS * step * np.abs(kernel.cds)
        if norm is None or not dead.any():
            continue
        weight.assign(np.where(dead, 0, weight.numpy().reshape(shifts.shape)).reshape(weight.shape))
        least = np.maximum(np.abs(bias), 1.0) / _MOST_BIAS / step
        gamma = 2 * least * np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
        # The bias is what it was: the mean no longer counts.
        norm.moving_mean.assign(np.where(dead, 0, norm.moving_mean.numpy()))
        norm.beta.assign(np.where(dead, bias, norm.beta.numpy()))
        norm.gamma.assign(np.where(dead, gamma, norm.gamma.numpy()))


def _widen_all(model: keras.Model, graph: Graph, ranges: Ranges) -> None:
    found = kernels(model)
    for layer in model.layers:
        name = layer.name
        if name in found:
            target = graph.range_behind(name)
            if target in ranges:
                step = _scale(graph, graph.before[name][0]) * found[name].kds.reshape(-1) * np.abs(found[name].cds)
                _widen(*ranges[target], 255 * _FINEST * float(step.max()))
        if name in ranges:
            _widen(*ranges[name], 0.0)


def _widen(quantizer: Range, own: dict[str, Any], least: float) -> None:
    low, high = (float(end) for end in quantizer.ends())
    least = least or (1.0 if high <= low else 0.0)
    if high - low < least:
        own["high"].assign(low + least)


def _settle_ranges(graph: Graph, ranges: Ranges) -> None:
    """Of what means, products and sums put out, and of what sums add."""
    settled: set[Range | Fixed] = set()
    for name in graph.layers:
        layer = graph.kind(name)
        if not isinstance(layer, layers.GlobalAveragePooling2D | layers.Multiply | layers.Add):
            continue
        scales = [_scale(graph, before) for before in graph.before[name]]
        given = [_quantizer(graph, before) for before in graph.before[name]]
        made = ranges[name][0]
        if made not in settled and made not in given:
            if isinstance(layer, layers.Add):
                ratio = scales[0] / _scale(graph, name)
                _stretch(made, ratio / _sum_ratio(ratio))
            else:
                cells = np.prod(graph.layers[name].input_shape[1:3]) if len(given) == 1 else 1
                ratio = float(np.prod(scales)) / cells / _scale(graph, name)
                _stretch(made, ratio / float(odd(np.array(ratio))))
        last = given[-1]
        if isinstance(layer, layers.Add) and isinstance(last, Range) and last not in {made, given[0], *settled}:
            ratio = scales[-1] / _scale(graph, name)
            _stretch(last, _sum_ratio(ratio) / ratio)
        settled.update(given, [made])


def _settle_convolutions(model: keras.Model, graph: Graph) -> None:
    found = kernels(model)
    for layer, shifts, weight, variables in shifted_kernels(model):
        kernel, norm = found[layer.name], graph.norm_behind(layer.name)
        given = _scale(graph, graph.before[layer.name][0])
        bias = _bias(norm, inner(layer))
        ratio = given * kernel.kds.reshape(-1) * np.abs(kernel.cds) / _scale(graph, graph.range_behind(layer.name))
        change = (odd(ratio) / ratio).astype(np.float32)
        if norm is not None:
            norm.gamma.assign(norm.gamma * change)
            step = given * kernel.kds.reshape(-1) * np.abs(cds_of(norm))
            norm.moving_mean.assign(np.zeros_like(bias))
            norm.beta.assign(np.round(bias / step) * step)
            continue
        variables["log_kds"].assign_add(np.log(change))
        if not shifts.frozen:
            weight.assign((weight.numpy().reshape(shifts.shape) * change).reshape(weight.shape))
        if inner(layer).use_bias:
            step = given * np.exp(variables["log_kds"].numpy())
            inner(layer).bias.assign(np.round(bias / step) * step)


def _quantizer(graph: Graph, name: str) -> Range | Fixed:
    """Of the integers that `name` hands on."""
    quantizer: Range | Fixed = graph.layers[next(graph.sources(name))].quantize_config.output
    return quantizer


def _scale(graph: Graph, name: str) -> float:
    """Of the integers that `name` hands on."""
    quantizer = _quantizer(graph, name)
    low, high = (0.0, quantizer.high) if isinstance(quantizer, Fixed) else map(float, quantizer.ends())
    return float(np.float32(high - low) / np.float32(255))


def _stretch(quantizer: Range, factor: float) -> None:
    for member in quantizer.members:
        for end in member.values():
            end.assign(end * factor)


def _bias(norm: Any, layer: Any) -> np.ndarray:
    if norm is not None:
        return norm.beta.numpy() - norm.moving_mean.numpy() * cds_of(norm)
    return layer.bias.numpy() if layer.use_bias else np.zeros((), np.float32)
