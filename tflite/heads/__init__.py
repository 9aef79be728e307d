"""How raw grids become boxes, by name: one coding for each kind of detection row, in a file of its own.

A new one is a file here and a line in CODINGS; `model.heads` has its other side, the training.
"""

from __future__ import annotations

from micro_yolo.tflite.heads import yolo
from micro_yolo.tflite.heads.base import Coding, Grid, GridLike, Part

__all__ = ["CODINGS", "IMPLIED", "Coding", "Grid", "GridLike", "Part", "find"]
CODINGS: dict[str, Coding] = {coding.name: coding for coding in (yolo.CODING,)}
# What files made before contracts had a coding are in.
IMPLIED = yolo.CODING.name


def find(name: str) -> Coding:
    """A coding by its name. ValueError for one that is not known here."""
    if name not in CODINGS:
        raise ValueError(f"coding: unknown, got {name!r}; allowed for raw: {', '.join(CODINGS)}; update micro-yolo")
    return CODINGS[name]
