"""Whether an int8 file computes what was trained: its outputs beside those of quantization-aware training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from micro_yolo.model.keras import keras


def outputs(data: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Output name -> what a raw file gives for uint8 (B, h, w, 3), its integers counted from 0."""
    from micro_yolo.tflite.apart import Apart

    interpreter = Apart(data)
    found: dict[str, list[np.ndarray]] = {name: [] for name in interpreter.output_tensors}
    for image in pixels:
        interpreter.look(image)
        for name, tensor in interpreter.output_tensors.items():
            found[name].append(interpreter.stored(name)[0].astype(int) - tensor.zero_points[0])
    return {name: np.stack(values) for name, values in found.items()}


def said(model: keras.Model, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The same by the network of quantization-aware training: the sigmoid of its logits in steps of 1/256."""
    return {
        f"{row}_{part}": np.clip(np.rint(256 / (1 + np.exp(-np.asarray(values, np.float64)))), 0, 255).astype(int)
        for row, parts in model(pixels.astype(np.float32), training=False).items()
        for part, values in parts.items()
    }


def steps_apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> np.ndarray:
    """How far each value of the same outputs is apart, in steps."""
    return np.concatenate([np.abs(one[name] - other[name]).reshape(-1) for name in one])
