"""What is in a .tflite, read from its bytes by the published schema: nothing is executed, so damage cannot crash."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"


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
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    constant: bool
    n_bytes: int
    subgraph: int = 0


@dataclass(frozen=True)
class Op:
    """An operator: its builtin name (CUSTOM:NAME for others) and the tensors it reads and writes (-1: left out)."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraph: int = 0


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
    """

    n_bytes: int
    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    signature_inputs: dict[str, int]
    signature_outputs: dict[str, int]

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
    from ai_edge_litert import schema_py_generated as schema

    try:
        return _summarize(schema, schema.ModelT.InitFromPackedBuf(data, 0), len(data))
    # Reading damaged offsets ends in struct.error, IndexError, TypeError, UnicodeDecodeError, MemoryError, ...
    except Exception as error:
        raise ValueError(f"{name}: the .tflite is damaged or truncated ({type(error).__name__})") from None


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a model file. Raises FileNotFoundError, or ValueError for a folder."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: must be a .tflite file, got a folder")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; `python -m pipeline.convert` makes a .tflite") from None


def graph_of(data: bytes) -> Any:
    """The schema's own mutable object tree of a valid .tflite, for those who edit it; see `pack`."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(data, 0)


def pack(graph: Any) -> bytes:
    """The bytes of a tree of `graph_of`."""
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(graph.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def op_name(graph: Any, op: Any) -> str:
    """The builtin name of an operator of `graph_of`, or CUSTOM:NAME."""
    from ai_edge_litert import schema_py_generated as schema

    return _op_names(schema, graph)[op.opcodeIndex]


def _op_names(schema: Any, graph: Any) -> list[str]:
    known = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    # Codes above 127 do not fit the older field, which then holds a placeholder.
    codes = [(max(code.builtinCode, code.deprecatedBuiltinCode), code.customCode) for code in graph.operatorCodes or []]
    names = [known.get(number, f"UNKNOWN:{number}") for number, _ in codes]
    return [
        f"CUSTOM:{(custom or b'').decode(errors='replace')}" if name == "CUSTOM" else name
        for name, (_, custom) in zip(names, codes, strict=True)
    ]


def _summarize(schema: Any, graph: Any, n_bytes: int) -> Model:
    dtypes = {code: name.lower() for name, code in vars(schema.TensorType).items() if not name.startswith("_")}
    op_names = _op_names(schema, graph)
    tensors: list[Tensor] = []
    ops: list[Op] = []
    for number, subgraph in enumerate(graph.subgraphs):
        for tensor in subgraph.tensors:
            quantization = tensor.quantization
            scales = _floats(quantization.scale if quantization else None)
            zero_points = _ints(quantization.zeroPoint if quantization else None)
            buffer = graph.buffers[tensor.buffer].data
            shape = _ints(tensor.shape)
            if tensor.type not in dtypes or any(side < 0 for side in shape):
                raise ValueError("damaged")
            size = 0 if buffer is None else len(buffer)
            tensors.append(
                Tensor(tensor.name.decode(), dtypes[tensor.type], shape, scales, zero_points, size > 0, size, number)
            )
        for op in subgraph.operators or []:
            ops.append(Op(op_names[op.opcodeIndex], _ints(op.inputs), _ints(op.outputs), number))
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
    return Model(n_bytes, tuple(tensors), tuple(ops), inputs, outputs, named_inputs, named_outputs)


def _floats(values: np.ndarray | None) -> tuple[float, ...]:
    return () if values is None else tuple(float(value) for value in values)


def _ints(values: np.ndarray | None) -> tuple[int, ...]:
    return () if values is None else tuple(int(value) for value in values)
