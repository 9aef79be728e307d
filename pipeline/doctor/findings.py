"""What the doctor finds, whatever it is about, and all of it for a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from micro_yolo.pipeline.data.dataset import Dataset
    from micro_yolo.pipeline.doctor.sizes import Sizes
    from micro_yolo.pipeline.show.screen import Show


@dataclass(frozen=True)
class Spot:
    """A picture of a data set, and boxes of it that are meant.

    Attributes:
        split: its split's name.
        index: of the picture in the split.
        rows: of the boxes in the split's arrays; none: all of the picture's are shown.
        note: what to see there.
    """

    split: str
    index: int
    rows: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """Something to know of a data set.

    Attributes:
        kind: what it is about, in a word or two.
        says: what was found, with figures, in a sentence.
        advice: what to do about it.
        heads: of the table's columns, the first of words, the others of figures.
        table: rows of it.
        spots: what to look at, the worst first; pictures of a group belong side by side.
        count: how many groups there are, of which `spots` may hold the first.
    """

    kind: str
    says: str
    advice: str
    heads: tuple[str, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()
    spots: tuple[tuple[Spot, ...], ...] = ()
    count: int = 0


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
    unread: int = field(default=0)


def many(count: int, thing: str) -> str:
    """`3 boxes`, `1 box`."""
    plural = f"{thing}es" if thing.endswith(("s", "x")) else f"{thing}s"
    return f"{count:,} {thing if count == 1 else plural}"


def of(count: int, whole: int, thing: str) -> str:
    """`1 of the 9 boxes is`, `2 of the 9 boxes are`."""
    return f"{count:,} of the {many(whole, thing)} {'is' if count == 1 else 'are'}"


def examine(dataset: Dataset, show: Show) -> Checkup:
    """Look at a data set; all its pictures are decoded, small."""
    from micro_yolo.pipeline.doctor import alike, boxes, classes, sizes

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
    said = f"{100 * row.below_cell:.0f} % of the boxes of train are below a cell of 16 pixels there"
    return [
        *(f"{finding.kind}: {finding.says} {finding.advice}" for finding in checkup.findings),
        f"input: --size {sizes.recommended} or more; {said}, {100 * row.small:.0f} % below 8",
    ]
