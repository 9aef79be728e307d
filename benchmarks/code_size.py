"""Bytes of the C that finds objects in a file's grids, by cross compilers for microcontrollers.

    python benchmarks/code_size.py runs/cells/export/model_int8_raw.tflite

A table of Markdown: the decoder's code, and the constants of the file's contract, its labels and its table of
exponentials among them, compiled with -Os by Debian's gcc-arm-none-eabi and gcc-riscv64-unknown-elf.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from micro_yolo.pipeline.show import cli


@dataclass(frozen=True)
class Config:
    """Size of the code for microcontrollers."""

    model: tyro.conf.Positional[Path]
    """An int8 .tflite of ours with the raw head."""


def run(config: Config) -> None:
    """Compile for each target, and print."""
    from c_decoder import CROSS, cross_compiled, write_contract

    from micro_yolo.tflite import contract as contracts

    contract = contracts.load(config.model)
    with tempfile.TemporaryDirectory() as folder:
        stem = write_contract(Path(folder), contract, range(len(contract.outputs)))
        files = {"`micro_yolo.c`": ("micro_yolo.c", ".text"), "`NAME_contract.c`": (f"{stem}_contract.c", ".rodata")}
        print(f"| bytes | {' | '.join(CROSS)} |\n| --- |{' --- |' * len(CROSS)}")
        for name, (file, section) in files.items():
            sizes = [cross_compiled(Path(folder), file, target)[section] for target in CROSS]
            print(f"| {name}, {section} | {' | '.join(f'{size:,}' for size in sizes)} |")


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/code_size.py", description=__doc__)
