"""What a second process adds to a training: images per second of one, of two that do not know of each other, of two.

    python benchmarks/processes.py --data PATH --arch micro_yolo --size 160

Each process has one core and one thread and trains the same number of images a step, so that two take a batch twice as
large. The three take turns, in another order each round, and a ratio is of sides of the same round: what else the
machine does meets all three. Two apart share only the memory; what two together lose against them is the exchange of
gradients over loopback. Epochs count from the second on, without the evaluation. For a machine with nothing else to do.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.store import history, runs

ROOT = Path(__file__).resolve().parents[1]
ONE, APART, TOGETHER = "one", "two apart", "two together"
# Processes, and whether they train together.
SIDES = {ONE: (1, False), APART: (2, False), TOGETHER: (2, True)}
RATIOS = {
    "two together, of twice one": (TOGETHER, ONE, 2),
    "two together, of two apart": (TOGETHER, APART, 1),
    "two apart, of twice one": (APART, ONE, 2),
}


@dataclass(frozen=True)
class Config:
    """Images per second of one process, of two apart and of two together."""

    data: Path
    """Folder of labelled images."""
    arch: str = "micro_yolo"
    """Network."""
    size: str = "160"
    """Input size, pixels."""
    batch: int = 8
    """Images a step and process."""
    train_images: int | None = None
    """So many of the images; by default all."""
    epochs: int = 4
    """Of each training; the first is not counted."""
    rounds: int = 5
    """How often each side runs."""
    json: Path | None = None
    """A file for all that was measured."""


def run(config: Config) -> None:
    """Measure and print. Raises ValueError for counts too small, OSError for a single core or a training that fails."""
    for name, least in (("epochs", 2), ("rounds", 1)):
        if getattr(config, name) < least:
            raise ValueError(f"{name}: must be at least {least}, got {getattr(config, name)}")
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise OSError("processes: needs two cores, got one")
    rounds: list[dict[str, float]] = []
    names = list(SIDES)
    for number in range(config.rounds):
        seen = {}
        for name in names[number % len(names) :] + names[: number % len(names)]:
            count, together = SIDES[name]
            with tempfile.TemporaryDirectory() as folder:
                seen[name] = _trained(config, Path(folder), cores[:count], together=together)
        rounds.append(seen)
        print(f"round {number + 1}: {', '.join(f'{name} {seen[name]:.2f}' for name in names)} images/s", flush=True)
    speeds = {name: _spread([seen[name] for seen in rounds]) for name in names}
    ratios = {
        words: _spread([seen[above] / seen[below] / times for seen in rounds])
        for words, (above, below, times) in RATIOS.items()
    }
    for name, (lowest, middle, highest) in (*speeds.items(), *ratios.items()):
        unit = " images/s" if name in speeds else ""
        print(f"{name}: {middle:.2f} ({lowest:.2f} to {highest:.2f}){unit}")
    if config.json is not None:
        told = {
            **{name: getattr(config, name) for name in ("arch", "size", "batch", "epochs", "rounds")},
            "images_per_second": speeds,
            "ratios": ratios,
        }
        runs.write_json(config.json, told)


def _spread(values: list[float]) -> tuple[float, float, float]:
    """Lowest, median, highest."""
    return min(values), statistics.median(values), max(values)


def _trained(config: Config, folder: Path, cores: list[int], *, together: bool) -> float:
    """Images per second of all processes, one on each of `cores`."""
    places = [f"127.0.0.1:{port}" for port in _free_ports(len(cores))]
    processes = []
    for index, core in enumerate(cores):
        shared = {"cluster": {"worker": places}, "task": {"type": "worker", "index": index}}
        one_thread = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
        env = {**os.environ, **one_thread, "PYTHONPATH": str(ROOT), "TF_CONFIG": json.dumps(shared) if together else ""}
        run, batch = (folder, config.batch * len(cores)) if together else (folder / str(index), config.batch)
        command = ["taskset", "--cpu-list", str(core), *_command(config, run, batch)]
        processes.append(
            subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
    for process in processes:
        _, told = process.communicate()
        if process.returncode:
            raise OSError(f"processes: a training ended with {process.returncode}: {told.strip()[-300:]}")
    made = [folder / "train"] if together else [folder / str(index) / "train" for index in range(len(cores))]
    return sum(
        statistics.median(row["images_per_second"] for row in history.read(stage / runs.HISTORY)[1:]) for stage in made
    )


def _command(config: Config, run: Path, batch: int) -> list[str]:
    options = ["--arch", config.arch, "--size", config.size, "--batch", str(batch)]
    length = ["--epochs", str(config.epochs), "--evaluate-every", str(config.epochs)]
    if config.train_images is not None:
        length += ["--train-images", str(config.train_images)]
    return [sys.executable, "-m", "pipeline.train", "--data", str(config.data), "--run", str(run), *options, *length]


def _free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/processes.py", description=__doc__)
