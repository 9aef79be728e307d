"""A new operation is a function and a line: tables, counts, channels, cuts, search and summary know it by that."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from micro_yolo.model.channels import channels_of, cut
from micro_yolo.model.count import count
from micro_yolo.model.ops import OPS, Op, block_of, has_kernel, in_words, stride_behind, width_behind
from micro_yolo.model.primitives import Block, Conv, Depthwise, Skip
from micro_yolo.model.row import Row
from micro_yolo.model.spec import Arch


def basic(row: Row) -> Block:
    """ResNet's basic block: two convolutions and a sum."""
    return (Conv("one", row.mid, row.k, row.s, width="mid"), Conv("two", row.out, row.k, act=False), Skip())


@pytest.fixture
def arch(monkeypatch: pytest.MonkeyPatch) -> Arch:
    monkeypatch.setitem(OPS, "basic", Op(basic, ("out", "k", "s", "mid", "act"), {"out": 1, "mid": 1}))
    rows = (
        Row("a", "conv", 8, k=3, s=2),
        Row("b", "basic", 8, k=3, mid=6),
        Row("d", "detect", anchors=((9, 9),)),
    )
    return Arch("net", rows, size=(32, 32), classes=2)


def test_a_new_operation_is_checked(arch: Arch) -> None:
    with pytest.raises(ValueError, match=r"^net\.b: basic needs mid of at least 1, got 0$"):
        arch.replace(rows=(arch.rows[0], Row("b", "basic", 8, k=3), arch.rows[2]))
    with pytest.raises(ValueError, match=r"^net\.b: basic has no se, got 2; allowed: out, k, s, mid, act$"):
        arch.replace(rows=(arch.rows[0], Row("b", "basic", 8, k=3, mid=6, se=2), arch.rows[2]))
    with pytest.raises(ValueError, match=r"^net\.b: only conv rows read the image, got basic$"):
        arch.replace(rows=(arch.rows[0], Row("b", "basic", 8, k=3, mid=6, src=("input",)), arch.rows[2]))
    with pytest.raises(ValueError, match=r"^net\.b: skip needs s=1 and equal widths, got s=2, 8 -> 8$"):
        arch.replace(rows=(arch.rows[0], Row("b", "basic", 8, k=3, mid=6, s=2), arch.rows[2]))


def test_a_new_operation_is_counted(arch: Arch) -> None:
    row = count(arch).rows[1]
    assert (row.shape, row.macs) == ((16, 16, 8), 256 * (9 * 8 * 6 + 9 * 6 * 8))
    assert (row.params, row.trainable) == (2 * 432 + 4 * 14, 2 * 432 + 2 * 14)


def test_a_new_operation_is_tied_and_cut(arch: Arch) -> None:
    found = channels_of(arch)
    assert found.widths() == {"a": 8, "b.mid": 6} and found.shared == {"b": "a"}
    shapes = {
        "a_conv": (3, 3, 3, 8), "b_one": (3, 3, 8, 6), "b_two": (3, 3, 6, 8),
        **dict.fromkeys(("d_box", "d_obj", "d_cls"), (1, 1, 8, 4)),
    }  # fmt: skip
    weights = {layer: [np.zeros(shape)] for layer, shape in shapes.items()}
    weights |= {layer: [np.zeros(n)] * 4 for layer, n in (("a_bn", 8), ("b_one_bn", 6), ("b_two_bn", 8))}
    smaller, fewer = cut(arch, weights, {"a": [0, 1, 5], "b.mid": [2]})
    assert smaller.rows[:2] == (Row("a", "conv", 3, k=3, s=2), Row("b", "basic", 3, k=3, mid=1))
    assert [fewer[layer][0].shape for layer in ("a_conv", "b_one", "b_two", "d_box")] == [
        (3, 3, 3, 3), (3, 3, 3, 1), (3, 3, 1, 3), (1, 1, 3, 4),
    ]  # fmt: skip


def test_a_new_operation_is_searched_and_described(arch: Arch) -> None:
    from micro_yolo.pipeline.search import candidates

    assert list(candidates(arch, ("b",), (3, 5))) == ["3", "5"]
    assert in_words(arch.row("b")) == "basic 3x3 mid 6"
    assert in_words(Row("m", "mbconv", 8, k=5, s=2, mid=4, se=2, src=("b",))) == "mbconv 5x5 /2 mid 4 se 2 of b"
    assert in_words(Row("p", "pep", 8, k=3, pre=2, mid=4, skip=True)) == "pep 3x3 pre 2 mid 4 skip"
    assert in_words(Row("u", "upsample", s=2)) == "upsample x2"


ROWS = {
    "conv": Row("x", "conv", 8, k=3, s=2),
    "separable": Row("x", "separable", 8, k=3, s=2),
    "mbconv": Row("x", "mbconv", 8, k=3, s=2, mid=4, se=1),
    "pep": Row("x", "pep", 8, k=3, s=2, pre=2, mid=4),
    "fca": Row("x", "fca", se=2),
    "pool": Row("x", "pool", k=2, s=2),
    "upsample": Row("x", "upsample", s=2),
    "concat": Row("x", "concat", src=("a", "b")),
    "detect": Row("x", "detect", anchors=((9, 9),)),
}


def test_what_the_registry_says_of_each_operation() -> None:
    assert set(ROWS) == {*OPS, "detect"}
    assert {op for op, row in ROWS.items() if has_kernel(row)} == {"conv", "separable", "mbconv", "pep"}
    halving = {"conv", "separable", "mbconv", "pep", "pool"}
    assert {op: stride_behind(row, 4) for op, row in ROWS.items()} == {
        op: 8 if op in halving else 2 if op == "upsample" else 4 for op in ROWS
    }
    assert {op: width_behind(row, 5) for op, row in ROWS.items()} == {op: ROWS[op].out or 5 for op in ROWS}
    assert in_words(ROWS["pep"]) == "pep 3x3 /2 pre 2 mid 4" and in_words(ROWS["detect"]) == "detect"


def test_primitives_of_each_block() -> None:
    deep = dataclasses.replace(ROWS["mbconv"], s=1, skip=True)
    assert [(type(part).__name__, part.name) for part in block_of(deep)] == [
        ("Conv", "expand"), ("Depthwise", "dw"), ("Gate", "se"), ("Conv", "project"), ("Skip", "add"),
    ]  # fmt: skip
    assert block_of(dataclasses.replace(deep, mid=0, se=0, skip=False)) == (
        Depthwise(3, 1),
        Conv("project", 8, act=False),
    )
    assert [part.name for part in block_of(ROWS["pep"])] == ["pre", "expand", "dw", "project"]
    assert block_of(ROWS["detect"]) == ()
