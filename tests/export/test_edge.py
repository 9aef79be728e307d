"""Edge compilers on our own files: Vela itself, and stand-ins for the programs that cannot be had."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from micro_yolo.pipeline import edge as stage
from micro_yolo.tflite import advice, inspect, vela
from micro_yolo.tflite.vela import compile_for

pytest.importorskip("ethosu")


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def int8(exported: Path) -> Path:
    return exported / "export" / "model_int8_raw.tflite"


@pytest.mark.parametrize("target", ["ethos-u55-256", "ethos-u65-512", "ethos-u85-512"])
def test_every_operator_of_an_int8_file_with_raw_heads_is_on_the_npu(int8: Path, tmp_path: Path, target: str) -> None:
    found = compile_for(int8, target, out=tmp_path / "out")
    assert (found.on_cpu, found.cpu_parts, found.fallbacks) == (0, 0, ())
    assert found.operators == len(inspect.read(int8).ops) and found.npu_parts > found.operators / 2
    assert found.cycles > 1000 and found.sram_bytes > 64 * 96 * 3
    assert found.ms == pytest.approx(1000 * found.cycles / found.clock_hz, rel=1e-3)
    assert found.fps == pytest.approx(1000 / found.ms)
    assert found.flash_bytes + found.dram_bytes > 1000
    assert (
        found.layers[0][1] >= found.layers[-1][1] >= 0
        and sum(cycles for _, cycles in found.layers) >= found.cycles * 0.9
    )
    (op,) = inspect.read(tmp_path / "out" / f"model_int8_raw_{target}.tflite").ops
    assert op.name == vela.ON_NPU


def test_a_float_file_stays_on_the_cpu_and_the_reason_is_told(exported: Path) -> None:
    path = exported / "export" / "model_float32_raw.tflite"
    found = compile_for(path, "ethos-u55-256")
    assert found.on_cpu == found.operators == len(found.fallbacks)
    assert all("Float32" in each.reason for each in found.fallbacks)
    model = inspect.read(path)
    assert not any(advice.takes_ethos_u(op, list(model.tensors)) for op in model.ops)


def test_vela_refuses_in_one_line(int8: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Vela refuses it for ethos-u55-256: .*nonsense"):
        compile_for(int8, "ethos-u55-256", system="nonsense")
    with pytest.raises(ValueError, match=r"Vela did not end in 0\.01 s"):
        compile_for(int8, "ethos-u55-256", timeout=0.01)


def test_the_command(
    int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    out = tmp_path / "edge.json"
    config = stage.Config((int8,), target="ethos-u55-128,edgetpu", json=out)
    found = stage.run(config)
    assert capsys.readouterr() == ("", "")
    assert found.written == out and list(found.found[str(int8)]) == ["ethos-u55-128", "edgetpu"]
    stage.command(replace(config, overwrite=True))
    shown = capsys.readouterr().out
    assert "100.0%" in shown and "ethos-u55-128, estimated for" in shown
    assert "prediction by the published list, nothing compiled" in shown
    assert "not here: edgetpu_compiler is not on the PATH" in shown
    written = json.loads(out.read_text())["edge"][str(int8)]
    assert written["ethos-u55-128"]["on_cpu"] == 0
    assert written["edgetpu"]["compiled"] is None
    with pytest.raises(ValueError, match=r"edge\.json: already exists"):
        stage.run(config)


COMPILER = """#!/bin/sh
if [ "$1" != "--show_operations" ] || [ "$2" != "--out_dir" ]; then exit 3; fi
case "$4" in *bad*) echo "Internal compiler error. Aborting!"; exit 1;; esac
cp "$4" "$3/model_edgetpu.tflite"
echo "Edge TPU Compiler version 16.0.384591198"
echo "Number of operations that will run on Edge TPU: 20"
echo "Number of operations that will run on CPU: 1"
echo
echo "Operator                       Count      Status"
echo
echo "CONV_2D                        20         Mapped to Edge TPU"
echo "RESIZE_NEAREST_NEIGHBOR        1          Operation version not supported"
"""


def test_with_corals_compiler_its_own_log_is_reported(
    int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program(tmp_path, "edgetpu_compiler", COMPILER)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    stage.command(stage.Config((int8,), target="edgetpu", out=tmp_path / "out"))
    shown = capsys.readouterr().out
    assert "compiled: 20 operators mapped, 1 on the CPU" in shown
    assert "compiled: 1 RESIZE_NEAREST_NEIGHBOR: Operation version not supported" in shown
    assert (tmp_path / "out" / "model_edgetpu.tflite").is_file()
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(int8.read_bytes())
    with pytest.raises(ValueError, match=r"bad\.tflite: edgetpu_compiler failed: Internal compiler error"):
        stage.run(stage.Config((bad,), target="edgetpu"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "ethos-u55-265"}, "target: unknown, got 'ethos-u55-265'; nearest: ethos-u55-256"),
        ({"target": ","}, "target: name at least one; allowed: ethos-u55-32"),
        ({"models": ()}, "name at least one .tflite"),
        ({"patience": 0.0}, "patience: must be above 0"),
    ],
)
def test_wrong_settings(int8: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage.run(stage.Config(**{"models": (int8,), **changes}))  # type: ignore[arg-type]


def test_without_vela_the_extra_is_named(int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as error:
        stage.run(stage.Config((int8,)))
    assert error.value.name == "ethosu"
