"""One HTML page that shows a run: data, stages, curves, pruning, int8 errors, sample detections, provenance.

    python -m pipeline.report --run runs/cells

See docs/report.md.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from micro_yolo.model.printable import typed
from micro_yolo.pipeline import curve
from micro_yolo.pipeline.measure.classes import distinct
from micro_yolo.pipeline.page import charts, epochs, findings, mistakes
from micro_yolo.pipeline.page import scores as shown_scores
from micro_yolo.pipeline.page.charts import Series
from micro_yolo.pipeline.page.findings import File
from micro_yolo.pipeline.page.pictures import samples as drawn_samples
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import decibels, points
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Dataset
    from micro_yolo.pipeline.measure.matching import Laid
    from micro_yolo.pipeline.store.finished import Trained

PROG = "python -m pipeline.report"
PAGE = "report.html"
TEMPLATE = "report.html.j2"
# Classes with a chart each; the figures of the others are in the table.
MOST_CHARTS = 12
_TOP_DB = 65.0


@dataclass(frozen=True)
class Config:
    """Write one self-contained HTML page about a run."""

    run: Path | None = None
    """Run to show; by default the newest."""
    data: Path | None = None
    """Labelled images; by default those of the training."""
    samples: int = 6
    """Validation images to show with their boxes."""
    worst: int = 4
    """Validation images to show that have the most mistakes."""
    suspects: int = 12
    """Labels to show that the detector doubts most."""
    out: Path | None = None
    """The page; by default report.html in the run."""
    learning_curve: bool = False
    """Train on ever more of the images first, as pipeline.curve does, to show what more of them would bring."""
    overwrite: bool = False
    """Replace a page that is at --out already."""


@dataclass(frozen=True)
class Reported:
    """The page that was written, and its size in bytes."""

    page: Path
    n_bytes: int


def run(config: Config, show: Show = QUIET) -> Reported:
    """Gather, draw, and write the page.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    from micro_yolo.pipeline.store.finished import find

    for name in ("samples", "worst", "suspects"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name}: must be at least 0, got {getattr(config, name)}")
    if config.out is not None and config.out.exists() and not config.overwrite:
        raise ValueError(f"{config.out}: already exists; allowed: another --out, or --overwrite")
    trained = find(config.run)
    out = config.out or trained.run / PAGE
    runs.check_writable(out.parent)
    if config.learning_curve:
        curve.run(curve.Config(run=trained.run), show)
    import jinja2

    try:
        html = page(trained, config, show)
    # What six commands wrote into the run comes together here, and may be anybody's.
    except (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, jinja2.UndefinedError) as error:
        raise ValueError(
            f"{trained.run}: its records must be as our commands write them, got {type(error).__name__}: "
            f"{str(error)[:160]}; make them again, such as by `python -m pipeline.stages --run {typed(trained.run)}`"
        ) from error
    return Reported(runs.write_atomic(out, html), len(html.encode()))


def page(trained: Trained, config: Config, show: Show = QUIET) -> str:
    """The HTML of a run's page.

    Raises ValueError or OSError for files of the run that cannot be read; that its data set is gone is no error unless
    `config` names it.
    """
    import jinja2

    directory = trained.run
    found = findings.files(directory)
    dataset, absent = _dataset(trained, config.data, show)
    best = findings.shown(found)
    measured = _measured(best, dataset, config, show) if dataset and best else {}
    entries, doubts = findings.table(directory, found)
    errors, stale = findings.layers(directory, found)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "page" / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typed"] = typed
    environment.filters |= {"points": points, "db": decibels, "short": lambda sha256: (sha256 or "")[:12]}
    environment.filters["tojson_plain"] = lambda value: json.dumps(runs.plain(value), indent=2, ensure_ascii=False)
    return environment.get_template(TEMPLATE).render(
        run=directory,
        name=directory.absolute().name,
        trained=trained,
        network=_network(trained),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        files=found,
        best=best,
        stages=entries,
        doubts=doubts,
        data=_data(trained, dataset),
        absent=absent,
        curves=measured.get("curves", {}),
        scores=measured.get("scores", {}),
        misses=measured.get("misses", {}),
        worst=measured.get("worst", []),
        suspects=measured.get("suspects", {}),
        doctor=_doctor(dataset, trained.arch.size, show) if dataset else None,
        training=epochs.stages(directory),
        learning=epochs.learning(directory),
        pruning=_pruning(directory),
        layers=_layers(errors),
        stale=stale,
        samples=measured.get("samples", []),
        edge=findings.edge(directory),
        compile_with=_compile_with(found, directory),
        lineage=findings.lineage(directory),
        versions=runs.provenance(),
    )


