"""What somebody names to be looked at: pictures, videos, folders, patterns and cameras, as lists of files."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path

from micro_yolo.model.printable import typed
from micro_yolo.pipeline.store import killed
from micro_yolo.tflite import regular
from micro_yolo.tflite.image import SUFFIXES, walk
from micro_yolo.tflite.typed import parse as parse_json

RECORD = "detections.json"
CROPS = "crops"
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts", ".m2ts")
# A camera as Linux names it.
_CAMERA = re.compile(r"^/dev/video(\d+)$")
# A scheme of one letter is a drive of Windows. A Path has lost one of the two slashes.
_URL = re.compile(r"(?i)^([a-z][a-z0-9+.-]+):/+")
_STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp", "srt", "mms")


@dataclass(frozen=True)
class Named:
    """What was named.

    Attributes:
        pictures: each once, in the order of their names' places.
        videos: likewise.
        cameras: by number.
        own: how many files in folders were left out as results of predictions.
    """

    pictures: tuple[Path, ...]
    videos: tuple[Path, ...]
    cameras: tuple[int, ...]
    own: int


def find(paths: tuple[Path, ...], out: Path) -> Named:
    """What `paths` name: files, folders (searched, with the links in them), patterns such as ``*.jpg``, camera numbers.

    Left out of folders is what predictions wrote: all below `out`, and what the detections.json in a folder lists.

    Raises FileNotFoundError for what is not there, ValueError for an address or a folder without anything to look at.
    """
    if not paths:
        raise ValueError("pictures: name at least one picture or folder; see `python -m pipeline.predict --help`")
    files: dict[Path, Path] = {}
    cameras: dict[int, None] = {}
    own = 0
    for path in paths:
        device = _CAMERA.match(str(path))
        if device or (path.name.isdecimal() and str(path) == path.name and not path.exists()):
            cameras[int(device[1] if device else path.name)] = None
            continue
        if path.exists():
            matches = [path]
        else:
            _refuse_address(path)
            matches = _matches(path)
        for match in matches:
            here, left_out = _in_folder(match, out) if match.is_dir() else ([match], 0)
            own += left_out
            for file in here:
                # By what it is, not by how it was come to: of a file and links to it one.
                files.setdefault(file.resolve(), file)
    # A file of no known suffix was named by somebody who takes it for a picture.
    videos = tuple(file for file in files.values() if file.suffix.lower() in VIDEOS)
    pictures = tuple(file for file in files.values() if file.suffix.lower() not in VIDEOS)
    return Named(pictures, videos, tuple(cameras), own)


def _refuse_address(path: Path) -> None:
    address = _URL.match(str(path))
    if address is None:
        return
    scheme, rest = address[1].lower(), str(path)[address.end() :]
    url = f"{scheme}://{rest}"
    if scheme == "file":
        raise ValueError(f"{url}: is an address; name the file itself: /{rest}")
    how = f"ffmpeg -t 60 -i {typed(url)} -c copy clip.mp4" if scheme in _STREAMS else f"curl -LO {typed(url)}"
    raise ValueError(f"{url}: is an address, and nothing is fetched from a network; `{how}` makes a file to name here")


def _matches(path: Path) -> list[Path]:
    if not glob.has_magic(str(path)):
        raise FileNotFoundError(f"{path}: no such picture or folder")
    found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    known = [each for each in found if each.is_dir() or each.suffix.lower() in (*SUFFIXES, *VIDEOS)]
    if not known:
        others = f", but {len(found)} other files" if found else ""
        raise FileNotFoundError(f"{path}: no picture or video has such a name{others}")
    return known


def _in_folder(folder: Path, out: Path) -> tuple[list[Path], int]:
    found: list[Path] = []
    own = 0
    apart = [out.resolve()] if out.resolve() != folder.resolve() else []
    for below, files in walk(folder):
        fitting = [file for file in files if file.suffix.lower() in (*SUFFIXES, *VIDEOS)]
        real = below.resolve()
        if any(real.is_relative_to(each) for each in apart):
            own += len(fitting)
            continue
        results = written_names(below)
        if results is not None:
            apart.append(real / CROPS)
        left = [file for file in fitting if file.name not in (results or ())]
        own += len(fitting) - len(left)
        found += left
    if not found:
        known = ", ".join((*SUFFIXES, *VIDEOS))
        left_out = f" but {own} that predictions wrote" if own else f"; looked for {known}"
        raise ValueError(f"{folder}: no pictures in this folder{left_out}")
    return sorted(found), own


def text(path: Path | str) -> str:
    r"""A path as text that can be written and shown: what is not UTF-8 in it as ``\udcff``."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def written_names(folder: Path) -> set[str] | None:
    """Names of the pictures and videos that a prediction left in `folder`, finished or not; None if there was none."""
    here = os.path.abspath(folder)
    half = {os.path.basename(path) for path in killed.half_written(folder) if os.path.dirname(path) == here}
    try:
        record = parse_json(regular.read(folder / RECORD))
        entries = [*record["images"], *record.get("videos", ())]
        return half | {entry["picture"] for entry in entries if record["model_sha256"] and entry["picture"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return half or None
