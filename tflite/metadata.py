"""What a .tflite says of itself: TFLite metadata, which other people's runtimes read, and files that travel in it.

Metadata is a flatbuffer in a buffer of the model, by TensorFlow's schema (metadata_schema.fbs of TFLite Support). The
files are a zip behind the model: the labels, and our contract, so that the .tflite alone is enough. Nothing of a zip is
ever written to a disk.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from micro_yolo.tflite.edit import Graph

BUFFER = "TFLITE_METADATA"
LABELS, CONTRACT = "labels.txt", "contract.json"
_IDENTIFIER = b"M001"
# Of the schema: the oldest parser that knows all that is written here.
_PARSER = "1.0.0"
_MOST_FILES, _MOST_BYTES = 64, 4 << 20
# Tags of the schema's enumerations and unions.
_TENSOR_VALUE_LABELS, _RGB, _BOUNDARIES, _RATIO = np.int8(3), np.int8(1), np.int8(1), np.int8(0)
_FEATURE, _IMAGE, _BOX = np.uint8(1), np.uint8(2), np.uint8(3)
_NORMALIZATION, _SCORE_THRESHOLD = np.uint8(1), np.uint8(3)

# A table of the schema: field number -> value. A list is a vector of tables.
Table = dict[int, Any]


@dataclass(frozen=True)
class About:
    """What people should know of a model.

    Attributes:
        name: of the model.
        description: in a sentence.
        author: who made it.
        licence: of the model.
        version: of the model.
    """

    name: str
    description: str = ""
    author: str = ""
    licence: str = ""
    version: str = ""


class Described(NamedTuple):
    """An output as metadata has it: its name there, what it is, and whether it is boxes, classes or scores."""

    name: str
    description: str
    kind: str


def describe(
    data: bytes, about: About, outputs: list[Described], size: tuple[int, int], score_threshold: float
) -> bytes:
    """The model with metadata in it, replacing any that was there.

    Args:
        data: bytes of a .tflite without files behind it.
        about: what people should know.
        outputs: one for each of its outputs, in their order.
        size: (height, width) of the input.
        score_threshold: advice to whoever shows detections.
    """
    graph = Graph.of(data)
    graph.set_metadata(BUFFER, _pack(_model(about, outputs, size, score_threshold)))
    return graph.pack()


def append(data: bytes, files: dict[str, bytes]) -> bytes:
    """The model with files behind it. They are stored as they are, as other people's readers want them."""
    stream = io.BytesIO(data)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            # A fixed date: the same model gives the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return stream.getvalue()


def split(data: bytes, name: object = "model") -> tuple[bytes, dict[str, bytes]]:
    """A .tflite -> the model itself and the files behind it, {} if there are none.

    Raises:
        ValueError: the zip is damaged, or is one that no honest model has: paths, very many files, very large ones.
    """
    stream = io.BytesIO(data)
    if not zipfile.is_zipfile(stream):
        return data, {}
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            _check(entries, len(data))
            files = {entry.filename: _content(archive, entry) for entry in entries}
            start = min([entry.header_offset for entry in entries], default=len(data))
    # A damaged zip ends in BadZipFile, EOFError, struct.error, zlib.error, NotImplementedError, RuntimeError, ...
    except Exception as error:
        raise ValueError(f"{name}: the files in it cannot be read: {_reason(error)}") from None
    return data[:start], files


def _check(entries: list[zipfile.ZipInfo], n_bytes: int) -> None:
    names = [entry.filename for entry in entries]
    if len(names) > _MOST_FILES:
        raise ValueError(f"must be at most {_MOST_FILES}, got {len(names)}")
    if len(set(names)) != len(names):
        raise ValueError("two of them have the same name")
    for entry in entries:
        name = entry.filename
        if not name or name in (".", "..") or any(character in name for character in "/\\:\0"):
            raise ValueError(f"a name must not be a path, got {name[:60]!r}")
        if entry.flag_bits & 1:
            raise ValueError(f"{name[:60]} is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name[:60]} is compressed in a way that is not known here")
    if sum(entry.file_size for entry in entries) > _MOST_BYTES or sum(e.compress_size for e in entries) > n_bytes:
        raise ValueError(f"must be at most {_MOST_BYTES >> 20} MiB together")


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        # A zip can lie about how large a file becomes.
        content = file.read(_MOST_BYTES + 1)
    if len(content) != entry.file_size:
        raise ValueError(f"{entry.filename[:60]} has another size than it says")
    return content


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _model(about: About, outputs: list[Described], size: tuple[int, int], score_threshold: float) -> Table:
    height, width = size
    image = {
        0: "image",
        1: f"The picture, RGB, {height} x {width} (height x width), pixels 0 to 255",
        3: {0: _IMAGE, 1: {0: _RGB}},
        4: [{0: _NORMALIZATION, 1: {0: np.array([0], np.float32), 1: np.array([1], np.float32)}}],
        5: {0: np.array([255], np.float32), 1: np.array([0], np.float32)},
    }
    subgraph = {
        2: [image],
        3: [_output(output, score_threshold) for output in outputs],
    }
    table = {
        0: about.name,
        1: about.description,
        2: about.version,
        3: [subgraph],
        4: about.author,
        5: about.licence,
        6: [{0: CONTRACT, 1: "All an application needs to run the model, as micro-yolo writes it"}],
        7: _PARSER,
    }
    return {number: value for number, value in table.items() if value != ""}


def _output(output: Described, score_threshold: float) -> Table:
    table: Table = {0: output.name, 1: output.description, 3: {0: _FEATURE, 1: {}}}
    if output.kind == "boxes":
        # Where left, top, right and bottom are in the tensor.
        box = {0: np.array([1, 0, 3, 2], np.uint32), 1: _BOUNDARIES, 2: _RATIO}
        table[3] = {0: _BOX, 1: box}
    elif output.kind == "classes":
        table[6] = [{0: LABELS, 1: "Class names by class number", 2: _TENSOR_VALUE_LABELS}]
    elif output.kind == "scores":
        table[4] = [{0: _SCORE_THRESHOLD, 1: {0: np.float32(score_threshold)}}]
    return table


def _pack(table: Table) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(_write(builder, table), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _write(builder: Any, table: Table) -> int:
    """Write a table and all that is in it; its offset."""
    made: dict[int, tuple[str, Any]] = {}
    for number, value in table.items():
        if isinstance(value, str):
            made[number] = ("UOffsetTRelative", builder.CreateString(value))
        elif isinstance(value, np.ndarray):
            made[number] = ("UOffsetTRelative", builder.CreateNumpyVector(value))
        elif isinstance(value, list):
            offsets = [_write(builder, item) for item in value]
            builder.StartVector(4, len(offsets), 4)
            for offset in reversed(offsets):
                builder.PrependUOffsetTRelative(offset)
            made[number] = ("UOffsetTRelative", builder.EndVector())
        elif isinstance(value, dict):
            made[number] = ("UOffsetTRelative", _write(builder, value))
        else:
            made[number] = (value.dtype.name.capitalize(), value.item())
    builder.StartObject(max(made, default=-1) + 1)
    for number, (kind, value) in made.items():
        getattr(builder, f"Prepend{kind}Slot")(number, value, 0)
    return int(builder.EndObject())
