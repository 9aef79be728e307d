"""The golden vectors that the app is tested with are what tflite/ gives today, and the shipped model is one of ours."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tflite import contract as contracts
from tflite.detector import Detector
from tflite.image import load_image, resize

GOLDEN = Path(__file__).parents[1] / "golden"


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


@pytest.mark.parametrize("name", ["resize.json", "decode.json", "photo.json", "orientation.json", "yuv.json"])
def test_the_files_are_what_the_code_gives(golden: ModuleType, name: str) -> None:
    assert set(golden.FILES) == {path.name for path in GOLDEN.glob("*.json")}
    assert_alike(json.loads(golden.text(golden.FILES[name]())), json.loads((GOLDEN / name).read_text()), name)


def test_the_shipped_model_still_gives_the_kept_outputs(golden: ModuleType) -> None:
    detector = Detector(golden.MODEL)
    pixels, _ = resize(load_image(golden.PHOTO), detector.size, detector.contract.input.resize)
    detector.raw(pixels)
    given = np.concatenate([detector._interpreter.get(o.name).ravel() for o in detector.contract.outputs])
    kept = np.frombuffer(golden.RAW.read_bytes(), np.int8)
    # Kernels of other processors round differently; most values must be the same.
    assert np.abs(given.astype(int) - kept.astype(int)).max() <= 8
    assert (given == kept).mean() > 0.9


def test_the_shipped_contract_says_nothing_about_a_machine(golden: ModuleType) -> None:
    contract = contracts.load(golden.MODEL)
    contracts.verify(contract, golden.MODEL.read_bytes(), golden.MODEL)
    assert contract.data.path == "playing_cards"
    assert not [path for path in contract.parents if Path(path).is_absolute()]
