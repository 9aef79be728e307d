"""The contract: the JSON in a .tflite that says all an application needs to run it, and nothing it must guess.

A copy lies beside the file, for people and for who cannot read zips.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from micro_yolo.tflite import inspect, metadata
from micro_yolo.tflite.head import OUTPUTS
from micro_yolo.tflite.image import LETTERBOX_FILL, RULES

FORMAT = "micro-yolo/1"
HEADS = ("detections", "raw")
KINDS = ("boxes", "objectness", "classes")
# Of the detections head, in the order of tflite.head.OUTPUTS.
DETECTION_KINDS = ("boxes", "classes", "scores", "count")
DTYPES = ("float32", "uint8", "int8", "int16")


@dataclass(frozen=True)
class Input:
    """The one input: uint8 RGB pixels p go in as p for float32, else as round(p / scale) + zero_point in `dtype`.

    Attributes:
        name: in the signature.
        shape: (1, height, width, 3).
        dtype: one of DTYPES.
        scale: 0 for float32.
        zero_point: 0 for float32.
        index: of the tensor in the file.
        resize: rule of tflite.image.RULES by which images get this size.
        fill: grey value around a letterboxed image.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    index: int
    resize: str = "stretch"
    fill: int = LETTERBOX_FILL


@dataclass(frozen=True)
class Output:
    """One output: value = (stored - zero_point) * scale, for float32 the stored value.

    Attributes:
        name: in the signature.
        kind: one of KINDS, of the detections head one of DETECTION_KINDS.
        row: the detection row it belongs to; "" for the detections head.
        stride: input pixels per cell; 0 for the detections head.
        shape: (1, height, width, channels), channels anchor-major; see tflite.head for the detections head.
        dtype: one of DTYPES.
        scale: 0 for float32.
        zero_point: 0 for float32.
        index: of the tensor in the file.
    """

    name: str
    kind: str
    row: str
    stride: int
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    index: int


@dataclass(frozen=True)
class Nms:
    """How grids become detections: see tflite.decode.decode.

    Attributes:
        score_threshold: what to show, unless the user says otherwise.
        iou_threshold: of the suppression; of the detections head this is in the file.
        max_detections: the most of an image; of the detections head this is in the file.
        pre_nms: of the raw head.
        lowest_score: of the detections head: what scores less does not leave the file.
    """

    score_threshold: float = 0.25
    iou_threshold: float = 0.6
    max_detections: int = 100
    pre_nms: int = 1000
    lowest_score: float = 0.001


