"""A small SSD style .tflite made here from nothing: what detectors of other people look like."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from micro_yolo.tflite import edit

NAMES = ("TFLite_Detection_PostProcess", *(f"TFLite_Detection_PostProcess:{n}" for n in (1, 2, 3)))
# Anchors (centre y, centre x, height, width) and logits; boxes are not moved.
ANCHORS = np.array([[0.25, 0.25, 0.5, 0.5], [0.75, 0.5, 0.5, 1.0], [0.5, 0.5, 0.1, 0.1]], np.float32)
SCORES = np.array([[[0, 0.9, 0.1], [0, 0.2, 0.7], [0, 0.05, 0.05]]], np.float32)
MOST = 5


def tensor(name: str, shape: tuple[int, ...], kind: int, buffer: int = 0) -> schema.TensorT:
    made = schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name.encode(), np.array(shape, np.int32), kind, buffer
    return made


def ssd(
    dtype: str = "uint8",
    *,
    labels: str | None = "person\ncat\n",
    names: tuple[str, ...] = NAMES,
    custom: bool = True,
    least: float = 1e-8,
) -> bytes:
    """A file whose detections are always the same: a person at the upper left, a cat in the lower half.

    Without `custom` the outputs are constants, as if another operator made them. `least` is the operator's threshold.
    """
    options = flexbuffers.Builder()
    with options.Map():
        for key, number in (("max_detections", MOST), ("max_classes_per_detection", 1), ("num_classes", 2)):
            options.Int(key, number)
        for key, value in (("nms_score_threshold", least), ("nms_iou_threshold", 0.6)):
            options.Float(key, value)
        for key in ("y_scale", "x_scale", "h_scale", "w_scale"):
            options.Float(key, 1.0)
        options.Bool("use_regular_nms", False)
    float32, kinds = schema.TensorType.FLOAT32, {"uint8": 3, "int8": 9, "float32": 0, "int32": 2}
    constants = [np.zeros((1, 3, 4), np.float32), SCORES, ANCHORS]
    outputs = [(1, MOST, 4), (1, MOST), (1, MOST), (1,)]
    model, graph = schema.ModelT(), schema.SubGraphT()
    buffers = [b"", *(array.tobytes() for array in constants)]
    graph.tensors = [
        tensor("image", (1, 20, 30, 3), kinds[dtype]),
        *(tensor(f"c{n}", array.shape, float32, n + 1) for n, array in enumerate(constants)),
        *(tensor(name, shape, float32) for name, shape in zip(names, outputs, strict=True)),
    ]
    if dtype != "float32":
        graph.tensors[0].quantization = schema.QuantizationParametersT()
        graph.tensors[0].quantization.scale = np.array([1 / 128], np.float32)
        graph.tensors[0].quantization.zeroPoint = np.array([128 if dtype == "uint8" else 0], np.int64)
    graph.inputs, graph.outputs = np.array([0], np.int32), np.arange(4, 8, dtype=np.int32)
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = 0, np.arange(1, 4, dtype=np.int32), graph.outputs
    op.customOptions = np.frombuffer(bytes(options.Finish()), np.uint8)
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = 32, 32, 1
    code.customCode = b"TFLite_Detection_PostProcess"
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    graph.operators = [op] if custom else []
    model.buffers = []
    for content in buffers:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8) if content else None
        model.buffers.append(buffer)
    data = edit.pack(model)
    if labels is None:
        return data
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("labelmap.txt", labels)
    return stream.getvalue()
