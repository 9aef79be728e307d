"""Arm's compiler for Ethos-U accelerators on a .tflite: what it places on the accelerator, and what it estimates.

Vela (PyPI ethos-u-vela) runs as a process of its own. Its figures are estimates by a model of the hardware: the system
configuration and the memory mode that it assumes are part of the result.
"""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from micro_yolo.tflite import inspect

TARGETS = tuple(
    f"ethos-{core}-{macs}"
    for core, sizes in {
        "u55": (32, 64, 128, 256),
        "u65": (256, 512),
        "u85": (128, 256, 512, 1024, 2048),
    }.items()
    for macs in sizes
)
ON_NPU = "CUSTOM:ethos-u"
_REASON = re.compile(r"Warning[^\n]*operator: (\S+), ofm: '([^\n]*)'\nReason: ([^\n]+)\n?([^\n]*)")
_COUNTS = re.compile(r"^(CPU|NPU) operators = (\d+)", re.M)


@dataclass(frozen=True)
class Fallback:
    """An operator that stays on the CPU, and why."""

    layer: str
    op: str
    reason: str


@dataclass(frozen=True)
class Estimate:
    """What Vela says of one file on one target.

    Attributes:
        target: accelerator configuration, such as ethos-u55-256.
        operators: of the file.
        on_cpu: operators that are left for the CPU in the compiled file.
        npu_parts: operators on the accelerator as Vela counts them, who takes some of the file's apart.
        cpu_parts: those on the CPU as Vela counts them.
        cycles: of an inference.
        ms: of an inference, the CPU's operators not included.
        fps: inferences a second, likewise.
        clock_hz: of the accelerator.
        sram_bytes: on-chip memory used.
        dram_bytes: external memory used.
        flash_bytes: flash used, on-chip and off-chip.
        macs: multiply-accumulates, as Vela counts them.
        system: configuration assumed.
        memory_mode: assumed.
        fallbacks: the operators on the CPU.
        layers: (layer, cycles) as Vela takes the network apart, slowest first.
    """

    target: str
    operators: int
    on_cpu: int
    npu_parts: int
    cpu_parts: int
    cycles: int
    ms: float
    fps: float
    clock_hz: float
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int
    macs: int
    system: str
    memory_mode: str
    fallbacks: tuple[Fallback, ...]
    layers: tuple[tuple[str, int], ...]


def compile_for(
    path: Path,
    target: str,
    *,
    config: Path | None = None,
    system: str | None = None,
    memory_mode: str | None = None,
    out: Path | None = None,
    timeout: float = 600,
) -> Estimate:
    """Compile a file for a target.

    Args:
        path: the .tflite.
        target: one of TARGETS.
        config: Vela's configuration file with other systems; by default the one that Vela brings.
        system: system configuration in it; by default Vela's for the target.
        memory_mode: memory mode in it; by default Vela's for the target.
        out: folder for the compiled file; by default it is not kept.
        timeout: seconds.

    Raises:
        ModuleNotFoundError: Vela is not installed.
        ValueError: Vela refuses the file or the settings, crashes, or takes longer.
    """
    if importlib.util.find_spec("ethosu") is None:
        raise ModuleNotFoundError("ethosu", name="ethosu")
    before = inspect.read(path)
    command = [sys.executable, "-m", "ethosu.vela", "--accelerator-config", target, "--verbose-performance"]
    for option, value in (("config", config), ("system-config", system), ("memory-mode", memory_mode)):
        command += [f"--{option}", str(value)] if value is not None else []
    with tempfile.TemporaryDirectory() as folder:
        # Vela names its files by the input's.
        given = Path(folder) / "model.tflite"
        shutil.copyfile(path, given)
        try:
            done = subprocess.run(
                [*command, "--output-dir", folder, str(given)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"{path}: Vela did not end in {timeout:g} s for {target}") from None
        text = done.stdout + done.stderr
        summaries = [*Path(folder).glob("model_summary_*.csv")]
        compiled = Path(folder) / "model_vela.tflite"
        if done.returncode or not summaries or not compiled.is_file():
            raise ValueError(f"{path}: Vela refuses it for {target}: {_refusal(before, text, done.returncode)}")
        after = inspect.read(compiled)
        (row,) = csv.DictReader(summaries[0].read_text().splitlines())
        estimate = _estimate(target, before, after, row, text, Path(folder) / "model_per-layer.csv")
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(compiled, out / f"{path.stem}_{target}.tflite")
    return estimate


def _estimate(
    target: str, before: inspect.Model, after: inspect.Model, row: dict[str, str], text: str, layers: Path
) -> Estimate:
    reasons = {(op, layer): _sentence(*why) for op, layer, *why in _REASON.findall(text)}
    by_layer = {layer.removesuffix("_act"): reason for (_, layer), reason in reasons.items()}
    fallbacks = []
    for op in after.ops:
        if op.name == ON_NPU:
            continue
        layer = after.tensor(op.outputs[0], op.subgraph).name if op.outputs else ""
        # Vela takes a fused activation for an operator of its own, and calls what is in front of it "..._act".
        known = reasons.get((op.name.split(":")[0], layer)) or by_layer.get(layer.removesuffix("_act"))
        fallbacks.append(Fallback(layer, op.name, known or "left to the CPU by Vela, which does not say why"))
    parts = {where: int(count) for where, count in _COUNTS.findall(text)}
    seconds = float(row["inference_time"])

    def kib(*names: str) -> int:
        return round(1024 * sum(float(row.get(name) or 0) for name in names))

    return Estimate(
        target=target,
        operators=len(before.ops),
        on_cpu=len(fallbacks),
        npu_parts=parts.get("NPU", 0),
        cpu_parts=parts.get("CPU", 0),
        cycles=round(float(row["cycles_total"])),
        ms=1000 * seconds,
        fps=1 / seconds if seconds else 0.0,
        clock_hz=float(row["core_clock"]),
        sram_bytes=kib("sram_memory_used"),
        dram_bytes=kib("dram_memory_used"),
        flash_bytes=kib("on_chip_flash_memory_used", "off_chip_flash_memory_used"),
        macs=round(float(row["nn_macs"])),
        system=row["system_config"],
        memory_mode=row["memory_mode"],
        fallbacks=tuple(fallbacks),
        layers=_cycles(layers),
    )


def _cycles(path: Path) -> tuple[tuple[str, int], ...]:
    if not path.is_file():
        return ()
    rows = csv.DictReader(path.read_text(errors="replace").splitlines())
    cycles: dict[str, int] = {}
    for row in rows:
        cycles[row["Name"]] = cycles.get(row["Name"], 0) + round(float(row["Op Cycles"] or 0))
    return tuple(sorted(cycles.items(), key=lambda item: -item[1]))


def _sentence(reason: str, more: str) -> str:
    if reason == "Unsupported opType":
        return "not in Vela's list of operators"
    return "; ".join(part.strip() for part in (reason, more) if part.strip())


def _refusal(model: inspect.Model, text: str, code: int) -> str:
    """Vela's last words; it has none for kernels of four bits, on which it ends by a signal."""
    if code < 0 and any(tensor.dtype == "int4" for tensor in model.tensors):
        return f"it crashes on int4 weights (status {code}); `python -m pipeline.convert --pack none` keeps a byte each"
    return _last(text, code)


def _last(text: str, code: int) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and "Warning: No " not in line]
    return lines[-1][:300] if lines else f"status {code}"
