"""Micro-YOLO: from labelled photographs to a small, integer-only object detector, measured at every step.

    run = micro_yolo.train("photos/", size=320, epochs=40)
    detector = run.convert(int8=True)["int8"]
    print(detector.evaluate().AP50)
    print(detector.detect("photo.jpg"))

Each name is loaded when it is first used; see docs/python.md.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from micro_yolo.api import Run, benchmark, evaluate, train
    from micro_yolo.detector import Detections, Detector
    from micro_yolo.pipeline.data import load
    from micro_yolo.pipeline.show.screen import Screen, Show

__all__ = ["Detections", "Detector", "Run", "Screen", "Show", "benchmark", "evaluate", "load", "train"]
_HOMES = {
    **dict.fromkeys(("Run", "benchmark", "evaluate", "train"), "micro_yolo.api"),
    **dict.fromkeys(("Detections", "Detector"), "micro_yolo.detector"),
    **dict.fromkeys(("Screen", "Show"), "micro_yolo.pipeline.show.screen"),
    "load": "micro_yolo.pipeline.data",
}
_HERE = Path(__file__).resolve().parent
# In a clone the packages are folders beside this one, linked into it; where links cannot be had, they are found so.
if not (_HERE / "model").is_dir():
    __path__.append(str(_HERE.parent))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'micro_yolo' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
