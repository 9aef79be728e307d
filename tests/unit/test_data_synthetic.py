import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline.data import load, synthetic
from micro_yolo.pipeline.data.synthetic import SHAPES, draw, make


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("synthetic") / "shapes", train=30, val=6, size=(160, 192), seed=3)


def test_is_the_same_to_the_byte(made, tmp_path):
    again = make(tmp_path / "again", train=30, val=6, size=(160, 192), seed=3)
    assert digests(again) == digests(made)
    longer = digests(make(tmp_path / "longer", train=31, val=6, size=(160, 192), seed=3))
    assert longer["images/train_00029.jpg"] == digests(made)["images/train_00029.jpg"]
    other = digests(make(tmp_path / "other", train=30, val=6, size=(160, 192), seed=4))
    assert all(other[name] != value for name, value in digests(made).items())


def test_reads_back_without_a_fault(made):
    data = load(made)
    assert data.format == "synthetic" and data.names == tuple(SHAPES) and len(SHAPES) >= 4
    assert data.problems == ()
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 30, "val": 6}
    train = data.splits["train"]
    assert set(train.classes.tolist()) == set(range(len(SHAPES)))
    assert (np.diff(train.starts) >= 1).all()
    with Image.open(train.files[0]) as image:
        assert image.size == (192, 160) and image.mode == "RGB"


def test_several_scales_and_overlaps():
    boxes = [np.array([item["bbox"] for item in draw((320, 320), [0, i])[1]]) for i in range(60)]
    sides = np.concatenate(boxes)[:, 2:].max(1)
    assert sides.min() < 32 and sides.max() > 96
    touching = 0
    for image in boxes:
        low, high = image[:, :2], image[:, :2] + image[:, 2:]
        meet = (np.minimum(high[:, None], high) > np.maximum(low[:, None], low)).all(-1)
        touching += meet.sum() - len(image)
    assert touching > 10


def test_box_encloses_the_visible_part():
    pixels, objects = draw((200, 200), [5])
    assert pixels.shape == (200, 200, 3) and pixels.dtype == np.uint8
    for item in objects:
        x, y, w, h = item["bbox"]
        assert x >= 0 and y >= 0 and w > 0 and h > 0 and x + w <= 200 and y + h <= 200
        assert 0 < item["area"] <= w * h


def test_same_recipe_is_left_alone_and_anything_else_is_kept(made, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    make(made, train=30, val=6, size=(160, 192), seed=3)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
    with pytest.raises(FileExistsError, match="holds something other than the synthetic set"):
        make(made, train=31, val=6, size=(160, 192), seed=3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.jpg").write_text("precious")
    with pytest.raises(FileExistsError):
        make(tmp_path / "mine", train=1, val=1)
    assert (tmp_path / "mine" / "photo.jpg").read_text() == "precious"


def test_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "shapes").mkdir()
    monkeypatch.setattr(json, "dumps", lambda *_, **__: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        make(tmp_path / "shapes", train=2, val=1, size=(64, 64))
    assert list(tmp_path.rglob("*")) == [tmp_path / "shapes"]
    monkeypatch.undo()
    make(tmp_path / "shapes", train=2, val=1, size=(64, 64))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shapes"]


def test_two_at_once_make_one(tmp_path, monkeypatch):
    recipe = {"train": 2, "val": 1, "size": (64, 64)}
    write_split = synthetic._write_split

    def overtaken(*arguments):
        monkeypatch.setattr(synthetic, "_write_split", write_split)
        make(tmp_path / "shapes", **recipe)
        write_split(*arguments)

    monkeypatch.setattr(synthetic, "_write_split", overtaken)
    make(tmp_path / "shapes", **recipe)
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]
    assert len(load(tmp_path / "shapes").splits["train"]) == 2


@pytest.mark.parametrize(
    "wrong", [{"train": 0}, {"val": 0}, {"size": (32, 320)}, {"size": (320, 9000)}], ids=lambda wrong: str(wrong)
)
def test_wrong_arguments(tmp_path, wrong):
    with pytest.raises(ValueError, match="synthetic: "):
        make(tmp_path / "x", **wrong)
    assert not (tmp_path / "x").exists()
