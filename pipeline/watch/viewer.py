"""Looks at pictures, videos and cameras with a detector, and has written what it sees."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.pipeline.measure.finders import ForeignFile, OurFile, Picture, Predictor
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.watch.sources import text
from micro_yolo.pipeline.watch.written import Results, Seen, drawn, entries
from micro_yolo.tflite.decode import Detections
from micro_yolo.tflite.image import load_image

if TYPE_CHECKING:
    from micro_yolo.pipeline.watch.tracks import Tracks
    from micro_yolo.pipeline.watch.video import Frame, Video, Writer


@dataclass(frozen=True)
class Viewer:
    """How to look, and where to.

    Attributes:
        opened: the file.
        finder: what looks at pictures with it.
        threshold: objects that score more are shown.
        track: whether the objects of a video are followed.
        frames: of a video at most; None: all.
        written: takes what is seen.
        show: is told how far it is.
    """

    opened: OurFile | ForeignFile
    finder: Predictor
    threshold: float
    track: bool
    frames: int | None
    written: Results
    show: Show

    def pictures(self, files: Sequence[Path], names: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """Of each picture its entry in detections.json, or its file and error; `names` are stem and suffix of each."""
        if not files:
            return
        with self.show.bar("predicting", len(files)) as advance:
            looked_at = self.finder.detect([Picture(file) for file in files], advance)
            for file, (stem, suffix), found in zip(files, names, looked_at, strict=True):
                if isinstance(found, str):
                    yield {"file": text(file), "error": text(found)}
                    continue
                seen = Seen(text(file), stem, load_image(file), self._shown(found.detections))
                yield self.written.picture(seen, suffix, self.opened.labels)

    def video(self, source: Path | int, stem: str) -> dict[str, Any]:
        """A video's or camera's entry in detections.json, when it has been looked at to the end.

        Raises ValueError if it cannot be read, ModuleNotFoundError without the libraries for it. Ctrl-C ends a camera.
        """
        from micro_yolo.pipeline.watch import video as videos

        tracks: Tracks | None = None
        with ExitStack() as stack:
            video = stack.enter_context(videos.Video(source))
            if self.track:
                from micro_yolo.pipeline.watch.tracks import Tracks

                tracks = Tracks(self.threshold, video.fps)
            line = stack.enter_context(self.written.lines(stem))
            target = self.written.out / f"{stem}.mp4" if self.written.forms.draw else None
            writer = stack.enter_context(videos.writing(target, video.fps)) if target else None
            count, objects, size = 0, 0, (0, 0)
            try:
                for frame, seen in self._frames(video, stem, tracks):
                    found = entries(seen.found, self.opened.labels, seen.tracks)
                    line({"frame": seen.frame, "time_s": round(frame.time_s, 3), "detections": found})
                    self.written.also(seen, self.opened.labels)
                    if writer:
                        _write(writer, video, np.asarray(drawn(seen, self.opened.labels)), frame.time_s)
                    count, objects, size = count + 1, objects + len(found), frame.pixels.shape[:2]
            except KeyboardInterrupt:
                if not (video.is_live and count):
                    raise
            if not count:
                raise ValueError(f"{video.name}: no frame of it can be read")
            if not self.frames and video.count > 1.05 * count + 1:
                self.show.warn(f"{video.name}: ended after {count} of about {video.count} frames; damaged?")
        return {
            "file": video.name,
            "picture": target and target.name,
            "width": size[1],
            "height": size[0],
            "fps": video.fps,
            "frames": count,
            "detections": objects,
            "tracks": None if tracks is None else tracks.count,
            "frames_file": f"{stem}.jsonl",
        }

    def _frames(self, video: Video, stem: str, tracks: Tracks | None) -> Iterator[tuple[Frame, Seen]]:
        ahead: deque[Frame] = deque()

        def pixels() -> Iterator[np.ndarray]:
            for frame in islice(video.frames(), self.frames):
                ahead.append(frame)
                yield frame.pixels

        if video.is_live:
            self.show.say(f"{video.name}: Ctrl-C ends it")
        total = min(video.count, self.frames or video.count)
        with self.show.bar(video.name, total) as advance:
            for number, looked_at in enumerate(self.finder.look(pixels())):
                frame, found = ahead.popleft(), looked_at.detections
                objects = None
                if tracks is None:
                    found = self._shown(found)
                else:
                    found, objects = tracks.follow(found)
                yield frame, Seen(video.name, stem, frame.pixels, found, number, frame.time_s, objects)
                advance()

    def _shown(self, found: Detections) -> Detections:
        shown = found.scores > self.threshold
        return Detections(found.boxes_xyxy[shown], found.scores[shown], found.classes[shown])


def _write(writer: Writer, video: Video, pixels: np.ndarray, time_s: float) -> None:
    """A frame of a file once; of a camera as often as it is seen at the rate of the video."""
    for _ in range(max(1, round(time_s * video.fps) + 1 - writer.count) if video.is_live else 1):
        writer.write(pixels)
