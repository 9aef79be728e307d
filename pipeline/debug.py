"""Where a run's int8 file loses accuracy: layer by layer beside the float32 file, and what comes back in float.

    python -m pipeline.debug --run runs/cells

See docs/debug.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing
from micro_yolo.pipeline.stages import files_of
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import From, Trained, find

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.tflite.debugger import LayerError

PROG = "python -m pipeline.debug"
DEBUG = "debug"
RESULT = "debug.json"
PICTURE = "debug.png"
_EXACT_DB = 100


@dataclass(frozen=True)
class Config:
    """Compare the int8 file of a run with its float32 file, layer by layer."""

    run: Path | None = None
    """Run to look at; by default the newest."""
    from_stage: Annotated[From | None, tyro.conf.arg(name="from")] = None
    """Stage of the run; by default the most finished."""
    data: Path | None = None
    """Labelled images; by default those of the training."""
    images: int = 32
    """Validation images that the layers are compared on."""
    keep: tuple[int, ...] = (1, 3, 10)
    """How many of the worst layers to keep in float; each is a file, and its AP is measured."""
    threads: int = 1
    """Threads of the interpreters."""
    overwrite: bool = False
    """Replace files in export/STAGE/ that were made from other weights."""


def run(config: Config) -> Path:
    """Compare, measure, print, write debug/ into the run, and return the path of its JSON.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    if config.images < 1 or config.threads < 1:
        raise ValueError(f"images, threads: must be at least 1, got {config.images} and {config.threads}")
    if any(count < 1 for count in config.keep):
        raise ValueError(f"keep: must be at least 1, got {', '.join(map(str, config.keep))}")
    trained = find(config.run, config.from_stage)
    dataset = trained.dataset(config.data)
    out = trained.run / DEBUG
    runs.check_writable(out)
    stage = cast(From, trained.stage.name)
    variants = ("float32", "int8")
    found = files_of(trained.run, stage, variants, head="raw", data=config.data, overwrite=config.overwrite)
    files = dict(zip(variants, found, strict=True))
    images = _images(dataset, trained, config.images)

    from micro_yolo.tflite import debugger

    whole, integer = _pair(files)
    with _progress(f"comparing {files['int8']}", len(images)) as advance:
        errors = debugger.measure(whole, integer, images, threads=config.threads, advance=advance)
    most = max(10, *config.keep) if config.keep else 10
    worst = debugger.worst(errors, most)
    kept = {f"keep{count}": [error.name for error in worst[:count]] for count in sorted(set(config.keep))}
    made = {name: _keep_in_float(files, names, out / f"model_{name}.tflite", name) for name, names in kept.items()}
    measured = []
    for name, path in {**files, **made}.items():
        metrics = _measure(path, config, out)
        measured.append(
            {"name": name, "path": path, "kept": kept.get(name, []), "AP": metrics["AP"], "AP50": metrics["AP50"]}
        )
    from micro_yolo.pipeline.show.plots import draw_debug

    title = f"{trained.run.name}: int8 against float32, {trained.stage.name}, {len(images)} validation images"
    draw_debug([asdict(error) for error in errors], [error.name for error in worst[:10]], title, out / PICTURE)
    written = runs.write_json(
        out / RESULT,
        {
            "run": trained.run,
            "stage": trained.stage.name,
            "weights_sha256": runs.sha256(trained.stage / runs.WEIGHTS),
            "files": {variant: {"path": path, "sha256": runs.sha256(path)} for variant, path in files.items()},
            "data": dataset.root.absolute(),
            "images": len(images),
            "layers": errors,
            "worst": [error.name for error in worst[:10]],
            "measured": measured,
            "versions": runs.provenance(),
        },
    )
    _show(title, worst[:10], measured)
    print(f"wrote {written} and {out / PICTURE}")
    return written


def _images(dataset: Dataset, trained: Trained, count: int) -> list[np.ndarray]:
    """Validation images as the network sees them, drawn by a fixed seed."""
    split = dataset.splits["val"]
    found = []
    for index in np.random.default_rng(0).permutation(len(split))[:count].tolist():
        try:
            found.append(split.picture(index, trained.arch.size, trained.resize)[0])
        except ValueError as error:
            print(f"warning: not compared on: {error}", file=sys.stderr)
    if not found:
        raise ValueError(f"{dataset.root}: no validation image can be read; `python -m pipeline.data {dataset.root}`")
    return found


def _pair(files: dict[str, Path]) -> tuple[bytes, bytes]:
    """The float32 and the int8 file; if only the gates of the latter average by a pool, those of the former too."""
    from micro_yolo.tflite import inspect, squeeze

    whole, integer = files["float32"].read_bytes(), files["int8"].read_bytes()
    pools = ["AVERAGE_POOL_2D" in inspect.read(data).op_counts() for data in (whole, integer)]
    return (squeeze.pooled(whole) if pools == [False, True] else whole), integer


def _keep_in_float(files: dict[str, Path], names: Sequence[str], path: Path, variant: str) -> Path:
    """Write the int8 file with these layers in float, and a contract of its own."""
    from micro_yolo.tflite import contract as contracts
    from micro_yolo.tflite import twins

    whole, integer = _pair(files)
    chosen = [layer for layer in twins.match(whole, integer) if layer.name in names]
    data = twins.instead(whole, integer, chosen)
    contract = contracts.load(files["int8"])
    said = replace(
        contract,
        variant=variant,
        model_sha256=hashlib.sha256(data).hexdigest(),
        parents={variant: runs.sha256(file) for variant, file in files.items()},
    )
    runs.write_atomic(path, data)
    runs.write_atomic(contracts.path_of(path), said.to_json())
    return path


def _measure(path: Path, config: Config, out: Path) -> dict[str, Any]:
    from micro_yolo.pipeline import evaluate

    print(f"measuring {path}", flush=True)
    # The table of this command says all that matters here.
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluate.run(evaluate.Config(model=path, data=config.data, threads=config.threads, out=out))


def _progress(title: str, total: int) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)

    @contextlib.contextmanager
    def bar() -> Any:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(title, total=total)
            yield lambda: progress.advance(task)

    return bar()


def decibels(value: float | None) -> str:
    """A signal to error ratio for people: above 100 dB there is only float32's own rounding."""
    return "-" if value is None else "exact" if value > _EXACT_DB else f"{value:.1f}" if math.isfinite(value) else "-"


def _show(title: str, worst: Sequence[LayerError], measured: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    console.print(escape(title), soft_wrap=True)
    table = listing("layer", "own dB", "dB", "cosine", "saturated", "unused", "likely cause", words=(0, -1))
    for error in worst:
        table.add_row(
            escape(error.name),
            decibels(error.own_snr_db),
            decibels(error.snr_db),
            f"{error.cosine:.4f}",
            f"{error.saturation:.1%}",
            f"{error.unused:.0%}",
            error.cause,
        )
    console.print(table)
    table = listing("file", "in float", "AP", "AP50", words=(0, 1))
    for row in measured:
        table.add_row(row["name"], ", ".join(row["kept"]) or "-", f"{row['AP']:.1f}", f"{row['AP50']:.1f}")
    console.print(table)


def main() -> None:
    """The command line."""
    cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
