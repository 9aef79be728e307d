"""A network is a table: `Row` and `Arch`, checked when made, to and from JSON. No TensorFlow.

    Row("l1", "conv", 16, k=3)
    Row("l3", "mbconv", 32, k=3, mid=32, se=1)
    Row("cat", "concat", src=("up", "l9"))

Widths (`out`, `mid`, `pre`, `se`) are channels, not ratios, so that a pruned table stays readable.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from micro_yolo.model.check_json import Types, checked, list_of, text, whole
from micro_yolo.model.heads import HEADS
from micro_yolo.model.nearest import nearest
from micro_yolo.model.ops import OPS, block_of, stride_behind, width_behind
from micro_yolo.model.primitives import Concat, Skip, Upsample
from micro_yolo.model.printable import typed
from micro_yolo.model.row import WHOLE, Anchor, DetectionRow, Row, Size

__all__ = ["ACTS", "INPUT", "Anchor", "Arch", "DetectionRow", "Row", "Size"]

INPUT = "input"
ACTS = ("relu6", "relu", "leaky", "linear")
# More than any network for small machines: what is counted, let alone made, of a larger one has no end.
MOST = {"rows": 4096, "classes": 1 << 16, "size": 1 << 14}
MOST_CHANNELS, MOST_KERNEL, MOST_BYTES = 1 << 16, 1 << 10, 1 << 28
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ARCH_TYPES: Types = {
    "name": ("a string", text),
    "source": ("a string", text),
    "start": ("a string", text),
    "size": ("[height, width]", list_of(whole, 2)),
    "classes": WHOLE,
    "act": ("a string", text),
    "rows": ("a list of rows", lambda value: isinstance(value, list)),
}


@dataclass(frozen=True)
class Arch:
    """A whole network; making one checks it, and an error names the row.

    Attributes:
      name: of the network.
      rows: in order; a row reads only rows above it.
      size: input (height, width) in pixels, multiples of the largest stride.
      classes: number of classes.
      act: activation of every row that does not name its own.
      source: what to cite.
      start: name of the weights its rows can begin with, see `model.start`; "" = none.
    """

    name: str
    rows: tuple[Row, ...]
    _: dataclasses.KW_ONLY
    size: Size = (416, 416)
    classes: int = 80
    act: str = "relu6"
    source: str = ""
    start: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(_frozen(row) for row in self.rows))
        object.__setattr__(self, "size", tuple(self.size))
        _check(self)

    @cached_property
    def sources(self) -> dict[str, tuple[str, ...]]:
        """The rows each row reads, by name; "input" is the image."""
        before = (INPUT, *(row.name for row in self.rows))
        return {row.name: row.src or (before[i],) for i, row in enumerate(self.rows)}

    @cached_property
    def channels(self) -> dict[str, int]:
        """Output channels of each row, and of "input"."""
        found = {INPUT: 3}
        for row in self.rows:
            found[row.name] = _out(row, [found[name] for name in self.sources[row.name]], self.classes)
        return found

    @cached_property
    def strides(self) -> dict[str, int]:
        """Input pixels per cell of each row's output, and of "input"."""
        found = {INPUT: 1}
        for row in self.rows:
            found[row.name] = stride_behind(row, found[self.sources[row.name][0]])
        return found

    @property
    def detections(self) -> list[DetectionRow]:
        """The detection rows in order."""
        return [DetectionRow(row.name, self.strides[row.name], row.anchors) for row in self.rows if row.op in HEADS]

    def row(self, name: str) -> Row:
        """The row called `name`; ValueError if there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(f"{self.name}: no row {name!r}{nearest(name, [row.name for row in self.rows])}")

    def check_freeze(self, name: str) -> None:
        """Raise ValueError unless there is a row called `name`, and something below it in the table can be trained."""
        allowed = (
            f"allowed: a row of {self.name} above its last, which `python -m pipeline.summary {typed(self.name)}` lists"
        )
        names = [row.name for row in self.rows]
        if name not in names:
            raise ValueError(f"freeze: unknown row, got {name!r}{nearest(name, names)}; {allowed}")
        if not any(row.op in HEADS or row.out for row in self.rows[names.index(name) + 1 :]):
            raise ValueError(f"freeze: leaves nothing to train, got {name!r}; {allowed}")

    def act_of(self, row: Row) -> str:
        """The activation a row uses."""
        return row.act or self.act

    def replace(self, **changes: Any) -> Arch:
        """A copy with these attributes changed, checked again."""
        return dataclasses.replace(self, **changes)

    def resized(self, size: Size) -> Arch:
        """The same network for another input (height, width); anchors grow and shrink with it."""
        height, width = size[0] / self.size[0], size[1] / self.size[1]
        rows = [
            dataclasses.replace(row, anchors=tuple((w * width, h * height) for w, h in row.anchors))
            for row in self.rows
        ]
        return self.replace(size=size, rows=tuple(rows))

    def with_classes(self, classes: int) -> Arch:
        """The same network for another number of classes."""
        return self.replace(classes=classes)

    def with_anchors(self, anchors: Sequence[Sequence[Anchor]]) -> Arch:
        """The same network with these anchors, (w, h) pixels at its size, one list for each detection row in order."""
        if len(anchors) != len(self.detections):
            raise ValueError(
                f"{self.name}: anchors go one list to a detect row, got {len(anchors)} for {len(self.detections)}"
            )
        new = {row.row_name: tuple(given) for row, given in zip(self.detections, anchors, strict=True)}
        return self.replace(
            rows=tuple(dataclasses.replace(row, anchors=new.get(row.name, row.anchors)) for row in self.rows)
        )

    def to_json(self) -> dict[str, Any]:
        """A dict for ``json.dump``; `from_json` of it is an equal Arch."""
        return {
            "name": self.name,
            "source": self.source,
            **({"start": self.start} if self.start else {}),
            "size": list(self.size),
            "classes": self.classes,
            "act": self.act,
            "rows": [json.loads(json.dumps(row.to_json())) for row in self.rows],
        }

    @classmethod
    def from_json(cls, value: Any, where: str = "arch") -> Arch:
        """An Arch from a dict someone else may have written.

        Raises:
          ValueError: unknown or missing keys, wrong types, or a table that is no network.
        """
        fields = checked(value, _ARCH_TYPES, ("name", "rows"), where)
        rows = [Row.from_json(row, f"{where}.rows[{i}]") for i, row in enumerate(fields.pop("rows"))]
        return cls(rows=tuple(rows), **fields)

    @classmethod
    def load(cls, path: str | Path) -> Arch:
        """An Arch from a JSON file. ValueError names the file; a missing one is FileNotFoundError."""
        try:
            value = json.loads(_text(Path(path)))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not JSON: {' '.join(str(error).split())[:160]}") from error
        try:
            return cls.from_json(value)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _text(path: Path) -> str:
    # A pipe or a device has no end, and a file that says nothing may be larger than the memory.
    if path.exists() and not (path.is_file() and path.stat().st_size <= MOST_BYTES):
        raise ValueError(f"must be a regular file of at most {MOST_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def _out(row: Row, widths: list[int], classes: int) -> int:
    if row.op in HEADS:
        return sum(HEADS[row.op].widths(row, classes).values())
    return width_behind(row, sum(widths))


def _check(arch: Arch) -> None:
    """Everything that makes a table a network; ValueError says which row breaks which rule."""
    if not arch.name or not all(c.isalnum() or c in "._-" for c in arch.name):
        raise ValueError(f"arch: name must be letters, digits, '.', '_' and '-', got {arch.name!r}")
    if not whole(arch.classes) or arch.classes < 1:
        raise ValueError(f"{arch.name}: classes must be a whole number of at least 1, got {arch.classes!r}")
    if arch.act not in ACTS:
        raise ValueError(f"{arch.name}: unknown activation {arch.act!r}; allowed: {', '.join(ACTS)}")
    if len(arch.size) != 2 or not all(whole(side) and side > 0 for side in arch.size):
        raise ValueError(f"{arch.name}: size must be (height, width) in pixels, got {arch.size}")
    if not arch.rows:
        raise ValueError(f"{arch.name}: no rows")
    for what, found in (("rows", len(arch.rows)), ("classes", arch.classes), ("size", max(arch.size))):
        if found > MOST[what]:
            raise ValueError(f"{arch.name}: {what} must be at most {MOST[what]}, got more")
    _check_names(arch)
    width, stride, op = {INPUT: 3}, {INPUT: 1}, {INPUT: INPUT}
    for row in arch.rows:
        where = f"{arch.name}.{row.name}"
        _check_fields(row, where)
        sources = arch.sources[row.name]
        for name in sources:
            if name not in width:
                raise ValueError(f"{where}: unknown source {name!r}; a row reads rows above it{nearest(name, width)}")
            if op[name] in HEADS:
                raise ValueError(f"{where}: reads the {op[name]} row {name!r}; name another in src")
            if name == INPUT and not (row.op in OPS and OPS[row.op].reads_image):
                allowed = " and ".join(op for op, it in OPS.items() if it.reads_image)
                raise ValueError(f"{where}: only {allowed} rows read the image, got {row.op}")
        _check_wiring(row, where, sources, width, stride)
        width[row.name] = _out(row, [width[name] for name in sources], arch.classes)
        stride[row.name], op[row.name] = stride_behind(row, stride[sources[0]]), row.op
        # Each by itself is within bounds, and many together are without end.
        if stride[row.name] > MOST["size"]:
            raise ValueError(f"{where}: stride must be at most {MOST['size']}, got more")
        if row.op not in HEADS and width[row.name] > MOST_CHANNELS:
            raise ValueError(f"{where}: channels must be at most {MOST_CHANNELS}, got more")
    _check_use(arch)
    _check_size(arch)


def _check_names(arch: Arch) -> None:
    seen: set[str] = set()
    for row in arch.rows:
        if not isinstance(row.name, str) or not _NAME.fullmatch(row.name) or row.name == INPUT:
            raise ValueError(
                f"{arch.name}: a row's name is lower-case letters, digits and _, and not 'input', got {row.name!r}"
            )
        if row.name in seen:
            raise ValueError(f"{arch.name}.{row.name}: this name is used twice")
        seen.add(row.name)
    for name in seen:
        for other in seen:
            if other.startswith(name + "_"):
                raise ValueError(f"{arch.name}.{other}: its layers could not be told from those of row {name!r}")


def _check_fields(row: Row, where: str) -> None:
    known = {op: it.fields for op, it in (OPS | HEADS).items()}
    if row.op not in known:
        raise ValueError(f"{where}: unknown op {row.op!r}; allowed: {', '.join(known)}{nearest(row.op, known)}")
    for field in dataclasses.fields(row):
        value, used = getattr(row, field.name), field.name in (*known[row.op], "name", "op", "src")
        if not used and value != field.default:
            raise ValueError(
                f"{where}: {row.op} has no {field.name}, got {value!r}; allowed: {', '.join(known[row.op])}"
            )
        least = 1 if field.name in ("k", "s") else 0
        if field.type == "int" and (not whole(value) or value < least):
            rule = "above 0" if least else "not negative"
            raise ValueError(f"{where}: {field.name} must be a whole number, {rule}, got {value!r}")
        most = MOST_KERNEL if field.name in ("k", "s") else MOST_CHANNELS
        if field.type == "int" and value > most:
            raise ValueError(f"{where}: {field.name} must be at most {most}, got more")
    for name, least in OPS[row.op].least.items() if row.op in OPS else ():
        if getattr(row, name) < least:
            raise ValueError(f"{where}: {row.op} needs {name} of at least {least}, got {getattr(row, name)}")
    if row.act is not None and row.act not in ACTS:
        raise ValueError(f"{where}: unknown activation {row.act!r}; allowed: {', '.join(ACTS)}")
    if row.op in HEADS:
        HEADS[row.op].check(row, where)


def _check_wiring(
    row: Row, where: str, sources: tuple[str, ...], width: dict[str, int], stride: dict[str, int]
) -> None:
    kinds = {type(part) for part in block_of(row)}
    if (len(sources) > 1) != (Concat in kinds):
        rule = "needs two or more sources" if Concat in kinds else "reads one source"
        raise ValueError(f"{where}: {row.op} {rule}, got {', '.join(sources)}")
    if len({stride[name] for name in sources}) > 1:
        got = ", ".join(f"{name} at stride {stride[name]}" for name in sources)
        raise ValueError(f"{where}: {row.op} needs sources of equal stride, got {got}")
    entry = width[sources[0]]
    if Skip in kinds and (row.s != 1 or entry != width_behind(row, entry)):
        got = f"s={row.s}, {entry} -> {width_behind(row, entry)}"
        raise ValueError(f"{where}: skip needs s=1 and equal widths, got {got}")
    if Upsample in kinds and stride[sources[0]] % row.s:
        raise ValueError(f"{where}: {row.op} by {row.s} needs a stride it divides, got {stride[sources[0]]}")


def _check_use(arch: Arch) -> None:
    heads = list(dict.fromkeys(row.op for row in arch.rows if row.op in HEADS))
    if not heads:
        raise ValueError(f"{arch.name}: needs a {' or '.join(HEADS)} row, got none")
    if len(heads) > 1:
        raise ValueError(f"{arch.name}: all detection rows must be of one op, got {', '.join(heads)}")
    read = {name for sources in arch.sources.values() for name in sources}
    for row in arch.rows:
        if row.op not in HEADS and row.name not in read:
            raise ValueError(f"{arch.name}.{row.name}: no row reads its output")


def _check_size(arch: Arch) -> None:
    step = max(arch.strides.values())
    if any(side % step for side in arch.size):
        near = []
        for choose in (math.floor, math.ceil):
            height, width = (max(1, choose(side / step)) * step for side in arch.size)
            if f"{height}x{width}" not in near:
                near.append(f"{height}x{width}")
        raise ValueError(
            f"{arch.name}: size (height x width) must be multiples of {step}, got {arch.size[0]}x{arch.size[1]}; "
            f"nearest: {' or '.join(near)}"
        )


def _frozen(row: Row) -> Row:
    """JSON and callers bring lists; a frozen, comparable row has tuples."""
    return dataclasses.replace(row, src=tuple(row.src), anchors=tuple(cast(Anchor, tuple(a)) for a in row.anchors))
