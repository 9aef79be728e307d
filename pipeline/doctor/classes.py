"""Classes: whether the splits hold them in like shares, and whether there are enough of each to measure."""

from __future__ import annotations

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset, Split
from micro_yolo.pipeline.doctor.findings import Finding, Spot, of

# Pictures with a class in a split that a fair draw would give once in a thousand: 3.3 standard deviations.
_DEVIATIONS = 3.3
# A class is rare in val if a single box of it is worth more of its recall, in points.
RARE_POINTS = 5.0
_SHOWN = 6


def shares(dataset: Dataset) -> list[Finding]:
    """Classes that are more or less frequent in val or test than a draw by lot explains."""
    train = dataset.splits["train"]
    found = []
    for name, split in dataset.splits.items():
        if name == "train":
            continue
        here, there = (_pictures_with(each, len(dataset.names)) for each in (split, train))
        n, whole = len(split), len(split) + len(train)
        share = (here + there) / whole
        with np.errstate(invalid="ignore", divide="ignore"):
            # Hypergeometric: n pictures drawn from all of both splits.
            spread = np.sqrt(n * share * (1 - share) * (whole - n) / max(whole - 1, 1))
            off = np.where(spread > 0, (here - n * share) / spread, 0)
        odd = np.flatnonzero(np.abs(off) > _DEVIATIONS)
        if not len(odd):
            continue
        odd = odd[np.argsort(-np.abs(off[odd]))]
        found.append(
            Finding(
                kind=f"class shares of {name}",
                says=f"{of(len(odd), len(dataset.names), 'class')} in more, or fewer, pictures of {name} than a draw "
                "by lot would give once in a thousand: train and what is measured are not of one kind.",
                advice="Fine if the split was made on purpose, by place or day; else draw it anew.",
                heads=("class", "pictures of train", f"pictures of {name}", "expected"),
                table=tuple(
                    (
                        dataset.names[number],
                        f"{there[number]:,} ({100 * there[number] / len(train):.1f} %)",
                        f"{here[number]:,} ({100 * here[number] / n:.1f} %)",
                        f"{n * share[number]:,.0f}",
                    )
                    for number in odd.tolist()
                ),
                count=len(odd),
            )
        )
    return found


def rare(dataset: Dataset) -> list[Finding]:
    """Classes of which val has too few boxes, so that one found or missed moves the figure."""
    split = dataset.splits["val"]
    counts = np.bincount(split.classes[~split.crowd], minlength=len(dataset.names))
    taught = np.bincount(dataset.splits["train"].classes, minlength=len(dataset.names))
    few = np.flatnonzero(counts * RARE_POINTS < 100)
    if not len(few):
        return []
    few = few[np.argsort(counts[few], kind="stable")]
    measured = int((counts > 0).sum())
    return [
        Finding(
            kind="rare in val",
            says=f"{of(len(few), len(dataset.names), 'class')} too rare in val to measure: of fewer than "
            f"{100 / RARE_POINTS:.0f} boxes each moves the class's AP50 by more than {RARE_POINTS:.0f} points.",
            advice="Label more pictures with them, merge classes, or read the AP of these as a hint and no more.",
            heads=("class", "boxes of train", "boxes of val", "points of its AP50 a box", "points of the mean"),
            table=tuple(
                (
                    dataset.names[number],
                    f"{taught[number]:,}",
                    f"{counts[number]:,}",
                    f"{100 / counts[number]:.0f}" if counts[number] else "not measured",
                    f"{100 / counts[number] / measured:.1f}" if counts[number] else "-",
                )
                for number in few.tolist()
            ),
            spots=tuple(_one(split, number) for number in few[counts[few] > 0][:_SHOWN].tolist()),
            count=len(few),
        )
    ]


def _one(split: Split, number: int) -> tuple[Spot, ...]:
    """The first picture with a box of the class."""
    rows = np.flatnonzero((split.classes == number) & ~split.crowd)
    index = int(np.searchsorted(split.starts, rows[0], side="right") - 1)
    mine = rows[(rows >= split.starts[index]) & (rows < split.starts[index + 1])]
    return (Spot(split.name, index, tuple(mine.tolist()), note=f"{len(rows)} in {split.name}"),)


def _pictures_with(split: Split, n_classes: int) -> np.ndarray:
    owner = np.repeat(np.arange(len(split)), np.diff(split.starts))
    return np.bincount(np.unique(owner * n_classes + split.classes) % n_classes, minlength=n_classes)
