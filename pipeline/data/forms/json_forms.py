"""Labels in JSON that tools and public data sets write, but for COCO: a function for each form, from what is in a file
to pictures and boxes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from micro_yolo.pipeline.data.forms.regions import attribute, shape_corners
from micro_yolo.pipeline.data.labels import Collected, corners_of, number
from micro_yolo.pipeline.data.splits import split_of_path
from micro_yolo.pipeline.data.text import read_text
from micro_yolo.pipeline.data.tree import Tree, folder_of, stem_of

_NAN = float("nan")
Box = tuple[Any, tuple[float, ...] | None]
# A picture as it is written, its height and width, and of each object the class's name and the corners, None of what
# has no box.
Picture = tuple[str, float, float, list[Box]]


def read_file(tree: Tree, file: str, collected: Collected, pictures: Callable[[Any, str], Iterable[Picture]]) -> None:
    """Add what `pictures` finds in a JSON file, or in each line of one; what cannot be read is a problem."""
    near, split = folder_of(file), split_of_path(file)
    for what in _contents(tree, file, collected):
        try:
            found = list(pictures(what, file))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            collected.problems.add(file, f"record that is not as others of its form ({type(error).__name__}), skipped")
            continue
        for written, height, width, boxes in found:
            if not isinstance(written, str):
                collected.problems.add(file, "picture whose name is no text, skipped")
                continue
            picture = collected.picture(written, near, split, height, width)
            for name, corners in boxes:
                if corners is None:
                    collected.problems.add(file, "shape that has no box (a point or a line), skipped")
                else:
                    collected.box(split, picture, name, corners)


def _contents(tree: Tree, file: str, collected: Collected) -> Iterator[Any]:
    text = read_text(tree.full(file))
    try:
        yield json.loads(text)
        return
    except (ValueError, RecursionError) as error:
        first = error
    lines = [line for line in text.splitlines() if line.strip()]
    for line in lines:
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            what = "line that is not JSON, skipped" if len(lines) > 1 and line != lines[0] else f"not JSON ({first})"
            collected.problems.add(file, what)
            if line == lines[0]:
                return


def _size(record: Mapping[str, Any], height: str = "height", width: str = "width") -> tuple[float, float]:
    return number(record.get(height)), number(record.get(width))


def _sides(x: Any, y: Any, w: Any, h: Any) -> tuple[float, ...]:
    x, y, w, h = map(number, (x, y, w, h))
    return x, y, x + w, y + h


def labelme(what: Any, file: str) -> Iterator[Picture]:
    """LabelMe and what writes like it (AnyLabeling, X-AnyLabeling): a file for each picture."""
    boxes: list[Box] = []
    for shape in what["shapes"]:
        kind, points = shape.get("shape_type") or "polygon", shape["points"]
        corners: tuple[float, ...] | None = corners_of(points)
        if kind == "circle" and len(points) == 2:
            (x, y), (px, py) = points
            r = ((x - px) ** 2 + (y - py) ** 2) ** 0.5
            corners = (x - r, y - r, x + r, y + r)
        elif kind in ("point", "line", "linestrip", "points"):
            corners = None
        boxes.append((shape.get("label"), corners))
    # Renamed pictures keep their JSON's name, and not always what is in it.
    yield what.get("imagePath") or stem_of(file), *_size(what, "imageHeight", "imageWidth"), boxes


def supervisely(what: Any, file: str) -> Iterator[Picture]:
    """Supervisely: ds/ann/NAME.jpg.json for ds/img/NAME.jpg."""
    boxes: list[Box] = []
    for each in what["objects"]:
        kind = each.get("geometryType", "rectangle")
        points = (each.get("points") or {}).get("exterior", [])
        boxes.append((each["classTitle"], None if kind in ("point", "line", "graph") else corners_of(points)))
    yield stem_of(file), *_size(what.get("size") or {}), boxes


def datumaro(what: Any, _: str) -> Iterator[Picture]:
    """Datumaro's own JSON."""
    names = [label["name"] for label in what["categories"]["label"]["labels"]]
    for item in what["items"]:
        media = item.get("image") or item.get("media") or {}
        height, width = (*(media.get("size") or ()), _NAN, _NAN)[:2]
        boxes: list[Box] = []
        for each in item.get("annotations", ()):
            name = names[each["label_id"]] if each.get("label_id") is not None else ""
            if each["type"] == "bbox":
                boxes.append((name, _sides(*each["bbox"])))
            elif each["type"] == "polygon":
                points = each["points"]
                boxes.append((name, corners_of(list(zip(points[::2], points[1::2], strict=True)))))
            elif each["type"] not in ("label", "caption"):
                boxes.append((name, None))
        yield media.get("path") or item["id"], number(height), number(width), boxes


