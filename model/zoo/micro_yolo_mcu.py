"""A network for microcontrollers with 256 KB of RAM for it and 512 KB of flash: docs/mcu.md has what TFLM measured.

Ours. What fills the arena is the first rows, so pictures shrink to a quarter before anything is expanded, and
expansions stay narrow where grids are wide; no gates, whose products take a copy each. Cells are 8 and 16 pixels, half
of what larger networks have, as pictures are a half or a third as large.
"""

from micro_yolo.model.spec import Arch, Row

MICRO_YOLO_MCU = Arch(
    "micro_yolo_mcu",
    (
        Row("l1", "conv", 8, k=3, s=2),  # 80 of 160
        Row("l2", "separable", 16, k=3, s=2),  # 40
        Row("l3", "mbconv", 16, k=3, mid=48, skip=True),
        Row("l4", "mbconv", 24, k=3, s=2, mid=64),  # 20
        Row("l5", "mbconv", 24, k=3, mid=96, skip=True),
        Row("l6", "mbconv", 24, k=3, mid=96, skip=True),
        Row("l7", "mbconv", 48, k=3, s=2, mid=96),  # 10
        Row("l8", "mbconv", 48, k=5, mid=192, skip=True),
        Row("l9", "mbconv", 48, k=5, mid=192, skip=True),
        Row("l10", "mbconv", 80, k=3, s=2, mid=192),  # 5
        Row("l11", "mbconv", 80, k=5, mid=320, skip=True),
        Row("l12", "mbconv", 80, k=5, mid=320, skip=True),
        Row("l13", "upsample", s=2),  # 10
        Row("l14", "concat", src=("l13", "l9")),
        Row("l15", "conv", 64),
        Row("l16", "separable", 96, k=3),
        Row("d1", "detect", anchors=((26, 29), (45, 40), (88, 84))),
        Row("l17", "conv", 32, src=("l15",)),
        Row("l18", "upsample", s=2),  # 20
        Row("l19", "concat", src=("l18", "l6")),
        Row("l20", "separable", 64, k=3),
        Row("l21", "separable", 64, k=3),
        Row("d2", "detect", anchors=((6, 7), (11, 12), (17, 19))),
    ),
    size=(160, 160),
    source="Sandler et al. 2018, MobileNetV2, arXiv 1801.04381 (the blocks; the table is ours)",
)
