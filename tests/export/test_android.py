"""`convert --target android`: the model in the app's assets, and nothing of the machine it was made on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from micro_yolo.pipeline import convert
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.targets import TARGETS, android


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(android, "ASSETS", folder)
    return folder


def test_the_model_and_its_contract_are_in_the_app(exported: Path, tmp_path: Path, assets: Path) -> None:
    config = convert.Config(run=exported, float32=True, target=("android",), out=tmp_path / "out")
    convert.run(config)
    model = assets / f"{exported.name}_float32.tflite"
    assert TARGETS["android"].names("a", "int8", "raw") == ("a_int8_raw.tflite", "a_int8_raw.json")
    assert sorted(assets.iterdir()) == [model.with_suffix(".json"), model]
    assert model.read_bytes() == (tmp_path / "out/model_float32.tflite").read_bytes()
    assert Detector(model).labels == Detector(tmp_path / "out/model_float32.tflite").labels
    path = contracts.load(tmp_path / "out/model_float32.tflite").data.path
    assert path is not None
    assert json.loads(model.with_suffix(".json").read_text())["data"]["path"] == Path(path).name
    with pytest.raises(ValueError, match=rf"{model.name}: already exists, made from these weights; .*--overwrite"):
        convert.run(convert.Config(run=exported, float32=True, android=True, out=tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_without_the_app_nothing_is_converted(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(android, "ASSETS", tmp_path / "none")
    with pytest.raises(ValueError, match=r"android: .*none does not exist; run from a clone"):
        convert.run(convert.Config(run=exported, float32=True, android=True, overwrite=True, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
