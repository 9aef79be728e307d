"""Small sets of a cat and a dog on each picture, for the tests of kinds and forms of data sets."""

import struct

import numpy as np
from data_folders import write_image

# Of every picture (48 x 64) here: a cat and a dog.
CAT, DOG = [4, 6, 24, 16], [30, 6, 40, 16]
YOLO = "0 0.21875 0.22916667 0.3125 0.20833333\n1 0.546875 0.22916667 0.15625 0.20833333\n"
PICTURES = 4


def pictures(folder, names=("a", "b", "c", "d"), ending=".jpg"):
    for name in names:
        write_image(folder / f"{name}{ending}")
    return [f"{name}{ending}" for name in names]


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def coco(names, first=1, **more):
    images = [{"id": first + i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)]
    boxes = [
        {"id": 2 * i + k, "image_id": image["id"], "category_id": k + 1, "bbox": box, "area": 1, "iscrowd": 0}
        for i, image in enumerate(images)
        for k, box in enumerate(([4, 6, 20, 10], [30, 6, 10, 10]))
    ]
    return {"images": images, "annotations": boxes, "categories": CATEGORIES, **more}


CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def counts(data):
    return {name: (len(split), len(split.classes)) for name, split in data.splits.items()}


def check(data, form, *, splits=None, names=("cat", "dog"), said=()):
    """The form, the boxes of every picture, and that nothing is named but what contains one of `said`."""
    assert (data.format, data.names) == (form, names)
    assert counts(data) == (splits or {"train": (3, 6), "val": (1, 2)})
    for split in data.splits.values():
        for index in range(len(split)):
            np.testing.assert_allclose(sorted(split.boxes_xyxy[split.rows(index)].tolist()), [CAT, DOG], atol=0.51)
    told = [f"{problem.file}: {problem.what}" for problem in data.problems]
    assert all(any(part in line for line in told) for part in said), told
    assert all(any(part in line for part in said) for line in told), told


def labelme(name):
    shapes = [
        {"label": "cat", "points": [[24, 16], [4, 6]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[30, 6], [40, 6], [40, 16], [30, 16]], "shape_type": "polygon"},
    ]
    return {"version": "5", "flags": {}, "shapes": shapes, "imagePath": name, "imageHeight": 48, "imageWidth": 64}


def example(picture):
    """A picture and its two boxes as the Object Detection API's tools put them into a record."""
    side = "image/object/bbox/"
    features = {
        "image/encoded": [picture.read_bytes()],
        "image/filename": [picture.name.encode()],
        "image/height": [48],
        "image/width": [64],
        f"{side}xmin": [0.0625, 0.46875],
        f"{side}xmax": [0.375, 0.625],
        f"{side}ymin": [0.125, 0.125],
        f"{side}ymax": [1 / 3, 1 / 3],
        "image/object/class/label": [1, 2],
    }
    return record(features)


def record(features):
    """An Example as TFRecord frames it."""

    def field(number, data):
        return bytes([number << 3 | 2]) + varint(len(data)) + data

    def varint(value):
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    entries = b""
    for key, values in features.items():
        if isinstance(values[0], bytes):
            made = field(1, b"".join(field(1, value) for value in values))
        elif isinstance(values[0], float):
            made = field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
        else:
            made = field(3, field(1, b"".join(map(varint, values))))
        entries += field(1, field(1, key.encode()) + field(2, made))
    data = field(1, entries)
    return struct.pack("<QI", len(data), 0) + data + b"\0\0\0\0"
