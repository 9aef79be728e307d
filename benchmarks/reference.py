"""What every command takes, read from its `Config`: the options of docs/commands.md, filled in by figures.py."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from micro_yolo.pipeline import __main__ as pipeline

# Where a default lies that comes with the project.
ROOT = Path(pipeline.__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Option:
    """An option as it is typed.

    Attributes:
        typed: such as ``--size PIXELS``, or the name of what stands alone.
        default: as text; empty if there is none, or if it is a flag.
        help: what it does.
    """

    typed: str
    default: str
    help: str


def commands() -> list[dict[str, Any]]:
    """Name, line and options of every command, in the order of ``python -m pipeline``."""
    found = []
    for name, line in pipeline.COMMANDS.items():
        module = importlib.import_module(f"micro_yolo.pipeline.{name}{'.__main__' if name == 'data' else ''}")
        found.append({"name": name, "line": line, "options": list(options(module.Config))})
    return found


def options(config: type) -> Iterator[Option]:
    """The options of a `Config`, those of its groups among them."""
    kinds, said = typing.get_type_hints(config, include_extras=True), docstrings(config)
    for field in dataclasses.fields(config):
        kind = kinds[field.name]
        if dataclasses.is_dataclass(kind):
            yield from options(typing.cast(type, kind))
            continue
        notes = getattr(kind, "__metadata__", ())
        given = next(filter(None, (getattr(note, "name", None) for note in notes)), field.name).replace("_", "-")
        value = next(filter(None, (getattr(note, "metavar", None) for note in notes)), None) or values(kind)
        if "Positional" in repr(kind):
            typed = value
        elif isinstance(field.default, bool):
            typed = f"--{'no-' if field.default else ''}{given}"
        else:
            typed = f"--{given} {value}"
        yield Option(typed, default(field), said.get(field.name, ""))


def values(kind: Any) -> str:
    """What may be given, as the help calls it."""
    origin, parts = typing.get_origin(kind), [part for part in typing.get_args(kind) if part is not types.NoneType]
    if origin is typing.Annotated:
        return values(parts[0])
    if origin is Literal:
        return f"{{{','.join(map(str, parts))}}}"
    if origin in (typing.Union, types.UnionType):
        return values(parts[0])
    if origin in (tuple, list):
        return f"{values(parts[0])} ..."
    return {"int": "N", "float": "X", "Path": "PATH", "str": "TEXT"}.get(getattr(kind, "__name__", ""), "VALUE")


def default(field: dataclasses.Field[Any]) -> str:
    """The default as text."""
    if field.default is dataclasses.MISSING or field.default is None or isinstance(field.default, bool):
        return ""
    if isinstance(field.default, tuple):
        return " ".join(map(str, field.default))
    if isinstance(field.default, Path) and field.default.is_absolute():
        return str(field.default.resolve().relative_to(ROOT))
    return str(field.default)


def docstrings(config: type) -> dict[str, str]:
    """The string under each field, of the class and of those that it inherits from."""
    found: dict[str, str] = {}
    for kind in reversed([one for one in config.__mro__ if dataclasses.is_dataclass(one)]):
        body = [
            part
            for made in ast.parse(textwrap.dedent(inspect.getsource(kind))).body
            for part in getattr(made, "body", [])
        ]
        for field, below in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(field.target, ast.Name):
                found[field.target.id] = " ".join(inspect.cleandoc(ast.literal_eval(below.value)).split())
    return found
