"""The app's golden vectors are what tflite/ gives today, and its shipped model is what it says."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from android_demo.verify import grids, tools
from micro_yolo.pipeline import evaluate
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.decode import iou
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image

GOLDEN = Path(__file__).parents[1] / "golden"
MODEL = tools.ASSETS / "cards_int8.tflite"


@pytest.fixture(scope="module")
def golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_write", GOLDEN / "write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_alike(made: Any, kept: Any, where: str) -> None:
    """Equal, floats within their rounding on another processor."""
    if isinstance(kept, list):
        assert len(made) == len(kept), where
        for i, (a, b) in enumerate(zip(made, kept, strict=True)):
            assert_alike(a, b, f"{where}[{i}]")
    elif isinstance(kept, dict):
        assert made.keys() == kept.keys(), where
        for key in kept:
            assert_alike(made[key], kept[key], f"{where}.{key}")
    elif isinstance(kept, float):
        assert made == pytest.approx(kept, rel=1e-5, abs=1e-4), where
    else:
        assert made == kept, where


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.name)
def test_the_files_are_what_the_code_gives(golden: ModuleType, path: Path) -> None:
    made = json.loads(golden.text(golden.FILES[path.name]()))
    assert_alike(made, json.loads(path.read_text()), path.name)


def test_every_file_is_made(golden: ModuleType) -> None:
    assert set(golden.FILES) == {path.name for path in GOLDEN.iterdir() if path.is_file()} - {"write.py"}


def test_the_shipped_contract_says_nothing_about_a_machine() -> None:
    contract = contracts.load(MODEL)
    contracts.verify(contract, MODEL.read_bytes(), MODEL)
    assert contract.data.path == "playing_cards"
    assert not [path for path in contract.parents if Path(path).is_absolute()]
    inner = contracts.inside(MODEL.read_bytes())
    assert inner is not None
    assert (inner.head, inner.labels, inner.parents) == ("detections", contract.labels, contract.parents)


def test_the_shipped_model_is_as_good_and_as_large_as_its_page_says(shared_data: Path) -> None:
    said = re.search(
        r"printed ([\d.]+) / ([\d.]+) for this file of ([\d,]+) bytes", (MODEL.parent / "SOURCE.md").read_text()
    )
    assert said is not None
    assert MODEL.stat().st_size == int(said[3].replace(",", ""))
    found = evaluate.run(evaluate.Config(model=MODEL, data=shared_data / "playing_cards"))
    # Kernels of other processors round differently.
    assert found.AP50 == pytest.approx(float(said[1]), abs=1)
    assert found.AP == pytest.approx(float(said[2]), abs=1)


def test_the_shipped_model_says_what_it_descends_from() -> None:
    """Beside it in the app, as the licence of its start weights asks."""
    start = contracts.load(MODEL).start
    said = (MODEL.parent / "SOURCE.md").read_text()
    assert start["source"].split()[-1] in said and start["licence"] == "Apache-2.0"
    assert "Copyright The TensorFlow Authors, Apache License 2.0" in said


def test_the_shipped_model_without_its_head_finds_the_same(shared_data: Path, tmp_path: Path) -> None:
    whole, raw = Detector(MODEL), Detector(grids.write(MODEL, tmp_path))
    assert (whole.contract.head, raw.contract.head) == ("detections", "raw")
    count = 0
    for path in sorted((shared_data / "playing_cards/images").glob("cam_image*"))[:12]:
        image = load_image(path)
        here, there = whole.detect(image), raw.detect(image)
        count += len(here)
        # Equal scores may change places.
        one, other = (np.lexsort((found.classes, -found.scores)) for found in (here, there))
        assert here.classes[one].tolist() == there.classes[other].tolist(), path.name
        assert np.allclose(here.scores[one], there.scores[other], atol=1e-6), path.name
        assert np.diag(iou(here.boxes_xyxy[one], there.boxes_xyxy[other])).min(initial=1) > 0.999, path.name
    assert count > 12


def test_a_file_without_the_head_is_refused(tmp_path: Path) -> None:
    raw = grids.write(MODEL, tmp_path)
    with pytest.raises(ValueError, match="grids: the file must have the detections head"):
        grids.cut(raw.read_bytes(), contracts.load(raw))
