"""What each stage of a run cost and gained: its files measured and timed side by side.

    python -m pipeline.stages --run runs/cells

Every finished stage is converted, its files are evaluated on the validation images, and all are timed by turns in one
process. The table is kept as stages.json in the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from micro_yolo.pipeline.card import figures
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import From, find
from micro_yolo.tflite import contract as contracts

if TYPE_CHECKING:
    from rich.table import Table

PROG = "python -m pipeline.stages"
# A stage of quantization-aware training is about its integers.
VARIANTS: dict[From, tuple[str, ...]] = {
    "train": ("float32", "int8"),
    "prune": ("float32", "int8"),
    "qat": ("int8",),
}


@dataclass(frozen=True)
class Config:
    """Convert every stage of a run, and measure and time the files."""

    run: Path | None = None
    """Run to look at; by default the newest."""
    data: Path | None = None
    """Labelled images to measure on; by default those of the training."""
    threads: int = 1
    """Threads of the interpreter, where time is measured."""
    runs: int = 50
    """Timed inferences of each file."""
    overwrite: bool = False
    """Replace files in export/STAGE/ that were made from other weights."""


@dataclass(frozen=True)
class Entry:
    """One file.

    Attributes:
        stage: it was made from.
        variant: of the conversion.
        params: of the network, batch-norm statistics included.
        macs: multiply-accumulates for an image.
        n_bytes: of the file.
        median_ms: of an inference.
        ratio: how many times as fast as the first file.
        AP: points on validation.
        AP50: points on validation.
        path: of the file.
        sha256: of the file.
    """

    stage: str
    variant: str
    params: int
    macs: int
    n_bytes: int
    median_ms: float
    ratio: float
    AP: float
    AP50: float
    path: str
    sha256: str


@dataclass(frozen=True)
class Compared:
    """The files of a run side by side, and stages.json that holds them."""

    entries: tuple[Entry, ...]
    written: Path


def run(config: Config, show: Show = QUIET) -> Compared:
    """Convert, measure, time, and write the table.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    if config.threads < 1 or config.runs < 1:
        raise ValueError(f"threads, runs: must be at least 1, got {config.threads} and {config.runs}")
    directory = runs.resolve_run(config.run)
    stages = [stage for stage in VARIANTS if runs.is_finished(directory / stage)]
    if not stages:
        runs.latest_stage(directory)
    files = [
        (stage, file)
        for stage in stages
        for file in files_of(directory, stage, VARIANTS[stage], data=config.data, overwrite=config.overwrite, show=show)
    ]
    entries = _entries(directory, files, config, show)
    written = runs.write_json(directory / runs.COMPARED, {"stages": entries, "versions": runs.provenance()})
    for _, path in files:
        figures.refresh(path, contracts.load(path), show)
    return Compared(tuple(entries), written)


def files_of(
    directory: Path,
    stage: From,
    variants: Sequence[str],
    *,
    head: Literal["detections", "raw"] = "detections",
    data: Path | None = None,
    overwrite: bool = False,
    show: Show = QUIET,
) -> list[Path]:
    """The files of a stage, converted into export/STAGE/ where they are missing, else left as they are.

    Args:
        directory: of the run.
        stage: a finished one.
        variants: float32, int8, ...
        head: what comes out of them.
        data: labelled images to calibrate on; by default those of the training.
        overwrite: replace files of other weights.
        show: is told what is converted.

    Raises:
        ValueError: as pipeline.convert.
    """
    from micro_yolo.pipeline import convert

    weights = runs.sha256(directory / stage / runs.WEIGHTS)
    export = directory / runs.EXPORT
    places = {variant: _place(export, stage, convert.file_name(variant, head), weights, head) for variant in variants}
    missing = [variant for variant, path in places.items() if not _is_of(path, weights, head)]
    if missing:
        config = convert.Config(
            run=directory,
            from_stage=stage,
            float32="float32" in missing,
            int8="int8" in missing,
            head=head,
            data=data,
            out=export / stage,
            overwrite=overwrite,
        )
        convert.tell(convert.run(config, show), show)
    return list(places.values())


def _place(export: Path, stage: From, name: str, weights: str, head: str) -> Path:
    """Where the file is: in `export` if it was made from this stage, as that of the last one is, else in a folder."""
    return export / name if _is_of(export / name, weights, head) else export / stage / name


def _is_of(path: Path, weights: str, head: str) -> bool:
    if not path.is_file():
        return False
    contract = contracts.load(path)
    return weights in contract.parents.values() and contract.head == head


def _entries(directory: Path, files: list[tuple[From, Path]], config: Config, show: Show) -> list[Entry]:
    from micro_yolo.model.count import count
    from micro_yolo.pipeline import evaluate
    from micro_yolo.tflite.benchmark import benchmark

    scores = []
    for _, path in files:
        show.say(f"measuring {path}")
        out = None if path.parent == directory / runs.EXPORT else path.parent
        scores.append(evaluate.run(evaluate.Config(model=path, data=config.data, out=out), show).metrics)
    timings = benchmark([path for _, path in files], threads=[config.threads], runs=config.runs)
    entries = []
    for (stage, path), score, timing in zip(files, scores, timings, strict=True):
        total = count(find(directory, stage).arch)
        entries.append(
            Entry(
                stage,
                path.stem.removeprefix("model_"),
                total.params,
                total.macs,
                timing.n_bytes,
                timing.median_ms,
                timing.ratio,
                score["AP"],
                score["AP50"],
                str(path),
                score["sha256"],
            )
        )
    return entries


def table(entries: Sequence[Entry]) -> Table:
    """The entries as people read them."""
    found = listing("stage", "file", "params", "MMAC", "KiB", "ms", "speed", "AP", "AP50", words=(0, 1))
    for entry in entries:
        found.add_row(
            entry.stage,
            entry.variant,
            f"{entry.params:,}",
            f"{entry.macs / 1e6:,.1f}",
            f"{entry.n_bytes / 1024:,.0f}",
            f"{entry.median_ms:.2f}",
            f"{entry.ratio:.2f}x",
            f"{entry.AP:.1f}",
            f"{entry.AP50:.1f}",
        )
    return found


def tell(compared: Compared, show: Show) -> None:
    """What people want to know of them."""
    show.draw(table(compared.entries))
    show.say(f"wrote {compared.written}")


def command(config: Config) -> None:
    """Compare and tell."""
    with Screen() as show:
        tell(run(config, show), show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
