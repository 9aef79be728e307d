"""What is in a .tflite, read from its bytes by the published schema: nothing is executed, so damage cannot crash."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from micro_yolo.tflite import regular
from micro_yolo.tflite.edit import IDENTIFIER, SIGNATURE, dtypes, graph_of, op_names, view_of

RUNTIME = "min_runtime_version"
# Bits of a value of each type whose constants are plain rows of values.
_BITS = {
    **{"int2": 2, "int4": 4, "uint4": 4, "float8_e4m3fn": 8, "float8_e5m2": 8, "bfloat16": 16},
    **{"bool": 8, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "float16": 16, "int32": 32, "uint32": 32},
    **{"float32": 32, "int64": 64, "uint64": 64, "float64": 64, "complex64": 64, "complex128": 128},
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Attributes:
        name: as the converter called it.
        dtype: in NumPy's words: float32, int8, ...
        shape: as stored.
        scales: one, one per channel, or none if the tensor is not quantized.
        zero_points: as many as scales.
        constant: whether its values are in the file.
        n_bytes: of those values.
        subgraph: of the graph it belongs to; 0 is the main one.
        dynamic: whether a side of its shape is only known when it runs.
        variable: whether it keeps its values from one run to the next.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    constant: bool
    n_bytes: int
    subgraph: int = 0
    dynamic: bool = False
    variable: bool = False


@dataclass(frozen=True)
class Op:
    """An operator.

    Attributes:
        name: builtin name, CUSTOM:NAME for others.
        inputs: tensors it reads (-1: left out).
        outputs: tensors it writes.
        subgraph: of the graph it belongs to.
        version: of the operator.
        options: numbers of its options by the schema's names in camel case, such as strideW and padding.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraph: int = 0
    version: int = 1
    options: dict[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A parsed .tflite. Tensor and op lists of the subgraphs follow each other, indices count within a subgraph.

    Attributes:
        n_bytes: size of the file.
        tensors: of all subgraphs.
        ops: of all subgraphs.
        inputs: tensor indices in the main graph.
        outputs: tensor indices in the main graph.
        signature_inputs: name -> tensor index, of the signature SIGNATURE.
        signature_outputs: name -> tensor index, of the signature SIGNATURE.
        runtime: least version of the TFLite runtime, as the converter wrote it; "" if it did not.
        metadata: names of the metadata buffers.
    """

    n_bytes: int
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signature_inputs: dict[str, int]
    signature_outputs: dict[str, int]
    runtime: str = ""
    metadata: tuple[str, ...] = ()

    def tensor(self, index: int, subgraph: int = 0) -> Tensor:
        """Tensor `index` of a subgraph."""
        return [tensor for tensor in self.tensors if tensor.subgraph == subgraph][index]

    def op_counts(self) -> dict[str, int]:
        """How often each operator occurs, most frequent first."""
        return dict(Counter(op.name for op in self.ops).most_common())


def read(source: str | Path | bytes, name: str | Path | None = None) -> Model:
    """Parse a .tflite given by path or by its bytes (then `name` is for messages).

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, truncated, or not a .tflite.
    """
    if isinstance(source, bytes):
        data, name = source, name or "model"
    else:
        data, name = read_bytes(source), source
    if not data:
        raise ValueError(f"{name}: the file is empty; `python -m pipeline.convert` makes a .tflite")
    if data[4:8] != IDENTIFIER:
        raise ValueError(f"{name}: not a .tflite (its bytes 4 to 8 must be TFL3, got {data[4:8]!r})")
    try:
        return _parsed(data)
    except _DamagedError as error:
        raise ValueError(f"{name}: the .tflite is damaged or truncated: {error}") from None
    # Reading damaged offsets ends in struct.error, IndexError, TypeError, UnicodeDecodeError, MemoryError, ...
    except Exception as error:
        raise ValueError(f"{name}: the .tflite is damaged or truncated ({type(error).__name__})") from None


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a model file. Raises FileNotFoundError, or ValueError for a folder."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: must be a .tflite file, got a folder")
    try:
        return regular.read(path, regular.MAX_MODEL)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; `python -m pipeline.convert` makes a .tflite") from None


# A command comes back to the file that it looks at, or to one of a pair, and the schema's objects take long to make.
@lru_cache(maxsize=2)
def _parsed(data: bytes) -> Model:
    _check_counts(data)
    return _summarize(graph_of(data), len(data))


def _summarize(graph: Any, n_bytes: int) -> Model:
    types, names = dtypes(), op_names(graph)
    tensors: list[Tensor] = []
    ops: list[Op] = []
    for number, subgraph in enumerate(graph.subgraphs):
        for tensor in subgraph.tensors:
            quantization = tensor.quantization
            scales = _floats(quantization.scale if quantization else None)
            zero_points = _ints(quantization.zeroPoint if quantization else None)
            buffer = graph.buffers[tensor.buffer].data
            shape = _ints(tensor.shape)
            if tensor.type not in types or any(side < 0 for side in shape):
                raise ValueError("damaged")
            size = 0 if buffer is None else len(buffer)
            if size and tensor.sparsity is None:
                _check_constant((tensor.name or b"").decode(), types[tensor.type], shape, size)
            tensors.append(
                Tensor(
                    (tensor.name or b"").decode(),
                    types[tensor.type],
                    shape,
                    scales,
                    zero_points,
                    size > 0,
                    size,
                    number,
                    any(side < 0 for side in _ints(tensor.shapeSignature)),
                    bool(tensor.isVariable),
                )
            )
        n_tensors = len(subgraph.tensors)
        for op in subgraph.operators or []:
            read, written = _ints(op.inputs), _ints(op.outputs)
            if op.opcodeIndex < 0 or not all(-1 <= index < n_tensors for index in (*read, *written)):
                raise ValueError("damaged")
            version = graph.operatorCodes[op.opcodeIndex].version
            ops.append(Op(names[op.opcodeIndex], read, written, number, version, _numbers(op.builtinOptions)))
    main = graph.subgraphs[0]
    signature = next((s for s in graph.signatureDefs or [] if (s.signatureKey or b"").decode() == SIGNATURE), None)
    named_inputs, named_outputs = (
        {entry.name.decode(): int(entry.tensorIndex) for entry in (entries or [])}
        for entries in ((signature.inputs, signature.outputs) if signature else ((), ()))
    )
    n_main = len(main.tensors)
    inputs, outputs = _ints(main.inputs), _ints(main.outputs)
    for index in (*inputs, *outputs, *named_inputs.values(), *named_outputs.values()):
        if not 0 <= index < n_main:
            raise ValueError("damaged")
    buffers = {(entry.name or b"").decode(): entry.buffer for entry in graph.metadata or []}
    text = graph.buffers[buffers[RUNTIME]].data if RUNTIME in buffers else None
    runtime = "" if text is None else bytes(text[:16]).rstrip(b"\0").decode()
    return Model(
        n_bytes, tuple(tensors), tuple(ops), inputs, outputs, named_inputs, named_outputs, runtime, tuple(buffers)
    )


class _DamagedError(Exception):
    """What is in a file cannot be."""


def _check_constant(name: str, dtype: str, shape: tuple[int, ...], n_bytes: int) -> None:
    """Refuse a constant of more or less bytes than its shape and type take, as the runtime does."""
    wanted = -(-math.prod(shape) * _BITS.get(dtype, 0) // 8)
    if dtype in _BITS and n_bytes != wanted:
        raise _DamagedError(f"constant {name!r:.80}, {dtype} {list(shape)}, must have {wanted} bytes, got {n_bytes}")


def _check_counts(data: bytes) -> None:
    """Refuse a file that says it holds more than it can: the parser would take what it says for hours or gigabytes."""
    left = len(data)
    for count in _counts(view_of(data)):
        left -= count
        if left < 0:
            raise ValueError("damaged")


def _counts(model: Any) -> Iterator[int]:
    yield from (
        model.OperatorCodesLength(),
        model.SubgraphsLength(),
        model.BuffersLength(),
        model.MetadataLength(),
        model.MetadataBufferLength(),
        model.SignatureDefsLength(),
    )
    for number in range(model.SignatureDefsLength()):
        signature = model.SignatureDefs(number)
        yield signature.InputsLength() + signature.OutputsLength()
    for number in range(model.SubgraphsLength()):
        graph = model.Subgraphs(number)
        yield graph.TensorsLength() + graph.OperatorsLength() + graph.InputsLength() + graph.OutputsLength()
        for index in range(graph.TensorsLength()):
            tensor = graph.Tensors(index)
            yield tensor.ShapeLength() + tensor.ShapeSignatureLength() + tensor.VariantTensorsLength()
            found = tensor.Quantization()
            if found is not None:
                yield found.ScaleLength() + found.ZeroPointLength() + found.MinLength() + found.MaxLength()
            if tensor.Sparsity() is not None:
                yield tensor.Sparsity().DimMetadataLength()
        for index in range(graph.OperatorsLength()):
            op = graph.Operators(index)
            yield op.InputsLength() + op.OutputsLength() + op.IntermediatesLength() + op.MutatingVariableInputsLength()


def _numbers(options: Any) -> dict[str, int | float]:
    found = {} if options is None else vars(options)
    return {key: value for key, value in found.items() if isinstance(value, (int, float))}


def _floats(values: np.ndarray | None) -> tuple[float, ...]:
    return () if values is None else tuple(float(value) for value in values)


def _ints(values: np.ndarray | None) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in values)