def _dataset(trained: Trained, data: Path | None, show: Show) -> tuple[Dataset | None, str]:
    """The data set, or why it is not there."""
    try:
        return trained.dataset(data), ""
    except (ValueError, OSError) as error:
        if data is not None:
            raise
        show.warn(cli.message(error))
        return None, cli.message(error)


def _network(trained: Trained) -> dict[str, Any]:
    from micro_yolo.model.count import count

    total = count(trained.arch)
    return {"params": total.params, "macs": total.macs, "arch": trained.arch.name, "size": trained.arch.size}


def _data(trained: Trained, dataset: Dataset | None) -> dict[str, Any]:
    if dataset is None:
        return {
            "path": trained.data and os.path.normpath(trained.data),
            "names": trained.labels,
            "splits": {},
            "classes": [],
            "problems": 0,
        }
    splits = {
        name: {"images": len(split), "boxes": len(split.classes), "empty": int((np.diff(split.starts) == 0).sum())}
        for name, split in dataset.splits.items()
    }
    counts = {name: np.bincount(split.classes, minlength=len(dataset.names)) for name, split in dataset.splits.items()}
    return {
        "path": os.path.normpath(dataset.root),
        "format": dataset.format,
        "names": dataset.names,
        "splits": splits,
        "classes": [
            {"name": name, "boxes": {split: int(count[number]) for split, count in counts.items()}}
            for number, name in enumerate(dataset.names)
        ],
        "problems": len(dataset.problems),
        "longer_side": int(np.median(dataset.splits["train"].sizes.max(axis=1))),
    }


def _doctor(dataset: Dataset, size: tuple[int, int], show: Show) -> dict[str, Any]:
    """What the data doctor found, with its pictures, and how large objects are at the network's input."""
    from micro_yolo.pipeline.doctor import sizes
    from micro_yolo.pipeline.doctor.html import sections
    from micro_yolo.pipeline.doctor.visit import examine

    checkup = examine(dataset, show)
    return {
        "findings": sections(dataset, checkup),
        "row": sizes.at(dataset, size),
        "recommended": checkup.sizes.recommended,
        "enough": checkup.sizes.enough,
    }


def _compile_with(found: Sequence[File], directory: Path) -> str:
    """The command that asks the edge compilers about the int8 file with grids of the latest stage, or makes that."""
    usable = [file for file in found if file.contract.variant == "int8" and file.contract.head == "raw" and file.stage]
    latest = max(usable, key=lambda file: runs.STAGES.index(file.stage or ""), default=None)
    if latest is None:
        return f"python -m pipeline.convert --run {typed(directory)} --int8 --head raw"
    return f"python -m pipeline.edge {typed(latest.path)} --json {typed(directory / runs.EDGE)}"


def _measured(best: dict[str, File], dataset: Dataset, config: Config, show: Show) -> dict[str, Any]:
    """The sections that are made of detections and images."""
    names = distinct(dataset.names, dataset.category_ids)
    laid = shown_scores.measured(best, dataset)
    found = shown_scores.analysed(best, laid, dataset)
    scores = shown_scores.scores(best, found, names)
    if scores["moved"]:
        show.warn(scores["moved"])
    # The float file doubts labels with the surer eye.
    first = next(iter(best))
    split = laid[first].split
    return {
        "curves": _curves(best, laid, dataset, names),
        "scores": scores,
        "misses": shown_scores.misses(found),
        "worst": mistakes.worst(best, found, laid, names, config.worst, show),
        "suspects": {
            "title": best[first].title,
            "doubts": found[first].doubts,
            "shown": mistakes.doubtful(split, found[first].suspects, config.suspects, show),
        },
        "samples": drawn_samples(best, dataset, config.samples, show),
    }


