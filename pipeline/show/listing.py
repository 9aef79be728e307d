"""The look of tables that commands print."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def listing(*columns: str, words: Collection[int] = (0,), title: str | None = None) -> Table:
    """An empty rich table, ruled below its head alone.

    Args:
        columns: heads.
        words: positions of the columns that hold words, from the end if negative; they may be folded, while figures
            stay whole, at the right.
        title: above it.
    """
    from rich import box
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    at = {position % len(columns) for position in words}
    for position, column in enumerate(table.columns):
        if position in at:
            column.overflow = "fold"
        else:
            column.justify, column.no_wrap = "right", True
    return table
