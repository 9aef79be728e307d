"""What was found and not used, counted and named with the reason."""

from __future__ import annotations

import os
from collections import defaultdict

from micro_yolo.model.printable import harmless
from micro_yolo.pipeline.data.dataset import Dataset, Problem
from micro_yolo.pipeline.data.files import Files
from micro_yolo.pipeline.data.forms.sniff import SAYS
from micro_yolo.pipeline.data.tree import HEIC, Tree, child, folder_of, stem_of

# What may be meant as a picture, and is none that is read.
_KINDS = {
    **dict.fromkeys(HEIC, "`pip install 'micro-yolo[heic]'` brings what reads it"),
    **dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".raw"), "a camera's raw data"),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"), "a video"),
    **dict.fromkeys((".jp2", ".j2k", ".jxl", ".svg", ".psd", ".exr", ".hdr", ".dcm", ".ico", ".pnm", ".pbm"), "other"),
}
_DATA = (".json", ".jsonl", ".ndjson", ".csv", ".tsv")


def leftovers(tree: Tree, dataset: Dataset) -> tuple[Problem, ...]:
    """What of the tree is in no split of `dataset`, was not read for it, and is not named among its problems."""
    named = {problem.file for problem in dataset.problems}
    # Of a label file that cannot be read the picture is not named a second time.
    explained = {stem_of(file) for file in named if "." in file}
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in _pictures(tree, dataset):
        if file not in named and stem_of(file) not in explained:
            found[folder_of(file), "picture that none of the labels read names, not used"].append(file)
    form_of = {file: form for form, files in tree.forms.items() for file in files}
    of_labels = {folder_of(file) for file in tree.used if file.lower().endswith(".txt")} - {""}
    for folder, names in tree.others.items():
        for name in names:
            file = child(folder, name)
            if file in tree.used or file in named:
                continue
            reason = _reason(file, form_of.get(file), among_labels=folder in of_labels, read=dataset.format)
            if reason is not None:
                found[folder, reason].append(file)
    return tuple(
        Problem(harmless(files[0] if len(files) == 1 else folder or "."), reason, len(files), unused=True)
        for (folder, reason), files in found.items()
    )


def _pictures(tree: Tree, dataset: Dataset) -> list[str]:
    """Those in no split; one that is there by way of a link too is in it."""
    used = {text for split in dataset.splits.values() for text in Files.of(split.files).texts}
    idle = []
    for folder, names in tree.pictures.items():
        start = tree.full(child(folder, "_"))[:-1]
        idle += [child(folder, name) for name in names if start + name not in used]
    if idle and tree.links:
        real = {os.path.realpath(text) for text in used}
        idle = [file for file in idle if os.path.realpath(tree.full(file)) not in real]
    return idle


def _reason(file: str, form: str | None, *, among_labels: bool, read: str) -> str | None:
    """Why a file is not used; None of one that has nothing to do with labels."""
    ending = os.path.splitext(file)[1].lower()
    if ending in _KINDS:
        kind = "" if _KINDS[ending] == "other" else f", {_KINDS[ending]}"
        return f"picture of a kind that is not read ({ending}{kind}), not used"
    if ending == ".txt" and (among_labels or (form == "yolo" and read == "yolo")):
        return "label file without a picture, not used"
    if form is not None:
        return f"{SAYS[form][0]}, not used beside what was read ({read})"
    return f"{ending[1:].upper()} of no form that is known, not used" if ending in _DATA else None
