import numpy as np
import pytest
from data_folders import voc_xml, write_image, write_lists, write_voc

from micro_yolo.pipeline.data import load

BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><annotation><filename>&c;</filename></annotation>"""
OUTSIDE = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>"""


def ids(data):
    return {name: [path.stem for path in split.files] for name, split in data.splits.items()}


def test_without_lists_split_by_seed(tmp_path):
    data = load(write_voc(tmp_path, [f"a{i}" for i in range(5)]), val_fraction=0.4)
    assert data.format == "voc" and data.names == ("cat", "dog") and data.category_ids == (1, 2)
    assert len(data.splits["train"]) == 3 and len(data.splits["val"]) == 2
    train = data.splits["train"]
    np.testing.assert_array_equal(train.boxes_xyxy[train.rows(0)], [[4, 6, 24, 16], [30, 6, 40, 16]])
    assert train.classes[:2].tolist() == [1, 0] and train.sizes[0].tolist() == [48, 64]
    assert len({*train.image_ids, *data.splits["val"].image_ids}) == 5


@pytest.mark.parametrize(
    ("lists", "splits"),
    [
        ({"train": ["a0", "a1"], "val": ["a2"]}, {"train": ["a0", "a1"], "val": ["a2"]}),
        ({"trainval": ["a0", "a1"], "test": ["a2"]}, {"train": ["a0", "a1"], "val": ["a2"]}),
        (
            {"train": ["a0"], "val": ["a1"], "trainval": ["a0", "a1"], "test": ["a2"]},
            {"train": ["a0"], "val": ["a1"], "test": ["a2"]},
        ),
        ({"train": ["a0  1", "a1 -1"], "test": ["a2"]}, {"train": ["a0", "a1"], "val": ["a2"]}),
    ],
)
def test_lists(tmp_path, lists, splits):
    write_voc(tmp_path, ["a0", "a1", "a2"])
    write_lists(tmp_path, **lists)
    assert ids(load(tmp_path)) == splits


def test_listed_but_missing(tmp_path):
    write_voc(tmp_path, ["a0", "a1"])
    write_lists(tmp_path, train=["a0", "gone"], val=["a1"])
    data = load(tmp_path)
    assert [(p.file, p.what) for p in data.problems] == [
        ("Annotations/gone.xml", "listed in ImageSets/Main but the annotation is missing")
    ]
    write_lists_again = tmp_path / "ImageSets" / "Main" / "val.txt"
    write_lists_again.write_text("gone\n")
    with pytest.raises(ValueError, match="split 'val' needs usable images, got 0"):
        load(tmp_path)


def test_xml_beside_images_in_split_folders(tmp_path):
    for folder, stems in (("train", "ab"), ("test", "c")):
        for stem in stems:
            write_image(tmp_path / folder / f"{stem}.JPG")
            text = voc_xml(f"C:\\photos\\{stem}.jpg", [("a b/c", 1, 2, 30, 40)])
            (tmp_path / folder / f"{stem}.xml").write_text(text)
    data = load(tmp_path)
    assert ids(data) == {"train": ["a", "b"], "val": ["c"]}
    assert data.names == ("a b/c",) and data.problems == ()
    assert ids(load(tmp_path / "train", val_fraction=0.5)).keys() == {"train", "val"}


@pytest.mark.parametrize("text", ["", "<annotation>", "no xml at all", "<a>\x00</a>", BOMB, OUTSIDE, "<a><b></a></b>"])
def test_bad_xml_is_a_bad_record(tmp_path, text):
    write_voc(tmp_path, ["a0", "a1", "a2"])
    (tmp_path / "Annotations" / "a1.xml").write_text(text)
    data = load(tmp_path)
    assert sum(map(len, data.splits.values())) == 2
    (problem,) = data.problems
    assert problem.file == "Annotations/a1.xml"
    assert "refused" in problem.what if "ENTITY" in text else "not XML that can be read" in problem.what


@pytest.mark.parametrize(
    ("box", "what"),
    [
        (("cat", 5, 5, 5, 9), "box with a zero or negative width or height, skipped"),
        (("cat", 5, 9, 8, 5), "box with a zero or negative width or height, skipped"),
        (("cat", "nan", 9, 8, 15), "box with a number that is not finite, skipped"),
        (("cat", "", 9, 8, 15), "box with a number that is not finite, skipped"),
        (("cat", "left", 9, 8, 15), "box with a number that is not finite, skipped"),
        (("cat", 70, 9, 80, 15), "box wholly outside the image, skipped"),
        (("", 5, 9, 8, 15), "object without a name, skipped"),
    ],
)
def test_bad_box_is_a_bad_record(tmp_path, box, what):
    write_voc(tmp_path, ["a0", "a1"])
    (tmp_path / "Annotations" / "a0.xml").write_text(voc_xml("a0.jpg", [box, ("cat", 1, 1, 9, 9)]))
    data = load(tmp_path)
    assert [problem.what for problem in data.problems] == [what]
    assert sum(len(split.classes) for split in data.splits.values()) == 3


def test_difficult_objects_are_crowds(tmp_path):
    write_voc(tmp_path, ["a0", "a1"])
    text = voc_xml("a0.jpg", [("cat", 1, 1, 9, 9), ("cat", 2, 2, 9, 9)]).replace(
        "<bndbox>", "<difficult>1</difficult><bndbox>", 1
    )
    (tmp_path / "Annotations" / "a0.xml").write_text(text)
    write_lists(tmp_path, train=["a0"], val=["a1"])
    assert load(tmp_path).splits["train"].crowd.tolist() == [True, False]


def test_size_is_read_from_the_image_where_the_xml_has_none(tmp_path):
    write_voc(tmp_path, ["a0", "a1"])
    for stem, size in (("a0", None), ("a1", (0, 0))):
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(voc_xml(f"{stem}.jpg", [("cat", 1, 1, 9, 9)], size=size))
    assert [split.sizes.tolist() for split in load(tmp_path).splits.values()] == [[[48, 64]], [[48, 64]]]


def test_missing_image_and_second_annotation(tmp_path):
    write_voc(tmp_path, ["a0", "a1", "a2", "a3"])
    for stem in ("a1", "a3"):
        (tmp_path / "JPEGImages" / f"{stem}.jpg").unlink()
    (tmp_path / "Annotations" / "a3.xml").write_text(voc_xml("a2.jpg", [("cat", 1, 1, 9, 9)]))
    assert {(p.file, p.what) for p in load(tmp_path).problems} == {
        ("JPEGImages/a1.jpg", "image file is missing"),
        ("Annotations/a3.xml", "a second annotation of the same image, skipped"),
    }


def test_nothing_left(tmp_path):
    write_voc(tmp_path, ["a0", "a1"])
    for stem in ("a0", "a1"):
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(BOMB)
    with pytest.raises(ValueError, match=r"at least one class with a box, got 0; 2 bad records: Annotations/a0.xml"):
        load(tmp_path)


def test_real_voc(shared_data):
    data = load(shared_data / "bccd" / "original_annotations")
    assert data.format == "voc" and data.names == ("Platelets", "RBC", "WBC")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 8, "val": 2}
    per_file = {problem.file: problem for problem in data.problems}
    assert per_file["JPEGImages/BloodImage_00338.jpg"].what == "box with a zero or negative width or height, skipped"
    cards = load(shared_data / "playing_cards" / "original_annotations")
    assert cards.names == ("ace", "jack", "king", "nine", "queen", "ten")
    assert {name: len(split) for name, split in cards.splits.items()} == {"train": 6, "val": 6}
