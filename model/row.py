"""One row of a network's table, and a detection row as seen from outside. No TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from micro_yolo.model.check_json import Types, checked, flag, list_of, number, text, whole

Anchor = tuple[float, float]
Size = tuple[int, int]

WHOLE = ("a whole number", whole)
_TYPES: Types = {
    "name": ("a string", text),
    "op": ("a string", text),
    **dict.fromkeys(("out", "k", "s", "mid", "se", "pre"), WHOLE),
    "skip": ("true or false", flag),
    "bn": ("true or false", flag),
    "act": ("a string", text),
    "src": ("a list of strings", list_of(text)),
    "anchors": ("a list of [width, height]", list_of(list_of(number, 2))),
}


@dataclass(frozen=True)
class Row:
    """One row of a network's table.

    Attributes:
      name: unique, lower case; Keras layers are called ``{name}_{part}``.
      op: one of `model.ops.OPS`, or that of a detection head (`model.heads.HEADS`).
      out: output channels.
      k: kernel size.
      s: stride; the factor for "upsample".
      mid: channels the depthwise convolution works on; 0 = the input's, without a 1x1 expansion.
      se: squeeze width of the squeeze-and-excitation gate; 0 = no gate.
      skip: add the input to the output.
      act: one of `model.spec.ACTS`; None = the network's.
      bn: batch norm behind the convolution; without it the convolution has a bias.
      src: names of the rows read; empty = the row before.
      anchors: ((width, height), ...) in pixels at the network's size; only for detection rows.
      pre: channels of the 1x1 projection in front of the expansion; only for "pep".
    """

    name: str
    op: str
    out: int = 0
    _: dataclasses.KW_ONLY
    k: int = 1
    s: int = 1
    mid: int = 0
    se: int = 0
    skip: bool = False
    act: str | None = None
    bn: bool = True
    src: tuple[str, ...] = ()
    anchors: tuple[Anchor, ...] = ()
    pre: int = 0

    def to_json(self) -> dict[str, Any]:
        """Name, op and every field that is not its default."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {f.name: values[f.name] for f in dataclasses.fields(self) if values[f.name] != f.default}

    @classmethod
    def from_json(cls, value: Any, where: str = "row") -> Row:
        """The inverse of `to_json`; ValueError names `where` for anything unknown or of the wrong type."""
        fields = checked(value, _TYPES, ("name", "op"), where)
        return cls(**fields)


@dataclass(frozen=True)
class DetectionRow:
    """A detection row seen from outside: its grid's stride in pixels, its anchors ((w, h), ...) in pixels, if any."""

    row_name: str
    stride: int
    anchors: tuple[Anchor, ...]
