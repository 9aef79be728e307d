"""Data sets that somebody made to do harm, or that a disk did."""

import json
import os
import socket
import subprocess

import pytest
from data_folders import voc_xml, write_image, write_voc, write_yolo
from drawn_kinds import YOLO, check, coco, counts, pictures, write

from micro_yolo.pipeline.data import __main__ as command_module
from micro_yolo.pipeline.data import files, fingerprint, load, making
from micro_yolo.pipeline.data.forms import sniff, voc
from micro_yolo.pipeline.data.tree import Tree


def test_signs_that_act_on_a_terminal_are_shown_by_their_number(tmp_path, capsys):
    write_voc(tmp_path / "set", ["a0", "a1", "a2"])
    xml = tmp_path / "set" / "Annotations" / "a1.xml"
    xml.write_text(voc_xml("a1.jpg", [("cat", 4, 6, 24, 16), ("dog\u202e", 1, 1, 1, 9)]))
    write(tmp_path / "set" / "\x1b[31mred.csv", "a,b\n")
    write_image(tmp_path / "set" / "\x1b]0;title\x07.jpg")
    command_module.command(command_module.Config(path=tmp_path / "set", out=tmp_path / "out"))
    told = capsys.readouterr().out
    assert "\\x1b[31mred.csv" in told and "\\x1b]0;title\\x07.jpg" in told and "dog\\x202e" in told
    assert not {"\x1b", "\x07", "\u202e"} & set(told)


def test_names_that_are_not_utf8(tmp_path, capsys):
    write_yolo(tmp_path / "set", "images", dict.fromkeys("abc", YOLO))
    for folder, ending in (("images", b".png"), ("labels", b".txt")):
        path = os.fsencode(tmp_path / "set" / folder)
        os.rename(path + b"/a" + ending, path + b"/\xff\xfe" + ending)
    command_module.command(
        command_module.Config(path=tmp_path / "set", out=tmp_path / "out", export=tmp_path / "new", form="yolo")
    )
    assert counts(load(tmp_path / "new")) == {"train": (2, 4), "val": (1, 2)}
    assert "No problems found" in capsys.readouterr().out


def test_what_is_no_file_is_left_alone(tmp_path):
    write_yolo(tmp_path, "images", dict.fromkeys("abcd", YOLO))
    os.mkfifo(tmp_path / "labels.json")
    os.mkfifo(tmp_path / "images" / "e.png")
    (tmp_path / "images" / "round").symlink_to("round")
    (tmp_path / "images" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "data").symlink_to(tmp_path)
    check(load(tmp_path), "yolo", names=("0", "1"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\ntrain: images\nnames: *c\n",
            "must be YAML, got alias",
        ),
        ("train: images\nnc: 2000000000\n", "nc must be at most 100000, got 2000000000"),
        (f"train: images\nnc: {'9' * 5000}\n", "nc must be at most 100000, got 99999999999999999999$"),
        ("train: images\nnames: {99999999999: a}\n", "names must map class numbers"),
    ],
)
def test_a_small_yaml_that_stands_for_much_is_refused(tmp_path, text, message):
    write_yolo(tmp_path, "images", dict.fromkeys("ab", YOLO))
    write(tmp_path / "data.yaml", text)
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_zeros_in_a_csv(tmp_path):
    names = pictures(tmp_path)
    rows = "".join(f"{n},64,48,cat,4,6,24,16\n{n},64,48,dog,30,6,40,16\0\n" for n in names)
    write(tmp_path / "labels.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n" + rows)
    check(load(tmp_path), "csv")


