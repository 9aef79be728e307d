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
# Beyond this many by as many, pictures are compared by equal hashes only: all pairs would take minutes.
_MOST_PAIRED = 20_000
# Pictures with a near hash that are looked at together.
_FEW = 16
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


def near(a: Prints, b: Prints) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Each picture of a with pictures of b whose hash is near: its index, theirs ascending, bits that differ.

    Where there are too many to compare them all, with the first whose hash is the same.
    """
    if len(a.bits) * len(b.bits) > _MOST_PAIRED**2:
        yield from _equal(a, b)
        return
    step = max(_BLOCK // max(len(b.bits), 1), 1)
    for start in range(0, len(a.bits), step):
        block = slice(start, start + step)
        apart = np.zeros((len(a.bits[block]), len(b.bits)), np.uint16)
        for word in range(a.bits.shape[1]):
            apart += np.bitwise_count(a.bits[block, word, None] ^ b.bits[None, :, word])
        found = (apart <= NEAR_BITS) & a.read[block, None] & b.read[None]
        for row in np.flatnonzero(found.any(1)).tolist():
            others = np.flatnonzero(found[row])
            yield start + row, others, apart[row, others]


def _equal(a: Prints, b: Prints) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    firsts: dict[bytes, int] = {}
    for index in np.flatnonzero(b.read).tolist():
        firsts.setdefault(b.bits[index].tobytes(), index)
    for index in np.flatnonzero(a.read).tolist():
        other = firsts.get(a.bits[index].tobytes())
        if other is not None:
            yield index, np.array([other]), np.zeros(1, np.uint16)


def _are_alike(a: Prints, index: int, b: Prints, others: np.ndarray) -> np.ndarray:
    """Of pictures of b with a near hash, which look like picture `index` of a: bool (n,)."""
    levels = np.abs(a.grey[index].astype(np.int16) - b.grey[others]).mean(1)
    return np.asarray(levels <= NEAR_LEVELS)


def twins(a: Prints, b: Prints) -> dict[int, tuple[int, int]]:
    """Of each picture of a that is in b too, or nearly so: bits that differ from the nearest, and its index in b."""
    found = {}
    for index, others, apart in near(a, b):
        order = np.argsort(apart, kind="stable")
        # The first will mostly do; of a film there may be thousands.
        for start in range(0, len(order), _FEW):
            some = order[start : start + _FEW]
            alike = some[_are_alike(a, index, b, others[some])]
            if len(alike):
                found[index] = (int(apart[alike[0]]), int(others[alike[0]]))
                break
    return found


def between_splits(dataset: Dataset, prints: Mapping[str, Prints]) -> list[Finding]:
    """Pictures of val or test that are in train as well."""
    found = []
    for name in dataset.splits:
        if name == "train":
            continue
        doubled = twins(prints[name], prints["train"])
        if not doubled:
            continue
        same = sum(apart == 0 for apart, _ in doubled.values())
        share = 100 * len(doubled) / len(dataset.splits[name])
        found.append(
            Finding(
                kind=f"{name} in train",
                says=f"{len(doubled)} of the {many(len(dataset.splits[name]), 'picture')} of {name} ({share:.0f} %) "
                "also lie in train, "
                f"{same} with equal fingerprints, the others nearly so: what is measured on them is known by heart.",
                advice="Split by scene, day or source instead of by picture, or take these out of one of the two.",
                spots=tuple(
                    (Spot(name, mine, note=name), Spot("train", other, note=_bits(apart)))
                    for mine, (apart, other) in sorted(doubled.items(), key=lambda item: item[1])[:SHOWN]
                ),
                count=len(doubled),
            )
        )
    return found


def within_train(dataset: Dataset, prints: Mapping[str, Prints]) -> list[Finding]:
    """Groups of pictures of train that are the same or nearly so."""
    split, mine = dataset.splits["train"], prints["train"]
    groups = grouped(mine)
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


def grouped(prints: Prints) -> list[list[int]]:
    """Indices of pictures that are alike, by way of one another, two and more."""
    leader = np.arange(len(prints.bits))

    def head(index: int) -> int:
        while leader[index] != index:
            index = int(leader[index])
        return index

    for index, others, _ in near(prints, prints):
        # Those under the same leader are known; of a thousand frames of a film, nearly all.
        strangers = others[leader[others] != leader[index]]
        alike = strangers[_are_alike(prints, index, prints, strangers)]
        if len(alike):
            heads = [head(each) for each in (index, *alike.tolist())]
            leader[[*heads, index, *alike.tolist()]] = min(heads)
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
