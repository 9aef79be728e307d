"""What is named to be looked at, and what is left of it beside pictures: no model, no video."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.watch import written
from micro_yolo.pipeline.watch.sources import find, text
from micro_yolo.pipeline.watch.written import Forms, Seen, entries, folder_name, results
from micro_yolo.tflite.decode import Detections


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "clip.MP4", "deep/c.heic", "notes.txt"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    return tmp_path / "set"


def names(found: tuple[Path, ...]) -> list[str]:
    return [path.name for path in found]


def test_a_folder_holds_pictures_and_videos(folder: Path, tmp_path: Path) -> None:
    named = find((folder,), tmp_path / "out")
    assert (names(named.pictures), names(named.videos), named.cameras) == (
        ["a.PNG", "b.jpg", "c.heic"],
        ["clip.MP4"],
        (),
    )


def test_everything_is_named_once_however_it_is_named(folder: Path, tmp_path: Path) -> None:
    (folder / "deep" / "again").symlink_to(folder)
    (folder / "link.jpg").symlink_to(folder / "b.jpg")
    named = find((folder / "b.jpg", folder, Path(f"{folder}/*.jpg"), folder / "clip.MP4"), tmp_path / "out")
    assert sorted(names(named.pictures)) == ["a.PNG", "b.jpg", "c.heic"]
    assert names(named.videos) == ["clip.MP4"]


def test_patterns_are_for_those_whose_shell_leaves_them(folder: Path, tmp_path: Path) -> None:
    assert names(find((folder / "*.[jp]*",), tmp_path).pictures) == ["b.jpg"]
    assert names(find((folder / "**" / "*.heic",), tmp_path).pictures) == ["c.heic"]
    with pytest.raises(FileNotFoundError, match=r"\*\.gif: no picture or video has such a name$"):
        find((folder / "*.gif",), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"\*\.txt: no picture or video has such a name, but 1 other files$"):
        find((folder / "*.txt",), tmp_path)
    # A name that looks like a pattern is a name where there is such a file.
    (folder / "b[1].jpg").touch()
    assert names(find((folder / "b[1].jpg",), tmp_path).pictures) == ["b[1].jpg"]


def test_a_number_is_a_camera_unless_a_file_has_it_for_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find((Path("0"), Path("1"), Path("0")), tmp_path / "out").cameras == (0, 1)
    Path("0").touch()
    named = find((Path("0"),), tmp_path / "out")
    assert (names(named.pictures), named.cameras) == (["0"], ())


def test_a_camera_by_its_device(tmp_path: Path) -> None:
    assert find((Path("/dev/video2"),), tmp_path).cameras == (2,)


def test_what_is_no_file_is_not_in_a_folder(folder: Path, tmp_path: Path) -> None:
    """A pipe, which would be waited for for ever, and a link to itself."""
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "round").symlink_to("round")
    assert names(find((folder,), tmp_path / "out").pictures) == ["a.PNG", "b.jpg", "c.heic"]
    with pytest.raises(FileNotFoundError, match=r"loop\.jpg: no such picture or folder$"):
        find((folder / "loop.jpg",), tmp_path / "out")


def test_names_that_are_no_text_can_be_written_and_shown() -> None:
    assert text(Path("a\udcff.jpg")) == "a\\udcff.jpg"
    assert text("ü 猫") == "ü 猫"


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("https://example.org/a.jpg", r"`curl -LO https://example.org/a.jpg` makes a file"),
        ("rtsp://camera:554/1", r"`ffmpeg -t 60 -i rtsp://camera:554/1 -c copy clip.mp4` makes a file"),
        ("file:///home/me/a.jpg", r"is an address; name the file itself: /home/me/a.jpg$"),
    ],
)
def test_addresses_are_refused_with_what_to_do(url: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=hint):
        find((Path(url),), tmp_path)


def test_results_are_not_looked_at_again(folder: Path, tmp_path: Path) -> None:
    """Neither the folder of results, nor the results of others, wherever they lie among the pictures."""
    for name in ("out/a.jpg", "out/crops/x/a-1.jpg", "b-2.jpg", "crops/x/b-1.jpg", "old/z.jpg", "old/mine.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for place, picture in ((folder, "b-2.jpg"), (folder / "old", "z.jpg")):
        record = {"model_sha256": "f00", "images": [{"picture": picture}], "videos": [{"picture": None}]}
        (place / "detections.json").write_text(json.dumps(record))
    named = find((folder,), folder / "out")
    assert names(named.pictures) == ["a.PNG", "b.jpg", "c.heic", "mine.jpg"]
    assert named.own == 5
    # Whoever names a file means it.
    assert names(find((folder / "b-2.jpg",), folder / "out").pictures) == ["b-2.jpg"]


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"images": [{}], "model_sha256": "1"}', '{"images": 3}'])
def test_somebody_elses_detections_json_says_nothing(record: str, folder: Path, tmp_path: Path) -> None:
    (folder / "detections.json").write_text(record)
    assert find((folder,), tmp_path / "out").own == 0


def test_only_results_are_not_enough(tmp_path: Path) -> None:
    (tmp_path / "set" / "out").mkdir(parents=True)
    (tmp_path / "set" / "out" / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"set: no pictures in this folder but 1 that predictions wrote$"):
        find((tmp_path / "set",), tmp_path / "set" / "out")


def seen(stem: str = "photo", **more: object) -> Seen:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
    found = Detections(
        np.array([[8, 10, 40, 30], [70.5, 0, 80, 39.5]], np.float32),
        np.array([0.9, 0.3], np.float32),
        np.array([1, 0], np.int32),
    )
    return Seen(f"in/{stem}.jpg", stem, pixels, found, **more)  # type: ignore[arg-type]


def test_every_form_of_results(tmp_path: Path) -> None:
    with results(tmp_path, Forms(csv=True, txt=True, crops=True)) as out:
        entry = out.picture(seen(), ".jpg", ("a/b", "ü"))
        out.also(seen("clip", frame=7, time_s=0.35, tracks=np.array([4, 0])), ("a/b", "ü"))
        out.record({"images": [entry]}, ("a/b", "ü"))
    assert (entry["picture"], entry["width"], entry["height"]) == ("photo.jpg", 80, 40)
    rows = list(csv.DictReader((tmp_path / "detections.csv").open(encoding="utf-8-sig")))
    assert len(rows) == 4
    first = ["in/photo.jpg", "", "", "", "ü", "1", "0.9", "8.0", "10.0", "40.0", "30.0"]
    assert list(rows[0].values()) == first
    assert [rows[2][name] for name in ("file", "frame", "time_s", "track")] == ["in/clip.jpg", "7", "0.35", "4"]
    assert rows[3]["track"] == ""
    assert (tmp_path / "labels" / "photo.txt").read_text().splitlines() == [
        "1 0.300000 0.500000 0.400000 0.500000",
        "0 0.940625 0.493750 0.118750 0.987500",
    ]
    assert (tmp_path / "labels" / "clip_000007.txt").is_file()
    assert Image.open(tmp_path / "crops" / "ü" / "photo-1.jpg").size == (32, 20)
    assert Image.open(tmp_path / "crops" / "a_b" / "clip_000007-2.jpg").size == (10, 40)


def test_labels_are_those_of_a_data_set(tmp_path: Path) -> None:
    """Predictions as a start for labelling: pictures beside them, they are read as any YOLO folder."""
    (tmp_path / "images").mkdir()
    with results(tmp_path, Forms(txt=True)) as out:
        for stem in ("a", "b", "c"):
            each = seen(stem)
            Image.fromarray(each.pixels).save(tmp_path / "images" / f"{stem}.jpg")
            out.picture(each, ".jpg", ("bolt", "nut"))
        out.record({}, ("bolt", "nut"))
    dataset = load(tmp_path)
    assert dataset.names == ("bolt", "nut")
    train = dataset.splits["train"]
    found = {tuple(box) for box in train.boxes_xyxy.round(1).tolist()}
    assert found == {(8, 10, 40, 30), (70.5, 0, 80, 39.5)}


def test_a_table_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError), results(tmp_path, Forms(csv=True)) as out:
        out.also(seen(), {1: "of class 1 only"})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_tracks_are_numbers_or_not_known_yet() -> None:
    found = entries(seen().found, ("a", "b"), np.array([3, 0]))
    assert [each["track"] for each in found] == [3, None]
    assert "track" not in entries(seen().found, ("a", "b"))[0]


@pytest.mark.parametrize(
    ("label", "folder"), [("cat", "cat"), ("a/b\\c:d", "a_b_c_d"), ("..", "class 3"), ("", "class 3"), ("dog. ", "dog")]
)
def test_a_class_is_a_folder_that_every_file_system_takes(label: str, folder: str) -> None:
    assert folder_name(label, 3) == folder


def test_what_is_there_already_is_found(tmp_path: Path) -> None:
    every = Forms(csv=True, txt=True, crops=True)
    for number, name in enumerate(("detections.json", "detections.csv", "a.jpg", "labels/a.txt", "crops/x")):
        place = tmp_path / str(number)
        (place / name).parent.mkdir(parents=True)
        (place / name).touch()
        there = [path for path in written.planned(place, every, ["a.jpg"], ["a"]) if path.exists()]
        assert there in ([place / name], [(place / name).parent])
    assert not any(path.exists() for path in written.planned(tmp_path / "nowhere", every, ["a.jpg"], ["a"]))
