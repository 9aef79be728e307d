"""A microcontroller: the network, its contract and what finds objects in its grids, as C for TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np

from micro_yolo.tflite import inspect, tflm
from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.csource import comment, identifier, number, octets, string, wrapped
from micro_yolo.tflite.heads.yolo import CODING
from micro_yolo.tflite.slim import slim
from micro_yolo.tflite.targets.base import Target

_TEMPLATES = Path(__file__).parent / "mcu_files"
_AS_THEY_ARE = ("micro_yolo.c", "micro_yolo.h")
_NAMED = ("model.c", "model.h", "contract.c", "contract.h", "run.cpp", "run.h")
# What a file with our coding can hold -> the method of TFLM's MicroMutableOpResolver.
METHODS = {
    "ADD": "AddAdd",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "DEQUANTIZE": "AddDequantize",
    "FULLY_CONNECTED": "AddFullyConnected",
    "LEAKY_RELU": "AddLeakyRelu",
    "LOGISTIC": "AddLogistic",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MUL": "AddMul",
    "PAD": "AddPad",
    "PADV2": "AddPadV2",
    "QUANTIZE": "AddQuantize",
    "RELU": "AddRelu",
    "RELU6": "AddRelu6",
    "RESHAPE": "AddReshape",
    "RESIZE_NEAREST_NEIGHBOR": "AddResizeNearestNeighbor",
    "STRIDED_SLICE": "AddStridedSlice",
    "SUB": "AddSub",
}
# sizeof(micro_yolo_candidate), sizeof(micro_yolo_detection).
_CANDIDATE_BYTES, _DETECTION_BYTES = 8, 24


class Mcu(Target):
    """A folder of C files around the int8 file with grids, and that file."""

    name = "mcu"
    help = "C files for a microcontroller: the model, TFLM's operators and arena, and a decoder in C99 (int8 only)"
    head: Literal["raw"] = "raw"

    def names(self, name: str, variant: str, head: str) -> tuple[str, ...]:
        """Those with the run's name, then the others. ModuleNotFoundError without tflite-micro."""
        if variant != "int8":
            raise ValueError(f"target mcu: takes int8 files, got {variant}; allowed: --int8")
        tflm.need()
        stem = identifier(name)
        return (f"{stem}.tflite", *(f"{stem}_{end}" for end in _NAMED), *_AS_THEY_ARE, "main.c", "README.md")

    def refuses(self, contract: Contract) -> str | None:
        """What is not int8 with grids as the decoder reads them, and labels that no C string holds."""
        if contract.variant != "int8" or contract.head != "raw" or contract.coding != CODING.name:
            return f"takes int8 files with grids coded as {CODING.name}"
        if any(
            (output.dtype, output.scale, output.zero_point) != ("int8", 1 / 256, -128) for output in contract.outputs
        ):
            return "its outputs must be int8 with scale 1/256 and zero point -128"
        for label in contract.labels:
            try:
                string(label)
            except ValueError as error:
                return f"label {error}"
        return None

    def files(self, name: str, data: bytes, contract: Contract) -> dict[str, bytes]:
        """Measure the arena, fill in the templates. ValueError if the runtime cannot run the file."""
        small = slim(data)
        model = inspect.read(small)
        operators = tflm.operators(model)
        strange = [operator for operator in operators if operator not in METHODS]
        if strange:
            raise ValueError(f"target mcu: no method of TFLM's resolver is known for {', '.join(strange)}")
        used = tflm.measure(small, name)
        stem = identifier(name)
        added = [f"operators.{METHODS[operator]}() != kTfLiteOk" for operator in operators]
        values = {
            "RUNTIME": metadata.version("tflite-micro"),
            "BYTES": str(len(small)),
            "OCTETS": octets(small),
            "ARENA": str(used.arena_bytes),
            "ACTIVATIONS": str(used.activation_bytes),
            "PERSISTENT": str(used.persistent_bytes),
            "SCRATCH": str(_scratch(model)),
            "COUNT": str(len(operators)),
            "ADDED": " ||\n      ".join(added),
        }
        values |= facts(name, contract, [model.outputs.index(output.index) for output in contract.outputs])
        made = {f"{stem}.tflite": data} | {f"{stem}_{end}": filled(end, values) for end in _NAMED}
        return made | decoder() | {file: filled(file, values) for file in ("main.c", "README.md")}


