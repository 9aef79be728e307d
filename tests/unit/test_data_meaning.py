"""What the numbers and letters of labels mean, where they could mean something else."""

import json

import numpy as np
import pytest
from data_folders import write_yolo
from drawn_kinds import CAT, YOLO, check, coco, pictures, write

from micro_yolo.pipeline.data import load


@pytest.mark.parametrize("each", [2, 3])
def test_key_points_are_no_polygon(tmp_path, each):
    points = "0.2 0.2 0.3 0.25" if each == 2 else "0.2 0.2 2 0.3 0.25 1"
    line = f"0 0.21875 0.22916667 0.3125 0.20833333 {points}\n"
    write_yolo(tmp_path, "images", dict.fromkeys("abcd", line))
    data = load(tmp_path)
    assert {tuple(box) for split in data.splits.values() for box in split.boxes_xyxy.round().tolist()} == {tuple(CAT)}
    assert [(p.what[:22], p.count) for p in data.problems] == [("Ultralytics pose label", 4)]


def test_turned_boxes_stand_for_the_boxes_around_them(tmp_path):
    line = "0 0.0625 0.125 0.375 0.125 0.375 0.33333 0.0625 0.33333\n"
    line += "1 0.46875 0.125 0.625 0.125 0.625 0.33333 0.46875 0.33333\n"
    write_yolo(tmp_path, "images", dict.fromkeys("abcd", line))
    check(load(tmp_path), "yolo", names=("0", "1"))


def test_yolo_lines_in_pixels_are_named(tmp_path):
    write_yolo(tmp_path, "images", dict.fromkeys("ab", "0 14 11 20 10\n"))
    with pytest.raises(ValueError, match="in pixels, not in shares of the picture"):
        load(tmp_path)


def test_corners_in_place_of_sides_are_seen(tmp_path):
    record = coco(pictures(tmp_path))
    for each in record["annotations"]:
        x, y, w, h = each["bbox"]
        each["bbox"] = [x + 20, y + 20, x + w + 20, y + h + 20]
    write(tmp_path / "labels.json", json.dumps(record))
    data = load(tmp_path)
    assert data.splits["train"].boxes_xyxy[:2].tolist() == [[24, 26, 44, 36], [50, 26, 60, 36]]
    assert ["corners (x1, y1, x2, y2)" in problem.what for problem in data.problems] == [True]


def test_runs_of_pixels_have_the_box_that_pycocotools_finds(tmp_path):
    mask = pytest.importorskip("pycocotools.mask")
    from micro_yolo.pipeline.data.forms.outlines import outline_box

    rng = np.random.default_rng(0)
    for _ in range(30):
        drawn = np.zeros((48, 64), np.uint8, order="F")
        y, x = rng.integers(0, 40), rng.integers(0, 50)
        drawn[y : y + rng.integers(1, 20), x : x + rng.integers(1, 20)] = rng.integers(0, 2)
        drawn[rng.integers(0, 48), rng.integers(0, 64)] = 1
        packed = mask.encode(drawn)
        expected = mask.toBbox(packed).tolist()
        assert outline_box({"counts": packed["counts"].decode(), "size": [48, 64]}) == tuple(expected)
        flat = drawn.ravel(order="F").astype(int)
        ends = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
        runs = np.diff([0, *ends, flat.size]).tolist()
        assert outline_box({"counts": runs, "size": [48, 64]}) == tuple(expected)


@pytest.mark.parametrize("encoding", ["gb18030", "cp1252", "utf-16", "utf-8-sig"])
def test_text_of_other_programs(tmp_path, encoding):
    name = "Schräubchen" if encoding == "cp1252" else "螺栓"
    for each in pictures(tmp_path / "images"):
        write(tmp_path / "labels" / f"{each[0]}.txt", YOLO, encoding)
    write(tmp_path / "classes.txt", f"{name}\n{name}2\n", encoding)
    check(load(tmp_path), "yolo", names=(name, f"{name}2"))


def test_labels_with_commas_and_classes_from_one(tmp_path):
    text = YOLO.replace("\n1 ", "\n2 ").replace("0 ", "1 ", 1).replace(" ", ",")
    write_yolo(tmp_path, "images", dict.fromkeys("abcd", text))
    write(tmp_path / "classes.txt", "cat\ndog\n")
    check(load(tmp_path), "yolo", said=("classes are numbered from 1; taken as such",))
