"""A command killed before each thing it does to the files of a run, and asked for again: it must end as if nothing was.

    python benchmarks/kills.py --run runs/cells -- convert --run RUN --int8
    python benchmarks/kills.py --run runs/cells --every 5 -- qat --run RUN --epochs 1

RUN stands for a copy of the run. What Python opens to write, renames, makes or removes there counts; h5py and
TensorFlow write by themselves, and are hit before and after. A stage that was begun is asked for with --resume.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from micro_yolo.pipeline.show import cli

# Ends the process before the n-th event in a folder; 0 ends it never, and says how many there were.
_HOOK = """
import os, sys
folder, last = sys.argv[1], int(sys.argv[2])
count = 0
def hook(event, args):
    global count
    if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        return
    if event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate"):
        return
    try:
        if not any(os.path.abspath(os.fsdecode(a)).startswith(folder) for a in args[:2] if isinstance(a, (str, bytes))):
            return
    except (TypeError, ValueError):
        return
    count += 1
    if count == last:
        os.kill(os.getpid(), 9)
sys.addaudithook(hook)
sys.argv = ["micro-yolo", *sys.argv[3:]]
from micro_yolo.pipeline.__main__ import main
try:
    main("micro-yolo")
finally:
    print(f"events: {count}", file=sys.stderr)
"""


@dataclass(frozen=True)
class Config:
    """A command killed before each thing it does to the files of a run, and asked for again."""

    run: Path
    """The run to copy."""
    words: tyro.conf.Positional[tuple[str, ...]] = ()
    """The command, RUN for the copy."""
    every: int = 1
    """Kill before every so manieth event."""
    most: int = 1000
    """Kills at most."""


def run(config: Config) -> tuple[int, int]:
    """Kills tried, and those that cost something; prints both. Raises ValueError if the command fails by itself."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place).resolve() / "run"
        whole = _ask(config, copy, 0)
        if whole.returncode:
            raise ValueError(f"words: the command fails by itself: {whole.stderr[-300:]}")
        wanted, events = _files(copy), int(whole.stderr.rsplit("events: ", 1)[1])
        places = list(range(1, events + 1, config.every))[: config.most]
        lost = []
        for number in places:
            if _ask(config, copy, number).returncode != -9:
                continue
            again = _ask(config, copy, 0, fresh=False)
            if again.returncode and "--resume" in again.stderr:
                again = _ask(config, copy, 0, fresh=False, more=("--resume",))
            found = _files(copy)
            if again.returncode or found != wanted:
                lost.append(number)
                print(f"killed before {number} of {events}: {again.stderr[-300:]} {sorted(found ^ wanted)}")
    print(f"{events} events, {len(places)} kills, {len(lost)} lost")
    return len(places), len(lost)


def _ask(
    config: Config, copy: Path, number: int, *, fresh: bool = True, more: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    if fresh:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(config.run, copy, symlinks=True)
    words = [word.replace("RUN", str(copy)) for word in config.words]
    asked = [sys.executable, "-c", _HOOK, str(copy), str(number), *words, *more]
    return subprocess.run(asked, capture_output=True, text=True, check=False)


def _files(run: Path) -> set[str]:
    return {path.relative_to(run).as_posix() for path in run.rglob("*")}


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/kills.py", description=__doc__)
