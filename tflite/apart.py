"""The runtime in a process of its own, for files that this one did not make: a crash there ends no more than that one.

Pixels and outputs go through memory that both processes see; a byte through a pipe says that they are there.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import inspect
from micro_yolo.tflite.child import Child
from micro_yolo.tflite.interpreter import Interpreter, coded

# What a file says of its shapes is allotted before it has run.
_MOST_BYTES = 1 << 30
_ALIGN = 64
# Pictures that it is asked for at once: a processor that sleeps between two has to fetch the model anew.
_SLOTS = 8
# Seconds after which a sign of life is given between two.
_SIGN = 1.0
_THERE: dict[str, Any] = {}


class Apart(Interpreter):
    """An `Interpreter` of a file whose tensors, but for its inputs and outputs by signature, nobody asks for."""

    _is_asked: bool
    at_once = _SLOTS

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

    def each(self, pictures: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """See `Interpreter.each`; several are given, looked at and fetched together."""
        rest, outputs = iter(pictures), self.model.signature_outputs.items()
        for some in iter(lambda: list(islice(rest, len(self._slots))), []):
            for slot, pixels in enumerate(some):
                self._put(slot, self._input, coded(pixels, self.input_tensor)[None])
            self._ask(len(some))
            yield from [
                {name: self.plain(name, places[index].copy()) for name, index in outputs}
                for places in self._slots[: len(some)]
            ]

    def put(self, index: int, values: np.ndarray) -> None:
        """Give the input with this tensor index: its dtype, its shape. ValueError for others."""
        self._put(0, index, values)

    def _put(self, slot: int, index: int, values: np.ndarray) -> None:
        if self._owner != os.getpid():
            # A fork would speak to the process of the one it was forked from.
            self._begin()
        place = self._slots[slot][index]
        if (values.dtype, values.shape) != (place.dtype, place.shape):
            raise ValueError(
                f"{self.name}: input {index} is {place.dtype} {list(place.shape)}, got {values.dtype} "
                f"{list(values.shape)}"
            )
        place[...] = values

    def tensor(self, index: int) -> np.ndarray:
        """The output with this tensor index, as stored."""
        return self._slots[0][index].copy()

    def invoke(self) -> None:
        """Run the graph once. Raises ValueError if the runtime fails or crashes."""
        self._ask(1)

    def _ask(self, count: int) -> None:
        self._count[0] = count
        if self._is_asked:
            self._child.again()
        else:
            self._child.ask(f"{__name__}:_invoke")
            self._is_asked = True

    def process_time(self) -> float:
        """Seconds of processor time that its process has used."""
        return self._child.process_time()

    def _begin(self) -> None:
        start, step, slots = _layout(self.model, self.name)
        size = _ALIGN + slots * step
        whole = size + len(self._data)
        with _memory(whole) as (handle, path):
            shared = mmap.mmap(handle, whole)
            shared[size:] = self._data
            self._count, self._slots = _views(self.model, shared, start, step, slots)
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
    count, slots = _views(runtime.model, shared, *_layout(runtime.model, name))
    _THERE.update(runtime=runtime, count=count, slots=slots)
    return runtime.load_ms


def _invoke(advance: Any) -> None:
    until = time.monotonic() + _SIGN
    for places in _THERE["slots"][: int(_THERE["count"][0])]:
        _look(_THERE["runtime"], places)
        if time.monotonic() > until:
            advance()
            until = time.monotonic() + _SIGN


def _look(runtime: Interpreter, places: dict[int, np.ndarray]) -> None:
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


def _layout(model: inspect.Model, name: object) -> tuple[dict[int, int], int, int]:
    """Where each input and output of the signature begins in a slot, the bytes of a slot, and how many there are."""
    start, size = {}, 0
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
    return start, size, max(1, min(_SLOTS, _MOST_BYTES // max(size, 1)))


def _views(
    model: inspect.Model, shared: mmap.mmap, start: dict[int, int], step: int, slots: int
) -> tuple[np.ndarray, list[dict[int, np.ndarray]]]:
    """How many slots are to be looked at, and the tensors of each."""
    shapes = {index: (model.tensor(index).shape, model.tensor(index).dtype) for index in start}
    begins = [_ALIGN + slot * step for slot in range(slots)]
    places = [{index: np.ndarray(*shapes[index], shared, begin + start[index]) for index in start} for begin in begins]
    return np.ndarray(1, np.int32, shared, 0), places
