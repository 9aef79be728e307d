"""What a side of the training benchmark answers, with time as it is told."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import metronome


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_steps_alone_are_timed(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(metronome.time, "perf_counter", lambda: clock)
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n4\n9\n"))
    side = metronome.Metronome(batch=8, answers=pipe[1])
    # Seconds before each step of three epochs: what begins one takes long, and is not counted.
    for epoch in (1, 2, 3):
        for step, seconds in enumerate((60.0, 30.0, 0.5, 0.5, 0.25), 1):
            clock += seconds
            side.step(epoch, step, 5, {})
    lines = os.read(pipe[0], 4096).decode().splitlines()
    answers = [json.loads(line) for line in lines]
    # Behind the wait at the very first step, two steps are skipped: 0.5; then 0.25 of the epoch and more of the next.
    assert [answer["images_per_second"] for answer in answers] == pytest.approx(
        [8 / 0.5, 4 * 8 / (0.5 + 0.5 + 0.25 + 0.5)]
    )
    assert all(answer["peak_mib"] > 1 for answer in answers)
