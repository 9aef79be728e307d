"""What the doctor finds, whatever it is about."""

from __future__ import annotations

from dataclasses import dataclass


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


def many(count: int, thing: str) -> str:
    """`3 boxes`, `1 box`."""
    plural = f"{thing}es" if thing.endswith(("s", "x")) else f"{thing}s"
    return f"{count:,} {thing if count == 1 else plural}"


def of(count: int, whole: int, thing: str) -> str:
    """`1 of the 9 boxes is`, `2 of the 9 boxes are`."""
    return f"{count:,} of the {many(whole, thing)} {'is' if count == 1 else 'are'}"
