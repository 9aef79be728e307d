"""A data set under the classes that a network has, where those are more or in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset


def under(dataset: Dataset, labels: Sequence[str]) -> Dataset:
    """The data set with `labels` for its classes; as it is if those are its own, or one of its own is missing there.

    So runs go on that were begun when a class without boxes, or one name twice, was read as a class of its own.
    """
    if dataset.names == tuple(labels) or not set(dataset.names) <= set(labels):
        return dataset
    place = np.array([list(labels).index(name) for name in dataset.names], np.int32)
    ids = dict(zip(dataset.names, dataset.category_ids, strict=True))
    free = (i for i in range(1, len(labels) + len(ids) + 1) if i not in ids.values())
    met: set[str] = set()
    category_ids = []
    for name in labels:
        category_ids.append(ids[name] if name in ids and name not in met else next(free))
        met.add(name)
    splits = {name: replace(split, classes=place[split.classes]) for name, split in dataset.splits.items()}
    return replace(dataset, names=tuple(labels), category_ids=tuple(category_ids), splits=splits)
