"""Detectors that other people made: SSD style files with four outputs, run without a contract, by what they say.

Nothing is guessed: which output is which is told by the TFLite_Detection_PostProcess operator or by the names that the
outputs have, how pixels go into a float input by the metadata's normalization. What is not told is a reason to refuse.
The model runs in a process of its own, since there is no hash by which it could be trusted.
"""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import child, inspect, suppression
from micro_yolo.tflite.decode import Detections
from micro_yolo.tflite.edit import graph_of
from micro_yolo.tflite.image import load_image, resize
from micro_yolo.tflite.inspect import Model, Tensor
from micro_yolo.tflite.metadata import BUFFER

OPERATOR = "CUSTOM:TFLite_Detection_PostProcess"
SCORE_THRESHOLD = 0.5
_KINDS = ("boxes", "classes", "scores", "count")
# Names by which metadata and the TensorFlow object detection API call them.
_NAMES = {
    "location": "boxes",
    "detection_boxes": "boxes",
    "category": "classes",
    "detection_classes": "classes",
    "score": "scores",
    "detection_scores": "scores",
    "number of detections": "count",
    "num_detections": "count",
}
_MOST_LABELS, _MOST_CLASSES = 1 << 20, 10000


@dataclass(frozen=True)
class Foreign:
    """A detector of somebody else.

    Attributes:
        size: (height, width) of its input.
        dtype: of the input: uint8, int8 or float32.
        mean: of the normalization of a float input: (pixel - mean) / std.
        std: likewise.
        outputs: tensor indices of boxes (ymin, xmin, ymax, xmax in 0..1), classes, scores and count.
        labels: class names by class number, as far as the file has them.
        least_score: what scores less the file drops by itself, as far as that is known.
    """

    size: tuple[int, int]
    dtype: str
    mean: float
    std: float
    outputs: tuple[int, int, int, int]
    labels: tuple[str, ...]
    least_score: float = 0.0

    def label(self, number: int) -> str:
        """The name of a class, or its number."""
        return self.labels[number] if 0 <= number < len(self.labels) else f"class {number}"


def recognize(data: bytes, name: str | Path = "model") -> Foreign:
    """What a .tflite says of itself. ValueError, with the reason, if it is not a detector with four outputs."""
    model = inspect.read(data, name)
    said = _metadata(data)
    try:
        size, dtype = _input(model)
        outputs = _outputs(model, said.names)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if dtype == "float32" and said.normalization is None:
        raise ValueError(f"{name}: its input is float32, and no metadata says how pixels are normalized")
    mean, std = said.normalization or (0.0, 1.0)
    try:
        told = suppression.told(data)
    except ValueError:
        told = None
    return Foreign(size, dtype, mean, std, outputs, _labels(data), told.score_threshold if told else 0.0)


def detect(
    path: str | Path,
    pictures: Sequence[tuple[Path, tuple[int, int] | None]],
    *,
    score_threshold: float = SCORE_THRESHOLD,
    threads: int = 1,
    patience: float = child.PATIENCE,
    advance: Callable[[], object] | None = None,
) -> list[tuple[Detections, float] | str]:
    """Objects in pictures, boxes in their pixels, and the ms it took; for a picture that cannot be read, why.

    `pictures` are files, each with the (height, width) that its boxes are recorded for, None for its own.
    Raises ValueError if the file is no such detector, or the runtime refuses it or crashes on it.
    """
    found = child.call(
        "micro_yolo.tflite.foreign:detect_apart",
        name=path,
        patience=patience,
        advance=advance,
        path=str(path),
        pictures=[(str(file), size) for file, size in pictures],
        score_threshold=score_threshold,
        threads=threads,
    )
    return [each if isinstance(each, str) else (_detections(*each[:3]), float(each[3])) for each in found]


