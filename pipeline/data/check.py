"""Every image of a data set decoded, to find those that cannot be or are not as recorded."""

from __future__ import annotations

from collections.abc import Sequence

from micro_yolo.pipeline.data.dataset import Dataset, Problem
from micro_yolo.pipeline.data.files import Files, in_threads, relative
from micro_yolo.tflite.cores import usable_cores
from micro_yolo.tflite.image import load_image


def check_images(dataset: Dataset) -> tuple[Problem, ...]:
    """Decodes every image; the Problems of those that cannot be, or that have another size than recorded."""
    work = {
        text: (height, width)
        for split in dataset.splits.values()
        for text, (height, width) in zip(Files.of(split.files).texts, split.sizes.tolist(), strict=True)
    }

    def check(item: tuple[str, tuple[int, int]]) -> str | None:
        path, recorded = item
        try:
            pixels = load_image(path, recorded)
        except (ValueError, OSError) as error:
            return str(error).removeprefix(f"{path}: ")
        if pixels.shape[:2] != recorded:
            return f"is {_size(pixels.shape[:2])} (height x width), its annotation says {_size(recorded)}"
        return None

    faults = zip(work, in_threads(check, work.items(), workers=usable_cores()), strict=True)
    return tuple(Problem(relative(path, dataset.root), what) for path, what in faults if what is not None)


def _size(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"
