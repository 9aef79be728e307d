"""What a data set holds is known again, and what of it has changed: labels, pictures, one of a thousand."""

import json
import os
from pathlib import Path

import pytest
from data_folders import coco_record, write_coco
from PIL import Image

from micro_yolo.pipeline.data import fingerprint, load
from micro_yolo.pipeline.data.fingerprint import changed_since, changes, check_content, content, sums
from micro_yolo.pipeline.store import resume, runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some 50 pictures in train, of which 32 are looked at byte for byte."""
    return write_coco(tmp_path / "set", coco_record(64))


def repainted(folder: Path) -> Path:
    """A picture that is not among those that are looked at, drawn anew under the same label."""
    split = load(folder).splits["train"]
    looked_at = fingerprint.looked_at(len(split))
    path = split.files[next(place for place in range(len(split)) if place not in looked_at)]
    Image.new("RGB", (64, 48), "red").save(path)
    return path


def test_a_picture_that_changed_under_the_same_labels_is_noticed(folder: Path) -> None:
    before = content(load(folder))
    check_content(load(folder), {"content": before}, "run/train")
    repainted(folder)
    after = content(load(folder))
    assert sums(after) == sums(before) and after["train"]["files"] != before["train"]["files"]
    assert after["val"] == before["val"]
    with pytest.raises(ValueError, match=r"must hold what run/train was begun with, train: .* allowed: the same") as no:
        check_content(load(folder), {"content": before}, "run/train")
    told = str(no.value)
    assert before["train"]["files"] in told and after["train"]["files"] in told
    assert "train: " in (changes(load(folder), before) or "")


def test_what_an_older_run_recorded_is_compared_as_far_as_it_goes(folder: Path) -> None:
    before = {
        split: {name: each for name, each in facts.items() if name != "files"}
        for split, facts in content(load(folder)).items()
    }
    path = repainted(folder)
    check_content(load(folder), {"content": before}, "run/train")
    assert changes(load(folder), before) is None
    os.remove(path)
    with pytest.raises(ValueError, match="must hold what run/train was begun with"):
        check_content(load(folder), {"content": before}, "run/train")


def test_a_copy_is_the_same_whenever_and_wherever_it_was_made(folder: Path) -> None:
    before = content(load(folder))
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    folder.rename(folder.with_name("moved"))
    assert content(load(folder.with_name("moved"))) == before


def test_of_a_file_that_travelled_the_sums_tell(folder: Path) -> None:
    recorded = sums(content(load(folder)))
    assert changed_since(load(folder), recorded) is None and changed_since(load(folder), {}) is None
    labels = folder / "instances_train.json"
    labels.write_text(labels.read_text().replace("[4, 6, 20, 10]", "[4, 6, 21, 10]"))
    assert changed_since(load(folder), recorded) == f"{folder}: is not what the training had: train, val"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([], "must be a mapping"),
        ({"content": []}, "content: must be a mapping"),
        ({"content": {"train": 3}}, r"content\.train: must be a mapping"),
        ({"content": {"train": {"images": "4", "boxes": 1, "sha256": ""}}}, r"content\.train\.images: must be a whole"),
        ({"images": {"train": []}}, r"images\.train: must be a whole number"),
        ({"names": "abc"}, "names: must be a list of strings"),
        ({"names": [["a"]]}, "names: must be a list of strings"),
        ({"data": 5}, "data: must be a string, got 5"),
        ({"parent": {"path": "train"}}, "parent: sha256 missing"),
        ({"parent": 3}, "parent: must be a mapping"),
    ],
)
def test_what_a_half_made_stage_of_somebody_says_has_its_types(said: object, message: str, tmp_path: Path) -> None:
    (tmp_path / runs.CONFIG).write_text(json.dumps(said))
    with pytest.raises(ValueError, match=message) as refused:
        resume.facts(tmp_path)
    assert str(refused.value).startswith(str(tmp_path / runs.CONFIG)) and "\n" not in str(refused.value)


def test_a_stage_goes_on_from_the_weights_and_the_table_it_began_with(tmp_path: Path) -> None:
    train, prune = tmp_path / "train", tmp_path / "prune"
    train.mkdir()
    prune.mkdir()
    (train / runs.WEIGHTS).write_bytes(b"weights")
    (train / runs.ARCH).write_text("{}")
    runs.begin(prune, {}, parent=train)
    resume.check_parent(prune, train)
    # One that was begun before recorded no table.
    facts = runs.read_json(prune / runs.CONFIG)
    runs.write_json(prune / runs.CONFIG, facts | {"parent": {"sha256": facts["parent"]["sha256"]}})
    (train / runs.ARCH).write_text('{"rows": []}')
    resume.check_parent(prune, train)
    runs.write_json(prune / runs.CONFIG, facts)
    with pytest.raises(ValueError, match=r"prune: began with other rows than .*train has now; allowed: --overwrite"):
        resume.check_parent(prune, train)
    (train / runs.WEIGHTS).write_bytes(b"others")
    with pytest.raises(ValueError, match="began with other weights than"):
        resume.check_parent(prune, train)
