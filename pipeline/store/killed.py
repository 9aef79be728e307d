"""What killed processes left, and whether another one is at work: each stage asks at its start. No TensorFlow."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from micro_yolo.tflite import regular
from micro_yolo.tflite.typed import parse as parse_json

# Names of the files that are about to be replaced together.
PENDING = ".pending.json"
_SWEPT: set[str] = set()


class HeldError(ValueError):
    """Another process is making a stage."""


def beside(path: Path) -> Path:
    """Where this process writes what is to become `path`; `sweep` knows by the name whether it was killed since."""
    return path.with_name(f"{_mark()}{os.getpid()}-{path.name}")


def sweep(directory: Path, *, below: bool = False) -> None:
    """Remove what processes of this machine that are gone were about to write into `directory`, or `below` it too."""
    from micro_yolo.pipeline.data.making import is_alive

    for path in sorted((directory.rglob if below else directory.glob)(f"{_mark()}*")):
        number = path.name.removeprefix(_mark()).partition("-")[0]
        if number.isdecimal() and not is_alive(int(number)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def sweep_once(directory: Path) -> None:
    """`sweep` a directory that this process is about to write into, if it has not done so yet."""
    place = os.path.abspath(directory)
    if place not in _SWEPT:
        _SWEPT.add(place)
        sweep(directory)


@contextmanager
def alone(stage: Path, instead: str = "another --run") -> Iterator[None]:
    """Hold the directory of a stage while the block runs, made for it if there is none. HeldError if another has it.

    The system lets go of it when this process is killed. Where it has no such locks nothing is held. A directory that
    was made for it and is empty afterwards goes again.

    Args:
      stage: the directory.
      instead: what the second may ask for otherwise.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    # A machine that helps may have lost its own folder of a run that goes on.
    made = [path for path in (stage, *stage.parents) if not path.exists()]
    stage.mkdir(parents=True, exist_ok=True)
    handle = os.open(stage, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HeldError(
                f"{stage}: another process is making it; wait for it or end it, or take {instead}"
            ) from None
        except OSError:
            # A file system without locks.
            pass
        try:
            yield
        finally:
            with suppress(OSError):
                for path in made:
                    path.rmdir()
    finally:
        os.close(handle)


def check_alone(stage: Path) -> None:
    """Raise HeldError if another process is making this stage."""
    if stage.is_dir():
        with alone(stage):
            pass


@contextmanager
def pending(folder: Path, paths: Collection[Path]) -> Iterator[None]:
    """While the block gives files their names, a record of which: who was stopped in it is told from who finished.

    It stays where the block ends with an error and some of them are there. Raises OSError if it cannot be written.
    """
    record = folder / PENDING
    part = beside(record)
    try:
        part.write_text(json.dumps([os.path.abspath(path) for path in paths]))
        os.replace(part, record)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        error.filename = error.filename or str(record)
        raise
    try:
        yield
    except BaseException:
        if not any(path.exists() for path in paths):
            record.unlink(missing_ok=True)
        raise
    record.unlink(missing_ok=True)


def half_written(folder: Path) -> frozenset[str]:
    """Whole paths of the files that a process stopped in `pending` may or may not have given their names."""
    try:
        found = parse_json(regular.read(folder / PENDING))
    except (OSError, ValueError):
        return frozenset()
    return frozenset(path for path in found if isinstance(path, str)) if isinstance(found, list) else frozenset()


def _mark() -> str:
    return f".part-{socket.gethostname()}-"
