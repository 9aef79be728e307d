"""How long .tflite files take, measured so that two of them can be compared on a noisy machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tflite import inspect
from tflite.detector import Interpreter


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one inference (the graph alone: no decoding, resizing or suppression).

    Attributes:
        model: the file.
        threads: of the interpreter.
        runs: inferences measured.
        median_ms: half were faster.
        p90_ms: nine of ten were faster.
        min_ms: the fastest.
        ratio: median of the first file with as many threads / this one's: 2 is twice as fast.
        n_bytes: of the file.
    """

    model: str
    threads: int
    runs: int
    median_ms: float
    p90_ms: float
    min_ms: float
    ratio: float
    n_bytes: int


def benchmark(
    models: Sequence[str | Path],
    *,
    threads: Sequence[int] = (1,),
    runs: int = 50,
    warm_up: int = 5,
    advance: Callable[[], None] | None = None,
) -> list[Timing]:
    """Run the models in this process by turns, one inference each, on the same noise image.

    By turns, because what slows the machine for a while then slows all of them alike.

    Args:
        models: .tflite files with one input; a contract is not needed.
        threads: measured one after the other.
        runs: inferences per model and number of threads, after `warm_up` unmeasured ones.
        warm_up: unmeasured inferences.
        advance: called after each round.

    Raises:
        FileNotFoundError: a model is missing.
        ValueError: a model cannot be run, or a count is not positive.
    """
    if runs < 1 or warm_up < 0 or not threads or min(threads) < 1:
        raise ValueError(f"benchmark: runs and threads must be at least 1, got {runs} and {list(threads)}")
    contents = [inspect.read_bytes(path) for path in models]
    timings: list[Timing] = []
    for count in threads:
        interpreters = [
            Interpreter(data, threads=count, name=path) for path, data in zip(models, contents, strict=True)
        ]
        for interpreter in interpreters:
            interpreter.set(_noise(interpreter))
        times = np.zeros((runs, len(models)))
        for number in range(-warm_up, runs):
            for column, interpreter in enumerate(interpreters):
                start = time.perf_counter()
                interpreter.invoke()
                if number >= 0:
                    times[number, column] = 1000 * (time.perf_counter() - start)
            if advance:
                advance()
        medians = np.median(times, axis=0)
        timings += [
            Timing(
                model=str(path),
                threads=count,
                runs=runs,
                median_ms=float(medians[column]),
                p90_ms=float(np.percentile(times[:, column], 90)),
                min_ms=float(times[:, column].min()),
                ratio=float(medians[0] / medians[column]),
                n_bytes=len(contents[column]),
            )
            for column, path in enumerate(models)
        ]
    return timings


def _noise(interpreter: Interpreter) -> np.ndarray:
    shape = interpreter.input_tensor.shape
    return interpreter.quantize(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
