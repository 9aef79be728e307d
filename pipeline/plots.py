"""Pictures of a training, for those who would rather look than read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import runs

_LOSSES = ("box", "objectness", "classes")


def draw_history(history: Sequence[dict[str, Any]], path: Path) -> Path:
    """Losses and AP over the epochs, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for name in _LOSSES:
        left.plot(epochs, [row[name] for row in history], label=name)
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    left.legend()
    measured = [row for row in history if row["AP"] is not None]
    for name, label in (("AP50", "AP50"), ("AP", "AP50:95")):
        right.plot([row["epoch"] for row in measured], [row[name] for row in measured], marker=".", label=label)
    right.set(xlabel="epoch", ylabel="points on validation", ylim=(0, 100))
    right.grid(alpha=0.3)
    right.legend()
    # By way of memory: on a full disk Pillow itself ends with part of the picture written and no error.
    png = io.BytesIO()
    figure.savefig(png, dpi=120, format="png")
    return runs.write_atomic(path, png.getvalue())
