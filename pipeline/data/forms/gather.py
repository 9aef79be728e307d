"""The pictures of a split as a YOLO set names them, by folders and lists, and the label file of each."""

from __future__ import annotations

import os
from pathlib import Path

from micro_yolo.pipeline.data.dataset import Problems
from micro_yolo.pipeline.data.files import relative
from micro_yolo.pipeline.data.forms.places import PICTURES, labels_in, twin_folder
from micro_yolo.pipeline.data.text import lines_of, read_text
from micro_yolo.pipeline.data.tree import Tree, child, folder_of
from micro_yolo.pipeline.data.whereabouts import AmbiguousError, Finder, key_of


class Gathered:
    """Pictures and the label files that they have, or would have.

    Attributes:
        tree: the data set.
        labels: of each picture, by its path, the path of its label file.
        bare: pictures whose label file is not there.
    """

    def __init__(self, tree: Tree, problems: Problems) -> None:
        self.tree = tree
        self.labels: dict[str, str] = {}
        self.bare: set[str] = set()
        self._problems = problems
        self._finder = Finder(tree)
        self._holders = {folder_of(label) for label in tree.forms.get("yolo", ())}
        # Of each folder with pictures the one with its labels, and what is in it.
        self._twins: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}
        self._elsewhere: dict[Path, Tree] = {}
        self._owners: dict[str, str] = {}

    def add(self, source: Path) -> None:
        """The pictures in a folder, and below it, or listed in a file; each once."""
        own = self.tree.inside(source)
        if source.is_file() and not (own and self.tree.is_folder(own)):
            self._add_listed(source)
        elif source.exists():
            tree = self._tree_of(source)
            inside = tree.inside(source) or ""
            for folder, names in tree.pictures.items():
                if not inside or folder == inside or folder.startswith(inside + "/"):
                    for name in names:
                        self._add(tree, child(folder, name))
        else:
            self._problems.add(relative(source, self.tree.root), "folder or list of images is missing")

    def _tree_of(self, folder: Path) -> Tree:
        """The data set's own, or of a folder elsewhere one that holds the labels beside it too."""
        if self.tree.inside(folder) is not None:
            return self.tree
        above = next((each.parent for each in (folder, *folder.parents) if each.name.lower() in PICTURES), folder)
        if above not in self._elsewhere:
            self._elsewhere[above] = Tree(above)
        return self._elsewhere[above]

    def _add(self, tree: Tree, name: str) -> None:
        folder, _, last = name.rpartition("/")
        key = (str(tree.root), folder)
        if key not in self._twins:
            place = twin_folder(tree, folder, ".txt", holders=self._holders if tree is self.tree else ())
            self._twins[key] = place, labels_in(tree, place, ".txt")
        place, labels = self._twins[key]
        stem = os.path.splitext(last)[0]
        label = labels.get(key_of(stem)) or labels.get(key_of(last))
        text = tree.full(name)
        self.labels.setdefault(text, tree.full(child(place, label or f"{stem}.txt")))
        if label is None:
            self.bare.add(text)
        elif tree is self.tree:
            own = child(place, label)
            if self._owners.setdefault(own, name) != name:
                self._problems.add(own, f"label file of several pictures ({self._owners[own]}, {name}); used for each")
            tree.use(own)

    def _add_listed(self, source: Path) -> None:
        tree = self.tree
        own = tree.inside(source)
        near = folder_of(own) if own is not None else ""
        if own is not None:
            tree.use(own)
        for line in lines_of(read_text(str(source))):
            plain = line.removeprefix("./")
            place = next(
                (name for name in (child(near, plain), plain, tree.relative(line)) if name and tree.has(name)), None
            )
            if place is None and os.path.isabs(line) and os.path.isfile(line):
                outside = self._tree_of(Path(line).parent)
                self._add(outside, outside.inside(line) or Path(line).name)
                continue
            try:
                place = place or self._finder.find(line, near)
            except AmbiguousError as error:
                self._problems.add(line, f"{error}, skipped")
                continue
            if place is not None:
                self._add(tree, place)
            else:
                missing = tree.full(child(near, plain.replace("\\", "/")))
                self.labels.setdefault(missing, missing)
                self.bare.add(missing)
