"""The runtime in a process of its own, for files that this one did not make: a crash there ends no more than that one.

Pixels and outputs go through memory that both processes see; a byte through a pipe says that they are there.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import inspect
from micro_yolo.tflite.child import Child
from micro_yolo.tflite.interpreter import Interpreter

# What a file says of its shapes is allotted before it has run.
_MOST_BYTES = 1 << 30
_ALIGN = 64
_THERE: dict[str, Any] = {}


class Apart(Interpreter):
    """An `Interpreter` of a file whose tensors, but for its inputs and outputs by signature, nobody asks for."""

    _is_asked: bool

    def __init__(self, data: bytes, *, threads: int = 1, name: str | Path = "model") -> None:
        """Load a model.

        Args:
            data: bytes of the .tflite.
            threads: of the runtime.
            name: for messages.

        Raises:
            ValueError: not a .tflite, the runtime refuses it or crashes on it.
        """
        if threads < 1:
            raise ValueError(f"threads: must be at least 1, got {threads}")
        self._read(data, name)
        self._data, self._threads = data, threads
        self._begin()

    def put(self, index: int, values: np.ndarray) -> None:
        """Give the input with this tensor index: its dtype, its shape. ValueError for others."""
        if self._owner != os.getpid():
            # A fork would speak to the process of the one it was forked from.
            self._begin()
        place = self._places[index]
        if (values.dtype, values.shape) != (place.dtype, place.shape):
            raise ValueError(
                f"{self.name}: input {index} is {place.dtype} {list(place.shape)}, got {values.dtype} "
                f"{list(values.shape)}"
            )
        place[...] = values

    def tensor(self, index: int) -> np.ndarray:
        """The output with this tensor index, as stored."""
        return self._places[index].copy()

    def invoke(self) -> None:
        """Run the graph once. Raises ValueError if the runtime fails or crashes."""
        if self._is_asked:
            self._child.again()
        else:
            self._child.ask(f"{__name__}:_invoke")
            self._is_asked = True

    def process_time(self) -> float:
        """Seconds of processor time that its process has used."""
        return self._child.process_time()

    def _begin(self) -> None:
        start, size = _layout(self.model, self.name)
        whole = size + len(self._data)
        with _memory(whole) as (handle, path):
            shared = mmap.mmap(handle, whole)
            shared[size:] = self._data
            self._places = _views(self.model, shared, start)
            self._owner, self._child = os.getpid(), Child(self.name)
            weakref.finalize(self, _end, self._child, self._owner)
            self.load_ms = self._child.ask(
                f"{__name__}:_load", path=path, size=size, threads=self._threads, name=str(self.name)
            )
            self._is_asked = False


@contextlib.contextmanager
def _memory(n_bytes: int) -> Iterator[tuple[int, str]]:
    """Memory for two processes: a descriptor, and the path by which the other opens it while the block runs.

    Raises OSError if there is not so much.
    """
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("micro-yolo")
        path = f"/proc/{os.getpid()}/fd/{handle}"
    else:
        handle, path = tempfile.mkstemp(prefix="micro-yolo-")
    try:
        # What is not there would end the process that writes to it, not raise an error.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, n_bytes)
        else:
            os.truncate(handle, n_bytes)
        yield handle, path
    finally:
        os.close(handle)
        if not hasattr(os, "memfd_create"):
            # Where files that are open cannot be removed, the system's own cleaning does.
            with contextlib.suppress(OSError):
                os.unlink(path)


def _end(child: Child, owner: int) -> None:
    if os.getpid() == owner:
        child.end()


def _load(path: str, size: int, threads: int, name: str, advance: Any) -> float:
    """Load the model behind the first `size` bytes of a file, which are to hold its tensors; milliseconds."""
    with open(path, "r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)
    runtime = Interpreter(shared[size:], threads=threads, name=name)
    start, _ = _layout(runtime.model, name)
    _THERE.update(runtime=runtime, places=_views(runtime.model, shared, start))
    return runtime.load_ms


def _invoke(advance: Any) -> None:
    runtime, places = _THERE["runtime"], _THERE["places"]
    for index in runtime.model.signature_inputs.values():
        runtime.put(index, places[index])
    runtime.invoke()
    for index in runtime.model.signature_outputs.values():
        found = runtime.seen(index)
        if (found.dtype, found.shape) != (places[index].dtype, places[index].shape):
            said = f"{places[index].dtype} {list(places[index].shape)}"
            got = f"{found.dtype} {list(found.shape)}"
            raise ValueError(f"{runtime.name}: the runtime cannot run the model: output {index} is {got}, not {said}")
        places[index][...] = found


def _layout(model: inspect.Model, name: object) -> tuple[dict[int, int], int]:
    """Where each input and output of the signature begins, and how many bytes all of them take."""
    start, size = {}, _ALIGN
    for index in (*model.signature_inputs.values(), *model.signature_outputs.values()):
        tensor = model.tensor(index)
        try:
            n_bytes = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
        except TypeError:
            raise ValueError(f"{name}: its inputs and outputs must be numbers, got {tensor.dtype}") from None
        start[index] = size
        size += -(-n_bytes // _ALIGN) * _ALIGN
        if size > _MOST_BYTES:
            raise ValueError(f"{name}: inputs and outputs must be at most {_MOST_BYTES >> 20} MiB together, got more")
    return start, size


def _views(model: inspect.Model, shared: mmap.mmap, start: dict[int, int]) -> dict[int, np.ndarray]:
    return {
        index: np.ndarray(model.tensor(index).shape, model.tensor(index).dtype, shared, offset)
        for index, offset in start.items()
    }
