"""What `load` makes of the inputs in shared/cases, one line each; CASES.md says why it is right."""

from dataclasses import dataclass

WHOLE = {"train": (5, 10), "val": (1, 2)}
SPLIT = {"train": (4, 8), "val": (4, 8)}
THREE = {**SPLIT, "test": (4, 8)}
# The first picture of nearly all of them, whichever form its boxes are in.
BOLT, NUT = [97, 53, 150, 85], [62, 51, 96, 87]


@dataclass(frozen=True)
class Case:
    """An input and its right outcome.

    Attributes:
        form: `Dataset.format`; empty where it is to be refused.
        names: of the classes, with commas between.
        counts: images and boxes of each split.
        said: parts of what is named; nothing else is. Of what is refused, parts of the message.
        first: the boxes of pictures called p0, to a pixel; empty where there are no such.
    """

    form: str
    names: str = "bolt,nut"
    counts: dict[str, tuple[int, int]] = None
    said: tuple[str, ...] = ()
    first: tuple[list[int], ...] = (BOLT, NUT)


def refused(*said: str) -> Case:
    return Case("", said=said)


# Of what is turned the box around it.
TURNED = ([93, 46, 154, 92], NUT)
TURNED_TOO = ([94, 48, 153, 90], [59, 48, 99, 90])
OTHER_NAME = "<filename> names another picture; the XML's own name is used"
ONE_NAME = "'bolt' is the name of several, with the ids 1, 7; taken as one"
CASES = {
    "C01": Case("yolo", counts=SPLIT, said=("a sixth number, a score perhaps",)),
    "C02": Case("coco", counts=WHOLE),
    "C04": Case("coco", counts=WHOLE),
    "C06": Case("voc", counts=WHOLE, first=TURNED),
    "C07": Case("voc", counts=WHOLE),
    "C08": Case("voc", "螺栓,螺母", WHOLE),
    "C10": Case("yolo", counts=SPLIT),
    "C12": Case("coco", counts=WHOLE),
    "C13": Case("csv", counts=WHOLE),
    "C15": Case("csv", counts=WHOLE),
    "C17": Case("voc", counts=WHOLE, said=(OTHER_NAME,)),
    "C19": Case("yolo", "off,on", SPLIT),
    "C21": Case("cvat", counts=WHOLE, said=("box partly outside the image, clipped",), first=TURNED_TOO),
    "F01": Case("labelme", counts=WHOLE),
    "F03": Case("csv", counts=WHOLE),
    "F04": Case("csv", counts=WHOLE),
    "F05": Case("via", counts=WHOLE),
    "F07": Case("kitti", counts=WHOLE),
    "F09": Case("oidv4", "Bolt", WHOLE),
    "F10": Case("csv", "1,2", WHOLE),
    "F12": Case("csv", "0,1", WHOLE),
    "F13": Case("csv", counts=WHOLE),
    "F15": Case("csv", counts=WHOLE),
    "F16": Case("picture list", counts=WHOLE),
    "F17": refused("TFRecord without pictures and boxes in it; export COCO or Pascal VOC"),
    "F19": Case("createml", counts=WHOLE),
    "F20": Case("sagemaker", counts=WHOLE),
    "L01": Case("yolo", counts=WHOLE),
    "L02": Case("yolo", counts=WHOLE),
    "L03": Case("yolo", counts=SPLIT),
    "L04": Case("yolo", counts=WHOLE),
    "L06": Case("yolo", counts=SPLIT),
    "L08": Case("coco", counts=THREE),
    "L10": Case("csv", counts=THREE),
    "L12": Case("coco", counts=SPLIT, said=("category 'background' has no boxes and is the background, left out",)),
    "L13": Case("coco", counts=SPLIT),
    "L14": Case("coco", counts=SPLIT),
    "L16": refused(
        "2 COCO files were found (batch_1.json, batch_2.json)", "batch_1.json,", "batch_2.json (train, then val)"
    ),
    "L17": Case("csv", counts=SPLIT, first=()),
    "L19": Case("voc", counts={"train": (6, 12), "val": (2, 4)}),
    "L20": Case("voc", counts=WHOLE),
    "L21": Case("voc", counts=WHOLE),
    "L22": Case("voc", counts=WHOLE),
    "L23": Case("yolo", "0,1", WHOLE),
    "L24": Case("yolo", "0,1", WHOLE),
    "L25": Case("yolo", "0,1", SPLIT),
    "L26": Case("yolo", counts=SPLIT),
    "L27": Case("voc", counts=WHOLE),
    "L29": Case("yolo", counts=SPLIT),
    "L31": refused("perhaps you mean", "VOCdevkit/VOC2012"),
    "L33": Case("yolo", counts=SPLIT),
    "L34": Case("yolo", counts=SPLIT),
    "L36": Case("yolo", counts=SPLIT),
    "L38": Case("coco", counts=WHOLE),
    "L39": Case("coco", counts=WHOLE),
    "L40": Case("coco", counts=WHOLE),
    "L41": Case("coco", counts=WHOLE),
    "L42": Case("coco", counts=WHOLE),
    "L44": Case("coco", counts=WHOLE),
    "L45": Case("coco", counts=WHOLE),
    "L47": Case("coco", counts=WHOLE),
    "L49": Case("csv", counts=WHOLE),
    "R17": Case("voc", "nut", WHOLE, first=()),
    "R19": Case("coco", counts=WHOLE, said=(ONE_NAME,)),
    "S01": refused("split 'val' needs usable boxes, got 0"),
    "S03": Case("coco", counts={"train": (10, 4), "val": (2, 4)}, first=()),
    "S04": Case("yolo", counts=SPLIT),
    "S06": Case("csv", counts={"train": (5, 10), "val": (5, 10)}, first=()),
    "S08": Case("coco", counts={"train": (5, 10), "val": (5, 10)}),
    "S09": Case("yolo", counts=SPLIT),
    "S11": Case("yolo", "0,1", {"train": (5, 10), "val": (3, 6)}),
    "S12": Case("voc", counts={"train": (4, 8), "val": (2, 4)}),
    "S13": Case("yolo", counts=SPLIT, said=("Ultralytics pose labels: columns 2 to 5 are the box",)),
    "S15": Case("coco", counts=WHOLE, said=("boxes are shares of the picture (0..1), not pixels",)),
    "S17": Case(
        "yolo",
        counts=SPLIT,
        said=("picture of a kind that is not read (.heic", "label file without a picture, not used"),
    ),
    "S18": Case("yolo", "0,1", {"train": (6, 12), "val": (2, 4)}, first=()),
    "S20": Case("coco", counts=WHOLE, said=("annotation id that is already another's, numbered anew",)),
    "S22": Case(
        "coco", counts=THREE, said=("category 'parts' has no boxes and is only the parent of others, left out",)
    ),
    "S23": Case("coco", counts=WHOLE, said=(ONE_NAME,)),
    "S25": Case("voc", counts=WHOLE, said=(OTHER_NAME,)),
}
# Of other commands than `pipeline.data`, and the test that tries them.
ELSEWHERE = {
    "R01": "tests/e2e/test_moved.py",
    "R03": "tests/e2e/test_moved.py",
    "R04": "tests/e2e/test_moved.py",
    "R06": "tests/e2e/test_moved.py",
    "R07": "tests/unit/test_cases.py",
    "R09": "tests/export/test_predict_cases.py",
    "R10": "tests/export/test_predict_cases.py",
    "R12": "tests/export/test_predict_cases.py",
    "R15": "tests/export/test_predict_cases.py",
    "R20": "tests/unit/test_cases.py",
}
