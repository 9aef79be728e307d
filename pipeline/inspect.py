"""What is in a .tflite, what it costs, where it runs, and what to know before it is deployed.

    python -m pipeline.inspect model_int8.tflite --layers --tensors

The file is only read; to see what XNNPACK takes, the runtime loads it in a process of its own, without running it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing
from micro_yolo.pipeline.show.screen import QUIET, Screen, Show
from micro_yolo.pipeline.store import runs

if TYPE_CHECKING:
    from rich.table import Table

    from micro_yolo.tflite.inspect import Model, Tensor

PROG = "python -m pipeline.inspect"
_TENSOR = ("", "tensor", "type", "shape", "scale", "zero point")


@dataclass(frozen=True)
class Config:
    """Show what is in a .tflite."""

    model: tyro.conf.Positional[Path]
    """The file."""
    tensors: bool = False
    """List every tensor with its quantization."""
    layers: bool = False
    """List every operator with its MACs and bytes."""
    load: bool = True
    """Have the runtime load the file, to see which operators XNNPACK takes."""
    patience: float = 60.0
    """Give up on loading after so many seconds."""
    json: bool = False
    """Print everything as JSON."""


@dataclass(frozen=True)
class Inspected:
    """What is in a file, and all that is known of it, as JSON has it."""

    model: Model
    report: dict[str, Any]


def run(config: Config, show: Show = QUIET) -> Inspected:
    """Look at the file. Raises FileNotFoundError, or ValueError if it is no .tflite."""
    from micro_yolo.tflite import inspect

    if not config.patience > 0:
        raise ValueError(f"patience: must be above 0, got {config.patience}")
    data = inspect.read_bytes(config.model)
    model = inspect.read(data, config.model)
    return Inspected(model, _known(config, data, model))


def _known(config: Config, data: bytes, model: Model) -> dict[str, Any]:
    """All that is known of a file, for JSON."""
    from micro_yolo.tflite import advice, costs

    delegated, refused = _loaded(config)
    layers = costs.layers(model)
    return {
        "file": str(config.model),
        **asdict(model),
        "op_counts": model.op_counts(),
        "contract": _contract(config.model, data),
        "macs": sum(layer.macs for layer in layers),
        "layers": [asdict(layer) for layer in layers],
        "constant_bytes": sum(layer.constant_bytes for layer in layers),
        "arena": asdict(costs.arena(model)),
        "placed": [asdict(each) for each in advice.placed(model, delegated)],
        "loads": {"delegated": delegated, "refused": refused},
        "warnings": [*([refused] if refused else []), *advice.warnings(model)],
    }


def _loaded(config: Config) -> tuple[list[bool] | None, str]:
    """Which operators XNNPACK takes, or None and why the runtime does not load the file."""
    from micro_yolo.tflite import child

    if not config.load:
        return None, ""
    path = str(config.model)
    try:
        return child.call("micro_yolo.tflite.interpreter:placement", name=path, patience=config.patience, path=path), ""
    except ValueError as error:
        return None, str(error)


def tell(inspected: Inspected, show: Show, *, layers: bool = False, tensors: bool = False) -> None:
    """What people want to know of it; `layers` and `tensors` list them all."""
    model, found = inspected.model, inspected.report

    def say(text: str) -> None:
        show.say(_plain(text))

    types = Counter(tensor.dtype for tensor in model.tensors)
    arena = found["arena"]
    say(f"{found['file']}: {model.n_bytes / 2**20:.2f} MiB; {found['contract']}")
    say("operators: " + ", ".join(f"{count} {name}" for name, count in model.op_counts().items()))
    say("tensors: " + ", ".join(f"{count} {name}" for name, count in types.most_common()))
    say(
        f"costs: {found['macs'] / 1e6:,.1f} MMAC; constants {found['constant_bytes'] / 1024:,.0f} KiB; activations "
        f"{arena['n_bytes'] / 1024:,.0f} KiB planned, {arena['peak_bytes'] / 1024:,.0f} KiB needed at "
        f"{_name(arena['peak_layer']) or '-'} (without the kernels' scratch)"
    )
    say(
        f"runtime: TFLite {model.runtime} or newer"
        if model.runtime
        else "runtime: the file does not say which it needs"
    )
    show.draw(_contract_table(model))
    show.draw(_placed_table(found["placed"]))
    if layers:
        show.draw(_layers_table(found["layers"]))
    if tensors:
        table = listing(*_TENSOR, words=range(len(_TENSOR)))
        for tensor in model.tensors:
            table.add_row("const" if tensor.constant else "", _cell(_name(tensor.name)), *_row(tensor))
        show.draw(table)
    for warning in found["warnings"]:
        say(f"! {warning}")


def _contract_table(model: Model) -> Table:
    table = listing(*_TENSOR, words=range(len(_TENSOR)))
    names = {index: name for name, index in (*model.signature_inputs.items(), *model.signature_outputs.items())}
    for direction, indices in (("in", model.inputs), ("out", model.outputs)):
        for index in indices:
            tensor = model.tensor(index)
            table.add_row(direction, _cell(names.get(index, tensor.name)), *_row(tensor))
    return table


def _placed_table(placed: list[dict[str, Any]]) -> Table:
    targets = list(dict.fromkeys(target for each in placed for target in each["on"]))
    table = listing("operator", "count", *targets)
    for each in placed:
        table.add_row(_cell(each["op"]), str(each["count"]), *(str(each["on"].get(target, "")) for target in targets))
    table.caption = "XNNPACK: as seen here; the others: by their published lists"
    table.caption_justify = "left"
    return table


def _layers_table(layers: list[dict[str, Any]]) -> Table:
    table = listing("layer", "operator", "output", "MMAC", "KiB", words=(0, 1, 2))
    for layer in layers:
        shape = " x ".join(map(str, layer["shape"]))
        costs = f"{layer['macs'] / 1e6:,.2f}", f"{layer['constant_bytes'] / 1024:,.1f}"
        table.add_row(_cell(_name(layer["name"])), _cell(layer["op"]), shape, *costs)
    return table


def _name(name: str) -> str:
    from micro_yolo.tflite.costs import short_name

    return short_name(name)


def _cell(text: str) -> str:
    from rich.markup import escape

    return escape(_plain(text))


def _plain(text: str) -> str:
    """Text of a file without what steers a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _row(tensor: Tensor) -> tuple[str, str, str, str]:
    if len(tensor.scales) > 1:
        scale = f"{min(tensor.scales):.3g}..{max(tensor.scales):.3g} ({len(tensor.scales)})"
    else:
        scale = f"{tensor.scales[0]:.6g}" if tensor.scales else ""
    points = ", ".join(map(str, sorted(set(tensor.zero_points))[:4]))
    return tensor.dtype, " x ".join(map(str, tensor.shape)), scale, points


def _contract(path: Path, data: bytes) -> str:
    from micro_yolo.tflite import contract as contracts

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


def command(config: Config) -> None:
    """Look and tell."""
    with Screen() as show:
        inspected = run(config, show)
        if config.json:
            print(json.dumps(runs.plain(inspected.report), indent=1))
        else:
            tell(inspected, show, layers=config.layers, tensors=config.tensors)


def main() -> None:
    """The command line."""
    cli.main(Config, command, prog=PROG, description=__doc__)


if __name__ == "__main__":
    main()
