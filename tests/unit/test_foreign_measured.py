"""Average precision of other people's detectors on a user's own images, and what they are told of the classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scenes import IDS, at, results_of, split_of
from ssd_file import ssd

from micro_yolo.pipeline import evaluate
from micro_yolo.pipeline.measure.classes import distinct, matched
from micro_yolo.pipeline.measure.metrics import coco_metrics
from micro_yolo.pipeline.store import runs

# What the file of ssd_file finds in a picture of 200 x 100: a person at the upper left, a cat in the lower half.
PERSON, CAT = [0, 0, 100, 50], [0, 50, 200, 50]


def labelled(root: Path, names: tuple[str, ...], boxes: list[tuple[int, list[int]]]) -> Path:
    """Two pictures to train on and two to measure on, each with these boxes (class from 1, xywh)."""
    (root / "images").mkdir(parents=True)
    for split in ("train", "val"):
        images = [{"id": n, "file_name": f"{split}{n}.png", "width": 200, "height": 100} for n in (1, 2)]
        for image in images:
            Image.fromarray(np.full((100, 200, 3), 90, np.uint8)).save(root / "images" / str(image["file_name"]))
        annotations = [
            {"id": 10 * n + number, "image_id": n, "category_id": category, "bbox": box}
            for n in (1, 2)
            for number, (category, box) in enumerate(boxes)
        ]
        categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
        record = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"instances_{split}.json").write_text(json.dumps(record))
    return root


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "mobile.tflite"
    path.write_bytes(ssd(labels="Per son\ncat\n"))
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_what_it_finds_is_measured_as_ours_is(tmp_path: Path, dtype: str) -> None:
    model = tmp_path / "mobile.tflite"
    model.write_bytes(ssd(dtype))
    data = labelled(tmp_path / "set", ("cat", "person"), [(2, PERSON), (1, CAT)])
    found = evaluate.run(evaluate.Config(model=model, data=data, out=tmp_path / "out"))
    assert found.metrics["per_class"] == {
        "cat": {"AP": pytest.approx(100), "AP50": pytest.approx(100), "boxes": 2},
        "person": {"AP": pytest.approx(100), "AP50": pytest.approx(100), "boxes": 2},
    }
    assert found.metrics["detections_left_out"] == 0
    written = json.loads((tmp_path / "out" / "metrics_mobile.json").read_text())
    assert written["foreign"] == {
        "classes": {"person": "person", "cat": "cat"},
        "left_out": 0,
        "missing": [],
        "least_score": pytest.approx(1e-8),
    }
    assert (written["sha256"], written["size"], written["resize"]) == (runs.sha256(model), [20, 30], "stretch")
    assert written["iou_threshold"] is None and written["images"] == 2 and written["model_ms"] > 0
    results = json.loads((tmp_path / "out" / "coco_mobile.json").read_text())
    assert sorted({(each["category_id"], tuple(each["bbox"])) for each in results if each["score"] > 0.5}) == [
        (1, tuple(CAT)),
        (2, tuple(PERSON)),
    ]
    # Far below the threshold of predicting.
    assert min(each["score"] for each in results) == pytest.approx(0.05, abs=1e-3)


def test_boxes_are_in_the_pixels_of_the_annotations(model: Path, tmp_path: Path) -> None:
    data = labelled(tmp_path / "set", ("person", "cat"), [(1, PERSON), (2, CAT)])
    for path in (data / "images").iterdir():
        Image.fromarray(np.full((50, 100, 3), 90, np.uint8)).save(path)
    assert evaluate.run(evaluate.Config(model=model, data=data)).AP == pytest.approx(100)


def test_classes_go_by_name_and_others_are_left_out_and_counted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = labelled(tmp_path / "set", ("dog", "PERSON", "bus stop"), [(2, PERSON), (1, CAT), (3, CAT)])
    evaluate.command(evaluate.Config(model=model, data=data, out=tmp_path / "out"))
    shown = capsys.readouterr()
    assert shown.err == f"warning: {model} knows no dog, bus stop: their boxes count as missed\n"
    assert "classes matched by name: 1; left out: 1, with 2 detections" in shown.out
    assert "somebody else's" in shown.out
    written = json.loads((tmp_path / "out" / "metrics_mobile.json").read_text())
    assert written["foreign"] == {
        "classes": {"Per son": "PERSON"},
        "left_out": 1,
        "missing": ["dog", "bus stop"],
        "least_score": pytest.approx(1e-8),
    }
    assert written["detections_left_out"] == 2
    # A class it does not know has boxes that nobody found: that is 0, not nothing.
    assert {name: row["AP50"] for name, row in written["per_class"].items()} == {
        "dog": 0,
        "PERSON": pytest.approx(100),
        "bus stop": 0,
    }
    assert written["AP50"] == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (("person", "cat"), ("cat", "person"), {0: 1, 1: 0}),
        (("Traffic Light",), ("traffic_light",), {0: 0}),
        (("T-shirt", "tee shirt"), ("t shirt",), {0: 0}),
        (("???", "cat", "???"), ("cat",), {1: 0}),
        (("cat", "Cat"), ("cat",), {0: 0, 1: 0}),
        (("Cat", "cat"), ("cat", "Cat"), {0: 1, 1: 0}),
        (("CAT",), ("cat", "Cat"), {}),
        (("cat", "dog", "cat"), ("cat", "cat", "dog"), {0: 0, 1: 2, 2: 1}),
        (("cat", "cat", "cat"), ("cat", "cat"), {0: 0, 1: 1, 2: 1}),
        ((), ("cat",), {}),
    ],
)
def test_names_are_matched_whatever_their_case_and_spacing(
    labels: tuple[str, ...], names: tuple[str, ...], expected: dict[int, int]
) -> None:
    assert matched(labels, names) == expected


def test_what_cannot_be_measured_is_told_in_one_line(model: Path, tmp_path: Path) -> None:
    data = labelled(tmp_path / "set", ("bus",), [(1, PERSON)])
    for config, message in (
        (evaluate.Config(model=model), r"is not of ours and names no data set; pass --data PATH$"),
        (
            evaluate.Config(model=model, data=data),
            r"has none of the classes of .*set, which are bus; its own: Per son, ",
        ),
        (evaluate.Config(model=model, data=data, iou=0.5), "suppresses by itself; allowed: leave --iou out"),
        (evaluate.Config(model=model, data=tmp_path / "none"), "none: no such folder of labelled images"),
        (evaluate.Config(model=data / "instances_val.json", data=data), "not a .tflite"),
    ):
        with pytest.raises((ValueError, OSError), match=message) as error:
            evaluate.run(config)
        assert "\n" not in str(error.value)
    model.write_bytes(ssd(labels=None))
    with pytest.raises(ValueError, match="its own: no names, as there is no one text file behind the model"):
        evaluate.run(evaluate.Config(model=model, data=data))


def test_a_picture_that_cannot_be_read_is_left_out(model: Path, tmp_path: Path) -> None:
    data = labelled(tmp_path / "set", ("person", "cat"), [(1, PERSON), (2, CAT)])
    (data / "images" / "val1.png").write_bytes(b"broken")
    found = evaluate.run(evaluate.Config(model=model, data=data))
    assert found.metrics["images"] == 1 and "val1.png" in found.metrics["skipped"][0]
    assert found.AP50 == pytest.approx(100) and found.written == ()


def test_scores_that_the_file_drops_by_itself_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "mobile.tflite"
    model.write_bytes(ssd(least=0.3))
    data = labelled(tmp_path / "set", ("person", "cat"), [(1, PERSON), (2, CAT)])
    evaluate.command(evaluate.Config(model=model, data=data))
    told = capsys.readouterr().err
    assert told == f"warning: {model} drops what scores below 0.3 by itself, which lowers its average precision\n"


def test_classes_of_one_name_have_lines_of_their_own() -> None:
    split = split_of([(0, at(0, 0)), (1, at(50, 0)), (2, at(0, 50))])
    results = results_of([(0, at(0, 0), 0.9), (2, at(0, 50), 0.9)])
    found = coco_metrics(split, IDS, results, ("door", "door", "car"))["per_class"]
    assert {name: row["AP50"] for name, row in found.items()} == {
        "door (5)": pytest.approx(100),
        "door (9)": 0,
        "car": pytest.approx(100),
    }
    assert distinct(("a", "b", "a")) == ("a (0)", "b", "a (2)")
