"""Compare the speed of .tflite files in one process, by turns, after a warm-up; and what they cost in memory.

    python -m pipeline.benchmark A.tflite B.tflite --threads 1,2,4 --json latency.json --plot latency.png

Times are of the graph alone. The machine's noise hits all files alike: trust the ratio more than the milliseconds.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import lettered, listing
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from rich.table import Table

    from micro_yolo.tflite.adb import DeviceTiming
    from micro_yolo.tflite.benchmark import Footprint, Timing

PROG = "python -m pipeline.benchmark"
WARM_UP = 5
TURNS = 3
MS = "milliseconds of an inference"


@dataclass(frozen=True)
class Config:
    """Compare the speed of .tflite files."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    """Files to compare; ratios are to the first."""
    threads: str = "1"
    """Numbers of threads, such as 1,2,4."""
    runs: int = 50
    """Measured inferences per file and number of threads."""
    xnnpack: Literal["on", "off", "both"] = "on"
    """Whether the runtime may use XNNPACK; off leaves TFLite's own kernels."""
    delegate: str | None = None
    """Shared library of a delegate to measure as well, such as libedgetpu.so.1."""
    delegate_options: str = ""
    """Options of the delegate, such as device=usb,other=1."""
    memory: bool = True
    """Also measure load time and memory, in fresh processes."""
    patience: float = 120.0
    """Give up on a file that shows no sign of life for so many seconds."""
    json: Path | None = None
    """Also write everything to this file."""
    plot: Path | None = None
    """Also draw the times, as a PNG."""
    adb: Path | None = None
    """Measure on the connected Android device instead, with this TFLite benchmark binary (benchmark_model)."""
    adb_serial: str | None = None
    """The device, where several are connected."""
    overwrite: bool = False
    """Replace files that are there."""


