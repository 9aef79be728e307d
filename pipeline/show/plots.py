"""Pictures of a training, for those who would rather look than read."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micro_yolo.pipeline.store import runs
from micro_yolo.pipeline.store.history import EXPLAINED, losses_of, measured_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(figure: Figure, path: Path, dpi: int = 120) -> Path:
    """Write a figure as a PNG, whole or not at all."""
    # By way of memory: on a full disk Pillow itself ends with part of the picture written and no error.
    png = io.BytesIO()
    figure.savefig(png, dpi=dpi, format="png")
    return runs.write_atomic(path, png.getvalue())


def draw_history(history: Sequence[dict[str, Any]], path: Path) -> Path:
    """Losses and AP over the epochs, as a PNG."""
    from matplotlib.figure import Figure

    # Margins that fit: to find them matplotlib would draw it twice.
    figure = Figure(figsize=(10, 4))
    figure.subplots_adjust(left=0.09, bottom=0.12, right=0.99, top=0.97)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for name in [name for name in losses_of(history[0]) if name != "total"]:
        left.plot(epochs, [row[name] for row in history], label=name)
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    left.legend()
    measured = [row for row in history if measured_of(row)]
    for name, label in (("AP50", "AP50"), ("AP", "AP50:95"), (EXPLAINED, "% of what the teacher says")):
        if name in history[0]:
            right.plot([row["epoch"] for row in measured], [row[name] for row in measured], marker=".", label=label)
    right.set(xlabel="epoch", ylabel="points on validation", ylim=(0, 100))
    right.grid(alpha=0.3)
    right.legend()
    return save(figure, path)


def draw_curve(curve: Sequence[dict[str, Any]], path: Path) -> Path:
    """AP and AP50 against the number of training images, each twice the one before, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    images = [point["images"] for point in curve]
    for name, label in (("AP50", "AP50"), ("AP", "AP50:95")):
        axes.plot(images, [point[name] for point in curve], marker="o", label=label)
    axes.set(xlabel="training images", ylabel="points on validation, int8 file", xscale="log", ylim=(0, 100))
    axes.set_xticks(images, [str(count) for count in images], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    return save(figure, path)


def draw_search(candidates: Sequence[dict[str, Any]], path: Path) -> Path:
    """AP50 of each combination of kernel sizes (Micro-YOLO's figure 4) over its parameters and MACs, as a PNG.

    `candidates` are those of ``search.json``, in any order; they are drawn by name.
    """
    from matplotlib.figure import Figure

    ordered = sorted(candidates, key=lambda each: each["key"])
    names = [each["key"] for each in ordered]
    figure = Figure(figsize=(max(6.0, 2 + 0.3 * len(ordered)), 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    reached = [each["AP50"] for each in ordered if each["AP50"] is not None]
    for x, each in enumerate(ordered):
        if each["AP50"] is None:
            above.text(x, 0.02, "failed", rotation=90, ha="center", transform=above.get_xaxis_transform())
            continue
        is_best = each["AP50"] == max(reached)
        above.plot(x, each["AP50"], marker="o", color="tab:orange" if is_best else "tab:blue")
        above.annotate(
            f"{each['AP50']:.1f}",
            (x, each["AP50"]),
            (0, 6),
            textcoords="offset points",
            rotation=90,
            ha="center",
            fontsize=8,
            weight="bold" if is_best else "normal",
        )
    above.margins(y=0.2)
    above.grid(alpha=0.3)
    above.set(ylabel="AP50 in points on validation", title=f"kernel sizes of {', '.join(ordered[0]['kernels'])}")
    for axis, key, unit, label, style in (
        (below, "params", 1e3, "parameters, thousands", {"color": "tab:green", "marker": "o"}),
        (below.twinx(), "macs", 1e6, "MMAC", {"color": "tab:red", "marker": "x"}),
    ):
        axis.plot([each[key] / unit for each in ordered], linestyle="none", **style)
        axis.set_ylabel(label, color=style["color"])
    below.set_xticks(range(len(names)), names, rotation=90, family="monospace")
    below.grid(axis="x", alpha=0.3)
    return save(figure, path)


def draw_debug(layers: Sequence[dict[str, Any]], worst: Sequence[str], title: str, path: Path) -> Path:
    """SNR of each layer, accumulated and of its own, above its saturation and unused range, as a PNG.

    `layers` are those of ``debug.json``; what has no error of its own is drawn at the upper edge.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(8.0, 2 + 0.17 * len(layers)), 7), layout="constrained")
    figure.suptitle(title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    places = range(len(layers))
    own = [min(layer["own_snr_db"], 65.0) for layer in layers]
    colours = ["tab:red" if layer["name"] in worst else "tab:grey" for layer in layers]
    above.bar(places, own, color=colours, alpha=0.7, label="the layer's own error (red: the worst)")
    above.plot(places, [min(layer["snr_db"], 65.0) for layer in layers], marker=".", label="with what it inherits")
    above.set(ylabel="signal to error, dB", ylim=(min(0, *own), 76), yticks=range(0, 70, 10))
    above.legend(loc="upper right", ncols=2)
    above.grid(axis="y", alpha=0.3)
    below.bar(places, [100 * layer["unused"] for layer in layers], color="tab:grey", alpha=0.5, label="unused levels")
    below.plot(places, [100 * layer["saturation"] for layer in layers], ".", color="tab:red", label="saturated values")
    below.set(ylabel="%", ylim=(0, 100))
    below.legend(loc="upper right")
    below.set_xticks(places, [layer["name"] for layer in layers], rotation=90, fontsize=7)
    below.set_xlim(-1, len(layers))
    return save(figure, path, dpi=110)


def draw_latency(timings: Sequence[dict[str, Any]], path: Path) -> Path:
    """Every inference of each file, backend and number of threads, its median and its 90th percentile, as a PNG.

    `timings` are those of the JSON of ``pipeline.benchmark``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.55 * len(timings)), layout="constrained")
    axis = figure.subplots()
    colours = {model: f"C{n}" for n, model in enumerate(dict.fromkeys(timing["model"] for timing in timings))}
    names = []
    for y, timing in enumerate(timings):
        times = timing["times_ms"]
        # Spread over the row by their order, so that a slow spell is seen as one.
        rows = [y + 0.3 - 0.6 * n / max(1, len(times) - 1) for n in range(len(times))]
        axis.plot(times, rows, ".", color=colours[timing["model"]], alpha=0.5, markersize=5, markeredgewidth=0)
        axis.plot([timing["median_ms"]] * 2, [y - 0.4, y + 0.4], color="black")
        axis.plot([timing["p90_ms"]] * 2, [y - 0.4, y + 0.4], color="black", linestyle=":")
        threads = f"{timing['threads']} thread{'s' if timing['threads'] > 1 else ''}"
        model = Path(timing["model"])
        names.append(f"{model.parent.name}/{model.name}\n{Path(timing['backend']).name}, {threads}")
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.set_ylim(len(names) - 0.4, -0.6)
    # A single slow inference would otherwise press all others against the left edge.
    axis.set_xlim(0, 1.3 * max(timing["p99_ms"] for timing in timings))
    axis.set(xlabel="ms of an inference (line: median, dotted: 90 % are faster)")
    axis.grid(axis="x", alpha=0.3)
    return save(figure, path)
