"""A run is a directory of stages: ``runs/NAME/{train,prune,qat,export}``, with ``runs/latest`` pointing at the newest.

Files appear whole or not at all, and nothing is overwritten unless asked. `METRICS` is the last file a stage writes:
a stage directory without it is half-made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from micro_yolo.model.printable import typed
from micro_yolo.pipeline.store import killed
from micro_yolo.tflite import regular
from micro_yolo.tflite.typed import parse as parse_json

RUNS = Path("runs")
STAGES = ("train", "prune", "qat")
DISTILL: Final = "distill"  # what a network may have learned before its training
WEIGHTED = (DISTILL, *STAGES)
EXPORT, SEARCH = "export", "search"
ARCH = "arch.json"
WEIGHTS = "model.weights.h5"
CONFIG = "config.json"
METRICS = "metrics.json"
HISTORY = "history.csv"
# What commands leave beside stages: a table of the files, layer by layer, edge compilers, AP by the number of images.
COMPARED = "stages.json"
DEBUG, DEBUGGED = "debug", "debug.json"
EDGE = "edge.json"
CURVE = Path("curve") / "curve.json"
# Folders of a stage that is being made, which go when it is finished.
WORKING = ("checkpoint", "training", "final")
_RECORDED = (
    "micro-yolo",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "keras-cv",
    "ai-edge-litert",
    "ethos-u-vela",
    "numpy",
    "pillow",
    "pycocotools",
)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; it becomes `path` if the block ends well and is removed if it does not.

    For libraries that open the file themselves. The suffixes are kept, as Keras decides the format by them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    killed.sweep_once(path.parent)
    beside = killed.beside(path)
    try:
        yield beside
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        # A write that finds no room does not say of which file.
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_atomic(path: Path, data: bytes | str) -> Path:
    r"""Write `data` to `path` whole or not at all, making its directory. Raises OSError.

    Text as UTF-8; what is none in it, such as of a file's name, as ``\udcff``, which JSON reads back.
    """
    with writing(path) as beside:
        beside.write_bytes(data.encode(errors="backslashreplace") if isinstance(data, str) else data)
    return Path(path)


def write_together(contents: Mapping[Path, bytes], record: Path | None = None) -> None:
    """Write files, all of them or none. Raises OSError, such as for a full disk.

    While they get their names, a record in the folder `record` says which: see `killed.half_written`.
    """
    with ExitStack() as outer, ExitStack() as stack:
        # Everything is on the disk before the first file gets its name: a full disk changes none of them.
        for path, content in contents.items():
            with open(stack.enter_context(writing(path)), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if record is not None:
            outer.enter_context(killed.pending(record, contents))
            outer.push(stack.pop_all())


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as JSON; dataclasses, paths, tuples and numpy values become plain ones, NaN and infinity null."""
    return write_atomic(path, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """`value` in the types JSON has. Raises ValueError for a value that has no such form."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise ValueError(f"write_json: a value must have a JSON form, got {type(value).__name__}")


def read_json(path: Path) -> Any:
    """The JSON in `path`. Raises FileNotFoundError, or ValueError naming the file and the line that is not JSON."""
    try:
        return parse_json(regular.read(path))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def new_run(path: Path | None = None, *, stage: str = "train", overwrite: bool = False) -> Path:
    """Make ``path/stage`` (default: a directory in `RUNS` named by the time) and return the run's path.

    With `overwrite` a stage that is there and those made from it are removed. Raises as `check_new_run`.
    """
    run = _unused() if path is None else Path(path)
    check_new_run(run, stage=stage, overwrite=overwrite)
    try:
        for made in (stage, *_after(stage)) if overwrite else ():
            if (run / made).exists():
                shutil.rmtree(run / made)
        (run / stage).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_made(run, error) from None
    return run


def begin(
    stage: Path, config: Any, *, arch: dict[str, Any] | None = None, parent: Path | None = None, **facts: Any
) -> None:
    """Put table and settings into the new directory of a stage, both or none; it is removed if they cannot be written.

    Args:
      stage: its directory, made already.
      config: the settings.
      arch: the network's table, where it is known from the beginning.
      parent: the stage it goes on from.
      **facts: what config.json says besides, see `record`.

    Raises:
      OSError: there is no room for them.
      ValueError: another process was first.
    """
    # A directory gets its name with both in it: killed before, nothing was begun that could not go on.
    made = killed.beside(stage)
    shutil.rmtree(made, ignore_errors=True)
    try:
        made.mkdir()
        if arch is not None:
            write_json(made / ARCH, arch)
        write_json(made / CONFIG, record(config, parent=parent, **facts))
        with suppress(OSError):
            stage.rmdir()
        try:
            os.rename(made, stage)
        except OSError as error:
            if not is_begun(stage):
                raise
            raise ValueError(_half_made(stage)) from error
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        with suppress(OSError):
            stage.rmdir()
        raise


def check_new_run(path: Path | None, *, stage: str = "train", overwrite: bool = False) -> None:
    """What `new_run` would refuse, known before any slow work; of a finished stage what killed processes left goes.

    Raises ValueError if the stage is there already, finished or not, unless `overwrite`, and for a directory that is
    no run, which is never touched. Raises OSError if it cannot be made.
    """
    run = RUNS if path is None else Path(path)
    if run.exists() and not run.is_dir():
        raise ValueError(f"{run}: a run must be a directory, got a file; allowed: another --run")
    if path is not None and _is_foreign(run):
        raise ValueError(f"{run}: exists and is not a run; allowed: another --run, or an empty directory")
    target = run / stage
    if path is not None:
        killed.check_alone(target)
    if path is not None and is_begun(target) and not overwrite:
        if is_finished(target):
            sweep(run)
            raise ValueError(f"{run}: already holds a finished {stage}; allowed: another --run, or --overwrite")
        raise ValueError(_half_made(target))
    try:
        check_writable(run)
    except OSError as error:
        raise _cannot_be_made(run, error) from None


def is_begun(stage: Path) -> bool:
    """Whether there is more than the empty directory that a process killed before `begin` leaves."""
    return stage.exists() and not (stage.is_dir() and not any(stage.iterdir()))


def _half_made(stage: Path) -> str:
    return (
        f"{stage.parent}: holds a half-made {stage.name}; allowed: --resume to continue it, --overwrite to start "
        "again, or another --run"
    )


def check_writable(directory: Path) -> None:
    """Raise OSError unless files can be made in `directory`, or it can be made itself; leaves nothing behind."""
    there = next((path for path in (directory, *directory.parents) if path.exists()), Path())
    # Permission bits tell little of read-only and network file systems: what counts is whether a file can be made.
    with tempfile.TemporaryFile(dir=there):
        pass


def resolve_run(path: Path | None = None) -> Path:
    """The run to read: `path`, or where ``runs/latest`` points. Raises FileNotFoundError or ValueError."""
    if path is None:
        latest = RUNS / "latest"
        if latest.is_symlink() and not latest.exists():
            raise FileNotFoundError(f"{latest}: points at {os.readlink(latest)}, which is gone; allowed: --run PATH")
        if not latest.exists():
            raise FileNotFoundError(f"{latest}: there is no run yet; `python -m pipeline.train` makes one")
        path = RUNS / os.readlink(latest) if latest.is_symlink() else latest
    run = Path(os.path.normpath(path))
    if not run.exists():
        raise FileNotFoundError(f"{run}: no such run; `python -m pipeline.train --run {typed(run)}` makes one")
    if not any((run / stage).is_dir() for stage in WEIGHTED):
        raise ValueError(f"{run}: a run must hold one of {', '.join(STAGES)}; `python -m pipeline.train` makes one")
    return run


def point_latest(run: Path) -> None:
    """Make ``runs/latest`` point at `run`, at no moment pointing nowhere. Raises OSError."""
    RUNS.mkdir(parents=True, exist_ok=True)
    killed.sweep(RUNS)
    beside = killed.beside(RUNS / "latest")
    beside.unlink(missing_ok=True)
    beside.symlink_to(os.path.relpath(run, RUNS), target_is_directory=True)
    try:
        os.replace(beside, RUNS / "latest")
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(f"{RUNS / 'latest'}: must be a link, cannot be replaced ({error.strerror})") from None


def latest_stage(run: Path, before: str | None = None) -> Path:
    """The most finished stage of `run` that comes before stage `before`.

    Raises ValueError, with the command that helps, if there is none.
    """
    usable = STAGES if before is None or before not in STAGES else STAGES[: STAGES.index(before)]
    for stage in reversed(usable):
        if is_finished(run / stage):
            return run / stage
    half = next((stage for stage in usable if (run / stage).is_dir()), None)
    if half is None:
        raise ValueError(
            f"{run}: no {' or '.join(usable)} in it; `python -m pipeline.train --run {typed(run)}` makes one"
        )
    raise ValueError(
        f"{run}: its {half} is half-made; `python -m pipeline.{half} --run {typed(run)} --resume` continues it"
    )


def sweep(run: Path) -> None:
    """Remove what killed processes left in a run: files half written, and what only a half-made stage needs."""
    killed.sweep(run, below=True)
    for stage in WEIGHTED:
        if is_finished(run / stage):
            for name in WORKING:
                shutil.rmtree(run / stage / name, ignore_errors=True)


def is_finished(stage: Path) -> bool:
    """Whether a stage directory has all that the next stage needs, `METRICS` being written last."""
    return all((stage / name).is_file() for name in (ARCH, WEIGHTS, CONFIG, METRICS))


@dataclasses.dataclass(frozen=True)
class Stage:
    """What one stage directory holds; `arch` and `config` are the parsed JSON."""

    path: Path
    arch: dict[str, Any]
    config: dict[str, Any]

    @property
    def weights(self) -> Path:
        """The weights file."""
        return self.path / WEIGHTS


def read_stage(path: Path) -> Stage:
    """Read a stage directory. Raises FileNotFoundError or ValueError naming the file that is missing or not JSON."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such stage; `python -m pipeline.train` makes one")
    if not (path / WEIGHTS).is_file():
        raise FileNotFoundError(f"{path / WEIGHTS}: no such file, {path} is half-made; continue it with --resume")
    found = {name: read_json(path / name) for name in (ARCH, CONFIG)}
    for name, value in found.items():
        if not isinstance(value, dict):
            raise ValueError(f"{path / name}: must hold a JSON object, got {type(value).__name__}")
    return Stage(path, found[ARCH], found[CONFIG])


