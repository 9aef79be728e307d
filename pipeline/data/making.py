"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target` to write to, which gets its name when all went well and is removed if not.

    What a process left that was killed at it is removed first. If another one was faster, its folder stands.

    Raises:
        OSError: it cannot be made.
    """
    mark = f"{target.name}.part-{socket.gethostname()}-"
    for old in target.parent.glob(f"{target.name}.part-*"):
        process = old.name.removeprefix(mark)
        if process.isdecimal() and not is_alive(int(process)):
            shutil.rmtree(old, ignore_errors=True)
    part = target.with_name(f"{mark}{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        if not target.exists():
            part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_alive(process: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
