"""What one waits for, before and after: each command in turns in another checkout and in this one.

    git worktree add /tmp/before 47baf0c
    python benchmarks/waiting.py --before /tmp/before --run runs/cells --rounds 3

Prints a line a command: the median seconds of the clock, those of the processor (user and system, of all cores
together, which a busy machine disturbs less), and the ratio of the latter. Every side works on a copy of the run.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

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
}
DEMO = ("demo",)


def timed(checkout: Path, words: Sequence[str], work: Path) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a command of a checkout takes in a folder."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", f"pipeline.{words[0]}", *words[1:]],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="another checkout of the project")
    parser.add_argument("--run", type=Path, required=True, help="a trained run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[*COMMANDS], choices=[*COMMANDS, "demo"], metavar="COMMAND")
    asked = parser.parse_args()
    sides = {"before": asked.before.resolve(), "now": ROOT}
    print(f"{'':16} {'before':>15}   {'now':>15}\n{'':16} {'s':>7} {'CPU s':>7}   {'s':>7} {'CPU s':>7}   ratio")
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            shutil.copytree(asked.run, Path(folder, side, "run"), ignore=shutil.ignore_patterns("export", "debug"))
        for name in asked.only:
            spent: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
            for _ in range(asked.rounds):
                for side, checkout in sides.items():
                    work = Path(folder, side)
                    file = work / "run" / "export" / "model_int8.tflite"
                    if FILE in COMMANDS.get(name, ()) and not file.exists():
                        timed(checkout, ("convert", "--run", "run", "--int8"), work)
                    if name in ("stages", "debug"):
                        # What is converted once is not converted again.
                        shutil.rmtree(work / "run" / "export", ignore_errors=True)
                    filled = {RUN: "run", FILE: str(file), PICTURES: str(ROOT / "docs")}
                    words = [filled.get(word, word) for word in COMMANDS.get(name, DEMO)]
                    spent[side].append(timed(checkout, words, work))
            (s, cpu), (now_s, now_cpu) = (
                [median(column) for column in zip(*spent[side], strict=True)] for side in sides
            )
            print(f"{name:16} {s:7.1f} {cpu:7.1f}   {now_s:7.1f} {now_cpu:7.1f}   {cpu / now_cpu:5.2f}", flush=True)


if __name__ == "__main__":
    main()
