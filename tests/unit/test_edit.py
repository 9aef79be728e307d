"""Editing a graph: what is added once, found again, and refused."""

from __future__ import annotations

import numpy as np
import pytest
from ssd_file import ssd

from micro_yolo.tflite import inspect
from micro_yolo.tflite.arithmetic import Arithmetic
from micro_yolo.tflite.edit import Graph


def test_unpacking_and_packing_changes_nothing() -> None:
    data = Graph.of(ssd()).pack()
    assert Graph.of(data).pack() == data


@pytest.mark.parametrize("name", ["ADD", "BROADCAST_TO", "CUSTOM:Ours"])
def test_a_code_is_listed_once(name: str) -> None:
    graph = Graph.of(ssd())
    before = len(graph.tree.operatorCodes)
    first = graph.code(name, 2)
    assert first == before
    assert [graph.code(name, 2), graph.code(name, 3)] == [first, first + 1]
    graph.main.operators.append(graph.operator(name, [0], [1], version=2))
    # Also as the file has it, where numbers above 127 are in the newer field alone.
    again = Graph.of(graph.pack())
    assert again.op_name(again.main.operators[-1]) == name
    assert again.code(name, 2) == first


def test_constants_and_what_is_computed() -> None:
    graph = Graph.of(ssd())
    index = graph.constant("kept", np.array([[1.5, -2]], np.float32))
    assert (graph.dtype(index), graph.shape(index)) == ("float32", (1, 2))
    own = graph.duplicate(index, np.array([3, 4], np.float32))
    values = [graph.values(each) for each in (index, own, graph.duplicate(index))]
    assert [np.frombuffer(each.tobytes(), np.float32).tolist() for each in values if each is not None] == [
        [1.5, -2],
        [3, 4],
        [1.5, -2],
    ]
    assert graph.values(graph.tensor("computed", "int8", (1, 2))) is None


def test_outputs_need_a_signature() -> None:
    graph = Graph.of(ssd())
    graph.tree.signatureDefs = []
    with pytest.raises(ValueError, match="edit: the file must have the signature serving_default"):
        graph.set_outputs({"a": 0})


def test_metadata_is_replaced_and_forgotten() -> None:
    graph = Graph.of(ssd())
    graph.set_metadata("ours", b"one")
    graph.set_metadata("ours", b"another")
    data = graph.pack()
    assert inspect.read(data).metadata.count("ours") == 1
    graph = Graph.of(data)
    graph.drop_metadata("ours")
    assert "ours" not in inspect.read(graph.pack()).metadata


def test_one_part_needs_no_concatenation() -> None:
    graph = Graph.of(ssd())
    before = len(graph.main.operators)
    assert Arithmetic(graph).concatenate([0]) == 0
    assert len(graph.main.operators) == before
