"""A .tflite in Python: pictures in, detections out. Needs no TensorFlow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import detector as files
from micro_yolo.tflite.image import load_image
from micro_yolo.tflite.package import label_file

if TYPE_CHECKING:
    import supervision

    from micro_yolo.pipeline.benchmark import Speeds
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.pipeline.evaluate import Evaluation
    from micro_yolo.pipeline.show.screen import Show

Picture = str | os.PathLike[str] | np.ndarray | Image.Image


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """What was found in one picture, best first.

    Attributes:
        boxes_xyxy: float32 (n, 4): left, top, right, bottom in pixels of the picture as it is seen, from its top left.
        scores: float32 (n,), 0..1.
        classes: int32 (n,), class numbers.
        labels: names of the classes, one for each of the n.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        rows = zip(self.labels, self.scores.tolist(), self.boxes_xyxy.round().astype(int).tolist(), strict=True)
        shown = [f"{label} {score:.2f} {box}" for label, score, box in rows]
        listed = ": " + ", ".join(shown[:10] + ["..."] * (len(shown) > 10)) if shown else ""
        return f"Detections({len(self)}{listed})"

    def draw(self, picture: Picture) -> Image.Image:
        """A copy of the picture they were found in, with boxes, labels and scores in per cent, as an RGB image.

        Raises ValueError for a picture that cannot be read.
        """
        from micro_yolo.pipeline.show.draw import draw_boxes

        texts = [f"{label} {100 * score:.0f}" for label, score in zip(self.labels, self.scores.tolist(), strict=True)]
        return draw_boxes(_pixels(picture), self.boxes_xyxy, self.classes, (), self.scores, texts)

    def to_supervision(self) -> supervision.Detections:
        """The same as `supervision.Detections`, with the labels as its ``data["class_name"]``.

        Raises ModuleNotFoundError if the package is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            if error.name != "supervision":
                raise
            raise ModuleNotFoundError("needs supervision: `pip install supervision`", name="supervision") from None
        return supervision.Detections(
            xyxy=self.boxes_xyxy,
            confidence=self.scores,
            class_id=self.classes.astype(int),
            data={"class_name": np.array(self.labels, dtype=str)},
        )


class Detector:
    """An exported file, ready to run. Not for several threads at once.

    Attributes:
        path: the .tflite.
        contract: what it is: input, outputs, thresholds, where it came from; see docs/convert.md.
        labels: class names by class number.
        size: (height, width) of its input in pixels.
    """

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 1) -> None:
        """Load a .tflite that `Run.convert` or ``pipeline.convert`` made, with `threads` to run on.

        Raises:
            FileNotFoundError: the file is missing, or has no contract in it or beside it.
            ValueError: it is empty, damaged, not the one of the contract, or cannot be run.
        """
        self._file = files.Detector(Path(path), threads=threads)
        self.path, self.contract = self._file.path, self._file.contract
        self.labels, self.size = self._file.labels, self._file.size

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        height, width = self.size
        return (
            f"Detector({str(self.path)!r}: {self.contract.arch}, {self.contract.variant}, {height} x {width} "
            f"(height x width), {len(self.labels)} classes, {self.path.stat().st_size / 2**20:.2f} MiB)"
        )

    def detect(self, picture: Picture, *, score: float | None = None, iou: float | None = None) -> Detections:
        """Find objects in one picture.

        Args:
            picture: a file, a Pillow image, or uint8 RGB (H, W, 3).
            score: only detections that score more than this, 0..1; by default the contract's.
            iou: of two boxes of a class that overlap more than this, 0..1, the weaker goes; by default the contract's.

        Raises ValueError for a picture that cannot be read, a threshold out of range, or an `iou` other than its own
        for a file that suppresses by itself.
        """
        for name, value in (("score", score), ("iou", iou)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name}: must be in 0..1, got {value}")
        found = self._file.detect(_pixels(picture), score, iou)
        labels = tuple(self.labels[number] for number in found.classes.tolist())
        return Detections(found.boxes_xyxy, found.scores, found.classes, labels)

    def evaluate(
        self, data: str | os.PathLike[str] | Dataset | None = None, *, show: Show | None = None, **options: Any
    ) -> Evaluation:
        """Average precision of this file, as `micro_yolo.evaluate` measures it."""
        from micro_yolo.options import call
        from micro_yolo.pipeline import evaluate

        return call(evaluate, {"run": None, "model": self, "data": data, "json": False}, options, show)

    def benchmark(self, *, show: Show | None = None, **options: Any) -> Speeds:
        """Speed and memory of this file, as `micro_yolo.benchmark` measures them."""
        from micro_yolo.options import call
        from micro_yolo.pipeline import benchmark

        return call(benchmark, {"models": self}, options, show)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Copy the file, its contract and labels.txt into `folder`, and return the new .tflite.

        Raises FileExistsError if it is there already, unless `overwrite`; OSError if it cannot be written, and then
        nothing is.
        """
        from micro_yolo.pipeline.store.runs import write_together

        target = Path(folder) / self.path.name
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target}: already exists; allowed: overwrite=True")
        data = self.path.read_bytes()
        contracts.verify(self.contract, data, self.path)
        beside = {contracts.path_of(target): self.contract.to_json().encode()}
        write_together({target: data, **beside, target.parent / "labels.txt": label_file(self.labels)})
        return target


def _pixels(picture: Picture) -> np.ndarray:
    if isinstance(picture, np.ndarray):
        return picture
    if isinstance(picture, Image.Image):
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    return load_image(Path(picture))
