"""Commands killed before each thing they do to files, and disks that are full from each on.

    python benchmarks/kills.py --minutes 10
    python benchmarks/kills.py --commands train qat --minutes 60 --seed 3

A small run is made. Each command then works on a copy of it once, and before each thing that it does to a file of the
run, HDF5's and TensorFlow's writes among them, the folder is copied: that is what a kill at that moment leaves. Some of
these states are drawn, and the command is asked for again on each, with --resume where it asks for that: it must end as
if nothing had been. Likewise with a disk that is full from some write on: one line, and then as if nothing had been.
Of other states a file is damaged, weights and checkpoints among them: that must end in an answer or in one line.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostile_sets import FILE_DAMAGE, huge
from tried import Ended, Tally, tried, until
from watched import preload, watch

from micro_yolo.pipeline.show import cli

KILLS, FULL, DAMAGED = "kills", "full disks", "damaged files"
# Longer than any command takes on a busy machine.
TIMES = {"seconds": 3600.0, "processor": 600, "memory": None}
_TABLE = {
    "name": "tiny",
    "size": [64, 64],
    "rows": [
        {"name": "l1", "op": "conv", "out": 8, "k": 3, "s": 2},
        {"name": "l2", "op": "separable", "out": 8, "k": 3, "s": 2},
        {"name": "l3", "op": "conv", "out": 8, "k": 3, "s": 2},
        {"name": "l4", "op": "detect", "anchors": [[12, 12]]},
    ],
}
_QUICK = "--batch 4 --mosaic 0 --plain-epochs 1 --warmup-epochs 0 --evaluate-every 1"
# What each does, and which commands come before.
COMMANDS = {
    "train": (f"train --data DATA --arch TABLE --run RUN --epochs 2 {_QUICK}", ()),
    "convert": ("convert --run RUN --float32 --int8 --samples 4 --score-samples 4", ("train",)),
    "predict": (
        "predict --model RUN/export/model_int8.tflite --out RUN/out DATA/images --csv --txt --save-crops",
        ("train", "convert"),
    ),
    "evaluate": ("evaluate --model RUN/export/model_int8.tflite", ("train", "convert")),
    "report": ("report --run RUN --overwrite", ("train", "convert")),
    "prune": (f"prune --run RUN --rows l2 --step 0.25 --most 0.25 --epochs 1 --tolerance 100 {_QUICK}", ("train",)),
    "qat": (f"qat --run RUN --epochs 2 --samples 4 {_QUICK}", ("train",)),
    "search": (f"search --data DATA --arch TABLE --rows l2 --kernels 3 5 --run RUN --epochs 1 {_QUICK}", ()),
    "debug": ("debug --run RUN --images 2 --keep 1 --overwrite", ("train",)),
}
_TIMES = ("seconds", "images_per_second")
# A state that is copied must be no larger than it looks.
_DAMAGE = [each for each in FILE_DAMAGE if each is not huge]


@dataclass(frozen=True)
class Config:
    """Commands killed before each thing they do to files, and disks that are full from each on."""

    minutes: float = 10.0
    """How long, after each command has been watched once."""
    commands: tuple[str, ...] = tuple(COMMANDS)
    """Which."""
    seed: int = 0
    """Of what is drawn."""


@dataclass
class Watched:
    """A command that was watched at work.

    Attributes:
        events: how many things it did to files.
        states: folders as they were before one of them, by its number.
        wanted: what it left.
    """

    events: int = 0
    states: dict[int, Path] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    wanted: dict[str, Any] = field(default_factory=dict)


def run(config: Config, tally: Tally | None = None) -> Tally:
    """Try, count and print. Raises ValueError if one is lost, or a command fails by itself."""
    if unknown := set(config.commands) - set(COMMANDS):
        raise ValueError(f"commands: unknown, got {', '.join(sorted(unknown))}; allowed: {', '.join(COMMANDS)}")
    counted, source = Tally() if tally is None else tally, random.Random(config.seed)
    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place).resolve())
        attack(bench, config.commands, until(60 * config.minutes), source, counted)
    if tally is None:
        print("\n".join(counted.lines()))
        if counted.lost:
            raise ValueError(f"{len(counted.lost)} lost")
    return counted


def attack(bench: Bench, names: Sequence[str], more: Callable[[], bool], source: random.Random, tally: Tally) -> None:
    """Watch each command once; then kill those of `names`, and fill their disk, while there is `more` time."""
    for name in names:
        found = bench.watched(name)
        print(f"{name}: {found.events} things done to files, {len(found.states)} states", flush=True)
    while more():
        name, kind = source.choice(names), source.random()
        if kind < 0.7:
            number = source.choice(sorted(bench.at[name].states))
            what = f"before {number}, {bench.at[name].labels[number]}"
            if kind < 0.5:
                tally.add(f"{KILLS}, {name}", bench.killed(name, number), what)
            else:
                done, ended = bench.damaged(name, number, source)
                tally.add(f"{DAMAGED}, {name}", ended, f"{what}, {done}")
        else:
            number = source.randint(1, bench.at[name].events)
            code = source.choice((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
            tally.add(f"{FULL}, {name}", bench.full(name, number, code), f"{errno.errorcode[code]} from {number}")


class Bench:
    """A data set, a table, and what commands make of them."""

    def __init__(self, place: Path) -> None:
        """Draw the data, and load here what all commands need, of which each try is a fork."""
        from micro_yolo.pipeline.data import synthetic

        self.place, self.run = place, place / "run"
        self.data = synthetic.make(place / "data", train=4, val=2, size=(64, 64), seed=1)
        self.table = place / "tiny.json"
        self.table.write_text(json.dumps(_TABLE))
        self.at: dict[str, Watched] = {}
        from micro_yolo.model.quantization import network  # noqa: F401
        from micro_yolo.pipeline.learn import loop, progressive  # noqa: F401
        from micro_yolo.tflite import convert  # noqa: F401

    def watched(self, name: str) -> Watched:
        """Have the command do its work, and those before it, and keep what was on the way."""
        if name in self.at:
            return self.at[name]
        for before in COMMANDS[name][1]:
            self.watched(before)
        self._begin(name)
        found = self.at[name] = Watched()
        kept = self.place / "states" / name
        reader, told = os.pipe()
        answered, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reader)
            os.close(writer)
            ended = tried(lambda: self._do(name, told=told, answered=answered), **TIMES)
            if ended.how != "answer":
                print(ended.how, ended.said, file=sys.stderr)
            os._exit(0 if ended.how == "answer" else 1)
        os.close(told)
        os.close(answered)
        last = None
        with open(reader, "rb") as events, open(writer, "wb", buffering=0) as answers:
            for line in events:
                found.events += 1
                now = _stamp(self.run)
                if now != last:
                    (kept / str(found.events)).mkdir(parents=True)
                    # Other threads go on, and may remove what is being copied, as when they are killed in between.
                    with contextlib.suppress(shutil.Error, FileNotFoundError):
                        shutil.copytree(self.run, kept / str(found.events), symlinks=True, dirs_exist_ok=True)
                    found.states[found.events] = kept / str(found.events)
                    found.labels[found.events] = line.decode(errors="replace").strip().replace(str(self.run), "RUN")
                    last = now
                with contextlib.suppress(BrokenPipeError):
                    answers.write(b".")
        if os.waitpid(pid, 0)[1]:
            raise ValueError(f"{name}: fails by itself")
        found.wanted = _content(self.run)
        shutil.copytree(self.run, self.place / "done" / name, symlinks=True)
        return found

    def killed(self, name: str, number: int) -> Ended:
        """Ask again for a command that was killed before an event."""
        self._restore(self.at[name].states[number])
        return self._again(name)

    def damaged(self, name: str, number: int, source: random.Random) -> tuple[str, Ended]:
        """Ask again for a command that was killed before an event, where a file was damaged since; what was done."""
        self._restore(self.at[name].states[number])
        files = sorted(path for path in self.run.rglob("*") if path.is_file()) if self.run.is_dir() else []
        done = "nothing"
        for path in source.sample(files, min(1, len(files))):
            does = source.choice(_DAMAGE)
            does(path, source)
            done = f"{does.__name__.strip('_')} {path.relative_to(self.run)}"
        ended = tried(lambda: self._do(name), **TIMES)
        if ended.how == "error" and "--resume" in ended.said:
            ended = tried(lambda: self._do(name, "--resume"), **TIMES)
        return done, ended

    def full(self, name: str, number: int, code: int) -> Ended:
        """Have the disk be full from an event on, then free."""
        self._begin(name)
        ended = tried(lambda: self._do(name, fails_from=number, error=code), **TIMES)
        if ended.lost or (ended.how == "answer" and self._differs(name) is None):
            return ended
        if ended.how == "error" and len(ended.said.strip().splitlines()[-1]) > 1000:
            return Ended("lost: a line without end", ended.said)
        again = self._again(name)
        return Ended(again.how, ended.said + again.said)

    def _again(self, name: str) -> Ended:
        ended = tried(lambda: self._do(name), **TIMES)
        if ended.how == "error" and "--resume" in ended.said:
            ended = tried(lambda: self._do(name, "--resume"), **TIMES)
        # Killed when all was done, it may say that it is.
        is_said = ended.how == "error" and ("already" in ended.said or "finished" in ended.said)
        if is_said and self._differs(name) is None:
            ended = Ended("answer", ended.said)
        if not ended.lost and ended.how != "answer":
            return Ended("lost: cannot be asked for again", ended.said)
        differs = None if ended.lost else self._differs(name)
        return ended if differs is None else Ended(f"lost: ends otherwise, {differs}", ended.said)

    def _differs(self, name: str) -> str | None:
        wanted, found = self.at[name].wanted, _content(self.run)
        other = sorted(key for key in {*wanted, *found} if wanted.get(key, "") != found.get(key, ""))
        return f"{', '.join(other)}" if other else None

    def _begin(self, name: str) -> None:
        before = COMMANDS[name][1]
        self._restore(self.place / "done" / before[-1] if before else None)

    def _restore(self, state: Path | None) -> None:
        shutil.rmtree(self.run, ignore_errors=True)
        if state is not None:
            shutil.copytree(state, self.run, symlinks=True)

    def _do(self, name: str, *more: str, **watching: int) -> None:
        from micro_yolo.pipeline.__main__ import main

        places = {"RUN": self.run, "DATA": self.data, "TABLE": self.table}
        words = COMMANDS[name][0].split()
        for sign, path in places.items():
            words = [word.replace(sign, str(path)) for word in words]
        os.chdir(self.place)
        if watching:
            watch(self.run, **watching)
        main("micro-yolo", [*words, *more])


def _stamp(folder: Path) -> list[tuple[str, int, int]]:
    """By which it is seen that nothing changed."""
    found = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            facts = path.lstat()
            found.append((str(path), facts.st_size, facts.st_mtime_ns))
    return found


def _content(run: Path) -> dict[str, Any]:
    """What counts of a run, by file."""
    found: dict[str, Any] = {}
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        # TensorBoard's have the time and the process in their names.
        if "/logs" in name:
            continue
        found[name] = None
        if path.name in ("arch.json", "steps.json", "channels.json"):
            found[name] = path.read_text()
        if path.name == "history.csv":
            from micro_yolo.pipeline.store import history

            found[name] = [{k: v for k, v in row.items() if k not in _TIMES} for row in history.read(path)]
        if path.name.endswith(".h5"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


if __name__ == "__main__":
    preload()
    cli.main(Config, run, prog="python benchmarks/kills.py", description=__doc__)
