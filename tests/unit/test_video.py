"""Videos and cameras: read, written, looked at, and the objects in them followed. No model."""

from __future__ import annotations

import json
import struct
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="no OpenCV: micro-yolo[video]")

from micro_yolo.pipeline.measure.finders import Facts, Found  # noqa: E402
from micro_yolo.pipeline.show.screen import Show  # noqa: E402
from micro_yolo.pipeline.watch import video as videos  # noqa: E402
from micro_yolo.pipeline.watch.video import Video, writing  # noqa: E402
from micro_yolo.pipeline.watch.viewer import Viewer  # noqa: E402
from micro_yolo.pipeline.watch.written import Forms, results  # noqa: E402
from micro_yolo.tflite.decode import Detections  # noqa: E402


def moving(count: int = 8, size: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    """A red square that goes right, on green."""
    frames = []
    for number in range(count):
        frame = np.zeros((*size, 3), np.uint8)
        frame[:, :, 1] = 90
        frame[10:26, 2 + 4 * number : 18 + 4 * number] = (250, 0, 0)
        frames.append(frame)
    return frames


def film(path: Path, frames: list[np.ndarray], fps: float = 10.0) -> Path:
    with writing(path, fps) as writer:
        for frame in frames:
            writer.write(frame)
    return path


class Red:
    """Finds what is red, surer the more of it there is."""

    labels = ("red", "other")
    facts = Facts((32, 32), "stretch", 0.25, 0.5)

    def look(self, images: Iterable[np.ndarray]) -> Iterator[Found]:
        for image in images:
            rows, columns = np.nonzero((image[:, :, 0] > 150) & (image[:, :, 1] < 80))
            boxes = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] if len(rows) else []
            found = np.array(boxes, np.float32).reshape(-1, 4)
            scores = np.full(len(found), min(len(rows) / 256, 1.0), np.float32)
            yield Found(Detections(found, scores, np.zeros(len(found), np.int32)), 1.0)


def look(source: Path | int, out: Path, *, track: bool = False, frames: int | None = None, **forms: bool) -> Any:
    notes: list[str] = []

    class Notes(Show):
        def warn(self, text: str) -> None:
            notes.append(text)

    finder: Any = Red()
    with results(out, Forms(**forms)) as written:
        entry = Viewer(finder, finder, 0.25, track, frames, written, Notes()).video(source, "clip")
    lines = [json.loads(line) for line in (out / "clip.jsonl").read_text().splitlines()]
    return entry, lines, notes


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with Video(film(tmp_path / "a.mp4", moving(), 12.5)) as video:
        assert (video.fps, video.count, video.is_live) == (12.5, 8, False)
        found = list(video.frames())
    assert [round(frame.time_s, 2) for frame in found] == [round(number / 12.5, 2) for number in range(8)]
    differences = [
        np.abs(frame.pixels.astype(int) - wanted).mean() for frame, wanted in zip(found, moving(), strict=True)
    ]
    assert max(differences) < 6


def test_a_video_with_boxes_and_a_line_for_each_frame(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", moving())
    entry, lines, notes = look(clip, tmp_path / "out", txt=True)
    assert entry == {
        **{"file": str(clip), "picture": "clip.mp4", "width": 64, "height": 48, "fps": 10.0, "frames": 8},
        **{"detections": 8, "tracks": None, "frames_file": "clip.jsonl"},
    }
    assert [line["frame"] for line in lines] == list(range(8)) and not notes
    for number, line in enumerate(lines):
        (each,) = line["detections"]
        assert each["label"] == "red" and "track" not in each
        assert np.abs(np.array(each["box_xyxy"]) - (2 + 4 * number, 10, 18 + 4 * number, 26)).max() <= 2
    with Video(tmp_path / "out" / "clip.mp4") as written:
        assert (written.count, written.fps) == (8, 10.0)
    assert len(list((tmp_path / "out" / "labels").glob("clip_*.txt"))) == 8
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"clip.mp4", "clip.jsonl", "labels"}


def test_frames_at_most_and_nothing_drawn(tmp_path: Path) -> None:
    entry, lines, notes = look(film(tmp_path / "clip.avi", moving()), tmp_path / "out", frames=3, draw=False)
    assert (entry["frames"], len(lines), entry["picture"], notes) == (3, 3, None, [])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.jsonl"]


def test_sides_that_the_codec_cannot_have(tmp_path: Path) -> None:
    with Video(film(tmp_path / "a.mp4", moving(3, (47, 63)))) as video:
        (height, width) = next(video.frames()).pixels.shape[:2]
    assert (47 - height, 63 - width) in ((0, 0), (1, 1))


def test_a_phone_that_was_held_upright(tmp_path: Path) -> None:
    """The file says by a matrix (ISO/IEC 14496-12, tkhd) that its frames are to be turned."""
    path = film(tmp_path / "a.mp4", moving())
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 44
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(data)
    with Video(path) as video:
        pixels = next(video.frames()).pixels
    rows, columns = np.nonzero(pixels[:, :, 0] > 150)
    assert pixels.shape == (64, 48, 3)
    assert np.abs(np.array([columns.min(), rows.min(), columns.max(), rows.max()]) - (22, 2, 37, 17)).max() <= 2


