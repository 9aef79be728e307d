"""How a run was trained, and what more images would bring: figures for its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from micro_yolo.pipeline.page import charts, findings
from micro_yolo.pipeline.page.charts import Series
from micro_yolo.pipeline.show.listing import points
from micro_yolo.pipeline.store import history, runs


def stages(directory: Path) -> list[dict[str, Any]]:
    """Losses and APs of each stage that has a history."""
    found = []
    for name, stage in findings.stages(directory).items():
        rows = history.read(stage.path / runs.HISTORY)
        if not rows:
            continue
        epochs = [float(row["epoch"] or 0) for row in rows]
        losses = [
            Series(loss, epochs, [row[loss] if (row[loss] or 0) > 0 else None for row in rows], colour)
            for colour, loss in enumerate(name for name in history.losses_of(rows[0]) if name != "total")
            if any((row.get(loss) or 0) > 0 for row in rows)
        ]
        measured = [(row["epoch"] or 0.0, row) for row in rows if row.get("AP") is not None]
        reached = runs.read_json(stage.path / runs.METRICS)
        aps = [
            Series(
                label,
                [epoch for epoch, _ in measured],
                [row[key] for _, row in measured],
                colour,
                "dots",
                [f"epoch {epoch:g}: {points(row[key])}" for epoch, row in measured],
            )
            for colour, (key, label) in enumerate((("AP50", "AP50"), ("AP", "AP")))
        ]
        what = f"stage {name}, {len(rows)} epochs"
        figures = [charts.lines(losses, f"Training losses, {what}", x="epoch", y="loss", log=True)] if losses else []
        if measured:
            alt = f"AP and AP50 on validation, {what}"
            figures.append(charts.lines(aps, alt, x="epoch", y="points on validation", y_limits=(0, 100)))
        found.append({"stage": name, "epochs": len(rows), "reached": reached, "charts": figures})
    return found


def learning(directory: Path) -> dict[str, Any] | None:
    """The learning curve that `pipeline.curve` left in a run, and what it says; None if there is none."""
    path = directory / runs.CURVE
    if not path.is_file():
        return None
    found = runs.read_json(path)
    curve = found["points"]
    images = [float(point["images"]) for point in curve]
    series = [
        Series(
            name,
            images,
            [point[name] for point in curve],
            colour,
            "dots",
            [f"{point['images']} images: {points(point[name])}" for point in curve],
        )
        for colour, name in enumerate(("AP50", "AP"))
    ]
    alt = "AP and AP50 of int8 files by the number of training images"
    chart = charts.lines(series, alt, x="training images", y="points on validation", y_limits=(0, 100))
    return {"chart": chart, "verdict": found["verdict"]}
