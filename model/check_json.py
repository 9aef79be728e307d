"""JSON that someone else may have written: known keys and right types only. No TensorFlow."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

# Metadata of a setting: what it was, in effect, before there was such a setting.
BEFORE = "before"
_MOST = sys.float_info.max
Rule = Callable[[Any], bool]
Types = dict[str, tuple[str, Rule]]


def checked(value: Any, types: Types, required: tuple[str, ...], where: str) -> dict[str, Any]:
    """A copy of a JSON object whose keys are all in `types` and whose values obey their rules.

    Args:
      value: what ``json.load`` gave.
      types: per key, its type in words and the rule that tells.
      required: keys that must be there.
      where: what to call the object in errors.

    Raises:
      ValueError: not an object, an unknown or missing key, or a wrong type.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where}: must be an object, got {_short(value)}")
    for key, each in value.items():
        if key not in types:
            raise ValueError(f"{where}: unknown key {key!r}; allowed: {', '.join(types)}")
        wanted, rule = types[key]
        if not rule(each):
            raise ValueError(f"{where}.{key}: must be {wanted}, got {_short(each)}")
    for key in required:
        if key not in value:
            raise ValueError(f"{where}: {key!r} is missing")
    return dict(value)


def whole(value: Any) -> bool:
    """A whole number (true and false are not)."""
    return isinstance(value, int) and not isinstance(value, bool)


def before(settings: Any) -> dict[str, Any]:
    """Of a dataclass or one of its values: what each setting was, in effect, that there has not always been."""
    return {each.name: each.metadata[BEFORE] for each in dataclasses.fields(settings) if BEFORE in each.metadata}


def number(value: Any) -> bool:
    """A finite number that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_MOST <= value <= _MOST


def flag(value: Any) -> bool:
    """True or false."""
    return isinstance(value, bool)


def text(value: Any) -> bool:
    """A string."""
    return isinstance(value, str)


def list_of(rule: Rule, length: int | None = None) -> Rule:
    """A list, of this length if given, whose items all obey `rule`."""
    return lambda value: (
        isinstance(value, list) and (length is None or len(value) == length) and all(rule(each) for each in value)
    )


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
