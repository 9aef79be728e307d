"""Image in, detections out, from a .tflite and its contract alone."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import inspect, suppression
from micro_yolo.tflite.apart import Apart
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.decode import Detections, decode, enough
from micro_yolo.tflite.image import resize
from micro_yolo.tflite.interpreter import Interpreter


class Detector:
    """A .tflite of ours.

    Attributes:
        path: the file.
        contract: what it is.
        labels: class names by class number.
        size: (height, width) of its input.
    """

    def __init__(
        self, path: str | Path, *, threads: int = 1, contract: Contract | None = None, data: bytes | None = None
    ) -> None:
        """Load `path`, or what this process made to be it, `data`, with `contract`, by default the one beside or in it.

        A file that others made runs in a process of its own: see tflite.apart.

        Raises:
            FileNotFoundError: the file is missing, or there is no contract.
            ValueError: the file is empty, truncated, not a .tflite, not the one of the contract, or cannot be run.
        """
        self.path = Path(path)
        runtime = Apart if data is None else Interpreter
        data = inspect.read_bytes(path) if data is None else data
        inspect.read(data, path)
        self.contract = contract or contracts.load(path)
        contracts.verify(self.contract, data, path)
        self.labels = self.contract.labels
        self.size = self.contract.size
        self._interpreter = runtime(data, threads=threads, name=path)
        _compare(self.contract, self._interpreter, path)
        if self.contract.head == "detections":
            _compare_operator(self.contract, data, path)

    def raw(self, pixels: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """uint8 (height, width, 3) of the model's size -> row -> part -> (h, w, channels), float32 in 0..1.

        Raises ValueError for a file with the detections head.
        """
        if self.contract.head != "raw":
            raise ValueError(
                f"{self.path}: has no grids, its outputs are detections; `python -m pipeline.convert --head raw` makes "
                "a file with grids"
            )
        self._interpreter.look(pixels)
        grids: dict[str, dict[str, np.ndarray]] = {grid.row_name: {} for grid in self.contract.grids}
        for output in self.contract.outputs:
            grids[output.row][output.kind] = self._interpreter.value(output.name)[0]
        return grids

    def predict_batch(self, pixels: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        """`raw` of uint8 (B, height, width, 3), one image after the other; grids get the leading axis B."""
        images = [self.raw(image) for image in pixels]
        return {
            row: {part: np.stack([image[row][part] for image in images]) for part in grids}
            for row, grids in images[0].items()
        }

    def detect(
        self, image: np.ndarray, score_threshold: float | None = None, iou_threshold: float | None = None
    ) -> Detections:
        """Objects in a uint8 (H, W, 3) RGB image, boxes in its pixels; thresholds default to the contract's.

        Raises ValueError for an array that is no such image.
        """
        pixels, fit = resize(image, self.size, self.contract.input.resize)
        found = self.found(pixels, score_threshold, iou_threshold)
        return Detections(fit.boxes_to_image(found.boxes_xyxy), found.scores, found.classes)

    def found(
        self,
        pixels: np.ndarray,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
    ) -> Detections:
        """Objects in uint8 (height, width, 3) of the model's size, boxes in its pixels, from either head.

        Raises ValueError for an `iou_threshold` other than the one that the detections head has in its file, and for
        more `max_detections` than it has there.
        """
        nms = self.contract.nms
        most = nms.max_detections if max_detections is None else max_detections
        least = nms.score_threshold if score_threshold is None else score_threshold
        if self.contract.head == "detections":
            self.check_iou(iou_threshold)
            self.check_most(most)
            return self._detections(pixels, least, most)
        return decode(
            self.raw(pixels),
            self.contract.grids,
            self.size,
            coding=self.contract.coding,
            score_threshold=least,
            iou_threshold=nms.iou_threshold if iou_threshold is None else iou_threshold,
            max_detections=most,
            pre_nms=max(nms.pre_nms, enough(most)) if most > nms.max_detections else nms.pre_nms,
        )

    def check_iou(self, iou_threshold: float | None) -> None:
        """Raise ValueError if the file cannot suppress at this overlap."""
        own = self.contract.nms.iou_threshold
        if self.contract.head == "detections" and iou_threshold not in (None, own):
            raise ValueError(
                f"iou: {self.path} suppresses by itself, at {own}, got {iou_threshold}; "
                "`python -m pipeline.convert --head raw` makes a file that leaves it open"
            )

    def check_most(self, max_detections: int | None) -> None:
        """Raise ValueError if the file cannot give so many of a picture."""
        own = self.contract.nms.max_detections
        if self.contract.head == "detections" and max_detections is not None and max_detections > own:
            raise ValueError(
                f"max_detections: {self.path} gives at most {own} of a picture, got {max_detections}; "
                f"`python -m pipeline.convert --max-detections {max_detections}` makes a file that gives more"
            )

    def _detections(self, pixels: np.ndarray, score_threshold: float, most: int) -> Detections:
        self._interpreter.look(pixels)
        boxes, classes, scores, count = (self._interpreter.value(output.name)[0] for output in self.contract.outputs)
        height, width = self.size
        sides = np.array([width, height, width, height], np.float32)
        boxes_xyxy = np.clip(boxes[:, [1, 0, 3, 2]] * sides, 0, sides)
        keep = (np.arange(len(scores)) < count) & (scores > score_threshold)
        keep &= ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) > 0).all(axis=1)
        best = np.flatnonzero(keep)[:most]
        return Detections(boxes_xyxy[best], scores[best], classes[best].astype(np.int32))


def _compare(contract: Contract, interpreter: Interpreter, path: str | Path) -> None:
    """The contract's view of the tensors must be the file's own."""
    pairs: list[tuple[Any, inspect.Tensor]] = [(contract.input, interpreter.input_tensor)]
    for output in contract.outputs:
        if output.name not in interpreter.output_tensors:
            raise ValueError(f"{path}: has no output {output.name!r}, which its contract names")
        pairs.append((output, interpreter.output_tensors[output.name]))
    for said, found in pairs:
        if (said.dtype, tuple(said.shape)) != (found.dtype, found.shape):
            raise ValueError(
                f"{path}: {said.name} is {found.dtype} {list(found.shape)}, "
                f"its contract says {said.dtype} {list(said.shape)}"
            )
        coded = ((*found.scales, 0.0)[0], (*found.zero_points, 0)[0])
        if said.dtype != "float32" and not np.allclose((said.scale, said.zero_point), coded, rtol=1e-5, atol=0):
            raise ValueError(
                f"{path}: {said.name} has scale {coded[0]} and zero point {coded[1]}, "
                f"its contract says {said.scale} and {said.zero_point}"
            )


def _compare_operator(contract: Contract, data: bytes, path: str | Path) -> None:
    """What the contract says of the suppression must be what the operator in the file was told."""
    told = suppression.told(data)
    if told is None:
        raise ValueError(f"{path}: its contract says detections, but it has no {suppression.OPERATOR}")
    nms = contract.nms
    said = suppression.Told(len(contract.labels), nms.lowest_score, nms.iou_threshold, nms.max_detections)
    if not np.allclose(astuple(told), astuple(said), rtol=1e-5, atol=0):
        raise ValueError(f"{path}: its operator was told {told}, its contract says {said}")
