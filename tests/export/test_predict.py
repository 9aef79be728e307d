"""Pictures in, pictures and detections.json out."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline import predict as stage
from micro_yolo.pipeline.show import draw
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import killed, runs

Config = stage.Config


@pytest.fixture
def model(exported: Path) -> Path:
    return exported / "export" / "model_int8.tflite"


@pytest.fixture
def pictures(tiny_data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((tiny_data / "images").iterdir())[:3]:
        shutil.copy(path, folder)
    return folder


def test_pictures_and_detections(model: Path, pictures: Path, tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((40, 30), 90, np.uint8)).save(grey)
    out = stage.run(Config(images=(grey, pictures), model=model, out=tmp_path / "out", score=0.05)).out
    written = json.loads((out / "detections.json").read_text())
    assert len(written["images"]) == 4
    assert written["score_threshold"] == 0.05
    first = written["images"][0]
    assert (first["file"], first["width"], first["height"]) == (str(grey), 30, 40)
    assert Image.open(out / first["picture"]).size == (30, 40)
    found = [detection for image in written["images"] for detection in image["detections"]]
    assert found
    for detection in found:
        assert detection["label"] == written["labels"][detection["class"]]
        assert 0.05 < detection["score"] <= 1
        assert len(detection["box_xyxy"]) == 4
    assert {path.name for path in out.iterdir()} == {image["picture"] for image in written["images"]} | {
        "detections.json"
    }


def test_boxes_are_drawn(model: Path, pictures: Path, tmp_path: Path) -> None:
    path = next(pictures.iterdir())
    plain = stage.run(Config(images=(path,), model=model, out=tmp_path / "a", score=1.0)).out
    drawn = stage.run(Config(images=(path,), model=model, out=tmp_path / "b", score=0.02)).out
    first, second = (np.asarray(Image.open(next(out.glob("*[!n]")))).astype(int) for out in (plain, drawn))
    assert np.abs(first - second).max() > 50


def test_unreadable_pictures_are_named_and_counted(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "broken.jpg").write_bytes(b"no picture")
    stage.command(Config(images=(pictures,), model=model, out=tmp_path / "out"))
    written = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [Path(entry["file"]).name for entry in written["unreadable"]] == ["broken.jpg"]
    said = capsys.readouterr()
    assert "broken.jpg: not an image" in said.err
    assert "3 pictures, 1 skipped" in said.out


def test_one_odd_entry_costs_no_other(model: Path, pictures: Path, tmp_path: Path) -> None:
    """A name that is no UTF-8, a link to itself, a pipe."""
    try:
        shutil.copy(next(pictures.iterdir()), os.fsencode(pictures) + b"/odd\xff.jpg")
    except OSError:
        pytest.skip("a file system of names in UTF-8")
    (pictures / "round").symlink_to("round")
    os.mkfifo(pictures / "pipe.jpg")
    config = Config(images=(pictures,), model=model, out=tmp_path / "out", csv=True, txt=True, save_crops=True)
    predicted = stage.run(config)
    assert len(predicted.images) == 4 and not predicted.unreadable
    record = json.loads(predicted.detections.read_text(encoding="utf-8"))
    assert "odd\\udcff.jpg" in [image["picture"] for image in record["images"]]
    with pytest.raises(ValueError, match=r"pipe\.jpg: image cannot be read \(not a regular file\)"):
        stage.run(Config(images=(pictures / "pipe.jpg",), model=model, out=tmp_path / "none"))


def test_nothing_readable(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 1 pictures can be read; .*a\.jpg: image file is empty"):
        stage.run(Config(images=(tmp_path / "a.jpg",), model=model, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_results_are_not_replaced_unasked(model: Path, pictures: Path, tmp_path: Path) -> None:
    config = {"images": (pictures,), "model": model, "out": tmp_path / "out"}
    stage.run(Config(**config))
    with pytest.raises(ValueError, match="already exists; allowed: another --out, or --overwrite"):
        stage.run(Config(**config))
    stage.run(Config(**config, overwrite=True))


@pytest.mark.parametrize("below", ["", "out"])
def test_what_a_full_disk_stopped_is_done_again(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    """Without --overwrite, and without looking at the pictures that it wrote; what else is there stays."""
    asked = Config(images=(pictures,), model=model, out=pictures / below, csv=True, txt=True, save_crops=True)
    mine = pictures / below / "mine.txt"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    write, count = runs.write_atomic, 0

    def full(path: Path, data: bytes | str) -> Path:
        nonlocal count
        count += 1
        if count > 4:
            raise OSError(errno.EDQUOT, "Disk quota exceeded", str(path))
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(runs, "write_atomic", full)
        with pytest.raises(OSError, match="quota"):
            stage.run(asked)
    left = sorted(path.name for path in (pictures / below).glob("*.jpg"))
    assert killed.half_written(pictures / below)
    found = stage.run(asked)
    assert len(found.images) == 3 and left
    assert mine.read_text() == "mine" and not killed.half_written(pictures / below)
    with pytest.raises(ValueError, match="already exists; allowed: another --out, or --overwrite"):
        stage.run(asked)


def test_originals_survive_out_in_their_folder(model: Path, pictures: Path) -> None:
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    stage.run(Config(images=(pictures,), model=model, out=pictures, overwrite=True))
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(pictures.iterdir())) == 2 * len(before) + 1


def test_the_folder_of_results_is_not_looked_at(model: Path, pictures: Path) -> None:
    """Case R09: the same command twice, with --out among the pictures."""
    config = Config(images=(pictures,), model=model, out=pictures / "out", overwrite=True, save_crops=True, score=0.05)
    notes: list[str] = []
    for _ in range(2):
        assert len(stage.run(config, told(notes)).images) == 3
    left_out = len([file for file in (pictures / "out").rglob("*") if file.suffix in (".jpg", ".png")])
    assert notes == [f"left out {left_out} pictures that predictions wrote"]
    # Results among the pictures themselves.
    for _ in range(2):
        assert len(stage.run(Config(images=(pictures,), model=model, out=pictures, overwrite=True)).images) == 3
    assert len(list(pictures.glob("*.*"))) == 7


def test_every_form_at_once(model: Path, pictures: Path, tmp_path: Path) -> None:
    config = Config(
        images=(Path(f"{pictures}/*"),), model=model, out=tmp_path / "out", score=0.05, csv=True, txt=True,
        save_crops=True, draw=False,
    )  # fmt: skip
    predicted = stage.run(config)
    found = sum(len(image["detections"]) for image in predicted.images)
    assert found and [image["picture"] for image in predicted.images] == [None] * 3
    assert {path.name for path in predicted.out.iterdir()} == {"crops", "detections.csv", "detections.json", "labels"}
    assert len((predicted.out / "detections.csv").read_text().splitlines()) == found + 1
    assert (predicted.out / "labels" / "classes.txt").read_text().splitlines() == list(
        json.loads(predicted.detections.read_text())["labels"]
    )
    assert len(list((predicted.out / "crops").rglob("*.jpg"))) == found
    with pytest.raises(ValueError, match=r"detections\.json: already exists"):
        stage.run(config)


def test_tiles_find_more_where_pictures_are_large(model: Path, pictures: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    every = [Image.open(path) for path in sorted(pictures.iterdir())]
    mosaic = Image.new("RGB", (300, 216))
    for number, each in enumerate(every * 3):
        mosaic.paste(each.resize((100, 72)), (number % 3 * 100, number // 3 * 72))
    mosaic.save(large)
    plain = stage.run(Config(images=(large,), model=model, out=tmp_path / "a", score=0.05))
    tiled = stage.run(Config(images=(large,), model=model, out=tmp_path / "b", score=0.05, tiles=True))
    assert len(tiled.images[0]["detections"]) > len(plain.images[0]["detections"])
    assert json.loads(tiled.detections.read_text())["window"] == [64, 96]
    sides = stage.run(Config(images=(large,), model=model, out=tmp_path / "c", tiles=True, tile_side=128))
    assert json.loads(sides.detections.read_text())["window"] == [128, 128]


def test_a_video_among_pictures(model: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="no OpenCV: micro-yolo[video]")
    from micro_yolo.pipeline.watch.video import writing

    with writing(pictures / "clip.mp4", 10.0) as writer:
        for path in sorted(pictures.glob("*.[jp]*")):
            writer.write(np.asarray(Image.open(path).convert("RGB").resize((100, 72))))
    predicted = stage.run(Config(images=(pictures,), model=model, out=tmp_path / "out", score=0.02))
    assert (len(predicted.images), len(predicted.videos)) == (3, 1)
    assert predicted.videos[0]["frames"] == 3 and predicted.videos[0]["detections"] > 0
    assert (tmp_path / "out" / "clip.mp4").is_file() and (tmp_path / "out" / "clip.jsonl").is_file()
    notes: list[str] = []
    again = Config(images=(pictures,), model=model, out=tmp_path / "again", frames=1, draw=False)
    stage.tell(stage.run(again), told(notes))
    assert "clip.mp4: " in notes[0] and notes[0].endswith(f"in 1 frames: {tmp_path / 'again' / 'clip.jsonl'}")


def test_a_video_without_its_library_stops_no_pictures(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    (pictures / "clip.mp4").write_bytes(b"film")
    notes: list[str] = []
    predicted = stage.run(Config(images=(pictures,), model=model, out=tmp_path / "out"), told(notes))
    assert len(predicted.images) == 3 and len(predicted.unreadable) == 1
    assert notes == [
        f"skipped {pictures / 'clip.mp4'}: needs cv2, which is not installed; "
        "`pip install 'micro-yolo[video]'` brings it"
    ]
    with pytest.raises(ModuleNotFoundError):
        stage.run(Config(images=(pictures / "clip.mp4",), model=model, out=tmp_path / "none"))


def test_names_that_cannot_be_drawn_are_said(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case R15."""
    monkeypatch.setattr(draw, "unwritable", lambda names: [names[0]])
    notes: list[str] = []
    stage.run(Config(images=(pictures,), model=model, out=tmp_path / "out"), told(notes))
    (note,) = notes
    assert "no font here has the letters, so boxes show class numbers; install one of NotoSansCJK-Regular.ttc" in note
    stage.run(Config(images=(pictures,), model=model, out=tmp_path / "not_drawn", draw=False), told(notes))
    assert len(notes) == 1


