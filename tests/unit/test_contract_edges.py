"""Limits of the contract, its text, and what it takes from a file: found by changing it and seeing no test fail."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import edit, heads
from micro_yolo.tflite.contract import Contract, Data, Nms
from micro_yolo.tflite.heads import Grid
from micro_yolo.tflite.suppression import OUTPUTS

ROWS = (Grid("coarse", 16, ((60.0, 40.0), (20.0, 90.0))), Grid("fine", 8, ((9.0, 10.0),)))
LABELS = ("a", "b", "è")
GRIDS = {
    "coarse_boxes": (1, 2, 3, 8),
    "coarse_objectness": (1, 2, 3, 2),
    "coarse_classes": (1, 2, 3, 6),
    "fine_boxes": (1, 4, 6, 4),
    "fine_objectness": (1, 4, 6, 1),
    "fine_classes": (1, 4, 6, 3),
}
WANTED = "[('boxes', (1, 100, 4)), ('classes', (1, 100)), ('scores', (1, 100)), ('count', (1,))]"
DETECTIONS = dict(zip(OUTPUTS, ((1, 100, 4), (1, 100), (1, 100), (1,)), strict=True))


def file(outputs: dict[str, tuple[int, ...]], inputs: int = 1) -> bytes:
    """A .tflite without operators: a uint8 input of scale 1, grids in int8 of scale 1/256, other outputs float32."""
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    given = [(f"image{n or ''}", (1, 32, 48, 3)) for n in range(inputs)]
    for name, shape in (*given, *outputs.items()):
        made = schema.TensorT()
        made.name, made.shape = name.encode(), np.array(shape, np.int32)
        kind = "UINT8" if name.startswith("image") else "INT8" if len(shape) == 4 else "FLOAT32"
        made.type = getattr(schema.TensorType, kind)
        if kind != "FLOAT32":
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.array([1.0 if kind == "UINT8" else 1 / 256], np.float32)
            made.quantization.zeroPoint = np.array([0 if kind == "UINT8" else -128], np.int64)
        graph.tensors.append(made)
    graph.inputs = np.arange(inputs, dtype=np.int32)
    graph.outputs = np.arange(inputs, len(graph.tensors), dtype=np.int32)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = [], []
    for number, made in enumerate(graph.tensors):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = made.name, number
        (signature.inputs if number < inputs else signature.outputs).append(entry)
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes, model.signatureDefs = 3, [graph], [], [signature]
    model.buffers = [schema.BufferT()]
    return edit.pack(model)


def described(outputs: dict[str, tuple[int, ...]] = GRIDS, **more: Any) -> Contract:
    told = {"name": "cells", "arch": "net", "variant": "int8", "rows": ROWS, "labels": LABELS, "resize": "letterbox"}
    return contracts.describe(file(outputs), **{**told, **more})


def test_what_a_file_of_grids_says() -> None:
    contract = described()
    assert (contract.name, contract.arch, contract.variant, contract.labels) == ("cells", "net", "int8", LABELS)
    given = contract.input
    assert dataclasses.astuple(given) == ("image", (1, 32, 48, 3), "uint8", 1.0, 0, 0, "letterbox", 114)
    assert [dataclasses.astuple(output) for output in contract.outputs] == [
        (name, name.split("_")[1], name.split("_")[0], 16 if "coarse" in name else 8, shape, "int8", 1 / 256, -128, n)
        for n, (name, shape) in enumerate(GRIDS.items(), 1)
    ]
    assert contract.anchors == {row.row_name: row.anchors for row in ROWS}
    assert contract.model_sha256 == hashlib.sha256(file(GRIDS)).hexdigest()
    assert (contract.head, contract.coding) == ("raw", heads.IMPLIED)
    assert (contract.nms, contract.data, contract.parents, contract.versions) == (Nms(), Data(), {}, {})


def test_what_a_file_of_detections_says() -> None:
    more = {"nms": Nms(0.5), "parents": {"a": "0"}, "data": Data("d", 0.1, 4), "versions": {"numpy": "2"}}
    contract = described(DETECTIONS, head="detections", **more)
    assert [dataclasses.astuple(output) for output in contract.outputs] == [
        (name, kind, "", 0, shape, "float32", 0.0, 0, n)
        for n, (kind, (name, shape)) in enumerate(zip(contracts.DETECTION_KINDS, DETECTIONS.items(), strict=True), 1)
    ]
    assert (contract.head, contract.coding, contract.anchors) == ("detections", "detections/1", {})
    assert {name: getattr(contract, name) for name in more} == more
    assert contract.grids == ()


def test_what_a_file_must_have() -> None:
    without = {name: shape for name, shape in GRIDS.items() if name not in ("fine_boxes", "fine_classes")}
    with pytest.raises(ValueError) as error:
        described(without)
    told = "contract: the file must have one named input and outputs, got no "
    assert str(error.value) == told + "fine_boxes, fine_classes"
    with pytest.raises(ValueError, match=f"^{told}$"):
        contracts.describe(
            file(GRIDS, inputs=2), name="", arch="", variant="", rows=ROWS, labels=LABELS, resize="stretch"
        )


def test_the_text_is_for_people_too() -> None:
    text = described().to_json()
    assert text.startswith('{\n  "name": "cells",\n  "arch": "net",\n')
    assert text.endswith("}\n")
    assert '"è"' in text
    with pytest.raises(ValueError, match="JSON compliant"):
        dataclasses.replace(described(), data=Data(val_fraction=float("nan"))).to_json()


def put_in(data: bytes, path: Path, text: str) -> None:
    path.write_bytes(data)
    with zipfile.ZipFile(path, "a") as files:
        files.writestr("contract.json", text)


def test_it_is_found_beside_a_file_else_in_it(tmp_path: Path) -> None:
    path, contract = tmp_path / "m.tflite", described()
    with pytest.raises(FileNotFoundError) as error:
        contracts.load(path)
    assert str(error.value) == (
        f"{tmp_path}/m.json: the contract of m.tflite is missing; a .tflite of ours has it in it, and a copy beside "
        "it; `python -m pipeline.convert` writes both"
    )
    path.write_bytes(file(GRIDS))
    assert contracts.inside(path.read_bytes()) is None
    with pytest.raises(FileNotFoundError, match="is missing"):
        contracts.load(path)
    put_in(file(GRIDS), path, contract.to_json())
    assert contracts.load(path) == contracts.load(str(path)) == contracts.inside(path.read_bytes()) == contract
    beside = dataclasses.replace(contract, name="beside")
    contracts.path_of(path).write_text(beside.to_json())
    assert contracts.load(path) == beside
    contracts.path_of(path).write_text("{")
    with pytest.raises(ValueError, match=rf"^{tmp_path}/m\.json: must be JSON"):
        contracts.load(path)


def test_faults_say_where(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    put_in(file(GRIDS), path, "{")
    contracts_file = path.read_bytes()
    with pytest.raises(ValueError, match=r"^model: contract\.json in it: must be JSON"):
        contracts.inside(contracts_file)
    with pytest.raises(ValueError, match=rf"^{path}: contract\.json in it: must be JSON"):
        contracts.load(path)
    with pytest.raises(ValueError, match=r"^contract: must be JSON"):
        Contract.from_json("{")
    damaged = contracts_file.replace(b"{PK", b"}PK")
    assert damaged != contracts_file
    for where, call in (
        ("model", lambda: contracts.inside(damaged)),
        ("here", lambda: contracts.inside(damaged, "here")),
        ("model", lambda: contracts.verify(described(), damaged)),
        ("here", lambda: contracts.verify(described(), damaged, "here")),
    ):
        with pytest.raises(ValueError, match=f"^{where}: "):
            call()


def test_a_file_is_the_one_of_its_contract(tmp_path: Path) -> None:
    contract = described()
    put_in(file(GRIDS), tmp_path / "m.tflite", contract.to_json())
    contracts.verify(contract, file(GRIDS))
    contracts.verify(contract, (tmp_path / "m.tflite").read_bytes())
    for where, told in (({}, "model"), ({"where": "x"}, "x")):
        with pytest.raises(ValueError) as error:
            contracts.verify(contract, file(DETECTIONS), **where)
        assert str(error.value) == (
            f"{told}: is not the file its contract was written for (SHA-256 differs): damaged, truncated or replaced; "
            "`python -m pipeline.convert --overwrite` makes both anew"
        )


def changed(outputs: dict[str, tuple[int, ...]], *path: Any, to: Any) -> str:
    """The contract's text with one value in another's place."""
    head = "detections" if outputs is DETECTIONS else "raw"
    value = json.loads(described(outputs, head=head).to_json())
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return json.dumps(value)


@pytest.mark.parametrize(
    ("outputs", "path", "to"),
    [
        (GRIDS, ("nms", "score_threshold"), 0),
        (GRIDS, ("nms", "iou_threshold"), 1),
        (GRIDS, ("nms", "lowest_score"), 1),
        (GRIDS, ("nms", "pre_nms"), 1),
        (GRIDS, ("nms", "max_detections"), 1),
        (GRIDS, ("outputs", 0, "name"), "x" * 200),
        (GRIDS, ("outputs", 0, "name"), "x"),
        (GRIDS, ("outputs", 0, "scale"), 1e-30),
    ],
)
def test_limits_are_allowed(outputs: dict[str, tuple[int, ...]], path: tuple[Any, ...], to: Any) -> None:
    Contract.from_json(changed(outputs, *path, to=to))


def test_without_a_head_it_is_of_grids() -> None:
    value = json.loads(described().to_json())
    del value["head"]
    assert Contract.from_json(json.dumps(value)) == described()


def test_a_cell_may_be_one_pixel() -> None:
    shapes = {f"one_{part}": (1, 32, 48, width) for part, width in (("boxes", 4), ("objectness", 1), ("classes", 3))}
    contract = described(shapes, rows=(Grid("one", 1, ((2.0, 3.0),)),))
    assert Contract.from_json(contract.to_json()).grids == (Grid("one", 1, ((2.0, 3.0),)),)


@pytest.mark.parametrize(
    ("outputs", "path", "to", "message"),
    [
        (GRIDS, ("nms", "score_threshold"), -0.01, "nms: thresholds must be in 0..1, got -0.01, 0.6, 0.001"),
        (GRIDS, ("nms", "iou_threshold"), 1.01, "nms: thresholds must be in 0..1, got 0.25, 1.01, 0.001"),
        (GRIDS, ("nms", "lowest_score"), 2, "nms: thresholds must be in 0..1, got 0.25, 0.6, 2.0"),
        (GRIDS, ("nms", "pre_nms"), 0, "nms: counts must be at least 1, got 100 and 0"),
        (GRIDS, ("nms", "max_detections"), 0, "nms: counts must be at least 1, got 0 and 1000"),
        (GRIDS, ("labels",), [], "anchors and labels: must not be empty"),
        (GRIDS, ("anchors",), {}, "anchors and labels: must not be empty"),
        (GRIDS, ("anchors",), {"": [[1, 2]]}, "anchors: a row must have a name, got an empty one"),
        (DETECTIONS, ("labels",), [], "anchors and labels: must not be empty"),
        (GRIDS, ("input", "resize"), "crop",
         "input.resize: unknown rule, got 'crop'; allowed: stretch, letterbox, mediapipe"),
        (GRIDS, ("input", "shape"), [32, 48, 3], "input.shape: must be 1, height, width, 3, got [32, 48, 3]"),
        (GRIDS, ("input", "shape"), [2, 32, 48, 3], "input.shape: must be 1, height, width, 3, got [2, 32, 48, 3]"),
        (GRIDS, ("input", "shape"), [1, 0, 48, 3], "input.shape: must be 1, height, width, 3, got [1, 0, 48, 3]"),
        (GRIDS, ("input", "shape"), [1, 32, 48, 4], "input.shape: must be 1, height, width, 3, got [1, 32, 48, 4]"),
        (GRIDS, ("input", "shape"), [1, 32, 48, 3, 1],
         "input.shape: must be 1, height, width, 3, got [1, 32, 48, 3, 1]"),
        (GRIDS, ("outputs", 0, "name"), "", "input and outputs: a name must be 1 to 200 letters, got ''"),
        (GRIDS, ("outputs", 0, "name"), "x" * 201,
         f"input and outputs: a name must be 1 to 200 letters, got '{'x' * 59}"),
        (GRIDS, ("outputs", 0, "dtype"), "int4",
         "coarse_boxes.dtype: unknown, got 'int4'; allowed: float32, uint8, int8, int16"),
        (GRIDS, ("outputs", 0, "scale"), 0.0, "coarse_boxes.scale: must be positive for int8, got 0.0"),
        (GRIDS, ("outputs", 0, "scale"), -1.0, "coarse_boxes.scale: must be positive for int8, got -1.0"),
        (GRIDS, ("outputs", 0, "stride"), 0, "coarse_boxes.stride: must be at least 1 and that of its row, got 0"),
        (GRIDS, ("outputs", 1, "stride"), 8,
         "coarse_objectness.stride: must be at least 1 and that of its row, got 8"),
        (GRIDS, ("outputs", 5, "shape"), [1, 4, 6, 4],
         "fine_classes.shape: must be [1, 4, 6, 3] for 3 labels and 1 anchors, got [1, 4, 6, 4]"),
        (GRIDS, ("outputs", 5, "kind"), "boxes", "outputs: must be boxes, objectness, classes of each row of anchors, "
         'got [["coarse", "boxes"], ["coarse", "objectness"], ["coarse"...'),
        (GRIDS, ("head",), 3, "head: must be a string, got 3"),
        (GRIDS, ("format",), "micro-yolo/2",
         "format micro-yolo/2 is not known here; allowed: micro-yolo/1; update micro-yolo"),
        (GRIDS, ("head",), "x", "head: unknown, got 'x'; allowed: detections, raw"),
        (DETECTIONS, ("coding",), "x", "coding: unknown, got 'x'; allowed for detections: detections/1; "
         "update micro-yolo"),
        (DETECTIONS, ("anchors",), {"a": [[1, 2]]},
         f"outputs: must be {WANTED} of 100 "
         'detections and no anchors, got [["boxes", [1, 100, 4]], ["classes", [1, 100]], ["scores"... and 1 rows of '
         "anchors"),
        (DETECTIONS, ("outputs", 3, "shape"), [2],
         f"outputs: must be {WANTED} of 100 "
         'detections and no anchors, got [["boxes", [1, 100, 4]], ["classes", [1, 100]], ["scores"... and 0 rows of '
         "anchors"),
    ],
)  # fmt: skip
def test_beyond_the_limits_it_is_refused(
    outputs: dict[str, tuple[int, ...]], path: tuple[Any, ...], to: Any, message: str
) -> None:
    with pytest.raises(ValueError) as error:
        Contract.from_json(changed(outputs, *path, to=to), "c")
    assert str(error.value) == f"c: {message}"
