"""Average precision by pycocotools, of a run or of any exported .tflite, through the same code.

    python -m pipeline.evaluate --run runs/cells
    python -m pipeline.evaluate --model runs/cells/export/model_int8.tflite --data PATH

See docs/evaluate.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import points
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.finished import From, find

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Dataset, Split
    from micro_yolo.pipeline.measure.analysis import Analysis
    from micro_yolo.pipeline.measure.finders import ForeignFile, OurFile, Predictor
    from micro_yolo.tflite.contract import Contract

PROG = "python -m pipeline.evaluate"


@dataclass(frozen=True)
class Config:
    """Measure average precision on labelled images."""

    run: Path | None = None
    """Run to measure (its Keras model); by default the newest."""
    from_stage: Annotated[From | None, tyro.conf.arg(name="from")] = None
    """Stage of the run; by default the most finished."""
    model: Path | None = None
    """A .tflite to measure instead."""
    data: Path | None = None
    """Labelled images; by default those of the training."""
    split: str | None = None
    """Which images: train, val, test if it has one, or all if it has no splits of its own, which is the default for one
    that is not the training's; else val."""
    batch: int = 16
    """Images a step (a .tflite takes one)."""
    threads: int = 1
    """Threads of the .tflite interpreter."""
    iou: float | None = None
    """Of two boxes of a class that overlap more than this the weaker goes; by default the contract's."""
    max_detections: int | None = None
    """Detections of a picture that count, the best; by default the contract's, else 100."""
    tiles: bool = False
    """Look at overlapping windows of each picture too, as pipeline.predict --tiles."""
    tile_side: int | None = None
    """With --tiles: side of a window, in pixels of the picture; by default the model's input."""
    out: Path | None = None
    """Folder for coco_, metrics_, confusion_ and suspects_NAME.json; by default the run's."""
    json: bool = False
    """Print the metrics as JSON instead of tables."""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What was measured.

    Attributes:
        metrics: as metrics_NAME.json has them, NaN where there is no ground truth.
        written: coco_NAME.json, metrics_NAME.json, confusion_NAME.json and .png, suspects_NAME.json; none if they are
            not kept.
        analysis: what the detections tell.
    """

    metrics: dict[str, Any]
    written: tuple[Path, ...]
    analysis: Analysis

    @property
    def AP(self) -> float:
        """COCO's mean over IoU 0.50:0.95, in points."""
        return float(self.metrics["AP"])

    @property
    def AP50(self) -> float:
        """At IoU 0.50, in points."""
        return float(self.metrics["AP50"])

    def __repr__(self) -> str:
        return f"Evaluation(AP={self.AP:.1f}, AP50={self.AP50:.1f}, images={self.metrics['images']})"


@dataclass(frozen=True)
class _Subject:
    """What is measured, whatever it is made of.

    `where` is what it is of, for messages; `contract` that of a file of ours; `least_score` what somebody else's file
    does not drop by itself; `known` says that it may have learned from the data set.
    """

    name: str
    where: Path
    title: str
    sha256: str
    predictor: Predictor
    dataset: Dataset
    out: Path | None
    contract: Contract | None = None
    least_score: float | None = None
    known: bool = True


