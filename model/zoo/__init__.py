"""The networks that come with the project: one file per paper, and `ARCHS`, a plain dict of them."""

from __future__ import annotations

from pathlib import Path

from micro_yolo.model.nearest import nearest
from micro_yolo.model.spec import Arch
from micro_yolo.model.zoo.micro_yolo import MICRO_YOLO, MICRO_YOLO_DSCONV, MICRO_YOLO_MBCONV, MICRO_YOLO_PRUNED
from micro_yolo.model.zoo.micro_yolo_mcu import MICRO_YOLO_MCU
from micro_yolo.model.zoo.micro_yolo_mobile import MICRO_YOLO_MOBILE
from micro_yolo.model.zoo.yolo_lite import YOLO_LITE
from micro_yolo.model.zoo.yolo_nano import YOLO_NANO
from micro_yolo.model.zoo.yolov3_tiny import YOLOV3_TINY

_ALL = (
    YOLOV3_TINY,
    YOLO_LITE,
    YOLO_NANO,
    MICRO_YOLO,
    MICRO_YOLO_PRUNED,
    MICRO_YOLO_DSCONV,
    MICRO_YOLO_MBCONV,
    MICRO_YOLO_MOBILE,
    MICRO_YOLO_MCU,
)
ARCHS: dict[str, Arch] = {arch.name: arch for arch in _ALL}


def find(name: str | Path) -> Arch:
    """The network called `name`, or the one in a JSON file if `name` ends in ``.json``.

    Raises:
      ValueError: no such name (the nearest is suggested), or the file is no network.
      FileNotFoundError: no such file.
    """
    name = str(name)
    if name.endswith(".json"):
        return Arch.load(name)
    if name not in ARCHS:
        near = nearest(name.lower().replace("-", "_"), ARCHS, form="nearest: {}; ", cutoff=0.4)
        raise ValueError(
            f"arch: unknown network {name!r}; {near}allowed: {', '.join(ARCHS)}, or a FILE.json; "
            "`python -m pipeline.summary` describes them"
        )
    return ARCHS[name]
