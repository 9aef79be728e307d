"""Every variant through the converter and its checks, and what the checks refuse."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.model.spec import Arch
from micro_yolo.pipeline import convert as stage
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import edit, inspect, ranges
from micro_yolo.tflite.convert import CALIBRATED, VARIANTS, check, convert, split_shared_constants
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.interpreter import Interpreter

Config = stage.Config


def files(run: Path) -> set[str]:
    folder = run / "export"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def read(exported: Path, variant: str) -> tuple[bytes, inspect.Model]:
    data = (exported / "export" / f"model_{variant}_raw.tflite").read_bytes()
    return data, inspect.read(data)


def test_everything_is_there(exported: Path) -> None:
    names = [f"model_{variant}_raw" for variant in VARIANTS] + ["model_float32", "model_int8"]
    models = {f"{name}.{suffix}" for name in names for suffix in ("tflite", "json", "md")}
    assert files(exported) == models | {"labels.txt"}
    labels = (exported / "export" / "labels.txt").read_text().splitlines()
    assert tuple(labels) == contracts.load(exported / "export" / "model_int8.tflite").labels


@pytest.mark.parametrize("variant", VARIANTS)
def test_contract_says_where_it_came_from(exported: Path, variant: str) -> None:
    path = exported / "export" / f"model_{variant}_raw.tflite"
    contract = contracts.load(path)
    contracts.verify(contract, path.read_bytes())
    assert contract.variant == variant
    assert contract.arch == "tiny"
    assert contract.parents == {
        f"train/{name}": runs.sha256(exported / "train" / name) for name in ("arch.json", "model.weights.h5")
    }
    assert contract.input.resize == "stretch"
    assert contract.versions["tensorflow"].startswith("2.")
    assert [grid.stride for grid in contract.grids] == [16, 8]


@pytest.mark.parametrize("variant", VARIANTS)
def test_file_agrees_with_keras(exported: Path, variant: str, deployed: Any, inputs: list[np.ndarray]) -> None:
    detector = Detector(exported / "export" / f"model_{variant}_raw.tflite")
    expected = [
        np.asarray(grid)[0]
        for parts in deployed(inputs[0][None].astype(np.float32), training=False).values()
        for grid in parts.values()
    ]
    found = [grid for grids in detector.raw(inputs[0]).values() for grid in grids.values()]
    assert [grid.shape for grid in found] == [grid.shape for grid in expected]
    worst = max(float(np.abs(a - b).mean()) for a, b in zip(found, expected, strict=True))
    assert worst < {"float32": 1e-5, "float16": 2e-3, "dynamic": 0.01, "int16x8": 0.01, "int8": 0.02}[variant]


def test_int8_is_integers_throughout(exported: Path) -> None:
    data, found = read(exported, "int8")
    assert {tensor.dtype for tensor in found.tensors} <= {"uint8", "int8", "int32"}
    image = found.tensor(found.signature_inputs["image"])
    assert (image.dtype, image.scales, image.zero_points) == ("uint8", (1.0,), (0,))
    assert len(found.signature_outputs) == 6
    for index in found.signature_outputs.values():
        output = found.tensor(index)
        assert (output.dtype, output.scales, output.zero_points) == ("int8", (1 / 256,), (-128,))
    assert len(data) < 0.7 * len(read(exported, "float32")[0])


def test_int16x8_is_integers_throughout(exported: Path) -> None:
    _, found = read(exported, "int16x8")
    assert {tensor.dtype for tensor in found.tensors} <= {"int16", "int8", "int32", "int64"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_builtin_operators(exported: Path, variant: str) -> None:
    _, found = read(exported, variant)
    assert not [op.name for op in found.ops if ":" in op.name]
    assert "CONV_2D" in found.op_counts()


def test_weights_are_per_channel(exported: Path) -> None:
    _, found = read(exported, "int8")
    for op in found.ops:
        if op.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            weights = found.tensor(op.inputs[1])
            assert len(weights.scales) == weights.shape[3 if op.name.startswith("DEPTH") else 0]
            assert set(weights.zero_points) == {0}


def kill_squeeze(model: Any, names: tuple[str, ...] = ("l2_se_squeeze", "l6_se_squeeze")) -> list[Any]:
    before = [model.get_layer(name).get_weights() for name in names]
    for name, weights in zip(names, before, strict=True):
        model.get_layer(name).set_weights([-np.abs(weights[0]), *weights[1:]])
    return before


def test_a_dead_squeeze_still_converts_to_int8(deployed: Any, inputs: list[np.ndarray]) -> None:
    before = kill_squeeze(deployed)
    try:
        data = convert(deployed, "int8", inputs)
        differences = check(data, "int8", deployed, inputs[:3])
        with pytest.raises(ValueError, match=r"int16x8 refused: tensor .* has scale .*calibrate on more images"):
            check(convert(deployed, "int16x8", inputs), "int16x8", deployed, inputs[:3])
    finally:
        for name, weights in zip(("l2_se_squeeze", "l6_se_squeeze"), before, strict=True):
            deployed.get_layer(name).set_weights(weights)
    assert max(differences.values()) < 0.02
    assert min(scale for tensor in inspect.read(data).tensors for scale in tensor.scales) > 0


def test_widening_leaves_a_healthy_model_alone(exported: Path) -> None:
    data, _ = read(exported, "float32")
    assert ranges.widen_dead(data) == data


def test_equal_biases_do_not_spoil_int16x8(deployed: Any, inputs: list[np.ndarray]) -> None:
    """The converter stores equal constants once, and its int16 quantizer scales them for the first reader only."""
    layers = [deployed.get_layer(f"{row}_{part}") for part in ("obj", "cls") for row in ("d1", "d2")]
    before = [layer.get_weights() for layer in layers]
    for layer, (kernel, bias) in zip(layers, before, strict=True):
        layer.set_weights([kernel, np.full_like(bias, -3.0)])
    try:
        data = convert(deployed, "int16x8", inputs)
        assert max(check(data, "int16x8", deployed, inputs[:3]).values()) < 0.01
    finally:
        for layer, weights in zip(layers, before, strict=True):
            layer.set_weights(weights)


def test_splitting_constants_changes_no_output(exported: Path, inputs: list[np.ndarray]) -> None:
    data, _ = read(exported, "float32")
    outputs = []
    for content in (data, split_shared_constants(data)):
        interpreter = Interpreter(content)
        interpreter.look(inputs[0])
        outputs.append({name: interpreter.value(name) for name in interpreter.output_tensors})
    for name, grid in outputs[0].items():
        np.testing.assert_allclose(outputs[1][name], grid, atol=1e-6)


def test_convert_refuses(deployed: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown variant, got 'int4'; allowed: float32, float16"):
        convert(deployed, "int4")
    for variant in CALIBRATED:
        with pytest.raises(ValueError, match=f"{variant} needs sample images"):
            convert(deployed, variant)


def edited(data: bytes, change: Any) -> bytes:
    graph = edit.graph_of(data)
    change(graph)
    return edit.pack(graph)


def set_scale(graph: Any) -> None:
    tensors = graph.subgraphs[0].tensors
    written = (tensors[int(index)] for op in graph.subgraphs[0].operators for index in op.outputs)
    inner = next(tensor for tensor in written if len(tensor.quantization.scale) == 1)
    inner.quantization.scale = [0.0]


def one_weight_scale(graph: Any) -> None:
    op = next(op for op in graph.subgraphs[0].operators if edit.op_name(graph, op) == "CONV_2D")
    quantization = graph.subgraphs[0].tensors[op.inputs[1]].quantization
    quantization.scale, quantization.zeroPoint = quantization.scale[:1], quantization.zeroPoint[:1]


def custom_operator(graph: Any) -> None:
    graph.operatorCodes[0].builtinCode = graph.operatorCodes[0].deprecatedBuiltinCode = 32
    graph.operatorCodes[0].customCode = b"FlexErf"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_scale, r"has scale 0\.0: it was constant on the calibration images"),
        (one_weight_scale, "have 1 scales for 8 channels"),
        (custom_operator, "operator CUSTOM:FlexErf is not a builtin one"),
    ],
)
def test_check_refuses_a_bad_int8_file(
    exported: Path, deployed: Any, inputs: list[np.ndarray], change: Any, reason: str
) -> None:
    data, _ = read(exported, "int8")
    with pytest.raises(ValueError, match=f"int8 refused: .*{reason}"):
        check(edited(data, change), "int8", deployed, inputs[:1])


def test_check_refuses_floats_in_an_int8_file(exported: Path, deployed: Any, inputs: list[np.ndarray]) -> None:
    data, _ = read(exported, "dynamic")
    with pytest.raises(ValueError, match=r"int8 refused: tensor .* is float32 in an integer file"):
        check(data, "int8", deployed, inputs[:1])


def test_check_refuses_another_networks_file(
    exported: Path, tiny: Arch, weighted: Any, inputs: list[np.ndarray]
) -> None:
    from micro_yolo.model.build import deployable

    other = deployable(tiny, weighted)
    layer = other.get_layer("d1_obj")
    layer.set_weights([-layer.get_weights()[0], layer.get_weights()[1] - 3])
    with pytest.raises(ValueError, match=r"float32 refused: output d1_objectness differs from Keras by"):
        check(read(exported, "float32")[0], "float32", other, inputs[:2])


def test_check_refuses_an_output_that_is_not_finite(tiny: Arch, weighted: Any, inputs: list[np.ndarray]) -> None:
    from micro_yolo.model.build import deployable

    broken = deployable(tiny, weighted)
    layer = broken.get_layer("l7_conv")
    layer.set_weights([np.full_like(weights, np.nan) for weights in layer.get_weights()])
    with pytest.raises(ValueError, match=r"float32 refused: output .* is not finite"):
        check(convert(broken, "float32"), "float32", broken, inputs[:1])


def test_nothing_is_overwritten_unless_asked(brief_run: Path) -> None:
    stage.run(Config(run=brief_run))
    assert files(brief_run) == {
        *(f"model_float32.{suffix}" for suffix in ("tflite", "json", "md")),
        "labels.txt",
    }
    with pytest.raises(
        ValueError, match=r"model_float32\.tflite: already exists, made from these weights; .*--overwrite"
    ):
        stage.run(Config(run=brief_run, float32=True, int8=True))
    assert "model_int8.tflite" not in files(brief_run)
    weights = brief_run / "train" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes() + b"0")
    with pytest.raises(ValueError, match="made from other weights"):
        stage.run(Config(run=brief_run))


def test_a_full_disk_leaves_what_was_there(own_run: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = exported / "export" / "model_int8.tflite"
    contract = contracts.load(path)
    export = own_run / "export"
    stage.write(export, path.read_bytes(), contract)
    before = {file.name: file.read_bytes() for file in export.iterdir()}
    calls = []

    def full(number: int) -> None:
        calls.append(number)
        if len(calls) >= 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        stage.write(export, b"other", contracts.load(path))
    assert {file.name: file.read_bytes() for file in export.iterdir()} == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("weights", r"model\.weights\.h5: the weights do not fit the table in arch\.json"),
        ("other weights", r"model\.weights\.h5: the weights do not fit the table in arch\.json"),
        ("arch", r"arch\.json"),
        ("names", r"config\.json: must name the 5 classes"),
        ("metrics", "train is half-made"),
        ("content", r"config\.json\.content\.train: must be a mapping, got 3"),
        ("data", r"gone: the training data is no longer there; pass --data PATH"),
    ],
)
def test_a_run_that_cannot_be_converted(own_run: Path, damage: str, message: str) -> None:
    train = own_run / "train"
    config = json.loads((train / runs.CONFIG).read_text())
    if damage == "weights":
        (train / runs.WEIGHTS).write_bytes(b"not hdf5")
    elif damage == "other weights":
        arch = json.loads((train / runs.ARCH).read_text())
        arch["rows"][9]["out"] = 24
        (train / runs.ARCH).write_text(json.dumps(arch))
    elif damage == "arch":
        (train / runs.ARCH).write_text("{")
    elif damage == "names":
        (train / runs.CONFIG).write_text(json.dumps({**config, "names": ["one"]}))
    elif damage == "content":
        (train / runs.CONFIG).write_text(json.dumps({**config, "content": {"train": 3}}))
    elif damage == "metrics":
        (train / runs.METRICS).unlink()
    elif damage == "data":
        (train / runs.CONFIG).write_text(json.dumps({**config, "data": str(own_run / "gone")}))
    with pytest.raises((ValueError, OSError), match=message) as raised:
        stage.run(Config(run=own_run, int8=True))
    assert "\n" not in str(raised.value)
    assert files(own_run) == set()


def test_float_variants_do_not_need_the_data(brief_run: Path) -> None:
    path = brief_run / "train" / runs.CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), "data": "/gone"}))
    stage.run(Config(run=brief_run, float32=True))
    assert "model_float32.tflite" in files(brief_run)


def test_the_threshold_is_measured_on_the_file(own_run: Path, believed: Path) -> None:
    from micro_yolo.pipeline import evaluate, predict

    # What the network is surest of, as validation images.
    labels = json.loads((believed / "instances_train.json").read_text())
    data = own_run / "data"
    shutil.copytree(believed, data)
    (data / "instances_val.json").write_text(json.dumps(labels))
    made = stage.run(Config(run=own_run, float32=True, int8=True, samples=8, data=data))
    for file in made.files:
        inner = contracts.inside(file.path.read_bytes())
        measured = evaluate.run(evaluate.Config(model=file.path, data=data, out=own_run / "out")).metrics
        assert inner is not None and inner.thresholds == file.contract.thresholds is not None
        assert runs.plain(inner.thresholds) == measured["thresholds"]
        assert inner.nms.score_threshold == inner.thresholds.all.threshold != 0.25
        assert inner.thresholds.images == 12
        (picture,) = sorted((data / "images").iterdir())[:1]
        out = own_run / f"out_{file.contract.variant}"
        found = predict.run(predict.Config(images=(picture,), model=file.path, out=out))
        written = json.loads(found.detections.read_text())
        assert written["score_threshold"] == inner.nms.score_threshold
        scores = [each["score"] for image in written["images"] for each in image["detections"]]
        assert all(score > inner.nms.score_threshold for score in scores)
        more = predict.Config(images=(picture,), model=file.path, out=out / "more", score=0.01)
        assert len(predict.run(more).images[0]["detections"]) > len(scores)


@pytest.mark.parametrize("head", ["detections", "raw"])
def test_more_than_a_hundred_objects(
    brief_run: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], head: Any
) -> None:
    from micro_yolo.pipeline import evaluate

    config = Config(run=brief_run, float32=True, head=head, score_samples=0, out=tmp_path)
    (usual,) = stage.run(config).files
    (more,) = stage.run(replace(config, max_detections=300, overwrite=True, out=tmp_path / "more")).files
    assert (usual.contract.nms.max_detections, usual.contract.nms.pre_nms) == (100, 1000)
    assert (more.contract.nms.max_detections, more.contract.nms.pre_nms) == (300, 3000)
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    counts = [len(Detector(file.path).detect(picture, 0.001)) for file in (usual, more)]
    assert counts[0] == 100 < counts[1] <= 300
    asked = evaluate.Config(model=more.path, data=tiny_data, out=tmp_path / "out")
    found = evaluate.run(asked).metrics
    assert found["max_detections"] == 300 and "AR300" in found and "AR100" not in found
    fewer = evaluate.run(replace(asked, max_detections=20)).metrics
    records = runs.read_json(next((tmp_path / "out").glob("coco_*.json")))
    assert fewer["max_detections"] == 20 and len(records) <= 4 * 20 and "AR100" in fewer
    asked = replace(asked, model=usual.path, max_detections=300)
    if head == "raw":
        assert evaluate.run(asked).metrics["max_detections"] == 300
    else:
        with pytest.raises(
            ValueError, match=r"gives at most 100 of a picture, got 300; `.*--max-detections 300` makes"
        ):
            evaluate.run(asked)
    evaluate.command(evaluate.Config(run=brief_run, max_detections=300, out=tmp_path / "out"))
    assert "AR300" in capsys.readouterr().out
    for bad in (
        Config(run=brief_run, max_detections=0),
        evaluate.Config(run=brief_run, max_detections=0),
    ):
        with pytest.raises(ValueError, match=r"^max_detections: must be at least 1, got 0$"):
            (stage if isinstance(bad, Config) else evaluate).run(bad)


def test_a_threshold_that_cannot_be_measured_is_told(brief_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Config(run=brief_run, float32=True, overwrite=True)
    (file,) = stage.run(replace(config, score_samples=0)).files
    assert (file.contract.thresholds, file.contract.nms.score_threshold) == (None, 0.25)
    settings = runs.read_json(brief_run / "train" / runs.CONFIG)
    runs.write_json(brief_run / "train" / runs.CONFIG, {**settings, "data": str(brief_run / "gone")})
    stage.command(config)
    said = " ".join(capsys.readouterr().err.split())
    assert "the score threshold stays at 0.25, not measured:" in said and "gone" in said
    stage.command(replace(config, score_samples=0))
    assert capsys.readouterr().err == ""


def test_bad_options(own_run: Path) -> None:
    with pytest.raises(ValueError, match="samples: must be at least 1, got 0"):
        stage.run(Config(run=own_run, samples=0))
    with pytest.raises(FileNotFoundError, match="no such stage"):
        stage.run(Config(run=own_run, from_stage="prune"))
    with pytest.raises(FileNotFoundError, match="no such"):
        stage.run(Config(run=own_run, int8=True, data=own_run / "nothing"))
