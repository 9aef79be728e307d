"""Kinds of what people have, beside the inputs in shared/cases: drawn small, each in the form of something real."""

import json
import os
import struct
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_folders import coco_record, voc_xml, write_image, write_voc, write_yolo

from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.data.export import export

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


TWO = {"train": (2, 4), "val": (2, 4)}


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("training", "validation"),
        ("TRAIN", "VAL"),
        ("Training", "Testing"),
        ("train_set", "dev_set"),
        ("my-train", "my-eval"),
        ("trainImages", "validImages"),
        ("2024_train", "2024_valid"),
    ],
)
@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "csv", "labelme"])
def test_split_words_mean_the_same_to_every_reader(tmp_path, train, val, form):
    for folder, names in ((train, ["a.jpg", "b.jpg"]), (val, ["c.jpg", "d.jpg"])):
        place = tmp_path / folder
        pictures(place, [name[0] for name in names])
        if form == "coco":
            write(place / "labels.json", json.dumps(coco(names)))
        elif form == "csv":
            rows = "".join(f"{n},64,48,cat,4,6,24,16\n{n},64,48,dog,30,6,40,16\n" for n in names)
            write(place / "_annotations.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n" + rows)
        for name in names:
            if form == "yolo":
                write(place / f"{name[0]}.txt", YOLO)
            elif form == "voc":
                write(place / f"{name[0]}.xml", voc_xml(name, [("cat", *CAT), ("dog", *DOG)]))
            elif form == "labelme":
                write(place / f"{name[0]}.json", json.dumps(labelme(name)))
    check(load(tmp_path), form, splits=TWO, names=("0", "1") if form == "yolo" else ("cat", "dog"))


def labelme(name):
    shapes = [
        {"label": "cat", "points": [[24, 16], [4, 6]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[30, 6], [40, 6], [40, 16], [30, 16]], "shape_type": "polygon"},
    ]
    return {"version": "5", "flags": {}, "shapes": shapes, "imagePath": name, "imageHeight": 48, "imageWidth": 64}


@pytest.mark.parametrize(
    "written",
    [
        "images\\{}.jpg",
        "D:\\data\\set\\images\\{}.jpg",
        "/content/drive/My Drive/set/images/{}.jpg",
        "../../upload/7/{}.JPG",
        "file:///home/me/{}.jpeg",
        "https://bucket.example/set/{}.jpg?key=1",
        "/data/local-files/?d=set/{}.jpg",
        "{}",
        "{}.png",
    ],
)
@pytest.mark.parametrize("form", ["coco", "csv", "createml", "yolo list"])
def test_a_picture_is_found_by_its_name(tmp_path, written, form):
    names = ["my photo Ünï", "b", "c", "d"]
    pictures(tmp_path / "images", [unicodedata.normalize("NFD", name) for name in names])
    there = [written.format(name.replace(" ", "%20") if "://" in written else name) for name in names]
    if form == "coco":
        write(tmp_path / "labels.json", json.dumps(coco(there)))
    elif form == "csv":
        rows = "".join(f'"{n}",cat,4,6,24,16\n"{n}",dog,30,6,40,16\n' for n in there)
        write(tmp_path / "labels.csv", "image,label,xmin,ymin,xmax,ymax\n" + rows)
    elif form == "createml":
        made = [{"label": "cat", "coordinates": {"x": 14, "y": 11, "width": 20, "height": 10}}]
        made.append({"label": "dog", "coordinates": {"x": 35, "y": 11, "width": 10, "height": 10}})
        write(tmp_path / "labels.json", json.dumps([{"image": n, "annotations": made} for n in there]))
    else:
        for name in names:
            write(tmp_path / "labels" / f"{name}.txt", YOLO)
        write(tmp_path / "classes.txt", "cat\ndog\n")
        write(tmp_path / "train.txt", "\n".join(there[:3]))
        write(tmp_path / "val.txt", there[3])
        write(tmp_path / "data.yaml", "train: train.txt\nval: val.txt\n")
    check(load(tmp_path), form.split()[0])


