"""A .tflite through its contract alone; damaged and foreign files; several of them against the clock."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from micro_yolo.tflite import edit, inspect, metadata
from micro_yolo.tflite.convert import VARIANTS
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image
from micro_yolo.tflite.interpreter import Interpreter

Copy = Callable[[str], Path]


@pytest.mark.parametrize("name", [*(f"{variant}_raw" for variant in VARIANTS), "float32", "int8"])
def test_detects_in_image_pixels(exported: Path, tiny_data: Path, name: str) -> None:
    detector = Detector(exported / "export" / f"model_{name}.tflite")
    image = load_image(next((tiny_data / "images").iterdir()))
    found = detector.detect(image, score_threshold=0.01)
    assert len(found) > 0
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [image.shape[1], image.shape[0]] * 2).all()
    assert (np.diff(found.scores) <= 0).all()
    assert set(found.classes.tolist()) <= set(range(len(detector.labels)))
    assert len(detector.detect(image, score_threshold=1.0)) == 0


def test_a_batch_is_its_images_one_by_one(exported: Path) -> None:
    detector = Detector(exported / "export" / "model_int8_raw.tflite")
    pixels = np.random.default_rng(0).integers(0, 256, (3, *detector.size, 3), np.uint8)
    batch = detector.predict_batch(pixels)
    for i, image in enumerate(pixels):
        alone = detector.raw(image)
        assert list(batch) == list(alone) == ["d1", "d2"]
        for row, grids in batch.items():
            assert list(grids) == list(alone[row]) == ["boxes", "objectness", "classes"]
            for part, grid in grids.items():
                np.testing.assert_array_equal(grid[i], alone[row][part])


@pytest.mark.parametrize("keep", [0, 3, 8, 100, 1000, -1])
def test_truncated_files(model_copy: Copy, keep: int) -> None:
    path = model_copy("int8")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model_int8\.tflite: .*(empty|not a \.tflite|damaged)") as raised:
        Detector(path)
    assert "\n" not in str(raised.value)


def test_one_flipped_bit_is_found(model_copy: Copy) -> None:
    path = model_copy("int8")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"damaged|SHA-256 differs"):
        Detector(path)


def test_files_that_are_not_ours(model_copy: Copy, tmp_path: Path) -> None:
    path = model_copy("int8")
    (tmp_path / "photo.tflite").write_bytes(b"\x89PNG\r\n\x1a\n" * 9)
    with pytest.raises(ValueError, match=r"photo\.tflite: not a \.tflite"):
        Detector(tmp_path / "photo.tflite")
    with pytest.raises(FileNotFoundError, match=r"none\.tflite: no such file"):
        Detector(tmp_path / "none.tflite")
    with pytest.raises(ValueError, match="got a folder"):
        Detector(tmp_path)
    path.with_suffix(".json").unlink()
    path.write_bytes(metadata.split(path.read_bytes())[0])
    with pytest.raises(FileNotFoundError, match=r"model_int8\.json: the contract of model_int8\.tflite is missing"):
        Detector(path)


def test_somebody_elses_model_has_no_contract_and_no_named_outputs(model_copy: Copy) -> None:
    path = model_copy("float32_raw")
    graph = edit.graph_of(path.read_bytes())
    graph.signatureDefs = []
    with pytest.raises(ValueError, match="not a model of ours"):
        Interpreter(edit.pack(graph)).look(np.zeros((64, 96, 3), np.uint8))


def test_a_contract_of_another_model(model_copy: Copy) -> None:
    int8, float32 = model_copy("int8"), model_copy("float32")
    int8.with_suffix(".json").write_text(float32.with_suffix(".json").read_text())
    with pytest.raises(ValueError, match="is not the file its contract was written for"):
        Detector(int8)


def test_a_contract_that_lies(model_copy: Copy) -> None:
    path = model_copy("int8").with_suffix(".json")
    contract = json.loads(path.read_text())
    contract["input"]["dtype"] = "int8"
    path.write_text(json.dumps(contract))
    with pytest.raises(ValueError, match=r"image is uint8 .*, its contract says int8"):
        Detector(path.with_suffix(".tflite"))


def test_reading_damage_never_crashes(exported: Path) -> None:
    data = (exported / "export" / "model_int8.tflite").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(data)
        for position in rng.integers(8, len(data), 40):
            broken[position] = rng.integers(256)
        try:
            assert inspect.read(bytes(broken)).n_bytes == len(data)
        except ValueError as error:
            assert "damaged" in str(error)


def test_prediction_needs_no_tensorflow(exported: Path) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['matplotlib'] = sys.modules['pycocotools'] = None\n"
        "import numpy as np; from micro_yolo.tflite.detector import Detector; import micro_yolo.pipeline.predict\n"
        f"detector = Detector({str(exported / 'export' / 'model_int8_raw.tflite')!r})\n"
        "print(len(detector.raw(np.zeros((64, 96, 3), np.uint8))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.stdout, done.stderr, done.returncode) == ("2\n", "", 0)


def test_an_input_that_does_not_fit_is_said_with_the_files_name(exported: Path) -> None:
    running = Interpreter((exported / "export" / "model_int8.tflite").read_bytes(), name="m")
    with pytest.raises(ValueError, match=r"^m: the runtime cannot run the model on this: Cannot set tensor"):
        running.look(np.zeros((64, 1, 3), np.uint8))
