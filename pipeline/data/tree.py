"""All files below a folder, listed once: what readers look for their own in, and what was used of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from micro_yolo.tflite.image import SUFFIXES, reads_heic

# What systems and tools leave behind; no one means it.
_PASSED_OVER = {"__MACOSX", "node_modules", "__pycache__", "$RECYCLE.BIN", "System Volume Information"}
HEIC = (".heic", ".heif")
_ENDINGS = frozenset(SUFFIXES)
_DEEPEST = 24
# Bytes of a file that may be a link.
_POINTER = 255


class Tree:
    """The files below `root`. Folders and files are named relative to it, with slashes; the root itself is "".

    Links to folders are followed, those that lead around in a circle are not. Names that begin with a dot are passed
    over, unless a link leads there.

    Attributes:
        root: the folder.
        folders: of each folder with files the names of its files, sorted.
        forms: the files of labels by their form, as `forms.sniff` tells them.
        links: whether a link to a file or a folder is among them.
        only: files that the user named, in that order; empty where the whole folder is meant.
    """

    def __init__(self, root: Path, only: Sequence[str] = ()) -> None:
        self.root = root
        self.only = tuple(only)
        self.links = False
        self.forms: dict[str, list[str]] = {}
        self.folders: dict[str, list[str]] = {}
        self._used: set[str] = set()
        self._start = str(root / "_")[:-1]
        self._seen: set[tuple[int, int]] = set()
        self._pointers: dict[str, str] = {}
        self._scan("", str(root), (), linked=False)
        self.folders = dict(sorted(self.folders.items()))

    def _scan(self, folder: str, place: str, above: tuple[tuple[int, int], ...], *, linked: bool) -> None:
        try:
            found = os.stat(place)
            with os.scandir(place) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            return
        key = (found.st_dev, found.st_ino)
        if key in above or len(above) > _DEEPEST:
            return
        self._seen.add(key)
        names, below = [], []
        for entry in listed:
            if entry.name.startswith(".") or entry.name in _PASSED_OVER:
                continue
            try:
                self.links = self.links or entry.is_symlink()
                if entry.is_file():
                    target = None if "." in entry.name else _pointed_at(entry.path)
                    if target is None:
                        names.append(entry.name)
                    else:
                        below.append((True, entry.name))
                        self._pointers[child(folder, entry.name)] = target
                elif entry.is_dir():
                    below.append((entry.is_symlink(), entry.name))
            except OSError:
                continue
        if names:
            self.folders[folder] = names
        for link, name in below:
            inner = child(folder, name)
            where = self._pointers.get(inner) or os.path.join(place, name)
            if link and _leads_back(place, where):
                continue
            # Within a linked folder only what is new is followed: links to one another would never end.
            if linked and self._inode(where) in self._seen:
                continue
            self._scan(inner, where, (*above, key), linked=linked or link)

    @staticmethod
    def _inode(place: str) -> tuple[int, int] | None:
        try:
            found = os.stat(place)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def full(self, name: str) -> str:
        """The path of a file or folder named relative to the root, as text."""
        if self._pointers and name:
            for pointer, target in self._pointers.items():
                if name == pointer or name.startswith(pointer + "/"):
                    return os.path.normpath(target + name[len(pointer) :])
        return self._start + name.replace("/", os.sep) if name else str(self.root)

    def path(self, name: str) -> Path:
        """The same as a Path."""
        return Path(self.full(name))

    def files(self, *suffixes: str) -> Iterator[str]:
        """Files with one of these endings, such as ".json", in any letter case. Pictures are left out."""
        for folder, names in self.others.items():
            start = f"{folder}/" if folder else ""
            for name in names:
                if name.lower().endswith(suffixes):
                    yield start + name

    def lower(self, folder: str) -> dict[str, str]:
        """Of a folder's files, the names by what they are in small letters."""
        return {name.lower(): name for name in self.folders.get(folder, ())}

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        folder, _, last = name.rpartition("/")
        return last in self._sets.get(folder, ())

    def places(self) -> Iterator[str]:
        """All folders there are, also those that hold folders alone, and all files but pictures."""
        seen: set[str] = set()
        for folder in self.folders:
            parts = folder.split("/") if folder else []
            seen.update("/".join(parts[:i]) for i in range(1, len(parts) + 1))
        yield from sorted(seen)
        for folder, names in self.others.items():
            yield from (child(folder, name) for name in names)

    def is_folder(self, name: str) -> bool:
        """Whether there are files in such a folder or below it."""
        return any(folder == name or folder.startswith(name + "/") for folder in self.folders)

    @cached_property
    def _sets(self) -> dict[str, frozenset[str]]:
        return {folder: frozenset(names) for folder, names in self.folders.items()}

    @cached_property
    def lowered(self) -> dict[str, str]:
        """Each folder with files by its name in small letters."""
        return {folder.lower(): folder for folder in self.folders}

    @cached_property
    def pictures(self) -> dict[str, list[str]]:
        """Of each folder with pictures their names."""
        found = {folder: [name for name in names if is_picture(name)] for folder, names in self.folders.items()}
        return {folder: names for folder, names in found.items() if names}

    @cached_property
    def others(self) -> dict[str, list[str]]:
        """Of each folder with other files than pictures their names."""
        found = {folder: [name for name in names if not is_picture(name)] for folder, names in self.folders.items()}
        return {folder: names for folder, names in found.items() if names}

    def use(self, *names: str) -> None:
        """These files were read."""
        self._used.update(names)

    @property
    def used(self) -> set[str]:
        """Files that were read, but for pictures."""
        return self._used

    def relative(self, text: str) -> str | None:
        """How the tree names what is at a path that begins as the root's does; None if it does not."""
        return text[len(self._start) :].replace(os.sep, "/") if text.startswith(self._start) else None

    def inside(self, path: str | Path) -> str | None:
        """How the tree names a file or folder, however its path is written; None if it is not below the root."""
        found = os.path.relpath(path, self.root).replace(os.sep, "/")
        return None if found == ".." or found.startswith("../") else "" if found == "." else found


def _leads_back(place: str, where: str) -> bool:
    """Whether a link in the folder `place` leads to that folder or to one above it."""
    here, there = os.path.realpath(place), os.path.realpath(where)
    return os.path.commonpath([here, there]) == there


def _pointed_at(path: str) -> str | None:
    """The folder that a file stands for: Git leaves a file with the path in it where it cannot make a link."""
    try:
        if os.stat(path).st_size > _POINTER:
            return None
        with open(path, encoding="utf-8") as file:
            target = os.path.join(os.path.dirname(path), file.read().strip())
    except (OSError, ValueError):
        return None
    return target if os.path.isdir(target) else None


def is_picture(name: str) -> bool:
    """Whether a file's name has the ending of a picture that can be read here."""
    # Of a million names: two steps where os.path.splitext and a comparison with each ending would be ten.
    ending = name[name.rfind(".") :].lower()
    return ending in _ENDINGS and (ending not in HEIC or reads_heic())


def folder_of(name: str) -> str:
    """The folder of a file, both named relative to a tree's root."""
    return name.rpartition("/")[0]


def stem_of(name: str) -> str:
    """A file's name without its folder and its ending."""
    return os.path.splitext(name.rpartition("/")[2])[0]


def child(folder: str, name: str) -> str:
    """What is called `name` in a folder of a tree."""
    return f"{folder}/{name}" if folder else name
