"""Networks of the zoo without the rows that only make them deep."""

from __future__ import annotations

import dataclasses

from micro_yolo.model.spec import Arch, Row


def thinned(arch: Arch) -> Arch:
    """The table without each row that does what the row before it does; who read it reads that."""
    rows: list[Row] = []
    instead: dict[str, str] = {}
    for row in arch.rows:
        if rows and not row.src and row.s == 1 and _kind(row) == _kind(rows[-1]):
            instead[row.name] = rows[-1].name
        else:
            rows.append(dataclasses.replace(row, src=tuple(instead.get(name, name) for name in row.src)))
    return arch.replace(rows=tuple(rows))


def _kind(row: Row) -> Row:
    """What of it is not its name or a number of channels."""
    widths = {width: min(getattr(row, width), 1) for width in ("out", "mid", "pre", "se")}
    return dataclasses.replace(row, name="", src=(), **widths)
