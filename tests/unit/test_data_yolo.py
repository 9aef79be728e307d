import numpy as np
import pytest
from data_folders import write_image, write_yolo

from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.data.forms import gather, places

LINE = "1 0.5 0.5 0.25 0.5\n"


def shape(data):
    return {name: (len(split), len(split.classes)) for name, split in data.splits.items()}


@pytest.mark.parametrize("names", ["[cat, 'dog / x']", "{0: cat, 1: 'dog / x'}"])
@pytest.mark.parametrize(
    ("train", "val", "path"),
    [
        ("images/train", "images/val", ""),
        ("images/train", "images/val", "path: ."),
        ("images/train", "images/val", "path: ../elsewhere"),
        ("../train/images", "../valid/images", ""),
        ("[images/train]", "images/val", ""),
    ],
)
def test_data_yaml(tmp_path, names, train, val, path):
    (tmp_path / "data.yaml").write_text(f"train: {train}\nval: {val}\nnames: {names}\n{path}\n")
    for folder, stems in ((train.strip("[]"), "ab"), (val, "c")):
        write_yolo(tmp_path, folder.removeprefix("../"), {stem: LINE for stem in stems})
    for data in (load(tmp_path), load(tmp_path / "data.yaml")):
        assert data.format == "yolo" and data.names == ("cat", "dog / x") and data.category_ids == (0, 1)
        assert shape(data) == {"train": (2, 2), "val": (1, 1)}
        np.testing.assert_allclose(data.splits["train"].boxes_xyxy[0], [24, 12, 40, 36])
        assert data.splits["train"].classes.tolist() == [1, 1] and data.problems == ()


@pytest.mark.parametrize(("train", "val"), [("images/train", "images/val"), ("train/images", "valid/images")])
def test_without_yaml(tmp_path, train, val):
    write_yolo(tmp_path, train, {"a": LINE, "b": None, "c": "\n"})
    write_yolo(tmp_path, val, {"d": LINE})
    data = load(tmp_path)
    assert data.names == ("0", "1") and shape(data) == {"train": (3, 1), "val": (1, 1)}
    (tmp_path / "classes.txt").write_text("cat\ndog\nhen\n")
    assert load(tmp_path).names == ("cat", "dog", "hen")


def test_flat_is_split_by_seed_and_lists_are_read(tmp_path):
    write_yolo(tmp_path, "images", {str(i): LINE for i in range(10)})
    assert shape(load(tmp_path)) == {"train": (8, 8), "val": (2, 2)}
    (tmp_path / "train.txt").write_text("images/1.png\n./images/2.png\n")
    (tmp_path / "val.txt").write_text(f"{tmp_path}/images/3.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: val.txt\nnc: 2\n")
    data = load(tmp_path)
    assert shape(data) == {"train": (2, 2), "val": (1, 1)} and data.names == ("0", "1")


def test_polygons_become_their_boxes(tmp_path):
    write_yolo(
        tmp_path, "images", {"a": "0 0.25 0.5 0.5 0.25 0.75 0.75\n", "b": "0 nan 0.5 0.5 0.25 0.75 0.75\n", "c": LINE}
    )
    data = load(tmp_path)
    boxes = np.concatenate([split.boxes_xyxy for split in data.splits.values()])
    assert [16, 12, 48, 36] in boxes.tolist() and len(boxes) == 2
    assert [p.what for p in data.problems] == ["box with a number that is not finite, skipped"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("0 0.5 0.5 0.2", "line that is not a class and a box, skipped"),
        ("cat 0.5 0.5 0.2 0.2", "line that is not a class and a box, skipped"),
        ("-1 0.5 0.5 0.2 0.2", "line that is not a class and a box, skipped"),
        ("0.5 0.5 0.5 0.2 0.2", "line that is not a class and a box, skipped"),
        ("9 0.5 0.5 0.2 0.2", "class 9 that has no name, skipped"),
        ("0 0.5 0.5 0 0.2", "box with a zero or negative width or height, skipped"),
        ("0 0.5 0.5 -0.1 0.2", "box with a zero or negative width or height, skipped"),
        ("0 0.5 inf 0.1 0.2", "box with a number that is not finite, skipped"),
        ("0 1.5 0.5 0.1 0.2", "box wholly outside the image, skipped"),
        ("0 1.0 0.5 0.4 0.2", "box partly outside the image, clipped"),
    ],
)
def test_bad_line_is_a_bad_record(tmp_path, line, what):
    write_yolo(tmp_path, "images", {"a": LINE + line + "\n", "b": LINE})
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    data = load(tmp_path)
    assert [(p.what, p.count) for p in data.problems] == [(what, 1)]
    assert sum(len(split.classes) for split in data.splits.values()) == 2 + ("clipped" in what)


