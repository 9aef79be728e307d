"""YOLOv3-Tiny (Redmon & Farhadi 2018, arXiv 1804.02767; layers and anchors of the authors' yolov3-tiny.cfg)."""

from micro_yolo.model.spec import Arch, Row

# All six of the paper, (width, height) at 416. The finer head takes 1, 2, 3 and not 0, 1, 2: that is how the authors'
# file has it, so the smallest anchor answers for nothing and 81,82 is in both heads.
ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
COARSE, FINE = ANCHORS[3:6], ANCHORS[1:4]

YOLOV3_TINY = Arch(
    "yolov3_tiny",
    (
        Row("l1", "conv", 16, k=3),  # 416
        Row("l2", "pool", k=2, s=2),  # 208
        Row("l3", "conv", 32, k=3),
        Row("l4", "pool", k=2, s=2),  # 104
        Row("l5", "conv", 64, k=3),
        Row("l6", "pool", k=2, s=2),  # 52
        Row("l7", "conv", 128, k=3),
        Row("l8", "pool", k=2, s=2),  # 26
        Row("l9", "conv", 256, k=3),
        Row("l10", "pool", k=2, s=2),  # 13
        Row("l11", "conv", 512, k=3),
        Row("l12", "pool", k=2, s=1),
        Row("l13", "conv", 1024, k=3),
        Row("l14", "conv", 256),
        Row("l15", "conv", 512, k=3),
        Row("l16", "detect", anchors=COARSE),  # 13
        Row("l19", "conv", 128, src=("l14",)),
        Row("l20", "upsample", s=2),  # 26
        Row("l21", "concat", src=("l20", "l9")),
        Row("l22", "conv", 256, k=3),
        Row("l23", "detect", anchors=FINE),  # 26
    ),
    act="leaky",
    source="Redmon & Farhadi 2018, YOLOv3: An Incremental Improvement, arXiv 1804.02767",
)
