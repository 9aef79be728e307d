"""Files that others made, whose hash is right and whose graph is not: what runs them survives."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from micro_yolo.pipeline import browser, predict
from micro_yolo.pipeline.measure.finders import open_file
from micro_yolo.pipeline.store import killed
from micro_yolo.tflite import apart, child, differences, edit, processes
from micro_yolo.tflite.detector import Detector
from micro_yolo.tflite.image import load_image

Copy = Callable[[str], Path]


def renewed(path: Path, data: bytes) -> Path:
    """Put a model into a file, and its hash into the contract beside it."""
    path.write_bytes(data)
    beside = path.with_suffix(".json")
    said = json.loads(beside.read_text()) | {"model_sha256": hashlib.sha256(data).hexdigest()}
    beside.write_text(json.dumps(said))
    return path


@pytest.fixture
def hostile(model_copy: Copy) -> Path:
    """The mutation that was found: an operator that reads nothing."""
    path = model_copy("int8")
    graph = edit.graph_of(path.read_bytes())
    names = edit.op_names(graph)
    operator = next(op for op in graph.subgraphs[0].operators if names[op.opcodeIndex] == "CONCATENATION")
    operator.inputs = np.array([-1, *operator.inputs[1:]], np.int32)
    return renewed(path, edit.pack(graph))


def test_who_opens_a_file_that_crashes_the_runtime_survives(hostile: Path, tiny_data: Path, tmp_path: Path) -> None:
    picture = next((tiny_data / "images").iterdir())
    web = tmp_path / "web"
    (web / "wasm").mkdir(parents=True)
    (web / browser.BUNDLE).touch()
    ways: list[Callable[[], Any]] = [
        lambda: Detector(hostile).detect(load_image(picture)),
        lambda: predict.run(predict.Config((picture,), model=hostile, out=tmp_path / "out")),
        lambda: browser.serve(browser.Config(hostile, web=web)),
        lambda: next(open_file(hostile).look([load_image(picture)])),
    ]
    for way in ways:
        with pytest.raises(
            ValueError, match=r"model_int8\.tflite: (the runtime (crashed|refuses)|.*damaged)"
        ) as raised:
            way()
        assert "\n" not in str(raised.value)


def test_what_was_being_predicted_is_told_to_a_second_and_swept_after_the_dead(
    exported: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    picture = next((tiny_data / "images").iterdir())
    asked = predict.Config((picture,), model=exported / "export" / "model_int8.tflite", out=out)
    left = [out / name / f".part-{socket.gethostname()}-{2**22 + 1}-a.png" for name in ("", "labels", "crops/a")]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    with killed.alone(out), pytest.raises(ValueError, match=r"out: another process is making it; .*another --out"):
        predict.run(asked)
    predict.run(asked)
    assert not any(path.exists() for path in left) and (out / "detections.json").exists()


def test_layers_of_files_that_crash_the_runtime_are_compared_apart(exported: Path, inputs: list[np.ndarray]) -> None:
    files = [exported / "export" / f"model_{variant}_raw.tflite" for variant in ("float32", "int8")]
    whole, integer = (file.read_bytes() for file in files)
    layers = differences.measure(whole, integer, inputs[:2])
    assert differences.measure_apart(whole, integer, inputs[:2]) == layers
    graph = edit.graph_of(whole)
    operator = graph.subgraphs[0].operators[-1]
    operator.inputs = np.array([-1, *operator.inputs[1:]], np.int32)
    with pytest.raises(ValueError, match=r"^m: the runtime (crashed on|refuses|cannot run)"):
        differences.measure_apart(edit.pack(graph), integer, inputs[:2], name="m")


@pytest.mark.parametrize("name", ["float32", "int8", "int8_raw", "float32_raw"])
def test_it_says_what_it_says_here(exported: Path, name: str) -> None:
    path = exported / "export" / f"model_{name}.tflite"
    there, here = Detector(path), Detector(path, data=path.read_bytes())
    assert isinstance(there._interpreter, apart.Apart) and not isinstance(here._interpreter, apart.Apart)
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8)
        one, other = (detector.detect(image, 0.01) for detector in (there, here))
        np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.classes, other.classes)


def test_a_sign_of_life_between_two_answers_is_no_answer(running: apart.Apart) -> None:
    running.invoke()
    asked = os.pipe()
    process = process_of(running)
    real, process.answers = process.answers, asked[0]
    os.write(asked[1], b'["advance", null]\n["advance", null]\n\n')
    running.invoke()
    process.answers = real
    assert os.read(real, 10) == b"\n"


@pytest.fixture
def running(exported: Path) -> apart.Apart:
    path = exported / "export" / "model_int8.tflite"
    return apart.Apart(path.read_bytes(), name=path)


def process_of(running: apart.Apart) -> Any:
    return running._child._process


def test_a_process_that_dies_is_one_line_each_time(running: apart.Apart) -> None:
    pixels = np.zeros((64, 96, 3), np.uint8)
    running.look(pixels)
    os.kill(process_of(running).pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(ValueError, match="the runtime crashed on it \\(SIGKILL"):
            running.look(pixels)


def test_ctrl_c_is_not_for_it(running: apart.Apart) -> None:
    os.kill(process_of(running).pid, signal.SIGINT)
    running.look(np.zeros((64, 96, 3), np.uint8))


def test_it_goes_with_the_object(exported: Path) -> None:
    path = exported / "export" / "model_int8.tflite"
    made = apart.Apart(path.read_bytes(), name=path)
    process = process_of(made)
    del made
    gc.collect()
    assert process.poll() is not None


def test_it_goes_with_the_process_that_asked(exported: Path) -> None:
    path = exported / "export" / "model_int8.tflite"
    code = (
        "import os, pathlib; from micro_yolo.tflite import apart; "
        f"made = apart.Apart(pathlib.Path({str(path)!r}).read_bytes()); print(made._child._process.pid, flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    number = int(asked.stdout)
    for _ in range(100):
        try:
            ended = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            ended = True
        if ended:
            return
        time.sleep(0.1)
    pytest.fail("the process is still there")


def test_one_whose_parent_was_ended_is_started_anew(exported: Path) -> None:
    path = exported / "export" / "model_int8.tflite"
    pixels = np.zeros((64, 96, 3), np.uint8)
    one = apart.Apart(path.read_bytes())
    if processes.FORKS:
        parent, _ = processes._PARENT[os.getpid()]
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    one.look(pixels)
    other = apart.Apart(path.read_bytes())
    other.look(pixels)
    for each in (one, other):
        os.kill(process_of(each).pid, signal.SIGKILL)
        with pytest.raises(ValueError, match="the runtime crashed on it \\(SIGKILL"):
            each.look(pixels)


def test_it_begins_where_who_asks_is(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later ones are forks of what was started in another folder, with another path."""
    path = exported / "export" / "model_int8.tflite"
    apart.Apart(path.read_bytes())
    (tmp_path / "another_module.py").write_text("import os\ndef where(advance): return os.getcwd()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert child.call("another_module:where") == str(tmp_path)


def test_there_is_room_or_an_error(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is not there would end the process when it is written to."""

    def full(handle: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        apart.Apart((exported / "export" / "model_int8.tflite").read_bytes())


def test_a_fork_has_one_of_its_own(running: apart.Apart) -> None:
    pixels = np.zeros((64, 96, 3), np.uint8)
    running.look(pixels)
    reader, writer = os.pipe()
    forked = os.fork()
    if not forked:
        try:
            mine = process_of(running).pid
            running.look(pixels)
            os.write(writer, b"1" if process_of(running).pid != mine else b"0")
        finally:
            os._exit(0)
    os.waitpid(forked, 0)
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    running.look(pixels)


def test_what_does_not_fit_is_refused(running: apart.Apart) -> None:
    with pytest.raises(ValueError, match="input 0 is uint8 \\[1, 64, 96, 3\\], got float32 \\[1, 2, 2, 3\\]"):
        running.put(running._input, np.zeros((1, 2, 2, 3), np.float32))
    with pytest.raises(ValueError, match="threads: must be at least 1"):
        apart.Apart(b"", threads=0)


def test_a_file_that_says_it_puts_out_gigabytes_is_refused(model_copy: Copy) -> None:
    path = model_copy("int8")
    graph = edit.graph_of(path.read_bytes())
    main = graph.subgraphs[0]
    main.tensors[main.outputs[0]].shape = np.array([1, 1 << 30, 4], np.int32)
    with pytest.raises(ValueError, match="inputs and outputs must be at most 1024 MiB together"):
        Detector(renewed(path, edit.pack(graph)))
