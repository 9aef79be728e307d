"""Labels as tools and public data sets write them, drawn small, each in its own form."""

import json

import pytest
from drawn_kinds import CAT, DOG, check, counts, example, pictures, write

from micro_yolo.pipeline.data import load

TWO = {"train": (2, 4), "val": (2, 4)}


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
        "UNASSIGNED,gs://b/{0},cat,0.0625,0.125,,,0.375,0.3333,,\n"
        "UNASSIGNED,gs://b/{0},dog,0.46875,0.125,,,0.625,0.3333,,\n",
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
        f"<image file='{n}'><box top='6' left='4' width='20' height='10'><label>cat</label></box>"
        "<box top='6' left='30' width='10' height='10'><label>dog</label></box></image>"
        for n in names
    )
    write(tmp_path / "dlib" / "training.xml", f"<dataset><images>{made}</images></dataset>")
    assert counts(load(tmp_path / "dlib")) == {"train": (3, 6), "val": (1, 2)}


@pytest.mark.parametrize("sharded", [False, True])
def test_tfrecord(tmp_path, sharded):
    root = tmp_path / "set"
    for split, names in (("train", "ab"), ("valid", "cd")):
        records = []
        for name in pictures(tmp_path / "source", names):
            records.append(example(tmp_path / "source" / name))
        for number, made in enumerate(records if sharded else [b"".join(records)]):
            name = f"pets.tfrecord-{number:05d}-of-00002" if sharded else "pets.tfrecord"
            (root / split).mkdir(parents=True, exist_ok=True)
            (root / split / name).write_bytes(made)
    write(root / "label_map.pbtxt", "item { id: 1 name: 'cat' }\nitem {\n name: \"dog\"\n id: 2\n}\n")
    check(load(root), "coco", splits=TWO, said=("TFRecord; its pictures were unpacked into",))
    check(load(root), "coco", splits=TWO, said=("TFRecord; its pictures were unpacked into",))
