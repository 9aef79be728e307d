"""Augmented images a second of the training input alone, by where they are held and how many read; by turns.

    python benchmarks/input.py --data PATH

Prints for each size: images/s from memory, from a cache on disk and decoded anew in each epoch, with one reader and
with one for each processor; beside them keras-cv's own layers for the same changes (Mosaic, RandomFlip, JitteredResize,
RandomColorJitter) on batches held in memory. A processor shared with others makes fewer images/s, but needs as long for
each.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs


@dataclass(frozen=True)
class Config:
    """Images per second of the training input."""

    data: Path
    """Folder of labelled images."""
    sizes: tuple[int, ...] = (160, 320, 416)
    """Sides of the input, pixels."""
    batch: int = 8
    """Images a batch."""
    rounds: int = 5
    """How often each way runs."""
    images: int = 400
    """Images a round, at least."""
    json: Path | None = None
    """A file for all that was measured."""


def run(config: Config) -> None:
    """Measure and print."""
    from micro_yolo.pipeline.data import load

    split = load(config.data).splits["train"]
    print(f"{split}, batch {config.batch}: images/s, the median of {config.rounds} rounds (least to most)")
    told: dict[int, dict[str, Any]] = {}
    for size in config.sizes:
        with tempfile.TemporaryDirectory() as folder:
            ways = _ways(config, split, size, Path(folder))
            rounds = [[_measure(epoch, config) for epoch in ways.values()] for _ in range(config.rounds + 1)]
        print(f"{size} px")
        told[size] = {}
        # The first warms up, and fills the cache.
        for name, measured in zip(ways, zip(*rounds[1:], strict=True), strict=True):
            rates, ms = zip(*measured, strict=True)
            ratio = statistics.median(rate / others[0][0] for rate, others in zip(rates, rounds[1:], strict=True))
            spread = f"{statistics.median(rates):5.0f} ({min(rates):.0f} to {max(rates):.0f})"
            busy = f"{statistics.median(ms):.2f} ms of a processor an image"
            print(f"  {name:29} {spread}, {ratio:.1f} times keras-cv's; {busy}", flush=True)
            told[size][name] = {"images_per_second": rates, "ratio": ratio, "ms": statistics.median(ms)}
    if config.json is not None:
        runs.write_json(config.json, {"images": len(split), "sizes": told})


def _ways(config: Config, split: Any, size: int, folder: Path) -> dict[str, Callable[[], Iterable[Any]]]:
    """Each way of making batches: a function that gives an epoch's."""
    from micro_yolo.pipeline.data.input import Batches, Images
    from micro_yolo.pipeline.data.strength import Strength

    def ours(**held: Any) -> Callable[[], Iterable[Any]]:
        images = Images(split, (size, size), "stretch", **held)
        images.hold()
        dataset = Batches(images, config.batch, Strength(), seed=0).dataset(augmented=True)
        return lambda: dataset

    ways = {"keras-cv's layers, in memory": _keras_cv(config, split, size)}
    held: dict[str, dict[str, Any]] = {
        "in memory": {"cache_bytes": 1e12},
        "cache on disk": {"cache_bytes": 0, "cache": folder},
        "decoded anew": {"cache_bytes": 0},
    }
    for name, where in held.items():
        ways[f"{name}, one reader"] = ours(readers=1, **where)
        ways[f"{name}, all"] = ours(**where)
    return ways


def _keras_cv(config: Config, split: Any, size: int) -> Callable[[], Iterable[Any]]:
    """keras-cv's layers in a tf.data pipeline, one after the other."""
    from micro_yolo.model.keras import quiet, tf
    from micro_yolo.pipeline.data.input import Images
    from micro_yolo.pipeline.data.strength import Strength

    with quiet():
        from keras_cv import bounding_box, layers

    s = Strength()
    mosaic = layers.Mosaic(bounding_box_format="xyxy")
    chain = [
        layers.RandomFlip("horizontal", bounding_box_format="xyxy"),
        layers.JitteredResize((size, size), (1 - s.scale, 1 + s.scale), bounding_box_format="xyxy"),
        # Saturation is 0 for grey, 1 for the most, 0.5 for none changed.
        layers.RandomColorJitter(
            (0, 255), s.brightness, s.contrast, (0.5 - s.saturation / 2, 0.5 + s.saturation / 2), s.hue
        ),
    ]
    images = Images(split, (size, size), "stretch", cache_bytes=1e12)
    images.hold()

    def fetch(indices: Any) -> dict[str, Any]:
        pixels, boxes, classes = tf.numpy_function(images.batch, [indices], (tf.uint8, tf.float32, tf.int32))
        pixels.set_shape((config.batch, size, size, 3))
        boxes.set_shape((config.batch, None, 4))
        classes.set_shape((config.batch, None))
        boxes = {"boxes": boxes, "classes": tf.cast(classes, tf.float32)}
        return {"images": tf.cast(pixels, tf.float32), "bounding_boxes": boxes}

    def dense(batch: dict[str, Any]) -> dict[str, Any]:
        return {"images": batch["images"], "bounding_boxes": bounding_box.to_dense(batch["bounding_boxes"])}

    def change(batch: dict[str, Any]) -> Any:
        some = tf.random.uniform(()) < s.mosaic
        batch = tf.cond(some, lambda: dense(mosaic(batch, training=True)), lambda: dense(batch))
        for layer in chain:
            batch = layer(batch, training=True)
        return batch["images"]

    order = tf.data.Dataset.range(len(split)).shuffle(len(split)).batch(config.batch, drop_remainder=True)
    dataset = order.map(fetch).map(change).prefetch(2)
    return lambda: dataset


def _measure(epoch: Callable[[], Iterable[Any]], config: Config) -> tuple[float, float]:
    """Images a second, over whole epochs, and milliseconds that one keeps a processor busy."""
    started, busy, count = time.perf_counter(), time.process_time(), 0
    while count < config.images:
        for _ in epoch():
            count += config.batch
    return count / (time.perf_counter() - started), (time.process_time() - busy) * 1000 / count


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/input.py", description=__doc__)
