"""TFRecord of the TensorFlow Object Detection API: unpacked once, pictures and a COCO JSON, and read as that.

Needs no TensorFlow: a record is its length, a sum, its bytes and a sum; the bytes are a tf.train.Example in protobuf's
wire format. https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from micro_yolo.pipeline.data import making
from micro_yolo.pipeline.data.dataset import Dataset, Problem, Reader
from micro_yolo.pipeline.data.forms import choice, coco, sniff
from micro_yolo.pipeline.data.forms.class_lists import label_map
from micro_yolo.pipeline.data.splits import split_of_path
from micro_yolo.pipeline.data.text import read_text
from micro_yolo.pipeline.data.tree import Tree

_EXPORT = "export COCO or Pascal VOC from the tool that wrote it"
_SIGNS = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"GIF", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".webp"))
_CORNERS = tuple(f"image/object/bbox/{side}" for side in ("xmin", "ymin", "xmax", "ymax"))


def find(tree: Tree) -> list[str] | None:
    """The record files."""
    return tree.forms.get("tfrecord")


def read(tree: Tree, found: list[str], *, val_fraction: float, seed: int) -> Dataset:
    """Unpacks the files `find` gave and reads what is in them. ValueError if no picture with boxes is in one."""
    names: dict[int, str] = {}
    for file in tree.files(".pbtxt"):
        tree.use(file)
        names.update(label_map(read_text(tree.full(file))))
    digest = hashlib.sha256()
    for file in found:
        digest.update(f"{file} {os.path.getsize(tree.full(file))} ".encode() + _ends(tree.full(file)))
    home = Path(os.path.abspath(tree.root))
    target = home.with_name(f"{home.name}.unpacked-{digest.hexdigest()[:8]}")
    if not target.is_dir():
        _unpack(tree, found, names, target)
    tree.use(*found)
    inner = Tree(target)
    inner.forms = sniff.forms(inner)
    dataset = coco.read(inner, choice.find(inner) or {}, val_fraction=val_fraction, seed=seed)
    said = Problem(found[0], f"TFRecord; its pictures were unpacked into {target}", len(found))
    return replace(dataset, problems=(said, *dataset.problems))


def _ends(path: str) -> bytes:
    with open(path, "rb") as file:
        head = file.read(1 << 16)
        file.seek(max(os.path.getsize(path) - (1 << 16), 0))
        return head + file.read()


def _unpack(tree: Tree, found: list[str], names: dict[int, str], target: Path) -> None:
    try:
        with making.folder(target) as part:
            _write(tree, found, names, part)
    except OSError as error:
        what = f"TFRecord cannot be unpacked into {target.parent} ({error.strerror or error})"
        raise OSError(f"{tree.full(found[0])}: {what}; copy it to where files can be written") from None


def _write(tree: Tree, found: list[str], names: dict[int, str], part: Path) -> None:
    records: dict[str, dict[str, Any]] = {}
    ids = {name: number for number, name in names.items()}
    for file in found:
        split = split_of_path(file) or "all"
        record = records.setdefault(split, {"images": [], "annotations": []})
        for number, example in enumerate(_examples(tree.path(file))):
            _add(example, record, ids, names, part, f"{split}/{file.replace('/', '_')}_{number:06d}")
    if not any(record["annotations"] for record in records.values()):
        raise ValueError(f"{tree.full(found[0])}: TFRecord without pictures and boxes in it; {_EXPORT}")
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    for split, record in records.items():
        text = json.dumps({**record, "categories": categories})
        (part / f"{'labels' if split == 'all' else split}.json").write_text(text, encoding="utf-8")


def _add(
    example: dict[str, list[Any]],
    record: dict[str, Any],
    ids: dict[str, int],
    names: dict[int, str],
    part: Path,
    stem: str,
) -> None:
    encoded = (example.get("image/encoded") or [b""])[0]
    ending = next((ending for sign, ending in _SIGNS if encoded.startswith(sign)), None)
    if ending is None:
        return
    path = part / f"{stem}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded)
    height, width = (int((example.get(f"image/{side}") or [0])[0]) for side in ("height", "width"))
    if height < 1 or width < 1:
        from micro_yolo.pipeline.data.files import image_size

        height, width = image_size(path)
    image = len(record["images"]) + 1
    file_name = path.relative_to(part).as_posix()
    record["images"].append({"id": image, "file_name": file_name, "height": height, "width": width})
    texts = [text.decode("utf-8", "replace") for text in example.get("image/object/class/text", [])]
    numbers = example.get("image/object/class/label", [])
    crowds = example.get("image/object/is_crowd") or example.get("image/object/group_of") or []
    for at, (x1, y1, x2, y2) in enumerate(zip(*(example.get(corner, []) for corner in _CORNERS), strict=False)):
        number = int(numbers[at]) if at < len(numbers) else None
        name = texts[at] if at < len(texts) else names.get(number or 0, str(number))
        category = ids.setdefault(name, number if number not in ids.values() and number is not None else len(ids) + 1)
        box = [x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height]
        crowd = int(crowds[at]) if at < len(crowds) else 0
        annotation = {"id": len(record["annotations"]) + 1, "image_id": image, "category_id": category}
        record["annotations"].append({**annotation, "bbox": box, "iscrowd": crowd})


def _examples(path: Path) -> Iterator[dict[str, list[Any]]]:
    """The features of each tf.train.Example. What is no record ends the file."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", head[:8])
            if not 0 < length <= size:
                return
            data = file.read(length)
            file.read(4)
            try:
                yield _features(data)
            except (IndexError, ValueError, struct.error, UnicodeDecodeError):
                return


def _features(data: bytes) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for _, features in _fields(data, 1):
        for _, entry in _fields(features, 1):
            parts = dict(_fields(entry))
            found[parts[1].decode("utf-8")] = _values(parts.get(2, b""))
    return found


def _values(data: bytes) -> list[Any]:
    for kind, body in _fields(data):
        if kind == 1:
            return [value for _, value in _fields(body, 1)]
        values: list[Any] = []
        for _, packed in _fields(body, 1):
            if kind == 2:
                values += struct.unpack(f"<{len(packed) // 4}f", packed)
            elif isinstance(packed, int):
                values.append(packed)
            else:
                at = 0
                while at < len(packed):
                    number, at = _varint(packed, at)
                    values.append(number)
        return values
    return []


def _fields(data: bytes, only: int | None = None) -> Iterator[tuple[int, Any]]:
    """Number and content of each field of a message in protobuf's wire format."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        content: Any
        if wire == 0:
            content, at = _varint(data, at)
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            content, at = data[at : at + width], at + width
        elif wire == 2:
            length, at = _varint(data, at)
            if length > len(data) - at:
                raise ValueError("a field is longer than what holds it")
            content, at = data[at : at + length], at + length
        else:
            raise ValueError(f"wire type {wire} is not of protobuf")
        if only is None or number == only:
            yield number, content


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value - (1 << 64) if value >= 1 << 63 else value, at
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")


READER = Reader(sniff.SAYS["tfrecord"][0], find, read)