def run(config: Config, show: Show = QUIET) -> Evaluation:
    """Measure, and write the results beside the run.

    Raises ValueError or OSError, in one line, for what a user can mend.
    """
    if config.batch < 1 or config.threads < 1:
        raise ValueError(f"batch, threads: must be at least 1, got {config.batch} and {config.threads}")
    if config.iou is not None and not 0 <= config.iou <= 1:
        raise ValueError(f"iou: must be in 0..1, got {config.iou}")
    if config.model is not None and (config.run is not None or config.from_stage is not None):
        raise ValueError("--model measures a file, --run a Keras model: allowed is one of them")
    if config.max_detections is not None and config.max_detections < 1:
        raise ValueError(f"max_detections: must be at least 1, got {config.max_detections}")
    subject = _keras(config, show) if config.model is None else _file(config, config.model)
    dataset, facts = subject.dataset, subject.predictor.facts
    name, split = _split(subject, config.split)
    from micro_yolo.pipeline.data.beyond import beyond
    from micro_yolo.pipeline.data.fingerprint import changed_since

    classes, compared = _compared(subject)
    # What a run keeps is of its own classes.
    out = subject.out if compared is None else config.out
    if out is not None:
        runs.check_writable(out)
    had = subject.contract.data.content if subject.contract is not None and config.data is None else {}
    for warning in (dataset.warning(), beyond(dataset, facts.max_detections), changed_since(dataset, had)):
        if warning:
            show.warn(warning)
    if compared and compared["missing"]:
        missing = compared["missing"]
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        show.warn(f"{subject.where} knows no {', '.join(missing[:10])}{more}: their boxes count as missed")
    if subject.least_score is not None and subject.least_score > facts.score_threshold:
        least = subject.least_score
        show.warn(f"{subject.where} drops what scores below {least:g} by itself, which lowers its average precision")
    from micro_yolo.pipeline.measure.analysis import analyse
    from micro_yolo.pipeline.measure.classes import distinct
    from micro_yolo.pipeline.measure.matching import lay
    from micro_yolo.pipeline.measure.metrics import look, measured
    from micro_yolo.pipeline.measure.tiles import looking

    predictor, window = looking(subject.predictor, config.tiles, config.tile_side)
    with show.bar(f"{subject.title}, {name}", len(split)) as advance:
        seen = look(predictor, split, dataset, classes=classes, advance=advance)
    for message in seen.skipped:
        show.warn(f"left out of the measurement: {message}")
    names = distinct(dataset.names, dataset.category_ids)
    laid = lay(seen.split, dataset.category_ids, seen.results)
    own = subject.contract.nms.score_threshold if subject.contract else None
    analysis = analyse(laid, names, facts.size, own)
    if config.model is not None and subject.contract is not None:
        _warn_of_moved(config.model, subject.contract, show)
    metrics = {
        "model": subject.title,
        "sha256": subject.sha256,
        "data": dataset.place,
        "split": name,
        "size": facts.size,
        "resize": facts.resize,
        "iou_threshold": facts.iou_threshold,
        **({"threads": config.threads} if config.model is not None else {}),
        "max_detections": facts.max_detections,
        **({"window": window} if window else {}),
        **_said(subject, compared),
        **(measures := measured(seen, dataset, facts.max_detections)),
        **(_known(measures, compared["missing"]) if compared else {}),
        **analysis.metrics(),
        "versions": runs.provenance(),
    }
    written = []
    if out is not None:
        parts = (subject.name, name if name != "val" else "", "tiles" if window else "")
        suffix = "_".join(filter(None, parts))
        written.append(seen.results.write(out / f"coco_{suffix}.json"))
        written.append(runs.write_json(out / f"metrics_{suffix}.json", metrics))
        title = f"{suffix}: scores above {analysis.least:g}, IoU 0.5"
        written.extend(analysis.write(out, suffix, title))
        if config.model is not None and subject.contract is not None:
            from micro_yolo.pipeline.card import figures

            contract = replace(subject.contract, model_sha256=subject.sha256)
            figures.refresh(config.model, contract, show, out=out)
    return Evaluation(metrics, tuple(written), analysis)


def _split(subject: _Subject, asked: str | None) -> tuple[str, Split]:
    """Name and images of the split to measure. ValueError if there is none of that name."""
    from micro_yolo.pipeline.data.splits import ALL

    dataset = subject.dataset
    name = asked or (ALL if dataset.seeded and not subject.known else "val")
    if name == ALL and dataset.seeded:
        return name, dataset.undivided()
    if name not in dataset.splits:
        allowed = ", ".join((*dataset.splits, *([ALL] if dataset.seeded else [])))
        raise ValueError(f"split: {dataset.root} has no {name!r}; allowed: {allowed}")
    return name, dataset.splits[name]


