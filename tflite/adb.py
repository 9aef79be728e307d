"""A TFLite benchmark binary on an Android device, by adb: push, run by turns, read what it prints, clean up.

The binary is TensorFlow Lite's own benchmark_model for the device; it is not part of this project.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from micro_yolo.tflite import inspect

PLACE = "/data/local/tmp/micro-yolo-benchmark"
# ELF's e_machine -> the name Android gives it.
_MACHINES = {3: "x86", 40: "armeabi-v7a", 62: "x86_64", 183: "arm64-v8a", 243: "riscv64"}
_AVERAGES = re.compile(
    r"Inference timings in us: Init: ([\d.e+]+), First inference: ([\d.e+]+), "
    r"Warmup \(avg\): ([\d.e+]+), Inference \(avg\): ([\d.e+]+)"
)
_LAST_RUN = re.compile(r"count=(\d+).*?min=([\d.e+]+) max=([\d.e+]+) avg=([\d.e+]+)(?: std=([\d.e+]+))?")
_MEMORY = re.compile(r"Memory footprint delta.*?overall=([\d.]+)")


@dataclass(frozen=True)
class DeviceTiming:
    """What the binary printed for one file.

    Attributes:
        model: the file.
        threads: of the runtime.
        device: model of the device.
        runs: inferences measured, all turns together.
        mean_ms: of an inference, median of the turns.
        min_ms: the fastest.
        max_ms: the slowest.
        load_ms: initialization, median of the turns.
        memory_bytes: growth of the process, median of the turns; 0 if the binary did not say.
        ratio: mean of the first file with as many threads / this one's.
    """

    model: str
    threads: int
    device: str
    runs: int
    mean_ms: float
    min_ms: float
    max_ms: float
    load_ms: float
    memory_bytes: int
    ratio: float


def benchmark(
    models: Sequence[Path],
    binary: Path,
    *,
    serial: str | None = None,
    threads: Sequence[int] = (1,),
    xnnpack: bool = True,
    runs: int = 50,
    turns: int = 3,
    timeout: float = 600,
    advance: Callable[[], None] | None = None,
) -> list[DeviceTiming]:
    """Measure .tflite files on a device.

    Args:
        models: the files; all are parsed before anything is pushed.
        binary: the benchmark_model for the device.
        serial: of the device, where several are connected.
        threads: measured one after the other.
        xnnpack: whether the binary may use XNNPACK.
        runs: inferences of a file in all turns.
        turns: times that each file is started, by turns with the others.
        timeout: seconds for one start.
        advance: called after each start.

    Raises:
        FileNotFoundError: adb, the binary or a file is missing.
        ValueError: no device, several, one that does not answer; a binary that is not for it, or fails.
    """
    for path in models:
        inspect.read(path)
    machine = _machine(binary)
    device = _Device(_serial(serial), timeout)
    abis = device.shell("getprop", "ro.product.cpu.abilist").strip().split(",")
    if machine not in abis:
        raise ValueError(
            f"{binary}: is for {machine}, the device {device.serial} runs {', '.join(abis)}; build it for one of these"
        )
    name = device.shell("getprop", "ro.product.model").strip()
    timings: list[DeviceTiming] = []
    try:
        device.shell("mkdir", "-p", PLACE)
        device.push(binary, f"{PLACE}/benchmark_model")
        device.shell("chmod", "755", f"{PLACE}/benchmark_model")
        remote = [f"{PLACE}/{number}.tflite" for number in range(len(models))]
        for path, there in zip(models, remote, strict=True):
            device.push(path, there)
        for count in threads:
            printed: list[list[_Printed]] = [[] for _ in models]
            for _ in range(turns):
                for number, there in enumerate(remote):
                    text = device.shell(
                        f"{PLACE}/benchmark_model",
                        f"--graph={there}",
                        f"--num_threads={count}",
                        f"--num_runs={-(-runs // turns)}",
                        "--warmup_runs=5",
                        f"--use_xnnpack={str(xnnpack).lower()}",
                    )
                    printed[number].append(_parse(text, models[number]))
                    if advance:
                        advance()
            timings += _summary(models, printed, count, name)
    finally:
        device.shell("rm", "-rf", PLACE, check=False)
    return timings


@dataclass(frozen=True)
class _Printed:
    runs: int
    mean_ms: float
    min_ms: float
    max_ms: float
    load_ms: float
    memory_bytes: int


class _Device:
    def __init__(self, serial: str, timeout: float) -> None:
        self.serial, self._timeout = serial, timeout

    def shell(self, *command: str, check: bool = True) -> str:
        return _adb("-s", self.serial, "shell", *command, timeout=self._timeout, check=check)

    def push(self, path: Path, there: str) -> None:
        _adb("-s", self.serial, "push", str(path), there, timeout=self._timeout)


def _adb(*command: str, timeout: float, check: bool = True) -> str:
    if shutil.which("adb") is None:
        raise FileNotFoundError("adb: not on the PATH; it comes with the Android SDK's platform tools")
    try:
        done = subprocess.run(["adb", *command], capture_output=True, text=True, timeout=timeout, errors="replace")
    except subprocess.TimeoutExpired:
        raise ValueError(f"adb {' '.join(command[:4])}: no answer in {timeout:g} s; is the device awake?") from None
    # benchmark_model writes its results to stderr or stdout, by version.
    text = done.stdout + done.stderr
    if check and done.returncode:
        told = " ".join(text.split())[-300:] or f"status {done.returncode}"
        raise ValueError(f"adb {' '.join(command[:4])}: failed: {told}")
    return text


def _serial(wanted: str | None) -> str:
    lines = _adb("devices", timeout=30).splitlines()
    found = dict(line.split()[:2] for line in lines[1:] if len(line.split()) >= 2 and not line.startswith("*"))
    if wanted is not None and wanted not in found:
        raise ValueError(f"adb-serial: no such device, got {wanted!r}; connected: {', '.join(found) or 'none'}")
    if not found:
        raise ValueError(
            "adb: no device is connected; plug one in, allow USB debugging in its developer options, "
            "and see `adb devices`"
        )
    if wanted is None and len(found) > 1:
        raise ValueError(f"adb: {len(found)} devices are connected; choose with --adb-serial: {', '.join(found)}")
    serial = wanted or next(iter(found))
    if found[serial] != "device":
        help_ = "; confirm the dialogue on its screen" if found[serial] == "unauthorized" else ""
        raise ValueError(f"adb: device {serial} cannot be used, it is {found[serial]}{help_}")
    return serial


def _machine(binary: Path) -> str:
    if not binary.is_file():
        raise FileNotFoundError(f"{binary}: no such file; must be TensorFlow Lite's benchmark_model for the device")
    with open(binary, "rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF" or len(head) < 20:
        raise ValueError(f"{binary}: must be an Android program (ELF), as benchmark_model is")
    number = int.from_bytes(head[18:20], "little")
    return _MACHINES.get(number, f"machine {number}")


def _parse(text: str, model: Path) -> _Printed:
    averages, last = _AVERAGES.search(text), [*_LAST_RUN.finditer(text)]
    if averages is None:
        told = " ".join(text.split())[-300:] or "nothing"
        raise ValueError(f"{model}: the benchmark binary printed no timings; it said: {told}")
    load, _, _, mean = (float(value) / 1000 for value in averages.groups())
    runs, least, most = (
        (int(last[-1][1]), float(last[-1][2]) / 1000, float(last[-1][3]) / 1000) if last else (1, mean, mean)
    )
    memory = _MEMORY.search(text)
    return _Printed(runs, mean, least, most, load, round(float(memory[1]) * 2**20) if memory else 0)


def _summary(
    models: Sequence[Path], printed: Sequence[Sequence[_Printed]], threads: int, device: str
) -> list[DeviceTiming]:
    def middle(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    means = [middle([each.mean_ms for each in turns]) for turns in printed]
    return [
        DeviceTiming(
            model=str(path),
            threads=threads,
            device=device,
            runs=sum(each.runs for each in turns),
            mean_ms=mean,
            min_ms=min(each.min_ms for each in turns),
            max_ms=max(each.max_ms for each in turns),
            load_ms=middle([each.load_ms for each in turns]),
            memory_bytes=int(middle([each.memory_bytes for each in turns])),
            ratio=means[0] / mean,
        )
        for path, turns, mean in zip(models, printed, means, strict=True)
    ]
