"""Pictures that are the same or nearly so: in two splits they flatter what is measured, in one they teach little."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from micro_yolo.pipeline.data.dataset import Dataset, Split
from micro_yolo.pipeline.data.files import in_threads
from micro_yolo.pipeline.doctor.findings import Finding, Spot, many, of
from micro_yolo.tflite.image import load_small

# Sides of the small grey picture that is compared; a bit of the hash for each step to the right in it.
_ROWS, _COLUMNS = 16, 17
# Of the 256 bits of the hash, and of the 255 levels of grey on average: pictures that differ by no more are nearly the
# same. Saved anew, also at half their size, they differ in up to 13 bits, other pictures of five public sets in 39 and
# more; a tenth more light are 18 levels.
NEAR_BITS, NEAR_LEVELS = 24, 20.0
_BLOCK = 1 << 22
# Beyond this many, pictures of one split are compared by equal hashes only: all pairs would take minutes.
_MOST_PAIRED = 20_000
SHOWN = 12


@dataclass(frozen=True)
class Prints:
    """Fingerprints of a split's pictures.

    Attributes:
        bits: uint64 (n, 4), difference hash (Krawetz 2013): whether each step to the right gets brighter.
        grey: uint8 (n, 272), the small grey picture itself.
        read: bool (n,), false for pictures that cannot be decoded.
    """

    bits: np.ndarray
    grey: np.ndarray
    read: np.ndarray

    @property
    def unread(self) -> int:
        """How many could not be decoded."""
        return int((~self.read).sum())


def fingerprints(split: Split, advance: Callable[[], object] = lambda: None) -> Prints:
    """The Prints of a split; `advance` is called for each picture."""

    def small(item: tuple[str, tuple[int, int]]) -> np.ndarray | None:
        path, size = item
        try:
            # Four times as large as wanted, so that the decoder's own shrinking leaves an average.
            pixels = load_small(path, (4 * _ROWS, 4 * _COLUMNS), expected_size=size)
        except (ValueError, OSError):
            return None
        shrunk = Image.fromarray(pixels).convert("L").resize((_COLUMNS, _ROWS), Image.Resampling.BOX)
        return np.asarray(shrunk).ravel()

    sizes = [(int(height), int(width)) for height, width in split.sizes.tolist()]
    grey = np.zeros((len(split), _ROWS * _COLUMNS), np.uint8)
    read = np.zeros(len(split), bool)
    items = zip((str(file) for file in split.files), sizes, strict=True)
    for index, each in enumerate(in_threads(small, items)):
        advance()
        if each is not None:
            grey[index], read[index] = each, True
    steps = grey.reshape(-1, _ROWS, _COLUMNS).astype(np.int16)
    brighter = np.diff(steps, axis=2).reshape(len(split), _ROWS * (_COLUMNS - 1)) > 0
    return Prints(np.packbits(brighter, axis=1).view(np.uint64), grey, read)


def pairs(a: Prints, b: Prints) -> Iterator[tuple[int, int, int]]:
    """(index in a, index in b, bits that differ) of pictures that are the same or nearly so."""
    step = max(_BLOCK // max(len(b.bits), 1), 1)
    for start in range(0, len(a.bits), step):
        block = slice(start, start + step)
        apart = np.zeros((len(a.bits[block]), len(b.bits)), np.uint16)
        for word in range(a.bits.shape[1]):
            apart += np.bitwise_count(a.bits[block, word, None] ^ b.bits[None, :, word])
        near = (apart <= NEAR_BITS) & a.read[block, None] & b.read[None]
        for first, second in zip(*np.nonzero(near), strict=True):
            levels = np.abs(a.grey[start + first].astype(np.int16) - b.grey[second]).mean()
            if levels <= NEAR_LEVELS:
                yield start + int(first), int(second), int(apart[first, second])


def between_splits(dataset: Dataset, prints: Mapping[str, Prints]) -> list[Finding]:
    """Pictures of val or test that are in train as well."""
    found = []
    for name in dataset.splits:
        if name == "train":
            continue
        twins: dict[int, tuple[int, int]] = {}
        for mine, other, apart in pairs(prints[name], prints["train"]):
            twins[mine] = min(twins.get(mine, (apart, other)), (apart, other))
        if not twins:
            continue
        same = sum(apart == 0 for apart, _ in twins.values())
        share = 100 * len(twins) / len(dataset.splits[name])
        found.append(
            Finding(
                kind=f"{name} in train",
                says=f"{len(twins)} of the {many(len(dataset.splits[name]), 'picture')} of {name} ({share:.0f} %) "
                "also lie in train, "
                f"{same} with equal fingerprints, the others nearly so: what is measured on them is known by heart.",
                advice="Split by scene, day or source instead of by picture, or take these out of one of the two.",
                spots=tuple(
                    (Spot(name, mine, note=name), Spot("train", other, note=_bits(apart)))
                    for mine, (apart, other) in sorted(twins.items(), key=lambda item: item[1])[:SHOWN]
                ),
                count=len(twins),
            )
        )
    return found


def within_train(dataset: Dataset, prints: Mapping[str, Prints]) -> list[Finding]:
    """Groups of pictures of train that are the same or nearly so."""
    split, mine = dataset.splits["train"], prints["train"]
    groups = _groups(mine)
    if not groups:
        return []
    labels = [group for group in groups if _differ(split, group)]
    extra = sum(len(group) - 1 for group in groups)
    told = (
        f"{of(extra, len(split), 'picture')} nearly the same as another one of train, in {many(len(groups), 'group')}"
    )
    ordered = [*labels, *(group for group in groups if group not in labels)]
    return [
        Finding(
            kind="alike in train",
            says=f"{told}; in {len(labels)} the numbers of boxes differ." if labels else f"{told}.",
            advice="Frames of one film teach little more than one of them; where the boxes differ, one of the pictures "
            "is probably labelled wrong.",
            spots=tuple(
                tuple(Spot("train", index, note=_boxes(split, index)) for index in group[:4])
                for group in ordered[:SHOWN]
            ),
            count=len(groups),
        )
    ]


def _groups(prints: Prints) -> list[list[int]]:
    """Indices of pictures that are alike, by way of one another, two and more."""
    leader = np.arange(len(prints.bits))
    if len(prints.bits) <= _MOST_PAIRED:
        links = [(a, b) for a, b, _ in pairs(prints, prints) if a < b]
    else:
        _, first, which = np.unique(prints.bits, axis=0, return_index=True, return_inverse=True)
        links = [(int(first[k]), n) for n, k in enumerate(which.ravel().tolist()) if first[k] != n and prints.read[n]]

    def head(index: int) -> int:
        while leader[index] != index:
            index = int(leader[index])
        return index

    for a, b in links:
        low, high = sorted((head(a), head(b)))
        leader[high] = low
    members: dict[int, list[int]] = {}
    for index in range(len(leader)):
        members.setdefault(head(index), []).append(index)
    return [group for group in members.values() if len(group) > 1]


def _differ(split: Split, group: list[int]) -> bool:
    """Whether pictures that are alike have different numbers of boxes."""
    return len({int(split.starts[index + 1] - split.starts[index]) for index in group}) > 1


def _boxes(split: Split, index: int) -> str:
    return many(int(split.starts[index + 1] - split.starts[index]), "box")


def _bits(apart: int) -> str:
    return f"train, {apart} of 256 bits differ"
