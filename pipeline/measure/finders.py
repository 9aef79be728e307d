"""Whatever finds objects in pictures, as predicting and measuring use it: a network in Keras, a file of ours, or a
detector that somebody else made. Needs no TensorFlow.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from PIL import Image

from micro_yolo.pipeline.store import runs
from micro_yolo.tflite.contract import Nms
from micro_yolo.tflite.decode import Detections, Outputs, decode, enough
from micro_yolo.tflite.heads import GridLike
from micro_yolo.tflite.image import Fit, load_image, resize

if TYPE_CHECKING:
    from micro_yolo.tflite.detector import Detector
    from micro_yolo.tflite.foreign import Foreign

# uint8 (B, h, w, 3) -> detection row -> part -> (B, h, w, channels), floats in 0..1
PredictBatch = Callable[[np.ndarray], Outputs]
Advance = Callable[[], object]
ItemT = TypeVar("ItemT")
# What `_in_batches` is given of an item: its pixels as the model sees them, how they were laid there, the (height,
# width) that boxes are wanted for if not the picture's own; or why there are none.
Laid = tuple[np.ndarray, Fit, tuple[int, int] | None] | str
# Pictures that a process of somebody else's detector is started for.
_APART = 32


@dataclass(frozen=True)
class Picture:
    """A picture to look at.

    Attributes:
        path: of the file.
        size: (height, width) that its boxes are recorded for; None: those of the upright picture.
    """

    path: Path
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Found:
    """What was found in a picture.

    Attributes:
        detections: boxes in pixels of the picture's recorded size.
        ms: that the model, its decoding and suppression took.
    """

    detections: Detections
    ms: float


@dataclass(frozen=True)
class Facts:
    """How a predictor looks at pictures.

    Attributes:
        size: (height, width) of the model's input.
        resize: rule of tflite.image.RULES by which pictures get there.
        score_threshold: detections score more than this.
        iou_threshold: of two boxes of a class that overlap more than this the weaker goes; None: the file has its own.
        max_detections: the most of a picture.
    """

    size: tuple[int, int]
    resize: str
    score_threshold: float
    iou_threshold: float | None
    max_detections: int = Nms.max_detections


class Predictor(Protocol):
    """What finds objects in pictures."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names by class number."""
        ...

    @property
    def facts(self) -> Facts:
        """How it looks at them."""
        ...

    def detect(self, pictures: Sequence[Picture], advance: Advance = ...) -> Iterator[Found | str]:
        """What is in each picture, in their order; for one that cannot be read, why. `advance` is called for each.

        Raises ValueError if the model itself cannot be run.
        """
        ...

    def look(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        """What is in each uint8 RGB (H, W, 3), in their order, boxes in its pixels; a few are taken in advance."""
        ...


def _nothing() -> None:
    pass


class GridPredictor:
    """A network that gives grids, such as one in Keras."""

    def __init__(
        self,
        predict_batch: PredictBatch,
        rows: Sequence[GridLike],
        labels: Sequence[str],
        facts: Facts,
        batch: int,
        coding: str,
    ) -> None:
        """`rows` are those of `predict_batch`, which always gets `batch` images and gives grids in `coding`."""
        self.labels, self.facts = tuple(labels), facts
        self._predict_batch, self._rows, self._batch, self._coding = predict_batch, rows, batch, coding

    def detect(self, pictures: Sequence[Picture], advance: Advance = _nothing) -> Iterator[Found | str]:
        """See `Predictor`."""
        return _in_batches(self._found, pictures, _load, self.facts, self._batch, advance)

    def look(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        """See `Predictor`."""
        return _looked(self._found, images, self.facts, self._batch)

    def _found(self, pixels: np.ndarray) -> list[Detections]:
        outputs = self._predict_batch(pixels)
        return [
            decode(
                {row: {part: grid[image] for part, grid in grids.items()} for row, grids in outputs.items()},
                self._rows,
                self.facts.size,
                coding=self._coding,
                score_threshold=self.facts.score_threshold,
                iou_threshold=Nms.iou_threshold if self.facts.iou_threshold is None else self.facts.iou_threshold,
                max_detections=self.facts.max_detections,
                pre_nms=enough(self.facts.max_detections),
            )
            for image in range(len(pixels))
        ]


class OurFile:
    """A file with a contract; `sha256` is the contract's."""

    def __init__(
        self, detector: Detector, score: float | None = None, iou: float | None = None, most: int | None = None
    ) -> None:
        """Thresholds and the `most` of a picture are the contract's unless given.

        Raises ValueError for an `iou` or a `most` that the file cannot have.
        """
        detector.check_iou(iou)
        detector.check_most(most)
        nms = detector.contract.nms
        self.detector, self.labels, self.sha256 = detector, detector.labels, detector.contract.model_sha256
        self.facts = Facts(
            detector.size,
            detector.contract.input.resize,
            nms.score_threshold if score is None else score,
            nms.iou_threshold if iou is None else iou,
            nms.max_detections if most is None else most,
        )

    def detect(self, pictures: Sequence[Picture], advance: Advance = _nothing) -> Iterator[Found | str]:
        """See `Predictor`."""
        return _in_batches(self._found, pictures, _load, self.facts, 1, advance)

    def look(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        """See `Predictor`."""
        return _looked(self._found, images, self.facts, 1)

    def _found(self, pixels: np.ndarray) -> list[Detections]:
        facts = self.facts
        how = (facts.score_threshold, facts.iou_threshold, facts.max_detections)
        return [self.detector.found(image, *how) for image in pixels]


class ForeignFile:
    """A detector of somebody else, which looks at all pictures in a process of its own; `sha256` is the file's."""

    def __init__(
        self,
        path: Path,
        foreign: Foreign,
        score: float | None = None,
        threads: int = 1,
        most: int = Nms.max_detections,
    ) -> None:
        """`score` is tflite.foreign's unless given; `most` is what is measured of a picture."""
        from micro_yolo.tflite.foreign import SCORE_THRESHOLD

        self.path, self.foreign, self.sha256 = path, foreign, runs.sha256(path)
        self.facts = Facts(foreign.size, "stretch", SCORE_THRESHOLD if score is None else score, None, most)
        self._labels, self._threads = foreign.labels, threads

    @property
    def labels(self) -> tuple[str, ...]:
        """Those that the file has; after `detect` a name for every class that was found."""
        return self._labels

    def detect(self, pictures: Sequence[Picture], advance: Advance = _nothing) -> Iterator[Found | str]:
        """See `Predictor`."""
        from micro_yolo.tflite.foreign import detect

        found = detect(
            self.path,
            [(picture.path, picture.size) for picture in pictures],
            score_threshold=self.facts.score_threshold,
            threads=self._threads,
            advance=advance,
        )
        numbers = [int(n) for each in found if not isinstance(each, str) for n in each[0].classes]
        self._labels = tuple(self.foreign.label(n) for n in range(max([len(self._labels) - 1, *numbers]) + 1))
        for each in found:
            yield each if isinstance(each, str) else Found(*each)

    def look(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        """See `Predictor`. The process that looks at them gets them as files, several at a time."""
        rest = iter(images)
        for some in iter(lambda: list(islice(rest, _APART)), []):
            with tempfile.TemporaryDirectory(prefix="micro-yolo-") as folder:
                files = [Path(folder, f"{number}.bmp") for number in range(len(some))]
                for file, image in zip(files, some, strict=True):
                    Image.fromarray(image).save(file)
                for found in self.detect([Picture(file) for file in files]):
                    if isinstance(found, str):
                        raise OSError(found)
                    yield found


def open_file(
    path: Path,
    *,
    score: float | None = None,
    iou: float | None = None,
    threads: int = 1,
    most: int | None = None,
) -> OurFile | ForeignFile:
    """The predictor of a .tflite: ours if it has a contract, else by what the file says itself.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, is no detector, or cannot have the thresholds or the `most` of a picture.
    """
    from micro_yolo.tflite import foreign, inspect
    from micro_yolo.tflite.detector import Detector

    try:
        return OurFile(Detector(path, threads=threads), score, iou, most)
    except FileNotFoundError:
        if not path.is_file():
            raise
    try:
        found = foreign.recognize(inspect.read_bytes(path), path)
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ValueError(
            f"{path}: has no contract (a .tflite of ours has its .json beside it; `python -m pipeline.convert` "
            f"writes both), and is not a detector that works without one: {reason}"
        ) from None
    if iou is not None:
        raise ValueError(f"iou: {path} suppresses by itself; allowed: leave --iou out")
    return ForeignFile(path, found, score, threads, Nms.max_detections if most is None else most)


def _looked(
    found: Callable[[np.ndarray], Sequence[Detections]], images: Iterable[np.ndarray], facts: Facts, batch_size: int
) -> Iterator[Found]:
    def laid(image: np.ndarray, facts: Facts) -> Laid:
        return *resize(image, facts.size, facts.resize), None

    for each in _in_batches(found, images, laid, facts, batch_size, _nothing):
        if isinstance(each, str):
            raise ValueError(each)
        yield each


def _in_batches(
    found: Callable[[np.ndarray], Sequence[Detections]],
    items: Iterable[ItemT],
    lay: Callable[[ItemT, Facts], Laid],
    facts: Facts,
    batch_size: int,
    advance: Advance,
) -> Iterator[Found | str]:
    """`found` of uint8 (batch_size, h, w, 3), the last batch filled up with black; the next is read meanwhile."""
    rest, black = iter(items), np.zeros((*facts.size, 3), np.uint8)
    with ThreadPoolExecutor(2, thread_name_prefix="pictures") as pool:

        def submit() -> list[Future[Laid]]:
            return [pool.submit(lay, item, facts) for item in islice(rest, batch_size)]

        ahead = submit()
        while ahead:
            loaded = [future.result() for future in ahead]
            ahead = submit()
            images = [black if isinstance(item, str) else item[0] for item in loaded]
            images += [black] * (batch_size - len(images))
            pixels = images[0][None] if batch_size == 1 else np.stack(images)
            before = time.perf_counter()
            detections = found(pixels)
            ms = 1000 * (time.perf_counter() - before) / batch_size
            for item, each in zip(loaded, detections, strict=False):
                advance()
                if isinstance(item, str):
                    yield item
                    continue
                boxes_xyxy = item[1].boxes_to_recorded(each.boxes_xyxy, item[2])
                yield Found(Detections(boxes_xyxy, each.scores, each.classes), ms)


def _load(picture: Picture, facts: Facts) -> Laid:
    try:
        return *resize(load_image(picture.path, picture.size), facts.size, facts.resize), picture.size
    except ValueError as error:
        return str(error)
