"""The picture of the study in distribution_shift.py."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from micro_yolo.pipeline.show.plots import save


def draw(rows: Sequence[dict[str, Any]], float32_ap50: float | None, path: Path) -> Path:
    """Distribution shifts as a PNG: weight errors at equal bits and over the bytes, and AP50 where it was measured.

    `rows` are the lines of the study's table.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter

    measured = [row for row in rows if row["AP50_before"] is not None]
    figure = Figure(figsize=(11.5, 9.0 if measured else 4.8), layout="constrained")
    axes = figure.subplots(2 if measured else 1, 2).ravel()
    blocks = sorted({row["block"] for row in rows}, key=lambda block: (isinstance(block, str), block))
    colors = {block: f"C{i}" for i, block in enumerate(blocks)}
    starts: dict[str, tuple[Any, str]] = {"l2": ("-", "o"), "kl": (":", "s")}
    bits = sorted({row["bits"] for row in rows})
    largest = {b: max(row["error"] for row in rows if row["bits"] == b) for b in bits}
    for (start, (style, mark)), block in itertools.product(starts.items(), blocks):
        line = [row for row in rows if (row["start"], row["block"]) == (start, block)]
        errors, kib = [100 * row["error"] for row in line], [row["bytes"] / 1024 for row in line]
        look = {"color": colors[block], "linestyle": style, "marker": mark, "markersize": 3.5}
        shares = [100 * row["error"] / largest[row["bits"]] for row in line]
        axes[0].plot([row["bits"] for row in line], shares, **look)
        axes[1].plot(kib, errors, **look)
        for axis, when in zip(axes[2:], ("before", "after"), strict=False):
            points = [(row["bytes"] / 1024, row[f"AP50_{when}"]) for row in line if row[f"AP50_{when}"] is not None]
            if points:
                axis.plot(*zip(*points, strict=True), **look)
    axes[0].set(xlabel="bits of the integers", ylabel="weight error, % of the largest at these bits", xticks=bits)
    axes[1].set(xlabel="KiB of integers and shifts", ylabel="weight error, % of the weights", yscale="log")
    axes[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[1].yaxis.set_major_formatter("{x:g}")
    axes[1].yaxis.set_minor_formatter(NullFormatter())
    for axis, how in zip(axes[2:], ("as fitted", "trained"), strict=False):
        axis.set(xlabel="KiB of integers and shifts", ylabel=f"AP50 of the file, points, shifts {how}")
        if float32_ap50 is not None:
            axis.axhline(float32_ap50, color="grey", linestyle="--")
    for axis in axes:
        axis.grid(alpha=0.3)
    handles = [Line2D([], [], color=colors[block], linewidth=3, label=f"block {block}") for block in blocks]
    used = {row["start"] for row in rows}
    handles += [
        Line2D([], [], color="k", linestyle=style, marker=mark, markersize=4, label=f"{start} fit")
        for start, (style, mark) in starts.items()
        if start in used
    ]
    if measured:
        handles.append(Line2D([], [], color="grey", linestyle="--", label="float32"))
    figure.legend(handles=handles, loc="outside right upper")
    return save(figure, path, dpi=110)
