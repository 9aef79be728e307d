"""Hostile files of a run, drawn by number: what strangers may write into arch.json, config.json and the others.

    python benchmarks/hostile_runs.py --run runs/cells --minutes 1

Each must end in an answer or in one clear error, in the commands that read them without TensorFlow, and in those that
go on with a stopped stage, up to where TensorFlow would begin.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile_sets import DAMAGE
from tried import Ended, Numbered, Tally, silent, tally_of, tried

from micro_yolo.pipeline.show import cli

WHAT = "files of runs"
# What is damaged, of the stages and beside them; weights have a test of their own, tests/unit/test_hdf5.py.
_FILES = (
    "*/arch.json",
    "*/config.json",
    "*/metrics.json",
    "*/history.csv",
    "*/steps.json",
    "*.json",
    "export/*.json",
    "debug/*.json",
)
# Beside it a run whose later stages were stopped, and one whose training was.
_STOPPED, _TRAINING = "stopped", "training"
_SESSION = "micro_yolo.pipeline.learn.session"


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
        _stop(base)
        # Once here, so that what is loaded for it is loaded for all.
        with contextlib.suppress(SystemExit), silent():
            _read(base)
        return tally_of(WHAT, config, lambda number: attack(base, copy, number), tally)


def attack(base: Path, target: Path, number: int) -> tuple[str, Ended]:
    """Make run `number` and have it read: what was done to it, and how that ended."""
    source = random.Random(number)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(base, target, symlinks=True)
    found = {path for pattern in _FILES for path in (*target.glob(pattern), *target.glob(f"*/{pattern}"))}
    files = sorted(path for path in found if path.is_file())
    done = []
    for path in source.sample(files, min(len(files), source.choice([1, 1, 2]))):
        does = source.choice(DAMAGE)
        if path.is_file() and does(path, source) is not False:
            done.append(f"{does.__name__.strip('_')} {path.relative_to(target)}")
    return ", ".join(done), tried(lambda: _read(target))


def _stop(run: Path) -> None:
    """Begin each later stage in a copy of a run's training, and have another copy of it be stopped."""
    from micro_yolo.pipeline import prune, qat, search
    from micro_yolo.pipeline.data.fingerprint import content
    from micro_yolo.pipeline.store import runs
    from micro_yolo.pipeline.store.finished import find

    for name in (_STOPPED, _TRAINING):
        shutil.copytree(run / "train", run / name / "train", symlinks=True)
    (run / _TRAINING / "train" / runs.METRICS).unlink()
    trained = find(run / _STOPPED)
    held = content(trained.dataset())
    facts = {**trained.facts(), "content": held, "loss": trained.loss}
    for stage, asked in (("prune", prune.Config()), ("qat", qat.Config())):
        (run / _STOPPED / stage).mkdir()
        table = {"quantization": {"bits": 8, "train": "all"}, "arch": trained.arch.to_json()} if stage == "qat" else {}
        runs.begin(run / _STOPPED / stage, asked, parent=trained.stage, **facts, **table)
    (run / _STOPPED / "search").mkdir()
    config = search.Config(data=trained.data, rows=("l2",), batch=4)
    runs.begin(run / _STOPPED / "search", config, arch=trained.arch.to_json(), **facts)


@contextlib.contextmanager
def _instead(modules: Mapping[str, Any]) -> Iterator[None]:
    """Within it these are what is imported by their names; None cannot be."""
    kept = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in kept.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _refuses(*_: Any, **__: Any) -> None:
    raise ValueError("here it would begin")


def _read(run: Path) -> None:
    """Have all that reads a run without TensorFlow read it, and what goes on with it, which stops where that begins."""
    from micro_yolo.pipeline import evaluate, prune, qat, report, search, summary, train
    from micro_yolo.pipeline.store.finished import find

    ways: tuple[tuple[type[Any], Callable[..., Any], str, list[str]], ...] = (
        (summary.Config, summary.command, summary.PROG, [str(run / "train" / "arch.json")]),
        (report.Config, report.command, report.PROG, ["--run", str(run), "--out", str(run / "page.html")]),
        (evaluate.Config, evaluate.command, evaluate.PROG, ["--model", str(run / "export" / "model_int8.tflite")]),
        (train.Config, train.command, train.PROG, ["--run", str(run / _TRAINING), "--resume"]),
        *(
            (stage.Config, stage.command, stage.PROG, ["--run", str(run / _STOPPED), "--resume"])
            for stage in (prune, qat, search)
        ),
    )
    session = types.ModuleType(_SESSION)
    vars(session).update(dict.fromkeys(("Session", "finish", "isolated", "recorded_loss"), _refuses))
    unloaded = {} if "tensorflow" in sys.modules else {"tensorflow": None}
    status = 0
    for kind, command, prog, args in ways:
        try:
            with _instead({_SESSION: session, **unloaded}):
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
