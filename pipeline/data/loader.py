"""Finds out what a path holds and reads it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from micro_yolo.pipeline.data.archive import unpacked
from micro_yolo.pipeline.data.dataset import Dataset, UnusableError
from micro_yolo.pipeline.data.forms import coco, csv_boxes, others, sniff, tfrecord, voc, yolo
from micro_yolo.pipeline.data.forms.places import LABELS, PICTURES
from micro_yolo.pipeline.data.leftovers import leftovers
from micro_yolo.pipeline.data.splits import split_of
from micro_yolo.pipeline.data.tree import Tree, folder_of

# In this order; a new form is a file with a Reader, and its place here.
READERS = [
    coco.READER,
    yolo.READER,
    voc.READER,
    csv_boxes.READER,
    *others.READERS,
    tfrecord.READER,
    coco.SINGLE,
]
_SUFFIXES = tuple({*sniff.LOOK, ".yaml", ".yml"})


def load(path: str | Path, *, val_fraction: float = 0.2, seed: int = 0) -> Dataset:
    """Reads a data set, in whatever form it is; the first reader of READERS that finds its files reads them.

    Args:
        path: a folder, a .zip of one, or a file of labels; several files are separated by commas, and are train and
            val where their names do not say which they are.
        val_fraction: share of the images that become val when the source has no splits of its own.
        seed: of that split.

    Returns:
        A Dataset with at least train and val. What breaks a rule is left out and named in `problems`, and so is what
        was found and not used.

    Raises:
        FileNotFoundError: nothing is at `path`.
        ValueError: it is no known layout, a file of it cannot be used at all, or nothing usable is left.
    """
    tree = _open(str(path))
    inner = _wrapped(tree)
    for reader in READERS if inner is None else ():
        found = reader.find(tree)
        if found is not None:
            try:
                dataset = reader.read(tree, found, val_fraction=val_fraction, seed=seed)
            except UnusableError as error:
                # Pictures that are not there may be in it.
                for archive in tree.forms.get("archive", ()):
                    error.args = (f"{error}; {archive} is an archive that is not looked into: unpack it",)
                raise
            # Of files that the user chose the others are not meant; a YAML stands for its folder.
            more = () if tree.only and not _is_yaml(tree) else leftovers(tree, dataset)
            return replace(dataset, problems=dataset.problems + more, source=whole(path))
    raise ValueError(_nothing(tree, inner))


def whole(path: str | Path) -> str:
    """The path, or the paths with commas between, as `load` finds them from any working directory."""
    return ",".join(os.path.abspath(each) for each in _named(str(path)))


def is_there(path: str | Path) -> bool:
    """Whether there is something at the path, or at all of several with commas between."""
    return all(each.exists() for each in _named(str(path)))


def _open(text: str) -> Tree:
    """The files below a folder, or those beside the files that are named."""
    paths = _named(text)
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such folder of labelled images; `python -m pipeline.data --help`")
    if len(paths) == 1 and (paths[0].is_dir() or paths[0].suffix.lower() == ".zip"):
        tree = Tree(paths[0] if paths[0].is_dir() else unpacked(paths[0]))
    else:
        for path in paths:
            if path.is_dir() or not path.name.lower().endswith(_SUFFIXES):
                allowed = "a folder, a .zip of one, or files of labels"
                raise ValueError(f"{path}: no labelled images found; allowed: {allowed}")
        tree = _beside(paths)
    tree.forms = sniff.forms(tree)
    if tree.only and not _is_yaml(tree):
        tree.forms = {form: [n for n in tree.only if n in files] for form, files in tree.forms.items()}
        tree.forms = {form: files for form, files in tree.forms.items() if files}
    return tree


def _named(text: str) -> list[Path]:
    """The paths in a text, separated by commas; where only the first was made whole, the others are beside it."""
    if "," not in text or Path(text).exists():
        return [Path(text)]
    first, *others = (Path(each.strip()) for each in text.split(","))
    return [first, *(each if each.exists() else first.parent / each.name for each in others)]


def _is_yaml(tree: Tree) -> bool:
    return len(tree.only) == 1 and tree.only[0].lower().endswith((".yaml", ".yml"))


def _beside(paths: list[Path]) -> Tree:
    """The folder that holds all of these files and their pictures."""
    base = Path(os.path.commonpath([path.parent for path in paths])) if len(paths) > 1 else paths[0].parent
    if base.name.lower() in LABELS:
        base = base.parent
    tree = Tree(base)
    if not tree.pictures:
        base = base.parent
        tree = Tree(base)
    return Tree(base, [tree.inside(path) or path.name for path in paths])


def _wrapped(tree: Tree) -> str | None:
    """The one folder in which all is, where that is not the root; None where the root is meant."""
    if tree.only:
        return None
    files = {name for files in tree.forms.values() for name in files} | set(tree.files(".yaml", ".yml"))
    folders = {folder_of(name) for name in files} | set(tree.pictures)
    inner = ""
    while folders and "" not in {_below(folder, inner) for folder in folders}:
        heads = {_below(folder, inner).split("/")[0] for folder in folders}
        if len(heads) > 1:
            break
        (head,) = heads
        if split_of(head) or head.lower() in (*PICTURES, *LABELS):
            break
        inner = f"{inner}/{head}" if inner else head
    return inner or None


def _below(folder: str, above: str) -> str:
    return folder[len(above) + 1 :] if above else folder


def _nothing(tree: Tree, inner: str | None) -> str:
    """That nothing can be read, what there is, and what leads on."""
    if inner is not None:
        return f"{tree.root}: no labelled images found in the folder itself; perhaps you mean {tree.full(inner)}"
    known = [(form, files) for form, files in tree.forms.items() if sniff.SAYS[form][1]]
    form, files = max(known, key=lambda item: len(item[1]), default=("", []))
    hint = f"; {files[0]} is {sniff.SAYS[form][0]}: {sniff.SAYS[form][1]}" if files else ""
    pictures = sum(map(len, tree.pictures.values()))
    looked_for = "; ".join(reader.looked_for for reader in READERS if reader.looked_for)
    files = [*tree.files(".csv", ".tsv", ".json", ".xml")][:2]
    unknown = f" ({' and '.join(files)} say nothing of boxes in a way that is known)" if files else ""
    there = f"; there are {pictures} pictures and no labels of a form that is known{unknown}" if pictures else ""
    place = tree.full(tree.only[0]) if tree.only else tree.root
    return f"{place}: no labelled images found; looked for {looked_for}{hint or there}"
