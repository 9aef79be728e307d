"""Micro-YOLO: from labelled photographs to a small, integer-only object detector, measured at every step."""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
# In a clone the packages are folders beside this one, linked into it; where links cannot be had, they are found so.
if not (_HERE / "model").is_dir():
    __path__.append(str(_HERE.parent))
