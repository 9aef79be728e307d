"""One small network, one small data set, one run: shared by all export tests, made once a session."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.model.spec import Arch, Row

TINY = Arch(
    "tiny",
    (
        Row("l1", "conv", 8, k=3, s=2),  # 64
        Row("l2", "mbconv", 16, k=3, mid=16, se=1),  # 32
        Row("l3", "pool", k=2, s=2),
        Row("l4", "separable", 16, k=3, s=2),  # 16
        Row("l5", "pool", k=2, s=2),  # 8
        Row("l6", "mbconv", 16, k=5, mid=32, se=1, skip=True),  # 4
        Row("d1", "detect", anchors=((30.0, 30.0), (20.0, 44.0))),
        Row("up", "upsample", s=2, src=("l6",)),
        Row("cat", "concat", src=("up", "l4")),
        Row("l7", "conv", 16, k=3),
        Row("d2", "detect", anchors=((10.0, 12.0), (6.0, 5.0))),
    ),
    size=(64, 96),
    classes=5,
)


# Of its rows those that stages treat each in their own way: for tests that train many times, most of which is tracing.
SHALLOW = TINY.replace(
    rows=(
        Row("l1", "conv", 8, k=3, s=2),  # 32
        Row("l4", "separable", 16, k=3, s=2),  # 16
        Row("l5", "pool", k=2, s=2),  # 8
        Row("l6", "mbconv", 16, k=5, mid=32, se=1, skip=True),
        Row("d1", "detect", anchors=((30.0, 30.0), (20.0, 44.0))),
    )
)
# A convolution, a depthwise one, batch norms and a head: for tests of what surrounds a network.
BRIEFEST = SHALLOW.replace(rows=tuple(row for row in SHALLOW.rows if row.name in ("l1", "l4", "d1")))


@pytest.fixture(scope="session")
def tiny() -> Arch:
    return TINY


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from micro_yolo.pipeline.data import synthetic

    return synthetic.make(tmp_path_factory.mktemp("data") / "set", train=12, val=4, size=(72, 100), seed=1)


@pytest.fixture(scope="session")
def inputs(tiny_data: Path) -> list[np.ndarray]:
    """The training images as the network sees them."""
    from micro_yolo.pipeline.data import load
    from micro_yolo.tflite.image import load_image, resize

    return [resize(load_image(path), TINY.size)[0] for path in load(tiny_data).splits["train"].files]


def varied(arch: Arch, inputs: list[np.ndarray]) -> Any:
    """The network with random weights and the batch statistics of the inputs, so that its outputs vary."""
    from micro_yolo.model.build import build
    from micro_yolo.model.keras import keras

    keras.utils.set_random_seed(0)
    model = build(arch)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
        if layer.name.endswith(("_box", "_obj", "_cls")):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel * 8, np.random.default_rng(0).normal(0, 0.5, bias.shape)])
    model(np.stack(inputs).astype(np.float32), training=True)
    return model


@pytest.fixture(scope="session")
def weighted(inputs: list[np.ndarray]) -> Any:
    """The network with random weights and the batch statistics of the inputs."""
    return varied(TINY, inputs)


@pytest.fixture(scope="session")
def deployed(weighted: Any) -> Any:
    from micro_yolo.model.build import deployable

    return deployable(TINY, weighted)


def finish(run: Path, arch: Arch, model: Any, data: Path) -> Path:
    """A run as training leaves it."""
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.store import runs

    dataset = load(data)
    stage = run / "train"
    runs.write_json(stage / runs.ARCH, arch.with_classes(len(dataset.names)).to_json())
    model.save_weights(str(stage / runs.WEIGHTS))
    settings = {"resize": "stretch", "seed": 0, "val_fraction": 0.2}
    facts = {"data": dataset.root.absolute(), "names": dataset.names, "category_ids": dataset.category_ids}
    runs.write_json(stage / runs.CONFIG, runs.record(settings, **facts))
    runs.write_json(stage / runs.METRICS, {})
    return run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, weighted: Any, tiny_data: Path) -> Path:
    """A run of the network as training leaves it."""
    return finish(tmp_path_factory.mktemp("runs") / "tiny", TINY, weighted, tiny_data)


@pytest.fixture(scope="session")
def shallow_run(tmp_path_factory: pytest.TempPathFactory, inputs: list[np.ndarray], tiny_data: Path) -> Path:
    """As `finished_run`, of the network with fewer rows."""
    return finish(tmp_path_factory.mktemp("shallow") / "tiny", SHALLOW, varied(SHALLOW, inputs), tiny_data)


@pytest.fixture(scope="session")
def briefest_run(tmp_path_factory: pytest.TempPathFactory, inputs: list[np.ndarray], tiny_data: Path) -> Path:
    """As `finished_run`, of the network with the fewest rows."""
    return finish(tmp_path_factory.mktemp("briefest") / "tiny", BRIEFEST, varied(BRIEFEST, inputs), tiny_data)


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the run, for tests that change it."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def brief_run(briefest_run: Path, tmp_path: Path) -> Path:
    """A copy of that with the fewest rows, where any network will do."""
    return Path(shutil.copytree(briefest_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with every variant in its export directory, with grids, and float32 and int8 with the detections head."""
    from micro_yolo.pipeline import convert

    run = Path(shutil.copytree(finished_run, tmp_path_factory.mktemp("exported") / "tiny"))
    every = {"float32": True, "float16": True, "dynamic": True, "int16x8": True, "int8": True}
    convert.run(convert.Config(run=run, **every, samples=8, head="raw"))
    convert.run(convert.Config(run=run, float32=True, int8=True, samples=8))
    return run


@pytest.fixture(scope="session")
def believed(exported: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set labelled with the eight objects the float32 file is surest of, for an AP that is not zero."""
    from micro_yolo.tflite.detector import Detector
    from micro_yolo.tflite.image import load_image

    copy = Path(shutil.copytree(tiny_data, tmp_path_factory.mktemp("believed") / "set"))
    labels = json.loads((copy / "instances_train.json").read_text())
    detector = Detector(exported / "export" / "model_float32_raw.tflite")
    labels["annotations"] = []
    for image in labels["images"]:
        found = detector.detect(load_image(copy / "images" / image["file_name"]), 0.3, 0.3)
        for box, category in zip(found.boxes_xyxy[:8].tolist(), found.classes[:8].tolist(), strict=True):
            x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
            labels["annotations"].append(
                {
                    "id": len(labels["annotations"]) + 1,
                    "image_id": image["id"],
                    "category_id": labels["categories"][category]["id"],
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    (copy / "instances_train.json").write_text(json.dumps(labels))
    return copy


@pytest.fixture
def model_copy(exported: Path, tmp_path: Path) -> Callable[[str], Path]:
    """``model_copy("int8_raw")``: the file and its contract, for tests that damage them."""

    def copy(name: str) -> Path:
        for suffix in ("tflite", "json"):
            shutil.copy(exported / "export" / f"model_{name}.{suffix}", tmp_path)
        return tmp_path / f"model_{name}.tflite"

    return copy


@pytest.fixture
def alone(model_copy: Callable[[str], Path]) -> Path:
    """A file with the detections head and nothing beside it, not even the copy of its contract."""
    path = model_copy("int8")
    path.with_suffix(".json").unlink()
    return path
