"""What is said of a file is what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from thinned import thinned

from micro_yolo.model.count import count
from micro_yolo.model.spec import Arch
from micro_yolo.model.zoo import ARCHS
from micro_yolo.pipeline import inspect as stage
from micro_yolo.tflite import costs, edit, inspect, metadata
from micro_yolo.tflite.convert import VARIANTS


@pytest.mark.parametrize("name", [*(f"{variant}_raw" for variant in VARIANTS), "float32", "int8"])
def test_macs_are_those_of_the_table(exported: Path, name: str) -> None:
    arch = Arch.from_json(json.loads((exported / "train" / "arch.json").read_text()))
    layers = costs.layers(inspect.read(exported / "export" / f"model_{name}.tflite"))
    assert sum(layer.macs for layer in layers) == count(arch).macs


@pytest.mark.slow
@pytest.mark.parametrize("name", ["micro_yolo", "yolo_nano"])
def test_macs_of_published_networks(name: str) -> None:
    from micro_yolo.model.build import build, deployable
    from micro_yolo.tflite.convert import convert

    arch = thinned(ARCHS[name]).resized((64, 96)).with_classes(4)
    data = convert(deployable(arch, build(arch)), "float32")
    assert sum(layer.macs for layer in costs.layers(inspect.read(data))) == count(arch).macs


def test_bytes_and_memory(exported: Path) -> None:
    data = (exported / "export" / "model_int8_raw.tflite").read_bytes()
    model = inspect.read(data)
    constants = sum(layer.constant_bytes for layer in costs.layers(model))
    weights = sum(t.n_bytes for t in model.tensors if t.dtype == "int8" and t.constant)
    assert 0 < weights < constants < len(data)
    arena = costs.arena(model)
    # The input alone is 64 x 96 x 3 bytes; the first layer reads it and writes 32 x 48 x 8.
    assert arena.peak_bytes >= 64 * 96 * 3 + 32 * 48 * 8
    assert arena.n_bytes >= arena.peak_bytes
    assert model.runtime.split(".")[0] in ("1", "2")


def test_the_command(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = exported / "export" / "model_int8_raw.tflite"
    config = stage.Config(model, tensors=True, layers=True)
    found = stage.run(config)
    assert capsys.readouterr() == ("", "")
    assert found.report["op_counts"] == found.model.op_counts()
    stage.command(config)
    shown = capsys.readouterr().out
    for part in ("tiny, int8, 64x96", "d1_objectness", "MMAC", "XNNPACK", "Ethos-U", "TFLite 2.", "KiB planned"):
        assert part in shown
    (tmp_path / "alone.tflite").write_bytes(metadata.split(model.read_bytes())[0])
    stage.command(stage.Config(tmp_path / "alone.tflite", load=False))
    shown = capsys.readouterr().out
    assert "contract" in shown and "is missing" in shown


def test_json(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = exported / "export" / "model_int8_raw.tflite"
    stage.command(stage.Config(model, json=True))
    found = json.loads(capsys.readouterr().out)
    assert found["op_counts"]["CONV_2D"] > 5
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert len(found["loads"]["delegated"]) == sum(each["count"] for each in found["placed"])
    assert found["outputs"] and all(found["tensors"][index]["scales"] == [1 / 256] for index in found["outputs"])


def test_names_cannot_steer_the_terminal(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = edit.graph_of((exported / "export" / "model_int8_raw.tflite").read_bytes())
    graph.subgraphs[0].tensors[3].name = b"\x1b[2J[red]name"
    path = tmp_path / "m.tflite"
    path.write_bytes(edit.pack(graph))
    stage.command(stage.Config(path, tensors=True, load=False))
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "?[2J[red]name" in shown


def test_a_file_that_claims_more_than_it_holds(exported: Path) -> None:
    data = bytearray((exported / "export" / "model_int8_raw.tflite").read_bytes())
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(bytes(data), 0)
    table = model._tab
    vector = table.Vector(table.Offset(8)) - 4  # the list of subgraphs
    assert int.from_bytes(data[vector : vector + 4], "little") == 1
    data[vector : vector + 4] = (1 << 30).to_bytes(4, "little")
    with pytest.raises(ValueError, match="damaged or truncated"):
        inspect.read(bytes(data))


def test_tensor_indices_are_checked(exported: Path) -> None:
    graph = edit.graph_of((exported / "export" / "model_int8_raw.tflite").read_bytes())
    graph.subgraphs[0].operators[2].inputs = np.array([100000], np.int32)
    with pytest.raises(ValueError, match="damaged or truncated"):
        inspect.read(edit.pack(graph))


@pytest.mark.parametrize("change", [-4, 4])
@pytest.mark.parametrize("name", ["model_int8.tflite", "model_float32_raw.tflite"])
def test_constants_are_as_long_as_shape_and_type_say(exported: Path, name: str, change: int) -> None:
    """What reads them by shape and type need not look again."""
    data = (exported / "export" / name).read_bytes()
    for index, tensor in enumerate(inspect.read(data).tensors):
        if tensor.constant and tensor.n_bytes > 4:
            graph = edit.graph_of(data)
            buffer = graph.buffers[graph.subgraphs[0].tensors[index].buffer]
            buffer.data = np.resize(buffer.data, len(buffer.data) + change)
            said = (
                rf"^model: the .tflite is damaged or truncated: constant .* must have .* bytes, got {len(buffer.data)}"
            )
            with pytest.raises(ValueError, match=said):
                inspect.read(edit.pack(graph))
            break


@pytest.mark.parametrize("tensor", ["int4 [3]", "bool [2, 2]", "string [1]", "float32 []"])
def test_constants_of_other_types_are_read(tensor: str) -> None:
    dtype, shape = tensor.split(" ", 1)
    n_bytes = {"int4": 2, "bool": 4, "string": 13, "float32": 4}[dtype]
    inspect._check_constant("a", dtype, tuple(json.loads(shape)), n_bytes)
