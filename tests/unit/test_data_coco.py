import json
import re
from pathlib import Path

import numpy as np
import pytest
from data_folders import annotation, coco_record, write_coco, write_image
from hypothesis import given
from hypothesis import strategies as st

from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.data.forms.coco import _positions


def train_with(tmp_path: Path, *annotations: dict, images: int = 2) -> Path:
    record = coco_record(images)
    record["annotations"].extend(annotations)
    return write_coco(tmp_path, record, coco_record(1, 50, "val"))


def faults(path: Path) -> dict[tuple[str, str], int]:
    return {(p.file, p.what): p.count for p in load(path).problems}


@pytest.mark.parametrize("flat", [True, False])
def test_layouts(tmp_path, flat):
    data = load(write_coco(tmp_path, coco_record(3), coco_record(2, 10, "val"), flat=flat))
    assert data.format == "coco"
    assert data.names == ("dog", "cat")
    assert data.category_ids == (3, 7)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 3, "val": 2}
    train = data.splits["train"]
    assert train.files[0] == tmp_path / ("images" if flat else "train2017") / "im1.jpg"
    np.testing.assert_array_equal(train.boxes_xyxy, [[4, 6, 24, 16]] * 3)
    assert train.boxes_xyxy.dtype == np.float32 and train.classes.dtype == np.int32 and train.starts.dtype == np.int64
    assert train.image_ids.tolist() == [1, 2, 3] and train.classes.tolist() == [1, 1, 1]
    assert train.sizes.tolist() == [[48, 64]] * 3 and train.starts.tolist() == [0, 1, 2, 3]
    assert data.problems == () and data.warning() is None


def test_newest_year_wins(tmp_path):
    write_coco(tmp_path, coco_record(1), coco_record(1, 9, "val"), flat=False)
    old = tmp_path / "annotations" / "instances_train2014.json"
    old.write_text(json.dumps(coco_record(2)), encoding="utf-8")
    assert len(load(tmp_path).splits["train"]) == 1


def test_folder_per_split(tmp_path):
    for name, first in (("train", 1), ("valid", 5), ("test", 9)):
        for i in (first, first + 1):
            write_image(tmp_path / name / f"im{i}.jpg")
        (tmp_path / name / "_annotations.coco.json").write_text(json.dumps(coco_record(2, first)), encoding="utf-8")
    data = load(tmp_path)
    assert {name: split.image_ids.tolist() for name, split in data.splits.items()} == {
        "train": [1, 2],
        "val": [5, 6],
        "test": [9, 10],
    }


def test_single_file_is_split_by_seed(tmp_path):
    write_coco(tmp_path, coco_record(10))
    (tmp_path / "instances_train.json").rename(tmp_path / "labels.json")
    first, again, other = load(tmp_path), load(tmp_path / "labels.json"), load(tmp_path, seed=1)
    ids = [{name: split.image_ids.tolist() for name, split in data.splits.items()} for data in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]
    assert sorted(ids[0]["train"] + ids[0]["val"]) == list(range(1, 11)) and len(ids[0]["val"]) == 2
    with pytest.raises(ValueError, match="val_fraction must be between 0 and 1, got 1"):
        load(tmp_path, val_fraction=1)


def test_crowds_areas_and_images_without_boxes_are_kept(tmp_path):
    record = coco_record(3)
    record["annotations"] = [annotation(1, 2, iscrowd=1, area=33.5), annotation(2, 2), annotation(3, 1, area=1e9)]
    train = load(write_coco(tmp_path, record, coco_record(1, 9, "val"))).splits["train"]
    assert train.crowd.tolist() == [False, True, False]
    assert train.areas.tolist() == [200.0, 33.5, 200.0]
    assert train.starts.tolist() == [0, 1, 3, 3]
    assert train.rows(1) == slice(1, 3)


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (annotation(90, 1, [5, 5, 0, 9]), "box with a zero or negative width or height, skipped"),
        (annotation(90, 1, [5, 5, -4, 9]), "box with a zero or negative width or height, skipped"),
        (annotation(90, 1, [64, 5, 4, 9]), "box wholly outside the image, skipped"),
        (annotation(90, 1, [5, -20, 4, 9]), "box wholly outside the image, skipped"),
        (annotation(90, 1, [float("nan"), 5, 4, 9]), "box with a number that is not finite, skipped"),
        (annotation(90, 1, [5, 5, float("inf"), 9]), "box with a number that is not finite, skipped"),
        (annotation(90, 1, [5, 5, 1e308, 9]), "box with a number that is not finite, skipped"),
        (annotation(90, 1, [5, 5, "wide", 9]), "box with a number that is not finite, skipped"),
        (annotation(90, 1, [5, 5, 9]), "box with a number that is not finite, skipped"),
        (annotation(90, 1, None), "box with a number that is not finite, skipped"),
        (annotation(90, 1, category_id=99), "box with an unknown category id, skipped"),
        (annotation(90, 1, category_id=None), "box with an unknown category id, skipped"),
    ],
)
def test_bad_box_is_named_and_skipped(tmp_path, bad, what):
    path = train_with(tmp_path, bad)
    assert len(load(path).splits["train"].classes) == 2
    assert faults(path) == {("images/im1.jpg", what): 1}