@dataclass(frozen=True)
class Data:
    """The training data: where it was, and how it was split if it has no splits of its own."""

    path: str | None = None
    val_fraction: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class Head:
    """A detection row: pixels per cell, and its anchors ((width, height), ...) in pixels."""

    row_name: str
    stride: int
    anchors: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Contract:
    """Everything about a .tflite that its bytes do not say. Checked when made.

    Attributes:
        name: of the model, for people.
        arch: of the network's table.
        variant: of the conversion: float32, int8, ...
        input: its input.
        outputs: of the raw head three kinds for each detection row, rows in the network's order; of the detections head
            the four of tflite.head.
        anchors: row name -> ((width, height), ...) in pixels of the input; empty for the detections head.
        labels: class names, by class number.
        model_sha256: of the .tflite, hexadecimal; in the file itself, of what is in front of the files in it.
        nms: the thresholds to use unless the user says otherwise.
        parents: what it was made from: path and SHA-256 of each file.
        data: what it was trained on.
        versions: of the packages that made it.
        head: what the outputs are: "raw" are the grids of tflite.decode, "detections" what tflite.head makes of them.
        format: of this JSON.
    """

    name: str
    arch: str
    variant: str
    input: Input
    outputs: tuple[Output, ...]
    anchors: dict[str, tuple[tuple[float, float], ...]]
    labels: tuple[str, ...]
    model_sha256: str
    nms: Nms = field(default_factory=Nms)
    parents: dict[str, str] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    versions: dict[str, str] = field(default_factory=dict)
    head: str = "raw"
    format: str = FORMAT

    def __post_init__(self) -> None:
        _check(self)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input."""
        return self.input.shape[1], self.input.shape[2]

    @property
    def heads(self) -> tuple[Head, ...]:
        """The detection rows in order; none for the detections head."""
        strides = {output.row: output.stride for output in self.outputs if output.row}
        return tuple(Head(row, stride, self.anchors[row]) for row, stride in strides.items())

    def output(self, row: str, kind: str) -> Output:
        """The output of one kind of a row; of the detections head the row is ""."""
        return next(output for output in self.outputs if (output.row, output.kind) == (row, kind))

    def to_json(self) -> str:
        """The text of the contract's file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "contract") -> Contract:
        """The inverse of `to_json`. ValueError, beginning with `where`, for anything that is not a valid contract."""
        try:
            value = json.loads(text)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{where}: must be JSON, got {error}") from None
        if not isinstance(value, dict) or not str(value.get("format", "")).startswith("micro-yolo/"):
            raise ValueError(f"{where}: not a contract of ours; `python -m pipeline.convert` writes one")
        if value["format"] != FORMAT:
            raise ValueError(
                f"{where}: format {value['format']} is not known here; allowed: {FORMAT}; update micro-yolo"
            )
        try:
            return _contract(value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{where}: {error}") from None


def path_of(model: str | Path) -> Path:
    """Where the contract of a .tflite lies: beside it, with the suffix .json."""
    return Path(model).with_suffix(".json")


def load(model: str | Path) -> Contract:
    """The contract beside a .tflite, else the one in it.

    Raises FileNotFoundError if there is none, ValueError if it is not valid.
    """
    path = path_of(model)
    try:
        return Contract.from_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        inner = inside(Path(model).read_bytes(), model) if Path(model).is_file() else None
    if inner is None:
        raise FileNotFoundError(
            f"{path}: the contract of {Path(model).name} is missing; a .tflite of ours has it in it, and a copy beside "
            "it; `python -m pipeline.convert` writes both"
        )
    return inner


def inside(data: bytes, where: str | Path = "model") -> Contract | None:
    """The contract in the bytes of a .tflite, None if there is none. ValueError if it, or the zip, is not valid."""
    _, files = metadata.split(data, where)
    text = files.get(metadata.CONTRACT)
    return None if text is None else Contract.from_json(text, f"{where}: {metadata.CONTRACT} in it")


def verify(contract: Contract, data: bytes, where: str | Path = "model") -> None:
    """Raise ValueError unless `data` are the bytes the contract was written for, or the model in front of its files."""
    if hashlib.sha256(data).hexdigest() == contract.model_sha256:
        return
    if hashlib.sha256(metadata.split(data, where)[0]).hexdigest() != contract.model_sha256:
        raise ValueError(
            f"{where}: is not the file its contract was written for (SHA-256 differs): damaged, truncated or replaced; "
            "`python -m pipeline.convert --overwrite` makes both anew"
        )


def describe(
    model: bytes,
    *,
    name: str,
    arch: str,
    variant: str,
    heads: Sequence[Any],
    labels: Sequence[str],
    resize: str,
    head: str = "raw",
    nms: Nms | None = None,
    parents: Mapping[str, str] | None = None,
    data: Data | None = None,
    versions: Mapping[str, str] | None = None,
) -> Contract:
    """The contract of a freshly converted .tflite.

    Args:
        model: its bytes, with signature outputs called ``{row}_{kind}``, or those of tflite.head.
        name: of the model.
        arch: of the network.
        variant: of the conversion.
        heads: objects with row_name, stride and anchors, in the network's order.
        labels: class names.
        resize: rule of tflite.image.RULES.
        head: one of HEADS.
        nms: thresholds; default Nms().
        parents: what it was made from.
        data: the data set of the training.
        versions: of packages.

    Raises:
        ValueError: an output is missing or has another shape than the heads say.
    """
    parsed = inspect.read(model)
    if head == "detections":
        named = [(name, kind, "", 0) for name, kind in zip(OUTPUTS, DETECTION_KINDS, strict=True)]
    else:
        named = [(f"{h.row_name}_{kind}", kind, h.row_name, h.stride) for h in heads for kind in KINDS]
    missing = [name for name, *_ in named if name not in parsed.signature_outputs]
    if missing or len(parsed.signature_inputs) != 1:
        raise ValueError(f"contract: the file must have one named input and outputs, got no {', '.join(missing)}")

    def tensor(index: int) -> dict[str, Any]:
        found = parsed.tensor(index)
        scale, zero_point = (*found.scales, 0.0)[0], (*found.zero_points, 0)[0]
        return {
            "shape": found.shape,
            "dtype": found.dtype,
            "scale": scale,
            "zero_point": zero_point,
            "index": index,
        }

    ((input_name, input_index),) = parsed.signature_inputs.items()
    outputs = [
        Output(name=name, kind=kind, row=row, stride=stride, **tensor(parsed.signature_outputs[name]))
        for name, kind, row, stride in named
    ]
    rows = heads if head == "raw" else ()
    return Contract(
        name=name,
        arch=arch,
        variant=variant,
        input=Input(name=input_name, resize=resize, **tensor(input_index)),
        outputs=tuple(outputs),
        anchors={row.row_name: tuple((float(w), float(h)) for w, h in row.anchors) for row in rows},
        labels=tuple(labels),
        model_sha256=hashlib.sha256(model).hexdigest(),
        nms=nms or Nms(),
        parents=dict(parents or {}),
        data=data or Data(),
        versions=dict(versions or {}),
        head=head,
    )


def _check(contract: Contract) -> None:
    given = contract.input
    if contract.head not in HEADS:
        raise ValueError(f"head: unknown, got {contract.head!r}; allowed: {', '.join(HEADS)}")
    if given.resize not in RULES:
        raise ValueError(f"input.resize: unknown rule, got {given.resize!r}; allowed: {', '.join(RULES)}")
    if len(given.shape) != 4 or given.shape[0] != 1 or given.shape[3] != 3 or min(given.shape) < 1:
        raise ValueError(f"input.shape: must be 1, height, width, 3, got {list(given.shape)}")
    if not contract.labels or (contract.head == "raw" and not contract.anchors):
        raise ValueError("anchors and labels: must not be empty")
    tensors: tuple[Input | Output, ...] = (given, *contract.outputs)
    for tensor in tensors:
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{tensor.name}.dtype: unknown, got {tensor.dtype!r}; allowed: {', '.join(DTYPES)}")
        if tensor.dtype != "float32" and not (math.isfinite(tensor.scale) and tensor.scale > 0):
            raise ValueError(f"{tensor.name}.scale: must be positive for {tensor.dtype}, got {tensor.scale}")
    _check_nms(contract.nms)
    if contract.head == "detections":
        _check_detections(contract)
        return
    wanted = {(row, kind) for row in contract.anchors for kind in KINDS}
    found = [(output.row, output.kind) for output in contract.outputs]
    if sorted(found) != sorted(wanted):
        raise ValueError(f"outputs: must be {', '.join(KINDS)} of each row of anchors, got {found}")
    height, width = contract.size
    per_anchor = {"boxes": 4, "objectness": 1, "classes": len(contract.labels)}
    for output in contract.outputs:
        if output.stride < 1:
            raise ValueError(f"{output.name}.stride: must be at least 1, got {output.stride}")
        channels = len(contract.anchors[output.row]) * per_anchor[output.kind]
        expected = (1, height // output.stride, width // output.stride, channels)
        if tuple(output.shape) != expected:
            raise ValueError(
                f"{output.name}.shape: must be {list(expected)} for {len(contract.labels)} labels and "
                f"{len(contract.anchors[output.row])} anchors, got {list(output.shape)}"
            )


def _check_detections(contract: Contract) -> None:
    most = contract.nms.max_detections
    wanted = list(zip(DETECTION_KINDS, [(1, most, 4), (1, most), (1, most), (1,)], strict=True))
    found = [(output.kind, output.shape) for output in contract.outputs]
    if found != wanted or contract.anchors:
        raise ValueError(f"outputs: must be {wanted} of {most} detections and no anchors, got {found}")


def _check_nms(nms: Nms) -> None:
    thresholds = (nms.score_threshold, nms.iou_threshold, nms.lowest_score)
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise ValueError(f"nms: thresholds must be in 0..1, got {', '.join(map(str, thresholds))}")
    if nms.max_detections < 1 or nms.pre_nms < 1:
        raise ValueError(f"nms: counts must be at least 1, got {nms.max_detections} and {nms.pre_nms}")


def _contract(value: dict[str, Any]) -> Contract:
    known = {field.name for field in fields(Contract)}
    missing = {"name", "arch", "variant", "input", "outputs", "anchors", "labels", "model_sha256"} - set(value)
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} missing")
    # Newer writers of this format may add keys; what they add is optional by definition of the number.
    kept = {key: item for key, item in value.items() if key in known}
    if not isinstance(kept["labels"], list) or not all(isinstance(label, str) for label in kept["labels"]):
        raise ValueError(f"labels: must be a list of strings, got {kept['labels']!r:.60}")
    kept["labels"] = tuple(kept["labels"])
    kept["input"] = Input(**_tensor(kept["input"], Input))
    kept["outputs"] = tuple(Output(**_tensor(output, Output)) for output in kept["outputs"])
    kept["anchors"] = {
        str(row): tuple((float(w), float(h)) for w, h in anchors) for row, anchors in kept["anchors"].items()
    }
    for key, kind in (("nms", Nms), ("data", Data)):
        if key in kept:
            kept[key] = kind(**{name: item for name, item in kept[key].items() if name in kind.__dataclass_fields__})
    return Contract(**kept)


def _tensor(value: dict[str, Any], kind: type[Input] | type[Output]) -> dict[str, Any]:
    kept = {key: item for key, item in value.items() if key in kind.__dataclass_fields__}
    kept["shape"] = tuple(int(side) for side in kept["shape"])
    return {**kept, "scale": float(kept["scale"]), "zero_point": int(kept["zero_point"])}
