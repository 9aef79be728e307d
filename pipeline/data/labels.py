"""What files of labels say, picture by picture, before anything is checked: the way from most readers to a Dataset."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from micro_yolo.pipeline.data.dataset import Dataset, Problems, Raw, build_split, clean_name, finish
from micro_yolo.pipeline.data.files import Files
from micro_yolo.pipeline.data.tree import Tree
from micro_yolo.pipeline.data.whereabouts import AmbiguousError, Finder

_NAN = float("nan")
WHOLE = "all"


@dataclass
class Labels:
    """The pictures of one split, and a row for each of their boxes; pictures and classes are numbered as met."""

    files: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    sizes: array = field(default_factory=lambda: array("d"))
    image_index: array = field(default_factory=lambda: array("q"))
    boxes: array = field(default_factory=lambda: array("d"))
    classes: array = field(default_factory=lambda: array("q"))
    crowd: array = field(default_factory=lambda: array("b"))

    def picture(self, file: str, height: float = _NAN, width: float = _NAN) -> int:
        """The number of a picture; a new one for a file that was not met before."""
        number = self.files.setdefault(file, len(self.files))
        if 2 * number == len(self.sizes):
            self.sizes.extend((height, width))
        return number

    def box(self, picture: int, name: str, corners: Sequence[float], *, crowd: bool = False) -> None:
        """A box of the picture with this number: its class's name, and x1, y1, x2, y2 in pixels of its size."""
        self.image_index.append(picture)
        self.boxes.extend(corners)
        self.classes.append(self.names.setdefault(name, len(self.names)))
        self.crowd.append(crowd)


class Collected:
    """The labels of all splits of a tree, as the files of one form tell them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.problems = Problems()
        self.finder = Finder(tree)
        self._splits: dict[str, Labels] = {}
        self._resolved: dict[tuple[str, str, str | None], str] = {}
        self._classes: dict[str, None] = {}

    def split(self, name: str | None) -> Labels:
        """The labels of a split; what belongs to none is the whole."""
        return self._splits.setdefault(name or WHOLE, Labels())

    def classes(self, names: Sequence[str]) -> None:
        """Classes that a file lists, in its order; those that are only met come after them, by the alphabet."""
        self._classes.update(dict.fromkeys(filter(None, map(clean_name, names))))

    def picture(
        self, written: str, near: str, split: str | None, height: float = _NAN, width: float = _NAN
    ) -> int | None:
        """The number of the picture that a file in the folder `near` calls `written`, in the labels of `split`.

        None, and a problem, if it could be several. One that is not there has a number, and is named later.
        """
        key = (written, near, split)
        place = self._resolved.get(key)
        if place is None:
            try:
                place = self.finder.find(written, near, split=split) or self.finder.missing(written, near)
            except AmbiguousError as error:
                self.problems.add(f"{near}/{written}" if near else written, f"{error}, skipped")
                return None
            self._resolved[key] = place
        return self.split(split).picture(place, height, width)

    def box(
        self, split: str | None, picture: int | None, name: object, corners: Sequence[float], *, crowd: bool = False
    ) -> None:
        """A box; a class without a name is a problem, a picture that is None is passed over."""
        if picture is None:
            return
        labels, cleaned = self.split(split), clean_name(name)
        if not cleaned:
            file = next(file for file, number in labels.files.items() if number == picture)
            self.problems.add(file, "object without a name, skipped")
            return
        labels.box(picture, cleaned, corners, crowd=crowd)

    def dataset(self, form: str, *, val_fraction: float, seed: int) -> Dataset:
        """The Dataset; classes are those listed, else those met in the order of the alphabet."""
        met = {name for labels in self._splits.values() for name in labels.names}
        names = [*self._classes, *sorted(met - set(self._classes))]
        splits, first_id = [], 1
        for name, labels in self._splits.items():
            splits.append(build_split(self._raw(name, labels, names, first_id), self.tree.root, self.problems))
            first_id += len(labels.files)
        ids = range(1, len(names) + 1)
        return finish(self.tree.root, form, names, ids, splits, self.problems, val_fraction=val_fraction, seed=seed)

    def _raw(self, name: str, labels: Labels, names: list[str], first_id: int) -> Raw:
        place: Mapping[str, int] = {name: number for number, name in enumerate(names)}
        met = np.array([place[name] for name in labels.names], np.int64)
        return Raw(
            name=name,
            files=Files([self.tree.full(file) for file in labels.files]),
            image_ids=np.arange(first_id, first_id + len(labels.files)),
            sizes=np.array(labels.sizes, np.float64).reshape(-1, 2),
            image_index=np.array(labels.image_index, np.int64),
            boxes_xyxy=np.array(labels.boxes, np.float64).reshape(-1, 4),
            classes=met[np.array(labels.classes, np.int64)] if len(met) else np.zeros(0, np.int64),
            crowd=np.array(labels.crowd, bool),
            areas=np.full(len(labels.classes), np.nan),
        )


def corners_of(points: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """The box around points (x, y); NaN where there are none, or one is no number."""
    try:
        xs, ys = [float(point[0]) for point in points], [float(point[1]) for point in points]
    except (TypeError, ValueError, OverflowError, IndexError, KeyError):
        return (_NAN,) * 4
    if not xs:
        return (_NAN,) * 4
    # min and max would step over a NaN; a sum does not.
    poison = 0.0 * sum(xs) + 0.0 * sum(ys)
    return min(xs) + poison, min(ys), max(xs), max(ys)


def number(value: object) -> float:
    """A number however it is written; NaN if it is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return _NAN
