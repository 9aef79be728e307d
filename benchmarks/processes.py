"""What a second process adds to a training: images per second of one, of two that do not know of each other, of two.

    python benchmarks/processes.py --data PATH --arch micro_yolo --size 160

Each process has one core and one thread and trains the same number of images a step, so that two take a batch twice as
large. The three take turns. Two apart share only the memory; what two together lose against them is the exchange of
gradients over loopback. Epochs count from the second on, without the evaluation.
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
    epochs: int = 3
    """Of each training; the first is not counted."""
    rounds: int = 2
    """How often each side runs."""


def run(config: Config) -> None:
    """Measure and print. Raises OSError where there is a single core or a training fails."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise OSError("processes: needs two cores, got one")
    sides = {"one": (1, False), "two apart": (2, False), "two together": (2, True)}
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(config.rounds):
        for name, (count, together) in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                seen[name].append(_trained(config, Path(folder), cores[:count], together=together))
            print(f"round {number + 1}: {name} {seen[name][-1]:.2f} images/s", flush=True)
    one, apart, both = (statistics.median(seen[name]) for name in sides)
    print(f"one {one:.2f}, two apart {apart:.2f}, two together {both:.2f} images/s")
    print(f"efficiency: {both / one / 2:.2f} of twice one, {both / apart:.2f} of two apart")


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
    return [sys.executable, "-m", "pipeline.train", "--data", str(config.data), "--run", str(run), *options, *length]


def _free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/processes.py", description=__doc__)
