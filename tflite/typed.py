"""JSON -> dataclasses by their annotations: a fault is a rule, in plain words and with its place, never Python's."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import Any

RULE = "rule"
_NOUNS = {str: "string", bool: "true or false", int: "whole number", float: "number"}


def parse(text: str | bytes) -> Any:
    """What a text of JSON says. ValueError, in one line, if it is none."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be JSON, got {error}") from None
    except UnicodeDecodeError:
        raise ValueError("must be JSON, got bytes that are not UTF-8") from None
    except RecursionError:
        raise ValueError("must be JSON, got one that is nested too deeply") from None
    except ValueError:
        raise ValueError("must be JSON, got a number with too many digits") from None


def read(kind: Any, value: Any, where: str = "") -> Any:
    """`value`, as `json.loads` gives it, as a `kind`.

    Kinds are str, bool, int, float, X | None, tuple[X, ...], tuple[X, Y], dict[str, X] and dataclasses of these. Keys
    that a dataclass does not have are ignored. A field may say by its metadata RULE what its value must do, such as
    "map rows to lists".

    Raises:
        ValueError: "PLACE: must be ..., got ...", places being put together behind `where`.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (chosen,) = (each for each in inner if each is not types.NoneType)
        return None if value is None else read(chosen, value, where)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is tuple and isinstance(value, list) and inner[-1] is ...:
        return tuple(read(inner[0], item, f"{where}[{number}]") for number, item in enumerate(value))
    if origin is tuple and isinstance(value, list) and len(value) == len(inner):
        return tuple(read(*each, f"{where}[{number}]") for number, each in enumerate(zip(inner, value, strict=True)))
    if origin is dict and isinstance(value, dict):
        return {read(str, key, where): read(inner[1], item, _at(where, key)) for key, item in value.items()}
    if origin is None and _is_plain(kind, value):
        return float(value) if kind is float else value
    raise ValueError(f"{where}: must be {_noun(kind)}, got {shown(value)}")


def shown(value: Any) -> str:
    """The beginning of a value as JSON, in one line of ASCII."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: must be a mapping, got {shown(value)}")
    hints, given = typing.get_type_hints(kind), {}
    fields = dataclasses.fields(kind)
    missing = [
        field.name
        for field in fields
        if field.name not in value and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{where}: {', '.join(sorted(missing))} missing".removeprefix(": "))
    for field in (field for field in fields if field.name in value):
        place, item = _at(where, field.name), value[field.name]
        try:
            given[field.name] = read(hints[field.name], item, place)
        except ValueError:
            if RULE not in field.metadata:
                raise
            raise ValueError(f"{place}: must {field.metadata[RULE]}, got {shown(item)}") from None
    return kind(**given)


def _is_plain(kind: Any, value: Any) -> bool:
    if kind is float:
        try:
            return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        except OverflowError:
            return False
    if kind is str:
        # JSON can write half of a surrogate pair, which no file can hold.
        return isinstance(value, str) and value == value.encode(errors="replace").decode()
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _noun(kind: Any) -> str:
    if kind is bool:
        return _NOUNS[bool]
    return f"a {_plural(kind)}".removesuffix("s") if typing.get_origin(kind) is not tuple else f"a {_list_of(kind)}"


def _plural(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"lists{_list_of(kind).removeprefix('list')}"
    return f"{_NOUNS.get(kind, 'mapping')}s"


def _list_of(kind: Any) -> str:
    inner = typing.get_args(kind)
    return f"list of {_plural(inner[0])}" if inner[-1] is ... else f"list of {len(inner)} {_plural(inner[0])}"
