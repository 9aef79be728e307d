"""Compare the speed of .tflite files in one process, by turns, after a warm-up.

    python -m pipeline.benchmark A.tflite B.tflite --threads 1,2

Times are of the graph alone. The machine's noise hits all files alike: trust the ratio more than the milliseconds.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from pipeline import cli, runs

if TYPE_CHECKING:
    from tflite.benchmark import Timing

PROG = "python -m pipeline.benchmark"
WARM_UP = 5


@dataclass(frozen=True)
class Config:
    """Compare the speed of .tflite files."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    """Files to compare; ratios are to the first."""
    threads: str = "1"
    """Numbers of threads, such as 1,2,4."""
    runs: int = 50
    """Measured inferences per file and number of threads."""
    json: Path | None = None
    """Also write the times to this file."""
    overwrite: bool = False
    """Replace that file."""


def run(config: Config) -> list[Timing]:
    """Measure, print a table, and return the times. Raises ValueError or OSError for what a user can mend."""
    from rich.console import Console
    from rich.progress import Progress

    from tflite.benchmark import benchmark

    if not config.models:
        raise ValueError("benchmark: name at least one .tflite")
    counts = config.threads.split(",")
    if not all(count.strip().isdecimal() and int(count) > 0 for count in counts):
        raise ValueError(f"threads: must be numbers like 1,2, got {config.threads!r}")
    if config.json is not None and config.json.exists() and not config.overwrite:
        raise ValueError(f"{config.json}: already exists; allowed: --overwrite, or another name")
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("measuring", total=len(counts) * (config.runs + WARM_UP))
        timings = benchmark(
            config.models,
            threads=[int(count) for count in counts],
            runs=config.runs,
            warm_up=WARM_UP,
            advance=lambda: progress.advance(task),
        )
    _show(timings)
    if config.json is not None:
        times = {"timings": [asdict(timing) for timing in timings], "versions": runs.provenance()}
        print(f"wrote {runs.write_json(config.json, times)}", file=sys.stderr)
    return timings


def _show(timings: list[Timing]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("file", "MiB", "threads", "median ms", "p90 ms", "min ms", "ratio")
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    for timing in timings:
        table.add_row(
            escape(timing.model),
            f"{timing.n_bytes / 2**20:.2f}",
            str(timing.threads),
            *(f"{value:.2f}" for value in (timing.median_ms, timing.p90_ms, timing.min_ms)),
            f"{timing.ratio:.2f}x",
        )
    Console().print(table)


def main() -> None:
    """The command line."""
    cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
