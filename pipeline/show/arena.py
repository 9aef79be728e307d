"""A microcontroller's memory on the screen: what TFLM measured, what lies in the arena, and what would fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from micro_yolo.pipeline.show.listing import listing

if TYPE_CHECKING:
    from rich.table import Table

    from micro_yolo.tflite.budget import Budget

_STEPS = "▁▂▃▄▅▆▇█"
_WIDE = 32
# Columns of a profile; of more operators the fullest of each column is drawn.
_COLUMNS = 96


def table(budgets: Mapping[str, Budget]) -> Table:
    """A row a file."""
    made = listing("", "input", "arena bytes", "activations", "persistent", "flash bytes", "MMAC", "fits")
    for letter, each in budgets.items():
        made.add_row(
            letter,
            "x".join(map(str, each.size)),
            f"{each.arena.arena_bytes:,}",
            f"{each.arena.activation_bytes:,}",
            f"{each.arena.persistent_bytes:,}",
            f"{each.flash_bytes:,}",
            f"{each.macs / 1e6:,.1f}",
            "-" if each.allowed_arena is None and each.allowed_flash is None else ("no" if excess(each) else "yes"),
        )
    return made


def excess(budget: Budget) -> list[str]:
    """What it needs more than it was given."""
    pairs = (
        ("arena", budget.arena.arena_bytes, budget.allowed_arena),
        ("flash", budget.flash_bytes, budget.allowed_flash),
    )
    return [
        f"{what}: needs {needed:,} bytes, {needed - given:,} more than the {given:,} given"
        for what, needed, given in pairs
        if given is not None and needed > given
    ]


def lines(budget: Budget) -> list[str]:
    """Operators, the arena drawn over time and at its peak, and what would fit."""
    said = [
        "operators: " + ", ".join(f"{count} {name}" for name, count in budget.operators.items()),
        f"memory of activations, operator by operator: {drawn(budget.profile)}",
        f"fullest at {budget.peak_layer}, {sum(share.n_bytes for share in budget.peak):,} bytes:",
    ]
    most = max((share.n_bytes for share in budget.peak), default=1)
    for share in budget.peak:
        bar = "█" * max(1, round(_WIDE * share.n_bytes / most))
        shape = "x".join(map(str, share.shape))
        said.append(f"  {bar:{_WIDE}} {share.n_bytes:>11,}  {share.name}  {share.dtype} {shape}")
    said += excess(budget)
    if budget.allowed_arena is not None:
        if budget.unsized:
            said.append(f"no other input size was tried: {budget.unsized}")
        elif budget.fitting is None:
            said.append(f"no input size fits an arena of {budget.allowed_arena:,} bytes; allowed: a smaller network")
        else:
            said.append(
                f"the largest input that fits an arena of {budget.allowed_arena:,} bytes: "
                f"{'x'.join(map(str, budget.fitting))} (height x width), which needs {budget.fitting_arena:,}"
            )
    return said


def drawn(profile: tuple[int, ...]) -> str:
    """A column for each of them, as high as its share of the highest; of very many the highest of several."""
    wide = -(-len(profile) // _COLUMNS) or 1
    heights = [max(profile[start : start + wide]) for start in range(0, len(profile), wide)]
    most = max(heights, default=0) or 1
    return "".join(_STEPS[round((len(_STEPS) - 1) * height / most)] for height in heights)
