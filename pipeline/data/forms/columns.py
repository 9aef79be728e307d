"""The columns of a CSV with boxes: by the names in its first line, or without those by what is in them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from micro_yolo.pipeline.data.splits import split_of
from micro_yolo.pipeline.data.tree import is_picture

DELIMITERS = ",;\t| "
# What people call each column: small letters and digits alone.
_NAMES = {
    "image": "filename file filepath image imagename imagepath imagefile imageid path img imgpath imgname frame name",
    "class": "class label labelname classname category categoryname name classid categoryid labelid object type "
    "annotationtag",
    "x1": "xmin x1 roix1 xtl left bboxxmin boxxmin bboxx1 xleft minx topleftx upperleftcornerx x0",
    "y1": "ymin y1 roiy1 ytl top bboxymin boxymin bboxy1 ytop miny toplefty upperleftcornery y0",
    "x2": "xmax x2 roix2 xbr right bboxxmax boxxmax bboxx2 xright maxx bottomrightx lowerrightcornerx",
    "y2": "ymax y2 roiy2 ybr bottom bboxymax boxymax bboxy2 ybottom maxy bottomrighty lowerrightcornery",
    "x": "x bboxx bboxleft boxx left xmin x1",
    "y": "y bboxy bboxtop boxy top ymin y1",
    "w": "w bboxwidth bboxw boxwidth boxw width",
    "h": "h bboxheight bboxh boxheight boxh height",
    "cx": "xcenter centerx cx xcentre centrex",
    "cy": "ycenter centery cy ycentre centrey",
    "width": "imagewidth imgwidth imgw imagew width",
    "height": "imageheight imgheight imgh imageh height",
    "bbox": "bbox box boundingbox",
    "split": "split set subset usage partition mluse",
    "group": "isgroupof",
    "shape": "regionshapeattributes",
    "attributes": "regionattributes",
}
_SAID = {part: names.split() for part, names in _NAMES.items()}
# One of these must be there, by name.
_PLACES = (("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"), ("cx", "cy", "w", "h"), ("bbox",), ("shape", "attributes"))
# Without names: P a picture, N a number, T text, E nothing, S a word for a split; and what each is.
_BARE: dict[str, tuple[str, ...]] = {
    "PNNNNT": ("image", "x1", "y1", "x2", "y2", "class"),
    "PNNNNN": ("image", "x1", "y1", "x2", "y2", "class"),
    "PNNNNTNN": ("image", "x1", "y1", "x2", "y2", "class", "width", "height"),
    "PNNTNNNN": ("image", "width", "height", "class", "x1", "y1", "x2", "y2"),
    "TNNNNPNN": ("class", "x", "y", "w", "h", "image", "width", "height"),
    "TNNNNP": ("class", "x", "y", "w", "h", "image"),
    "PNNNNNT": ("image", "x1", "y1", "x2", "y2", "", "class"),
    "PNNNNNTT": ("image", "x1", "y1", "x2", "y2", "", "class", ""),
    "PTNNNN": ("image", "class", "x1", "y1", "x2", "y2"),
    "SPTNNEENNEE": ("split", "image", "class", "x1", "y1", "", "", "x2", "y2", "", ""),
    "SPTNNNNNNNN": ("split", "image", "class", "x1", "y1", "", "", "x2", "y2", "", ""),
    "PTNNEENNEE": ("image", "class", "x1", "y1", "", "", "x2", "y2", "", ""),
    "PTNNNNNNNN": ("image", "class", "x1", "y1", "", "", "x2", "y2", "", ""),
}


@dataclass(frozen=True)
class Columns:
    """Which column is what.

    Attributes:
        delimiter: between columns.
        named: whether the first line names them.
        at: the number of the column of each part of a box.
        place: the parts that say where a box is, one of the rows of `_PLACES`.
        count: columns of the first line.
    """

    delimiter: str
    named: bool
    at: dict[str, int]
    place: tuple[str, ...]
    count: int


def columns_of(head: str) -> Columns | None:
    """The columns of a CSV that begins like this; None if there are no boxes in it."""
    lines = [line for line in without_mark(head).splitlines()[:20] if line.strip()]
    if not lines:
        return None
    for delimiter in sorted(DELIMITERS, key=lambda sign: -lines[0].count(sign)):
        if delimiter in lines[0]:
            try:
                rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
            except csv.Error:
                continue
            found = _named(rows[0], delimiter) or _bare(rows, delimiter)
            if found is not None:
                return found
    return None


def without_mark(text: str) -> str:
    """Without the line by which Excel tells itself the delimiter."""
    return re.sub(r"^\s*sep=.\r?\n", "", text)


def _named(heads: Sequence[str], delimiter: str) -> Columns | None:
    plain = [re.sub(r"[^a-z0-9]", "", head.lower()) for head in heads]

    def column(part: str, taken: set[int]) -> int | None:
        return next((plain.index(n) for n in _SAID[part] if n in plain and plain.index(n) not in taken), None)

    for place in _PLACES:
        at: dict[str, int] = {}
        # "name" alone is the class's where there is another word for the picture.
        for part in (*place, "image", "class", "width", "height", "split", "group"):
            number = column(part, set(at.values()))
            if number is not None:
                at[part] = number
        known = {"image", *place} <= at.keys() and ("class" in at or place in (("bbox",), ("shape", "attributes")))
        if known:
            return Columns(delimiter, True, at, place, len(heads))
    return None


def _kind(cell: str) -> str:
    text = cell.strip()
    if not text:
        return "E"
    try:
        float(text)
        return "N"
    except ValueError:
        pass
    if is_picture(text.partition("?")[0]):
        return "P"
    return "S" if text.isupper() and (split_of(text) or text == "UNASSIGNED") else "T"


def _bare(rows: list[list[str]], delimiter: str) -> Columns | None:
    for row in rows:
        kinds = "".join(map(_kind, row))
        # A number may be a class's name, and a word for a split another.
        for pattern in (kinds, kinds.replace("S", "T")):
            if pattern in _BARE:
                at = {part: number for number, part in enumerate(_BARE[pattern]) if part}
                place = next(place for place in _PLACES if set(place) <= at.keys())
                return Columns(delimiter, False, at, place, len(row))
    return None