@pytest.mark.parametrize("data", [b"", b"no video at all", b"cut"])
def test_what_is_no_video_is_one_line_and_leaves_nothing(data: bytes, tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", moving())
    clip.write_bytes(clip.read_bytes()[:900] if data == b"cut" else data)
    with pytest.raises(ValueError, match=r"clip\.mp4: (video file is empty|not a video that OpenCV can read)"):
        look(clip, tmp_path / "out")
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_video_that_ends_early_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = film(tmp_path / "clip.mp4", moving())
    frames = Video.frames
    monkeypatch.setattr(Video, "frames", lambda self: list(frames(self))[:4])
    assert look(clip, tmp_path / "out")[2] == [f"{clip}: ended after 4 of about 8 frames; damaged?"]


def test_a_video_that_cannot_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk OpenCV says nothing."""

    class Lossy:
        def __init__(self, *_: object) -> None:
            pass

        def isOpened(self) -> bool:
            return True

        def write(self, _: object) -> None:
            pass

        release = lambda self: None  # noqa: E731

    monkeypatch.setattr(cv2, "VideoWriter", type("VideoWriter", (Lossy,), {"fourcc": lambda *_: 0}))
    with pytest.raises(OSError, match=r"could not be written whole; is the disk full\?$"):
        film(tmp_path / "a.mp4", moving())
    assert list(tmp_path.iterdir()) == []


class Camera:
    """Frames as OpenCV gives them, a second apart, until somebody has enough."""

    def __init__(self, source: object) -> None:
        self.rest = moving(5) if source == 0 else []
        self.opened = source == 0

    def isOpened(self) -> bool:
        return self.opened

    def get(self, _: int) -> float:
        return -1.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        if not self.rest:
            raise KeyboardInterrupt
        return True, self.rest.pop(0)[:, :, ::-1]

    def release(self) -> None:
        self.opened = False


def test_a_camera_is_looked_at_until_somebody_has_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: Camera(source) if source in (0, 1) else real(source))
    clock = iter(range(100))
    monkeypatch.setattr(videos, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    entry, lines, _ = look(0, tmp_path / "out")
    assert entry["file"] == "camera 0" and entry["frames"] == len(lines) == 5
    assert [line["time_s"] for line in lines] == [0, 1, 2, 3, 4]
    # Each is seen for as long as it lasted.
    with Video(tmp_path / "out" / "clip.mp4") as written:
        assert written.count == 4 * videos.USUAL_FPS + 1
    with pytest.raises(ValueError, match=r"^camera 1: there is none, another program has it, or it may not be used$"):
        look(1, tmp_path / "other")


def test_without_opencv_a_line_says_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from micro_yolo.pipeline.show import cli

    clip = film(tmp_path / "clip.mp4", moving())
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError) as raised:
        look(clip, tmp_path / "out")
    assert cli.lacking(raised.value) == "needs cv2, which is not installed; `pip install 'micro-yolo[video]'` brings it"


def test_opencv_without_a_desktop_says_which_one_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "cv2":
                raise ImportError("libGL.so.1: cannot open shared object file")

    clip = film(tmp_path / "clip.mp4", moving())
    monkeypatch.delitem(sys.modules, "cv2")
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(OSError, match=r"OpenCV does not start \(libGL.*pip install opencv-python-headless`"):
        Video(clip)


def test_objects_are_followed(tmp_path: Path) -> None:
    pytest.importorskip("trackers", reason="no trackers: micro-yolo[video]")
    frames = moving(14)
    # Too faint to be shown by itself, but known.
    frames[6][14:26] = (0, 90, 0)
    # Away, and back soon; then gone.
    frames[9][:] = (0, 90, 0)
    entry, lines, _ = look(film(tmp_path / "clip.mp4", frames), tmp_path / "out", track=True)
    tracks = [[each["track"] for each in line["detections"]] for line in lines]
    assert tracks == [[None], *[[1]] * 8, [], *[[1]] * 4]
    assert lines[6]["detections"][0]["score"] <= 0.25
    assert entry["tracks"] == 1
    entry, lines, _ = look(film(tmp_path / "still.mp4", frames), tmp_path / "untracked")
    assert lines[6]["detections"] == []


def test_classes_are_followed_apart() -> None:
    pytest.importorskip("trackers", reason="no trackers: micro-yolo[video]")
    from micro_yolo.pipeline.watch.tracks import Tracks

    tracks = Tracks(0.25, 10.0)
    box = np.array([[5, 5, 25, 25]], np.float32)
    numbers = []
    for category in (0, 0, 1, 1, 0):
        found, objects = tracks.follow(Detections(box, np.array([0.9], np.float32), np.array([category], np.int32)))
        numbers.append(objects.tolist())
        assert len(found) == 1
    assert numbers == [[0], [1], [0], [2], [1]]
    assert tracks.count == 2
    empty = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    assert len(tracks.follow(empty)[0]) == 0
