"""Files that list the names of classes by their numbers, beside labels that have numbers only."""

from __future__ import annotations

import re

from micro_yolo.pipeline.data.dataset import Problems, clean_name
from micro_yolo.pipeline.data.text import read_text
from micro_yolo.pipeline.data.tree import Tree, folder_of

_FILES = (
    "classes.txt",
    "obj.names",
    "_darknet.labels",
    "_classes.txt",
    "class_names.txt",
    "classnames.txt",
    "class.txt",
    "names.txt",
    "labels.txt",
    "label.txt",
    "categories.txt",
    "predefined_classes.txt",
)
_ENDINGS = (".names", ".labels")
_ITEM = re.compile(r"item\s*\{(.*?)\}", re.S)


def class_list(tree: Tree, problems: Problems, *, named: str | None = None) -> dict[int, str] | None:
    """Number -> name of the list nearest to the root; None if there is none.

    Args:
        tree: where it is looked for.
        problems: told of lists that say something else.
        named: the file that another one names, as the tree does.
    """
    files = [named] if named and tree.has(named) else sorted(_lists(tree), key=_rank)
    lists = {file: names for file in files if (names := _read(tree, file))}
    if not lists:
        return None
    first, chosen = next(iter(lists.items()))
    for file, names in lists.items():
        if names == chosen or set(names.items()) <= set(chosen.items()):
            tree.use(file)
        else:
            problems.add(file, f"names other classes than {first}, not used")
            tree.use(file)
    return chosen


def label_map(text: str) -> dict[int, str]:
    """Id -> name of a label map of the TensorFlow Object Detection API (.pbtxt)."""
    names = {}
    for body in _ITEM.findall(text):
        number = re.search(r"\bid\s*:\s*(\d+)", body)
        name = re.search(r"\b(?:display_)?name\s*:\s*['\"](.*?)['\"]", body)
        if number and name:
            names[int(number[1])] = clean_name(name[1])
    return names


def _lists(tree: Tree) -> list[str]:
    found = []
    for file in tree.files(*_ENDINGS, ".txt"):
        name = file.rpartition("/")[2].lower()
        if name in _FILES or name.endswith(_ENDINGS):
            found.append(file)
    return found


def _rank(file: str) -> tuple[int, int, str]:
    name = file.rpartition("/")[2].lower()
    return folder_of(file).count("/") + bool(folder_of(file)), _FILES.index(name) if name in _FILES else 99, file


def _read(tree: Tree, file: str) -> dict[int, str]:
    try:
        text = read_text(tree.full(file))
    except OSError:
        return {}
    return {i: name for i, line in enumerate(text.splitlines()) if (name := clean_name(line))}
