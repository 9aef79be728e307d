"""The ranges of activations, found on XNNPACK, are those that TensorFlow's calibrator finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.model.keras import keras
from micro_yolo.tflite import edit, inspect, ranges
from micro_yolo.tflite.edit import Graph


def limits(data: bytes) -> dict[bytes, tuple[float, float]]:
    """Name of a tensor -> its minimum and maximum."""
    found = ((tensor.name, tensor.quantization) for tensor in Graph.of(data).main.tensors)
    return {name: (float(q.min[0]), float(q.max[0])) for name, q in found if q is not None and q.min is not None}


def calibrated(data: bytes, images: list[np.ndarray]) -> bytes:
    """By TensorFlow's calibrator."""
    from tensorflow.lite.python.optimize.calibrator import Calibrator, add_intermediate_tensors

    calibrator = Calibrator(add_intermediate_tensors(data))
    return bytes(calibrator.calibrate(lambda: ([image[None].astype(np.float32)] for image in images)))


@pytest.fixture(scope="module")
def data(exported: Path) -> bytes:
    return (exported / "export" / "model_float32_raw.tflite").read_bytes()


def test_they_are_those_of_tensorflows_calibrator_but_where_that_is_wrong(
    data: bytes, inputs: list[np.ndarray], weighted: Any
) -> None:
    found, wanted = limits(ranges.measured(calibrated(data, inputs[:1]), inputs)[0]), limits(calibrated(data, inputs))
    assert list(found) == list(wanted) and len(found) > 30
    apart = {
        name.decode()
        for name, (low, high) in wanted.items()
        if found[name] != pytest.approx((low, high), abs=2e-5 * (high - low))
    }
    # What the skip connection adds to is overwritten by the sum before the calibrator looks at it.
    (added,) = apart
    assert added.startswith("tiny/l6_project_bn/")
    outputs = keras.Model(weighted.input, weighted.get_layer("l6_project_bn").output)(
        np.stack(inputs, dtype=np.float32)
    )
    low, high = float(np.min(outputs)), float(np.max(outputs))
    assert found[added.encode()] == pytest.approx((low, high), abs=1e-4)
    assert (
        wanted[added.encode()][1] == pytest.approx(wanted[b"tiny/l6_add/add"][1])
        and high < 0.8 * wanted[added.encode()][1]
    )


def test_they_are_the_same_whatever_the_machine(
    data: bytes, inputs: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = calibrated(data, inputs[:1])
    made = []
    for cores in (1, 3, 2):
        monkeypatch.setattr(ranges, "usable_cores", lambda cores=cores: cores)
        made.append(ranges.measured(first, inputs))
    (one, means), *others = made
    assert one != first and means
    for data, its in others:
        assert data == one and all(np.array_equal(its[index], mean) for index, mean in means.items())


def test_what_is_not_finite_is_named(data: bytes, inputs: list[np.ndarray]) -> None:
    def spoil(graph: Any) -> None:
        op = next(op for op in graph.subgraphs[0].operators if edit.op_name(graph, op) == "CONV_2D")
        buffer = graph.buffers[graph.subgraphs[0].tensors[op.inputs[2]].buffer]
        values = np.frombuffer(bytes(buffer.data), np.float32).copy()
        values[0] = np.nan
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)

    graph = edit.graph_of(calibrated(data, inputs[:1]))
    spoil(graph)
    with pytest.raises(ValueError, match=r"^.*l1_.* is not finite on the calibration images; train the network again$"):
        ranges.measured(edit.pack(graph), inputs)


def test_what_is_beyond_the_samples_widens_ranges_and_moves_no_mean(data: bytes, inputs: list[np.ndarray]) -> None:
    first = calibrated(data, inputs[:1])
    white = np.full_like(inputs[0], 255)
    few, means = ranges.measured(first, inputs[:2])
    more, same = ranges.measured(first, inputs[:2], [white])
    assert limits(more)[b"serving_default_image:0"][1] == 255 > limits(few)[b"serving_default_image:0"][1]
    assert all(np.array_equal(same[index], mean) for index, mean in means.items())
    given = Graph.of(data).main.inputs[0]
    assert means[given] == pytest.approx(np.mean(inputs[:2], axis=(0, 1, 2)))


def test_sigmoids_get_the_steps_where_they_tell_values_apart(data: bytes, inputs: list[np.ndarray]) -> None:
    first, _ = ranges.measured(calibrated(data, inputs[:1]), inputs)
    graph = Graph.of(first)
    sigmoids = [op for op in graph.main.operators if graph.op_name(op) == "LOGISTIC"]
    for op in sigmoids:
        wide = graph.main.tensors[op.inputs[0]].quantization
        wide.min, wide.max = np.array([-20], np.float32), np.array([2], np.float32)
    cut = limits(ranges.within_sigmoids(graph.pack(), {"d1_boxes": (-3.5, 3.5)}))
    names = {index: name for name, index in inspect.read(data).signature_outputs.items()}
    found = {names.get(int(op.outputs[0]), "a gate"): cut[graph.main.tensors[op.inputs[0]].name] for op in sigmoids}
    assert len(found) == 7 and found.pop("d1_boxes") == (-3.5, 2)
    assert set(found.values()) == {(-6.25, 2)}
    for op in sigmoids:
        graph.main.tensors[op.inputs[0]].quantization.max = np.array([-9], np.float32)
    cut = limits(ranges.within_sigmoids(graph.pack(), {}))
    assert {cut[graph.main.tensors[op.inputs[0]].name] for op in sigmoids} == {(-6.25, -6.25)}
