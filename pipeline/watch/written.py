"""What predicting leaves in its folder: pictures and videos with boxes, JSON, and if asked for CSV, YOLO and crops."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from micro_yolo.pipeline.show.draw import draw_boxes
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.watch.sources import CROPS, RECORD
from micro_yolo.tflite.decode import Detections

TABLE, LABELS = "detections.csv", "labels"
_WRITTEN_AS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_COLUMNS = ("file", "frame", "time_s", "track", "label", "class", "score", "left", "top", "right", "bottom")


@dataclass(frozen=True)
class Forms:
    """What is wanted beside JSON: pictures with boxes, a table of all, YOLO's label files, each object cut out."""

    draw: bool = True
    csv: bool = False
    txt: bool = False
    crops: bool = False


@dataclass(frozen=True)
class Seen:
    """A picture, or a frame of a video, and what was found in it.

    Attributes:
        file: what it is of.
        stem: of the names of its results.
        pixels: uint8 RGB (H, W, 3).
        found: boxes in its pixels.
        frame: number in a video, from 0; None of a picture.
        time_s: of the frame.
        tracks: int (n,) which object of the video each is, 0 if that is not known yet; None if none is followed.
    """

    file: str
    stem: str
    pixels: np.ndarray
    found: Detections
    frame: int | None = None
    time_s: float | None = None
    tracks: np.ndarray | None = None


def entries(found: Detections, labels: Sequence[str], tracks: np.ndarray | None = None) -> list[dict[str, Any]]:
    """Detections as detections.json has them: label, class, score 0..1 and box_xyxy in pixels of the picture.

    With `tracks` also track, null where 0.
    """
    numbers = [{}] * len(found) if tracks is None else [{"track": number or None} for number in tracks.tolist()]
    return [
        {
            "label": labels[category],
            "class": category,
            "score": round(score, 4),
            "box_xyxy": [round(edge, 2) for edge in box],
            **number,
        }
        for box, score, category, number in zip(
            found.boxes_xyxy.tolist(), found.scores.tolist(), found.classes.tolist(), numbers, strict=True
        )
    ]


def drawn(seen: Seen, labels: Sequence[str]) -> Image.Image:
    """The picture with boxes, and labels with the object's number in front and the score in per cent behind."""
    found = seen.found
    leads = None if seen.tracks is None else [f"#{number} " if number else "" for number in seen.tracks.tolist()]
    return draw_boxes(seen.pixels, found.boxes_xyxy, found.classes, labels, found.scores, leads=leads)


class Results:
    """The folder of results while predicting goes on."""

    def __init__(self, out: Path, forms: Forms, table: Any = None) -> None:
        """`table` is where rows of the CSV go; see `results`."""
        self.out, self.forms, self._table = out, forms, table

    def picture(self, seen: Seen, suffix: str, labels: Sequence[str]) -> dict[str, Any]:
        """Write all that is wanted of a picture; its entry in detections.json."""
        target = self.out / f"{seen.stem}{suffix}" if self.forms.draw else None
        if target is not None:
            _save(drawn(seen, labels), target)
        self.also(seen, labels)
        height, width = seen.pixels.shape[:2]
        return {
            "file": seen.file,
            "picture": target and target.name,
            "width": width,
            "height": height,
            "detections": entries(seen.found, labels),
        }

    def also(self, seen: Seen, labels: Sequence[str]) -> None:
        """Write what is wanted of a picture or frame beside JSON and boxes."""
        name = seen.stem if seen.frame is None else f"{seen.stem}_{seen.frame:06d}"
        found, listed = seen.found, entries(seen.found, labels, seen.tracks)
        if self._table is not None:
            self._table.writerows(
                {
                    **{"file": seen.file, "frame": seen.frame, "time_s": _short(seen.time_s)},
                    **{key: each.get(key) for key in ("track", "label", "class", "score")},
                    **dict(zip(_COLUMNS[-4:], each["box_xyxy"], strict=True)),
                }
                for each in listed
            )
        if self.forms.txt:
            height, width = seen.pixels.shape[:2]
            runs.write_atomic(self.out / LABELS / f"{name}.txt", _yolo(found, (height, width)))
        if self.forms.crops:
            for number, (box, each) in enumerate(zip(found.boxes_xyxy, listed, strict=True), 1):
                left, top = np.floor(box[:2]).astype(int).tolist()
                right, bottom = np.ceil(box[2:]).astype(int).tolist()
                crop = seen.pixels[top:bottom, left:right]
                if crop.size:
                    folder = self.out / CROPS / folder_name(each["label"], each["class"])
                    _save(Image.fromarray(crop), folder / f"{name}-{number}.jpg")

    @contextmanager
    def lines(self, stem: str) -> Iterator[Any]:
        """A file of JSON lines for a video; call what is given with each."""
        with runs.writing(self.out / f"{stem}.jsonl") as beside, open(beside, "w", encoding="utf-8") as file:
            yield lambda value: file.write(json.dumps(runs.plain(value), ensure_ascii=False) + "\n")

    def record(self, value: Mapping[str, Any], labels: Sequence[str]) -> Path:
        """Write detections.json, the last of all, and the class names beside YOLO's files."""
        if self.forms.txt:
            runs.write_atomic(self.out / LABELS / "classes.txt", "".join(f"{label}\n" for label in labels))
        return runs.write_json(self.out / RECORD, value)


@contextmanager
def results(out: Path, forms: Forms) -> Iterator[Results]:
    """Results whose table is whole or not there."""
    with ExitStack() as stack:
        table = None
        if forms.csv:
            beside = stack.enter_context(runs.writing(out / TABLE))
            # With the mark by which Excel knows UTF-8.
            file = stack.enter_context(open(beside, "w", encoding="utf-8-sig", newline=""))
            table = csv.DictWriter(file, _COLUMNS)
            table.writeheader()
        yield Results(out, forms, table)


def planned(out: Path, forms: Forms, names: Sequence[str], stems: Sequence[str]) -> list[Path]:
    """What is looked for before results are written; `names` of pictures and videos, `stems` of label files."""
    paths = [out / RECORD]
    paths += [out / TABLE] if forms.csv else []
    paths += [out / name for name in names]
    paths += [out / LABELS / f"{stem}.txt" for stem in stems] if forms.txt else []
    paths += [out / CROPS] if forms.crops else []
    return paths


def folder_name(label: str, number: int) -> str:
    """A folder for objects of a class: its name where every file system takes it, else its number."""
    safe = re.sub(r"[\x00-\x1f<>:\"/\\|?*]+", "_", label).strip(" .")[:80]
    return safe or f"class {number}"


def picture_suffix(file: Path) -> str:
    """What a picture with boxes is written as: its own suffix if that is written here, else .jpg."""
    return file.suffix if file.suffix.lower() in _WRITTEN_AS else ".jpg"


def _save(picture: Image.Image, target: Path) -> None:
    # By way of memory: on a full disk Pillow itself ends with part of the picture written and no error.
    encoded = io.BytesIO()
    picture.save(encoded, format=_WRITTEN_AS[target.suffix.lower()], quality=92)
    runs.write_atomic(target, encoded.getvalue())


def _yolo(found: Detections, size: tuple[int, int]) -> str:
    """Lines of class, centre, width and height as shares of the picture, which every reader of YOLO labels takes."""
    height, width = size
    boxes = found.boxes_xyxy / np.array([width, height, width, height], np.float64)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    rows = zip(found.classes.tolist(), np.concatenate([centres, sides], axis=1).tolist(), strict=True)
    return "".join(f"{number} {' '.join(f'{value:.6f}' for value in row)}\n" for number, row in rows)


def _short(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
