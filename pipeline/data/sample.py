"""Some images of a split as a network sees them: to calibrate on, or to compare files on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from micro_yolo.pipeline.data.dataset import Split


def sample_images(
    split: Split, count: int, size: tuple[int, int], rule: str, *, seed: int = 0, unreadable: Callable[[str], None]
) -> list[np.ndarray]:
    """At most `count` images, drawn by `seed`, in the order of the split.

    Args:
        split: where they are from.
        count: how many; unreadable ones among them are not replaced.
        size: (height, width) of the network's input.
        rule: of tflite.image.RULES.
        seed: of the draw.
        unreadable: is told of each image that cannot be read.

    Returns:
        uint8 (h, w, 3) each.

    Raises:
        ValueError: none can be read.
    """
    drawn = split.drawn(count, seed)

    def read(index: int) -> np.ndarray | str:
        try:
            return drawn.picture(index, size, rule)[0]
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        loaded = list(pool.map(read, range(len(drawn))))
    images = [item for item in loaded if not isinstance(item, str)]
    faults = [item for item in loaded if isinstance(item, str)]
    for fault in faults:
        unreadable(fault)
    if not images:
        raise ValueError(f"no image of split '{split.name}' can be read; {faults[0] if faults else 'it is empty'}")
    return images
