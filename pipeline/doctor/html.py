"""The doctor's page: each finding with its pictures, and what each size of the input does to the objects."""

from __future__ import annotations

import base64
import io
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from micro_yolo.model.printable import typed
from micro_yolo.pipeline.data.dataset import Dataset
from micro_yolo.pipeline.doctor.findings import Spot
from micro_yolo.pipeline.doctor.sizes import CELL_PX, SMALL_PX
from micro_yolo.pipeline.doctor.visit import Checkup
from micro_yolo.pipeline.show.draw import draw_boxes
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite.image import load_image

TEMPLATES = Path(__file__).parents[1] / "page" / "templates"
_TEMPLATE = "doctor.html.j2"
# By which a page is known as this command's own.
MARK = "micro-yolo pipeline.data"
# Longer side of a picture on the page; of a box, what is shown around it when the picture is much larger.
_SIDE, _AROUND = 360, 3.0


def page(dataset: Dataset, checkup: Checkup) -> str:
    """The page as HTML that needs nothing else. ModuleNotFoundError without Jinja."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typed"] = typed
    splits = dataset.splits.values()
    return environment.get_template(_TEMPLATE).render(
        root=os.path.normpath(dataset.root),
        dataset=dataset,
        totals=[(split.name, len(split), len(split.classes)) for split in splits],
        checkup=checkup,
        findings=sections(dataset, checkup),
        cell=CELL_PX,
        small=SMALL_PX,
        mark=MARK,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        versions=runs.provenance(),
    )


def is_ours(path: Path) -> bool:
    """Whether a file is a page of the doctor, which a new one may replace."""
    try:
        with open(path, "rb") as file:
            return f'name="generator" content="{MARK}"'.encode() in file.read(1000)
    except OSError:
        return False


def sections(dataset: Dataset, checkup: Checkup) -> list[dict[str, Any]]:
    """Each finding, and the groups of its pictures; those that cannot be decoded are left out."""
    return [
        {
            "finding": finding,
            "groups": [
                views for group in finding.spots if (views := [view for spot in group for view in _view(dataset, spot)])
            ],
        }
        for finding in checkup.findings
    ]


def _view(dataset: Dataset, spot: Spot) -> list[dict[str, Any]]:
    """A picture with the boxes that are meant as a data URI, and what is on it in words."""
    split = dataset.splits[spot.split]
    height, width = split.sizes[spot.index].tolist()
    try:
        picture = Image.fromarray(load_image(split.files[spot.index], (height, width)))
    except (ValueError, OSError):
        return []
    own = split.rows(spot.index)
    rows = np.array(spot.rows or range(own.start, own.stop), int)
    ratio = np.array([picture.width / width, picture.height / height] * 2)
    boxes = split.boxes_xyxy[rows] * ratio
    corner = np.zeros(4)
    if spot.rows:
        picture, corner = _closer(picture, boxes)
    scale = _SIDE / max(picture.size)
    shown = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    drawn = draw_boxes(shown, (boxes - corner) * scale, split.classes[rows], dataset.names)
    encoded = io.BytesIO()
    drawn.save(encoded, format="JPEG", quality=82)
    counts = Counter(dataset.names[number] for number in split.classes[rows].tolist())
    return [
        {
            "uri": f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}",
            "width": drawn.width,
            "height": drawn.height,
            "file": split.files[spot.index].name,
            "split": spot.split,
            "note": spot.note,
            "said": ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing",
        }
    ]


def _closer(picture: Image.Image, boxes_xyxy: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The part of the picture around the boxes, and its corner as (left, top, left, top)."""
    left, top = boxes_xyxy[:, :2].min(axis=0)
    right, bottom = boxes_xyxy[:, 2:].max(axis=0)
    side = max(right - left, bottom - top) * _AROUND
    half = max(side, 0.25 * max(picture.size)) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    place = [
        max(0, round(x - half)),
        max(0, round(y - half)),
        min(picture.width, round(x + half)),
        min(picture.height, round(y + half)),
    ]
    return picture.crop((place[0], place[1], place[2], place[3])), np.array([place[0], place[1]] * 2)
