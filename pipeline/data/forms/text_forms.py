"""Labels in plain text, but for YOLO's: a file for each picture, or one that lists them all."""

from __future__ import annotations

import re
from collections.abc import Callable

from micro_yolo.pipeline.data.files import size_or_none
from micro_yolo.pipeline.data.forms.class_lists import class_list
from micro_yolo.pipeline.data.labels import Collected, corners_of, number
from micro_yolo.pipeline.data.splits import split_of_path
from micro_yolo.pipeline.data.text import lines_of, read_text
from micro_yolo.pipeline.data.tree import Tree, folder_of, stem_of

# VisDrone's classes, which its files give by number: https://github.com/VisDrone/VisDrone2018-DET-toolkit
_VISDRONE = (
    *("ignored regions", "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle"),
    *("bus", "motor", "others"),
)
_NO_OBJECT = ("DontCare", "ignored regions")
Line = tuple[str, tuple[float, ...]]


def read_file(tree: Tree, file: str, collected: Collected, form: str) -> None:
    """Add the picture of a file of labels, or all of a list; lines of another form are problems."""
    if form in LISTS:
        LISTS[form](tree, file, collected)
        return
    split, near = split_of_path(file), folder_of(file)
    picture = collected.picture(stem_of(file), near, split)
    if picture is None:
        return
    lines = lines_of(read_text(tree.full(file)))
    found = []
    for line in lines:
        try:
            parsed = LINES[form](line)
        except (ValueError, IndexError):
            collected.problems.add(file, f"line that is not as others of {form}, skipped")
            continue
        if parsed is not None:
            found.append(parsed)
    if form == "oidv4" and found and all(0 <= each <= 1 for _, box in found for each in box):
        # YOLO's lines with names for numbers.
        found = _from_middles(tree, collected, split, picture, found)
    for name, corners in found:
        if name in _NO_OBJECT:
            collected.problems.add(folder_of(file) or ".", f"region that is to be ignored ({name}), left out")
        else:
            collected.box(split, picture, name, corners)


def _from_middles(tree: Tree, collected: Collected, split: str | None, picture: int, found: list[Line]) -> list[Line]:
    file = next(name for name, number in collected.split(split).files.items() if number == picture)
    height, width = size_or_none(tree.full(file)) or (float("nan"),) * 2
    return [
        (name, ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height))
        for name, (x, y, w, h) in found
    ]


def _kitti(line: str) -> Line:
    """KITTI: type, truncated, occluded, alpha, then the corners.

    https://www.cvlibs.net/datasets/kitti/
    """
    words = line.split()
    return words[0], tuple(float(word) for word in words[4:8])


def _dota(line: str) -> Line | None:
    """DOTA: four corners, class, difficult.

    https://captain-whu.github.io/DOTA/
    """
    if line.startswith(("imagesource", "gsd")):
        return None
    words = line.split()
    values = [float(word) for word in words[:8]]
    return words[8], corners_of(list(zip(values[::2], values[1::2], strict=True)))


def _visdrone(line: str) -> Line:
    x, y, w, h, _, kind = [float(word) for word in line.split(",")[:6]]
    return _VISDRONE[int(kind)], (x, y, x + w, y + h)


def _oidv4(line: str) -> Line:
    """The OIDv4 toolkit: a class's name, which may have spaces, and corners."""
    words = line.split()
    return " ".join(words[:-4]), tuple(float(word) for word in words[-4:])


LINES: dict[str, Callable[[str], Line | None]] = {
    "kitti": _kitti,
    "dota": _dota,
    "visdrone": _visdrone,
    "oidv4": _oidv4,
}


def _read_list(tree: Tree, file: str, collected: Collected) -> None:
    """keras-yolo3: a picture and its boxes on each line, x1,y1,x2,y2,class number, with spaces between."""
    names = class_list(tree, collected.problems) or {}
    collected.classes([names[i] for i in sorted(names)])
    near, split = folder_of(file), split_of_path(file)
    for line in lines_of(read_text(tree.full(file))):
        found = re.match(r"(.+?)((?:(?<!\s)\s+-?[\d.]+(?:,-?[\d.]+){4})*)$", line)
        if found is None:
            collected.problems.add(file, "line that is not a picture and its boxes, skipped")
            continue
        picture = collected.picture(found[1], near, split)
        for box in found[2].split():
            *corners, kind = map(number, box.split(","))
            name = names.get(int(kind), str(int(kind))) if kind == kind else ""
            collected.box(split, picture, name, corners)


def _read_faces(tree: Tree, file: str, collected: Collected) -> None:
    """WIDER FACE: a picture, how many faces, then x y w h and more of each.

    http://shuoyang1213.me/WIDERFACE/
    """
    near, split = folder_of(file), split_of_path(file)
    picture: int | None = None
    for line in lines_of(read_text(tree.full(file))):
        words = line.split()
        if len(words) >= 4:
            x, y, w, h = map(number, words[:4])
            # A picture without faces has a line of zeros.
            if w or h:
                collected.box(split, picture, "face", (x, y, x + w, y + h))
        elif not line.isdecimal():
            picture = collected.picture(line, near, split)


LISTS = {"picture list": _read_list, "wider face": _read_faces}
