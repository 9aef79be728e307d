"""What every reader makes: a Dataset of Splits held as flat arrays, and the rules a record must meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.model.printable import harmless, shortened, typed
from micro_yolo.pipeline.data.divide import divided
from micro_yolo.pipeline.data.files import Files, file_bytes, in_threads, relative, size_or_none
from micro_yolo.pipeline.data.repairs import alike_names, are_shares, doubled, merged_names
from micro_yolo.pipeline.data.splits import ALL, ORDER
from micro_yolo.pipeline.data.tree import Tree
from micro_yolo.tflite.image import Fit, load_image, resize

CLIP_TOLERANCE_PX = 1.0


@dataclass(frozen=True)
class Problem:
    """One kind of fault of one file. `count` says how many records of it were met (boxes, lines, images).

    `unused` marks what was found and not used: nothing is wrong with it.
    """

    file: str
    what: str
    count: int = 1
    unused: bool = False


class Problems:
    """Collects faults: each (file, what) is named once, with its count."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, file: str, what: str, count: int = 1) -> None:
        """Notes `count` more of a fault."""
        key = (shortened(harmless(file)), shortened(harmless(what)))
        self._counts[key] = self._counts.get(key, 0) + count

    def freeze(self) -> tuple[Problem, ...]:
        """What was noted, in the order it was first met."""
        return tuple(Problem(file, what, count) for (file, what), count in self._counts.items())


@dataclass(frozen=True, eq=False)
class Split:
    """n images and their m boxes. Boxes of image i are rows starts[i]:starts[i + 1] (compressed rows).

    Shapes: image_ids int64 (n,), sizes int32 (n, 2) recorded (height, width), boxes_xyxy float32 (m, 4) pixels of the
    recorded size, classes int32 (m,) in 0..C-1, crowd bool (m,), areas float32 (m,) square pixels (COCO's object area),
    starts int64 (n + 1,).
    """

    name: str
    files: Sequence[Path]
    image_ids: np.ndarray
    sizes: np.ndarray
    boxes_xyxy: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"Split({self.name}: {len(self)} images, {len(self.classes)} boxes)"

    def rows(self, index: int) -> slice:
        """The rows of image `index` in boxes_xyxy, classes, crowd and areas."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def picture(self, index: int, size: tuple[int, int], rule: str) -> tuple[np.ndarray, Fit]:
        """Image `index` as a model of this input (height, width) sees it: uint8 (h, w, 3), and how it was laid there.

        Raises ValueError, naming the file, if it cannot be read.
        """
        height, width = self.sizes[index]
        return resize(load_image(self.files[index], (int(height), int(width))), size, rule)

    def subset(self, indices: Sequence[int] | np.ndarray, name: str | None = None) -> Split:
        """The images `indices`, in that order, as a Split of their own."""
        order = np.asarray(indices, np.int64)
        counts = np.diff(self.starts)[order]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.repeat(self.starts[order] - starts[:-1], counts) + np.arange(starts[-1])
        return Split(
            name=name or self.name,
            files=Files.of(self.files).take(order),
            image_ids=self.image_ids[order],
            sizes=self.sizes[order],
            boxes_xyxy=self.boxes_xyxy[rows],
            classes=self.classes[rows],
            crowd=self.crowd[rows],
            areas=self.areas[rows],
            starts=starts,
        )

    def joined(self, other: Split, name: str) -> Split:
        """The images of both, as a Split of this name."""
        arrays = ("image_ids", "sizes", "boxes_xyxy", "classes", "crowd", "areas")
        return Split(
            name=name,
            files=Files([*Files.of(self.files).texts, *Files.of(other.files).texts]),
            starts=np.concatenate([self.starts, self.starts[-1] + other.starts[1:]]),
            **{each: np.concatenate([getattr(self, each), getattr(other, each)]) for each in arrays},
        )

    def drawn(self, count: int | None, seed: int) -> Split:
        """`count` of the images, drawn by `seed`, in the order they have here; all if there are no more or for None."""
        if count is None or count >= len(self):
            return self
        return self.subset(np.sort(np.random.default_rng(seed).permutation(len(self))[:count]))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Splits (train, val, perhaps test) under one list of classes; category_ids[c] is class c's id in the source.

    `source` is what `load` was asked for, where that is not the root; `seeded` says that train and val were drawn, as
    the source does not have both.
    """

    root: Path
    format: str
    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    splits: dict[str, Split]
    problems: tuple[Problem, ...] = ()
    source: str = ""
    seeded: bool = False

    def undivided(self) -> Split:
        """All images that train and val of a `seeded` one were drawn from."""
        return self.splits["train"].joined(self.splits["val"], ALL)

    @property
    def place(self) -> str:
        """What `load` finds this by again, from any working directory."""
        return self.source or str(self.root.absolute())

    def __repr__(self) -> str:
        images = ", ".join(f"{len(split)} {name}" for name, split in self.splits.items())
        return f"Dataset({str(self.root)!r}: {self.format}, {len(self.names)} classes, images: {images})"

    def warning(self) -> str | None:
        """One line on what is wrong, naming the first files; None when nothing is."""
        return f"{self.root}: {_summary(self.problems, self.root)}" if self.problems else None


