"""Find objects in pictures with any .tflite of ours; needs nothing but the file, and no TensorFlow.

python -m pipeline.predict --model runs/cells/export/model_int8.tflite photo.jpg folder/ --out out/
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    import numpy as np

    from micro_yolo.tflite.decode import Detections
    from micro_yolo.tflite.detector import Detector
    from micro_yolo.tflite.foreign import Foreign

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


def run(config: Config) -> Path:
    """Predict as `config` says and return the folder of the results.

    A file without a contract is used if it is a detector with the four outputs of SSD style, see tflite.foreign.
    Raises ValueError or OSError, in one line, for what a user can mend. Pictures that cannot be read are named on
    stderr and in detections.json; only if none can be read it is an error.
    """
    for name, value in (("score", config.score), ("iou", config.iou)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name}: must be in 0..1, got {value}")
    files = find_pictures(config.images)
    finder = _ours(config) or _foreign(config)
    targets = _targets(files, config.out)
    if not config.overwrite:
        existing = [path for path in (config.out / DETECTIONS, *targets.values()) if path.exists()]
        if existing:
            raise ValueError(f"{existing[0]}: already exists; allowed: another --out, or --overwrite")
    finder.start(files)
    described, unreadable = [], []
    for file in _shown(files):
        try:
            described.append(_predict(finder, file, targets[file]))
        except ValueError as error:
            unreadable.append({"file": str(file), "error": str(error)})
            print(f"warning: skipped {error}", file=sys.stderr)
    if not described:
        raise ValueError(f"none of the {len(files)} pictures can be read; {unreadable[0]['error']}")
    runs.write_json(
        config.out / DETECTIONS,
        {"model": str(config.model), **finder.facts(), "images": described, "unreadable": unreadable},
    )
    found = sum(len(image["detections"]) for image in described)
    skipped = f", {len(unreadable)} skipped" if unreadable else ""
    print(f"{found} objects in {len(described)} pictures{skipped}: {config.out / DETECTIONS}")
    return config.out


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


def describe(found: Detections, labels: tuple[str, ...]) -> list[dict[str, Any]]:
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


class _Ours:
    """A file with a contract."""

    def __init__(self, detector: Detector, config: Config) -> None:
        self.detector, self.config, self.labels = detector, config, detector.labels

    def start(self, files: list[Path]) -> None:
        """Nothing: each picture is looked at when it is asked for."""

    def find(self, file: Path, image: np.ndarray) -> Detections:
        return self.detector.detect(image, self.config.score, self.config.iou)

    def facts(self) -> dict[str, Any]:
        contract, config = self.detector.contract, self.config
        return {
            "model_sha256": contract.model_sha256,
            "labels": contract.labels,
            "score_threshold": contract.nms.score_threshold if config.score is None else config.score,
            "iou_threshold": contract.nms.iou_threshold if config.iou is None else config.iou,
        }


class _Foreign:
    """A detector of somebody else, who looks at all pictures in a process of its own."""

    def __init__(self, foreign: Foreign, config: Config) -> None:
        self.foreign, self.config, self.labels = foreign, config, foreign.labels
        self.found: dict[Path, Detections | str] = {}

    def start(self, files: list[Path]) -> None:
        from micro_yolo.tflite.foreign import detect

        self.found = detect(
            self.config.model, files, score_threshold=self._score_threshold(), threads=self.config.threads
        )
        numbers = [int(n) for each in self.found.values() if not isinstance(each, str) for n in each.classes]
        self.labels = tuple(self.foreign.label(n) for n in range(max([len(self.labels) - 1, *numbers]) + 1))

    def find(self, file: Path, image: np.ndarray) -> Detections:
        found = self.found[file]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def facts(self) -> dict[str, Any]:
        return {
            "model_sha256": runs.sha256(self.config.model),
            "labels": self.labels,
            "score_threshold": self._score_threshold(),
            "iou_threshold": None,
        }

    def _score_threshold(self) -> float:
        from micro_yolo.tflite.foreign import SCORE_THRESHOLD

        return SCORE_THRESHOLD if self.config.score is None else self.config.score


def _ours(config: Config) -> _Ours | None:
    """The model if it has a contract, None if it has none. Raises as Detector."""
    from micro_yolo.tflite.detector import Detector

    try:
        return _Ours(Detector(config.model, threads=config.threads), config)
    except FileNotFoundError:
        if config.model.is_file():
            return None
        raise


def _foreign(config: Config) -> _Foreign:
    """The model by what it says itself. Raises ValueError, with both reasons, if it is not a detector."""
    from micro_yolo.tflite import foreign, inspect

    try:
        found = foreign.describe(inspect.read_bytes(config.model), config.model)
    except ValueError as error:
        reason = str(error).removeprefix(f"{config.model}: ")
        raise ValueError(
            f"{config.model}: has no contract (a .tflite of ours has its .json beside it; `python -m pipeline.convert` "
            f"writes both), and is not a detector that works without one: {reason}"
        ) from None
    if config.iou is not None:
        raise ValueError(f"iou: {config.model} suppresses by itself; allowed: leave --iou out")
    return _Foreign(found, config)


def _predict(finder: _Ours | _Foreign, file: Path, target: Path) -> dict[str, Any]:
    from micro_yolo.pipeline.show.draw import draw_boxes
    from micro_yolo.tflite.image import load_image

    image = load_image(file)
    found = finder.find(file, image)
    picture = draw_boxes(image, found.boxes_xyxy, found.classes, finder.labels, found.scores)
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
        "detections": describe(found, finder.labels),
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


def _shown(files: list[Path]) -> Iterator[Path]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(files, "predicting", console=console, transient=True, disable=not console.is_terminal)


def main() -> None:
    """The command line."""
    cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
