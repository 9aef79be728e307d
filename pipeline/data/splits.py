"""The words by which people say what a file or a folder is for: the one list of all readers."""

from __future__ import annotations

import re
from collections.abc import Iterable

ORDER = ("train", "val", "test")
# Of images that nothing is said of.
ALL = "all"
WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "trn", "trainval"), "train"),
    **dict.fromkeys(
        ("val", "valid", "validate", "validation", "valset", "minival", "dev", "devel", "eval", "evaluation"), "val"
    ),
    **dict.fromkeys(("test", "testing", "testset", "tst", "tests", "holdout"), "test"),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def split_of(name: str) -> str | None:
    """train, val or test if a word of `name` says so, in any letter case and anywhere in it; None if none or two do."""
    found = {WORDS[word] for word in words_of(name) if word in WORDS}
    return found.pop() if len(found) == 1 else None


def words_of(name: str) -> list[str]:
    """The words of a name, in small letters: those between other signs, and those that capitals begin."""
    return [word.lower() for word in _WORD.findall(name)]


def split_of_path(path: str) -> str | None:
    """What the last part of a path that names a split says; its parts are separated by slashes."""
    return first(split_of(part) for part in reversed(path.split("/")))


def is_whole(name: str) -> bool:
    """Whether a name says train and val at once, as VOC's trainval does."""
    return "trainval" in words_of(name)


def first(found: Iterable[str | None]) -> str | None:
    """The first that is there."""
    return next((each for each in found if each is not None), None)
