"""Files that somebody else may have put there: only regular ones are read, since a pipe or a device has no end."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# More than any record of a run has, and than FlatBuffers can hold.
MAX_RECORD, MAX_MODEL = 1 << 28, 1 << 31


def read(path: str | Path, most: int = MAX_RECORD) -> bytes:
    """All of a file of at most `most` bytes. OSError, as of `open`, if there is none, or it is something else."""
    state = os.stat(path)
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise OSError(errno.EINVAL, "must be a regular file", str(path))
    if state.st_size > most:
        raise OSError(errno.EFBIG, f"must be at most {most} bytes, got {state.st_size}", str(path))
    with open(path, "rb") as file:
        return file.read(most)
