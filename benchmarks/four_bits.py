r"""A file with kernels of four bits, two to a byte, beside the same unpacked, in every runtime that is at hand.

    python -m pipeline.convert --run runs/cells --int8 --head raw --out plain
    python -m pipeline.convert --run runs/cells --int8 --head raw --out packed --pack int4
    python benchmarks/four_bits.py --plain plain/model_int8_raw.tflite --packed packed/model_int8_raw.tflite

Rows of a table: whether the runtime loads the packed file, how far its outputs are from the unpacked file's, and the
least milliseconds of each by turns, on one thread. More rows:

    --mediapipe                 MediaPipe Tasks, of this environment; takes files made without --head raw
    --jvm LIBRARY               TFLite's C interface: libjnitensorflowlite.so of Maven's org.bytedeco:tensorflow-lite
    --python V/bin/python ...   environments with an older TFLite: python3.9 -m venv V && V/bin/pip install \
                                tflite-runtime==2.12.0 'numpy<2'
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "e2e"))

from micro_yolo.pipeline.show import cli
from micro_yolo.tflite import inspect, metadata, tflm
from micro_yolo.tflite.interpreter import BUILTIN, REFERENCE, XNNPACK, Interpreter
from micro_yolo.tflite.slim import slim

PICTURES = 2
# What a file of that runtime says of a picture of noise, as lists; run by another Python, which has nothing of ours.
OLDER = """
import importlib.metadata, json, sys, time
import numpy as np
import tflite_runtime.interpreter as runtime
own = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
said, least, error = [], [], ""
try:
    for path in sys.argv[1:3]:
        model = runtime.Interpreter(path, experimental_op_resolver_type=own, num_threads=1)
        model.allocate_tensors()
        given = model.get_input_details()[0]
        model.set_tensor(given["index"], np.random.default_rng(0).integers(0, 256, given["shape"], dtype=np.uint8))
        times = []
        for _ in range(int(sys.argv[3])):
            start = time.perf_counter()
            model.invoke()
            times.append(time.perf_counter() - start)
        least.append(min(times))
        said.append([model.get_tensor(each["index"]).astype(float).tolist() for each in model.get_output_details()])
except Exception as failed:
    error = str(failed)
version = importlib.metadata.version("tflite-runtime")
print(json.dumps({"version": version, "said": said, "least": least, "error": error}))
"""
# One run of a picture: its outputs.
Run = Callable[[np.ndarray], list[np.ndarray]]


@dataclass(frozen=True)
class Config:
    """A packed and an unpacked file in each runtime."""

    plain: Path
    """An int8 .tflite of ours whose kernels fit four bits."""
    packed: Path
    """The same with --pack int4."""
    runs: int = 20
    """Runs of each file and runtime."""
    mediapipe: bool = False
    """Also MediaPipe Tasks."""
    jvm: Path | None = None
    """Also this library with TFLite's C interface."""
    python: tuple[Path, ...] = ()
    """Also the tflite-runtime of these."""


def run(config: Config) -> None:
    """Print a row for each runtime."""
    files = (config.plain, config.packed)
    sizes = [path.stat().st_size for path in files]
    least = [inspect.read(path.read_bytes()).runtime for path in files]
    print(f"bytes: {sizes[0]:,} -> {sizes[1]:,}; they ask for TFLite {least[0]} and {least[1]}")
    print("| runtime | loads | outputs beside the unpacked file's | unpacked, ms | packed, ms |")
    print("| --- | --- | --- | --- | --- |")
    ways: dict[str, Callable[[Path], Run]] = {
        "LiteRT, XNNPACK (default)": lambda path: _litert(path, XNNPACK),
        "LiteRT, no XNNPACK": lambda path: _litert(path, BUILTIN),
        "LiteRT, reference kernels": lambda path: _litert(path, REFERENCE),
        "TFLM": _micro,
    }
    if config.jvm is not None:
        library = config.jvm
        ways["TFLite's C interface"] = lambda path: _library(library, path)
    if config.mediapipe:
        ways["MediaPipe Tasks"] = _mediapipe
    for name, load in ways.items():
        print(_row(name, load, files, config.runs), flush=True)
    for python in config.python:
        print(_older(python, files, config.runs), flush=True)


