"""Kinds of what people have, beside the inputs in shared/cases: drawn small, each in the form of something real."""

import json
import os
import unicodedata
import zipfile
from pathlib import Path

import pytest
from data_folders import coco_record, voc_xml, write_image, write_voc, write_yolo
from drawn_kinds import CAT, DOG, YOLO, check, coco, counts, labelme, pictures, write

from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.data.export import export
from micro_yolo.pipeline.data.relabel import under

TWO = {"train": (2, 4), "val": (2, 4)}


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("training", "validation"),
        ("TRAIN", "VAL"),
        ("Training", "Testing"),
        ("train_set", "dev_set"),
        ("my-train", "my-eval"),
        ("trainImages", "validImages"),
        ("2024_train", "2024_valid"),
    ],
)
@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "csv", "labelme"])
def test_split_words_mean_the_same_to_every_reader(tmp_path, train, val, form):
    for folder, names in ((train, ["a.jpg", "b.jpg"]), (val, ["c.jpg", "d.jpg"])):
        place = tmp_path / folder
        pictures(place, [name[0] for name in names])
        if form == "coco":
            write(place / "labels.json", json.dumps(coco(names)))
        elif form == "csv":
            rows = "".join(f"{n},64,48,cat,4,6,24,16\n{n},64,48,dog,30,6,40,16\n" for n in names)
            write(place / "_annotations.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n" + rows)
        for name in names:
            if form == "yolo":
                write(place / f"{name[0]}.txt", YOLO)
            elif form == "voc":
                write(place / f"{name[0]}.xml", voc_xml(name, [("cat", *CAT), ("dog", *DOG)]))
            elif form == "labelme":
                write(place / f"{name[0]}.json", json.dumps(labelme(name)))
    check(load(tmp_path), form, splits=TWO, names=("0", "1") if form == "yolo" else ("cat", "dog"))


@pytest.mark.parametrize(
    "written",
    [
        "images\\{}.jpg",
        "D:\\data\\set\\images\\{}.jpg",
        "/content/drive/My Drive/set/images/{}.jpg",
        "../../upload/7/{}.JPG",
        "file:///home/me/{}.jpeg",
        "https://bucket.example/set/{}.jpg?key=1",
        "/data/local-files/?d=set/{}.jpg",
        "{}",
        "{}.png",
    ],
)
@pytest.mark.parametrize("form", ["coco", "csv", "createml", "yolo list"])
def test_a_picture_is_found_by_its_name(tmp_path, written, form):
    names = ["my photo Ünï", "b", "c", "d"]
    pictures(tmp_path / "images", [unicodedata.normalize("NFD", name) for name in names])
    there = [written.format(name.replace(" ", "%20") if "://" in written else name) for name in names]
    if form == "coco":
        write(tmp_path / "labels.json", json.dumps(coco(there)))
    elif form == "csv":
        rows = "".join(f'"{n}",cat,4,6,24,16\n"{n}",dog,30,6,40,16\n' for n in there)
        write(tmp_path / "labels.csv", "image,label,xmin,ymin,xmax,ymax\n" + rows)
    elif form == "createml":
        made = [{"label": "cat", "coordinates": {"x": 14, "y": 11, "width": 20, "height": 10}}]
        made.append({"label": "dog", "coordinates": {"x": 35, "y": 11, "width": 10, "height": 10}})
        write(tmp_path / "labels.json", json.dumps([{"image": n, "annotations": made} for n in there]))
    else:
        for name in names:
            write(tmp_path / "labels" / f"{name}.txt", YOLO)
        write(tmp_path / "classes.txt", "cat\ndog\n")
        write(tmp_path / "train.txt", "\n".join(there[:3]))
        write(tmp_path / "val.txt", there[3])
        write(tmp_path / "data.yaml", "train: train.txt\nval: val.txt\n")
    check(load(tmp_path), form.split()[0])


def test_a_name_that_several_pictures_have_is_named(tmp_path):
    for folder in ("monday", "tuesday"):
        pictures(tmp_path / folder)
    write(tmp_path / "labels.json", json.dumps(coco(["monday/a.jpg", "tuesday\\b.jpg", "x/tuesday/c.jpg", "d.jpg"])))
    data = load(tmp_path)
    what = {problem.what for problem in data.problems}
    assert "2 pictures have this name (monday/d.jpg, tuesday/d.jpg), skipped" in what
    assert {path.parent.name + path.name for split in data.splits.values() for path in split.files} == {
        "mondaya.jpg",
        "tuesdayb.jpg",
        "tuesdayc.jpg",
    }


