"""Instructions an inference takes, counted by valgrind: the same on every run, whatever else the machine does.

    python benchmarks/instructions.py A.tflite B.tflite

valgrind's virtual CPU has AVX2 and no int8 dot products: what older x86-64 machines run. Needs valgrind on the PATH.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from micro_yolo.pipeline.show import cli

FEW, MANY = 1, 4
_INFERENCES = """
import sys
from pathlib import Path
from micro_yolo.tflite.benchmark import benchmark
benchmark([Path(sys.argv[1])], runs=int(sys.argv[2]), warm_up=0)
"""


@dataclass(frozen=True)
class Config:
    """Instructions an inference takes, and how many times as many as the first file's."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    """.tflite files."""


def run(config: Config) -> None:
    """Count and print. Raises FileNotFoundError without valgrind or a file."""
    if shutil.which("valgrind") is None:
        raise FileNotFoundError("valgrind: not on the PATH; install it with the system's package manager")
    missing = [model for model in config.models if not model.is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such file")
    # The difference leaves out starting Python and loading the model.
    counts = [(_count(model, MANY) - _count(model, FEW)) / (MANY - FEW) for model in config.models]
    for model, count in zip(config.models, counts, strict=True):
        print(f"{model}: {count / 1e6:.0f} million instructions, {count / counts[0]:.2f} times the first")


def _count(model: Path, inferences: int) -> int:
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", sys.executable, "-c", _INFERENCES]
    done = subprocess.run([*command, str(model), str(inferences)], capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        raise ValueError(f"{model}: valgrind could not run it: {done.stderr.strip()[-200:]}")
    return int(found[1])


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/instructions.py", description=__doc__)
