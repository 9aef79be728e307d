"""The box around what COCO calls a segmentation: polygons, or runs of pixels.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

from typing import Any

from micro_yolo.pipeline.data.labels import corners_of

_NAN4 = (float("nan"),) * 4


def outline_box(segmentation: Any) -> tuple[float, float, float, float]:
    """(x, y, width, height) around it; NaN if there is nothing."""
    try:
        if isinstance(segmentation, dict):
            return _of_runs(segmentation["counts"], *segmentation["size"])
        polygons = segmentation if segmentation and isinstance(segmentation[0], list | tuple) else [segmentation]
        points = [pair for each in polygons for pair in zip(each[::2], each[1::2], strict=True)]
        x1, y1, x2, y2 = corners_of(points)
        return x1, y1, x2 - x1, y2 - y1
    except (KeyError, TypeError, ValueError, IndexError):
        return _NAN4


def _of_runs(counts: Any, height: int, width: int) -> tuple[float, float, float, float]:
    """Runs go down the columns, outside and inside by turns."""
    runs = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
    left, top, right, bottom = width, height, -1, -1
    at = 0
    for number, length in enumerate(runs):
        if number % 2 and length:
            first, last = at, at + length - 1
            left, right = min(left, first // height), max(right, last // height)
            whole = last // height > first // height
            top = 0 if whole else min(top, first % height)
            bottom = height - 1 if whole else max(bottom, last % height)
        at += length
    if right < 0:
        return _NAN4
    return float(left), float(top), float(right - left + 1), float(bottom - top + 1)


def _unpacked(text: str) -> list[int]:
    """COCO's compressed runs: six bits a sign, least first; from the fourth on less the one before the last."""
    runs: list[int] = []
    value, shift = 0, 0
    for sign in text:
        bits = ord(sign) - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value, shift = 0, 0
    return runs
