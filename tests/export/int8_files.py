"""What is in an int8 file, beside what the network of quantization-aware training says must be in it."""

from __future__ import annotations

import numpy as np

from micro_yolo.model.build import build
from micro_yolo.model.keras import keras
from micro_yolo.model.quantization.network import kernels
from micro_yolo.model.spec import INPUT, Arch
from micro_yolo.tflite import edit
from micro_yolo.tflite.ranges import WEIGHTED


def lively(arch: Arch, pixels: np.ndarray, seed: int = 0) -> keras.Model:
    """`build(arch)` as training may leave it: gammas of both signs, statistics near those of (B, h, w, 3) pixels."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = build(arch)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        n, momentum = layer.gamma.shape, layer.momentum
        gamma = rng.choice([-1, 1], n) * rng.uniform(0.3, 1.5, n)
        layer.set_weights([gamma, np.abs(gamma) * rng.normal(1, 0.5, n), np.zeros(n), np.ones(n)])
        layer.momentum = 0.0
    for layer in model.layers:
        if layer.name.endswith(("_box", "_obj", "_cls")):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * 8, rng.normal(0, 0.5, bias.shape)])
    model(pixels.astype(np.float32), training=True)
    for layer in norms:
        gamma, beta, mean, variance = layer.get_weights()
        mean += rng.normal(0, 0.1, mean.shape) * np.sqrt(variance)
        layer.set_weights([gamma, beta, mean, variance * rng.uniform(0.7, 1.4, variance.shape)])
        layer.momentum = momentum
    return model


def stored(data: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Integers, in Keras' layout, and scales of every convolution of a file."""
    graph = edit.graph_of(data)
    found = []
    for subgraph in graph.subgraphs:
        for op in subgraph.operators:
            kind = edit.op_name(graph, op)
            assert kind != "FULLY_CONNECTED"
            if kind in WEIGHTED:
                tensor = subgraph.tensors[op.inputs[1]]
                values = np.frombuffer(bytes(graph.buffers[tensor.buffer].data), np.int8).reshape(tensor.shape)
                values = values.transpose((1, 2, 0, 3) if kind == "DEPTHWISE_CONV_2D" else (1, 2, 3, 0))
                found.append((values, np.array(tensor.quantization.scale)))
    return found


def strangers(arch: Arch, model: keras.Model, data: bytes) -> list[str]:
    """Layers whose integers and scales are not in the file, and "file" for each kernel of the file that is no layer's.

    Args:
      arch: the table.
      model: `model.quantization.network.wrapped`, settled.
      data: the file.
    """
    found, missing = stored(data), []
    first = {f"{row.name}_conv" for row in arch.rows if INPUT in arch.sources[row.name]}
    for name, kernel in kernels(model).items():
        integers = kernel.vqk * np.sign(kernel.cds).astype(np.int8)
        scales = kernel.kds.reshape(-1) * np.abs(kernel.cds) / (255 if name in first else 1)
        same = [
            i
            for i, (values, its) in enumerate(found)
            if np.array_equal(values, integers) and np.allclose(its, scales, rtol=1e-6, atol=0)
        ]
        if same:
            del found[same[0]]
        else:
            missing.append(name)
    return [*missing, *["file"] * len(found)]