def test_a_name_that_several_pictures_have_is_named(tmp_path):
    for folder in ("monday", "tuesday"):
        pictures(tmp_path / folder)
    write(tmp_path / "labels.json", json.dumps(coco(["monday/a.jpg", "tuesday\\b.jpg", "x/tuesday/c.jpg", "d.jpg"])))
    data = load(tmp_path)
    what = {problem.what for problem in data.problems}
    assert "2 pictures have this name (monday/d.jpg, tuesday/d.jpg), skipped" in what
    assert {path.parent.name + path.name for split in data.splits.values() for path in split.files} == {
        "mondaya.jpg",
        "tuesdayb.jpg",
        "tuesdayc.jpg",
    }


@pytest.mark.parametrize(
    "rows",
    [
        "image;label;x_min;y_min;x_max;y_max\n{0};cat;4,0;6,0;24,0;16,0\n{0};dog;30;6;40;16\n",
        "sep=;\nfilename;class;xmin;ymin;xmax;ymax\n{0};cat;4;6;24;16\n{0};dog;30;6;40;16\n",
        "Image Name\tLabel\tLeft\tTop\tRight\tBottom\n{0}\tcat\t4\t6\t24\t16\n{0}\tdog\t30\t6\t40\t16\n",
        "filename,x,y,width,height,label\n{0},4,6,20,10,cat\n{0},30,6,10,10,dog\n",
        "label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height\n"
        "cat,4,6,20,10,{0},64,48\ndog,30,6,10,10,{0},64,48\n",
        'image_id,width,height,bbox,class\n{0},64,48,"[4, 6, 20, 10]",cat\n{0},64,48,"[30, 6, 10, 10]",dog\n',
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n"
        "{0},x,cat,1,0.0625,0.375,0.125,0.3333,0\n{0},x,dog,1,0.46875,0.625,0.125,0.3333,0\n",
        "UNASSIGNED,gs://b/{0},cat,0.0625,0.125,,,0.375,0.3333,,\nUNASSIGNED,gs://b/{0},dog,0.46875,0.125,,,0.625,0.3333,,\n",
        "{0},64,48,cat,4,6,24,16\n{0},64,48,dog,30,6,40,16\n",
        "{0},4,6,24,16,cat,64,48\n{0},30,6,40,16,dog,64,48\n",
        '{0} 4 6 24 16 0 "cat"\n{0} 30 6 40 16 0 "dog"\n',
    ],
)
def test_csv_by_its_columns(tmp_path, rows):
    names = pictures(tmp_path / "images")
    head, *lines = rows.splitlines(keepends=True)
    while lines and "{0}" not in head and "{0}" not in lines[0]:
        head += lines.pop(0)
    if "{0}" in head:
        head, lines = "", [head, *lines]
    text = head + "".join(line.format(name) for name in names for line in lines)
    write(tmp_path / "labels.csv", text, "utf-16" if "Left" in text else "utf-8")
    check(load(tmp_path), "csv", said=("shares of the picture",) if "0.0625" in text else ())


def test_csv_that_says_the_split_of_each_line_and_names_classes_elsewhere(tmp_path):
    names = pictures(tmp_path)
    rows = [f"{s},{n},/m/1,0.0625,0.125,,,0.375,0.3333,,\n{s},{n},/m/2,0.46875,0.125,,,0.625,0.3333,,\n"
            for s, n in zip(("TRAIN", "TRAIN", "VALIDATION", "TEST"), names, strict=True)]  # fmt: skip
    write(tmp_path / "boxes.csv", "".join(rows))
    write(tmp_path / "class-descriptions.csv", "/m/1,cat\n/m/2,dog\n")
    splits = {"train": (2, 4), "val": (1, 2), "test": (1, 2)}
    check(load(tmp_path), "csv", splits=splits, said=("shares of the picture",))


def test_a_line_with_a_picture_alone_is_a_picture_without_boxes(tmp_path):
    names = pictures(tmp_path)
    write(tmp_path / "train.csv", "".join(f"{n},4,6,24,16,cat\n" for n in names[:2]) + f"{names[2]},,,,,\n")
    write(tmp_path / "val.csv", f"{names[3]},4,6,24,16,cat\n")
    data = load(tmp_path)
    assert counts(data) == {"train": (3, 2), "val": (1, 1)} and data.problems == ()


