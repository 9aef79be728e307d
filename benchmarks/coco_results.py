"""Average precision of what any program found, measured as ours is: its results in COCO's format, a data set of ours.

    python -m pipeline.data PATH --export exported/ --form yolo
    ... a program trains on exported/, finds objects in its validation pictures, and writes results.json
    python benchmarks/coco_results.py --data PATH --results results.json

A record is of a picture by its file's name without the ending (`image_id`), as trainers of YOLO write it, and of a
class by its number from `first` on (`category_id`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.measure.metrics import coco_metrics
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs


@dataclass(frozen=True)
class Config:
    """Measure results that another program wrote."""

    data: Path
    """Folder of labelled images."""
    results: Path
    """Its results, in COCO's format."""
    split: str = "val"
    """Split of the data that it looked at."""
    first: int = 1
    """Number that it gives the first class."""


def measured(config: Config) -> dict[str, Any]:
    """COCO's metrics in points.

    Raises ValueError for results of pictures or classes that are not there, or that are not in COCO's format.
    """
    dataset = load(config.data)
    if config.split not in dataset.splits:
        raise ValueError(f"split: must be one of {', '.join(dataset.splits)}, got {config.split!r}")
    split = dataset.splits[config.split]
    ids = {path.stem: int(number) for path, number in zip(split.files, split.image_ids, strict=True)}
    found = []
    try:
        for record in json.loads(config.results.read_text(encoding="utf-8")):
            name, number = str(record["image_id"]), int(record["category_id"]) - config.first
            # A number that a name is may have lost its leading zeros.
            known = ids.get(name, ids.get(Path(str(record.get("file_name", ""))).stem))
            if known is None or not 0 <= number < len(dataset.names):
                raise ValueError(f"a picture or a class that {config.data} has not: {name}, {record['category_id']}")
            category = dataset.category_ids[number]
            found.append({**record, "image_id": known, "category_id": category})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{config.results}: must be results in COCO's format, got {error}") from None
    return coco_metrics(split, dataset.category_ids, found, dataset.names)


def command(config: Config) -> None:
    """Print the metrics as JSON."""
    print(json.dumps(runs.plain(measured(config)), indent=1))


if __name__ == "__main__":
    cli.main(Config, command, prog="python benchmarks/coco_results.py", description=__doc__)
