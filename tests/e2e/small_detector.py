"""A small network that a minute's training on two dozen photographs makes good enough to be sure of what it sees."""

from __future__ import annotations

import json
from pathlib import Path

from micro_yolo.model.spec import Arch, Row
from micro_yolo.pipeline import convert, train
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn.recipe import Recipe

SMALL = Arch(
    "small",
    (
        Row("c1", "conv", 16, k=3, s=2),
        Row("c2", "conv", 24, k=3, s=2),
        Row("b1", "mbconv", 32, k=3, mid=48, se=4),
        Row("c3", "conv", 48, k=3, s=2),
        Row("b2", "mbconv", 48, k=5, mid=96, se=4, skip=True),
        Row("c4", "conv", 48, k=3),
        Row("d1", "detect", anchors=((12.0, 12.0), (20.0, 20.0))),
        Row("c5", "conv", 64, k=3, s=2, src=("b2",)),
        Row("d2", "detect", anchors=((30.0, 30.0), (40.0, 50.0))),
    ),
    size=(128, 160),
    classes=3,
)
IMAGES = {"train": 24, "val": 12}


def photographs_of(shared_data: Path, folder: Path) -> Path:
    """A data set of two dozen photographs of blood cells in a folder."""
    source, data = shared_data / "bccd", folder / "photographs"
    data.mkdir()
    (data / "images").symlink_to(source / "images")
    for split, count in IMAGES.items():
        labels = json.loads((source / f"instances_{split}.json").read_text())
        labels["images"] = labels["images"][:count]
        kept = {image["id"] for image in labels["images"]}
        labels["annotations"] = [each for each in labels["annotations"] if each["image_id"] in kept]
        (data / f"instances_{split}.json").write_text(json.dumps(labels))
    return data


def make(shared_data: Path, folder: Path) -> Path:
    """Train on photographs of blood cells and export float32 and int8 with both heads; the run's directory."""
    data = photographs_of(shared_data, folder)
    (folder / "small.json").write_text(json.dumps(SMALL.to_json()))
    made = train.run(
        train.Config(
            data=data,
            run=folder / "run",
            arch=str(folder / "small.json"),
            batch=4,
            recipe=Recipe(epochs=40, evaluate_every=40),
            augment=Strength(mosaic=0),
            # The rule by which MediaPipe's runtime, given a photograph, sees the same pixels.
            resize="mediapipe",
        )
    )
    for head in ("detections", "raw"):
        convert.run(convert.Config(run=made.run, float32=True, int8=True, samples=IMAGES["train"], head=head))
    return made.run