RECT = {"name": "rect", "x": 4, "y": 6, "width": 20, "height": 10}
POLYGON = {"name": "polygon", "all_points_x": [30, 40, 40], "all_points_y": [6, 6, 16]}
VIA = [
    {"shape_attributes": RECT, "region_attributes": {"class": {"cat": True, "dog": False}}},
    {"shape_attributes": POLYGON, "region_attributes": {"class": "dog"}},
]
STUDIO = [
    {"type": "rectanglelabels", "original_width": 64, "original_height": 48, "value": value}
    for value in (
        {"x": 6.25, "y": 12.5, "width": 31.25, "height": 20.8333, "rectanglelabels": ["cat"]},
        {"x": 46.875, "y": 12.5, "width": 15.625, "height": 20.8333, "rectanglelabels": ["dog"]},
    )
]
SIDES = ({"left": 4, "top": 6, "width": 20, "height": 10}, {"left": 30, "top": 6, "width": 10, "height": 10})


def objects(make):
    return [make(name, *box) for name, box in (("cat", CAT), ("dog", DOG))]


# Form, the file, and what is in it for pictures of these names; a list is a line of JSON for each.
JSON = {
    "via": ("x.json", lambda names: {n + "99": {"filename": n, "size": 9, "regions": VIA} for n in names}),
    "via project": (
        "p.json",
        lambda names: {
            "_via_settings": {},
            "_via_img_metadata": {n: {"filename": n, "regions": dict(enumerate(VIA))} for n in names},
        },
    ),
    "label studio": (
        "s.json",
        lambda names: [
            {"id": 1, "data": {"image": f"/data/upload/1/0a1b2c3d-{n}"}, "annotations": [{"result": STUDIO}]}
            for n in names
        ],
    ),
    "label studio min": (
        "s.json",
        lambda names: [
            {
                "image": f"/data/upload/{n}",
                "label": [{**each["value"], "original_width": 64, "original_height": 48} for each in STUDIO],
            }
            for n in names
        ],
    ),
    "datumaro": (
        "annotations/default.json",
        lambda names: {
            "info": {},
            "categories": {"label": {"labels": [{"name": "cat"}, {"name": "dog"}]}},
            "items": [
                {
                    "id": n[0],
                    "annotations": [
                        {"type": "bbox", "label_id": 0, "bbox": [4, 6, 20, 10]},
                        {"type": "polygon", "label_id": 1, "points": [30, 6, 40, 6, 40, 16]},
                    ],
                    "image": {"path": n, "size": [48, 64]},
                }
                for n in names
            ],
        },
    ),
    "bdd100k": (
        "b.json",
        lambda names: [
            {
                "name": n,
                "labels": objects(lambda c, a, b, x, y: {"category": c, "box2d": {"x1": a, "y1": b, "x2": x, "y2": y}}),
            }
            for n in names
        ],
    ),
    "sagemaker": (
        "output.manifest",
        lambda names: [
            {
                "source-ref": f"s3://b/{n}",
                "job": {
                    "image_size": [{"width": 64, "height": 48}],
                    "annotations": [{"class_id": i, **side} for i, side in enumerate(SIDES)],
                },
                "job-metadata": {"class-map": {"0": "cat", "1": "dog"}},
            }
            for n in names
        ],
    ),
    "azure": (
        "a.jsonl",
        lambda names: [
            {
                "image_url": f"AmlDatastore://x/{n}",
                "image_details": {"width": 64, "height": 48},
                "label": objects(
                    lambda c, a, b, x, y: {
                        "label": c,
                        "topX": a / 64,
                        "topY": b / 48,
                        "bottomX": x / 64,
                        "bottomY": y / 48,
                    }
                ),
            }
            for n in names
        ],
    ),
    "vertex": (
        "v.jsonl",
        lambda names: [
            {
                "imageGcsUri": f"gs://b/{n}",
                "boundingBoxAnnotations": objects(
                    lambda c, a, b, x, y: {
                        "displayName": c,
                        "xMin": a / 64,
                        "yMin": b / 48,
                        "xMax": x / 64,
                        "yMax": y / 48,
                    }
                ),
            }
            for n in names
        ],
    ),
    "ibm": (
        "_annotations.json",
        lambda names: {
            "type": "localization",
            "labels": ["cat", "dog"],
            "annotations": {
                n: objects(lambda c, a, b, x, y: {"label": c, "x": a / 64, "y": b / 48, "x2": x / 64, "y2": y / 48})
                for n in names
            },
        },
    ),
    "hugging face": (
        "metadata.jsonl",
        lambda names: [
            {"file_name": n, "objects": {"bbox": [[4, 6, 20, 10], [30, 6, 10, 10]], "categories": ["cat", "dog"]}}
            for n in names
        ],
    ),
}


