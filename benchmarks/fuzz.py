"""Damaged copies of a model through what reads models: each must end in an answer or in one clear error.

    python benchmarks/fuzz.py --model runs/cells/export/model_int8.tflite --mutations 1000
    python benchmarks/fuzz.py --model runs/cells/export/model_int8.tflite --run runs/cells --mutations 200

Through inspect, predict, benchmark, edge and the page's server; with --run, whose file it is, evaluate and debug too.

The commands run in this process, so a crash of theirs ends it, after a line that says which copy it was. Of some kinds
of damage the contract's hash is made anew, as a stranger's file has it. Copy N of a model is the same on every run.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.pipeline.show import cli

RUN = "run"
PATIENCE = 20.0
# What targets of edge need.
_LIBRARIES = {"ethos-u55-256": "ethosu", "tflm": "tflite_micro"}
# Longer than any command may take: its own patience, twice, and what a busy machine adds.
TOO_LONG = 120.0


@dataclass(frozen=True)
class Config:
    """Damaged copies of a model through what reads models."""

    model: Path
    """A .tflite of ours, with its contract beside it."""
    run: Path | None = None
    """Its run, whose data is there: evaluate and debug look at copies too."""
    mutations: int = 1000
    """Damaged copies."""
    first: int = 0
    """Number of the first."""
    kind: str = ""
    """Copies with this kind of damage alone, such as "no input, hash renewed"."""


def run(config: Config) -> Counter[str]:
    """Put every copy through every command; count and print how they ended.

    Raises ValueError for the first that ends in anything but an answer or a clear error, or takes too long.
    """
    if config.kind and config.kind not in KINDS:
        raise ValueError(f"kind: unknown, got {config.kind!r}; allowed: {'; '.join(dict.fromkeys(KINDS))}")
    data = config.model.read_bytes()
    ends: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw(folder / "picture.png")
        (folder / "web" / "wasm").mkdir(parents=True)
        (folder / "web" / "vision_bundle.mjs").touch()
        raw = None if config.run is None else _own(config.run, folder / RUN)
        asked = (number for number in itertools.count(config.first) if config.kind in ("", KINDS[number % len(KINDS)]))
        for number in itertools.islice(asked, config.mutations):
            kind, damaged = mutate(data, number)
            for name in ("model.tflite", "alone.tflite"):
                (folder / name).write_bytes(damaged)
            shutil.copy(config.model.with_suffix(".json"), folder / "model.json")
            if kind in RENEWED:
                renew(folder / "model.json", damaged)
            if raw is not None:
                _damage(folder / RUN, raw, number)
            for command, call in commands(folder, number).items():
                # Said before, since a crash leaves no time to say it.
                begin, close = ("\r", " " * 8) if sys.stderr.isatty() else ("", "\n")
                print(f"{begin}{number} {kind} {command}", end=close, file=sys.stderr, flush=True)
                start = time.monotonic()
                end = outcome(call)
                taken = time.monotonic() - start
                slowest = max(slowest, taken)
                if end.startswith("unclear") or taken > TOO_LONG:
                    raise ValueError(f"copy {number} ({kind}), {command}: {end} after {taken:.1f} s")
                ends[f"{command}: {end}"] += 1
    print(file=sys.stderr)
    for end, count in sorted(ends.items()):
        print(f"{count:6} {end}")
    print(f"slowest {slowest:.1f} s")
    return ends


# What a stranger sends has a contract that fits: there the hash is made anew.
RENEWED = ("fields, hash renewed", "no input, hash renewed", "constants, hash renewed", "bits, hash renewed")
KINDS = (
    *("bits anywhere", "bits in the tables", "bytes in the tables", "cut", "noise", "moved", "fields", "fields"),
    *RENEWED,
)


def mutate(data: bytes, number: int) -> tuple[str, bytes]:
    """Copy `number` of a model: the kind of damage, and the bytes."""
    random = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    copy = bytearray(data)
    # The tables are at both ends of a file, the constants fill the middle.
    ends = np.concatenate([np.arange(min(3000, len(data))), np.arange(max(0, len(data) - 40000), len(data))])
    if kind == "cut":
        return kind, bytes(copy[: random.integers(0, len(data))])
    if kind == "noise":
        noise = bytearray(random.bytes(int(random.integers(0, 20000))))
        if random.random() < 0.7:
            noise[4:8] = b"TFL3"
        return kind, bytes(noise)
    if kind.startswith("fields"):
        return kind, _fields(data, random)
    if kind.startswith(("no input", "constants")):
        return kind, _graph(data, kind, random)
    if kind == "moved":
        size = int(random.integers(1, 400))
        source, target = (int(random.choice(ends)) for _ in range(2))
        copy[target : target + size] = copy[source : source + size]
        return kind, bytes(copy)
    anywhere = kind == "bits anywhere"
    places = random.integers(0, len(data), 20) if anywhere else random.choice(ends, random.integers(1, 5))
    for place in places:
        copy[place] = random.integers(256) if kind.startswith("bytes") else copy[place] ^ 1 << random.integers(8)
    return kind, bytes(copy)


def _fields(data: bytes, random: np.random.Generator) -> bytes:
    """A well-formed file that says something else than the model did: what no check of the format can find."""
    from micro_yolo.tflite import edit

    graph = edit.graph_of(data)
    for _ in range(random.integers(1, 4)):
        tensors, ops = graph.subgraphs[0].tensors, graph.subgraphs[0].operators
        tensor, op = tensors[random.integers(len(tensors))], ops[random.integers(len(ops))]
        what = random.integers(8)
        if what == 0 and tensor.shape is not None and len(tensor.shape):
            shape = np.array(tensor.shape)
            shape[random.integers(len(shape))] = random.choice([0, 1, 2, 7, 1000, 2**20, 2**31 - 1])
            tensor.shape = shape
        elif what == 1:
            tensor.type = int(random.integers(0, 18))
        elif what == 2:
            tensor.buffer = int(random.integers(len(graph.buffers)))
        elif what == 3 and tensor.quantization is not None and tensor.quantization.scale is not None:
            values = random.choice([0.0, -1.0, 1e-30, 1e30, np.nan, np.inf], len(tensor.quantization.scale))
            tensor.quantization.scale = values.astype(np.float32)
        elif what in (4, 5):
            name = "inputs" if what == 4 else "outputs"
            indices = np.array(getattr(op, name))
            indices[random.integers(len(indices))] = random.integers(-1, len(tensors))
            setattr(op, name, indices)
        elif what == 6:
            op.opcodeIndex = int(random.integers(len(graph.operatorCodes)))
        elif op.builtinOptions is not None and vars(op.builtinOptions):
            name = random.choice(sorted(vars(op.builtinOptions)))
            value = getattr(op.builtinOptions, name)
            if isinstance(value, bool):
                setattr(op.builtinOptions, name, not value)
            elif isinstance(value, int):
                setattr(op.builtinOptions, name, int(random.choice([0, 1, 3, 100])))
    return edit.pack(graph)


def _graph(data: bytes, kind: str, random: np.random.Generator) -> bytes:
    """A graph whose operators read nothing or something else, or whose constants hold other integers."""
    from micro_yolo.tflite import edit

    graph = edit.graph_of(data)
    main = graph.subgraphs[0]
    op = main.operators[random.integers(len(main.operators))]
    if kind.startswith("no input"):
        inputs = np.array(op.inputs)
        inputs[random.integers(len(inputs))] = random.choice([-1, -1, 0, len(main.tensors) - 1])
        op.inputs = inputs
        return edit.pack(graph)
    # Shapes, axes, paddings and indices that kernels are told by constants.
    short = [each for each in main.tensors if each.type == 2 and graph.buffers[each.buffer].data is not None]
    for tensor in random.choice(np.arange(len(short)), min(2, len(short)), replace=False) if short else ():
        buffer = graph.buffers[short[tensor].buffer]
        values = np.frombuffer(bytes(buffer.data), np.int32).copy()
        if len(values):
            values[random.integers(len(values))] = random.choice([-(2**31), -1, 0, 7, 10**6, 2**31 - 1])
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    return edit.pack(graph)


def renew(contract: Path, data: bytes) -> None:
    """Have a contract's file say that `data` is what it was written for."""
    said = json.loads(contract.read_text()) | {"model_sha256": hashlib.sha256(data).hexdigest()}
    contract.write_text(json.dumps(said))


