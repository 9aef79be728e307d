"""Pictures with more objects than a detector says."""

from __future__ import annotations

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset

# Of a file that was converted without another number, and of what is measured in training.
MOST = 100


def beyond(dataset: Dataset, most: int = MOST) -> str | None:
    """One line on the pictures with more than `most` boxes (crowds aside), None if there are none."""
    said, largest = [], 0
    for name, split in dataset.splits.items():
        owner = np.repeat(np.arange(len(split)), np.diff(split.starts))[~split.crowd]
        counts = np.bincount(owner, minlength=len(split))
        if (counts > most).any():
            said.append(f"{int((counts > most).sum())} of {name}")
            largest = max(largest, int(counts.max()))
    if not said:
        return None
    return (
        f"{dataset.root}: pictures with more than {most} boxes, of which no more are found: {', '.join(said)}, up to "
        f"{largest}; `--max-detections {largest}` of pipeline.convert and pipeline.evaluate finds them all"
    )
