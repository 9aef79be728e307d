"""YOLO Nano (Wong, Famuori, Shafiee, Li, Chwyl & Chung 2019, arXiv 1910.01271, figure 2).

From the paper: the order of modules, their widths, the heads. Reconstructed, because it is not published: the
expansion factor, the width the expansion multiplies (the one it reads), ReLU6, no biases in the attention, and
YOLOv3's nine anchors.
"""

from micro_yolo.model.spec import Anchor, Arch, Row

YOLOV3_ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),  # 52x52
    ((30, 61), (62, 45), (59, 119)),  # 26x26
    ((116, 90), (156, 198), (373, 326)),  # 13x13
)


def yolo_nano(expansion: int = 1) -> Arch:
    """YOLO Nano with the expansion factor left open by its paper.

    The paper claims about 4 M parameters and 4.57 G operations (2.29 GMAC) for VOC's 20 classes. Expansion 1 has 2.93 M
    and 2.03 GMAC, expansion 2 has 4.71 M and 3.19 GMAC: no factor meets both claims. 1 is the default because it is
    the one within the compute claimed, which is what decides the speed.
    """
    if expansion < 1:
        raise ValueError(f"yolo_nano: expansion must be a whole number of at least 1, got {expansion}")
    width = {"input": 3}
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        width[row.name] = row.out or sum(width[name] for name in row.src) or width[rows[-2].name]

    def conv(name: str, out: int, k: int = 1, s: int = 1, src: tuple[str, ...] = ()) -> None:
        add(Row(name, "conv", out, k=k, s=s, src=src))

    def pep(name: str, pre: int, out: int) -> None:
        same = width[rows[-1].name] == out
        add(Row(name, "pep", out, k=3, pre=pre, mid=pre * expansion, skip=same))

    def ep(name: str, out: int, s: int = 1, src: str = "") -> None:
        entry = width[src or rows[-1].name]
        add(Row(name, "mbconv", out, k=3, s=s, mid=entry * expansion, src=(src,) if src else ()))

    def detect(name: str, anchors: tuple[Anchor, ...]) -> None:
        rows.append(Row(name, "detect", anchors=anchors))

    conv("conv1", 12, k=3)  # 416
    conv("conv2", 24, k=3, s=2)  # 208
    pep("pep1", 7, 24)
    ep("ep1", 70, s=2)  # 104
    pep("pep2", 25, 70)
    pep("pep3", 24, 70)
    ep("ep2", 150, s=2)  # 52
    pep("pep4", 56, 150)
    conv("conv3", 150)
    add(Row("fca1", "fca", se=150 // 8))
    pep("pep5", 73, 150)
    pep("pep6", 71, 150)
    pep("pep7", 75, 150)
    ep("ep3", 325, s=2)  # 26
    for number, pre in enumerate((132, 124, 141, 140, 137, 135, 133, 140), start=8):
        pep(f"pep{number}", pre, 325)
    ep("ep4", 545, s=2)  # 13
    pep("pep16", 276, 545)
    conv("conv4", 230)
    ep("ep5", 489)
    pep("pep17", 213, 469)
    conv("conv5", 189)
    conv("conv6", 105)
    add(Row("up1", "upsample", s=2))  # 26
    add(Row("cat1", "concat", src=("up1", "pep15")))
    pep("pep18", 113, 325)
    pep("pep19", 99, 207)
    conv("conv7", 98)
    conv("conv8", 47)
    add(Row("up2", "upsample", s=2))  # 52
    add(Row("cat2", "concat", src=("up2", "pep7")))
    pep("pep20", 58, 122)
    pep("pep21", 52, 87)
    pep("pep22", 47, 93)
    detect("head52", YOLOV3_ANCHORS[0])
    ep("ep6", 183, src="conv7")  # 26
    detect("head26", YOLOV3_ANCHORS[1])
    ep("ep7", 462, src="conv5")  # 13
    detect("head13", YOLOV3_ANCHORS[2])
    source = f"Wong et al. 2019, YOLO Nano, arXiv 1910.01271; unpublished, chosen here: expansion {expansion}, anchors"
    return Arch("yolo_nano", tuple(rows), source=source)


YOLO_NANO = yolo_nano()
