"""The kinds of detection rows there are: `HEADS`, one file each, and what asks a whole table's. No TensorFlow.

A new head is a class of its own file and a line here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from micro_yolo.model.check_json import before
from micro_yolo.model.heads.base import Head, Losses, Outputs, Table
from micro_yolo.model.heads.part import Tensor
from micro_yolo.model.heads.yolo import Yolo

# Op of a row -> its head.
HEADS: dict[str, Head] = {"detect": Yolo()}


def head_of(arch: Table) -> Head:
    """The one head of a table's detection rows."""
    return next(HEADS[row.op] for row in arch.rows if row.op in HEADS)


def settings_of(arch: Table, given: Mapping[str, Any] | None = None) -> Any:
    """Settings of the loss: those of the table's head, those `given` (of a config.json) in their place.

    Raises:
      ValueError: one that the head does not have, or a value that is none.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"loss: must be settings by name, got {str(given)[:80]!r}")
    settings = head_of(arch).settings
    if given is None:
        return settings
    known = [field.name for field in dataclasses.fields(settings)]
    for name in given:
        if name not in known:
            raise ValueError(f"loss: unknown setting {name!r}; allowed: {', '.join(known)}")
    return dataclasses.replace(settings, **{**before(settings), **given})


def loss_of(arch: Table, settings: Any = None) -> Callable[[Outputs, Tensor, Tensor], Losses]:
    """The loss of a table's outputs: (logits, boxes, classes) of `Head.loss` -> "total" and its parts.

    Args:
      arch: the table.
      settings: what `settings_of` gave; by default the head's.
    """
    head, rows = head_of(arch), arch.detections
    settings = head.settings if settings is None else settings

    def losses(outputs: Outputs, boxes_xyxy: Tensor, classes: Tensor) -> Losses:
        return head.loss(outputs, boxes_xyxy, classes, rows, settings)

    return losses
