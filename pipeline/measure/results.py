"""Detections in COCO's results format, held as arrays: a record is made where somebody asks for it.

A dict for each of ten million detections takes six gigabytes, the arrays half of one.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from micro_yolo.pipeline.data.json_parts import members
from micro_yolo.pipeline.store import runs

_AT_ONCE = 10_000


@dataclass(frozen=True, eq=False)
class Results(Sequence[dict[str, Any]]):
    """k detections; as a sequence, records with image_id, category_id, bbox (x, y, width, height) and score.

    Shapes: image_ids int64 (k,) and category_ids int64 (k,) as the source numbers them, boxes_xywh float64 (k, 4)
    pixels of the image's recorded size, scores float64 (k,) 0..1.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes_xywh: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        return f"Results({len(self)} detections)"

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice | np.ndarray) -> Results: ...

    def __getitem__(self, index: int | slice | np.ndarray) -> dict[str, Any] | Results:
        if isinstance(index, slice | np.ndarray):
            return Results(self.image_ids[index], self.category_ids[index], self.boxes_xywh[index], self.scores[index])
        return next(iter(self[range(len(self))[index] :][:1]))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            columns = (self.image_ids, self.category_ids, self.boxes_xywh, self.scores)
            for image, category, box, score in zip(*(column[part].tolist() for column in columns), strict=True):
                yield {"image_id": image, "category_id": category, "bbox": box, "score": score}

    def write(self, path: Path) -> Path:
        """Write the records as JSON, whole or not at all. Raises OSError."""
        with runs.writing(path) as beside, open(beside, "w", encoding="utf-8") as file:
            file.write("[")
            for start in range(0, len(self), _AT_ONCE):
                text = json.dumps(list(self[start : start + _AT_ONCE]))
                file.write(f"{', ' if start else ''}{text[1:-1]}")
            file.write("]\n")
        return path


def read_results(path: Path) -> Results:
    """The detections in a file. Raises FileNotFoundError, or ValueError if it does not hold a list of records."""
    ids, numbers = array("q"), array("d")
    try:
        for name, record, element in members(path, (None,)):
            if name is not None or not (element or isinstance(record, list)):
                raise TypeError("something else than a list")
            if element:
                ids.extend((record["image_id"], record["category_id"]))
                numbers.extend((*record["bbox"], record["score"]))
        columns = np.array(numbers, np.float64).reshape(-1, 5)
        image_ids, category_ids = np.array(ids, np.int64).reshape(-1, 2).T
        return Results(image_ids, category_ids, columns[:, :4], columns[:, 4])
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (ValueError, RecursionError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: must be detections in COCO's results format, got {error}") from None


def joined(parts: Sequence[Results]) -> Results:
    """All detections of `parts`, in their order."""
    if not parts:
        return gathered([])
    return Results(
        np.concatenate([part.image_ids for part in parts]),
        np.concatenate([part.category_ids for part in parts]),
        np.concatenate([part.boxes_xywh for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def gathered(records: Iterable[Mapping[str, Any]]) -> Results:
    """Records in COCO's results format, as they are; Results are given back."""
    if isinstance(records, Results):
        return records
    rows = [(r["image_id"], r["category_id"], r["bbox"], r["score"]) for r in records]
    return Results(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float64),
    )
