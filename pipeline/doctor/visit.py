"""All that the doctor finds in a data set."""

from __future__ import annotations

from dataclasses import dataclass

from micro_yolo.pipeline.data.dataset import Dataset
from micro_yolo.pipeline.doctor import alike, boxes, classes, sizes
from micro_yolo.pipeline.doctor.findings import Finding
from micro_yolo.pipeline.doctor.sizes import CELL_PX, SMALL_PX, Sizes
from micro_yolo.pipeline.show.screen import Show


@dataclass(frozen=True)
class Checkup:
    """All that was found.

    Attributes:
        findings: the gravest kinds first.
        sizes: how large objects are at each size of the input.
        unread: pictures that could not be decoded, and so were not compared.
    """

    findings: tuple[Finding, ...]
    sizes: Sizes
    unread: int


def examine(dataset: Dataset, show: Show) -> Checkup:
    """Look at a data set; all its pictures are decoded, small."""
    prints = {}
    for name, split in dataset.splits.items():
        with show.bar(f"comparing pictures of {name}", len(split)) as advance:
            prints[name] = alike.fingerprints(split, advance)
    measured = sizes.measure(dataset)
    found = [
        *alike.between_splits(dataset, prints),
        *boxes.doubtful(dataset),
        *alike.within_train(dataset, prints),
        *classes.shares(dataset),
        *classes.rare(dataset),
        *sizes.advise(dataset, measured),
    ]
    return Checkup(tuple(found), measured, sum(each.unread for each in prints.values()))


def lines(checkup: Checkup) -> list[str]:
    """All that was found, a line each, with the size of the input last."""
    sizes = checkup.sizes
    row = next(row for row in sizes.rows if row.size == sizes.recommended)
    said = f"{100 * row.below_cell:.0f} % of the boxes of train are below a cell of {CELL_PX} pixels there"
    return [
        *(f"{finding.kind}: {finding.says} {finding.advice}" for finding in checkup.findings),
        f"input: --size {sizes.recommended} or more; {said}, {100 * row.small:.0f} % below {SMALL_PX}",
    ]
