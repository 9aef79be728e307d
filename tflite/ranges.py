"""What the activations of a float .tflite span, the ranges that its integers are made for, and what they are on the
average.

TensorFlow's calibrator finds them on TFLite's plain kernels, one image after another on one core. Here every
activation is an output of the graph, so that XNNPACK computes them all and hides none, several times as fast. And none
is overwritten: TFLite adds in place, so that the calibrator takes what a skip connection adds to for the sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from micro_yolo.tflite import inspect
from micro_yolo.tflite.cores import usable_cores
from micro_yolo.tflite.edit import Graph
from micro_yolo.tflite.interpreter import Interpreter

# Tensor -> the mean of each of its channels, float64 (C,).
Means = dict[int, np.ndarray]

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D")
# An int8 sigmoid has the scale 1/256. What it makes of logits beyond these is 0 or 255/256, so finer steps go to the
# rest.
LOGITS = (-6.25, 5.25)
_DEAD_RANGE = 1.0
# Each reader has its own copy of all activations in memory.
_READERS = 4


def measured(
    calibrated: bytes, samples: Sequence[np.ndarray], beyond: Sequence[np.ndarray] = ()
) -> tuple[bytes, Means]:
    """Give the activations of a file the ranges that they have on these images.

    Args:
        calibrated: a float .tflite of one graph, with some minimum and maximum of each activation that has a range.
        samples: (h, w, 3) pixels 0..255 of the model's size, at least one.
        beyond: more of them, that only the ranges are to hold.

    Returns:
        The same with these ranges, and on the samples the means of what its convolutions read.

    Raises:
        ValueError: an activation is not finite on the samples.
    """
    graph = Graph.of(calibrated)
    seen = [index for index, tensor in enumerate(graph.main.tensors) if _has_range(tensor)]
    read = {int(op.inputs[0]) for op in graph.main.operators if graph.op_name(op) in WEIGHTED}
    low, high, means = _spans(calibrated, seen, [index for index in seen if index in read], [*samples, *beyond])
    for place, index in enumerate(seen):
        limits = graph.main.tensors[index].quantization
        limits.min, limits.max = low[place : place + 1], high[place : place + 1]
    return graph.pack(), {index: np.mean(each[: len(samples)], axis=0) for index, each in means.items()}


def within_sigmoids(calibrated: bytes, logits: Mapping[str, tuple[float, float]]) -> bytes:
    """Cut the ranges of what only a sigmoid reads to where it tells values apart.

    Args:
        calibrated: a float .tflite with the calibrated minimum and maximum of its activations.
        logits: output -> the lowest and highest logit that it has to tell apart; of all others LOGITS.

    Returns:
        The same with these ranges cut.
    """
    graph = Graph.of(calibrated)
    names = {index: name for name, index in inspect.read(calibrated).signature_outputs.items()}
    for op in graph.main.operators:
        if graph.op_name(op) != "LOGISTIC" or len(graph.readers(op.inputs[0])) > 1:
            continue
        given = graph.main.tensors[op.inputs[0]]
        if not _has_range(given):
            continue
        low, high = logits.get(names.get(int(op.outputs[0]), ""), LOGITS)
        limits = given.quantization
        limits.min, limits.max = (np.clip(end, np.float32(low), np.float32(high)) for end in (limits.min, limits.max))
    return graph.pack()


def widen_dead(calibrated: bytes) -> bytes:
    """Give activations that calibration saw as constant, or nearly, a range that int8 kernels can work with.

    A squeeze ReLU may be zero on every sample. Its scale would be zero, which the runtime refuses. A convolution's
    output need not resolve more than its accumulator, whose unit is input scale x largest weight scale: a range
    narrower than 255 such units is widened to that, which loses nothing; any other empty range becomes 0..1.

    Args:
        calibrated: a float .tflite with the calibrated minimum and maximum of its activations.

    Returns:
        The same with widened ranges, or unchanged bytes where none is too narrow.
    """
    graphs, widened = Graph.every(calibrated), 0
    operators = [(graph, op) for graph in graphs for op in graph.main.operators]
    for graph, op in operators:
        for index in op.outputs:
            if not _has_range(graph.main.tensors[index]):
                continue
            limits = graph.main.tensors[index].quantization
            low, high = min(float(limits.min[0]), 0.0), max(float(limits.max[0]), 0.0)
            needed = _DEAD_RANGE if high <= low else 0.0
            if graph.op_name(op) in WEIGHTED:
                needed = _accumulator_range(graph, op) or needed
            if high - low < needed:
                limits.min = np.array([low], np.float32)
                limits.max = np.array([low + needed], np.float32)
                widened += 1
    return graphs[0].pack() if widened else calibrated


def _has_range(tensor: Any) -> bool:
    limits = tensor.quantization
    return limits is not None and limits.min is not None and limits.max is not None and len(limits.min) > 0


def _spans(
    data: bytes, seen: Sequence[int], averaged: Sequence[int], samples: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, dict[int, np.ndarray]]:
    """The minimum and the maximum over the samples of each tensor, float32 (n,).

    Of those averaged also the means of each sample's channels, float64 (samples, C).
    """
    opened = Graph.of(data)
    opened.main.outputs = np.array([index for index in seen if index not in opened.main.inputs], np.int32)
    opened.tree.signatureDefs = []
    content = opened.pack()
    (given,) = opened.main.inputs

    means: dict[int, list[Any]] = {index: [None] * len(samples) for index in averaged}

    def read(part: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        interpreter = Interpreter(content)
        low, high = np.full(len(seen), np.inf, np.float32), np.full(len(seen), -np.inf, np.float32)
        for number in part:
            interpreter.put(given, samples[number][None].astype(np.float32))
            interpreter.invoke()
            values = [interpreter.tensor(index) for index in seen]
            # Not np.fmin: what is not a number must stay in sight.
            low = np.minimum(low, [value.min() for value in values])
            high = np.maximum(high, [value.max() for value in values])
            for index, value in zip(seen, values, strict=True):
                if index in means:
                    means[index][number] = value.mean(axis=tuple(range(value.ndim - 1)), dtype=np.float64)
        return low, high

    # One thread each, so that a sample gives the same on every machine, however many read.
    readers = min(usable_cores(), _READERS, len(samples))
    with ThreadPoolExecutor(readers) as pool:
        spans = list(pool.map(read, [range(first, len(samples), readers) for first in range(readers)]))
    low, high = np.min([low for low, _ in spans], axis=0), np.max([high for _, high in spans], axis=0)
    strange = ~(np.isfinite(low) & np.isfinite(high))
    if strange.any():
        name = opened.main.tensors[seen[int(strange.argmax())]].name.decode()
        raise ValueError(f"{name} is not finite on the calibration images; train the network again")
    return low, high, {index: np.stack(each) for index, each in means.items()}


def _accumulator_range(graph: Graph, op: Any) -> float:
    """255 units of a convolution's int32 accumulator; 0 where input range or weights are not known."""
    given, weights = graph.main.tensors[op.inputs[0]], graph.values(op.inputs[1])
    if not _has_range(given) or weights is None:
        return 0.0
    limits = given.quantization
    input_range = max(float(limits.max[0]), 0.0) - min(float(limits.min[0]), 0.0)
    return input_range * float(np.abs(weights.view(np.float32)).max(initial=0)) / 127
