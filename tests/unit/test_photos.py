"""Folders of photographs without boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline.data.photos import load_photos


def photographs(folder: Path, count: int, side: int = 8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (side, side + 2), (number, 0, 0)).save(folder / f"{number:03}.png")
    return folder


def names(split: object) -> list[str]:
    return [path.name for path in split.files]  # type: ignore[attr-defined]


def test_all_below_the_folders_is_found_once(tmp_path: Path) -> None:
    photographs(tmp_path / "a", 3)
    photographs(tmp_path / "a" / "below", 2)
    photographs(tmp_path / "b", 4, side=10)
    found = load_photos([tmp_path / "a", tmp_path / "b", tmp_path / "a" / "below"])
    assert sum(map(len, found.splits.values())) == 9
    assert found.names == () and all(len(split.classes) == 0 for split in found.splits.values())
    sizes = np.concatenate([split.sizes for split in found.splits.values()])
    assert sorted(map(tuple, sizes.tolist())) == [(10, 8)] * 5 + [(12, 10)] * 4


def test_a_twentieth_is_held_back_by_seed(tmp_path: Path) -> None:
    photographs(tmp_path, 60)
    first, again, other = (load_photos([tmp_path], seed) for seed in (0, 0, 1))
    assert [len(first.splits[name]) for name in ("train", "val")] == [57, 3]
    assert not {*names(first.splits["train"])} & {*names(first.splits["val"])}
    assert names(first.splits["val"]) == names(again.splits["val"]) != names(other.splits["val"])


def test_one_is_held_back_of_few(tmp_path: Path) -> None:
    assert len(load_photos([photographs(tmp_path, 2)]).splits["val"]) == 1


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    photographs(tmp_path, 3)
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    found = load_photos([tmp_path])
    assert sum(map(len, found.splits.values())) == 3
    warning = found.warning()
    assert warning is not None and "broken.jpg: not an image that can be read" in warning


def test_too_few_are_refused(tmp_path: Path) -> None:
    photographs(tmp_path, 1)
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ValueError, match=r"must hold at least 2 photographs, got 1; allowed: files ending in .*\.jpg"):
        load_photos([tmp_path])


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone: no such folder of photographs"):
        load_photos([photographs(tmp_path / "a", 2), tmp_path / "gone"])
