"""Which of several COCO files is of which split, and which of several is meant."""

from __future__ import annotations

import os
import re

from micro_yolo.pipeline.data.splits import ORDER, is_whole, split_of_path, words_of
from micro_yolo.pipeline.data.tree import Tree, child, folder_of, stem_of

YAML_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
SYNTHETIC_RECIPE = "recipe.json"
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
# Of one split, what has boxes for certain comes before what may have none.
_KINDS = ("instances", "", "keypoints", "stuff", "panoptic", "captions", "info")


def find(tree: Tree) -> dict[str, str] | None:
    """Split name -> file; None if there is none. ValueError if several would do for one split.

    Of several for a split those nearest to the root count, then those of instances, then that of the newest year.
    """
    files = list(tree.forms.get("coco", ()))
    if tree.only:
        files = [file for file in files if file in tree.only]
        return _given(files) if files else None
    # Labels that a file of YOLO's names go before a JSON that is there too.
    named = tree.forms.get("darknet") or any(name in tree.lower("") for name in YAML_NAMES)
    if named and tree.forms.get("yolo") and not any(map(_by_name, files)):
        return None
    # By its name it should be: what is wrong with it is told when it is read.
    unknown = [name for name in tree.files(".json") if _by_name(name) and name not in files]
    files += [name for name in unknown if not any(name in others for others in tree.forms.values())]
    groups: dict[str, list[str]] = {}
    for file in sorted(files):
        groups.setdefault(_split_of(file) or "all", []).append(file)
    found = {}
    for split, group in groups.items():
        best = min(map(_rank, group))
        meant = [file for file in group if _rank(file) == best]
        newest = max(_year(file) for file in meant)
        meant = [file for file in meant if _year(file) == newest]
        # What has no boxes by its name, or no word for a split beside others that have one, is named as not used.
        if len(groups) > 1 and (split == "all" or best[1] >= _KINDS.index("panoptic")):
            continue
        if len(meant) > 1:
            shown = ", ".join(meant[:4]) + (", ..." if len(meant) > 4 else "")
            given = ",".join(os.path.join(tree.root, file) for file in meant[:2])
            what = "no name tells which split each is" if split == "all" else f"all of them for {split}"
            raise ValueError(
                f"{tree.root}: {len(meant)} COCO files were found ({shown}) and {what}; allowed: one, or two as "
                f"{given} (train, then val)"
            )
        found[split] = meant[0]
    return {split: found[split] for split in ("all", *ORDER) if split in found} or None


def _given(files: list[str]) -> dict[str, str]:
    """Of files that the user named: by their words where those are of different splits, else in the order given."""
    said = [_split_of(file) for file in files]
    if len(files) > 1 and (None in said or len(set(said)) < len(said)):
        said = list(ORDER[: len(files)])
    return (
        {split or "all": file for split, file in zip(said, files, strict=True)} if len(files) > 1 else {"all": files[0]}
    )


def find_single(tree: Tree) -> dict[str, str] | None:
    """{"all": file} if there is exactly one JSON file, whatever its name."""
    if tree.only:
        return None
    for folder in ("", "annotations"):
        single = [n for n in tree.folders.get(folder, ()) if n.lower().endswith(".json") and n != SYNTHETIC_RECIPE]
        if len(single) == 1:
            return {"all": child(folder, single[0])}
    return None


def _by_name(file: str) -> bool:
    name = file.rpartition("/")[2].lower()
    return name.startswith("instances_") or name == "_annotations.coco.json"


def _split_of(file: str) -> str | None:
    return "train" if is_whole(file) else split_of_path(folder_of(file) + "/" + stem_of(file))


def _rank(file: str) -> tuple[int, int]:
    folder = folder_of(file).lower()
    depth = 0 if folder in ("", "annotations") else folder.count("/") + 1
    words = words_of(stem_of(file))
    kind = next((number for number, word in enumerate(_KINDS) if word and word in words), 1)
    return depth, kind


def _year(file: str) -> str:
    years = _YEAR.findall(stem_of(file))
    return years[-1] if years else ""
