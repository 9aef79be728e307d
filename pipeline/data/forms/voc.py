"""Pascal VOC XML: a file for each picture, in Annotations/ or anywhere else, with lists of splits or in their folders.

Corners are taken as written: xmin, ymin, xmax, ymax are pixel coordinates of the box's edges, w = xmax - xmin. VOC
itself counts pixels from 1 and includes both corners; most tools that write its XML do not, and one pixel is within the
labels' noise. Objects marked `difficult` are flagged like COCO's crowds: ignored in training and evaluation, as VOC's
own evaluation does. Turned boxes and polygons stand for the boxes around them.

Format: Everingham et al., The PASCAL Visual Object Classes Challenge 2012 Development Kit.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from micro_yolo.pipeline.data.dataset import Dataset, Problems, Reader, clean_name
from micro_yolo.pipeline.data.files import in_threads
from micro_yolo.pipeline.data.labels import Collected, corners_of, number
from micro_yolo.pipeline.data.splits import WORDS, is_whole, split_of, split_of_path, words_of
from micro_yolo.pipeline.data.text import decoded, encoding_of, lines_of, read_text, read_whole
from micro_yolo.pipeline.data.tree import Tree, child, folder_of, is_picture, stem_of
from micro_yolo.pipeline.data.whereabouts import AmbiguousError, Finder, key_of

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
# What the name of a list may say beside its split; VOC's lists of single classes name those.
_BESIDE = {"list", "lists", "files", "file", "images", "ids", "set", "split", "names"}
_OTHER = "<filename> names another picture; the XML's own name is used"


@dataclass(frozen=True)
class Found:
    """XML files per split, and those that a list names and that are not there, each with the list.

    Attributes:
        xml: as the tree names them; "all" where nothing tells.
        lists: that were followed or are contained in others.
        missing: XML files.
    """

    xml: dict[str, list[str]]
    lists: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()


def find(tree: Tree) -> Found | None:
    """The XML files of each split; None if there are none.

    Lists in ImageSets/Main or in the root are followed: train.txt, val.txt and test.txt as they are; trainval.txt is
    train where there is no train.txt. Without lists the folders tell.
    """
    sure = tree.forms.get("voc", ())
    folders = {folder_of(file) for file in sure}
    # What lies among them or where VOC has them is one too, however broken.
    files = [
        file
        for file in tree.files(".xml")
        if folder_of(file) in folders or folder_of(file).rpartition("/")[2].lower() == "annotations"
    ]
    others = {file for form in ("cvat", "imglab") for file in tree.forms.get(form, ())}
    files = [file for file in files if file not in others and (not tree.only or file in tree.only)]
    if not files:
        return None
    return _listed(tree, files) or Found(_by_split(files))


def _by_split(files: list[str]) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {}
    for file in files:
        splits.setdefault(split_of_path(folder_of(file)) or "all", []).append(file)
    return splits


def _listed(tree: Tree, files: list[str]) -> Found | None:
    lists: dict[str, list[str]] = {}
    for name in tree.files(".txt"):
        folder, stem = folder_of(name), stem_of(name)
        plain = all(word in WORDS or word in _BESIDE for word in words_of(stem))
        if plain and split_of(stem) and (not folder or "imagesets" in folder.lower()):
            lists.setdefault("trainval" if is_whole(stem) else split_of(stem) or "", []).append(name)
    used = tuple(name for names in lists.values() for name in names)
    whole = lists.pop("trainval", None)
    if "train" not in lists and whole:
        lists["train"] = whole
        lists.pop("val", None)
    if not lists:
        return None
    by_stem: dict[str, list[str]] = {}
    for file in files:
        by_stem.setdefault(key_of(stem_of(file)), []).append(file)
    xml: dict[str, list[str]] = {}
    missing = []
    for split, names in lists.items():
        for name in names:
            where = folder_of(name) or name
            for stem in _stems(tree, name):
                found = by_stem.get(key_of(stem))
                if found:
                    xml.setdefault(split, []).append(max(found, key=lambda file: _alike(file, name)))
                else:
                    xml.setdefault(split, [])
                    missing.append((child(folder_of(files[0]), f"{stem}.xml"), where))
    # Lists of something else that happen to have such names.
    return Found(xml, used, tuple(missing)) if any(xml.values()) or any("/" in name for name in used) else None


def _alike(file: str, name: str) -> int:
    same = 0
    for one, other in zip(file.split("/"), name.split("/"), strict=False):
        if one != other:
            break
        same += 1
    return same


def _stems(tree: Tree, name: str) -> list[str]:
    stems = []
    for line in lines_of(read_text(tree.full(name))):
        # VOC's own lists may put 1 or -1 behind a name, others the XML behind the picture. A name may have spaces.
        # By words and not by patterns, which try a line of somebody's in all ways there are.
        before, *flag = line.rsplit(None, 1) or [""]
        plain = (before if flag and flag[0].lstrip("-") in ("0", "1") else line).strip().replace("\\", "/")
        xml = plain.split()[-1][: -len(".xml")] if plain.lower().endswith(".xml") else ""
        last = (xml or plain).rpartition("/")[2]
        stems.append(stem_of(last) if is_picture(last) else last)
    return stems


def read(tree: Tree, found: Found, *, val_fraction: float, seed: int) -> Dataset:
    """Reads the files `find` gave; classes are the names met, alphabetically. ValueError if nothing is left."""
    collected = Collected(tree)
    tree.use(*found.lists)
    for file, where in found.missing:
        collected.problems.add(file, f"listed in {where} but the annotation is missing")
    for split, files in found.xml.items():
        collected.split(split)
        tree.use(*files)
        _read_files(tree, split, files, collected)
    return collected.dataset("voc", val_fraction=val_fraction, seed=seed)


def _read_files(tree: Tree, split: str, files: list[str], collected: Collected) -> None:
    # Here, so that evaluating on other formats needs no XML library.
    from defusedxml import DefusedXmlException

    labels, problems = collected.split(split), collected.problems
    for file, data in zip(files, in_threads(_read, [tree.full(file) for file in files]), strict=True):
        try:
            xml = parse(data)
        except DefusedXmlException:
            problems.add(file, "XML with entities or a document type of its own is refused")
            continue
        except (ParseError, OSError, ValueError, LookupError) as error:
            problems.add(file, f"not XML that can be read ({' '.join(str(error).split())[:80]})")
            continue
        try:
            image = _picture(collected.finder, file, xml.findtext("filename") or "", split, problems)
        except AmbiguousError as error:
            problems.add(file, f"{error}, skipped")
            continue
        if image in labels.files:
            problems.add(file, "a second annotation of the same image, skipped")
            continue
        size = xml.find("size")
        picture = labels.picture(image, _under(size, "height"), _under(size, "width"))
        for element in xml.iter("object"):
            name = clean_name(element.findtext("name") or "")
            if not name:
                problems.add(file, "object without a name, skipped")
                continue
            difficult = (element.findtext("difficult") or "").strip() == "1"
            labels.box(picture, name, _corners(element), crowd=difficult)


def _read(path: str) -> bytes | OSError:
    try:
        return read_whole(path)
    except OSError as error:
        return error


class _Plain(TreeBuilder):
    """Refuses a document type, without which there are no entities."""

    def doctype(self, *_: object) -> None:
        raise _DoctypeError


class _DoctypeError(Exception):
    pass


def parse(data: bytes | OSError) -> Element:
    """The first element of an XML file.

    Raises ParseError, ValueError, LookupError or DefusedXmlException if it is none, and the OSError it is given.
    """
    if isinstance(data, OSError):
        raise data
    data = data.lstrip()
    declared = re.match(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)["'][^>]*\?>""", data)
    if declared and encoding_of(data[:64]) is None and declared[1].lower() not in _OF_EXPAT:
        # Python's parser knows encodings of one byte alone.
        data = data[declared.end() :].decode(declared[1].decode(), "replace").encode()
    if encoding_of(data[:64]) is None and (not declared or declared[1].lower() in (b"utf-8", b"utf8")):
        data = decoded(data).encode() if not _is_utf8(data) else data
    # Six times as fast as defusedxml's parser, which is written in Python.
    parser = XMLParser(target=_Plain())
    try:
        parser.feed(data)
        return parser.close()
    except _DoctypeError:
        from defusedxml.ElementTree import fromstring

        tree: Element = fromstring(data)
        return tree


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
        return True
    except UnicodeDecodeError:
        return False


