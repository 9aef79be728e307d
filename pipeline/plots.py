"""Pictures of a training, for those who would rather look than read."""

from __future__ import annotations

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
    with runs.writing(path) as beside:
        figure.savefig(beside, dpi=120)
    return path
