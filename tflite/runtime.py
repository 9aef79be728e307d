"""Any .tflite in the runtime, whoever made it: with or without XNNPACK, with a delegate, its inputs filled with noise.

For measuring. To find objects with a file of ours, see tflite.detector.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import inspect
from micro_yolo.tflite.detector import quiet

XNNPACK, BUILTIN = "xnnpack", "builtin"


class Runtime:
    """A model ready to run on one backend.

    Attributes:
        model: what is in the file.
        load_ms: what the runtime took to load it.
    """

    def __init__(
        self,
        data: bytes,
        *,
        threads: int = 1,
        backend: str = XNNPACK,
        options: Mapping[str, str] | None = None,
        name: str | Path = "model",
    ) -> None:
        """Load a model. A damaged one can crash the process: see tflite.child.

        Args:
            data: bytes of the .tflite.
            threads: of the runtime.
            backend: XNNPACK (the runtime's default), BUILTIN (its own kernels alone), or the library of a delegate.
            options: of the delegate.
            name: for messages.

        Raises:
            ValueError: not a .tflite, the runtime refuses it, or the delegate cannot be loaded or refuses it.
        """
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        if threads < 1:
            raise ValueError(f"threads: must be at least 1, got {threads}")
        self.model = inspect.read(data, name)
        self.name = name
        delegates = [] if backend in (XNNPACK, BUILTIN) else [load_delegate(backend, options or {})]
        kinds = OpResolverType
        start = time.perf_counter()
        try:
            with quiet():
                self._runtime = Interpreter(
                    model_content=data,
                    num_threads=threads,
                    experimental_delegates=delegates,
                    experimental_op_resolver_type=(
                        kinds.AUTO if backend == XNNPACK else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                    ),
                )
                self._runtime.allocate_tensors()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise ValueError(f"{name}: the runtime refuses the model: {_line(error)}") from None
        self.load_ms = 1000 * (time.perf_counter() - start)

    def fill(self) -> None:
        """Give every input noise, the same each time: integers of their whole range, floats of 0..255 like pixels.

        Raises ValueError for an input whose type has no noise.
        """
        random = np.random.default_rng(0)
        for entry in self._runtime.get_input_details():
            dtype, shape = np.dtype(entry["dtype"]), entry["shape"]
            if dtype == np.bool_:
                values: Any = random.integers(0, 2, shape).astype(bool)
            elif dtype.kind == "f":
                values = random.integers(0, 256, shape).astype(dtype)
            elif dtype in (np.int8, np.uint8, np.int16):
                limits = np.iinfo(dtype)
                values = random.integers(limits.min, limits.max, shape, dtype, endpoint=True)
            elif dtype.kind in "iu":
                values = np.zeros(shape, dtype)
            else:
                raise ValueError(f"{self.name}: input {entry['name']!r} is of a type that cannot be filled, {dtype}")
            self._runtime.set_tensor(entry["index"], values)

    def set(self, index: int, values: np.ndarray) -> None:
        """Give the input with this tensor index: its dtype, its shape."""
        self._runtime.set_tensor(index, values)

    def get(self, index: int) -> np.ndarray:
        """The output with this tensor index, as stored."""
        return self._runtime.get_tensor(index)

    def invoke(self) -> None:
        """Run the graph once. Raises ValueError if the runtime fails."""
        try:
            self._runtime.invoke()
        except RuntimeError as error:
            raise ValueError(f"{self.name}: the runtime cannot run the model: {_line(error)}") from None

    def delegated(self) -> list[bool]:
        """For each operator of the main graph, whether the delegate (or XNNPACK) runs it and not a kernel of TFLite."""
        ops = [op for op in self.model.ops if op.subgraph == 0]
        writer = {index: number for number, op in enumerate(ops) for index in op.outputs}
        found = [False] * len(ops)
        # The runtime lists its delegates behind the operators of the file, with what they read and write.
        for node in self._runtime._get_ops_details()[len(ops) :]:
            entries, open_tensors = {int(index) for index in node["inputs"]}, [int(index) for index in node["outputs"]]
            while open_tensors:
                number = writer.get(index) if (index := open_tensors.pop()) not in entries else None
                if number is not None and not found[number]:
                    found[number] = True
                    open_tensors += ops[number].inputs
        return found


def load_library() -> None:
    """Load the runtime's library, which otherwise comes with the first model."""
    import ai_edge_litert.interpreter  # noqa: F401


def load_delegate(library: str, options: Mapping[str, str]) -> Any:
    """A delegate from a shared library. Raises ValueError if it cannot be loaded."""
    from ai_edge_litert.interpreter import load_delegate as load

    if os.sep in library and not Path(library).exists():
        raise ValueError(f"{library}: no such file; a delegate is a shared library (.so, .dylib, .dll)")
    try:
        with quiet():
            # The runtime leaves noise behind when it cannot load a library, so it is tried without it first.
            if not hasattr(ctypes.CDLL(library), "tflite_plugin_create_delegate"):
                raise ValueError("has no tflite_plugin_create_delegate")
            return load(library, dict(options))
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"{library}: cannot be loaded as a TFLite delegate: {_line(error)}") from None


def placement(path: str, *, advance: Any = None) -> list[bool]:
    """`Runtime.delegated` of a file on XNNPACK with one thread, for tflite.child."""
    return Runtime(inspect.read_bytes(path), name=path).delegated()


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
