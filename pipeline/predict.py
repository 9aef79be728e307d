"""Find objects in pictures with any .tflite of ours; needs nothing but the file, and no TensorFlow.

python -m pipeline.predict --model runs/cells/export/model_int8.tflite photo.jpg folder/ --out out/
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from micro_yolo.tflite.decode import Detections

PROG = "python -m pipeline.predict"
DETECTIONS = "detections.json"
_WRITTEN_AS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}


@dataclass(frozen=True)
class Config:
    """Find objects in pictures; write the pictures with boxes, labels and scores, and detections.json."""

    images: tyro.conf.Positional[tuple[Path, ...]]
    """Pictures, or folders that are searched for pictures."""
    model: Path
    """The .tflite."""
    out: Path = Path("out")
    """Folder for the results."""
    score: float | None = None
    """Show detections that score more than this, 0..1; by default the contract's."""
    iou: float | None = None
    """Of two boxes of a class that overlap more than this the weaker goes; by default the contract's."""
    threads: int = 1
    """Threads of the interpreter."""
    overwrite: bool = False
    """Replace results that are already in the folder."""


@dataclass(frozen=True)
class Predicted:
    """What was found.

    Attributes:
        out: folder of the results.
        detections: path of detections.json.
        images: for each picture that could be read its file, the drawn picture, its size and its detections.
        unreadable: for each other its file and why.
    """

    out: Path
    detections: Path
    images: tuple[dict[str, Any], ...]
    unreadable: tuple[dict[str, str], ...]


def run(config: Config, show: Show = QUIET) -> Predicted:
    """Predict as `config` says and write the results.

    A file without a contract is used if it is a detector with the four outputs of SSD style, see tflite.foreign.
    Raises ValueError or OSError, in one line, for what a user can mend. Pictures that cannot be read are warned of and
    named in detections.json; only if none can be read it is an error.
    """
    from micro_yolo.pipeline.measure.finders import Picture, open_file

    for name, value in (("score", config.score), ("iou", config.iou)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name}: must be in 0..1, got {value}")
    files = find_pictures(config.images)
    predictor = open_file(config.model, score=config.score, iou=config.iou, threads=config.threads)
    targets = _targets(files, config.out)
    if not config.overwrite:
        existing = [path for path in (config.out / DETECTIONS, *targets.values()) if path.exists()]
        if existing:
            raise ValueError(f"{existing[0]}: already exists; allowed: another --out, or --overwrite")
    described, unreadable = [], []
    with show.bar("predicting", len(files)) as advance:
        looked_at = predictor.detect([Picture(file) for file in files], advance)
        for file, found in zip(files, looked_at, strict=True):
            if isinstance(found, str):
                unreadable.append({"file": str(file), "error": found})
                show.warn(f"skipped {found}")
            else:
                described.append(_drawn(file, targets[file], found.detections, predictor.labels))
    if not described:
        raise ValueError(f"none of the {len(files)} pictures can be read; {unreadable[0]['error']}")
    facts = predictor.facts
    written = runs.write_json(
        config.out / DETECTIONS,
        {
            "model": str(config.model),
            "model_sha256": predictor.sha256,
            "labels": predictor.labels,
            "score_threshold": facts.score_threshold,
            "iou_threshold": facts.iou_threshold,
            "images": described,
            "unreadable": unreadable,
        },
    )
    return Predicted(config.out, written, tuple(described), tuple(unreadable))


def find_pictures(paths: tuple[Path, ...]) -> list[Path]:
    """The pictures named and those in the folders named, each once, in order.

    Raises FileNotFoundError for a missing path, ValueError for a folder without pictures or no paths at all.
    """
    from micro_yolo.tflite.image import SUFFIXES, find_images

    if not paths:
        raise ValueError("pictures: name at least one picture or folder; see `python -m pipeline.predict --help`")
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such picture or folder")
        here = find_images(path) if path.is_dir() else [path]
        if not here:
            raise ValueError(f"{path}: no pictures in this folder; looked for {', '.join(SUFFIXES)}")
        for file in here:
            found.setdefault(file.absolute(), file)
    return list(found.values())


def entries(found: Detections, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Detections as detections.json has them: label, class, score 0..1 and box_xyxy in pixels of the picture."""
    return [
        {
            "label": labels[category],
            "class": category,
            "score": round(score, 4),
            "box_xyxy": [round(edge, 2) for edge in box],
        }
        for box, score, category in zip(
            found.boxes_xyxy.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
        )
    ]


def _drawn(file: Path, target: Path, found: Detections, labels: tuple[str, ...]) -> dict[str, Any]:
    """Write the picture with its boxes; its entry in detections.json."""
    from micro_yolo.pipeline.show.draw import draw_boxes
    from micro_yolo.tflite.image import load_image

    image = load_image(file)
    picture = draw_boxes(image, found.boxes_xyxy, found.classes, labels, found.scores)
    # By way of memory: on a full disk Pillow itself ends with part of the picture written and no error.
    encoded = io.BytesIO()
    picture.save(encoded, format=_WRITTEN_AS[target.suffix.lower()], quality=92)
    runs.write_atomic(target, encoded.getvalue())
    height, width = image.shape[:2]
    return {
        "file": str(file),
        "picture": target.name,
        "width": width,
        "height": height,
        "detections": entries(found, labels),
    }


def _targets(files: list[Path], out: Path) -> dict[Path, Path]:
    """Where each picture goes: its own name, numbered if several have it, as .jpg unless it is a .png."""
    targets: dict[Path, Path] = {}
    taken: set[str] = {DETECTIONS}
    for file in files:
        suffix = file.suffix if file.suffix.lower() in _WRITTEN_AS else ".jpg"
        name, number = f"{file.stem}{suffix}", 1
        # Lower case, since on some file systems A.jpg and a.jpg are one file.
        while name.lower() in taken or (out / name).absolute() == file.absolute():
            number += 1
            name = f"{file.stem}-{number}{suffix}"
        taken.add(name.lower())
        targets[file] = out / name
    return targets


def tell(predicted: Predicted, show: Show) -> None:
    """What people want to know of it."""
    found = sum(len(image["detections"]) for image in predicted.images)
    skipped = f", {len(predicted.unreadable)} skipped" if predicted.unreadable else ""
    show.say(f"{found} objects in {len(predicted.images)} pictures{skipped}: {predicted.detections}")


def command(config: Config) -> None:
    """Predict and tell."""
    with Screen() as show:
        tell(run(config, show), show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
