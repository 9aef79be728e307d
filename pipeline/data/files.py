"""The files of a data set: a million paths in little memory, and what is asked of each of them, several at a time."""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
from PIL import Image

from micro_yolo.tflite.cores import usable_cores
from micro_yolo.tflite.image import SUFFIXES, reads_heic

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")
_EXIF_ORIENTATION = 0x0112
# Items that are done in a row, by a thread or without one.
_PIECE = 64
# What takes longer waits for a disk or a network, or computes without Python's lock.
_LONG_S = 1e-4


class Files(Sequence[Path]):
    """Paths, held as text: a Path is made where one is asked for, as it takes ten times the memory.

    Attributes:
        texts: as `str` of each path gives them.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Files:
        """These paths; Files are given back."""
        return paths if isinstance(paths, Files) else cls([str(path) for path in paths])

    @classmethod
    def below(cls, folder: Path, names: Iterable[str]) -> Files:
        """`folder / name` of each name, whose parts are separated by slashes."""
        starts: dict[str, str] = {}

        def joined(name: str) -> str:
            last = name[name.rfind("/") + 1 :]
            if last in ("", "."):
                return str(folder / name)
            first = name[: len(name) - len(last)]
            start = starts.get(first)
            if start is None:
                start = starts[first] = str(folder / first / "_")[:-1]
            return start + last

        return cls([joined(name) for name in names])

    def take(self, indices: np.ndarray) -> Files:
        """Those at `indices`, in that order."""
        return Files([self.texts[i] for i in indices.tolist()])

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> Files: ...

    def __getitem__(self, index: int | slice) -> Path | Files:
        return Files(self.texts[index]) if isinstance(index, slice) else Path(self.texts[index])

    def __iter__(self) -> Iterator[Path]:
        return map(Path, self.texts)

    def __repr__(self) -> str:
        return f"Files({len(self)})"


def in_threads(
    function: Callable[[ItemT], FoundT], items: Iterable[ItemT], *, workers: int | None = None
) -> Iterator[FoundT]:
    """`function` of each item, in their order, on several threads as soon as it proves to take long.

    What is quick is slower on threads, which wait for one another. However many items there are, only a few are under
    way: an executor's `map` makes an object for each before the first is done, a gigabyte for a million.
    """

    def some(piece: list[ItemT]) -> list[FoundT]:
        return [function(item) for item in piece]

    rest = iter(items)
    pieces = iter(lambda: list(islice(rest, _PIECE)), [])
    for piece in pieces:
        started = time.perf_counter()
        found = some(piece)
        long = time.perf_counter() - started > _LONG_S * len(piece)
        yield from found
        if long:
            break
    workers = workers or min(32, usable_cores() + 4)
    ahead: deque[Future[list[FoundT]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for piece in pieces:
            ahead.append(pool.submit(some, piece))
            if len(ahead) > 2 * workers:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def file_bytes(path: str | Path) -> int:
    """Size of a file; -1 if it is not there or is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) from the file's header, as displayed (EXIF orientation applied). OSError if unreadable."""
    if str(path).lower().endswith((".heic", ".heif")):
        reads_heic()
    with Image.open(path) as image:
        width, height = image.size
        # A PNG's own would read the whole picture first, as what it asks for may stand at the end.
        turned = Image.Image.getexif(image).get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def size_or_none(path: str | Path) -> tuple[int, int] | None:
    """image_size, or None if the file cannot be read as an image."""
    try:
        return image_size(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def relative(path: str | Path, root: Path) -> str:
    """The path as named in messages: below root where it is."""
    text, prefix = str(path), str(root) + os.sep
    return text[len(prefix) :].replace(os.sep, "/") if text.startswith(prefix) else text


def list_files(folder: Path) -> list[str]:
    """Names of the files in a folder; none if the folder is not there."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_file()]
    except OSError:
        return []


def list_images(folder: Path) -> list[str]:
    """Image files directly in a folder, as text, sorted by name."""
    start = str(folder / "_")[:-1]
    return sorted(start + name for name in list_files(folder) if os.path.splitext(name)[1].lower() in SUFFIXES)
