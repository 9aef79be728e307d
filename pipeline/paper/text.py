"""The tables of `pipeline.paper.published` on a screen, each with a caption that says what is reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from micro_yolo.model.zoo.micro_yolo import EXPANSION, REDUCTION
from micro_yolo.pipeline.paper.published import Line
from micro_yolo.pipeline.show.listing import listing

CAPTIONS = {
    1: (
        "Parameters of one layer by the paper's formulas, which leave batch norm out: Conv k²·Cin·Cout, DSConv "
        "k²·Cin + Cin·Cout, MBConv a·Cin² + k²·a·Cin + gate + a·Cin·Cout. Ours are counted from the table. "
        f"Reconstruction: a = {EXPANSION}, gate = 2·a·Cin·max(1, a·Cin/{REDUCTION}) (no biases), kernel sizes of "
        "Micro-YOLO in every line."
    ),
    2: (
        "At 416x416, 80 classes; the paper's mAP is at IoU 0.5 on COCO, and its figures for the two ablations are not "
        "known here. Reconstruction: expansion, gates and how MACs are counted are unpublished; ours gives 1.055 GMAC "
        "for the mix where the paper says 1.10. Kernel sizes are 3,5,3,5,3 in both ablations."
    ),
    3: (
        "Sixteenths of a row's channels that pruning took. The paper names layers 13 and 15 and says 1/16 to 2/16 of "
        "most others. Reconstruction: micro_yolo_pruned cuts 2/16 of MBConv rows and 1/16 of plain convolutions, its "
        "inner widths (mid) follow what a row reads; chosen to give 1.92 M parameters."
    ),
    4: (
        "Each at its own size and its paper's classes; parameters with batch-norm statistics; how many times fewer "
        "parameters and MACs than YOLOv3-Tiny (at 416, same classes). Reconstruction: Micro-YOLO's MACs are 1.055 G by "
        "our count where the paper says 1.10, so the pruned network's 0.87 G are 0.834 here; YOLO Nano's expansion is "
        "unpublished (about 4 M parameters and 4.57 G operations are claimed). mAP (at IoU 0.5) is the papers', on the "
        "data set named."
    ),
}
_MEASURED = (
    "Parameters and MACs at the run's own size and classes, against YOLOv3-Tiny at the same. AP50 and AP were measured "
    "on the .tflite named."
)


def print_tables(all_tables: dict[str, list[Line]], console: Console) -> None:
    """Print what `tables` gave."""
    _print(
        console,
        "Table 1: parameters per layer type",
        CAPTIONS[1],
        ("row", "k", "in -> out", "layer", "paper's formula", "ours", "difference", "batch norm, beside"),
        [
            (
                line["row"] if line["layer"] == "Conv" else "",
                f"{line['k']}x{line['k']}" if line["layer"] == "Conv" else "",
                f"{line['in']} -> {line['out']}" if line["layer"] == "Conv" else "",
                line["layer"] + (" *" if line["used"] else ""),
                *(f"{line[key]:,}" for key in ("paper", "ours", "difference", "batch_norm")),
            )
            for line in all_tables["table1"]
        ],
        "* what Micro-YOLO uses there",
    )
    _print(
        console,
        "Table 2: one kind of layer against the mix",
        CAPTIONS[2],
        ("network", "layers", *_COMPARED, "paper's mAP"),
        [(line["arch"], line["layers"], *_compared(line), _map(line)) for line in all_tables["table2"]],
    )
    names = list(dict.fromkeys(name for line in all_tables["table3"] for name in line["cuts"]))
    _print(
        console,
        "Table 3: cuts per row, in sixteenths",
        CAPTIONS[3],
        ("row", "paper", *names),
        [
            (line["group"], line["paper"] or "-", *(_cut(line["cuts"].get(name)) for name in names))
            for line in all_tables["table3"]
        ],
    )
    _print(
        console,
        "Table 4: the networks",
        CAPTIONS[4],
        ("network", "at", "classes", *_COMPARED, "fewer than YOLOv3-Tiny", "paper's mAP", "source"),
        [
            (
                line["arch"],
                _size(line),
                str(line["classes"]),
                *_compared(line),
                _fewer(line),
                _map(line),
                _or(line["source"]),
            )
            for line in all_tables["table4"]
        ],
    )
    if all_tables["measured"]:
        _print(
            console,
            "Table 4, continued: what runs reached",
            _MEASURED,
            ("run", "stage", "network", "at", "classes", "params", "GMAC", "fewer", "file", "AP50", "AP", "data"),
            [
                (
                    *(line[key] for key in ("run", "stage", "arch")),
                    _size(line),
                    str(line["classes"]),
                    f"{line['params']:,}",
                    f"{line['gmac']:.3f}",
                    _fewer(line),
                    _or(line["file"]),
                    _or(line["AP50"], ".1f"),
                    _or(line["AP"], ".1f"),
                    Path(line["data"]).name if line["data"] else "-",
                )
                for line in all_tables["measured"]
            ],
        )


_WORDS = {"layer", "layers", "stage", "network", "file", "data", "source"}
_COMPARED = ("params", "paper", "diff.", "GMAC", "paper", "diff.")


def _compared(line: Line) -> tuple[str, ...]:
    return (
        f"{line['params']:,}",
        _or(line["paper_params"], ",d"),
        _or(line["params_difference_percent"], "+.1f", " %"),
        f"{line['gmac']:.3f}",
        _or(line["paper_gmac"], ".3g"),
        _or(line["gmac_difference_percent"], "+.1f", " %"),
    )


def _cut(cell: Line | None) -> str:
    return f"{cell['sixteenths']:.3g}  {cell['before']} -> {cell['after']}" if cell else "-"


def _size(line: Line) -> str:
    return f"{line['size'][0]}x{line['size'][1]}"


def _fewer(line: Line) -> str:
    return f"{line['times_fewer_params']:.2f}x, {line['times_fewer_macs']:.2f}x"


def _map(line: Line) -> str:
    return _or(line["paper_map"], ".1f", f" {line['paper_data']}")


def _or(value: Any, form: str = "", unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _print(
    console: Console, title: str, caption: str, columns: Sequence[str], lines: Sequence[Sequence[str]], foot: str = ""
) -> None:
    words = [number for number, column in enumerate(columns) if number == 0 or column in _WORDS]
    table = listing(*columns, words=words, title=title)
    for line in lines:
        table.add_row(*(escape(cell) for cell in line))
    console.print(table)
    for text in filter(None, (foot, caption)):
        console.print(text, markup=False)
    console.print()
