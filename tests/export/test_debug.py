"""The quantization debugger: float twins, the cause it names for damage done on purpose, and what it leaves."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.pipeline import debug
from micro_yolo.pipeline.store import runs
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import differences, edit, inspect, twins
from micro_yolo.tflite.interpreter import Interpreter


@pytest.fixture(scope="module")
def pair(exported: Path) -> tuple[bytes, bytes]:
    whole, integer = ((exported / "export" / f"model_{name}_raw.tflite").read_bytes() for name in ("float32", "int8"))
    return whole, integer


@pytest.fixture(scope="module")
def layers(pair: tuple[bytes, bytes]) -> list[twins.Pair]:
    return twins.match(*pair)


def outputs(data: bytes, image: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
    interpreter = Interpreter(data, **options)
    interpreter.look(image)
    return {name: interpreter.value(name) for name in interpreter.output_tensors}


def layer_called(layers: list[twins.Pair], name: str) -> twins.Pair:
    return next(layer for layer in layers if layer.name == name)


def test_every_layer_is_matched_and_named(layers: list[twins.Pair], pair: tuple[bytes, bytes], deployed: Any) -> None:
    ops = inspect.read(pair[1]).ops
    assert len(layers) == sum(op.name not in ("QUANTIZE", "DEQUANTIZE") for op in ops if op.subgraph == 0)
    assert len({layer.name for layer in layers}) == len(layers)
    convolutions = {layer.name for layer in layers if layer.op in ("CONV_2D", "DEPTHWISE_CONV_2D")}
    assert convolutions == {layer.name for layer in deployed.layers if "kernel" in str([w.name for w in layer.weights])}


def test_twins_beside_change_nothing_and_get_the_same_inputs(
    layers: list[twins.Pair], pair: tuple[bytes, bytes], inputs: list[np.ndarray]
) -> None:
    watched, twin_of = twins.beside(*pair, layers)
    before = outputs(pair[1], inputs[0], keep_tensors=True)
    after = outputs(watched, inputs[0], keep_tensors=True)
    assert all((before[name] == after[name]).all() for name in before)
    interpreter = Interpreter(watched, keep_tensors=True)
    interpreter.look(inputs[0])
    concat, up = layer_called(layers, "cat_concat"), layer_called(layers, "up_up")
    tensor = inspect.read(pair[1]).tensor(up.int8_output)
    dequantized = (interpreter.tensor(up.int8_output).astype(np.float32) - tensor.zero_points[0]) * tensor.scales[0]
    joined = interpreter.tensor(twin_of[concat.name])
    step = inspect.read(pair[1]).tensor(concat.int8_output).scales[0]
    np.testing.assert_allclose(joined[..., : dequantized.shape[-1]], dequantized, atol=step)


def test_all_layers_in_float_say_what_the_float_file_says(
    layers: list[twins.Pair], pair: tuple[bytes, bytes], inputs: list[np.ndarray]
) -> None:
    kept = twins.instead(*pair, layers)
    expected, whole, integer = outputs(kept, inputs[0]), outputs(pair[0], inputs[0]), outputs(pair[1], inputs[0])
    for name, value in expected.items():
        # An output has 256 levels, of which 1 is none.
        assert np.abs(value - np.minimum(whole[name], 255 / 256)).max() <= 1 / 512 + 1e-5
    assert max(np.abs(integer[name] - whole[name]).max() for name in whole) > 2 / 256
    (given,) = inspect.read(kept).signature_inputs.values()
    assert inspect.read(kept).tensor(given).dtype == "uint8"


def test_one_layer_in_float_leaves_the_others_int8(layers: list[twins.Pair], pair: tuple[bytes, bytes]) -> None:
    found = inspect.read(twins.instead(*pair, [layer_called(layers, "l6_dw")]))
    main = [op for op in found.ops if op.name == "DEPTHWISE_CONV_2D"]
    kinds = [found.tensor(op.outputs[0]).dtype for op in main]
    assert sorted(kinds) == ["float32"] + ["int8"] * (len(main) - 1)


def test_files_of_different_networks_are_refused(pair: tuple[bytes, bytes]) -> None:
    graph = edit.graph_of(pair[0])
    graph.subgraphs[0].operators.pop()
    with pytest.raises(ValueError, match=r"must have the same operators, got .* different from number"):
        twins.match(edit.pack(graph), pair[1])
    with pytest.raises(ValueError, match="no operator of the second file gives int8"):
        twins.match(pair[0], pair[0])
    with pytest.raises(ValueError, match="at least one image"):
        differences.measure(*pair, [])


def _narrow(tensor: Any, graph: Any, op: Any) -> None:
    tensor.quantization.scale = tensor.quantization.scale / 8


def _wide(tensor: Any, graph: Any, op: Any) -> None:
    tensor.quantization.scale = tensor.quantization.scale * 16


def _coarse(tensor: Any, graph: Any, op: Any) -> None:
    weights = graph.buffers[graph.subgraphs[0].tensors[op.inputs[1]].buffer]
    kept = np.frombuffer(bytes(weights.data), np.int8).astype(int)
    weights.data = np.clip(np.rint(kept / 64) * 64, -127, 127).astype(np.int8).view(np.uint8)


@pytest.mark.parametrize(
    ("damage", "cause"), [(_narrow, "saturation: "), (_wide, "range too wide: "), (_coarse, "rounding of its weights")]
)
def test_damage_is_found_where_it_is_and_called_by_its_name(
    damage: Callable[..., None],
    cause: str,
    layers: list[twins.Pair],
    pair: tuple[bytes, bytes],
    inputs: list[np.ndarray],
) -> None:
    # Its output goes into an addition and a resize only, which take any scale.
    hit = layer_called(layers, "l6_project")
    graph = edit.graph_of(pair[1])
    main = graph.subgraphs[0]
    damage(main.tensors[hit.int8_output], graph, main.operators[hit.int8_op])
    worst = differences.worst(differences.measure(pair[0], edit.pack(graph), inputs[:3]), 1)[0]
    assert worst.name == hit.name
    assert worst.cause.startswith(cause)
    before = {error.name: error for error in differences.measure(*pair, inputs[:3])}[hit.name]
    assert worst.own_snr_db < before.own_snr_db - 6
    assert (worst.saturation > 0.01) == (damage is _narrow)


def test_an_output_of_another_shape_than_the_file_says_is_refused(
    layers: list[twins.Pair], pair: tuple[bytes, bytes], inputs: list[np.ndarray]
) -> None:
    """The runtime works shapes out anew, here from a stride; nothing in the file contradicts itself."""
    graph = edit.graph_of(pair[1])
    last = next(layer for layer in reversed(layers) if layer.op == "CONV_2D")
    graph.subgraphs[0].operators[last.int8_op].builtinOptions.strideH = 100
    with pytest.raises(ValueError, match=rf"^m: the runtime cannot run the model.* output of {last.name} must be \["):
        differences.measure(pair[0], edit.pack(graph), inputs[:1], name="m")


def test_layers_without_a_scale_are_refused(layers: list[twins.Pair], pair: tuple[bytes, bytes]) -> None:
    graph = edit.graph_of(pair[1])
    graph.subgraphs[0].tensors[layers[2].int8_output].quantization = None
    with pytest.raises(
        ValueError, match=rf"must have the same operators, got {layers[2].name} in int8 without a scale"
    ):
        twins.match(pair[0], edit.pack(graph))


def test_a_constant_that_is_cut_is_refused(
    layers: list[twins.Pair], pair: tuple[bytes, bytes], inputs: list[np.ndarray]
) -> None:
    hit = layer_called(layers, "l6_project")
    graph = edit.graph_of(pair[1])
    weights = graph.subgraphs[0].tensors[graph.subgraphs[0].operators[hit.int8_op].inputs[1]]
    buffer = graph.buffers[weights.buffer]
    buffer.data = buffer.data[: len(buffer.data) // 2]
    with pytest.raises(ValueError, match=r"the int8 file: the .tflite is damaged or truncated: constant '.*int8 \["):
        differences.measure(pair[0], edit.pack(graph), inputs[:1])


def _no_weights(weights: Any, buffer: Any) -> None:
    buffer.data = None


def _of_another_type(weights: Any, buffer: Any) -> None:
    weights.type = 3


def _of_another_shape(weights: Any, buffer: Any) -> None:
    weights.shape = weights.shape[::-1]


def _too_few_scales(weights: Any, buffer: Any) -> None:
    weights.quantization.scale = weights.quantization.scale[:3]


def _no_such_dimension(weights: Any, buffer: Any) -> None:
    weights.quantization.quantizedDimension = 7


@pytest.mark.parametrize(
    "damage", [_no_weights, _of_another_type, _of_another_shape, _too_few_scales, _no_such_dimension]
)
def test_weights_that_are_not_as_the_file_says_are_refused(
    damage: Callable[..., None], layers: list[twins.Pair], pair: tuple[bytes, bytes]
) -> None:
    hit = layer_called(layers, "l6_project")
    graph = edit.graph_of(pair[1])
    weights = graph.subgraphs[0].tensors[graph.subgraphs[0].operators[hit.int8_op].inputs[1]]
    damage(weights, graph.buffers[weights.buffer])
    with pytest.raises(ValueError, match=r"^l6_project: the int8 file must have the same operators as the float32"):
        differences._weights_snr(pair[0], edit.pack(graph), layers)


def test_figures_are_those_of_the_definition(
    layers: list[twins.Pair], pair: tuple[bytes, bytes], inputs: list[np.ndarray]
) -> None:
    error = {error.name: error for error in differences.measure(*pair, inputs[:2])}["l7_conv"]
    layer = layer_called(layers, "l7_conv")
    whole, integer = (Interpreter(data, keep_tensors=True) for data in pair)
    tensor = inspect.read(pair[1]).tensor(layer.int8_output)
    values: list[list[np.ndarray]] = [[], []]
    for image in inputs[:2]:
        for interpreter in (whole, integer):
            interpreter.look(image)
        values[0].append(whole.tensor(layer.float_output).astype(float))
        values[1].append((integer.tensor(layer.int8_output).astype(float) - tensor.zero_points[0]) * tensor.scales[0])
    f, q = (np.stack(each).reshape(-1) for each in values)
    assert error.snr_db == pytest.approx(10 * np.log10((f**2).sum() / ((f - q) ** 2).sum()), abs=1e-3)
    assert error.cosine == pytest.approx(f @ q / np.linalg.norm(f) / np.linalg.norm(q), abs=1e-5)
    assert error.unused == pytest.approx(1 - (q.max() - q.min()) / tensor.scales[0] / 255, abs=1e-5)
    assert error.from_saturation + error.from_rounding + error.from_weights >= 1


@pytest.fixture(scope="module")
def debugged(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Path(shutil.copytree(exported, tmp_path_factory.mktemp("debug") / "tiny"))
    debug.run(debug.Config(run=run, images=3, keep=(2, 5)))
    return run


def test_the_command_keeps_the_worst_in_float_and_measures_the_files(debugged: Path) -> None:
    out = debugged / runs.DEBUG
    found = runs.read_json(out / runs.DEBUGGED)
    own = {layer["name"]: layer["own_snr_db"] for layer in found["layers"] if layer["own_snr_db"] is not None}
    assert found["worst"] == sorted(own, key=own.__getitem__)[:10]
    assert [row["name"] for row in found["measured"]] == ["float32", "int8", "keep2", "keep5"]
    for row in found["measured"]:
        metrics = runs.read_json(out / f"metrics_{Path(row['path']).stem.removeprefix('model_')}.json")
        assert (metrics["AP"], metrics["AP50"]) == (row["AP"], row["AP50"])
        assert metrics["sha256"] == runs.sha256(Path(row["path"]))
    assert found["measured"][3]["kept"] == found["worst"][:5]
    kept = out / "model_keep5.tflite"
    contracts.verify(contracts.load(kept), kept.read_bytes())
    assert found["files"]["int8"]["sha256"] == runs.sha256(debugged / "export" / "model_int8_raw.tflite")
    assert (out / debug.PICTURE).read_bytes().startswith(b"\x89PNG")


def test_a_run_without_files_gets_them(own_run: Path) -> None:
    debug.run(debug.Config(run=own_run, images=1, keep=()))
    found = runs.read_json(own_run / runs.DEBUG / runs.DEBUGGED)
    assert Path(found["files"]["int8"]["path"]) == own_run / "export" / "train" / "model_int8_raw.tflite"
    assert [row["name"] for row in found["measured"]] == ["float32", "int8"]


def test_impossible_settings_are_refused(own_run: Path) -> None:
    for config, text in (
        (debug.Config(run=own_run, images=0), "images, threads: must be at least 1"),
        (debug.Config(run=own_run, keep=(0,)), "keep: must be at least 1"),
        (debug.Config(run=own_run / "none"), "no such run"),
    ):
        with pytest.raises((ValueError, OSError), match=text):
            debug.run(replace(config))
    assert not (own_run / runs.DEBUG).exists()
