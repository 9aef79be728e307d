"""Public data sets by name, each as a miniature drawn in its layout: `docs/cases.md` says where that is described."""

import json

import pytest
from data_folders import voc_xml, write_image

from micro_yolo.pipeline.data import load


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def wheat(root):
    """Global Wheat Detection, of Kaggle: names without an ending, one class, test pictures without labels."""
    rows = []
    for name in ("b6ab77fd7", "a1b2c3d4e", "00764ad5d"):
        write_image(root / "train" / f"{name}.jpg")
        rows += [f'{name},64,48,"[{x}.0, 6.0, 10.0, 10.0]",usask_1\n' for x in (4, 30)]
    write_image(root / "test" / "2fd875eaa.jpg")
    write(root / "train.csv", "image_id,width,height,bbox,source\n" + "".join(rows))


def lisa(root):
    """LISA Traffic Light: CSV with semicolons in a folder for each sequence, boxes and bulbs apart."""
    head = "Filename;Annotation tag;Upper left corner X;Upper left corner Y;Lower right corner X;Lower right corner Y;"
    head += "Origin file;Origin frame number;Origin track;Origin track frame number\n"
    for clip in ("dayClip1", "dayClip2"):
        rows = ""
        for frame in range(2):
            write_image(root / clip / "frames" / f"{clip}--{frame:05d}.jpg")
            rows += f"dayTraining/{clip}--{frame:05d}.jpg;go;4;6;24;16;x/{clip}.mp4;{frame};{clip}.mp4;{frame}\n"
        write(root / clip / "frameAnnotationsBOX.csv", head + rows)
        write(root / clip / "frameAnnotationsBULB.csv", head + rows.replace(";4;6;", ";8;9;"))


def gtsdb(root):
    """German Traffic Sign Detection Benchmark: gt.txt, pictures in PPM beside it."""
    for i in range(3):
        write_image(root / f"0000{i}.ppm")
    write(
        root / "gt.txt",
        "00000.ppm;4;6;24;16;11\n00001.ppm;4;6;24;16;40\n00001.ppm;30;6;40;16;11\n00002.ppm;4;6;24;16;40\n",
    )
    write(root / "ReadMe.txt", "The German Traffic Sign Detection Benchmark\n")


def visdrone(root):
    """VisDrone-DET: images/ and annotations/ for each split."""
    for split, stems in (("train", "ab"), ("val", "cd")):
        for stem in stems:
            write_image(root / f"VisDrone2019-DET-{split}" / "images" / f"{stem}.jpg")
            text = "4,6,20,10,1,4,0,0\n30,6,10,10,1,1,0,1\n0,0,5,5,0,0,0,0\n"
            write(root / f"VisDrone2019-DET-{split}" / "annotations" / f"{stem}.txt", text)


def crowdhuman(root):
    """CrowdHuman: a line of JSON for each picture, an ID for its name."""
    for split, names in (("train", ("273271,1a", "273271,2b")), ("val", ("273271,3c",))):
        lines = []
        for name in names:
            write_image(root / "Images" / f"{name}.jpg")
            boxes = [{"tag": "person", "fbox": [4, 6, 20, 10], "hbox": [4, 6, 2, 2], "vbox": [4, 6, 9, 9], "extra": {}}]
            boxes.append(
                {"tag": "mask", "fbox": [30, 6, 9, 9], "hbox": [0] * 4, "vbox": [0] * 4, "extra": {"ignore": 1}}
            )
            lines.append(json.dumps({"ID": name, "gtboxes": boxes}))
        write(root / f"annotation_{split}.odgt", "\n".join(lines))


def taco(root):
    """TACO: COCO JSON over folders of batches, and a second JSON of unofficial annotations."""
    names = ("batch_1/000006.jpg", "batch_1/000008.jpg", "batch_2/000006.JPG")
    for name in names:
        write_image(root / "data" / name)
    images = [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)]
    boxes = [{"id": i, "image_id": i, "category_id": 0, "bbox": [4, 6, 20, 10], "segmentation": [[4, 6, 24, 6, 24, 16]],
              "area": 100.0, "iscrowd": 0} for i in range(3)]  # fmt: skip
    categories = [{"id": 0, "name": "Can", "supercategory": "Metal"}]
    record = json.dumps({"info": {}, "images": images, "annotations": boxes, "categories": categories})
    write(root / "data" / "annotations.json", record)
    write(root / "data" / "annotations_unofficial.json", record)


def roads(root):
    """RDD2022: a folder for each country, test pictures without labels."""
    for country in ("Japan", "Czech"):
        for i in range(2):
            stem = f"{country}_00000{i}"
            write_image(root / country / "train" / "images" / f"{stem}.jpg")
            write(
                root / country / "train" / "annotations" / "xmls" / f"{stem}.xml",
                voc_xml(f"{stem}.jpg", [("D00", 4, 6, 24, 16)]),
            )
        write_image(root / country / "test" / "images" / f"{country}_000009.jpg")