class UnusableError(ValueError):
    """Nothing usable is left of a data set; `problems` says why."""

    def __init__(self, message: str, root: Path, problems: tuple[Problem, ...]) -> None:
        super().__init__(f"{message}; {_summary(problems, root)}" if problems else message)
        self.problems = problems


def _summary(problems: tuple[Problem, ...], root: Path) -> str:
    said = []
    for noun, some in (
        ("bad records", [p for p in problems if not p.unused]),
        ("files found and not used", [p for p in problems if p.unused]),
    ):
        if some:
            shown = "; ".join(f"{p.file}: {p.what}" + (f" ({p.count})" if p.count > 1 else "") for p in some[:3])
            more = f"; and {len(some) - 3} more" if len(some) > 3 else ""
            said.append(f"{sum(p.count for p in some)} {noun}: {shown}{more}")
    return "; ".join([*said, f"`python -m pipeline.data {typed(root)}` lists all"])


@dataclass(frozen=True)
class Reader:
    """One form in which people have labelled images.

    Attributes:
        looked_for: the files by which it is recognised, for people; "" if another reader says so already.
        find: tree -> what `read` needs to know of it, None if it is of another form. Raises ValueError for files of
            this form that cannot be used.
        read: (tree, what `find` gave, val_fraction=, seed=) -> the data set, made by `build_split` and `finish`. It
            tells the tree which files it used.
    """

    looked_for: str
    find: Callable[[Tree], Any]
    read: Callable[..., Dataset]


@dataclass
class Raw:
    """What a reader found for one split, before the checks; row i of the box arrays belongs to image image_index[i].

    sizes are recorded (height, width), 0 or less or NaN where the source has none; areas are NaN where unknown.
    """

    name: str
    files: Sequence[Path]
    image_ids: np.ndarray
    sizes: np.ndarray
    image_index: np.ndarray
    boxes_xyxy: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray


def clean_name(name: object) -> str:
    """A class name as one line of text; empty if there is none."""
    if not isinstance(name, str | int | float) or isinstance(name, bool):
        return ""
    return harmless(" ".join(str(name).split()))


def build_split(raw: Raw, root: Path, problems: Problems) -> Split:
    """Drops images that are missing or empty and boxes that break a rule, clips the rest; faults go to `problems`."""
    files = Files.of(raw.files)
    sizes, keep = _check_images(raw, files, root, problems)
    good, boxes, areas = _check_boxes(raw, files, sizes, keep, root, problems)

    kept = np.flatnonzero(keep)
    place = np.full(len(files), -1, np.int64)
    place[kept] = np.arange(len(kept))
    owner = place[raw.image_index[good]]
    return Split(
        name=raw.name,
        files=files.take(kept),
        image_ids=np.asarray(raw.image_ids, np.int64)[kept],
        sizes=sizes[kept].astype(np.int32),
        boxes_xyxy=boxes,
        classes=raw.classes[good].astype(np.int32),
        crowd=raw.crowd[good].astype(bool),
        areas=areas.astype(np.float32),
        starts=np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(kept)))]).astype(np.int64),
    )


