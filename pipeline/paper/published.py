"""The paper's Tables 1 to 4 beside ours: ``python -m pipeline.summary --tables [--run RUN ...] [--json]``.

The paper is Micro-YOLO (Hu & Li, ICAART 2021, DOI 10.5220/0010234401510158); figures of the other networks are those of
their own papers. A figure that is not published is None here and "-" on the screen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from micro_yolo.model.count import Count, RowCount, count
from micro_yolo.model.printable import typed
from micro_yolo.model.spec import Arch, Row
from micro_yolo.model.zoo import ARCHS
from micro_yolo.model.zoo.micro_yolo import EXPANSION, REDUCTION
from micro_yolo.pipeline.store import runs

Line = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """What a paper says of a network of so many classes: parameters, GMAC, mAP (at IoU 0.5) in points on `data`."""

    params: float
    gmac: float
    mean_ap: float
    data: str
    classes: int
    source: str


HU_LI = "Hu & Li 2021"
PUBLISHED = {
    "yolov3_tiny": Published(8.86e6, 2.8, 33.1, "COCO", 80, HU_LI),
    "yolo_lite": Published(649_417, 0.24, 12.26, "COCO", 80, "Huang et al. 2018"),
    # About 4 MB in int8, 4.57 G operations: two a MAC.
    "yolo_nano": Published(4.0e6, 4.57 / 2, 69.1, "VOC07", 20, "Wong et al. 2019"),
    "micro_yolo": Published(2.56e6, 1.10, 32.4, "COCO", 80, HU_LI),
    "micro_yolo_pruned": Published(1.92e6, 0.87, 29.3, "COCO", 80, HU_LI),
}
# Table 2: what each network's 3x3 layers are made of.
KINDS = {
    "yolov3_tiny": "all Conv",
    "micro_yolo_dsconv": "all DSConv",
    "micro_yolo_mbconv": "all MBConv",
    "micro_yolo": "MBConv, DSConv in l13",
}
# Table 3, as far as it is known here: the paper names two rows, and says 1/16 to 2/16 of most others.
CUT_SIXTEENTHS = {"l13": "6", "l15": "0"}
CUT_ELSEWHERE = "1 to 2 (most)"
LAYERS = {"conv": "Conv", "separable": "DSConv", "mbconv": "MBConv"}


def tables(run_paths: Sequence[Path] = ()) -> dict[str, list[Line]]:
    """All tables as lists of lines; `run_paths` are runs whose cuts and measured files join Tables 3 and 4.

    Raises FileNotFoundError or ValueError for a run that is none or whose files are damaged.
    """
    found = [runs.resolve_run(path) for path in run_paths]
    return {
        "table1": layers(),
        "table2": [{"layers": kind, **_against_paper(name)} for name, kind in KINDS.items()],
        "table3": cuts({str(run): read_cuts(run) for run in found if (run / CHANNELS).is_file()}),
        "table4": [_against_paper(name) for name in ARCHS],
        "measured": [line for run in found for line in reached(run)],
    }


# --- Table 1


def layers() -> list[Line]:
    """Table 1: for each of Micro-YOLO's light rows and each kind of layer, the formula's parameters and ours."""
    arch = ARCHS["micro_yolo"]
    lines = []
    for row in arch.rows:
        if row.op not in ("separable", "mbconv"):
            continue
        width = arch.channels[arch.sources[row.name][0]]
        for op, kind in LAYERS.items():
            counted = _counted_as(arch, row, op, width)
            norm = 2 * (counted.params - counted.trainable)
            lines.append(
                {
                    "row": row.name,
                    "k": row.k,
                    "in": width,
                    "out": row.out,
                    "layer": kind,
                    "used": row.op == op,
                    "paper": formula(op, row.k, width, row.out),
                    "ours": counted.params - norm,
                    "difference": counted.params - norm - formula(op, row.k, width, row.out),
                    "batch_norm": norm,
                }
            )
    return lines


def formula(op: str, k: int, width: int, out: int) -> int:
    """Parameters of a layer from `width` to `out` channels by the paper's Table 1 (batch norm left out)."""
    if op == "conv":
        return k * k * width * out
    if op == "separable":
        return k * k * width + width * out
    inner = EXPANSION * width
    gate = 2 * inner * max(1, inner // REDUCTION)
    return EXPANSION * width**2 + k * k * inner + gate + inner * out


def _counted_as(arch: Arch, row: Row, op: str, width: int) -> RowCount:
    other = Row(row.name, op, row.out, k=row.k, src=row.src)
    if op == "mbconv":
        inner = EXPANSION * width
        other = dataclasses.replace(other, mid=inner, se=max(1, inner // REDUCTION))
    total = count(arch.replace(rows=tuple(other if each == row else each for each in arch.rows)))
    return next(each for each in total.rows if each.name == row.name)


# --- Tables 2 and 4


def _against_paper(name: str) -> Line:
    paper = PUBLISHED.get(name)
    arch = ARCHS[name].with_classes(paper.classes) if paper else ARCHS[name]
    total, tiny = count(arch), count(ARCHS["yolov3_tiny"].with_classes(arch.classes))
    return {
        "arch": name,
        "size": list(arch.size),
        "classes": arch.classes,
        **_ours(total, tiny),
        "paper_params": paper and round(paper.params),
        "params_difference_percent": paper and _percent(total.params, paper.params),
        "paper_gmac": paper and paper.gmac,
        "gmac_difference_percent": paper and _percent(total.macs / 1e9, paper.gmac),
        "paper_map": paper and paper.mean_ap,
        "paper_data": paper and paper.data,
        "source": paper and paper.source,
    }


def _ours(total: Count, tiny: Count) -> Line:
    return {
        "params": total.params,
        "gmac": total.macs / 1e9,
        "times_fewer_params": tiny.params / total.params,
        "times_fewer_macs": tiny.macs / total.macs,
    }


def _percent(ours: float, theirs: float) -> float:
    return 100 * (ours / theirs - 1)


# --- Table 3

CHANNELS = Path("prune") / "channels.json"


def read_cuts(run: Path) -> dict[str, tuple[int, int]]:
    """Group -> channels (before, after) of a pruned run; a group is a row, or "row.mid" for its inner width.

    Raises ValueError if the run's ``prune/channels.json`` is not what ``pipeline.prune`` writes.
    """
    file = run / CHANNELS
    value = runs.read_json(file)
    try:
        original, kept = value["original"], value["kept"]
        widths = {group: (int(width), len(kept.get(group, range(width)))) for group, width in original.items()}
        unknown = set(kept) - set(original)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file}: must hold the original and the kept channels, got {type(error).__name__}: {error}; "
            f"`python -m pipeline.prune --run {typed(run)} --overwrite` writes it anew"
        ) from None
    if unknown:
        raise ValueError(f"{file}: keeps channels of {', '.join(sorted(unknown))}, which it does not list as original")
    for group, (before, after) in widths.items():
        if not 0 < after <= before:
            raise ValueError(f"{file}: {group} must keep 1 to {before} channels, got {after}")
    return widths


def cuts(of_runs: dict[str, dict[str, tuple[int, int]]]) -> list[Line]:
    """Table 3: every row with channels of its own, and every inner width; the paper's cut, ours, and those of runs."""
    whole, pruned = ARCHS["micro_yolo"], ARCHS["micro_yolo_pruned"]
    ours: dict[str, tuple[int, int]] = {}
    for row in whole.rows:
        cut = pruned.row(row.name)
        if row.out:
            ours[row.name] = (row.out, cut.out)
        if row.mid:
            ours[f"{row.name}.mid"] = (row.mid, cut.mid)
    columns = {"micro_yolo_pruned": ours, **of_runs}
    groups = dict.fromkeys(group for column in columns.values() for group in column)
    lines = []
    for group in groups:
        is_ours = group in ours and "." not in group
        lines.append(
            {
                "group": group,
                "paper": CUT_SIXTEENTHS.get(group, CUT_ELSEWHERE) if is_ours else None,
                "cuts": {name: _sixteenths(*column[group]) for name, column in columns.items() if group in column},
            }
        )
    return lines


def _sixteenths(before: int, after: int) -> Line:
    return {"before": before, "after": after, "sixteenths": 16 * (before - after) / before}


# --- What runs reached


def reached(run: Path) -> list[Line]:
    """Table 4's second part: AP50 of a run's float32 and int8 files, as ``pipeline.evaluate`` left it beside them.

    A line per measured file; one line without AP50 if none is. Raises ValueError for damaged files.
    """
    lines = []
    for variant in ("float32", "int8"):
        file = run / f"metrics_{variant}.json"
        if not file.is_file():
            continue
        model = run / runs.EXPORT / f"model_{variant}.tflite"
        metrics = runs.read_json(file)
        if not isinstance(metrics, dict) or not {"AP", "AP50", "data", "sha256"} <= metrics.keys():
            raise ValueError(
                f"{file}: must hold metrics; `python -m pipeline.evaluate --model {typed(model)}` writes them"
            )
        stage = _stage_of(run, model, metrics["sha256"])
        lines.append(
            {**_network(run, stage), "file": model.name, **{key: metrics[key] for key in ("AP50", "AP", "data")}}
        )
    return lines or [{**_network(run, runs.latest_stage(run)), "file": None, "AP50": None, "AP": None, "data": None}]


def _stage_of(run: Path, model: Path, digest: str) -> Path:
    """The stage a measured file was made from, found by the hashes of its contract."""
    from micro_yolo.tflite import contract

    help_ = f"`python -m pipeline.convert --run {typed(run)} --{model.stem.removeprefix('model_')} --overwrite`"
    made = contract.load(model)
    if made.model_sha256 != digest:
        raise ValueError(
            f"{model}: was not the file measured; `python -m pipeline.evaluate --model {typed(model)}` measures"
        )
    for path, parent in made.parents.items():
        if path.endswith(runs.ARCH):
            table = run / path
            if table.is_file() and runs.sha256(table) == parent:
                return table.parent
    raise ValueError(f"{model}: made from a table that is no longer in {run}; {help_} makes it anew")


def _network(run: Path, stage: Path) -> Line:
    arch = Arch.load(stage / runs.ARCH)
    tiny = ARCHS["yolov3_tiny"].with_classes(arch.classes)
    return {
        "run": str(run),
        "stage": stage.name,
        "arch": arch.name,
        "size": list(arch.size),
        "classes": arch.classes,
        # Against YOLOv3-Tiny at the same size and classes.
        **_ours(count(arch), count(tiny.resized(arch.size))),
    }
