"""What detections tell beside the boxes: which score to act on, what is taken for what, why boxes are missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micro_yolo.pipeline.measure.confusion import Confusion, confusion, draw
from micro_yolo.pipeline.measure.f1 import thresholds
from micro_yolo.pipeline.measure.groups import Group, groups
from micro_yolo.pipeline.measure.matching import Laid
from micro_yolo.pipeline.measure.misses import Misses, misses, sort
from micro_yolo.pipeline.measure.suspects import Suspect, suspects
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite.contract import Nms
from micro_yolo.tflite.thresholds import Thresholds

# Of the labels in doubt: who looks through more looks through all.
MOST_SUSPECTS = 500


@dataclass(frozen=True, eq=False)
class Analysis:
    """What was found out.

    Attributes:
        least: detections that score more are shown: the file's own threshold, else the best one here, else Nms'.
        thresholds: with the best F1; None if nothing was found.
        confusion: what is taken for what, at `least`.
        misses: what each kind of mistake costs; None without boxes.
        groups: which boxes are found, at `least`.
        suspects: labels in doubt, most first.
    """

    least: float
    thresholds: Thresholds | None
    confusion: Confusion
    misses: Misses | None
    groups: tuple[Group, ...]
    suspects: tuple[Suspect, ...]

    @property
    def doubts(self) -> dict[str, int]:
        """How many suspects there are of each kind."""
        return dict(Counter(each.kind for each in self.suspects).most_common())

    def metrics(self) -> dict[str, Any]:
        """What metrics_NAME.json has of it."""
        return {
            "score_threshold": self.least,
            "thresholds": runs.plain(self.thresholds),
            "misses": runs.plain(self.misses),
            "groups": runs.plain(self.groups),
            "suspects": self.doubts,
        }

    def write(self, folder: Path, name: str, title: str) -> list[Path]:
        """confusion_NAME.json and .png, and suspects_NAME.json. Raises OSError."""
        return [
            self.confusion.write(folder / f"confusion_{name}.json"),
            draw(self.confusion, title, folder / f"confusion_{name}.png"),
            runs.write_json(folder / f"suspects_{name}.json", self.suspects[:MOST_SUSPECTS]),
        ]


def analyse(laid: Laid, names: Sequence[str], size: tuple[int, int], own: float | None = None) -> Analysis:
    """Look at detections.

    Args:
        laid: detections and boxes.
        names: of the classes, each another.
        size: (height, width) of the network's input.
        own: threshold of the file; default: the best one here.
    """
    best = thresholds(laid, len(names))
    least = own if own is not None else best.all.threshold if best else Nms.score_threshold
    each = sort(laid)
    return Analysis(
        least,
        best,
        confusion(laid, names, least),
        misses(laid, len(names), each),
        tuple(groups(laid, len(names), size, least)),
        tuple(suspects(laid, names, each, least)),
    )
