"""Micro-YOLO (Hu & Li, ICAART 2021, DOI 10.5220/0010234401510158): YOLOv3-Tiny with lighter layers and mixed kernels.

Row names are the paper's layer numbers. From the paper: which layer is of which kind, all widths, the kernel sizes
3,5,3,5,3 of layers 3,5,7,9,11 (figure 4), table 1's layers.

Reconstructed, because it is not published: expansion alpha = 2, gate reduction beta = 32 (of the expanded width, at
least 1, no biases), 3x3 MBConv in layers 15 and 22, batch norm behind all three convolutions of an MBConv and behind
both of a DSConv, ReLU6. It is the choice that gives the published 2.56 M parameters (2,562,702 with batch-norm
statistics, 3.46 times fewer than YOLOv3-Tiny); it has 1.055 GMAC where the paper says 1.10.

`MICRO_YOLO_PRUNED` is the paper's pruned network, 1.92 M parameters and 0.87 GMAC. From the paper (table 3): 6/16 of
layer 13 go, nothing of layer 15, 1/16 to 2/16 of most other layers. Reconstructed: which of these give 1/16 and which
2/16 (`CUT`), and that inner widths follow, alpha and beta staying as they are. Of all choices of 0, 1 or 2 sixteenths
the simplest rule that fits is one by kind of layer: 2/16 of an MBConv, 1/16 of a plain convolution. It gives 1,925,835
parameters (the paper's +0.3 %) and 0.834 GMAC, 0.791 of the uncut network, where the paper has 0.87 / 1.10 = 0.791.
With inner widths left as they were, no choice comes within 2 %.
"""

import dataclasses

from micro_yolo.model.spec import Arch, Row
from micro_yolo.model.zoo.yolov3_tiny import COARSE, FINE

SOURCE = (
    "Hu & Li 2021, Micro-YOLO, ICAART, DOI 10.5220/0010234401510158; "
    "unpublished, reconstructed here: expansion 2, gate reduction 32"
)
# Unpublished, see above: an MBConv works on EXPANSION times the width it reads, its gate on REDUCTION times less.
EXPANSION, REDUCTION = 2, 32

MICRO_YOLO = Arch(
    "micro_yolo",
    (
        Row("l1", "conv", 16, k=3),  # 416
        Row("l2", "pool", k=2, s=2),  # 208
        Row("l3", "mbconv", 32, k=3, mid=32, se=1),
        Row("l4", "pool", k=2, s=2),  # 104
        Row("l5", "mbconv", 64, k=5, mid=64, se=2),
        Row("l6", "pool", k=2, s=2),  # 52
        Row("l7", "mbconv", 128, k=3, mid=128, se=4),
        Row("l8", "pool", k=2, s=2),  # 26
        Row("l9", "mbconv", 256, k=5, mid=256, se=8),
        Row("l10", "pool", k=2, s=2),  # 13
        Row("l11", "mbconv", 512, k=3, mid=512, se=16),
        Row("l12", "pool", k=2, s=1),
        Row("l13", "separable", 1024, k=3),
        Row("l14", "conv", 256),
        Row("l15", "mbconv", 512, k=3, mid=512, se=16),
        Row("l16", "detect", anchors=COARSE),  # 13
        Row("l19", "conv", 128, src=("l14",)),
        Row("l20", "upsample", s=2),  # 26
        Row("l21", "concat", src=("l20", "l9")),
        Row("l22", "mbconv", 256, k=3, mid=768, se=24),
        Row("l23", "detect", anchors=FINE),  # 26
    ),
    source=SOURCE,
)

# Table 2's ablations. Only the kind of layer differs: kernel sizes stay (which the paper used there is not published).
MICRO_YOLO_DSCONV = MICRO_YOLO.replace(
    name="micro_yolo_dsconv",
    rows=tuple(
        Row(row.name, "separable", row.out, k=row.k, src=row.src) if row.op == "mbconv" else row
        for row in MICRO_YOLO.rows
    ),
)
MICRO_YOLO_MBCONV = MICRO_YOLO.replace(
    name="micro_yolo_mbconv",
    rows=tuple(
        dataclasses.replace(row, op="mbconv", mid=1024, se=32) if row.name == "l13" else row for row in MICRO_YOLO.rows
    ),
)

# Table 3: sixteenths of each row's channels that pruning takes.
CUT = {
    "l1": 1,
    "l3": 2,
    "l5": 2,
    "l7": 2,
    "l9": 2,
    "l11": 2,
    "l13": 6,
    "l14": 1,
    "l15": 0,
    "l19": 1,
    "l22": 2,
}


def _pruned(arch: Arch, cut: dict[str, int]) -> Arch:
    """`arch` without these sixteenths of its rows' channels; inner widths follow what a row then reads."""
    outs = arch.replace(
        rows=tuple(dataclasses.replace(r, out=r.out * (16 - cut[r.name]) // 16) if r.out else r for r in arch.rows)
    )
    reads = {row.name: sum(outs.channels[source] for source in outs.sources[row.name]) for row in outs.rows}
    inner = {name: EXPANSION * width for name, width in reads.items()}
    return outs.replace(
        name=f"{arch.name}_pruned",
        rows=tuple(
            dataclasses.replace(row, mid=inner[row.name], se=max(1, inner[row.name] // REDUCTION))
            if row.op == "mbconv"
            else row
            for row in outs.rows
        ),
        source=f"{SOURCE}, and which rows are cut by how much",
    )


MICRO_YOLO_PRUNED = _pruned(MICRO_YOLO, CUT)
