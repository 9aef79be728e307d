"""What a network learned from, as its card tells it: no place on anybody's machine, nothing that was not looked up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from micro_yolo.pipeline.data import Dataset, Split
from micro_yolo.pipeline.data.fingerprint import changes
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import Trained
from micro_yolo.tflite.package import folder_name

# Between these shares of the boxes a network is said to have seen sizes.
_RANGE = (0.05, 0.95)


@dataclass(frozen=True)
class Part:
    """A split.

    Attributes:
        images: how many.
        boxes: in them.
        content: sum by which it is known again, "" where there is none.
        empty: images without a box; None where nobody counted.
        classes: boxes of each class by its number; None where nobody counted.
    """

    images: int
    boxes: int
    content: str = ""
    empty: int | None = None
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Step:
    """A stage of a run.

    Attributes:
        name: train, prune or qat.
        settings: what its config.json says it was asked for.
        images: training images, None where it does not say.
        metrics: what it was measured at in Keras.
    """

    name: str
    settings: dict[str, Any]
    images: int | None
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Learned:
    """What a network learned from.

    Attributes:
        name: of the data set's folder, "" where it is not known.
        measured: of the folder whose validation images the score thresholds were measured on, "" if none.
        form: how the data set is written down, "" where nobody looked.
        seeded: whether train and val were drawn by a seed; None where nobody looked.
        parts: split -> what is in it.
        sides: of the training boxes, 5 % and 95 %: root of a box's share of its picture.
        pictures: least and most (height, width) of the training images, each by itself.
        steps: stages, the first one first.
    """

    name: str
    measured: str
    form: str
    seeded: bool | None
    parts: dict[str, Part]
    sides: tuple[float, float] | None
    pictures: tuple[tuple[int, int], tuple[int, int]] | None
    steps: tuple[Step, ...]


def learned(trained: Trained, dataset: Dataset | None) -> Learned:
    """The facts of a stage; `dataset` is what its file was made with, which need not be what it learned from."""
    recorded = {
        name: Part(int(each["images"]), int(each["boxes"]), str(each["sha256"]))
        for name, each in (trained.content or {}).items()
    }
    name, steps = folder_name(str(trained.data or "")) or "", _steps(trained)
    measured = "" if dataset is None else folder_name(dataset.place) or ""
    if dataset is None or not _is_its_own(trained, dataset):
        return Learned(name, measured, "", None, recorded, None, None, steps)
    parts = {
        split: _part(each, recorded[split].content if split in recorded else "", len(trained.labels))
        for split, each in dataset.splits.items()
    }
    train = dataset.splits["train"]
    low, high = train.sizes.min(axis=0).tolist(), train.sizes.max(axis=0).tolist()
    pictures = (low[0], low[1]), (high[0], high[1])
    return Learned(name, measured, dataset.format, dataset.seeded, parts, _sides(train), pictures, steps)


def _is_its_own(trained: Trained, dataset: Dataset) -> bool:
    if trained.content is None:
        return trained.data is not None and dataset.place == str(trained.data)
    return changes(dataset, trained.content) is None


def _part(split: Split, content: str, n_classes: int) -> Part:
    counts = np.bincount(split.classes, minlength=n_classes).tolist()
    return Part(len(split), len(split.classes), content, int((np.diff(split.starts) == 0).sum()), tuple(counts))


def _sides(split: Split) -> tuple[float, float]:
    owner = np.repeat(np.arange(len(split)), np.diff(split.starts))
    sides = (split.boxes_xyxy[:, 2:] - split.boxes_xyxy[:, :2]) / split.sizes[owner][:, ::-1]
    low, high = np.quantile(np.sqrt(sides.prod(axis=1)), _RANGE).tolist()
    return low, high


def _steps(trained: Trained) -> tuple[Step, ...]:
    """The stage and those of its run that it came from."""
    steps: list[Step] = []
    stage = trained.stage
    while stage.name not in [step.name for step in steps] and runs.is_finished(stage):
        config = runs.read_stage(stage).config
        images, metrics = _within(config, "images"), runs.read_json(stage / runs.METRICS)
        steps.append(
            Step(
                stage.name,
                _within(config, "settings"),
                images.get("train") if isinstance(images.get("train"), int) else None,
                metrics if isinstance(metrics, dict) else {},
            )
        )
        parent = folder_name(_within(config, "parent").get("path"))
        if parent not in runs.STAGES:
            break
        stage = trained.run / parent
    return tuple(reversed(steps))


def _within(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}
