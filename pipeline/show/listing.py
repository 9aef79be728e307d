"""The look of tables that commands print, and of figures in them and on the report's page."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from micro_yolo.pipeline.show.terminal import Terminal


# Above this ratio there is only float32's own rounding.
_EXACT_DB = 100


def listing(
    *columns: str,
    words: Collection[int] = (0,),
    title: str | None = None,
    totals: Sequence[str] = (),
    caption: str | None = None,
) -> Table:
    """An empty rich table, ruled below its head alone.

    Args:
        columns: heads.
        words: positions of the columns that hold words, from the end if negative; they may be folded, while figures
            stay whole, at the right.
        title: above it.
        totals: a last line, below a rule.
        caption: below it.
    """
    from rich import box
    from rich.table import Table

    table = Table(
        *columns,
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_footer=bool(totals),
    )
    at = {position % len(columns) for position in words}
    for position, column in enumerate(table.columns):
        column.footer = totals[position] if position < len(totals) else ""
        if position in at:
            column.overflow = "fold"
        else:
            column.justify, column.no_wrap = "right", True
    return table


def wide_console() -> Terminal:
    """For tables wider than most terminals: a file or a pipe has no edge to break lines at."""
    from micro_yolo.pipeline.show.terminal import Terminal

    console = Terminal(highlight=False)
    return console if console.is_terminal else Terminal(highlight=False, width=160)


def lettered(paths: Iterable[str]) -> dict[str, str]:
    """A letter (or two, or more) for each file, as paths are too long for a table."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return {path: alphabet[n % 26] * (1 + n // 26) for n, path in enumerate(dict.fromkeys(paths))}


def points(value: float | None) -> str:
    """Points of average precision; "-" where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.1f}"


def decibels(value: float | None) -> str:
    """A signal to error ratio."""
    return "-" if value is None else "exact" if value > _EXACT_DB else f"{value:.1f}" if math.isfinite(value) else "-"
