"""What is in a .tflite: inputs and outputs, operators, tensor types, and whether its contract fits. Runs nothing.

python -m pipeline.inspect model_int8.tflite --tensors
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from pipeline import cli

if TYPE_CHECKING:
    from tflite.inspect import Model, Tensor

PROG = "python -m pipeline.inspect"


@dataclass(frozen=True)
class Config:
    """Show what is in a .tflite."""

    model: tyro.conf.Positional[Path]
    """The file."""
    tensors: bool = False
    """List every tensor."""
    json: bool = False
    """Print everything as JSON."""


def run(config: Config) -> Model:
    """Print what is in the file. Raises FileNotFoundError, or ValueError if it is no .tflite."""
    from tflite import inspect

    data = inspect.read_bytes(config.model)
    model = inspect.read(data, config.model)
    if config.json:
        print(json.dumps({**asdict(model), "op_counts": model.op_counts()}, indent=1))
        return model
    _show(config, data, model)
    return model


def _show(config: Config, data: bytes, model: Model) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    types = Counter(tensor.dtype for tensor in model.tensors)
    console.print(
        escape(f"{config.model}: {model.n_bytes / 2**20:.2f} MiB; {_contract(config.model, data)}"), soft_wrap=True
    )
    console.print(
        "operators: " + escape(", ".join(f"{count} {name}" for name, count in model.op_counts().items())),
        soft_wrap=True,
    )
    console.print("tensors: " + ", ".join(f"{count} {name}" for name, count in types.most_common()))
    table = Table("", "tensor", "type", "shape", "scale", "zero point")
    names = {index: name for name, index in (*model.signature_inputs.items(), *model.signature_outputs.items())}
    for direction, indices in (("in", model.inputs), ("out", model.outputs)):
        for index in indices:
            tensor = model.tensor(index)
            table.add_row(direction, escape(names.get(index, tensor.name)), *_row(tensor))
    if config.tensors:
        for tensor in model.tensors:
            table.add_row("const" if tensor.constant else "", escape(tensor.name), *_row(tensor))
    console.print(table)


def _row(tensor: Tensor) -> tuple[str, str, str, str]:
    if len(tensor.scales) > 1:
        scale = f"{min(tensor.scales):.3g}..{max(tensor.scales):.3g} ({len(tensor.scales)})"
    else:
        scale = f"{tensor.scales[0]:.6g}" if tensor.scales else ""
    points = ", ".join(map(str, sorted(set(tensor.zero_points))))
    return tensor.dtype, " x ".join(map(str, tensor.shape)), scale, points


def _contract(path: Path, data: bytes) -> str:
    from tflite import contract as contracts

    try:
        contract = contracts.load(path)
        contracts.verify(contract, data, path)
    except (ValueError, OSError) as error:
        return f"contract: {error}"
    height, width = contract.size
    return (
        f"{contract.arch}, {contract.variant}, {height}x{width} (height x width), resize {contract.input.resize}, "
        f"{len(contract.labels)} classes"
    )


def main() -> None:
    """The command line."""
    cli.main(Config, run, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
