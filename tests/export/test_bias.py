"""Rounding of weights moves no channel of an integer file: its biases make up for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from micro_yolo.model.keras import keras
from micro_yolo.tflite import bias
from micro_yolo.tflite.convert import convert
from micro_yolo.tflite.interpreter import Interpreter

SIDE, CHANNELS = 16, 24


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return list(rng.integers(60, 256, (24, SIDE, SIDE, 3), np.uint8))


@pytest.fixture(scope="module")
def network() -> Any:
    """A dense, a depthwise and a pointwise convolution; weights of a channel far apart, as the start's are."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    image = keras.Input((SIDE, SIDE, 3), name="image")
    x = keras.layers.Conv2D(CHANNELS, 3, padding="valid", activation="relu", name="dense")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="valid", name="depthwise")(x)
    x = keras.layers.Conv2D(CHANNELS, 1, name="pointwise")(x)
    model = keras.Model(image, keras.layers.Activation("sigmoid", name="out")(x))
    for layer in model.layers:
        if layer.weights:
            kernel, biases = layer.get_weights()
            spiked = np.where(rng.random(kernel.shape) < 0.2, kernel * 8, kernel)
            layer.set_weights([spiked / (600 if layer.name == "dense" else 4), biases])
    return model


def offsets(network: Any, data: bytes, images: list[np.ndarray]) -> np.ndarray:
    """How far the mean of each output channel is from Keras'."""
    interpreter = Interpreter(data)
    wanted, got = np.asarray(network(np.stack(images).astype(np.float32))), []
    for image in images:
        interpreter.look(image)
        (name,) = network.output_names
        got.append(interpreter.value(name)[0])
    found: np.ndarray = np.abs(np.mean(got, axis=(0, 1, 2)) - wanted.mean(axis=(0, 1, 2)))
    return found


@pytest.mark.parametrize("variant", ["int8", "int16x8"])
def test_channels_keep_their_means(
    network: Any, images: list[np.ndarray], variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    corrected = convert(network, variant, images)
    monkeypatch.setattr(bias, "corrected", lambda calibrated, quantized, means: quantized)
    plain = convert(network, variant, images)
    before, after = offsets(network, plain, images), offsets(network, corrected, images)
    assert len(corrected) <= len(plain) + 512
    assert after.mean() < 0.5 * before.mean(), (before.mean(), after.mean())


def test_files_of_two_networks_are_refused(network: Any, images: list[np.ndarray]) -> None:
    image = keras.Input((SIDE, SIDE, 3), name="image")
    other = keras.Model(image, keras.layers.Conv2D(5, 1, activation="sigmoid", name="out")(image))
    with pytest.raises(ValueError, match="must have the same convolutions"):
        bias.corrected(convert(network, "float32"), convert(other, "int8", images), {})