def _own(run: Path, copy: Path) -> bytes:
    """A copy of a run, with the files that debug compares; the int8 one."""
    from micro_yolo.pipeline.stages import files_of
    from micro_yolo.pipeline.store import runs

    shutil.copytree(run, copy, symlinks=True)
    stage = runs.latest_stage(copy).name
    files = files_of(copy, stage, ("float32", "int8"), head="raw")  # type: ignore[arg-type]
    return files[1].read_bytes()


def _damage(run: Path, raw: bytes, number: int) -> None:
    """Have the int8 file with grids of a run be copy `number`, with a contract that fits."""
    (file,) = run.glob("export/**/model_int8_raw.tflite")
    file.write_bytes(mutate(raw, number)[1])
    renew(file.with_suffix(".json"), file.read_bytes())


def draw(path: Path) -> None:
    """A picture to look for objects in."""
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)).save(path)


def commands(folder: Path, number: int = 0) -> dict[str, Callable[[], Any]]:
    """What is done with ``model.tflite``, which has a contract, and ``alone.tflite`` of a folder."""
    from micro_yolo.pipeline import benchmark, browser, debug, edge, evaluate, inspect, predict

    model, picture = folder / "model.tflite", folder / "picture.png"
    out = folder / "out"
    found: dict[str, Callable[[], Any]] = {
        "inspect": lambda: inspect.command(inspect.Config(model, json=True, patience=PATIENCE)),
        "predict": lambda: predict.command(predict.Config((picture,), model=model, out=out, overwrite=True)),
        "predict without a contract": lambda: predict.command(
            predict.Config((picture,), model=folder / "alone.tflite", out=out, overwrite=True)
        ),
        "benchmark": lambda: benchmark.command(benchmark.Config((model,), runs=1, memory=False, patience=PATIENCE)),
        "server": lambda: browser.serve(browser.Config(model, port=0, web=folder / "web")).server_close(),
    }
    targets = ["edgetpu", *(target for target, library in _LIBRARIES.items() if importlib.util.find_spec(library))]
    target = targets[number % len(targets)]
    found["edge"] = lambda: edge.command(edge.Config((model,), target=target, patience=PATIENCE))
    if (folder / RUN).is_dir():
        found["evaluate"] = lambda: evaluate.command(evaluate.Config(model=model, out=out))
        found["debug"] = lambda: debug.command(debug.Config(run=folder / RUN, images=1, keep=(1,), overwrite=False))
    return found


