"""Keyword arguments of the Python API: the words of the command lines, as the stages' own `Config` lists them."""

from __future__ import annotations

import dataclasses
import inspect
import os
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeVar

from micro_yolo.model.nearest import nearest
from micro_yolo.pipeline.data import Dataset
from micro_yolo.pipeline.show.screen import Show

ConfigT = TypeVar("ConfigT")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def call(stage: Any, own: Mapping[str, Any], options: Mapping[str, Any], show: Show | None) -> Any:
    """What the `run` of a stage's module gives for the caller's `own` options of its `Config` and the user's.

    `show` is told how far it is; without it what the stage warns of becomes warnings of Python's, of the caller's
    caller, when it has ended. Raises as `configure` and the stage.
    """
    for name in options:
        if name in own:
            raise TypeError(f"{name}: unknown option, it is not for the user to say here")
    config, quiet = configure(stage.Config, {**own, **options}), _Quiet()
    shown = quiet if show is None else show
    try:
        with ExitStack() as stack:
            if not sys.warnoptions:
                # Notices of the libraries to programmers, as on the command line.
                stack.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            if isinstance(shown, AbstractContextManager):
                # A screen is closed also after Ctrl-C, or a terminal would stay without its cursor.
                stack.enter_context(shown)
            return stage.run(config, shown)
    finally:
        for text in quiet.warnings:
            warnings.warn(text, stacklevel=3)


def configure(kind: type[ConfigT], options: Mapping[str, Any]) -> ConfigT:
    """The `Config` of a stage with these options; fields that are groups of options are taken apart.

    Raises:
        TypeError: the stage has no such option; the nearest is named.
        ValueError: the value is not what the option takes.
    """
    known = [name for name, _, _ in _options(kind)]
    for name in options:
        if name not in known:
            near = nearest(name, known, form="nearest: {}")
            raise TypeError(f"{name}: unknown option; {near or 'allowed: ' + ', '.join(known)}")
    config: ConfigT = _filled(kind, None, options)
    return config


def takes(kind: type, *but: str) -> Callable[[FunctionT], FunctionT]:
    """Have a function with ``**options`` say in its signature which: those of `kind`, without the names `but`."""

    def say(function: FunctionT) -> FunctionT:
        own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        taken = {parameter.name for parameter in own} | set(but)
        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, annotation, default in _options(kind)
            if name not in taken
        ]
        function.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
        return function

    return say


class _Quiet(Show):
    """Shows nothing, and keeps what a user should know."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def _filled(kind: Any, given: Any, options: Mapping[str, Any]) -> Any:
    """`given`, or a new `kind`, with those of the options that are its own."""
    hints, changed = typing.get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            changed[field.name] = _filled(hints[field.name], _default(field, given), options)
        elif field.name in options:
            changed[field.name] = _value(field.name, hints[field.name], options[field.name])
    return kind(**changed) if given is None else dataclasses.replace(given, **changed)


def _options(kind: Any, given: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default of every option of a `Config`."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        default = _default(field, given)
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _options(hints[field.name], default)
        else:
            yield field.name, hints[field.name], default


def _default(field: dataclasses.Field[Any], given: Any) -> Any:
    if given is not None:
        return getattr(given, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def _value(name: str, kind: Any, given: Any) -> Any:
    inner = typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if given is None:
            return None
        return _value(name, next(each for each in inner if each is not type(None)), given)
    if typing.get_origin(kind) is typing.Literal:
        if given not in inner:
            raise ValueError(f"{name}: unknown, got {given!r}; allowed: {', '.join(map(str, inner))}")
        return given
    if typing.get_origin(kind) is tuple:
        items = [given] if isinstance(given, (str, os.PathLike)) else given
        return tuple(_value(name, inner[0], item) for item in items)
    if kind is Path and isinstance(given, Dataset):
        return given.root
    if kind is Path and isinstance(given, (str, os.PathLike)):
        return Path(given)
    # A size may be a number, or numbers as on the command line: "256x320".
    if kind is str and isinstance(given, (str, int)):
        return str(given)
    if kind is float and isinstance(given, (int, float)) and not isinstance(given, bool):
        return float(given)
    if isinstance(given, kind) and (kind is bool or not isinstance(given, bool)):
        return given
    raise ValueError(f"{name}: must be {_NAMES.get(kind, kind.__name__)}, got {given!r}")


_NAMES = {bool: "True or False", int: "a whole number", float: "a number", str: "text", Path: "a path"}
