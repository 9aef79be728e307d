"""One file is enough: metadata as others read it, the contract in the file, and zips that no honest model has."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.pipeline import benchmark, convert, evaluate, predict
from micro_yolo.pipeline import inspect as inspect_command
from micro_yolo.tflite import contract as contracts
from micro_yolo.tflite import edit, inspect, metadata, package
from micro_yolo.tflite.detector import Detector

NAMES = ("int8", "float32", "int8_raw", "int16x8_raw", "float16_raw")
Copy = Callable[[str], Path]


@pytest.fixture
def schema() -> Any:
    """Google's own reader of the metadata."""
    return pytest.importorskip("mediapipe.tasks.metadata.metadata_schema_py_generated")


def described(path: Path, schema: Any) -> Any:
    graph = edit.graph_of(path.read_bytes())
    buffers = {entry.name: graph.buffers[entry.buffer].data for entry in graph.metadata}
    packed = bytes(buffers[b"TFLITE_METADATA"])
    assert packed[4:8] == b"M001"
    return schema.ModelMetadataT.InitFromPackedBuf(packed, 0)


def test_what_others_read(own_run: Path, schema: Any) -> None:
    converted = convert.run(convert.Config(run=own_run, author="Ada", licence="CC-BY-4.0", model_version="3"))
    found = described(converted.export / "model_float32.tflite", schema)
    assert (found.author, found.license, found.version) == (b"Ada", b"CC-BY-4.0", b"3")
    assert b"64 x 96" in found.description and b"circle" in found.description
    (subgraph,) = found.subgraphMetadata
    (image,) = subgraph.inputTensorMetadata
    assert image.content.contentProperties.colorSpace == schema.ColorSpaceType.RGB
    (unit,) = image.processUnits
    assert unit.optionsType == schema.ProcessUnitOptions.NormalizationOptions
    assert (list(unit.options.mean), list(unit.options.std)) == ([0], [1])
    outputs = subgraph.outputTensorMetadata
    assert [each.name for each in outputs] == [b"location", b"category", b"score", b"number of detections"]
    boxes = outputs[0].content.contentProperties
    assert (list(boxes.index), boxes.type) == ([1, 0, 3, 2], schema.BoundingBoxType.BOUNDARIES)
    (labels,) = outputs[1].associatedFiles
    assert (labels.name, labels.type) == (b"labels.txt", schema.AssociatedFileType.TENSOR_VALUE_LABELS)
    (threshold,) = outputs[2].processUnits
    (file,) = converted.files
    assert file.contract.thresholds is not None
    assert threshold.options.globalScoreThreshold == pytest.approx(file.contract.thresholds.all.threshold)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_has_it(exported: Path, schema: Any, name: str) -> None:
    path = exported / "export" / f"model_{name}.tflite"
    parsed, (subgraph,) = inspect.read(path), described(path, schema).subgraphMetadata
    names = {index: key.encode() for key, index in parsed.signature_outputs.items()}
    if name.endswith("_raw"):
        assert [each.name for each in subgraph.outputTensorMetadata] == [names[index] for index in parsed.outputs]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        labels = (exported / "export" / "labels.txt").read_bytes()
        assert archive.read("labels.txt") == labels
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        inner = json.loads(archive.read("contract.json"))
    beside = json.loads(path.with_suffix(".json").read_text())
    assert inner.pop("model_sha256") != beside.pop("model_sha256")
    # The file travels, where the images lay does not.
    assert (inner.pop("data")["path"], Path(beside.pop("data")["path"]).is_absolute()) == ("set", True)
    assert inner == beside


def test_the_file_alone_is_enough(
    alone: Path, exported: Path, tiny_data: Path, tmp_path: Path, inputs: list[np.ndarray]
) -> None:
    with_copy = Detector(exported / "export" / "model_int8.tflite")
    without = Detector(alone)
    np.testing.assert_array_equal(without.found(inputs[0]).boxes_xyxy, with_copy.found(inputs[0]).boxes_xyxy)
    predict.run(predict.Config(images=(tiny_data / "images",), model=alone, out=tmp_path / "out"))
    assert (tmp_path / "out" / "detections.json").is_file()


