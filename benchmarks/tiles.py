"""What windows of large pictures are worth: average precision of a file as it is and with --tiles, and its time.

    python benchmarks/tiles.py --model runs/apples/export/model_int8.tflite --data PATH --sides 160 224 320
    python benchmarks/tiles.py --model runs/cells/export/model_int8.tflite --data PATH --grid 3 --sides 416

With --grid the pictures are laid together, n x n in one: objects as small as in a photograph of a larger scene, whose
size in a window is that of the training again.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from micro_yolo.pipeline.data import Dataset, Split, load
from micro_yolo.pipeline.measure.finders import open_file
from micro_yolo.pipeline.measure.metrics import SCORE_THRESHOLD, measure_split
from micro_yolo.pipeline.measure.tiles import looking
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing, points
from micro_yolo.pipeline.show.screen import Screen
from micro_yolo.tflite.image import load_image

PROG = "python benchmarks/tiles.py"
COLUMNS = ("AP", "AP50", "AP_small", "AP_medium", "AP_large")


@dataclass(frozen=True)
class Config:
    """Average precision with windows beside that without."""

    model: Path
    """The .tflite."""
    data: Path
    """Labelled images."""
    split: str = "val"
    """Which of them."""
    grid: int = 1
    """Lay so many pictures together in each row and column."""
    sides: tuple[int, ...] = ()
    """Sides of windows to try, in pixels of the pictures; the model's input is always tried."""


def laid_together(split: Split, grid: int, folder: Path) -> Split:
    """`grid` x `grid` pictures of a split in one, at their recorded sizes, in the order of the split; on grey."""
    tall, wide = split.sizes.max(axis=0).tolist()
    count = len(split) // grid**2
    files, boxes, classes, starts = [], [], [], [0]
    for number in range(count):
        whole = Image.new("RGB", (grid * wide, grid * tall), (114, 114, 114))
        for place in range(grid**2):
            index = number * grid**2 + place
            left, top = place % grid * wide, place // grid * tall
            height, width = split.sizes[index].tolist()
            picture = Image.fromarray(load_image(split.files[index], (height, width))).resize((width, height))
            whole.paste(picture, (left, top))
            rows = split.rows(index)
            boxes.append(split.boxes_xyxy[rows] + np.array([left, top, left, top], np.float32))
            classes.append(split.classes[rows])
        starts.append(starts[-1] + sum(len(each) for each in classes[-(grid**2) :]))
        files.append(folder / f"{number}.png")
        whole.save(files[-1])
    corners, numbers = np.concatenate(boxes), np.concatenate(classes)
    return Split(
        name=split.name,
        files=files,
        image_ids=np.arange(count),
        sizes=np.tile(np.array([[grid * tall, grid * wide]], np.int32), (count, 1)),
        boxes_xyxy=corners,
        classes=numbers,
        crowd=np.zeros(len(numbers), bool),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        starts=np.array(starts, np.int64),
    )


def run(config: Config) -> None:
    """Measure and print a line for each way to look."""
    dataset = load(config.data)
    predictor = open_file(config.model, score=SCORE_THRESHOLD)
    with Screen() as show, tempfile.TemporaryDirectory() as folder:
        split = dataset.splits[config.split]
        if config.grid > 1:
            split = laid_together(split, config.grid, Path(folder))
        whole: Dataset = replace(dataset, splits={config.split: split})
        table = listing("windows", *(name.removeprefix("AP_") for name in COLUMNS), "ms/picture")
        for tiles, side in ((False, None), (True, None), *((True, side) for side in config.sides)):
            finder, window = looking(predictor, tiles, side)
            name = "none" if window is None else f"{window[0]} x {window[1]}"
            with show.bar(name, len(split)) as advance:
                metrics, _ = measure_split(finder, split, whole, advance=advance)
            table.add_row(name, *(points(metrics[column]) for column in COLUMNS), f"{metrics['model_ms']:.1f}")
        sides = split.sizes.max(axis=1)
        show.say(
            f"{config.model}: {len(split)} pictures of {config.split} of {config.data}, longer side "
            f"{sides.min()} to {sides.max()}, {len(split.classes)} boxes"
        )
        show.draw(table)


if __name__ == "__main__":
    cli.main(Config, run, prog=PROG, description=__doc__)
