"""An operation that nobody wrote a line for but its function: it is built, learns, is cut, and computes in integers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from int8_files import lively, strangers
from toy_op import HOURGLASS

from micro_yolo.model.build import build, put_weights, weights_of, with_weights
from micro_yolo.model.channels import channels_of, cut
from micro_yolo.model.count import count
from micro_yolo.model.keras import tf
from micro_yolo.model.ops import OPS
from micro_yolo.model.quantization import network as quantize
from micro_yolo.model.quantization.settle import settle
from micro_yolo.model.quantization.wrap import Quantization
from micro_yolo.model.row import Row
from micro_yolo.model.spec import Arch
from micro_yolo.pipeline.measure.exactness import outputs, said, steps_apart
from micro_yolo.tflite.convert import check, convert

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPS, "hourglass", HOURGLASS)
        yield


def table() -> Arch:
    rows = (
        Row("a", "conv", 8, k=3, s=2),
        Row("x", "hourglass", 8, k=3, mid=4, se=2),
        Row("d", "detect", anchors=((9, 9),)),
    )
    return Arch("net", rows, size=(32, 48), classes=2)


def pixels(count: int = 8) -> np.ndarray:
    # Noise alone would be a grey image to everything behind a convolution.
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 12, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def test_it_is_built_as_it_is_counted_and_all_of_it_learns() -> None:
    arch = table()
    model = build(arch)
    assert model.count_params() == count(arch).params
    with tf.GradientTape() as tape:
        loss = tf.add_n([tf.reduce_mean(tf.square(x - 1)) for x in tf.nest.flatten(model(pixels(2), training=True))])
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.any(gradient) for gradient in gradients)
    assert [layer.name for layer in model.layers if layer.name.startswith("x_")] == [
        "x_narrow", "x_narrow_bn", "x_narrow_act", "x_spread", "x_spread_bn", "x_spread_act", "x_gate_mean",
        "x_gate_squeeze", "x_gate_relu", "x_gate_excite", "x_gate_gate", "x_gate_scale", "x_widen", "x_widen_bn",
        "x_widen_act", "x_add",
    ]  # fmt: skip


def test_it_computes_without_its_silenced_channels_what_it_did_with_them() -> None:
    arch = table()
    model = lively(arch, pixels())
    weights, found = weights_of(model), channels_of(arch)
    keep = {"a": [0, 2, 5, 6, 7], "x.mid": [1, 3]}
    dropped = np.concatenate([np.delete(found.units[unit], kept) for unit, kept in keep.items()])
    for axis in found.axes:
        if axis.part in ("gamma", "beta"):
            weights[axis.layer][axis.weight][np.isin(axis.channels, dropped)] = 0
    put_weights(model, weights)
    smaller = with_weights(*cut(arch, weights, keep))
    images = pixels(2).astype(np.float32)
    for got, wanted in zip(tf.nest.flatten(smaller(images)), tf.nest.flatten(model(images)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 4])
def test_its_int8_file_is_the_network_of_quantization_aware_training(bits: int) -> None:
    arch, images, how = table(), pixels(), Quantization(bits)
    trained = lively(arch, images)
    model = quantize.begin(arch, trained, how)
    quantize.calibrate(model, trained, [images])
    settle(model)
    deployed = quantize.deployable(arch, model, how)
    data = convert(deployed, "int8", aware=True)
    check(data, "int8", deployed, images[:1])
    assert strangers(arch, model, data) == []
    wanted = said(model, images)
    assert all(np.ptp(values) > 4 for values in wanted.values())
    assert np.mean(steps_apart(outputs(data, images), wanted) <= 1) >= 0.999
