"""What it costs to run a file in a process of its own, as is done with files that others made.

    python benchmarks/apart.py --model runs/cells/export/model_int8.tflite --pictures FOLDER

Both ways by turns, in blocks of 16 pictures, each read from its file: as `pipeline.predict` and `pipeline.evaluate`
do, which read the next picture meanwhile, and one after the other by `Detector.detect`. The last column is the median
of the differences between neighbouring blocks: time, and processor time of both processes together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import cast

import numpy as np

from micro_yolo.pipeline.measure.finders import OurFile, Picture
from micro_yolo.pipeline.show import cli
from micro_yolo.tflite.apart import Apart
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import find_images, load_image

BLOCK = 16
STARTS = 10
HERE, THERE = "in this process", "in one of its own"


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
    ways = {HERE: Detector(config.model, data=config.model.read_bytes()), THERE: Detector(config.model)}
    runtime = cast(Apart, ways[THERE]._interpreter)
    files = find_images(config.pictures)[:BLOCK]

    def commands(detector: Detector) -> object:
        return list(OurFile(detector).detect([Picture(file) for file in islice(cycle(files), BLOCK)]))

    def single(detector: Detector) -> object:
        return [detector.detect(load_image(file)) for file in islice(cycle(files), BLOCK)]

    def processors() -> float:
        return time.process_time() + runtime.process_time()

    for name, look in (("as commands do", commands), ("one by one", single)):
        for clock, what in ((time.perf_counter, "ms"), (processors, "ms of processor")):
            _compare(f"{name}, {what} a picture", _blocks(ways, look, clock, config.blocks) / BLOCK)
    starts: dict[str, Callable[[], object]] = {
        HERE: lambda: Detector(config.model, data=config.model.read_bytes()),
        THERE: lambda: Detector(config.model),
    }
    _compare("start, ms", np.array([[_taken(starts[way], time.perf_counter) for way in starts] for _ in range(STARTS)]))


def _blocks(
    ways: dict[str, Detector], look: Callable[[Detector], object], clock: Callable[[], float], count: int
) -> np.ndarray:
    """Milliseconds of each block (blocks, 2), the second way first every other time."""
    found = np.zeros((count, 2))
    for number in range(count):
        for column in (0, 1) if number % 2 else (1, 0):
            detector = list(ways.values())[column]
            look(detector)
            found[number, column] = _taken(partial(look, detector), clock)
    return found


def _taken(does: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    does()
    return 1000 * (clock() - start)


def _compare(what: str, times: np.ndarray) -> None:
    here, there = np.median(times, axis=0)
    more = np.median(times[:, 1] - times[:, 0])
    print(f"{what:42} {HERE} {here:7.2f}   {THERE} {there:7.2f}   difference {more:6.2f}, {100 * more / here:5.1f} %")


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/apart.py", description=__doc__)
