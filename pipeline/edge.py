"""What edge accelerators make of a .tflite: Arm's Ethos-U by Vela, Coral's Edge TPU by its compiler or its list; and
what a microcontroller needs for it, measured by TensorFlow Lite for Microcontrollers.

    python -m pipeline.edge model_int8_raw.tflite --target ethos-u55-256,edgetpu
    python -m pipeline.edge model_int8_raw.tflite --target tflm --arena 256K

Vela's milliseconds are its estimates, without the operators it leaves to the CPU. Without Coral's compiler what is said
of the Edge TPU is a prediction by the published list of operators.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from micro_yolo.model.nearest import nearest
from micro_yolo.pipeline.show import arena, cli
from micro_yolo.pipeline.show.listing import lettered, listing
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from rich.table import Table

    from micro_yolo.tflite.budget import Budget
    from micro_yolo.tflite.edgetpu import Compiled, Prediction
    from micro_yolo.tflite.vela import Estimate

PROG = "python -m pipeline.edge"
EDGE_TPU, TFLM = "edgetpu", "tflm"
DEFAULT = "ethos-u55-256,ethos-u65-512,ethos-u85-512,edgetpu"


@dataclass(frozen=True)
class Config:
    """What edge accelerators make of .tflite files."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    """Files, shown side by side."""
    target: str = DEFAULT
    """Targets, such as ethos-u55-256,edgetpu,tflm."""
    arena: str | None = None
    """RAM that tflm may have, such as 256K: whether a file fits, and the largest input with which it does."""
    flash: str | None = None
    """Flash that tflm may have for the model, such as 512K."""
    vela_config: Path | None = None
    """Vela's configuration file, for a system of your own."""
    system_config: str | None = None
    """System in it; by default Vela's for the target."""
    memory_mode: str | None = None
    """Memory mode in it; by default Vela's for the target."""
    out: Path | None = None
    """Keep the compiled files in this folder."""
    json: Path | None = None
    """Also write everything to this file."""
    patience: float = 600.0
    """Give up on a compiler after so many seconds."""
    overwrite: bool = False
    """Replace files that are there."""


