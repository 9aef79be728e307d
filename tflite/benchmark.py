"""How long .tflite files take, measured so that two of them can be compared on a noisy machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import child, inspect
from micro_yolo.tflite.interpreter import BUILTIN, XNNPACK, Interpreter, load_library

RESAMPLES = 2000
FRESH = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one inference (the graph alone: no decoding, resizing or suppression).

    Attributes:
        model: the file.
        threads: of the runtime.
        backend: xnnpack, builtin, or the library of a delegate.
        runs: inferences measured.
        median_ms: half were faster.
        p90_ms: nine of ten were faster.
        p99_ms: 99 of 100 were faster.
        min_ms: the fastest.
        spread_ms: the middle half lies within this (interquartile range).
        ratio: median of the first file on the first backend with as many threads / this one's: 2 is twice as fast.
        ratio_low: lower end of the 95 % confidence interval of the ratio.
        ratio_high: its upper end.
        n_bytes: of the file.
        times_ms: every measured inference in order.
    """

    model: str
    threads: int
    backend: str
    runs: int
    median_ms: float
    p90_ms: float
    p99_ms: float
    min_ms: float
    spread_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    n_bytes: int
    times_ms: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True)
class Footprint:
    """What a file costs a process that runs nothing else.

    Attributes:
        model: the file.
        threads: of the runtime.
        backend: as in Timing.
        load_ms: from the bytes in memory to a runtime ready to run; median of fresh processes.
        first_ms: the first inference; median of fresh processes.
        resident_bytes: memory of the process after an inference, Python and the runtime's library included.
        model_bytes: of those, what came with the model: resident after an inference, less resident before loading.
    """

    model: str
    threads: int
    backend: str
    load_ms: float
    first_ms: float
    resident_bytes: int
    model_bytes: int


def benchmark(
    models: Sequence[str | Path],
    *,
    threads: Sequence[int] = (1,),
    backends: Sequence[str] = (XNNPACK,),
    options: Mapping[str, str] | None = None,
    runs: int = 50,
    warm_up: int = 5,
    advance: Callable[[], None] | None = None,
) -> list[Timing]:
    """Run the models in this process by turns, one inference each, on the same noise.

    By turns, because what slows the machine for a while then slows all of them alike; and each round begins with
    another one, so that none always runs after the same.

    Args:
        models: .tflite files; a contract is not needed.
        threads: measured one after the other.
        backends: each file runs on each, see tflite.interpreter.
        options: of the delegates.
        runs: inferences per file, backend and number of threads, after `warm_up` unmeasured ones.
        warm_up: unmeasured inferences.
        advance: called after each inference.

    Returns:
        By threads, then backend, then model.

    Raises:
        FileNotFoundError: a model is missing.
        ValueError: a model cannot be run, or a count is not positive.
    """
    if runs < 1 or warm_up < 0 or not threads or min(threads) < 1:
        raise ValueError(f"benchmark: runs and threads must be at least 1, got {runs} and {list(threads)}")
    contents = [inspect.read_bytes(path) for path in models]
    timings: list[Timing] = []
    for count in threads:
        columns = [
            (path, data, backend, Interpreter(data, threads=count, backend=backend, options=options, name=path))
            for backend in backends
            for path, data in zip(models, contents, strict=True)
        ]
        for _, _, _, runtime in columns:
            runtime.fill()
        times = np.zeros((runs, len(columns)))
        for number in range(-warm_up, runs):
            for column in np.roll(np.arange(len(columns)), -number):
                start = time.perf_counter()
                columns[column][3].invoke()
                if number >= 0:
                    times[number, column] = 1000 * (time.perf_counter() - start)
                if advance:
                    advance()
        ratios = np.median(times[:, :1], axis=0) / np.median(times, axis=0)
        low, high = interval(times)
        timings += [
            Timing(
                model=str(path),
                threads=count,
                backend=backend,
                runs=runs,
                median_ms=float(np.median(taken)),
                p90_ms=float(np.percentile(taken, 90)),
                p99_ms=float(np.percentile(taken, 99)),
                min_ms=float(taken.min()),
                spread_ms=float(np.subtract(*np.percentile(taken, [75, 25]))),
                ratio=float(ratios[column]),
                ratio_low=float(low[column]),
                ratio_high=float(high[column]),
                n_bytes=len(data),
                times_ms=tuple(taken.tolist()),
            )
            for column, (path, data, backend, _) in enumerate(columns)
            for taken in [times[:, column]]
        ]
    return timings


def interval(times: np.ndarray, *, confidence: float = 0.95, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Confidence interval of median(first column) / median(column), from `times` (rounds, columns).

    A moving-block bootstrap (Künsch 1989): whole rounds are drawn, as what slows one file slows those beside it, and
    in blocks of neighbours, as what slows a round slows the next.

    Returns:
        Lower and upper ends, one per column.
    """
    rounds = len(times)
    length = max(1, round(rounds ** (1 / 3)))
    random = np.random.default_rng(seed)
    starts = random.integers(0, rounds - length + 1, (RESAMPLES, -(-rounds // length)))
    drawn = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)[:, :rounds]
    medians = np.stack([np.median(column[drawn], axis=1) for column in times.T], axis=1)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(medians[:, :1] / medians, [tail, 100 - tail], axis=0)
    return low, high


def timings_apart(*, advance: Callable[[], None], **arguments: Any) -> list[dict[str, Any]]:
    """`benchmark` for tflite.child."""
    return [asdict(timing) for timing in benchmark(advance=advance, **arguments)]


def footprint(
    model: str | Path,
    *,
    threads: int = 1,
    backend: str = XNNPACK,
    options: Mapping[str, str] | None = None,
    patience: float = child.PATIENCE,
    advance: Callable[[], None] | None = None,
) -> Footprint:
    """Measure load time and memory in FRESH processes of their own, one after the other. Raises as `benchmark`."""
    found = [
        child.call(
            "micro_yolo.tflite.benchmark:load_once",
            name=model,
            patience=patience,
            limit_memory=backend in (XNNPACK, BUILTIN),
            advance=advance,
            model=str(model),
            threads=threads,
            backend=backend,
            options=dict(options or {}),
        )
        for _ in range(FRESH)
    ]
    load, first, resident, before = np.median(np.array(found), axis=0).tolist()
    return Footprint(str(model), threads, backend, load, first, int(resident), int(max(0, resident - before)))


def load_once(
    *, model: str, threads: int, backend: str, options: Mapping[str, str], advance: Callable[[], None]
) -> tuple[float, float, int, int]:
    """Milliseconds to load and of the first inference, bytes resident after and before both; for tflite.child."""
    # So that the library's own start is not taken for the model's.
    load_library()
    data = inspect.read_bytes(model)
    inspect.read(data, model)
    before = resident_bytes()
    runtime = Interpreter(data, threads=threads, backend=backend, options=options, name=model)
    advance()
    runtime.fill()
    begun = time.perf_counter()
    runtime.invoke()
    return runtime.load_ms, 1000 * (time.perf_counter() - begun), resident_bytes(), before


def resident_bytes() -> int:
    """Memory of this process that is in the machine's; on systems that do not tell, the most it ever was."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