def _curves(best: dict[str, File], laid: dict[str, Laid], dataset: Dataset, classes: tuple[str, ...]) -> dict[str, Any]:
    """A precision-recall chart per class, and a row of the table per class and file."""
    from micro_yolo.pipeline.measure.metrics import MOST, precision_curves
    from micro_yolo.pipeline.measure.results import read_results

    drawn: dict[str, list[Series]] = {name: [] for name in classes}
    doubts = []
    for colour, (variant, file) in enumerate(best.items()):
        metrics, split = file.metrics or {}, laid[variant].split
        recall, precision = precision_curves(
            split,
            dataset.category_ids,
            read_results(Path(str(file.detections))),
            max(MOST, metrics.get("max_detections", MOST)),
        )
        for number, name in enumerate(classes):
            own, said = precision[:, number], metrics["per_class"].get(name, {}).get("AP50")
            if np.isnan(own).all():
                continue
            if said is None or abs(100 * own.mean() - said) > 0.05:
                doubts.append(f"{file.title}, {name}: measured {points(said)}, here {points(100 * own.mean())}")
            drawn[name].append(
                Series(f"{file.title}, AP50 {100 * own.mean():.1f}", recall.tolist(), own.tolist(), colour)
            )
    boxes = Counter({name: metrics["boxes"] for file in best.values() for name, metrics in _classes(file).items()})
    names = [name for name, _ in boxes.most_common() if drawn.get(name)]
    figures = [
        {
            "name": name,
            "svg": charts.lines(
                drawn[name],
                f"Precision over recall of {name} at IoU 0.5: " + "; ".join(each.name for each in drawn[name]),
                x="recall",
                y="precision",
                x_limits=(0, 1),
                y_limits=(0, 1.02),
            ),
        }
        for name in names[:MOST_CHARTS]
    ]
    rows = [
        {"name": name, "boxes": boxes[name], **{v: _classes(f).get(name) for v, f in best.items()}} for name in names
    ]
    return {"charts": figures, "rows": rows, "doubts": doubts, "left_out": max(0, len(names) - MOST_CHARTS)}


def _classes(file: File) -> dict[str, Any]:
    return (file.metrics or {}).get("per_class", {})


def _pruning(directory: Path) -> dict[str, Any] | None:
    """The path of a progressive pruning: AP50 over parameters and over MACs, and its steps."""
    from micro_yolo.pipeline.learn.cuts import Cuts

    cuts = Cuts.load(directory / "prune")
    if cuts is None:
        return None
    stands = [("unpruned", cuts.unpruned), *((step.unit, step.network) for step in cuts.steps if step.accepted)]
    refused = [(step.unit, step.network) for step in cuts.steps if not step.accepted and step.network.AP50 is not None]
    figures = []
    for key, unit, label in (("params", 1e6, "M parameters"), ("macs", 1e6, "MMAC")):
        series = [
            Series(
                name,
                [getattr(network, key) / unit for _, network in networks],
                [network.AP50 for _, network in networks],
                colour,
                style,
                [f"{unit_name}: AP50 {points(network.AP50)}" for unit_name, network in networks],
            )
            for name, networks, colour, style in (
                ("cut kept", stands, 0, "dots"),
                ("cut refused", refused, 1, "crosses"),
            )
            if networks
        ]
        alt = f"AP50 over {label} along {len(cuts.steps)} cuts, {len(stands) - 1} of them kept"
        figures.append(charts.lines(series, alt, x=label, y="AP50 on validation", falling=True))
    return {"charts": figures, "cuts": cuts, "finished": runs.is_finished(directory / "prune")}


def _layers(errors: dict[str, Any] | None) -> dict[str, Any] | None:
    """The chart of debug.json's layers, beside what it says itself."""
    if errors is None:
        return None
    layers = errors["layers"]

    def heights(key: str) -> list[float]:
        return [_TOP_DB if layer[key] is None else layer[key] for layer in layers]

    worst = [next(layer for layer in layers if layer["name"] == name) for name in errors["worst"]]
    chart = charts.bars(
        [layer["name"] for layer in layers],
        heights("own_snr_db"),
        heights("snr_db"),
        errors["worst"],
        f"Signal to error of {len(layers)} int8 layers in decibels; the worst are {', '.join(errors['worst'][:3])}",
        y="signal to error, dB",
        legend=("the layer's own error", "the worst ten", "with what it inherits"),
        top=_TOP_DB,
    )
    return {**errors, "chart": chart, "worst": worst}


def command(config: Config) -> None:
    """Report and tell."""
    with Screen() as show:
        made = run(config, show)
        show.say(f"wrote {made.page} ({made.n_bytes / 1024:,.0f} KiB): open it in a browser")


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