def test_boxes_with_one_annotation_id_are_all_kept(tmp_path):
    path = train_with(tmp_path, annotation(1, 1, [9, 9, 9, 9]), annotation(1, 2, [9, 9, 9, 9]))
    assert len(load(path).splits["train"].classes) == 4
    assert faults(path) == {("instances_train.json", "annotation id that is already another's, numbered anew"): 2}


def test_a_box_that_is_there_twice_is_kept_once(tmp_path):
    path = train_with(tmp_path, annotation(90, 1), annotation(91, 1), annotation(92, 1, category_id=3))
    assert len(load(path).splits["train"].classes) == 3
    assert faults(path) == {("images/im1.jpg", "box that is there twice, one kept"): 2}


def test_faults_of_one_kind_are_named_once_with_their_count(tmp_path):
    path = train_with(tmp_path, *(annotation(90 + i, 2, [1, 1, 0, 0]) for i in range(5)))
    assert faults(path) == {("images/im2.jpg", "box with a zero or negative width or height, skipped"): 5}
    assert "5 bad records: images/im2.jpg" in load(path).warning()


def test_dangling_image_id(tmp_path):
    path = train_with(tmp_path, annotation(90, 777), annotation(91, "x"), {"id": 92})
    assert faults(path) == {
        ("instances_train.json", "annotation whose image_id is not a listed image, skipped"): 2,
        ("instances_train.json", "annotation without image_id, skipped"): 1,
    }


def test_box_over_the_edge_is_clipped(tmp_path):
    path = train_with(tmp_path, annotation(90, 1, [-0.9, 0, 20, 20]), annotation(91, 2, [60, 40, 20, 20]))
    train = load(path).splits["train"]
    assert train.boxes_xyxy[1].tolist() == pytest.approx([0, 0, 19.1, 20])
    assert train.boxes_xyxy[3].tolist() == [60, 40, 64, 48] and train.areas[3] == 32
    assert faults(path) == {("images/im2.jpg", "box partly outside the image, clipped"): 1}


def test_bad_images_are_named_and_skipped(tmp_path):
    record = coco_record(4)
    record["images"][1]["id"] = 1
    record["images"] += [{"id": 60}, {"id": None, "file_name": "a.jpg"}, "nonsense"]
    write_coco(tmp_path, record, coco_record(1, 50, "val"), draw=False)
    write_image(tmp_path / "images" / "im1.jpg")
    write_image(tmp_path / "images" / "val50.jpg")
    (tmp_path / "images" / "im3.jpg").touch()
    assert faults(tmp_path) == {
        ("im2.jpg", "image id 1 is already another image's, skipped"): 1,
        ("instances_train.json", "image record without an id or a file_name, skipped"): 3,
        ("instances_train.json", "annotation whose image_id is not a listed image, skipped"): 1,
        ("images/im3.jpg", "image file is empty"): 1,
        ("images/im4.jpg", "image file is missing"): 1,
    }
    assert load(tmp_path).splits["train"].image_ids.tolist() == [1]


