"""Pictures made small, kept on disk from run to run.

A cache is a folder of its own below the one the user names, with one file of rows: a stamp of 8 bytes and the pixels of
one picture. The stamp is made of the picture's file (bytes, time of change) and of the pixels, so that a row half
written, damaged, or of a picture that has changed since is one that is not there, and is made again. That is all that a
process killed at any moment leaves, and all that two processes that fill one cache can do to each other.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import features

from micro_yolo.pipeline.data.dataset import Split
from micro_yolo.pipeline.data.files import Files
from micro_yolo.tflite import regular
from micro_yolo.tflite.typed import parse as parse_json

# Counted up when the pixels made of a picture become others.
_VERSION = 1
_CONTENTS = "cache.json"
_ROWS = "pictures"
_STAMP_BYTES = 8
_PAGE_BYTES = 4096
_GIB = 1 << 30


class Cache:
    """The pictures of one split at one size, by one rule, below the folder `parent`.

    Another data set, size or rule, and another Pillow, which may decode otherwise, have a folder of their own.

    Raises OSError or ValueError if there can be none: not writable, too little room, a folder with other files in it.
    """

    def __init__(self, parent: Path, split: Split, size: tuple[int, int], rule: str) -> None:
        self._files = split.files
        self._pixel_bytes = size[0] * size[1] * 3
        # Whole pages, so that on a network's disk nobody writes into the page of another's row.
        self._row_bytes = -(-(_STAMP_BYTES + self._pixel_bytes) // _PAGE_BYTES) * _PAGE_BYTES
        self._trusted = np.zeros(len(split), bool)
        contents = _contents(split, size, rule)
        digest = hashlib.sha256(json.dumps(contents).encode()).hexdigest()
        self.folder = parent / f"{split.name}-{size[0]}x{size[1]}-{rule}-{digest[:16]}"
        with self._explained():
            self._check_room()
            _make(self.folder, contents)
            self._file = os.open(self.folder / _ROWS, os.O_RDWR | os.O_CREAT, 0o666)
            weakref.finalize(self, os.close, self._file)

    def get(self, index: int, pixels: np.ndarray) -> bool:
        """Fill `pixels`, uint8 (h, w, 3), with picture `index`; False, with `pixels` spoilt, if it is not there."""
        stamp = bytearray(_STAMP_BYTES)
        try:
            n_bytes = os.preadv(self._file, [stamp, pixels.data], index * self._row_bytes)
        except OSError:
            return False
        if n_bytes < _STAMP_BYTES + self._pixel_bytes:
            return False
        # Once for each row: it costs as much as reading it.
        if not self._trusted[index]:
            self._trusted[index] = bytes(stamp) == self._stamp(index, pixels)
        return bool(self._trusted[index])

    def put(self, index: int, pixels: np.ndarray) -> None:
        """Keep picture `index`, uint8 (h, w, 3), contiguous. Raises OSError if it cannot be written."""
        row = (memoryview(self._stamp(index, pixels)), pixels.data)
        with self._explained():
            written = os.pwritev(self._file, row, index * self._row_bytes)
            if written < _STAMP_BYTES + self._pixel_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _stamp(self, index: int, pixels: np.ndarray) -> bytes:
        try:
            state = os.stat(self._files[index])
            source = zlib.crc32(f"{state.st_size} {state.st_mtime_ns}".encode())
        except OSError:
            source = 0
        return source.to_bytes(4, "little") + zlib.crc32(pixels.data).to_bytes(4, "little")

    def _check_room(self) -> None:
        # Asked for beforehand: hours later is a bad time to learn it.
        rows = self.folder / _ROWS
        missing = len(self._files) * self._row_bytes - (rows.stat().st_blocks * 512 if rows.exists() else 0)
        free = shutil.disk_usage(next(place for place in rows.parents if place.exists())).free
        if missing > free:
            raise OSError(
                f"cache: {self.folder.parent}: {len(self._files)} pictures need {missing / _GIB:.1f} GiB more, "
                f"got {free / _GIB:.1f} GiB of room; allowed: --cache on a larger disk, a smaller --size, or no --cache"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.strerror is None:
                raise
            raise OSError(
                f"cache: {self.folder.parent}: cannot be written to ({error.strerror}); allowed: --cache with a folder "
                "that can be written to and has room, or no --cache"
            ) from None


def _contents(split: Split, size: tuple[int, int], rule: str) -> dict[str, Any]:
    """What a cache holds: equal for equal caches."""
    here = os.getcwd()
    names = "\n".join(os.path.join(here, text) for text in Files.of(split.files).texts)
    pictures = hashlib.sha256(names.encode("utf-8", "surrogateescape"))
    # By the recorded sizes it is decided which way up a picture is.
    pictures.update(np.ascontiguousarray(split.sizes).astype(np.int64).tobytes())
    return {
        "version": _VERSION,
        "pillow": {name: features.version(name) for name in ("pil", "jpg", "webp", "zlib")},
        "size": list(size),
        "resize": rule,
        "images": len(split),
        "first": os.path.join(here, split.files[0]) if len(split) else "",
        "pictures": pictures.hexdigest(),
    }


def _make(folder: Path, contents: dict[str, Any]) -> None:
    """Make the folder with its contents.json in it, whole or not at all, or see that it is there."""
    if not folder.exists():
        if folder.parent.exists() and not folder.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f".{folder.name}.{os.getpid()}")
        beside.mkdir(exist_ok=True)
        try:
            (beside / _CONTENTS).write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
            beside.rename(folder)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            # Somebody else was quicker.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
    try:
        found = parse_json(regular.read(folder / _CONTENTS))
    except (ValueError, OSError):
        found = None
    if found != contents:
        raise ValueError(
            f"cache: {folder}: must be a cache of these pictures, got other files; allowed: another --cache folder, or "
            "this one deleted"
        )
