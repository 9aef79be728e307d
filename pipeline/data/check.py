"""Every image of a data set decoded, to find those that cannot be or are not as recorded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from micro_yolo.pipeline.data.dataset import Dataset, Problem, relative
from micro_yolo.tflite.image import load_image


def check_images(dataset: Dataset) -> tuple[Problem, ...]:
    """Decodes every image; the Problems of those that cannot be, or that have another size than recorded."""
    work = {
        path: tuple(size)
        for split in dataset.splits.values()
        for path, size in zip(split.files, split.sizes.tolist(), strict=True)
    }

    def check(item: tuple) -> str | None:
        path, recorded = item
        try:
            pixels = load_image(path, recorded)
        except (ValueError, OSError) as error:
            return str(error).removeprefix(f"{path}: ")
        if pixels.shape[:2] != recorded:
            return f"is {_size(pixels.shape[:2])} (height x width), its annotation says {_size(recorded)}"
        return None

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        faults = list(pool.map(check, work.items()))
    return tuple(
        Problem(relative(path, dataset.root), what) for path, what in zip(work, faults, strict=True) if what is not None
    )


def _size(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"