@pytest.mark.parametrize("form", JSON)
def test_json_of_tools(tmp_path, form):
    names = pictures(tmp_path / "images")
    file, make = JSON[form]
    made = make(names)
    lines = isinstance(made, list) and form not in ("label studio", "label studio min", "bdd100k")
    write(tmp_path / file, "\n".join(map(json.dumps, made)) if lines else json.dumps(made))
    form = next(known for known in ("label studio", "via", form) if form.startswith(known))
    check(load(tmp_path), form, said=("shares of the picture",) if form in ("vertex", "ibm") else ())


@pytest.mark.parametrize("form", ["supervisely", "v7 darwin"])
def test_json_of_tools_with_a_file_for_each_picture(tmp_path, form):
    home = tmp_path / "ds" if form == "supervisely" else tmp_path
    for name in pictures(home / "img"):
        points = objects(
            lambda c, *box: {
                "classTitle": c,
                "geometryType": "rectangle",
                "points": {"exterior": [box[:2], box[2:]], "interior": []},
            }
        )
        made = {"size": {"height": 48, "width": 64}, "tags": [], "objects": points}
        if form == "v7 darwin":
            boxes = objects(lambda c, a, b, x, y: {"name": c, "bounding_box": {"x": a, "y": b, "w": x - a, "h": y - b}})
            made = {
                "version": "2.0",
                "item": {"name": name, "slots": [{"width": 64, "height": 48}]},
                "annotations": boxes,
            }
        write(home / "ann" / f"{name}.json", json.dumps(made))
    if form == "supervisely":
        write(tmp_path / "meta.json", json.dumps({"classes": [{"title": "cat", "shape": "rectangle"}], "tags": []}))
    check(load(tmp_path), form)


TEXT = {
    "kitti": ("label_2", "image_2", "cat 0 0 0 4 6 24 16 0 0 0 0 0 0 0\ndog 0 0 0 30 6 40 16 0 0 0 0 0 0 0\n"),
    "dota": ("labelTxt", "images", "imagesource:x\ngsd:1\n4 6 24 6 24 16 4 16 cat 0\n30 6 40 6 40 16 30 16 dog 1\n"),
    "oidv4": ("Label", ".", "cat 4.0 6.0 24.0 16.0\ndog 30 6 40 16\n"),
    "oidv4 by middles": (
        "labels",
        "images",
        "cat 0.21875 0.22917 0.3125 0.20833\ndog 0.546875 0.22917 0.15625 0.20833\n",
    ),
    "visdrone": ("annotations", "images", "4,6,20,10,1,4,0,0\n30,6,10,10,1,1,0,0,\n"),
}


@pytest.mark.parametrize("form", TEXT)
def test_plain_text_for_each_picture(tmp_path, form):
    labels, images, text = TEXT[form]
    for name in pictures(tmp_path / images):
        write(tmp_path / labels / f"{name[0]}.txt", text)
    names = ("car", "pedestrian") if form == "visdrone" else ("cat", "dog")
    check(load(tmp_path), form.split()[0], names=names)


def test_regions_to_be_ignored_are_no_class(tmp_path):
    for name in pictures(tmp_path / "training" / "image_2"):
        write(
            tmp_path / "training" / "label_2" / f"{name[0]}.txt",
            TEXT["kitti"][2] + "DontCare -1 -1 -10 1 1 9 9 -1 -1 -1 -1 -1 -1 -1\n",
        )
    check(load(tmp_path), "kitti", said=("region that is to be ignored (DontCare), left out",))


