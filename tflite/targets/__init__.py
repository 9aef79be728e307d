"""Where a converted model can go besides the run's own folder: `python -m pipeline.convert --target NAME`.

A new target is a class of its own file and a line here.
"""

from __future__ import annotations

from micro_yolo.tflite.targets.android import Android
from micro_yolo.tflite.targets.base import Target
from micro_yolo.tflite.targets.mcu import Mcu

__all__ = ["TARGETS", "Target"]
TARGETS: dict[str, Target] = {target.name: target for target in (Android(), Mcu())}