def test_a_sixth_number_is_left_out_and_said_once(tmp_path):
    write_yolo(tmp_path, "images", {"a": LINE.strip() + " 0.9\n", "b": LINE.strip() + " 0.8\n"})
    data = load(tmp_path)
    assert [(p.file, p.count) for p in data.problems] == [("labels", 2)] and "sixth number" in data.problems[0].what
    assert all(split.boxes_xyxy.tolist() == [[24, 12, 40, 36]] for split in data.splits.values())


def test_image_that_cannot_be_read(tmp_path):
    write_yolo(tmp_path, "images", {"a": LINE, "b": LINE, "c": LINE, "d": LINE})
    (tmp_path / "images" / "b.png").write_bytes(b"GIF?")
    (tmp_path / "images" / "c.png").write_bytes(b"")
    assert {(p.file, p.what) for p in load(tmp_path).problems} == {
        ("images/b.png", "not an image that can be read"),
        ("images/c.png", "image file is empty"),
    }


def test_exif_turned_images_have_their_displayed_size(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "labels").mkdir()
    for stem in "ab":
        write_image(tmp_path / "images" / f"{stem}.jpg", (48, 64), exif=exif)
        (tmp_path / "labels" / f"{stem}.txt").write_text(LINE)
    assert load(tmp_path).splits["train"].sizes.tolist() == [[64, 48]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must name the folders train and val"),
        ("train: [", "must be YAML"),
        ("- a\n- b\n", "must name the folders train and val"),
        ("names: [a]\n", "must name the folders train and val"),
        ("train:\nval:\n", "must name the folders train and val, got none"),
        ("train: images\nnames: 5\n", "names must be a list or a mapping"),
        ("train: images\nnames: {a: b}\n", "names must map class numbers"),
        ("train: images\nnames: ['']\n", "names must map class numbers"),
        ("train: nowhere\nnames: [a, b]\n", "split 'train' needs usable images, got 0; 1 bad records: nowhere"),
        ("train: images\nval: empty\nnames: [a, b]\n", "split 'val' needs usable images, got 0"),
    ],
)
def test_bad_yaml(tmp_path, text, message):
    write_yolo(tmp_path, "images", {"a": LINE, "b": LINE})
    (tmp_path / "empty").mkdir()
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path)
    assert "\n" not in str(error.value)


def test_no_labels_at_all_says_where_they_were_looked_for(tmp_path):
    write_yolo(tmp_path, "images", {"a": None, "b": None})
    (tmp_path / "data.yaml").write_text("train: images\nnames: [a, b]\n")
    with pytest.raises(
        ValueError, match="split 'train' needs usable boxes, got 0; 2 bad records: labels: no label file"
    ):
        load(tmp_path)


def test_images_folder_above_the_data_set_is_left_alone(tmp_path):
    root = tmp_path / "images" / "mine"
    write_yolo(root, "all", {"a": None, "b": None})
    for stem in "ab":
        (root / "all" / f"{stem}.txt").write_text(LINE)
    (root / "data.yaml").write_text("train: all\nnames: [a, b]\n")
    assert shape(load(root)) == {"train": (1, 1), "val": (1, 1)}


def test_a_folder_of_pictures_is_not_compared_with_the_labels_of_all_others(tmp_path, monkeypatch):
    folders = 12
    for number in range(folders):
        write_image(tmp_path / "images" / f"day{number}" / "a.png")
        (tmp_path / "labels" / f"day{number}").mkdir(parents=True)
        (tmp_path / "labels" / f"day{number}" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    looked = []
    labels_in = places.labels_in
    for module in (places, gather):
        monkeypatch.setattr(module, "labels_in", lambda *args: looked.append(args) or labels_in(*args))
    found = load(tmp_path)
    assert sum(len(split.classes) for split in found.splits.values()) == folders
    assert len(looked) <= 4 * folders
