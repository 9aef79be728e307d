"""The C that finds objects in grids, compiled and run as a process: grids in, objects out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from micro_yolo.tflite.contract import Contract
from micro_yolo.tflite.csource import identifier
from micro_yolo.tflite.decode import Detections
from micro_yolo.tflite.targets import mcu

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion")
SANITIZED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# Debian's gcc-arm-none-eabi with libnewlib-arm-none-eabi, and gcc-riscv64-unknown-elf without any library.
CROSS = {
    "cortex-m4": ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "cortex-m7": ("arm-none-eabi-gcc", "-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
    "cortex-m55": ("arm-none-eabi-gcc", "-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
    "rv32imc": ("riscv64-unknown-elf-gcc", "-march=rv32imc", "-mabi=ilp32", "-ffreestanding"),
    "rv64gc": ("riscv64-unknown-elf-gcc", "-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany", "-ffreestanding"),
}
SECTIONS = (".text", ".rodata", ".data", ".bss")
DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include HEADER

int main(int argc, char **argv) {
  const micro_yolo_contract *net = &CONTRACT;
  const float score = strtof(argv[1], NULL), iou = strtof(argv[2], NULL);
  const size_t n_candidates = strtoul(argv[3], NULL, 10), n_found = strtoul(argv[4], NULL, 10);
  /* As much as it is told, so that what goes further is seen. */
  micro_yolo_candidate *candidates = malloc(n_candidates * sizeof *candidates);
  micro_yolo_detection *found = malloc(n_found * sizeof *found);
  int8_t **outputs = calloc(net->outputs, sizeof *outputs);
  size_t *bytes = calloc(net->outputs, sizeof *bytes);
  int r, o;
  if (argc != 5) return 2;
  for (r = 0; r < net->rows; r++) {
    const micro_yolo_row *row = &net->row[r];
    const size_t n = (size_t)row->height * row->width * row->anchors;
    bytes[row->boxes] = n * 4;
    bytes[row->objectness] = n;
    bytes[row->classes] = n * net->classes;
  }
  for (o = 0; o < net->outputs; o++) outputs[o] = malloc(bytes[o]);
  for (;;) {
    unsigned n, i;
    for (o = 0; o < net->outputs; o++)
      if (fread(outputs[o], 1, bytes[o], stdin) != bytes[o]) break;
    if (o < net->outputs) break;
    n = (unsigned)micro_yolo_find(net, (const int8_t *const *)outputs, score, iou, candidates, n_candidates, found,
                                  n_found);
    printf("%u\n", n);
    for (i = 0; i < n; i++)
      printf("%a %a %a %a %a %d\n", (double)found[i].left, (double)found[i].top, (double)found[i].right,
             (double)found[i].bottom, (double)found[i].score, found[i].kind);
  }
  for (o = 0; o < net->outputs; o++) free(outputs[o]);
  free(outputs), free(bytes), free(candidates), free(found);
  return 0;
}
"""


def compiler(name: str = "gcc") -> str:
    """Where it is; skip, in CI fail, where it is missing."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"the C compiler {name} must be installed (.ci/run does)")
    if found is None:
        pytest.skip(f"the C compiler {name} is not on the PATH")
    return found


def build(command: Sequence[str | Path], cwd: Path) -> str:
    """Run a compiler; what it said."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000]
    return done.stdout


def cross_compiled(folder: Path, file: str, target: str) -> Counter[str]:
    """Bytes by section of what a cross compiler makes of a C file, and leaves beside it."""
    name, *options = CROSS[target]
    gcc = compiler(name)
    build([gcc, *STRICT, "-Os", "-ffunction-sections", *options, "-c", file], folder)
    size = build([gcc.replace("gcc", "size"), "-A", file.replace(".c", ".o")], folder)
    sums: Counter[str] = Counter()
    for section, taken in re.findall(r"^(\.\S+)\s+(\d+)", size, re.M):
        sums.update({kind: int(taken) for kind in SECTIONS if section.startswith(kind)})
    return sums


def write_contract(folder: Path, contract: Contract, places: Sequence[int]) -> str:
    """The contract's files and the decoder's into a folder; what their names begin with."""
    values = mcu.facts(contract.name, contract, places)
    stem = identifier(contract.name)
    for file, content in mcu.decoder().items():
        (folder / file).write_bytes(content)
    for end in ("contract.c", "contract.h"):
        (folder / f"{stem}_{end}").write_bytes(mcu.filled(end, values))
    return stem


class CDecoder:
    """The decoder of a folder, with sanitizers."""

    def __init__(self, folder: Path, stem: str, *options: str) -> None:
        (folder / "driver.c").write_text(DRIVER)
        self.program = folder / "driver"
        facts = (f'-DHEADER="{stem}_contract.h"', f"-DCONTRACT={stem}_contract")
        sources = ("driver.c", f"{stem}_contract.c", "micro_yolo.c")
        build([compiler(), *STRICT, *SANITIZED, *options, *facts, *sources, "-o", self.program], folder)

    def find(
        self, images: Sequence[Sequence[np.ndarray]], score: float, iou: float, candidates: int, most: int
    ) -> list[Detections]:
        """Objects in each image's outputs, in the order of the runtime."""
        given = b"".join(np.ascontiguousarray(output, np.int8).tobytes() for image in images for output in image)
        told = [repr(float(np.float32(value))) for value in (score, iou)]
        done = subprocess.run([self.program, *told, str(candidates), str(most)], input=given, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()[:4000]
        lines = iter(done.stdout.decode().splitlines())
        found = []
        for _ in images:
            rows = [next(lines).split() for _ in range(int(next(lines)))]
            values = np.array([[float.fromhex(value) for value in row[:5]] for row in rows], np.float32).reshape(-1, 5)
            found.append(Detections(values[:, :4], values[:, 4], np.array([int(row[5]) for row in rows], np.int32)))
        assert next(lines, None) is None
        return found
