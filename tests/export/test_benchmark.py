"""Speed and memory of files; another process for each, so that no file takes the user's down."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline import benchmark as stage
from micro_yolo.pipeline.show.screen import Screen
from micro_yolo.tflite import child, edit, inspect
from micro_yolo.tflite.benchmark import Timing, benchmark, footprint, interval
from micro_yolo.tflite.interpreter import BUILTIN, XNNPACK, Interpreter, placement


def crash(*, advance: Callable[[], None]) -> None:
    advance()
    os.abort()


def sleep(*, seconds: float, advance: Callable[[], None]) -> None:
    advance()
    time.sleep(seconds)


def answer(*, value: int, advance: Callable[[], None]) -> dict[str, int]:
    print("the runtime's chatter must not be taken for an answer", flush=True)
    return {"pid": os.getpid(), "value": value}


def refuse(*, advance: Callable[[], None]) -> None:
    raise ValueError("m.tflite: no")


def here(function: Callable[..., object]) -> str:
    return f"{Path(__file__).stem}:{function.__name__}"


def test_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    signs: list[None] = []
    found = child.call(here(answer), value=3)
    assert found["value"] == 3 and found["pid"] != os.getpid()
    with pytest.raises(ValueError, match=r"^m\.tflite: no$"):
        child.call(here(refuse))
    with pytest.raises(ValueError, match=r"a\.tflite: the runtime crashed on it \(SIGABRT"):
        child.call(here(crash), name="a.tflite", advance=lambda: signs.append(None))
    assert len(signs) == 1
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"a\.tflite: no sign of life for 0\.5 s"):
        child.call(here(sleep), name="a.tflite", patience=0.5, seconds=600)
    assert time.monotonic() - start < 60


@pytest.fixture
def models(exported: Path) -> list[Path]:
    return [exported / "export" / f"model_{variant}.tflite" for variant in ("float32", "int8")]


def test_benchmark(models: list[Path]) -> None:
    signs: list[None] = []
    timings = benchmark(
        models, threads=(1, 2), backends=(XNNPACK, BUILTIN), runs=7, warm_up=2, advance=lambda: signs.append(None)
    )
    assert len(signs) == 2 * 2 * 2 * (7 + 2)
    order = [(str(model), threads, on) for threads in (1, 2) for on in (XNNPACK, BUILTIN) for model in models]
    assert [(timing.model, timing.threads, timing.backend) for timing in timings] == order
    for timing in timings:
        assert len(timing.times_ms) == timing.runs == 7
        assert 0 < timing.min_ms <= timing.median_ms <= timing.p90_ms <= timing.p99_ms <= max(timing.times_ms)
        assert timing.median_ms == np.median(timing.times_ms)
        assert timing.ratio_low <= timing.ratio <= timing.ratio_high
    assert timings[0].ratio == timings[4].ratio == timings[0].ratio_low == timings[0].ratio_high == 1
    assert timings[1].ratio == pytest.approx(timings[0].median_ms / timings[1].median_ms)


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    held = 0
    for trial in range(100):
        # A machine whose speed wanders, and noise of each inference.
        slow = np.exp(np.cumsum(random.normal(0, 0.05, 60)) * 0.3)
        times = slow[:, None] * np.array([10.0, 8.0]) * random.lognormal(0, 0.1, (60, 2))
        low, high = interval(times, seed=trial)
        assert (low[0], high[0]) == (1, 1)
        held += low[1] <= 1.25 <= high[1]
    assert 85 <= held <= 100


def test_memory_of_a_fresh_process(models: list[Path]) -> None:
    found = footprint(models[0])
    assert found.load_ms > 0 and found.first_ms > 0
    assert 0 < found.model_bytes < found.resident_bytes < 1 << 30


def test_a_model_of_somebody_else_is_measured_too(models: list[Path]) -> None:
    graph = edit.graph_of(models[0].read_bytes())
    graph.signatureDefs = []
    runtime = Interpreter(edit.pack(graph))
    runtime.fill()
    runtime.invoke()
    with pytest.raises(ValueError, match="not a \\.tflite"):
        Interpreter(b"\x00" * 64)


def test_delegates(models: list[Path], tmp_path: Path) -> None:
    data = models[1].read_bytes()
    with pytest.raises(ValueError, match=r"none/lib\.so: no such file; a delegate is a shared library"):
        Interpreter(data, backend="none/lib.so")
    text = tmp_path / "lib.so"
    text.write_text("text")
    with pytest.raises(ValueError, match=r"lib\.so: cannot be loaded as a TFLite delegate"):
        Interpreter(data, backend=str(text))


def test_what_xnnpack_takes(models: list[Path]) -> None:
    ops = [op.name for op in inspect.read(models[1]).ops]
    taken = dict(zip(ops, placement(str(models[1])), strict=True))
    assert len(placement(str(models[1]))) == len(ops)
    assert taken["CONV_2D"] and taken["DEPTHWISE_CONV_2D"]
    assert not taken["RESIZE_NEAREST_NEIGHBOR"]
    assert not any(Interpreter(models[1].read_bytes(), backend=BUILTIN).delegated())


def test_the_command(models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, plot = tmp_path / "latency.json", tmp_path / "latency.png"
    config = stage.Config(models=(models[1], models[1]), runs=3, json=out, plot=plot)
    found = stage.run(config)
    assert capsys.readouterr() == ("", "")
    assert found.written == (out, plot)
    written = json.loads(out.read_text())
    assert len(written["timings"]) == len(written["footprints"]) == 2
    assert len(written["timings"][0]["times_ms"]) == 3
    assert [timing.times_ms for timing in found.timings] == [tuple(each["times_ms"]) for each in written["timings"]]
    stage.command(replace(config, overwrite=True))
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("milliseconds of an inference", "median", "p99", "in a fresh process"))
    with Image.open(plot) as image:
        assert min(image.size) > 200
    with pytest.raises(ValueError, match=r"latency\.json: already exists; allowed: --overwrite"):
        stage.run(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threads": "1,x"}, "threads: must be numbers like 1,2, got '1,x'"),
        ({"runs": 0}, "runs and threads must be at least 1, got 0"),
        ({"patience": 0.0}, "patience: must be above 0"),
        ({"delegate_options": "device"}, "delegate-options: must be like key=value"),
        ({"delegate_options": "device=usb"}, "delegate-options: needs --delegate"),
        ({"adb_serial": "emulator-5554"}, "adb-serial: needs --adb"),
        ({"adb": Path("b"), "delegate": "lib.so"}, "adb: cannot be combined"),
        ({"delegate": "libnone.so.1"}, r"libnone\.so\.1: cannot be loaded as a TFLite delegate"),
    ],
)
def test_wrong_settings(models: list[Path], changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage.run(stage.Config(**{"models": (models[1],), **changes}))  # type: ignore[arg-type]


def test_a_plot_without_matplotlib_is_refused_before_measuring(
    models: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError):
        stage.run(stage.Config(models=(models[1],), plot=tmp_path / "latency.png"))


def test_a_row_of_a_busy_machine_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    times = (330.04, 468.14, 522.43, 153.54, 117.71, 10.17, 10.26, 12.84)
    timings = tuple(Timing(model, 2, "xnnpack", 30, *times, 1 << 20, ()) for model in ("one", "other"))
    stage.tell(stage.Speeds(timings), Screen())
    shown = capsys.readouterr().out
    assert "…" not in shown
    rows = [line.split() for line in shown.splitlines() if "xnnpack" in line]
    assert [row[0] for row in rows] == ["A", "B"] and rows[0][-1] == "10.26-12.84"
