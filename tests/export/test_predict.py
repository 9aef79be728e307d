"""Pictures in, pictures and detections.json out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline import predict as stage

Config = stage.Config


@pytest.fixture
def model(exported: Path) -> Path:
    return exported / "export" / "model_int8.tflite"


@pytest.fixture
def pictures(tiny_data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((tiny_data / "images").iterdir())[:3]:
        shutil.copy(path, folder)
    return folder


def test_pictures_and_detections(model: Path, pictures: Path, tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((40, 30), 90, np.uint8)).save(grey)
    out = stage.run(Config(images=(grey, pictures), model=model, out=tmp_path / "out", score=0.05)).out
    written = json.loads((out / "detections.json").read_text())
    assert len(written["images"]) == 4
    assert written["score_threshold"] == 0.05
    first = written["images"][0]
    assert (first["file"], first["width"], first["height"]) == (str(grey), 30, 40)
    assert Image.open(out / first["picture"]).size == (30, 40)
    found = [detection for image in written["images"] for detection in image["detections"]]
    assert found
    for detection in found:
        assert detection["label"] == written["labels"][detection["class"]]
        assert 0.05 < detection["score"] <= 1
        assert len(detection["box_xyxy"]) == 4
    assert {path.name for path in out.iterdir()} == {image["picture"] for image in written["images"]} | {
        "detections.json"
    }


def test_boxes_are_drawn(model: Path, pictures: Path, tmp_path: Path) -> None:
    path = next(pictures.iterdir())
    plain = stage.run(Config(images=(path,), model=model, out=tmp_path / "a", score=1.0)).out
    drawn = stage.run(Config(images=(path,), model=model, out=tmp_path / "b", score=0.02)).out
    first, second = (np.asarray(Image.open(next(out.glob("*[!n]")))).astype(int) for out in (plain, drawn))
    assert np.abs(first - second).max() > 50


def test_unreadable_pictures_are_named_and_counted(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "broken.jpg").write_bytes(b"no picture")
    stage.command(Config(images=(pictures,), model=model, out=tmp_path / "out"))
    written = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [Path(entry["file"]).name for entry in written["unreadable"]] == ["broken.jpg"]
    said = capsys.readouterr()
    assert "broken.jpg: not an image" in said.err
    assert "3 pictures, 1 skipped" in said.out


def test_nothing_readable(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 1 pictures can be read; .*a\.jpg: image file is empty"):
        stage.run(Config(images=(tmp_path / "a.jpg",), model=model, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_results_are_not_replaced_unasked(model: Path, pictures: Path, tmp_path: Path) -> None:
    config = {"images": (pictures,), "model": model, "out": tmp_path / "out"}
    stage.run(Config(**config))
    with pytest.raises(ValueError, match="already exists; allowed: another --out, or --overwrite"):
        stage.run(Config(**config))
    stage.run(Config(**config, overwrite=True))


def test_originals_survive_out_in_their_folder(model: Path, pictures: Path) -> None:
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    stage.run(Config(images=(pictures,), model=model, out=pictures, overwrite=True))
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(pictures.iterdir())) == 2 * len(before) + 1


def test_pictures_of_one_name_get_numbers(model: Path, pictures: Path, tmp_path: Path) -> None:
    source = next(pictures.iterdir())
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(source, tmp_path / folder / f"same{source.suffix}")
    out = stage.run(Config(images=(tmp_path / "one", tmp_path / "two"), model=model, out=tmp_path / "out")).out
    names = {path.stem for path in out.iterdir()}
    assert names == {"same", "same-2", "detections"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": ()}, "name at least one picture or folder"),
        ({"images": (Path("gone.jpg"),)}, r"gone\.jpg: no such picture or folder"),
        ({"model": Path("gone.tflite")}, r"gone\.tflite: no such file"),
        ({"score": 1.5}, r"score: must be in 0\.\.1, got 1\.5"),
        ({"iou": -1.0}, r"iou: must be in 0\.\.1"),
        ({"threads": 0}, "threads: must be at least 1"),
    ],
)
def test_bad_requests(model: Path, pictures: Path, tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        stage.run(Config(**{"images": (pictures,), "model": model, "out": tmp_path / "out", **change}))
    assert not (tmp_path / "out").exists()


def test_a_folder_without_pictures(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no pictures in this folder"):
        stage.run(Config(images=(tmp_path / "empty",), model=model))


def test_as_a_user_types_it(
    model: Path, pictures: Path, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = command("pipeline.predict", "--model", model, pictures, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "objects in 3 pictures" in done.stdout
    assert "INFO" not in done.stderr
    truncated = tmp_path / "model.tflite"
    truncated.write_bytes(model.read_bytes()[:1000])
    done = command("pipeline.predict", "--model", truncated, pictures, "--out", tmp_path / "new", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("python -m pipeline.predict: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
