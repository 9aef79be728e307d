"""What training does with no data of your own: small enough to end in a few minutes on two cores. No TensorFlow."""

from __future__ import annotations

from pathlib import Path

from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.store import runs

SIZE, EPOCHS, IMAGES = 160, 45, 400
# A short training has more from images as they are, and the drawn shapes are told apart by their hue too.
AUGMENT = Strength(mosaic=0, hue=0)


def drawn(images: int, size: tuple[int, int], seed: int) -> Path:
    """The folder of a synthetic set for an input of this size: so many images to train on, a fifth as many to measure.

    Drawn at twice the input's size, to be worth a look; once, for all later runs.
    """
    from micro_yolo.pipeline.data import synthetic

    height, width = 2 * size[0], 2 * size[1]
    folder = runs.RUNS / f".synthetic-{images}-{height}x{width}-{seed}"
    return synthetic.make(folder, train=images, val=max(images // 5, 1), size=(height, width), seed=seed)
