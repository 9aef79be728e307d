"""Gates that average by a pool: the same network, faster on accelerators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.pipeline import convert as stage
from micro_yolo.pipeline import debug
from micro_yolo.tflite import edit, inspect
from micro_yolo.tflite.convert import VARIANTS, check
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.squeeze import pooled


def file(exported: Path, variant: str) -> Path:
    return exported / "export" / f"model_{variant}_raw.tflite"


def read(exported: Path, variant: str) -> bytes:
    return file(exported, variant).read_bytes()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_file_says_what_it_said(exported: Path, variant: str, deployed: Any, inputs: list[np.ndarray]) -> None:
    before = read(exported, variant)
    after = pooled(before)
    counts = inspect.read(before).op_counts()
    counts["AVERAGE_POOL_2D"] = counts.pop("MEAN")
    assert inspect.read(after).op_counts() == counts and counts["AVERAGE_POOL_2D"] == 2
    one, other = (check(data, variant, deployed, inputs) for data in (before, after))
    assert one.keys() == other.keys() and all(value < 0.01 for value in one.values())
    # How far each output is from Keras: what a coarser mean adds is small beside what is there.
    assert all(other[name] < one[name] * 1.05 for name in one)


def test_a_pool_keeps_its_scale_and_the_bias_behind_it_its_value(exported: Path) -> None:
    graph = edit.graph_of(read(exported, "int8"))
    main = graph.subgraphs[0]
    mean = next(op for op in main.operators if edit.op_name(graph, op) == "MEAN")
    (reader,) = [op for op in main.operators if mean.outputs[0] in op.inputs]
    bias = main.tensors[reader.inputs[2]]
    values = np.arange(1, 1 + bias.shape[0], dtype=np.int32) * 12345
    graph.buffers[bias.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    value = values * bias.quantization.scale

    after = edit.graph_of(pooled(edit.pack(graph)))
    main = after.subgraphs[0]
    pool = next(op for op in main.operators if edit.op_name(after, op) == "AVERAGE_POOL_2D")
    entry, leave = (main.tensors[index].quantization for index in (pool.inputs[0], pool.outputs[0]))
    assert (entry.scale, entry.zeroPoint) == (leave.scale, leave.zeroPoint)
    (reader,) = [op for op in main.operators if pool.outputs[0] in op.inputs]
    kernel, bias = (main.tensors[index] for index in reader.inputs[1:])
    assert bias.quantization.scale == pytest.approx(leave.scale * kernel.quantization.scale)
    stored = np.frombuffer(bytes(after.buffers[bias.buffer].data), np.int32)
    assert stored * bias.quantization.scale == pytest.approx(value, rel=1e-3)


def test_what_has_no_squeeze_is_refused(exported: Path) -> None:
    graph = edit.graph_of(read(exported, "int8"))
    for op in graph.subgraphs[0].operators:
        if edit.op_name(graph, op) == "MEAN":
            op.builtinOptions.keepDims = False
    with pytest.raises(ValueError, match="squeeze: the file has no mean over height and width"):
        pooled(edit.pack(graph))


def test_vela_estimates_fewer_cycles(exported: Path, tmp_path: Path) -> None:
    pytest.importorskip("ethosu")
    from micro_yolo.tflite.vela import compile_for

    before = file(exported, "int8")
    after = tmp_path / "pool.tflite"
    after.write_bytes(pooled(before.read_bytes()))
    found = [compile_for(path, "ethos-u55-256") for path in (before, after)]
    assert [each.on_cpu for each in found] == [0, 0]
    assert found[1].cycles < found[0].cycles


def test_the_command_and_the_debugger(own_run: Path, exported: Path, tiny_data: Path) -> None:
    stage.run(stage.Config(run=own_run, int8=True, head="raw", squeeze="pool", samples=4))
    (path,) = (own_run / "export").glob("*.tflite")
    counts = inspect.read(path).op_counts()
    assert "MEAN" not in counts and counts["AVERAGE_POOL_2D"] == 2
    Detector(path)
    # Its float32 file averages by a mean.
    found = debug.run(debug.Config(run=own_run, images=2, keep=(1,)))
    assert "AVERAGE_POOL_2D" in {layer.op for layer in found.layers}


def test_a_network_without_gates_is_refused(own_run: Path) -> None:
    table = own_run / "train" / "arch.json"
    arch = json.loads(table.read_text())
    for row in arch["rows"]:
        row.pop("se", None)
    table.write_text(json.dumps(arch))
    with pytest.raises(ValueError, match="squeeze: pool is for networks with gates, tiny has none; allowed: mean"):
        stage.run(stage.Config(run=own_run, int8=True, squeeze="pool"))