def test_sizes_are_read_from_the_file_where_none_is_recorded(tmp_path):
    record = coco_record(3)
    for image, height in zip(record["images"], (None, 0, float("nan")), strict=True):
        image["height"] = height
    del record["images"][0]["width"]
    write_coco(tmp_path, record, coco_record(1, 50, "val"))
    write_image(tmp_path / "images" / "im2.jpg", (30, 70))
    (tmp_path / "images" / "im3.jpg").write_bytes(b"not an image")
    data = load(tmp_path)
    assert data.splits["train"].sizes.tolist() == [[48, 64], [30, 70]]
    assert [(p.file, p.what) for p in data.problems] == [("images/im3.jpg", "not an image that can be read")]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_recorded_size_stands_whatever_exif_says(tmp_path, orientation):
    from PIL import Image

    write_coco(tmp_path, coco_record(1), coco_record(1, 50, "val"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    write_image(tmp_path / "images" / "im1.jpg", (48, 64), exif=exif)
    assert load(tmp_path).splits["train"].sizes.tolist() == [[48, 64]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be JSON"),
        ("{", "must be JSON"),
        ("\0\1\2", "must be JSON"),
        ('"text"', "must be COCO JSON with lists images, annotations and categories, got a str"),
        ("[1]", "got a list"),
        ('{"version": 5, "shapes": []}', r"got an object with \['shapes', 'version'\]"),
        ('{"images": [], "annotations": {}, "categories": []}', "must be COCO JSON"),
        ("[" * 100_000, "must be JSON"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "every category needs"),
        ('{"images": [], "annotations": [], "categories": []}', "at least one class"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}',
            "split 'train' needs usable images",
        ),
    ],
)
def test_not_coco(tmp_path, text, message):
    (tmp_path / "instances_train.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_not_utf8(tmp_path):
    (tmp_path / "instances_train.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match="must be JSON"):
        load(tmp_path)


@pytest.mark.parametrize("empty", ["train", "val"])
def test_split_without_images_is_an_error_that_names_it(tmp_path, empty):
    records = {"train": coco_record(2), "val": coco_record(2, 9, "val")}
    records[empty]["images"] = []
    with pytest.raises(
        ValueError, match=f"split '{empty}' needs usable images, got 0; 2 bad records: instances_{empty}"
    ):
        load(write_coco(tmp_path, records["train"], records["val"]))


def test_train_without_boxes_is_an_error(tmp_path):
    record = coco_record(2)
    record["annotations"] = [annotation(1, 1, iscrowd=1)]
    with pytest.raises(ValueError, match="split 'train' needs usable boxes, got 0"):
        load(write_coco(tmp_path, record, coco_record(2, 9, "val")))


def test_one_image_cannot_be_split(tmp_path):
    with pytest.raises(ValueError, match="at least 2 usable images, got 1"):
        load(write_coco(tmp_path, coco_record(1)))


def test_category_that_changes_its_name_between_splits(tmp_path):
    val = coco_record(1, 9, "val")
    val["categories"][0]["name"] = "horse"
    with pytest.raises(ValueError, match="category id 7 must have the same name in every split, got 'cat' and 'horse'"):
        load(write_coco(tmp_path, coco_record(1), val))


def test_class_names_of_any_kind(tmp_path):
    record = coco_record(2)
    names = ["traffic light / signal", "猫 ünï", " two\nlines\t", "'q\" [b]"]
    record["categories"] = [{"id": i, "name": name} for i, name in enumerate(names, 7)]
    data = load(write_coco(tmp_path, record, record | {"categories": []}))
    assert data.names == ("traffic light / signal", "猫 ünï", "two lines", "'q\" [b]")


def test_images_shared_by_train_and_val_are_told(tmp_path):
    data = load(write_coco(tmp_path, coco_record(3), coco_record(2)))
    assert [(p.file, p.count) for p in data.problems] == [("val", 2)]


def test_missing_and_unknown_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder of labelled images"):
        load(tmp_path / "none")
    with pytest.raises(ValueError, match=r"no labelled images found; looked for COCO: .*YOLO: .*Pascal VOC: .*CSV: "):
        load(tmp_path)
    write_coco(tmp_path / "inner", coco_record(1), coco_record(1, 9))
    with pytest.raises(ValueError, match=re.escape(f"perhaps you mean {tmp_path / 'inner'}")):
        load(tmp_path)


def test_subset_keeps_boxes_with_their_images(tmp_path):
    record = coco_record(4)
    record["annotations"] += [annotation(20 + i, 1 + i % 2, [i, i, 5, 5]) for i in range(6)]
    train = load(write_coco(tmp_path, record, coco_record(1, 9, "val"))).splits["train"]
    part = train.subset([3, 0, 1])
    assert part.image_ids.tolist() == [4, 1, 2] and part.name == "train"
    for place, index in enumerate([3, 0, 1]):
        np.testing.assert_array_equal(part.boxes_xyxy[part.rows(place)], train.boxes_xyxy[train.rows(index)])
        np.testing.assert_array_equal(part.classes[part.rows(place)], train.classes[train.rows(index)])


@given(st.lists(st.integers(0, 99), unique=True), st.lists(st.one_of(st.integers(-5, 120), st.just(float("nan")))))
def test_positions_is_list_index(keys, values):
    got = _positions(np.array(values, np.float64), np.array(keys, np.int64))
    assert got.tolist() == [keys.index(value) if value in keys else -1 for value in values]


NUMBER = st.one_of(st.floats(-40, 120), st.sampled_from([float("nan"), float("inf"), 0.0, 1e-9, 1e38, 1e300]))


@given(st.lists(st.tuples(st.integers(0, 3), st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), st.booleans()), max_size=12))
def test_whatever_comes_in_only_good_boxes_come_out(tmp_path_factory, records):
    root = tmp_path_factory.getbasetemp() / "any"
    record = coco_record(3)
    record["annotations"] += [
        annotation(100 + i, image, list(box), iscrowd=int(crowd)) for i, (image, box, crowd) in enumerate(records)
    ]
    train = load(write_coco(root, record, coco_record(1, 9, "val"), draw=not root.exists())).splits["train"]
    boxes = train.boxes_xyxy
    assert np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all() and (boxes >= 0).all()
    assert (boxes[:, [0, 2]] <= 64).all() and (boxes[:, [1, 3]] <= 48).all()
    assert train.starts[-1] == len(boxes) == len(train.classes) == len(train.crowd) == len(train.areas)
    assert (train.areas > 0).all()
