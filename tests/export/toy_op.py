"""An operation in one file: narrow, spread out, gate, widen, and add what came in."""

from __future__ import annotations

from micro_yolo.model.ops import Op
from micro_yolo.model.primitives import Block, Conv, Depthwise, Gate, Skip
from micro_yolo.model.row import Row


def hourglass(row: Row) -> Block:
    """1x1 to `mid`, depthwise k x k, gate, k x k to `out`, skip."""
    return (
        Conv("narrow", row.mid, width="mid"),
        Depthwise(row.k, 1, name="spread"),
        Gate(row.se, name="gate"),
        Conv("widen", row.out, row.k),
        Skip(),
    )


HOURGLASS = Op(hourglass, ("out", "k", "mid", "se", "act"), {"out": 1, "mid": 1, "se": 1})
