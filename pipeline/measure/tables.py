"""What was measured, as people read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from micro_yolo.pipeline.measure.confusion import BACKGROUND, Confusion
from micro_yolo.pipeline.measure.groups import Group
from micro_yolo.pipeline.measure.misses import KINDS, Misses
from micro_yolo.pipeline.show.listing import listing, points

if TYPE_CHECKING:
    from rich.table import Table

_TOTALS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")
_MISTAKES = 5


def totals(metrics: Mapping[str, Any]) -> Table:
    """AP of all classes together."""
    names = (*_TOTALS, *(name for name in metrics if name.startswith("AR")))
    table = listing(*(name.removeprefix("AP_") for name in names), "images/s", words=())
    table.add_row(*(points(metrics[name]) for name in names), f"{metrics['images_per_second']:.1f}")
    return table


def classes(metrics: Mapping[str, Any]) -> Table:
    """AP of each class, and the score with the best F1."""
    from rich.markup import escape

    table = listing("class", "AP", "AP50", "boxes", "score above", "F1", "precision", "recall")
    best, rows = metrics["thresholds"], metrics["per_class"]
    for (name, row), cut in zip(rows.items(), best["classes"] if best else [None] * len(rows), strict=True):
        table.add_row(escape(name), points(row["AP"]), points(row["AP50"]), str(row["boxes"]), *_cut(cut))
    if best:
        table.add_section()
        table.add_row(
            "all classes", points(metrics["AP"]), points(metrics["AP50"]), str(best["all"]["boxes"]), *_cut(best["all"])
        )
    return table


def mistakes(confusion: Confusion) -> str:
    """The most frequent mistakes in a line, "" if there are none."""
    return ", ".join(in_words(*each) for each in confusion.mistakes()[:_MISTAKES])


def in_words(there: str, found: str, count: int) -> str:
    """A mistake of `Confusion.mistakes`."""
    if found == BACKGROUND:
        return f"{count:,} {there} missed"
    return f"{count:,} {found} too many" if there == BACKGROUND else f"{count:,} {there} taken for {found}"


def misses(found: Misses) -> Table:
    """What each kind of mistake costs."""
    table = listing("why AP50 is lost", "costs", "share", "how many")
    for name, kind in found.kinds.items():
        table.add_row(f"{name}: {KINDS[name]}", points(kind.points), f"{kind.share:.0%}", f"{kind.count:,}")
    return table


def groups(found: Sequence[Group]) -> Table:
    """Which boxes are found."""
    table = listing("boxes by", "group", "boxes", "found", "AP", "AP50", words=(0, 1))
    last = ""
    for group in found:
        by, last = "" if group.by == last else group.by, group.by
        table.add_row(by, group.name, f"{group.boxes:,}", f"{group.found:.0%}", points(group.AP), points(group.AP50))
    return table


def _cut(cut: Mapping[str, Any] | None) -> list[str]:
    """What is read of a tflite.thresholds.Cut."""
    if cut is None:
        return ["-"] * 4
    return [f"{cut['threshold']:.2f}", *(points(100 * cut[name]) for name in ("f1", "precision", "recall"))]