def via(what: Any, _: str) -> Iterator[Picture]:
    """VGG Image Annotator: the annotations, or a project with them in it."""
    for each in what.get("_via_img_metadata", what).values():
        regions = each.get("regions") or []
        boxes: list[Box] = [
            (attribute(region.get("region_attributes")), shape_corners(region["shape_attributes"]))
            for region in (regions.values() if isinstance(regions, dict) else regions)
        ]
        yield each["filename"], _NAN, _NAN, boxes


def label_studio(what: Any, _: str) -> Iterator[Picture]:
    """Label Studio's JSON and JSON_MIN: boxes in hundredths of the picture."""
    for task in what:
        data = task.get("data", task)
        keys = ("image", "img", "image_url", "url")
        written = next((data[k] for k in keys if isinstance(data.get(k), str)), None)
        written = written or next(v for v in data.values() if isinstance(v, str) and "." in v)
        results = [
            r for each in task.get("annotations") or task.get("completions") or () for r in each.get("result", ())
        ]
        for value in task.values():
            if isinstance(value, list) and not results:
                results = [
                    {"value": each, **each} for each in value if isinstance(each, dict) and "original_width" in each
                ]
        height = width = _NAN
        boxes: list[Box] = []
        for each in results:
            value = each.get("value", {})
            name = next((value[k] for k in ("rectanglelabels", "polygonlabels", "labels") if value.get(k)), None)
            if name is None:
                continue
            height, width = _size(each, "original_height", "original_width")
            if "points" in value:
                x1, y1, x2, y2 = corners_of(value["points"])
            else:
                x1, y1, x2, y2 = _sides(value["x"], value["y"], value["width"], value["height"])
            share = (width / 100, height / 100)
            boxes.append((name[0], (x1 * share[0], y1 * share[1], x2 * share[0], y2 * share[1])))
        yield written, height, width, boxes


def createml(what: Any, _: str) -> Iterator[Picture]:
    """Apple's CreateML: the middle of each box and its sides."""
    for each in what:
        boxes: list[Box] = []
        for box in each.get("annotations") or each.get("annotation") or ():
            at = box["coordinates"]
            x, y, w, h = (number(at[key]) for key in ("x", "y", "width", "height"))
            boxes.append((box.get("label"), (x - w / 2, y - h / 2, x + w / 2, y + h / 2)))
        yield each.get("image") or each["imagefilename"], _NAN, _NAN, boxes


def bdd100k(what: Any, _: str) -> Iterator[Picture]:
    """BDD100K: a list of pictures, or a file for each."""
    for each in what if isinstance(what, list) else [what]:
        labels = each.get("labels") or [o for frame in each.get("frames", ()) for o in frame.get("objects", ())]
        boxes: list[Box] = [
            (label["category"], tuple(number(label["box2d"][key]) for key in ("x1", "y1", "x2", "y2")))
            for label in labels
            if label.get("box2d")
        ]
        yield each["name"], _NAN, _NAN, boxes


def sagemaker(what: Any, _: str) -> Iterator[Picture]:
    """SageMaker Ground Truth: an object on each line; the job's name is a key of it."""
    boxes: list[Box] = []
    height = width = _NAN
    for key, value in what.items():
        if isinstance(value, dict) and "annotations" in value:
            names = what.get(f"{key}-metadata", {}).get("class-map", {})
            height, width = _size((value.get("image_size") or [{}])[0])
            for each in value["annotations"]:
                name = names.get(str(each["class_id"]), str(each["class_id"]))
                boxes.append((name, _sides(each["left"], each["top"], each["width"], each["height"])))
    yield what["source-ref"], height, width, boxes