def record(config: Any, *, parent: Path | None = None, **more: Any) -> dict[str, Any]:
    """What `CONFIG` says: all settings, where the weights came from (directory and hash), `more`, and the versions."""
    return plain({"settings": config, "parent": parent and origin(parent), **more, "versions": provenance()})


def origin(stage: Path) -> dict[str, Any]:
    """What is recorded of the stage that another goes on from: where it is, and hashes of its weights and table."""
    return {"path": stage, "sha256": sha256(stage / WEIGHTS), "table": sha256(stage / ARCH)}


def provenance() -> dict[str, str]:
    """Versions of Python, of our own code and of the packages that shape a result, read without importing them."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _RECORDED:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    made = commit()
    return versions if made is None else versions | {"commit": made}


@cache
def commit() -> str | None:
    """The git commit that this code is, with "+changes" if files were changed since; None where it is no clone."""
    clone = Path(__file__).resolve().parents[2]
    if not (clone / ".git").exists():
        return None
    # No tags, the whole hash. Git would otherwise refresh its index, perhaps while its owner is at work.
    ask = ["git", "-C", str(clone), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        told = subprocess.run(ask, capture_output=True, text=True, timeout=10, env=env, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None


def _after(stage: str) -> tuple[str, ...]:
    return (*STAGES[STAGES.index(stage) + 1 :], EXPORT) if stage in STAGES else ()


def _cannot_be_made(run: Path, error: OSError) -> OSError:
    return OSError(f"{run}: cannot be made ({error.strerror}); allowed: --run with a writable path")


def _is_foreign(run: Path) -> bool:
    if not run.is_dir():
        return False
    # Hidden ones are the system's, or those of machines that help to make this run.
    names = {entry.name for entry in run.iterdir() if not entry.name.startswith(".")}
    return bool(names) and not names & {*WEIGHTED, EXPORT, SEARCH}


def _unused() -> Path:
    name = datetime.now().strftime("%Y%m%d-%H%M%S")
    candidates = (RUNS / (name if n == 0 else f"{name}-{n}") for n in range(1000))
    return next(run for run in candidates if not run.exists())
