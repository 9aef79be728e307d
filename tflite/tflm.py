"""The one door to TensorFlow Lite for Microcontrollers (PyPI tflite-micro): files run by it, memory measured by it.

The package is the runtime itself with its reference kernels, for a 64-bit processor. Its arena holds pointers, which
are half as long on a microcontroller, so what is measured here is enough there; kernels made for a processor (CMSIS-NN,
ESP-NN) may take scratch memory besides.
"""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import child, edit, inspect
from micro_yolo.tflite.inspect import Model

PACKAGE = "tflite_micro"
# The runtime wants its arena to begin and end so.
ALIGNMENT = 16
# An arena that no file asks for; memory that is not touched costs nothing.
_PLENTY = 1 << 30
# Types that its kernels take; it has no half precision at all.
_TYPES = ("int4", "int8", "uint8", "int16", "int32", "int64", "float32", "bool")
_INSTEAD = "`python -m pipeline.convert --int8 --head raw` makes a file for it"
_USED = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_UNKNOWN = re.compile(r"Didn't find op for builtin opcode '(\w+)'")
_FAILED = re.compile(r"Node (\w+) \(number (\d+)f?\) failed to (?:prepare|invoke)")


@dataclass(frozen=True)
class Allocation:
    """Memory of a file in the runtime.

    Attributes:
        arena_bytes: the least arena with which it loads and runs, a multiple of ALIGNMENT.
        activation_bytes: of it, what activations share.
        persistent_bytes: of it, what stays: the runtime's own structures, and multipliers of each channel.
    """

    arena_bytes: int
    activation_bytes: int
    persistent_bytes: int


class Micro:
    """A model in the runtime. Not for several threads at once.

    Attributes:
        model: what is in the file.
    """

    def __init__(self, data: bytes, *, arena_bytes: int = _PLENTY, name: str | Path = "model") -> None:
        """Load a model. A damaged one can crash the process: see `measure`.

        Raises:
            ModuleNotFoundError: the runtime is not installed.
            ValueError: not a .tflite, or the runtime cannot run it, and why.
        """
        need()
        from tflite_micro.python.tflite_micro import runtime

        self.model, self.name = inspect.read(data, name), name
        reason = stranger(self.model)
        if reason:
            raise ValueError(f"{name}: {reason}")
        try:
            with said() as lines:
                self._runtime = runtime.Interpreter.from_bytes(data, arena_size=arena_bytes)
        except RuntimeError as error:
            raise ValueError(f"{name}: {_why(lines(), error, self.model, arena_bytes)}") from None

    def look(self, pixels: np.ndarray) -> None:
        """Give the input uint8 (h, w, 3) pixels, and run. Raises ValueError if the runtime fails."""
        self.put(pixels[None])
        self.invoke()

    def put(self, values: np.ndarray) -> None:
        """Give the first input values: its type, its shape."""
        self._runtime.set_input(values, 0)

    def invoke(self) -> None:
        """Run the graph once. Raises ValueError if the runtime fails."""
        try:
            with said() as lines:
                self._runtime.invoke()
        except RuntimeError as error:
            raise ValueError(f"{self.name}: {_why(lines(), error, self.model, 0)}") from None

    def stored(self, number: int) -> np.ndarray:
        """Output `number` in the order of the file, as stored."""
        return self._runtime.get_output(number)

    def used(self) -> dict[str, int]:
        """Bytes of the arena as the runtime's own recorder has them: total, head and tail."""
        with said() as lines:
            self._runtime.print_allocations()
        return {which: int(size) for which, size in _USED.findall(lines())}


