"""What rounding its weights moves a convolution's outputs by on average, taken from its biases.

Rounding errors of single weights add up to an offset in each output channel, since what a convolution reads is not zero
on average. The offset is known as soon as that average is, and the bias, of 32 bits or more, has room for it: bias
correction (Nagel et al. 2019, arXiv 1906.04721, section 4.2), with means measured on images in place of those that
batch norms tell. Depthwise kernels need it most: nine weights, behind a ReLU6.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from micro_yolo.tflite.edit import Graph, pack_without_orphans
from micro_yolo.tflite.ranges import WEIGHTED, Means


def corrected(calibrated: bytes, quantized: bytes, means: Means) -> bytes:
    """An integer .tflite, with biases that make up for the rounding of its weights.

    What zeros at the borders change is left out of account.

    Args:
        calibrated: the float .tflite it was made of: the same convolutions in the same order.
        quantized: with int8 weights and integer biases.
        means: of the activations of `calibrated`, see `tflite.ranges`.

    Returns:
        The same with other biases.

    Raises:
        ValueError: the files are not of one network.
    """
    whole, graph = Graph.of(calibrated), Graph.of(quantized)
    pairs = [[op for op in each.main.operators if each.op_name(op) in WEIGHTED] for each in (whole, graph)]
    if [whole.shape(op.inputs[1]) for op in pairs[0]] != [graph.shape(op.inputs[1]) for op in pairs[1]]:
        raise ValueError("bias: the float and the integer file must have the same convolutions")
    for op, other in zip(*pairs, strict=True):
        given, stored = int(op.inputs[0]), graph.values(other.inputs[1])
        floats = whole.values(op.inputs[1])
        # A network with weights that are computed, or without biases, has nothing to correct.
        if given not in means or floats is None or stored is None or len(other.inputs) < 3 or other.inputs[2] < 0:
            continue
        shape = whole.shape(op.inputs[1])
        scales = np.asarray(graph.main.tensors[other.inputs[1]].quantization.scale, np.float64)
        weights, integers = floats.view(np.float32).reshape(shape), stored.view(np.int8).reshape(shape)
        if whole.op_name(op) == "CONV_2D":
            offsets = ((weights - integers * scales[:, None, None, None]) * means[given]).sum(axis=(1, 2, 3))
        else:
            offsets = ((weights - integers * scales) * means[given]).sum(axis=(0, 1, 2))
        _add(graph, other, offsets)
    return pack_without_orphans(graph.tree)


def _add(graph: Graph, op: Any, offsets: np.ndarray) -> None:
    """Add to the biases of a convolution, (C,) in the units of its output."""
    place = int(op.inputs[2])
    bias, stored = graph.main.tensors[place], graph.values(place)
    if stored is None:
        return
    dtype, scales = np.dtype(graph.dtype(place)), np.asarray(bias.quantization.scale, np.float64)
    # A channel without weights has no scale, and nothing was rounded.
    steps = np.divide(offsets, scales, out=np.zeros_like(scales), where=scales > 0)
    limits = np.iinfo(np.int32)
    changed = stored.view(dtype) + np.clip(np.rint(steps), limits.min // 2, limits.max // 2).astype(dtype)
    if len(graph.readers(place)) == 1:
        bias.buffer = graph.buffer(changed)
    else:
        op.inputs = np.array([*op.inputs[:2], graph.duplicate(place, changed)], np.int32)
