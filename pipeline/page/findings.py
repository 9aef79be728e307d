"""What a run has to show, read from the files in it; nothing is run and nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micro_yolo.pipeline.store import runs
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.contract import Contract


@dataclass(frozen=True)
class File:
    """An exported file of the run.

    Attributes:
        path: of the .tflite.
        sha256: of its bytes, hexadecimal.
        n_bytes: its size.
        contract: beside it.
        stage: whose weights it was made from; None if they are no longer in the run.
        metrics: what pipeline.evaluate measured on these very bytes; None if it did not, or on other bytes.
        detections: path of the detections behind `metrics`.
    """

    path: Path
    sha256: str
    n_bytes: int
    contract: Contract
    stage: str | None
    metrics: dict[str, Any] | None
    detections: Path | None

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.contract.variant} ({self.stage})"

    @property
    def intact(self) -> bool:
        """Whether these are the bytes the contract was written for."""
        return self.sha256 == self.contract.model_sha256


def stages(run: Path) -> dict[str, runs.Stage]:
    """The finished stages, first to last."""
    return {name: runs.read_stage(run / name) for name in runs.STAGES if runs.is_finished(run / name)}


def files(run: Path) -> list[File]:
    """The exported files with a readable contract, in the order of stages; each with its own measurement."""
    weights = {runs.sha256(stage.weights): name for name, stage in stages(run).items()}
    measured = dict(_measurements(run))
    found = []
    for path in sorted((run / runs.EXPORT).rglob("*.tflite")):
        try:
            contract = contracts.load(path)
        except (ValueError, OSError):
            continue
        sha256 = runs.sha256(path)
        metrics, detections = measured.get(sha256, (None, None))
        stage = next((weights[parent] for parent in contract.parents.values() if parent in weights), None)
        found.append(File(path, sha256, path.stat().st_size, contract, stage, metrics, detections))
    order = (*runs.STAGES, None)
    return sorted(found, key=lambda file: (order.index(file.stage), file.contract.variant, str(file.path)))


def shown(found: Sequence[File]) -> dict[str, File]:
    """float32 and int8 -> the measured file of the latest stage there is."""
    best = {}
    for variant in ("float32", "int8"):
        usable = [file for file in found if file.contract.variant == variant and file.detections and file.stage]
        if usable:
            best[variant] = max(usable, key=lambda file: runs.STAGES.index(file.stage or ""))
    return best


def table(run: Path, found: Sequence[File]) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of stages.json, [] if there is none, and what is not true of the files any more."""
    if not (run / runs.COMPARED).is_file():
        return [], []
    entries, doubts = runs.read_json(run / runs.COMPARED)["stages"], []
    for entry in entries:
        matching = [
            file
            for file in found
            if (file.stage, file.contract.variant, file.path.name)
            == (entry["stage"], entry["variant"], Path(entry["path"]).name)
        ]
        measured = [file.metrics for file in matching if file.metrics]
        if not any((one["AP"], one["AP50"]) == (entry["AP"], entry["AP50"]) for one in measured):
            doubts.append(f"{entry['stage']} {entry['variant']}: the file is gone or was measured anew since")
    return entries, doubts


def layers(run: Path, found: Sequence[File]) -> tuple[dict[str, Any] | None, list[str]]:
    """debug.json, None if there is none, and whether it is of files that are no longer there."""
    path = run / runs.DEBUG / runs.DEBUGGED
    if not path.is_file():
        return None, []
    value = runs.read_json(path)
    known = {file.sha256 for file in found}
    gone = [variant for variant, file in value["files"].items() if file["sha256"] not in known]
    return value, [f"the {' and '.join(gone)} file it was made for has changed since"] if gone else []


def edge(run: Path) -> list[dict[str, Any]]:
    """A row per file and target of the run's edge.json (`--json` of pipeline.edge), [] if there is none.

    Of Ethos-U: on_npu, operators, ms, fps, sram, dram and flash in bytes, and note; all but operators are estimates.
    Of the Edge TPU: at_most too where the prediction is not certain.
    """
    path = run / runs.EDGE
    if not path.is_file():
        return []
    found = []
    try:
        for model, targets in runs.read_json(path)["edge"].items():
            for target, each in targets.items():
                row = {"file": Path(model), "target": target}
                if "prediction" not in each:
                    note = f"Vela estimates, {each['system']}, {each['memory_mode']}"
                    memory = {name: each[f"{name}_bytes"] for name in ("sram", "dram", "flash")}
                    on_npu = each["operators"] - each["on_cpu"]
                    row |= {**memory, "on_npu": on_npu, "operators": each["operators"], "note": note}
                    row |= {"ms": each["ms"], "fps": each["fps"]}
                elif each["compiled"]:
                    mapped = each["compiled"]["mapped"]
                    total = mapped + each["compiled"]["on_cpu"]
                    row |= {"on_npu": mapped, "operators": total, "ms": each["median_ms"], "note": "compiled"}
                else:
                    said = each["prediction"]
                    note = f"predicted from the published list: at least {said['macs_share']:.1%} of the MACs"
                    row |= {"on_npu": said["mapped"], "at_most": said["mapped_at_best"], "note": note}
                    row |= {"operators": len(said["verdicts"])}
                found.append(row)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: must be what `python -m pipeline.edge --json` writes, got {type(error).__name__}: {error}"
        ) from None
    return found


def lineage(run: Path) -> list[dict[str, Any]]:
    """For each stage: hashes of its weights and of the weights it came from, and whether those are in the run."""
    found = []
    hashes = {name: runs.sha256(stage.weights) for name, stage in stages(run).items()}
    known = {sha256: name for name, sha256 in hashes.items()}
    for name, stage in stages(run).items():
        parent = stage.config.get("parent") or {}
        sha256 = parent.get("sha256")
        found.append(
            {
                "stage": name,
                "sha256": hashes[name],
                "parent": known.get(sha256) if sha256 else None,
                "parent_sha256": sha256,
                "settings": stage.config.get("settings", {}),
                "versions": stage.config.get("versions", {}),
                "start": stage.config.get("start"),
            }
        )
    return found


def _measurements(run: Path) -> Iterator[tuple[str, tuple[dict[str, Any], Path | None]]]:
    """SHA-256 of a file -> its metrics on the validation split and the path of its detections."""
    export, debug = run / runs.EXPORT, run / runs.DEBUG
    for path in sorted((*run.glob("metrics_*.json"), *export.rglob("metrics_*.json"), *debug.glob("metrics_*"))):
        metrics = runs.read_json(path)
        if not isinstance(metrics, dict) or metrics.get("split") != "val" or "sha256" not in metrics:
            continue
        # Of windows of the pictures: not what the file does by itself.
        if "window" in metrics:
            continue
        detections = path.with_name(f"coco_{path.name.removeprefix('metrics_')}")
        yield metrics["sha256"], (metrics, detections if detections.is_file() else None)
