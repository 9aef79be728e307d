"""Our warp and colour matrix beside keras-cv's chain of layers for the same changes, by turns in one process.

python benchmarks/augmentation.py
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from micro_yolo.pipeline.show import cli


@dataclass(frozen=True)
class Config:
    """Milliseconds an image of each way to augment, and their ratio."""

    size: int = 320
    """Side of the images, pixels."""
    batch: int = 8
    """Images at a time."""
    rounds: int = 10
    """How often each side runs."""


def run(config: Config) -> None:
    """Measure and print."""
    from micro_yolo.model.keras import quiet, tf
    from micro_yolo.pipeline.data.augment import Augment
    from micro_yolo.pipeline.data.strength import Strength

    with quiet():
        from keras_cv import layers

    augment = Augment(Strength(), 0)
    chain = [
        layers.RandomFlip("horizontal", bounding_box_format="xyxy"),
        layers.JitteredResize((config.size, config.size), (0.5, 1.5), bounding_box_format="xyxy"),
        layers.RandomColorJitter((0, 255), 0.3, 0.3, (0.3, 0.7), 0.02),
    ]
    boxes = {"boxes": tf.constant([[[10.0, 10.0, 100.0, 120.0]] * 20] * config.batch)}
    batch = {
        "images": tf.random.uniform((config.batch, config.size, config.size, 3), 0, 255),
        "bounding_boxes": {**boxes, "classes": tf.zeros((config.batch, 20))},
    }

    def ours(x: dict) -> dict:
        return augment.colour(augment.warp(x, training=True), training=True)

    def theirs(x: dict) -> dict:
        for layer in chain:
            x = layer(x, training=True)
        return x

    # Not as a tf.data pipeline: it would work ahead while the other side is timed.
    ways = {"keras-cv's chain": tf.function(theirs), "ours": tf.function(ours)}
    times_ms: dict[str, list[float]] = {name: [] for name in ways}
    for warm in (True, *[False] * config.rounds):
        for name, change in ways.items():
            started = time.perf_counter()
            for _ in range(5):
                change(batch)["images"].numpy()
            if not warm:
                times_ms[name].append((time.perf_counter() - started) * 1000 / 5 / config.batch)
    for name, values in times_ms.items():
        print(f"{name:17} {statistics.median(values):5.2f} ms an image")
    ratio = statistics.median(a / b for a, b in zip(*times_ms.values(), strict=True))
    print(f"ours is {ratio:.1f} times as fast")


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/augmentation.py", description=__doc__)
