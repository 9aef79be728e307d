"""Labels in one XML file for many pictures: CVAT's and dlib's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from micro_yolo.pipeline.data.forms.json_forms import Box, Picture
from micro_yolo.pipeline.data.forms.voc import parse
from micro_yolo.pipeline.data.labels import Collected, corners_of, number
from micro_yolo.pipeline.data.splits import split_of, split_of_path
from micro_yolo.pipeline.data.text import read_whole
from micro_yolo.pipeline.data.tree import Tree, folder_of

_NAN = float("nan")


def read_file(tree: Tree, file: str, collected: Collected, form: str) -> None:
    """Add the pictures of a file; one that cannot be read is a problem."""
    from defusedxml import DefusedXmlException

    try:
        xml = parse(read_whole(tree.full(file)))
    except (DefusedXmlException, ParseError, OSError, ValueError, LookupError) as error:
        collected.problems.add(file, f"not XML that can be read ({' '.join(str(error).split())[:80]})")
        return
    near, of_file = folder_of(file), split_of_path(file)
    for (written, height, width, boxes), subset in READ[form](xml):
        split = of_file or subset
        picture = collected.picture(written, near, split, height, width)
        for name, corners in boxes:
            if corners is None:
                collected.problems.add(file, "shape that has no box (a point or a line), skipped")
            else:
                collected.box(split, picture, name, corners)


def _numbers(element: Element, *keys: str) -> list[float]:
    return [number(element.get(key)) for key in keys]


def _cvat(xml: Element) -> Iterator[tuple[Picture, str | None]]:
    yield from _cvat_images(xml)
    frames: dict[int, list[Box]] = {}
    for track in xml.iter("track"):
        for box in track.iter("box"):
            if box.get("outside") != "1":
                corners = tuple(_numbers(box, "xtl", "ytl", "xbr", "ybr"))
                frames.setdefault(int(box.get("frame") or 0), []).append((track.get("label"), corners))
    # CVAT writes the frames of a video with the names that they are given here.
    for frame, boxes in sorted(frames.items()):
        yield (f"frame_{frame:06d}", _NAN, _NAN, boxes), None


def _cvat_images(xml: Element) -> Iterator[tuple[Picture, str | None]]:
    """CVAT for images 1.1.

    https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
    """
    for image in xml.iter("image"):
        boxes: list[Box] = []
        for shape in image:
            name: Any = shape.get("label")
            if shape.tag == "box":
                boxes.append(
                    (name, _turned(_numbers(shape, "xtl", "ytl", "xbr", "ybr"), number(shape.get("rotation", "0"))))
                )
            elif shape.tag == "ellipse":
                x, y, rx, ry = _numbers(shape, "cx", "cy", "rx", "ry")
                boxes.append((name, (x - rx, y - ry, x + rx, y + ry)))
            elif shape.tag in ("polygon", "polyline", "points"):
                pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";") if pair]
                boxes.append(
                    (name, corners_of([tuple(map(number, p)) for p in pairs]) if shape.tag == "polygon" else None)
                )
            elif shape.tag == "mask":
                left, top, width, height = _numbers(shape, "left", "top", "width", "height")
                boxes.append((name, (left, top, left + width, top + height)))
        height, width = _numbers(image, "height", "width")
        yield (image.get("name") or "", height, width, boxes), split_of(image.get("subset") or "")


def _turned(corners: list[float], degrees: float) -> tuple[float, ...]:
    """The box around a box that is turned around its middle."""
    x1, y1, x2, y2 = corners
    if not degrees:
        return x1, y1, x2, y2
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    dx, dy = (w * cosine + h * sine) / 2, (w * sine + h * cosine) / 2
    return x - dx, y - dy, x + dx, y + dy


def _imglab(xml: Element) -> Iterator[tuple[Picture, str | None]]:
    """Dlib's imglab; a box without a label is an object all the same."""
    for image in xml.iter("image"):
        boxes: list[Box] = []
        for box in image.iter("box"):
            left, top, width, height = _numbers(box, "left", "top", "width", "height")
            label = box.findtext("label") or "object"
            boxes.append((label, (left, top, left + width, top + height)))
        yield (image.get("file") or "", _NAN, _NAN, boxes), None


READ: dict[str, Callable[[Element], Iterator[tuple[Picture, str | None]]]] = {"cvat": _cvat, "imglab": _imglab}
