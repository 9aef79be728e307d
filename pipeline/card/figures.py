"""What was measured of a file, as its card tells it: written by `convert`, and anew by what measures later."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from micro_yolo.pipeline.card.markdown import bullets, inside, put, table, words
from micro_yolo.pipeline.show.listing import points
from micro_yolo.pipeline.show.screen import Show
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite import regular
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.package import folder_name
from micro_yolo.tflite.thresholds import Cut

BLOCK = "measured"
# In how many folders above a file there may be results of it: export/STAGE/, export/, the run.
_ABOVE = 3
_TOTALS = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large")


def path_of(model: Path) -> Path:
    """Where the card of a .tflite lies: beside it."""
    return model.with_suffix(".md")


def refresh(model: Path, contract: Contract, show: Show, *, out: Path | None = None) -> None:
    """Fill in the card of a file, if it has one, what is known of the file now; the rest of it stays as it is.

    Args:
        model: the file.
        contract: of it.
        show: is told where the card cannot be written.
        out: where else there are results.
    """
    path = path_of(model)
    try:
        card = path.read_text(encoding="utf-8")
        if inside(card, BLOCK) is not None:
            runs.write_atomic(path, put(card, BLOCK, figures(contract, places(model, out))))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        show.warn(f"the model card was left as it was: {error}")


def places(model: Path, out: Path | None = None) -> list[Path]:
    """The folders in which there may be results of a file."""
    above = list(model.absolute().parents)[:_ABOVE]
    return [*above, *([] if out is None or out.absolute() in above else [out])]


def figures(contract: Contract, folders: Sequence[Path]) -> str:
    """The card's figures of a file, from its contract and from what commands left in these folders."""
    sha256 = contract.model_sha256
    evaluations = sorted(_evaluations(sha256, folders), key=lambda found: (not _own(found), str(found.get("data"))))
    own = next(filter(_own, evaluations), None)
    parts = [
        _totals(evaluations),
        "### By class",
        _classes(contract, own),
        "### Speed",
        _speed(evaluations, _timings(sha256, folders)),
    ]
    return "\n\n".join(parts)


def _evaluations(sha256: str, folders: Iterable[Path]) -> list[dict[str, Any]]:
    found = (_json(path) for folder in folders for path in sorted(folder.glob("metrics_*.json")))
    return [each for each in found if isinstance(each, dict) and each.get("sha256") == sha256 and "AP" in each]


def _timings(sha256: str, folders: Iterable[Path]) -> list[dict[str, Any]]:
    found = (_json(folder / runs.COMPARED) for folder in folders)
    entries = (entry for each in found if isinstance(each, dict) for entry in each.get("stages", ()))
    return [entry for entry in entries if isinstance(entry, dict) and entry.get("sha256") == sha256]


def _json(path: Path) -> Any:
    """What is in a file that others may have changed since; None if that is nothing of ours."""
    try:
        return json.loads(regular.read(path))
    except (OSError, ValueError):
        return None


def _own(found: Mapping[str, Any]) -> bool:
    """Whether a measurement is that of the file's own classes on whole pictures of the validation split."""
    return found.get("split") == "val" and not found.keys() & {"compared", "foreign", "window"}


def _totals(evaluations: Sequence[Mapping[str, Any]]) -> str:
    if not evaluations:
        return (
            "Average precision of this file: not measured. `python -m pipeline.evaluate --model FILE` measures it and "
            "fills it in here."
        )
    rows = []
    for found in evaluations:
        said = [words(found.get("split"))]
        said += ["windows of the pictures too"] if "window" in found else []
        said += ["classes matched by name"] if "compared" in found else []
        place = words(folder_name(str(found.get("data"))))
        rows.append([place, ", ".join(said), str(found.get("images")), *(_points(found.get(name)) for name in _TOTALS)])
    return table(("data", "split", "images", "AP", "AP50", "AP75", "small", "medium", "large"), rows, left=2)


def _classes(contract: Contract, own: Mapping[str, Any] | None) -> str:
    n, thresholds = len(contract.labels), contract.thresholds
    measured = list(((own or {}).get("per_class") or {}).values())
    # In the order of the file's classes, as both are.
    rows = measured if len(measured) == n else [{}] * n
    if thresholds is None and own is None:
        return _conditions(contract)
    cuts = thresholds.classes if thresholds is not None else (None,) * n
    lines = [
        [label, _boxes(cut, row), *_cut(cut), *_precision(row, own)]
        for label, cut, row in zip(map(words, contract.labels), cuts, rows, strict=True)
    ]
    cut, boxes = thresholds.all if thresholds else None, {"boxes": sum(row.get("boxes", 0) for row in rows)}
    lines.append(["all classes", _boxes(cut, boxes), *_cut(cut), *_precision(own or {}, own)])
    head = ("class", "boxes", "score above", "F1", "precision", "recall", "AP", "AP50")
    return f"{_conditions(contract)}\n\n{table(head, lines)}"


def _boxes(cut: Cut | None, row: Mapping[str, Any]) -> str:
    return str(cut.boxes if cut is not None else row.get("boxes", "-"))


def _precision(row: Mapping[str, Any], own: Mapping[str, Any] | None) -> list[str]:
    return [_points(row.get(name)) if own is not None else "not measured" for name in ("AP", "AP50")]


def _points(value: Any) -> str:
    return points(value if isinstance(value, int | float) else None)


def _conditions(contract: Contract) -> str:
    cuts = contract.thresholds
    if cuts is None:
        return (
            "From which score on detections are worth showing was not measured; the file says "
            f"{contract.nms.score_threshold:g} for all classes."
        )
    return (
        f"Scores, F1, precision and recall were measured on this file, on {cuts.images} validation images, at IoU "
        f"{cuts.iou:g}; the file says {contract.nms.score_threshold:g} for all classes. A dash is a class without "
        "boxes there, or one of which nothing was found."
    )


def _cut(cut: Cut | None) -> list[str]:
    if cut is None:
        return ["-"] * 4
    return [f"{cut.threshold:.2f}", *(points(100 * share) for share in (cut.f1, cut.precision, cut.recall))]


def _speed(evaluations: Sequence[Mapping[str, Any]], timings: Sequence[Mapping[str, Any]]) -> str:
    said = [
        f"{found['median_ms']:.2f} ms an inference (`python -m pipeline.stages`, the median, the graph alone)"
        for found in timings
        if isinstance(found.get("median_ms"), int | float)
    ]
    for found in evaluations:
        machine = (found.get("versions") or {}).get("machine")
        if isinstance(found.get("model_ms"), int | float) and "window" not in found:
            threads = f", {found['threads']} threads" if found.get("threads", 1) != 1 else ", one thread"
            said.append(
                f"{found['model_ms']:.1f} ms an image for the model and what makes boxes of its outputs, "
                f"{found['images_per_second']:.1f} images/s with reading and resizing (`python -m pipeline.evaluate`, "
                f"{words(machine or 'a machine that is not recorded')}{threads})"
            )
    if not said:
        return "Not measured. `python -m pipeline.benchmark FILE` measures it."
    return bullets([*said, "Which processor that was is not recorded: compare only what one machine measured."])
