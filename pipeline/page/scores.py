"""Scores of a report: where those of each file are best cut, what is taken for what, and why boxes are missed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from micro_yolo.pipeline.measure.analysis import Analysis, analyse
from micro_yolo.pipeline.measure.classes import distinct
from micro_yolo.pipeline.measure.confusion import MOST_CLASSES
from micro_yolo.pipeline.measure.matching import Laid, lay
from micro_yolo.pipeline.measure.misses import KINDS
from micro_yolo.pipeline.measure.results import read_results
from micro_yolo.pipeline.measure.tables import in_words
from micro_yolo.pipeline.page.findings import File
from micro_yolo.tflite.thresholds import moved, said

if TYPE_CHECKING:
    from micro_yolo.pipeline.data import Dataset, Split

_MISTAKES = 10


def measured(best: dict[str, File], dataset: Dataset) -> dict[str, Laid]:
    """For each file what was found on the validation images, beside what is there."""
    return {
        variant: lay(
            measured_split(dataset.splits["val"], file.metrics or {}),
            dataset.category_ids,
            read_results(Path(str(file.detections))),
        )
        for variant, file in best.items()
    }


def measured_split(split: Split, metrics: dict[str, Any]) -> Split:
    """The images that were measured: those that could not be decoded were left out with their boxes."""
    skipped = metrics.get("skipped", [])
    if not skipped:
        return split
    return split.subset([i for i, file in enumerate(split.files) if not any(str(file) in why for why in skipped)])


def analysed(best: dict[str, File], laid: dict[str, Laid], dataset: Dataset) -> dict[str, Analysis]:
    """For each file what its detections tell, at its own threshold."""
    names = distinct(dataset.names, dataset.category_ids)
    return {
        variant: analyse(laid[variant], names, file.contract.size, file.contract.nms.score_threshold)
        for variant, file in best.items()
    }


def scores(best: dict[str, File], found: dict[str, Analysis], names: tuple[str, ...]) -> dict[str, Any]:
    """Thresholds of each class and file, what of them moves from float32 to int8, and confusion matrices."""
    known = {variant: each.thresholds for variant, each in found.items() if each.thresholds}
    far = moved(known["float32"], known["int8"], names) if len(known) == 2 else []
    rows = [
        {"name": name, **{variant: each.classes[number] for variant, each in known.items()}}
        for number, name in enumerate(names)
    ]
    rows = [row for row in rows if any(row[variant] for variant in known)]
    rows.append({"name": "all classes", **{variant: each.all for variant, each in known.items()}})
    return {
        "variants": tuple(known),
        "rows": rows if known else [],
        "far": {name for name, *_ in far},
        "moved": said(far) if far else "",
        # The int8 file first: it is the one that is used.
        "matrices": [_matrix(best[variant], found[variant]) for variant in sorted(best, reverse=True)],
    }


def misses(found: dict[str, Analysis]) -> dict[str, Any]:
    """What each kind of mistake costs each file, and which boxes it finds."""
    lost = {variant: each.misses for variant, each in found.items() if each.misses}
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for variant, each in found.items():
        for group in each.groups:
            groups.setdefault((group.by, group.name), {"boxes": group.boxes})[variant] = group
    return {
        "lost": lost,
        "kinds": [
            {"name": name, "said": said, **{variant: each.kinds[name] for variant, each in lost.items()}}
            for name, said in KINDS.items()
        ],
        "groups": [{"by": by, "name": name, **row} for (by, name), row in groups.items()],
    }


def _matrix(file: File, found: Analysis) -> dict[str, Any]:
    """A confusion matrix as the template draws it."""
    whole = found.confusion
    shown = whole.largest(MOST_CLASSES)
    return {
        "title": file.title,
        "threshold": whole.threshold,
        "labels": shown.labels,
        "counts": shown.matrix.tolist(),
        # By the root, as most mistakes are a small share of a class.
        "tints": (100 * shown.shares**0.5).round().astype(int).tolist(),
        "left_out": len(whole.names) - len(shown.names),
        "mistakes": ", ".join(in_words(*each) for each in whole.mistakes()[:_MISTAKES]),
    }