def _keras(config: Config, show: Show) -> _Subject:
    trained = find(config.run, config.from_stage)
    dataset = trained.dataset(config.data, by_name=True, warn=show.warn)
    from micro_yolo.model.heads import head_of
    from micro_yolo.pipeline.data.fingerprint import is_that, sums
    from micro_yolo.pipeline.learn.loop import keras_predict
    from micro_yolo.pipeline.measure.finders import Facts, GridPredictor
    from micro_yolo.pipeline.measure.metrics import SCORE_THRESHOLD
    from micro_yolo.tflite.contract import Nms

    iou = Nms().iou_threshold if config.iou is None else config.iou
    arch, most = trained.arch, config.max_detections or Nms.max_detections
    facts = Facts(arch.size, trained.resize, SCORE_THRESHOLD, iou, most)
    predict = keras_predict(trained.weighted())
    return _Subject(
        name=trained.stage.name,
        where=trained.stage,
        title=f"{trained.stage} ({arch.name}, Keras)",
        sha256=runs.sha256(trained.stage / runs.WEIGHTS),
        predictor=GridPredictor(predict, arch.detections, trained.labels, facts, config.batch, head_of(arch).coding),
        dataset=dataset,
        out=config.out or trained.run,
        known=config.data is None
        or is_that(dataset, sums(trained.content), str(trained.data) if trained.data else None),
    )


def _file(config: Config, path: Path) -> _Subject:
    from micro_yolo.pipeline.measure.finders import OurFile, open_file
    from micro_yolo.pipeline.measure.metrics import SCORE_THRESHOLD

    predictor = open_file(
        path, score=SCORE_THRESHOLD, iou=config.iou, threads=config.threads, most=config.max_detections
    )
    return _ours(config, path, predictor) if isinstance(predictor, OurFile) else _theirs(config, path, predictor)


def _ours(config: Config, path: Path, predictor: OurFile) -> _Subject:
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.data.fingerprint import is_that

    contract = predictor.detector.contract
    data = config.data or (Path(contract.data.path) if contract.data.path else None)
    if data is None:
        raise ValueError(f"{path}: its contract names no data set; pass --data PATH")
    if not data.exists():
        raise FileNotFoundError(f"{data}: no such data set; pass --data PATH")
    dataset = load(data, val_fraction=contract.data.val_fraction, seed=contract.data.seed)
    return _Subject(
        name=path.stem.removeprefix("model_") if path.stem.startswith("model_") else contract.variant,
        where=path,
        title=f"{path} ({contract.arch}, {contract.variant})",
        sha256=predictor.sha256,
        predictor=predictor,
        dataset=dataset,
        out=config.out or (path.absolute().parent.parent if path.absolute().parent.name == runs.EXPORT else None),
        contract=contract,
        known=config.data is None or is_that(dataset, contract.data.content, contract.data.path),
    )


def _theirs(config: Config, path: Path, predictor: ForeignFile) -> _Subject:
    from micro_yolo.pipeline.data import load

    if config.data is None:
        raise ValueError(f"{path}: is not of ours and names no data set; pass --data PATH")
    return _Subject(
        name=path.stem.removeprefix("model_"),
        where=path,
        title=f"{path} (somebody else's)",
        sha256=predictor.sha256,
        predictor=predictor,
        dataset=load(config.data),
        out=config.out,
        least_score=predictor.foreign.least_score,
    )