def bdd(root):
    """BDD100K: one JSON for each split, pictures in images/100k."""
    for split, names in (("train", "ab"), ("val", "cd")):
        record = []
        for name in names:
            write_image(root / "images" / "100k" / split / f"{name}-1.jpg")
            labels = [{"category": "car", "box2d": {"x1": 4, "y1": 6, "x2": 24, "y2": 16}, "id": 1}]
            labels.append({"category": "drivable area", "poly2d": [{"vertices": [[0, 0]]}], "id": 2})
            record.append({"name": f"{name}-1.jpg", "attributes": {}, "timestamp": 1, "labels": labels})
        write(root / "labels" / f"bdd100k_labels_images_{split}.json", json.dumps(record))


def wider(root):
    """WIDER FACE: one list for each split."""
    for split, names in (("train", ("0_Parade_1", "0_Parade_2")), ("val", ("0_Parade_3",))):
        lines = []
        for name in names:
            write_image(root / f"WIDER_{split}" / "images" / "0--Parade" / f"{name}.jpg")
            lines += [f"0--Parade/{name}.jpg", "2", "4 6 20 10 2 0 0 0 0 0", "30 6 10 10 0 0 0 0 2 0"]
        write(root / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt", "\n".join(lines) + "\n")


def udacity(root):
    """Udacity's second annotated driving set (Autti): spaces between the columns, and no header."""
    lines = ""
    for i in range(3):
        write_image(root / f"14780199{i}.jpg")
        lines += f'14780199{i}.jpg 4 6 24 16 0 "car"\n14780199{i}.jpg 30 6 40 16 0 "trafficLight" "Red"\n'
    write(root / "labels.csv", lines)


def pets(root):
    """Oxford-IIIT Pet: XML of heads for some of the pictures, lists of another form."""
    for i in range(4):
        write_image(root / "images" / f"Abyssinian_{i}.jpg")
        if i < 3:
            write(
                root / "annotations" / "xmls" / f"Abyssinian_{i}.xml",
                voc_xml(f"Abyssinian_{i}.jpg", [("cat", 4, 6, 24, 16)]),
            )
    write(root / "annotations" / "trainval.txt", "".join(f"Abyssinian_{i} 1 1 1\n" for i in range(3)))
    write(root / "annotations" / "test.txt", "Abyssinian_3 1 1 1\n")


def dota(root):
    """DOTA: labelTxt beside images in each split."""
    for split, names in (("train", ("P0000", "P0001")), ("val", ("P0003",))):
        for name in names:
            write_image(root / split / "images" / f"{name}.png")
            lines = "4 6 24 6 24 16 4 16 small-vehicle 0\n30 6 40 6 40 16 30 16 plane 1\n"
            write(root / split / "labelTxt" / f"{name}.txt", f"imagesource:GoogleEarth\ngsd:0.14\n{lines}")


UNLABELLED = "picture that none of the labels read names, not used"
TWICE = {
    f"{clip}/frameAnnotationsBULB.csv": f"picture that {clip}/frameAnnotationsBOX.csv has boxes of too, all kept"
    for clip in ("dayClip1", "dayClip2")
}
# Form, classes, images and boxes of each split, and what is named.
PUBLIC = {
    wheat: ("csv", "object", {"train": (2, 4), "val": (1, 2)}, {"test/2fd875eaa.jpg": UNLABELLED}),
    lisa: ("csv", "go", {"train": (3, 6), "val": (1, 2)}, TWICE),
    gtsdb: ("csv", "11,40", {"train": (2, 3), "val": (1, 1)}, {}),
    visdrone: (
        "visdrone",
        "car,pedestrian",
        {"train": (2, 4), "val": (2, 4)},
        {
            f"VisDrone2019-DET-{split}/annotations": "region that is to be ignored (ignored regions), left out"
            for split in ("train", "val")
        },
    ),
    crowdhuman: ("crowdhuman", "person", {"train": (2, 2), "val": (1, 1)}, {}),
    taco: None,
    roads: (
        "voc",
        "D00",
        {"train": (3, 3), "val": (1, 1)},
        {f"{country}/test/images/{country}_000009.jpg": UNLABELLED for country in ("Czech", "Japan")},
    ),
    bdd: ("bdd100k", "car", {"train": (2, 2), "val": (2, 2)}, {}),
    wider: ("wider face", "face", {"train": (2, 4), "val": (1, 2)}, {}),
    udacity: ("csv", "car,trafficLight", {"train": (2, 4), "val": (1, 2)}, {}),
    pets: ("voc", "cat", {"train": (2, 2), "val": (1, 1)}, {"images/Abyssinian_3.jpg": UNLABELLED}),
    dota: ("dota", "plane,small-vehicle", {"train": (2, 4), "val": (1, 2)}, {}),
}


@pytest.mark.parametrize("draw", PUBLIC, ids=lambda draw: draw.__name__)
def test_public_set(draw, tmp_path):
    draw(tmp_path)
    if draw is taco:
        with pytest.raises(ValueError, match="perhaps you mean"):
            load(tmp_path)
        with pytest.raises(
            ValueError, match=r"2 COCO files were found \(annotations.json, annotations_unofficial.json\)"
        ):
            load(tmp_path / "data")
        data = load(tmp_path / "data" / "annotations.json")
        assert sum(map(len, data.splits.values())) == 3 and data.problems == ()
        return
    data = load(tmp_path)
    form, names, counts, said = PUBLIC[draw]
    assert (data.format, ",".join(data.names)) == (form, names)
    assert {name: (len(split), len(split.classes)) for name, split in data.splits.items()} == counts
    assert {problem.file: problem.what for problem in data.problems} == said