def test_lists_of_pictures_with_boxes(tmp_path):
    for split, names in (("train", "ab"), ("valid", "cd")):
        made = pictures(tmp_path / split, names)
        write(tmp_path / split / "_annotations.txt", "".join(f"{n} 4,6,24,16,0 30,6,40,16,1\n" for n in made))
        write(tmp_path / split / "_classes.txt", "cat\ndog\n")
    check(load(tmp_path), "picture list", splits=TWO)
    made = pictures(tmp_path / "faces" / "0--Parade")
    write(
        tmp_path / "faces" / "wider.txt",
        "".join(f"0--Parade/{n}\n2\n4 6 20 10 0 0 0\n30 6 10 10 0 0 0\n" for n in made),
    )
    check(load(tmp_path / "faces"), "wider face", names=("face",))


def test_xml_for_many_pictures(tmp_path):
    names = pictures(tmp_path / "cvat" / "images")
    box = '<box label="{}" xtl="{}" ytl="{}" xbr="{}" ybr="{}"/>'
    boxes = "".join(objects(box.format))
    made = "".join(
        f'<image id="0" name="{n}" subset="{s}" width="64" height="48">{boxes}</image>'
        for n, s in zip(names, ("Train", "Train", "Validation", "Validation"), strict=True)
    )
    write(tmp_path / "cvat" / "annotations.xml", f"<annotations><version>1.1</version>{made}</annotations>")
    check(load(tmp_path / "cvat"), "cvat", splits=TWO)
    pictures(tmp_path / "video", [f"frame_{i:06d}" for i in range(4)])
    track = (
        '<track id="0" label="{0}">'
        + "".join(f'<box frame="{i}" outside="0" xtl="{{1}}" ytl="{{2}}" xbr="{{3}}" ybr="{{4}}"/>' for i in range(4))
        + "</track>"
    )
    write(tmp_path / "video" / "annotations.xml", f"<annotations>{''.join(objects(track.format))}</annotations>")
    check(load(tmp_path / "video"), "cvat")
    names = pictures(tmp_path / "dlib")
    made = "".join(
        f"<image file='{n}'><box top='6' left='4' width='20' height='10'><label>cat</label></box><box top='6' left='30' width='10' height='10'><label>dog</label></box></image>"
        for n in names
    )
    write(tmp_path / "dlib" / "training.xml", f"<dataset><images>{made}</images></dataset>")
    assert counts(load(tmp_path / "dlib")) == {"train": (3, 6), "val": (1, 2)}


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


@pytest.mark.parametrize("sharded", [False, True])
def test_tfrecord(tmp_path, sharded):
    root = tmp_path / "set"
    side = "image/object/bbox/"
    for split, names in (("train", "ab"), ("valid", "cd")):
        records = []
        for name in pictures(tmp_path / "source", names):
            features = {
                "image/encoded": [(tmp_path / "source" / name).read_bytes()],
                "image/filename": [name.encode()],
                "image/height": [48],
                "image/width": [64],
                f"{side}xmin": [0.0625, 0.46875],
                f"{side}xmax": [0.375, 0.625],
                f"{side}ymin": [0.125, 0.125],
                f"{side}ymax": [1 / 3, 1 / 3],
                "image/object/class/label": [1, 2],
            }
            records.append(record(features))
        for number, made in enumerate(records if sharded else [b"".join(records)]):
            name = f"pets.tfrecord-{number:05d}-of-00002" if sharded else "pets.tfrecord"
            (root / split).mkdir(parents=True, exist_ok=True)
            (root / split / name).write_bytes(made)
    write(root / "label_map.pbtxt", "item { id: 1 name: 'cat' }\nitem {\n name: \"dog\"\n id: 2\n}\n")
    check(load(root), "coco", splits=TWO, said=("TFRecord; its pictures were unpacked into",))
    check(load(root), "coco", splits=TWO, said=("TFRecord; its pictures were unpacked into",))


