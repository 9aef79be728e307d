"""Images per second and peak memory of training, side by side: ours, an earlier version of ours, and somebody else's.

    python benchmarks/training.py --data PATH
    python benchmarks/training.py --data PATH --before ../earlier --peer "../peer/bin/python peer.py {size} {batch}"

Each side is a process of its own, and they train by turns, some steps each. The ratio is to the first, the median over
the turns. `--peer` is any command that behaves as `benchmarks/metronome.py` does: it trains with {size} pixels and
{batch} images a step, reads from stdin how many steps to go on, and answers with a line of JSON that has
`images_per_second` and `peak_mib`.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from micro_yolo.model import memory
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing
from micro_yolo.pipeline.store import runs

# Name, arguments and variables of a side.
Command = tuple[str, list[str], dict[str, str]]
HERE = Path(__file__).resolve().parent
FROZEN = "l9"


@dataclass(frozen=True)
class Config:
    """Images per second and peak memory of training, side by side."""

    data: Path
    """Folder of labelled images."""
    sizes: tuple[int, ...] = (160, 320, 416)
    """Input sizes, pixels."""
    batch: int = 8
    """Images a step."""
    rounds: int = 5
    """Turns of each side."""
    steps: int = 12
    """Steps a turn."""
    before: Path | None = None
    """Another version of this project, to measure beside this one."""
    peer: str | None = None
    """Somebody else's training."""
    json: Path | None = None
    """A file for all that was measured."""


@dataclass(frozen=True)
class Side:
    """Something that trains: a stage of ours with options, or a command."""

    name: str
    stage: str = "train"
    options: tuple[str, ...] = ("--arch", "micro_yolo")
    variables: Mapping[str, str] = field(default_factory=dict)


NETWORKS = (
    Side("micro_yolo"),
    Side("yolov3_tiny", options=("--arch", "yolov3_tiny")),
    Side("micro_yolo, QAT", "qat", ()),
)
VARIANTS = (
    Side(f"micro_yolo, frozen down to {FROZEN}", options=("--arch", "micro_yolo", "--freeze", FROZEN)),
    Side("micro_yolo, bfloat16", options=("--arch", "micro_yolo", "--precision", "bfloat16")),
    Side("micro_yolo, memory given back", variables={memory.VARIABLE: "0"}),
    # The default network, which begins with start weights and has its first rows frozen.
    Side("micro_yolo_mobile, as by default", options=()),
)


def run(config: Config) -> None:
    """Measure and print."""
    told = []
    for size in config.sizes:
        with tempfile.TemporaryDirectory() as folder:
            trained = Path(folder) / "trained"
            _train_briefly(config, size, trained)
            commands = _commands(config, size, Path(folder), trained)
            sides = _summed_up(_measured(commands, config))
        _draw(f"{size} px, {config.batch} images a step", sides)
        told.append({"size": size, "sides": sides})
    if config.json is not None:
        runs.write_json(config.json, {"batch": config.batch, "sizes": told})


def _train_briefly(config: Config, size: int, run: Path) -> None:
    """Something for QAT to go on from."""
    command = [sys.executable, "-m", "pipeline.train", "--data", str(config.data), "--arch", "micro_yolo"]
    command += ["--size", str(size), "--epochs", "1", "--warmup-epochs", "0", "--run", str(run)]
    subprocess.run(command, cwd=HERE.parent, check=True, stdout=subprocess.DEVNULL)


def _commands(config: Config, size: int, folder: Path, trained: Path) -> Iterator[Command]:
    versions = {"": HERE.parent, **({} if config.before is None else {", before": config.before.resolve()})}
    for version, root in versions.items():
        for side in (*NETWORKS, *(() if version else VARIANTS)):
            run = folder / f"{side.name}{version}".replace(" ", "_").replace(",", "")
            command = [sys.executable, str(HERE / "metronome.py"), side.stage, "--data", str(config.data.resolve())]
            command += ["--run", str(run), "--batch", str(config.batch), "--epochs", "1000", "--overwrite"]
            if side.stage == "train":
                command += ["--size", str(size)]
            else:
                shutil.copytree(trained, run)
            yield side.name + version, [*command, *side.options], {"PYTHONPATH": str(root), **side.variables}
    if config.peer is not None:
        yield "peer", shlex.split(config.peer.format(size=size, batch=config.batch)), {}


def _measured(commands: Iterator[Command], config: Config) -> dict[str, list[dict[str, float]]]:
    """Name -> its answers, one a turn."""
    found: dict[str, list[dict[str, float]]] = {}
    with _running(commands) as sides:
        # The first turn is for what happens once.
        for turn in range(config.rounds + 1):
            for name, side in sides.items():
                print(config.steps if turn else 1, file=side.stdin, flush=True)
                line = next(iter(side.stdout or ()), "")
                if not line:
                    raise ValueError(f"{name}: ended with status {side.wait()}; it must answer each line of its stdin")
                if turn:
                    found.setdefault(name, []).append(json.loads(line))
    return found


@contextmanager
def _running(commands: Iterator[Command]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    sides = {
        name: subprocess.Popen(
            command, env={**os.environ, **variables}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, command, variables in commands
    }
    try:
        yield sides
    finally:
        for side in sides.values():
            side.kill()
            side.wait()


def _summed_up(found: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    first = next(iter(found.values()))
    told = []
    for name, answers in found.items():
        ratios = [a["images_per_second"] / b["images_per_second"] for a, b in zip(answers, first, strict=True)]
        told.append(
            {
                "name": name,
                "images_per_second": statistics.median(a["images_per_second"] for a in answers),
                "ratio": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
                "peak_mib": max(a["peak_mib"] for a in answers),
            }
        )
    return told


def _draw(title: str, sides: list[dict[str, Any]]) -> None:
    table = listing("side", "images/s", "ratio", "lowest", "highest", "peak MiB", title=title)
    for side in sides:
        table.add_row(
            side["name"],
            f"{side['images_per_second']:.1f}",
            *(f"{side[name]:.2f}" for name in ("ratio", "lowest", "highest")),
            f"{side['peak_mib']:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/training.py", description=__doc__)
