"""A backbone that has seen millions of photographs, and a dense neck that learns classes fast from few of ours.

Backbone: MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381, table 2) without its last convolution, row for row, so
that start weights fit. Neck: down and up again as in PANet (Liu et al. 2018, arXiv 1803.01534), with dense 3x3
convolutions in front of the detection rows: on such small grids they cost little, int8 dot products favour them, and
separable rows learned classes slowly. `e1` to `e3` bring detail from strides 4 and 8, as what tells two classes apart
is often smaller than a cell; the 5x5 row carries it to the middle of an object, where its cell is. docs/networks.md has
what else was tried.
"""

from micro_yolo.model.spec import Arch, Row

# Table 2: expansion t, channels c, repeats n, stride s of the bottlenecks behind the stem.
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _backbone() -> tuple[Row, ...]:
    rows, width = [Row("stem", "conv", 32, k=3, s=2)], 32
    for expansion, out, repeats, stride in _BOTTLENECKS:
        for repeat in range(repeats):
            s = 1 if repeat else stride
            mid = 0 if expansion == 1 else expansion * width
            rows.append(Row(f"b{len(rows) - 1}", "mbconv", out, k=3, s=s, mid=mid, skip=s == 1 and width == out))
            width = out
    return tuple(rows)


MICRO_YOLO_MOBILE = Arch(
    "micro_yolo_mobile",
    (
        *_backbone(),
        Row("n1", "conv", 128),  # 10
        Row("n2", "conv", 64),
        Row("n3", "upsample", s=2),  # 20
        Row("e1", "conv", 32, k=3, s=2, src=("b2",)),  # 40
        Row("e2", "concat", src=("e1", "b5")),
        Row("e3", "conv", 96, k=3, s=2),  # 20
        Row("n4", "concat", src=("n3", "b12", "e3")),
        Row("n5", "conv", 128),
        Row("n6", "mbconv", 128, k=5, mid=256, skip=True),
        Row("n7", "conv", 256, k=3),
        Row("d1", "detect", anchors=((8, 11), (18, 21), (28, 45))),
        Row("n8", "conv", 128, k=3, s=2, src=("n6",)),  # 10
        Row("n9", "concat", src=("n8", "n1")),
        Row("n10", "conv", 256, k=3),
        Row("d2", "detect", anchors=((62, 62), (104, 130), (265, 245))),
    ),
    size=(320, 320),
    source="Sandler et al. 2018, MobileNetV2, arXiv 1801.04381 (the backbone)",
    start="mobilenet_v2_coco",
)