def test_zip_of_a_folder(tmp_path):
    write_yolo(tmp_path / "parts", "images/train", dict.fromkeys("abcd", YOLO))
    write(tmp_path / "parts" / "data.yaml", "train: images/train\nnames: [cat, dog]\n")
    with zipfile.ZipFile(tmp_path / "parts.zip", "w") as archive:
        for path in sorted((tmp_path / "parts").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    for _ in range(2):
        check(load(tmp_path / "parts.zip"), "yolo")
    assert len(list(tmp_path.iterdir())) == 3
    assert load(tmp_path / "parts.zip").place == str(tmp_path / "parts.zip")
    (tmp_path / "bad.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(ValueError, match=r"bad.zip: must be a .zip that can be unpacked"):
        load(tmp_path / "bad.zip")
    assert len(list(tmp_path.iterdir())) == 4


def test_links_are_followed_and_not_in_circles(tmp_path):
    for split in ("train", "val"):
        write_yolo(tmp_path / ".store", f"images/{split}", {f"{split}{i}": YOLO for i in range(2)})
    root = tmp_path / "set"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
        for split in ("train", "val"):
            (root / kind / split).symlink_to(tmp_path / ".store" / kind / split)
    (root / "images" / "again").symlink_to(root)
    (tmp_path / ".store" / "images" / "train" / "up").symlink_to(tmp_path / ".store")
    write(root / "classes.txt", "cat\ndog\n")
    check(load(root), "yolo", splits=TWO)


@pytest.mark.parametrize("given", ["one.json,two.json", "two.json,one.json"])
def test_two_files_by_name(tmp_path, given, monkeypatch):
    names = pictures(tmp_path / "pictures")
    write(tmp_path / "one.json", json.dumps(coco(names[:3])))
    write(tmp_path / "two.json", json.dumps(coco(names[3:])))
    with pytest.raises(
        ValueError, match=r"2 COCO files were found \(one.json, two.json\) and no name tells which split"
    ):
        load(tmp_path)
    monkeypatch.chdir(tmp_path)
    data = load(given)
    first, second = (3, 1) if given.startswith("one") else (1, 3)
    check(data, "coco", splits={"train": (first, 2 * first), "val": (second, 2 * second)})
    monkeypatch.chdir("/")
    assert counts(load(data.place)) == counts(data)
    with pytest.raises(FileNotFoundError, match="three.json: no such"):
        load(f"{tmp_path / 'one.json'},three.json")


@pytest.mark.parametrize("how", ["no labels", "empty labels", "no folder", "other classes"])
def test_a_val_split_without_boxes_is_refused(tmp_path, how):
    write_yolo(tmp_path, "images/train", dict.fromkeys("ab", YOLO))
    text = {"empty labels": "", "other classes": "7 0.5 0.5 0.2 0.2\n"}.get(how)
    write_yolo(tmp_path, "images/val", dict.fromkeys("cd", text))
    if how == "no labels":
        (tmp_path / "labels" / "val").mkdir()
    write(tmp_path / "classes.txt", "cat\ndog\n")
    with pytest.raises(ValueError, match="split 'val' needs usable boxes, got 0"):
        load(tmp_path)


def test_a_split_drawn_by_seed_has_boxes_on_both_sides(tmp_path):
    record = coco([f"{i}.jpg" for i in range(40)])
    record["annotations"] = record["annotations"][:4]
    pictures(tmp_path, map(str, range(40)))
    write(tmp_path / "labels.json", json.dumps(record))
    for seed in range(8):
        data = load(tmp_path, seed=seed)
        assert all(len(split.classes) == 2 for split in data.splits.values()) and len(data.splits["val"]) == 8


def test_labels_that_a_split_partly_lacks_are_named(tmp_path):
    write_yolo(tmp_path, "images/train", {**dict.fromkeys("abc", YOLO), **dict.fromkeys("defg", None)})
    write_yolo(tmp_path, "images/val", {"h": YOLO})
    (problem,) = load(tmp_path).problems
    assert problem.what == "images without a label file, taken as images without objects" and problem.count == 4


@pytest.mark.parametrize("each", [2, 3])
def test_key_points_are_no_polygon(tmp_path, each):
    points = "0.2 0.2 0.3 0.25" if each == 2 else "0.2 0.2 2 0.3 0.25 1"
    line = f"0 0.21875 0.22916667 0.3125 0.20833333 {points}\n"
    write_yolo(tmp_path, "images", dict.fromkeys("abcd", line))
    data = load(tmp_path)
    assert {tuple(box) for split in data.splits.values() for box in split.boxes_xyxy.round().tolist()} == {tuple(CAT)}
    assert [(p.what[:22], p.count) for p in data.problems] == [("Ultralytics pose label", 4)]


def test_turned_boxes_stand_for_the_boxes_around_them(tmp_path):
    line = "0 0.0625 0.125 0.375 0.125 0.375 0.33333 0.0625 0.33333\n1 0.46875 0.125 0.625 0.125 0.625 0.33333 0.46875 0.33333\n"
    write_yolo(tmp_path, "images", dict.fromkeys("abcd", line))
    check(load(tmp_path), "yolo", names=("0", "1"))


def test_yolo_lines_in_pixels_are_named(tmp_path):
    write_yolo(tmp_path, "images", dict.fromkeys("ab", "0 14 11 20 10\n"))
    with pytest.raises(ValueError, match="in pixels, not in shares of the picture"):
        load(tmp_path)


def test_corners_in_place_of_sides_are_seen(tmp_path):
    record = coco(pictures(tmp_path))
    for each in record["annotations"]:
        x, y, w, h = each["bbox"]
        each["bbox"] = [x + 20, y + 20, x + w + 20, y + h + 20]
    write(tmp_path / "labels.json", json.dumps(record))
    data = load(tmp_path)
    assert data.splits["train"].boxes_xyxy[:2].tolist() == [[24, 26, 44, 36], [50, 26, 60, 36]]
    assert ["corners (x1, y1, x2, y2)" in problem.what for problem in data.problems] == [True]


def test_runs_of_pixels_have_the_box_that_pycocotools_finds(tmp_path):
    mask = pytest.importorskip("pycocotools.mask")
    from micro_yolo.pipeline.data.forms.outlines import outline_box

    rng = np.random.default_rng(0)
    for _ in range(30):
        drawn = np.zeros((48, 64), np.uint8, order="F")
        y, x = rng.integers(0, 40), rng.integers(0, 50)
        drawn[y : y + rng.integers(1, 20), x : x + rng.integers(1, 20)] = rng.integers(0, 2)
        drawn[rng.integers(0, 48), rng.integers(0, 64)] = 1
        packed = mask.encode(drawn)
        expected = mask.toBbox(packed).tolist()
        assert outline_box({"counts": packed["counts"].decode(), "size": [48, 64]}) == tuple(expected)
        flat = drawn.ravel(order="F").astype(int)
        ends = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
        runs = np.diff([0, *ends, flat.size]).tolist()
        assert outline_box({"counts": runs, "size": [48, 64]}) == tuple(expected)


def test_what_is_found_and_not_used_is_named(tmp_path):
    write_voc(tmp_path, ["a0", "a1", "a2"])
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    write(tmp_path / "ImageSets" / "Main" / "train.txt", "a0.jpg\n")
    write(tmp_path / "ImageSets" / "Main" / "val.txt", "a1\n")
    write_image(tmp_path / "more" / "b.png")
    write(tmp_path / "more" / "c.CR2", "raw")
    write(tmp_path / "settings.json", '{"editor": 1}')
    write(tmp_path / "results.csv", "epoch,loss\n1,2\n")
    write(tmp_path / "more" / "set.zip", "PK")
    write(tmp_path / "README.md", "# no labels")
    said = {(p.file, p.what.split(",")[0], p.count, p.unused) for p in load(tmp_path).problems}
    assert said == {
        ("Annotations/a2.xml", "Pascal VOC XML", 1, True),
        ("JPEGImages/a2.jpg", "picture that none of the labels read names", 1, True),
        ("more/b.png", "picture that none of the labels read names", 1, True),
        ("more/c.CR2", "picture of a kind that is not read (.cr2", 1, True),
        ("settings.json", "JSON of no form that is known", 1, True),
        ("results.csv", "CSV of no form that is known", 1, True),
        ("more/set.zip", "an archive that is not looked into", 1, True),
    }


def test_names_that_are_nearly_alike_are_named(tmp_path):
    write_voc(tmp_path, ["a0", "a1"])
    xml = tmp_path / "Annotations" / "a1.xml"
    xml.write_text(xml.read_text().replace("<name>cat", "<name>Cat"))
    (problem,) = load(tmp_path).problems
    assert problem.what == "names that differ in letter case or spaces alone: Cat, cat"


@pytest.mark.parametrize("encoding", ["gb18030", "cp1252", "utf-16", "utf-8-sig"])
def test_text_of_other_programs(tmp_path, encoding):
    name = "Schräubchen" if encoding == "cp1252" else "螺栓"
    for each in pictures(tmp_path / "images"):
        write(tmp_path / "labels" / f"{each[0]}.txt", YOLO, encoding)
    write(tmp_path / "classes.txt", f"{name}\n{name}2\n", encoding)
    check(load(tmp_path), "yolo", names=(name, f"{name}2"))


def test_a_picture_is_found_whose_name_differs_in_its_ending(tmp_path):
    names = [f"im{i}.jpg" for i in range(1, 5)]
    for name in names:
        write_image(tmp_path / "images" / name.replace(".jpg", ".jpeg"))
    record = coco_record(4)
    write(tmp_path / "labels.json", json.dumps(record))
    assert counts(load(tmp_path)) == {"train": (3, 3), "val": (1, 1)}


@pytest.mark.parametrize("form", ["coco", "yolo", "voc"])
def test_what_is_exported_is_read_again(tmp_path, form):
    for folder, first in (("train/x", 1), ("train/y", 1), ("val", 5)):
        for i in range(first, first + 2):
            write_image(tmp_path / "set" / folder / f"im{i}.jpg")
    names = [f"{folder}/im{i}.jpg" for folder in ("x", "y") for i in (1, 2)]
    write(tmp_path / "set" / "train" / "labels.json", json.dumps(coco(names)))
    write(tmp_path / "set" / "val" / "labels.json", json.dumps(coco(["im5.jpg", "im6.jpg"])))
    data = load(tmp_path / "set")
    assert export(data, tmp_path / "out", form) == 0
    check(load(tmp_path / "out"), form, splits={"train": (4, 8), "val": (2, 4)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "set"]
    with pytest.raises(ValueError, match="out: something is there already; choose another --export"):
        export(data, tmp_path / "out", form)


def test_crowds_are_left_out_of_yolo_and_pictures_before_turning_are_turned(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    record = coco([f"{i}.jpg" for i in range(4)])
    record["annotations"][1]["iscrowd"] = 1
    write(tmp_path / "set" / "labels.json", json.dumps(record))
    for i in range(4):
        write_image(tmp_path / "set" / f"{i}.jpg", exif=exif)
    assert export(load(tmp_path / "set"), tmp_path / "out", "yolo") == 1
    again = load(tmp_path / "out")
    assert sum(len(split.classes) for split in again.splits.values()) == 7
    assert again.splits["train"].sizes.tolist() == [[48, 64]] * 3


def test_a_folder_above_is_told_by_its_whole_path(tmp_path):
    write_voc(tmp_path / "archive" / "VOCdevkit" / "VOC2007", ["a", "b"])
    with pytest.raises(ValueError, match=f"perhaps you mean {tmp_path / 'archive' / 'VOCdevkit' / 'VOC2007'}$"):
        load(tmp_path)


def test_pictures_without_labels_of_a_form_that_is_known(tmp_path):
    pictures(tmp_path)
    write(tmp_path / "digitStruct.mat", "MATLAB 7.3 MAT-file")
    with pytest.raises(
        ValueError, match=r"no labelled images found; .*digitStruct.mat is a MATLAB .mat file: write its boxes as CSV"
    ):
        load(tmp_path)


def test_a_yaml_of_something_else_is_passed_over(tmp_path):
    write_yolo(tmp_path, "images", dict.fromkeys("abcd", YOLO))
    for name, text in {"hyp.yaml": "lr: 0.1\ntrain: true\nval: 5\n", "a.yml": "train: [", ".pre.yaml": "x"}.items():
        write(tmp_path / name, text)
    check(load(tmp_path), "yolo", names=("0", "1"))


def test_nothing_is_opened_more_often_than_a_few_times_for_many_files_of_one_form(tmp_path, monkeypatch):
    write_yolo(tmp_path, "images", {f"{i:03d}": YOLO for i in range(40)})
    opened = []
    real = open
    monkeypatch.setattr(
        "builtins.open", lambda path, *args, **more: opened.append(str(path)) or real(path, *args, **more)
    )
    load(tmp_path)
    assert sum(path.endswith(".txt") for path in opened) <= 40 + 8
    assert os.path.isdir(Path(tmp_path))
