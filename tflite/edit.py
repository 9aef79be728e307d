"""The graph of a .tflite, to be changed: the schema's own mutable object tree, and what every change needs of it.

Nothing is checked here: `tflite.inspect.read` is for files that may be damaged.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
CUSTOM = "CUSTOM"
# Codes above 127 do not fit the schema's older field, which then holds this.
_PLACEHOLDER = 127


def graph_of(data: bytes) -> Any:
    """The object tree of a valid .tflite; `pack` is the way back."""
    return _schema().ModelT.InitFromPackedBuf(data, 0)


def view_of(data: bytes) -> Any:
    """The root of a .tflite by the schema's readers, which take nothing from the bytes until they are asked."""
    return _schema().Model.GetRootAs(data, 0)


def pack(tree: Any) -> bytes:
    """The bytes of a tree of `graph_of`."""
    import flatbuffers  # type: ignore[import-untyped]

    class Builder(flatbuffers.Builder):
        """Puts constants where the schema wants them (force_align: 16), which the generated code does not."""

        def StartVector(self, size: int, count: int, alignment: int) -> Any:
            return super().StartVector(size, count, 16 if size == 1 else alignment)

    builder = Builder(1 << 20)
    builder.Finish(tree.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def pack_without_orphans(tree: Any) -> bytes:
    """`pack` of a tree, without the constants that nothing reads any more."""
    used = {0, *(entry.buffer for entry in tree.metadata or [])}
    used |= {tensor.buffer for graph in tree.subgraphs for tensor in graph.tensors}
    numbers = {old: new for new, old in enumerate(sorted(used))}
    tree.buffers = [tree.buffers[old] for old in numbers]
    for entry in tree.metadata or []:
        entry.buffer = numbers[entry.buffer]
    for graph in tree.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = numbers[tensor.buffer]
    return pack(tree)


def op_names(tree: Any) -> list[str]:
    """The name of each operator code of a tree: the builtin's, or CUSTOM:NAME."""
    codes = [(_number(code), code.customCode) for code in tree.operatorCodes or []]
    names = [_builtins().get(number, f"UNKNOWN:{number}") for number, _ in codes]
    return [
        f"{CUSTOM}:{(custom or b'').decode(errors='replace')}" if name == CUSTOM else name
        for name, (_, custom) in zip(names, codes, strict=True)
    ]


def op_name(tree: Any, op: Any) -> str:
    """The name of an operator of a tree: the builtin's, or CUSTOM:NAME."""
    return op_names(tree)[op.opcodeIndex]


@cache
def dtypes() -> dict[int, str]:
    """The schema's number of each type -> its name in NumPy's words."""
    return {code: name.lower() for name, code in vars(_schema().TensorType).items() if not name.startswith("_")}


class Graph:
    """One graph of a tree.

    Attributes:
        tree: the whole file.
        main: this graph: its tensors, operators, inputs and outputs.
    """

    def __init__(self, tree: Any, number: int = 0) -> None:
        self.tree = tree
        self.main = tree.subgraphs[number]

    @classmethod
    def of(cls, data: bytes) -> Graph:
        """The main graph of a valid .tflite."""
        return cls(graph_of(data))

    @classmethod
    def every(cls, data: bytes) -> list[Graph]:
        """All graphs of a valid .tflite, of one tree."""
        tree = graph_of(data)
        return [cls(tree, number) for number in range(len(tree.subgraphs))]

    def pack(self) -> bytes:
        """The bytes of the whole file."""
        return pack(self.tree)

    def op_name(self, op: Any) -> str:
        """The name of an operator: the builtin's, or CUSTOM:NAME."""
        return op_name(self.tree, op)

    def dtype(self, index: int) -> str:
        """The type of a tensor in NumPy's words."""
        return dtypes()[self.main.tensors[index].type]

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of a tensor, as stored."""
        return tuple(int(side) for side in self.main.tensors[index].shape)

    def values(self, index: int) -> np.ndarray | None:
        """The bytes of a constant, uint8 (n,); None for what is computed."""
        found = self.tree.buffers[self.main.tensors[index].buffer].data
        return np.frombuffer(bytes(found), np.uint8) if found is not None and len(found) else None

    def readers(self, index: int) -> list[Any]:
        """The operators that read a tensor."""
        return [op for op in self.main.operators if index in op.inputs]

    def add(self, tensor: Any) -> int:
        """Append a tensor; its index."""
        self.main.tensors.append(tensor)
        return len(self.main.tensors) - 1

    def buffer(self, values: np.ndarray) -> int:
        """Append a buffer with the bytes of `values`; its number."""
        made = _schema().BufferT()
        made.data = np.frombuffer(values.tobytes(), np.uint8)
        self.tree.buffers.append(made)
        return len(self.tree.buffers) - 1

    def tensor(self, name: str, dtype: str, shape: Sequence[int], buffer: int = 0) -> int:
        """Append a tensor that is not quantized; its index."""
        made = _schema().TensorT()
        made.name, made.type, made.buffer = name.encode(), getattr(_schema().TensorType, dtype.upper()), buffer
        made.shape, made.hasRank = np.array(shape, np.int32), True
        return self.add(made)

    def constant(self, name: str, values: np.ndarray) -> int:
        """Append a tensor with `values`; its index."""
        return self.tensor(name, values.dtype.name, values.shape, self.buffer(values))

    def duplicate(self, index: int, values: np.ndarray | None = None) -> int:
        """Append a copy of a constant, with a buffer of its own that holds `values`, by default the same; its index."""
        made = copy.copy(self.main.tensors[index])
        kept = self.values(index) if values is None else values
        made.buffer = 0 if kept is None else self.buffer(kept)
        return self.add(made)

    def code(self, name: str, version: int = 1) -> int:
        """Where the file's list of operator codes has this one (as `op_name` calls it); it is added if missing."""
        builtin, _, custom = name.partition(":")
        number = getattr(_schema().BuiltinOperator, builtin)
        for index, code in enumerate(self.tree.operatorCodes):
            same = (_number(code), code.version, (code.customCode or b"").decode(errors="replace"))
            if same == (number, version, custom):
                return index
        made = _schema().OperatorCodeT()
        made.builtinCode, made.deprecatedBuiltinCode = number, min(number, _PLACEHOLDER)
        made.version, made.customCode = version, custom.encode() if custom else None
        self.tree.operatorCodes.append(made)
        return len(self.tree.operatorCodes) - 1

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        *,
        version: int = 1,
        options: str | None = None,
        **told: Any,
    ) -> Any:
        """A new operator, which is not yet among those of the graph.

        Args:
            name: as `op_name` calls it.
            inputs: tensors it reads.
            outputs: tensors it writes.
            version: of the operator.
            options: the schema's name of its table of options; None for no options.
            told: what is in that table, by the schema's names.
        """
        made = _schema().OperatorT()
        made.opcodeIndex = self.code(name, version)
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        if options is not None:
            self.set_options(made, options, **told)
        return made

    def set_options(self, op: Any, options: str, **told: Any) -> None:
        """Give an operator a new table of options."""
        op.builtinOptionsType = getattr(_schema().BuiltinOptions, options)
        op.builtinOptions = getattr(_schema(), f"{options}T")()
        for key, value in told.items():
            setattr(op.builtinOptions, key, value)

    def set_outputs(self, outputs: dict[str, int]) -> None:
        """Make these tensors the outputs of the graph and, by their names, of its signature.

        Raises:
            ValueError: the file has no signature SIGNATURE.
        """
        found = [each for each in self.tree.signatureDefs or [] if (each.signatureKey or b"").decode() == SIGNATURE]
        if not found:
            raise ValueError(f"edit: the file must have the signature {SIGNATURE}")
        self.main.outputs = np.array(list(outputs.values()), np.int32)
        found[0].outputs = []
        for name, index in outputs.items():
            entry = _schema().TensorMapT()
            entry.name, entry.tensorIndex = name.encode(), index
            found[0].outputs.append(entry)

    def set_metadata(self, name: str, content: bytes) -> None:
        """Put a buffer of metadata into the file, in the place of one of that name."""
        packed = np.frombuffer(content, np.uint8)
        for entry in self.tree.metadata or []:
            if entry.name == name.encode():
                self.tree.buffers[entry.buffer].data = packed
                return
        entry = _schema().MetadataT()
        entry.name, entry.buffer = name.encode(), self.buffer(packed)
        self.tree.metadata = [*(self.tree.metadata or []), entry]

    def drop_metadata(self, name: str) -> None:
        """Forget the metadata of that name."""
        self.tree.metadata = [entry for entry in self.tree.metadata or [] if entry.name != name.encode()]


def _schema() -> Any:
    # The generated code takes a tenth of a second, which no command line needs for its help.
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


@cache
def _builtins() -> dict[int, str]:
    return {code: name for name, code in vars(_schema().BuiltinOperator).items() if not name.startswith("_")}


def _number(code: Any) -> int:
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))
