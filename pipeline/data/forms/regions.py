"""Regions as the VGG Image Annotator writes them, in its JSON and in its CSV.

Format: https://www.robots.ox.ac.uk/~vgg/software/via/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from micro_yolo.pipeline.data.labels import corners_of, number

# Attributes that say what a region is, where there are several.
_CLASS = ("class", "label", "type", "name", "category", "object")


def shape_corners(shape: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """The box around a region's shape; None of a point or a line, which have none."""
    kind = shape.get("name")
    if kind == "rect" or {"x", "y", "width", "height"} <= shape.keys():
        x, y, w, h = (number(shape.get(key)) for key in ("x", "y", "width", "height"))
        return x, y, x + w, y + h
    if "all_points_x" in shape and kind != "polyline":
        return corners_of(list(zip(shape["all_points_x"], shape.get("all_points_y") or (), strict=False)))
    if "r" in shape or "rx" in shape:
        x, y = number(shape.get("cx")), number(shape.get("cy"))
        rx, ry = number(shape.get("rx", shape.get("r"))), number(shape.get("ry", shape.get("r")))
        return x - rx, y - ry, x + rx, y + ry
    return None


def attribute(attributes: object) -> str:
    """The class that a region's attributes name; empty if none does."""
    if not isinstance(attributes, Mapping):
        return ""
    known = {str(key).lower(): value for key, value in attributes.items()}
    for key in (*_CLASS, *known):
        value = known.get(key)
        if isinstance(value, Mapping):
            # A checkbox or a choice: the one that is ticked.
            value = next((name for name, ticked in value.items() if ticked), None)
        if isinstance(value, str) and value.strip():
            return value
    return ""
