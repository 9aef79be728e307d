"""The only place that imports OpenCV: frames of videos and cameras, and videos written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.watch.sources import text

# Where a video or camera does not say.
USUAL_FPS = 30.0
# The only codec of OpenCV's wheels for .mp4 that is both fast and played by the players of all systems.
_CODEC = "mp4v"


@dataclass(frozen=True)
class Frame:
    """A frame: uint8 RGB (H, W, 3), upright, and the seconds since the first."""

    pixels: np.ndarray
    time_s: float


class Video:
    """A video file or, for a number, a camera. Use as a context manager.

    Attributes:
        name: of the file, or ``camera 0``.
        fps: frames a second, `USUAL_FPS` where nothing says so.
        is_live: whether it is a camera, whose frames come when they come.
        count: frames as the file says, which may be wrong; 0 if it does not, and of a camera.
    """

    def __init__(self, source: Path | int) -> None:
        """Open it. Raises ValueError if it cannot be read, ModuleNotFoundError without OpenCV."""
        cv2 = _cv2()
        self.is_live = isinstance(source, int)
        self.name = f"camera {source}" if isinstance(source, int) else text(source)
        if isinstance(source, Path) and not source.stat().st_size:
            raise ValueError(f"{self.name}: video file is empty")
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            self._capture.release()
            if self.is_live:
                raise ValueError(f"{self.name}: there is none, another program has it, or it may not be used")
            raise ValueError(f"{self.name}: not a video that OpenCV can read, or damaged")
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if 0.1 <= fps <= 1000 else USUAL_FPS
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = int(count) if not self.is_live and 0 < count < 2**31 else 0

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    def frames(self) -> Iterator[Frame]:
        """Each frame to the end, or until nobody asks for more."""
        first: float | None = None
        number = 0
        while True:
            read, pixels = self._capture.read()
            if not read:
                return
            now = time.perf_counter() if self.is_live else self._capture.get(_cv2().CAP_PROP_POS_MSEC) / 1000
            first = now if first is None else first
            # Some files have no times: all are one.
            yield Frame(np.ascontiguousarray(pixels[:, :, ::-1]), now - first if now > first else number / self.fps)
            number += 1


class Writer:
    """Takes frames of one size, uint8 RGB (H, W, 3), for a video."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._fps = path, fps
        self._writer: Any = None
        self.count = 0

    def write(self, pixels: np.ndarray) -> None:
        """One frame more. Raises OSError if there cannot be a video."""
        if self._writer is None:
            self._writer = self._opened(pixels.shape[1], pixels.shape[0])
        self._writer.write(np.ascontiguousarray(pixels[:, :, ::-1]))
        self.count += 1

    def close(self) -> None:
        """Finish the file. Raises OSError if not all is there, as on a full disk, of which OpenCV says nothing."""
        if self._writer is None:
            raise OSError(f"{self._path}: no frame to write")
        self._writer.release()
        self._writer = None
        try:
            with Video(self._path) as written:
                complete = written.count == self.count
        except (ValueError, OSError):
            complete = False
        if not complete:
            raise OSError(f"{self._path}: could not be written whole; is the disk full?")

    def abandon(self) -> None:
        """Let go of the file."""
        if self._writer is not None:
            self._writer.release()

    def _opened(self, width: int, height: int) -> Any:
        cv2 = _cv2()
        writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*_CODEC), self._fps, (width, height))
        if not writer.isOpened():
            raise OSError(f"{self._path}: OpenCV cannot write a video of {width} x {height} pixels here")
        return writer


@contextmanager
def writing(path: Path, fps: float) -> Iterator[Writer]:
    """A Writer whose file becomes `path` if the block ends well and is removed if it does not."""
    with runs.writing(path) as beside:
        writer = Writer(beside, fps)
        try:
            yield writer
            writer.close()
        finally:
            writer.abandon()


def _cv2() -> Any:
    # What its FFmpeg tells programmers of a damaged file; our own line names the file.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        import cv2
    # On a system without a screen OpenCV's usual wheel lacks libraries of the desktop.
    except ImportError as error:
        if error.name == "cv2" or isinstance(error, ModuleNotFoundError):
            raise ModuleNotFoundError("needs OpenCV", name="cv2") from None
        raise OSError(
            f"OpenCV does not start ({error}); `pip uninstall opencv-python && pip install opencv-python-headless` "
            "puts the one for systems without a screen in its place"
        ) from None
    return cv2
