"""What machines that train together must have alike, each by its name; how they are told is in tests/e2e."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from data_folders import coco_record, write_coco, write_image

from micro_yolo.model.spec import Arch, Row
from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.learn import peers
from micro_yolo.pipeline.train import Config

ARCH = Arch(
    "small",
    (Row("l1", "conv", 8, k=3, s=2), Row("d1", "detect", anchors=((9.0, 9.0),))),
    size=(64, 64),
    classes=1,
)


def wanted(root: Path, *, arch: Arch = ARCH, **options: object) -> dict[str, object]:
    return peers.wanted(Config(data=root, **options), arch, load(root))


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    """The same data set on two machines."""
    return [write_coco(tmp_path / name, coco_record(4), coco_record(2, 9, "val")) for name in ("one", "other")]


def named(one: dict[str, object], other: dict[str, object]) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_the_same_in_two_places_is_alike(places: list[Path]) -> None:
    one, other = (
        wanted(root, run=root / "run", cache=root / "cache", cache_gib=number) for number, root in enumerate(places)
    )
    assert named(one, other) == set() and {"tensorflow", "numpy", "--seed", "table", "classes"} <= one.keys()


def test_another_version_table_or_setting_is_named(places: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    one, version = wanted(places[0]), metadata.version
    assert named(one, wanted(places[1], seed=1, batch=2)) == {"--seed", "--batch"}
    assert named(one, wanted(places[1], arch=ARCH.resized((32, 32)))) == {"table"}
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "numpy" else version(name))
    assert named(one, wanted(places[1])) == {"numpy"}


@pytest.mark.parametrize("harm", ["box", "pixels", "name"])
def test_other_data_is_named(places: list[Path], harm: str) -> None:
    one = wanted(places[0])
    if harm == "pixels":
        write_image(load(places[1]).splits["train"].files[0], quality=1)
    for file in places[1].glob("*.json"):
        record = json.loads(file.read_text())
        if harm == "name":
            record["categories"][0]["name"] = "another"
        elif harm == "box" and "train" in file.name:
            record["annotations"][0]["bbox"][2] -= 1
        file.write_text(json.dumps(record))
    found = named(one, wanted(places[1]))
    assert found == ({"classes"} if harm == "name" else {"images and boxes of train"})
