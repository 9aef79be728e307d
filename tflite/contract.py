"""The contract: the JSON in a .tflite that says all an application needs to run it, and nothing it must guess.

A copy lies beside the file, for people and for who cannot read zips.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from micro_yolo.tflite import heads, inspect, metadata, regular, suppression, typed
from micro_yolo.tflite import thresholds as cuts
from micro_yolo.tflite.heads import Grid, GridLike
from micro_yolo.tflite.image import LETTERBOX_FILL, RULES
from micro_yolo.tflite.thresholds import Thresholds

FORMAT = "micro-yolo/1"
HEADS = ("detections", "raw")
# Of the detections head, in the order of tflite.suppression.OUTPUTS.
DETECTION_KINDS = ("boxes", "classes", "scores", "count")
DTYPES = ("float32", "uint8", "int8", "int16")
_LONGEST_NAME = 200


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
        kind: a part of its coding, of the detections head one of DETECTION_KINDS.
        row: the detection row it belongs to; "" for the detections head.
        stride: input pixels per cell; 0 for the detections head.
        shape: (1, height, width, channels), channels prediction-major; see tflite.suppression for the other.
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
    """The training data: where it was, how it was split if it has no splits, and a sum of each split's content."""

    path: str | None = None
    val_fraction: float = 0.2
    seed: int = 0
    content: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Contract:
    """Everything about a .tflite that its bytes do not say. Checked when made.

    Attributes:
        name: of the model, for people.
        arch: of the network's table.
        variant: of the conversion: float32, int8, ...
        input: its input.
        outputs: of the raw head the parts of its coding for each detection row, rows in the network's order; of the
            detections head the four of tflite.suppression.
        anchors: row name -> ((width, height), ...) in pixels of the input; empty for the detections head.
        labels: class names, by class number.
        model_sha256: of the .tflite, hexadecimal; in the file itself, of what is in front of the files in it.
        nms: the thresholds to use unless the user says otherwise.
        parents: what it was made from: path and SHA-256 of each file.
        data: what it was trained on.
        versions: of the packages that made it.
        head: what the outputs are: "raw" are grids, "detections" what tflite.suppression makes of them.
        coding: how they are read: of grids one of tflite.heads.CODINGS. Files made before this was written have none,
            which means IMPLIED.
        start: of the weights its network began with: name, trained_on, source, licence, ...; empty if it began fresh.
        thresholds: what nms.score_threshold was measured to be; None if it was not, as in older files.
        format: of this JSON.
    """

    name: str
    arch: str
    variant: str
    input: Input
    outputs: tuple[Output, ...]
    anchors: dict[str, tuple[tuple[float, float], ...]] = field(
        metadata={typed.RULE: "map rows to lists of [width, height]"}
    )
    labels: tuple[str, ...]
    model_sha256: str
    nms: Nms = field(default_factory=Nms)
    parents: dict[str, str] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    versions: dict[str, str] = field(default_factory=dict)
    start: dict[str, str] = field(default_factory=dict)
    head: str = "raw"
    coding: str = field(kw_only=True)
    thresholds: Thresholds | None = None
    format: str = FORMAT

    def __post_init__(self) -> None:
        _check(self)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input."""
        return self.input.shape[1], self.input.shape[2]

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The detection rows in order; none for the detections head."""
        strides = {output.row: output.stride for output in self.outputs if output.row}
        return tuple(Grid(row, stride, self.anchors[row]) for row, stride in strides.items())

    def measured(self, thresholds: Thresholds) -> Contract:
        """The contract with thresholds that were measured on its file."""
        nms = replace(self.nms, score_threshold=thresholds.all.threshold)
        return replace(self, nms=nms, thresholds=thresholds)

    def to_json(self) -> str:
        """The text of the contract's file."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "contract") -> Contract:
        """The inverse of `to_json`. ValueError, beginning with `where`, for anything that is not a valid contract."""
        try:
            value = typed.parse(text)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        if not isinstance(value, dict) or not str(value.get("format", "")).startswith("micro-yolo/"):
            raise ValueError(f"{where}: not a contract of ours; `python -m pipeline.convert` writes one")
        if value["format"] != FORMAT:
            raise ValueError(
                f"{where}: format {typed.shown(value['format'])[1:-1]} is not known here; allowed: {FORMAT}; "
                "update micro-yolo"
            )
        try:
            head = typed.read(str, value.get("head", "raw"), "head")
            coding = typed.read(
                str, value.get("coding", heads.IMPLIED if head == "raw" else suppression.CODING), "coding"
            )
            # Before all else: what else is in it may only make sense to who knows the coding.
            _check_coding(head, coding)
            return typed.read(cls, {**value, "coding": coding})
        except ValueError as error:
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
        return Contract.from_json(regular.read(path), str(path))
    except FileNotFoundError:
        inner = inside(regular.read(model, regular.MAX_MODEL), model) if Path(model).is_file() else None
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
    rows: Sequence[GridLike],
    labels: Sequence[str],
    resize: str,
    head: str = "raw",
    coding: str = heads.IMPLIED,
    nms: Nms | None = None,
    parents: Mapping[str, str] | None = None,
    data: Data | None = None,
    versions: Mapping[str, str] | None = None,
) -> Contract:
    """The contract of a freshly converted .tflite.

    Args:
        model: its bytes, with signature outputs called ``{row}_{part}``, or those of tflite.suppression.
        name: of the model.
        arch: of the network.
        variant: of the conversion.
        rows: the network's detection rows, in order.
        labels: class names.
        resize: rule of tflite.image.RULES.
        head: one of HEADS.
        coding: of the network's grids, one of tflite.heads.CODINGS.
        nms: thresholds; default Nms().
        parents: what it was made from.
        data: the data set of the training.
        versions: of packages.

    Raises:
        ValueError: an output is missing or has another shape than the rows say.
    """
    parsed = inspect.read(model)
    if head == "detections":
        named = [(name, kind, "", 0) for name, kind in zip(suppression.OUTPUTS, DETECTION_KINDS, strict=True)]
    else:
        parts = [part.name for part in heads.find(coding).parts]
        named = [(f"{row.row_name}_{part}", part, row.row_name, row.stride) for row in rows for part in parts]
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
    return Contract(
        name=name,
        arch=arch,
        variant=variant,
        input=Input(name=input_name, resize=resize, **tensor(input_index)),
        outputs=tuple(outputs),
        anchors={row.row_name: tuple((float(w), float(h)) for w, h in row.anchors) for row in rows if head == "raw"},
        labels=tuple(labels),
        model_sha256=hashlib.sha256(model).hexdigest(),
        nms=nms or Nms(),
        parents=dict(parents or {}),
        data=data or Data(),
        versions=dict(versions or {}),
        head=head,
        coding=coding if head == "raw" else suppression.CODING,
    )


def _check_coding(head: str, coding: str) -> None:
    if head not in HEADS:
        raise ValueError(f"head: unknown, got {head!r:.60}; allowed: {', '.join(HEADS)}")
    if head == "raw":
        heads.find(coding)
    elif coding != suppression.CODING:
        raise ValueError(
            f"coding: unknown, got {coding!r:.60}; allowed for {head}: {suppression.CODING}; update micro-yolo"
        )


def _check(contract: Contract) -> None:
    _check_coding(contract.head, contract.coding)
    given = contract.input
    if given.resize not in RULES:
        raise ValueError(f"input.resize: unknown rule, got {given.resize!r:.60}; allowed: {', '.join(RULES)}")
    if len(given.shape) != 4 or given.shape[0] != 1 or given.shape[3] != 3 or min(given.shape) < 1:
        raise ValueError(f"input.shape: must be 1, height, width, 3, got {typed.shown(given.shape)}")
    if not contract.labels or (contract.head == "raw" and not contract.anchors):
        raise ValueError("anchors and labels: must not be empty")
    tensors: tuple[Input | Output, ...] = (given, *contract.outputs)
    for tensor in tensors:
        if not tensor.name.isprintable() or not 0 < len(tensor.name) <= _LONGEST_NAME:
            raise ValueError(f"input and outputs: a name must be 1 to {_LONGEST_NAME} letters, got {tensor.name!r:.60}")
        if tensor.dtype not in DTYPES:
            raise ValueError(f"{tensor.name}.dtype: unknown, got {tensor.dtype!r:.60}; allowed: {', '.join(DTYPES)}")
        if tensor.dtype != "float32" and not (math.isfinite(tensor.scale) and tensor.scale > 0):
            raise ValueError(f"{tensor.name}.scale: must be positive for {tensor.dtype}, got {tensor.scale}")
    _check_nms(contract.nms)
    if contract.thresholds is not None:
        cuts.check(contract.thresholds, len(contract.labels))
    (_check_grids if contract.head == "raw" else _check_detections)(contract)


def _check_grids(contract: Contract) -> None:
    coding = heads.find(contract.coding)
    if "" in contract.anchors:
        raise ValueError("anchors: a row must have a name, got an empty one")
    parts = [part.name for part in coding.parts]
    wanted = {(row, part) for row in contract.anchors for part in parts}
    found = [(output.row, output.kind) for output in contract.outputs]
    if sorted(found) != sorted(wanted):
        raise ValueError(f"outputs: must be {', '.join(parts)} of each row of anchors, got {typed.shown(found)}")
    strides = {grid.row_name: grid.stride for grid in contract.grids}
    for output in contract.outputs:
        if output.stride < 1 or output.stride != strides[output.row]:
            raise ValueError(f"{output.name}.stride: must be at least 1 and that of its row, got {output.stride}")
        grid = Grid(output.row, output.stride, contract.anchors[output.row])
        expected = (1, *coding.shapes(grid, contract.size, len(contract.labels))[output.kind])
        if output.shape != expected:
            raise ValueError(
                f"{output.name}.shape: must be {list(expected)} for {len(contract.labels)} labels and "
                f"{len(grid.anchors)} anchors, got {typed.shown(output.shape)}"
            )


def _check_detections(contract: Contract) -> None:
    most = contract.nms.max_detections
    wanted = list(zip(DETECTION_KINDS, [(1, most, 4), (1, most), (1, most), (1,)], strict=True))
    found = [(output.kind, output.shape) for output in contract.outputs]
    if found != wanted or contract.anchors:
        raise ValueError(
            f"outputs: must be {wanted} of {most} detections and no anchors, got {typed.shown(found)} and "
            f"{len(contract.anchors)} rows of anchors"
        )


def _check_nms(nms: Nms) -> None:
    thresholds = (nms.score_threshold, nms.iou_threshold, nms.lowest_score)
    if not all(0 <= threshold <= 1 for threshold in thresholds):
        raise ValueError(f"nms: thresholds must be in 0..1, got {', '.join(map(str, thresholds))}")
    if nms.max_detections < 1 or nms.pre_nms < 1:
        raise ValueError(f"nms: counts must be at least 1, got {nms.max_detections} and {nms.pre_nms}")