@dataclass(frozen=True)
class Speeds:
    """What was measured.

    Attributes:
        timings: here, of each file, number of threads and backend; none if a device was measured.
        footprints: here, in fresh processes; none if they were not asked for.
        device: likewise on an Android device.
        written: --json and --plot.
    """

    timings: tuple[Timing, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    device: tuple[DeviceTiming, ...] = ()
    written: tuple[Path, ...] = ()


def run(config: Config, show: Show = QUIET) -> Speeds:
    """Measure, and write what is asked for. Raises ValueError or OSError for what a user can mend."""
    counts, options = _checked(config)
    found = _here(config, counts, options, show) if config.adb is None else _on_device(config, counts, show)
    written = []
    if config.json is not None:
        if config.adb is not None:
            measured: dict[str, object] = {"device": found.device}
        else:
            measured = {"timings": found.timings, "footprints": found.footprints}
        written.append(runs.write_json(config.json, {**measured, "versions": runs.provenance()}))
    if config.plot is not None:
        from micro_yolo.pipeline.show.plots import draw_latency

        written.append(draw_latency([asdict(timing) for timing in found.timings], config.plot))
    return replace(found, written=tuple(written))


def _checked(config: Config) -> tuple[list[int], dict[str, str]]:
    """Threads and delegate options of a config that can be carried out."""
    from micro_yolo.tflite import inspect

    if not config.models:
        raise ValueError("benchmark: name at least one .tflite")
    counts = config.threads.split(",")
    if not all(count.strip().isdecimal() and int(count) > 0 for count in counts):
        raise ValueError(f"threads: must be numbers like 1,2, got {config.threads!r}")
    if config.runs < 1:
        raise ValueError(f"runs: runs and threads must be at least 1, got {config.runs} and {config.threads}")
    if not config.patience > 0:
        raise ValueError(f"patience: must be above 0, got {config.patience}")
    pairs = [pair.partition("=") for pair in config.delegate_options.split(",") if pair]
    if any(not key or not equals for key, equals, _ in pairs):
        raise ValueError(f"delegate-options: must be like key=value,key=value, got {config.delegate_options!r}")
    if pairs and config.delegate is None:
        raise ValueError("delegate-options: needs --delegate")
    if config.adb is not None and (config.delegate is not None or config.plot is not None):
        raise ValueError("adb: cannot be combined with --delegate or --plot")
    if config.adb_serial is not None and config.adb is None:
        raise ValueError("adb-serial: needs --adb with the benchmark binary")
    for path in (config.json, config.plot):
        if path is not None and path.exists() and not config.overwrite:
            raise ValueError(f"{path}: already exists; allowed: --overwrite, or another name")
    if config.plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError("matplotlib", name="matplotlib")
    for model in config.models:
        inspect.read(model)
    return [int(count) for count in counts], {key: value for key, _, value in pairs}


def _here(config: Config, counts: list[int], options: dict[str, str], show: Show) -> Speeds:
    """Measure on this machine, in processes of their own: a damaged file takes none but its own down."""
    from micro_yolo.tflite import child
    from micro_yolo.tflite.benchmark import FRESH, Timing, footprint
    from micro_yolo.tflite.interpreter import BUILTIN, XNNPACK

    backends = {"on": [XNNPACK], "off": [BUILTIN], "both": [XNNPACK, BUILTIN]}[config.xnnpack]
    backends += [config.delegate] if config.delegate is not None else []
    columns = len(config.models) * len(backends)
    total = len(counts) * columns * (config.runs + WARM_UP) + (columns * FRESH if config.memory else 0)
    with show.bar("measuring", total) as advance:
        told = child.call(
            "micro_yolo.tflite.benchmark:timings_apart",
            name=config.models[0] if len(config.models) == 1 else "benchmark",
            patience=config.patience,
            limit_memory=config.delegate is None,
            advance=advance,
            models=[str(model) for model in config.models],
            threads=counts,
            backends=backends,
            options=options,
            runs=config.runs,
            warm_up=WARM_UP,
        )
        footprints = [
            footprint(
                model,
                threads=counts[0],
                backend=backend,
                options=options,
                patience=config.patience,
                advance=advance,
            )
            for backend in backends
            for model in (config.models if config.memory else ())
        ]
    timings = [Timing(**{**timing, "times_ms": tuple(timing["times_ms"])}) for timing in told]
    return Speeds(tuple(timings), tuple(footprints))


def _on_device(config: Config, counts: list[int], show: Show) -> Speeds:
    from micro_yolo.tflite import adb

    if config.adb is None:
        raise ValueError("adb: needs the benchmark binary")
    if config.xnnpack == "both":
        raise ValueError("xnnpack: must be on or off with --adb, got both")
    with show.bar("measuring on the device", len(counts) * TURNS * len(config.models)) as advance:
        timings = adb.benchmark(
            config.models,
            config.adb,
            serial=config.adb_serial,
            threads=counts,
            xnnpack=config.xnnpack == "on",
            runs=config.runs,
            turns=TURNS,
            timeout=max(config.patience, config.runs),
            advance=advance,
        )
    return Speeds(device=tuple(timings))


def tell(found: Speeds, show: Show) -> None:
    """What people want to know of it."""
    letters = lettered([timing.model for timing in found.timings or found.device])
    sizes = {timing.model: timing.n_bytes for timing in found.timings}
    sizes |= {timing.model: Path(timing.model).stat().st_size for timing in found.device}
    for model, letter in letters.items():
        show.say(f"{letter}  {model} ({sizes[model] / 2**20:.2f} MiB)")
    if found.timings:
        show.draw(_timings(found.timings, letters))
    if found.device:
        show.draw(_device_timings(found.device, letters))
    if found.footprints:
        show.draw(_footprints(found.footprints, letters))


def _timings(timings: Sequence[Timing], letters: Mapping[str, str]) -> Table:
    table = listing("", "threads", "on", "median", "p90", "p99", "min", "spread", "ratio", "(95 %)", title=MS)
    for timing in timings:
        times = (timing.median_ms, timing.p90_ms, timing.p99_ms, timing.min_ms, timing.spread_ms)
        table.add_row(
            letters[timing.model],
            str(timing.threads),
            Path(timing.backend).name[:16],
            *(_digits(value) for value in times),
            f"{timing.ratio:.2f}x",
            f"{timing.ratio_low:.2f}-{timing.ratio_high:.2f}",
        )
    return table


def _device_timings(timings: Sequence[DeviceTiming], letters: Mapping[str, str]) -> Table:
    table = listing("", "threads", "mean ms", "min", "max", "load ms", "MiB", "ratio", title=timings[0].device)
    for timing in timings:
        figures = (timing.mean_ms, timing.min_ms, timing.max_ms, timing.load_ms, timing.memory_bytes / 2**20)
        row = [_digits(value) for value in figures]
        table.add_row(letters[timing.model], str(timing.threads), *row, f"{timing.ratio:.2f}x")
    return table


def _footprints(footprints: Sequence[Footprint], letters: Mapping[str, str]) -> Table:
    table = listing("", "on", "load ms", "first ms", "process MiB", "of the model MiB", title="in a fresh process")
    for each in footprints:
        sizes = (each.load_ms, each.first_ms, each.resident_bytes / 2**20, each.model_bytes / 2**20)
        table.add_row(letters[each.model], Path(each.backend).name[:16], *(f"{value:.1f}" for value in sizes))
    return table


def _digits(ms: float) -> str:
    """Milliseconds in so few characters that a row fits a terminal."""
    return f"{ms:.2f}" if ms < 100 else f"{ms:.1f}"


def command(config: Config) -> None:
    """Measure and tell."""
    with Screen() as show:
        found = run(config, show)
        tell(found, show)
    for path in found.written:
        print(f"wrote {path}", file=sys.stderr)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