def test_zip_of_a_folder(tmp_path):
    write_yolo(tmp_path / "parts", "images/train", dict.fromkeys("abcd", YOLO))
    write(tmp_path / "parts" / "data.yaml", "train: images/train\nnames: [cat, dog]\n")
    with zipfile.ZipFile(tmp_path / "parts.zip", "w") as archive:
        for path in sorted((tmp_path / "parts").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    for _ in range(2):
        check(load(tmp_path / "parts.zip"), "yolo")
    assert len(list(tmp_path.iterdir())) == 3
    assert load(tmp_path / "parts.zip").place == str(tmp_path / "parts.zip")
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(ValueError, match=r"bad.zip: must be a .zip that can be unpacked"):
        load(tmp_path / "bad.zip")
    assert len(list(tmp_path.iterdir())) == 4


def test_links_are_followed_and_not_in_circles(tmp_path):
    for split in ("train", "val"):
        write_yolo(tmp_path / ".store", f"images/{split}", {f"{split}{i}": YOLO for i in range(2)})
    root = tmp_path / "set"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
        for split in ("train", "val"):
            (root / kind / split).symlink_to(tmp_path / ".store" / kind / split)
    (root / "images" / "again").symlink_to(root)
    (tmp_path / ".store" / "images" / "train" / "up").symlink_to(tmp_path / ".store")
    write(root / "classes.txt", "cat\ndog\n")
    check(load(root), "yolo", splits=TWO)


@pytest.mark.parametrize("given", ["one.json,two.json", "two.json,one.json"])
def test_two_files_by_name(tmp_path, given, monkeypatch):
    names = pictures(tmp_path / "pictures")
    write(tmp_path / "one.json", json.dumps(coco(names[:3])))
    write(tmp_path / "two.json", json.dumps(coco(names[3:])))
    with pytest.raises(
        ValueError, match=r"2 COCO files were found \(one.json, two.json\) and no name tells which split"
    ):
        load(tmp_path)
    monkeypatch.chdir(tmp_path)
    data = load(given)
    first, second = (3, 1) if given.startswith("one") else (1, 3)
    check(data, "coco", splits={"train": (first, 2 * first), "val": (second, 2 * second)})
    monkeypatch.chdir("/")
    assert counts(load(data.place)) == counts(data)
    with pytest.raises(FileNotFoundError, match=r"three\.json: no such"):
        load(f"{tmp_path / 'one.json'},three.json")


@pytest.mark.parametrize("how", ["no labels", "empty labels", "no folder", "other classes"])
def test_a_val_split_without_boxes_is_refused(tmp_path, how):
    write_yolo(tmp_path, "images/train", dict.fromkeys("ab", YOLO))
    text = {"empty labels": "", "other classes": "7 0.5 0.5 0.2 0.2\n"}.get(how)
    write_yolo(tmp_path, "images/val", dict.fromkeys("cd", text))
    if how == "no labels":
        (tmp_path / "labels" / "val").mkdir()
    write(tmp_path / "classes.txt", "cat\ndog\n")
    with pytest.raises(ValueError, match="split 'val' needs usable boxes, got 0"):
        load(tmp_path)


def test_a_split_drawn_by_seed_has_boxes_on_both_sides(tmp_path):
    record = coco([f"{i}.jpg" for i in range(40)])
    record["annotations"] = record["annotations"][:4]
    pictures(tmp_path, map(str, range(40)))
    write(tmp_path / "labels.json", json.dumps(record))
    for seed in range(8):
        data = load(tmp_path, seed=seed)
        assert all(len(split.classes) == 2 for split in data.splits.values()) and len(data.splits["val"]) == 8


def test_labels_that_a_split_partly_lacks_are_named(tmp_path):
    write_yolo(tmp_path, "images/train", {**dict.fromkeys("abc", YOLO), **dict.fromkeys("defg", None)})
    write_yolo(tmp_path, "images/val", {"h": YOLO})
    (problem,) = load(tmp_path).problems
    assert problem.what == "images without a label file, taken as images without objects" and problem.count == 4


def test_what_is_found_and_not_used_is_named(tmp_path):
    write_voc(tmp_path, ["a0", "a1", "a2"])
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    write(tmp_path / "ImageSets" / "Main" / "train.txt", "a0.jpg\n")
    write(tmp_path / "ImageSets" / "Main" / "val.txt", "a1\n")
    write_image(tmp_path / "more" / "b.png")
    write(tmp_path / "more" / "c.CR2", "raw")
    write(tmp_path / "settings.json", '{"editor": 1}')
    write(tmp_path / "results.csv", "epoch,loss\n1,2\n")
    write(tmp_path / "more" / "set.zip", "PK")
    write(tmp_path / "README.md", "# no labels")
    said = {(p.file, p.what.split(",")[0], p.count, p.unused) for p in load(tmp_path).problems}
    assert said == {
        ("Annotations/a2.xml", "Pascal VOC XML", 1, True),
        ("JPEGImages/a2.jpg", "picture that none of the labels read names", 1, True),
        ("more/b.png", "picture that none of the labels read names", 1, True),
        ("more/c.CR2", "picture of a kind that is not read (.cr2", 1, True),
        ("settings.json", "JSON of no form that is known", 1, True),
        ("results.csv", "CSV of no form that is known", 1, True),
        ("more/set.zip", "an archive that is not looked into", 1, True),
    }


def test_names_that_are_nearly_alike_are_named(tmp_path):
    write_voc(tmp_path, ["a0", "a1"])
    xml = tmp_path / "Annotations" / "a1.xml"
    xml.write_text(xml.read_text().replace("<name>cat", "<name>Cat"))
    (problem,) = load(tmp_path).problems
    assert problem.what == "names that differ in letter case or spaces alone: Cat, cat"


def test_a_picture_is_found_whose_name_differs_in_its_ending(tmp_path):
    names = [f"im{i}.jpg" for i in range(1, 5)]
    for name in names:
        write_image(tmp_path / "images" / name.replace(".jpg", ".jpeg"))
    record = coco_record(4)
    write(tmp_path / "labels.json", json.dumps(record))
    assert counts(load(tmp_path)) == {"train": (3, 3), "val": (1, 1)}


@pytest.mark.parametrize("form", ["coco", "yolo", "voc"])
def test_what_is_exported_is_read_again(tmp_path, form):
    for folder, first in (("train/x", 1), ("train/y", 1), ("val", 5)):
        for i in range(first, first + 2):
            write_image(tmp_path / "set" / folder / f"im{i}.jpg")
    names = [f"{folder}/im{i}.jpg" for folder in ("x", "y") for i in (1, 2)]
    write(tmp_path / "set" / "train" / "labels.json", json.dumps(coco(names)))
    write(tmp_path / "set" / "val" / "labels.json", json.dumps(coco(["im5.jpg", "im6.jpg"])))
    data = load(tmp_path / "set")
    assert export(data, tmp_path / "out", form) == 0
    check(load(tmp_path / "out"), form, splits={"train": (4, 8), "val": (2, 4)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "set"]
    with pytest.raises(ValueError, match="out: something is there already; choose another --export"):
        export(data, tmp_path / "out", form)


def test_crowds_are_left_out_of_yolo_and_pictures_before_turning_are_turned(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    record = coco([f"{i}.jpg" for i in range(4)])
    record["annotations"][1]["iscrowd"] = 1
    write(tmp_path / "set" / "labels.json", json.dumps(record))
    for i in range(4):
        write_image(tmp_path / "set" / f"{i}.jpg", exif=exif)
    assert export(load(tmp_path / "set"), tmp_path / "out", "yolo") == 1
    again = load(tmp_path / "out")
    assert sum(len(split.classes) for split in again.splits.values()) == 7
    assert again.splits["train"].sizes.tolist() == [[48, 64]] * 3


def test_a_folder_above_is_told_by_its_whole_path(tmp_path):
    write_voc(tmp_path / "archive" / "VOCdevkit" / "VOC2007", ["a", "b"])
    with pytest.raises(ValueError, match=f"perhaps you mean {tmp_path / 'archive' / 'VOCdevkit' / 'VOC2007'}$"):
        load(tmp_path)


def test_pictures_without_labels_of_a_form_that_is_known(tmp_path):
    pictures(tmp_path)
    write(tmp_path / "digitStruct.mat", "MATLAB 7.3 MAT-file")
    with pytest.raises(
        ValueError, match=r"no labelled images found; .*digitStruct.mat is a MATLAB .mat file: write its boxes as CSV"
    ):
        load(tmp_path)


def test_a_yaml_of_something_else_is_passed_over(tmp_path):
    write_yolo(tmp_path, "images", dict.fromkeys("abcd", YOLO))
    for name, text in {"hyp.yaml": "lr: 0.1\ntrain: true\nval: 5\n", "a.yml": "train: [", ".pre.yaml": "x"}.items():
        write(tmp_path / name, text)
    check(load(tmp_path), "yolo", names=("0", "1"))


def test_nothing_is_opened_more_often_than_a_few_times_for_many_files_of_one_form(tmp_path, monkeypatch):
    write_yolo(tmp_path, "images", {f"{i:03d}": YOLO for i in range(40)})
    opened = []
    real = open
    monkeypatch.setattr(
        "builtins.open", lambda path, *args, **more: opened.append(str(path)) or real(path, *args, **more)
    )
    load(tmp_path)
    assert sum(path.endswith(".txt") for path in opened) <= 40 + 8
    assert os.path.isdir(Path(tmp_path))


def images_of(root, **splits):
    """YOLO pictures and labels in images/ and labels/ of each split."""
    for split, names in splits.items():
        write_yolo(root, f"images/{split}", dict.fromkeys(names, YOLO))


@pytest.mark.parametrize(
    "paths",
    [
        ("images/TRAIN", "IMAGES/val"),
        ("/content/datasets/x/images/train", "C:\\Users\\me\\x\\images\\val"),
        ("../x/images/train", ".\\images\\val"),
    ],
)
def test_paths_of_a_yaml_are_found(tmp_path, paths):
    images_of(tmp_path, train="ab", val="cd")
    write(tmp_path / "data.yaml", f"path: /content/datasets/x\ntrain: {paths[0]}\nval: {paths[1]}\nnames: [cat, dog]\n")
    check(load(tmp_path), "yolo", splits=TWO)


def test_val_and_test_without_train_lose_nothing(tmp_path):
    images_of(tmp_path, val="abcd", test="ef")
    splits = {"train": (3, 6), "val": (1, 2), "test": (2, 4)}
    said = ("val: there is no train; it is divided into train and val",)
    check(load(tmp_path), "yolo", splits=splits, names=("0", "1"), said=said)


def test_category_ids_of_another_file_are_matched_by_name(tmp_path):
    names = pictures(tmp_path / "images")
    turned = json.loads(json.dumps(coco(names[2:], 9)))
    turned["categories"] = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    for each in turned["annotations"]:
        each["category_id"] = 3 - each["category_id"]
    write(tmp_path / "train.json", json.dumps(coco(names[:2])))
    write(tmp_path / "val.json", json.dumps(turned))
    data = load(tmp_path)
    check(data, "coco", splits=TWO, said=("category ids that are other names' in train.json; matched by name",))
    assert data.splits["val"].classes.tolist() == [0, 1, 0, 1]


def test_the_folder_of_coco_itself(tmp_path):
    for split, names, first in (("train", "ab", 1), ("val", "cd", 9)):
        record = coco(pictures(tmp_path / f"{split}2017", names), first)
        for kind in ("instances", "person_keypoints", "captions"):
            write(tmp_path / "annotations" / f"{kind}_{split}2017.json", json.dumps(record))
    write(tmp_path / "annotations" / "image_info_test2017.json", json.dumps({"images": [], "categories": []}))
    data = load(tmp_path)
    check(data, "coco", splits=TWO, said=("annotations: COCO JSON, not used beside what was read",))
    assert [problem.count for problem in data.problems] == [5]


def test_one_label_file_of_two_pictures_and_one_picture_of_two_records_are_named(tmp_path):
    images_of(tmp_path / "yolo", all="abcd")
    pictures(tmp_path / "yolo" / "images" / "all", "a")
    (problem,) = load(tmp_path / "yolo").problems
    assert problem.what.startswith("label file of several pictures (images/all/a.jpg, images/all/a.png)")
    names = pictures(tmp_path / "coco")
    write(tmp_path / "coco" / "train.json", json.dumps(coco([*names[:2], names[0]])))
    write(tmp_path / "coco" / "val.json", json.dumps(coco(names[2:], 9)))
    (problem,) = load(tmp_path / "coco").problems
    assert (problem.file, problem.count) == ("train", 1) and "listed twice" in problem.what


def test_a_yaml_stands_for_its_folder(tmp_path):
    images_of(tmp_path, train="ab", val="cd")
    write(tmp_path / "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog]\n")
    write(tmp_path / "labels.json", json.dumps(coco(["a.png"])))
    pictures(tmp_path / "new", "z")
    said = ("labels.json: COCO JSON, not used beside what was read", "new/z.jpg: picture that none of the labels")
    for path in (tmp_path / "data.yaml", tmp_path):
        check(load(path), "yolo", splits=TWO, said=said)


def test_an_archive_beside_labels_without_pictures_is_named(tmp_path):
    write(tmp_path / "labels.json", json.dumps(coco(["a.jpg", "b.jpg"])))
    write(tmp_path / "images.zip", "PK")
    with pytest.raises(ValueError, match=r"read as coco.* images.zip is an archive that is not looked into: unpack it"):
        load(tmp_path)


def test_a_network_with_more_classes_goes_on_with_its_own(tmp_path):
    write(tmp_path / "labels.json", json.dumps(coco(pictures(tmp_path))))
    data = load(tmp_path)
    more = under(data, ("parts", "dog", "cat", "dog"))
    assert (more.names, more.category_ids) == (("parts", "dog", "cat", "dog"), (3, 2, 1, 4))
    assert more.splits["val"].classes.tolist() == [2, 1] and data.splits["val"].classes.tolist() == [0, 1]
    assert under(data, ("cat", "dog")) is data and under(data, ("cat", "hen")) is data
