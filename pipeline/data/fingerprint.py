"""What a data set holds, whatever it is called and wherever it is: by this a stopped training knows its own again."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from typing import Any

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset, Split
from micro_yolo.pipeline.data.files import file_bytes
from micro_yolo.tflite.image import MAX_BYTES

# Pictures of a split that are looked at byte for byte; reading all would take as long as an epoch.
_PICTURES = 32


def content(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Of train and val how many images and boxes there are, and sums of what is in them.

    ``sha256`` is of sizes, boxes, classes and some pictures, ``files`` of how many bytes each picture has: a picture
    that was drawn anew under the same labels hardly ever has as many.
    """
    splits = dataset.splits
    return {
        name: {
            "images": len(splits[name]),
            "boxes": len(splits[name].classes),
            "sha256": digest,
            "files": _lengths(splits[name]),
        }
        for name, digest in _digests(dataset).items()
    }


def check_content(dataset: Dataset, recorded: dict[str, Any], where: str) -> None:
    """Raise ValueError unless a data set is the one with which a stage was begun.

    Args:
        dataset: what is there now.
        recorded: what the stage's config.json says; of an older one the names of classes and perhaps the images.
        where: the stage, for people.
    """
    names, had = recorded.get("names"), recorded.get("content")
    if names is not None and list(names) != list(dataset.names):
        raise _other(dataset, where, "classes", ", ".join(map(str, names)), ", ".join(dataset.names))
    if had is None:
        counts = {name: len(split) for name, split in dataset.splits.items()}
        if recorded.get("images", counts) != counts:
            raise _other(dataset, where, "images", _counted(recorded["images"]), _counted(counts))
        return
    for name, now in content(dataset).items():
        before = had.get(name)
        if not _is_same(before, now):
            raise _other(dataset, where, name, _said(before), _said(now))


def changes(dataset: Dataset, had: dict[str, Any] | None) -> str | None:
    """What a data set holds that is other than it was when a stage was made from it; None if nothing, or not known."""
    now = content(dataset)
    other = [name for name in now if had is not None and not _is_same(had.get(name), now[name])]
    if had is None or not other:
        return None
    said = "; ".join(f"{name}: {_said(had.get(name))}, now {_said(now[name])}" for name in other)
    return f"{dataset.root}: is not what the training had: {said}"


def changed_since(dataset: Dataset, recorded: dict[str, str]) -> str | None:
    """As `changes`, of `sums` alone, {} where they are not known."""
    now = _digests(dataset) if recorded else {}
    other = [name for name in now if recorded.get(name) != now[name]]
    return f"{dataset.root}: is not what the training had: {', '.join(other)}" if other else None


def sums(had: dict[str, Any] | None) -> dict[str, str]:
    """Of each split in `content` its sum alone, as a contract has it; {} where it is not known."""
    return {name: str(facts["sha256"]) for name, facts in (had or {}).items()}


def is_that(dataset: Dataset, recorded: dict[str, str], place: str | None) -> bool:
    """Whether a data set is the one of a training, whatever has been added to it since.

    Args:
        dataset: what is there now, split as in that training.
        recorded: `sums` of what the training had; {} where it is not known.
        place: of the data of that training, or the folder's name alone.
    """
    if recorded and _digests(dataset) == recorded:
        return True
    if place is None:
        return False
    if os.path.isabs(place):
        return os.path.realpath(dataset.place) == os.path.realpath(place)
    # A file that travelled tells the folder's name alone: better too few images measured than those it learned from.
    return os.path.basename(dataset.place) == place


def _is_same(had: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    """Whether all is as it was, of what was recorded: once there were fewer sums."""
    return had is not None and all(now.get(name) == value for name, value in had.items())


def looked_at(images: int) -> list[int]:
    """Which of so many images are looked at byte for byte."""
    return list(map(int, np.linspace(0, images - 1, min(images, _PICTURES))))


def _said(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return "nothing"
    parts = " ".join(str(facts[name]) for name in ("sha256", "files") if name in facts)
    return f"{facts['images']} images, {facts['boxes']} boxes ({parts})"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _other(dataset: Dataset, where: str, what: str, had: str, got: str) -> ValueError:
    return ValueError(
        f"{dataset.root}: must hold what {where} was begun with, {what}: {had}, got {got}; "
        "allowed: the same images and labels at any place, or --overwrite to start again"
    )


def _digests(dataset: Dataset) -> dict[str, str]:
    """`sums` of the `content` of what is there, for which no file's length is asked."""
    return {name: _digest(split) for name, split in dataset.splits.items() if name != "test"}


def _digest(split: Split) -> str:
    digest = hashlib.sha256()
    for array in (split.sizes, split.starts, split.boxes_xyxy, split.classes, split.crowd):
        digest.update(array.tobytes())
    for index in looked_at(len(split)):
        with suppress(OSError), open(split.files[index], "rb") as file:
            digest.update(file.read(MAX_BYTES))
    return digest.hexdigest()[:16]


def _lengths(split: Split) -> str:
    lengths = np.array([file_bytes(path) for path in split.files], np.int64)
    return hashlib.sha256(lengths.tobytes()).hexdigest()[:16]
