"""The raw file in one with the detections head: the same network, its grids as outputs, its anchors read back.

So both heads of the shipped model are compared, and the repository need not hold it twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import metadata
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.edit import Graph
from micro_yolo.tflite.heads import IMPLIED, Grid, find
from micro_yolo.tflite.suppression import OPERATOR

# What the shipped model's head puts out.
PARTS = tuple(part.name for part in find(IMPLIED).parts)


def write(model: Path, out: Path) -> Path:
    """MODEL_raw.tflite and its contract in `out`. ValueError if `model` is not as tflite.suppression makes it."""
    data, contract = cut(model.read_bytes(), contracts.load(model))
    target = out / f"{model.stem}_raw.tflite"
    target.write_bytes(data)
    contracts.path_of(target).write_text(contract.to_json())
    return target


def cut(data: bytes, contract: Contract) -> tuple[bytes, Contract]:
    """Take what `tflite.suppression.attach` put behind the network off again.

    Args:
        data: bytes of a .tflite with the detections head.
        contract: its contract.

    Returns:
        The raw .tflite and its contract; rows are called row0, row1, ...

    Raises:
        ValueError: there is no such head.
    """
    graph = Graph.of(metadata.split(data)[0])
    main = graph.main
    producers = {int(index): op for op in main.operators for index in op.outputs}
    reshaped = [op for op in main.operators if _name(main, op).startswith("head_reshape_")]
    if not reshaped or len(reshaped) % len(PARTS):
        raise ValueError("grids: the file must have the detections head")
    grids = [_source(main, producers, int(op.inputs[0])) for op in reshaped]
    rows = _rows(graph, grids, contract.size)
    names = [f"{row.row_name}_{part}" for row in rows for part in PARTS]
    main.operators = [op for op in main.operators if not _name(main, op).startswith(("head_", OPERATOR))]
    graph.set_outputs(dict(zip(names, grids, strict=True)))
    raw = graph.pack()
    return raw, contracts.describe(
        raw,
        head="raw",
        name=f"{contract.name}_raw",
        arch=contract.arch,
        variant=contract.variant,
        rows=rows,
        labels=contract.labels,
        resize=contract.input.resize,
        nms=contract.nms,
    )


def _rows(graph: Graph, grids: list[int], size: tuple[int, int]) -> list[Grid]:
    """Strides by the grids' shapes, anchors by the constant that their sizes are multiplied with."""
    main = graph.main
    (exp,) = (op for op in main.operators if _name(main, op).startswith("head_exp_"))
    (scaled,) = (op for op in main.operators if exp.outputs[0] in op.inputs)
    stored = graph.values(scaled.inputs[1])
    if stored is None:
        raise ValueError("grids: the anchors must be a constant of the head")
    halves = stored.view(np.float32).reshape(-1, 2)
    found, start = [], 0
    for number, (_, objectness, _) in enumerate(zip(*[iter(grids)] * len(PARTS), strict=True)):
        _, rows, columns, count = (int(side) for side in main.tensors[objectness].shape)
        sides = halves[start : start + count, ::-1] * 2 * np.array(size[::-1], np.float32)
        found.append(Grid(f"row{number}", size[0] // rows, tuple((float(w), float(h)) for w, h in sides)))
        start += rows * columns * count
    return found


def _source(main: Any, producers: dict[int, Any], index: int) -> int:
    """Where a value of the head comes from: the network's own tensor."""
    while _tensor(main, index).startswith("head_"):
        index = int(producers[index].inputs[0])
    return index


def _name(main: Any, op: Any) -> str:
    return _tensor(main, int(op.outputs[0]))


def _tensor(main: Any, index: int) -> str:
    return str(main.tensors[index].name.decode())