def outcome(call: Callable[[], Any]) -> str:
    """How a command ends: "answer", "error: ..." by its kind, or "unclear: ..." for what a user should never see."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            call()
    except (ValueError, OSError) as error:
        message = cli.message(error)
        kinds = {
            "SHA-256 differs": "not the contract's file",
            "has no contract": "no detector by what it says itself",
            "damaged or truncated": "damaged",
            "the files in it cannot be read": "damaged files behind the model",
            "not a .tflite": "not a .tflite",
            "the file is empty": "empty",
            "refuses the model": "the runtime refuses it",
            "cannot run the model": "the runtime cannot run it",
            "crashed on it": "the runtime's process crashed",
            "ended its process": "the runtime ended its process",
            "no sign of life": "the runtime's process was ended",
            "cannot be filled": "input of another kind",
            "its contract says": "not as its contract says",
            "which its contract names": "not as its contract says",
            "at most 1024 MiB": "larger than any model's",
            "must be numbers": "input of another kind",
            "must have a signature": "no signature",
            "must have operators that make": "the runtime cannot run it",
            "must have the same operators": "no twin of the float file",
            "Vela refuses it": "the compiler refuses it",
            "Vela did not end": "the compiler was ended",
            "TFLM cannot run": "the runtime cannot run it",
            "TFLM has no": "the runtime cannot run it",
            "TFLM refuses it": "the runtime refuses it",
        }
        known = next((kind for part, kind in kinds.items() if part in message), None)
        return f"error: {known}" if known else f"unclear: {message}"
    except Exception as error:
        return f"unclear: {type(error).__name__}: {error}"
    return "answer"


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/fuzz.py", description=__doc__)