def _check_images(raw: Raw, files: Files, root: Path, problems: Problems) -> tuple[np.ndarray, np.ndarray]:
    """Sizes (n, 2) with the unrecorded ones read from the files, and which images to keep (n,)."""
    n_bytes = np.fromiter(in_threads(file_bytes, files.texts), np.int64, len(files))
    keep = n_bytes > 0
    for index in np.flatnonzero(~keep).tolist():
        what = "image file is empty" if n_bytes[index] == 0 else "image file is missing"
        problems.add(relative(files.texts[index], root), what)

    sizes = np.asarray(raw.sizes, np.float64).reshape(-1, 2).copy()
    with np.errstate(invalid="ignore"):
        unknown = np.flatnonzero(keep & ~(np.isfinite(sizes) & (sizes >= 1) & (sizes < 2**31)).all(1)).tolist()
    read = in_threads(size_or_none, (files.texts[index] for index in unknown))
    for index, size in zip(unknown, read, strict=True):
        if size is None:
            keep[index] = False
            problems.add(relative(files.texts[index], root), "not an image that can be read")
        else:
            sizes[index] = size
    return sizes, keep


def _check_boxes(
    raw: Raw, files: Files, sizes: np.ndarray, keep: np.ndarray, root: Path, problems: Problems
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of the boxes to keep, image by image, and for those the clipped boxes and the areas."""

    def report(images: np.ndarray, what: str) -> None:
        for image, count in zip(*np.unique(images, return_counts=True), strict=True):
            problems.add(relative(files.texts[image], root), what, int(count))

    # Image by image from here on, or the size of each box's image would be looked up in no order.
    rows = np.argsort(raw.image_index, kind="stable")
    rows = rows[keep[raw.image_index[rows]]]
    images = raw.image_index[rows]
    with np.errstate(invalid="ignore", over="ignore"):
        # Judged in the precision they are kept in: a box too thin for float32 has no area there.
        boxes = np.asarray(raw.boxes_xyxy).reshape(-1, 4)[rows].astype(np.float32)
        if are_shares(boxes, sizes[keep]):
            boxes *= np.tile(sizes[images, ::-1], 2).astype(np.float32)
            problems.add(raw.name, "boxes are shares of the picture (0..1), not pixels; taken as such", len(boxes))
        for what, good in (
            ("box with a number that is not finite, skipped", lambda b, _: np.isfinite(b).all(1)),
            ("box with a zero or negative width or height, skipped", lambda b, _: (b[:, 2:] > b[:, :2]).all(1)),
            (
                "box wholly outside the image, skipped",
                lambda b, at: ((b[:, :2] < sizes[at, ::-1]) & (b[:, 2:] > 0)).all(1),
            ),
        ):
            fine = good(boxes, images)
            if not fine.all():
                report(images[~fine], what)
                rows, images, boxes = rows[fine], images[fine], boxes[fine]
    clipped = np.clip(boxes, 0, np.tile(sizes[images, ::-1].astype(np.float32), 2))
    moved = np.abs(clipped - boxes).max(1, initial=0)
    report(images[moved > CLIP_TOLERANCE_PX], "box partly outside the image, clipped")
    again = doubled(images, 2 * raw.classes[rows] + raw.crowd[rows], clipped)
    if again.any():
        report(images[again], "box that is there twice, one kept")
        rows, images, clipped = rows[~again], images[~again], clipped[~again]

    box_areas = (clipped[:, 2] - clipped[:, 0]) * (clipped[:, 3] - clipped[:, 1])
    areas = np.asarray(raw.areas, np.float64)[rows]
    with np.errstate(invalid="ignore"):
        areas = np.where(np.isfinite(areas) & (areas > 0), np.minimum(areas, box_areas), box_areas)
    return rows, clipped, areas


def split_by_seed(split: Split, val_fraction: float, seed: int) -> dict[str, Split]:
    """Train and val drawn from one list of images, see `divided`."""
    boxed = np.zeros(len(split), bool)
    boxed[np.repeat(np.arange(len(split)), np.diff(split.starts))[~split.crowd]] = True
    train, val = divided(Files.of(split.files).texts, boxed, val_fraction, seed)
    return {"train": split.subset(train, "train"), "val": split.subset(val, "val")}


def finish(
    root: Path,
    format: str,
    names: Sequence[str],
    category_ids: Sequence[int],
    splits: Iterable[Split],
    problems: Problems,
    *,
    val_fraction: float,
    seed: int,
) -> Dataset:
    """The Dataset, split by seed if there is only one split; test serves as val if there is none.

    Classes of one name become one, that of the first.

    UnusableError (a ValueError) if train or val has no images, or no boxes but crowds.
    """
    found = {split.name: split for split in splits}
    read = f"{root} (read as {format})"
    if not names:
        raise UnusableError(f"{root}: a data set needs at least one class with a box, got 0", root, problems.freeze())
    if "val" not in found and "test" in found and "train" in found:
        found["val"] = replace(found.pop("test"), name="val")
    if "test" in found and not len(found["test"]):
        problems.add("test", "no usable image; the split is left out")
        del found["test"]
    for split in found.values():
        twice = len(split) - len(set(Files.of(split.files).texts))
        if twice:
            problems.add(split.name, "image that is listed twice, each time with boxes of its own", twice)
        if not len(split):
            raise UnusableError(f"{read}: split '{split.name}' needs usable images, got 0", root, problems.freeze())
    if not found:
        raise UnusableError(f"{root}: a data set needs usable images, got 0", root, problems.freeze())
    if ALL in found and len(found) > 1:
        rest = found.pop(ALL)
        if "train" in found:
            known = {text for split in found.values() for text in Files.of(split.files).texts}
            alone = sum(text not in known for text in Files.of(rest.files).texts)
            what = "of labels that name no split, left out"
            problems.add("images", what if alone else f"{what}; those of train or val name them too", len(rest))
        else:
            found["train"] = replace(rest, name="train")
    seeded = "train" not in found or "val" not in found
    if seeded:
        first = next(name for name in ("train", ALL, *ORDER) if name in found)
        if first in ("val", "test"):
            problems.add(first, "there is no train; it is divided into train and val", len(found[first]))
        whole = found.pop(first)
        found.update(split_by_seed(whole, val_fraction, seed))
    for name in ("train", "val"):
        if found[name].crowd.all():
            raise UnusableError(f"{read}: split '{name}' needs usable boxes, got 0", root, problems.freeze())
    if "test" in found and found["test"].crowd.all():
        problems.add("test", "no boxes in this split: nothing can be measured on it")
    shared = set(Files.of(found["train"].files).texts) & set(Files.of(found["val"].files).texts)
    if shared:
        problems.add("val", "images that are also in train (validation will look too good)", len(shared))
    distinct, place = merged_names(names)
    if len(distinct) < len(names):
        for split in found.values():
            split.classes[:] = place[split.classes]
        for name in sorted({name for name in names if list(names).count(name) > 1}):
            ids = ", ".join(str(i) for i, each in zip(category_ids, names, strict=True) if each == name)
            problems.add("classes", f"'{name}' is the name of several, with the ids {ids}; taken as one")
        category_ids = [category_ids[int(np.flatnonzero(place == i)[0])] for i in range(len(distinct))]
    for group in alike_names(distinct):
        problems.add("classes", f"names that differ in letter case or spaces alone: {', '.join(group)}")
    return Dataset(
        root,
        format,
        tuple(distinct),
        tuple(category_ids),
        {name: found[name] for name in ORDER if name in found},
        problems.freeze(),
        seeded=seeded,
    )
