"""The folders that the pages for people from elsewhere show are read as those pages say."""

import json
import re

import documents
import pytest
from data_folders import voc_xml
from drawn_kinds import CATEGORIES, YOLO, check, coco, counts, example, pictures, write

from micro_yolo.pipeline.data import load

BOXES = [("cat", 4, 6, 24, 16), ("dog", 30, 6, 40, 16)]
TRAIN, OTHER = ("a", "b"), ("c", "d")
TWO = {"train": (2, 4), "val": (2, 4)}
BACKGROUND = "category 'background' has no boxes and is the background, left out"
LABELS = "item {\n id: 1\n name: 'cat'\n}\nitem {\n id: 2\n name: 'dog'\n}\n"


def voc(root, annotations=None):
    for split, names in zip(root, (TRAIN, OTHER), strict=True):
        for name in pictures(split / ("images" if annotations else ""), names):
            write(split / (annotations or "") / f"{name[0]}.xml", voc_xml(name, BOXES))


def model_maker_coco(root):
    for split, names in (("train", TRAIN), ("validation", OTHER)):
        made = coco(pictures(root / "photos" / split / "images", names))
        made["categories"] = [{"id": 0, "name": "background"}, *CATEGORIES]
        write(root / "photos" / split / "labels.json", json.dumps(made))


def model_maker_voc(root):
    voc([root / "photos/train", root / "photos/validation"], "Annotations")


def model_maker_csv(root):
    lines = [
        f"{split},{name},{label},{a / 64},{b / 48},,,{c / 64},{d / 48},,\n"
        for split, names in (("TRAIN", TRAIN), ("VALIDATION", OTHER))
        for name in pictures(root / "photos", names)
        for label, a, b, c, d in BOXES
    ]
    write(root / "photos/labels.csv", "".join(lines))


def records(root):
    for split, names in (("train", TRAIN), ("test", OTHER)):
        source = root / "source"
        made = b"".join(example(source / name) for name in pictures(source, names))
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"{split}.record").write_bytes(made)
    write(root / "annotations/label_map.pbtxt", LABELS)


def records_source(root):
    voc([root / "workspace/images/train", root / "workspace/images/test"])


def tutorial_csv(root):
    for split, names in (("train", TRAIN), ("test", OTHER)):
        lines = "".join(
            f"{name},64,48,{','.join(map(str, box))}\n"
            for name in pictures(root / "workspace/images", names)
            for box in BOXES
        )
        write(
            root / "workspace/data" / f"{split}_labels.csv", f"filename,width,height,class,xmin,ymin,xmax,ymax\n{lines}"
        )


def ultralytics(root):
    for split, names in (("train", TRAIN), ("val", OTHER)):
        for name in pictures(root / "images" / split, names):
            write(root / "labels" / split / f"{name[0]}.txt", YOLO)
    write(
        root / "data.yaml", "path: ../datasets/mine\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"
    )


def roboflow(root):
    for split, names in (("train", TRAIN), ("valid", OTHER)):
        for name in pictures(root / split / "images", names):
            write(root / split / "labels" / f"{name[0]}.txt", YOLO)
    write(root / "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")


def darknet(root):
    names = pictures(root / "obj_train_data", (*TRAIN, *OTHER))
    for name in names:
        write(root / "obj_train_data" / f"{name[0]}.txt", YOLO)
    write(root / "train.txt", "".join(f"data/obj_train_data/{name}\n" for name in names))
    write(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    write(root / "obj.names", "cat\ndog\n")


UNPACKED = "TFRecord; its pictures were unpacked into"
FOLDERS = {
    "from_model_maker.md": [
        (model_maker_coco, "photos", "coco", TWO, (BACKGROUND,)),
        (model_maker_voc, "photos", "voc", TWO, ()),
        (model_maker_csv, "photos", "csv", TWO, ("boxes are shares of the picture",)),
    ],
    "from_object_detection_api.md": [
        (records, "annotations", "coco", TWO, (UNPACKED,)),
        (records_source, "workspace", "voc", TWO, ()),
        (tutorial_csv, "workspace", "csv", TWO, ()),
    ],
    "from_yolo.md": [
        (ultralytics, "", "yolo", TWO, ()),
        (roboflow, "", "yolo", TWO, ()),
        (darknet, "", "yolo", None, ()),
    ],
}


@pytest.mark.parametrize("page", FOLDERS)
def test_the_folders_of_a_page_are_read_as_it_says(page, tmp_path):
    text = (documents.ROOT / "docs" / page).read_text()
    trees = [block.code.splitlines() for block in documents.blocks(text) if block.language == "text"]
    for number, (tree, (make, folder, form, splits, said)) in enumerate(zip(trees, FOLDERS[page], strict=True)):
        root = tmp_path / str(number)
        make(root)
        missing = [line for line in tree if not (root / line).is_file()]
        assert not missing, f"{make.__name__} lacks what the page shows"
        check(load(root / folder), form, splits=splits, said=said)


def test_a_data_yaml_is_read_by_its_path(tmp_path):
    roboflow(tmp_path)
    assert counts(load(tmp_path / "data.yaml")) == TWO


@pytest.mark.parametrize("page", FOLDERS)
def test_options_of_the_table_exist(page):
    """Commands outside of fences; those within are read by test_docs."""
    text = (documents.ROOT / "docs" / page).read_text()
    options = set(re.findall(r"--[a-z][\w-]+", " ".join(re.findall(r"^\|.*\|$", text, re.M))))
    theirs = {"--pipeline_config_path", "--model_dir", "--checkpoint_dir"}
    reference = (documents.ROOT / "docs/commands.md").read_text()
    assert {option for option in options - theirs if f"`{option}" not in reference} == set()