def decoder() -> dict[str, bytes]:
    """The files that are the same for every network: grids -> objects."""
    return {file: (_TEMPLATES / file).read_bytes() for file in _AS_THEY_ARE}


def filled(file: str, values: dict[str, str]) -> bytes:
    """A template with what is between its @."""
    text = (_TEMPLATES / f"{file}.in").read_text()
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text.encode()


def facts(name: str, contract: Contract, places: Sequence[int]) -> dict[str, str]:
    """What a contract says, in C: keys of the templates contract.c and contract.h.

    Args:
        name: of the run.
        contract: of a file with grids.
        places: of each of its outputs, in its order: the how manieth of the runtime it is.
    """
    nms, grids, classes = contract.nms, contract.grids, len(contract.labels)
    outputs = {(out.row, out.kind): (out, place) for out, place in zip(contract.outputs, places, strict=True)}
    rows, sizes, predictions = [], [], 0
    for which, grid in enumerate(grids):
        _, height, width, _ = outputs[grid.row_name, "boxes"][0].shape
        count = len(grid.anchors)
        predictions += height * width * count
        sizes.append(
            f"static const float sizes_{which}[] = {{\n"
            f"{wrapped(number(side) for anchor in grid.anchors for side in anchor)}\n}};"
        )
        numbers = [outputs[grid.row_name, part.name][1] for part in CODING.parts]
        fields = (grid.stride, height, width, count, f"sizes_{which}", *numbers)
        rows.append(f"  {{{', '.join(map(str, fields))}}},")
    cuts = contract.thresholds.classes if contract.thresholds else (None,) * classes
    candidates = min(nms.pre_nms, predictions * classes)
    stored = np.arange(256, dtype=np.float32) * np.float32(1 / 256)
    stem = identifier(name)
    return {
        "NAME": stem,
        "UPPER": stem.upper(),
        "TITLE": comment(f"{contract.name} ({contract.arch})"),
        "HEIGHT": str(contract.size[0]),
        "WIDTH": str(contract.size[1]),
        "RESIZE": contract.input.resize,
        "SHA": contract.model_sha256,
        "N_OUTPUTS": str(len(contract.outputs)),
        "N_ROWS": str(len(grids)),
        "CLASSES": str(classes),
        "CANDIDATES": str(candidates),
        "DETECTIONS": str(nms.max_detections),
        "WORK": str(candidates * _CANDIDATE_BYTES),
        "FOUND": str(nms.max_detections * _DETECTION_BYTES),
        "SIZES": "\n".join(sizes),
        "ROWS": "\n".join(rows),
        "CUTS": wrapped(number(cut.threshold if cut else -1) for cut in cuts),
        "GROWTH": wrapped(number(value) for value in np.exp(4 * stored - 2)),
        "SCORE": number(nms.score_threshold),
        "MEASURED": ", measured on validation images" if contract.thresholds else ", not measured",
        "IOU": number(nms.iou_threshold),
        # Last, as a label may look like a placeholder.
        "LABELS": "\n".join(f"  {string(label)}," for label in contract.labels),
    }


def _scratch(model: inspect.Model) -> int:
    """Bytes of four columns of the largest convolution's kernel, as int8 or two as int16."""
    kernels = (model.tensor(op.inputs[1], op.subgraph).shape for op in model.ops if op.name == "CONV_2D")
    return max((4 * shape[1] * shape[2] * shape[3] for shape in kernels), default=0)