def _detections(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(boxes_xyxy, np.array(scores, np.float32), np.array(classes, np.int32))


def detect_apart(
    *,
    path: str,
    pictures: Sequence[tuple[str, Sequence[int] | None]],
    score_threshold: float,
    threads: int,
    advance: Callable[[], None],
) -> list[Any]:
    """`detect` for tflite.child: per picture boxes, scores, classes and ms, or what is wrong with it."""
    from micro_yolo.tflite.interpreter import Interpreter

    data = inspect.read_bytes(path)
    foreign = recognize(data, path)
    runtime = Interpreter(data, threads=threads, name=path)
    found: list[Any] = []
    for file, size in pictures:
        advance()
        recorded = (size[0], size[1]) if size else None
        try:
            pixels, fit = resize(load_image(Path(file), recorded), foreign.size, "stretch")
        except ValueError as error:
            found.append(str(error))
            continue
        start = time.perf_counter()
        runtime.put(runtime.model.inputs[0], _values(foreign, pixels)[None])
        runtime.invoke()
        boxes, classes, scores, count = (runtime.tensor(index) for index in foreign.outputs)
        detections = _kept(foreign, boxes[0], classes[0], scores[0], float(count.ravel()[0]), score_threshold)
        ms = 1000 * (time.perf_counter() - start)
        boxes_xyxy = fit.boxes_to_recorded(detections.boxes_xyxy, recorded)
        found.append([boxes_xyxy.tolist(), detections.scores.tolist(), detections.classes.tolist(), ms])
    return found


def _values(foreign: Foreign, pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels as the input takes them: an integer input has its scale made for the bytes as they are."""
    if foreign.dtype == "uint8":
        return pixels
    if foreign.dtype == "int8":
        return (pixels.astype(np.int16) - 128).astype(np.int8)
    return ((pixels.astype(np.float32) - foreign.mean) / foreign.std).astype(np.float32)


def _kept(
    foreign: Foreign, boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray, count: float, least: float
) -> Detections:
    height, width = foreign.size
    sides = np.array([width, height, width, height], np.float32)
    # A file that lies can write anything here.
    with np.errstate(all="ignore"):
        boxes_xyxy = np.clip(np.nan_to_num(boxes[:, [1, 0, 3, 2]]) * sides, 0, sides)
        keep = (np.arange(len(scores)) < count) & (scores > least) & (classes >= 0) & (classes < _MOST_CLASSES)
        keep &= ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) > 0).all(axis=1) & (scores <= 1)
    return Detections(boxes_xyxy[keep], scores[keep], classes[keep].astype(np.int32))


def _input(model: Model) -> tuple[tuple[int, int], str]:
    if len(model.inputs) != 1:
        raise ValueError(f"must have one input, got {len(model.inputs)}")
    tensor = model.tensor(model.inputs[0])
    shape = tensor.shape
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or min(shape) < 1 or max(shape) > 8192:
        raise ValueError(f"its input must be one RGB picture, 1 x height x width x 3, got {_sides(tensor)}")
    if tensor.dtype not in ("uint8", "int8", "float32"):
        raise ValueError(f"its input must be uint8, int8 or float32, got {tensor.dtype}")
    return (shape[1], shape[2]), tensor.dtype


def _outputs(model: Model, names: Sequence[str]) -> tuple[int, int, int, int]:
    """Tensor indices of boxes, classes, scores and count."""
    tensors = [model.tensor(index) for index in model.outputs]
    if len(tensors) != 4:
        raise ValueError(
            f"must have the four outputs of a detector (boxes, classes, scores, count), got {len(tensors)}"
            f"{_kind(tensors)}: {', '.join(map(_sides, tensors[:8]))}"
        )
    operator = next((op for op in model.ops if op.name == OPERATOR and set(op.outputs) == set(model.outputs)), None)
    if operator is not None:
        found = dict(zip(_KINDS, operator.outputs, strict=True))
    else:
        names = names if len(names) == 4 else [tensor.name for tensor in tensors]
        kinds = [_NAMES.get(name.split(":")[0].lower(), "") for name in names]
        if sorted(kinds) != sorted(_KINDS):
            raise ValueError(
                "neither its operators nor its metadata say which output is which of boxes, classes, scores and count"
            )
        found = dict(zip(kinds, model.outputs, strict=True))
    boxes = model.tensor(found["boxes"])
    most = boxes.shape[1] if len(boxes.shape) == 3 else 0
    # The operator of older converters leaves the shapes to the runtime.
    wanted = {"boxes": (1, most, 4), "classes": (1, most), "scores": (1, most), "count": (1,)}
    for kind, index in found.items():
        tensor = model.tensor(index)
        if tensor.dtype != "float32" or (tensor.shape != wanted[kind] and not (operator and not tensor.shape)):
            raise ValueError(f"its {kind} must be float32 {list(wanted[kind])}, got {_sides(tensor)}")
    return found["boxes"], found["classes"], found["scores"], found["count"]


def _kind(tensors: Sequence[Tensor]) -> str:
    """What a file with other outputs looks like, for people."""
    shapes = [tensor.shape for tensor in tensors]
    if len(shapes) == 1 and len(shapes[0]) == 3:
        return ", as YOLO exports of Ultralytics have, whose own `yolo predict` decodes it"
    return ", as a classifier has" if len(shapes) == 1 and len(shapes[0]) == 2 else ""


def _sides(tensor: Tensor) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


@dataclass(frozen=True)
class _Said:
    """What metadata says: (mean, std) of the input, names of the outputs."""

    normalization: tuple[float, float] | None = None
    names: tuple[str, ...] = ()


def _metadata(data: bytes) -> _Said:
    """Of TFLite metadata (metadata_schema.fbs of TFLite Support), nothing if there is none or it is damaged."""
    graph = graph_of(data)
    buffers = {bytes(entry.name or b"").decode(errors="replace"): entry.buffer for entry in graph.metadata or []}
    try:
        buffer = bytes(graph.buffers[buffers[BUFFER]].data)
        subgraph = _Table.root(buffer).tables(3)[0]
        names = tuple(tensor.text(0) for tensor in subgraph.tables(3))
        units = [unit for tensor in subgraph.tables(2)[:1] for unit in tensor.tables(4)]
        # The first of the union is normalization.
        options = next((unit.table(1) for unit in units if unit.byte(0) == 1), None)
        mean, std = (options.floats(0), options.floats(1)) if options else ((), ())
        plain = len(set(mean)) == len(set(std)) == 1 and std[0] > 0 and np.isfinite([mean[0], std[0]]).all()
        return _Said((mean[0], std[0]) if plain else None, names)
    # Whatever reading damaged offsets ends in.
    except Exception:
        return _Said()


class _Table:
    """A table of a flatbuffer, fields by their numbers."""

    def __init__(self, buffer: bytes, position: int) -> None:
        from flatbuffers import table  # type: ignore[import-untyped]

        self._buffer = buffer
        self._table = table.Table(buffer, position)

    @classmethod
    def root(cls, buffer: bytes) -> _Table:
        return cls(buffer, int.from_bytes(buffer[:4], "little"))

    def _field(self, number: int) -> int | None:
        offset = self._table.Offset(4 + 2 * number)
        return offset + self._table.Pos if offset else None

    def byte(self, number: int) -> int:
        position = self._field(number)
        return 0 if position is None else self._buffer[position]

    def table(self, number: int) -> _Table | None:
        position = self._field(number)
        return None if position is None else _Table(self._buffer, self._table.Indirect(position))

    def text(self, number: int) -> str:
        position = self._field(number)
        return "" if position is None else self._table.String(position).decode()

    def tables(self, number: int) -> list[_Table]:
        offset = self._table.Offset(4 + 2 * number)
        if not offset:
            return []
        start, length = self._table.Vector(offset), self._table.VectorLen(offset)
        if length > len(self._buffer) // 4:
            raise ValueError("damaged")
        return [_Table(self._buffer, self._table.Indirect(start + 4 * n)) for n in range(length)]

    def floats(self, number: int) -> tuple[float, ...]:
        offset = self._table.Offset(4 + 2 * number)
        if not offset:
            return ()
        start, length = self._table.Vector(offset), self._table.VectorLen(offset)
        return tuple(np.frombuffer(self._buffer, "<f4", length, start).tolist())


def _labels(data: bytes) -> tuple[str, ...]:
    """The lines of the one text file behind the model, none if there is none or several."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            texts = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".txt")]
            if len(texts) != 1 or texts[0].file_size > _MOST_LABELS:
                return ()
            with archive.open(texts[0]) as file:
                # A zip can lie about how large a file becomes.
                lines = file.read(_MOST_LABELS).decode(errors="replace").splitlines()
    except Exception:
        return ()
    return tuple("".join(each for each in line if each.isprintable()).strip() for line in lines)
