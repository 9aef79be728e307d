"""What one waits for, before and after: each command by turns with another commit's code and with this one's.

    python benchmarks/waiting.py --before 47baf0c --run runs/cells --rounds 3
    python benchmarks/waiting.py --before 47baf0c --run runs/cells --only demo --rounds 1

Prints a line a command: the median seconds of the clock, those of the processor (user and system, of all cores
together, which a busy machine disturbs less), and of the latter's ratios, one a round, the median and the ends. Every
side works on a copy of the run; who goes first changes from round to round. A side that cannot do a command says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUN, FILE, PICTURES = "RUN", "FILE", "PICTURES"
COMMANDS: dict[str, Sequence[str]] = {
    "convert --int8": ("convert", "--run", RUN, "--int8", "--overwrite"),
    "evaluate a run": ("evaluate", "--run", RUN),
    "evaluate a file": ("evaluate", "--model", FILE),
    "predict": ("predict", PICTURES, "--model", FILE, "--overwrite"),
    "stages": ("stages", "--run", RUN),
    "debug": ("debug", "--run", RUN),
    "report": ("report", "--run", RUN),
    "inspect": ("inspect", FILE),
    "edge": ("edge", FILE),
    "benchmark": ("benchmark", FILE),
    "demo": ("demo",),
}
Spent = tuple[float, float]


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A folder with the code of a commit, while the block runs; of a folder, that one."""
    if Path(commit).is_dir():
        yield Path(commit).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "before")
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


def timed(code: Path, words: Sequence[str], work: Path) -> Spent:
    """Seconds of the clock and of the processor that a command takes in a folder. OSError if it fails."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", f"pipeline.{words[0]}", *words[1:]],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise OSError(" ".join(done.stderr.split())[-160:])
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def prepared(name: str, code: Path, work: Path) -> list[str]:
    """The words of a command, once what it reads is there and what it would not make again is gone."""
    file = work / "run" / "export" / "model_int8.tflite"
    if FILE in COMMANDS[name] and not file.exists():
        timed(code, ("convert", "--run", "run", "--int8"), work)
    if name in ("stages", "debug"):
        shutil.rmtree(work / "run" / "export", ignore_errors=True)
    filled = {RUN: "run", FILE: str(file), PICTURES: str(ROOT / "docs")}
    return [filled.get(word, word) for word in COMMANDS[name]]


def by_turns(name: str, sides: dict[str, Path], folder: Path, rounds: int) -> dict[str, list[Spent]]:
    """What each side took in each round."""
    spent: dict[str, list[Spent]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in list(sides)[:: -1 if number % 2 else 1]:
            work = folder / side
            spent[side].append(timed(sides[side], prepared(name, sides[side], work), work))
    return spent


def summed_up(spent: dict[str, list[Spent]]) -> dict[str, Any]:
    """Medians of both sides, and of the ratios of the processor's seconds, one a round."""
    sides = {
        side: dict(zip(("s", "cpu_s"), map(median, zip(*each, strict=True)), strict=True))
        for side, each in spent.items()
    }
    ratios = sorted(before[1] / now[1] for before, now in zip(*spent.values(), strict=True))
    return {**sides, "ratio": median(ratios), "lowest": ratios[0], "highest": ratios[-1]}


def line(found: dict[str, Any]) -> str:
    """What `summed_up` says, in words."""
    sides = "   ".join(f"{found[side]['s']:7.1f} {found[side]['cpu_s']:7.1f}" for side in ("before", "now"))
    return f"{sides}   {found['ratio']:5.2f} ({found['lowest']:.2f} to {found['highest']:.2f})"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="a commit, or a folder with other code of the project")
    parser.add_argument("--run", type=Path, required=True, help="a trained run")
    parser.add_argument("--rounds", type=int, default=3)
    usual = [name for name in COMMANDS if name != "demo"]
    parser.add_argument("--only", nargs="+", default=usual, choices=[*COMMANDS], metavar="COMMAND")
    parser.add_argument("--json", type=Path, help="a file for all that was measured")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    print(f"{'':16} {'before':>15}   {'now':>15}\n{'':16} {'s':>7} {'CPU s':>7}   {'s':>7} {'CPU s':>7}   ratio")
    with checkout(asked.before) as before, tempfile.TemporaryDirectory() as folder:
        sides = {"before": before, "now": ROOT}
        for side in sides:
            shutil.copytree(asked.run, Path(folder, side, "run"), ignore=shutil.ignore_patterns("export", "debug"))
        for name in asked.only:
            try:
                found[name] = summed_up(by_turns(name, sides, Path(folder), asked.rounds))
                told = line(found[name])
            except OSError as error:
                told = f"failed: {error}"
            print(f"{name:16} {told}", flush=True)
    if asked.json is not None:
        measured = {"rounds": asked.rounds, "commands": found}
        asked.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