def azure(what: Any, _: str) -> Iterator[Picture]:
    """Azure Machine Learning: an object on each line, corners as shares."""
    details = what.get("image_details", {})
    height, width = _size(details)
    boxes: list[Box] = []
    for each in what.get("label") or what.get("labels") or ():
        x1, y1, x2, y2 = (number(each[key]) for key in ("topX", "topY", "bottomX", "bottomY"))
        shares = max(x1, y1, x2, y2) <= 1 and height > 0
        boxes.append(
            (each["label"], (x1 * width, y1 * height, x2 * width, y2 * height) if shares else (x1, y1, x2, y2))
        )
    yield what.get("image_url") or what["imageUrl"], height, width, boxes


def vertex(what: Any, _: str) -> Iterator[Picture]:
    """Vertex AI: an object on each line, corners as shares."""
    sides = ("xMin", "yMin", "xMax", "yMax")
    boxes: list[Box] = [
        (each["displayName"], tuple(number(each.get(side, 0)) for side in sides))
        for each in what["boundingBoxAnnotations"]
    ]
    yield what["imageGcsUri"], _NAN, _NAN, boxes


def crowdhuman(what: Any, _: str) -> Iterator[Picture]:
    """CrowdHuman: an object on each line; the boxes of whole bodies, of those that are to be looked at."""
    boxes: list[Box] = []
    for each in what["gtboxes"]:
        if each["tag"] != "mask" and not (each.get("extra") or {}).get("ignore"):
            boxes.append((each["tag"], _sides(*each["fbox"])))
    yield what["ID"], _NAN, _NAN, boxes


def ibm(what: Any, _: str) -> Iterator[Picture]:
    """IBM Cloud Annotations: corners as shares."""
    for written, objects in what["annotations"].items():
        sides = ("x", "y", "x2", "y2")
        yield written, _NAN, _NAN, [(each["label"], tuple(number(each[side]) for side in sides)) for each in objects]


def hugging_face(what: Any, _: str) -> Iterator[Picture]:
    """An image folder of the `datasets` library: metadata.jsonl with objects."""
    objects = what["objects"]
    if isinstance(objects, list):
        objects = {"bbox": [each["bbox"] for each in objects], "categories": [_named(each) for each in objects]}
    names = next((objects[k] for k in ("categories", "category", "label", "labels", "name") if k in objects), None)
    names = names or ["object"] * len(objects["bbox"])
    boxes: list[Box] = [(str(name), _sides(*box)) for name, box in zip(names, objects["bbox"], strict=True)]
    yield what["file_name"], *_size(what), boxes


def _named(each: Mapping[str, Any]) -> Any:
    return next(each[key] for key in ("category", "label", "name", "category_id") if key in each)


def darwin(what: Any, _: str) -> Iterator[Picture]:
    """V7 Darwin: a file for each picture."""
    item = what.get("item") or what["image"]
    slot = (item.get("slots") or [item])[0]
    boxes: list[Box] = []
    for each in what["annotations"]:
        box = each.get("bounding_box")
        boxes.append((each["name"], _sides(*(box[key] for key in ("x", "y", "w", "h"))) if box else None))
    yield item.get("name") or item["filename"], *_size(slot), boxes


FORMS: dict[str, Callable[[Any, str], Iterator[Picture]]] = {
    "labelme": labelme,
    "supervisely": supervisely,
    "datumaro": datumaro,
    "via": via,
    "label studio": label_studio,
    "createml": createml,
    "bdd100k": bdd100k,
    "sagemaker": sagemaker,
    "azure": azure,
    "vertex": vertex,
    "crowdhuman": crowdhuman,
    "ibm": ibm,
    "hugging face": hugging_face,
    "v7 darwin": darwin,
}
