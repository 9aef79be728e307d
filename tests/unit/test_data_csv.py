import shutil

import pytest
from data_folders import write_image

from micro_yolo.pipeline.data import load

HEAD = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


def test_csv_per_split(tmp_path):
    for split, stems in (("train", "ab"), ("test", "c")):
        for stem in stems:
            write_image(tmp_path / split / f"{stem}.jpg")
        rows = "".join(f'{stem}.jpg,64,48,"dog, big",4,6,24,16\n{stem}.jpg,64,48,cat,1,1,9,9\n' for stem in stems)
        (tmp_path / f"{split}_labels.csv").write_text(HEAD + rows)
    data = load(tmp_path)
    assert data.format == "csv" and data.names == ("cat", "dog, big") and data.problems == ()
    assert data.splits["train"].boxes_xyxy[0].tolist() == [4, 6, 24, 16]
    assert {name: (len(s), len(s.classes)) for name, s in data.splits.items()} == {"train": (2, 4), "val": (1, 2)}


def test_one_csv_with_bad_lines(tmp_path):
    for stem in "ab":
        write_image(tmp_path / f"{stem}.jpg")
    bad = "a.jpg,64,48,cat,1,1,1,9\na.jpg,64,48,,1,1,9,9\n,64,48,cat,1,1,9,9\na.jpg,64,48,cat\n"
    bad += "gone.jpg,64,48,cat,1,1,9,9\n"
    (tmp_path / "boxes.csv").write_text(HEAD + "a.jpg,64,48,cat,1,1,9,9\nb.jpg,x,,cat,1,1,9,9\n" + bad)
    data = load(tmp_path)
    assert sum(len(split.classes) for split in data.splits.values()) == 2
    assert {(p.file, p.what, p.count) for p in data.problems} == {
        ("boxes.csv", "line without a filename or a class, skipped", 2),
        ("a.jpg", "box with a number that is not finite, skipped", 1),
        ("a.jpg", "box with a zero or negative width or height, skipped", 1),
        ("gone.jpg", "image file is missing", 1),
    }


def test_other_csv_files_are_not_ours(tmp_path):
    (tmp_path / "results.csv").write_text("epoch,loss\n1,2\n")
    with pytest.raises(ValueError, match="no labelled images found"):
        load(tmp_path)


def test_real_csv(shared_data, tmp_path):
    original = shared_data / "playing_cards" / "original_annotations"
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        shutil.copy(original / f"{split}_labels.csv", tmp_path)
        for image in (original / split).glob("*.JPG"):
            shutil.copy(image, tmp_path / split)
    by_csv, by_xml = load(tmp_path), load(original)
    assert by_csv.format == "csv" and by_xml.format == "voc" and by_csv.names == by_xml.names
    for name in ("train", "val"):
        boxes = [
            sorted(zip((f.name for f in data.splits[name].files), data.splits[name].boxes_xyxy.tolist(), strict=True))
            for data in (by_csv, by_xml)
        ]
        assert boxes[0] == boxes[1]
