"""YOLO-LITE (Huang, Pedoeem & Chen 2018, arXiv 1811.05588), the authors' trial 3 without batch norm."""

from micro_yolo.model.spec import Arch, Row

# Published in cells of the 7x7 grid, that is 32 pixels at 224.
CELLS = ((1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52))

YOLO_LITE = Arch(
    "yolo_lite",
    (
        Row("conv1", "conv", 16, k=3, bn=False),  # 224
        Row("pool1", "pool", k=2, s=2),  # 112
        Row("conv2", "conv", 32, k=3, bn=False),
        Row("pool2", "pool", k=2, s=2),  # 56
        Row("conv3", "conv", 64, k=3, bn=False),
        Row("pool3", "pool", k=2, s=2),  # 28
        Row("conv4", "conv", 128, k=3, bn=False),
        Row("pool4", "pool", k=2, s=2),  # 14
        Row("conv5", "conv", 128, k=3, bn=False),
        Row("pool5", "pool", k=2, s=2),  # 7
        Row("conv6", "conv", 256, k=3, bn=False),
        Row("conv7", "detect", anchors=tuple((w * 32, h * 32) for w, h in CELLS)),
    ),
    size=(224, 224),
    act="leaky",
    source="Huang, Pedoeem & Chen 2018, YOLO-LITE, arXiv 1811.05588",
)
