"""Hostile files of a run, drawn by number: what strangers may write into arch.json, config.json and the others.

    python benchmarks/hostile_runs.py --run runs/cells --minutes 1

Each must end in an answer or in one clear error, in the commands that read them without TensorFlow.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile_sets import DAMAGE
from tried import Ended, Numbered, Tally, tally_of, tried

from micro_yolo.pipeline.show import cli

WHAT = "files of runs"
# What is damaged, of the stages and beside them; weights have a test of their own, tests/unit/test_hdf5.py.
_FILES = ("*/arch.json", "*/config.json", "*/metrics.json", "*/history.csv", "*/cuts.json", "*.json", "export/*.json")


@dataclass(frozen=True, kw_only=True)
class Config(Numbered):
    """Hostile files of a run through the commands that read them."""

    run: Path
    """A run with files and measurements, whose data is there."""


def run(config: Config, tally: Tally | None = None) -> Tally:
    """Try, count and print. Raises ValueError if one is lost."""
    with tempfile.TemporaryDirectory() as place:
        base, copy = Path(place).resolve() / "base", Path(place).resolve() / "run"
        shutil.copytree(config.run, base, symlinks=True)
        # Once here, so that what is loaded for it is loaded for all.
        _read(base)
        return tally_of(WHAT, config, lambda number: attack(base, copy, number), tally)


def attack(base: Path, target: Path, number: int) -> tuple[str, Ended]:
    """Make run `number` and have it read: what was done to it, and how that ended."""
    source = random.Random(number)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(base, target, symlinks=True)
    files = sorted({path for pattern in _FILES for path in target.glob(pattern) if path.is_file()})
    done = []
    for path in source.sample(files, min(len(files), source.choice([1, 1, 2]))):
        does = source.choice(DAMAGE)
        if path.is_file() and does(path, source) is not False:
            done.append(f"{does.__name__.strip('_')} {path.relative_to(target)}")
    return ", ".join(done), tried(lambda: _read(target))


def _read(run: Path) -> None:
    """Have all that reads a run without TensorFlow read it; the first error ends it."""
    from micro_yolo.pipeline import evaluate, report, summary
    from micro_yolo.pipeline.store.finished import find

    ways: tuple[tuple[type[Any], Callable[..., Any], str, list[str]], ...] = (
        (summary.Config, summary.command, summary.PROG, [str(run / "train" / "arch.json")]),
        (report.Config, report.command, report.PROG, ["--run", str(run), "--out", str(run / "page.html")]),
        (evaluate.Config, evaluate.command, evaluate.PROG, ["--model", str(run / "export" / "model_int8.tflite")]),
    )
    status = 0
    for kind, command, prog, args in ways:
        try:
            cli.main(kind, command, prog=prog, args=args)
        except SystemExit as stop:
            if stop.code != 2:
                raise
            status = 2
    try:
        find(run).dataset()
    except (ValueError, OSError) as error:
        if "\n" in str(error):
            raise AssertionError(f"several lines: {error}") from None
        status = 2
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/hostile_runs.py", description=__doc__)