def test_the_file_alone_is_enough_to_measure_it(
    alone: Path, exported: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = exported / "export" / "model_int8.tflite"
    averages = [
        evaluate.run(evaluate.Config(model=path, data=tiny_data, out=tmp_path / path.parent.name)).AP
        for path in (alone, beside)
    ]
    assert averages[0] == averages[1]
    capsys.readouterr()
    inspect_command.command(inspect_command.Config(alone, json=True))
    assert "64x96 (height x width), resize stretch" in json.loads(capsys.readouterr().out)["contract"]
    (timed,) = benchmark.run(benchmark.Config((alone,), runs=2, memory=False)).timings
    assert timed.model == str(alone)


def test_the_same_model_gives_the_same_bytes(exported: Path) -> None:
    data = (exported / "export" / "model_int8.tflite").read_bytes()
    body, files = metadata.split(data)
    assert metadata.append(body, files) == data
    assert set(files) == {"labels.txt", "contract.json"}
    assert metadata.split(body) == (body, {})


def test_sealing_twice_is_sealing_once(exported: Path) -> None:
    path = exported / "export" / "model_int8.tflite"
    contract = contracts.load(path)
    body, _ = metadata.split(path.read_bytes())
    about = metadata.About("again", "x" * 300)
    once, _ = package.seal(body, contract, about)
    twice, beside = package.seal(metadata.split(once)[0], contract, about)
    assert len(twice) == len(once)
    contracts.verify(beside, twice)
    names = [entry.name for entry in edit.graph_of(twice).metadata]
    assert names.count(b"TFLITE_METADATA") == 1


@pytest.mark.parametrize("where", [0.3, 0.6, -300, -900, -1500])
def test_a_flipped_bit_is_found_without_the_copy(alone: Path, where: float) -> None:
    data = bytearray(alone.read_bytes())
    body = len(metadata.split(bytes(data))[0])
    data[int(body * where) if where > 0 else len(data) + int(where)] ^= 4
    alone.write_bytes(bytes(data))
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        Detector(alone)
    assert "\n" not in str(raised.value)


def zipped(body: bytes, *entries: tuple[Any, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO(body)
    with zipfile.ZipFile(stream, "a", method) as archive, warnings.catch_warnings():
        # Two of the same name.
        warnings.simplefilter("ignore")
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def understated(data: bytes) -> bytes:
    """The size in the directory and in the header of the only entry is told as 10 bytes."""
    for sign, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.rindex(sign) + offset
        data = data[:at] + struct.pack("<I", 10) + data[at + 4 :]
    return data


HOSTILE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "path": (lambda body: zipped(body, ("../../etc/cron.d/x", b"")), r"must not be a path, got '\.\./\.\./etc"),
    "absolute": (lambda body: zipped(body, ("/etc/passwd", b"")), "must not be a path"),
    "windows": (lambda body: zipped(body, ("C:\\x", b"")), "must not be a path"),
    "up": (lambda body: zipped(body, ("..", b"")), "must not be a path"),
    "many": (lambda body: zipped(body, *((f"{i}.txt", b"") for i in range(65))), "must be at most 64, got 65"),
    "bomb": (
        lambda body: zipped(body, ("contract.json", bytes(50 << 20)), method=zipfile.ZIP_DEFLATED),
        "must be at most 4 MiB together",
    ),
    "lying bomb": (
        lambda body: understated(zipped(body, ("contract.json", bytes(50 << 20)), method=zipfile.ZIP_DEFLATED)),
        "another size than it says|Bad CRC",
    ),
    "twice": (lambda body: zipped(body, ("contract.json", b"{}"), ("contract.json", b"[]")), "the same name"),
    "lzma": (lambda body: zipped(body, ("a", b"b"), method=zipfile.ZIP_LZMA), "not known here"),
    "not a contract": (lambda body: zipped(body, ("contract.json", b"{}")), "contract.json in it: not a contract"),
    "binary": (lambda body: zipped(body, ("contract.json", b"\xff\xfe\x00")), "contract.json in it: must be JSON"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_zips(alone: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    body, _ = metadata.split(alone.read_bytes())
    alone.write_bytes(make(body))
    with pytest.raises(ValueError, match=rf"model_int8\.tflite: .*({message})") as raised:
        Detector(alone)
    assert "\n" not in str(raised.value)
    assert {path.name for path in alone.parent.iterdir()} == {alone.name}


def test_other_files_behind_a_model_are_no_contract(alone: Path) -> None:
    body, _ = metadata.split(alone.read_bytes())
    alone.write_bytes(zipped(body, ("labels.txt", b"cat\n")))
    with pytest.raises(FileNotFoundError, match=r"the contract of model_int8\.tflite is missing"):
        Detector(alone)


def test_without_a_contract_it_runs_as_anybody_elses(alone: Path, tiny_data: Path, tmp_path: Path) -> None:
    found = []
    for name in ("ours", "theirs"):
        predict.run(predict.Config(images=(tiny_data / "images",), model=alone, out=tmp_path / name, score=0.25))
        written = json.loads((tmp_path / name / "detections.json").read_text())
        found.append([each for image in written["images"] for each in image["detections"]])
        alone.write_bytes(metadata.split(alone.read_bytes())[0])
    ours, theirs = ([(each["class"], each["score"], each["box_xyxy"]) for each in part] for part in found)
    assert ours == theirs
    assert len(ours) > 50
    assert {each["label"] for each in found[1]} <= {f"class {number}" for number in range(5)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: replace(c, labels=c.labels[:-1], thresholds=None),
            r"its operator was told .*n_classes=5.*, its contract says .*=4",
        ),
        (lambda c: replace(c, nms=replace(c.nms, iou_threshold=0.3)), "its operator was told .*=0.6.*contract says"),
        (lambda c: replace(c, input=replace(c.input, scale=0.5)), "image has scale 1.0 and zero point 0, its contract"),
        (lambda c: replace(c, input=replace(c.input, shape=(1, 96, 64, 3))), "its contract says uint8"),
    ],
)
def test_a_contract_that_disagrees_with_its_file(alone: Path, change: Callable[[Any], Any], message: str) -> None:
    body, files = metadata.split(alone.read_bytes())
    inner = change(contracts.load(alone))
    alone.write_bytes(metadata.append(body, {**files, "contract.json": inner.to_json().encode()}))
    with pytest.raises(ValueError, match=rf"model_int8\.tflite: .*{message}") as raised:
        Detector(alone)
    assert "\n" not in str(raised.value)
