"""The detections head: decoding and suppression in the file say what tflite.decode says of the same file's grids."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.model.spec import Arch
from micro_yolo.pipeline import evaluate, predict
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import inspect, suppression
from micro_yolo.tflite.convert import VARIANTS
from micro_yolo.tflite.decode import Detections, iou
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.head_check import check_detections, with_detections
from micro_yolo.tflite.interpreter import Interpreter

VALUES = {"score_threshold": 0.001, "iou_threshold": 0.6, "max_detections": 100}


def file(exported: Path, name: str) -> Path:
    return exported / "export" / f"model_{name}.tflite"


def paired(found: Detections, others: Detections) -> list[float]:
    """For each object of `found` its best overlap with one of the same class and score among `others`."""
    alike = (found.classes[:, None] == others.classes) & (np.abs(found.scores[:, None] - others.scores) < 1e-4)
    return np.where(alike, iou(found.boxes_xyxy, others.boxes_xyxy), 0).max(axis=1, initial=0).tolist()


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_both_heads_find_the_same(exported: Path, inputs: list[np.ndarray], variant: str) -> None:
    detections, raw = Detector(file(exported, variant)), Detector(file(exported, f"{variant}_raw"))
    overlaps = []
    for pixels in inputs:
        found, expected = detections.found(pixels, 0.3), raw.found(pixels, 0.3)
        assert len(expected) > 50
        overlaps += paired(found, expected) + paired(expected, found)
    # Of boxes with equal scores, which int8 has many of, either may suppress the other.
    assert np.mean(np.array(overlaps) > 0.999) > (0.99 if variant == "int8" else 0.999)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_takes_the_head(exported: Path, inputs: list[np.ndarray], variant: str) -> None:
    path = file(exported, f"{variant}_raw")
    contract, data = contracts.load(path), path.read_bytes()
    labels, coding = contract.labels, contract.coding
    made = with_detections(data, contract.grids, len(labels), inputs[:4], coding=coding)
    body, whole = inspect.read(data), inspect.read(made)
    # The body is what it was, integers and all.
    assert whole.ops[: len(body.ops)] == body.ops
    assert whole.tensors[: len(body.tensors)] == body.tensors
    assert {tensor.dtype for tensor in whole.tensors[len(body.tensors) :]} == {"float32", "int32"}
    assert tuple(whole.signature_outputs) == suppression.OUTPUTS
    assert [name for name in whole.op_counts() if ":" in name] == ["CUSTOM:TFLite_Detection_PostProcess"]


def test_outputs_are_in_the_order_and_meaning_of_ssd_models(exported: Path, inputs: list[np.ndarray]) -> None:
    interpreter = Interpreter(file(exported, "int8").read_bytes())
    parsed = inspect.read(file(exported, "int8"))
    assert [parsed.tensor(index).shape for index in parsed.outputs] == [(1, 100, 4), (1, 100), (1, 100), (1,)]
    assert [parsed.tensor(index).dtype for index in parsed.outputs] == ["float32"] * 4
    assert parsed.tensor(parsed.inputs[0]).dtype == "uint8"
    assert tuple(parsed.signature_outputs.values()) == parsed.outputs
    interpreter.look(inputs[0])
    boxes, classes, scores, count = (interpreter.value(name)[0] for name in suppression.OUTPUTS)
    n = int(count)
    assert 0 < n <= 100
    assert (np.diff(scores[:n]) <= 0).all() and (scores[:n] >= 0.001).all()
    assert set(classes[:n]) <= {0, 1, 2, 3, 4}
    ymin, xmin, ymax, xmax = boxes[:n].T
    assert (ymin <= ymax).all() and (xmin <= xmax).all()
    assert boxes.min() >= -1e-6 and boxes.max() <= 1 + 1e-6


def test_scores_are_not_crushed_by_a_shared_scale(exported: Path, inputs: list[np.ndarray]) -> None:
    detections, raw = Detector(file(exported, "int8")), Detector(file(exported, "int8_raw"))
    for pixels in inputs[:4]:
        best = max(float(np.multiply(a, b).max()) for a, b in best_products(raw, pixels))
        assert detections.found(pixels, 0).scores[0] == pytest.approx(best, abs=1e-6)


def best_products(raw: Detector, pixels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for grids in raw.raw(pixels).values():
        classes = grids["classes"]
        found.append((grids["objectness"][..., None], classes.reshape(*classes.shape[:2], 2, -1)))
    return found


def test_average_precision_is_the_same(exported: Path, believed: Path, tmp_path: Path) -> None:
    names = ("int8", "int8_raw", "float32", "float32_raw")
    scores = [
        evaluate.run(evaluate.Config(model=file(exported, name), data=believed, split="train", out=tmp_path))
        for name in names
    ]
    for one, other in (scores[:2], scores[2:]):
        assert one.AP > 50
        assert one.AP == pytest.approx(other.AP, abs=0.2)
        assert one.AP50 == pytest.approx(other.AP50, abs=0.2)
    assert {path.name for path in tmp_path.glob("coco_*")} == {f"coco_{name}_train.json" for name in names}


def test_predict_takes_both(exported: Path, tiny_data: Path, tmp_path: Path) -> None:
    found = []
    for name in ("int8", "int8_raw"):
        out = tmp_path / name
        images = (tiny_data / "images",)
        predict.run(predict.Config(images=images, model=file(exported, name), out=out, score=0.3))
        written = json.loads((out / "detections.json").read_text())["images"]
        found.append(sum(len(image["detections"]) for image in written))
    assert found[0] > 0
    assert found[0] == pytest.approx(found[1], rel=0.05)


def test_what_only_one_head_can_do(exported: Path, inputs: list[np.ndarray]) -> None:
    detector = Detector(file(exported, "int8"))
    with pytest.raises(ValueError, match=r"model_int8\.tflite: has no grids, .*--head raw"):
        detector.raw(inputs[0])
    with pytest.raises(ValueError, match=r"iou: .*suppresses by itself, at 0\.6, got 0\.5; .*--head raw"):
        detector.found(inputs[0], iou_threshold=0.5)
    with pytest.raises(ValueError, match="suppresses by itself"):
        evaluate.run(evaluate.Config(model=file(exported, "int8"), iou=0.5))
    assert len(detector.found(inputs[0], iou_threshold=0.6)) == len(detector.found(inputs[0]))


def test_contract_of_detections(exported: Path) -> None:
    contract = contracts.load(file(exported, "int8"))
    assert (contract.head, contract.anchors, contract.grids) == ("detections", {}, ())
    assert contract.coding == "detections/1"
    assert contracts.load(file(exported, "int8_raw")).coding == "yolo-sigmoid-exp4/1"
    assert [(output.name, output.kind) for output in contract.outputs] == [
        ("detection_boxes", "boxes"),
        ("detection_classes", "classes"),
        ("detection_scores", "scores"),
        ("num_detections", "count"),
    ]
    assert contracts.Contract.from_json(contract.to_json()) == contract
    text = json.loads(contract.to_json())
    text["outputs"][0]["shape"] = [1, 10, 4]
    with pytest.raises(ValueError, match=r"here: outputs: must be .* of 100 detections"):
        contracts.Contract.from_json(json.dumps(text), "here")


def test_settings_are_in_the_file(exported: Path) -> None:
    told = suppression.told(file(exported, "float32").read_bytes())
    assert told == suppression.Told(5, 0.001, 0.6, 100)
    assert suppression.told(file(exported, "float32_raw").read_bytes()) is None


def test_attach_refuses_another_networks_file(exported: Path, tiny: Arch) -> None:
    data = file(exported, "int8_raw").read_bytes()
    with pytest.raises(ValueError, match=r"head: output d1_classes must have shape \[1, 4, 6, 14\]"):
        suppression.attach(data, tiny.detections, 7, **VALUES)
    with pytest.raises(ValueError, match=r"head: output d1_boxes must have shape"):
        suppression.attach(file(exported, "int8").read_bytes(), tiny.detections, 5, **VALUES)


def wrong_anchor(rows: Any) -> Any:
    return [replace(rows[0], anchors=((31.0, 30.0), rows[0].anchors[1])), *rows[1:]]


def wrong_stride_order(rows: Any) -> Any:
    return [replace(rows[0], anchors=tuple((h, w) for w, h in rows[0].anchors)), *rows[1:]]


@pytest.mark.parametrize("wrong", [wrong_anchor, wrong_stride_order])
def test_check_sees_a_head_that_decodes_wrongly(
    exported: Path, inputs: list[np.ndarray], wrong: Callable[[Any], Any]
) -> None:
    path = file(exported, "float32_raw")
    contract, data = contracts.load(path), path.read_bytes()
    made = suppression.attach(data, wrong(contract.grids), 5, **VALUES)
    with pytest.raises(ValueError, match="head: the file finds class"):
        check_detections(made, data, contract.grids, inputs[:2])
    with pytest.raises(ValueError, match="head: the file has no TFLite_Detection_PostProcess"):
        check_detections(data, data, contract.grids, inputs[:1])
    few = suppression.attach(data, contract.grids, 5, score_threshold=0.9, iou_threshold=0.6, max_detections=100)
    check_detections(few, data, contract.grids, inputs[:2])
