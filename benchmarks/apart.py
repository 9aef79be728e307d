"""What it costs to run a file in a process of its own, as is done with files that others made.

    python benchmarks/apart.py --model runs/cells/export/model_int8.tflite --pictures FOLDER

Both ways by turns, in blocks of ten pictures, each read from its file and looked at, as `pipeline.predict` does. The
last line is the median of the differences between neighbouring blocks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

from micro_yolo.pipeline.show import cli
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import find_images, load_image

BLOCK = 10


@dataclass(frozen=True)
class Config:
    """What it costs to run a file in a process of its own."""

    model: Path
    """A .tflite of ours."""
    pictures: Path
    """A folder of pictures."""
    blocks: int = 40
    """Blocks of each way."""


def run(config: Config) -> None:
    """Time and print. Raises ValueError or OSError for files that cannot be read."""
    ways = {
        "in this process": Detector(config.model, data=config.model.read_bytes()),
        "in one of its own": Detector(config.model),
    }
    files = cycle(find_images(config.pictures)[:BLOCK])
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(config.blocks):
        for way in sorted(ways, reverse=bool(number % 2)):
            ways[way].detect(load_image(next(files)))
            start = time.perf_counter()
            for _ in range(BLOCK):
                ways[way].detect(load_image(next(files)))
            times[way].append(1000 * (time.perf_counter() - start) / BLOCK)
    here, there = (np.array(times[way]) for way in ways)
    for way, found in times.items():
        print(f"{way:18} {np.median(found):7.2f} ms a picture")
    more = np.median(there - here)
    print(f"difference         {more:7.2f} ms a picture, {100 * more / np.median(here):.1f} %")


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/apart.py", description=__doc__)
