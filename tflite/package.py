"""A .tflite and its contract -> one file that is enough everywhere: metadata, labels and the contract in it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from micro_yolo.tflite import heads, inspect, metadata
from micro_yolo.tflite.contract import Contract, Output
from micro_yolo.tflite.metadata import About, Described

# The names by which runtimes find the outputs of a detector that suppresses by itself.
_DETECTIONS = {
    "boxes": ("location", "Left, top, right and bottom of each object, 0 to 1"),
    "classes": ("category", "Class number of each object"),
    "scores": ("score", "Score of each object, 0 to 1, best first"),
    "count": ("number of detections", "How many objects there are"),
}


def seal(data: bytes, contract: Contract, about: About) -> tuple[bytes, Contract]:
    """Put metadata, labels and contract into a model.

    Args:
        data: bytes of the .tflite.
        contract: its contract.
        about: what people should know of it.

    Returns:
        The file, and the contract to lie beside it. That in the file has the SHA-256 of what is in front of the files,
        and no path.
    """
    if contract.head == "detections":
        outputs = [Described(*_DETECTIONS[output.kind], output.kind) for output in contract.outputs]
    else:
        said = {part.name: part.description for part in heads.find(contract.coding).parts}
        # By the order of the file, which need not be the contract's.
        outputs = [Described(output.name, said[output.kind], "") for output in _in_file_order(data, contract)]
    body = metadata.describe(data, about, outputs, contract.size, contract.nms.score_threshold)
    # A file travels: of the training data it tells the folder's name alone.
    inner = replace(
        contract,
        model_sha256=hashlib.sha256(body).hexdigest(),
        data=replace(contract.data, path=folder_name(contract.data.path)),
    )
    files = {metadata.LABELS: label_file(contract.labels), metadata.CONTRACT: inner.to_json().encode()}
    whole = metadata.append(body, files)
    return whole, replace(contract, model_sha256=hashlib.sha256(whole).hexdigest())


def folder_name(path: str | None) -> str | None:
    """The last part of a path of this system or another one; all that a file which travels tells of it."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] if path else None


def label_file(labels: tuple[str, ...]) -> bytes:
    """A line for each class."""
    return "".join(f"{' '.join(label.split())}\n" for label in labels).encode()


def _in_file_order(data: bytes, contract: Contract) -> list[Output]:
    order = list(inspect.read(data).outputs)
    return sorted(contract.outputs, key=lambda output: order.index(output.index))
