"""The contract there and back, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite.contract import Contract, Data, Input, Nms, Output

LABELS = ("red cell", "a/b", "Blutplättchen 血")


def sample() -> Contract:
    shapes = {"boxes": 8, "objectness": 2, "classes": 2 * len(LABELS)}
    outputs = [
        Output(f"{row}_{kind}", kind, row, stride, (1, 64 // stride, 96 // stride, n), "int8", 1 / 256, -128, 10 + i)
        for row, stride in (("l16", 32), ("l23", 16))
        for i, (kind, n) in enumerate(shapes.items())
    ]
    return Contract(
        name="cells",
        arch="micro_yolo",
        variant="int8",
        input=Input("image", (1, 64, 96, 3), "uint8", 1.0, 0, 0),
        outputs=tuple(outputs),
        anchors={"l23": ((10.0, 12.5), (8.0, 9.0)), "l16": ((60.0, 40.0), (20.0, 90.0))},
        labels=LABELS,
        model_sha256=hashlib.sha256(b"model").hexdigest(),
        nms=Nms(0.3, 0.5, 50, 500),
        parents={"train/arch.json": "00"},
        data=Data("/data/cells", 0.1, 3),
        versions={"numpy": "2"},
    )


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(sample().to_json()), **changes})


def test_there_and_back() -> None:
    assert Contract.from_json(sample().to_json()) == sample()


def test_heads_follow_the_outputs() -> None:
    contract = sample()
    assert [(head.row_name, head.stride) for head in contract.heads] == [("l16", 32), ("l23", 16)]
    assert contract.heads[1].anchors == ((10.0, 12.5), (8.0, 9.0))
    assert contract.size == (64, 96)
    assert contract.output("l23", "classes").shape == (1, 4, 6, 6)


def test_unknown_keys_of_this_format_are_ignored() -> None:
    assert Contract.from_json(changed(comment="added later")) == sample()


def input_with(**changes: Any) -> dict[str, Any]:
    return {**json.loads(sample().to_json())["input"], **changes}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON"),
        ("[]", "not a contract of ours"),
        ('{"format": "other/1"}', "not a contract of ours"),
        (changed(format="micro-yolo/2"), "format micro-yolo/2 is not known here; allowed: micro-yolo/1"),
        (changed(labels=["a"]), "must be .* for 1 labels and 2 anchors, got"),
        (changed(labels=[]), "must not be empty"),
        (changed(labels="abc"), "labels: must be a list"),
        (changed(head="nms"), "head: unknown, got 'nms'; allowed: detections, raw"),
        (changed(anchors={"l16": [[1, 2]]}), "outputs: must be"),
        (changed(anchors=[]), "object has no attribute"),
        (changed(input=input_with(resize="crop")), "allowed: stretch, letterbox, mediapipe"),
        (changed(input=input_with(dtype="int3")), "dtype: unknown, got 'int3'"),
        (changed(input=input_with(scale=0)), "scale: must be positive for uint8, got 0"),
        (changed(input=input_with(shape=[1, 64, 96, 1])), "input.shape: must be 1, height, width, 3"),
        (changed(nms={"score_threshold": 7}), "thresholds must be in 0..1, got 7"),
        (changed(nms={"max_detections": 0}), "counts must be at least 1"),
    ],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^here: .*{message}") as raised:
        Contract.from_json(text, "here")
    assert "\n" not in str(raised.value)


def test_missing_keys_are_named() -> None:
    value = json.loads(sample().to_json())
    del value["labels"], value["input"]
    with pytest.raises(ValueError, match="input, labels missing"):
        Contract.from_json(json.dumps(value))


def test_beside_the_model(tmp_path: Path) -> None:
    model = tmp_path / "model_int8.tflite"
    with pytest.raises(FileNotFoundError, match=r"model_int8.json: the contract of model_int8.tflite is missing"):
        contracts.load(model)
    (tmp_path / "model_int8.json").write_text(sample().to_json())
    assert contracts.load(model) == sample()


def test_verify() -> None:
    contracts.verify(sample(), b"model")
    with pytest.raises(ValueError, match=r"x\.tflite: is not the file its contract was written for"):
        contracts.verify(sample(), b"modem", "x.tflite")
