"""Measuring on a device, with a stand-in for adb that says what adb and TFLite's benchmark_model say."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from micro_yolo.pipeline import benchmark as stage

ADB = r"""#!/bin/sh
here=$(dirname "$0")
echo "$@" >> "$here/calls"
if [ "$1" = devices ]; then cat "$here/devices"; exit 0; fi
[ "$1" = -s ] || exit 9
shift 2
case "$*" in
"shell getprop ro.product.cpu.abilist") echo "arm64-v8a,armeabi-v7a";;
"shell getprop ro.product.model") echo "Pixel 7";;
push*) [ -f "$2" ] || exit 1; echo "$2: 1 file pushed";;
"shell /data"*) cat "$here/printed"; exit "$(cat "$here/status")";;
shell*) ;;
*) exit 9;;
esac
"""
PRINTED = """INFO: Initialized session in 5.7ms.
count=17 first=3500 curr=2400 min=2200 max=4100 avg=2500.5 std=300
Inference timings in us: Init: 5700, First inference: 3500, Warmup (avg): 2600.5, Inference (avg): 2500.5
Memory footprint delta from the start of the tool (MB): init=3.5 overall=8.25
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    adb = tmp_path / "adb"
    adb.write_text(ADB)
    adb.chmod(adb.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "devices").write_text("List of devices attached\nABC123\tdevice\n\n")
    (tmp_path / "printed").write_text(PRINTED)
    (tmp_path / "status").write_text("0")
    elf = bytearray(64)
    elf[:4] = b"\x7fELF"
    elf[18] = 183
    (tmp_path / "benchmark_model").write_bytes(elf)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def config(exported: Path, place: Path, **changes: object) -> stage.Config:
    models = tuple(exported / "export" / f"model_{variant}.tflite" for variant in ("float32", "int8"))
    given = {"models": models, "adb": place / "benchmark_model", "threads": "1,2", **changes}
    return stage.Config(**given)  # type: ignore[arg-type]


def test_files_are_pushed_run_by_turns_and_removed(
    exported: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.command(config(exported, place, json=place / "device.json"))
    assert len(json.loads((place / "device.json").read_text())["device"]) == 4
    first = json.loads((place / "device.json").read_text())["device"][0]
    assert first["device"] == "Pixel 7"
    assert (first["mean_ms"], first["min_ms"], first["max_ms"], first["load_ms"]) == (2.5005, 2.2, 4.1, 5.7)
    assert first["memory_bytes"] == round(8.25 * 2**20)
    assert (first["runs"], first["ratio"]) == (3 * 17, 1)
    assert "2.50" in capsys.readouterr().out
    calls = (place / "calls").read_text().splitlines()
    runs = [call for call in calls if "--graph=" in call]
    assert len(runs) == 2 * 3 * 2
    assert ["0.tflite" in call for call in runs[:4]] == [True, False, True, False]
    assert "--num_threads=1 --num_runs=17 --warmup_runs=5 --use_xnnpack=true" in runs[0]
    assert calls[-1].endswith("shell rm -rf /data/local/tmp/micro-yolo-benchmark")


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ("", "adb: no device is connected; plug one in"),
        ("ABC\tunauthorized\n", "adb: device ABC cannot be used, it is unauthorized; confirm the dialogue"),
        ("ABC\toffline\n", "adb: device ABC cannot be used, it is offline"),
        ("ABC\tdevice\nDEF\tdevice\n", "adb: 2 devices are connected; choose with --adb-serial: ABC, DEF"),
    ],
)
def test_devices_that_cannot_be_used(exported: Path, place: Path, devices: str, message: str) -> None:
    (place / "devices").write_text(f"List of devices attached\n{devices}\n")
    with pytest.raises(ValueError, match=message):
        stage.run(config(exported, place))


def test_what_else_may_be_missing(exported: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="adb-serial: no such device, got 'XYZ'; connected: ABC123"):
        stage.run(config(exported, place, adb_serial="XYZ"))
    with pytest.raises(FileNotFoundError, match="none: no such file; must be TensorFlow Lite's benchmark_model"):
        stage.run(config(exported, place, adb=place / "none"))
    with pytest.raises(ValueError, match="printed: must be an Android program"):
        stage.run(config(exported, place, adb=place / "printed"))
    elf = bytearray((place / "benchmark_model").read_bytes())
    elf[18] = 62
    (place / "x86").write_bytes(elf)
    with pytest.raises(ValueError, match="x86: is for x86_64, the device ABC123 runs arm64-v8a, armeabi-v7a"):
        stage.run(config(exported, place, adb=place / "x86"))
    with pytest.raises(ValueError, match="xnnpack: must be on or off with --adb"):
        stage.run(config(exported, place, xnnpack="both"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(FileNotFoundError, match="adb: not on the PATH"):
        stage.run(config(exported, place))


def test_a_binary_that_fails_is_told_and_the_device_left_clean(exported: Path, place: Path) -> None:
    (place / "printed").write_text("ERROR: Didn't find op for builtin opcode\n")
    with pytest.raises(ValueError, match=r"model_float32\.tflite: the benchmark binary printed no timings; .*opcode"):
        stage.run(config(exported, place))
    (place / "status").write_text("139")
    with pytest.raises(ValueError, match=r"adb -s ABC123 shell /data.*benchmark_model: failed: ERROR"):
        stage.run(config(exported, place))
    assert (place / "calls").read_text().splitlines()[-1].endswith("rm -rf /data/local/tmp/micro-yolo-benchmark")
