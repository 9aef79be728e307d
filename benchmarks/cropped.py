"""How many photographs the report still knows again after a crop: docs/data.md.

    python benchmarks/cropped.py --data SET1 SET2

Of each of 80 training images of a set some per cent of width and height are cut off, divided by chance between the two
ends, and the rest is saved anew; a line says how many are still nearly the same as the whole.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from micro_yolo.pipeline.data import Split, load
from micro_yolo.pipeline.data.files import Files
from micro_yolo.pipeline.doctor import alike
from micro_yolo.pipeline.show import cli

PERCENT = (0.5, 1.0, 2.0, 3.0, 5.0)
IMAGES = 80


@dataclass(frozen=True)
class Config:
    """Count the photographs that are known again after a crop."""

    data: tuple[Path, ...]
    """Sets of labelled images."""


def cropped(split: Split, percent: float, folder: Path) -> Split:
    """The images of a split, less `percent` of each side."""
    rng, files, sizes = np.random.default_rng(0), [], []
    for number, path in enumerate(split.files):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        width, height = (round(side * (1 - percent / 100)) for side in picture.size)
        left, top = (int(rng.integers(0, more + 1)) for more in (picture.width - width, picture.height - height))
        files.append(str(folder / f"{number}.jpg"))
        picture.crop((left, top, left + width, top + height)).save(files[-1], quality=90)
        sizes.append((height, width))
    return replace(split, files=Files(files), sizes=np.array(sizes, np.int32))


def known(split: Split, percent: float) -> int:
    """How many are still nearly the same as before."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = alike.fingerprints(split), alike.fingerprints(cropped(split, percent, Path(folder)))
    bits = np.bitwise_count(before.bits ^ after.bits).sum(axis=1)
    levels = np.abs(before.grey.astype(int) - after.grey).mean(axis=1)
    return int(((bits <= alike.NEAR_BITS) & (levels <= alike.NEAR_LEVELS)).sum())


def command(config: Config) -> None:
    """Count and print."""
    splits = [load(data).splits["train"].drawn(IMAGES, 0) for data in config.data]
    total = sum(map(len, splits))
    for percent in PERCENT:
        counts = [known(split, percent) for split in splits]
        print(f"{percent:g} %: {sum(counts)} of {total} ({', '.join(map(str, counts))})")


if __name__ == "__main__":
    cli.main(Config, command, prog="python benchmarks/cropped.py", description=__doc__)