def _row(name: str, load: Callable[[Path], Run], files: Sequence[Path], runs: int) -> str:
    try:
        both = [load(path) for path in files]
    except (ValueError, RuntimeError) as error:
        return f"| {name} | no: {' '.join(str(error).split())[:120]} | | | |"
    height, width = inspect.read(files[0].read_bytes()).tensors[0].shape[1:3]
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(PICTURES)]
    said = [[each for picture in pictures for each in one(picture)] for one in both]
    times: list[list[float]] = [[], []]
    for _ in range(runs):
        for taken, one in zip(times, both, strict=True):
            start = time.perf_counter()
            one(pictures[0])
            taken.append(time.perf_counter() - start)
    return f"| {name} | yes | {_apart(*said)} | {1000 * min(times[0]):.2f} | {1000 * min(times[1]):.2f} |"


def _apart(one: Sequence[Any], other: Sequence[Any]) -> str:
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in zip(one, other, strict=True)]
    if any(a.shape != b.shape for a, b in pairs):
        return "other detections"
    furthest = max((float(np.abs(a - b).max(initial=0)) for a, b in pairs), default=0.0)
    return "the same" if furthest == 0 else f"differ by up to {furthest:g}"


def _litert(path: Path, backend: str) -> Run:
    runtime = Interpreter(path.read_bytes(), backend=backend, name=path)

    def said(pixels: np.ndarray) -> list[np.ndarray]:
        runtime.look(pixels)
        return [runtime.tensor(index) for index in runtime.model.outputs]

    return said


def _micro(path: Path) -> Run:
    runtime = tflm.Micro(slim(metadata.split(path.read_bytes())[0]), name=path)

    def said(pixels: np.ndarray) -> list[np.ndarray]:
        runtime.look(pixels)
        return [runtime.stored(number) for number in range(len(runtime.model.outputs))]

    return said


def _mediapipe(path: Path) -> Run:
    from mediapipe_tasks import MediaPipe

    runtime = MediaPipe(path, 0.001)

    def said(pixels: np.ndarray) -> list[np.ndarray]:
        found = runtime.detect(pixels)
        return [found.boxes_xyxy, found.scores, found.classes]

    return said


def _library(library: Path, path: Path) -> Run:
    c = ctypes.CDLL(str(library))
    pointers = ("ModelCreateFromFile", "InterpreterOptionsCreate", "InterpreterCreate", "InterpreterGetInputTensor")
    for name in (*pointers, "InterpreterGetOutputTensor", "TensorData"):
        getattr(c, f"TfLite{name}").restype = ctypes.c_void_p
    c.TfLiteTensorByteSize.restype = ctypes.c_size_t
    model = c.TfLiteModelCreateFromFile(str(path).encode())
    options = c.TfLiteInterpreterOptionsCreate()
    runtime = ctypes.c_void_p(c.TfLiteInterpreterCreate(ctypes.c_void_p(model), ctypes.c_void_p(options)))
    if not runtime or c.TfLiteInterpreterAllocateTensors(runtime):
        raise ValueError("it does not load the file")

    def place(tensor: int) -> tuple[int, int]:
        return c.TfLiteTensorData(ctypes.c_void_p(tensor)), c.TfLiteTensorByteSize(ctypes.c_void_p(tensor))

    def said(pixels: np.ndarray) -> list[np.ndarray]:
        given = np.ascontiguousarray(pixels)
        start, size = place(c.TfLiteInterpreterGetInputTensor(runtime, 0))
        ctypes.memmove(start, given.ctypes.data, size)
        if c.TfLiteInterpreterInvoke(runtime):
            raise ValueError("it does not run the file")
        outputs = range(c.TfLiteInterpreterGetOutputTensorCount(runtime))
        places = [place(c.TfLiteInterpreterGetOutputTensor(runtime, number)) for number in outputs]
        return [np.frombuffer(ctypes.string_at(start, size), np.int8) for start, size in places]

    return said


def _older(python: Path, files: Sequence[Path], runs: int) -> str:
    words = [str(python), "-W", "ignore", "-c", OLDER, *map(str, files), str(runs)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{python}: {done.stderr.strip()[-200:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    name = f"TFLite {told['version']}, no XNNPACK"
    if told["error"]:
        return f"| {name} | no: {' '.join(told['error'].split())[:120]} | | | |"
    plain, packed = (1000 * seconds for seconds in told["least"])
    return f"| {name} | yes | {_apart(*told['said'])} | {plain:.2f} | {packed:.2f} |"


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/four_bits.py", description=__doc__)
