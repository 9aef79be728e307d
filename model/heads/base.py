"""What a detection head is: the parts it puts out, what being wrong costs it, what it fits to a data set.

No TensorFlow at import: a table is checked, counted and cut without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np

from micro_yolo.model.heads.part import Part, Tensor
from micro_yolo.model.row import Anchor, DetectionRow, Row

# Detection row -> part -> (B, h, w, predictions * values), prediction-major.
Outputs = Mapping[str, Mapping[str, Tensor]]
Losses = dict[str, Tensor]


class Table(Protocol):
    """What a head asks of a network's table: `model.spec.Arch`, which is made of heads and so is not imported here."""

    @property
    def name(self) -> str:
        """Of the network."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows."""

    @property
    def detections(self) -> Sequence[DetectionRow]:
        """The detection rows in order."""

    def with_anchors(self, anchors: Sequence[Sequence[Anchor]]) -> Self:
        """A copy with these anchors, one list for each detection row in order."""


class Head(ABC):
    """A kind of detection row.

    Attributes:
      op: of its rows in a table.
      coding: the name by which whoever decodes raw grids knows how; see `tflite.heads`.
      fields: of `Row` that it reads, besides name and src.
      parts: its outputs, in the order of the model's.
      losses: what `loss` gives besides "total", in the order of history and progress.
      settings: loss weights and assigner settings by default, a frozen dataclass of numbers whose making checks them.
    """

    op: str
    coding: str
    fields: tuple[str, ...] = ()
    parts: tuple[Part, ...]
    losses: tuple[str, ...]
    settings: Any

    def check(self, row: Row, where: str) -> None:  # noqa: B027, most heads have no fields of their own
        """Raise ValueError, beginning with `where`, unless the fields of a row make sense."""

    def predictions(self, row: Row) -> int:
        """How many predictions a cell makes."""
        return 1

    def widths(self, row: Row, classes: int) -> dict[str, int]:
        """Channels of each part."""
        return {
            part.name: self.predictions(row) * (classes if part.values is None else part.values) for part in self.parts
        }

    def layers(self, x: Tensor, row: Row, classes: int, *, deploy: bool) -> dict[str, Tensor]:
        """Part -> (B, h, w, its width): logits, or 0..1 if `deploy`."""
        from micro_yolo.model.heads.layers import put_out

        return put_out(x, row.name, self.parts, self.widths(row, classes), classes, deploy=deploy)

    @abstractmethod
    def loss(
        self,
        outputs: Outputs,
        boxes_xyxy: Tensor,
        classes: Tensor,
        rows: Sequence[DetectionRow],
        settings: Any,
        assign: Any = None,
    ) -> Losses:
        """Loss of one batch.

        Args:
          outputs: logits.
          boxes_xyxy: (B, M, 4) true boxes, pixels of the network's input.
          classes: (B, M) their classes, -1 where there is no box.
          rows: the detection rows.
          settings: of the kind of `self.settings`.
          assign: which predictions answer for which box; by default the head's own way.

        Returns:
          Scalars: "total" and each of `losses`.
        """

    @abstractmethod
    def divergence(self, said: Outputs, logits: Outputs, settings: Any) -> Tensor:
        """Scalar, not negative: how far `logits` are from what another network of the same outputs `said`, in logits.

        0 where both say the same; weighted as in `loss`.
        """

    def fit(self, table: Any, shapes: np.ndarray, classes: np.ndarray, seed: int) -> tuple[Any, str]:
        """Fit what the table says of a data set's boxes to a data set.

        Args:
          table: a `model.spec.Arch`.
          shapes: (n, 2) widths and heights of the training boxes, pixels at the network's input size.
          classes: (n,) their classes.
          seed: of everything random.

        Returns:
          The table to train, and a sentence for people; empty where nothing was fitted.

        Raises:
          ValueError: the boxes are too few.
        """
        return table, ""