def _picture(finder: Finder, file: str, written: str, split: str, problems: Problems) -> str:
    """The picture by the XML's own name, else by the name in it. May not exist."""
    near, wanted = folder_of(file), None if split == "all" else split
    own = finder.find(stem_of(file), near, split=wanted)
    if own is not None:
        if written.strip() and key_of(stem_of(written.strip().replace("\\", "/"))) != key_of(stem_of(file)):
            other = finder.find(written, near, split=wanted)
            if other is not None and other != own:
                problems.add(near or "XML files", _OTHER)
        return own
    return (finder.find(written, near, split=wanted) if written.strip() else None) or finder.missing(
        written.strip() or stem_of(file), near
    )


def _corners(element: Element) -> tuple[float, ...]:
    """The box of an object, or the one around its turned box or its polygon; NaN where there is none."""
    box = element.find("bndbox")
    if box is not None:
        return tuple(_under(box, tag) for tag in _CORNERS)
    turned = element.find("robndbox")
    if turned is not None:
        x, y, w, h, angle = (_under(turned, tag) for tag in ("cx", "cy", "w", "h", "angle"))
        if not math.isfinite(angle):
            return (angle,) * 4
        sine, cosine = abs(math.sin(angle)), abs(math.cos(angle))
        dx, dy = (w * cosine + h * sine) / 2, (w * sine + h * cosine) / 2
        return x - dx, y - dy, x + dx, y + dy
    polygon = element.find("polygon")
    if polygon is None:
        return corners_of([])
    points = [(_under(each, "x"), _under(each, "y")) for each in polygon.iter("pt")]
    numbered = {each.tag: each.text for each in polygon}
    points += [(number(numbered[f"x{i}"]), number(numbered.get(f"y{i}"))) for i in range(1, 999) if f"x{i}" in numbered]
    return corners_of(points)


def _under(element: Element | None, tag: str) -> float:
    """The number under a tag; NaN where there is none."""
    return number(element.findtext(tag)) if element is not None else float("nan")


_OF_EXPAT = {b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin-1", b"latin1", b"utf-16"}
READER = Reader(
    "Pascal VOC: .xml files in Annotations/ or beside the images, in train/ and test/ folders or not", find, read
)