@dataclass(frozen=True)
class Coral:
    """What is known of a file on the Edge TPU.

    Attributes:
        prediction: by the published list.
        compiled: what the compiler said; None if it is not here.
        median_ms: measured on a device; None if there is none.
        missing: what is not here.
    """

    prediction: Prediction
    compiled: Compiled | None
    median_ms: float | None
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What the compilers said.

    Attributes:
        found: file -> target -> what was found.
        written: --json; None if it was not asked for.
    """

    found: dict[str, dict[str, Estimate | Coral | Budget]]
    written: Path | None


def run(config: Config, show: Show = QUIET) -> Asked:
    """Compile or predict for each file and target, and write what is asked for.

    Raises ValueError or OSError for what a user can mend; ModuleNotFoundError without Vela.
    """
    from micro_yolo.tflite import inspect, vela

    targets = _targets(config.target, (*vela.TARGETS, EDGE_TPU, TFLM))
    _check(config, targets)
    for model in config.models:
        inspect.read(model)
    found: dict[str, dict[str, Estimate | Coral | Budget]] = {}
    with show.bar("compiling", len(config.models) * len(targets)) as advance:
        for model in config.models:
            here = found.setdefault(str(model), {})
            for target in targets:
                here[target] = _asked(model, target, config)
                advance()
    written = None
    if config.json is not None:
        written = runs.write_json(config.json, {"edge": found, "versions": runs.provenance()})
    return Asked(found, written)


def _targets(text: str, known: tuple[str, ...]) -> list[str]:
    targets = [target.strip() for target in text.split(",") if target.strip()]
    for target in targets:
        if target not in known:
            near = nearest(target, known, form="nearest: {}") or f"allowed: {', '.join(known)}"
            raise ValueError(f"target: unknown, got {target!r}; {near}")
    if not targets:
        raise ValueError(f"target: name at least one; allowed: {', '.join(known)}")
    return list(dict.fromkeys(targets))


def _check(config: Config, targets: list[str]) -> None:
    if not config.models:
        raise ValueError("edge: name at least one .tflite")
    if not config.patience > 0:
        raise ValueError(f"patience: must be above 0, got {config.patience}")
    if config.vela_config is not None and not config.vela_config.is_file():
        raise FileNotFoundError(f"{config.vela_config}: no such file; Vela's own is used without --vela-config")
    if config.json is not None and config.json.exists() and not config.overwrite:
        raise ValueError(f"{config.json}: already exists; allowed: --overwrite, or another name")
    if config.out is not None and config.out.is_dir() and any(config.out.iterdir()) and not config.overwrite:
        raise ValueError(f"{config.out}: is not empty; allowed: --overwrite, or another folder")
    _memory(config)
    if TFLM in targets:
        from micro_yolo.tflite import tflm

        tflm.need()
    if any(target not in (EDGE_TPU, TFLM) for target in targets) and importlib.util.find_spec("ethosu") is None:
        raise ModuleNotFoundError("ethosu", name="ethosu")


def _asked(model: Path, target: str, config: Config) -> Estimate | Coral | Budget:
    if target == TFLM:
        from micro_yolo.tflite import budget

        ram, flash = _memory(config)
        return budget.measure(model.read_bytes(), model, arena=ram, flash=flash)
    return _coral(model, config) if target == EDGE_TPU else _vela(model, target, config)


def _memory(config: Config) -> tuple[int | None, int | None]:
    """--arena and --flash in bytes."""
    from micro_yolo.tflite.budget import n_bytes

    return (
        None if config.arena is None else n_bytes(config.arena, "arena"),
        None if config.flash is None else n_bytes(config.flash, "flash"),
    )


def _vela(model: Path, target: str, config: Config) -> Estimate:
    from micro_yolo.tflite.vela import compile_for

    return compile_for(
        model,
        target,
        config=config.vela_config and config.vela_config.absolute(),
        system=config.system_config,
        memory_mode=config.memory_mode,
        out=config.out,
        timeout=config.patience,
    )


def _coral(model: Path, config: Config) -> Coral:
    from micro_yolo.tflite import edgetpu, inspect

    found = Coral(edgetpu.predict(inspect.read(model)), None, None, tuple(edgetpu.missing()))
    program = edgetpu.compiler()
    if program is None:
        return found
    found = replace(found, compiled=edgetpu.compile_with(program, model, config.out, config.patience))
    library = edgetpu.library()
    if library is None:
        return found
    try:
        return replace(found, median_ms=_median_ms(program, library, model, config))
    except ValueError as error:
        return replace(found, missing=(*found.missing, f"no Edge TPU could be used: {error}"))


def _median_ms(program: str, library: str, model: Path, config: Config) -> float:
    """Median of 50 inferences on a device, of the file as compiled for it."""
    import tempfile

    from micro_yolo.tflite import child, edgetpu

    with tempfile.TemporaryDirectory() as folder:
        edgetpu.compile_with(program, model, Path(folder), config.patience)
        compiled = next(Path(folder).glob("*.tflite"), None)
        if compiled is None:
            raise ValueError(f"{model}: the compiler left no file")
        (timing,) = child.call(
            "micro_yolo.tflite.benchmark:timings_apart",
            name=model,
            limit_memory=False,
            models=[str(compiled)],
            backends=[library],
            runs=50,
        )
    return float(timing["median_ms"])


def tell(asked: Asked, show: Show) -> None:
    """What people want to know of it."""
    found, letters = asked.found, lettered(asked.found)
    for model, letter in letters.items():
        show.say(f"{letter}  {model}")
    from micro_yolo.tflite.budget import Budget
    from micro_yolo.tflite.vela import Estimate

    for target in dict.fromkeys(target for here in found.values() for target in here):
        each_of = {letters[model]: here[target] for model, here in found.items()}
        estimates = {letter: each for letter, each in each_of.items() if isinstance(each, Estimate)}
        for each in list(estimates.values())[:1]:
            system = f"{each.system}, {each.memory_mode}, {each.clock_hz / 1e6:.0f} MHz"
            show.say(f"{target}, estimated for {system}")
        if estimates:
            show.draw(_vela_table(estimates))
        budgets = {letter: each for letter, each in each_of.items() if isinstance(each, Budget)}
        if budgets:
            show.say(f"{target}, measured by TensorFlow Lite for Microcontrollers on a 64-bit processor")
            show.draw(arena.table(budgets))
    for model, here in found.items():
        for target, said in here.items():
            for line in _lines(said):
                show.say(f"{letters[model]} {target}: {line}")
    corals = [each for here in found.values() for each in here.values() if isinstance(each, Coral)]
    for need in dict.fromkeys(need for coral in corals for need in coral.missing):
        show.say(f"{EDGE_TPU}: not here: {need}")


def _lines(said: Estimate | Coral | Budget) -> list[str]:
    from micro_yolo.tflite.vela import Estimate

    if isinstance(said, Coral):
        return _coral_lines(said)
    return _vela_lines(said) if isinstance(said, Estimate) else arena.lines(said)


def _vela_table(estimates: dict[str, Estimate]) -> Table:
    table = listing("", "on NPU", "on CPU", "cycles", "ms", "fps", "SRAM KiB", "DRAM KiB", "flash KiB")
    for letter, each in estimates.items():
        share = 100 * (1 - each.on_cpu / each.operators) if each.operators else 0.0
        memory = (each.sram_bytes, each.dram_bytes, each.flash_bytes)
        table.add_row(
            letter,
            f"{max(0.0, share):.1f}%",
            str(each.on_cpu),
            f"{each.cycles:,}",
            f"{each.ms:.2f}",
            f"{each.fps:.1f}",
            *(f"{size / 1024:,.0f}" for size in memory),
        )
    return table


def _vela_lines(estimate: Estimate) -> list[str]:
    """Where the time goes, and the operators left to the CPU, those with one reason together."""
    from micro_yolo.tflite.costs import short_name

    reasons: dict[str, list[str]] = {}
    for each in estimate.fallbacks:
        # The tensor's name in parentheses would make each reason another one.
        reasons.setdefault(each.reason.split(" (")[0], []).append(each.op)
    slowest = [(short_name(layer), cycles / estimate.cycles) for layer, cycles in estimate.layers[:4] if cycles]
    parts = [f"{layer} {100 * share:.1f}%" for layer, share in slowest]
    lines = [f"slowest: {', '.join(parts)}"] if parts else []
    for reason, ops in reasons.items():
        lines.append(f"{len(ops)} on the CPU ({', '.join(sorted(set(ops)))}): {reason}")
    return lines


def _coral_lines(coral: Coral) -> list[str]:
    found, lines = coral.prediction, []
    total = len(found.verdicts)
    if coral.compiled is not None:
        lines.append(f"compiled: {coral.compiled.mapped} operators mapped, {coral.compiled.on_cpu} on the CPU")
        lines += [f"compiled: {count} {op}: {status}" for op, count, status in coral.compiled.operators]
    least = f"{found.mapped} to {found.mapped_at_best}" if found.mapped != found.mapped_at_best else f"{found.mapped}"
    lines.append(
        f"prediction by the published list, nothing compiled: {least} of {total} operators mapped, with at least "
        f"{100 * found.macs_share:.1f}% of the MACs"
    )
    if found.ends_at is not None:
        at = found.ends_at
        lines.append(f"prediction: the segment ends at {at.op} {at.layer}: {at.reason}")
    if found.first_unsure is not None:
        at = found.first_unsure
        lines.append(f"prediction: it may end at {at.op} {at.layer}: {at.reason}")
    if not found.cached:
        lines.append("prediction: the weights do not fit in its 8 MiB, so some are sent anew for each picture")
    if coral.median_ms is not None:
        lines.append(f"measured on the device: {coral.median_ms:.2f} ms, median of 50")
    return lines


def command(config: Config) -> None:
    """Ask and tell."""
    with Screen() as show:
        asked = run(config, show)
        tell(asked, show)
    if asked.written is not None:
        print(f"wrote {asked.written}", file=sys.stderr)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
