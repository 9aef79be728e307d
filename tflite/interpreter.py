"""The one door to the TFLite runtime: any .tflite, whoever made it, by tensor numbers or the names in its signature.

To find objects with a file of ours, see tflite.detector.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import inspect

XNNPACK, BUILTIN, REFERENCE = "xnnpack", "builtin", "reference"


class Interpreter:
    """A model ready to run on one backend. Not for several threads at once.

    Attributes:
        model: what is in the file.
        name: for messages.
        output_tensors: by the names of its signature, if it has one.
        load_ms: what the runtime took to load it.
    """

    def __init__(
        self,
        data: bytes,
        *,
        threads: int = 1,
        backend: str = XNNPACK,
        options: Mapping[str, str] | None = None,
        keep_tensors: bool = False,
        name: str | Path = "model",
    ) -> None:
        """Load a model. A damaged one can crash the process: see tflite.apart.

        Args:
            data: bytes of the .tflite.
            threads: of the runtime.
            backend: XNNPACK (the runtime's default), BUILTIN (its own kernels alone), REFERENCE (its slow ones,
                which say what is right), or the library of a delegate.
            options: of the delegate.
            keep_tensors: let every tensor be read afterwards, on BUILTIN, as XNNPACK keeps its to itself.
            name: for messages.

        Raises:
            ValueError: not a .tflite, the runtime refuses it, or the delegate cannot be loaded or refuses it.
        """
        from ai_edge_litert.interpreter import Interpreter as Runtime
        from ai_edge_litert.interpreter import OpResolverType

        if threads < 1:
            raise ValueError(f"threads: must be at least 1, got {threads}")
        self._read(data, name)
        kernels = OpResolverType.AUTO
        if keep_tensors or backend != XNNPACK:
            kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        if backend == REFERENCE:
            kernels = OpResolverType.BUILTIN_REF
        delegates = [] if backend in (XNNPACK, BUILTIN, REFERENCE) else [load_delegate(backend, options or {})]
        start = time.perf_counter()
        try:
            with quiet():
                self._runtime = Runtime(
                    model_content=data,
                    num_threads=threads,
                    experimental_delegates=delegates,
                    experimental_op_resolver_type=kernels,
                    experimental_preserve_all_tensors=keep_tensors,
                )
                self._runtime.allocate_tensors()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise ValueError(f"{name}: the runtime refuses the model: {_first_line(error)}") from None
        self.load_ms = 1000 * (time.perf_counter() - start)

    @property
    def input_tensor(self) -> inspect.Tensor:
        """The input of the signature. ValueError for a file without a signature of one input, which ours all have."""
        return self.model.tensor(self._input)

    def look(self, pixels: np.ndarray) -> None:
        """Give the input of the signature uint8 (h, w, 3) pixels in its type, and run.

        Raises:
            ValueError: as `input_tensor` and `invoke`.
        """
        self.put(self._input, _stored(pixels, self.input_tensor)[None])
        self.invoke()

    def stored(self, name: str) -> np.ndarray:
        """The output that the signature calls `name`, as stored."""
        return self.tensor(self.model.signature_outputs[name])

    def value(self, name: str) -> np.ndarray:
        """The output that the signature calls `name`, as float32."""
        stored, tensor = self.stored(name), self.output_tensors[name]
        if not tensor.scales or stored.dtype == np.float32:
            return stored
        return (stored.astype(np.float32) - tensor.zero_points[0]) * np.float32(tensor.scales[0])

    def put(self, index: int, values: np.ndarray) -> None:
        """Give the input with this tensor index: its dtype, its shape. ValueError for others."""
        try:
            self._runtime.set_tensor(index, values)
        except ValueError as error:
            raise ValueError(f"{self.name}: the runtime cannot run the model on this: {_first_line(error)}") from None

    def tensor(self, index: int) -> np.ndarray:
        """The output with this tensor index, as stored; any tensor of the main graph if they are kept."""
        return self._runtime.get_tensor(index)

    def seen(self, index: int) -> np.ndarray:
        """`tensor` where the runtime has it: good until it runs again, and it will not while somebody holds this."""
        return self._runtime.tensor(index)()

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
            self.put(entry["index"], values)

    def invoke(self) -> None:
        """Run the graph once. Raises ValueError if the runtime fails."""
        try:
            self._runtime.invoke()
        except RuntimeError as error:
            raise ValueError(f"{self.name}: the runtime cannot run the model: {_first_line(error)}") from None

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

    def _read(self, data: bytes, name: str | Path) -> None:
        self.model, self.name = inspect.read(data, name), name
        self.output_tensors = {key: self.model.tensor(index) for key, index in self.model.signature_outputs.items()}

    @property
    def _input(self) -> int:
        if not self.output_tensors or len(self.model.signature_inputs) != 1:
            raise ValueError(f"{self.name}: must have a signature with one input, as ours have; not a model of ours")
        return next(iter(self.model.signature_inputs.values()))


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
        raise ValueError(f"{library}: cannot be loaded as a TFLite delegate: {_first_line(error)}") from None


def placement(path: str, *, advance: Any = None) -> list[bool]:
    """`Interpreter.delegated` of a file on XNNPACK with one thread, for tflite.child."""
    return Interpreter(inspect.read_bytes(path), name=path).delegated()


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what C++ code writes to file descriptor 2: notices to its developers; its errors come as exceptions too."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _stored(pixels: np.ndarray, tensor: inspect.Tensor) -> np.ndarray:
    """uint8 pixels as an input stores them, same shape."""
    if tensor.dtype == "float32":
        return np.asarray(pixels, np.float32)
    scale, zero_point = tensor.scales[0], tensor.zero_points[0]
    dtype = np.dtype(tensor.dtype)
    if dtype == np.uint8 and scale == 1 and zero_point == 0:
        return np.asarray(pixels, np.uint8)
    limits = np.iinfo(dtype)
    stored = np.rint(np.asarray(pixels, np.float32) / scale) + zero_point
    return np.clip(stored, limits.min, limits.max).astype(dtype)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
