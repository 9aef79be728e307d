"""``history.csv``: a line for each epoch of a training. One writer, one reader. No TensorFlow."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from micro_yolo.pipeline.store import runs
from micro_yolo.tflite import regular

# epoch and images are whole numbers, all others floats; an empty cell is None: that epoch was not measured.
Row = dict[str, Any]
# What a line holds beside the losses, whose number and names are the head's and the stage's.
_WHOLE = ("epoch", "images")
# What is measured of some epochs: accuracy, or of a lesson how much of what its teacher says.
EXPLAINED = "explained"
_MEASURES = ("AP", "AP50", EXPLAINED)
_OTHERS = (*_WHOLE, "learning_rate", "gradient_norm", *_MEASURES, "seconds", "images_per_second")


def read(path: Path) -> list[Row]:
    """The lines of a history, in order; none where there is no such file. Raises ValueError for what is no history."""
    if not path.is_file():
        return []
    try:
        lines = io.StringIO(regular.read(path).decode(), newline="")
        rows = [{name: _number(name, text) for name, text in row.items()} for row in csv.DictReader(lines)]
        if any("epoch" not in row or row["epoch"] is None for row in rows):
            raise ValueError("no epoch")
        return rows
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path}: must be numbers, got {error}") from None


def write(path: Path, rows: Sequence[Row]) -> Path:
    """Write `rows`, at least one and all of the same columns; whole or not at all."""
    text = io.StringIO()
    sheet = csv.DictWriter(text, list(rows[-1]))
    sheet.writeheader()
    sheet.writerows(rows)
    return runs.write_atomic(path, text.getvalue())


def losses_of(row: Mapping[str, Any]) -> list[str]:
    """The names of the losses in a line, or in what a step reports: the total and its parts, in their order."""
    return [name for name in row if name not in _OTHERS]


def measured_of(row: Mapping[str, Any]) -> dict[str, float]:
    """What was measured of an epoch, by name; nothing of one that was not."""
    return {name: row[name] for name in _MEASURES if row.get(name) is not None}


def _number(name: str, text: str) -> float | int | None:
    return None if text == "" else int(text) if name in _WHOLE else float(text)
