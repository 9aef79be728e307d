"""Pictures found where a person would find them, whatever machine and program wrote their names down."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from functools import cached_property
from urllib.parse import unquote

from micro_yolo.pipeline.data.splits import split_of_path
from micro_yolo.pipeline.data.tree import Tree, child, folder_of
from micro_yolo.tflite.image import SUFFIXES

# What labelling servers put before the name of an upload.
_UPLOAD = re.compile(r"^[0-9a-f]{8}-")


class AmbiguousError(ValueError):
    """Several pictures would do; the message names some."""


class Finder:
    """Finds the pictures of a tree by names that others wrote."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        # By the folder of the file that names pictures, where the last of them was.
        self._likely: dict[str, str] = {}

    def find(self, written: str, near: str = "", *, split: str | None = None, exact: bool = False) -> str | None:
        """The picture that `written` means, as the tree names it; None if there is none.

        Tried in turn: the path as it is, below `near` and below the root; pictures with the same name, then with the
        same name but for letter case, Unicode form, %20 and the ending. Of several the one that shares most of the
        path is meant, then one of the same split, then the one nearest to `near`.

        Args:
            written: a path, perhaps of another machine; or a name, with an ending or without.
            near: the folder of the file that says so.
            split: which split it is to be of, if that is known.
            exact: another ending is not forgiven.

        Raises:
            AmbiguousError: several pictures are as good.
        """
        plain = plain_path(written)
        if not plain:
            return None
        for folder in (near, ""):
            candidate = child(folder, plain)
            if self.tree.has(candidate) and (not split or split_of_path(folder_of(candidate)) in (None, split)):
                return candidate
        found = self._choose(plain, near, split, exact)
        if found is not None:
            self._likely[near] = folder_of(found)
        return found

    def missing(self, written: str, near: str = "") -> str:
        """Where a picture that is not found would have been looked for."""
        plain = plain_path(written)
        folders = self.tree.pictures
        best = self._likely.get(near, near if near in folders else next(iter(folders), near))
        return child(best, plain.rpartition("/")[2] if "/" in plain else plain)

    def _choose(self, plain: str, near: str, split: str | None, exact: bool) -> str | None:
        last = plain.rpartition("/")[2]
        candidates = self._by_name.get(key_of(last), [])
        if not candidates and not exact:
            stem, ending = os.path.splitext(last)
            # A name without an ending may have dots in it.
            stem = stem if ending.lower() in SUFFIXES else last
            candidates = self._by_stem.get(key_of(stem), [])
            if not candidates:
                bare = _UPLOAD.sub("", stem)
                candidates = self._by_upload.get(key_of(bare), [])
        if len(candidates) < 2:
            return candidates[0] if candidates else None
        parts = [key_of(part) for part in plain.split("/")]
        ranks = {
            name: (_shared_end(name, parts), _fits(name, split, near), _shared_start(name, near)) for name in candidates
        }
        best = max(ranks.values())
        meant = [name for name, rank in ranks.items() if rank == best]
        if len(meant) > 1:
            shown = ", ".join(meant[:3]) + (", ..." if len(meant) > 3 else "")
            raise AmbiguousError(f"{len(meant)} pictures have this name ({shown})")
        return meant[0]

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for folder, names in self.tree.pictures.items():
            for name in names:
                found[key_of(name)].append(child(folder, name))
        return dict(found)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for name, places in self._by_name.items():
            found[os.path.splitext(name)[0]].extend(places)
        return dict(found)

    @cached_property
    def _by_upload(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for stem, places in self._by_stem.items():
            found[_UPLOAD.sub("", stem)].extend(places)
        return dict(found)


def plain_path(written: str) -> str:
    """A path as someone wrote it, with slashes, and without a drive, a server, or what leads out of the folder."""
    text = written.strip().replace("\\", "/")
    text = re.sub(r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/]*", "", text)
    text = re.sub(r"^[a-zA-Z]:/", "/", text)
    if "?" in text and "=" in text:
        # Label Studio: /data/local-files/?d=folder/name.jpg; others put a key behind the name.
        path, _, query = text.partition("?")
        inner = re.search(r"(?:^|&)d=([^&]+)", query)
        text = inner[1] if inner else path
    parts = [part for part in text.split("/") if part not in ("", ".", "..")]
    return "/".join(parts)


def key_of(name: str) -> str:
    """A name without what differs between systems: %20, Unicode form, letter case."""
    text = unquote(name) if "%" in name else name
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()


def _shared_end(name: str, parts: list[str]) -> int:
    own = [key_of(part) for part in name.split("/")]
    own[-1], parts = os.path.splitext(own[-1])[0], [*parts[:-1], os.path.splitext(parts[-1])[0]]
    count = 0
    for mine, other in zip(reversed(own), reversed(parts), strict=False):
        if mine != other:
            break
        count += 1
    return count


def _fits(name: str, split: str | None, near: str) -> int:
    wanted = split or split_of_path(near)
    return int(wanted is not None and split_of_path(folder_of(name)) == wanted)


def _shared_start(name: str, near: str) -> int:
    count = 0
    for mine, other in zip(name.split("/")[:-1], near.split("/") if near else [], strict=False):
        if mine != other:
            break
        count += 1
    return count