def _compared(subject: _Subject) -> tuple[dict[int, int] | None, dict[str, Any] | None]:
    """`classes` of `measure_split`, and how they were taken; None twice if the model's are the data set's.

    Raises ValueError if they have none in common.
    """
    from micro_yolo.pipeline.measure.classes import distinct, matched

    dataset, labels = subject.dataset, tuple(subject.predictor.labels)
    if labels == tuple(dataset.names) and subject.least_score is None:
        return None, None
    classes = matched(labels, dataset.names)
    if not classes:
        known = ", ".join(labels)[:120] or "no names, as there is no one text file behind the model"
        raise ValueError(
            f"{subject.where}: has none of the classes of {dataset.root}, which are {', '.join(dataset.names)[:120]}; "
            f"its own: {known}"
        )
    ours, names = distinct(labels), distinct(dataset.names, dataset.category_ids)
    found = set(classes.values())
    return classes, {
        "classes": {ours[own]: names[number] for own, number in classes.items()},
        "left_out": len(labels) - len(classes),
        "missing": [name for number, name in enumerate(names) if number not in found],
    }


def _said(subject: _Subject, compared: dict[str, Any] | None) -> dict[str, Any]:
    """What the metrics say of `compared`, of somebody else's file under the name it has there."""
    if compared is None:
        return {}
    if subject.least_score is None:
        return {"compared": compared}
    return {"foreign": {**compared, "least_score": subject.least_score}}


def _known(metrics: dict[str, Any], missing: list[str]) -> dict[str, Any]:
    """AP and AP50 of the classes that the model knows, if there are others."""
    rows = [row for name, row in metrics["per_class"].items() if name not in missing and row["boxes"]]
    if not missing or not rows:
        return {}
    return {"known": {name: sum(row[name] for row in rows) / len(rows) for name in ("AP", "AP50")}}


def _warn_of_moved(path: Path, contract: Contract, show: Show) -> None:
    """Of thresholds that are others in the float32 file beside an int8 file, or the other way round."""
    from micro_yolo.tflite import contract as contracts
    from micro_yolo.tflite import thresholds

    pair = ("float32", "int8")
    if contract.variant not in pair or contract.variant not in path.name:
        return
    try:
        read = [contracts.load(path.with_name(path.name.replace(contract.variant, variant))) for variant in pair]
    except (ValueError, OSError):
        return
    whole, integer = read
    if whole.parents != integer.parents or whole.thresholds is None or integer.thresholds is None:
        return
    if moved := thresholds.moved(whole.thresholds, integer.thresholds, contract.labels):
        show.warn(thresholds.said(moved))


def tell(found: Evaluation, show: Show) -> None:
    """What people want to know of it."""
    from micro_yolo.pipeline.data.splits import ALL
    from micro_yolo.pipeline.measure import tables

    metrics = found.metrics
    which = "all, as it has no splits of its own" if metrics["split"] == ALL else metrics["split"]
    show.say(f"{metrics['model']}: {metrics['images']} images of {metrics['data']} ({which})")
    if compared := metrics.get("foreign") or metrics.get("compared"):
        show.say(
            f"classes matched by name: {len(compared['classes'])}; left out: {compared['left_out']}, "
            f"with {metrics['detections_left_out']} detections"
        )
        if known := metrics.get("known"):
            n = len(metrics["per_class"]) - len(compared["missing"])
            show.say(f"of the {n} classes that it knows: AP {points(known['AP'])}, AP50 {points(known['AP50'])}")
    show.draw(tables.totals(metrics))
    show.draw(tables.classes(metrics))
    if mistakes := tables.mistakes(found.analysis.confusion):
        show.say(f"at scores above {found.analysis.least:g}: {mistakes}")
    if found.analysis.misses is not None:
        show.draw(tables.misses(found.analysis.misses))
    show.draw(tables.groups(found.analysis.groups))
    if doubts := found.analysis.doubts:
        kinds = ", ".join(f"{count} {kind}" for kind, count in doubts.items())
        show.say(f"labels in doubt: {kinds}; the most doubtful are shown by `python -m pipeline.report`")
    written = ", ".join(map(str, found.written))
    show.say(f"wrote {written}" if written else "not kept; --out FOLDER keeps the results")


def command(config: Config) -> None:
    """Measure and tell."""
    with Screen() as show:
        found = run(config, show)
        if config.json:
            print(json.dumps(runs.plain(found.metrics), indent=2, ensure_ascii=False))
        else:
            tell(found, show)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