def need() -> None:
    """Raise ModuleNotFoundError, which command lines turn into what to install, unless the runtime is here."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise ModuleNotFoundError(PACKAGE, name=PACKAGE)


def measure(data: bytes, name: str | Path = "model") -> Allocation:
    """Run a file in a process of its own, and find the least arena that it loads and runs with.

    Raises:
        ModuleNotFoundError: the runtime is not installed.
        ValueError: the runtime cannot run the file: which operator, which tensor, and what to do.
    """
    need()
    inspect.read(data, name)
    with tempfile.TemporaryDirectory(prefix="micro-yolo-") as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        found = child.call("micro_yolo.tflite.tflm:measure_file", name=name, path=str(path), called=str(name))
    return Allocation(**found)


def measure_file(path: str, called: str, *, advance: Any = None) -> dict[str, int]:
    """`measure` of a file, for tflite.child."""
    data = Path(path).read_bytes()
    model = Micro(data, name=called)
    used = model.used()

    def loads(size: int) -> bool:
        advance()
        try:
            Micro(data, arena_bytes=size, name=called)
        except ValueError:
            return False
        return True

    # What the recorder adds up leaves out gaps of alignment and memory for planning that is given back.
    low, high = _whole(used["total"]) - ALIGNMENT, _whole(used["total"])
    while not loads(high):
        low, high = high, _whole(high + (high >> 3) + 1024)
    while loads(low):
        low, high = _whole(low - (low >> 3) - ALIGNMENT), low
    while high - low > ALIGNMENT:
        middle = _whole((low + high) // 2)
        low, high = (low, middle) if loads(middle) else (middle, high)
    least = Micro(data, arena_bytes=high, name=called)
    (first, *_) = least.model.inputs
    tensor = least.model.tensor(first)
    least.put(np.zeros(tensor.shape, tensor.dtype))
    least.invoke()
    return {"arena_bytes": high, "activation_bytes": used["head"], "persistent_bytes": high - used["head"]}


def stranger(model: Model) -> str | None:
    """What the runtime takes from no file, shapes that change and types it does not have; None if there is nothing."""
    for op in model.ops:
        for index in (*op.inputs, *op.outputs):
            if index < 0:
                continue
            tensor = model.tensor(index, op.subgraph)
            if tensor.dynamic:
                return (
                    f"microcontrollers have no memory for shapes that change: {tensor.name or f'tensor {index}'} of "
                    f"{op.name} has one; convert it with a fixed size and a batch of 1"
                )
            if tensor.dtype not in _TYPES:
                return f"TFLM has no {tensor.dtype}: {tensor.name or f'tensor {index}'} of {op.name}; {_INSTEAD}"
    return None


@contextmanager
def said() -> Iterator[Any]:
    """Catch what the runtime writes to file descriptor 2, its only word on errors; yields a function that reads it."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        text: list[str] = []
        try:
            yield lambda: text[0]
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            text.append(file.read().decode(errors="replace"))


def _whole(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _why(text: str, error: Exception, model: Model, arena_bytes: int) -> str:
    """The runtime's words as one line that says which operator, which tensor, and what to do."""
    unknown, failed = _UNKNOWN.search(text), _FAILED.search(text)
    if unknown:
        op = next((op for op in model.ops if op.name == unknown[1]), None)
        where = f", which makes {_tensor(model, op)}" if op else ""
        return f"TFLM has no operator {unknown[1]}{where}; a network without it, or another runtime"
    if "allocate" in text and not failed:
        return (
            f"an arena of {arena_bytes:,} bytes is too small; `python -m pipeline.edge FILE --target tflm` measures it"
        )
    said = " ".join(text.split())[:300] or str(error)
    if failed:
        ops = [op for op in model.ops if op.subgraph == 0]
        number = int(failed[2])
        where = f" {failed[1]}, which makes {_tensor(model, ops[number])}," if number < len(ops) else f" {failed[1]}"
        return f"TFLM cannot run{where} as it is: {said}; {_INSTEAD}"
    return f"TFLM refuses it: {said}"


def _tensor(model: Model, op: inspect.Op) -> str:
    if not op.outputs:
        return "nothing"
    tensor = model.tensor(op.outputs[0], op.subgraph)
    return f"{tensor.name or f'tensor {op.outputs[0]}'} ({tensor.dtype} {list(tensor.shape)})"


def operators(model: Model) -> tuple[str, ...]:
    """The operators of a file, each once, in the order they are first used."""
    return tuple(dict.fromkeys(op.name.removeprefix(f"{edit.CUSTOM}:") for op in model.ops))
