"""A backbone that has seen millions of photographs, and a dense neck that learns classes fast from few of ours.

Backbone: MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381, table 2) without its last convolution, row for row, so
that start weights fit. Neck: a 1x1 and a dense 3x3 convolution in front of each detection row. Dense, as on such small
grids it costs little, int8 dot products favour it, and separable rows learned classes slowly (docs/networks.md has
what else was tried). The finer grid also reads a tap at stride 8, taken down to 16 by a convolution: what tells two
classes apart is often smaller than a cell.
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
        Row("n1", "conv", 128),  # 13
        Row("n2", "conv", 256, k=3),
        Row("d1", "detect", anchors=((81, 82), (135, 169), (344, 319))),
        Row("n3", "conv", 64, src=("n1",)),
        Row("n4", "upsample", s=2),  # 26
        Row("n5", "conv", 64, k=3, s=2, src=("b5",)),
        Row("n6", "concat", src=("n4", "b12", "n5")),
        Row("n7", "conv", 128),
        Row("n8", "conv", 256, k=3),
        Row("d2", "detect", anchors=((10, 14), (23, 27), (37, 58))),
    ),
    source="Sandler et al. 2018, MobileNetV2, arXiv 1801.04381 (the backbone)",
    start="mobilenet_v2_coco",
)