def told(notes: list[str]) -> Show:
    class Notes(Show):
        def warn(self, text: str) -> None:
            notes.append(text)

        say = warn

    return Notes()


def test_no_picture_is_replaced_by_the_result_of_another(model: Path, pictures: Path) -> None:
    first, second = sorted(pictures.iterdir())[:2]
    second.rename(pictures / f"{first.stem}-2{first.suffix}")
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    stage.run(Config(images=(pictures,), model=model, out=pictures, overwrite=True))
    assert {path: path.read_bytes() for path in before} == before


def test_pictures_of_one_name_get_numbers(model: Path, pictures: Path, tmp_path: Path) -> None:
    source = next(pictures.iterdir())
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        shutil.copy(source, tmp_path / folder / f"same{source.suffix}")
    out = stage.run(Config(images=(tmp_path / "one", tmp_path / "two"), model=model, out=tmp_path / "out")).out
    names = {path.stem for path in out.iterdir()}
    assert names == {"same", "same-2", "detections"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": ()}, "name at least one picture or folder"),
        ({"images": (Path("gone.jpg"),)}, r"gone\.jpg: no such picture or folder"),
        ({"model": Path("gone.tflite")}, r"gone\.tflite: no such file"),
        ({"score": 1.5}, r"score: must be in 0\.\.1, got 1\.5"),
        ({"iou": -1.0}, r"iou: must be in 0\.\.1"),
        ({"threads": 0}, "threads: must be at least 1"),
        ({"tile_side": 640}, "tile-side: needs --tiles, and must be at least 16 pixels, got 640"),
        ({"tiles": True, "tile_side": 8}, "at least 16 pixels, got 8"),
        ({"frames": 0}, "frames: must be at least 1, got 0"),
        ({"images": (Path("https://example.org/a.jpg"),)}, "nothing is fetched from a network"),
    ],
)
def test_bad_requests(model: Path, pictures: Path, tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        stage.run(Config(**{"images": (pictures,), "model": model, "out": tmp_path / "out", **change}))
    assert not (tmp_path / "out").exists()


def test_a_folder_without_pictures(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no pictures in this folder"):
        stage.run(Config(images=(tmp_path / "empty",), model=model))


def test_as_a_user_types_it(
    model: Path, pictures: Path, tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = command("pipeline.predict", "--model", model, pictures, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "objects in 3 pictures" in done.stdout
    assert "INFO" not in done.stderr
    truncated = tmp_path / "model.tflite"
    truncated.write_bytes(model.read_bytes()[:1000])
    done = command("pipeline.predict", "--model", truncated, pictures, "--out", tmp_path / "new", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("python -m pipeline.predict: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
