"""Detectors in Python: what they find, in the words that other tools take."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import micro_yolo
from micro_yolo.tflite.detector import Detector as File
from micro_yolo.tflite.image import load_image


@pytest.fixture
def detector(exported: Path) -> micro_yolo.Detector:
    return micro_yolo.Detector(exported / "export" / "model_int8.tflite")


@pytest.fixture(scope="module")
def photo(tiny_data: Path) -> Path:
    return min((tiny_data / "images").iterdir())


@pytest.fixture
def found(detector: micro_yolo.Detector, photo: Path) -> micro_yolo.Detections:
    return detector.detect(photo, score=0.01)


def test_it_finds_what_the_file_finds(detector: micro_yolo.Detector, photo: Path) -> None:
    expected = File(detector.path).detect(load_image(photo), 0.01)
    assert len(expected)
    with Image.open(photo) as image:
        pictures = [photo, str(photo), load_image(photo), image.copy()]
    for picture in pictures:
        found = detector.detect(picture, score=0.01)
        for name in ("boxes_xyxy", "scores", "classes"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert found.labels == tuple(detector.labels[number] for number in expected.classes)


def test_a_turned_picture_is_found_upright(detector: micro_yolo.Detector, photo: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.png"
    with Image.open(photo) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(turned, exif=exif)
    with Image.open(turned) as image:
        as_image = detector.detect(image, score=0.01)
    as_file = detector.detect(turned, score=0.01)
    np.testing.assert_array_equal(as_image.boxes_xyxy, as_file.boxes_xyxy)


def test_what_it_says_of_itself(detector: micro_yolo.Detector, found: micro_yolo.Detections) -> None:
    assert "model_int8.tflite': tiny, int8, 64 x 96 (height x width), 5 classes" in repr(detector)
    assert repr(found).startswith(f"Detections({len(found)}: {found.labels[0]} {found.scores[0]:.2f} [")
    nothing = detector.detect(np.zeros((9, 9, 3), np.uint8), score=1)
    assert (len(nothing), nothing.labels, repr(nothing)) == (0, (), "Detections(0)")


@pytest.mark.parametrize(
    ("picture", "options", "told"),
    [
        ("none.jpg", {}, "none.jpg: image cannot be read"),
        (np.zeros((9, 9), np.uint8), {}, "image"),
        (np.zeros((9, 9, 3), np.uint8), {"score": 2}, "score: must be in 0..1, got 2"),
        (np.zeros((9, 9, 3), np.uint8), {"iou": 0.123}, "iou: .* suppresses by itself"),
    ],
)
def test_what_it_refuses(detector: micro_yolo.Detector, picture: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        detector.detect(picture, **options)


def test_they_are_drawn_on_the_picture(photo: Path, found: micro_yolo.Detections) -> None:
    drawn = found.draw(photo)
    assert drawn.size == Image.open(photo).size
    assert (np.asarray(drawn) != load_image(photo)).any()


def test_a_saved_detector_is_the_same(
    detector: micro_yolo.Detector, found: micro_yolo.Detections, photo: Path, tmp_path: Path
) -> None:
    saved = detector.save(tmp_path / "new")
    assert {path.name for path in saved.parent.iterdir()} == {"model_int8.tflite", "model_int8.json", "labels.txt"}
    assert saved.read_bytes() == detector.path.read_bytes()
    again = micro_yolo.Detector(saved)
    assert again.contract == detector.contract
    np.testing.assert_array_equal(again.detect(photo, score=0.01).boxes_xyxy, found.boxes_xyxy)
    with pytest.raises(FileExistsError, match=r"already exists; allowed: overwrite=True"):
        detector.save(saved.parent)
    assert detector.save(saved.parent, overwrite=True) == saved


def test_a_file_without_a_contract_beside_it_is_saved_with_one(alone: Path, tmp_path: Path) -> None:
    saved = micro_yolo.Detector(alone).save(tmp_path / "new")
    assert json.loads(saved.with_suffix(".json").read_text())["labels"] == list(micro_yolo.Detector(saved).labels)


@dataclass
class Theirs:
    """What supervision.Detections is made from."""

    xyxy: np.ndarray
    confidence: np.ndarray
    class_id: np.ndarray
    data: dict[str, np.ndarray]


@pytest.fixture(params=["stand-in", "real"])
def supervision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "real":
        pytest.importorskip("supervision")
    else:
        module = types.ModuleType("supervision")
        module.Detections = Theirs  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "supervision", module)


@pytest.mark.usefixtures("supervision")
@pytest.mark.parametrize("score", [0.01, 1.0])
def test_supervision_takes_them(detector: micro_yolo.Detector, photo: Path, score: float) -> None:
    found = detector.detect(photo, score=score)
    theirs = found.to_supervision()
    np.testing.assert_array_equal(theirs.xyxy, found.boxes_xyxy)
    np.testing.assert_array_equal(theirs.confidence, found.scores)
    np.testing.assert_array_equal(theirs.class_id, found.classes)
    assert theirs.class_id.dtype == int
    assert theirs.data["class_name"].tolist() == list(found.labels)


def test_without_supervision_it_says_how_to_get_it(
    found: micro_yolo.Detections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ModuleNotFoundError, match="needs supervision: `pip install supervision`"):
        found.to_supervision()


def test_a_damaged_file_is_refused(model_copy: Callable[[str], Path]) -> None:
    path = model_copy("int8")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model_int8\.tflite: "):
        micro_yolo.Detector(path)
    with pytest.raises(FileNotFoundError, match=r"none\.tflite"):
        micro_yolo.Detector("none.tflite")
