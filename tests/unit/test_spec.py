"""A table is checked when it is made, and goes to JSON and back unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro_yolo.model.spec import Arch, DetectionRow, Row
from micro_yolo.model.zoo import ARCHS

ANCHORS = ((10.0, 20.0), (30.0, 40.0))


def table(*middle: Row, **kw: Any) -> Arch:
    """A small valid network, with rows between its first convolution and its head."""
    return Arch(
        "net", (Row("c1", "conv", 8, k=3, s=2), *middle, Row("d", "detect", anchors=ANCHORS)), size=(64, 96), **kw
    )


def test_what_follows_from_a_table() -> None:
    arch = table(
        Row("c2", "conv", 16, s=2),
        Row("up", "upsample", s=2),
        Row("cat", "concat", src=("up", "c1")),
        Row("m", "mbconv", 24, k=3, mid=48, skip=True),
        classes=3,
    )
    assert arch.channels == {"input": 3, "c1": 8, "c2": 16, "up": 16, "cat": 24, "m": 24, "d": 2 * (5 + 3)}
    assert arch.strides == {"input": 1, "c1": 2, "c2": 4, "up": 2, "cat": 2, "m": 2, "d": 2}
    assert arch.sources["cat"] == ("up", "c1") and arch.sources["m"] == ("cat",) and arch.sources["c1"] == ("input",)
    assert arch.detections == [DetectionRow("d", 2, ANCHORS)]
    assert arch.row("m").mid == 48
    assert arch.act_of(arch.row("m")) == "relu6"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [Row("l9", "mbconv", 256, k=3, s=2, mid=16, skip=True)],
            "net.l9: skip needs s=1 and equal widths, got s=2, 8 -> 256",
        ),
        ([Row("a", "conv", 8, src=("c11",))], "net.a: unknown source 'c11'; a row reads rows above it; nearest: c1"),
        ([Row("a", "conv", 8, src=("a",))], "net.a: unknown source 'a'; a row reads rows above it"),
        (
            [Row("a", "cnov", 8)],
            "net.a: unknown op 'cnov'; allowed: conv, separable, mbconv, pep, fca, pool, upsample, concat, detect; "
            "nearest: conv",
        ),
        ([Row("c1", "conv", 8)], "net.c1: this name is used twice"),
        ([Row("c1_x", "conv", 8)], "net.c1_x: its layers could not be told from those of row 'c1'"),
        (
            [Row("A-1", "conv", 8)],
            "net: a row's name is lower-case letters, digits and _, and not 'input', got 'A-1'",
        ),
        (
            [Row("input", "conv", 8)],
            "net: a row's name is lower-case letters, digits and _, and not 'input', got 'input'",
        ),
        ([Row("a", "conv")], "net.a: conv needs out of at least 1, got 0"),
        ([Row("a", "pep", 8, pre=4)], "net.a: pep needs mid of at least 1, got 0"),
        ([Row("a", "conv", 8, k=0)], "net.a: k must be a whole number, above 0, got 0"),
        ([Row("a", "conv", -8)], "net.a: out must be a whole number, not negative, got -8"),
        ([Row("a", "conv", 8.0)], "net.a: out must be a whole number, not negative, got 8.0"),  # type: ignore[arg-type]
        ([Row("a", "conv", 8, mid=4)], "net.a: conv has no mid, got 4; allowed: out, k, s, act, bn"),
        ([Row("a", "upsample", s=1)], "net.a: upsample needs s of at least 2, got 1"),
        ([Row("a", "upsample", s=4)], "net.a: upsample by 4 needs a stride it divides, got 2"),
        ([Row("a", "conv", 8, act="swish")], "net.a: unknown activation 'swish'; allowed: relu6, relu, leaky, linear"),
        ([Row("a", "concat")], "net.a: concat needs two or more sources, got c1"),
        ([Row("a", "conv", 8, src=("c1", "c1"))], "net.a: conv reads one source, got c1, c1"),
        (
            [Row("a", "pool", k=2, s=2), Row("b", "concat", src=("a", "c1"))],
            "net.b: concat needs sources of equal stride, got a at stride 4, c1 at stride 2",
        ),
        ([Row("a", "separable", 8, k=3, src=("input",))], "net.a: only conv rows read the image, got separable"),
        ([Row("a", "conv", 8), Row("b", "conv", 8, src=("c1",))], "net.a: no row reads its output"),
        ([Row("e", "detect", anchors=ANCHORS)], "net.d: reads the detect row 'e'; name another in src"),
        ([Row("e", "detect")], "net.e: detect needs anchors, got none"),
        (
            [Row("e", "detect", anchors=((1, -1),))],
            "net.e: an anchor is (width, height) in pixels above 0, got (1, -1)",
        ),
        (
            [Row("e", "detect", anchors=((1, float("nan")),))],
            "net.e: an anchor is (width, height) in pixels above 0, got (1, nan)",
        ),
    ],
)
def test_a_wrong_table_names_the_row(rows: list[Row], message: str) -> None:
    with pytest.raises(ValueError) as error:
        table(*rows)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("kw", "message"),
    [
        ({"classes": 0}, "net: classes must be a whole number of at least 1, got 0"),
        ({"classes": True}, "net: classes must be a whole number of at least 1, got True"),
        ({"act": "mish"}, "net: unknown activation 'mish'; allowed: relu6, relu, leaky, linear"),
    ],
)
def test_wrong_settings(kw: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        table(**kw)
    assert str(error.value) == message


def test_a_network_needs_rows_a_head_and_a_name() -> None:
    with pytest.raises(ValueError, match=r"^net: no rows$"):
        Arch("net", ())
    with pytest.raises(ValueError, match=r"^net: needs a detect row, got none$"):
        Arch("net", (Row("a", "conv", 8),))
    with pytest.raises(ValueError, match=r"^arch: name must be letters"):
        Arch("../net", (Row("a", "conv", 8),))


@pytest.mark.parametrize(
    ("size", "got", "nearest"),
    [
        ((300, 416), "300x416", "288x416 or 320x416"),
        ((300, 300), "300x300", "288x288 or 320x320"),
        ((10, 10), "10x10", "32x32"),
    ],
)
def test_a_size_that_does_not_fit_is_told_the_nearest(size: tuple[int, int], got: str, nearest: str) -> None:
    with pytest.raises(ValueError) as error:
        ARCHS["micro_yolo"].resized(size)
    assert str(error.value) == (
        f"micro_yolo: size (height x width) must be multiples of 32, got {got}; nearest: {nearest}"
    )


@pytest.mark.parametrize("size", [(0, 32), (-32, 32), (32.0, 32), (32,)])
def test_a_size_that_is_none(size: Any) -> None:
    with pytest.raises(ValueError, match=r"^net: size must be \(height, width\) in pixels, got "):
        table().replace(size=size)


def test_resizing_takes_the_anchors_along() -> None:
    arch = table().resized((128, 48))
    assert arch.size == (128, 48)
    assert arch.detections[0].anchors == ((5.0, 40.0), (15.0, 80.0))
    assert arch.resized((64, 96)) == table()


def test_other_anchors_and_classes() -> None:
    arch = table().with_classes(2).with_anchors([[(1, 2)]])
    assert arch.detections == [DetectionRow("d", 2, ((1, 2),))]
    assert arch.channels["d"] == 1 * (5 + 2)
    with pytest.raises(ValueError, match=r"^net: anchors go one list to a detect row, got 2 for 1$"):
        table().with_anchors([ANCHORS, ANCHORS])


def test_no_such_row() -> None:
    with pytest.raises(ValueError, match=r"^micro_yolo: no row 'l17'"):
        ARCHS["micro_yolo"].row("l17")


@pytest.mark.parametrize("arch", ARCHS.values(), ids=str)
def test_json_round_trip(arch: Arch, tmp_path: Path) -> None:
    for each in (arch, arch.resized((320, 224)).with_classes(7)):
        assert Arch.from_json(json.loads(json.dumps(each.to_json()))) == each
        path = tmp_path / "arch.json"
        path.write_text(json.dumps(each.to_json()))
        assert Arch.load(path) == each


def test_a_copy_of_the_json_is_not_the_table() -> None:
    value = table().to_json()
    value["rows"][0]["out"] = 99
    assert table().to_json()["rows"][0]["out"] == 8


def changed(**changes: Any) -> dict[str, Any]:
    return {**table().to_json(), **changes}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "arch: must be an object, got []"),
        (None, "arch: must be an object, got None"),
        ({}, "arch: 'name' is missing"),
        ({"name": "x"}, "arch: 'rows' is missing"),
        (changed(colour=1), "arch: unknown key 'colour'; allowed: name, source, start, size, classes, act, rows"),
        (changed(name=1), "arch.name: must be a string, got 1"),
        (changed(size=416), "arch.size: must be [height, width], got 416"),
        (changed(size=[416, 1.5]), "arch.size: must be [height, width], got [416, 1.5]"),
        (changed(classes="80"), "arch.classes: must be a whole number, got '80'"),
        (changed(classes=True), "arch.classes: must be a whole number, got True"),
        (changed(rows={}), "arch.rows: must be a list of rows, got {}"),
        (changed(rows=[1]), "arch.rows[0]: must be an object, got 1"),
        (changed(rows=[{"name": "a"}]), "arch.rows[0]: 'op' is missing"),
        (
            changed(rows=[{"name": "a", "op": "conv", "src": "b"}]),
            "arch.rows[0].src: must be a list of strings, got 'b'",
        ),
        (changed(rows=[{"name": "a", "op": "conv", "skip": 1}]), "arch.rows[0].skip: must be true or false, got 1"),
        (
            changed(rows=[{"name": "a", "op": "detect", "anchors": [1, 2]}]),
            "arch.rows[0].anchors: must be a list of [width, height], got [1, 2]",
        ),
        (
            changed(rows=[{"name": "a", "op": "conv", "out": "1" * 80}]),
            f"arch.rows[0].out: must be a whole number, got '{'1' * 56}...",
        ),
    ],
)
def test_json_by_someone_else(value: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        Arch.from_json(value)
    assert str(error.value) == message


def test_a_row_takes_no_unknown_key() -> None:
    with pytest.raises(ValueError, match=r"^arch\.rows\[0\]: unknown key 'filters'; allowed: name, op, out, "):
        Arch.from_json(changed(rows=[{"name": "a", "op": "conv", "filters": 8}]))


@pytest.mark.parametrize("text", ["", "{", "\x00", "[1,", '{"a": 1}{'])
def test_a_file_that_is_not_json(text: str, tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        Arch.load(path)
    assert str(error.value).startswith(f"{path}: not JSON: ") and "\n" not in str(error.value)


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    path.write_bytes(b"\xff\xfe\x00TFL3")
    with pytest.raises(ValueError, match="not JSON"):
        Arch.load(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="not JSON"):
        Arch.load(path)
    with pytest.raises(FileNotFoundError):
        Arch.load(tmp_path / "none.json")


def test_a_table_that_is_no_network_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    path.write_text(json.dumps(changed(classes=0)))
    with pytest.raises(ValueError) as error:
        Arch.load(path)
    assert str(error.value) == f"{path}: net: classes must be a whole number of at least 1, got 0"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(["name", "source", "size", "classes", "act", "rows"]),
    st.sampled_from(["name", "op", "out", "k", "s", "mid", "se", "skip", "act", "bn", "src", "anchors", "pre"]),
    st.integers(0, 1),
    json_values,
)
def test_any_json_is_a_table_or_a_value_error(key: str, row_key: str, row: int, value: Any) -> None:
    whole, part = changed(**{key: value}), table().to_json()
    part["rows"][row][row_key] = value
    for each in (whole, part):
        try:
            assert Arch.from_json(Arch.from_json(each).to_json()) == Arch.from_json(each)
        except ValueError as error:
            assert "\n" not in str(error)
