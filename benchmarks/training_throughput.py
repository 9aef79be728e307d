"""How much of the bare train step's speed real training keeps.

    python benchmarks/training_throughput.py --data PATH

Runs both sides in one process, alternating: a batch held in memory against batches that are decoded, augmented and
fetched as in training. Prints images per second of each and their ratio.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from micro_yolo.pipeline.show import cli


@dataclass(frozen=True)
class Config:
    """Images per second of real training beside the bare train step."""

    data: Path
    """Folder of labelled images."""
    arch: str = "micro_yolo"
    """Network."""
    size: str = "320"
    """Input size, pixels."""
    batch: int = 16
    """Images a step."""
    rounds: int = 6
    """How often each side runs."""
    steps: int = 18
    """Steps a round."""
    cache_gib: float = 2.0
    """0 decodes every image in every epoch."""


def run(config: Config) -> None:
    """Measure and print."""
    from itertools import cycle

    from micro_yolo.model import zoo
    from micro_yolo.model.build import build
    from micro_yolo.model.heads import loss_of
    from micro_yolo.model.keras import tf
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.data.input import GIB, Batches, Images
    from micro_yolo.pipeline.data.strength import Strength
    from micro_yolo.pipeline.learn.loop import Task, Trainer
    from micro_yolo.pipeline.learn.options import parse_size
    from micro_yolo.pipeline.learn.recipe import Recipe

    dataset = load(config.data)
    arch = zoo.find(config.arch).resized(parse_size(config.size)).with_classes(len(dataset.names))
    images = Images(dataset.splits["train"], arch.size, "stretch", cache_bytes=config.cache_gib * GIB)
    images.hold()
    batches = Batches(images, config.batch, Strength(), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            Task(build(arch), build(arch), loss_of(arch), dict),
            Recipe(epochs=1),
            batches,
            Path(folder),
            strategy=tf.distribute.get_strategy(),
        )
        real = iter(batches.dataset(augmented=True).repeat())
        held = cycle([next(real)])
        speeds: dict[str, list[float]] = {"bare step": [], "training": []}

        def images_per_second(source: Iterator) -> float:
            started = time.perf_counter()
            for _ in range(config.steps):
                float(trainer.step(next(source))["total"])
            return config.steps * config.batch / (time.perf_counter() - started)

        images_per_second(held)
        for _ in range(config.rounds):
            speeds["bare step"].append(images_per_second(held))
            # The queue filled up meanwhile; what lies in it must not count as speed.
            for _ in range(4):
                trainer.step(next(real))
            speeds["training"].append(images_per_second(real))
    for name, values in speeds.items():
        print(f"{name:10} {statistics.median(values):6.1f} images/s (median of {config.rounds})")
    ratios = [b / a for a, b in zip(*speeds.values(), strict=True)]
    median, low, high = (100 * f(ratios) for f in (statistics.median, min, max))
    print(f"training keeps {median:.0f} % of the bare step ({low:.0f} to {high:.0f} %)")


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/training_throughput.py", description=__doc__)