def test_what_a_killed_process_left_is_removed(tmp_path):
    target = tmp_path / "new"
    host = socket.gethostname()
    gone = subprocess.Popen(["true"])
    gone.wait()
    for process in (gone.pid, os.getppid()):
        write(tmp_path / f"new.part-{host}-{process}" / "half", "x")
    write(tmp_path / "new.part-elsewhere-1" / "half", "x")
    with making.folder(target) as part:
        write(part / "whole", "x")
    kept = {"new", f"new.part-{host}-{os.getppid()}", "new.part-elsewhere-1"}
    assert {path.name for path in tmp_path.iterdir()} == kept
    with pytest.raises(OSError, match="full"), making.folder(tmp_path / "other") as part:
        raise OSError("full")
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize("form", ["via", "csv", "voc", "yolo", "coco"])
def test_labels_as_large_as_no_labels_are_not_read(tmp_path, form):
    """Zeros that take no room on the disk, and would fill any memory."""
    names = pictures(tmp_path)
    region = {"shape_attributes": {"name": "rect", "x": 4, "y": 6, "width": 20, "height": 9}, "region_attributes": {}}
    said = {name: {"filename": name, "size": 1, "regions": [region], "file_attributes": {}} for name in names}
    large = {
        "via": ("via.json", json.dumps(said)),
        "csv": ("labels.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,64,48,cat,4,6,24,16\n"),
        "voc": ("a.xml", voc_xml("a.jpg", [("dog", 4, 6, 24, 16)])),
        "yolo": ("a.txt", YOLO),
        "coco": ("instances_train.json", json.dumps(coco(names))),
    }[form]
    path = write(tmp_path / large[0], large[1]) or tmp_path / large[0]
    os.truncate(path, 1 << 40)
    with pytest.raises((ValueError, OSError)) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


def test_pictures_as_large_as_no_picture_are_not_read_to_know_them_again(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "MAX_BYTES", 4)
    for name in pictures(tmp_path):
        write(tmp_path / f"{name.rsplit('.')[0]}.txt", YOLO)
    first = fingerprint.sums(fingerprint.content(load(tmp_path)))
    for path in tmp_path.glob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"more")
    assert fingerprint.sums(fingerprint.content(load(tmp_path))) == first


@pytest.mark.parametrize("name", [{"a": 1}, ["a.jpg"], 7, None, True])
def test_a_picture_whose_name_is_no_text_is_left_out(tmp_path, name):
    names = pictures(tmp_path)
    region = {"shape_attributes": {"name": "rect", "x": 4, "y": 6, "width": 20, "height": 9}}
    region["region_attributes"] = {"kind": "cat"}
    said = {each: {"filename": each, "size": 1, "regions": [region], "file_attributes": {}} for each in names}
    said["d.jpg"]["filename"] = name
    write(tmp_path / "via.json", json.dumps(said))
    data = load(tmp_path)
    assert sum(len(split.classes) for split in data.splits.values()) == 3
    assert "via.json: picture whose name is no text, skipped" in (data.warning() or "")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp"])
def test_of_a_picture_the_beginning_tells_its_size(tmp_path, ending):
    path = write_image(tmp_path / f"a{ending}")
    os.truncate(path, 1 << 40)
    assert files.image_size(path) == (48, 64)


@pytest.mark.parametrize(
    "line",
    [
        *("0 " + "9" * 60000, "A" + " " * 60000, "A" + " 1" * 30000, "-" * 60000, "a--" + "b" * 60000, "a--b/" * 12000),
        *("1," * 30000, "0.1 " * 15000, "a.jpg " * 10000, "0" + " 0." * 20000, "0" + ",0.1" * 15000, "A.1" * 20000),
    ],
    ids=range(12),
)
def test_a_long_line_is_not_tried_in_all_ways_there_are(line):
    """Of a line twice as long that would take four times as long: minutes, for one that fits a file's beginning."""
    for text in (line, f"{line}\n{line}", f"{line}x"):
        sniff.text_form("a.txt", text)


@pytest.mark.parametrize("line", ["9" * 300_000, "a" + " " * 300_000 + "b", "a.xml" * 60_000], ids=range(3))
def test_a_long_line_of_a_list_is_looked_at_once(tmp_path, line):
    (tmp_path / "val.txt").write_text(f"{line}\na 1\nmy cat.jpg -1\nx/b.JPG Annotations/b.XML\n")
    first, *rest = voc._stems(Tree(tmp_path), "val.txt")
    assert len(first) >= 299_995
    assert rest == ["a", "my cat", "b"]


def test_a_csv_of_names_that_is_none_says_none(tmp_path):
    """csv has an error of its own, which is no ValueError."""
    names = pictures(tmp_path)
    rows = "".join(f"{n},64,48,cat,4,6,24,16\n" for n in names)
    write(tmp_path / "labels.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n" + rows)
    write(tmp_path / "class_names.csv", '"' + "x" * 200_000)
    data = load(tmp_path)
    assert (data.names, counts(data)) == (("cat",), {"train": (3, 3), "val": (1, 1)})
