"""Where a run's int8 file loses accuracy: layer by layer beside the float32 file, and what comes back in float.

    python -m pipeline.debug --run runs/cells

See docs/debug.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import tyro

from micro_yolo.pipeline.data.sample import sample_images
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import decibels, listing
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.stages import files_of
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import From, find

if TYPE_CHECKING:
    from micro_yolo.tflite.differences import LayerError

PROG = "python -m pipeline.debug"
PICTURE = "debug.png"


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


@dataclass(frozen=True)
class Score:
    """What a file reached.

    Attributes:
        name: float32, int8, or keepN.
        path: of the .tflite.
        kept: layers that it has in float though its others are int8.
        AP: points on validation.
        AP50: points on validation.
    """

    name: str
    path: Path
    kept: tuple[str, ...]
    AP: float
    AP50: float


@dataclass(frozen=True)
class Debugged:
    """Where an int8 file loses accuracy.

    Attributes:
        title: what was compared.
        layers: in the order of the network.
        worst: ten of them, the worst first.
        scores: of the files.
        written: debug.json.
        picture: debug.png.
    """

    title: str
    layers: tuple[LayerError, ...]
    worst: tuple[LayerError, ...]
    scores: tuple[Score, ...]
    written: Path
    picture: Path


def run(config: Config, show: Show = QUIET) -> Debugged:
    """Compare, measure, and write debug/ into the run.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    if config.images < 1 or config.threads < 1:
        raise ValueError(f"images, threads: must be at least 1, got {config.images} and {config.threads}")
    if any(count < 1 for count in config.keep):
        raise ValueError(f"keep: must be at least 1, got {', '.join(map(str, config.keep))}")
    trained = find(config.run, config.from_stage)
    dataset = trained.dataset(config.data)
    out = trained.run / runs.DEBUG
    runs.check_writable(out)
    stage = cast(From, trained.stage.name)
    variants = ("float32", "int8")
    overwrite = config.overwrite
    found = files_of(trained.run, stage, variants, head="raw", data=config.data, overwrite=overwrite, show=show)
    files = dict(zip(variants, found, strict=True))
    images = sample_images(
        dataset.splits["val"],
        config.images,
        trained.arch.size,
        trained.resize,
        unreadable=lambda fault: show.warn(f"not compared on: {fault}"),
    )

    from micro_yolo.tflite import differences

    whole, integer = _pair(files)
    with show.bar(f"comparing {files['int8']}", len(images)) as advance:
        errors = differences.measure_apart(
            whole, integer, images, threads=config.threads, name=files["int8"], advance=advance
        )
    worst = differences.worst(errors, max(10, *config.keep) if config.keep else 10)
    kept = {f"keep{count}": [error.name for error in worst[:count]] for count in sorted(set(config.keep))}
    made = {name: _keep_in_float(files, names, out / f"model_{name}.tflite", name) for name, names in kept.items()}
    scores = [_score(name, path, kept.get(name, ()), config, out, show) for name, path in {**files, **made}.items()]
    worst = worst[:10]
    title = f"{trained.run.name}: int8 against float32, {trained.stage.name}, {len(images)} validation images"

    from micro_yolo.pipeline.show.plots import draw_debug

    picture = draw_debug([asdict(error) for error in errors], [each.name for each in worst], title, out / PICTURE)
    written = runs.write_json(
        out / runs.DEBUGGED,
        {
            "run": trained.run,
            "stage": trained.stage.name,
            "weights_sha256": runs.sha256(trained.stage / runs.WEIGHTS),
            "files": {variant: {"path": path, "sha256": runs.sha256(path)} for variant, path in files.items()},
            "data": dataset.place,
            "images": len(images),
            "layers": errors,
            "worst": [error.name for error in worst],
            "measured": scores,
            "versions": runs.provenance(),
        },
    )
    return Debugged(title, tuple(errors), tuple(worst), tuple(scores), written, picture)


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
        thresholds=None,
    )
    runs.write_together({path: data, contracts.path_of(path): said.to_json().encode()})
    return path


def _score(name: str, path: Path, kept: Sequence[str], config: Config, out: Path, show: Show) -> Score:
    from micro_yolo.pipeline import evaluate

    show.say(f"measuring {path}")
    asked = evaluate.Config(model=path, data=config.data, threads=config.threads, out=out)
    metrics = evaluate.run(asked, show).metrics
    return Score(name, path, tuple(kept), metrics["AP"], metrics["AP50"])


def tell(found: Debugged, show: Show) -> None:
    """What people want to know of it."""
    from rich.markup import escape

    show.say(found.title)
    table = listing("layer", "own dB", "dB", "cosine", "saturated", "unused", "likely cause", words=(0, -1))
    for error in found.worst:
        table.add_row(
            escape(error.name),
            decibels(error.own_snr_db),
            decibels(error.snr_db),
            f"{error.cosine:.4f}",
            f"{error.saturation:.1%}",
            f"{error.unused:.0%}",
            error.cause,
        )
    show.draw(table)
    table = listing("file", "in float", "AP", "AP50", words=(0, 1))
    for score in found.scores:
        table.add_row(score.name, ", ".join(score.kept) or "-", f"{score.AP:.1f}", f"{score.AP50:.1f}")
    show.draw(table)
    show.say(f"wrote {found.written} and {found.picture}")


def command(config: Config) -> None:
    """Debug and tell."""
    with Screen() as show:
        tell(run(config, show), show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
