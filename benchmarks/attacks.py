"""All attacks, each for a share of the time, and a table of what was tried, what held and what was lost.

    python benchmarks/attacks.py --minutes 10
    python benchmarks/attacks.py --minutes 600 --seed 7

Lost must be 0: of each that is not, the line above the table says how to have it again. What each attack is:
hostile_sets.py, hostile_runs.py, fuzz.py, kills.py. Linux, with a C compiler.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import fuzz
import hostile_runs
import hostile_sets
import kills
from tried import Tally, tried, until
from watched import preload

from micro_yolo.pipeline.show import cli

MODELS = "models"
# Kills are slow: each asks for a whole command again.
_KILLS = 0.4
# One of each kind of damage.
_COPIES = len(fuzz.KINDS)


@dataclass(frozen=True)
class Config:
    """All attacks, each for a share of the time."""

    minutes: float = 10.0
    """How long, after the run that is attacked is made."""
    seed: int = 0
    """Of what is drawn."""
    commands: tuple[str, ...] = tuple(kills.COMMANDS)
    """What is killed."""


def run(config: Config) -> Tally:
    """Try, count and print. Raises ValueError if one is lost."""
    tally, source = Tally(), random.Random(config.seed)
    share = config.minutes * (1 - _KILLS) / 3
    first = source.randrange(10**6)
    with tempfile.TemporaryDirectory() as place:
        bench = kills.Bench(Path(place).resolve())
        made, whole = bench.place / "done" / "evaluate", bench.place / "whole"
        for name in ("evaluate", "debug", "prune"):
            bench.watched(name)
            shutil.copytree(bench.place / "done" / name, whole, symlinks=True, dirs_exist_ok=True)
        hostile_sets.run(hostile_sets.Config(share, first), tally)
        hostile_runs.run(hostile_runs.Config(share, first, run=whole), tally)
        more, number = until(60 * share), first
        while more():
            asked = fuzz.Config(made / "export" / "model_int8.tflite", run=made, mutations=_COPIES, first=number)
            ended = tried(lambda asked=asked: fuzz.run(asked), **kills.TIMES)
            tally.add(f"{MODELS}, {_COPIES} copies at a time", ended, f"--first {number} --mutations {_COPIES}")
            number += _COPIES
        kills.attack(bench, config.commands, until(60 * config.minutes * _KILLS), source, tally)
    print("\n".join(tally.lines()))
    if tally.lost:
        raise ValueError(f"{len(tally.lost)} lost")
    return tally


if __name__ == "__main__":
    preload()
    cli.main(Config, run, prog="python benchmarks/attacks.py", description=__doc__)
