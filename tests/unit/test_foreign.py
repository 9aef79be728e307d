"""Detectors of other people: what works without a contract, and why the rest is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ssd_file import MOST, ssd

from micro_yolo.pipeline import predict
from micro_yolo.tflite import edit, foreign


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.full((100, 200, 3), 90, np.uint8)).save(path)
    return path


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "ssd.tflite"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_an_ssd_file_finds_what_its_operator_says(tmp_path: Path, picture: Path, dtype: str) -> None:
    out = predict.run(predict.Config((picture,), model=write(tmp_path, ssd(dtype)), out=tmp_path / "out")).out
    written = json.loads((out / "detections.json").read_text())
    person, cat = written["images"][0]["detections"]
    assert (person["label"], person["score"], person["box_xyxy"]) == ("person", 0.9, [0, 0, 100, 50])
    assert (cat["label"], cat["score"], cat["box_xyxy"]) == ("cat", 0.7, [0, 50, 200, 100])
    assert written["iou_threshold"] is None and written["score_threshold"] == 0.5
    assert (out / "picture.png").is_file()


def test_the_score_is_the_users(tmp_path: Path, picture: Path) -> None:
    model = write(tmp_path, ssd())
    for score, count in ((0.8, 1), (0.01, 3)):
        out = predict.run(predict.Config((picture,), model=model, score=score, out=tmp_path / f"{score}")).out
        assert len(json.loads((out / "detections.json").read_text())["images"][0]["detections"]) == count


def test_without_labels_classes_are_numbers(tmp_path: Path, picture: Path) -> None:
    out = predict.run(predict.Config((picture,), model=write(tmp_path, ssd(labels=None)), out=tmp_path / "out")).out
    found = json.loads((out / "detections.json").read_text())["images"][0]["detections"]
    assert [each["label"] for each in found] == ["class 0", "class 1"]


def test_outputs_are_told_apart_by_their_names_too() -> None:
    names = ("detection_scores", "detection_boxes", "num_detections", "detection_classes")
    graph = edit.graph_of(ssd(names=names, custom=False))
    # Their order is the names', so are their shapes.
    shapes = [(1, MOST), (1, MOST, 4), (1,), (1, MOST)]
    for tensor, shape in zip(graph.subgraphs[0].tensors[4:], shapes, strict=True):
        tensor.shape = np.array(shape, np.int32)
    assert foreign.recognize(edit.pack(graph)).outputs == (5, 7, 4, 6)


def outputs(**changes: object) -> bytes:
    graph = edit.graph_of(ssd(labels=None))
    for name, value in changes.items():
        setattr(graph.subgraphs[0], name, value)
    return edit.pack(graph)


def shaped(index: int, *shape: int) -> bytes:
    graph = edit.graph_of(ssd(labels=None))
    graph.subgraphs[0].tensors[index].shape = np.array(shape, np.int32)
    return edit.pack(graph)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (ssd("float32"), "its input is float32, and no metadata says how pixels are normalized"),
        (ssd("int32"), "its input must be uint8, int8 or float32, got int32"),
        (shaped(0, 1, 20, 30, 1), r"its input must be one RGB picture, 1 x height x width x 3, got uint8 \[1, 20"),
        (shaped(0, 4, 20, 30, 3), "its input must be one RGB picture"),
        (shaped(4, 1, 5, 7), r"its boxes must be float32 \[1, 5, 4\], got float32 \[1, 5, 7\]"),
        (shaped(6, 1, 4), r"its scores must be float32 \[1, 5\], got float32 \[1, 4\]"),
        (outputs(outputs=np.array([4, 5], np.int32)), r"must have the four outputs .*, got 2: float32 \[1, 5, 4\]"),
        (outputs(inputs=np.array([0, 1], np.int32)), "must have one input, got 2"),
        (ssd(names=("a", "b", "c", "d"), custom=False), "neither its operators nor its metadata say which output"),
    ],
)
def test_anything_else_is_refused_with_the_reason(tmp_path: Path, picture: Path, data: bytes, reason: str) -> None:
    model = write(tmp_path, data)
    with pytest.raises(ValueError, match=f"has no contract .*, and is not a detector that works without one: {reason}"):
        predict.run(predict.Config((picture,), model=model, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_what_else_a_user_can_get_wrong(tmp_path: Path, picture: Path) -> None:
    model = write(tmp_path, ssd())
    with pytest.raises(ValueError, match="suppresses by itself; allowed: leave --iou out"):
        predict.run(predict.Config((picture,), model=model, iou=0.4, out=tmp_path / "out"))
    with pytest.raises(FileNotFoundError, match=r"none\.tflite: no such file"):
        predict.run(predict.Config((picture,), model=tmp_path / "none.tflite", out=tmp_path / "out"))
    text = shutil.copy(model, tmp_path / "text.png")
    with pytest.raises(ValueError, match="none of the 1 pictures can be read"):
        predict.run(predict.Config((Path(text),), model=model, out=tmp_path / "out"))


def test_an_operator_the_runtime_lacks_is_one_line(tmp_path: Path, picture: Path) -> None:
    graph = edit.graph_of(ssd(labels=None))
    graph.subgraphs[0].operators[0].inputs = np.array([1, 2, 0], np.int32)  # anchors of bytes
    model = write(tmp_path, edit.pack(graph))
    with pytest.raises(ValueError, match=r"ssd\.tflite: the runtime"):
        predict.run(predict.Config((picture,), model=model, out=tmp_path / "out"))


@pytest.mark.parametrize("labels", ["../../evil\n\x1b[2J\n", "a\n" * 3])
def test_labels_are_text_only(labels: str) -> None:
    found = foreign.recognize(ssd(labels=labels)).labels
    assert all(label.isprintable() for label in found)
