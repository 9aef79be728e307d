"""One of our commands that trains, some steps at a time: a side of `benchmarks/training.py`.

    python benchmarks/metronome.py train --data PATH --size 320

Reads from stdin how many steps to train, trains so many, and answers with a line of JSON: `images_per_second`, over
steps alone (neither evaluations nor what begins an epoch count), and `peak_mib`, of memory since the start. Ends with
its stdin. It imports whichever micro_yolo is found first, so that it can measure another version.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Mapping

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.screen import Show

# After a pause, and where an epoch begins, the first steps take what lay ready or wait for what does not yet.
SKIPPED = 2


class Metronome(Show):
    """Lets a training go on by as many steps as it is told to."""

    def __init__(self, batch: int, answers: int) -> None:
        self._batch, self._answers = batch, answers
        self._wanted = self._skipped = 0
        self._seconds: list[float] = []
        self._last = 0.0

    def step(self, epoch: int, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """One batch is done."""
        now = time.perf_counter()
        if step == 1:
            self._skipped = 0
        if self._skipped >= SKIPPED:
            self._seconds.append(now - self._last)
        self._skipped += 1
        if len(self._seconds) >= self._wanted:
            self._answer_and_wait()
            now = time.perf_counter()
        self._last = now

    def _answer_and_wait(self) -> None:
        if self._seconds:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answer = {
                "images_per_second": len(self._seconds) * self._batch / sum(self._seconds),
                "peak_mib": peak / (1 << 20 if sys.platform == "darwin" else 1 << 10),
            }
            os.write(self._answers, (json.dumps(answer) + "\n").encode())
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        self._wanted, self._skipped, self._seconds = int(line), 0, []


def main() -> None:
    """Train as the command line says."""
    stage = importlib.import_module(f"micro_yolo.pipeline.{sys.argv[1]}")
    # Only answers go to stdout.
    answers = os.dup(1)
    os.dup2(2, 1)
    config = cli.parse(stage.Config, prog=sys.argv[1], args=sys.argv[2:])
    stage.run(config, Metronome(config.batch, answers))


if __name__ == "__main__":
    main()
