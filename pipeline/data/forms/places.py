"""Where the label files of a folder of pictures are: beside them, or in the folder that is called labels in place of
images, or wherever the same names are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain

from micro_yolo.pipeline.data.splits import split_of_path
from micro_yolo.pipeline.data.tree import Tree, child
from micro_yolo.pipeline.data.whereabouts import key_of

PICTURES = ("images", "image", "jpegimages", "imgs", "img", "pictures", "photos", "frames", "pics")
LABELS = (
    "labels",
    "label",
    "annotations",
    "annotation",
    "txt",
    "txts",
    "yolo",
    "labels_yolo",
    "anns",
    "ann",
    "xml",
    "xmls",
)
_SAMPLE = 50


def twin_folder(tree: Tree, folder: str, ending: str, *, holders: Iterable[str] = ()) -> str:
    """The folder with the label files of the pictures in `folder`.

    Args:
        tree: where all that is.
        folder: with pictures.
        ending: of the label files, such as ".txt".
        holders: other folders known to hold such labels.
    """
    stems = _stems(tree.pictures.get(folder, []))
    best, most = None, 0
    split = split_of_path(folder)
    # One by one: a set may have thousands of folders, and the first candidate is mostly the one.
    others = (each for each in holders if split is None or split_of_path(each) in (None, split))
    for candidate in chain(_candidates(folder), others):
        place = tree.lowered.get(candidate.lower())
        if place is None:
            continue
        names = labels_in(tree, place, ending)
        shared = sum(stem in names for stem in stems)
        if shared > most:
            best, most = place, shared
        if shared == len(stems):
            # No other can have more of them.
            break
    return best if best is not None else canonical(folder)


def canonical(folder: str) -> str:
    """Where YOLO itself looks: the last folder called images is called labels, else the pictures' own."""
    parts = folder.split("/")
    for i in range(len(parts) - 1, -1, -1):
        if parts[i] == "images":
            return "/".join([*parts[:i], "labels", *parts[i + 1 :]])
    return folder


def _candidates(folder: str) -> Iterator[str]:
    yield canonical(folder)
    parts = folder.split("/")
    for i in range(len(parts) - 1, -1, -1):
        if parts[i].lower() in PICTURES:
            for word in LABELS:
                yield "/".join([*parts[:i], word, *parts[i + 1 :]])
    yield folder
    for word in LABELS:
        yield child(folder, word)


def _stems(names: list[str]) -> list[str]:
    return [key_of(os.path.splitext(name)[0]) for name in names[:: max(len(names) // _SAMPLE, 1)]]


def labels_in(tree: Tree, folder: str, ending: str) -> dict[str, str]:
    """Of the label files in a folder the names, by what pictures they belong to: a.txt and a.jpg.txt are of a.jpg."""
    found = {}
    for name in tree.folders.get(folder, ()):
        stem, own = os.path.splitext(name)
        if own.lower() == ending:
            found[key_of(stem)] = name
            inner, more = os.path.splitext(stem)
            if len(more) in (4, 5) and key_of(inner) not in found:
                found.setdefault(key_of(inner), name)
    return found
