"""The contract there and back, and what it refuses."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import heads
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
        coding=heads.IMPLIED,
    )


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(sample().to_json()), **changes})


def test_there_and_back() -> None:
    assert Contract.from_json(sample().to_json()) == sample()


def test_grids_follow_the_outputs() -> None:
    contract = sample()
    assert [(grid.row_name, grid.stride) for grid in contract.grids] == [("l16", 32), ("l23", 16)]
    assert contract.grids[1].anchors == ((10.0, 12.5), (8.0, 9.0))
    assert contract.size == (64, 96)
    assert [output.shape for output in contract.outputs if output.row == "l23"] == [
        (1, 4, 6, 8),
        (1, 4, 6, 2),
        (1, 4, 6, 6),
    ]


@pytest.mark.parametrize("head", ["raw", "detections"])
def test_without_a_coding_it_is_todays(head: str) -> None:
    golden = Path(__file__).parents[1] / "golden"
    said, absent = ((golden / f"contract_{head}{end}.json").read_text() for end in ("", "_absent"))
    assert "coding" in json.loads(said) and "coding" not in json.loads(absent)
    assert Contract.from_json(absent) == Contract.from_json(said)
    assert Contract.from_json(absent).to_json() == said


def test_unknown_keys_of_this_format_are_ignored() -> None:
    assert Contract.from_json(changed(comment="added later")) == sample()


def input_with(**changes: Any) -> dict[str, Any]:
    return {**json.loads(sample().to_json())["input"], **changes}


def output_with(**changes: Any) -> dict[str, Any]:
    return {**json.loads(sample().to_json())["outputs"][0], **changes}


def rest() -> list[dict[str, Any]]:
    return list(json.loads(sample().to_json())["outputs"][1:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON"),
        ("[]", "not a contract of ours"),
        ('{"format": "other/1"}', "not a contract of ours"),
        (changed(format="micro-yolo/2"), "format micro-yolo/2 is not known here; allowed: micro-yolo/1"),
        (changed(labels=["a"]), "must be .* for 1 labels and 2 anchors, got"),
        (changed(labels=[]), "must not be empty"),
        (changed(labels="abc"), 'labels: must be a list of strings, got "abc"'),
        (changed(labels=["a", 1]), r"labels\[1\]: must be a string, got 1"),
        (changed(coding="x/1"), "coding: unknown, got 'x/1'; allowed for raw: yolo-sigmoid-exp4/1; update micro-yolo"),
        (changed(coding="detections/1"), "coding: unknown, got 'detections/1'; allowed for raw: yolo-sigmoid-exp4/1"),
        (changed(coding="x/1", anchors=3), "coding: unknown, got 'x/1'"),
        (changed(coding=None), "coding: must be a string, got null"),
        (changed(head="nms"), "head: unknown, got 'nms'; allowed: detections, raw"),
        (changed(anchors={"l16": [[1, 2]]}), "outputs: must be"),
        (changed(anchors=[]), r"anchors: must map rows to lists of \[width, height\], got \[\]"),
        (changed(anchors={"l16": [[1, 2, 3]]}), r"anchors: must map rows to lists of \[width, height\], got \{"),
        (changed(anchors={"": [[1, 2]]}, outputs=[output_with(row="")]), "anchors: a row must have a name"),
        (changed(outputs=[output_with(stride=8), *rest()]), "l16_boxes.stride: must be at least 1 and that of its row"),
        (changed(outputs={}), "outputs: must be a list of mappings, got {}"),
        (changed(outputs=[3]), r"outputs\[0\]: must be a mapping, got 3"),
        (
            changed(outputs=[{"name": "a"}]),
            r"outputs\[0\]: dtype, index, kind, row, scale, shape, stride, zero_point missing",
        ),
        (changed(input=None), "input: must be a mapping, got null"),
        (changed(input=input_with(shape=[1, 64.5, 96, 3])), r"input.shape\[1\]: must be a whole number, got 64.5"),
        (changed(input=input_with(scale=True)), "input.scale: must be a number, got true"),
        (changed(input=input_with(scale=float("nan"))), "input.scale: must be a number, got NaN"),
        (changed(input=input_with(name="a\nb")), "input and outputs: a name must be 1 to 200 letters"),
        (changed(name="\ud800"), r'name: must be a string, got "\\ud800"'),
        (changed(data={"path": 3}), "data.path: must be a string, got 3"),
        (changed(format="micro-yolo/2\n"), r"format micro-yolo/2\\n is not known here"),
        (b"\xff", "must be JSON, got bytes that are not UTF-8"),
        ("[" * 100_000, "must be JSON, got one that is nested too deeply"),
        ("9" * 5000, "must be JSON, got a number with too many digits"),
        (changed(input=input_with(resize="crop")), "allowed: stretch, letterbox, mediapipe"),
        (changed(input=input_with(dtype="int3")), "dtype: unknown, got 'int3'"),
        (changed(input=input_with(scale=0)), "scale: must be positive for uint8, got 0"),
        (changed(input=input_with(shape=[1, 64, 96, 1])), "input.shape: must be 1, height, width, 3"),
        (changed(nms={"score_threshold": 7}), "thresholds must be in 0..1, got 7"),
        (changed(nms={"max_detections": 0}), "counts must be at least 1"),
    ],
)
def test_refuses(text: str | bytes, message: str) -> None:
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


# What Python says of a value of the wrong kind.
PYTHONS = (
    " object ",
    "object has",
    "attribute",
    "hashable",
    "subscript",
    "iterable",
    "unpack",
    "argument",
    "NoneType",
    "'int'",
    "'str'",
    "'list'",
    "'dict'",
    "float()",
    "int()",
    "literal",
    "codec",
    "recursion",
    "Error",
    "expected",
    "operand",
    "instances",
    "index out",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


@given(st.data())
def test_any_change_is_taken_or_refused_in_plain_words(data: st.DataObject) -> None:
    value = json.loads((Path(__file__).parents[1] / f"golden/contract_{data.draw(HEADS)}.json").read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from(sorted(places(value), key=str)))
        within = value
        for key in way:
            within = within[key]
        others = [copy.deepcopy(within[key]) for key in (within if isinstance(within, dict) else range(len(within)))]
        what = data.draw(st.sampled_from(("replace", "swap", "remove")))
        if what == "remove":
            del within[last]
        else:
            within[last] = data.draw(JSON if what == "replace" else st.sampled_from(others))
    try:
        contract = Contract.from_json(json.dumps(value), "here.json")
    except ValueError as error:
        message = str(error)
        assert message.startswith("here.json: ")
        assert message.isprintable() and len(message) < 700
        # What is quoted is the file's own.
        assert not [phrase for phrase in PYTHONS if phrase in message.partition(", got ")[0]]
        assert not isinstance(error, UnicodeError)
    else:
        assert Contract.from_json(contract.to_json()) == contract


HEADS = st.sampled_from(("raw", "detections"))
