"""Kernels of four bits, two to a byte: the same integers, the same outputs, in half of the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micro_yolo.pipeline import convert
from micro_yolo.tflite import advice, edgetpu, edit, inspect, nibbles, tflm
from micro_yolo.tflite.interpreter import BUILTIN, REFERENCE, Interpreter
from micro_yolo.tflite.ranges import WEIGHTED
from micro_yolo.tflite.vela import compile_for


@pytest.fixture(scope="module")
def coarse(exported: Path) -> bytes:
    """The int8 file with kernels of four bits, as training for them leaves it; one kernel stays."""
    graph = edit.Graph.of((exported / "export/model_int8_raw.tflite").read_bytes())
    kernels = [int(op.inputs[1]) for op in graph.main.operators if graph.op_name(op) in WEIGHTED]
    for index in kernels[1:]:
        stored = graph.values(index)
        assert stored is not None
        values = np.clip(np.rint(stored.view(np.int8) / 18), -8, 7).astype(np.int8)
        graph.tree.buffers[graph.main.tensors[index].buffer].data = values.view(np.uint8)
    return graph.pack()


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=99))
def test_two_to_a_byte_and_back(values: list[int]) -> None:
    given = np.array(values, np.int8)
    halves = nibbles.halves(given)
    assert len(halves) == (len(given) + 1) // 2 and (halves[0] & 15) == values[0] & 15
    np.testing.assert_array_equal(nibbles.unpacked(halves, len(given)), given)


def test_the_integers_and_scales_are_what_they_were(coarse: bytes) -> None:
    before, after = edit.Graph.of(coarse), edit.Graph.of(nibbles.packed(coarse))
    kinds = []
    for one, other in zip(before.main.operators, after.main.operators, strict=True):
        assert list(one.inputs) == list(other.inputs)
        if before.op_name(one) not in WEIGHTED:
            continue
        index = int(one.inputs[1])
        kinds.append(after.dtype(index))
        values, stored = before.values(index), after.values(index)
        assert values is not None and stored is not None
        if kinds[-1] == "int4":
            stored = nibbles.unpacked(stored, len(values)).view(np.uint8)
        np.testing.assert_array_equal(stored, values)
        scales = [graph.main.tensors[index].quantization.scale for graph in (before, after)]
        np.testing.assert_array_equal(*scales)
        version = after.tree.operatorCodes[other.opcodeIndex].version
        assert version == (nibbles.VERSIONS[after.op_name(other)] if kinds[-1] == "int4" else 3)
    assert kinds[0] == "int8" and set(kinds[1:]) == {"int4"}
    packed = nibbles.packed(coarse)
    assert len(packed) < len(coarse) - sum(t.n_bytes for t in inspect.read(packed).tensors if t.dtype == "int4") * 0.9


def test_outputs_are_the_same(coarse: bytes, inputs: list[np.ndarray]) -> None:
    packed = nibbles.packed(coarse)
    nibbles.check_same(packed, coarse, inputs)
    other = edit.Graph.of(packed)
    index = next(i for i, tensor in enumerate(other.main.tensors) if other.dtype(i) == "int4")
    buffer = other.tree.buffers[other.main.tensors[index].buffer]
    buffer.data = np.roll(np.array(buffer.data, np.uint8), 1)
    with pytest.raises(ValueError, match=r"pack: output .* is not what it was"):
        nibbles.check_same(other.pack(), coarse, inputs)


@pytest.mark.parametrize(
    ("said", "then"), [("2.3.0", "2.13.0"), ("2.9.0", "2.13.0"), ("2.14.0", "2.14.0"), ("", "2.13.0")]
)
def test_the_file_names_a_runtime_that_reads_them(coarse: bytes, said: str, then: str) -> None:
    graph = edit.Graph.of(coarse)
    graph.drop_metadata(inspect.RUNTIME)
    if said:
        graph.set_metadata(inspect.RUNTIME, said.encode().ljust(16, b"\0"))
    assert inspect.read(nibbles.packed(graph.pack())).runtime == then


def test_xnnpack_leaves_them_to_tflites_own_kernels(coarse: bytes, inputs: list[np.ndarray]) -> None:
    packed = nibbles.packed(coarse)
    ops = inspect.read(packed).ops
    taken = Interpreter(packed).delegated()
    by_kind = {op.name for op, delegated in zip(ops, taken, strict=True) if not delegated}
    assert by_kind >= set(WEIGHTED) & {op.name for op in ops}
    with pytest.raises(ValueError, match="the runtime refuses the model"):
        Interpreter(packed, backend=REFERENCE)
    assert Interpreter(packed, backend=BUILTIN).output_tensors


def test_tflm_says_the_same(coarse: bytes, inputs: list[np.ndarray]) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: pip install 'micro-yolo[mcu]'")
    one, other = tflm.Micro(nibbles.packed(coarse)), tflm.Micro(coarse)
    for pixels in inputs:
        one.look(pixels)
        other.look(pixels)
        for number in range(len(one.model.outputs)):
            np.testing.assert_array_equal(one.stored(number), other.stored(number))


def test_kernels_of_eight_bits_are_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pack: the file has no kernel of 4 bits or fewer; `python -m pipeline\.qat"):
        nibbles.packed((exported / "export/model_float32_raw.tflite").read_bytes())
    asked = convert.Config(run=exported, int8=True, pack="int4", out=tmp_path / "out")
    with pytest.raises(ValueError, match=r"pack: int4 is for --int8 after `.*--bits 4` or fewer, got 8; allowed: none"):
        convert.run(asked)
    assert not (tmp_path / "out").exists()


def test_accelerators_do_not_take_them_and_say_so(coarse: bytes, tmp_path: Path) -> None:
    packed = inspect.read(nibbles.packed(coarse))
    found = edgetpu.predict(packed)
    assert found.ends_at is not None and "weights must be 8-bit integers, got int4; `python -m" in found.ends_at.reason
    tensors = list(packed.tensors)
    halved = [op for op in packed.ops if op.name in WEIGHTED and tensors[op.inputs[1]].dtype == "int4"]
    assert halved and not any(advice.takes_ethos_u(op, tensors) for op in halved)
    pytest.importorskip("ethosu")
    path = tmp_path / "packed.tflite"
    path.write_bytes(nibbles.packed(coarse))
    with pytest.raises(ValueError, match=r"ethos-u55-256: it crashes on int4 weights .*--pack none"):
        compile_for(path, "ethos-u55-256")
